// Package secret holds byte strings that must not be shown: keys, passwords, tokens.
//
// A [Bytes] prints, logs and marshals as a constant. Wipe overwrites the bytes; it is best effort,
// because the Go runtime and the AES key schedule may hold copies that nobody can reach
// (docs/THREATS.md says so). Bytes is not safe for use concurrent with Wipe: who wipes must first
// know that nobody reads any more.
package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"runtime"
)

const redacted = "[secret]"

// Bytes is a secret byte string.
type Bytes struct{ b []byte }

// From takes ownership of b, which the caller must not use any more.
func From(b []byte) *Bytes { return &Bytes{b: b} }

// Random returns n bytes of the system's random generator.
func Random(n int) *Bytes {
	b := make([]byte, n)
	rand.Read(b)
	return &Bytes{b: b}
}

// Reveal returns the secret itself. It is valid until Wipe; callers must not keep it.
func (s *Bytes) Reveal() []byte { return s.b }

// Clone returns an independent copy.
func (s *Bytes) Clone() *Bytes { return From(append([]byte(nil), s.b...)) }

// Len returns the length in bytes.
func (s *Bytes) Len() int { return len(s.b) }

// Equal reports whether s holds b, in time that depends on the length only.
func (s *Bytes) Equal(b []byte) bool { return subtle.ConstantTimeCompare(s.b, b) == 1 }

// Wipe overwrites the secret with zeros and forgets it. It is safe to call twice and on nil.
func (s *Bytes) Wipe() {
	if s == nil {
		return
	}
	clear(s.b)
	s.b = nil
}

// String returns a constant.
func (s *Bytes) String() string { return redacted }

// GoString returns a constant.
func (s *Bytes) GoString() string { return redacted }

// Format writes a constant, whatever the verb.
func (s *Bytes) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue returns a constant.
func (s *Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns a constant, so that no encoder can write a secret by accident.
func (s *Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// ClearStack overwrites the part of the stack that the call before used, in which a hash may have left a
// copy of its input.
//
//go:noinline
func ClearStack() {
	var b [4096]byte
	for i := range b {
		b[i] = byte(i) // not a constant, which the compiler might take for dead
	}
	runtime.KeepAlive(&b)
}
