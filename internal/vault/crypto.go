package vault

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"hash"
	"slices"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
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

// rights maps an operation to its permission; protects tells the operations that make something new,
// which a key outside its validity may not do.
var rights = map[Operation]struct {
	need     permission
	protects bool
}{
	Encrypt: {mayEncrypt, true}, Decrypt: {mayDecrypt, false},
	Wrap: {mayWrap, true}, Unwrap: {mayUnwrap, false},
	Sign: {maySign, true}, Verify: {mayVerify, false},
}

// Result is the outcome of a cryptographic operation. Version is the version that was used.
type Result struct {
	Name    string
	Version string
	Value   []byte // what Encrypt, Decrypt, Wrap, Unwrap and Sign produced
	Valid   bool   // what Verify found
}

// Input is what a cryptographic operation works on.
type Input struct {
	Algorithm string
	Value     []byte // plain text, cipher text, digest to sign, or signature to verify
	Digest    []byte // the digest that Verify compares
}

// Crypt carries out op with a version of a key; "" is the current one.
func (s *Service) Crypt(ctx context.Context, c principal.Caller, vault, name, id string, op Operation, in Input) (Result, error) {
	right, ok := rights[op]
	if !ok {
		return Result{}, badParameter("Unknown operation.")
	}
	r, err := s.guard(ctx, c, vault, name, right.need, checkVersion(id))
	if err != nil {
		return Result{}, err
	}
	k, v, err := s.liveKey(vault, name, id)
	if err != nil {
		return Result{}, r.done(err)
	}
	r.version = v.ID
	if err := v.usable(op, right.protects, s.cfg.Now().Unix()); err != nil {
		return Result{}, r.done(err)
	}
	out := Result{Name: k.Name, Version: v.ID}
	out.Value, out.Valid, err = run(v.key, op, in)
	if err := r.done(err); err != nil {
		return Result{}, err
	}
	return out, nil
}

// usable applies the attributes of a version. now is in Unix seconds.
func (v version) usable(op Operation, protects bool, now int64) error {
	switch {
	case !v.Enabled:
		return fault.New(fault.Denied, "KeyDisabled", "Operation %s is not allowed on a disabled key.", op)
	case protects && now < v.NotBefore:
		return fault.New(fault.Denied, "KeyNotYetValid", "Operation %s is not allowed on a key that is not yet valid.", op)
	case protects && v.Expires != 0 && now >= v.Expires:
		return fault.New(fault.Denied, "KeyExpired", "Operation %s is not allowed on an expired key.", op)
	case !slices.Contains(v.Ops, string(op)):
		return fault.New(fault.Denied, "KeyOperationForbidden", "Operation %s is not permitted on this key.", op)
	}
	return nil
}

func run(key *rsa.PrivateKey, op Operation, in Input) (value []byte, valid bool, err error) {
	switch op {
	case Encrypt, Wrap:
		value, err = encrypt(&key.PublicKey, in)
	case Decrypt, Unwrap:
		value, err = decrypt(key, in)
	case Sign:
		value, err = sign(key, in)
	case Verify:
		valid, err = verify(&key.PublicKey, in)
	}
	return value, valid, err
}

// oaep maps the names of the service (JWA) to the hash; MGF1 uses the same hash.
var oaep = map[string]func() hash.Hash{"RSA-OAEP": sha1.New, "RSA-OAEP-256": sha256.New}

const pkcs1 = "RSA1_5"

func unknownAlgorithm(name string) error {
	if name == "" {
		return badParameter("The property 'alg' is required.")
	}
	return badParameter("Property alg has invalid value '%s' for this key and operation.", name)
}

func encrypt(key *rsa.PublicKey, in Input) ([]byte, error) {
	var out []byte
	var err error
	newHash, isOAEP := oaep[in.Algorithm]
	switch {
	case isOAEP:
		out, err = rsa.EncryptOAEP(newHash(), rand.Reader, key, in.Value, nil)
	case in.Algorithm == pkcs1:
		//lint:ignore SA1019 RSA1_5 is part of the protocol; the caller chooses it
		out, err = rsa.EncryptPKCS1v15(rand.Reader, key, in.Value)
	default:
		return nil, unknownAlgorithm(in.Algorithm)
	}
	if errors.Is(err, rsa.ErrMessageTooLong) {
		return nil, badParameter("The value is too long for the key and the algorithm '%s'.", in.Algorithm)
	}
	return out, err
}

// decrypt answers every failure with one text: what was wrong with the cipher text is not said.
func decrypt(key *rsa.PrivateKey, in Input) ([]byte, error) {
	var out []byte
	var err error
	newHash, isOAEP := oaep[in.Algorithm]
	switch {
	case isOAEP:
		out, err = rsa.DecryptOAEP(newHash(), nil, key, in.Value, nil)
	case in.Algorithm == pkcs1:
		//lint:ignore SA1019 RSA1_5 is part of the protocol; the caller chooses it
		out, err = rsa.DecryptPKCS1v15(nil, key, in.Value)
	default:
		return nil, unknownAlgorithm(in.Algorithm)
	}
	if err != nil {
		return nil, badParameter("The value could not be decrypted with this key and algorithm.")
	}
	return out, nil
}

// signature is a signature algorithm of the service. hash is 0 for RSNULL, which signs raw bytes.
type signature struct {
	hash crypto.Hash
	pss  bool
}

var signatures = map[string]signature{
	"RS256": {crypto.SHA256, false}, "RS384": {crypto.SHA384, false}, "RS512": {crypto.SHA512, false},
	"PS256": {crypto.SHA256, true}, "PS384": {crypto.SHA384, true}, "PS512": {crypto.SHA512, true},
	"RSNULL": {},
}

// signatureOf finds an algorithm and checks the digest's length: the caller has hashed already.
func signatureOf(name string, digest []byte) (signature, error) {
	a, ok := signatures[name]
	if !ok {
		return a, unknownAlgorithm(name)
	}
	if a.hash != 0 && len(digest) != a.hash.Size() {
		return a, badParameter("The digest has %d bytes; the algorithm '%s' needs %d.", len(digest), name, a.hash.Size())
	}
	return a, nil
}

// pssOptions: the salt is as long as the hash (JWA, RFC 7518 section 3.5).
var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

func sign(key *rsa.PrivateKey, in Input) ([]byte, error) {
	a, err := signatureOf(in.Algorithm, in.Value)
	if err != nil {
		return nil, err
	}
	var out []byte
	if a.pss {
		out, err = rsa.SignPSS(rand.Reader, key, a.hash, in.Value, pssOptions)
	} else {
		out, err = rsa.SignPKCS1v15(nil, key, a.hash, in.Value)
	}
	if errors.Is(err, rsa.ErrMessageTooLong) {
		return nil, badParameter("The value is too long for the key and the algorithm '%s'.", in.Algorithm)
	}
	return out, err
}

func verify(key *rsa.PublicKey, in Input) (bool, error) {
	a, err := signatureOf(in.Algorithm, in.Digest)
	if err != nil {
		return false, err
	}
	if a.pss {
		return rsa.VerifyPSS(key, a.hash, in.Digest, in.Value, pssOptions) == nil, nil
	}
	return rsa.VerifyPKCS1v15(key, a.hash, in.Digest, in.Value) == nil, nil
}
