// Package fastrsa is the private-key half of RSA: decryption and signatures, by the fastest
// implementation that was built in.
//
// # Implementations
//
// The default build is static and uses the standard library. With the build tag libcrypto, which needs
// cgo, the same operations are OpenSSL's, whose private-key operation takes a third to a half of the
// time (docs/decisions/0008). Both are compiled from the same checks: what is refused, and how, does
// not depend on the build. [Provider] names the implementation.
//
// # Keys
//
// A [Key] holds the private key in the memory of its implementation until nobody refers to the Key any
// more; OpenSSL then wipes its copy. It can be used by many goroutines at once.
//
// # Promises
//
//   - Every failure of an operation is [ErrFailed]: nothing tells what was wrong with a cipher text.
//     The one exception is a message too long to be signed, rsa.ErrMessageTooLong, which says
//     nothing about a key.
//   - Blinding, the check of each result against faults, and padding checks in constant time are the
//     implementation's and are on.
//   - A cipher text is as long as the modulus (RFC 8017, 7.1.2 and 7.2.2); others fail.
//   - PKCS #1 v1.5 decryption reports a wrong padding. OpenSSL's way of hiding it (an invented message)
//     is off: the answers of a vault would differ with the build.
//   - No input makes an operation panic.
package fastrsa

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1"   // of RSA-OAEP
	_ "crypto/sha256" // of the rest
	_ "crypto/sha512"
	"errors"
	"fmt"
	"slices"
)

// ErrFailed is every failure of an operation.
var ErrFailed = errors.New("fastrsa: operation failed")

// Key is a private key. It never changes.
type Key struct {
	public *rsa.PublicKey
	engine engine
}

// engine carries out operations whose arguments were checked. Its errors are not shown to anybody.
type engine interface {
	decryptOAEP(h crypto.Hash, ciphertext []byte) ([]byte, error)
	decryptPKCS1v15(ciphertext []byte) ([]byte, error)
	signPKCS1v15(h crypto.Hash, digest []byte) ([]byte, error)
	signPSS(h crypto.Hash, digest []byte) ([]byte, error)
}

// The hashes that are served.
var (
	oaepHashes      = []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}
	signatureHashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}
)

// New returns a key with two primes for use. It checks the key, does not change it and keeps no reference to it
// beyond what the standard library shares.
func New(private *rsa.PrivateKey) (*Key, error) { return newKey(private, newEngine) }

func newKey(private *rsa.PrivateKey, open func(*rsa.PrivateKey) (engine, error)) (*Key, error) {
	if private == nil || private.N == nil || private.D == nil || len(private.Primes) != 2 {
		return nil, errors.New("fastrsa: not a private key with two primes")
	}
	k := *private
	k.Precompute()
	if err := k.Validate(); err != nil {
		return nil, fmt.Errorf("fastrsa: %w", err)
	}
	e, err := open(&k)
	if err != nil {
		return nil, err
	}
	return &Key{public: &rsa.PublicKey{N: k.N, E: k.E}, engine: e}, nil
}

// Provider names the implementation of this build, for logs and metrics.
func Provider() string { return provider() }

// Public returns the public half. It must not be changed.
func (k *Key) Public() *rsa.PublicKey { return k.public }

// Format writes a constant, whatever the verb.
func (*Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

// DecryptOAEP decrypts with RSAES-OAEP, with h for the label, which is empty, and for MGF1.
func (k *Key) DecryptOAEP(h crypto.Hash, ciphertext []byte) ([]byte, error) {
	if !slices.Contains(oaepHashes, h) || len(ciphertext) != k.public.Size() || k.public.Size() < 2*h.Size()+2 {
		return nil, ErrFailed
	}
	return opaque(k.engine.decryptOAEP(h, ciphertext))
}

// DecryptPKCS1v15 decrypts with RSAES-PKCS1-v1_5. Whoever sees whether it failed can decrypt with
// enough questions (Bleichenbacher): it is for callers who may decrypt.
func (k *Key) DecryptPKCS1v15(ciphertext []byte) ([]byte, error) {
	if len(ciphertext) != k.public.Size() {
		return nil, ErrFailed
	}
	return opaque(k.engine.decryptPKCS1v15(ciphertext))
}

// SignPKCS1v15 signs a digest with RSASSA-PKCS1-v1_5. With h = 0 the bytes of digest are padded as they
// are, without a DigestInfo.
func (k *Key) SignPKCS1v15(h crypto.Hash, digest []byte) ([]byte, error) {
	switch {
	case h == 0 && len(digest) > k.public.Size()-pkcs1Overhead:
		return nil, rsa.ErrMessageTooLong
	case h != 0 && !signable(h, digest):
		return nil, ErrFailed
	}
	return opaque(k.engine.signPKCS1v15(h, digest))
}

// pkcs1Overhead is the least that PKCS #1 v1.5 pads with, in bytes.
const pkcs1Overhead = 11

// SignPSS signs a digest with RSASSA-PSS, with h for MGF1 and a salt as long as the hash.
func (k *Key) SignPSS(h crypto.Hash, digest []byte) ([]byte, error) {
	if !signable(h, digest) || k.public.N.BitLen()-1 < 8*(2*h.Size()+2)-7 {
		return nil, ErrFailed
	}
	return opaque(k.engine.signPSS(h, digest))
}

func signable(h crypto.Hash, digest []byte) bool {
	return slices.Contains(signatureHashes, h) && len(digest) == h.Size()
}

func opaque(out []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, ErrFailed
	}
	return out, nil
}
