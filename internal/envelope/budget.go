package envelope

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// budget bounds how many accounts have their store open, and how many are being opened at once.
type budget struct {
	openings chan struct{} // one element for each opening under way

	mu    sync.Mutex
	free  int
	freed chan struct{} // closed, and made anew, when a place may have become free
}

func newBudget(open int) *budget {
	return &budget{free: open, freed: make(chan struct{}), openings: make(chan struct{}, 4*runtime.GOMAXPROCS(0))}
}

// take takes a place; when there is none it returns what to wait for.
func (b *budget) take() (wait <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free > 0 {
		b.free--
		return nil
	}
	return b.freed
}

// give gives a place back.
func (b *budget) give() {
	b.mu.Lock()
	b.free++
	b.mu.Unlock()
	b.signal()
}

// signal lets those who wait for a place look again.
func (b *budget) signal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.freed)
	b.freed = make(chan struct{})
}

// takePlace waits until the account may open its store. It closes the store of the account that was
// used least recently and that nobody holds; when all are held it waits for one.
func (a *account) takePlace(ctx context.Context) error {
	b := a.k.budget
	for {
		wait := b.take()
		if wait == nil {
			return nil
		}
		if idle := a.k.leastUsed(a); idle != nil {
			wait = idle.seal()
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leastUsed returns the open account, other than a, that nobody holds and that was used least
// recently. One in grace is taken only when there is no other: it could not be opened again.
func (k *Keeper) leastUsed(not *account) (least *account) {
	var used time.Time
	inGrace := false
	for _, a := range k.all() {
		a.mu.Lock()
		grace := a.state == StateGrace
		possible := a != not && a.serving() && a.holders == 0
		better := least == nil || inGrace && !grace || inGrace == grace && a.lastUse.Before(used)
		if possible && better {
			least, used, inGrace = a, a.lastUse, grace
		}
		a.mu.Unlock()
	}
	return least
}

// seal closes an account that nobody holds: the next request opens it again. The channel is closed
// when it is done, or when the account is in use after all.
func (a *account) seal() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.serving() || a.holders > 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	return a.drainLocked(StateSealed)
}

// closeIdle closes the accounts that were not used for a while.
func (k *Keeper) closeIdle(ctx context.Context) {
	if k.cfg.IdleClose <= 0 {
		return
	}
	ticker := time.NewTicker(max(k.cfg.IdleClose/8, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		limit := time.Now().Add(-k.cfg.IdleClose)
		for _, a := range k.all() {
			a.mu.Lock()
			idle := a.state == StateOpen && a.holders == 0 && a.lastUse.Before(limit)
			a.mu.Unlock()
			if idle {
				a.seal()
			}
		}
	}
}

// Lock closes the account and keeps it closed, also across restarts, until Unlock: nobody gets its
// store, its keys are wiped, and no probe opens it. It waits for the holders of the store, or for ctx.
func (k *Keeper) Lock(ctx context.Context, accountID string) error {
	a, giveBack, err := k.turnOf(ctx, accountID)
	if err != nil {
		return err
	}
	defer giveBack()
	if err := a.recordLock(ctx, opLocked); err != nil {
		return err
	}
	if err := a.remember(func(x *Anchor) { x.Locked = true }); err != nil {
		return err
	}
	select {
	case <-a.drain(StateLocked, nil, nil):
	case <-ctx.Done():
		return ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.serving() && a.state != StateDraining {
		a.enter(StateLocked)
	}
	return nil
}

// Unlock ends what Lock began: the account is sealed, and the next request opens it if its key allows.
func (k *Keeper) Unlock(ctx context.Context, accountID string) error {
	a, giveBack, err := k.turnOf(ctx, accountID)
	if err != nil {
		return err
	}
	defer giveBack()
	if !a.anchored().Locked {
		return fault.New(fault.Conflict, "AccountNotLocked", "The account is not locked.")
	}
	if err := a.recordLock(ctx, opUnlocked); err != nil {
		return err
	}
	if err := a.remember(func(x *Anchor) { x.Locked = false }); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.damage != nil {
		a.enter(StateQuarantined)
	} else if a.state == StateLocked {
		a.enter(StateSealed)
	}
	return nil
}

func (a *account) recordLock(ctx context.Context, operation string) error {
	a.mu.Lock()
	ring := a.ring
	a.mu.Unlock()
	return a.record(ctx, operation, audit.Allowed, ring, nil)
}

// Retry lets a quarantined account be opened again, after an operator has repaired what it suffered
// from. Files that are not the ones that were left need Accept instead.
func (k *Keeper) Retry(ctx context.Context, accountID string) error {
	a, giveBack, err := k.turnOf(ctx, accountID)
	if err != nil {
		return err
	}
	defer giveBack()
	if s := a.status(); s.State != StateQuarantined {
		return fault.New(fault.Conflict, "NotQuarantined", "The account is not quarantined.")
	}
	ring, raw, err := a.readTrusted()
	if err != nil {
		return errQuarantined(err)
	}
	a.adoptRing(ring, raw)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.damage, a.cause = nil, nil
	a.enter(StateSealed)
	return nil
}
