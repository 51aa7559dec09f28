package envelope

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/sealfs"
)

// Proof says that an account cannot be read any more, and what exactly that is.
type Proof struct {
	Account       string    `json:"account"`
	Time          time.Time `json:"time"`
	KeyID         string    `json:"keyId,omitempty"` // the customer's key that wrapped the account key
	KeyringSHA256 string    `json:"keyringSha256"`   // of the keyring that was destroyed
	DataKeys      []string  `json:"dataKeys"`        // ids of the data keys that are gone with it
	Files         int       `json:"files"`           // that are unreadable for good
	Bytes         int64     `json:"bytes"`
	// KeyringsLeft is the number of keyrings that are still there: 0.
	KeyringsLeft int `json:"keyringsLeft"`
}

// Shred destroys an account for good: its keyrings are overwritten and removed first, so that no file,
// here or in a copy of the disk that was taken without the keyring, can be read again, whatever
// becomes of the customer's key; then everything else of it is deleted. The proof is recorded before
// the deletion. A backup has a keyring of its own and is not reached.
func (k *Keeper) Shred(ctx context.Context, accountID string) (*Proof, error) {
	a, giveBack, err := k.turnOf(ctx, accountID)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	proof, ring, err := a.inventory()
	if err != nil {
		return nil, err
	}
	select {
	case <-a.end():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, name := range []string{keyringName, previousName} {
		if err := k.cfg.Files.Scrub(k.path(accountID, name)); err != nil {
			return nil, err
		}
	}
	proof.KeyringsLeft = a.keyringsLeft()
	e := a.event(opShredded, audit.Succeeded, ring, nil)
	e.Detail = "keyring " + proof.KeyringSHA256
	if err := k.cfg.Audit.Record(ctx, e); err != nil {
		return nil, err
	}
	if err := k.erase(accountID); err != nil {
		return proof, err
	}
	k.forget(accountID)
	a.leave()
	return proof, nil
}

// inventory lists what a destruction will make unreadable. It needs no key.
func (a *account) inventory() (*Proof, *keyring, error) {
	p := &Proof{Account: a.id, Time: a.k.cfg.Now().UTC(), DataKeys: []string{}}
	ring, raw, err := a.read()
	if err == nil {
		p.KeyID, p.KeyringSHA256 = ring.keyID, fingerprint(raw)
		for _, d := range ring.dataKeys {
			p.DataKeys = append(p.DataKeys, hex.EncodeToString(d.id[:]))
		}
	} else if !errors.Is(err, errKeyring) {
		return nil, nil, err
	}
	dir := a.k.path(a.id, dataName)
	names, err := a.k.cfg.FS.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, name := range names {
		i, err := sealfs.DescribeClear(a.k.cfg.FS, a.k.cfg.FS.PathJoin(dir, name))
		if err == nil && i.Class != sealfs.Plain {
			p.Files, p.Bytes = p.Files+1, p.Bytes+i.Physical
		}
	}
	return p, ring, nil
}

func (a *account) keyringsLeft() (n int) {
	for _, name := range []string{keyringName, previousName} {
		if _, err := a.k.cfg.Files.Read(a.k.path(a.id, name)); !errors.Is(err, fs.ErrNotExist) {
			n++
		}
	}
	return n
}
