package material

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// Token keeps keys that never leave it; [pkcs11.Token] is one.
type Token interface {
	Generate(ctx context.Context, id []byte, label string, kind pkcs11.KeyType) (crypto.PublicKey, error)
	Import(ctx context.Context, id []byte, label string, key any) error
	Destroy(ctx context.Context, id []byte) error
	DecryptRSA(ctx context.Context, id []byte, p pkcs11.Padding, ciphertext []byte) ([]byte, error)
	SignRSA(ctx context.Context, id []byte, scheme pkcs11.SignatureScheme, h crypto.Hash, digest []byte) ([]byte, error)
	SignECDSA(ctx context.Context, id, digest []byte) ([]byte, error)
	WrapAES(ctx context.Context, id, key []byte) ([]byte, error)
	UnwrapAES(ctx context.Context, id, wrapped []byte) ([]byte, error)
	SealGCM(ctx context.Context, id, nonce, plaintext, aad []byte) ([]byte, error)
	OpenGCM(ctx context.Context, id, nonce, sealed, aad []byte) ([]byte, error)
	EncryptCBC(ctx context.Context, id, iv, plaintext []byte, pad bool) ([]byte, error)
	DecryptCBC(ctx context.Context, id, iv, ciphertext []byte, pad bool) ([]byte, error)
}

// patience bounds one call into a token.
const patience = 30 * time.Second

// tokenKey is a key whose private part is in a token. public does what takes the public half alone; it
// is nil for oct.
type tokenKey struct {
	token  Token
	id     []byte
	params Params
	public publicKey
	jwk    JWK
}

// publicKey is the public half of a key, in software.
type publicKey interface {
	Run(op Operation, in Input) (Output, error)
}

// GenerateIn makes a key in a token, to be found again by id.
func GenerateIn(t Token, id []byte, p Params) (Key, error) {
	kind, err := p.kind()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	made, err := t.Generate(ctx, id, "latchkey "+kind.String(), kind)
	if err != nil {
		return nil, tokenFailure(err)
	}
	public, err := publicJWK(p, made)
	if err != nil {
		return nil, err
	}
	return InToken(t, id, p, public)
}

// ImportIn puts a key into a token, which must be able to take keys in.
func ImportIn(t Token, id []byte, k Key) (Key, error) {
	kind, err := k.Params().kind()
	if err != nil {
		return nil, err
	}
	native, err := nativeOf(k)
	if err != nil {
		return nil, err
	}
	if s, ok := native.(*secret.Bytes); ok {
		defer s.Wipe()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := t.Import(ctx, id, "latchkey "+kind.String(), native); err != nil {
		return nil, tokenFailure(err)
	}
	return InToken(t, id, k.Params(), k.Public())
}

// InToken is the key of an id that is in a token already. public has the public members.
func InToken(t Token, id []byte, p Params, public JWK) (Key, error) {
	k := tokenKey{token: t, id: id, params: p, jwk: public}
	switch p.Type {
	case RSA:
		e := new(big.Int).SetBytes(public.E)
		if len(public.N) == 0 || e.BitLen() > 31 {
			return nil, errors.New("material: a token's key has no public half")
		}
		k.public = rsaKey{key: &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).SetBytes(public.N), E: int(e.Int64())}}}
	case EC:
		made, err := publicEC(p.Curve, public)
		if err != nil {
			return nil, err
		}
		k.public = made
	case Oct:
	default:
		return nil, fmt.Errorf("material: no such key type %q", p.Type)
	}
	return k, nil
}

// DestroyIn removes the key of an id from a token; that it is gone already is no error.
func DestroyIn(t Token, id []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return tokenFailure(t.Destroy(ctx, id))
}

// kinds are the types of a token's keys by size and curve.
var kinds = map[Params]pkcs11.KeyType{
	{RSA, 2048, ""}: pkcs11.RSA2048, {RSA, 3072, ""}: pkcs11.RSA3072, {RSA, 4096, ""}: pkcs11.RSA4096,
	{EC, 0, P256}: pkcs11.P256, {EC, 0, P384}: pkcs11.P384, {EC, 0, P521}: pkcs11.P521, {EC, 0, P256K}: pkcs11.Secp256k1,
	{Oct, 128, ""}: pkcs11.AES128, {Oct, 192, ""}: pkcs11.AES192, {Oct, 256, ""}: pkcs11.AES256,
}

func (p Params) kind() (pkcs11.KeyType, error) {
	kind, ok := kinds[p]
	if !ok {
		return 0, badParameter("The token has no keys of the type %s.", p.Type)
	}
	return kind, nil
}

// publicJWK are the public members of what a token made.
func publicJWK(p Params, key crypto.PublicKey) (JWK, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return JWK{Type: RSA, N: k.N.Bytes(), E: big.NewInt(int64(k.E)).Bytes()}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, x, y
		if err != nil {
			return JWK{}, fmt.Errorf("material: a token made a key that is on no curve: %w", err)
		}
		return pointJWK(p.Curve, point), nil
	case pkcs11.PublicSecp256k1:
		return pointJWK(p.Curve, k[:]), nil
	case nil:
		return JWK{Type: p.Type}, nil
	}
	return JWK{}, errors.New("material: a token made a key of an unknown kind")
}

func pointJWK(curve string, point []byte) JWK {
	half := (len(point) - 1) / 2
	return JWK{Type: EC, Curve: curve, X: point[1 : 1+half], Y: point[1+half:]}
}

// nativeOf is a software key in the form in which tokens take it in.
func nativeOf(k Key) (any, error) {
	switch k := k.(type) {
	case rsaKey:
		return k.key, nil
	case nistKey:
		return k.key, nil
	case koblitzKey:
		out := &pkcs11.PrivateSecp256k1{D: secret.From(k.key.Serialize())}
		copy(out.Public[:], k.key.PubKey().SerializeUncompressed())
		return out, nil
	case octKey:
		return secret.From(append([]byte(nil), k...)), nil
	}
	return nil, errors.New("material: the key is in a token already")
}

// tokenFailure puts a token's error into terms of callers.
func tokenFailure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pkcs11.ErrInput):
		return undecipherable()
	case errors.Is(err, pkcs11.ErrMechanism):
		return badParameter("The hardware security module does not offer this algorithm or type of key.")
	case errors.Is(err, pkcs11.ErrUnavailable), errors.Is(err, pkcs11.ErrNoToken), errors.Is(err, pkcs11.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "HsmUnavailable", "The hardware security module does not answer.").Because(err)
	}
	return fmt.Errorf("material: token: %w", err)
}

func (k tokenKey) Params() Params { return k.params }
func (k tokenKey) Public() JWK    { return k.jwk }

// Private fails: a token's key has no encoding.
func (k tokenKey) Private() ([]byte, error) { return nil, ErrInToken }

// ErrInToken says that a key cannot be encoded, because it is in a token.
var ErrInToken = errors.New("material: the key never leaves its token")

func (k tokenKey) Run(op Operation, in Input) (out Output, err error) {
	if k.public != nil && (op == Encrypt || op == Wrap || op == Verify) {
		return k.public.Run(op, in)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch {
	case k.params.Type == Oct:
		return k.runOct(ctx, op, in)
	case op == Sign && k.params.Type == RSA:
		out.Value, err = k.signRSA(ctx, in)
	case op == Sign:
		c, _ := curveOf(k.params.Curve)
		if err := c.check(in.Algorithm, in.Value); err != nil {
			return out, err
		}
		out.Value, err = k.token.SignECDSA(ctx, k.id, in.Value)
	case k.params.Type == RSA:
		p, ok := paddings[in.Algorithm]
		if !ok {
			return out, unknownAlgorithm(in.Algorithm)
		}
		out.Value, err = k.token.DecryptRSA(ctx, k.id, p, in.Value)
	default:
		return out, badParameter("The operation %s is not supported by keys of the type EC.", op)
	}
	return out, asCaller(err)
}

// asCaller is tokenFailure for errors that may be a caller's already.
func asCaller(err error) error {
	if fault.As(err) != nil {
		return err
	}
	return tokenFailure(err)
}

var paddings = map[string]pkcs11.Padding{pkcs1: pkcs11.PKCS1v15, "RSA-OAEP": pkcs11.OAEPSHA1, "RSA-OAEP-256": pkcs11.OAEPSHA256}

func (k tokenKey) signRSA(ctx context.Context, in Input) ([]byte, error) {
	a, err := rsaSignatureOf(in.Algorithm, in.Value)
	if err != nil {
		return nil, err
	}
	if a.hash == 0 {
		return nil, badParameter("The algorithm '%s' is not offered by keys in a hardware security module.", in.Algorithm)
	}
	scheme := pkcs11.SignPKCS1v15
	if a.pss {
		scheme = pkcs11.SignPSS
	}
	return k.token.SignRSA(ctx, k.id, scheme, a.hash, in.Value)
}

// runOct does with a token's key what octKey does in software, as far as tokens can.
func (k tokenKey) runOct(ctx context.Context, op Operation, in Input) (out Output, err error) {
	mode, ok := strings.CutPrefix(in.Algorithm, fmt.Sprintf("A%d", k.params.Bits))
	switch {
	case (ok && mode == "KW" || in.Algorithm == keyWrap) && op == Wrap:
		if len(in.Value) < 2*half || len(in.Value)%half != 0 || len(in.Value) > maxWrapped {
			return out, badParameter("The value has %d bytes, which the algorithm '%s' cannot wrap.", len(in.Value), in.Algorithm)
		}
		out.Value, err = k.token.WrapAES(ctx, k.id, in.Value)
	case (ok && mode == "KW" || in.Algorithm == keyWrap) && op == Unwrap:
		out.Value, err = k.token.UnwrapAES(ctx, k.id, in.Value)
	case ok && mode == "GCM" && op == Encrypt:
		return k.seal(ctx, in)
	case ok && mode == "GCM" && op == Decrypt:
		if len(in.IV) != nonceSize || len(in.Tag) != aes.BlockSize {
			return out, badParameter("The properties 'iv' and 'tag' must have %d and %d bytes.", nonceSize, aes.BlockSize)
		}
		out.Value, err = k.token.OpenGCM(ctx, k.id, in.IV, append(append([]byte(nil), in.Value...), in.Tag...), in.AAD)
	case ok && (mode == "CBC" || mode == "CBCPAD") && (op == Encrypt || op == Decrypt):
		return k.runCBC(ctx, op, in, mode == "CBCPAD")
	default:
		return out, unknownAlgorithm(in.Algorithm)
	}
	return out, asCaller(err)
}

// nonceSize is GCM's, in bytes.
const nonceSize = 12

func (k tokenKey) seal(ctx context.Context, in Input) (Output, error) {
	if len(in.IV) != 0 {
		return Output{}, badParameter("The property 'iv' must not be given: the service makes it for '%s'.", in.Algorithm)
	}
	iv := make([]byte, nonceSize)
	rand.Read(iv)
	sealed, err := k.token.SealGCM(ctx, k.id, iv, in.Value, in.AAD)
	if err != nil {
		return Output{}, tokenFailure(err)
	}
	n := len(sealed) - aes.BlockSize
	return Output{Value: sealed[:n], Tag: sealed[n:], IV: iv, AAD: in.AAD}, nil
}

func (k tokenKey) runCBC(ctx context.Context, op Operation, in Input, pad bool) (out Output, err error) {
	out.IV = in.IV
	if len(out.IV) == 0 && op == Encrypt {
		out.IV = make([]byte, aes.BlockSize)
		rand.Read(out.IV)
	}
	if len(out.IV) != aes.BlockSize {
		return Output{}, badParameter("The property 'iv' must have %d bytes.", aes.BlockSize)
	}
	if op == Decrypt {
		out.Value, err = k.token.DecryptCBC(ctx, k.id, out.IV, in.Value, pad)
		return Output{Value: out.Value}, asCaller(err)
	}
	if !pad && (len(in.Value) == 0 || len(in.Value)%aes.BlockSize != 0) {
		return Output{}, badParameter("The value must be a multiple of %d bytes for the algorithm '%s'.", aes.BlockSize, in.Algorithm)
	}
	out.Value, err = k.token.EncryptCBC(ctx, k.id, out.IV, in.Value, pad)
	return out, asCaller(err)
}
