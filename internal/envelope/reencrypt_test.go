package envelope

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/sealfs"
)

func (w *world) flush(id string) {
	w.t.Helper()
	db, release, err := w.k.Acquire(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	defer release()
	if err := db.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

// load writes n values of a KiB, in several tables.
func (w *world) load(id string, n int) {
	for i := range n {
		w.put(id, fmt.Sprintf("key%04d", i), string(valueOf(i)))
		if i%(n/4+1) == n/4 {
			w.flush(id)
		}
	}
}

func valueOf(i int) []byte {
	sum := sha256.Sum256(fmt.Append(nil, i))
	var v []byte
	for range 16 {
		v = append(v, fmt.Sprintf("%x", sum)...)
	}
	return v
}

func (w *world) wantLoad(id string, n int) {
	w.t.Helper()
	for i := range n {
		w.want(id, fmt.Sprintf("key%04d", i), string(valueOf(i)))
	}
}

// keysOfFiles counts the account's sealed files by the data key in their headers.
func (w *world) keysOfFiles(id string) map[sealfs.KeyID]int {
	w.t.Helper()
	dir := "accounts/" + id + "/data"
	names, err := w.fs.List(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[sealfs.KeyID]int{}
	for _, n := range names {
		i, err := sealfs.DescribeClear(w.fs, dir+"/"+n)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, sealfs.ErrNoHeader) {
			continue
		}
		if err != nil {
			w.t.Fatalf("%s: %v", n, err)
		}
		if i.Class != sealfs.Plain {
			out[i.KeyID]++
		}
	}
	return out
}

// wantOneKey checks that nothing on the disk is under a retired key, or names one.
func (w *world) wantOneKey(id string) {
	w.t.Helper()
	ring := w.keyring(id)
	keys := w.keysOfFiles(id)
	if len(ring.dataKeys) != 1 || len(keys) != 1 || keys[ring.currentID()] == 0 {
		w.t.Fatalf("%d data keys; files by key %v, current %s", len(ring.dataKeys), keys, ring.currentID())
	}
	if s, _ := w.k.Status(id); s.Reencryption.Active || s.Reencryption.Percent() != 100 || s.DataKeys != 1 {
		w.t.Fatalf("status %+v", s)
	}
	if p := w.files.files["accounts/"+id+"/keyring.previous"]; p != nil {
		if old, err := decodeKeyring(*p); err != nil || !ring.succeeds(old) {
			w.t.Fatal("an older keyring with more keys is still there")
		}
	}
}

// TestReencryption: data that was written under the platform's key, and data under a retired data key,
// ends under keys that never were under the old ones, whatever state its files were in.
func TestReencryption(t *testing.T) {
	const n = 60
	for _, row := range []struct {
		name string
		from Protection
		do   func(w *world) error
	}{
		{"a customer's key is switched on", Protection{}, func(w *world) error { return w.k.Protect(context.Background(), "a", protectedA) }},
		{"new data key", protectedA, func(w *world) error {
			return w.k.RotateKeys(context.Background(), "a", Rotation{DataKeys: true})
		}},
		{"new keys under the platform's key", Protection{}, func(w *world) error {
			return w.k.RotateKeys(context.Background(), "a", Rotation{DataKeys: true, AccountKey: true})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", row.from)
				w.load("a", n)
				before := w.keyring("a")
				w.audit.events = nil
				if err := row.do(w); err != nil {
					t.Fatal(err)
				}
				w.put("a", "meanwhile", "v")
				time.Sleep(time.Minute)
				synctest.Wait()
				w.wantOneKey("a")
				if w.keyring("a").currentID() == before.currentID() {
					t.Error("the data key is the old one")
				}
				w.wantLoad("a", n)
				w.want("a", "meanwhile", "v")
				if got := w.audit.operations(); got != "AccountKeyRotated AccountReencryptionStarted AccountKeyRotated AccountReencryptionFinished" {
					t.Errorf("audit = %q", got)
				}
				w.restart()
				w.wantLoad("a", n)
			})
		})
	}
}

// TestReencryptionIsBounded: a slow re-encryption serves reads and writes all the while, ends at once
// when the key is denied, and goes on when it is back, also after a restart.
func TestReencryptionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 60
		w := newWorld(t)
		w.rate = 1 << 8 // more than a minute for the load
		w.restart()
		w.create("a", Protection{})
		w.load("a", n)
		if err := w.k.Protect(context.Background(), "a", protectedA); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		s, _ := w.k.Status("a")
		if p := s.Reencryption; !p.Active || p.Percent() <= 0 || p.Percent() >= 100 || s.State != StateOpen {
			t.Fatalf("after 20 s: %+v", s)
		}
		w.put("a", "meanwhile", "v")
		w.kek.fail(refusal)
		w.hint()
		w.wantState("a", StateRevoked)
		w.kek.fail(nil)
		w.hint()
		w.want("a", "meanwhile", "v")
		w.restart()
		w.wantLoad("a", n)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantOneKey("a")
		w.wantLoad("a", n)
	})
}

// TestReencryptionOvertaken: keys that are renewed while older ones are being replaced end the work for
// the older ones.
func TestReencryptionOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.rate = 1 << 10
		w.restart()
		w.create("a", Protection{})
		w.load("a", 40)
		must(t, w.k.RotateKeys(t.Context(), "a", Rotation{DataKeys: true}))
		time.Sleep(2 * time.Second)
		must(t, w.k.RotateKeys(t.Context(), "a", Rotation{DataKeys: true}))
		time.Sleep(2 * time.Second)
		must(t, w.k.Protect(t.Context(), "a", protectedA))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantOneKey("a")
		w.wantLoad("a", 40)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReencryptionWaitsForHolders: a request that holds the store postpones the last step; nobody is
// refused.
func TestReencryptionWaitsForHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", Protection{})
		w.load("a", 8)
		_, release, err := w.k.Acquire(context.Background(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.k.Protect(context.Background(), "a", protectedA); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s, _ := w.k.Status("a"); !s.Reencryption.Active || s.DataKeys != 2 || s.Reencryption.Failure != "" {
			t.Fatalf("while the store is held: %+v", s)
		}
		w.wantLoad("a", 8)
		release()
		time.Sleep(maxRetry)
		synctest.Wait()
		w.wantOneKey("a")
	})
}

// TestReencryptionUnderLoad lets writers and readers work while data keys are renewed again and again.
func TestReencryptionUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.create("a", protectedA)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	acked := make([]int, 4)
	for i := range acked {
		wg.Go(func() {
			for ctx.Err() == nil {
				db, release, err := w.k.Acquire(ctx, "a")
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("a request was refused: %v", err)
					}
					return
				}
				key := fmt.Appendf(nil, "%d/%d", i, acked[i])
				if err := db.Set(key, valueOf(acked[i])); err != nil {
					t.Errorf("Set: %v", err)
				}
				release()
				acked[i]++
			}
		})
	}
	for range 8 {
		if err := w.k.RotateKeys(ctx, "a", Rotation{DataKeys: true, AccountKey: true}); err != nil {
			t.Error(err)
		}
		for s, _ := w.k.Status("a"); s.DataKeys > 1; s, _ = w.k.Status("a") {
			if t.Failed() {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	wg.Wait()
	for i, n := range acked {
		for j := range n {
			w.want("a", fmt.Sprintf("%d/%d", i, j), string(valueOf(j)))
		}
	}
	w.wantOneKey("a")
}

// TestReencryptionCrashes takes the power away at each sync of a re-encryption, with none, half and all
// of what was not synced on the disk, and starts again on what is left: everything is there, and the
// work is brought to its end.
func TestReencryptionCrashes(t *testing.T) {
	const n = 24
	step := 5
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		step = 1
	}
	for _, percent := range []int{0, 50, 100} {
		for at, more := 1, true; more; at += step {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", Protection{})
				w.load("a", n)
				seed := uint64(at*1000 + percent)
				after := w.crashAt(at, percent, seed)
				if err := w.k.Protect(context.Background(), "a", protectedA); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if more = after.fs != nil; !more {
					return
				}
				again := &world{t: t, kek: w.kek, files: after.files, fs: after.fs, audit: &auditLog{}, anchors: after.anchors, root: w.root}
				again.start()
				defer again.stop()
				again.wantLoad("a", n)
				again.hint()
				time.Sleep(2 * maxRetry)
				synctest.Wait()
				if s, _ := again.k.Status("a"); s.Protection == protectedA {
					again.wantOneKey("a")
				}
				again.wantLoad("a", n)
				if t.Failed() {
					t.Logf("sync %d, %d %% of the rest, seed %d", at, percent, seed)
				}
			})
		}
	}
}

// crash is what a power failure leaves.
type crash struct {
	fs      *vfs.MemFS
	files   *memFiles
	anchors *memAnchors
}

// crashAt copies the disk at the nth sync from now on.
func (w *world) crashAt(n, percent int, seed uint64) *crash {
	c := new(crash)
	var mu sync.Mutex
	hook := func() {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			c.fs = w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})
			c.files = w.files.clone()
			c.anchors = newMemAnchors(c.files)
			w.anchors.mu.Lock()
			defer w.anchors.mu.Unlock()
			c.anchors.all = maps.Clone(w.anchors.all)
		}
	}
	w.onSync.Store(&hook)
	return c
}

func (m *memFiles) clone() *memFiles {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemFiles()
	out.dirs = maps.Clone(m.dirs)
	for n, c := range m.files {
		b := append([]byte(nil), *c...)
		out.files[n] = &b
	}
	return out
}

// syncs calls f before each sync.
func syncs(f func()) errorfs.Injector {
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			f()
		}
		return nil
	})
}

// TestKeyRotationTouchesNoData: a new version of the customer's key, and a new account key, change the
// keyring and nothing else.
func TestKeyRotationTouchesNoData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.load("a", 8)
		synctest.Wait()
		before, ring := w.dataFiles("a"), w.keyring("a")
		w.kek.addVersion(uriA, version2)
		w.hint()
		if err := w.rotate(Rotation{AccountKey: true}); err != nil {
			t.Fatal(err)
		}
		if after := w.dataFiles("a"); !maps.Equal(before, after) {
			t.Error("data files changed")
		}
		now := w.keyring("a")
		if now.keyVersion() != version2 || now.check == ring.check || now.currentID() != ring.currentID() {
			t.Errorf("keyring %+v", now)
		}
		w.restart()
		w.wantLoad("a", 8)
	})
}

// TestRotateKeysNeedsTheKey: whoever lost the customer's key cannot renew what is below it.
func TestRotateKeysNeedsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		before := w.fingerprint("a")
		w.kek.fail(refusal)
		w.hint()
		err := w.k.RotateKeys(context.Background(), "a", Rotation{AccountKey: true, DataKeys: true})
		if fault.KindOf(err) != fault.KeyDenied || w.fingerprint("a") != before {
			t.Errorf("RotateKeys = %v", err)
		}
		w.kek.fail(nil)
		w.kek.fail(refusal, " wrap ")
		w.kek.fail(refusal, "wrap")
		if err := w.k.RotateKeys(context.Background(), "a", Rotation{AccountKey: true}); err == nil {
			t.Error("rotated although the vault does not wrap")
		}
		if w.fingerprint("a") != before {
			t.Error("the keyring changed")
		}
	})
}
