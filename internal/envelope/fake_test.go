package envelope

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/secret"
)

const (
	uriA     = "https://kv1.vault.azure.net/keys/cmk"
	uriB     = "https://kv2.vault.azure.net/keys/other"
	version1 = "00000000000000000000000000000001"
	version2 = "00000000000000000000000000000002"
)

var protectedA = Protection{KeyURI: uriA, Identity: "id1"}

// denial is a scripted KEK error.
type denial struct {
	code     int
	definite bool
}

func (d *denial) Error() string  { return fmt.Sprintf("denial %d", d.code) }
func (d *denial) Substatus() int { return d.code }
func (d *denial) Definite() bool { return d.definite }
func (d *denial) Detail() string { return "scripted" }

var (
	refusal = &denial{4002, true}
	outage  = &denial{4004, false}
	unknown = &denial{4009, false}
)

// fakeKEK is a vault in memory. on, if set, decides about each call first.
type fakeKEK struct {
	mu     sync.Mutex
	latest map[string]string // key URI -> version
	pads   map[string][]byte // key id -> pad
	level  string
	kty    string
	on     func(op, uri, identity string) error
	hang   chan struct{} // calls wait for it or for their context
	wrong  bool          // unwrap returns something else
	calls  map[string]int
}

func newFakeKEK() *fakeKEK {
	k := &fakeKEK{latest: map[string]string{}, pads: map[string][]byte{}, level: "Recoverable", kty: "RSA", calls: map[string]int{}}
	k.addVersion(uriA, version1)
	k.addVersion(uriB, version1)
	return k
}

func (k *fakeKEK) addVersion(uri, version string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.latest[uri] = version
	pad := make([]byte, 32)
	rand.Read(pad)
	k.pads[uri+"/"+version] = pad
}

// script installs a decision about every call.
func (k *fakeKEK) script(on func(op, uri, identity string) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.on = on
}

// fail makes the named operations (all when none is named) fail with err; nil heals.
func (k *fakeKEK) fail(err error, ops ...string) {
	k.script(func(op, _, _ string) error {
		if len(ops) == 0 || strings.Contains(strings.Join(ops, " "), op) {
			return err
		}
		return nil
	})
}

func (k *fakeKEK) count(op string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls[op]
}

func (k *fakeKEK) enter(ctx context.Context, op, uri, identity string) error {
	k.mu.Lock()
	k.calls[op]++
	on, hang := k.on, k.hang
	k.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return &denial{4004, false}
		}
	}
	if on != nil {
		return on(op, uri, identity)
	}
	return nil
}

func (k *fakeKEK) Describe(ctx context.Context, keyURI, identity string) (string, string, string, error) {
	if err := k.enter(ctx, "describe", keyURI, identity); err != nil {
		return "", "", "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version(keyURI), k.level, k.kty, nil
}

func (k *fakeKEK) version(keyURI string) string {
	if v, ok := k.latest[keyURI]; ok {
		return v
	}
	return path.Base(keyURI)
}

func (k *fakeKEK) id(keyURI string) string {
	if v, ok := k.latest[keyURI]; ok {
		return keyURI + "/" + v
	}
	return keyURI
}

func (k *fakeKEK) xor(id string, in []byte) []byte {
	out := append([]byte(nil), in...)
	for i := range out {
		out[i] ^= k.pads[id][i%32]
	}
	return out
}

func (k *fakeKEK) Wrap(ctx context.Context, keyURI, identity string, plain []byte) ([]byte, string, error) {
	if err := k.enter(ctx, "wrap", keyURI, identity); err != nil {
		return nil, "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.xor(k.id(keyURI), plain), k.id(keyURI), nil
}

func (k *fakeKEK) Unwrap(ctx context.Context, keyID, identity string, wrapped []byte) ([]byte, error) {
	if err := k.enter(ctx, "unwrap", keyID, identity); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pads[keyID] == nil {
		return nil, &denial{4003, true}
	}
	out := k.xor(keyID, wrapped)
	if k.wrong {
		out[0]++
	}
	return out, nil
}

// memFiles is Files in memory, with hard links, a disk that can die at the nth change, and a power
// cut after it.
type memFiles struct {
	mu    sync.Mutex
	files map[string]*[]byte
	dirs  map[string]bool
	left  int  // changes until death; negative for never
	after bool // the change at which the disk dies is still made
	dead  bool
	once  bool // the disk fails once and lives on
}

func newMemFiles() *memFiles {
	return &memFiles{files: map[string]*[]byte{}, dirs: map[string]bool{}, left: -1}
}

var errDisk = errors.New("disk died")

// change runs f unless the disk is dead or dies now.
func (m *memFiles) change(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errDisk
	}
	if m.left--; m.left == 0 {
		m.dead = !m.once
		if m.after {
			f()
		}
		return errDisk
	}
	f()
	return nil
}

func (m *memFiles) Read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.files[name]; c != nil {
		return append([]byte(nil), *c...), nil
	}
	return nil, fs.ErrNotExist
}

func (m *memFiles) Replace(name string, data []byte) error {
	c := append([]byte(nil), data...)
	return m.change(func() { m.files[name] = &c })
}

func (m *memFiles) Retain(name, second string) error {
	return m.change(func() { m.files[second] = m.files[name] })
}

func (m *memFiles) Scrub(name string) error {
	return m.change(func() {
		if c := m.files[name]; c != nil {
			clear(*c)
		}
		delete(m.files, name)
	})
}

func (m *memFiles) MakeDir(name string) error { return m.change(func() { m.dirs[name] = true }) }

func (m *memFiles) RemoveDir(name string) error {
	return m.change(func() {
		delete(m.dirs, name)
		for f := range m.files {
			if strings.HasPrefix(f, name+"/") {
				delete(m.files, f)
			}
		}
	})
}

func (m *memFiles) Tidy(string) error { return nil }

func (m *memFiles) Dirs(name string) (out []string, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d := range m.dirs {
		if path.Dir(d) == name {
			out = append(out, path.Base(d))
		}
	}
	return out, nil
}

// revive gives the disk back, as after a restart.
func (m *memFiles) revive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead, m.left, m.after = false, -1, false
}

func (m *memFiles) dieAt(n int, after bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left, m.after = n, after
}

// memAnchors is Anchors in memory, on a disk that may die.
type memAnchors struct {
	disk *memFiles
	mu   sync.Mutex
	all  map[string]Anchor
}

func newMemAnchors(disk *memFiles) *memAnchors {
	return &memAnchors{disk: disk, all: map[string]Anchor{}}
}

func (m *memAnchors) Load(id string) (Anchor, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.all[id]
	return a, ok, nil
}

func (m *memAnchors) Save(id string, a Anchor) error {
	return m.disk.change(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.all[id] = a
	})
}

func (m *memAnchors) Delete(id string) error {
	return m.disk.change(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.all, id)
	})
}

// auditLog remembers the operations.
type auditLog struct {
	mu     sync.Mutex
	events []audit.Event
	err    error
}

func (l *auditLog) Record(_ context.Context, e audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.events = append(l.events, e)
	return nil
}

func (l *auditLog) operations() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, e := range l.events {
		out = append(out, e.Operation)
	}
	return strings.Join(out, " ")
}

// world is a keeper with everything around it faked but the store.
type world struct {
	t         *testing.T
	k         *Keeper
	kek       *fakeKEK
	files     *memFiles
	fs        *vfs.MemFS
	audit     *auditLog
	anchors   *memAnchors
	root      []byte
	locked    []string
	rate      int // of the re-encryption; 0 for the default
	maxOpen   int
	idleClose time.Duration
	onSync    atomic.Pointer[func()] // called before each sync of the data
	mu        sync.Mutex
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, kek: newFakeKEK(), files: newMemFiles(), fs: vfs.NewCrashableMem(), audit: &auditLog{}, root: make([]byte, 32)}
	w.anchors = newMemAnchors(w.files)
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	k, err := Open(Config{
		Dir: "accounts", Files: w.files, ReencryptRate: w.rate, MaxOpen: w.maxOpen, IdleClose: w.idleClose,
		FS: errorfs.Wrap(w.fs, syncs(func() {
			if f := w.onSync.Load(); f != nil {
				(*f)()
			}
		})), KEK: w.kek, RootKey: secret.From(append([]byte(nil), w.root...)),
		Grace: 10 * time.Minute, Audit: w.audit, OnLock: w.onLock, Anchors: w.anchors,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.k = k
}

func (w *world) onLock(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locked = append(w.locked, id)
}

func (w *world) stop() {
	if err := w.k.Close(context.Background()); err != nil {
		w.t.Errorf("Close: %v", err)
	}
}

func (w *world) restart() { w.stop(); w.start() }

func (w *world) create(id string, p Protection) {
	w.t.Helper()
	if err := w.k.Create(context.Background(), id, p); err != nil {
		w.t.Fatalf("Create: %v", err)
	}
}

// put writes one key into the account's store.
func (w *world) put(id, key, value string) {
	w.t.Helper()
	db, release, err := w.k.Acquire(context.Background(), id)
	if err != nil {
		w.t.Fatalf("Acquire: %v", err)
	}
	defer release()
	if err := db.Set([]byte(key), []byte(value)); err != nil {
		w.t.Fatal(err)
	}
}

// want checks that the account serves and holds the value.
func (w *world) want(id, key, value string) {
	w.t.Helper()
	db, release, err := w.k.Acquire(context.Background(), id)
	if err != nil {
		w.t.Fatalf("Acquire: %v", err)
	}
	defer release()
	if got, err := db.Get([]byte(key)); err != nil || string(got) != value {
		w.t.Fatalf("Get = %q, %v; want %q", got, err, value)
	}
}

func (w *world) state(id string) State {
	s, _ := w.k.Status(id)
	return s.State
}

func (w *world) wantState(id string, want State) {
	w.t.Helper()
	if got := w.state(id); got != want {
		s, _ := w.k.Status(id)
		w.t.Fatalf("state = %s, want %s (%+v)", got, want, s)
	}
}
