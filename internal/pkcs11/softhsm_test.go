//go:build pkcs11

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	binding "github.com/miekg/pkcs11"

	"github.com/latchkey-db/latchkey/internal/secret"
)

const testPIN = "8765-4321"

// softHSM is the library of SoftHSM2; "" when it is not on this machine.
func softHSM() string {
	for _, p := range []string{os.Getenv("SOFTHSM2_MODULE"), "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so",
		"/usr/lib64/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(p); p != "" && err == nil {
			return p
		}
	}
	return ""
}

// tokens are a directory with a token for each name, for all tests: the library reads its configuration once.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "softhsm")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	conf := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + dir + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		fmt.Println(err)
		return 1
	}
	if softHSM() != "" {
		for _, label := range []string{"first", "second"} {
			cmd := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", testPIN, "--so-pin", "123456")
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Printf("softhsm2-util: %v\n%s", err, out)
				return 1
			}
		}
	}
	return m.Run()
}

func openSoft(t *testing.T) *Token {
	t.Helper()
	path := softHSM()
	if path == "" {
		t.Skip("SoftHSM2 is not on this machine: install libsofthsm2 and softhsm2, or set SOFTHSM2_MODULE")
	}
	token, err := Open(URI{Module: path, Token: "first"}, secret.From([]byte(testPIN)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	})
	return token
}

func newID() []byte {
	id := make([]byte, 16)
	rand.Read(id)
	return id
}

func must[T any](t *testing.T) func(T, error) T {
	return func(x T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

func TestDescribe(t *testing.T) {
	i := openSoft(t).Describe()
	if i.Label != "first" || i.Manufacturer != "SoftHSM project" || i.Model == "" || i.Serial == "" {
		t.Errorf("%+v", i)
	}
}

func TestOpenRefuses(t *testing.T) {
	openSoft(t)
	for name, c := range map[string]struct {
		uri  URI
		pin  string
		want error
	}{
		"no library":    {URI{Module: "/nowhere/lib.so"}, testPIN, ErrModule},
		"no such token": {URI{Module: softHSM(), Token: "third"}, testPIN, ErrNoToken},
		"two tokens":    {URI{Module: softHSM()}, testPIN, ErrNoToken},
		"wrong PIN":     {URI{Module: softHSM(), Token: "second"}, "wrong", ErrPIN},
	} {
		token, err := Open(c.uri, secret.From([]byte(c.pin)))
		if !errors.Is(err, c.want) || token != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// keysIn are a generated key and an imported one of a type; imported by the function.
func eachKey(t *testing.T, token *Token, kind KeyType, make func() any, test func(t *testing.T, id []byte, public crypto.PublicKey)) {
	t.Run(kind.String()+" generated", func(t *testing.T) {
		id := newID()
		public, err := token.Generate(t.Context(), id, "a key", kind)
		if err != nil {
			t.Fatal(err)
		}
		check(t, token, id, kind)
		test(t, id, public)
		gone(t, token, id)
	})
	t.Run(kind.String()+" imported", func(t *testing.T) {
		id := newID()
		if err := token.Import(t.Context(), id, "a key", make()); err != nil {
			t.Fatal(err)
		}
		check(t, token, id, kind)
		var public crypto.PublicKey
		if !kind.Symmetric() {
			public = must[crypto.PublicKey](t)(token.Public(t.Context(), id))
		}
		test(t, id, public)
		gone(t, token, id)
	})
}

// check demands what is true of every key: its type, and that the secret stays in the token.
func check(t *testing.T, token *Token, id []byte, kind KeyType) {
	t.Helper()
	if got, err := token.Type(t.Context(), id); err != nil || got != kind {
		t.Errorf("type %v, %v", got, err)
	}
	if _, err := token.Generate(t.Context(), id, "", kind); !errors.Is(err, ErrExists) {
		t.Errorf("a second key under one identifier: %v", err)
	}
	err := token.do(t.Context(), func(s *session) error {
		class := types[kind].class()
		h, err := token.handle(s, class, id)
		if err != nil {
			return err
		}
		flags, err := token.lib.attributes(s.handle, h, attrSensitive, attrExtractable, attrPrivate, attrToken)
		if err != nil {
			return err
		}
		for i, want := range []byte{1, 0, 1, 1} {
			if !bytes.Equal(flags[i], []byte{want}) {
				t.Errorf("attribute %d is %v", i, flags[i])
			}
		}
		secretValue := attrValue
		if types[kind].family == keyRSA {
			secretValue = attrPrivateExponent
		}
		if got, err := token.lib.attributes(s.handle, h, secretValue); err == nil {
			t.Errorf("the token shows the secret: %d bytes", len(got[0]))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func gone(t *testing.T, token *Token, id []byte) {
	t.Helper()
	for range 2 {
		if err := token.Destroy(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if _, err := token.Type(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Destroy: %v", err)
	}
}

func TestRSA(t *testing.T) {
	token := openSoft(t)
	kinds := []KeyType{RSA2048}
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		kinds = []KeyType{RSA2048, RSA3072, RSA4096}
	}
	for _, kind := range kinds {
		eachKey(t, token, kind, func() any { return must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, types[kind].bits)) },
			func(t *testing.T, id []byte, public crypto.PublicKey) {
				testDecryptRSA(t, token, id, public.(*rsa.PublicKey))
				testSignRSA(t, token, id, public.(*rsa.PublicKey))
			})
	}
}

func testDecryptRSA(t *testing.T, token *Token, id []byte, public *rsa.PublicKey) {
	message := []byte("thirty-two bytes, as in real use")
	//lint:ignore SA1019 clients still send it
	old := must[[]byte](t)(rsa.EncryptPKCS1v15(rand.Reader, public, message))
	ciphertexts := map[Padding][]byte{
		PKCS1v15:   old,
		OAEPSHA1:   must[[]byte](t)(rsa.EncryptOAEP(sha1.New(), rand.Reader, public, message, nil)),
		OAEPSHA256: must[[]byte](t)(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, message, nil)),
	}
	for p, c := range ciphertexts {
		got, err := token.DecryptRSA(t.Context(), id, p, c)
		if err != nil || !bytes.Equal(got, message) {
			t.Errorf("padding %d: %q, %v", p, got, err)
		}
		for name, bad := range map[string][]byte{"empty": {}, "short": c[1:], "long": append([]byte{0}, c...), "all ones": bytes.Repeat([]byte{0xff}, len(c)), "zero": make([]byte, len(c))} {
			if got, err := token.DecryptRSA(t.Context(), id, p, bad); err != ErrInput || got != nil {
				t.Errorf("padding %d, %s: %q, %v", p, name, got, err)
			}
		}
	}
	if _, err := token.DecryptRSA(t.Context(), id, OAEPSHA256, ciphertexts[OAEPSHA1]); err != ErrInput {
		t.Errorf("another padding: %v", err)
	}
	empty := must[[]byte](t)(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, nil, nil))
	if got, err := token.DecryptRSA(t.Context(), id, OAEPSHA256, empty); err != nil || len(got) != 0 {
		t.Errorf("empty message: %q, %v", got, err)
	}
}

func testSignRSA(t *testing.T, token *Token, id []byte, public *rsa.PublicKey) {
	d256, d384, d512 := sha256.Sum256([]byte("m")), sha512.Sum384([]byte("m")), sha512.Sum512([]byte("m"))
	for h, digest := range map[crypto.Hash][]byte{crypto.SHA256: d256[:], crypto.SHA384: d384[:], crypto.SHA512: d512[:]} {
		sig, err := token.SignRSA(t.Context(), id, SignPKCS1v15, h, digest)
		if err != nil || rsa.VerifyPKCS1v15(public, h, digest, sig) != nil {
			t.Errorf("PKCS #1 v1.5 with %v: %v", h, err)
		}
		sig, err = token.SignRSA(t.Context(), id, SignPSS, h, digest)
		if err != nil || rsa.VerifyPSS(public, h, digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) != nil {
			t.Errorf("PSS with %v: %v", h, err)
		}
		if _, err := token.SignRSA(t.Context(), id, SignPSS, h, digest[1:]); err != ErrInput {
			t.Errorf("short digest: %v", err)
		}
	}
	if _, err := token.SignRSA(t.Context(), id, SignPSS, crypto.SHA1, d256[:20]); err != ErrInput {
		t.Errorf("SHA-1: %v", err)
	}
}

func TestEC(t *testing.T) {
	token := openSoft(t)
	for _, kind := range []KeyType{P256, P384, P521} {
		curve := types[kind].curve
		eachKey(t, token, kind, func() any { return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader)) },
			func(t *testing.T, id []byte, public crypto.PublicKey) {
				for _, size := range []int{32, 48, 64} {
					testSignECDSA(t, token, id, public.(*ecdsa.PublicKey), bytes.Repeat([]byte{7}, size))
				}
			})
	}
}

func testSignECDSA(t *testing.T, token *Token, id []byte, public *ecdsa.PublicKey, digest []byte) {
	t.Helper()
	sig, err := token.SignECDSA(t.Context(), id, digest)
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(sig[:len(sig)/2]), new(big.Int).SetBytes(sig[len(sig)/2:])
	if !ecdsa.Verify(public, digest, r, s) {
		t.Errorf("the signature of a digest of %d bytes does not verify", len(digest))
	}
}

func TestSecp256k1(t *testing.T) {
	token := openSoft(t)
	// The generator itself is the public key of the private key 1; curve constants of SEC 2.
	g := new(big.Int)
	g.SetString("0479BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8", 16)
	one := &PrivateSecp256k1{D: secret.From(append(make([]byte, 31), 1))}
	g.FillBytes(one.Public[:])
	eachKey(t, token, Secp256k1, func() any { return one }, func(t *testing.T, id []byte, public crypto.PublicKey) {
		sig, err := token.SignECDSA(t.Context(), id, bytes.Repeat([]byte{7}, 32))
		if err != nil || !verifySecp256k1(public.(PublicSecp256k1), bytes.Repeat([]byte{7}, 32), sig) {
			t.Errorf("%d bytes, %v", len(sig), err)
		}
	})
}

// verifySecp256k1 verifies with plain arithmetic.
func verifySecp256k1(public PublicSecp256k1, digest, sig []byte) bool {
	hex := func(s string) *big.Int { n, _ := new(big.Int).SetString(s, 16); return n }
	p := hex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F")
	n := hex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141")
	gx, gy := hex("79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798"), hex("483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8")
	add := func(x1, y1, x2, y2 *big.Int) (*big.Int, *big.Int) {
		if x1 == nil {
			return x2, y2
		}
		var l *big.Int
		if x1.Cmp(x2) == 0 {
			l = new(big.Int).Mul(big.NewInt(3), new(big.Int).Mul(x1, x1))
			l.Mul(l, new(big.Int).ModInverse(new(big.Int).Lsh(y1, 1), p))
		} else {
			l = new(big.Int).Sub(y2, y1)
			l.Mul(l, new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(x2, x1), p), p))
		}
		x := new(big.Int).Sub(new(big.Int).Mul(l, l), new(big.Int).Add(x1, x2))
		x.Mod(x, p)
		y := new(big.Int).Sub(new(big.Int).Mul(l, new(big.Int).Sub(x1, x)), y1)
		return x, y.Mod(y, p)
	}
	mul := func(k, x, y *big.Int) (rx, ry *big.Int) {
		for i := k.BitLen() - 1; i >= 0; i-- {
			if rx != nil {
				rx, ry = add(rx, ry, rx, ry)
			}
			if k.Bit(i) == 1 {
				rx, ry = add(rx, ry, x, y)
			}
		}
		return rx, ry
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	w := new(big.Int).ModInverse(s, n)
	u1 := new(big.Int).Mul(new(big.Int).SetBytes(digest), w)
	u2 := new(big.Int).Mul(r, w)
	x1, y1 := mul(u1.Mod(u1, n), gx, gy)
	x2, y2 := mul(u2.Mod(u2, n), new(big.Int).SetBytes(public[1:33]), new(big.Int).SetBytes(public[33:]))
	x, _ := add(x1, y1, x2, y2)
	return x.Mod(x, n).Cmp(r) == 0
}

func TestAES(t *testing.T) {
	token := openSoft(t)
	for _, kind := range []KeyType{AES128, AES192, AES256} {
		eachKey(t, token, kind, func() any { return secret.Random(types[kind].bits / 8) }, func(t *testing.T, id []byte, _ crypto.PublicKey) {
			testGCM(t, token, id)
			testCBC(t, token, id)
			testKeyWrap(t, token, id)
		})
	}
}

func testGCM(t *testing.T, token *Token, id []byte) {
	nonce, aad := make([]byte, 12), []byte("associated")
	rand.Read(nonce)
	for _, size := range []int{1, 32, 1000} {
		message := bytes.Repeat([]byte{5}, size)
		sealed, err := token.SealGCM(t.Context(), id, nonce, message, aad)
		if err != nil || len(sealed) != size+16 {
			t.Fatalf("%d bytes, %v", len(sealed), err)
		}
		if got, err := token.OpenGCM(t.Context(), id, nonce, sealed, aad); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		for i := range sealed[:min(size, 20)] {
			sealed[i] ^= 1
			if got, err := token.OpenGCM(t.Context(), id, nonce, sealed, aad); err != ErrInput {
				t.Errorf("a changed bit: %d bytes, %v", len(got), err)
			}
			sealed[i] ^= 1
		}
		if _, err := token.OpenGCM(t.Context(), id, nonce, sealed, []byte("other")); err != ErrInput {
			t.Errorf("other associated data: %v", err)
		}
	}
}

func testCBC(t *testing.T, token *Token, id []byte) {
	iv := newID()
	for _, c := range []struct {
		size int
		pad  bool
		want int // bytes of ciphertext; 0: refused
	}{{16, false, 16}, {15, false, 0}, {0, false, 0}, {15, true, 16}, {16, true, 32}, {1000, true, 1008}} {
		message := bytes.Repeat([]byte{5}, c.size)
		sealed, err := token.EncryptCBC(t.Context(), id, iv, message, c.pad)
		if len(sealed) != c.want || c.want == 0 && err != ErrInput {
			t.Fatalf("%+v: %d bytes, %v", c, len(sealed), err)
		}
		if c.want == 0 {
			continue
		}
		if got, err := token.DecryptCBC(t.Context(), id, iv, sealed, c.pad); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%+v: %d bytes, %v", c, len(got), err)
		}
		if !c.pad {
			continue
		}
		sealed[len(sealed)-1] ^= 1
		if _, err := token.DecryptCBC(t.Context(), id, iv, sealed, true); err != nil && err != ErrInput {
			t.Errorf("%+v: wrong padding: %v", c, err)
		}
	}
}

func testKeyWrap(t *testing.T, token *Token, id []byte) {
	for _, size := range []int{16, 24, 32, 64} {
		key := secret.Random(size).Reveal()
		wrapped, err := token.WrapAES(t.Context(), id, key)
		if err != nil || len(wrapped) != size+8 {
			t.Fatalf("%d bytes, %v", len(wrapped), err)
		}
		if got, err := token.UnwrapAES(t.Context(), id, wrapped); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		wrapped[3] ^= 1
		if got, err := token.UnwrapAES(t.Context(), id, wrapped); err != ErrInput {
			t.Errorf("a changed bit: %d bytes, %v", len(got), err)
		}
	}
	if _, err := token.WrapAES(t.Context(), id, make([]byte, 20)); err != ErrInput {
		t.Errorf("20 bytes: %v", err)
	}
}

// TestKeyWrapVector is RFC 3394, section 4.6.
func TestKeyWrapVector(t *testing.T) {
	token, id := openSoft(t), newID()
	kek, key := make([]byte, 32), make([]byte, 32)
	for i := range kek {
		kek[i] = byte(i)
	}
	for i := range key {
		key[i] = byte(i) * 0x11
		if i >= 16 {
			key[i] = byte(i - 16)
		}
	}
	if err := token.Import(t.Context(), id, "vector", secret.From(kek)); err != nil {
		t.Fatal(err)
	}
	defer token.Destroy(context.Background(), id)
	got, err := token.WrapAES(t.Context(), id, key)
	if want := "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"; fmt.Sprintf("%x", got) != want || err != nil {
		t.Errorf("%x, %v", got, err)
	}
}

func TestFind(t *testing.T) {
	token, id := openSoft(t), newID()
	if _, err := token.Find(t.Context(), "the one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	must[crypto.PublicKey](t)(token.Generate(t.Context(), id, "the one", AES256))
	defer token.Destroy(context.Background(), id)
	if got, err := token.Find(t.Context(), "the one"); err != nil || !bytes.Equal(got, id) {
		t.Errorf("%x, %v", got, err)
	}
	other := newID()
	must[crypto.PublicKey](t)(token.Generate(t.Context(), other, "the one", P256))
	defer token.Destroy(context.Background(), other)
	if _, err := token.Find(t.Context(), "the one"); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("two: %v", err)
	}
}

// TestTokenWentAway takes all sessions, or the library's whole state, from under a Token that is in use.
func TestTokenWentAway(t *testing.T) {
	token, id := openSoft(t), newID()
	must[crypto.PublicKey](t)(token.Generate(t.Context(), id, "", P256))
	defer token.Destroy(context.Background(), id)
	ctx := token.lib.(*module).ctx
	for name, lose := range map[string]func() error{
		"sessions": func() error { return ctx.CloseAllSessions(token.slot) },
		"library":  func() error { return ctx.Finalize() },
		"login": func() error {
			s := <-token.pool
			defer func() { token.pool <- s }()
			return ctx.Logout(binding.SessionHandle(s.handle))
		},
	} {
		for range sessions { // so that every session is open, and in the pool
			must[[]byte](t)(token.SignECDSA(t.Context(), id, make([]byte, 32)))
		}
		if err := lose(); err != nil {
			t.Fatal(name, err)
		}
		if _, err := token.SignECDSA(t.Context(), id, make([]byte, 32)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	token, id := openSoft(t), newID()
	public := must[crypto.PublicKey](t)(token.Generate(t.Context(), id, "", P256)).(*ecdsa.PublicKey)
	defer token.Destroy(context.Background(), id)
	var wg sync.WaitGroup
	for g := range 3 * sessions {
		wg.Go(func() {
			for i := range 10 {
				digest := sha256.Sum256([]byte{byte(g), byte(i)})
				testSignECDSA(t, token, id, public, digest[:])
			}
		})
	}
	wg.Wait()
}

// TestTwoTokensShareTheLibrary: the first that closes leaves the other alone.
func TestTwoTokensShareTheLibrary(t *testing.T) {
	first, second := openSoft(t), openSoft(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	id := newID()
	if _, err := second.Generate(t.Context(), id, "", P256); err != nil {
		t.Fatal(err)
	}
	if err := second.Destroy(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, err := first.Public(t.Context(), id); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed token: %v", err)
	}
}
