package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"time"

	"github.com/latchkey-db/latchkey/internal/principal"
)

// KeyKind names one of the four master keys, in the words of the regenerate operation.
type KeyKind string

// The master keys.
const (
	Primary           KeyKind = "primary"
	Secondary         KeyKind = "secondary"
	PrimaryReadonly   KeyKind = "primaryReadonly"
	SecondaryReadonly KeyKind = "secondaryReadonly"
)

var keyKinds = []KeyKind{Primary, Secondary, PrimaryReadonly, SecondaryReadonly}

// masterKeyBytes is the length of a master key; its base64 has 88 characters.
const masterKeyBytes = 64

// masterKeys are the account's four keys, in the order of keyKinds.
type masterKeys struct {
	Slots []masterKey
}

type masterKey struct {
	Key       []byte
	Generated time.Time
}

// Keys are an account's master keys in base64. The read-write ones are empty where only the
// read-only ones were asked for.
type Keys struct {
	Values    map[KeyKind]string
	Generated map[KeyKind]time.Time
}

// LogValue returns a constant: keys must never reach a log.
func (Keys) LogValue() slog.Value { return slog.StringValue("[secret]") }

func newMasterKeys(now time.Time) masterKeys {
	var m masterKeys
	for range keyKinds {
		m.Slots = append(m.Slots, newMasterKey(now))
	}
	return m
}

func newMasterKey(now time.Time) masterKey {
	k := make([]byte, masterKeyBytes)
	rand.Read(k)
	return masterKey{Key: k, Generated: now}
}

func (m masterKeys) export(kinds ...KeyKind) Keys {
	out := Keys{Values: map[KeyKind]string{}, Generated: map[KeyKind]time.Time{}}
	for _, kind := range kinds {
		slot := m.Slots[indexOf(kind)]
		out.Values[kind] = base64.StdEncoding.EncodeToString(slot.Key)
		out.Generated[kind] = slot.Generated
	}
	return out
}

func indexOf(kind KeyKind) int {
	for i, k := range keyKinds {
		if k == kind {
			return i
		}
	}
	return -1
}

// door returns the door that a signature over text opens. All four keys are always tried, so that
// the time taken does not tell which one matched.
func (m masterKeys) door(text string, sig []byte) (principal.Door, bool) {
	match := -1
	for i, slot := range m.Slots {
		mac := hmac.New(sha256.New, slot.Key)
		mac.Write([]byte(text))
		match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(mac.Sum(nil), sig), i, match)
	}
	switch {
	case match < 0:
		return "", false
	case keyKinds[match] == Primary || keyKinds[match] == Secondary:
		return principal.AccountKey, true
	default:
		return principal.AccountReadOnlyKey, true
	}
}
