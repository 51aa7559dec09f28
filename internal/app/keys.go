package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/rootkey"
	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
)

// platformDirs are the sealed directories of the platform and what their keys are for.
var platformDirs = map[rootkey.Purpose]string{rootkey.Control: controlDir, rootkey.Audit: auditDir}

// keyOptions say where the root key of a data directory is and how to get at it.
func keyOptions(cfg config.Config) (rootkey.Options, error) {
	p, err := rootkey.ParseProtection(cfg.RootKey)
	if err != nil {
		return rootkey.Options{}, err
	}
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return rootkey.Options{}, err
	}
	o := rootkey.Options{Dir: dir, Protection: p, PIN: cfg.TokenPIN}
	o.Passphrase = passphrase(cfg.RootPassphraseFile, cfg.RootPassphrase, cfg.AskPassphrase)
	o.NewPassphrase = passphrase(cfg.RootPassphraseFile, cfg.RootPassphrase, cfg.AskNewPassphrase)
	return o, nil
}

// maxPassphrase bounds the file of a passphrase.
const maxPassphrase = 4096

// passphrase takes a passphrase from the first of three that there is: a file, a value, a question.
func passphrase(file string, value *secret.Bytes, ask func() (*secret.Bytes, error)) func() (*secret.Bytes, error) {
	return func() (*secret.Bytes, error) {
		switch {
		case file != "":
			return passphraseFile(file)
		case value != nil:
			return value.Clone(), nil
		case ask != nil:
			return ask()
		}
		return nil, rootkey.NoPassphrase()
	}
}

// firstLine is b up to its line end.
func firstLine(b []byte) []byte {
	if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
		clear(b[i:])
		return b[:i]
	}
	return b
}

func passphraseFile(name string) (*secret.Bytes, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.NotFound, rootkey.ReasonNoPassphrase, "The file with the passphrase of the root key cannot be read.").Because(err)
	}
	defer f.Close()
	raw := make([]byte, maxPassphrase+1)
	n, err := io.ReadFull(f, raw)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // the file is shorter than the bound
	}
	if err != nil || n > maxPassphrase {
		clear(raw)
		return nil, errors.Join(err, fault.New(fault.Invalid, rootkey.ReasonNoPassphrase, "The file with the passphrase of the root key has more than %d bytes.", maxPassphrase))
	}
	return secret.From(firstLine(raw[:n])), nil
}

// openKeys opens the platform's keys for who only reads; a server may be running.
func openKeys(cfg config.Config) (*rootkey.Ring, error) {
	o, err := keyOptions(cfg)
	if err != nil {
		return nil, err
	}
	return rootkey.Open(o)
}

// startKeys opens the platform's keys of a directory that this process has locked, or makes them, and ends
// what an interrupted rotation began.
func (d *dataDir) startKeys(ctx context.Context, cfg config.Config) (*rootkey.Ring, error) {
	o, err := keyOptions(cfg)
	if err != nil {
		return nil, err
	}
	used, err := notEmpty(d.file(controlDir))
	if err != nil {
		return nil, err
	}
	ring, err := rootkey.Start(o, used)
	if err != nil {
		return nil, err
	}
	if err := d.reseal(ctx, ring); err != nil {
		ring.Wipe()
		return nil, err
	}
	return ring, nil
}

// sealed returns the sealed file system of one platform directory.
func sealed(ring *rootkey.Ring, purpose rootkey.Purpose) (*sealfs.FS, error) {
	current := ring.Current(purpose)
	keys := sealfs.StaticKeys(sealfs.KeyID(current.ID), current.Secret.Reveal())
	for _, k := range ring.Before(purpose) {
		keys.Add(sealfs.KeyID(k.ID), k.Secret.Reveal())
	}
	keys.Add(sealfs.KeyID(current.ID), current.Secret.Reveal()) // the last is the current one
	return sealfs.New(baseFS, sealfs.Options{Keys: keys, StoreID: "platform/" + string(purpose)})
}

// reseal puts what stands under platform keys that are leaving under the current ones, and drops those
// keys. It goes on where an interrupted one stopped. No store may be open.
func (d *dataDir) reseal(ctx context.Context, ring *rootkey.Ring) error {
	for purpose, name := range platformDirs {
		if !ring.Leaving(purpose) {
			continue
		}
		if err := d.resealDir(ctx, ring, purpose, d.file(name)); err != nil {
			return fmt.Errorf("reseal %s: %w", name, err)
		}
		if err := ring.Drop(purpose); err != nil {
			return err
		}
	}
	return nil
}

func (d *dataDir) resealDir(ctx context.Context, ring *rootkey.Ring, purpose rootkey.Purpose, dir string) error {
	fs, err := sealed(ring, purpose)
	if err != nil {
		return err
	}
	if purpose == rootkey.Control { // a clean close leaves no table that a crash cut short
		db, err := store.Open(dir, store.Options{FS: fs})
		if err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	if err := fs.CleanReseal(dir); err != nil {
		return err
	}
	current := sealfs.KeyID(ring.Current(purpose).ID)
	old, err := underOtherKeys(dir, current)
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := fs.Reseal(ctx, name, nil, sealfs.UpToTear); err != nil {
			return err
		}
	}
	if err := fs.CleanReseal(dir); err != nil {
		return err
	}
	if old, err = underOtherKeys(dir, current); err == nil && len(old) > 0 {
		err = fmt.Errorf("%d files are left under a retired key", len(old))
	}
	return err
}

// underOtherKeys lists the sealed files of a directory whose key is not current.
func underOtherKeys(dir string, current sealfs.KeyID) (old []string, err error) {
	names, err := baseFS.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		i, err := sealfs.DescribeClear(baseFS, path)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, sealfs.ErrNoHeader), name == sealfs.ResealDir:
			continue
		case err != nil:
			return nil, err
		case i.Class != sealfs.Plain && i.KeyID != current:
			old = append(old, path)
		}
	}
	return old, nil
}

// leaveRetired moves the accounts without a customer's key away from retired keys, and drops those that
// are leaving when no account needs them. What cannot be moved now is tried at the next start.
func (s *Server) leaveRetired(ctx context.Context, ring *rootkey.Ring) error {
	left, err := s.keeper.LeaveRetired(ctx)
	if left > 0 {
		s.log.Warn("accounts are still under a retired platform key", "accounts", left, "error", err)
		return nil
	}
	return ring.Drop(rootkey.Accounts)
}

// DescribeRootKey tells how the root key of a data directory is protected.
func DescribeRootKey(cfg config.Config) (*rootkey.Description, error) {
	o, err := keyOptions(cfg)
	if err != nil {
		return nil, err
	}
	return rootkey.Describe(o)
}

// RootKeyRotation says what to change besides the root key itself.
type RootKeyRotation struct {
	To string // a protection as --root-key has it; "" keeps it
	// The new passphrase, when To is one: from the first of these that there is.
	PassphraseFile string
	Passphrase     *secret.Bytes
	Ask            func() (*secret.Bytes, error)
	// Reseal seals the control store and the audit log again, so that the keys before can be dropped.
	Reseal bool
}

// opRootKeyRotated is the operation in the audit log.
const opRootKeyRotated = "RootKeyRotated"

// RotateRootKey gives a data directory a new root key. No server may be running.
func RotateRootKey(ctx context.Context, cfg config.Config, x RootKeyRotation) (*rootkey.Description, error) {
	if _, err := DescribeRootKey(cfg); err != nil {
		return nil, err // and no directory was made
	}
	to, err := rootkey.ParseProtection(x.To)
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	d, err := openDataDir(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	rotation := rootkey.Rotation{To: to, Reseal: x.Reseal, Passphrase: passphrase(x.PassphraseFile, x.Passphrase, x.Ask)}
	if err := d.rotate(ctx, cfg, rotation); err != nil {
		return nil, err
	}
	return DescribeRootKey(cfg)
}

// rotate is the rotation, between its two records: without the first nothing is done.
func (d *dataDir) rotate(ctx context.Context, cfg config.Config, x rootkey.Rotation) error {
	ring, err := d.startKeys(ctx, cfg)
	if err != nil {
		return err
	}
	defer ring.Wipe()
	e := audit.Event{Operation: opRootKeyRotated, Resource: "platform", Caller: "operator", Detail: x.To.String()}
	if err := d.record(ctx, ring, e.Decided(nil)); err != nil {
		return err
	}
	next, err := ring.Rotate(x)
	if err != nil {
		if next == nil {
			next = ring
		}
		return errors.Join(err, d.record(ctx, next, e.Done(err)))
	}
	defer next.Wipe()
	if err := d.reseal(ctx, next); err != nil {
		return errors.Join(err, d.record(ctx, next, e.Done(err)))
	}
	return d.record(ctx, next, e.Done(nil))
}

// record writes one event to the audit log of a directory without a server.
func (d *dataDir) record(ctx context.Context, ring *rootkey.Ring, e audit.Event) error {
	fs, err := sealed(ring, rootkey.Audit)
	if err != nil {
		return err
	}
	log, err := audit.Open(audit.Options{FS: fs, Dir: d.file(auditDir)})
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	e.Time = time.Now()
	return errors.Join(log.Record(ctx, e), log.Close())
}
