package pkcs11

import (
	"context"
	"crypto"
	"crypto/sha256"
)

// Padding is how an RSA message is padded before it is encrypted.
type Padding uint8

// The paddings.
const (
	PKCS1v15   Padding = iota + 1 // EME-PKCS1-v1_5
	OAEPSHA1                      // EME-OAEP, SHA-1 for both hash and mask
	OAEPSHA256                    // EME-OAEP, SHA-256 for both
)

// SignatureScheme is how an RSA signature is made.
type SignatureScheme uint8

// The schemes.
const (
	SignPKCS1v15 SignatureScheme = iota + 1
	SignPSS                      // mask with the same hash, salt of the hash's length
)

// DecryptRSA decrypts with a private RSA key.
func (t *Token) DecryptRSA(ctx context.Context, id []byte, p Padding, ciphertext []byte) ([]byte, error) {
	switch p {
	case PKCS1v15:
		return t.decrypt(ctx, objectPrivate, id, mechanism{id: mechRSAPKCS}, ciphertext)
	case OAEPSHA1:
		return t.decrypt(ctx, objectPrivate, id, mechanism{mechRSAOAEP, oaepParameter{mechSHA1, mgfSHA1}}, ciphertext)
	case OAEPSHA256:
		return t.decryptOAEP256(ctx, id, ciphertext)
	}
	return nil, ErrMechanism
}

// decryptOAEP256 asks the token, and when it cannot, once and for all takes the padding off itself.
func (t *Token) decryptOAEP256(ctx context.Context, id, ciphertext []byte) ([]byte, error) {
	if !t.rawOAEP.Load() {
		out, err := t.decrypt(ctx, objectPrivate, id, mechanism{mechRSAOAEP, oaepParameter{mechSHA256, mgfSHA256}}, ciphertext)
		if !isUnable(err) {
			return out, err
		}
		t.rawOAEP.Store(true)
	}
	block, err := t.decrypt(ctx, objectPrivate, id, mechanism{id: mechRSARaw}, ciphertext)
	if err != nil {
		return nil, err
	}
	defer clear(block)
	return removeOAEP(sha256.New(), leftPad(block, len(ciphertext)))
}

// digestInfos are the DER prefixes of RFC 8017, section 9.2.
var digestInfos = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

var pssParameters = map[crypto.Hash]pssParameter{
	crypto.SHA256: {mechSHA256, mgfSHA256, 32},
	crypto.SHA384: {mechSHA384, mgfSHA384, 48},
	crypto.SHA512: {mechSHA512, mgfSHA512, 64},
}

// SignRSA signs a digest by SHA-256, SHA-384 or SHA-512 with a private RSA key.
func (t *Token) SignRSA(ctx context.Context, id []byte, scheme SignatureScheme, h crypto.Hash, digest []byte) ([]byte, error) {
	prefix, ok := digestInfos[h]
	if !ok || len(digest) != h.Size() {
		return nil, ErrInput
	}
	switch scheme {
	case SignPKCS1v15:
		return t.sign(ctx, id, mechanism{id: mechRSAPKCS}, append(prefix[:len(prefix):len(prefix)], digest...))
	case SignPSS:
		return t.sign(ctx, id, mechanism{mechRSAPSS, pssParameters[h]}, digest)
	}
	return nil, ErrMechanism
}

// SignECDSA signs a digest with a private key on a curve: r and s, each as long as the curve's order. Of a
// digest that is longer than the order only the left part counts, as FIPS 186 has it.
func (t *Token) SignECDSA(ctx context.Context, id, digest []byte) ([]byte, error) {
	kind, err := t.Type(ctx, id)
	if err != nil {
		return nil, err
	}
	size := types[kind].size
	if size == 0 || len(digest) == 0 {
		return nil, ErrInput
	}
	sig, err := t.sign(ctx, id, mechanism{id: mechECDSA}, digest[:min(len(digest), size)])
	if err == nil && len(sig) != 2*size {
		return nil, ErrMechanism
	}
	return sig, err
}

// Parameters of the AES modes.
const (
	blockSize = 16
	gcmNonce  = 12
	gcmTag    = 16
)

// SealGCM encrypts with AES-GCM: ciphertext, then the tag of 16 bytes. The nonce of 12 bytes must never
// come twice under one key.
func (t *Token) SealGCM(ctx context.Context, id, nonce, plaintext, aad []byte) ([]byte, error) {
	if len(nonce) != gcmNonce {
		return nil, ErrInput
	}
	return t.encrypt(ctx, id, mechanism{mechAESGCM, gcmParameter{nonce, aad}}, plaintext)
}

// OpenGCM opens what SealGCM returned.
func (t *Token) OpenGCM(ctx context.Context, id, nonce, sealed, aad []byte) ([]byte, error) {
	if len(nonce) != gcmNonce || len(sealed) < gcmTag {
		return nil, ErrInput
	}
	return t.decrypt(ctx, objectSecret, id, mechanism{mechAESGCM, gcmParameter{nonce, aad}}, sealed)
}

// EncryptCBC encrypts with AES-CBC, with PKCS #7 padding or without. It authenticates nothing.
func (t *Token) EncryptCBC(ctx context.Context, id, iv, plaintext []byte, pad bool) ([]byte, error) {
	if len(iv) != blockSize || !pad && !blocks(plaintext) {
		return nil, ErrInput
	}
	return t.encrypt(ctx, id, mechanism{cbc(pad), iv}, plaintext)
}

// DecryptCBC decrypts what EncryptCBC returned. Who tells a stranger whether it failed, tells him the
// plaintext in the end.
func (t *Token) DecryptCBC(ctx context.Context, id, iv, ciphertext []byte, pad bool) ([]byte, error) {
	if len(iv) != blockSize || !blocks(ciphertext) {
		return nil, ErrInput
	}
	return t.decrypt(ctx, objectSecret, id, mechanism{cbc(pad), iv}, ciphertext)
}

func cbc(pad bool) uint {
	if pad {
		return mechAESCBCPad
	}
	return mechAESCBC
}

func blocks(b []byte) bool { return len(b) > 0 && len(b)%blockSize == 0 }

// The sizes that RFC 3394 key wrap takes here.
const (
	wrapUnit = 8
	wrapMin  = 2 * wrapUnit
	wrapMax  = 4096
)

// WrapAES wraps bytes from outside as RFC 3394 does: a multiple of 8, at least 16.
func (t *Token) WrapAES(ctx context.Context, id, key []byte) (wrapped []byte, err error) {
	if len(key) < wrapMin || len(key) > wrapMax || len(key)%wrapUnit != 0 {
		return nil, ErrInput
	}
	err = t.do(ctx, func(s *session) error {
		h, err := t.handle(s, objectSecret, id)
		if err != nil {
			return err
		}
		target, err := t.lib.create(s.handle, append(passing(), attribute{attrValue, key}))
		if err != nil {
			return err
		}
		wrapped, err = t.lib.wrap(s.handle, mechanism{id: mechAESKeyWrap}, h, target)
		if e := t.lib.destroy(s.handle, target); err == nil {
			err = e
		}
		return err
	})
	return wrapped, err
}

// UnwrapAES unwraps what WrapAES returned.
func (t *Token) UnwrapAES(ctx context.Context, id, wrapped []byte) (key []byte, err error) {
	if len(wrapped) < wrapMin+wrapUnit || len(wrapped) > wrapMax+wrapUnit || len(wrapped)%wrapUnit != 0 {
		return nil, ErrInput
	}
	err = t.do(ctx, func(s *session) error {
		h, err := t.handle(s, objectSecret, id)
		if err != nil {
			return err
		}
		target, err := t.lib.unwrap(s.handle, mechanism{id: mechAESKeyWrap}, h, wrapped, passing())
		if err != nil {
			return refused(err)
		}
		values, err := t.lib.attributes(s.handle, target, attrValue)
		if err == nil {
			key = values[0]
		}
		if e := t.lib.destroy(s.handle, target); err == nil {
			err = e
		}
		return err
	})
	return key, err
}

// passing is a session object for bytes that come from outside and go there.
func passing() []attribute {
	return []attribute{{attrClass, objectSecret}, {attrKeyType, keyGeneric}, {attrToken, false}, {attrSensitive, false}, {attrExtractable, true}}
}

// compute is encrypt, decrypt or sign of the library.
type compute func(session uint, m mechanism, key uint, in []byte) ([]byte, error)

func (t *Token) encrypt(ctx context.Context, id []byte, m mechanism, in []byte) ([]byte, error) {
	return t.operate(ctx, objectSecret, id, m, in, t.lib.encrypt)
}

func (t *Token) decrypt(ctx context.Context, class uint, id []byte, m mechanism, in []byte) ([]byte, error) {
	return t.operate(ctx, class, id, m, in, t.lib.decrypt)
}

func (t *Token) sign(ctx context.Context, id []byte, m mechanism, in []byte) ([]byte, error) {
	return t.operate(ctx, objectPrivate, id, m, in, t.lib.sign)
}

func (t *Token) operate(ctx context.Context, class uint, id []byte, m mechanism, in []byte, f compute) (out []byte, err error) {
	err = t.do(ctx, func(s *session) error {
		h, err := t.handle(s, class, id)
		if err != nil {
			return err
		}
		out, err = f(s.handle, m, h, in)
		return refused(err)
	})
	return out, err
}
