import com.azure.core.exception.HttpResponseException;
import com.azure.core.util.polling.SyncPoller;
import com.azure.identity.ClientSecretCredential;
import com.azure.identity.ClientSecretCredentialBuilder;
import com.azure.security.keyvault.keys.KeyClient;
import com.azure.security.keyvault.keys.KeyClientBuilder;
import com.azure.security.keyvault.keys.cryptography.CryptographyClient;
import com.azure.security.keyvault.keys.cryptography.CryptographyClientBuilder;
import com.azure.security.keyvault.keys.cryptography.models.DecryptParameters;
import com.azure.security.keyvault.keys.cryptography.models.EncryptParameters;
import com.azure.security.keyvault.keys.cryptography.models.EncryptResult;
import com.azure.security.keyvault.keys.cryptography.models.EncryptionAlgorithm;
import com.azure.security.keyvault.keys.cryptography.models.KeyWrapAlgorithm;
import com.azure.security.keyvault.keys.cryptography.models.SignatureAlgorithm;
import com.azure.security.keyvault.keys.models.CreateEcKeyOptions;
import com.azure.security.keyvault.keys.models.CreateOctKeyOptions;
import com.azure.security.keyvault.keys.models.CreateRsaKeyOptions;
import com.azure.security.keyvault.keys.models.ImportKeyOptions;
import com.azure.security.keyvault.keys.models.JsonWebKey;
import com.azure.security.keyvault.keys.models.KeyCurveName;
import com.azure.security.keyvault.keys.models.KeyOperation;
import com.azure.security.keyvault.keys.models.KeyReleasePolicy;
import com.azure.security.keyvault.keys.models.KeyRotationLifetimeAction;
import com.azure.security.keyvault.keys.models.KeyRotationPolicy;
import com.azure.security.keyvault.keys.models.KeyRotationPolicyAction;
import com.azure.security.keyvault.keys.models.KeyVaultKey;
import com.azure.security.keyvault.secrets.SecretClient;
import com.azure.security.keyvault.secrets.SecretClientBuilder;
import com.azure.security.keyvault.secrets.models.KeyVaultSecret;
import com.azure.core.util.BinaryData;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;

/**
 * The Java clients against a vault: VAULT_URL names it. What the vault makes is checked with the JDK's own
 * cryptography, and the other way round. Ends with "ok" or with an exception.
 */
public final class Vault {
  private static final String URL = System.getenv("VAULT_URL");
  private static final ClientSecretCredential CREDENTIAL = new ClientSecretCredentialBuilder()
      .tenantId(System.getenv("AZURE_TENANT_ID")).clientId(System.getenv("AZURE_CLIENT_ID"))
      .clientSecret(System.getenv("AZURE_CLIENT_SECRET")).build();
  private static final KeyClient KEYS = new KeyClientBuilder().vaultUrl(URL).credential(CREDENTIAL).buildClient();
  private static final SecretClient SECRETS = new SecretClientBuilder().vaultUrl(URL).credential(CREDENTIAL).buildClient();
  private static final byte[] MESSAGE = "what is signed".getBytes();
  private static final int MANY = 27; // more than a page has
  private static final OffsetDateTime LATE = OffsetDateTime.parse("2099-01-01T00:00:00Z");

  public static void main(String[] args) throws Exception {
    rsa();
    ec();
    oct();
    life();
    rotation();
    release();
    secrets();
    pages();
    check(KEYS.getRandomBytes(128).length == 128, "random");
    System.out.println("ok");
    System.exit(0); // the client's threads may outlive it
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  private static void same(byte[] got, byte[] want, String what) {
    check(Arrays.equals(got, want), what);
  }

  /** The call must be refused with the status, in these words. */
  private static void refused(int status, String words, Runnable call) {
    try {
      call.run();
    } catch (HttpResponseException e) {
      check(e.getResponse().getStatusCode() == status && e.getMessage().contains(words), e.getMessage());
      return;
    }
    throw new AssertionError("not refused: " + words);
  }

  private static CryptographyClient crypto(KeyVaultKey key) {
    return new CryptographyClientBuilder().credential(CREDENTIAL).keyIdentifier(key.getId()).buildClient();
  }

  private static byte[] digest(String bits) throws Exception {
    return MessageDigest.getInstance("SHA-" + bits).digest(MESSAGE);
  }

  private static Cipher oaep(String hash, PublicKey key) throws Exception {
    Cipher c = Cipher.getInstance("RSA/ECB/OAEPPadding");
    c.init(Cipher.ENCRYPT_MODE, key, new OAEPParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), PSource.PSpecified.DEFAULT));
    return c;
  }

  private static void rsa() throws Exception {
    KeyVaultKey key = KEYS.createRsaKey(new CreateRsaKeyOptions("rsa").setKeySize(2048));
    PublicKey local = key.getKey().toRsa().getPublic();
    CryptographyClient c = crypto(key);
    Cipher pkcs1 = Cipher.getInstance("RSA/ECB/PKCS1Padding");
    pkcs1.init(Cipher.ENCRYPT_MODE, local);
    byte[] plain = "plain".getBytes();
    for (Map.Entry<String, Cipher> e : Map.of("RSA-OAEP", oaep("SHA-1", local), "RSA-OAEP-256", oaep("SHA-256", local), "RSA1_5", pkcs1).entrySet()) {
      EncryptionAlgorithm algorithm = EncryptionAlgorithm.fromString(e.getKey());
      KeyWrapAlgorithm wrap = KeyWrapAlgorithm.fromString(e.getKey());
      same(c.decrypt(algorithm, e.getValue().doFinal(plain)).getPlainText(), plain, e.getKey());
      same(c.unwrapKey(wrap, e.getValue().doFinal(plain)).getKey(), plain, e.getKey());
      same(c.decrypt(algorithm, c.encrypt(algorithm, plain).getCipherText()).getPlainText(), plain, e.getKey());
      same(c.unwrapKey(wrap, c.wrapKey(wrap, plain).getEncryptedKey()).getKey(), plain, e.getKey());
    }
    for (String bits : List.of("256", "384", "512")) {
      Signature pss = Signature.getInstance("RSASSA-PSS");
      pss.setParameter(new PSSParameterSpec("SHA-" + bits, "MGF1", new MGF1ParameterSpec("SHA-" + bits), Integer.parseInt(bits) / 8, 1));
      for (Map.Entry<String, Signature> e : Map.of("RS" + bits, Signature.getInstance("SHA" + bits + "withRSA"), "PS" + bits, pss).entrySet()) {
        signs(c, e.getKey(), bits, e.getValue(), local);
      }
    }
    refused(400, "BadParameter", () -> c.decrypt(EncryptionAlgorithm.RSA_OAEP, new byte[256]));
    KeyPairGenerator g = KeyPairGenerator.getInstance("RSA");
    g.initialize(2048);
    KeyPair pair = g.generateKeyPair();
    KeyVaultKey in = KEYS.importKey(new ImportKeyOptions("rsa-in", JsonWebKey.fromRsa(pair).setKeyOps(List.of(KeyOperation.SIGN, KeyOperation.VERIFY))).setHardwareProtected(true));
    check(in.getKeyType().toString().equals("RSA-HSM") && in.getKey().getD() == null, "import");
    Signature mine = Signature.getInstance("SHA256withRSA");
    mine.initSign(pair.getPrivate());
    mine.update(MESSAGE);
    check(crypto(in).verify(SignatureAlgorithm.RS256, digest("256"), mine.sign()).isValid(), "imported RSA");
  }

  /** The vault signs; the JDK and the vault find the signature good, and bad for another digest. */
  private static void signs(CryptographyClient c, String name, String bits, Signature local, PublicKey key) throws Exception {
    SignatureAlgorithm algorithm = SignatureAlgorithm.fromString(name);
    byte[] signature = c.sign(algorithm, digest(bits)).getSignature();
    if (local != null) {
      local.initVerify(key);
      local.update(MESSAGE);
      check(local.verify(signature), name);
    }
    check(c.verify(algorithm, digest(bits), signature).isValid(), name + " verify");
    check(!c.verify(algorithm, new byte[Integer.parseInt(bits) / 8], signature).isValid(), name + " verify another");
  }

  private static void ec() throws Exception {
    for (String[] x : new String[][] {
        {"P-256", "ES256", "256", "secp256r1"}, {"P-384", "ES384", "384", "secp384r1"}, {"P-521", "ES512", "512", "secp521r1"}}) {
      KeyVaultKey key = KEYS.createEcKey(new CreateEcKeyOptions("ec-" + x[0]).setCurveName(KeyCurveName.fromString(x[0])));
      Signature local = Signature.getInstance("SHA" + x[2] + "withECDSAinP1363Format");
      signs(crypto(key), x[1], x[2], local, key.getKey().toEc().getPublic());
      KeyPairGenerator g = KeyPairGenerator.getInstance("EC");
      g.initialize(new ECGenParameterSpec(x[3]));
      KeyPair pair = g.generateKeyPair();
      KeyVaultKey in = KEYS.importKey("in-" + x[0], JsonWebKey.fromEc(pair, g.getProvider()).setKeyOps(List.of(KeyOperation.SIGN, KeyOperation.VERIFY)));
      local.initSign(pair.getPrivate());
      local.update(MESSAGE);
      check(crypto(in).verify(SignatureAlgorithm.fromString(x[1]), digest(x[2]), local.sign()).isValid(), "imported " + x[0]);
    }
    // The JDK has no P-256K any more: this signature is the vault's business alone.
    KeyVaultKey koblitz = KEYS.createEcKey(new CreateEcKeyOptions("ec-P-256K").setCurveName(KeyCurveName.P_256K));
    check(koblitz.getKey().getX().length == 32, "P-256K");
    signs(crypto(koblitz), "ES256K", "256", null, null);
    refused(400, "incompatible", () -> crypto(KEYS.getKey("ec-P-256")).sign(SignatureAlgorithm.ES384, new byte[48]));
  }

  private static EncryptParameters[] sealing(int size, byte[] text, byte[] block, byte[] iv, byte[] aad) {
    return switch (size) {
      case 128 -> new EncryptParameters[] {EncryptParameters.createA128GcmParameters(text, aad), EncryptParameters.createA128CbcParameters(block, iv), EncryptParameters.createA128CbcPadParameters(text, iv)};
      case 192 -> new EncryptParameters[] {EncryptParameters.createA192GcmParameters(text, aad), EncryptParameters.createA192CbcParameters(block, iv), EncryptParameters.createA192CbcPadParameters(text, iv)};
      default -> new EncryptParameters[] {EncryptParameters.createA256GcmParameters(text, aad), EncryptParameters.createA256CbcParameters(block, iv), EncryptParameters.createA256CbcPadParameters(text, iv)};
    };
  }

  private static DecryptParameters opening(int size, byte[] text, byte[] iv, byte[] tag, byte[] aad) {
    return switch (size) {
      case 128 -> DecryptParameters.createA128GcmParameters(text, iv, tag, aad);
      case 192 -> DecryptParameters.createA192GcmParameters(text, iv, tag, aad);
      default -> DecryptParameters.createA256GcmParameters(text, iv, tag, aad);
    };
  }

  private static DecryptParameters openingCBC(int size, byte[] text, byte[] iv) {
    return switch (size) {
      case 128 -> DecryptParameters.createA128CbcPadParameters(text, iv);
      case 192 -> DecryptParameters.createA192CbcPadParameters(text, iv);
      default -> DecryptParameters.createA256CbcPadParameters(text, iv);
    };
  }

  private static byte[] run(String transformation, int mode, SecretKey key, java.security.spec.AlgorithmParameterSpec spec, byte[] aad, byte[] in) throws Exception {
    Cipher c = Cipher.getInstance(transformation);
    c.init(mode, key, spec);
    if (aad != null) {
      c.updateAAD(aad);
    }
    return c.doFinal(in);
  }

  private static byte[] concat(byte[] a, byte[] b) {
    byte[] out = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, out, a.length, b.length);
    return out;
  }

  private static void oct() throws Exception {
    byte[] iv = "sixteen bytes iv".getBytes();
    byte[] aad = "aad".getBytes();
    byte[] block = new byte[32];
    for (int size : new int[] {128, 192, 256}) {
      byte[] bytes = new byte[size / 8];
      new SecureRandom().nextBytes(bytes);
      SecretKey secret = new SecretKeySpec(bytes, "AES");
      JsonWebKey jwk = JsonWebKey.fromAes(secret, List.of(KeyOperation.ENCRYPT, KeyOperation.DECRYPT, KeyOperation.WRAP_KEY, KeyOperation.UNWRAP_KEY, KeyOperation.SIGN, KeyOperation.VERIFY));
      KeyVaultKey key = KEYS.importKey(new ImportKeyOptions("oct-" + size, jwk).setHardwareProtected(true));
      check(key.getKey().getK() == null && key.getKeyType().toString().equals("oct-HSM"), "oct");
      CryptographyClient c = crypto(key);
      EncryptParameters[] seal = sealing(size, MESSAGE, block, iv, aad);
      EncryptResult gcm = c.encrypt(seal[0], com.azure.core.util.Context.NONE);
      same(run("AES/GCM/NoPadding", Cipher.DECRYPT_MODE, secret, new GCMParameterSpec(128, gcm.getIv()), aad, concat(gcm.getCipherText(), gcm.getAuthenticationTag())), MESSAGE, "GCM");
      byte[] nonce = Arrays.copyOf(iv, 12);
      byte[] mine = run("AES/GCM/NoPadding", Cipher.ENCRYPT_MODE, secret, new GCMParameterSpec(128, nonce), aad, MESSAGE);
      byte[] text = Arrays.copyOf(mine, MESSAGE.length);
      byte[] tag = Arrays.copyOfRange(mine, MESSAGE.length, mine.length);
      same(c.decrypt(opening(size, text, nonce, tag, aad), com.azure.core.util.Context.NONE).getPlainText(), MESSAGE, "GCM back");
      refused(400, "BadParameter", () -> c.decrypt(opening(size, text, nonce, new byte[16], aad), com.azure.core.util.Context.NONE));
      IvParameterSpec vector = new IvParameterSpec(iv);
      same(c.encrypt(seal[1], com.azure.core.util.Context.NONE).getCipherText(), run("AES/CBC/NoPadding", Cipher.ENCRYPT_MODE, secret, vector, null, block), "CBC");
      byte[] padded = run("AES/CBC/PKCS5Padding", Cipher.ENCRYPT_MODE, secret, vector, null, MESSAGE);
      same(c.encrypt(seal[2], com.azure.core.util.Context.NONE).getCipherText(), padded, "CBCPAD");
      same(c.decrypt(openingCBC(size, padded, iv), com.azure.core.util.Context.NONE).getPlainText(), MESSAGE, "CBCPAD back");
      Cipher wrap = Cipher.getInstance("AESWrap");
      wrap.init(Cipher.WRAP_MODE, secret);
      byte[] wrapped = wrap.wrap(new SecretKeySpec(block, "AES"));
      for (String name : List.of("A" + size + "KW", "CKM_AES_KEY_WRAP")) {
        same(c.wrapKey(KeyWrapAlgorithm.fromString(name), block).getEncryptedKey(), wrapped, name);
        same(c.unwrapKey(KeyWrapAlgorithm.fromString(name), wrapped).getKey(), block, name);
      }
      for (String bits : List.of("256", "384", "512")) {
        Mac mac = Mac.getInstance("HmacSHA" + bits);
        mac.init(secret);
        same(c.sign(SignatureAlgorithm.fromString("HS" + bits), digest(bits)).getSignature(), mac.doFinal(digest(bits)), "HS" + bits);
        signs(c, "HS" + bits, bits, null, null);
      }
    }
    check(KEYS.createOctKey(new CreateOctKeyOptions("oct-made").setKeySize(192)).getKeyType().toString().equals("oct"), "made");
  }

  /** Waits for a poller without its pause of a second. */
  private static <T, U> T done(SyncPoller<T, U> poller) {
    poller.setPollInterval(Duration.ofMillis(5));
    return poller.waitForCompletion().getValue();
  }

  private static void life() {
    KeyVaultKey first = KEYS.createEcKey(new CreateEcKeyOptions("life").setTags(Map.of("n", "1")).setNotBefore(LATE).setExpiresOn(LATE.plusDays(1)));
    check(first.getProperties().isEnabled() && first.getProperties().getExpiresOn().isEqual(LATE.plusDays(1)) && first.getProperties().getRecoverableDays() == 90, "first");
    refused(403, "not yet valid", () -> crypto(first).sign(SignatureAlgorithm.ES256, new byte[32]));
    KeyVaultKey second = KEYS.createEcKey(new CreateEcKeyOptions("life"));
    check(KEYS.getKey("life").getId().equals(second.getId()), "current");
    check(KEYS.getKey("life", first.getProperties().getVersion()).getId().equals(first.getId()), "version");
    KeyVaultKey changed = KEYS.updateKeyProperties(second.getProperties().setEnabled(false).setExpiresOn(LATE).setTags(Map.of("a", "b")), KeyOperation.SIGN);
    check(!changed.getProperties().isEnabled() && changed.getProperties().getTags().equals(Map.of("a", "b")) && changed.getKeyOperations().equals(List.of(KeyOperation.SIGN)), "updated");
    refused(403, "disabled", () -> crypto(changed).sign(SignatureAlgorithm.ES256, new byte[32]));
    byte[] backup = KEYS.backupKey("life");
    refused(409, "Conflict", () -> KEYS.restoreKeyBackup(backup));
    check(done(KEYS.beginDeleteKey("life")).getRecoveryId().equals(URL + "/deletedkeys/life"), "deleted");
    refused(404, "KeyNotFound", () -> KEYS.getKey("life"));
    refused(409, "deleted but recoverable", () -> KEYS.createEcKey(new CreateEcKeyOptions("life")));
    check(KEYS.getDeletedKey("life").getId().equals(second.getId()), "deleted key");
    check(done(KEYS.beginRecoverDeletedKey("life")).getId().equals(second.getId()), "recovered");
    done(KEYS.beginDeleteKey("life"));
    KEYS.purgeDeletedKey("life");
    refused(404, "KeyNotFound", () -> KEYS.getDeletedKey("life"));
    check(KEYS.restoreKeyBackup(backup).getId().equals(second.getId()), "restored");
    refused(400, "Backup blob is corrupt", () -> KEYS.restoreKeyBackup(Arrays.copyOf(backup, backup.length - 3)));
  }

  private static void rotation() {
    KeyVaultKey key = KEYS.createEcKey(new CreateEcKeyOptions("rotate"));
    check(KEYS.getKeyRotationPolicy("rotate").getLifetimeActions().get(0).getAction().equals(KeyRotationPolicyAction.NOTIFY), "no policy");
    KeyRotationPolicy policy = KEYS.updateKeyRotationPolicy("rotate", new KeyRotationPolicy().setExpiresIn("P90D")
        .setLifetimeActions(List.of(new KeyRotationLifetimeAction(KeyRotationPolicyAction.ROTATE).setTimeBeforeExpiry("P20D"))));
    check(policy.getExpiresIn().equals("P90D") && policy.getLifetimeActions().size() == 2 && policy.getId() != null, "policy");
    KeyVaultKey after = KEYS.rotateKey("rotate");
    check(!after.getId().equals(key.getId()) && after.getProperties().getExpiresOn().equals(after.getProperties().getCreatedOn().plusDays(90)), "rotated");
  }

  private static void release() {
    String text = "{\"version\":\"1.0.0\",\"anyOf\":[{\"authority\":\"https://x.attest.azure.net\",\"allOf\":[{\"claim\":\"c\",\"equals\":\"v\"}]}]}";
    KeyVaultKey key = KEYS.createRsaKey(new CreateRsaKeyOptions("release").setExportable(true).setReleasePolicy(new KeyReleasePolicy(BinaryData.fromString(text)).setImmutable(true)));
    check(key.getProperties().isExportable() && key.getProperties().getReleasePolicy().getEncodedPolicy().toString().equals(text), "policy");
    refused(403, "Target environment attestation statement cannot be verified", () -> KEYS.releaseKey("release", "a.b.c"));
  }

  private static void secrets() {
    KeyVaultSecret first = SECRETS.setSecret(new KeyVaultSecret("s", "ünï\n\"").setProperties(new com.azure.security.keyvault.secrets.models.SecretProperties()
        .setContentType("text/plain").setTags(Map.of("a", "b")).setExpiresOn(LATE)));
    check(first.getValue().equals("ünï\n\"") && first.getProperties().getExpiresOn().isEqual(LATE) && first.getProperties().getTags().equals(Map.of("a", "b")), "set");
    KeyVaultSecret second = SECRETS.setSecret("s", "two");
    check(SECRETS.getSecret("s").getValue().equals("two") && SECRETS.getSecret("s", first.getProperties().getVersion()).getValue().equals(first.getValue()), "get");
    check(SECRETS.updateSecretProperties(second.getProperties().setContentType("x/y").setEnabled(false)).getContentType().equals("x/y"), "update");
    refused(403, "disabled secret", () -> SECRETS.getSecret("s"));
    SECRETS.updateSecretProperties(second.getProperties().setEnabled(true));
    byte[] backup = SECRETS.backupSecret("s");
    refused(409, "Conflict", () -> SECRETS.restoreSecretBackup(backup));
    check(done(SECRETS.beginDeleteSecret("s")).getRecoveryId().equals(URL + "/deletedsecrets/s"), "deleted");
    refused(404, "SecretNotFound", () -> SECRETS.getSecret("s"));
    check(SECRETS.getDeletedSecret("s").getProperties().getContentType().equals("x/y"), "deleted secret");
    check(done(SECRETS.beginRecoverDeletedSecret("s")).getName().equals("s"), "recovered");
    done(SECRETS.beginDeleteSecret("s"));
    SECRETS.purgeDeletedSecret("s");
    refused(404, "SecretNotFound", () -> SECRETS.getDeletedSecret("s"));
    check(SECRETS.restoreSecretBackup(backup).getName().equals("s") && SECRETS.getSecret("s").getValue().equals("two"), "restored");
  }

  private static void pages() {
    for (int i = 0; i < MANY; i++) {
      KEYS.createOctKey(new CreateOctKeyOptions("page-" + i));
      KEYS.createOctKey(new CreateOctKeyOptions("versions"));
      SECRETS.setSecret("page-" + i, "x");
      SECRETS.setSecret("versions", "x");
    }
    check(KEYS.listPropertiesOfKeys().stream().filter(k -> k.getName().startsWith("page-")).count() == MANY, "keys");
    check(SECRETS.listPropertiesOfSecrets().stream().filter(s -> s.getName().startsWith("page-")).count() == MANY, "secrets");
    check(KEYS.listPropertiesOfKeyVersions("versions").streamByPage().map(p -> p.getValue().size()).toList().equals(List.of(25, 2)), "versions of a key");
    check(SECRETS.listPropertiesOfSecretVersions("versions").stream().count() == MANY, "versions of a secret");
    for (int i = 0; i < MANY; i++) {
      done(KEYS.beginDeleteKey("page-" + i));
      done(SECRETS.beginDeleteSecret("page-" + i));
    }
    check(KEYS.listDeletedKeys().stream().filter(k -> k.getName().startsWith("page-")).count() == MANY, "deleted keys");
    check(SECRETS.listDeletedSecrets().stream().filter(s -> s.getName().startsWith("page-")).count() == MANY, "deleted secrets");
  }
}
