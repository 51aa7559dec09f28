package fastrsa

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
)

// rounds is n, or a hundred times that in the long form of a test.
func rounds(n int) int {
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		return 100 * n
	}
	return n
}

// dice is splitmix64: what a test did can be repeated from its seed.
type dice uint64

func newDice(t testing.TB) *dice {
	var b [8]byte
	_, _ = rand.Read(b[:])
	d := dice(binary.LittleEndian.Uint64(b[:]))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", uint64(d))
		}
	})
	return &d
}

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

func (d *dice) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.next())
	}
	return b
}

// pair is one key in both implementations; in the default build they are the same one.
type pair struct {
	private   *rsa.PrivateKey
	ours, std *Key
}

func newPair(t testing.TB, private *rsa.PrivateKey) pair {
	t.Helper()
	ours, err := New(private)
	if err != nil {
		t.Fatal(err)
	}
	std, err := newKey(private, newGolang)
	if err != nil {
		t.Fatal(err)
	}
	return pair{private, ours, std}
}

// sizes are the sizes of keys that a vault makes.
var sizes = []int{2048, 3072, 4096}

var generated sync.Map // bits to *rsa.PrivateKey

// generate returns a random key that the tests share.
func generate(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	if k, ok := generated.Load(bits); ok {
		return k.(*rsa.PrivateKey)
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := generated.LoadOrStore(bits, k)
	return kept.(*rsa.PrivateKey)
}

func eachSize(t *testing.T, f func(*testing.T, pair)) {
	for _, bits := range sizes {
		t.Run(fmt.Sprint(bits), func(t *testing.T) { f(t, newPair(t, generate(t, bits))) })
	}
}

// decryption is a way to decrypt with the encryption that it undoes.
type decryption struct {
	name    string
	encrypt func(k *rsa.PublicKey, msg []byte) ([]byte, error)
	decrypt func(k *Key, ciphertext []byte) ([]byte, error)
	longest func(size int) int
}

func decryptions() []decryption {
	all := []decryption{{"PKCS1v15",
		func(k *rsa.PublicKey, msg []byte) ([]byte, error) {
			//lint:ignore SA1019 RSA1_5 is part of the protocol
			return rsa.EncryptPKCS1v15(rand.Reader, k, msg)
		},
		(*Key).DecryptPKCS1v15, func(size int) int { return size - pkcs1Overhead }}}
	for _, h := range oaepHashes {
		all = append(all, decryption{"OAEP " + h.String(),
			func(k *rsa.PublicKey, msg []byte) ([]byte, error) {
				return rsa.EncryptOAEP(h.New(), rand.Reader, k, msg, nil)
			},
			func(k *Key, ciphertext []byte) ([]byte, error) { return k.DecryptOAEP(h, ciphertext) },
			func(size int) int { return size - 2*h.Size() - 2 }})
	}
	return all
}

func TestDecrypts(t *testing.T) {
	eachSize(t, func(t *testing.T, p pair) {
		d := newDice(t)
		for _, way := range decryptions() {
			longest := way.longest(p.private.Size())
			lengths := []int{0, 1, 32, longest}
			for range rounds(1) {
				lengths = append(lengths, d.below(longest+1))
			}
			for _, n := range lengths {
				msg := d.bytes(n)
				ciphertext, err := way.encrypt(&p.private.PublicKey, msg)
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range []*Key{p.ours, p.std} {
					if got, err := way.decrypt(k, ciphertext); err != nil || !bytes.Equal(got, msg) {
						t.Errorf("%s of %d bytes: %x, %v", way.name, n, got, err)
					}
				}
			}
		}
	})
}

// damages are what a cipher text may have suffered.
var damages = []struct {
	name string
	do   func(d *dice, p pair, b []byte) []byte
}{
	{"a bit", func(d *dice, _ pair, b []byte) []byte { b[d.below(len(b))] ^= 1 << d.below(8); return b }},
	{"random", func(d *dice, _ pair, b []byte) []byte { b = d.bytes(len(b)); b[0] = 0; return b }},
	{"zero", func(_ *dice, _ pair, b []byte) []byte { clear(b); return b }},
	{"one", func(_ *dice, _ pair, b []byte) []byte { clear(b); b[len(b)-1] = 1; return b }},
	{"the modulus", func(_ *dice, p pair, b []byte) []byte { return p.private.N.FillBytes(b) }},
	{"above the modulus", func(_ *dice, _ pair, b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }},
	{"a byte short", func(_ *dice, _ pair, b []byte) []byte { return b[:len(b)-1] }},
	{"a byte long", func(_ *dice, _ pair, b []byte) []byte { return append(b, 0) }},
	{"a zero before", func(_ *dice, _ pair, b []byte) []byte { return append([]byte{0}, b...) }},
	{"empty", func(_ *dice, _ pair, _ []byte) []byte { return []byte{} }},
	{"nil", func(_ *dice, _ pair, _ []byte) []byte { return nil }},
}

func TestDamagedCiphertexts(t *testing.T) {
	eachSize(t, func(t *testing.T, p pair) {
		d := newDice(t)
		for _, way := range decryptions() {
			for _, damage := range damages {
				for range rounds(1) {
					good, err := way.encrypt(&p.private.PublicKey, d.bytes(32))
					if err != nil {
						t.Fatal(err)
					}
					bad := damage.do(d, p, good)
					got, err := way.decrypt(p.ours, bad)
					want, wantErr := way.decrypt(p.std, bad)
					if !bytes.Equal(got, want) || !errors.Is(err, wantErr) {
						t.Errorf("%s, %s: %x, %v; the standard library: %x, %v", way.name, damage.name, got, err, want, wantErr)
					}
					if err != nil && (err != ErrFailed || got != nil) {
						t.Errorf("%s, %s: %x, %v", way.name, damage.name, got, err)
					}
					if err == nil && way.name != "PKCS1v15" {
						t.Errorf("%s, %s: decrypted", way.name, damage.name)
					}
				}
			}
		}
	})
}

// TestPaddings decrypts blocks that no honest client makes: the two implementations must find the same
// ones wrong.
func TestPaddings(t *testing.T) {
	p := newPair(t, generate(t, 2048))
	size := p.private.Size()
	block := func(head ...byte) []byte {
		b := bytes.Repeat([]byte{7}, size)
		copy(b, head)
		return b
	}
	with := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	tests := []struct {
		name  string
		block []byte
		good  bool
	}{
		{"good", with(block(0, 2), 100, 0), true},
		{"the least padding", with(block(0, 2), 10, 0), true},
		{"padding of seven bytes", with(block(0, 2), 9, 0), false},
		{"no separator", block(0, 2), false},
		{"empty message", with(block(0, 2), size-1, 0), true},
		{"block type 1", with(block(0, 1), 100, 0), false},
		{"block type 0", with(block(0, 0), 100, 0), false},
		{"no leading zero", with(block(1, 2), 100, 0), false},
	}
	for _, tt := range tests {
		ciphertext := raise(&p.private.PublicKey, tt.block)
		got, err := p.ours.DecryptPKCS1v15(ciphertext)
		want, wantErr := p.std.DecryptPKCS1v15(ciphertext)
		if !bytes.Equal(got, want) || err != wantErr || (err == nil) != tt.good {
			t.Errorf("%s: %x, %v; the standard library: %x, %v", tt.name, got, err, want, wantErr)
		}
	}
}

func TestSigns(t *testing.T) {
	eachSize(t, func(t *testing.T, p pair) {
		d := newDice(t)
		for range rounds(1) {
			for _, h := range signatureHashes {
				checkSignatures(t, p, h, d.bytes(h.Size()))
			}
			for _, n := range []int{0, 1, 19, 32, p.private.Size() - pkcs1Overhead} {
				checkSignatures(t, p, 0, d.bytes(n))
			}
		}
	})
}

// checkSignatures compares the signatures of both implementations and verifies them.
func checkSignatures(t *testing.T, p pair, h crypto.Hash, digest []byte) {
	t.Helper()
	got, err := p.ours.SignPKCS1v15(h, digest)
	want, wantErr := p.std.SignPKCS1v15(h, digest)
	if err != nil || wantErr != nil || !bytes.Equal(got, want) {
		t.Fatalf("PKCS1v15 %v of %d bytes: %x, %v; the standard library: %x, %v", h, len(digest), got, err, want, wantErr)
	}
	if err := rsa.VerifyPKCS1v15(p.ours.Public(), h, digest, got); err != nil {
		t.Errorf("PKCS1v15 %v: %v", h, err)
	}
	if h == 0 {
		return
	}
	got, err = p.ours.SignPSS(h, digest)
	if err != nil {
		t.Fatalf("PSS %v: %v", h, err)
	}
	if err := rsa.VerifyPSS(p.ours.Public(), h, digest, got, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		t.Errorf("PSS %v: %v", h, err)
	}
	if again, err := p.ours.SignPSS(h, digest); err != nil || bytes.Equal(got, again) {
		t.Errorf("PSS %v: twice the same salt, %v", h, err)
	}
}

func TestRefusals(t *testing.T) {
	k := newPair(t, generate(t, 2048)).ours
	sign := func(f func(crypto.Hash, []byte) ([]byte, error), h crypto.Hash, n int) error {
		_, err := f(h, make([]byte, n))
		return err
	}
	oaep := func(h crypto.Hash) error { _, err := k.DecryptOAEP(h, make([]byte, 256)); return err }
	tests := []struct {
		name      string
		got, want error
	}{
		{"a digest of another length", sign(k.SignPKCS1v15, crypto.SHA256, 31), ErrFailed},
		{"no digest", sign(k.SignPSS, crypto.SHA256, 0), ErrFailed},
		{"PSS without a hash", sign(k.SignPSS, 0, 32), ErrFailed},
		{"a hash that is not served", sign(k.SignPKCS1v15, crypto.MD5, 16), ErrFailed},
		{"a hash that does not exist", sign(k.SignPKCS1v15, 200, 16), ErrFailed},
		{"too long", sign(k.SignPKCS1v15, 0, 246), rsa.ErrMessageTooLong},
		{"OAEP without a hash", oaep(0), ErrFailed},
		{"OAEP with a hash that is not served", oaep(crypto.MD5), ErrFailed},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %v", tt.name, tt.got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := generate(t, 2048)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]*rsa.PrivateKey{
		"nil":           nil,
		"empty":         {},
		"public only":   {PublicKey: good.PublicKey},
		"no primes":     {PublicKey: good.PublicKey, D: good.D},
		"other primes":  {PublicKey: good.PublicKey, D: good.D, Primes: other.Primes},
		"other private": {PublicKey: good.PublicKey, D: other.D, Primes: good.Primes},
	}
	for name, k := range tests {
		if _, err := New(k); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	k := newPair(t, generate(t, 2048)).ours
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "[secret]" {
			t.Errorf("%s: %q", verb, got)
		}
	}
}

// TestConcurrentUse uses keys from many goroutines while others are made and forgotten.
func TestConcurrentUse(t *testing.T) {
	private := generate(t, 2048)
	shared := newPair(t, private).ours
	msg := []byte("0123456789abcdef0123456789abcdef")
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &private.PublicKey, msg, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range rounds(4) {
				own, err := New(private)
				if err != nil {
					t.Error(err)
					return
				}
				for _, k := range []*Key{shared, own} {
					if got, err := k.DecryptOAEP(crypto.SHA256, ciphertext); err != nil || !bytes.Equal(got, msg) {
						t.Errorf("%x, %v", got, err)
					}
				}
				runtime.GC()
			}
		})
	}
	wg.Wait()
}

func FuzzDecrypt(f *testing.F) {
	p := newPair(f, generate(f, 2048))
	good, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &p.private.PublicKey, []byte("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, ciphertext []byte) {
		for _, way := range decryptions() {
			got, err := way.decrypt(p.ours, ciphertext)
			want, wantErr := way.decrypt(p.std, ciphertext)
			if !bytes.Equal(got, want) || err != wantErr {
				t.Errorf("%s: %x, %v; the standard library: %x, %v", way.name, got, err, want, wantErr)
			}
		}
	})
}

func BenchmarkPrivate(b *testing.B) {
	for _, bits := range sizes {
		p := newPair(b, generate(b, bits))
		ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &p.private.PublicKey, make([]byte, 32), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("unwrap/%d", bits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.ours.DecryptOAEP(crypto.SHA256, ciphertext); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
