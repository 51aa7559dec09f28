package envelope

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
)

// minBackoff is the shortest time between two probes of a revoked account that nobody asked for.
const minBackoff = time.Second

// unknownHostPatience is how long a host name must stay unknown before that counts as a "no": a
// resolver's hiccup looks the same as a deleted vault.
const unknownHostPatience = 60 * time.Second

// account is the state machine of one account.
//
// turn is a lock that holds the right to talk to the vault, to change the keyring and to open the
// store: the loop takes it for a probe, Protect and Delete for their whole work. mu guards the fields
// and is held for moments only. Transitions out of open and grace may also come from outside a turn
// (the engine fails, the keeper closes); so whoever waited must look at state again under mu.
type account struct {
	k    *Keeper
	id   string
	turn chan struct{} // capacity 1
	kick chan struct{} // capacity 1: the loop should probe
	gone chan struct{} // closed by Delete

	mu      sync.Mutex
	state   State
	since   time.Time
	ring    *keyring // as on disk; nil when unreadable
	print   [sha256.Size]byte
	keys    *keySet      // while open, grace, draining
	db      *store.Store // with keys
	holders int
	idle    chan struct{} // while draining: closed when holders reaches 0
	drained chan struct{} // while draining: closed when the keys are wiped
	cause   *failure      // of the last failed probe; nil after a good one
	damage  error         // why quarantined
	openErr error         // why the last opening failed for a cause that is not the key's
	closing bool          // Delete or Close began
	lastUse time.Time     // when the store was last handed out
	drainTo State         // while draining: the state after it

	lastCheck, lastSuccess, graceEnds, unknownHost time.Time

	fs       *sealfs.FS    // of db
	paused   chan struct{} // not nil while requests wait for the end of a re-encryption
	progress Progress      // of the re-encryption
	retry    retry         // of a re-encryption that failed
	mend     retry         // of an opening after the engine failed

	backoff  time.Duration
	pending  chan struct{} // closed when a probe ends that began after it was made
	wantOpen bool          // the pending probe should open a sealed account

	anchorMu sync.Mutex // held while the anchor is saved
	anchor   Anchor
}

func newAccount(k *Keeper, id string) *account {
	return &account{
		k: k, id: id, state: StateSealed, since: k.cfg.Now(), backoff: minBackoff,
		turn: make(chan struct{}, 1), kick: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

// enter changes the state; mu is held.
func (a *account) enter(s State) {
	if a.state != s {
		a.state, a.since = s, a.k.cfg.Now()
	}
	if s != StateGrace {
		a.graceEnds = time.Time{}
	}
	if s != StateRevoked && s != StateDraining {
		a.backoff = minBackoff
	}
}

// serving reports whether Acquire hands out the store; mu is held.
func (a *account) serving() bool { return a.state == StateOpen || a.state == StateGrace }

func (a *account) status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{
		State: a.state, Since: a.since, LastCheck: a.lastCheck, LastSuccess: a.lastSuccess, GraceEnds: a.graceEnds,
		Reencryption: a.progress,
	}
	if a.ring != nil {
		s.Protection, s.KeyVersion = a.ring.protection, a.ring.keyVersion()
		s.AccountKeyCreated, s.DataKeys, s.KeyringCounter = time.Unix(a.ring.created, 0), len(a.ring.dataKeys), a.ring.counter
	}
	s.Locked = a.anchored().Locked
	if s.State == StateDraining && a.drainTo == StateSealed {
		s.State = StateSealed // nobody is refused
	}
	if a.cause != nil {
		s.Substatus, s.Detail, s.Reason = a.cause.substatus, a.cause.detail, causes[a.cause.substatus].reason
	}
	if a.state == StateQuarantined {
		s.Reason, s.Detail = quarantineReason(a.damage)
	}
	return s
}

// acquire hands out the store, after waiting for an opening where one can help.
func (a *account) acquire(ctx context.Context) (*store.Store, func(), error) {
	for asked := false; ; asked = true {
		db, release, err, retry := a.tryAcquire(asked)
		if !retry {
			return db, release, err
		}
		if err := a.await(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// tryAcquire hands out the store or the refusal. retry asks the caller to wait for a probe and to try
// again: when the account is sealed or opening, and once when it is revoked and was not probed lately.
func (a *account) tryAcquire(asked bool) (db *store.Store, release func(), err error, retry bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closing:
		return nil, nil, errClosing(), false
	case a.serving():
		a.holders++
		a.lastUse = time.Now()
		return a.db, sync.OnceFunc(a.release), nil, false
	case a.state == StateQuarantined:
		return nil, nil, errQuarantined(a.damage), false
	case a.state == StateLocked || a.state == StateDraining && a.drainTo == StateLocked:
		return nil, nil, errLocked(), false
	case a.state == StateDraining && a.drainTo == StateSealed:
		return nil, nil, nil, true
	case a.state == StateRevoked && (asked || a.k.cfg.Now().Sub(a.lastCheck) < minBackoff), a.state == StateDraining:
		return nil, nil, a.refusal(), false
	case a.state == StateSealed && a.openErr != nil && (asked || a.k.cfg.Now().Before(a.mend.at)):
		return nil, nil, a.openErr, false
	default:
		return nil, nil, nil, true
	}
}

// refusal is the error of a revoked or draining account; mu is held.
func (a *account) refusal() error {
	if a.cause == nil {
		return errQuarantined(a.damage)
	}
	return a.cause.fault()
}

// await waits for the probe that acquire needs. For a revoked account only a moment: a vault that
// hangs must not make every refusal hang.
func (a *account) await(ctx context.Context) error {
	a.mu.Lock()
	revoked, paused := a.state == StateRevoked, a.paused
	if a.state == StateDraining {
		paused = a.drained
	}
	a.mu.Unlock()
	if paused != nil {
		return a.wait(ctx, paused)
	}
	done := a.ask(true)
	if !revoked {
		return a.wait(ctx, done)
	}
	short, cancel := context.WithTimeout(ctx, minBackoff)
	defer cancel()
	if err := a.wait(short, done); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

func (a *account) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holders--
	if a.holders == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
	if a.holders == 0 {
		a.k.budget.signal()
	}
}

// ask wants one more probe. The channel is closed when a probe has ended that began after the call.
func (a *account) ask(open bool) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wantOpen = a.wantOpen || open
	if a.pending == nil {
		a.pending = make(chan struct{})
	}
	select {
	case a.kick <- struct{}{}:
	default:
	}
	return a.pending
}

func (a *account) wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.gone:
		return errUnknown()
	case <-a.k.loops.Context().Done():
		return errStopping()
	}
}

// takeTurn waits for the right to change the account.
func (a *account) takeTurn(ctx context.Context) (giveBack func(), err error) {
	select {
	case a.turn <- struct{}{}:
		return func() { <-a.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// loop probes the account by time and by demand, one probe at a time.
func (a *account) loop(ctx context.Context) {
	timer := time.NewTimer(a.pause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.gone:
			return
		case <-a.kick:
		case <-timer.C:
		}
		a.round(ctx)
		timer.Reset(a.pause())
	}
}

// round is one probe with all who wait for it.
func (a *account) round(ctx context.Context) {
	giveBack, err := a.takeTurn(ctx)
	if err != nil {
		return
	}
	a.mu.Lock()
	done, open := a.pending, a.wantOpen
	a.pending, a.wantOpen = nil, false
	a.mu.Unlock()
	a.probe(ctx, open)
	giveBack()
	if done != nil {
		close(done)
	}
}

// pause is the time until the next probe that nobody asks for.
func (a *account) pause() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	interval := a.k.cfg.Interval
	interval -= jitter(interval / 10)
	switch a.state {
	case StateRevoked, StateDraining:
		d := min(a.backoff, interval)
		a.backoff = min(2*a.backoff, a.k.cfg.Interval)
		return d
	case StateQuarantined:
		if a.mend.at.IsZero() {
			return interval
		}
		return max(0, a.mend.at.Sub(a.k.cfg.Now()))
	case StateGrace:
		return max(0, min(interval, a.graceEnds.Sub(a.k.cfg.Now())))
	default:
		return interval
	}
}

// jitter returns a random duration in [0, bound).
func jitter(bound time.Duration) time.Duration {
	if bound <= 0 {
		return 0
	}
	var b [8]byte
	rand.Read(b[:])
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(bound))
}

// drain ends the account's serving. The returned channel is closed when the store is closed, the
// keys are wiped and the account is in the state then. An account that does not serve goes there at once.
func (a *account) drain(then State, why *failure, damage error) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if why != nil {
		a.cause = why
	}
	if damage != nil {
		a.damage = damage
	}
	return a.drainLocked(then)
}

// end is drain for an account that is deleted or whose keeper is closed: it never serves again.
func (a *account) end() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closing = true
	return a.drainLocked(StateSealed)
}

// drainLocked is drain; mu is held.
func (a *account) drainLocked(then State) <-chan struct{} {
	if a.state == StateDraining {
		if then != StateSealed {
			a.drainTo = then // the graver one counts
		}
		return a.drained
	}
	done := make(chan struct{})
	if !a.serving() {
		if then != StateSealed || a.state != StateQuarantined && a.state != StateLocked {
			a.enter(then)
		}
		close(done)
		return done
	}
	a.enter(StateDraining)
	a.drained, a.drainTo = done, then
	idle := make(chan struct{})
	if a.holders == 0 {
		close(idle)
	} else {
		a.idle = idle
	}
	_ = a.k.drains.Go("envelope drain", func(context.Context) { a.finish(idle, done) })
	return done
}

// finish waits for the holders without a limit (see the package comment) and locks the account.
func (a *account) finish(idle <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	overdue := time.NewTimer(a.k.cfg.Drain)
	defer overdue.Stop()
	select {
	case <-idle:
	case <-overdue.C:
		a.k.cfg.Log.Warn("requests still hold a locked account's store", "account", a.id)
		<-idle
	}
	a.mu.Lock()
	db, keys := a.db, a.keys
	a.db, a.keys, a.fs = nil, nil, nil
	a.mu.Unlock()
	a.closeStore(db)
	keys.wipe()
	a.mu.Lock()
	a.enter(a.drainTo)
	a.mu.Unlock()
	a.k.budget.give()
	if a.k.cfg.OnLock != nil {
		a.k.cfg.OnLock(a.id)
	}
}

// closeStore closes the store; after a clean close the anchor knows what was left.
func (a *account) closeStore(db *store.Store) {
	failed := db.Err()
	err := db.Close()
	if err == nil && failed == nil {
		err = a.rememberClose()
	}
	if err != nil {
		a.k.cfg.Log.Error("store of a locked account did not close cleanly", "account", a.id, "error", err)
	}
}

// poisoned is the engine's call when it stopped for good. Its files stay locked by this process, so
// only a restart can open them again.
func (a *account) poisoned(err error) {
	a.mu.Lock()
	dead := a.serving() && a.db.Err() != nil
	a.mu.Unlock()
	if dead {
		a.k.cfg.Log.Error("engine stopped; account quarantined", "account", a.id, "error", err)
		a.drain(StateQuarantined, nil, err)
		a.planMend(err)
	}
}

// planMend lets an account whose disk failed be opened again after a while: a disk that was full may
// have room again. Damage does not mend by itself.
func (a *account) planMend(err error) {
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, sealfs.ErrIntegrity) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mend.later(a.k.cfg.Now())
	select {
	case a.kick <- struct{}{}: // the loop must plan anew
	default:
	}
}

// tryMend ends the quarantine of an account whose time has come: the next request opens it.
func (a *account) tryMend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state == StateQuarantined && !a.mend.at.IsZero() && !a.k.cfg.Now().Before(a.mend.at) {
		a.mend.at, a.damage, a.cause = time.Time{}, nil, nil
		a.enter(StateSealed)
	}
}

// install makes an opened account serve, unless the keeper is closing or the engine failed meanwhile.
func (a *account) install(ring *keyring, keys *keySet, db *store.Store, sealed *sealfs.FS) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing || db.Err() != nil {
		return false
	}
	a.ring, a.keys, a.db, a.fs = ring, keys, db, sealed
	a.mend = retry{}
	a.enter(StateOpen)
	return true
}

// memory returns the keyring in force and a copy of the AK, nil when the account is locked.
func (a *account) memory() (*keyring, *secret.Bytes) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.serving() {
		return a.ring, nil
	}
	return a.ring, a.keys.accountKey()
}
