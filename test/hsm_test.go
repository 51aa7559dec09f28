package test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
	"path/filepath"
	"slices"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// TestKeysInHSM: keys of the types that end in -HSM are made in a SoftHSM2 token and stay there, through a
// restart; without the token what needs it is refused, and the rest goes on.
func TestKeysInHSM(t *testing.T) {
	bin, module := softTokens(t)
	s := &scenario{server: &server{t: t, bin: bin, dir: filepath.Join(t.TempDir(), "data"), log: &lockedBuffer{},
		args: []string{"--hsm", "pkcs11:token=first?module-path=" + module}}}
	s.start()
	t.Cleanup(s.stop)
	s.connect()
	if err := s.op.CreateGroup(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.newVault(clientVault)
	keys := func() *azkeys.Client {
		c, err := azkeys.NewClient(clientVaultURL, s.op.Credential, &azkeys.ClientOptions{ClientOptions: options(s).ClientOptions})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, ctx := keys(), t.Context()
	for name, p := range map[string]azkeys.CreateKeyParameters{
		"rsa": {Kty: ptr(azkeys.KeyTypeRSAHSM)}, "ec": {Kty: ptr(azkeys.KeyTypeECHSM), Curve: ptr(azkeys.CurveNameP256)}, "oct": {Kty: ptr(azkeys.KeyTypeOctHSM)}, "soft": {Kty: ptr(azkeys.KeyTypeEC)},
	} {
		k, err := c.CreateKey(ctx, name, p, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		if inHSM := *k.Attributes.HSMPlatform != "0"; inHSM == (name == "soft") {
			t.Errorf("%s: platform %s", name, *k.Attributes.HSMPlatform)
		}
	}
	wrapped := useKeys(t, c)
	s.stop()
	s.start()
	s.connect()
	c = keys()
	for name, w := range wrapped {
		out, err := c.UnwrapKey(ctx, name, "", azkeys.KeyOperationParameters{Algorithm: ptr(wrapAlgorithms[name]), Value: w}, nil)
		if err != nil || !bytes.Equal(out.Result, make([]byte, 32)) {
			t.Errorf("%s after a restart: %v", name, err)
		}
	}
	if _, err := c.BackupKey(ctx, "rsa", nil); err == nil {
		t.Error("a key left its token")
	}
	s.stop()
	s.args = nil // without the token
	s.start()
	s.connect()
	c = keys()
	if _, err := c.UnwrapKey(ctx, "rsa", "", azkeys.KeyOperationParameters{Algorithm: ptr(wrapAlgorithms["rsa"]), Value: wrapped["rsa"]}, nil); contains(err, "503", "HsmUnavailable") != nil {
		t.Errorf("without the token: %v", err)
	}
	if _, err := c.GetKey(ctx, "rsa", "", nil); err != nil {
		t.Error(err)
	}
}

var wrapAlgorithms = map[string]azkeys.EncryptionAlgorithm{"rsa": azkeys.EncryptionAlgorithmRSAOAEP256, "oct": azkeys.EncryptionAlgorithmA256KW}

// useKeys wraps with two of the keys, and checks a signature of the third with the public half.
func useKeys(t *testing.T, c *azkeys.Client) map[string][]byte {
	t.Helper()
	wrapped := map[string][]byte{}
	for name, alg := range wrapAlgorithms {
		out, err := c.WrapKey(t.Context(), name, "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: make([]byte, 32)}, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		wrapped[name] = out.Result
	}
	digest := sha256.Sum256([]byte("x"))
	signed, err := c.Sign(t.Context(), "ec", "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmES256), Value: digest[:]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.GetKey(t.Context(), "ec", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, k.Key.X, k.Key.Y))
	if err != nil || !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signed.Result[:32]), new(big.Int).SetBytes(signed.Result[32:])) {
		t.Errorf("the token's signature does not verify: %v", err)
	}
	return wrapped
}
