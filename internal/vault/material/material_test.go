package material_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/fault"
	. "github.com/latchkey-db/latchkey/internal/vault/material"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func oct(t testing.TB, k []byte) Key {
	t.Helper()
	key, err := Import(JWK{Type: Oct, K: k})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestKeyWrapVectors: RFC 3394 section 4, and RFC 5649 section 6, in both directions.
func TestKeyWrapVectors(t *testing.T) {
	for _, v := range []struct{ name, alg, kek, key, wrapped string }{
		{"RFC 3394 4.1", "A128KW", "000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF", "1FA68B0A8112B447 AEF34BD8FB5A7B82 9D3E862371D2CFE5"},
		{"RFC 3394 4.2", "A192KW", "000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF", "96778B25AE6CA435 F92B5B97C050AED2 468AB8A17AD84E5D"},
		{"RFC 3394 4.3", "A256KW", "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF", "64E8C3F9CE0F5BA2 63E9777905818A2A 93C8191E7D6E8AE7"},
		{"RFC 3394 4.4", "A192KW", "000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF0001020304050607", "031D33264E15D332 68F24EC260743EDC E1C6C7DDEE725A93 6BA814915C6762D2"},
		{"RFC 3394 4.5", "A256KW", "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF0001020304050607", "A8F9BC1612C68B3F F6E6F4FBE30E71E4 769C8B80A32CB895 8CD5D17D6B254DA1"},
		{"RFC 3394 4.6", "CKM_AES_KEY_WRAP", "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F", "28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21"},
		{"RFC 5649 20 octets", "CKM_AES_KEY_WRAP_PAD", "5840df6e29b02af1 ab493b705bf16ea1 ae8338f4dcc176a8", "c37b7e6492584340 bed1220780894115 5068f738", "138bdeaa9b8fa7fc 61f97742e72248ee 5ae6ae5360d1ae6a 5f54f373fa543b6a"},
		{"RFC 5649 7 octets", "CKM_AES_KEY_WRAP_PAD", "5840df6e29b02af1 ab493b705bf16ea1 ae8338f4dcc176a8", "466f7250617369", "afbeb0f07dfbf541 9200f2ccb50bb24f"},
	} {
		k, key, wrapped := oct(t, unhex(t, v.kek)), unhex(t, v.key), unhex(t, v.wrapped)
		out, err := k.Run(Wrap, Input{Algorithm: v.alg, Value: key})
		if err != nil || !bytes.Equal(out.Value, wrapped) {
			t.Errorf("%s: wrapped %x, %v", v.name, out.Value, err)
		}
		out, err = k.Run(Unwrap, Input{Algorithm: v.alg, Value: wrapped})
		if err != nil || !bytes.Equal(out.Value, key) {
			t.Errorf("%s: unwrapped %x, %v", v.name, out.Value, err)
		}
		for i := range wrapped {
			bad := bytes.Clone(wrapped)
			bad[i] ^= 1
			if out, err := k.Run(Unwrap, Input{Algorithm: v.alg, Value: bad}); err == nil {
				t.Errorf("%s: unwrapped with byte %d changed: %x", v.name, i, out.Value)
			}
		}
	}
}

// TestCipherVectors: AES-GCM of its specification (McGrew and Viega, test cases 4 and 16), AES-CBC of
// NIST SP 800-38A, appendix F.2.
func TestCipherVectors(t *testing.T) {
	const plain38A = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51 30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710"
	for _, v := range []struct{ name, alg, key, iv, aad, plain, cipher, tag string }{
		{"GCM case 4", "A128GCM", "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091", "5bc94fbc3221a5db94fae95ae7121a47"},
		{"GCM case 16", "A256GCM", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662", "76fc6ece0f4e1768cddf8853bb2d551b"},
		{"CBC F.2.1", "A128CBC", "2b7e151628aed2a6abf7158809cf4f3c", "000102030405060708090a0b0c0d0e0f", "", plain38A,
			"7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2 73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7", ""},
		{"CBC F.2.3", "A192CBC", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "000102030405060708090a0b0c0d0e0f", "", plain38A,
			"4f021db243bc633d7178183a9fa071e8 b4d9ada9ad7dedf4e5e738763f69145a 571b242012fb7ae07fa9baac3df102e0 08b0e27988598881d920a9e64f5615cd", ""},
		{"CBC F.2.5", "A256CBC", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "000102030405060708090a0b0c0d0e0f", "", plain38A,
			"f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d 39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b", ""},
	} {
		k := oct(t, unhex(t, v.key))
		in := Input{Algorithm: v.alg, Value: unhex(t, v.cipher), IV: unhex(t, v.iv), AAD: unhex(t, v.aad), Tag: unhex(t, v.tag)}
		out, err := k.Run(Decrypt, in)
		if err != nil || !bytes.Equal(out.Value, unhex(t, v.plain)) {
			t.Errorf("%s: decrypted %x, %v", v.name, out.Value, err)
		}
		if v.tag != "" {
			in.AAD = append(in.AAD, 0)
			if _, err := k.Run(Decrypt, in); err == nil {
				t.Errorf("%s: decrypted under other associated data", v.name)
			}
			continue
		}
		out, err = k.Run(Encrypt, Input{Algorithm: v.alg, Value: unhex(t, v.plain), IV: unhex(t, v.iv)})
		if err != nil || !bytes.Equal(out.Value, unhex(t, v.cipher)) {
			t.Errorf("%s: encrypted %x, %v", v.name, out.Value, err)
		}
	}
}

// every is one key of each kind.
func every(t testing.TB) map[string]Key {
	t.Helper()
	all := map[string]Key{}
	for _, p := range []Params{{Type: RSA}, {Type: EC}, {Type: EC, Curve: P256K}, {Type: EC, Curve: P384}, {Type: EC, Curve: P521},
		{Type: Oct, Bits: 128}, {Type: Oct, Bits: 192}, {Type: Oct}} {
		p, err := p.Normal()
		if err != nil {
			t.Fatal(err)
		}
		k, err := Generate(p)
		if err != nil {
			t.Fatal(err)
		}
		if k.Params() != p {
			t.Fatalf("made %+v, wanted %+v", k.Params(), p)
		}
		all[fmt.Sprintf("%s-%d%s", p.Type, p.Bits, p.Curve)] = k
	}
	return all
}

// algorithms are all that the service knows, with an input that each can work on.
var algorithms = map[Operation][]string{
	Encrypt: strings.Fields("RSA1_5 RSA-OAEP RSA-OAEP-256 A128GCM A192GCM A256GCM A128CBC A192CBC A256CBC A128CBCPAD A192CBCPAD A256CBCPAD"),
	Wrap:    strings.Fields("RSA1_5 RSA-OAEP RSA-OAEP-256 A128KW A192KW A256KW CKM_AES_KEY_WRAP CKM_AES_KEY_WRAP_PAD"),
	Sign:    strings.Fields("RS256 RS384 RS512 PS256 PS384 PS512 RSNULL ES256 ES256K ES384 ES512 HS256 HS384 HS512"),
}

// can tells which algorithms a key has, by the service's published table.
func can(name string, op Operation, alg string) bool {
	switch {
	case strings.HasPrefix(name, "RSA"):
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case strings.HasPrefix(name, "EC"):
		return map[string]string{"ES256": "EC-0P-256", "ES256K": "EC-0P-256K", "ES384": "EC-0P-384", "ES512": "EC-0P-521"}[alg] == name
	}
	return strings.HasPrefix(alg, "HS") || strings.HasPrefix(alg, "CKM") || strings.HasPrefix(alg, "A"+strings.TrimPrefix(name, "oct-"))
}

func digest(alg string) []byte {
	n := map[string]int{"256": 32, "56K": 32, "384": 48, "512": 64}[alg[len(alg)-3:]]
	if n == 0 {
		n = 20
	}
	return bytes.Repeat([]byte{7}, n)
}

// TestEveryAlgorithm: each kind of key does what the service's table says, back and forth, and refuses the rest.
func TestEveryAlgorithm(t *testing.T) {
	undo := map[Operation]Operation{Encrypt: Decrypt, Wrap: Unwrap}
	for name, k := range every(t) {
		again := reread(t, k)
		for op, list := range algorithms {
			for _, alg := range list {
				text := bytes.Repeat([]byte{3}, 32)
				if op == Sign {
					text = digest(alg)
				}
				out, err := k.Run(op, Input{Algorithm: alg, Value: text, AAD: []byte("a")})
				if !can(name, op, alg) {
					if err == nil {
						t.Errorf("%s %s %s: done", name, op, alg)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s %s %s: %v", name, op, alg, err)
					continue
				}
				if op == Sign {
					checkSignature(t, again, alg, text, out.Value)
					continue
				}
				back, err := again.Run(undo[op], Input{Algorithm: alg, Value: out.Value, IV: out.IV, Tag: out.Tag, AAD: out.AAD})
				if err != nil || !bytes.Equal(back.Value, text) {
					t.Errorf("%s %s %s: back %x, %v", name, op, alg, back.Value, err)
				}
				checkDamage(t, again, undo[op], alg, out)
			}
		}
	}
}

// reread is the key after a stay in the store.
func reread(t *testing.T, k Key) Key {
	t.Helper()
	raw, err := k.Private()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(k.Params(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func checkSignature(t *testing.T, k Key, alg string, digest, sig []byte) {
	t.Helper()
	for _, x := range []struct {
		digest, sig []byte
		want        bool
	}{{digest, sig, true}, {append([]byte{8}, digest[1:]...), sig, false}, {digest, append([]byte{sig[0] ^ 1}, sig[1:]...), false}, {digest, nil, false}, {digest, make([]byte, len(sig)), false}} {
		out, err := k.Run(Verify, Input{Algorithm: alg, Digest: x.digest, Value: x.sig})
		if err != nil || out.Valid != x.want {
			t.Errorf("%s: verified %v, %v; want %v", alg, out.Valid, err, x.want)
		}
	}
}

// checkDamage: a changed cipher text is refused in one text, or (CBC has no tag) opens to something else.
func checkDamage(t *testing.T, k Key, op Operation, alg string, out Output) {
	t.Helper()
	for _, value := range [][]byte{nil, out.Value[1:], append([]byte{out.Value[0] ^ 1}, out.Value[1:]...), append(bytes.Clone(out.Value), 0)} {
		got, err := k.Run(op, Input{Algorithm: alg, Value: value, IV: out.IV, Tag: out.Tag, AAD: out.AAD})
		if err == nil && strings.Contains(alg, "CBC") && len(value) == len(out.Value) {
			continue
		}
		if err == nil {
			t.Errorf("%s: a damaged text opens to %x", alg, got.Value)
			continue
		}
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: a damaged text: %v", alg, err)
		}
	}
}

// TestImport: a key in parts is the key; parts that do not fit are refused.
func TestImport(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	whole := JWK{Type: RSA, N: k.N.Bytes(), E: big.NewInt(int64(k.E)).Bytes(), D: k.D.Bytes(), P: k.Primes[0].Bytes(), Q: k.Primes[1].Bytes(),
		DP: k.Precomputed.Dp.Bytes(), DQ: k.Precomputed.Dq.Bytes(), QI: k.Precomputed.Qinv.Bytes()}
	bare := JWK{Type: RSA, N: whole.N, E: whole.E, D: whole.D}
	//lint:ignore SA1019 RSA1_5 is part of the protocol
	c, err := rsa.EncryptPKCS1v15(rand.Reader, &k.PublicKey, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range []JWK{whole, bare} {
		key, err := Import(j)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := key.Run(Decrypt, Input{Algorithm: "RSA1_5", Value: c}); err != nil || string(out.Value) != "x" {
			t.Errorf("%q, %v", out.Value, err)
		}
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point, err := e.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	curve := JWK{Type: EC, Curve: P384, D: d, X: point[1:49], Y: point[49:]}
	if _, err := Import(curve); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]func(*JWK){
		"n":  func(j *JWK) { j.N = append(bytes.Clone(j.N[:len(j.N)-1]), j.N[len(j.N)-1]^2) },
		"e":  func(j *JWK) { j.E = []byte{3} },
		"d":  func(j *JWK) { j.D = append(bytes.Clone(j.D[:len(j.D)-1]), j.D[len(j.D)-1]^2) },
		"d0": func(j *JWK) { j.D = nil },
		"p":  func(j *JWK) { j.P = j.Q },
		"p1": func(j *JWK) { j.P, j.Q = []byte{1}, j.N },
		"dp": func(j *JWK) { j.DP = []byte{1} },
		"qi": func(j *JWK) { j.QI = []byte{1} },
		"1k": func(j *JWK) { j.N = j.N[:128] },
	} {
		j := whole
		bad(&j)
		if _, err := Import(j); fault.KindOf(err) != fault.Invalid {
			t.Errorf("RSA with another %s: %v", name, err)
		}
	}
	for name, bad := range map[string]func(*JWK){
		"x": func(j *JWK) { j.X = j.Y }, "d": func(j *JWK) { j.D = []byte{1} }, "crv": func(j *JWK) { j.Curve = P256 }, "d0": func(j *JWK) { j.D = nil },
		"order": func(j *JWK) { j.D = elliptic.P384().Params().N.Bytes() }, "none": func(j *JWK) { j.Curve = "" },
	} {
		j := curve
		bad(&j)
		if _, err := Import(j); fault.KindOf(err) != fault.Invalid {
			t.Errorf("EC with another %s: %v", name, err)
		}
	}
	if _, err := Import(JWK{Type: Oct, K: make([]byte, 15)}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

// TestCurveMismatch: the refusal names both curves.
func TestCurveMismatch(t *testing.T) {
	k, err := Generate(Params{Type: EC, Curve: P256})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Run(Sign, Input{Algorithm: "ES384", Value: make([]byte, 48)})
	var m *MismatchError
	if !errors.As(err, &m) || *m != (MismatchError{Curve: P256, Algorithm: "ES384", Needs: P384}) {
		t.Error(err)
	}
}

// TestNoncesAreFresh: no caller chooses the nonce of GCM, and none comes twice.
func TestNoncesAreFresh(t *testing.T) {
	k := oct(t, make([]byte, 16))
	if _, err := k.Run(Encrypt, Input{Algorithm: "A128GCM", IV: make([]byte, 12)}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	seen := map[string]bool{}
	for range 1000 {
		out, err := k.Run(Encrypt, Input{Algorithm: "A128GCM", Value: []byte("x")})
		if err != nil || seen[string(out.IV)] {
			t.Fatal("a nonce came twice, or ", err)
		}
		seen[string(out.IV)] = true
	}
}

// FuzzImport: no JWK makes a key that cannot be used, or ends the process.
func FuzzImport(f *testing.F) {
	k := []byte("0123456789abcdef")
	f.Add("oct", "", k, k, k, k, k)
	f.Add("RSA", "", k, []byte{1, 0, 1}, k, k, k)
	f.Add("EC", P256, k, k, k, k, k)
	f.Add("EC", P256K, k, k, k, k, k)
	f.Fuzz(func(t *testing.T, kty, crv string, a, b, c, d, e []byte) {
		key, err := Import(JWK{Type: Type(kty), Curve: crv, N: a, E: b, D: c, P: d, Q: e, X: a, Y: b, K: c})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		reread, err := key.Private()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(key.Params(), reread); err != nil {
			t.Fatal(err)
		}
	})
}
