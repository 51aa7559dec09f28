package envelope

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// The names in a backup, and of the scratch directory below an account's in which it is taken.
const (
	manifestName   = "backup.json"
	checkpointName = "checkpoint"
)

// backupVersion is the version of the backup format; maxManifest bounds its manifest.
const (
	backupVersion = 1
	maxManifest   = 64 << 20
)

// purposeBackupMAC is the purpose of the key that authenticates a backup's manifest.
const purposeBackupMAC = "latchkey/account/backup-mac/v1"

// Backup is the manifest of a backup. docs/FORMAT.md describes the file.
type Backup struct {
	Format        int             `json:"format"`
	Account       string          `json:"account"` // the store id to which the files are bound
	Created       time.Time       `json:"created"`
	KeyURI        string          `json:"keyUri,omitempty"`
	KeyID         string          `json:"keyId,omitempty"`
	KeyringSHA256 string          `json:"keyringSha256"`
	About         json.RawMessage `json:"about"` // what the owner wants to know of the account
	Files         []BackupFile    `json:"files"`
}

// BackupFile is one file of a backup.
type BackupFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// backupFileName is what the files of a store are called; nothing else is read from a backup.
var backupFileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// Backup copies the account, as it is at one moment, to the directory dir, which must not exist: its
// files as they are on the disk, encrypted, and its keyring, still wrapped. The account serves
// meanwhile. about is kept with it.
func (k *Keeper) Backup(ctx context.Context, accountID, dir string, about []byte) (*Backup, error) {
	a, err := k.find(accountID)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(dir) {
		return nil, fault.New(fault.Invalid, "BackupDirectory", "The directory of a backup must be an absolute path.")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fault.New(fault.Conflict, "BackupDirectory", "The directory of the backup cannot be made: %v.", errors.Unwrap(err)).Because(err)
	}
	b := &Backup{Format: backupVersion, Account: accountID, Created: k.cfg.Now().UTC(), About: about}
	if err := a.backup(ctx, b, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

func (a *account) backup(ctx context.Context, b *Backup, dir string) error {
	raw, ak, err := a.checkpoint(ctx, b)
	defer ak.Wipe()
	scratch := a.k.path(a.id, checkpointName)
	defer func() { _ = a.k.cfg.FS.RemoveAll(scratch) }()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, keyringName), raw, 0o600); err != nil {
		return err
	}
	if b.Files, err = copyOut(ctx, a.k.cfg.FS, scratch, filepath.Join(dir, dataName)); err != nil {
		return err
	}
	content, err := b.encode(ak.Reveal())
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, manifestName), content, 0o600)
}

// checkpoint freezes the account's files in the scratch directory and returns the keyring that opens
// them, and the account key. No key changes meanwhile: a file must not outlive its data key.
func (a *account) checkpoint(ctx context.Context, b *Backup) (raw []byte, ak *secret.Bytes, err error) {
	db, release, err := a.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	giveBack, err := a.takeTurn(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer giveBack()
	ring, raw, err := a.readTrusted()
	if err != nil {
		return nil, nil, err
	}
	if _, ak = a.memory(); ak == nil {
		return nil, nil, errInterrupted
	}
	if err := a.record(ctx, opBackup, audit.Allowed, ring, nil); err != nil {
		return nil, ak, err
	}
	scratch := a.k.path(a.id, checkpointName)
	if err := a.k.cfg.FS.RemoveAll(scratch); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, ak, err
	}
	b.KeyURI, b.KeyID, b.KeyringSHA256 = ring.protection.KeyURI, ring.keyID, fingerprint(raw)
	return raw, ak, db.Checkpoint(scratch)
}

// copyOut copies the files of a directory of the base file system and makes them durable.
func copyOut(ctx context.Context, base vfs.FS, from, to string) ([]BackupFile, error) {
	names, err := base.List(from)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if err := os.Mkdir(to, 0o700); err != nil {
		return nil, err
	}
	var out []BackupFile
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := copyFile(base, base.PathJoin(from, name), filepath.Join(to, name))
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, atomicfile.SyncDir(to)
}

func copyFile(base vfs.FS, from, to string) (BackupFile, error) {
	in, err := base.Open(from)
	if err != nil {
		return BackupFile{}, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return BackupFile{}, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	if err == nil {
		err = out.Sync()
	}
	return BackupFile{filepath.Base(to), n, hex.EncodeToString(h.Sum(nil))}, errors.Join(err, out.Close())
}

// encode returns the manifest's file: one line of JSON, and a line with its MAC under the account key.
func (b *Backup) encode(ak []byte) ([]byte, error) {
	line, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(line, "\n%x\n", backupMAC(ak, b.Account, line)), nil
}

func backupMAC(ak []byte, account string, line []byte) []byte {
	key := derive(ak, purposeBackupMAC, account)
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(line)
	return h.Sum(nil)
}

func notABackup(why string) error {
	return fault.New(fault.Invalid, "NotABackup", "The directory does not hold a complete backup: %s.", why)
}

// decodeBackup parses a manifest; line and mac are what is to be authenticated. Nothing in it may be
// trusted before that.
func decodeBackup(raw []byte) (b *Backup, line, mac []byte, err error) {
	if len(raw) > maxManifest || len(raw) < 2*sha256.Size+3 {
		return nil, nil, nil, notABackup("the manifest has an impossible length")
	}
	cut := len(raw) - 2*sha256.Size - 2
	line, tail := raw[:cut], raw[cut:]
	mac, err = hex.DecodeString(string(tail[1 : len(tail)-1]))
	if err != nil || tail[0] != '\n' || tail[len(tail)-1] != '\n' {
		return nil, nil, nil, notABackup("the manifest has no MAC")
	}
	b = new(Backup)
	if err := json.Unmarshal(line, b); err != nil || b.Format != backupVersion {
		return nil, nil, nil, notABackup("the manifest is not of a version that this server knows")
	}
	for _, f := range b.Files {
		if !backupFileName.MatchString(f.Name) {
			return nil, nil, nil, notABackup("the manifest names a file that no store has")
		}
	}
	return b, line, mac, nil
}

// source is an account's frozen files with the keys that open them.
type source struct {
	fs    *sealfs.FS
	dir   string
	names []string
	keys  *keySet
	was   Protection
	check func() error // compares the files with a manifest
}

// Restore makes the account accountID out of a backup: under p, or under the backup's own key if p
// names none. The backup's key must still be usable, by the identity of p, in the version that the
// backup was taken under. The new account has new keys, and its own copy of every file.
func (k *Keeper) Restore(ctx context.Context, accountID, dir string, p Protection) (*Backup, error) {
	b, src, err := k.openBackup(ctx, dir, p.Identity)
	if err != nil {
		return nil, err
	}
	defer src.keys.wipe()
	if err := src.check(); err != nil {
		return nil, err
	}
	return b, k.createFrom(ctx, accountID, p, src)
}

// openBackup authenticates a backup, but for its files' content.
func (k *Keeper) openBackup(ctx context.Context, dir, identity string) (*Backup, *source, error) {
	content, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, nil, notABackup("there is no manifest")
	}
	b, line, mac, err := decodeBackup(content)
	if err != nil {
		return nil, nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, keyringName))
	if err != nil || fingerprint(raw) != b.KeyringSHA256 {
		return nil, nil, notABackup("its keyring is missing or another one")
	}
	ring, err := decodeKeyring(raw)
	if err != nil || ring.account != b.Account {
		return nil, nil, notABackup("its keyring does not verify")
	}
	a := newAccount(k, ring.account)
	ak, err := a.unwrap(ctx, ring, raw, identity)
	if err != nil {
		return nil, nil, backupDenied(ring, err)
	}
	defer ak.Wipe()
	if !hmac.Equal(mac, backupMAC(ak.Reveal(), b.Account, line)) {
		return nil, nil, notABackup("its manifest was changed")
	}
	src, err := k.source(ring, ak, vfs.Default, filepath.Join(dir, dataName))
	if err != nil {
		return nil, nil, err
	}
	for _, f := range b.Files {
		src.names = append(src.names, f.Name)
	}
	src.check = func() error { return b.checkFiles(ctx, filepath.Join(dir, dataName)) }
	return b, src, nil
}

// backupDenied says which version of which key a backup needs.
func backupDenied(ring *keyring, err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	return fault.New(fault.KeyDenied, strconv.Itoa(f.substatus),
		"The backup is under the key %s, which cannot be used because %s (%d).", ring.keyID, causes[f.substatus].reason, f.substatus).Because(err)
}

// source opens frozen files with the data keys of ring.
func (k *Keeper) source(ring *keyring, ak *secret.Bytes, base vfs.FS, dir string) (*source, error) {
	keys, err := unlockKeys(ring, ak.Clone())
	if err != nil {
		return nil, err
	}
	sealed, err := sealfs.New(base, sealfs.Options{Keys: sealKeys{keys}, StoreID: ring.account})
	if err != nil {
		keys.wipe()
		return nil, err
	}
	return &source{fs: sealed, dir: dir, keys: keys, was: ring.protection, check: func() error { return nil }}, nil
}

// checkFiles compares every file with the manifest, and that there is no other.
func (b *Backup) checkFiles(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(b.Files) {
		return notABackup("it does not have the files that its manifest names")
	}
	for _, f := range b.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, n, err := hashFile(filepath.Join(dir, f.Name))
		if err != nil || n != f.Bytes || sum != f.SHA256 {
			return notABackup("the file " + f.Name + " is missing or was changed")
		}
	}
	return nil
}

func hashFile(name string) (sum string, n int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// Clone makes the account accountID a copy of another one as it is now, under p, or under the other
// one's key if p names none, with keys of its own.
func (k *Keeper) Clone(ctx context.Context, fromID, accountID string, p Protection) error {
	a, err := k.find(fromID)
	if err != nil {
		return err
	}
	raw, ak, err := a.checkpoint(ctx, new(Backup))
	defer ak.Wipe()
	scratch := k.path(fromID, checkpointName)
	defer func() { _ = k.cfg.FS.RemoveAll(scratch) }()
	if err != nil {
		return err
	}
	ring, err := decodeKeyring(raw)
	if err != nil {
		return err
	}
	src, err := k.source(ring, ak, k.cfg.FS, scratch)
	if err != nil {
		return err
	}
	defer src.keys.wipe()
	if src.names, err = k.cfg.FS.List(scratch); err != nil {
		return err
	}
	return k.createFrom(ctx, accountID, p, src)
}

// createFrom is Create with content.
func (k *Keeper) createFrom(ctx context.Context, accountID string, p Protection, src *source) error {
	if p.KeyURI == "" {
		p.KeyURI = src.was.KeyURI
	}
	return k.make(ctx, accountID, p, src)
}

// fill re-encrypts the files of src into the directory of an account that is being made.
func (a *account) fill(ctx context.Context, ring *keyring, ak *secret.Bytes, src *source) error {
	keys, err := unlockKeys(ring, ak.Clone())
	if err != nil {
		return err
	}
	defer keys.wipe()
	sealed, err := a.k.seal(a.id, keys)
	if err != nil {
		return err
	}
	dir := a.k.path(a.id, dataName)
	if err := sealed.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range src.names {
		if err := sealfs.Copy(ctx, sealed, sealed.PathJoin(dir, name), src.fs, src.fs.PathJoin(src.dir, name), nil); err != nil {
			return err
		}
	}
	d, err := sealed.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
