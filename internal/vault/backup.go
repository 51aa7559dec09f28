package vault

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
)

// A backup is one object with all its versions, sealed so that only this server's vaults can read it.
//
//	&AzureKeyVaultKeyBackupV1.microsoft.com   the service's own beginning, by the kind of object
//	compact JWE                               dir, A256GCM; kid names the key in the control store
//
// The sealed text is [contents]. The key is made at the first backup and stays: a blob can be restored
// for as long as this server's control store lives.

// maxBackupVersions is the service's limit for one blob.
const maxBackupVersions = 500

// maxBlob bounds a blob that is restored, in bytes.
const maxBlob = 8 << 20

// contents is what a blob seals. Subscription and Location bind it, as the service does.
type contents[R any] struct {
	Format       int
	Kind         string
	Subscription string
	Object       R
}

const contentsFormat = 1

func (k kind) magic() []byte { return []byte("&AzureKeyVault" + k.title + "BackupV1.microsoft.com") }

// backupKey seals blobs.
type backupKey struct {
	ID  string
	Key private
}

// backupKeys is the table's only record.
const backupKeyRecord = "current"

// backupKey returns the key for blobs, which is made when it is first needed.
func (s *Service) backupKey() (backupKey, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	table := store.NewTable[backupKey](s.cfg.DB, "vault/backupkeys")
	k, ok, err := table.Get(backupKeyRecord)
	if err != nil || ok {
		return k, err
	}
	fresh := secret.Random(32)
	k = backupKey{ID: newVersionID(), Key: fresh.Reveal()}
	return k, table.Put(backupKeyRecord, k)
}

func checkBackup(k kind, versions int) error {
	if versions > maxBackupVersions {
		return badParameter("The %s has more than %d versions and cannot be backed up.", k.singular, maxBackupVersions)
	}
	return nil
}

// leaves refuses a backup of a key that cannot leave its token, or of too many versions.
func (k keyRecord) leaves() error {
	for _, v := range k.Versions {
		if v.Token != nil {
			return badParameter("The key lives in a hardware security module and cannot be backed up: it never leaves it.")
		}
	}
	return checkBackup(ofKeys, len(k.Versions))
}

// backUp seals an object that leaves allows to go, and ends r.
func backUp[R record[R]](r *request, h *shelf[R], leaves func(R) error) ([]byte, error) {
	rec, err := h.live(r.vault.Name, r.name)
	if err != nil {
		return nil, r.done(err)
	}
	if err := leaves(rec); err != nil {
		return nil, r.done(err)
	}
	blob, err := seal(r.s, h.kind, contents[R]{contentsFormat, h.kind.plural, r.vault.Subscription, rec})
	if err := r.done(err); err != nil {
		return nil, err
	}
	return blob, nil
}

func seal[R any](s *Service, k kind, c contents[R]) ([]byte, error) {
	key, err := s.backupKey()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("vault: encode a backup: %w", err)
	}
	defer clear(text)
	enc, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: []byte(key.Key), KeyID: key.ID}, nil)
	if err != nil {
		return nil, fmt.Errorf("vault: seal a backup: %w", err)
	}
	sealed, err := enc.EncryptWithAuthData(text, nil)
	if err != nil {
		return nil, fmt.Errorf("vault: seal a backup: %w", err)
	}
	compact, err := sealed.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("vault: seal a backup: %w", err)
	}
	return append(k.magic(), compact...), nil
}

// ReasonMalformedBackup is the fault of a blob that is no backup, in the service's spelling.
const ReasonMalformedBackup = "Malformed backup blob"

func malformedBlob() error {
	return fault.New(fault.Invalid, ReasonMalformedBackup, "Backup blob is corrupt.")
}

// unseal reads a blob; whatever is wrong with it has one answer.
func unseal[R any](s *Service, k kind, blob []byte) (c contents[R], err error) {
	compact, ok := bytes.CutPrefix(blob, k.magic())
	if !ok || len(blob) > maxBlob {
		return c, malformedBlob()
	}
	key, err := s.backupKey()
	if err != nil {
		return c, err
	}
	sealed, err := jose.ParseEncryptedCompact(string(compact), []jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return c, malformedBlob()
	}
	text, err := sealed.Decrypt([]byte(key.Key))
	if err != nil {
		return c, malformedBlob()
	}
	defer clear(text)
	if json.Unmarshal(text, &c) != nil || c.Format != contentsFormat || c.Kind != k.plural {
		return c, malformedBlob()
	}
	return c, nil
}

// restore brings an object back from a blob and ends r. The name must be free, deleted objects included.
func restore[R record[R]](r *request, h *shelf[R], blob []byte, parse func(*R) error) (R, error) {
	c, err := unseal[R](r.s, h.kind, blob)
	if err != nil {
		return c.Object, r.done(err)
	}
	rec := c.Object.marked(nil)
	if checkName(rec.name()) != nil || rec.name() == "" || parse(&rec) != nil {
		return rec, r.done(malformedBlob())
	}
	r.name = rec.name()
	return change(r, h, func() (R, error) {
		if c.Subscription != r.vault.Subscription {
			return rec, badParameter("The backup was made in another subscription and cannot be restored here.")
		}
		if _, taken := h.find(r.vault.Name, rec.name()); taken {
			return rec, restoreConflict(h.kind, r.resource())
		}
		return rec, nil
	})
}

func restoreConflict(k kind, id string) error {
	return fault.New(fault.Conflict, "RestoreConflict",
		"There was a conflict restoring the %s '%s'. This can happen if either: the %s is already in the vault, or the %s with the same name is in the deleted state, or another operation on it is in progress.", k.singular, id, k.singular, k.singular)
}
