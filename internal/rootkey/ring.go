package rootkey

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// Purpose is what a platform key is for. The names are part of the format.
type Purpose string

// The purposes.
const (
	Control  Purpose = "control"
	Audit    Purpose = "audit"
	Accounts Purpose = "accounts"
)

// purposes are those of which every ring has a key.
var purposes = []Purpose{Control, Audit, Accounts}

// State is the part of a platform key. The numbers are part of the format.
type State uint8

// The states of a key.
const (
	Current State = 1 // of what is written now; one for each purpose
	Retired State = 2 // opens what was written before
	Leaving State = 3 // the same; dropped when nothing stands under it any more
)

// Key is a platform key.
type Key struct {
	Purpose Purpose
	State   State
	Created int64 // Unix seconds; 0 when not known
	ID      [16]byte
	Secret  *secret.Bytes
}

// The limits of the ring's format.
const (
	ringMagic   = "LKROOTRG"
	ringVersion = 1
	maxEntries  = 2
	maxEntry    = 64 << 10
	maxPurpose  = 64
	maxKeys     = 512
)

// The purposes of what is derived from a root key. They are part of the format.
const (
	purposeID   = "latchkey/root/id/v1"
	purposeRing = "latchkey/root/ring/v1"
	legacyInfo  = "latchkey/root/v1/"
	legacyID    = "latchkey/platform/"
)

func derive(root *secret.Bytes, info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, root.Reveal(), nil, info, n)
	if err != nil {
		panic("rootkey: HKDF: " + err.Error()) // impossible by RFC 5869 for these lengths
	}
	return out
}

// keyID tells one root key from another, and nothing about it.
func keyID(root *secret.Bytes) [16]byte { return [16]byte(derive(root, purposeID, 16)) }

// legacyKeys are the platform keys of a directory without a ring.
func legacyKeys(root *secret.Bytes) []Key {
	var keys []Key
	for _, p := range purposes {
		sum := sha256.Sum256([]byte(legacyID + string(p)))
		keys = append(keys, Key{Purpose: p, State: Current, ID: [16]byte(sum[:16]), Secret: secret.From(derive(root, legacyInfo+string(p), keySize))})
	}
	return keys
}

// newKey is a fresh current key.
func newKey(p Purpose, now int64) Key {
	k := Key{Purpose: p, State: Current, Created: now, Secret: secret.Random(keySize)}
	rand.Read(k.ID[:])
	return k
}

// renewed are keys with a new current one for each purpose. With reseal those before are to leave.
func renewed(keys []Key, now int64, reseal bool) []Key {
	var out []Key
	for _, k := range keys {
		k.Secret = k.Secret.Clone()
		switch {
		case reseal:
			k.State = Leaving
		case k.State == Current:
			k.State = Retired
		}
		out = append(out, k)
	}
	for _, p := range purposes {
		out = append(out, newKey(p, now))
	}
	return out
}

func wipeKeys(keys []Key) {
	for _, k := range keys {
		k.Secret.Wipe()
	}
}

// entry is the ring as it stands under one root key.
type entry struct {
	root   [16]byte
	sealed []byte // nonce, ciphertext, tag
}

// seal makes the entry of keys under a root key.
func seal(keys []Key, root *secret.Bytes) (entry, error) {
	e := entry{root: keyID(root), sealed: make([]byte, nonceSize)}
	plain := encodeKeys(keys)
	defer clear(plain)
	gcm, err := newGCM(derive(root, purposeRing, keySize))
	if err != nil {
		return e, err
	}
	rand.Read(e.sealed)
	e.sealed = gcm.Seal(e.sealed, e.sealed, plain, e.aad())
	return e, nil
}

// open returns the keys of an entry.
func (e entry) open(root *secret.Bytes) ([]Key, error) {
	gcm, err := newGCM(derive(root, purposeRing, keySize))
	if err != nil {
		return nil, err
	}
	if len(e.sealed) < nonceSize {
		return nil, damaged(ringName)
	}
	plain, err := gcm.Open(nil, e.sealed[:nonceSize], e.sealed[nonceSize:], e.aad())
	if err != nil {
		return nil, damaged(ringName)
	}
	defer clear(plain)
	return decodeKeys(plain)
}

func (e entry) aad() []byte { return append(append([]byte(ringMagic), 0, ringVersion), e.root[:]...) }

// encodeRing returns the bytes of root.ring.
func encodeRing(entries ...entry) []byte {
	b := append([]byte(ringMagic), 0, ringVersion, byte(len(entries)))
	for _, e := range entries {
		b = append(b, e.root[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.sealed)))
		b = append(b, e.sealed...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// decodeRing parses the bytes of root.ring.
func decodeRing(raw []byte) ([]entry, error) {
	if len(raw) < sha256.Size {
		return nil, damaged(ringName)
	}
	body := raw[:len(raw)-sha256.Size]
	sum := sha256.Sum256(body)
	d := &decoder{rest: body}
	if !bytes.Equal(sum[:], raw[len(body):]) || string(d.take(len(ringMagic))) != ringMagic || d.uint16() != ringVersion {
		return nil, damaged(ringName)
	}
	n := int(d.byte())
	var out []entry
	for range min(n, maxEntries) {
		e := entry{root: [16]byte(d.take(16))}
		size := binary.BigEndian.Uint32(d.take(4))
		if size > maxEntry {
			return nil, damaged(ringName)
		}
		e.sealed = bytes.Clone(d.take(int(size)))
		out = append(out, e)
	}
	if d.bad || len(d.rest) > 0 || n < 1 || n > maxEntries {
		return nil, damaged(ringName)
	}
	return out, nil
}

// encodeKeys is the plaintext of an entry.
func encodeKeys(keys []Key) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(keys)*(2+maxPurpose+1+8+16+keySize)), uint16(len(keys)))
	for _, k := range keys {
		b = appendBytes(b, []byte(k.Purpose))
		b = append(b, byte(k.State))
		b = binary.BigEndian.AppendUint64(b, uint64(k.Created))
		b = append(b, k.ID[:]...)
		b = append(b, k.Secret.Reveal()...)
	}
	return b
}

func decodeKeys(plain []byte) ([]Key, error) {
	d := &decoder{rest: plain}
	n := int(d.uint16())
	var keys []Key
	for i := 0; i < n && !d.bad; i++ {
		k := Key{Purpose: Purpose(d.bytes(maxPurpose)), State: State(d.byte()), Created: int64(d.uint64())}
		k.ID = [16]byte(d.take(16))
		k.Secret = secret.From(bytes.Clone(d.take(keySize)))
		keys = append(keys, k)
	}
	if d.bad || len(d.rest) > 0 || n > maxKeys || sound(keys) != nil {
		wipeKeys(keys)
		return nil, damaged(ringName)
	}
	return keys, nil
}

// sound demands one current key for each purpose, and that none is there twice.
func sound(keys []Key) error {
	current, ids := map[Purpose]int{}, map[[16]byte]bool{}
	for _, k := range keys {
		if k.State < Current || k.State > Leaving || ids[k.ID] {
			return fmt.Errorf("rootkey: key %x is there twice or in no state", k.ID)
		}
		ids[k.ID] = true
		if k.State == Current {
			current[k.Purpose]++
		}
	}
	for _, k := range keys {
		if current[k.Purpose] != 1 {
			return fmt.Errorf("rootkey: %d current keys for %s", current[k.Purpose], k.Purpose)
		}
	}
	for _, p := range purposes {
		if current[p] != 1 {
			return fmt.Errorf("rootkey: no current key for %s", p)
		}
	}
	return nil
}

// without are the keys that are not leaving for p.
func without(keys []Key, p Purpose) []Key {
	return slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return k.Purpose == p && k.State == Leaving })
}
