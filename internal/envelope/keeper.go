package envelope

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"sync"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/supervise"
)

// Names below an account's directory.
const (
	keyringName  = "keyring"
	previousName = "keyring.previous"
	dataName     = "data"
)

// accountName is what an account id must look like: it becomes the name of a directory.
var accountName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,127}$`)

// Keeper is the set of all accounts' keys and stores. It is safe for concurrent use.
//
// Lock order: an account's turn (see account) before its mu; mu of the Keeper before nothing.
type Keeper struct {
	cfg      Config
	root     *secret.Bytes
	retired  []*secret.Bytes
	loops    *supervise.Group // one loop per account
	drains   *supervise.Group // what waits for the last holders
	work     chan struct{}    // capacity 1: the re-encryption should look around
	budget   *budget
	counters counters
	shared   *store.Shared // of all open stores

	mu       sync.RWMutex
	stopping bool
	accounts map[string]*account
}

// Open finds the accounts below cfg.Dir. All of them are sealed: no key is unwrapped here. An account
// whose keyring cannot be parsed is quarantined and does not keep the others from serving.
func Open(cfg Config) (*Keeper, error) {
	if cfg.RootKey == nil || cfg.RootKey.Len() != keySize {
		return nil, fmt.Errorf("envelope: the root key must have %d bytes", keySize)
	}
	if cfg.Anchors == nil || cfg.KEK == nil || cfg.Audit == nil || cfg.FS == nil {
		return nil, errors.New("envelope: FS, KEK, Anchors and Audit are required")
	}
	cfg = cfg.withDefaults()
	if err := cfg.Files.MakeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	names, err := cfg.Files.Dirs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	k := &Keeper{
		cfg: cfg, root: cfg.RootKey.Clone(), accounts: map[string]*account{},
		loops: supervise.New(), drains: supervise.New(), work: make(chan struct{}, 1),
		budget: newBudget(cfg.MaxOpen), shared: store.NewShared(cfg.CacheBytes, cfg.MaxOpen*tablesPerStore),
	}
	for _, r := range cfg.RetiredRootKeys {
		k.retired = append(k.retired, r.Clone())
	}
	for _, name := range names {
		if err := k.load(name); err != nil {
			_ = k.Close(context.Background())
			return nil, err
		}
	}
	return k, errors.Join(k.loops.Go("envelope re-encryption", k.reencryption), k.loops.Go("envelope idle accounts", k.closeIdle))
}

// load registers the account in the directory name. A directory without a keyring is what a crash in
// Create or Delete left: it is no account, and Delete removes it.
func (k *Keeper) load(name string) error {
	if !accountName.MatchString(name) {
		return nil
	}
	if err := k.cfg.Files.Tidy(k.path(name)); err != nil {
		return fmt.Errorf("envelope: directory of %s: %w", name, err)
	}
	a := newAccount(k, name)
	ring, raw, err := a.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errKeyring):
		a.state, a.damage = StateQuarantined, err
		k.cfg.Log.Error("keyring does not verify; account quarantined", "account", name)
		if err := a.loadAnchor([sha256.Size]byte{}); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("envelope: keyring of %s: %w", name, err)
	default:
		a.ring, a.print = ring, sha256.Sum256(raw)
		if err := a.loadAnchor(a.print); err != nil {
			return err
		}
		if err := a.checkKeyring(raw); err != nil {
			a.state, a.damage = StateQuarantined, err
			k.cfg.Log.Error("keyring is not the one that was left; account quarantined", "account", name)
		} else if a.anchored().Locked {
			a.state = StateLocked
		} else if err := a.scrubForeignCopy(ring); err != nil {
			return fmt.Errorf("envelope: old keyring of %s: %w", name, err)
		}
	}
	if err := k.cfg.FS.RemoveAll(k.path(name, checkpointName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // a backup was cut short
	}
	return k.register(a)
}

// register makes an account visible and starts its loop.
func (k *Keeper) register(a *account) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopping {
		return errStopping()
	}
	k.accounts[a.id] = a
	return k.loops.Go("envelope account", a.loop)
}

func (k *Keeper) find(accountID string) (*account, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if a := k.accounts[accountID]; a != nil {
		return a, nil
	}
	return nil, errUnknown()
}

func (k *Keeper) all() []*account {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out := make([]*account, 0, len(k.accounts))
	for _, a := range k.accounts {
		out = append(out, a)
	}
	return out
}

func (k *Keeper) path(accountID string, elem ...string) string {
	return path.Join(append([]string{k.cfg.Dir, accountID}, elem...)...)
}

// Acquire returns the account's store, opening it when needed. The caller must call release when it
// is done, and soon: an account is locked only when the last holder has let go. The error is a
// [fault.Error]: [fault.KeyDenied] with the substatus as its reason, or [fault.Unavailable].
func (k *Keeper) Acquire(ctx context.Context, accountID string) (db *store.Store, release func(), err error) {
	a, err := k.find(accountID)
	if err != nil {
		return nil, nil, err
	}
	return a.acquire(ctx)
}

// Status returns how the account stands; ok is false when there is no such account.
func (k *Keeper) Status(accountID string) (s Status, ok bool) {
	a, err := k.find(accountID)
	if err != nil {
		return Status{}, false
	}
	return a.status(), true
}

// Check asks the vault now and returns the account's status after its answer. It does not open a
// sealed account, but reopens a revoked one.
func (k *Keeper) Check(ctx context.Context, accountID string) (Status, error) {
	a, err := k.find(accountID)
	if err != nil {
		return Status{}, err
	}
	if err := a.wait(ctx, a.ask(false)); err != nil {
		return a.status(), err
	}
	return a.status(), nil
}

// Hint says that something about the keys that match selects may have changed. The accounts under
// them are probed at once, in the background. Hint does not block.
func (k *Keeper) Hint(match func(Protection) bool) {
	for _, a := range k.all() {
		if p := a.status().Protection; p.CustomerManaged() && match(p) {
			a.ask(false)
		}
	}
}

// Fingerprint is the SHA-256 of the account's keyring file. A store that an attacker on this disk
// cannot roll back should remember it: a keyring that was replaced as a whole shows no other way.
func (k *Keeper) Fingerprint(accountID string) (sum [sha256.Size]byte, ok bool) {
	a, err := k.find(accountID)
	if err != nil {
		return sum, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.print, a.ring != nil
}

// Close stops the probes, refuses every Acquire, waits for the holders or for ctx, closes the stores
// and wipes the keys. After an error a later Close goes on.
func (k *Keeper) Close(ctx context.Context) error {
	k.mu.Lock()
	k.stopping = true
	k.mu.Unlock()
	if err := k.loops.Stop(ctx); err != nil {
		return err
	}
	for _, a := range k.all() {
		if err := a.stop(ctx); err != nil {
			return err
		}
	}
	k.root.Wipe()
	for _, r := range k.retired {
		r.Wipe()
	}
	if err := k.drains.Stop(ctx); err != nil {
		return err
	}
	k.shared.Close()
	return nil
}

// stop seals the account for good, after whoever is changing it.
func (a *account) stop(ctx context.Context) error {
	giveBack, err := a.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	select {
	case <-a.end():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// openStore opens the engine over a file system that is sealed under keys, if the files are the ones
// that were left.
func (k *Keeper) openStore(a *account, keys *keySet) (*store.Store, *sealfs.FS, error) {
	sealed, err := k.seal(a.id, keys)
	if err != nil {
		return nil, nil, err
	}
	dir := k.path(a.id, dataName)
	if err := a.checkStore(sealed); err != nil {
		return nil, nil, err
	}
	if err := sealed.CleanReseal(dir); err != nil {
		return nil, nil, err
	}
	db, err := store.Open(dir, store.Options{
		FS: sealed, Shared: k.shared, Logger: k.cfg.Log, OnPoison: a.poisoned,
	})
	if err != nil {
		return nil, nil, err
	}
	if err := a.rememberStore(sealed); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, sealed, nil
}

// badAccountName refuses ids that cannot name a directory.
func badAccountName(id string) error {
	if accountName.MatchString(id) {
		return nil
	}
	return fault.New(fault.Invalid, "InvalidAccountID", "The account id is not valid.")
}
