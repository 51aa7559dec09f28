package envelope

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"syscall"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// The operations that this package records.
const (
	opOpened     = "AccountOpened"
	opRevoked    = "AccountRevoked"
	opRestored   = "AccountRestored"
	opKeyRotated = "AccountKeyRotated"
	opGrace      = "GraceStarted"
	opAccepted   = "AccountAccepted"
	opBackup     = "AccountBackedUp"
	opShredded   = "AccountShredded"
	opLocked     = "AccountLocked"
	opUnlocked   = "AccountUnlocked"
	opReencrypt  = "AccountReencryptionStarted"
	opReencrypts = "AccountReencryptionFinished"
)

// probe is one exchange with the vault and its consequence. The turn is held.
func (a *account) probe(parent context.Context, open bool) {
	a.mu.Lock()
	state, ends := a.state, a.graceEnds
	a.mu.Unlock()
	timeout := a.k.cfg.ProbeTimeout
	if state == StateGrace {
		timeout = min(timeout, max(minBackoff, ends.Sub(a.k.cfg.Now())))
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	var err error
	switch state {
	case StateOpen, StateGrace:
		err = a.renew(ctx)
	case StateQuarantined:
		a.tryMend()
		return
	case StateSealed, StateRevoked:
		err = a.unsealInTurn(ctx, open || state == StateRevoked)
	default:
		return
	}
	if parent.Err() == nil { // otherwise the probe was cut short by our own end and says nothing
		a.conclude(parent, err)
	}
}

// renew asks whether a serving account may go on.
func (a *account) renew(ctx context.Context) error {
	ring, ak := a.memory()
	defer ak.Wipe()
	if ak == nil || !ring.protection.CustomerManaged() {
		return nil
	}
	plain, err := a.k.cfg.KEK.Unwrap(ctx, ring.keyID, ring.protection.Identity, ring.wrapped)
	defer clear(plain)
	if err != nil {
		return failed(err)
	}
	if !ak.Equal(plain) {
		return wrongPlaintext()
	}
	return a.prove(ctx, ring, ak)
}

// prove exercises the rights beyond unwrapKey, and follows the key to a newer version. Its error is a
// *failure: a re-wrap that our own disk or log refused is logged and tried again by the next probe.
func (a *account) prove(ctx context.Context, ring *keyring, ak *secret.Bytes) error {
	kek, p := a.k.cfg.KEK, ring.protection
	version, _, _, err := kek.Describe(ctx, p.KeyURI, p.Identity)
	if err != nil {
		return failed(err)
	}
	if version != ring.keyVersion() {
		return a.follow(ctx, ring, ak)
	}
	if _, _, err := kek.Wrap(ctx, p.KeyURI, p.Identity, secret.Random(keySize).Reveal()); err != nil {
		return failed(err)
	}
	return nil
}

func (a *account) follow(ctx context.Context, ring *keyring, ak *secret.Bytes) error {
	err := a.rewrap(ctx, ring, ak)
	var f *failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	a.k.cfg.Log.Error("account key was not re-wrapped under the key's newer version", "account", a.id, "error", err)
	return nil
}

// unsealInTurn is unseal; of all accounts only some open at the same time, so that a start does not
// fall upon the vault.
func (a *account) unsealInTurn(ctx context.Context, open bool) error {
	if open {
		select {
		case a.k.budget.openings <- struct{}{}:
			defer func() { <-a.k.budget.openings }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return a.unseal(ctx, open)
}

// unseal proves access to a locked account's key, and opens the account if open is set.
func (a *account) unseal(ctx context.Context, open bool) error {
	a.mu.Lock()
	a.openErr = nil
	if open && a.state == StateSealed {
		a.enter(StateOpening)
	}
	a.mu.Unlock()
	ring, raw, err := a.readTrusted()
	if err != nil {
		return err
	}
	ak, err := a.unwrap(ctx, ring, raw, ring.protection.Identity)
	if err != nil {
		return err
	}
	defer ak.Wipe()
	if ring.protection.CustomerManaged() {
		if err := a.prove(ctx, ring, ak); err != nil {
			return err
		}
	}
	if !open {
		return nil
	}
	return a.start(ctx, ak)
}

// start opens the store with the proven AK. It reads the keyring again, because prove may have
// replaced it.
func (a *account) start(ctx context.Context, ak *secret.Bytes) error {
	ring, raw, err := a.readTrusted()
	if err != nil {
		return err
	}
	if err := verifyKeyring(raw, ak.Reveal(), a.id); err != nil {
		return err
	}
	if err := a.settleKeyring(raw); err != nil {
		return err
	}
	restored := a.beginOpening()
	operation := opOpened
	if restored {
		operation = opRestored
	}
	if err := a.record(ctx, operation, audit.Allowed, ring, nil); err != nil {
		return err
	}
	keys, err := unlockKeys(ring, ak.Clone())
	if err != nil {
		return err
	}
	return a.serve(ctx, ring, keys)
}

// serve opens the store with its keys, which it owns from now on.
func (a *account) serve(ctx context.Context, ring *keyring, keys *keySet) error {
	if err := a.takePlace(ctx); err != nil {
		keys.wipe()
		return err
	}
	db, sealed, err := a.k.openStore(a, keys)
	if err != nil {
		a.k.budget.give()
		keys.wipe()
		if passing(err) {
			return err
		}
		return &damaged{err}
	}
	if !a.install(ring, keys, db, sealed) {
		err := errors.Join(db.Err(), db.Close())
		a.k.budget.give()
		keys.wipe()
		return &damaged{err}
	}
	if ring.hasRetired() {
		a.k.lookAround()
	}
	return nil
}

// beginOpening enters Opening and reports whether the account was revoked before.
func (a *account) beginOpening() (restored bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	restored = a.state == StateRevoked
	a.enter(StateOpening)
	return restored
}

// passing reports whether an error of the operating system, such as a full disk, kept the store from
// opening: another attempt may succeed. A file that is missing will stay missing.
func passing(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist)
}

// damaged wraps what the engine says when it cannot open a store whose keys are right.
type damaged struct{ err error }

// Error names the part that failed.
func (d *damaged) Error() string { return "envelope: store does not open: " + d.err.Error() }

// Unwrap returns the engine's error.
func (d *damaged) Unwrap() error { return d.err }

// conclude makes the transition that a probe's result asks for. Nil is a confirmation, a *failure is
// the vault's, anything else is ours.
func (a *account) conclude(ctx context.Context, err error) {
	var f *failure
	var d *damaged
	switch {
	case err == nil:
		a.k.counters.probed(0)
		a.confirmed(ctx)
	case errors.As(err, &f):
		a.k.counters.probed(f.substatus)
		a.refused(ctx, f)
	case errors.Is(err, errKeyring) || errors.Is(err, errReplaced) || errors.As(err, &d):
		a.k.cfg.Log.Error("account quarantined", "account", a.id, "error", err)
		a.drain(StateQuarantined, nil, err)
	default:
		a.k.cfg.Log.Error("account cannot be opened now", "account", a.id, "error", err)
		a.retreat(err)
	}
}

// retreat gives up an opening for a cause that is neither the key's nor the data's.
func (a *account) retreat(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != StateOpening {
		return
	}
	a.openErr = err
	a.mend.later(a.k.cfg.Now()) // an engine that failed leaves memory behind: not one for each request
	a.enter(StateSealed)
	if a.cause != nil { // it was revoked: stay with the poll
		a.enter(StateRevoked)
	}
}

func (a *account) confirmed(ctx context.Context) {
	a.mu.Lock()
	now := a.k.cfg.Now()
	a.lastCheck, a.lastSuccess, a.unknownHost = now, now, time.Time{}
	a.cause = nil
	recovered := a.state == StateGrace
	if recovered {
		a.enter(StateOpen)
	}
	ring := a.ring
	a.mu.Unlock()
	if ring.hasRetired() {
		a.k.lookAround()
	}
	if recovered {
		a.note(ctx, opRestored, audit.Succeeded, ring, nil)
	}
}

// refused is the consequence of a denial or of silence.
func (a *account) refused(ctx context.Context, f *failure) {
	a.mu.Lock()
	a.harden(f)
	now := a.k.cfg.Now()
	a.lastCheck = now
	state, ring := a.state, a.ring
	if a.cause == nil || f.definite || !a.cause.definite {
		a.cause = f
	}
	begins := state == StateOpen && !f.definite && a.k.cfg.Grace > 0
	if begins {
		a.enter(StateGrace)
		a.graceEnds = now.Add(a.k.cfg.Grace)
	}
	over := state == StateOpen && !begins || state == StateGrace && (f.definite || !now.Before(a.graceEnds))
	a.mu.Unlock()
	switch {
	case begins:
		a.note(ctx, opGrace, audit.Failed, ring, f)
	case over:
		a.lock(ctx, ring, f)
	case state == StateOpening || state == StateSealed && f.definite:
		a.drain(StateRevoked, f, nil)
		a.note(ctx, opRevoked, audit.Denied, ring, f)
	}
}

// harden turns a host name that stays unknown into a denial; mu is held.
func (a *account) harden(f *failure) {
	if f.substatus != hostUnknown {
		a.unknownHost = time.Time{}
		return
	}
	now := a.k.cfg.Now()
	if a.unknownHost.IsZero() {
		a.unknownHost = now
	}
	f.definite = f.definite || now.Sub(a.unknownHost) >= unknownHostPatience
}

// lock revokes a serving account. It returns when the account is locked, or when the drain time is
// over: what is left then waits in the background.
func (a *account) lock(ctx context.Context, ring *keyring, f *failure) {
	begin := time.Now()
	done := a.drain(StateRevoked, f, nil)
	_ = a.k.drains.Go("envelope lock time", func(context.Context) {
		<-done
		a.k.counters.locked(time.Since(begin))
	})
	a.note(ctx, opRevoked, audit.Denied, ring, f)
	bound := time.NewTimer(a.k.cfg.Drain)
	defer bound.Stop()
	select {
	case <-done:
	case <-bound.C:
	}
}

// read returns the account's keyring from disk: its content, not yet authenticated, and its bytes.
func (a *account) read() (*keyring, []byte, error) {
	raw, err := a.k.cfg.Files.Read(a.k.path(a.id, keyringName))
	if err != nil {
		return nil, nil, err
	}
	ring, err := decodeKeyring(raw)
	if err != nil {
		return nil, nil, err
	}
	if ring.account != a.id {
		return nil, nil, errKeyring
	}
	return ring, raw, nil
}

// readTrusted is read for who goes on to use the keyring: it must be the one that was left.
func (a *account) readTrusted() (*keyring, []byte, error) {
	ring, raw, err := a.read()
	if err == nil {
		err = a.checkKeyring(raw)
	}
	return ring, raw, err
}

// unwrap obtains the AK of a keyring and authenticates the keyring with it.
func (a *account) unwrap(ctx context.Context, ring *keyring, raw []byte, identity string) (*secret.Bytes, error) {
	plain, err := a.k.unwrapAccountKey(ctx, ring, identity)
	if err != nil {
		return nil, err
	}
	ak := secret.From(plain)
	if !ring.isAccountKey(plain) {
		ak.Wipe()
		return nil, wrongPlaintext()
	}
	if err := verifyKeyring(raw, plain, a.id); err != nil {
		ak.Wipe()
		return nil, err
	}
	return ak, nil
}

// unwrapAccountKey asks the key that ring names. Errors of a vault are *failure.
func (k *Keeper) unwrapAccountKey(ctx context.Context, ring *keyring, identity string) ([]byte, error) {
	if !ring.protection.CustomerManaged() {
		plain, _, err := k.openRootWrapped(ring)
		return plain, err
	}
	plain, err := k.cfg.KEK.Unwrap(ctx, ring.keyID, identity, ring.wrapped)
	if err != nil {
		return nil, failed(err)
	}
	return plain, nil
}

func wrongPlaintext() *failure {
	return &failure{
		substatus: unwrapFailed, definite: true, detail: "the unwrapped value is not the account's key",
		err: errors.New("envelope: unwrapped value fails its key check"),
	}
}

// Error makes a failure an error inside this package.
func (f *failure) Error() string {
	return "envelope: key cannot be used (" + strconv.Itoa(f.substatus) + "): " + f.detail
}

// Unwrap returns the KEK's error.
func (f *failure) Unwrap() error { return f.err }

// record writes an audit record about the account's key.
func (a *account) record(ctx context.Context, operation string, outcome audit.Outcome, ring *keyring, f *failure) error {
	return a.k.cfg.Audit.Record(ctx, a.event(operation, outcome, ring, f))
}

func (a *account) event(operation string, outcome audit.Outcome, ring *keyring, f *failure) audit.Event {
	e := audit.Event{Time: a.k.cfg.Now(), Operation: operation, Resource: a.id, Outcome: outcome, Caller: "platform"}
	if ring != nil {
		e.Version, e.Principal, e.Detail = ring.keyVersion(), ring.protection.Identity, ring.keyID
	}
	if f != nil {
		e.Reason = strconv.Itoa(f.substatus)
		e.Detail += " " + f.detail
	}
	return e
}

// note records what has happened already: it must not wait for a log that fails.
func (a *account) note(ctx context.Context, operation string, outcome audit.Outcome, ring *keyring, f *failure) {
	if err := a.record(context.WithoutCancel(ctx), operation, outcome, ring, f); err != nil {
		a.k.cfg.Log.Error("audit record lost", "operation", operation, "account", a.id, "error", err)
	}
}
