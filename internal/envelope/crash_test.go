package envelope

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrashes kills the disk at every change of a keyring that create, rotate, protect and delete make,
// before and after the change took place, and starts again: what is there opens with its data, or,
// for an account that was being made or destroyed, Delete removes it.
func TestCrashes(t *testing.T) {
	b := Protection{KeyURI: uriB, Identity: "id1"}
	ctx := context.Background()
	rows := []struct {
		name   string
		from   *Protection // nil: the account does not exist before
		do     func(w *world) error
		exists bool // the account must exist afterwards
	}{
		{"create", nil, func(w *world) error { return w.k.Create(ctx, "a", protectedA) }, false},
		{"rotate", &protectedA, func(w *world) error { w.kek.addVersion(uriA, version2); w.hint(); return nil }, true},
		{"protect", &protectedA, func(w *world) error { return w.k.Protect(ctx, "a", b) }, true},
		{"leave the platform's key", &Protection{}, func(w *world) error { return w.k.Protect(ctx, "a", b) }, true},
		{"another identity", &protectedA, func(w *world) error { return w.k.Protect(ctx, "a", Protection{KeyURI: uriA, Identity: "id2"}) }, true},
		{"new account key", &protectedA, func(w *world) error { return w.rotate(Rotation{AccountKey: true}) }, true},
		{"new data key", &protectedA, func(w *world) error { return w.rotate(Rotation{DataKeys: true}) }, true},
		{"new keys", &Protection{}, func(w *world) error { return w.rotate(Rotation{AccountKey: true, DataKeys: true}) }, true},
		{"delete", &protectedA, func(w *world) error { return w.k.Delete(ctx, "a") }, false},
	}
	for _, row := range rows {
		for n, more := 1, true; more; n++ {
			more = false
			for _, after := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					if row.from != nil {
						w.create("a", *row.from)
						w.put("a", "k", "v")
					}
					w.files.dieAt(n, after)
					_ = row.do(w)
					synctest.Wait() // the re-encryption has its changes too
					died := w.files.dead
					more = more || died
					w.files.revive()
					w.restart()
					w.survives(row.name, n, after, row.exists, died)
				})
			}
		}
	}
}

// rotate renews keys and waits for what follows.
func (w *world) rotate(r Rotation) error {
	err := w.k.RotateKeys(context.Background(), "a", r)
	synctest.Wait()
	return err
}

// TestDiskFailsOnce: one change of a keyring fails and the disk lives on. The operation says whether it
// took effect, the account serves all the while, and a restart finds the same.
func TestDiskFailsOnce(t *testing.T) {
	b := Protection{KeyURI: uriB, Identity: "id1"}
	for _, from := range []Protection{protectedA, {}} {
		for n := 1; n < 16; n++ {
			for _, after := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.create("a", from)
					w.put("a", "k", "v")
					w.files.once = true
					w.files.dieAt(n, after)
					want := from
					if w.k.Protect(context.Background(), "a", b) == nil {
						want = b
					}
					w.files.revive()
					for range 2 {
						if s, _ := w.k.Status("a"); s.Protection != want {
							t.Fatalf("change %d, after=%v: protection = %+v, want %+v", n, after, s.Protection, want)
						}
						w.want("a", "k", "v")
						w.put("a", "k2", "v2")
						w.restart()
					}
				})
			}
		}
	}
}

// survives checks the account after a crash.
func (w *world) survives(name string, n int, after, exists, died bool) {
	w.t.Helper()
	where := fmt.Sprintf("%s, change %d, after=%v", name, n, after)
	if !exists {
		if err := w.k.Delete(context.Background(), "a"); err != nil {
			w.t.Fatalf("%s: Delete = %v", where, err)
		}
		if len(w.files.files) != 0 {
			w.t.Fatalf("%s: files left", where)
		}
		w.create("a", protectedA)
		return
	}
	db, release, err := w.k.Acquire(context.Background(), "a")
	if err != nil {
		w.t.Fatalf("%s (died %v): Acquire = %v", where, died, err)
	}
	v, err := db.Get([]byte("k"))
	release()
	if err != nil || string(v) != "v" {
		w.t.Fatalf("%s: Get = %q, %v", where, v, err)
	}
	time.Sleep(2 * maxRetry) // whatever is left of a re-encryption ends
	synctest.Wait()
	if previous := w.files.files["accounts/a/keyring.previous"]; previous != nil {
		if old, err := decodeKeyring(*previous); err != nil || !w.keyring("a").succeeds(old) {
			w.t.Errorf("%s: a keyring with keys that are gone is still there (%v)", where, err)
		}
	}
	if s, _ := w.k.Status("a"); s.DataKeys != 1 || s.Reencryption.Active {
		w.t.Errorf("%s: %d data keys, %+v", where, s.DataKeys, s.Reencryption)
	}
}

// TestAcknowledgedWritesSurvive lets the key come and go, rotates and changes it, while writers write;
// what was acknowledged is there in the end.
func TestAcknowledgedWritesSurvive(t *testing.T) {
	w := newWorld(t)
	w.create("a", Protection{})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	acked := make([]int, 4)
	for i := range acked {
		wg.Go(func() {
			for ctx.Err() == nil {
				if w.tryPut(ctx, fmt.Sprintf("%d/%d", i, acked[i])) {
					acked[i]++
				}
			}
		})
	}
	for round := range 20 {
		w.kek.fail(nil)
		w.chaos(round)
		w.kek.fail(refusal)
		if s, err := w.k.Check(ctx, "a"); err != nil || s.State == StateOpen || s.State == StateGrace {
			t.Errorf("round %d: %s while the key is refused (%v)", round, s.State, err)
		}
	}
	stop()
	wg.Wait()
	w.kek.fail(nil)
	for w.state("a") != StateOpen {
		if _, err := w.k.Check(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range acked {
		if n == 0 {
			t.Errorf("writer %d never got through", i)
		}
		for j := range n {
			w.want("a", fmt.Sprintf("%d/%d", i, j), "v")
		}
	}
}

// chaos moves the account to another key or to another version.
func (w *world) chaos(round int) {
	to := []Protection{protectedA, {KeyURI: uriB, Identity: "id1"}}[round%2]
	w.kek.addVersion(to.KeyURI, fmt.Sprintf("%032x", round+16))
	if err := w.k.Protect(context.Background(), "a", to); err != nil {
		w.t.Errorf("round %d: Protect = %v", round, err)
	}
	w.kek.addVersion(to.KeyURI, fmt.Sprintf("%032x", round+256))
	if _, err := w.k.Check(context.Background(), "a"); err != nil {
		w.t.Errorf("round %d: Check = %v", round, err)
	}
}

func (w *world) tryPut(ctx context.Context, key string) bool {
	db, release, err := w.k.Acquire(ctx, "a")
	if err != nil {
		return false
	}
	defer release()
	return db.Set([]byte(key), []byte("v")) == nil
}
