package envelope

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Chain is an account's chain of trust as it was found on the disk, for an auditor: from the
// customer's key to every file.
type Chain struct {
	Account           string          `json:"account"`
	State             State           `json:"state"`
	KeyURI            string          `json:"keyUri,omitempty"` // "" under the platform's key
	KeyID             string          `json:"keyId,omitempty"`  // with the version that wraps the account key
	Identity          string          `json:"identity,omitempty"`
	WrapAlgorithm     string          `json:"wrapAlgorithm"`
	AccountKeyCreated time.Time       `json:"accountKeyCreated"`
	KeyringSHA256     string          `json:"keyringSha256"`
	KeyringCounter    uint64          `json:"keyringCounter"`
	DataKeys          []DataKeyReport `json:"dataKeys"`
	Files             []FileReport    `json:"files"`
	Bytes             int64           `json:"bytes"` // of all files on disk
	// Content is the SHA-256 over all keys and values of the store in their order.
	Content  string   `json:"content,omitempty"`
	Problems []string `json:"problems"`
}

// Healthy reports that nothing was found.
func (c *Chain) Healthy() bool { return len(c.Problems) == 0 }

func (c *Chain) problem(format string, args ...any) {
	c.Problems = append(c.Problems, fmt.Sprintf(format, args...))
}

// DataKeyReport is one data key with what it protects.
type DataKeyReport struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	State   string    `json:"state"` // current or retired
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
}

// FileReport is one file of which every byte was authenticated.
type FileReport struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	DataKey string `json:"dataKey,omitempty"` // id; "" for files that have no content
	Bytes   int64  `json:"bytes"`             // on disk
	State   string `json:"state"`             // sealed, open (being written), empty, or damaged
}

// wrapNames are the algorithms in a chain.
var wrapNames = map[wrapAlgorithm]string{wrapRoot: "AES-256-GCM under the platform's root key", wrapRSA256: "RSA-OAEP-256"}

// Verify authenticates every byte of an account's files and everything above them: the keyring against
// the key in the vault, the data keys, each block of each file; and that nothing else is there. It
// opens the account if need be; the error is that of Acquire when the key may not be used. Problems
// are in the chain, not in the error.
func (k *Keeper) Verify(ctx context.Context, accountID string) (*Chain, error) {
	a, err := k.find(accountID)
	if err != nil {
		return nil, err
	}
	db, release, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	c := &Chain{Account: accountID, Problems: []string{}, Files: []FileReport{}}
	a.mu.Lock()
	ring, sealed := a.ring, a.fs
	c.State = a.state
	a.mu.Unlock()
	if err := a.verifyKeys(ctx, c, ring); err != nil {
		return nil, err
	}
	if err := a.verifyNames(c); err != nil {
		return nil, err
	}
	if err := a.verifyFiles(ctx, c, sealed, ring); err != nil {
		return nil, err
	}
	if c.Content, err = digestContent(ctx, db); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.problem("the content cannot be read: %v", err)
	}
	return c, nil
}

// verifyKeys asks the vault to unwrap the account key once more and authenticates the keyring with it.
func (a *account) verifyKeys(ctx context.Context, c *Chain, ring *keyring) error {
	giveBack, err := a.takeTurn(ctx) // the keyring must not change meanwhile
	if err != nil {
		return err
	}
	defer giveBack()
	disk, raw, err := a.readTrusted()
	if err != nil {
		c.problem("keyring: %v", err)
		disk = ring
	} else if ak, err := a.unwrap(ctx, disk, raw, disk.protection.Identity); err != nil {
		c.problem("keyring: %v", err)
	} else {
		ak.Wipe()
	}
	c.KeyURI, c.KeyID, c.Identity = disk.protection.KeyURI, disk.keyID, disk.protection.Identity
	c.WrapAlgorithm, c.AccountKeyCreated = wrapNames[disk.algorithm], time.Unix(disk.created, 0).UTC()
	c.KeyringSHA256, c.KeyringCounter = fingerprint(raw), disk.counter
	for _, d := range disk.dataKeys {
		state := "current"
		if d.state == dataKeyRetired {
			state = "retired"
		}
		c.DataKeys = append(c.DataKeys, DataKeyReport{ID: hex.EncodeToString(d.id[:]), Created: time.Unix(d.created, 0).UTC(), State: state})
	}
	return nil
}

// verifyNames reports what does not belong in an account's directory: it would not be encrypted.
func (a *account) verifyNames(c *Chain) error {
	names, err := a.k.cfg.FS.List(a.k.path(a.id))
	if err != nil {
		return err
	}
	known := []string{keyringName, previousName, dataName, checkpointName}
	for _, name := range names {
		if !slices.Contains(known, name) {
			c.problem("%s does not belong in the account's directory", name)
		}
	}
	return nil
}

func (a *account) verifyFiles(ctx context.Context, c *Chain, sealed *sealfs.FS, ring *keyring) error {
	dir := a.k.path(a.id, dataName)
	names, err := a.k.cfg.FS.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == sealfs.ResealDir {
			continue // a re-encryption is under way; its files are sealed from the first byte on
		}
		if f, ok := a.checkFile(c, sealed, name); ok {
			c.add(f)
		}
	}
	if !ring.hasRetired() {
		return nil
	}
	for _, d := range c.DataKeys {
		if d.State == "retired" && !a.status().Reencryption.Active {
			c.problem("data key %s is retired, and no re-encryption is under way", d.ID)
		}
	}
	return nil
}

// checkFile authenticates one file. ok is false when the engine removed it meanwhile.
func (a *account) checkFile(c *Chain, sealed *sealfs.FS, name string) (f FileReport, ok bool) {
	path := a.k.cfg.FS.PathJoin(a.k.path(a.id, dataName), name)
	f = FileReport{Name: name, State: "sealed"}
	i, err := sealfs.DescribeClear(a.k.cfg.FS, path)
	if err == nil {
		f.Kind, f.Bytes = string(i.Kind), i.Physical
		if i.Class != sealfs.Plain {
			f.DataKey = i.KeyID.String()
		}
	}
	var r sealfs.Report
	if err == nil || errors.Is(err, sealfs.ErrNoHeader) { // whether there must be one, Verify knows
		r, err = sealed.Verify(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, false
	case errors.Is(err, sealfs.ErrNotComplete):
		f.State = "open"
	case err != nil:
		f.State = "damaged"
		c.problem("%s: %v", name, err)
	case i.Class == sealfs.Plain:
		f.State = "empty"
	case r.Open || r.Torn:
		f.State = "open"
	}
	return f, true
}

func (c *Chain) add(f FileReport) {
	c.Files = append(c.Files, f)
	c.Bytes += f.Bytes
	if f.DataKey == "" {
		return
	}
	for i := range c.DataKeys {
		if d := &c.DataKeys[i]; d.ID == f.DataKey {
			d.Files, d.Bytes = d.Files+1, d.Bytes+f.Bytes
			return
		}
	}
	c.problem("%s is under data key %s, which the keyring does not have", f.Name, f.DataKey)
}

// Digest returns the SHA-256 over the account's content; see [Chain].
func (k *Keeper) Digest(ctx context.Context, accountID string) (string, error) {
	db, release, err := k.Acquire(ctx, accountID)
	if err != nil {
		return "", err
	}
	defer release()
	return digestContent(ctx, db)
}

// digestContent hashes every key and value, each with its length, as of one moment.
func digestContent(ctx context.Context, db *store.Store) (string, error) {
	view, err := db.Snapshot()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for key, value := range view.Scan(store.Range{}, &err) {
		for _, b := range [][]byte{key, value} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
			h.Write(b)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err = errors.Join(err, ctx.Err(), view.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
