package envelope

import (
	"context"
	"errors"
	"io/fs"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// Create makes the keyring and the empty store of a new account, and opens it. On error nothing is
// left. After a crash in the middle Delete removes what there is.
func (k *Keeper) Create(ctx context.Context, accountID string, p Protection) error {
	return k.make(ctx, accountID, p, nil)
}

// make is Create; the store begins with the content of src, if there is one.
func (k *Keeper) make(ctx context.Context, accountID string, p Protection, src *source) error {
	if err := badAccountName(accountID); err != nil {
		return err
	}
	if _, err := k.find(accountID); err == nil {
		return errExists()
	}
	if err := k.Inspect(ctx, p); err != nil {
		return err
	}
	a := newAccount(k, accountID)
	giveBack, err := a.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	if err := k.reserve(a); err != nil {
		return err
	}
	if err := a.vacate(); err != nil {
		k.forget(accountID)
		a.leave()
		return err
	}
	if err := a.create(ctx, p, src); err != nil {
		return errors.Join(asConfigError(err), k.discard(a))
	}
	return k.loops.Go("envelope account", a.loop)
}

// reserve makes the id visible, so that of two Creates one wins.
func (k *Keeper) reserve(a *account) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopping {
		return errStopping()
	}
	if k.accounts[a.id] != nil {
		return errExists()
	}
	k.accounts[a.id] = a
	return nil
}

// discard removes an account that could not be created.
func (k *Keeper) discard(a *account) error {
	<-a.end()
	a.leave()
	err := k.erase(a.id)
	k.forget(a.id)
	return err
}

func (k *Keeper) forget(accountID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.accounts, accountID)
}

// vacate removes what a crash in an earlier Create left. A keyring that nobody loaded is not ours.
func (a *account) vacate() error {
	_, err := a.k.cfg.Files.Read(a.k.path(a.id, keyringName))
	if err == nil {
		return errExists()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.k.erase(a.id)
}

func errExists() error {
	return fault.New(fault.Conflict, "AccountExists", "The account already exists.")
}

func (a *account) create(ctx context.Context, p Protection, src *source) error {
	ak := secret.Random(keySize)
	defer ak.Wipe()
	now := a.k.cfg.Now().Unix()
	ring := &keyring{counter: 1, account: a.id, protection: p, created: now}
	ring.dataKeys = []wrappedDataKey{newDataKey(ak.Reveal(), a.id, now)}
	if err := a.k.wrapInto(ctx, ring, ak); err != nil {
		return err
	}
	if err := a.k.cfg.Files.MakeDir(a.k.path(a.id)); err != nil {
		return err
	}
	if src != nil {
		if err := a.fill(ctx, ring, ak, src); err != nil {
			return err
		}
	}
	raw := ring.encode(ak.Reveal())
	if err := a.expectKeyring(nil, raw); err != nil {
		return err
	}
	if err := a.k.cfg.Files.Replace(a.k.path(a.id, keyringName), raw); err != nil {
		return err
	}
	if err := a.verifyFile(ctx, raw, ak); err != nil {
		return err
	}
	a.adoptRing(ring, raw)
	if err := a.start(ctx, ak); err != nil {
		return err
	}
	a.confirmed(ctx)
	return nil
}

// Delete destroys the account's keys and its store: the keyring is overwritten first, so that the
// files are unreadable whatever becomes of them. It waits for the holders of the store, or for ctx,
// after which it may be called again. It succeeds when there is nothing.
func (k *Keeper) Delete(ctx context.Context, accountID string) error {
	if err := badAccountName(accountID); err != nil {
		return err
	}
	a, giveBack, err := k.turnOf(ctx, accountID)
	if fault.KindOf(err) == fault.NotFound {
		return k.erase(accountID)
	}
	if err != nil {
		return err
	}
	defer giveBack()
	select {
	case <-a.end():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := k.erase(accountID); err != nil {
		return err
	}
	k.forget(accountID)
	a.leave()
	return nil
}

// turnOf finds an account and takes its turn. The account that had the turn may have been deleted, and
// another one made under its id, while we waited.
func (k *Keeper) turnOf(ctx context.Context, accountID string) (*account, func(), error) {
	for {
		a, err := k.find(accountID)
		if err != nil {
			return nil, nil, err
		}
		giveBack, err := a.takeTurn(ctx)
		if err != nil {
			return nil, nil, err
		}
		if now, err := k.find(accountID); err == nil && now == a {
			return a, giveBack, nil
		}
		giveBack()
	}
}

// leave ends the account's loop and its waiters; it is safe to call twice.
func (a *account) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.gone:
	default:
		close(a.gone)
	}
}

// erase removes an account's files, the keys first.
func (k *Keeper) erase(accountID string) error {
	files := k.cfg.Files
	for _, name := range []string{keyringName, previousName} {
		if err := files.Scrub(k.path(accountID, name)); err != nil {
			return err
		}
	}
	if err := k.cfg.FS.RemoveAll(k.path(accountID, dataName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := files.RemoveDir(k.path(accountID)); err != nil {
		return err
	}
	return k.cfg.Anchors.Delete(accountID)
}

// Protect puts the account under another key, or lets another identity use the key. The new key is
// proven first (see [Keeper.Inspect]), then the AK is re-wrapped, verified and committed. On error
// the account is as before. It works on a revoked account when the old wrapping can still be undone,
// with the old identity or, for the same key, with the new one.
//
// When an account leaves the platform's key it gets a new AK and a new current DK, and the old keyring
// is overwritten: the root key opens nothing any more. Files that exist are re-encrypted in the
// background (see [Progress]); until then they stand under the retired DK, which only the new AK
// unwraps. Somebody who copied the old keyring, the root key and the old files before the change can
// read those copies, but nothing that was made later.
func (k *Keeper) Protect(ctx context.Context, accountID string, p Protection) error {
	if !p.CustomerManaged() {
		return fault.New(fault.Invalid, "KeyVaultKeyUriRequired", "Updating KeyVaultKeyUri is not supported")
	}
	if err := k.Inspect(ctx, p); err != nil { // before the turn: a slow new vault must not delay a probe of the old
		return err
	}
	a, giveBack, err := k.turnOf(ctx, accountID)
	if err != nil {
		return err
	}
	defer giveBack()
	if err := a.settle(ctx); err != nil {
		return err
	}
	return a.protect(ctx, p)
}

// Rotation says which keys of an account are made anew.
type Rotation struct {
	AccountKey bool // a new AK wraps the data keys; the key in the vault wraps it
	DataKeys   bool // a new data key seals new files; old files are re-encrypted in the background
}

// RotateKeys gives an account new keys. It touches no file but the keyring; see [Progress] for what
// follows a change of the data key. On error the account is as before.
func (k *Keeper) RotateKeys(ctx context.Context, accountID string, r Rotation) error {
	a, giveBack, err := k.turnOf(ctx, accountID)
	if err != nil {
		return err
	}
	defer giveBack()
	if err := a.settle(ctx); err != nil {
		return err
	}
	ring, _, err := a.read()
	if err != nil {
		return errQuarantined(err)
	}
	return a.change(ctx, ring.protection, r)
}

// settle waits until a draining account is locked.
func (a *account) settle(ctx context.Context) error {
	a.mu.Lock()
	state, drained := a.state, a.drained
	a.mu.Unlock()
	if state != StateDraining {
		return nil
	}
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// protect puts the account under p. Who leaves the platform's key gets new keys.
func (a *account) protect(ctx context.Context, p Protection) error {
	a.mu.Lock()
	leaves := a.ring != nil && !a.ring.protection.CustomerManaged()
	a.mu.Unlock()
	return a.change(ctx, p, Rotation{AccountKey: leaves, DataKeys: leaves})
}

// change makes a keyring under p with the keys that r asks for, proves it and puts it in force.
func (a *account) change(ctx context.Context, p Protection, r Rotation) error {
	if a.anchored().Locked {
		return errLocked()
	}
	ring, raw, err := a.readTrusted()
	if err != nil || a.status().State == StateQuarantined {
		return errQuarantined(err)
	}
	ak, err := a.presentKey(ctx, ring, raw, p)
	if err != nil {
		return asRefusal(err)
	}
	defer ak.Wipe()
	next, nextKey, err := a.successor(ctx, ring, ak, p, r)
	if err != nil {
		return asConfigError(err)
	}
	defer nextKey.Wipe()
	if err := a.commit(ctx, next, nextKey); err != nil {
		return asConfigError(err)
	}
	if err := a.k.cfg.Files.Scrub(a.k.path(a.id, previousName)); err != nil {
		a.k.cfg.Log.Error("previous keyring not removed; the next start tries again", "account", a.id, "error", err)
	}
	a.k.lookAround()
	return a.resume(ctx, nextKey)
}

// presentKey obtains the AK in force: from memory, or by an unwrap as the old identity or the new.
func (a *account) presentKey(ctx context.Context, ring *keyring, raw []byte, p Protection) (*secret.Bytes, error) {
	if _, ak := a.memory(); ak != nil {
		return ak, nil
	}
	ak, err := a.unwrap(ctx, ring, raw, ring.protection.Identity)
	if err != nil && ring.protection.CustomerManaged() && ring.protection.Identity != p.Identity && checkKeyID(p.KeyURI, ring.keyID) == nil {
		return a.unwrap(ctx, ring, raw, p.Identity)
	}
	return ak, err
}

// successor builds the keyring under the protection p, and returns it with its AK.
func (a *account) successor(ctx context.Context, ring *keyring, ak *secret.Bytes, p Protection, r Rotation) (*keyring, *secret.Bytes, error) {
	next, nextKey := ring.next(), ak.Clone()
	next.protection = p
	if err := a.rekeyed(next, ak, &nextKey, r); err != nil {
		nextKey.Wipe()
		return nil, nil, err
	}
	if err := a.k.wrapInto(ctx, next, nextKey); err != nil {
		nextKey.Wipe()
		return nil, nil, err
	}
	return next, nextKey, nil
}

// rekeyed makes the keys of next that r asks for: a new AK in place of *key, a new data key.
func (a *account) rekeyed(next *keyring, ak *secret.Bytes, key **secret.Bytes, r Rotation) error {
	now := a.k.cfg.Now().Unix()
	if r.AccountKey {
		(*key).Wipe()
		*key = secret.Random(keySize)
		if err := next.rekey(ak.Reveal(), (*key).Reveal(), now); err != nil {
			return err
		}
	}
	if !r.DataKeys {
		return nil
	}
	if len(next.dataKeys) >= maxDataKeys {
		return fault.New(fault.Conflict, "TooManyDataKeys", "The account has too many data keys.")
	}
	next.retire()
	next.dataKeys = append(next.dataKeys, newDataKey((*key).Reveal(), a.id, now))
	return nil
}

// rekey moves every DK from the AK old to the AK fresh.
func (r *keyring) rekey(old, fresh []byte, now int64) error {
	for i := range r.dataKeys {
		d := &r.dataKeys[i]
		plain, err := openKey(old, d.sealed[:], purposeDataKey, r.account, d.id[:])
		if err != nil {
			return err
		}
		d.sealed = sealKey(fresh, plain, purposeDataKey, r.account, d.id[:])
		clear(plain)
	}
	r.created = now
	return nil
}

// commit makes next durable and, for an account that serves, its keys the ones in use.
func (a *account) commit(ctx context.Context, next *keyring, ak *secret.Bytes) error {
	fresh, err := unlockKeys(next, ak.Clone())
	if err != nil {
		return err
	}
	if err := a.replace(ctx, next, ak); err != nil {
		fresh.wipe()
		return err
	}
	a.mu.Lock()
	serving, keys, db := a.serving(), a.keys, a.db
	a.mu.Unlock()
	if keys == nil {
		fresh.wipe()
		return nil
	}
	renewed := keys.currentID() != fresh.currentID()
	keys.adopt(fresh)
	if serving && renewed {
		if err := db.Flush(); err != nil { // ends the log and the memtable under the old DK
			a.k.cfg.Log.Error("store not flushed after a change of key", "account", a.id, "error", err)
		}
	}
	return nil
}

// resume lets the new protection take effect: it was proven a moment ago.
func (a *account) resume(ctx context.Context, ak *secret.Bytes) error {
	a.mu.Lock()
	state := a.state
	a.mu.Unlock()
	if state == StateRevoked {
		if err := a.start(ctx, ak); err != nil {
			a.conclude(ctx, err)
			return nil // the protection did change; the status tells the rest
		}
	}
	a.confirmed(ctx)
	return nil
}

// asRefusal turns a failure into what a caller of the account is told.
func asRefusal(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return f.fault()
	}
	return err
}
