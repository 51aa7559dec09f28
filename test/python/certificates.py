"""The Python client of certificates against a vault: VAULT_URL names it. What the vault makes is checked with
the local cryptography library, and the other way round. Ends with "ok", or with the assertion that failed."""

import base64
import datetime
import os

from azure.core.exceptions import HttpResponseError
from azure.identity import EnvironmentCredential
from azure.keyvault.certificates import (
    AdministratorContact, CertificateClient, CertificateContact, CertificateContentType, CertificatePolicy, LifetimeAction, CertificatePolicyAction,
)
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

URL = os.environ["VAULT_URL"]
credential = EnvironmentCredential(disable_instance_discovery="AZURE_AUTHORITY_HOST" in os.environ)
client = CertificateClient(URL, credential)
secrets = SecretClient(URL, credential)


def refused(status, code, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except HttpResponseError as e:
        assert e.status_code == status and code in str(e.error.code) + e.message, (e.status_code, e.message)
        return
    raise AssertionError(f"{f.__name__} was not refused")


def pair(name):
    """The certificate and the key that the secret of a certificate holds."""
    s = secrets.get_secret(name)
    assert s.properties.managed
    if s.properties.content_type == "application/x-pem-file":
        key = serialization.load_pem_private_key(s.value.encode(), None)
        return key, x509.load_pem_x509_certificates(s.value.encode())
    key, cert, more = pkcs12.load_key_and_certificates(base64.b64decode(s.value), None)
    return key, [cert] + more


def self_signed():
    policy = CertificatePolicy("Self", subject="CN=shop.example, O=Shop", san_dns_names=["shop.example"], san_emails=["a@shop.example"], validity_in_months=6,
                               key_type="RSA", key_size=2048, exportable=True, reuse_key=True, content_type=CertificateContentType.pkcs12,
                               lifetime_actions=[LifetimeAction(CertificatePolicyAction.auto_renew, days_before_expiry=30)])
    made = client.begin_create_certificate("shop", policy, tags={"a": "b"}).result()
    cert = x509.load_der_x509_certificate(bytes(made.cer))
    assert cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "Shop"
    assert cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["shop.example"]
    assert made.properties.x509_thumbprint == cert.fingerprint(hashes.SHA1()) and made.properties.tags == {"a": "b"}
    assert made.properties.expires_on == cert.not_valid_after_utc
    key, chain = pair("shop")
    assert key.public_key() == cert.public_key() and chain == [cert]
    again = client.begin_create_certificate("shop", policy).result()
    assert x509.load_der_x509_certificate(bytes(again.cer)).public_key() == cert.public_key(), "reuse_key"
    assert len(list(client.list_properties_of_certificate_versions("shop"))) == 2
    assert client.get_certificate_version("shop", made.properties.version).cer == made.cer
    assert client.update_certificate_properties("shop", made.properties.version, enabled=False).properties.enabled is False
    policy = client.get_certificate_policy("shop")
    assert policy.lifetime_actions[0].days_before_expiry == 30 and policy.key_size == 2048 and policy.reuse_key
    policy._validity_in_months = 9
    assert client.update_certificate_policy("shop", policy).validity_in_months == 9


def merged():
    policy = CertificatePolicy("Unknown", subject="CN=merged", key_type="EC", key_curve_name="P-384", content_type=CertificateContentType.pem)
    client.begin_create_certificate("merged", policy)
    op = client.get_certificate_operation("merged")
    assert op.status == "inProgress"
    csr = x509.load_der_x509_csr(bytes(op.csr))
    assert csr.is_signature_valid
    authority, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")])
    cert = (x509.CertificateBuilder().subject_name(csr.subject).issuer_name(issuer).public_key(csr.public_key()).serial_number(7)
            .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=5)).sign(authority, hashes.SHA256()))
    done = client.merge_certificate("merged", [cert.public_bytes(serialization.Encoding.DER)])
    assert bytes(done.cer) == cert.public_bytes(serialization.Encoding.DER)
    key, chain = pair("merged")
    assert key.public_key() == cert.public_key() and chain == [cert]
    client.begin_create_certificate("cancelled", policy)
    assert client.cancel_certificate_operation("cancelled").status == "cancelled"
    client.delete_certificate_operation("cancelled")
    refused(404, "PendingCertificateNotFound", client.get_certificate_operation, "cancelled")


def imported():
    key, now = ec.generate_private_key(ec.SECP521R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imported")])
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(9)
            .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=5)).sign(key, hashes.SHA512()))
    pfx = pkcs12.serialize_key_and_certificates(b"x", key, cert, None, serialization.BestAvailableEncryption(b"geheim"))
    made = client.import_certificate("imported", pfx, password="geheim")
    assert bytes(made.cer) == cert.public_bytes(serialization.Encoding.DER) and made.policy.key_curve_name == "P-521"
    assert pair("imported")[0].private_numbers() == key.private_numbers()
    refused(400, "BadParameter", client.import_certificate, "imported", pfx, password="falsch")
    refused(400, "BadParameter", client.import_certificate, "imported", b"no certificate")
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + cert.public_bytes(serialization.Encoding.PEM)
    made = client.import_certificate("pem", text, policy=CertificatePolicy(content_type=CertificateContentType.pem))
    assert made.policy.content_type == CertificateContentType.pem and made.policy.issuer_name == "Unknown"


def life():
    blob = client.backup_certificate("shop")
    version = client.get_certificate("shop").properties.version
    deleted = client.begin_delete_certificate("shop").result()
    assert deleted.recovery_id and "shop" in [c.name for c in client.list_deleted_certificates()]
    assert client.get_deleted_certificate("shop").scheduled_purge_date
    refused(404, "SecretNotFound", secrets.get_secret, "shop")
    client.begin_recover_deleted_certificate("shop").result()
    refused(409, "Conflict", client.restore_certificate_backup, blob)
    client.begin_delete_certificate("shop").result()
    client.purge_deleted_certificate("shop")
    refused(404, "CertificateNotFound", client.get_certificate, "shop")
    assert client.restore_certificate_backup(blob).properties.version == version
    assert pair("shop")
    assert {"shop", "merged", "imported", "pem"} <= {c.name for c in client.list_properties_of_certificates()}


def others():
    refused(404, "ContactsNotFound", client.get_contacts)
    assert client.set_contacts([CertificateContact(email="a@b", name="A", phone="1")])[0].phone == "1"
    assert client.get_contacts()[0].email == "a@b" and client.delete_contacts()[0].name == "A"
    client.create_issuer("ca", "DigiCert", account_id="a", password="p", admin_contacts=[AdministratorContact(email="x@y", first_name="X")])
    assert client.get_issuer("ca").admin_contacts[0].first_name == "X" and [i.name for i in client.list_properties_of_issuers()] == ["ca"]
    assert client.update_issuer("ca", enabled=False).enabled is False
    refused(400, "BadParameter", client.begin_create_certificate, "x", CertificatePolicy("ca", subject="CN=x"))
    assert client.delete_issuer("ca").provider == "DigiCert"


for part in (self_signed, merged, imported, life, others):
    part()
print("ok")
