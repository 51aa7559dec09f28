package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// Sizes of keys, and of a key that is sealed by AES-256-GCM: nonce, ciphertext, tag.
const (
	keySize       = 32
	nonceSize     = 12
	sealedKeySize = nonceSize + keySize + 16
)

// The purposes of derived keys, and the first part of the data that is authenticated with a sealed
// key. They are part of the format.
const (
	purposeRootWrap   = "latchkey/root/account-key/v1"
	purposeDataKey    = "latchkey/account/data-key/v1"
	purposeKeyringMAC = "latchkey/account/keyring-mac/v1"
	purposeKeyCheck   = "latchkey/account/key-check/v1"
)

// derive returns the 32-byte key for one purpose and account: HKDF-SHA256 without salt, because key
// is uniformly random. info is purpose, a zero byte, account.
func derive(key []byte, purpose, account string) []byte {
	prk := extract(key)
	defer clear(prk)
	out, err := hkdf.Expand(sha256.New, prk, purpose+"\x00"+account, keySize)
	if err != nil {
		panic("envelope: 32 bytes of HKDF: " + err.Error()) // impossible by RFC 5869
	}
	return out
}

// extract is HKDF-Extract without a salt. It is written out, because the state of the hash holds the
// key: it is overwritten before it is left to the collector.
func extract(key []byte) []byte {
	h := hmac.New(sha256.New, make([]byte, sha256.Size))
	h.Write(key)
	prk := h.Sum(nil)
	h.Reset()
	h.Write(make([]byte, sha256.BlockSize-1))
	secret.ClearStack()
	return prk
}

// sealKey encrypts the key plain under a key derived from outer. What it is for, whose it is and its
// id are authenticated with it.
func sealKey(outer, plain []byte, purpose, account string, id []byte) (out [sealedKeySize]byte) {
	rand.Read(out[:nonceSize])
	aead(outer, purpose, account).Seal(out[:nonceSize], out[:nonceSize], plain, keyAAD(purpose, account, id))
	return out
}

// openKey reverses sealKey.
func openKey(outer, sealed []byte, purpose, account string, id []byte) ([]byte, error) {
	if len(sealed) != sealedKeySize {
		return nil, fmt.Errorf("%w: wrapped key has a wrong length", errKeyring)
	}
	plain, err := aead(outer, purpose, account).Open(nil, sealed[:nonceSize], sealed[nonceSize:], keyAAD(purpose, account, id))
	if err != nil {
		return nil, fmt.Errorf("%w: wrapped key", errKeyring)
	}
	return plain, nil
}

func aead(outer []byte, purpose, account string) cipher.AEAD {
	key := derive(outer, purpose, account)
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("envelope: AES-256: " + err.Error()) // impossible: derive returns 32 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("envelope: GCM: " + err.Error()) // impossible: AES has 16-byte blocks
	}
	return gcm
}

func keyAAD(purpose, account string, id []byte) []byte {
	return append([]byte(purpose+"\x00"+account+"\x00"), id...)
}

// newDataKey returns a fresh current data key, wrapped under ak.
func newDataKey(ak []byte, account string, created int64) wrappedDataKey {
	k := wrappedDataKey{created: created, state: dataKeyCurrent}
	rand.Read(k.id[:])
	plain := secret.Random(keySize)
	defer plain.Wipe()
	k.sealed = sealKey(ak, plain.Reveal(), purposeDataKey, account, k.id[:])
	return k
}

// errWiped is returned to an engine that asks for a key after the account was locked.
var errWiped = errors.New("envelope: the account is locked")

// keySet is the account's keys in the clear while its store is open. It serves package sealfs.
type keySet struct {
	mu       sync.RWMutex
	ak       *secret.Bytes // nil once wiped
	dataKeys map[[16]byte]*secret.Bytes
	current  [16]byte
}

// unlockKeys unwraps every data key of r. It takes ownership of ak, also on error.
func unlockKeys(r *keyring, ak *secret.Bytes) (*keySet, error) {
	s := &keySet{ak: ak, dataKeys: map[[16]byte]*secret.Bytes{}}
	if err := s.load(r); err != nil {
		s.wipe()
		return nil, err
	}
	return s, nil
}

func (s *keySet) load(r *keyring) error {
	for i := range r.dataKeys {
		d := &r.dataKeys[i]
		plain, err := openKey(s.ak.Reveal(), d.sealed[:], purposeDataKey, r.account, d.id[:])
		if err != nil {
			return err
		}
		s.dataKeys[d.id] = secret.From(plain)
		if d.state == dataKeyCurrent {
			s.current = d.id
		}
	}
	return nil
}

// adopt takes over the keys of fresh, which must hold every key that an open file names; a wiped set
// stays wiped. fresh is spent.
func (s *keySet) adopt(fresh *keySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ak == nil {
		fresh.wipe()
		return
	}
	s.ak.Wipe()
	s.ak = fresh.ak
	for _, k := range s.dataKeys {
		k.Wipe()
	}
	s.dataKeys = fresh.dataKeys
	s.current = fresh.current
}

// accountKey returns a copy of the AK.
func (s *keySet) accountKey() *secret.Bytes {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ak.Clone()
}

// key returns a copy of a data key, which the caller overwrites: it may still be deriving from it when
// wipe runs.
func (s *keySet) key(id [16]byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.ak == nil {
		return nil, errWiped
	}
	k := s.dataKeys[id]
	if k == nil {
		return nil, fmt.Errorf("%w: no data key %x", errKeyring, id)
	}
	return k.Clone().Reveal(), nil
}

func (s *keySet) currentID() [16]byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current
}

// wipe overwrites all keys. It is safe to call twice and on nil.
func (s *keySet) wipe() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ak.Wipe()
	s.ak = nil
	for _, k := range s.dataKeys {
		k.Wipe()
	}
	clear(s.dataKeys)
}
