package vault

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

func newVersionID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func keyNotFound(name, version string) error {
	if version != "" {
		name += "/" + version
	}
	return fault.New(fault.NotFound, "KeyNotFound",
		"A key with (name/id) %s was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182", name)
}

func deletedKeyNotFound(name string) error {
	return fault.New(fault.NotFound, "KeyNotFound", "Deleted Key not found: %s", name)
}

// liveKey returns a key that is not deleted, and one of its versions; "" means the current one.
func (s *Service) liveKey(vault, name, id string) (*keyRecord, version, error) {
	k, ok := s.findKey(vault, name)
	if !ok || k.Deletion != nil {
		return nil, version{}, keyNotFound(name, id)
	}
	v, ok := k.version(id)
	if !ok {
		return nil, version{}, keyNotFound(name, id)
	}
	return k, v, nil
}

// deletedKey returns a key that is deleted and can be recovered.
func (s *Service) deletedKey(vault, name string) (*keyRecord, error) {
	k, ok := s.findKey(vault, name)
	if !ok || k.Deletion == nil {
		return nil, deletedKeyNotFound(name)
	}
	return k, nil
}

// CreateKey generates a key, or a new current version of one.
func (s *Service) CreateKey(ctx context.Context, c principal.Caller, vault, name string, spec KeySpec) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayCreate, spec.check(), spec.checkType())
	if err != nil {
		return Key{}, err
	}
	if err := s.nameFree(vault, name); err != nil {
		return Key{}, r.done(err)
	}
	size := spec.Size
	if size == 0 {
		size = defaultSize
	}
	private, err := rsa.GenerateKey(rand.Reader, size)
	if err != nil {
		return Key{}, r.done(fmt.Errorf("vault: generate a key: %w", err))
	}
	return s.addVersion(r, spec, private)
}

// ImportKey takes a private key over as a new current version. The caller gives up private.
func (s *Service) ImportKey(ctx context.Context, c principal.Caller, vault, name string, spec KeySpec, private *rsa.PrivateKey) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayImport, spec.check(), spec.checkType(), checkImported(private))
	if err != nil {
		return Key{}, err
	}
	return s.addVersion(r, spec, private)
}

func checkImported(private *rsa.PrivateKey) error {
	switch {
	case private == nil:
		return badParameter("The property 'key' must be an RSA key in JWK form with its private members.")
	case !validSize(private.N.BitLen()):
		return badParameter("The key size %d is not valid for RSA; use 2048, 3072 or 4096.", private.N.BitLen())
	case private.Validate() != nil:
		return badParameter("The members of the RSA key do not fit together.")
	}
	return nil
}

// nameFree refuses the name of a deleted key.
func (s *Service) nameFree(vault, name string) error {
	if k, ok := s.findKey(vault, name); ok && k.Deletion != nil {
		return fault.New(fault.Conflict, "ObjectIsDeletedButRecoverable",
			"Key %s is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged.", k.Name)
	}
	return nil
}

// addVersion stores a version and ends r.
func (s *Service) addVersion(r *request, spec KeySpec, private *rsa.PrivateKey) (Key, error) {
	v, err := spec.version(newVersionID(), private, s.cfg.Now())
	if err != nil {
		return Key{}, r.done(err)
	}
	r.version = v.ID
	return s.changeKey(r, func() (*keyRecord, version, error) {
		if err := s.nameFree(r.vault.Name, r.key); err != nil {
			return nil, v, err
		}
		k, ok := s.findKey(r.vault.Name, r.key)
		if !ok {
			k = &keyRecord{Name: r.key}
		}
		return k.with(v), v, nil
	})
}

// changeKey stores what edit returns as the only change of the service, and ends r. The vault must
// still be there.
func (s *Service) changeKey(r *request, edit func() (*keyRecord, version, error)) (Key, error) {
	var key Key
	err := s.change(r.ctx, func() error {
		vault, err := s.live(r.vault.Name)
		if err != nil {
			return err
		}
		k, v, err := edit()
		if err != nil {
			return err
		}
		if err := s.saveKey(vault.Name, k); err != nil {
			return err
		}
		key = k.view(vault, v)
		return nil
	})
	if err == nil {
		s.cfg.OnChange(r.vault.Name, r.key)
	}
	return key, r.done(err)
}

// Key returns a version of a key; version "" is the current one.
func (s *Service) Key(ctx context.Context, c principal.Caller, vault, name, id string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayGet, checkVersion(id))
	if err != nil {
		return Key{}, err
	}
	k, v, err := s.liveKey(vault, name, id)
	if err != nil {
		return Key{}, r.done(err)
	}
	r.version = v.ID
	return k.view(r.vault, v), r.done(nil)
}

func checkVersion(id string) error {
	if id == "" || versionPattern.MatchString(id) {
		return nil
	}
	return badParameter("The request URI contains an invalid version: %s", id)
}

// Page asks for up to Max items after the one that Marker names ("" for the beginning). Markers come
// from the answers.
type Page struct {
	Marker string
	Max    int
}

// paged cuts the page out of sorted items. next is "" on the last page.
func paged(all []Key, p Page, id func(Key) string) (items []Key, next string) {
	from, found := slices.BinarySearchFunc(all, p.Marker, func(k Key, m string) int { return strings.Compare(id(k), m) })
	if found {
		from++
	}
	all = all[from:]
	if p.Max < 1 || len(all) <= p.Max {
		return all, ""
	}
	return all[:p.Max], id(all[p.Max-1])
}

func byName(k Key) string    { return strings.ToLower(k.Name) }
func byVersion(k Key) string { return k.Version }

// Keys lists the current versions of all keys by name. The items carry no version.
func (s *Service) Keys(ctx context.Context, c principal.Caller, vault string, p Page) (items []Key, next string, err error) {
	return s.listKeys(ctx, c, vault, p, mayList, false)
}

// DeletedKeys lists the deleted keys by name.
func (s *Service) DeletedKeys(ctx context.Context, c principal.Caller, vault string, p Page) (items []Key, next string, err error) {
	return s.listKeys(ctx, c, vault, p, mayList.as("KeyListDeleted"), true)
}

func (s *Service) listKeys(ctx context.Context, c principal.Caller, vault string, p Page, need permission, deleted bool) ([]Key, string, error) {
	r, err := s.guard(ctx, c, vault, "", need)
	if err != nil {
		return nil, "", err
	}
	all := s.snapshot(r.vault, deleted)
	slices.SortFunc(all, func(a, b Key) int { return strings.Compare(byName(a), byName(b)) })
	items, next := paged(all, p, byName)
	return items, next, r.done(nil)
}

func (s *Service) snapshot(v Vault, deleted bool) []Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := []Key{}
	for _, k := range s.byKey[strings.ToLower(v.Name)] {
		if (k.Deletion != nil) != deleted || k.Deletion.over(s.cfg.Now()) {
			continue
		}
		current, _ := k.version("")
		view := k.view(v, current)
		view.Version = ""
		all = append(all, view)
	}
	return all
}

// KeyVersions lists the versions of a key by version id. A key that does not exist has none.
func (s *Service) KeyVersions(ctx context.Context, c principal.Caller, vault, name string, p Page) (items []Key, next string, err error) {
	r, err := s.guard(ctx, c, vault, name, mayList.as("KeyListVersions"))
	if err != nil {
		return nil, "", err
	}
	k, ok := s.findKey(vault, name)
	if !ok || k.Deletion != nil {
		return []Key{}, "", r.done(nil)
	}
	var all []Key
	for _, v := range k.Versions {
		all = append(all, k.view(r.vault, v))
	}
	slices.SortFunc(all, func(a, b Key) int { return strings.Compare(a.Version, b.Version) })
	items, next = paged(all, p, byVersion)
	return items, next, r.done(nil)
}

// UpdateKey changes attributes, operations and tags of a version; "" is the current one.
func (s *Service) UpdateKey(ctx context.Context, c principal.Caller, vault, name, id string, spec KeySpec) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayUpdate, checkVersion(id), spec.check())
	if err != nil {
		return Key{}, err
	}
	return s.changeKey(r, func() (*keyRecord, version, error) {
		k, v, err := s.liveKey(vault, name, id)
		if err != nil {
			return nil, v, err
		}
		r.version = v.ID
		v = spec.apply(v, s.cfg.Now())
		if v.Expires != 0 && v.Expires <= v.NotBefore {
			return nil, v, badParameter("The attribute 'exp' must be later than 'nbf'.")
		}
		return k.with(v), v, nil
	})
}

// DeleteKey deletes all versions of a key; they can be recovered until the retention is over.
func (s *Service) DeleteKey(ctx context.Context, c principal.Caller, vault, name string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayDelete)
	if err != nil {
		return Key{}, err
	}
	return s.changeKey(r, func() (*keyRecord, version, error) {
		k, v, err := s.liveKey(vault, name, "")
		if err != nil {
			return nil, v, err
		}
		deleted := *k
		deleted.Deletion = r.vault.deletion(s.cfg.Now())
		return &deleted, v, nil
	})
}

// DeletedKey returns the current version of a deleted key.
func (s *Service) DeletedKey(ctx context.Context, c principal.Caller, vault, name string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayGet.as("KeyGetDeleted"))
	if err != nil {
		return Key{}, err
	}
	k, err := s.deletedKey(vault, name)
	if err != nil {
		return Key{}, r.done(err)
	}
	v, _ := k.version("")
	return k.view(r.vault, v), r.done(nil)
}

// RecoverKey brings a deleted key back with all its versions.
func (s *Service) RecoverKey(ctx context.Context, c principal.Caller, vault, name string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayRecover)
	if err != nil {
		return Key{}, err
	}
	return s.changeKey(r, func() (*keyRecord, version, error) {
		k, err := s.deletedKey(vault, name)
		if err != nil {
			return nil, version{}, err
		}
		back := *k
		back.Deletion = nil
		v, _ := back.version("")
		return &back, v, nil
	})
}

// PurgeKey destroys a deleted key for good, unless purge protection forbids it.
func (s *Service) PurgeKey(ctx context.Context, c principal.Caller, vault, name string) error {
	r, err := s.guard(ctx, c, vault, name, mayPurge)
	if err != nil {
		return err
	}
	err = s.change(ctx, func() error {
		v, err := s.live(vault)
		if err != nil {
			return err
		}
		if _, err := s.deletedKey(vault, name); err != nil {
			return err
		}
		if v.PurgeProtect {
			return fault.New(fault.Denied, "PurgeProtected",
				"Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed.\r\nVault: %s", v.describe())
		}
		return s.eraseKey(vault, name)
	})
	if err == nil {
		s.cfg.OnChange(r.vault.Name, name)
	}
	return r.done(err)
}
