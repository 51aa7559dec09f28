package test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/demo"
	"github.com/latchkey-db/latchkey/internal/envelope"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/kek"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// external is a database of its own whose vault and token service are another process, reached over
// HTTPS and through nothing else.
type external struct {
	*scenario
	dir     string
	anchors *anchors
	keeper  *envelope.Keeper
	vault   atomic.Pointer[http.Client]
}

const (
	externalInterval = 100 * time.Millisecond
	externalGrace    = 2 * time.Second
)

func newExternal(t *testing.T) *external {
	t.Helper()
	s := &scenario{server: startServer(t)}
	s.connect()
	for i, step := range []func(context.Context) error{s.op.CreateGroup, s.op.CreateVault, s.op.CreateKey} {
		if err := step(t.Context()); err != nil {
			t.Fatalf("preparation %d: %v", i, err)
		}
	}
	s.keyURI = "https://" + demo.Vault + ".vault.azure.net/keys/" + demo.Key
	x := &external{scenario: s, dir: filepath.Join(t.TempDir(), "accounts"), anchors: &anchors{all: map[string]envelope.Anchor{}}}
	x.vault.Store(s.http)
	x.open()
	t.Cleanup(x.close)
	if err := x.keeper.Create(t.Context(), "a", envelope.Protection{KeyURI: s.keyURI, Identity: "external"}); err != nil {
		t.Fatal(err)
	}
	return x
}

// RoundTrip leads to the vault's process, wherever it listens now.
func (x *external) RoundTrip(r *http.Request) (*http.Response, error) {
	return x.vault.Load().Transport.RoundTrip(r)
}

// startVault starts the vault's process again.
func (x *external) startVault() {
	x.start()
	x.connect()
	x.vault.Store(x.http)
}

func (x *external) open() {
	x.t.Helper()
	admin := x.admin()
	k, err := envelope.Open(envelope.Config{
		Dir: x.dir, FS: vfs.Default, RootKey: secret.From(make([]byte, 32)), Anchors: x.anchors, Audit: unheard{},
		Interval: externalInterval, Grace: externalGrace,
		KEK: kek.New(kek.Config{
			Transport: x, TenantID: func() string { return admin.TenantID },
			Credential: func(string) (string, *secret.Bytes, error) {
				return admin.ClientID, secret.From([]byte(admin.ClientSecret)), nil
			},
		}),
	})
	if err != nil {
		x.t.Fatal(err)
	}
	x.keeper = k
}

func (x *external) close() {
	if err := x.keeper.Close(context.Background()); err != nil {
		x.t.Error(err)
	}
}

// use reads and writes; the error is what a request would be answered with.
func (x *external) use(value string) error {
	db, release, err := x.keeper.Acquire(x.t.Context(), "a")
	if err != nil {
		return err
	}
	defer release()
	return db.Set([]byte("k"), []byte(value))
}

func (x *external) state() envelope.State {
	s, _ := x.keeper.Status("a")
	return s.State
}

func (x *external) waitState(want envelope.State, limit time.Duration) time.Duration {
	x.t.Helper()
	return x.waitFor(string(want), limit, func() error {
		if got := x.state(); got != want {
			return errors.New("state is " + string(got))
		}
		return nil
	})
}

// TestVaultStopped is row 13 of the checklist: a vault that is silent for less than the grace is not
// noticed by anyone who uses the data; after the grace the account is closed with 4004, and it returns
// with the vault.
func TestVaultStopped(t *testing.T) {
	x := newExternal(t)
	x.stop()
	x.waitState(envelope.StateGrace, 5*time.Second)
	if err := x.use("in grace"); err != nil {
		t.Errorf("in grace: %v", err)
	}
	x.startVault()
	x.waitState(envelope.StateOpen, 5*time.Second)
	stopped := time.Now() // the grace begins later
	x.stop()
	x.waitState(envelope.StateGrace, 5*time.Second)
	x.waitState(envelope.StateRevoked, externalGrace+5*time.Second)
	if took := time.Since(stopped); took < externalGrace {
		t.Errorf("closed %v after the vault stopped, the grace is %v", took, externalGrace)
	}
	if err := x.use("too late"); fault.KindOf(err) != fault.KeyDenied || !fault.Is(err, "4004") {
		t.Errorf("after the grace: %v", err)
	}
	x.startVault()
	x.waitFor("the data to be back", 10*time.Second, func() error { return x.use("back") })
}

// TestVaultStoppedAtStart is row 14: a database that starts while its vault is silent serves nothing,
// however short the silence, until the vault answers.
func TestVaultStoppedAtStart(t *testing.T) {
	x := newExternal(t)
	if err := x.use("before"); err != nil {
		t.Fatal(err)
	}
	x.stop()
	x.close()
	x.open()
	if err := x.use("must not"); fault.KindOf(err) != fault.KeyDenied || !fault.Is(err, "4004") {
		t.Errorf("without the vault: %v", err)
	}
	x.startVault()
	x.waitFor("the data to be back", 10*time.Second, func() error {
		db, release, err := x.keeper.Acquire(t.Context(), "a")
		if err != nil {
			return err
		}
		defer release()
		if v, err := db.Get([]byte("k")); err != nil || string(v) != "before" {
			t.Fatalf("the data came back as %q, %v", v, err)
		}
		return nil
	})
}

// anchors keeps anchors in memory.
type anchors struct {
	mu  sync.Mutex
	all map[string]envelope.Anchor
}

// Load implements [envelope.Anchors].
func (a *anchors) Load(id string) (envelope.Anchor, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x, ok := a.all[id]
	return x, ok, nil
}

// Save implements [envelope.Anchors].
func (a *anchors) Save(id string, x envelope.Anchor) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[id] = x
	return nil
}

// Delete implements [envelope.Anchors].
func (a *anchors) Delete(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, id)
	return nil
}

// unheard keeps no record.
type unheard struct{}

// Record implements [envelope.Auditor].
func (unheard) Record(context.Context, audit.Event) error { return nil }
