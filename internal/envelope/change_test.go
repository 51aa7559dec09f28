package envelope

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
)

func (w *world) keyring(id string) *keyring {
	w.t.Helper()
	raw, err := w.files.Read("accounts/" + id + "/keyring")
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := decodeKeyring(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// dataFiles hashes every file of an account's store.
func (w *world) dataFiles(id string) map[string][32]byte {
	w.t.Helper()
	dir := "accounts/" + id + "/data"
	names, err := w.fs.List(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string][32]byte{}
	for _, n := range names {
		out[n] = sha256.Sum256(w.content(dir + "/" + n))
	}
	return out
}

func (w *world) content(name string) []byte {
	w.t.Helper()
	f, err := w.fs.Open(name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// TestRotation: a newer version is adopted, the data files stay untouched, and the old version may go.
func TestRotation(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		t.Run(fmt.Sprintf("sealed=%v", sealed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", protectedA)
				w.put("a", "k", "v")
				if sealed {
					w.restart()
				}
				before, print := w.dataFiles("a"), w.fingerprint("a")
				w.kek.addVersion(uriA, version2)
				w.hint()
				if s, _ := w.k.Status("a"); s.KeyVersion != version2 {
					t.Fatalf("key version = %s", s.KeyVersion)
				}
				if w.fingerprint("a") == print {
					t.Error("the fingerprint did not change")
				}
				for name, sum := range w.dataFiles("a") {
					if before[name] != sum {
						t.Errorf("%s changed", name)
					}
				}
				delete(w.kek.pads, uriA+"/"+version1)
				w.restart()
				w.want("a", "k", "v")
				if n := strings.Count(w.audit.operations(), opKeyRotated); n != 1 {
					t.Errorf("%d rotations recorded", n)
				}
			})
		})
	}
}

func (w *world) fingerprint(id string) [32]byte {
	sum, ok := w.k.Fingerprint(id)
	if !ok {
		w.t.Fatal("no fingerprint")
	}
	return sum
}

func TestPinnedVersionIsNotRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", Protection{KeyURI: uriA + "/" + version1, Identity: "id1"})
		w.kek.addVersion(uriA, version2)
		w.k.Hint(func(Protection) bool { return true })
		synctest.Wait()
		w.wantState("a", StateOpen)
		if s, _ := w.k.Status("a"); s.KeyVersion != version1 {
			t.Errorf("key version = %s", s.KeyVersion)
		}
	})
}

// TestRotationNeedsTheOldVersion: a version that was disabled before the re-wrap revokes.
func TestRotationNeedsTheOldVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.kek.addVersion(uriA, version2)
		w.kek.script(func(op, uri, _ string) error {
			if op == "unwrap" && strings.HasSuffix(uri, version1) {
				return &denial{4018, true}
			}
			return nil
		})
		w.hint()
		w.refusedWith("a", 4018)
	})
}

func TestProtect(t *testing.T) {
	b := Protection{KeyURI: uriB, Identity: "id2"}
	onlyB := func(w *world) {
		w.kek.script(func(_, uri, identity string) error {
			if !strings.HasPrefix(uri, uriB) || identity != "id2" {
				return refusal
			}
			return nil
		})
	}
	rows := []struct {
		name    string
		from    Protection
		to      Protection
		prepare func(w *world)
		after   func(w *world)
	}{
		{"other key, open", protectedA, b, nil, onlyB},
		{"other key, sealed", protectedA, b, func(w *world) { w.restart() }, onlyB},
		{"other identity, revoked", protectedA, Protection{uriA, "id2"}, func(w *world) {
			w.kek.script(func(_, _, identity string) error {
				if identity == "id1" {
					return &denial{4000, true}
				}
				return nil
			})
			w.hint()
			w.refusedWith("a", 4000)
		}, nil},
		{"from the platform's key, open", Protection{}, b, nil, onlyB},
		{"from the platform's key, sealed", Protection{}, b, func(w *world) { w.restart() }, onlyB},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", row.from)
				w.put("a", "k", "v")
				if row.prepare != nil {
					row.prepare(w)
				}
				if err := w.k.Protect(context.Background(), "a", row.to); err != nil {
					t.Fatal(err)
				}
				if row.after != nil {
					row.after(w)
				}
				w.want("a", "k", "v")
				w.put("a", "k2", "v2")
				w.restart()
				w.want("a", "k", "v")
				w.want("a", "k2", "v2")
				if s, _ := w.k.Status("a"); s.Protection != row.to {
					t.Errorf("protection = %+v", s.Protection)
				}
				synctest.Wait()
				if w.files.files["accounts/a/keyring.previous"] != nil {
					t.Error("the old keyring is still there")
				}
			})
		})
	}
}

// TestRootKeyOpensNothingAfterwards: leaving the platform's key makes a new AK and a new current DK,
// and overwrites the old keyring.
func TestRootKeyOpensNothingAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", Protection{})
		old, content := w.keyring("a"), w.files.files["accounts/a/keyring"]
		oldAK, err := w.k.unwrapAccountKey(context.Background(), old, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.k.Protect(context.Background(), "a", protectedA); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r := w.keyring("a")
		if r.dataKeys[0].id == old.dataKeys[0].id && r.dataKeys[0].state != dataKeyRetired || r.currentID() == old.currentID() {
			t.Fatalf("data keys = %+v", r.dataKeys)
		}
		for _, d := range r.dataKeys {
			if _, err := openKey(oldAK, d.sealed[:], purposeDataKey, "a", d.id[:]); err == nil {
				t.Error("the old account key opens a data key")
			}
		}
		if !bytes.Equal(*content, make([]byte, len(*content))) {
			t.Error("the old keyring is not overwritten")
		}
	})
}

func TestInspect(t *testing.T) {
	rows := []struct {
		name   string
		p      Protection
		change func(*fakeKEK)
		kind   fault.Kind
		reason string
	}{
		{"good", protectedA, nil, 0, ""},
		{"versioned", Protection{uriA + "/" + version1, "id1"}, nil, 0, ""},
		{"platform", Protection{}, nil, 0, ""},
		{"subscription lock", protectedA, func(k *fakeKEK) { k.level = "Recoverable+ProtectedSubscription" }, 0, ""},
		{"malformed", Protection{"https://kv1.vault.azure.net/keys", "id1"}, nil, fault.Invalid, "InvalidKeyVaultKeyUri"},
		{"no identity", Protection{uriA, ""}, nil, fault.Invalid, "UndefinedDefaultIdentity"},
		{"no get", protectedA, func(k *fakeKEK) { k.fail(refusal, "describe") }, fault.Invalid, "KeyVaultAccessDenied"},
		{"no wrap", protectedA, func(k *fakeKEK) { k.fail(refusal, "wrap") }, fault.Invalid, "KeyVaultAccessDenied"},
		{"no unwrap", protectedA, func(k *fakeKEK) { k.fail(refusal, "unwrap") }, fault.Invalid, "KeyVaultAccessDenied"},
		{"firewall", protectedA, func(k *fakeKEK) { k.fail(&denial{4016, true}) }, fault.Invalid, "KeyVaultFirewall"},
		{"no key", protectedA, func(k *fakeKEK) { k.fail(&denial{4003, true}) }, fault.Invalid, "KeyVaultKeyNotFound"},
		{"no vault", protectedA, func(k *fakeKEK) { k.fail(&denial{4017, true}) }, fault.Invalid, "KeyVaultNotFound"},
		{"no host", protectedA, func(k *fakeKEK) { k.fail(unknown) }, fault.Invalid, "KeyVaultDNSNotResolved"},
		{"no answer", protectedA, func(k *fakeKEK) { k.fail(outage) }, fault.Unavailable, "KeyVaultUnavailable"},
		{"answers with a 403", protectedA, func(k *fakeKEK) { k.fail(vaultSaid{}) }, fault.Denied, "KeyVaultFirewall"},
		{"wrong plaintext", protectedA, func(k *fakeKEK) { k.wrong = true }, fault.Invalid, "KeyVaultWrapUnwrapFailure"},
		{"elliptic curve", protectedA, func(k *fakeKEK) { k.kty = "EC" }, fault.Invalid, "KeyVaultKeyTypeNotSupported"},
		{"purgeable", protectedA, func(k *fakeKEK) { k.level = "Recoverable+Purgeable" }, fault.Invalid, "KeyVaultRecoveryLevel"},
		{"no level", protectedA, func(k *fakeKEK) { k.level = "" }, fault.Invalid, "KeyVaultRecoveryLevel"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			if row.change != nil {
				row.change(w.kek)
			}
			err := w.k.Inspect(context.Background(), row.p)
			if row.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if f := fault.As(err); f == nil || f.Kind != row.kind || f.Reason != row.reason {
				t.Fatalf("error = %v, want %s", err, row.reason)
			}
			// The same key is refused at creation, and nothing is left.
			if err := w.k.Create(context.Background(), "a", row.p); !fault.Is(err, row.reason) {
				t.Errorf("Create = %v", err)
			}
			if len(w.files.files) != 0 || len(w.k.accounts) != 0 {
				t.Errorf("left behind: %v", w.files.files)
			}
		})
	}
}

// vaultSaid is a KEK error with a vault's answer.
type vaultSaid struct{}

func (vaultSaid) Error() string  { return "403" }
func (vaultSaid) Substatus() int { return 4016 }
func (vaultSaid) Definite() bool { return true }
func (vaultSaid) Detail() string { return "403" }
func (vaultSaid) VaultAnswer() (int, string, string, string) {
	return 403, "Forbidden", "ForbiddenByFirewall", "Client address is not authorized"
}

func TestVaultAnswerIsPassedOn(t *testing.T) {
	w := newWorld(t)
	w.kek.fail(vaultSaid{})
	err := w.k.Inspect(context.Background(), protectedA)
	var a VaultAnswer
	if !errors.As(err, &a) {
		t.Fatalf("no answer in %v", err)
	}
	if fault.As(err).Message != "Client address is not authorized" {
		t.Errorf("message = %q", fault.As(err).Message)
	}
}

// TestProtectFailureChangesNothing: each way in which a Protect fails leaves the account as it was.
func TestProtectFailureChangesNothing(t *testing.T) {
	rows := map[string]func(w *world){
		"denied":      func(w *world) { w.kek.script(onURI(uriB, refusal)) },
		"unanswered":  func(w *world) { w.kek.script(onURI(uriB, outage)) },
		"no audit":    func(w *world) { w.audit.err = errDisk },
		"wrong level": func(w *world) { w.kek.level = "Purgeable" },
	}
	for name, breakIt := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", protectedA)
				w.put("a", "k", "v")
				print := w.fingerprint("a")
				breakIt(w)
				if err := w.k.Protect(context.Background(), "a", Protection{uriB, "id1"}); err == nil {
					t.Fatal("Protect succeeded")
				}
				if s, _ := w.k.Status("a"); w.fingerprint("a") != print || s.Protection != protectedA || s.State != StateOpen {
					t.Errorf("changed: %+v", s)
				}
				w.want("a", "k", "v")
			})
		})
	}
}

func onURI(uri string, err error) func(_, u, _ string) error {
	return func(_, u, _ string) error {
		if strings.HasPrefix(u, uri) {
			return err
		}
		return nil
	}
}

func TestCreateTwice(t *testing.T) {
	w := newWorld(t)
	w.create("a", Protection{})
	if err := w.k.Create(context.Background(), "a", Protection{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("Create = %v", err)
	}
	for _, id := range []string{"", ".", "../x", "a/b", strings.Repeat("x", 200)} {
		if err := w.k.Create(context.Background(), id, Protection{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("Create(%q) = %v", id, err)
		}
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.create("a", protectedA)
	content := w.files.files["accounts/a/keyring"]
	for range 2 {
		if err := w.k.Delete(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(*content, make([]byte, len(*content))) {
		t.Error("the keyring is not overwritten")
	}
	if _, _, err := w.k.Acquire(context.Background(), "a"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Acquire = %v", err)
	}
	if _, err := w.fs.Stat("accounts/a/data"); err == nil {
		t.Error("data left")
	}
}

// TestDeleteWhileRevoked: no key is needed to destroy an account.
func TestDeleteWhileRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.kek.fail(refusal)
		w.hint()
		if err := w.k.Delete(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestKeyringOfAnotherAccount: a keyring that is moved to another account's directory is refused.
func TestKeyringOfAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.create("b", protectedA)
		w.stop()
		w.files.files["accounts/b/keyring"] = w.files.files["accounts/a/keyring"]
		w.start()
		w.wantState("b", StateQuarantined)
		w.wantState("a", StateSealed)
	})
}

// TestOnDisk does the whole round on the operating system's files.
func TestOnDisk(t *testing.T) {
	dir, kek, log := filepath.Join(t.TempDir(), "accounts"), newFakeKEK(), &auditLog{}
	anchors := newMemAnchors(newMemFiles())
	open := func() *Keeper {
		k, err := Open(Config{Dir: dir, FS: vfs.Default, KEK: kek, RootKey: secret.From(make([]byte, 32)), Audit: log, Anchors: anchors})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	w := &world{t: t, kek: kek, k: open()}
	w.create("a", Protection{})
	w.put("a", "k", "v")
	if err := w.k.Protect(context.Background(), "a", protectedA); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.k = open()
	w.want("a", "k", "v")
	if _, err := os.Stat(filepath.Join(dir, "a", "keyring.previous")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("previous keyring: %v", err)
	}
	if err := w.k.Delete(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory left: %v", err)
	}
	w.stop()
}

// TestStoreDoesNotOpen: an error of the operating system passes; the next Acquire tries again.
func TestStoreDoesNotOpen(t *testing.T) {
	rows := []struct {
		err  error
		want State
	}{{syscall.ENOSPC, StateSealed}, {errDisk, StateQuarantined}}
	for _, row := range rows {
		t.Run(row.err.Error(), func(t *testing.T) {
			w := newWorld(t)
			w.create("a", protectedA)
			w.put("a", "k", "v")
			w.stop()
			var broken atomic.Bool
			k, err := Open(Config{
				Dir: "accounts", Files: w.files, KEK: w.kek, RootKey: secret.From(make([]byte, 32)), Audit: w.audit, Anchors: w.anchors,
				FS: errorfs.Wrap(w.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
					if broken.Load() && op.Kind == errorfs.OpOpen {
						return row.err
					}
					return nil
				})),
			})
			if err != nil {
				t.Fatal(err)
			}
			w.k = k
			broken.Store(true)
			if _, _, err := k.Acquire(context.Background(), "a"); err == nil || fault.KindOf(err) == fault.KeyDenied {
				t.Fatalf("Acquire = %v", err)
			}
			w.wantState("a", row.want)
			broken.Store(false)
			if row.want != StateSealed {
				return
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				_, release, err := k.Acquire(context.Background(), "a")
				if err == nil {
					release()
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
			w.want("a", "k", "v")
		})
	}
}

// TestProtectWhileDraining waits for the lock, and then brings the account back.
func TestProtectWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.put("a", "k", "v")
		_, release, err := w.k.Acquire(context.Background(), "a")
		if err != nil {
			t.Fatal(err)
		}
		w.kek.script(func(_, _, identity string) error {
			if identity == "id1" {
				return refusal
			}
			return nil
		})
		w.hint()
		w.wantState("a", StateDraining)
		done := make(chan error, 1)
		go func() { done <- w.k.Protect(context.Background(), "a", Protection{uriA, "id2"}) }()
		synctest.Wait()
		w.refusedWith("a", 4002)
		release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.want("a", "k", "v")
	})
}

// TestEngineFailure: a store that cannot write stops its own account and no other.
func TestEngineFailure(t *testing.T) {
	w := newWorld(t)
	w.stop()
	var broken atomic.Bool
	k, err := Open(Config{
		Dir: "accounts", Files: w.files, KEK: w.kek, RootKey: secret.From(make([]byte, 32)), Audit: w.audit, Anchors: w.anchors,
		FS: errorfs.Wrap(w.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasPrefix(op.Path, "accounts/a/") {
				return errDisk
			}
			return nil
		})),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.k = k
	w.create("a", Protection{})
	w.create("b", Protection{})
	broken.Store(true)
	db, release, err := w.k.Acquire(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set([]byte("k"), []byte("v")); !errors.Is(err, store.ErrPoisoned) {
		t.Errorf("Set = %v", err)
	}
	release()
	for w.state("a") != StateQuarantined {
		runtime.Gosched()
	}
	if _, _, err := w.k.Acquire(context.Background(), "a"); !fault.Is(err, "AccountQuarantined") {
		t.Errorf("Acquire = %v", err)
	}
	w.put("b", "k", "v")
	w.want("b", "k", "v")
	broken.Store(false) // the disk has room again
	for w.state("a") != StateSealed {
		time.Sleep(10 * time.Millisecond)
	}
	w.put("a", "k2", "v2")
	w.want("a", "k2", "v2")
	if err := w.k.Retry(context.Background(), "a"); !fault.Is(err, "NotQuarantined") {
		t.Errorf("Retry = %v", err)
	}
}

func TestOSFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "account")
	f, name, second := osFiles{}, filepath.Join(dir, "keyring"), filepath.Join(dir, "keyring.previous")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(f.MakeDir(dir))
	check(f.MakeDir(dir))
	check(f.Scrub(name))
	check(f.Replace(name, []byte("one")))
	check(f.Retain(name, second))
	check(f.Retain(name, second)) // interrupted before the Replace, and done again
	check(f.Replace(name, []byte("two")))
	if got, _ := f.Read(second); string(got) != "one" {
		t.Errorf("second = %q", got)
	}
	third := filepath.Join(dir, "witness")
	check(os.Link(second, third))
	check(f.Retain(name, second))
	if got, _ := f.Read(third); !bytes.Equal(got, make([]byte, 3)) {
		t.Errorf("a retained copy was replaced without being overwritten: %q", got)
	}
	if got, _ := f.Read(name); string(got) != "two" {
		t.Errorf("name = %q", got)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v", info.Mode(), err)
	}
	if dirs, err := f.Dirs(filepath.Dir(dir)); err != nil || len(dirs) != 1 || dirs[0] != "account" {
		t.Errorf("Dirs = %v, %v", dirs, err)
	}
	check(f.RemoveDir(dir))
	check(f.RemoveDir(dir))
}
