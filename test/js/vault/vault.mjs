// The JavaScript clients against a vault: VAULT_URL names it. What the vault makes is checked with Node's
// own cryptography, and the other way round. Ends with "ok" or with an error.
import assert from "node:assert/strict";
import * as crypto from "node:crypto";
import { ClientSecretCredential } from "@azure/identity";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";

const url = process.env.VAULT_URL;
const authorityHost = process.env.AZURE_AUTHORITY_HOST; // of the server's own names, of which the client knows nothing
const credential = new ClientSecretCredential(process.env.AZURE_TENANT_ID, process.env.AZURE_CLIENT_ID, process.env.AZURE_CLIENT_SECRET, {
  authorityHost,
  disableInstanceDiscovery: authorityHost !== undefined,
});
const keys = new KeyClient(url, credential);
const secrets = new SecretClient(url, credential);
const text = (s) => new TextEncoder().encode(s);
const message = text("what is signed");
const b64 = (u) => Buffer.from(u).toString("base64url");
const many = 27; // more than a page has
const soon = { intervalInMs: 5 };
const clientFor = (key) => new CryptographyClient(key, credential);
const digestOf = (bits, data = message) => crypto.createHash("sha" + bits).update(data).digest();
const equal = (a, b) => assert.deepEqual(Buffer.from(a), Buffer.from(b));

async function refused(promise, status, words) {
  await assert.rejects(promise, (e) => {
    assert.equal(e.statusCode, status, e.message);
    assert.ok((e.code + " " + e.message).includes(words), e.code + " " + e.message);
    return true;
  });
}

async function collect(list) {
  const out = [];
  for await (const x of list) out.push(x);
  return out;
}

async function rsaFlow() {
  const key = await keys.createRsaKey("rsa", { keySize: 2048 });
  assert.equal(key.keyType, "RSA");
  assert.equal(key.key.d, undefined);
  const c = clientFor(key);
  const publicKey = crypto.createPublicKey({ key: { kty: "RSA", n: b64(key.key.n), e: b64(key.key.e) }, format: "jwk" });
  for (const [algorithm, padding, oaepHash] of [
    ["RSA-OAEP", crypto.constants.RSA_PKCS1_OAEP_PADDING, "sha1"],
    ["RSA-OAEP-256", crypto.constants.RSA_PKCS1_OAEP_PADDING, "sha256"],
    ["RSA1_5", crypto.constants.RSA_PKCS1_PADDING],
  ]) {
    const local = crypto.publicEncrypt({ key: publicKey, padding, oaepHash }, text("plain"));
    equal((await c.decrypt({ algorithm, ciphertext: local })).result, text("plain"));
    equal((await c.unwrapKey(algorithm, local)).result, text("plain"));
    const sealed = await c.encrypt({ algorithm, plaintext: text("plain") });
    equal((await c.decrypt({ algorithm, ciphertext: sealed.result })).result, text("plain"));
    const wrapped = await c.wrapKey(algorithm, text("a key"));
    assert.equal(wrapped.keyID, key.id);
    equal((await c.unwrapKey(algorithm, wrapped.result)).result, text("a key"));
  }
  for (const bits of ["256", "384", "512"]) {
    const digest = digestOf(bits);
    for (const [algorithm, options] of [
      ["RS" + bits, { padding: crypto.constants.RSA_PKCS1_PADDING }],
      ["PS" + bits, { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST }],
    ]) {
      const signed = (await c.sign(algorithm, digest)).result;
      assert.ok(crypto.verify("sha" + bits, message, { key: publicKey, ...options }, signed), algorithm);
      assert.equal((await c.verify(algorithm, digest, signed)).result, true);
      assert.equal((await c.verify(algorithm, digestOf(bits, "other"), signed)).result, false);
      assert.ok(crypto.verify("sha" + bits, message, { key: publicKey, ...options }, (await c.signData(algorithm, message)).result));
    }
  }
  await refused(c.decrypt({ algorithm: "RSA-OAEP", ciphertext: new Uint8Array(256) }), 400, "BadParameter");
  await refused(keys.createRsaKey("rsa-odd", { keySize: 2000 }), 400, "BadParameter");
  const pair = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = pair.privateKey.export({ format: "jwk" });
  const members = Object.fromEntries(Object.entries(jwk).map(([n, v]) => [n, n === "kty" ? v : Buffer.from(v, "base64url")]));
  const imported = await keys.importKey("rsa-in", members, { hardwareProtected: true });
  assert.equal(imported.keyType, "RSA-HSM");
  const signed = crypto.sign("sha256", message, pair.privateKey);
  assert.equal((await clientFor(imported).verify("RS256", digestOf("256"), signed)).result, true);
}

async function ecFlow() {
  for (const [curve, algorithm, bits, local] of [
    ["P-256", "ES256", "256", "P-256"], ["P-256K", "ES256K", "256", "secp256k1"], ["P-384", "ES384", "384", "P-384"], ["P-521", "ES512", "512", "P-521"],
  ]) {
    const key = await keys.createEcKey("ec-" + curve, { curve });
    assert.equal(key.key.crv, curve);
    const publicKey = crypto.createPublicKey({ key: { kty: "EC", crv: local, x: b64(key.key.x), y: b64(key.key.y) }, format: "jwk" });
    const c = clientFor(key);
    const signed = (await c.sign(algorithm, digestOf(bits))).result;
    assert.ok(crypto.verify("sha" + bits, message, { key: publicKey, dsaEncoding: "ieee-p1363" }, signed), algorithm);
    assert.equal((await c.verify(algorithm, digestOf(bits), signed)).result, true);
    const pair = crypto.generateKeyPairSync("ec", { namedCurve: local });
    const jwk = pair.privateKey.export({ format: "jwk" });
    const [x, y, d] = [jwk.x, jwk.y, jwk.d].map((m) => Buffer.from(m, "base64url"));
    const imported = await keys.importKey("in-" + curve, { kty: "EC", crv: curve, x, y, d });
    equal(imported.key.x, x);
    const mine = crypto.sign("sha" + bits, message, { key: pair.privateKey, dsaEncoding: "ieee-p1363" });
    assert.equal((await clientFor(imported).verify(algorithm, digestOf(bits), mine)).result, true);
    assert.equal((await clientFor(imported).verify(algorithm, digestOf(bits), signed)).result, false);
  }
  await refused(clientFor(await keys.getKey("ec-P-256")).sign("ES384", digestOf("384")), 400, "incompatible");
}

async function octFlow() {
  const iv = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
  for (const size of [128, 192, 256]) {
    const secret = crypto.randomBytes(size / 8);
    const key = await keys.importKey("oct-" + size, { kty: "oct", k: secret, keyOps: ["encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify"] });
    assert.equal(key.key.k, undefined);
    const c = clientFor(key);
    const additionalAuthenticatedData = text("aad");
    const sealed = await c.encrypt({ algorithm: `A${size}GCM`, plaintext: message, additionalAuthenticatedData });
    const open = crypto.createDecipheriv(`aes-${size}-gcm`, secret, sealed.iv).setAAD(additionalAuthenticatedData).setAuthTag(sealed.authenticationTag);
    equal(Buffer.concat([open.update(sealed.result), open.final()]), message);
    const seal = crypto.createCipheriv(`aes-${size}-gcm`, secret, iv.subarray(0, 12)).setAAD(additionalAuthenticatedData);
    const ciphertext = Buffer.concat([seal.update(message), seal.final()]);
    const parameters = { algorithm: `A${size}GCM`, ciphertext, iv: iv.subarray(0, 12), additionalAuthenticatedData };
    equal((await c.decrypt({ ...parameters, authenticationTag: seal.getAuthTag() })).result, message);
    await refused(c.decrypt({ ...parameters, authenticationTag: new Uint8Array(16) }), 400, "BadParameter");
    for (const [mode, plain, padded] of [["CBC", new Uint8Array(32), false], ["CBCPAD", message, true]]) {
      const local = crypto.createCipheriv(`aes-${size}-cbc`, secret, iv).setAutoPadding(padded);
      const expected = Buffer.concat([local.update(plain), local.final()]);
      equal((await c.encrypt({ algorithm: `A${size}${mode}`, plaintext: plain, iv })).result, expected);
      equal((await c.decrypt({ algorithm: `A${size}${mode}`, ciphertext: expected, iv })).result, plain);
    }
    const wrap = crypto.createCipheriv(`id-aes${size}-wrap`, secret, Buffer.alloc(8, 0xa6));
    const wrapped = Buffer.concat([wrap.update(new Uint8Array(32)), wrap.final()]);
    for (const algorithm of [`A${size}KW`, "CKM_AES_KEY_WRAP"]) {
      equal((await c.wrapKey(algorithm, new Uint8Array(32))).result, wrapped);
      equal((await c.unwrapKey(algorithm, wrapped)).result, new Uint8Array(32));
    }
    equal((await c.unwrapKey("CKM_AES_KEY_WRAP_PAD", (await c.wrapKey("CKM_AES_KEY_WRAP_PAD", text("odd"))).result)).result, text("odd"));
    for (const bits of ["256", "384", "512"]) {
      const digest = digestOf(bits);
      const mac = (await c.sign("HS" + bits, digest)).result;
      equal(mac, crypto.createHmac("sha" + bits, secret).update(digest).digest());
      assert.equal((await c.verify("HS" + bits, digest, mac)).result, true);
    }
  }
  assert.equal((await keys.createOctKey("oct-made", { keySize: 192, hsm: true })).keyType, "oct-HSM");
}

async function life() {
  const expiresOn = new Date("2037-01-01T00:00:00Z");
  const first = await keys.createKey("life", "EC", { tags: { n: "1" }, notBefore: new Date("2036-01-01T00:00:00Z"), expiresOn });
  assert.deepEqual([first.properties.enabled, first.properties.tags, first.properties.recoverableDays], [true, { n: "1" }, 90]);
  await assert.rejects(clientFor(first).sign("ES256", digestOf("256")), /can't be used before/); // it does not even ask
  // KV-7: this client cuts times to 32 bits, so that those after January 2038 are negative.
  await refused(keys.createEcKey("kv7", { expiresOn: new Date("2038-02-01T00:00:00Z") }), 400, "must not be negative");
  const second = await keys.createEcKey("life");
  assert.equal((await keys.getKey("life")).id, second.id);
  assert.equal((await keys.getKey("life", { version: first.properties.version })).id, first.id);
  assert.equal((await collect(keys.listPropertiesOfKeyVersions("life"))).length, 2);
  const changed = await keys.updateKeyProperties("life", { enabled: false, expiresOn, tags: { a: "b" }, keyOps: ["sign"] });
  assert.deepEqual([changed.properties.enabled, changed.properties.expiresOn, changed.properties.tags, changed.keyOperations], [false, expiresOn, { a: "b" }, ["sign"]]);
  await refused(clientFor(changed).sign("ES256", digestOf("256")), 403, "disabled");
  const backup = await keys.backupKey("life");
  await refused(keys.restoreKeyBackup(backup), 409, "Conflict");
  const deleted = await (await keys.beginDeleteKey("life", soon)).pollUntilDone();
  assert.equal(deleted.properties.recoveryId, url + "/deletedkeys/life");
  await refused(keys.getKey("life"), 404, "KeyNotFound");
  await refused(keys.createEcKey("life"), 409, "deleted but recoverable");
  assert.equal((await keys.getDeletedKey("life")).id, second.id);
  assert.equal((await (await keys.beginRecoverDeletedKey("life", soon)).pollUntilDone()).id, second.id);
  await (await keys.beginDeleteKey("life", soon)).pollUntilDone();
  await keys.purgeDeletedKey("life");
  await refused(keys.getDeletedKey("life"), 404, "KeyNotFound");
  assert.equal((await keys.restoreKeyBackup(backup)).id, second.id);
  await refused(keys.restoreKeyBackup(backup.subarray(0, backup.length - 3)), 400, "Backup blob is corrupt");
  assert.equal((await keys.getRandomBytes(128)).length, 128);
}

async function rotation() {
  const key = await keys.createRsaKey("rotate");
  assert.equal((await keys.getKeyRotationPolicy("rotate")).lifetimeActions[0].action, "Notify");
  const policy = await keys.updateKeyRotationPolicy("rotate", { expiresIn: "P90D", lifetimeActions: [{ action: "Rotate", timeBeforeExpiry: "P20D" }] });
  assert.equal(policy.expiresIn, "P90D");
  assert.ok(policy.createdOn);
  const after = await keys.rotateKey("rotate");
  assert.notEqual(after.id, key.id);
  assert.equal(after.properties.expiresOn - after.properties.createdOn, 90 * 24 * 3600 * 1000);
}

async function release() {
  const encodedPolicy = text(JSON.stringify({ version: "1.0.0", anyOf: [{ authority: "https://x.attest.azure.net", allOf: [{ claim: "c", equals: "v" }] }] }));
  const key = await keys.createRsaKey("release", { exportable: true, hsm: true, releasePolicy: { encodedPolicy, immutable: true } });
  equal(key.properties.releasePolicy.encodedPolicy, encodedPolicy);
  assert.deepEqual([key.properties.exportable, key.properties.releasePolicy.immutable], [true, true]);
  await refused(keys.releaseKey("release", "a.b.c"), 403, "Target environment attestation statement cannot be verified");
  await keys.createEcKey("kept");
  await refused(keys.releaseKey("kept", "a.b.c"), 403, "not permitted");
}

async function secretFlow() {
  const expiresOn = new Date("2037-01-01T00:00:00Z");
  const first = await secrets.setSecret("s", 'ünï\n"', { contentType: "text/plain", tags: { a: "b" }, expiresOn });
  assert.deepEqual([first.value, first.properties.contentType, first.properties.tags, first.properties.expiresOn], ['ünï\n"', "text/plain", { a: "b" }, expiresOn]);
  const second = await secrets.setSecret("s", "two");
  assert.equal((await secrets.getSecret("s")).value, "two");
  assert.equal((await secrets.getSecret("s", { version: first.properties.version })).value, first.value);
  const p = await secrets.updateSecretProperties("s", second.properties.version, { contentType: "x/y", enabled: false });
  assert.deepEqual([p.contentType, p.enabled], ["x/y", false]);
  await refused(secrets.getSecret("s"), 403, "disabled secret");
  await secrets.updateSecretProperties("s", second.properties.version, { enabled: true });
  const backup = await secrets.backupSecret("s");
  await refused(secrets.restoreSecretBackup(backup), 409, "Conflict");
  assert.equal((await (await secrets.beginDeleteSecret("s", soon)).pollUntilDone()).recoveryId, url + "/deletedsecrets/s");
  await refused(secrets.getSecret("s"), 404, "SecretNotFound");
  assert.equal((await secrets.getDeletedSecret("s")).properties.contentType, "x/y");
  assert.equal((await (await secrets.beginRecoverDeletedSecret("s", soon)).pollUntilDone()).name, "s");
  await (await secrets.beginDeleteSecret("s", soon)).pollUntilDone();
  await secrets.purgeDeletedSecret("s");
  await refused(secrets.getDeletedSecret("s"), 404, "SecretNotFound");
  assert.equal((await secrets.restoreSecretBackup(backup)).name, "s");
  assert.equal((await secrets.getSecret("s")).value, "two");
}

async function pages() {
  const names = Array.from({ length: many }, (_, i) => "page-" + i);
  await Promise.all(names.flatMap((n) => [keys.createOctKey(n), secrets.setSecret(n, "x")]));
  for (let i = 0; i < many; i++) await Promise.all([keys.createOctKey("versions"), secrets.setSecret("versions", String(i))]);
  const paged = (list) => list.filter((x) => x.name.startsWith("page-")).length;
  assert.equal(paged(await collect(keys.listPropertiesOfKeys())), many);
  assert.equal(paged(await collect(secrets.listPropertiesOfSecrets())), many);
  assert.deepEqual((await collect(keys.listPropertiesOfKeyVersions("versions").byPage({ maxPageSize: 10 }))).map((p) => p.length), [10, 10, 7]);
  assert.deepEqual((await collect(secrets.listPropertiesOfSecretVersions("versions").byPage())).map((p) => p.length), [25, 2]);
  await Promise.all(names.flatMap((n) => [keys.beginDeleteKey(n, soon), secrets.beginDeleteSecret(n, soon)]));
  assert.equal(paged(await collect(keys.listDeletedKeys())), many);
  assert.equal(paged(await collect(secrets.listDeletedSecrets())), many);
}

for (const flow of [rsaFlow, ecFlow, octFlow, life, rotation, release, secretFlow, pages]) await flow();
console.log("ok");
