package material

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // a hash of OAEP
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"github.com/latchkey-db/latchkey/internal/fastrsa"
)

// rsaKey is an RSA key in software. What takes the private half is done by fast.
type rsaKey struct {
	key  *rsa.PrivateKey
	fast *fastrsa.Key
}

func newRSA(key *rsa.PrivateKey) (Key, error) {
	fast, err := fastrsa.New(key)
	if err != nil {
		return nil, fmt.Errorf("material: an RSA key cannot be used: %w", err)
	}
	return rsaKey{key, fast}, nil
}

func validBits(bits int) bool { return bits == 2048 || bits == 3072 || bits == 4096 }

func (p Params) normalRSA() (Params, error) {
	if p.Bits == 0 {
		p.Bits = defaultBits
	}
	if !validBits(p.Bits) {
		return p, badParameter("The key size %d is not valid for RSA; use 2048, 3072 or 4096.", p.Bits)
	}
	return Params{Type: RSA, Bits: p.Bits}, nil
}

func generateRSA(bits int) (Key, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("material: generate an RSA key: %w", err)
	}
	return newRSA(key)
}

func decodeRSA(private []byte) (Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("material: a stored key is no PKCS #8")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("material: a stored key is not RSA")
	}
	return newRSA(key)
}

// importRSA takes the primes where they are given, and finds them where only the exponents are.
func importRSA(j JWK) (Key, error) {
	n, e, d := new(big.Int).SetBytes(j.N), new(big.Int).SetBytes(j.E), new(big.Int).SetBytes(j.D)
	switch {
	case len(j.N) == 0 || len(j.E) == 0 || len(j.D) == 0:
		return nil, badParameter("The property 'key' must be an RSA key in JWK form with its private members.")
	case !validBits(n.BitLen()):
		return nil, badParameter("The key size %d is not valid for RSA; use 2048, 3072 or 4096.", n.BitLen())
	case e.BitLen() > 31 || e.Bit(0) == 0 || e.BitLen() < 2:
		return nil, badParameter("The public exponent of the RSA key is not supported.")
	case d.Cmp(n) >= 0:
		return nil, unfitting()
	}
	primes := []*big.Int{new(big.Int).SetBytes(j.P), new(big.Int).SetBytes(j.Q)}
	if len(j.P) == 0 && len(j.Q) == 0 {
		primes = factor(n, e, d)
	}
	if primes == nil {
		return nil, unfitting()
	}
	return checkedRSA(&rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: int(e.Int64())}, D: d, Primes: primes}, j)
}

func unfitting() error { return badParameter("The members of the RSA key do not fit together.") }

// checkedRSA refuses a key whose members contradict each other.
func checkedRSA(key *rsa.PrivateKey, j JWK) (Key, error) {
	for _, p := range key.Primes {
		if p.BitLen() < key.N.BitLen()/4 || p.BitLen() > key.N.BitLen() {
			return nil, unfitting() // before the checks that cost time
		}
	}
	if key.Validate() != nil {
		return nil, unfitting()
	}
	key.Precompute()
	for _, x := range []struct {
		given []byte
		want  *big.Int
	}{{j.DP, key.Precomputed.Dp}, {j.DQ, key.Precomputed.Dq}, {j.QI, key.Precomputed.Qinv}} {
		if len(x.given) > 0 && new(big.Int).SetBytes(x.given).Cmp(x.want) != 0 {
			return nil, unfitting()
		}
	}
	made, err := newRSA(key)
	if err != nil {
		return nil, unfitting()
	}
	return made, nil
}

// factorTries bounds the search for the primes: each try finds them with a probability of one half.
const factorTries = 64

// factor finds the primes of n from both exponents (NIST SP 800-56B, appendix C), or returns nil.
func factor(n, e, d *big.Int) []*big.Int {
	one := big.NewInt(1)
	k := new(big.Int).Mul(d, e)
	k.Sub(k, one)
	if k.Sign() <= 0 || k.Bit(0) != 0 {
		return nil
	}
	twos := k.TrailingZeroBits()
	odd := new(big.Int).Rsh(k, twos)
	last := new(big.Int).Sub(n, one)
	for range factorTries {
		g, err := rand.Int(rand.Reader, last)
		if err != nil || g.Sign() == 0 {
			continue
		}
		y := new(big.Int).Exp(g, odd, n)
		for i := uint(0); i < twos && y.Cmp(one) != 0 && y.Cmp(last) != 0; i++ {
			x := new(big.Int).Exp(y, big.NewInt(2), n)
			if x.Cmp(one) == 0 {
				p := new(big.Int).GCD(nil, nil, y.Sub(y, one), n)
				return []*big.Int{p, new(big.Int).Div(n, p)}
			}
			y = x
		}
	}
	return nil
}

func (k rsaKey) Params() Params { return Params{Type: RSA, Bits: k.key.N.BitLen()} }

func (k rsaKey) Public() JWK {
	return JWK{Type: RSA, N: k.key.N.Bytes(), E: big.NewInt(int64(k.key.E)).Bytes()}
}

func (k rsaKey) Private() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.key) }

func (k rsaKey) Signer() (crypto.Signer, error) { return k.key, nil }

func (k rsaKey) Run(op Operation, in Input) (out Output, err error) {
	switch op {
	case Encrypt, Wrap:
		out.Value, err = k.encrypt(in)
	case Decrypt, Unwrap:
		out.Value, err = k.decrypt(in)
	case Sign:
		out.Value, err = k.sign(in)
	case Verify:
		out.Valid, err = k.verify(in)
	}
	return out, err
}

// oaep maps the names of the service (JWA) to the hash; MGF1 uses the same hash.
var oaep = map[string]crypto.Hash{"RSA-OAEP": crypto.SHA1, "RSA-OAEP-256": crypto.SHA256}

const pkcs1 = "RSA1_5"

func (k rsaKey) encrypt(in Input) ([]byte, error) {
	var out []byte
	var err error
	h, isOAEP := oaep[in.Algorithm]
	switch {
	case isOAEP:
		out, err = rsa.EncryptOAEP(h.New(), rand.Reader, &k.key.PublicKey, in.Value, nil)
	case in.Algorithm == pkcs1:
		//lint:ignore SA1019 RSA1_5 is part of the protocol; the caller chooses it
		out, err = rsa.EncryptPKCS1v15(rand.Reader, &k.key.PublicKey, in.Value)
	default:
		return nil, unknownAlgorithm(in.Algorithm)
	}
	if errors.Is(err, rsa.ErrMessageTooLong) {
		return nil, tooLong(in.Algorithm)
	}
	return out, err
}

func (k rsaKey) decrypt(in Input) ([]byte, error) {
	var out []byte
	var err error
	h, isOAEP := oaep[in.Algorithm]
	switch {
	case isOAEP:
		out, err = k.fast.DecryptOAEP(h, in.Value)
	case in.Algorithm == pkcs1:
		out, err = k.fast.DecryptPKCS1v15(in.Value)
	default:
		return nil, unknownAlgorithm(in.Algorithm)
	}
	if err != nil {
		return nil, undecipherable()
	}
	return out, nil
}

// rsaSignature is a signature algorithm. hash is 0 for RSNULL, which signs raw bytes.
type rsaSignature struct {
	hash crypto.Hash
	pss  bool
}

var rsaSignatures = map[string]rsaSignature{
	"RS256": {crypto.SHA256, false}, "RS384": {crypto.SHA384, false}, "RS512": {crypto.SHA512, false},
	"PS256": {crypto.SHA256, true}, "PS384": {crypto.SHA384, true}, "PS512": {crypto.SHA512, true},
	"RSNULL": {},
}

// rsaSignatureOf finds an algorithm and checks the digest's length: the caller has hashed already.
func rsaSignatureOf(name string, digest []byte) (rsaSignature, error) {
	a, ok := rsaSignatures[name]
	if !ok {
		return a, unknownAlgorithm(name)
	}
	if a.hash == 0 {
		return a, nil
	}
	return a, checkDigest(name, a.hash, digest)
}

// pssOptions: the salt is as long as the hash (JWA, RFC 7518 section 3.5).
var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

func (k rsaKey) sign(in Input) ([]byte, error) {
	a, err := rsaSignatureOf(in.Algorithm, in.Value)
	if err != nil {
		return nil, err
	}
	var out []byte
	if a.pss {
		out, err = k.fast.SignPSS(a.hash, in.Value)
	} else {
		out, err = k.fast.SignPKCS1v15(a.hash, in.Value)
	}
	if errors.Is(err, rsa.ErrMessageTooLong) {
		return nil, tooLong(in.Algorithm)
	}
	return out, err
}

func (k rsaKey) verify(in Input) (bool, error) {
	a, err := rsaSignatureOf(in.Algorithm, in.Digest)
	if err != nil {
		return false, err
	}
	if a.pss {
		return rsa.VerifyPSS(&k.key.PublicKey, a.hash, in.Digest, in.Value, pssOptions) == nil, nil
	}
	return rsa.VerifyPKCS1v15(&k.key.PublicKey, a.hash, in.Digest, in.Value) == nil, nil
}
