package material

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	koblitz "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// The curves, by their names in JSON Web Keys. P256K is secp256k1.
const (
	P256  = "P-256"
	P256K = "P-256K"
	P384  = "P-384"
	P521  = "P-521"
)

// curve is what an EC key is made of. nist is nil for P-256K, which the standard library has not.
type curve struct {
	name      string
	algorithm string // the one that it signs with
	nist      elliptic.Curve
	hash      crypto.Hash
	size      int // of a coordinate, in bytes
}

var curves = []curve{
	{P256, "ES256", elliptic.P256(), crypto.SHA256, 32},
	{P256K, "ES256K", nil, crypto.SHA256, 32},
	{P384, "ES384", elliptic.P384(), crypto.SHA384, 48},
	{P521, "ES512", elliptic.P521(), crypto.SHA512, 66},
}

// Older clients write the names of the preview of P-256K.
const (
	oldP256K  = "SECP256K1"
	oldES256K = "ECDSA256"
)

func curveOf(name string) (curve, bool) {
	if name == oldP256K {
		name = P256K
	}
	i := slices.IndexFunc(curves, func(c curve) bool { return c.name == name })
	if i < 0 {
		return curve{}, false
	}
	return curves[i], true
}

func (p Params) normalEC() (Params, error) {
	if p.Curve == "" {
		p.Curve = defaultCurve
	}
	c, ok := curveOf(p.Curve)
	if !ok {
		return p, badParameter("Property crv has invalid value '%.32s'; use P-256, P-256K, P-384 or P-521.", p.Curve)
	}
	return Params{Type: EC, Curve: c.name}, nil
}

func generateEC(name string) (Key, error) {
	c, ok := curveOf(name)
	if !ok {
		return nil, fmt.Errorf("material: no such curve %q", name)
	}
	if c.nist == nil {
		k, err := secp256k1.GeneratePrivateKey()
		return koblitzKey{c, k}, err
	}
	k, err := ecdsa.GenerateKey(c.nist, rand.Reader)
	return nistKey{c, k}, err
}

func decodeEC(name string, private []byte) (Key, error) {
	c, ok := curveOf(name)
	if !ok {
		return nil, fmt.Errorf("material: no such curve %q", name)
	}
	if c.nist == nil {
		return koblitzOf(c, private)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("material: a stored key is no PKCS #8")
	}
	k, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || k.Curve != c.nist {
		return nil, fmt.Errorf("material: a stored key is not on %s", name)
	}
	return nistKey{c, k}, nil
}

func unfittingEC() error { return badParameter("The members of the EC key do not fit together.") }

func importEC(j JWK) (Key, error) {
	p, err := Params{Type: EC, Curve: j.Curve}.normalEC()
	if err != nil || j.Curve == "" {
		return nil, badParameter("Property crv has invalid value '%.32s'; use P-256, P-256K, P-384 or P-521.", j.Curve)
	}
	if len(j.D) == 0 || len(j.X) == 0 || len(j.Y) == 0 {
		return nil, badParameter("The property 'key' must be an EC key in JWK form with its private member.")
	}
	c, _ := curveOf(p.Curve)
	scalar, ok := fixed(j.D, c.size)
	if !ok {
		return nil, unfittingEC()
	}
	defer clear(scalar)
	k, err := scalarKey(c, scalar)
	if err != nil {
		return nil, unfittingEC()
	}
	if made := k.Public(); !equalNumbers(made.X, j.X) || !equalNumbers(made.Y, j.Y) {
		return nil, unfittingEC()
	}
	return k, nil
}

func scalarKey(c curve, scalar []byte) (Key, error) {
	if c.nist == nil {
		return koblitzOf(c, scalar)
	}
	k, err := ecdsa.ParseRawPrivateKey(c.nist, scalar)
	return nistKey{c, k}, err
}

// fixed is a number in exactly size bytes.
func fixed(number []byte, size int) ([]byte, bool) {
	for len(number) > 0 && number[0] == 0 {
		number = number[1:]
	}
	if len(number) == 0 || len(number) > size {
		return nil, false
	}
	out := make([]byte, size)
	copy(out[size-len(number):], number)
	return out, true
}

func equalNumbers(a, b []byte) bool {
	return new(big.Int).SetBytes(a).Cmp(new(big.Int).SetBytes(b)) == 0
}

// MismatchError says that a curve was asked for the signature of another one.
type MismatchError struct{ Curve, Algorithm, Needs string }

// Error names both curves.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("the curve %s does not sign with %s, which needs %s", e.Curve, e.Algorithm, e.Needs)
}

// check refuses an algorithm that is not the curve's own, and digests of the wrong length.
func (c curve) check(algorithm string, digest []byte) error {
	if algorithm == oldES256K {
		algorithm = "ES256K"
	}
	for _, other := range curves {
		if other.algorithm != algorithm {
			continue
		}
		if other.name != c.name {
			return &MismatchError{Curve: c.name, Algorithm: algorithm, Needs: other.name}
		}
		return checkDigest(algorithm, c.hash, digest)
	}
	return unknownAlgorithm(algorithm)
}

// runEC dispatches the two operations that EC keys have.
func runEC(c curve, op Operation, in Input, sign func() ([]byte, error), verify func(r, s []byte) bool) (out Output, err error) {
	switch op {
	case Sign:
		if err := c.check(in.Algorithm, in.Value); err != nil {
			return out, err
		}
		out.Value, err = sign()
	case Verify:
		if err := c.check(in.Algorithm, in.Digest); err != nil {
			return out, err
		}
		if len(in.Value) == 2*c.size {
			out.Valid = verify(in.Value[:c.size], in.Value[c.size:])
		}
	default:
		return out, badParameter("The operation %s is not supported by keys of the type EC.", op)
	}
	return out, err
}

// nistKey is a key on a curve of NIST.
type nistKey struct {
	curve curve
	key   *ecdsa.PrivateKey
}

func (k nistKey) Params() Params { return Params{Type: EC, Curve: k.curve.name} }

func (k nistKey) Public() JWK {
	point, err := k.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return JWK{Type: EC, Curve: k.curve.name}
	}
	return JWK{Type: EC, Curve: k.curve.name, X: point[1 : 1+k.curve.size], Y: point[1+k.curve.size:]}
}

func (k nistKey) Private() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.key) }

func (k nistKey) Signer() (crypto.Signer, error) { return k.key, nil }

func (k nistKey) Run(op Operation, in Input) (Output, error) {
	return runEC(k.curve, op, in, func() ([]byte, error) {
		r, s, err := ecdsa.Sign(rand.Reader, k.key, in.Value)
		if err != nil {
			return nil, fmt.Errorf("material: sign: %w", err)
		}
		out := make([]byte, 2*k.curve.size)
		r.FillBytes(out[:k.curve.size])
		s.FillBytes(out[k.curve.size:])
		return out, nil
	}, func(r, s []byte) bool { return nistPublic{k.curve, &k.key.PublicKey}.verify(in.Digest, r, s) })
}

// koblitzKey is a key on P-256K.
type koblitzKey struct {
	curve curve
	key   *secp256k1.PrivateKey
}

// koblitzOf makes a key of its scalar, which must be between 1 and the order.
func koblitzOf(c curve, scalar []byte) (Key, error) {
	var s secp256k1.ModNScalar
	if len(scalar) != c.size || s.SetByteSlice(scalar) || s.IsZero() {
		return nil, errors.New("material: no scalar of P-256K")
	}
	return koblitzKey{c, secp256k1.NewPrivateKey(&s)}, nil
}

func (k koblitzKey) Params() Params { return Params{Type: EC, Curve: k.curve.name} }

func (k koblitzKey) Public() JWK {
	point := k.key.PubKey().SerializeUncompressed() // 4, x, y
	return JWK{Type: EC, Curve: k.curve.name, X: point[1:33], Y: point[33:]}
}

func (k koblitzKey) Private() ([]byte, error) { return k.key.Serialize(), nil }

func (k koblitzKey) Run(op Operation, in Input) (Output, error) {
	return runEC(k.curve, op, in, func() ([]byte, error) {
		sig := koblitz.Sign(k.key, in.Value)
		r, s := sig.R(), sig.S()
		rb, sb := r.Bytes(), s.Bytes()
		return append(rb[:], sb[:]...), nil
	}, func(r, s []byte) bool { return koblitzPublic{k.curve, k.key.PubKey()}.verify(in.Digest, r, s) })
}

// publicEC is the public half of an EC key: it verifies and nothing else.
func publicEC(name string, j JWK) (publicKey, error) {
	c, ok := curveOf(name)
	if !ok || len(j.X) > c.size || len(j.Y) > c.size {
		return nil, errors.New("material: a token's key has no public half")
	}
	point := make([]byte, 1+2*c.size)
	point[0] = 4
	copy(point[1+c.size-len(j.X):], j.X)
	copy(point[1+2*c.size-len(j.Y):], j.Y)
	if c.nist == nil {
		pub, err := secp256k1.ParsePubKey(point)
		return koblitzPublic{c, pub}, err
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(c.nist, point)
	return nistPublic{c, pub}, err
}

type nistPublic struct {
	curve curve
	key   *ecdsa.PublicKey
}

func (k nistPublic) verify(digest, r, s []byte) bool {
	return ecdsa.Verify(k.key, digest, new(big.Int).SetBytes(r), new(big.Int).SetBytes(s))
}

func (k nistPublic) Run(op Operation, in Input) (Output, error) {
	return runEC(k.curve, op, in, noSign, func(r, s []byte) bool { return k.verify(in.Digest, r, s) })
}

type koblitzPublic struct {
	curve curve
	key   *secp256k1.PublicKey
}

func (k koblitzPublic) verify(digest, rb, sb []byte) bool {
	var r, s secp256k1.ModNScalar
	if r.SetByteSlice(rb) || s.SetByteSlice(sb) || r.IsZero() || s.IsZero() {
		return false
	}
	return koblitz.NewSignature(&r, &s).Verify(digest, k.key)
}

func (k koblitzPublic) Run(op Operation, in Input) (Output, error) {
	return runEC(k.curve, op, in, noSign, func(r, s []byte) bool { return k.verify(in.Digest, r, s) })
}

func noSign() ([]byte, error) { return nil, errors.New("material: a public key cannot sign") }
