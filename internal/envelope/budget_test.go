package envelope

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// opened counts the accounts whose store is open.
func (w *world) opened() (n int) {
	for _, a := range w.k.all() {
		a.mu.Lock()
		if a.db != nil {
			n++
		}
		a.mu.Unlock()
	}
	return n
}

// TestMaxOpen: more accounts than places are used at random by many; nobody is refused, no more are
// open than there are places, and nothing is lost.
func TestMaxOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, accounts, workers, rounds = 4, 20, 8, 30
		w := newWorld(t)
		w.maxOpen = places
		w.restart()
		for i := range accounts {
			p := Protection{}
			if i%2 == 0 {
				p = protectedA
			}
			w.create(fmt.Sprint("a", i), p)
		}
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(worker)))
				for round := range rounds {
					id, key := fmt.Sprint("a", rng.IntN(accounts)), fmt.Sprintf("%d/%d", worker, round)
					w.put(id, key, "v")
					w.want(id, key, "v")
					if n := w.opened(); n > places {
						t.Errorf("%d accounts are open", n)
					}
				}
			})
		}
		wg.Wait()
		if n := w.opened(); n != places {
			t.Errorf("%d accounts are open in the end", n)
		}
		for i := range accounts {
			if s, _ := w.k.Status(fmt.Sprint("a", i)); s.State != StateOpen && s.State != StateSealed {
				t.Errorf("account %d is %s", i, s.State)
			}
		}
	})
}

// TestAllPlacesHeld: an account waits for a place as long as its request may, and gets the first free one.
func TestAllPlacesHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.maxOpen = 1
		w.restart()
		w.create("a", protectedA)
		w.put("a", "k", "v")
		if err := w.k.loops.Go("second", func(context.Context) { w.create("b", Protection{}) }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantState("a", StateSealed) // its place was taken
		_, release, err := w.k.Acquire(context.Background(), "b")
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := w.k.Acquire(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire without a place: %v", err)
		}
		go func() {
			time.Sleep(5 * time.Second)
			release()
		}()
		w.want("a", "k", "v")
	})
}

// TestIdleClose: an account that nobody uses is closed and its keys are wiped; it opens again by itself.
func TestIdleClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idleClose = 10 * time.Minute
		w.restart()
		w.create("a", protectedA)
		w.create("b", protectedA)
		w.put("a", "k", "v")
		keys := w.k.accounts["a"].keys
		for range 12 {
			time.Sleep(time.Minute)
			w.put("b", "k", "v")
		}
		w.wantState("a", StateSealed)
		w.wantState("b", StateOpen)
		if _, err := keys.key([16]byte{}); !errors.Is(err, errWiped) {
			t.Errorf("the keys are not wiped: %v", err)
		}
		w.want("a", "k", "v")
	})
}

// TestGraceKeepsItsPlace: an account whose vault is silent is closed for its place only when there is
// no other: it could not be opened again.
func TestGraceKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.maxOpen = 2
		w.restart()
		w.create("a", protectedA)
		w.create("b", Protection{})
		w.kek.fail(outage)
		w.hint()
		w.wantState("a", StateGrace)
		time.Sleep(time.Second)
		w.put("b", "k", "v")
		w.create("c", Protection{})
		w.wantState("a", StateGrace)
		w.wantState("b", StateSealed)
	})
}

// TestOperatorLock: a locked account serves nobody, whatever its key says, until it is unlocked.
func TestOperatorLock(t *testing.T) {
	for _, p := range []Protection{protectedA, {}} {
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			w := newWorld(t)
			w.create("a", p)
			w.put("a", "k", "v")
			w.audit.events = nil
			refused := func() {
				t.Helper()
				if _, _, err := w.k.Acquire(ctx, "a"); !fault.Is(err, "AccountLocked") || fault.KindOf(err) != fault.Denied {
					t.Fatalf("Acquire = %v", err)
				}
			}
			if err := w.k.Unlock(ctx, "a"); !fault.Is(err, "AccountNotLocked") {
				t.Errorf("Unlock = %v", err)
			}
			keys := w.k.accounts["a"].keys
			if err := w.k.Lock(ctx, "a"); err != nil {
				t.Fatal(err)
			}
			w.wantState("a", StateLocked)
			refused()
			if _, err := keys.key([16]byte{}); !errors.Is(err, errWiped) {
				t.Errorf("the keys are not wiped: %v", err)
			}
			w.hint()
			time.Sleep(time.Hour)
			refused()
			if err := w.k.Protect(ctx, "a", Protection{KeyURI: uriB, Identity: "id1"}); !fault.Is(err, "AccountLocked") {
				t.Errorf("Protect = %v", err)
			}
			w.restart()
			w.wantState("a", StateLocked)
			refused()
			if s, _ := w.k.Status("a"); !s.Locked {
				t.Error("the status does not tell")
			}
			if err := w.k.Unlock(ctx, "a"); err != nil {
				t.Fatal(err)
			}
			w.want("a", "k", "v")
			if got := w.audit.operations(); got != "AccountLocked AccountUnlocked AccountOpened" {
				t.Errorf("audit = %q", got)
			}
			if err := errors.Join(w.k.Lock(ctx, "a"), w.k.Delete(ctx, "a")); err != nil {
				t.Errorf("Delete of a locked account: %v", err)
			}
		})
	}
}

// TestRetry: an account whose disk failed is opened again in the same process.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		w.create("a", protectedA)
		w.put("a", "k", "v")
		if err := w.k.Retry(ctx, "a"); !fault.Is(err, "NotQuarantined") {
			t.Errorf("Retry = %v", err)
		}
		<-w.k.accounts["a"].drain(StateQuarantined, nil, errDisk)
		if _, _, err := w.k.Acquire(ctx, "a"); !fault.Is(err, reasonQuarantined) {
			t.Fatalf("Acquire = %v", err)
		}
		if err := w.k.Retry(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		w.want("a", "k", "v")
	})
}
