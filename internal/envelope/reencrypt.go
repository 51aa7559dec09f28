package envelope

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Progress tells how far the background re-encryption of an account is.
type Progress struct {
	Active          bool   // it has begun and not ended; it rests while the account does not serve
	Failure         string // why it rests, in the words of the last error
	Files, FilesOld int    // sealed files, and those still under a retired data key
	Bytes, BytesOld int64  // their sizes on disk
	Started         time.Time
	Updated         time.Time
}

// Percent is the part of the bytes that is done, 0 to 100; 100 only when all is.
func (p Progress) Percent() int {
	switch {
	case p.FilesOld == 0:
		return 100
	case p.Bytes == 0:
		return 0
	}
	return min(99, int(100*(p.Bytes-p.BytesOld)/p.Bytes))
}

// The pauses after a re-encryption that failed or found its account busy.
const (
	minRetry = time.Second
	maxRetry = 5 * time.Minute
)

// retry says when to try again.
type retry struct {
	at    time.Time
	pause time.Duration
}

func (r *retry) later(now time.Time) {
	r.pause = min(max(2*r.pause, minRetry), maxRetry)
	r.at = now.Add(r.pause)
}

// errInterrupted ends a re-encryption whose account stopped serving.
var errInterrupted = errors.New("envelope: the account does not serve now")

// errBusy postpones the last step of a re-encryption.
var errBusy = errors.New("envelope: requests hold the store")

// lookAround lets the re-encryption look for work.
func (k *Keeper) lookAround() {
	select {
	case k.work <- struct{}{}:
	default:
	}
}

// reencryption does the work of all accounts, one after the other, so that its rate is bounded for
// the whole process. What is to be done stands in the keyrings and in the headers of the files.
func (k *Keeper) reencryption(ctx context.Context) {
	limit := limiter{rate: k.cfg.ReencryptRate}
	for {
		wait := maxRetry
		for _, a := range k.all() {
			if due, ok := a.reencryptionDue(); ok {
				wait = min(wait, max(0, due))
				if due <= 0 {
					a.reencrypt(ctx, &limit)
					wait = 0
				}
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-k.work:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// reencryptionDue reports whether the account has files to re-encrypt, and in what time to begin. A
// sealed account is opened for it once a probe has confirmed its key: just after a start the vault may
// not answer yet, and an attempt would close the account to its callers. One that is refused waits
// until it is back.
func (a *account) reencryptionDue() (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing || a.ring == nil || !a.ring.hasRetired() {
		return 0, false
	}
	confirmed := !a.ring.protection.CustomerManaged() || !a.lastSuccess.IsZero()
	if !a.serving() && (a.state != StateSealed || !confirmed) {
		return 0, false
	}
	return a.retry.at.Sub(a.k.cfg.Now()), true
}

// reencrypt brings every file of the account under the current data key, and then drops the retired
// ones.
func (a *account) reencrypt(ctx context.Context, limit *limiter) {
	err := a.reencryptAll(ctx, limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress.Updated = a.k.cfg.Now()
	if err == nil {
		a.retry, a.progress.Failure = retry{}, ""
		return
	}
	a.retry.later(a.k.cfg.Now())
	if ctx.Err() == nil && !errors.Is(err, errInterrupted) && !errors.Is(err, errBusy) {
		a.progress.Failure = "the last attempt failed; the log tells why"
		a.k.cfg.Log.Error("re-encryption failed; it goes on later", "account", a.id, "error", err)
	}
}

func (a *account) reencryptAll(ctx context.Context, limit *limiter) error {
	sealed, err := a.beginReencryption(ctx)
	if err != nil {
		return err
	}
	for {
		done, err := a.resealTables(ctx, sealed, limit)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	return a.finishReencryption(ctx)
}

// currentKey is the data key that seals new files now: it may have been renewed since the work began.
func (a *account) currentKey() sealfs.KeyID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ring.currentID()
}

// beginReencryption opens the account where needed and ends the log and the memtable that stand under
// a retired key. The store is held for the moment only: a denial must never wait for this work.
func (a *account) beginReencryption(ctx context.Context) (*sealfs.FS, error) {
	db, release, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := db.Flush(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	sealed, ring, begins := a.fs, a.ring, !a.progress.Active
	now := a.k.cfg.Now()
	if begins {
		a.progress = Progress{Active: true, Started: now}
	}
	a.progress.Updated = now
	a.mu.Unlock()
	if sealed == nil {
		return nil, errInterrupted
	}
	if begins {
		a.note(ctx, opReencrypt, audit.Allowed, ring, nil)
	}
	return sealed, nil
}

// oldFile is a file under a retired data key.
type oldFile struct {
	name string
	info sealfs.Info
}

// survey finds the account's files under other keys than current, and counts them.
func (a *account) survey(current sealfs.KeyID) ([]oldFile, error) {
	dir := a.k.path(a.id, dataName)
	names, err := a.k.cfg.FS.List(dir)
	if err != nil {
		return nil, err
	}
	var old []oldFile
	p := Progress{}
	for _, name := range names {
		path := a.k.cfg.FS.PathJoin(dir, name)
		i, err := sealfs.DescribeClear(a.k.cfg.FS, path)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, sealfs.ErrNoHeader) || name == sealfs.ResealDir:
			continue
		case err != nil:
			return nil, err
		case i.Class == sealfs.Plain:
			continue
		}
		p.Files, p.Bytes = p.Files+1, p.Bytes+i.Physical
		if i.KeyID != current {
			p.FilesOld, p.BytesOld = p.FilesOld+1, p.BytesOld+i.Physical
			old = append(old, oldFile{path, i})
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p.Active, p.Failure, p.Started, p.Updated = a.progress.Active, a.progress.Failure, a.progress.Started, a.k.cfg.Now()
	a.progress = p
	return old, nil
}

// resealTables re-encrypts the tables and blobs, which never change, below the running engine. It is
// done when there is none left under an old key.
func (a *account) resealTables(ctx context.Context, sealed *sealfs.FS, limit *limiter) (done bool, err error) {
	old, err := a.survey(a.currentKey())
	if err != nil {
		return false, err
	}
	done = true
	for _, f := range old {
		if f.info.Kind != sealfs.Table && f.info.Kind != sealfs.Blob {
			continue
		}
		done = false
		if err := sealed.Reseal(ctx, f.name, a.whileServing(sealed, limit)); err != nil && !passedBy(err) {
			return false, err
		}
		a.resealed(f.info)
	}
	return done, nil
}

// passedBy reports that the engine removed the file, or is still writing it: the next survey tells.
func passedBy(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, sealfs.ErrNotComplete)
}

func (a *account) resealed(i sealfs.Info) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress.FilesOld--
	a.progress.BytesOld -= i.Physical
	a.progress.Updated = a.k.cfg.Now()
}

// whileServing bounds the rate, and stops when this opening of the account ends.
func (a *account) whileServing(sealed *sealfs.FS, limit *limiter) sealfs.Limit {
	return func(ctx context.Context, n int) error {
		if err := limit.wait(ctx, n); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.serving() || a.fs != sealed {
			return errInterrupted
		}
		return nil
	}
}

// finishReencryption deals with the files that the running engine writes: for a moment nobody holds
// the store, it is closed, what is left is re-encrypted, the retired keys are dropped from the
// keyring, and the store is opened again. Requests that come meanwhile wait.
func (a *account) finishReencryption(ctx context.Context) error {
	giveBack, err := a.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	db, keys, err := a.quiesce(ctx)
	if err != nil {
		return err
	}
	ak := keys.accountKey()
	defer ak.Wipe()
	// Not a close to be remembered: the files are about to change, the manifest's id too.
	err = errors.Join(db.Close(), a.remember(func(x *Anchor) { x.ManifestID = "" }))
	if err == nil {
		err = a.resealRest(ctx, keys)
	}
	if err == nil {
		err = a.dropRetired(ctx, ak)
	}
	keys.wipe()
	if err := errors.Join(err, a.resumeServing(ctx, ak)); err != nil {
		return err
	}
	a.mu.Lock()
	a.progress.Active, a.progress.FilesOld, a.progress.BytesOld = false, 0, 0
	ring := a.ring
	a.mu.Unlock()
	a.note(ctx, opReencrypts, audit.Succeeded, ring, nil)
	return nil
}

// quiesce takes the store away from a serving account without refusing anyone: the account is opening
// while it lasts. It gives up when the holders do not let go within the drain time.
func (a *account) quiesce(ctx context.Context) (*store.Store, *keySet, error) {
	idle, err := a.pauseServing()
	if err != nil {
		return nil, nil, err
	}
	bound, cancel := context.WithTimeout(ctx, a.k.cfg.Drain)
	defer cancel()
	select {
	case <-idle:
	case <-bound.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.holders == 0 {
		db, keys := a.db, a.keys
		a.db, a.keys, a.fs = nil, nil, nil
		return db, keys, nil
	}
	a.idle = nil
	a.enter(StateOpen)
	a.endPause()
	return nil, nil, errBusy
}

// pauseServing makes new requests wait. The channel is closed when the last holder has let go. An
// account in grace is left alone: opening it again would forget its deadline.
func (a *account) pauseServing() (idle chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.state {
	case StateOpen:
	case StateGrace:
		return nil, errBusy
	default:
		return nil, errInterrupted
	}
	a.enter(StateOpening)
	a.paused = make(chan struct{})
	idle = make(chan struct{})
	if a.holders == 0 {
		close(idle)
	} else {
		a.idle = idle
	}
	return idle, nil
}

// endPause lets the waiting requests look again; mu is held.
func (a *account) endPause() {
	close(a.paused)
	a.paused = nil
}

// resealRest re-encrypts every file of the closed store that is still under another key.
func (a *account) resealRest(ctx context.Context, keys *keySet) error {
	current := a.currentKey()
	sealed, err := a.k.seal(a.id, keys)
	if err != nil {
		return err
	}
	old, err := a.survey(current)
	if err != nil {
		return err
	}
	for _, f := range old {
		if err := sealed.Reseal(ctx, f.name, nil, sealfs.UpToTear); err != nil {
			return err
		}
		a.resealed(f.info)
	}
	if old, err = a.survey(current); err == nil && len(old) > 0 {
		err = errors.New("envelope: files under a retired data key are left")
	}
	return err
}

// dropRetired removes the retired data keys from the keyring, and the keyring before it: nothing on
// this disk can open what was sealed under them any more.
func (a *account) dropRetired(ctx context.Context, ak *secret.Bytes) error {
	ring, _, err := a.readTrusted()
	if err != nil {
		return err
	}
	next := ring.next()
	next.dropRetired()
	if err := a.replace(ctx, next, ak); err != nil {
		return err
	}
	return a.k.cfg.Files.Scrub(a.k.path(a.id, previousName))
}

// resumeServing opens the store again after quiesce, whatever became of the work.
func (a *account) resumeServing(ctx context.Context, ak *secret.Bytes) error {
	err := a.reopen(ctx, ak)
	if err != nil {
		a.conclude(ctx, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endPause()
	return err
}

func (a *account) reopen(ctx context.Context, ak *secret.Bytes) error {
	ring, raw, err := a.readTrusted()
	if err != nil {
		return err
	}
	if err := verifyKeyring(raw, ak.Reveal(), a.id); err != nil {
		return err
	}
	keys, err := unlockKeys(ring, ak.Clone())
	if err != nil {
		return err
	}
	a.k.budget.give() // serve takes a place again
	return a.serve(ctx, ring, keys)
}

// limiter spreads bytes over time. It is used by one goroutine.
type limiter struct {
	rate int // bytes a second
	free time.Time
}

// wait returns when n more bytes may be moved.
func (l *limiter) wait(ctx context.Context, n int) error {
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	pause := l.free.Sub(now)
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
