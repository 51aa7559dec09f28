package pkcs11

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"testing"
)

// TestRemoveOAEP opens what the standard library padded, and refuses every block with one bit changed.
func TestRemoveOAEP(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 32, 256 - 66} {
		message := bytes.Repeat([]byte{1}, size)
		c, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, message, nil)
		if err != nil {
			t.Fatal(err)
		}
		em := new(big.Int).Exp(new(big.Int).SetBytes(c), key.D, key.N).Bytes()
		got, err := removeOAEP(sha256.New(), leftPad(em, 256))
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("%d bytes: %x, %v", size, got, err)
		}
		for i := range 256 {
			bad := leftPad(em, 256)
			bad[i] ^= 1 << (i % 8)
			if got, err := removeOAEP(sha256.New(), bad); err != ErrInput {
				t.Errorf("%d bytes, byte %d: %x, %v", size, i, got, err)
			}
		}
		bad := leftPad(em, 256)
		bad[0] = 1
		if _, err := removeOAEP(sha256.New(), bad); err != ErrInput {
			t.Errorf("first byte: %v", err)
		}
	}
}

// TestRemoveOAEPStructure pads by hand what a right encoder never would.
func TestRemoveOAEPStructure(t *testing.T) {
	const size = 32
	empty := sha256.Sum256(nil)
	for name, c := range map[string]struct {
		db   []byte // after the hash of the label
		hash []byte
		want []byte
		ok   bool
	}{
		"message":                  {[]byte{0, 0, 1, 9, 8}, empty[:], []byte{9, 8}, true},
		"no zeros":                 {[]byte{1, 9, 8, 7, 6}, empty[:], []byte{9, 8, 7, 6}, true},
		"ones in the message":      {[]byte{0, 1, 1, 0, 1}, empty[:], []byte{1, 0, 1}, true},
		"no one":                   {[]byte{0, 0, 0, 0, 0}, empty[:], nil, false},
		"something before the one": {[]byte{0, 2, 1, 9, 8}, empty[:], nil, false},
		"another label":            {[]byte{0, 0, 1, 9, 8}, make([]byte, size), nil, false},
	} {
		em := append(make([]byte, 1+size), append(bytes.Clone(c.hash), c.db...)...)
		seed, db := em[1:1+size], em[1+size:]
		rand.Read(seed)
		xorMask(sha256.New(), db, seed)
		xorMask(sha256.New(), seed, db)
		got, err := removeOAEP(sha256.New(), em)
		if (err == nil) != c.ok || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	if _, err := removeOAEP(sha256.New(), make([]byte, 2*size+1)); err != ErrInput {
		t.Errorf("short block: %v", err)
	}
}
