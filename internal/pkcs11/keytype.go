package pkcs11

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// KeyType is what kind of key, and of which size.
type KeyType uint8

// The types of keys.
const (
	RSA2048 KeyType = iota + 1
	RSA3072
	RSA4096
	P256
	P384
	P521
	Secp256k1
	AES128
	AES192
	AES256
)

// keyTraits is what the standard needs to know of a type.
type keyTraits struct {
	name   string
	family uint                  // keyRSA, keyEC or keyAES
	bits   int                   // modulus or key
	curve  elliptic.Curve        // nil for secp256k1
	oid    asn1.ObjectIdentifier // of the curve
	size   int                   // bytes of one coordinate
}

var types = map[KeyType]keyTraits{
	RSA2048:   {name: "RSA-2048", family: keyRSA, bits: 2048},
	RSA3072:   {name: "RSA-3072", family: keyRSA, bits: 3072},
	RSA4096:   {name: "RSA-4096", family: keyRSA, bits: 4096},
	P256:      {name: "P-256", family: keyEC, curve: elliptic.P256(), oid: asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, size: 32},
	P384:      {name: "P-384", family: keyEC, curve: elliptic.P384(), oid: asn1.ObjectIdentifier{1, 3, 132, 0, 34}, size: 48},
	P521:      {name: "P-521", family: keyEC, curve: elliptic.P521(), oid: asn1.ObjectIdentifier{1, 3, 132, 0, 35}, size: 66},
	Secp256k1: {name: "secp256k1", family: keyEC, oid: asn1.ObjectIdentifier{1, 3, 132, 0, 10}, size: 32},
	AES128:    {name: "AES-128", family: keyAES, bits: 128},
	AES192:    {name: "AES-192", family: keyAES, bits: 192},
	AES256:    {name: "AES-256", family: keyAES, bits: 256},
}

// String returns the name of the type, such as "RSA-2048".
func (t KeyType) String() string {
	if x, ok := types[t]; ok {
		return x.name
	}
	return fmt.Sprintf("KeyType(%d)", uint8(t))
}

// Symmetric reports whether keys of the type have no public half.
func (t KeyType) Symmetric() bool { return types[t].family == keyAES }

func (t KeyType) traits() (keyTraits, error) {
	x, ok := types[t]
	if !ok {
		return x, fmt.Errorf("%w: %v", ErrMechanism, t)
	}
	return x, nil
}

// typeOf returns the type of a family and a size in bits, or of a curve.
func typeOf(family uint, bits int, oid asn1.ObjectIdentifier) (KeyType, bool) {
	for t, x := range types {
		if x.family == family && x.bits == bits && x.oid.Equal(oid) {
			return t, true
		}
	}
	return 0, false
}

// class is the class of the object that computes.
func (x keyTraits) class() uint {
	if x.family == keyAES {
		return objectSecret
	}
	return objectPrivate
}

// PublicSecp256k1 is a public key on the curve secp256k1, which the standard library does not have: the
// uncompressed point.
type PublicSecp256k1 [65]byte

// PrivateSecp256k1 is a private key on that curve, to be imported.
type PrivateSecp256k1 struct {
	D      *secret.Bytes // 32 bytes
	Public PublicSecp256k1
}

// material is a key that comes from outside, as attributes of objects.
type material struct {
	kind    KeyType
	secret  []attribute // of the private or secret key
	public  []attribute // of the public key
	scratch [][]byte    // to be wiped
}

func (m *material) wipe() {
	for _, b := range m.scratch {
		clear(b)
	}
}

// materialOf takes a key apart: *rsa.PrivateKey, *ecdsa.PrivateKey, *PrivateSecp256k1, or *secret.Bytes for AES.
func materialOf(key any) (*material, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return rsaMaterial(k)
	case *ecdsa.PrivateKey:
		return ecMaterial(k)
	case *PrivateSecp256k1:
		if k.D == nil || k.D.Len() != types[Secp256k1].size {
			return nil, ErrInput
		}
		return pointMaterial(Secp256k1, k.D.Clone().Reveal(), k.Public[:])
	case *secret.Bytes:
		kind, ok := typeOf(keyAES, k.Len()*8, nil)
		if !ok {
			return nil, ErrInput
		}
		raw := k.Clone().Reveal()
		return &material{kind: kind, secret: []attribute{{attrValue, raw}}, scratch: [][]byte{raw}}, nil
	}
	return nil, fmt.Errorf("%w: a key of type %T", ErrMechanism, key)
}

func rsaMaterial(k *rsa.PrivateKey) (*material, error) {
	kind, ok := typeOf(keyRSA, k.N.BitLen(), nil)
	if !ok || len(k.Primes) != 2 {
		return nil, fmt.Errorf("%w: an RSA key of %d bits and %d primes", ErrMechanism, k.N.BitLen(), len(k.Primes))
	}
	k.Precompute()
	p := k.Precomputed
	public := []attribute{{attrModulus, k.N.Bytes()}, {attrPublicExponent, bigEndian(k.E)}}
	m := &material{kind: kind, public: public, secret: public[:len(public):len(public)]}
	for _, x := range []struct {
		id    uint
		bytes []byte
	}{
		{attrPrivateExponent, k.D.Bytes()}, {attrPrime1, k.Primes[0].Bytes()}, {attrPrime2, k.Primes[1].Bytes()},
		{attrExponent1, p.Dp.Bytes()}, {attrExponent2, p.Dq.Bytes()}, {attrCoefficient, p.Qinv.Bytes()},
	} {
		m.secret = append(m.secret, attribute{x.id, x.bytes})
		m.scratch = append(m.scratch, x.bytes)
	}
	return m, nil
}

func ecMaterial(k *ecdsa.PrivateKey) (*material, error) {
	for t, x := range types {
		if x.curve == nil || x.curve != k.Curve {
			continue
		}
		d, err := k.Bytes()
		if err != nil {
			return nil, ErrInput
		}
		point, err := k.PublicKey.Bytes()
		if err != nil {
			return nil, ErrInput
		}
		return pointMaterial(t, d, point)
	}
	return nil, fmt.Errorf("%w: an elliptic curve of this kind", ErrMechanism)
}

func pointMaterial(t KeyType, d, point []byte) (*material, error) {
	params, err := asn1.Marshal(types[t].oid)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(point)
	if err != nil {
		return nil, err
	}
	return &material{
		kind: t, scratch: [][]byte{d},
		secret: []attribute{{attrECParams, params}, {attrValue, d}},
		public: []attribute{{attrECParams, params}, {attrECPoint, der}},
	}, nil
}

// bigEndian returns a small positive number without leading zeros.
func bigEndian(n int) []byte {
	var b []byte
	for ; n > 0; n >>= 8 {
		b = append([]byte{byte(n)}, b...)
	}
	return b
}
