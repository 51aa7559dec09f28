package envelope

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Anchor is what a place other than an account's own directory remembers of the account. Who can write
// that directory, but not the place, cannot replace the directory by an older or a foreign one unseen.
// Digests and ids are hexadecimal; "" is none.
type Anchor struct {
	// Keyring is the SHA-256 of the keyring file in force.
	Keyring string `json:"keyring"`
	// Pending is the SHA-256 of a keyring file that is about to replace it.
	Pending string `json:"pending,omitempty"`
	// Manifest and ManifestID are the number and the file id of the engine's manifest at the last
	// opening. The id is "" while the manifest is being re-encrypted.
	Manifest   uint64 `json:"manifest,omitempty"`
	ManifestID string `json:"manifestId,omitempty"`
	// Closed is the digest of the store's files at the last clean close; "" while the store is open.
	Closed string `json:"closed,omitempty"`
	// Locked is set while an operator keeps the account locked.
	Locked bool `json:"locked,omitempty"`
}

// Anchors keeps the anchors of all accounts. Save and Delete are durable when they return nil.
type Anchors interface {
	// Load returns the anchor of an account; ok is false when there is none.
	Load(accountID string) (a Anchor, ok bool, err error)
	// Save replaces the anchor of an account.
	Save(accountID string, a Anchor) error
	// Delete removes the anchor of an account; that there is none is no error.
	Delete(accountID string) error
}

// errReplaced is wrapped by every refusal of a keyring or store that is not the one that this server
// left: a damaged one, an older copy, a foreign one, or a part of one.
var errReplaced = errors.New("envelope: not the files that were left here")

func replaced(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errReplaced}, args...)...)
}

// loadAnchor reads the account's anchor. An account from before there were anchors gets one for the
// keyring that it has.
func (a *account) loadAnchor(print [sha256.Size]byte) error {
	x, ok, err := a.k.cfg.Anchors.Load(a.id)
	if err != nil {
		return err
	}
	a.anchor = x
	if ok {
		return nil
	}
	return a.remember(func(x *Anchor) { x.Keyring = hex.EncodeToString(print[:]) })
}

// remember changes the account's anchor, durably. On error the old one is in force.
func (a *account) remember(change func(*Anchor)) error {
	a.anchorMu.Lock()
	defer a.anchorMu.Unlock()
	next := a.anchor
	change(&next)
	if next == a.anchor {
		return nil
	}
	if err := a.k.cfg.Anchors.Save(a.id, next); err != nil {
		return fmt.Errorf("envelope: anchor: %w", err)
	}
	a.anchor = next
	return nil
}

func (a *account) anchored() Anchor {
	a.anchorMu.Lock()
	defer a.anchorMu.Unlock()
	return a.anchor
}

// checkKeyring refuses a keyring file that is neither the one in force nor the one that was about to
// replace it when the server stopped.
func (a *account) checkKeyring(raw []byte) error {
	sum := fingerprint(raw)
	if x := a.anchored(); sum != x.Keyring && sum != x.Pending {
		return replaced("the keyring is another one")
	}
	return nil
}

func fingerprint(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// expectKeyring is remembered before a new keyring replaces old, which is on the disk.
func (a *account) expectKeyring(old, next []byte) error {
	return a.remember(func(x *Anchor) {
		if len(old) > 0 {
			x.Keyring = fingerprint(old)
		}
		x.Pending = fingerprint(next)
	})
}

// settleKeyring is remembered when the keyring raw is on the disk for good.
func (a *account) settleKeyring(raw []byte) error {
	return a.remember(func(x *Anchor) { x.Keyring, x.Pending = fingerprint(raw), "" })
}

// checkStore compares the closed store with what is remembered of it, before the engine touches it,
// and forgets how it was closed, because that will not be so any more.
func (a *account) checkStore(sealed *sealfs.FS) error {
	x := a.anchored()
	if x.Manifest == 0 {
		return nil // a new account
	}
	if err := a.checkManifest(sealed, x); err != nil {
		return err
	}
	if x.Closed == "" {
		return nil
	}
	now, err := digestFiles(a.k.cfg.FS, a.k.path(a.id, dataName))
	if err != nil {
		return err
	}
	if now != x.Closed {
		return replaced("the store changed while it was closed")
	}
	return a.remember(func(x *Anchor) { x.Closed = "" })
}

func (a *account) checkManifest(sealed *sealfs.FS, x Anchor) error {
	i, err := a.manifest(sealed)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return replaced("the store has no manifest")
	case err != nil:
		return err
	case i.Number < x.Manifest:
		return replaced("the store is older than its last opening")
	case i.Number == x.Manifest && x.ManifestID != "" && hex.EncodeToString(i.FileID[:]) != x.ManifestID:
		return replaced("the store is a foreign one")
	}
	return nil
}

// manifest describes the manifest in force.
func (a *account) manifest(sealed *sealfs.FS) (sealfs.Info, error) {
	dir := a.k.path(a.id, dataName)
	name, err := store.ManifestName(a.k.cfg.FS, dir)
	if err == nil && name == "" {
		err = fs.ErrNotExist
	}
	if err != nil {
		return sealfs.Info{}, err
	}
	return sealed.Describe(a.k.cfg.FS.PathJoin(dir, name))
}

// rememberStore is called when the engine has opened the store, before anyone uses it.
func (a *account) rememberStore(sealed *sealfs.FS) error {
	i, err := a.manifest(sealed)
	if err != nil {
		return err
	}
	return a.remember(func(x *Anchor) {
		x.Manifest, x.ManifestID, x.Closed = i.Number, hex.EncodeToString(i.FileID[:]), ""
	})
}

// rememberClose is called after the engine closed the store in good order.
func (a *account) rememberClose() error {
	sum, err := digestFiles(a.k.cfg.FS, a.k.path(a.id, dataName))
	if err != nil {
		return err
	}
	return a.remember(func(x *Anchor) { x.Closed = sum })
}

// digestFiles is SHA-256 over what tells two states of a closed store apart: of every file its name
// and length, of a block file the header (which has the file's random id; its blocks authenticate
// themselves), of any other file the whole content.
func digestFiles(base vfs.FS, dir string) (string, error) {
	names, err := base.List(dir)
	if err != nil {
		return "", err
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		if err := digestFile(h, base, base.PathJoin(dir, name)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// blockHeader is how much of a block file is digested.
const blockHeader = 96

func digestFile(h hash.Hash, base vfs.FS, name string) error {
	info, err := base.Stat(name)
	if err != nil {
		return err
	}
	size := info.Size()
	if info.IsDir() {
		size = 0
	}
	fmt.Fprintf(h, "%q %d\n", base.PathBase(name), size)
	if size == 0 {
		return nil
	}
	i, err := sealfs.DescribeClear(base, name)
	if err == nil && i.Class == sealfs.Block {
		size = blockHeader
	}
	f, err := base.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(h, f, size)
	return err
}

// Accept makes what is on the disk now the right state of a quarantined account: an operator put an
// older copy there on purpose. The keyring must still open with its key. It does not look at the
// store; the next opening does.
func (k *Keeper) Accept(ctx context.Context, accountID string) error {
	a, giveBack, err := k.turnOf(ctx, accountID)
	if err != nil {
		return err
	}
	defer giveBack()
	a.mu.Lock()
	state, damage := a.state, a.damage
	a.mu.Unlock()
	if state != StateQuarantined || !errors.Is(damage, errReplaced) {
		return fault.New(fault.Conflict, "NothingToAccept", "The account is not quarantined for being an older or a foreign copy.")
	}
	raw, err := k.cfg.Files.Read(k.path(accountID, keyringName))
	if err != nil {
		return err
	}
	ring, err := decodeKeyring(raw)
	if err != nil || ring.account != accountID {
		return errQuarantined(err)
	}
	if err := a.record(ctx, opAccepted, audit.Allowed, ring, nil); err != nil {
		return err
	}
	if err := a.remember(func(x *Anchor) { *x = Anchor{Keyring: fingerprint(raw), Locked: x.Locked} }); err != nil {
		return err
	}
	a.adoptRing(ring, raw)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.damage, a.cause = nil, nil
	a.enter(StateSealed)
	return nil
}
