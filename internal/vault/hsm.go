package vault

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// made is a key that no record names yet. token is its identifier in the token, nil for a software key.
type made struct {
	material.Key
	token []byte
}

// inToken reports whether keys of a type live in the token.
func (s *Service) inToken(kty string) bool { return s.cfg.Token != nil && strings.HasSuffix(kty, hsm) }

const tokenIDSize = 16

func newTokenID() []byte {
	id := make([]byte, tokenIDSize)
	rand.Read(id)
	return id
}

// generate makes a key where keys of its type live. Who does not store it discards it.
func (s *Service) generate(kty string, p material.Params) (m made, err error) {
	if !s.inToken(kty) {
		m.Key, err = material.Generate(p)
		return m, err
	}
	m.token = newTokenID()
	m.Key, err = material.GenerateIn(s.cfg.Token, m.token, p)
	return m, err
}

// place puts an imported key where keys of its type live.
func (s *Service) place(kty string, k material.Key) (m made, err error) {
	if !s.inToken(kty) {
		return made{Key: k}, nil
	}
	m.token = newTokenID()
	m.Key, err = material.ImportIn(s.cfg.Token, m.token, k)
	return m, err
}

// discard takes back what was made and is in no record. A key that stays in the token because it does
// not answer is nobody's: the log says so.
func (s *Service) discard(m made) {
	if m.token == nil {
		return
	}
	if err := material.DestroyIn(s.cfg.Token, m.token); err != nil {
		s.cfg.Log.Error("a key that belongs to nothing stays in the token", "id", fmt.Sprintf("%x", m.token), "error", err)
	}
}

// destroyTokens removes the keys of a record from the token, before the record goes: a purge that says it
// is done is done.
func (s *Service) destroyTokens(k keyRecord) error {
	for _, v := range k.Versions {
		switch {
		case v.Token == nil:
		case s.cfg.Token == nil:
			return errNoToken
		default:
			if err := material.DestroyIn(s.cfg.Token, v.Token); err != nil {
				return err
			}
		}
	}
	return nil
}

// emptyToken removes the keys of a whole vault from the token.
func (s *Service) emptyToken(vault string) error {
	for _, k := range s.keys.everything(vault) {
		if err := s.destroyTokens(k); err != nil {
			return err
		}
	}
	return nil
}

var errNoToken = fault.New(fault.Unavailable, "HsmUnavailable", "The key lives in a hardware security module, and none is configured.")

// beforeErase is what has to happen outside of the store before a record goes for good.
func beforeErase[R any](s *Service, rec R) error {
	if k, ok := any(rec).(keyRecord); ok {
		return s.destroyTokens(k)
	}
	return nil
}

// absent stands for a token that is not configured: what needs it fails, the rest goes on.
type absent struct{}

func (absent) Generate(context.Context, []byte, string, pkcs11.KeyType) (crypto.PublicKey, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) Import(context.Context, []byte, string, any) error { return pkcs11.ErrUnavailable }
func (absent) Destroy(context.Context, []byte) error             { return pkcs11.ErrUnavailable }
func (absent) DecryptRSA(context.Context, []byte, pkcs11.Padding, []byte) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) SignRSA(context.Context, []byte, pkcs11.SignatureScheme, crypto.Hash, []byte) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) SignECDSA(context.Context, []byte, []byte) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) WrapAES(context.Context, []byte, []byte) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) UnwrapAES(context.Context, []byte, []byte) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) SealGCM(_ context.Context, _, _, _, _ []byte) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) OpenGCM(_ context.Context, _, _, _, _ []byte) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) EncryptCBC(_ context.Context, _, _, _ []byte, _ bool) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
func (absent) DecryptCBC(_ context.Context, _, _, _ []byte, _ bool) ([]byte, error) {
	return nil, pkcs11.ErrUnavailable
}
