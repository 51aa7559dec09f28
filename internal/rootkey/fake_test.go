package rootkey

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/secret"
)

var errDead = errors.New("the disk is gone")

// memFiles is a disk that can die before or after its n-th change, for good or for one change.
type memFiles struct {
	files map[string][]byte
	seen  map[string]bool // every content that any file ever had
	n     int             // changes until it dies; 0 never
	after bool            // the deadly change takes place
	once  bool
	dead  bool
}

func newMemFiles() *memFiles { return &memFiles{files: map[string][]byte{}, seen: map[string]bool{}} }

func (m *memFiles) Read(name string) ([]byte, error) {
	if m.dead {
		return nil, errDead
	}
	raw, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(raw), nil
}

func (m *memFiles) change(name string, data []byte) error {
	if m.dead {
		return errDead
	}
	deadly := false
	if m.n > 0 {
		m.n--
		deadly = m.n == 0
	}
	if !deadly || m.after {
		m.files[name] = bytes.Clone(data)
		m.seen[string(data)] = true
	}
	if deadly {
		m.dead = !m.once
		return errDead
	}
	return nil
}

func (m *memFiles) Create(name string, data []byte) error {
	if _, ok := m.files[name]; ok {
		return fs.ErrExist
	}
	return m.change(name, data)
}

func (m *memFiles) Replace(name string, data []byte) error { return m.change(name, data) }

// hsm is a token with AES keys that are passwords: what it seals names the key.
type hsm struct {
	keys   map[string]string // id -> label
	gcm    bool
	pin    string
	absent bool
}

func (h *hsm) open(_ pkcs11.URI, pin *secret.Bytes) (HSM, error) {
	switch {
	case h.absent:
		return nil, pkcs11.ErrNoToken
	case string(pin.Reveal()) != h.pin:
		return nil, pkcs11.ErrPIN
	}
	return h, nil
}

func (h *hsm) Find(_ context.Context, label string) ([]byte, error) {
	for id, l := range h.keys {
		if l == label {
			return []byte(id), nil
		}
	}
	return nil, pkcs11.ErrNotFound
}

func (h *hsm) Type(context.Context, []byte) (pkcs11.KeyType, error) { return pkcs11.AES256, nil }

func (h *hsm) Generate(_ context.Context, id []byte, label string, _ pkcs11.KeyType) (crypto.PublicKey, error) {
	h.keys[string(id)] = label
	return nil, nil
}

func (h *hsm) aead(id []byte) (gcm interface {
	Seal(dst, nonce, plaintext, aad []byte) []byte
	Open(dst, nonce, ciphertext, aad []byte) ([]byte, error)
}, err error) {
	if _, ok := h.keys[string(id)]; !ok {
		return nil, pkcs11.ErrNotFound
	}
	return newGCM(append(bytes.Clone(id), id...)[:32])
}

func (h *hsm) SealGCM(_ context.Context, id, nonce, plain, aad []byte) ([]byte, error) {
	if !h.gcm {
		return nil, pkcs11.ErrMechanism
	}
	g, err := h.aead(id)
	if err != nil {
		return nil, err
	}
	return g.Seal(nil, nonce, plain, aad), nil
}

func (h *hsm) OpenGCM(_ context.Context, id, nonce, sealed, aad []byte) ([]byte, error) {
	g, err := h.aead(id)
	if err != nil {
		return nil, err
	}
	if plain, err := g.Open(nil, nonce, sealed, aad); err == nil {
		return plain, nil
	}
	return nil, pkcs11.ErrInput
}

func (h *hsm) WrapAES(_ context.Context, id, key []byte) ([]byte, error) {
	if _, ok := h.keys[string(id)]; !ok {
		return nil, pkcs11.ErrNotFound
	}
	out := append(bytes.Clone(key), id[:8]...)
	for i := range key {
		out[i] ^= id[i%len(id)]
	}
	return out, nil
}

func (h *hsm) UnwrapAES(_ context.Context, id, wrapped []byte) ([]byte, error) {
	if _, ok := h.keys[string(id)]; !ok {
		return nil, pkcs11.ErrNotFound
	}
	if !bytes.Equal(wrapped[len(wrapped)-8:], id[:8]) {
		return nil, pkcs11.ErrInput
	}
	out := bytes.Clone(wrapped[:len(wrapped)-8])
	for i := range out {
		out[i] ^= id[i%len(id)]
	}
	return out, nil
}

func (h *hsm) Close() error { return nil }

// world is a directory, a disk and a token.
type world struct {
	t          *testing.T
	files      *memFiles
	hsm        *hsm
	passphrase string
	said       string
}

func newWorld(t *testing.T) *world {
	return &world{t: t, files: newMemFiles(), hsm: &hsm{keys: map[string]string{}, gcm: true, pin: "1234"}, passphrase: "correct horse battery"}
}

func (w *world) options() Options {
	w.t.Helper()
	p, err := ParseProtection(w.said)
	if err != nil {
		w.t.Fatal(err)
	}
	return Options{Dir: "/data", Files: w.files, Protection: p, PIN: w.hsm.pin, OpenToken: w.hsm.open, logN: minLogN,
		Passphrase: func() (*secret.Bytes, error) { return secret.From([]byte(w.passphrase)), nil },
		Now:        func() time.Time { return time.Unix(1_800_000_000, 0) }}
}

func (w *world) start() *Ring {
	w.t.Helper()
	r, err := Start(w.options(), false)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) rotate(to string, reseal bool) (*Ring, error) {
	w.t.Helper()
	w.said = ""
	r, err := Start(w.options(), true)
	if err != nil {
		return nil, err
	}
	p, err := ParseProtection(to)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Rotate(Rotation{To: p, Reseal: reseal, Passphrase: w.options().Passphrase})
}

func wantReason(t *testing.T, what string, err error, reason string) {
	t.Helper()
	if f := fault.As(err); f == nil || f.Reason != reason {
		t.Errorf("%s: %v, want %s", what, err, reason)
	}
}

const (
	elsewhere = "file:/mnt/key"
	hardware  = "pkcs11:module-path=/lib/x.so;token=T;object=root"
)

var protections = []string{"file", elsewhere, "passphrase", hardware}
