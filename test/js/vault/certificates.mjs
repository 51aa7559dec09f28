// The JavaScript client of certificates against a vault: VAULT_URL names it. Ends with "ok", or with the
// assertion that failed.
import assert from "node:assert/strict";
import { X509Certificate, createPrivateKey } from "node:crypto";
import { EnvironmentCredential } from "@azure/identity";
import { CertificateClient } from "@azure/keyvault-certificates";
import { SecretClient } from "@azure/keyvault-secrets";

const url = process.env.VAULT_URL;
const credential = new EnvironmentCredential({ disableInstanceDiscovery: "AZURE_AUTHORITY_HOST" in process.env });
const client = new CertificateClient(url, credential);
const secrets = new SecretClient(url, credential);
const quick = { intervalInMs: 50 };

async function all(list) {
  const out = [];
  for await (const x of list) out.push(x);
  return out;
}

async function refused(status, code, f) {
  await assert.rejects(f, (e) => e.statusCode === status && `${e.code} ${e.message}`.includes(code));
}

const policy = {
  issuerName: "Self", subject: "CN=shop.example", subjectAlternativeNames: { dnsNames: ["shop.example", "www.shop.example"] },
  keyType: "EC", keyCurveName: "P-256", exportable: true, contentType: "application/x-pem-file", validityInMonths: 4,
};

const made = await (await client.beginCreateCertificate("shop", policy, { ...quick, tags: { a: "b" } })).pollUntilDone();
const cert = new X509Certificate(made.cer);
assert.equal(cert.subject, "CN=shop.example");
assert.equal(cert.subjectAltName, "DNS:shop.example, DNS:www.shop.example");
assert.deepEqual(made.properties.tags, { a: "b" });
const text = (await secrets.getSecret("shop")).value;
assert.ok(cert.checkPrivateKey(createPrivateKey(text)));
assert.equal((await client.getCertificateVersion("shop", made.properties.version)).id, made.id);
assert.equal((await client.getCertificatePolicy("shop")).validityInMonths, 4);
await client.updateCertificatePolicy("shop", { ...policy, validityInMonths: 5 });
assert.equal((await client.getCertificatePolicy("shop")).validityInMonths, 5);
assert.equal((await client.updateCertificateProperties("shop", made.properties.version, { enabled: false })).properties.enabled, false);

const again = await client.importCertificate("again", Buffer.from(text), { policy: { contentType: "application/x-pem-file", issuerName: "Unknown" } });
assert.deepEqual(again.cer, made.cer);
await refused(400, "BadParameter", () => client.importCertificate("again", Buffer.from("no certificate")));

const poller = await client.beginCreateCertificate("waits", { ...policy, issuerName: "Unknown" }, quick);
assert.ok(!poller.isDone());
await client.deleteCertificateOperation("waits");
await refused(404, "NotFound", () => client.getCertificateOperation("waits"));

const blob = await client.backupCertificate("shop");
await (await client.beginDeleteCertificate("shop", quick)).pollUntilDone();
assert.deepEqual((await all(client.listDeletedCertificates())).map((c) => c.name), ["shop"]);
await (await client.beginRecoverDeletedCertificate("shop", quick)).pollUntilDone();
await (await client.beginDeleteCertificate("shop", quick)).pollUntilDone();
await client.purgeDeletedCertificate("shop");
await refused(404, "CertificateNotFound", () => client.getCertificate("shop"));
assert.equal((await client.restoreCertificateBackup(blob)).id, made.id);
assert.deepEqual((await all(client.listPropertiesOfCertificates())).map((c) => c.name).sort(), ["again", "shop"]);
assert.equal((await all(client.listPropertiesOfCertificateVersions("shop"))).length, 1);

await client.setContacts([{ email: "a@b", name: "A" }]);
assert.equal((await client.getContacts())[0].email, "a@b");
await client.deleteContacts();
await client.createIssuer("ca", "DigiCert", { accountId: "a", password: "p" });
assert.equal((await client.getIssuer("ca")).provider, "DigiCert");
await client.deleteIssuer("ca");
console.log("ok");
