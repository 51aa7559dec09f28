package vault

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// liveKey returns a key that is not deleted, and one of its versions; "" means the current one.
func (s *Service) liveKey(vault, name, id string) (keyRecord, keyVersion, error) {
	k, err := s.keys.live(vault, name)
	if err != nil {
		return k, keyVersion{}, ofKeys.notFound(name, id)
	}
	v, ok := k.version(id)
	if !ok {
		return k, v, ofKeys.notFound(name, id)
	}
	return k, v, nil
}

// CreateKey generates a key, or a new current version of one.
func (s *Service) CreateKey(ctx context.Context, c principal.Caller, vault, name string, spec KeySpec) (Key, error) {
	p, badType := spec.params()
	r, err := s.guard(ctx, c, vault, name, mayCreate, spec.check(), badType)
	if err != nil {
		return Key{}, err
	}
	if err := s.keyFree(vault, name); err != nil {
		return Key{}, r.done(err)
	}
	kty, _ := spec.kty()
	key, err := s.generate(kty, p)
	if err != nil {
		return Key{}, r.done(err)
	}
	return s.addVersion(r, spec, key)
}

// keyFree refuses a name that is deleted, or a certificate's.
func (s *Service) keyFree(vault, name string) error {
	if k, ok := s.keys.find(vault, name); ok && k.Managed && k.Deletion == nil {
		return ofKeys.managed(name)
	}
	return s.keys.free(vault, name)
}

// ImportKey takes a private key over as a new current version.
func (s *Service) ImportKey(ctx context.Context, c principal.Caller, vault, name string, spec KeySpec, jwk material.JWK) (Key, error) {
	kty, badType := spec.kty()
	jwk.Type = typeOf(kty)
	r, err := s.guard(ctx, c, vault, name, mayImport, spec.check(), badType)
	if err != nil {
		return Key{}, err
	}
	key, err := material.Import(jwk)
	if err != nil {
		return Key{}, r.done(err)
	}
	placed, err := s.place(kty, key)
	if err != nil {
		return Key{}, r.done(err)
	}
	return s.addVersion(r, spec, placed)
}

// addVersion stores a version and ends r. A key that is not stored is discarded.
func (s *Service) addVersion(r *request, spec KeySpec, key made) (out Key, err error) {
	defer func() {
		if err != nil {
			s.discard(key)
		}
	}()
	v, err := spec.version(key, s.cfg.Now())
	if err != nil {
		return Key{}, r.done(err)
	}
	r.version = v.ID
	return s.changeKey(r, func() (keyRecord, keyVersion, error) {
		if err := s.keyFree(r.vault.Name, r.name); err != nil {
			return keyRecord{}, v, err
		}
		k, ok := s.keys.find(r.vault.Name, r.name)
		if !ok {
			k.Name = r.name
		}
		return k.with(v), v, nil
	})
}

// changeKey stores what edit returns and ends r.
func (s *Service) changeKey(r *request, edit func() (keyRecord, keyVersion, error)) (Key, error) {
	var v keyVersion
	k, err := change(r, s.keys, func() (k keyRecord, err error) {
		k, v, err = edit()
		return k, err
	})
	if err != nil {
		return Key{}, err
	}
	return k.view(r.vault, v), nil
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

// Keys lists the current versions of all keys by name. The items carry no version.
func (s *Service) Keys(ctx context.Context, c principal.Caller, vault string, p Page) (items []Key, next string, err error) {
	return list(s, ctx, c, vault, p, mayList, s.keys, false, keyRecord.headline)
}

// DeletedKeys lists the deleted keys by name.
func (s *Service) DeletedKeys(ctx context.Context, c principal.Caller, vault string, p Page) (items []Key, next string, err error) {
	return list(s, ctx, c, vault, p, mayList.as("KeyListDeleted"), s.keys, true, keyRecord.headline)
}

// headline is a key in a list of keys.
func (k keyRecord) headline(vault Vault) Key {
	v, _ := k.version("")
	out := k.view(vault, v)
	out.Version = ""
	return out
}

// KeyVersions lists the versions of a key by version id. A key that does not exist has none.
func (s *Service) KeyVersions(ctx context.Context, c principal.Caller, vault, name string, p Page) (items []Key, next string, err error) {
	r, err := s.guard(ctx, c, vault, name, mayList.as("KeyListVersions"))
	if err != nil {
		return nil, "", err
	}
	k, err := s.keys.live(vault, name)
	if err != nil {
		return []Key{}, "", r.done(nil)
	}
	items, next = versions(k.object, p, func(v keyVersion) Key { return k.view(r.vault, v) })
	return items, next, r.done(nil)
}

// UpdateKey changes attributes, operations and tags of a version; "" is the current one.
func (s *Service) UpdateKey(ctx context.Context, c principal.Caller, vault, name, id string, spec KeySpec) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayUpdate, checkVersion(id), spec.check())
	if err != nil {
		return Key{}, err
	}
	return s.changeKey(r, func() (keyRecord, keyVersion, error) {
		k, v, err := s.liveKey(vault, name, id)
		if err != nil {
			return k, v, err
		}
		r.version = v.ID
		v, err = spec.change(v, s.cfg.Now())
		return k.with(v), v, err
	})
}

// DeleteKey deletes all versions of a key; they can be recovered until the retention is over.
func (s *Service) DeleteKey(ctx context.Context, c principal.Caller, vault, name string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayDelete)
	if err != nil {
		return Key{}, err
	}
	return current(remove(r, s.keys))(r.vault)
}

// current views the current version of what a change left.
func current(k keyRecord, err error) func(Vault) (Key, error) {
	return func(vault Vault) (Key, error) {
		if err != nil {
			return Key{}, err
		}
		v, _ := k.version("")
		return k.view(vault, v), nil
	}
}

// DeletedKey returns the current version of a deleted key.
func (s *Service) DeletedKey(ctx context.Context, c principal.Caller, vault, name string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayGet.as("KeyGetDeleted"))
	if err != nil {
		return Key{}, err
	}
	k, err := s.keys.recoverable(vault, name)
	return current(k, r.done(err))(r.vault)
}

// RecoverKey brings a deleted key back with all its versions.
func (s *Service) RecoverKey(ctx context.Context, c principal.Caller, vault, name string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayRecover)
	if err != nil {
		return Key{}, err
	}
	return current(bringBack(r, s.keys))(r.vault)
}

// PurgeKey destroys a deleted key for good, unless purge protection forbids it.
func (s *Service) PurgeKey(ctx context.Context, c principal.Caller, vault, name string) error {
	r, err := s.guard(ctx, c, vault, name, mayPurge)
	if err != nil {
		return err
	}
	return purge(r, s.keys)
}

// BackUpKey returns a blob with all versions of a key, which only [Service.RestoreKey] of this server
// can read. Keys in a token have none: they never leave it.
func (s *Service) BackUpKey(ctx context.Context, c principal.Caller, vault, name string) ([]byte, error) {
	r, err := s.guard(ctx, c, vault, name, mayBackUp)
	if err != nil {
		return nil, err
	}
	return backUp(r, s.keys, keyRecord.leaves)
}

// RestoreKey brings back a key from a blob, with its name and versions.
func (s *Service) RestoreKey(ctx context.Context, c principal.Caller, vault string, blob []byte) (Key, error) {
	r, err := s.guard(ctx, c, vault, "", mayRestore)
	if err != nil {
		return Key{}, err
	}
	k, err := restore(r, s.keys, blob, func(k *keyRecord) error { return k.parse(s.cfg.Token) })
	return current(k, err)(r.vault)
}

// Random returns n random bytes. Whoever may read keys may have them.
func (s *Service) Random(ctx context.Context, c principal.Caller, vault string, n int) ([]byte, error) {
	var form error
	if n < 1 || n > maxRandom {
		form = badParameter("GetRandomBytesRequest: count cannot be greater than %d or less than 1", maxRandom)
	}
	r, err := s.guard(ctx, c, vault, "", mayGet.as("RandomBytesGet"), form)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	rand.Read(b)
	return b, r.done(nil)
}

// Page asks for up to Max items after the one that Marker names ("" for the beginning). Markers come
// from the answers.
type Page struct {
	Marker string
	Max    int
}

// paged cuts the page out of sorted items. next is "" on the last page.
func paged[T any](all []T, p Page, id func(T) string) (items []T, next string) {
	from, found := slices.BinarySearchFunc(all, p.Marker, func(x T, m string) int { return strings.Compare(id(x), m) })
	if found {
		from++
	}
	all = all[from:]
	if p.Max < 1 || len(all) <= p.Max {
		return all, ""
	}
	return all[:p.Max], id(all[p.Max-1])
}
