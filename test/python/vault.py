"""The Python clients against a vault: VAULT_URL names it. What the vault makes is checked with the local
cryptography library, and the other way round. Ends with "ok", or with the assertion that failed."""

import asyncio
import base64
import datetime
import hashlib
import hmac
import json
import os

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import EnvironmentCredential
from azure.identity.aio import EnvironmentCredential as AsyncCredential
from azure.keyvault.keys import (
    ApiVersion, JsonWebKey, KeyClient, KeyOperation, KeyReleasePolicy, KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction,
)
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient as AsyncCryptographyClient
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, keywrap, padding as blocks
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

URL = os.environ["VAULT_URL"]
OURS = "AZURE_AUTHORITY_HOST" in os.environ  # the server's own names, of which the client knows nothing
credential = EnvironmentCredential(disable_instance_discovery=OURS)
keys = KeyClient(URL, credential)
secrets = SecretClient(URL, credential)
MESSAGE = b"what is signed"
MANY = 27  # more than a page has
YEAR_2099 = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)


def crypto(key):
    return CryptographyClient(key, credential)


def refused(status, code, f, *args, **kwargs):
    """Calls f, which must be refused; what is raised must have the client's own class for the status."""
    try:
        f(*args, **kwargs)
    except HttpResponseError as e:
        assert e.status_code == status, (e.status_code, e.message)
        assert code in str(e.error.code) + e.message, (code, e.message)
        assert {404: ResourceNotFoundError, 409: ResourceExistsError}.get(status, HttpResponseError) in type(e).__mro__, type(e)
        return
    raise AssertionError(f"{f.__name__} was not refused")


def number(n, size=None):
    return n.to_bytes(size or (n.bit_length() + 7) // 8, "big")


def public_rsa(key):
    return rsa.RSAPublicNumbers(int.from_bytes(key.key.e, "big"), int.from_bytes(key.key.n, "big")).public_key()


CURVES = {"P-256": ec.SECP256R1(), "P-256K": ec.SECP256K1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def public_ec(key):
    return ec.EllipticCurvePublicNumbers(int.from_bytes(key.key.x, "big"), int.from_bytes(key.key.y, "big"), CURVES[key.key.crv]).public_key()


def rsa_flow():
    """What the library encrypts, the vault decrypts, and so on for every algorithm."""
    oaep = {n: padding.OAEP(padding.MGF1(h), h, None) for n, h in [("RSA-OAEP", hashes.SHA1()), ("RSA-OAEP-256", hashes.SHA256())]}
    pads = {**oaep, "RSA1_5": padding.PKCS1v15()}
    key = keys.create_rsa_key("rsa", size=2048)
    assert key.key_type == "RSA" and len(key.key.n) == 256 and key.key.d is None
    c, public = crypto(key), public_rsa(key)
    for name, pad in pads.items():
        assert c.decrypt(EncryptionAlgorithm(name), public.encrypt(b"plain", pad)).plaintext == b"plain"
        assert c.unwrap_key(KeyWrapAlgorithm(name), public.encrypt(b"a key", pad)).key == b"a key"
        assert c.decrypt(EncryptionAlgorithm(name), c.encrypt(EncryptionAlgorithm(name), b"plain").ciphertext).plaintext == b"plain"
        wrapped = c.wrap_key(KeyWrapAlgorithm(name), b"a key")
        assert wrapped.key_id == key.id and c.unwrap_key(KeyWrapAlgorithm(name), wrapped.encrypted_key).key == b"a key"
    for bits in ("256", "384", "512"):
        h = getattr(hashes, "SHA" + bits)()
        digest = hashlib.new("sha" + bits, MESSAGE).digest()
        for name, pad in [("RS" + bits, padding.PKCS1v15()), ("PS" + bits, padding.PSS(padding.MGF1(h), h.digest_size))]:
            signed = c.sign(SignatureAlgorithm(name), digest)
            public.verify(signed.signature, MESSAGE, pad, h)
            assert c.verify(SignatureAlgorithm(name), digest, signed.signature).is_valid
            assert not c.verify(SignatureAlgorithm(name), digest[::-1], signed.signature).is_valid
    refused(400, "BadParameter", c.decrypt, EncryptionAlgorithm.rsa_oaep, b"x" * 256)
    refused(400, "BadParameter", keys.create_rsa_key, "rsa-odd", size=2000)
    # The vault's key as the library's own private key.
    private = c.create_rsa_private_key()
    assert private.decrypt(public.encrypt(b"plain", oaep["RSA-OAEP-256"]), oaep["RSA-OAEP-256"]) == b"plain"
    public.verify(private.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256()), MESSAGE, padding.PKCS1v15(), hashes.SHA256())


EC_ALGORITHMS = {"P-256": ("ES256", "sha256"), "P-256K": ("ES256K", "sha256"), "P-384": ("ES384", "sha384"), "P-521": ("ES512", "sha512")}


def ec_flow():
    for curve, (algorithm, digester) in EC_ALGORITHMS.items():
        key = keys.create_ec_key("ec-" + curve, curve=curve)
        assert (key.key_type, key.key.crv, key.key_operations) == ("EC", curve, ["sign", "verify"])
        digest, size = hashlib.new(digester, MESSAGE).digest(), len(key.key.x)
        c, h = crypto(key), Prehashed(getattr(hashes, digester.upper())())
        signature = c.sign(SignatureAlgorithm(algorithm), digest).signature
        assert len(signature) == 2 * size
        der = encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
        public_ec(key).verify(der, digest, ec.ECDSA(h))
        assert c.verify(SignatureAlgorithm(algorithm), digest, signature).is_valid
        # A local key, imported: what it signs here verifies there.
        local = ec.generate_private_key(CURVES[curve])
        n = local.private_numbers()
        jwk = JsonWebKey(kty="EC", crv=curve, d=number(n.private_value, size), x=number(n.public_numbers.x, size), y=number(n.public_numbers.y, size))
        imported = keys.import_key("in-" + curve, jwk)
        assert imported.key.d is None and imported.key.x == jwk.x
        r, s = decode_dss_signature(local.sign(digest, ec.ECDSA(h)))
        assert crypto(imported).verify(SignatureAlgorithm(algorithm), digest, number(r, size) + number(s, size)).is_valid
        assert not crypto(imported).verify(SignatureAlgorithm(algorithm), digest, signature).is_valid
    c = crypto(keys.get_key("ec-P-256"))
    refused(400, "incompatible", c.sign, SignatureAlgorithm.es384, bytes(48))


def oct_flow():
    iv = bytes(range(16))
    for size in (128, 192, 256):
        secret = os.urandom(size // 8)
        key = keys.import_key(f"oct-{size}", JsonWebKey(kty="oct", k=secret, key_ops=[o.value for o in (
            KeyOperation.encrypt, KeyOperation.decrypt, KeyOperation.wrap_key, KeyOperation.unwrap_key, KeyOperation.sign, KeyOperation.verify)]))
        assert key.key_type == "oct" and key.key.k is None
        c = crypto(key)
        gcm = EncryptionAlgorithm(f"A{size}GCM")
        sealed = c.encrypt(gcm, MESSAGE, additional_authenticated_data=b"aad")
        assert AESGCM(secret).decrypt(sealed.iv, sealed.ciphertext + sealed.tag, b"aad") == MESSAGE
        mine = AESGCM(secret).encrypt(iv[:12], MESSAGE, b"aad")
        assert c.decrypt(gcm, mine[:-16], iv=iv[:12], authentication_tag=mine[-16:], additional_authenticated_data=b"aad").plaintext == MESSAGE
        refused(400, "BadParameter", c.decrypt, gcm, mine[:-16], iv=iv[:12], authentication_tag=bytes(16), additional_authenticated_data=b"aad")
        cbc = EncryptionAlgorithm(f"A{size}CBC")
        local = Cipher(algorithms.AES(secret), modes.CBC(iv)).encryptor()
        expected = local.update(bytes(32)) + local.finalize()
        assert c.encrypt(cbc, bytes(32), iv=iv).ciphertext == expected
        assert c.decrypt(cbc, expected, iv=iv).plaintext == bytes(32)
        assert c.wrap_key(KeyWrapAlgorithm.ckm_aes_key_wrap, bytes(32)).encrypted_key == keywrap.aes_key_wrap(secret, bytes(32))
        assert c.unwrap_key(KeyWrapAlgorithm.ckm_aes_key_wrap, keywrap.aes_key_wrap(secret, bytes(32))).key == bytes(32)
        assert c.unwrap_key(KeyWrapAlgorithm.ckm_aes_key_wrap_pad, keywrap.aes_key_wrap_with_padding(secret, b"odd")).key == b"odd"
        for bits in ("256", "384", "512"):
            digest = hashlib.new("sha" + bits, MESSAGE).digest()
            mac = c.sign(SignatureAlgorithm("HS" + bits), digest).signature
            assert mac == hmac.digest(secret, digest, "sha" + bits)
            assert c.verify(SignatureAlgorithm("HS" + bits), digest, mac).is_valid
            assert not c.verify(SignatureAlgorithm("HS" + bits), digest, mac[::-1]).is_valid
        kv6(c, secret, size, iv)
    assert keys.create_oct_key("oct-made", size=192, hardware_protected=True).key_type == "oct-HSM"


def kv6(c, secret, size, iv):
    """With AES key wrap, and with padded CBC of 256 bits, this client encrypts by itself, under a key that
    it makes up: the vault never gives it one. Nobody can open that but the same object. When a release of
    the client asks the vault instead, the assertions fail."""
    wrap, pad = KeyWrapAlgorithm(f"A{size}KW"), EncryptionAlgorithm(f"A{size}CBCPAD")
    expected = keywrap.aes_key_wrap(secret, bytes(32))
    assert c.wrap_key(wrap, bytes(32)).encrypted_key != expected, "KV-6 is closed"
    padder = blocks.PKCS7(128).padder()
    padded = padder.update(MESSAGE) + padder.finalize()
    local = Cipher(algorithms.AES(secret), modes.CBC(iv)).encryptor()
    sealed = local.update(padded) + local.finalize()
    assert (c.encrypt(pad, MESSAGE, iv=iv).ciphertext == sealed) == (size < 256), "KV-6 is closed"
    assert size == 256 or c.decrypt(pad, sealed, iv=iv).plaintext == MESSAGE
    # The client turns to the vault when its own key does not open a value.
    assert c.unwrap_key(wrap, expected).key == bytes(32)


def life():
    """A key from its first version to its end, and back."""
    first = keys.create_key("life", "EC", enabled=True, tags={"n": "1"}, not_before=YEAR_2099, expires_on=YEAR_2099 + datetime.timedelta(days=1))
    p = first.properties
    assert (p.name, p.enabled, p.tags, p.not_before, p.recovery_level, p.recoverable_days) == ("life", True, {"n": "1"}, YEAR_2099, "Recoverable+Purgeable", 90)
    refused(403, "not yet valid", crypto(first).sign, SignatureAlgorithm.es256, bytes(32))
    second = keys.create_ec_key("life", curve="P-256")
    assert keys.get_key("life").id == second.id and keys.get_key("life", p.version).id == first.id
    assert {v.version for v in keys.list_properties_of_key_versions("life")} == {p.version, second.properties.version}
    changed = keys.update_key_properties("life", enabled=False, expires_on=YEAR_2099, tags={"a": "b"}, key_operations=["verify"])
    assert (changed.id, changed.properties.enabled, changed.properties.tags, changed.key_operations) == (second.id, False, {"a": "b"}, ["verify"])
    refused(403, "disabled", crypto(changed).sign, SignatureAlgorithm.es256, bytes(32))
    assert keys.update_key_properties("life", p.version, tags={}).properties.tags in (None, {})
    backup = keys.backup_key("life")
    refused(409, "Conflict", keys.restore_key_backup, backup)
    deleted = keys.begin_delete_key("life").result()
    assert (deleted.recovery_id, deleted.scheduled_purge_date - deleted.deleted_date) == (URL + "/deletedkeys/life", datetime.timedelta(days=90))
    refused(404, "KeyNotFound", keys.get_key, "life")
    refused(409, "deleted but recoverable", keys.create_ec_key, "life")
    assert keys.get_deleted_key("life").id == second.id
    assert [k.name for k in keys.list_deleted_keys() if k.name == "life"] == ["life"]
    assert keys.begin_recover_deleted_key("life").result().id == second.id
    keys.begin_delete_key("life").wait()
    keys.purge_deleted_key("life")
    refused(404, "KeyNotFound", keys.get_deleted_key, "life")
    refused(404, "KeyNotFound", keys.begin_recover_deleted_key, "life")
    restored = keys.restore_key_backup(backup)
    assert (restored.id, restored.key.x) == (second.id, second.key.x) and keys.get_key("life", p.version).id == first.id
    refused(400, "Backup blob is corrupt", keys.restore_key_backup, backup[:-3])
    refused(404, "KeyNotFound", keys.get_key, "life", "0" * 32)
    refused(400, "invalid name", keys.create_ec_key, "no_underscore")


def rotation():
    key = keys.create_ec_key("rotate", curve="P-384", tags={"a": "b"})
    assert keys.get_key_rotation_policy("rotate").lifetime_actions[0].action == KeyRotationPolicyAction.notify
    policy = KeyRotationPolicy(expires_in="P90D", lifetime_actions=[KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_before_expiry="P20D")])
    got = keys.update_key_rotation_policy("rotate", policy)
    assert got.expires_in == "P90D" and got.created_on and {a.action for a in got.lifetime_actions} == {"Rotate", "Notify"}
    assert keys.get_key_rotation_policy("rotate").id == f"{URL}/keys/rotate/rotationpolicy"
    new = keys.rotate_key("rotate")
    assert new.id != key.id and new.key.crv == "P-384" and new.properties.expires_on == new.properties.created_on + datetime.timedelta(days=90)
    refused(400, "BadParameter", keys.update_key_rotation_policy, "rotate", KeyRotationPolicy(expires_in="P1D"))


def release():
    policy = KeyReleasePolicy(json.dumps({"version": "1.0.0", "anyOf": [{"authority": "https://x.attest.azure.net", "allOf": [{"claim": "c", "equals": "v"}]}]}).encode())
    key = keys.create_rsa_key("release", exportable=True, release_policy=policy, hardware_protected=True)
    assert key.properties.exportable and json.loads(key.properties.release_policy.encoded_policy)["version"] == "1.0.0"
    refused(403, "Target environment attestation statement cannot be verified", keys.release_key, "release", "no.attestation.token")
    keys.create_ec_key("not-exportable")
    refused(403, "release", keys.release_key, "not-exportable", "no.attestation.token")
    assert keys.get_key_attestation("release").properties.attestation is None


def pages(by_page):
    sizes = [len(list(page)) for page in by_page]
    return sum(sizes), len(sizes)


def many():
    for i in range(MANY):
        keys.create_key(f"page-{i:02d}", "oct")
        keys.create_key("versions", "oct")
        secrets.set_secret(f"page-{i:02d}", str(i))
        secrets.set_secret("versions", str(i))
    listed = [k.name for k in keys.list_properties_of_keys()]
    assert len(listed) == len(set(listed)) and sum(n.startswith("page-") for n in listed) == MANY
    assert pages(keys.list_properties_of_key_versions("versions").by_page()) == (MANY, 2)
    assert pages(keys.list_properties_of_key_versions("versions", max_page_size=10).by_page()) == (MANY, 3)
    assert sum(s.name.startswith("page-") for s in secrets.list_properties_of_secrets()) == MANY
    assert pages(secrets.list_properties_of_secret_versions("versions").by_page()) == (MANY, 2)
    for i in range(MANY):
        keys.begin_delete_key(f"page-{i:02d}")
        secrets.begin_delete_secret(f"page-{i:02d}")
    assert sum(k.name.startswith("page-") for k in keys.list_deleted_keys()) == MANY
    assert sum(s.name.startswith("page-") for s in secrets.list_deleted_secrets()) == MANY


def secret_flow():
    first = secrets.set_secret("s", "ünï\n\"", content_type="text/plain", tags={"a": "b"}, expires_on=YEAR_2099)
    assert (first.value, first.properties.content_type, first.properties.tags, first.properties.expires_on) == ("ünï\n\"", "text/plain", {"a": "b"}, YEAR_2099)
    second = secrets.set_secret("s", "two")
    assert secrets.get_secret("s").value == "two" and secrets.get_secret("s", first.properties.version).value == first.value
    assert secrets.get_secret("s", "").id == second.id
    p = secrets.update_secret_properties("s", content_type="x/y", enabled=False, tags={})
    assert (p.content_type, p.enabled, p.id) == ("x/y", False, second.id)
    refused(403, "disabled secret", secrets.get_secret, "s")
    secrets.update_secret_properties("s", enabled=True)
    backup = secrets.backup_secret("s")
    refused(409, "Conflict", secrets.restore_secret_backup, backup)
    assert secrets.begin_delete_secret("s").result().recovery_id == URL + "/deletedsecrets/s"
    refused(404, "SecretNotFound", secrets.get_secret, "s")
    assert secrets.get_deleted_secret("s").properties.content_type == "x/y"
    assert secrets.begin_recover_deleted_secret("s").result().name == "s"
    secrets.begin_delete_secret("s").wait()
    secrets.purge_deleted_secret("s")
    refused(404, "SecretNotFound", secrets.get_deleted_secret, "s")
    assert secrets.restore_secret_backup(backup).name == "s" and secrets.get_secret("s").value == "two"
    refused(400, "Backup blob is corrupt", secrets.restore_secret_backup, keys.backup_key("life"))
    assert secrets.set_secret("big", "x" * 25 * 1024).value
    refused(400, "BadParameter", secrets.set_secret, "big", "x" * (25 * 1024 + 1))


def versions_of_the_protocol():
    """The client in the dialect of every version that it knows."""
    for version in ApiVersion:
        if version == ApiVersion.V2016_10_01:
            continue  # KV-5
        old = KeyClient(URL, credential, api_version=version)
        key = old.create_ec_key("old", curve="P-256")
        assert old.get_key("old").id == key.id
        assert (key.properties.recoverable_days is None) == (version == ApiVersion.V7_0)
        assert (key.properties.hsm_platform is None) == (version < ApiVersion.V7_5 and version != ApiVersion.V2025_07_01)
        c = CryptographyClient(key, credential, api_version=version)
        assert len(c.sign(SignatureAlgorithm.es256, bytes(32)).signature) == 64
    refused(400, "BadParameter", KeyClient(URL, credential, api_version=ApiVersion.V2016_10_01).get_key, "old")


async def asynchronous():
    async with AsyncCredential(disable_instance_discovery=OURS) as cred, AsyncKeyClient(URL, cred) as k, AsyncSecretClient(URL, cred) as s:
        key = await k.create_rsa_key("async", size=2048)
        async with AsyncCryptographyClient(key, cred) as c:
            sealed = await c.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"plain")
            assert (await c.decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed.ciphertext)).plaintext == b"plain"
            signed = await c.sign(SignatureAlgorithm.ps256, hashlib.sha256(MESSAGE).digest())
            public_rsa(key).verify(signed.signature, MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        await k.delete_key("async")
        assert (await k.recover_deleted_key("async")).id == key.id
        assert sum([1 async for _ in k.list_properties_of_key_versions("versions")]) == MANY
        await s.set_secret("async", "v")
        assert (await s.get_secret("async")).value == "v"
        await s.delete_secret("async")
        await s.purge_deleted_secret("async")


rsa_flow()
ec_flow()
oct_flow()
life()
rotation()
release()
many()
secret_flow()
versions_of_the_protocol()
asyncio.run(asynchronous())
assert len(keys.get_random_bytes(128)) == 128
refused(400, "count cannot be greater than 128", keys.get_random_bytes, 129)
print("ok")
