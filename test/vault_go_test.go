package test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	koblitz "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// many is more than a page of a list has.
const many = 27

// goVault is a vault with the clients for Go.
type goVault struct {
	*scenario
	keys    *azkeys.Client
	secrets *azsecrets.Client
}

func newGoVault(t *testing.T) *goVault {
	t.Helper()
	v := &goVault{scenario: vaultScenario(t)}
	ko, so := &azkeys.ClientOptions{}, &azsecrets.ClientOptions{}
	ko.Transport, so.Transport = v.http, v.http
	var err error
	if v.keys, err = azkeys.NewClient(clientVaultURL, v.op.Credential, ko); err != nil {
		t.Fatal(err)
	}
	if v.secrets, err = azsecrets.NewClient(clientVaultURL, v.op.Credential, so); err != nil {
		t.Fatal(err)
	}
	return v
}

// ok returns v, or fails the test.
func ok[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refusedAs fails the test unless err is an answer with the status and the words.
func refusedAs(t *testing.T, err error, status int, words string) {
	t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.StatusCode != status || !strings.Contains(re.Error(), words) {
		t.Errorf("want %d %q, got %v", status, words, err)
	}
}

// TestVaultGo runs azkeys and azsecrets: every type of key and every algorithm, checked with the standard
// library, and what else the clients offer.
func TestVaultGo(t *testing.T) {
	t.Parallel()
	v := newGoVault(t)
	t.Run("RSA", v.testRSA)
	t.Run("EC", v.testEC)
	t.Run("oct", v.testOct)
	t.Run("life", v.testLife)
	t.Run("pages", v.testPages)
	t.Run("rotation", v.testRotation)
	t.Run("release", v.testRelease)
	t.Run("secrets", v.testSecrets)
}

func (v *goVault) create(t *testing.T, name string, p azkeys.CreateKeyParameters) azkeys.KeyBundle {
	t.Helper()
	return ok(v.keys.CreateKey(t.Context(), name, p, nil))(t).KeyBundle
}

// operation is one of the four operations that look alike.
type operation func(name string, in azkeys.KeyOperationParameters) (azkeys.KeyOperationResult, error)

func (v *goVault) operations(ctx context.Context) map[string]operation {
	return map[string]operation{
		"encrypt": func(n string, p azkeys.KeyOperationParameters) (azkeys.KeyOperationResult, error) {
			r, err := v.keys.Encrypt(ctx, n, "", p, nil)
			return r.KeyOperationResult, err
		},
		"decrypt": func(n string, p azkeys.KeyOperationParameters) (azkeys.KeyOperationResult, error) {
			r, err := v.keys.Decrypt(ctx, n, "", p, nil)
			return r.KeyOperationResult, err
		},
		"wrapKey": func(n string, p azkeys.KeyOperationParameters) (azkeys.KeyOperationResult, error) {
			r, err := v.keys.WrapKey(ctx, n, "", p, nil)
			return r.KeyOperationResult, err
		},
		"unwrapKey": func(n string, p azkeys.KeyOperationParameters) (azkeys.KeyOperationResult, error) {
			r, err := v.keys.UnwrapKey(ctx, n, "", p, nil)
			return r.KeyOperationResult, err
		},
	}
}

func (v *goVault) sign(t *testing.T, name, algorithm string, digest []byte) []byte {
	t.Helper()
	return ok(v.keys.Sign(t.Context(), name, "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithm(algorithm)), Value: digest}, nil))(t).Result
}

// verifies fails the test unless the vault finds the signature good, and good for this digest only.
func (v *goVault) verifies(t *testing.T, name, algorithm string, digest, signature []byte) {
	t.Helper()
	for want, digest := range map[bool][]byte{true: digest, false: bytes.Repeat([]byte{7}, len(digest))} {
		p := azkeys.VerifyParameters{Algorithm: ptr(azkeys.SignatureAlgorithm(algorithm)), Digest: digest, Signature: signature}
		if got := *ok(v.keys.Verify(t.Context(), name, "", p, nil))(t).Value; got != want {
			t.Errorf("%s: verify says %v, want %v", algorithm, got, want)
		}
	}
}

func digestOf(h crypto.Hash, text string) []byte {
	d := h.New()
	d.Write([]byte(text))
	return d.Sum(nil)
}

var hashOf = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

var _, _ = sha256.New, sha512.New // the hashes of the algorithms are linked in

func (v *goVault) testRSA(t *testing.T) {
	for _, bits := range []int32{2048, 3072, 4096} {
		for _, kty := range []azkeys.KeyType{azkeys.KeyTypeRSA, azkeys.KeyTypeRSAHSM} {
			if bits > 2048 && kty == azkeys.KeyTypeRSAHSM {
				continue
			}
			name := fmt.Sprint(kty, bits)
			key := v.create(t, name, azkeys.CreateKeyParameters{Kty: ptr(kty), KeySize: ptr(bits)}).Key
			if *key.Kty != kty || len(key.N) != int(bits/8) || key.D != nil || len(key.KeyOps) != 6 {
				t.Errorf("%s: %d bytes, %v", *key.Kty, len(key.N), key.KeyOps)
			}
			public := &rsa.PublicKey{N: new(big.Int).SetBytes(key.N), E: int(new(big.Int).SetBytes(key.E).Int64())}
			v.testRSAEncryption(t, name, public)
			v.testRSASignatures(t, name, public)
		}
	}
	private := ok(rsa.GenerateKey(rand.Reader, 2048))(t)
	jwk := &azkeys.JSONWebKey{
		Kty: ptr(azkeys.KeyTypeRSA), N: private.N.Bytes(), E: big.NewInt(int64(private.E)).Bytes(), D: private.D.Bytes(), P: private.Primes[0].Bytes(), Q: private.Primes[1].Bytes(),
		DP: private.Precomputed.Dp.Bytes(), DQ: private.Precomputed.Dq.Bytes(), QI: private.Precomputed.Qinv.Bytes(),
	}
	in := ok(v.keys.ImportKey(t.Context(), "rsa-in", azkeys.ImportKeyParameters{Key: jwk, HSM: ptr(true)}, nil))(t)
	if *in.Key.Kty != azkeys.KeyTypeRSAHSM || !bytes.Equal(in.Key.N, private.N.Bytes()) || in.Key.D != nil {
		t.Errorf("imported: %v", *in.Key.Kty)
	}
	sealed := ok(v.operations(t.Context())["wrapKey"]("rsa-in", azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmRSAOAEP256), Value: []byte("a key")}))(t)
	if got, err := rsa.DecryptOAEP(sha256.New(), nil, private, sealed.Result, nil); err != nil || string(got) != "a key" {
		t.Errorf("the local key opens %q, %v", got, err)
	}
	jwk.P = jwk.Q
	_, err := v.keys.ImportKey(t.Context(), "rsa-odd", azkeys.ImportKeyParameters{Key: jwk}, nil)
	refusedAs(t, err, http.StatusBadRequest, "BadParameter")
}

// testRSAEncryption: what is encrypted by either side, the vault decrypts.
func (v *goVault) testRSAEncryption(t *testing.T, name string, public *rsa.PublicKey) {
	ops := v.operations(t.Context())
	for algorithm, local := range map[azkeys.EncryptionAlgorithm]func([]byte) ([]byte, error){
		azkeys.EncryptionAlgorithmRSAOAEP:    func(p []byte) ([]byte, error) { return rsa.EncryptOAEP(sha1.New(), rand.Reader, public, p, nil) },
		azkeys.EncryptionAlgorithmRSAOAEP256: func(p []byte) ([]byte, error) { return rsa.EncryptOAEP(sha256.New(), rand.Reader, public, p, nil) },
		//lint:ignore SA1019 RSA1_5 is part of the protocol
		azkeys.EncryptionAlgorithmRSA15: func(p []byte) ([]byte, error) { return rsa.EncryptPKCS1v15(rand.Reader, public, p) },
	} {
		for seal, open := range map[string]string{"encrypt": "decrypt", "wrapKey": "unwrapKey"} {
			theirs := ok(ops[seal](name, azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: []byte("plain")}))(t)
			for _, sealed := range [][]byte{theirs.Result, ok(local([]byte("plain")))(t)} {
				got, err := ops[open](name, azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: sealed})
				if err != nil || string(got.Result) != "plain" || got.KID.Version() != theirs.KID.Version() {
					t.Errorf("%s %s: %q, %v", algorithm, open, got.Result, err)
				}
			}
		}
	}
}

func (v *goVault) testRSASignatures(t *testing.T, name string, public *rsa.PublicKey) {
	for bits, h := range hashOf {
		digest := digestOf(h, "message")
		s := v.sign(t, name, "RS"+bits, digest)
		if err := rsa.VerifyPKCS1v15(public, h, digest, s); err != nil {
			t.Errorf("RS%s: %v", bits, err)
		}
		v.verifies(t, name, "RS"+bits, digest, s)
		s = v.sign(t, name, "PS"+bits, digest)
		if err := rsa.VerifyPSS(public, h, digest, s, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
			t.Errorf("PS%s: %v", bits, err)
		}
		v.verifies(t, name, "PS"+bits, digest, s)
	}
	s := v.sign(t, name, "RSNULL", []byte("any bytes"))
	if err := rsa.VerifyPKCS1v15(public, 0, []byte("any bytes"), s); err != nil {
		t.Errorf("RSNULL: %v", err)
	}
	_, err := v.keys.Sign(t.Context(), name, "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmRS256), Value: []byte("no digest")}, nil)
	refusedAs(t, err, http.StatusBadRequest, "BadParameter")
}

// goCurve is a curve as the vault, the algorithm, and the standard library call it.
type goCurve struct {
	name      azkeys.CurveName
	algorithm string
	hash      crypto.Hash
	curve     elliptic.Curve // nil for P-256K, which the standard library has not
	size      int
}

var goCurves = []goCurve{
	{azkeys.CurveNameP256, "ES256", crypto.SHA256, elliptic.P256(), 32},
	{azkeys.CurveNameP256K, "ES256K", crypto.SHA256, nil, 32},
	{azkeys.CurveNameP384, "ES384", crypto.SHA384, elliptic.P384(), 48},
	{azkeys.CurveNameP521, "ES512", crypto.SHA512, elliptic.P521(), 66},
}

// good verifies a signature locally.
func (c goCurve) good(key *azkeys.JSONWebKey, digest, s []byte) bool {
	if len(s) != 2*c.size || len(key.X) != c.size || len(key.Y) != c.size {
		return false
	}
	if c.curve != nil {
		public, err := ecdsa.ParseUncompressedPublicKey(c.curve, append(append([]byte{4}, key.X...), key.Y...))
		return err == nil && ecdsa.Verify(public, digest, new(big.Int).SetBytes(s[:c.size]), new(big.Int).SetBytes(s[c.size:]))
	}
	public, err := secp256k1.ParsePubKey(append(append([]byte{4}, key.X...), key.Y...))
	var r, sv secp256k1.ModNScalar
	return err == nil && !r.SetByteSlice(s[:32]) && !sv.SetByteSlice(s[32:]) && koblitz.NewSignature(&r, &sv).Verify(digest, public)
}

// made is a local key in JWK form, and a local signature with it.
func (c goCurve) made(t *testing.T, digest []byte) (jwk *azkeys.JSONWebKey, signature []byte) {
	t.Helper()
	jwk = &azkeys.JSONWebKey{Kty: ptr(azkeys.KeyTypeEC), Crv: &c.name}
	if c.curve == nil {
		k := ok(secp256k1.GeneratePrivateKey())(t)
		point := k.PubKey().SerializeUncompressed()
		jwk.D, jwk.X, jwk.Y = k.Serialize(), point[1:33], point[33:]
		s := koblitz.SignCompact(k, digest, false)
		return jwk, s[1:]
	}
	k := ok(ecdsa.GenerateKey(c.curve, rand.Reader))(t)
	point := ok(k.PublicKey.Bytes())(t)
	jwk.D, jwk.X, jwk.Y = ok(k.Bytes())(t), point[1:1+c.size], point[1+c.size:]
	r, s, err := ecdsa.Sign(rand.Reader, k, digest)
	if err != nil {
		t.Fatal(err)
	}
	signature = make([]byte, 2*c.size)
	r.FillBytes(signature[:c.size])
	s.FillBytes(signature[c.size:])
	return jwk, signature
}

func (v *goVault) testEC(t *testing.T) {
	for _, c := range goCurves {
		name := "ec-" + string(c.name)
		key := v.create(t, name, azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeECHSM), Curve: &c.name}).Key
		digest := digestOf(c.hash, "message")
		s := v.sign(t, name, c.algorithm, digest)
		if !c.good(key, digest, s) {
			t.Errorf("%s: the vault's signature is not good here", c.algorithm)
		}
		v.verifies(t, name, c.algorithm, digest, s)
		jwk, signature := c.made(t, digest)
		in := ok(v.keys.ImportKey(t.Context(), "in-"+string(c.name), azkeys.ImportKeyParameters{Key: jwk}, nil))(t).Key
		if in.D != nil || !bytes.Equal(in.X, jwk.X) || !bytes.Equal(in.Y, jwk.Y) || *in.Crv != c.name {
			t.Errorf("%s: the imported key came back changed", c.name)
		}
		v.verifies(t, "in-"+string(c.name), c.algorithm, digest, signature)
		other := goCurves[0]
		if other.name == c.name {
			other = goCurves[2]
		}
		_, err := v.keys.Sign(t.Context(), name, "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithm(other.algorithm)), Value: digestOf(other.hash, "")}, nil)
		refusedAs(t, err, http.StatusBadRequest, "incompatible")
		_, err = v.keys.Encrypt(t.Context(), name, "", azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmRSAOAEP), Value: digest}, nil)
		refusedAs(t, err, http.StatusForbidden, "KeyOperationForbidden")
	}
}

func (v *goVault) testOct(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		secret := make([]byte, size)
		rand.Read(secret)
		name := fmt.Sprint("oct-", 8*size)
		in := v.importOct(t, name, secret)
		if in.Key.K != nil || *in.Key.Kty != azkeys.KeyTypeOctHSM {
			t.Error("an imported oct key shows itself")
		}
		block := ok(aes.NewCipher(secret))(t)
		v.testGCM(t, name, size, block)
		v.testCBC(t, name, size, block)
		v.testKeyWrap(t, name, size)
		for bits, h := range hashOf {
			digest := digestOf(h, "message")
			local := hmac.New(func() hash.Hash { return h.New() }, secret)
			local.Write(digest)
			mac := v.sign(t, name, "HS"+bits, digest)
			if !hmac.Equal(mac, local.Sum(nil)) {
				t.Errorf("HS%s differs", bits)
			}
			v.verifies(t, name, "HS"+bits, digest, mac)
		}
		made := v.create(t, name+"-made", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOct), KeySize: ptr(int32(8 * size))})
		if made.Key.K != nil || *made.Key.Kty != azkeys.KeyTypeOct {
			t.Error("a new oct key shows itself")
		}
	}
}

// importOct imports a key that may do all that such keys can.
func (v *goVault) importOct(t *testing.T, name string, secret []byte) azkeys.KeyBundle {
	t.Helper()
	ops := []*azkeys.KeyOperation{}
	for _, op := range []azkeys.KeyOperation{"encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify"} {
		ops = append(ops, &op)
	}
	return ok(v.keys.ImportKey(t.Context(), name, azkeys.ImportKeyParameters{Key: &azkeys.JSONWebKey{Kty: ptr(azkeys.KeyTypeOctHSM), K: secret, KeyOps: ops}}, nil))(t).KeyBundle
}

func (v *goVault) testGCM(t *testing.T, name string, size int, block cipher.Block) {
	gcm := ok(cipher.NewGCM(block))(t)
	algorithm := azkeys.EncryptionAlgorithm(fmt.Sprintf("A%dGCM", 8*size))
	ops, aad, plain := v.operations(t.Context()), []byte("aad"), []byte("plain")
	got := ok(ops["encrypt"](name, azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: plain, AdditionalAuthenticatedData: aad}))(t)
	if text, err := gcm.Open(nil, got.IV, append(got.Result, got.AuthenticationTag...), got.AdditionalAuthenticatedData); err != nil || !bytes.Equal(text, plain) {
		t.Errorf("%s: %q, %v", algorithm, text, err)
	}
	iv := make([]byte, gcm.NonceSize())
	rand.Read(iv)
	sealed := gcm.Seal(nil, iv, plain, aad)
	n := len(sealed) - gcm.Overhead()
	in := azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: sealed[:n], AuthenticationTag: sealed[n:], IV: iv, AdditionalAuthenticatedData: aad}
	if text := ok(ops["decrypt"](name, in))(t).Result; !bytes.Equal(text, plain) {
		t.Errorf("%s: the vault opens %q", algorithm, text)
	}
	in.AdditionalAuthenticatedData = nil
	_, err := ops["decrypt"](name, in)
	refusedAs(t, err, http.StatusBadRequest, "BadParameter")
}

func (v *goVault) testCBC(t *testing.T, name string, size int, block cipher.Block) {
	ops, iv, plain := v.operations(t.Context()), bytes.Repeat([]byte{3}, aes.BlockSize), []byte("exactly sixteen.")
	for mode, text := range map[string][]byte{"CBC": plain, "CBCPAD": append(bytes.Clone(plain), bytes.Repeat([]byte{16}, 16)...)} {
		algorithm := azkeys.EncryptionAlgorithm(fmt.Sprintf("A%d%s", 8*size, mode))
		want := bytes.Clone(text)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(want, want)
		if got := ok(ops["encrypt"](name, azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: plain, IV: iv}))(t).Result; !bytes.Equal(got, want) {
			t.Errorf("%s differs", algorithm)
		}
		if got := ok(ops["decrypt"](name, azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: want, IV: iv}))(t).Result; !bytes.Equal(got, plain) {
			t.Errorf("%s: the vault opens %q", algorithm, got)
		}
	}
}

// testKeyWrap: the two names of RFC 3394 open each other's values; what is not a multiple of eight bytes
// needs the padded form.
func (v *goVault) testKeyWrap(t *testing.T, name string, size int) {
	ops := v.operations(t.Context())
	own := azkeys.EncryptionAlgorithm(fmt.Sprintf("A%dKW", 8*size))
	mechanism, padded := azkeys.EncryptionAlgorithmCKMAESKEYWRAP, azkeys.EncryptionAlgorithmCKMAESKEYWRAPPAD
	for _, x := range []struct {
		wrap, unwrap azkeys.EncryptionAlgorithm
		key          string
	}{{own, mechanism, "sixteen bytes..."}, {mechanism, own, "sixteen bytes..."}, {padded, padded, "odd"}} {
		wrapped := ok(ops["wrapKey"](name, azkeys.KeyOperationParameters{Algorithm: &x.wrap, Value: []byte(x.key)}))(t).Result
		if got := ok(ops["unwrapKey"](name, azkeys.KeyOperationParameters{Algorithm: &x.unwrap, Value: wrapped}))(t).Result; string(got) != x.key {
			t.Errorf("%s, %s: %q", x.wrap, x.unwrap, got)
		}
		wrapped[0] ^= 1
		_, err := ops["unwrapKey"](name, azkeys.KeyOperationParameters{Algorithm: &x.unwrap, Value: wrapped})
		refusedAs(t, err, http.StatusBadRequest, "BadParameter")
	}
	_, err := ops["wrapKey"](name, azkeys.KeyOperationParameters{Algorithm: &own, Value: []byte("odd")})
	refusedAs(t, err, http.StatusBadRequest, "BadParameter")
}

func (v *goVault) testLife(t *testing.T) {
	ctx := t.Context()
	ec := azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC), Tags: map[string]*string{"n": ptr("1")}}
	first, second := v.create(t, "life", ec), v.create(t, "life", ec)
	if id := *ok(v.keys.GetKey(ctx, "life", "", nil))(t).Key.KID; id != *second.Key.KID {
		t.Errorf("the current version is %s, want %s", id, *second.Key.KID)
	}
	if id := *ok(v.keys.GetKey(ctx, "life", first.Key.KID.Version(), nil))(t).Key.KID; id != *first.Key.KID {
		t.Errorf("got %s, want %s", id, *first.Key.KID)
	}
	changed := ok(v.keys.UpdateKey(ctx, "life", "", azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Enabled: ptr(false)}, Tags: map[string]*string{"a": ptr("b")}}, nil))(t)
	if *changed.Attributes.Enabled || len(changed.Tags) != 1 || *changed.Tags["a"] != "b" {
		t.Errorf("updated: %+v %v", changed.Attributes, changed.Tags)
	}
	_, err := v.keys.Sign(ctx, "life", "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmES256), Value: make([]byte, 32)}, nil)
	refusedAs(t, err, http.StatusForbidden, "KeyDisabled")

	blob := ok(v.keys.BackupKey(ctx, "life", nil))(t).Value
	_, err = v.keys.RestoreKey(ctx, azkeys.RestoreKeyParameters{KeyBackup: blob}, nil)
	refusedAs(t, err, http.StatusConflict, "Conflict")
	deleted := ok(v.keys.DeleteKey(ctx, "life", nil))(t)
	if *deleted.RecoveryID != clientVaultURL+"/deletedkeys/life" || deleted.ScheduledPurgeDate.Sub(*deleted.DeletedDate) != 90*24*time.Hour {
		t.Errorf("deleted: %s, %v", *deleted.RecoveryID, *deleted.ScheduledPurgeDate)
	}
	_, err = v.keys.GetKey(ctx, "life", "", nil)
	refusedAs(t, err, http.StatusNotFound, "KeyNotFound")
	_, err = v.keys.CreateKey(ctx, "life", ec, nil)
	refusedAs(t, err, http.StatusConflict, "ObjectIsDeletedButRecoverable")
	ok(v.keys.GetDeletedKey(ctx, "life", nil))(t)
	ok(v.keys.RecoverDeletedKey(ctx, "life", nil))(t)
	ok(v.keys.DeleteKey(ctx, "life", nil))(t)
	ok(v.keys.PurgeDeletedKey(ctx, "life", nil))(t)
	_, err = v.keys.GetDeletedKey(ctx, "life", nil)
	refusedAs(t, err, http.StatusNotFound, "Deleted Key not found: life")
	restored := ok(v.keys.RestoreKey(ctx, azkeys.RestoreKeyParameters{KeyBackup: blob}, nil))(t)
	if *restored.Key.KID != *second.Key.KID || !bytes.Equal(restored.Key.X, second.Key.X) || !restored.Attributes.Created.Equal(*second.Attributes.Created) {
		t.Errorf("restored: %+v", restored.Attributes)
	}
	ok(v.keys.GetKey(ctx, "life", first.Key.KID.Version(), nil))(t)
	random := ok(v.keys.GetRandomBytes(ctx, azkeys.GetRandomBytesParameters{Count: ptr(int32(128))}, nil))(t).Value
	if len(random) != 128 {
		t.Errorf("%d random bytes", len(random))
	}
}

// pages counts items and pages of a list.
func pages[T any](t *testing.T, p *runtime.Pager[T], names func(T) []string) (items []string, n int) {
	t.Helper()
	for ; p.More(); n++ {
		items = append(items, names(ok(p.NextPage(t.Context()))(t))...)
	}
	return items, n
}

// keyNames are the ids of keys in a page, without the vault.
func keyNames[T any](list []*T, id func(*T) string) (out []string) {
	for _, x := range list {
		out = append(out, strings.TrimPrefix(id(x), clientVaultURL))
	}
	return out
}

func count(list []string, prefix string) (n int) {
	for _, s := range list {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

func (v *goVault) testPages(t *testing.T) {
	ctx := t.Context()
	for i := range many {
		name := fmt.Sprintf("page-%02d", i)
		v.create(t, name, azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOct)})
		v.create(t, "versions", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOct)})
	}
	listed, _ := pages(t, v.keys.NewListKeyPropertiesPager(nil), func(p azkeys.ListKeyPropertiesResponse) []string {
		return keyNames(p.Value, func(k *azkeys.KeyProperties) string { return string(*k.KID) })
	})
	if n := count(listed, "/keys/page-"); n != many {
		t.Errorf("%d keys are listed", n)
	}
	versions, n := pages(t, v.keys.NewListKeyPropertiesVersionsPager("versions", nil), func(p azkeys.ListKeyPropertiesVersionsResponse) []string {
		return keyNames(p.Value, func(k *azkeys.KeyProperties) string { return string(*k.KID) })
	})
	if count(versions, "/keys/versions/") != many || n != 2 {
		t.Errorf("%d versions on %d pages", len(versions), n)
	}
	for i := range many {
		ok(v.keys.DeleteKey(ctx, fmt.Sprintf("page-%02d", i), nil))(t)
	}
	deleted, _ := pages(t, v.keys.NewListDeletedKeyPropertiesPager(nil), func(p azkeys.ListDeletedKeyPropertiesResponse) []string {
		return keyNames(p.Value, func(k *azkeys.DeletedKeyProperties) string { return *k.RecoveryID })
	})
	if n := count(deleted, "/deletedkeys/page-"); n != many {
		t.Errorf("%d deleted keys are listed", n)
	}
}

func (v *goVault) testRotation(t *testing.T) {
	ctx := t.Context()
	before := v.create(t, "rotate", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOct), KeySize: ptr(int32(192))})
	usual := ok(v.keys.GetKeyRotationPolicy(ctx, "rotate", nil))(t)
	if len(usual.LifetimeActions) != 1 || *usual.LifetimeActions[0].Action.Type != azkeys.KeyRotationPolicyActionNotify {
		t.Errorf("without a policy: %+v", usual.LifetimeActions)
	}
	set := ok(v.keys.UpdateKeyRotationPolicy(ctx, "rotate", azkeys.KeyRotationPolicy{
		Attributes: &azkeys.KeyRotationPolicyAttributes{ExpiryTime: ptr("P60D")},
		LifetimeActions: []*azkeys.LifetimeAction{{
			Action: &azkeys.LifetimeActionType{Type: ptr(azkeys.KeyRotationPolicyActionRotate)}, Trigger: &azkeys.LifetimeActionTrigger{TimeAfterCreate: ptr("P30D")}}},
	}, nil))(t)
	if *set.Attributes.ExpiryTime != "P60D" || set.ID == nil || len(set.LifetimeActions) != 2 {
		t.Errorf("set: %+v", set)
	}
	after := ok(v.keys.RotateKey(ctx, "rotate", nil))(t)
	if *after.Key.KID == *before.Key.KID || after.Attributes.Expires.Sub(*after.Attributes.Created) != 60*24*time.Hour {
		t.Errorf("rotated: %+v", after.Attributes)
	}
	wrap := azkeys.EncryptionAlgorithmA192KW // only a key of this size has it
	ok(v.operations(ctx)["wrapKey"]("rotate", azkeys.KeyOperationParameters{Algorithm: &wrap, Value: make([]byte, 16)}))(t)
}

func (v *goVault) testRelease(t *testing.T) {
	ctx := t.Context()
	policy := []byte(`{"version":"1.0.0","anyOf":[{"authority":"https://x.attest.azure.net","allOf":[{"claim":"c","equals":"v"}]}]}`)
	key := v.create(t, "release", azkeys.CreateKeyParameters{
		Kty: ptr(azkeys.KeyTypeRSAHSM), KeyAttributes: &azkeys.KeyAttributes{Exportable: ptr(true)}, ReleasePolicy: &azkeys.KeyReleasePolicy{EncodedPolicy: policy, Immutable: ptr(true)}})
	if !*key.Attributes.Exportable || !bytes.Equal(key.ReleasePolicy.EncodedPolicy, policy) || !*key.ReleasePolicy.Immutable {
		t.Errorf("%+v", key.ReleasePolicy)
	}
	v.create(t, "kept", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC)})
	for name, words := range map[string]string{"release": "Target environment attestation statement cannot be verified", "kept": "not permitted"} {
		_, err := v.keys.Release(ctx, name, "", azkeys.ReleaseParameters{TargetAttestationToken: ptr("a.b.c"), Algorithm: ptr(azkeys.KeyEncryptionAlgorithmRSAAESKEYWRAP256)}, nil)
		refusedAs(t, err, http.StatusForbidden, words)
	}
	if a := ok(v.keys.GetKeyAttestation(ctx, "release", "", nil))(t).Attributes.Attestation; a != nil {
		t.Errorf("KV-3 is closed: %+v", a)
	}
}

func (v *goVault) testSecrets(t *testing.T) {
	ctx := t.Context()
	set := func(name, value string) azsecrets.Secret {
		t.Helper()
		return ok(v.secrets.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &value, ContentType: ptr("text/plain"), Tags: map[string]*string{"a": ptr("b")}}, nil))(t).Secret
	}
	first, second := set("s", "one"), set("s", "two")
	for version, want := range map[string]string{"": "two", first.ID.Version(): "one", second.ID.Version(): "two"} {
		if got := *ok(v.secrets.GetSecret(ctx, "s", version, nil))(t).Value; got != want {
			t.Errorf("version %q is %q", version, got)
		}
	}
	changed := ok(v.secrets.UpdateSecretProperties(ctx, "s", "", azsecrets.UpdateSecretPropertiesParameters{SecretAttributes: &azsecrets.SecretAttributes{Enabled: ptr(false)}}, nil))(t)
	if changed.Value != nil || *changed.Attributes.Enabled || *changed.ContentType != "text/plain" || *changed.Tags["a"] != "b" {
		t.Errorf("%+v", changed.Secret)
	}
	_, err := v.secrets.GetSecret(ctx, "s", "", nil)
	refusedAs(t, err, http.StatusForbidden, "SecretDisabled")
	blob := ok(v.secrets.BackupSecret(ctx, "s", nil))(t).Value
	_, err = v.secrets.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: blob}, nil)
	refusedAs(t, err, http.StatusConflict, "Conflict")
	if id := *ok(v.secrets.DeleteSecret(ctx, "s", nil))(t).RecoveryID; id != clientVaultURL+"/deletedsecrets/s" {
		t.Error(id)
	}
	_, err = v.secrets.GetSecret(ctx, "s", "", nil)
	refusedAs(t, err, http.StatusNotFound, "SecretNotFound")
	ok(v.secrets.GetDeletedSecret(ctx, "s", nil))(t)
	ok(v.secrets.RecoverDeletedSecret(ctx, "s", nil))(t)
	ok(v.secrets.DeleteSecret(ctx, "s", nil))(t)
	ok(v.secrets.PurgeDeletedSecret(ctx, "s", nil))(t)
	_, err = v.secrets.GetDeletedSecret(ctx, "s", nil)
	refusedAs(t, err, http.StatusNotFound, "Deleted Secret not found: s")
	ok(v.secrets.RestoreSecret(ctx, azsecrets.RestoreSecretParameters{SecretBackup: blob}, nil))(t)
	if got := *ok(v.secrets.GetSecret(ctx, "s", first.ID.Version(), nil))(t).Value; got != "one" {
		t.Errorf("restored: %q", got)
	}
	v.testSecretPages(t, set)
}

func (v *goVault) testSecretPages(t *testing.T, set func(name, value string) azsecrets.Secret) {
	for i := range many {
		set(fmt.Sprintf("page-%02d", i), "x")
		set("versions", fmt.Sprint(i))
	}
	id := func(s *azsecrets.SecretProperties) string { return string(*s.ID) }
	listed, _ := pages(t, v.secrets.NewListSecretPropertiesPager(nil), func(p azsecrets.ListSecretPropertiesResponse) []string { return keyNames(p.Value, id) })
	versions, n := pages(t, v.secrets.NewListSecretPropertiesVersionsPager("versions", nil), func(p azsecrets.ListSecretPropertiesVersionsResponse) []string { return keyNames(p.Value, id) })
	if count(listed, "/secrets/page-") != many || count(versions, "/secrets/versions/") != many || n != 2 {
		t.Errorf("%d secrets, %d versions on %d pages", len(listed), len(versions), n)
	}
	for i := range many {
		ok(v.secrets.DeleteSecret(t.Context(), fmt.Sprintf("page-%02d", i), nil))(t)
	}
	deleted, _ := pages(t, v.secrets.NewListDeletedSecretPropertiesPager(nil), func(p azsecrets.ListDeletedSecretPropertiesResponse) []string {
		return keyNames(p.Value, func(s *azsecrets.DeletedSecretProperties) string { return *s.RecoveryID })
	})
	if n := count(deleted, "/deletedsecrets/page-"); n != many {
		t.Errorf("%d deleted secrets are listed", n)
	}
}
