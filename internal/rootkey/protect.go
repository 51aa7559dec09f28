package rootkey

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"io/fs"

	"golang.org/x/crypto/scrypt"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// Sizes of AES-GCM.
const (
	nonceSize = 12
	tagSize   = 16
)

// cost is the work factor of scrypt: N = 2^logN, with r = 8 and p = 1.
type cost struct {
	logN byte
	salt [16]byte
}

// The bounds of logN that a reader accepts: memory is 1 KiB shifted left by logN, so at most 4 GiB. The
// lower one protects nothing: what is written has defaultLogN.
const (
	minLogN     = 1
	maxLogN     = 22
	scryptR     = 8
	scryptP     = 1
	defaultLogN = 17 // 128 MiB and about half a second
)

func (c cost) bounded() bool { return c.logN >= minLogN && c.logN <= maxLogN }

// MinPassphrase is the least length of a new passphrase in bytes.
const MinPassphrase = 12

// The fault reasons of what keeps a root key from being opened.
const (
	ReasonMissing         = "RootKeyMissing"        // root.key, with data beside it
	ReasonFileMissing     = "RootKeyFileMissing"    // the file elsewhere
	ReasonPassphrase      = "RootPassphraseWrong"   // or the wrapped key was changed with its checksum
	ReasonNoPassphrase    = "RootPassphraseMissing" // nobody gave one
	ReasonShortPassphrase = "RootPassphraseShort"
	ReasonToken           = "RootTokenUnavailable"
	ReasonTokenPIN        = "RootTokenPIN"
	ReasonTokenKey        = "RootTokenWrong" // the token does not have the key, or has another
	ReasonNoTokens        = "RootTokenUnsupported"
)

// HSM is what this package needs of a token.
type HSM interface {
	Find(ctx context.Context, label string) (id []byte, err error)
	Type(ctx context.Context, id []byte) (pkcs11.KeyType, error)
	Generate(ctx context.Context, id []byte, label string, kind pkcs11.KeyType) (crypto.PublicKey, error)
	SealGCM(ctx context.Context, id, nonce, plaintext, aad []byte) ([]byte, error)
	OpenGCM(ctx context.Context, id, nonce, sealed, aad []byte) ([]byte, error)
	WrapAES(ctx context.Context, id, key []byte) ([]byte, error)
	UnwrapAES(ctx context.Context, id, wrapped []byte) ([]byte, error)
	Close() error
}

// open undoes the protection of f with what o gives: f is root.key, said the place that was asked for.
func (o *Options) open(f *keyFile, said Protection) (*secret.Bytes, error) {
	switch f.protection.Kind {
	case Elsewhere:
		return o.openElsewhere(said.Path)
	case Passphrase:
		return o.openPassphrase(f)
	case Token:
		return o.openToken(f, said)
	}
	return secret.From(f.payload), nil
}

func (o *Options) openElsewhere(path string) (*secret.Bytes, error) {
	raw, err := o.Files.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, ReasonFileMissing,
			"The root key is kept in %s, which is not there. Mount it or put a copy back, or say where it is with --root-key file:PATH.", path)
	}
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	f, err := decodeKeyFile(raw, path)
	if err != nil {
		return nil, err
	}
	if f.protection.Kind != File {
		return nil, damaged(path)
	}
	return secret.From(f.payload), nil
}

func (o *Options) openPassphrase(f *keyFile) (*secret.Bytes, error) {
	pass, err := o.Passphrase()
	if err != nil {
		return nil, err
	}
	defer pass.Wipe()
	gcm, err := f.scrypt.aead(pass)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, f.payload[:nonceSize], f.payload[nonceSize:], f.header())
	if err != nil {
		return nil, fault.New(fault.Denied, ReasonPassphrase,
			"The passphrase of the root key is wrong. Nothing was changed; try again with the right one.")
	}
	return secret.From(plain), nil
}

// aead is AES-256-GCM under the key that scrypt makes of a passphrase.
func (c cost) aead(pass *secret.Bytes) (cipher.AEAD, error) {
	key, err := scrypt.Key(pass.Reveal(), c.salt[:], 1<<c.logN, scryptR, scryptP, keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newGCM(key)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (o *Options) openToken(f *keyFile, said Protection) (*secret.Bytes, error) {
	token, err := o.token(said.URI)
	if err != nil {
		return nil, err
	}
	defer token.Close()
	var plain []byte
	switch f.wrapping {
	case wrapGCM:
		plain, err = token.OpenGCM(context.Background(), f.tokenKey, f.payload[:nonceSize], f.payload[nonceSize:], f.header())
	case wrapKW:
		plain, err = token.UnwrapAES(context.Background(), f.tokenKey, f.payload)
	}
	if err == nil && len(plain) != keySize {
		err = pkcs11.ErrInput
	}
	if err != nil {
		return nil, tokenFault(err)
	}
	return secret.From(plain), nil
}

func (o *Options) token(u pkcs11.URI) (HSM, error) {
	pin, err := u.PIN(o.PIN)
	if err != nil {
		return nil, tokenFault(err)
	}
	defer pin.Wipe()
	token, err := o.OpenToken(u, pin)
	if err != nil {
		return nil, tokenFault(err)
	}
	return token, nil
}

// tokenFault says what to do about a failure of a token.
func tokenFault(err error) error {
	f := func(kind fault.Kind, reason, text string) error {
		return fault.New(kind, reason, "%s", text).Because(err)
	}
	switch {
	case errors.Is(err, pkcs11.ErrUnsupported):
		return f(fault.NotImplemented, ReasonNoTokens, "The root key is in a PKCS #11 token, for which this build has no support. Use a build with the tag pkcs11.")
	case errors.Is(err, pkcs11.ErrPIN):
		return f(fault.Denied, ReasonTokenPIN, "The token did not take the PIN, or there is none. Set LATCHKEY_PKCS11_PIN or name a file with pin-source; tokens lock themselves after a few wrong PINs.")
	case errors.Is(err, pkcs11.ErrPINLocked):
		return f(fault.Denied, ReasonTokenPIN, "The token has locked its PIN. Its security officer can unlock it.")
	case errors.Is(err, pkcs11.ErrAmbiguous):
		return f(fault.Conflict, ReasonTokenKey, "More than one key in the token has the label of the URI's object. Name another label.")
	case errors.Is(err, pkcs11.ErrNotFound), errors.Is(err, pkcs11.ErrInput):
		return f(fault.Denied, ReasonTokenKey, "The token does not have the key that wraps the root key, or has another under its name. Is it the right token?")
	}
	return f(fault.Unavailable, ReasonToken, "The token with the key that wraps the root key cannot be used. Check module-path, that the token is there and its name.")
}

// protect puts key under the protection p. The result was opened again.
func (o *Options) protect(key *secret.Bytes, p Protection, passphrase func() (*secret.Bytes, error)) (*keyFile, error) {
	f := &keyFile{protection: p, created: o.Now().Unix()}
	var err error
	switch p.Kind {
	case File:
		return clearFile(key, o.Now()), nil
	case Elsewhere:
		return f, nil
	case Passphrase:
		err = o.wrapPassphrase(f, key, passphrase)
	case Token:
		err = o.wrapToken(f, key)
	default:
		err = notAProtection("none was chosen")
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (o *Options) wrapPassphrase(f *keyFile, key *secret.Bytes, passphrase func() (*secret.Bytes, error)) error {
	pass, err := passphrase()
	if err != nil {
		return err
	}
	defer pass.Wipe()
	if pass.Len() < MinPassphrase {
		return fault.New(fault.Invalid, ReasonShortPassphrase, "The passphrase of the root key must have at least %d bytes.", MinPassphrase)
	}
	f.scrypt.logN = o.logN
	rand.Read(f.scrypt.salt[:])
	gcm, err := f.scrypt.aead(pass)
	if err != nil {
		return err
	}
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	f.payload = gcm.Seal(nonce, nonce, key.Reveal(), f.header())
	return nil
}

// wrapToken wraps key with the key in the token that the URI names, which is made when there is none.
func (o *Options) wrapToken(f *keyFile, key *secret.Bytes) error {
	ctx := context.Background()
	token, err := o.token(f.protection.URI)
	if err != nil {
		return err
	}
	defer token.Close()
	if f.tokenKey, err = tokenKey(ctx, token, f.protection.URI.Object); err != nil {
		return tokenFault(err)
	}
	f.wrapping = wrapGCM
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	sealed, err := token.SealGCM(ctx, f.tokenKey, nonce, key.Reveal(), f.header())
	f.payload = append(nonce, sealed...)
	if errors.Is(err, pkcs11.ErrMechanism) {
		f.wrapping = wrapKW
		f.payload, err = token.WrapAES(ctx, f.tokenKey, key.Reveal())
	}
	if err == nil && len(f.payload) != f.payloadSize() {
		err = pkcs11.ErrMechanism
	}
	if err != nil {
		return tokenFault(err)
	}
	again, err := o.openToken(f, f.protection)
	if err != nil {
		return err
	}
	defer again.Wipe()
	if !again.Equal(key.Reveal()) {
		return tokenFault(pkcs11.ErrInput)
	}
	return nil
}

// tokenKey finds or makes the AES-256 key with a label.
func tokenKey(ctx context.Context, token HSM, label string) ([]byte, error) {
	id, err := token.Find(ctx, label)
	if errors.Is(err, pkcs11.ErrNotFound) {
		id = make([]byte, 16)
		rand.Read(id)
		_, err = token.Generate(ctx, id, label, pkcs11.AES256)
	}
	if err != nil {
		return nil, err
	}
	kind, err := token.Type(ctx, id)
	if err == nil && kind != pkcs11.AES256 {
		err = pkcs11.ErrMechanism
	}
	return id, err
}
