package sealfs

import (
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// KeySize is the length of a data key in bytes.
const KeySize = 32

// KeyID names a data key in the headers of the files that it protects.
type KeyID [16]byte

// String returns the id in hexadecimal.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Keys provides data keys. The returned slices are copies, which the caller overwrites with zeros when
// it has derived from them. Implementations are safe for concurrent use.
type Keys interface {
	// Current returns the key that new files use.
	Current() (id KeyID, key []byte, err error)
	// Key returns the key with the given id; an error wrapping [ErrUnknownKey] if there is none.
	Key(id KeyID) (key []byte, err error)
}

// Ring is a set of data keys held in memory, one of them current.
type Ring struct {
	mu      sync.RWMutex
	current KeyID
	keys    map[KeyID]*secret.Bytes
}

// StaticKeys returns a ring with one key. The key is copied.
func StaticKeys(id KeyID, key []byte) *Ring {
	r := &Ring{keys: map[KeyID]*secret.Bytes{}}
	r.Add(id, key)
	return r
}

// Add puts a copy of key into the ring and makes it current.
func (r *Ring) Add(id KeyID, key []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[id] = secret.From(append([]byte(nil), key...))
	r.current = id
}

// Current returns the key added last.
func (r *Ring) Current() (KeyID, []byte, error) {
	r.mu.RLock()
	id := r.current
	r.mu.RUnlock()
	key, err := r.Key(id)
	return id, key, err
}

// Key returns a copy of the key with the given id.
func (r *Ring) Key(id KeyID) ([]byte, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.keys[id]
	if !ok {
		return nil, fmt.Errorf("%w %s", ErrUnknownKey, id)
	}
	return append([]byte(nil), k.Reveal()...), nil
}

// Wipe overwrites and forgets every key: no file can be opened or created any more.
func (r *Ring) Wipe() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		k.Wipe()
	}
	clear(r.keys)
}
