package envelope

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// refusedWith checks that Acquire is refused with the substatus.
func (w *world) refusedWith(id string, substatus int) {
	w.t.Helper()
	_, release, err := w.k.Acquire(context.Background(), id)
	if err == nil {
		release()
	}
	f := fault.As(err)
	if f == nil || f.Kind != fault.KeyDenied || f.Reason != strconv.Itoa(substatus) || f.Message != revokedText(substatus) {
		w.t.Fatalf("Acquire = %v, want a denial with %d", err, substatus)
	}
}

func (w *world) hint() {
	w.k.Hint(func(p Protection) bool { return p.KeyURI == uriA })
	synctest.Wait()
}

// TestTransitions walks through the table of the package comment: each row starts with account "a"
// open under a customer's key, on a clock that stands still but for explicit sleeps.
func TestTransitions(t *testing.T) {
	rows := []struct {
		name string
		walk func(w *world)
		want State
		log  string // what the audit log got after the creation
	}{
		{"open, confirmed", func(w *world) { w.hint() }, StateOpen, ""},
		{"open, denied", func(w *world) { w.kek.fail(refusal); w.hint() }, StateRevoked, "AccountRevoked"},
		{"open, denied by time", func(w *world) { w.kek.fail(refusal); time.Sleep(61 * time.Second) }, StateRevoked, "AccountRevoked"},
		{"open, only get denied", func(w *world) { w.kek.fail(refusal, "describe"); w.hint() }, StateRevoked, "AccountRevoked"},
		{"open, only wrap denied", func(w *world) { w.kek.fail(refusal, " wrap "); w.kek.fail(refusal, "wrap"); w.hint() }, StateRevoked, "AccountRevoked"},
		{"open, only unwrap denied", func(w *world) { w.kek.fail(refusal, "unwrap"); w.hint() }, StateRevoked, "AccountRevoked"},
		{"open, wrong plaintext", func(w *world) { w.kek.wrong = true; w.hint(); w.refusedWith("a", 4005) }, StateRevoked, "AccountRevoked"},
		{"open, unanswered", func(w *world) { w.kek.fail(outage); w.hint() }, StateGrace, "GraceStarted"},
		{"open, hanging", func(w *world) {
			w.kek.hang = make(chan struct{})
			w.k.Hint(func(Protection) bool { return true })
			time.Sleep(16 * time.Second)
		}, StateGrace, "GraceStarted"},
		{"open, engine failed", func(w *world) { w.k.accounts["a"].drain(StateQuarantined, nil, errDisk); synctest.Wait() }, StateQuarantined, ""},
		{"grace, confirmed", func(w *world) { w.kek.fail(outage); w.hint(); w.kek.fail(nil); w.hint() }, StateOpen, "GraceStarted AccountRestored"},
		{"grace, denied", func(w *world) { w.kek.fail(outage); w.hint(); w.kek.fail(refusal); w.hint() }, StateRevoked, "GraceStarted AccountRevoked"},
		{"grace, still unanswered", func(w *world) { w.kek.fail(outage); w.hint(); time.Sleep(9 * time.Minute) }, StateGrace, "GraceStarted"},
		{"grace, deadline", func(w *world) {
			w.kek.fail(outage)
			w.hint()
			time.Sleep(10*time.Minute + time.Second)
			w.refusedWith("a", 4004)
		}, StateRevoked, "GraceStarted AccountRevoked"},
		{"grace, unknown host for a minute", func(w *world) {
			w.kek.fail(unknown)
			w.hint()
			w.wantState("a", StateGrace)
			time.Sleep(50 * time.Second)
			time.Sleep(70 * time.Second)
			w.refusedWith("a", 4009)
		}, StateRevoked, "GraceStarted AccountRevoked"},
		{"revoked, confirmed by hint", func(w *world) { w.kek.fail(refusal); w.hint(); w.kek.fail(nil); w.hint() }, StateOpen, "AccountRevoked AccountRestored"},
		{"revoked, confirmed by itself", func(w *world) { w.kek.fail(refusal); w.hint(); w.kek.fail(nil); time.Sleep(2 * time.Second) }, StateOpen, "AccountRevoked AccountRestored"},
		{"revoked, Acquire asks", func(w *world) {
			w.kek.fail(refusal)
			w.hint()
			time.Sleep(5 * time.Minute)
			w.kek.fail(nil)
			time.Sleep(minBackoff) // the last probe may have been a moment ago
			w.want("a", "k", "v")
		}, StateOpen, "AccountRevoked AccountRestored"},
		{"revoked, still denied", func(w *world) { w.kek.fail(refusal); w.hint(); time.Sleep(time.Hour) }, StateRevoked, "AccountRevoked"},
		{"revoked, now silent", func(w *world) {
			w.kek.fail(refusal)
			w.hint()
			w.kek.fail(outage)
			w.hint()
			w.refusedWith("a", 4002)
		}, StateRevoked, "AccountRevoked"},
		{"revoked, audit log down", func(w *world) {
			w.kek.fail(refusal)
			w.hint()
			w.audit.err = errDisk
			w.kek.fail(nil)
			w.hint()
			w.wantState("a", StateRevoked)
			w.audit.err = nil
			w.hint()
		}, StateOpen, "AccountRevoked AccountRestored"},
		{"sealed, Acquire", func(w *world) { w.restart(); w.wantState("a", StateSealed); w.want("a", "k", "v") }, StateOpen, "AccountOpened"},
		{"sealed, confirmed", func(w *world) { w.restart(); w.hint() }, StateSealed, ""},
		{"sealed, denied", func(w *world) { w.restart(); w.kek.fail(refusal); w.hint() }, StateRevoked, "AccountRevoked"},
		{"sealed, unanswered", func(w *world) { w.restart(); w.kek.fail(outage); w.hint() }, StateSealed, ""},
		{"opening, denied", func(w *world) { w.restart(); w.kek.fail(refusal); w.refusedWith("a", 4002) }, StateRevoked, "AccountRevoked"},
		{"opening, unanswered", func(w *world) { w.restart(); w.kek.fail(outage); w.refusedWith("a", 4004) }, StateRevoked, "AccountRevoked"},
		{"opening, wrong plaintext", func(w *world) { w.restart(); w.kek.wrong = true; w.refusedWith("a", 4005) }, StateRevoked, "AccountRevoked"},
		{"opening, while the vault hangs", func(w *world) {
			w.restart()
			w.kek.hang = make(chan struct{})
			go func() { _, _, _ = w.k.Acquire(context.Background(), "a") }()
			synctest.Wait()
		}, StateOpening, ""},
		{"opening, keyring damaged", func(w *world) {
			w.restart()
			(*w.files.files["accounts/a/keyring"])[300] ^= 1
			if _, _, err := w.k.Acquire(context.Background(), "a"); !fault.Is(err, "AccountFilesReplaced") {
				w.t.Fatalf("Acquire = %v", err)
			}
		}, StateQuarantined, ""},
		{"sealed, keyring damaged: nothing is wrapped for it", func(w *world) {
			w.restart()
			(*w.files.files["accounts/a/keyring"])[90] ^= 1
			before := w.kek.count("wrap") + w.kek.count("describe")
			w.k.Hint(func(Protection) bool { return true })
			synctest.Wait()
			if got := w.kek.count("wrap") + w.kek.count("describe"); got != before {
				w.t.Errorf("%d calls for an unauthenticated keyring", got-before)
			}
		}, StateQuarantined, ""},
		{"start, keyring unreadable", func(w *world) {
			w.stop()
			(*w.files.files["accounts/a/keyring"])[0] ^= 1
			w.start()
		}, StateQuarantined, ""},
		{"quarantined, hint", func(w *world) {
			w.k.accounts["a"].drain(StateQuarantined, nil, errDisk)
			synctest.Wait()
			w.hint()
		}, StateQuarantined, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", protectedA)
				w.put("a", "k", "v")
				w.audit.events = nil
				row.walk(w)
				synctest.Wait()
				w.wantState("a", row.want)
				if got := w.audit.operations(); got != row.log {
					t.Errorf("audit = %q, want %q", got, row.log)
				}
			})
		})
	}
}

// TestDraining: a holder keeps the store, nobody else gets it, and the keys go when the holder goes.
func TestDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		db, release, err := w.k.Acquire(context.Background(), "a")
		if err != nil {
			t.Fatal(err)
		}
		w.kek.fail(refusal)
		w.hint()
		w.wantState("a", StateDraining)
		w.refusedWith("a", 4002)
		time.Sleep(time.Minute)
		w.wantState("a", StateDraining)
		if err := db.Set([]byte("late"), []byte("write")); err != nil {
			t.Errorf("the holder lost its store: %v", err)
		}
		release()
		release() // twice is harmless
		synctest.Wait()
		w.wantState("a", StateRevoked)
		if len(w.locked) != 1 || w.locked[0] != "a" {
			t.Errorf("OnLock calls = %v", w.locked)
		}
		w.kek.fail(nil)
		w.hint()
		w.want("a", "late", "write")
	})
}

// TestKeysAreWiped looks at the buffers that held the keys.
func TestKeysAreWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		keys := w.k.accounts["a"].keys
		buffers := [][]byte{keys.ak.Reveal()}
		for _, k := range keys.dataKeys {
			buffers = append(buffers, k.Reveal())
		}
		w.kek.fail(refusal)
		w.hint()
		for i, b := range buffers {
			for _, c := range b {
				if c != 0 {
					t.Fatalf("buffer %d is not wiped", i)
				}
			}
		}
		if _, err := keys.key([16]byte{}); err == nil {
			t.Error("a wiped set still answers")
		}
	})
}

// TestHintDuringProbe: a hint that comes while a probe runs causes one more, not two.
func TestHintDuringProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		before := w.kek.count("unwrap")
		hang := make(chan struct{})
		w.kek.hang = hang
		for range 5 {
			w.hint()
		}
		w.kek.mu.Lock()
		w.kek.hang = nil
		w.kek.mu.Unlock()
		close(hang)
		synctest.Wait()
		if got := w.kek.count("unwrap") - before; got != 2 {
			t.Errorf("%d probes, want 2", got)
		}
	})
}

// TestSingleFlight: many first requests cost one unwrap.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.restart()
		before := w.kek.count("unwrap")
		for range 50 {
			go func() {
				if _, release, err := w.k.Acquire(context.Background(), "a"); err == nil {
					release()
				} else {
					t.Errorf("Acquire: %v", err)
				}
			}()
		}
		synctest.Wait()
		if got := w.kek.count("unwrap") - before; got > 2 {
			t.Errorf("%d unwraps", got)
		}
	})
}

// TestRevokedRefusalIsRateLimited: refused requests do not hammer the vault.
func TestRevokedRefusalIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.kek.fail(refusal)
		w.hint()
		before := w.kek.count("unwrap")
		for range 100 {
			w.refusedWith("a", 4002)
		}
		if got := w.kek.count("unwrap") - before; got > 1 {
			t.Errorf("%d probes for 100 requests at one instant", got)
		}
	})
}

// TestFlapping: whatever the order of good and bad answers, the last one counts and no data is lost.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.put("a", "k", "v")
		for range 10 {
			w.kek.fail(refusal)
			w.hint()
			w.refusedWith("a", 4002)
			w.kek.fail(outage)
			w.hint()
			w.refusedWith("a", 4002)
			w.kek.fail(nil)
			w.hint()
			w.want("a", "k", "v")
		}
	})
}

// TestEverySubstatus: each cause is told in the same words on every path: to the data plane, in the
// account's status, in the log of key use and in the measurements.
func TestEverySubstatus(t *testing.T) {
	for substatus := range causes {
		for _, definite := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", protectedA)
				w.audit.events = nil
				w.kek.fail(&denial{substatus, definite})
				w.hint()
				time.Sleep(11 * time.Minute) // past the grace of those that are no answer
				w.refusedWith("a", substatus)
				s, _ := w.k.Status("a")
				if s.Substatus != substatus || StatusText(s) != revokedText(substatus) || s.Reason != causes[substatus].reason {
					t.Errorf("%d: status %+v", substatus, s)
				}
				last := w.audit.events[len(w.audit.events)-1]
				if last.Operation != opRevoked || last.Reason != strconv.Itoa(substatus) || last.Outcome != audit.Denied {
					t.Errorf("%d: audit %+v", substatus, last)
				}
				m := w.k.Stats()
				if m.Probes[substatus] == 0 || m.Locks != 1 || m.States[StateRevoked] != 1 {
					t.Errorf("%d: %+v", substatus, m)
				}
			})
		}
	}
}

func TestAccountsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.create("b", Protection{KeyURI: uriB, Identity: "id1"})
		w.create("c", Protection{})
		w.put("b", "k", "vb")
		w.put("c", "k", "vc")
		w.kek.script(func(_, uri, _ string) error {
			if len(uri) >= len(uriA) && uri[:len(uriA)] == uriA {
				return refusal
			}
			return nil
		})
		w.k.Hint(func(Protection) bool { return true })
		synctest.Wait()
		w.refusedWith("a", 4002)
		w.want("b", "k", "vb")
		w.want("c", "k", "vc")
	})
}

func TestStatusText(t *testing.T) {
	const url = "https://learn.microsoft.com/en-us/azure/cosmos-db/cmk-troubleshooting-guide"
	rows := []struct {
		status Status
		want   string
	}{
		{Status{State: StateOpen}, ""},
		{Status{State: StateOpen, Protection: protectedA}, "Access to the configured customer managed key confirmed."},
		{Status{State: StateGrace, Protection: protectedA, Substatus: 4004}, StatusHealthy},
		{Status{State: StateRevoked, Protection: protectedA, Substatus: 4016}, "Access to your account is currently revoked because the access rules are blocking outbound requests to the Azure Key Vault service; for more details about this error and how to restore access to your account please visit " + url + " (4016)."},
		{Status{State: StateDraining, Protection: protectedA, Substatus: 4003}, "Access to your account is currently revoked because the correspondent key is not found on the specified Key Vault; for more details about this error and how to restore access to your account please visit " + url + "#azure-key-vault-resource-not-found (4003)."},
		{Status{State: StateQuarantined, Protection: protectedA}, "Access to your account is currently revoked; for more details about this error and how to restore access to your account please visit " + url},
	}
	for _, row := range rows {
		if got := StatusText(row.status); got != row.want {
			t.Errorf("StatusText(%+v) =\n%s, want\n%s", row.status, got, row.want)
		}
	}
}
