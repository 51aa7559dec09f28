package material

import (
	"crypto"
	"fmt"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// Operation is a cryptographic operation, by its name in key_ops.
type Operation string

// The operations. Wrap and Unwrap are Encrypt and Decrypt under rights of their own.
const (
	Encrypt Operation = "encrypt"
	Decrypt Operation = "decrypt"
	Wrap    Operation = "wrapKey"
	Unwrap  Operation = "unwrapKey"
	Sign    Operation = "sign"
	Verify  Operation = "verify"
)

// Input is what an operation works on.
type Input struct {
	Algorithm string
	Value     []byte // plain text, cipher text, digest to sign, or signature to verify
	Digest    []byte // the digest that Verify compares
	IV        []byte // CBC, and GCM when it decrypts
	AAD       []byte // GCM
	Tag       []byte // GCM when it decrypts
}

// Output is what an operation produced.
type Output struct {
	Value []byte // what Encrypt, Decrypt, Wrap, Unwrap and Sign produced
	Valid bool   // what Verify found
	IV    []byte // GCM and CBC when they encrypt
	Tag   []byte // GCM when it encrypts
	AAD   []byte // GCM when it encrypts: the caller's
}

// Type is a family of keys, by its name in JSON Web Keys.
type Type string

// The families.
const (
	RSA Type = "RSA"
	EC  Type = "EC"
	Oct Type = "oct"
)

// Params tell one kind of key from another: all that it takes to make a key like a given one.
type Params struct {
	Type  Type
	Bits  int    // RSA and oct
	Curve string // EC
}

// Key is a key with its private part.
type Key interface {
	Params() Params
	// Public returns the public members; for oct there are none but the type.
	Public() JWK
	// Private returns the encoding that Decode reads: PKCS #8 for RSA and the curves of NIST, the
	// scalar for P-256K, the bytes themselves for oct. The caller clears it.
	Private() ([]byte, error)
	// Run carries out op. Errors are faults for the caller.
	Run(op Operation, in Input) (Output, error)
}

// Signer is a key that certificates can be made with.
type Signer interface {
	Key
	// Signer returns the key as the standard library signs with it.
	Signer() (crypto.Signer, error)
}

// defaults of a key whose size or curve was not named.
const (
	defaultBits  = 2048
	defaultOct   = 256
	defaultCurve = P256
)

// Normal fills in what was left open and refuses what no key can be.
func (p Params) Normal() (Params, error) {
	switch p.Type {
	case RSA:
		return p.normalRSA()
	case EC:
		return p.normalEC()
	case Oct:
		return p.normalOct()
	}
	return p, badParameter("Property kty has invalid value '%.32s'.", string(p.Type))
}

// Generate makes a key. p is normal.
func Generate(p Params) (Key, error) {
	switch p.Type {
	case RSA:
		return generateRSA(p.Bits)
	case EC:
		return generateEC(p.Curve)
	case Oct:
		return generateOct(p.Bits), nil
	}
	return nil, fmt.Errorf("material: no such key type %q", p.Type)
}

// Decode reads what [Key.Private] wrote. p is the key's.
func Decode(p Params, private []byte) (Key, error) {
	switch p.Type {
	case RSA:
		return decodeRSA(private)
	case EC:
		return decodeEC(p.Curve, private)
	case Oct:
		return octKey(append([]byte(nil), private...)), nil
	}
	return nil, fmt.Errorf("material: no such key type %q", p.Type)
}

// JWK is a key in its parts (RFC 7517, RFC 7518): big-endian numbers, and the bytes of an oct key.
type JWK struct {
	Type                      Type
	Curve                     string
	N, E, D, P, Q, DP, DQ, QI []byte
	X, Y                      []byte
	K                         []byte
}

// Import makes a key of a JWK with its private members, which must fit together.
func Import(j JWK) (Key, error) {
	switch j.Type {
	case RSA:
		return importRSA(j)
	case EC:
		return importEC(j)
	case Oct:
		return importOct(j)
	}
	return nil, badParameter("Property kty has invalid value '%.32s'.", string(j.Type))
}

func badParameter(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "BadParameter", format, args...)
}

func unknownAlgorithm(name string) error {
	if name == "" {
		return badParameter("The property 'alg' is required.")
	}
	return badParameter("Property alg has invalid value '%.64s' for this key and operation.", name)
}

// undecipherable answers every failure to decrypt: what was wrong with the cipher text is not said.
func undecipherable() error {
	return badParameter("The value could not be decrypted with this key and algorithm.")
}

func tooLong(algorithm string) error {
	return badParameter("The value is too long for the key and the algorithm '%s'.", algorithm)
}

// hashes are the hash functions of signature algorithms, by the digits at the end of their names.
var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// checkDigest refuses a digest that the algorithm's hash cannot have made.
func checkDigest(algorithm string, h crypto.Hash, digest []byte) error {
	if len(digest) == h.Size() {
		return nil
	}
	return badParameter("The digest has %d bytes; the algorithm '%s' needs %d.", len(digest), algorithm, h.Size())
}
