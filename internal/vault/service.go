package vault

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Authorizer decides by role assignments. scope is a resource id. A refusal is a [*fault.Error] of
// kind Denied whose message is for callers of Resource Manager.
type Authorizer interface {
	Authorize(ctx context.Context, c principal.Caller, action, scope string) error
	AuthorizeData(ctx context.Context, c principal.Caller, action, scope string) error
}

// Auditor keeps the record of decisions. When it fails, the operation is refused.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// Config says what a Service works with. DB, Audit and Authorizer are required.
type Config struct {
	DB         *store.Store
	Audit      Auditor
	Authorizer Authorizer
	// Trusted reports whether a caller is a platform service that passes a firewall whose bypass is
	// AzureServices. nil trusts nobody.
	Trusted func(principal.Caller) bool
	// RequireGroup returns a fault when a resource group does not exist. nil accepts all.
	RequireGroup func(name string) error
	// OnChange is called after a change is durable and outside locks. key is "" when the whole vault
	// is concerned. It must not block.
	OnChange func(vault, key string)
	// OnDelete is called with the resource id of a vault that was deleted: its role assignments go.
	OnDelete func(scope string) error
	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger     // nil discards
}

// Service is the set of all vaults and keys. It is safe for concurrent use.
//
// Lock order: changing before mu. changing makes one change at a time and is held over the store;
// mu guards the two maps and is never held over anything slow.
type Service struct {
	cfg    Config
	vaults *store.Table[Vault]
	keys   *store.Table[keyRecord]

	changing sync.Mutex
	mu       sync.RWMutex
	byName   map[string]*Vault                // by lower-case name
	byKey    map[string]map[string]*keyRecord // by lower-case vault name, then key name
}

// Open loads all vaults and keys.
func Open(cfg Config) (*Service, error) {
	s := &Service{
		cfg:    withDefaults(cfg),
		vaults: store.NewTable[Vault](cfg.DB, "vault/vaults"), keys: store.NewTable[keyRecord](cfg.DB, "vault/keys"),
		byName: map[string]*Vault{}, byKey: map[string]map[string]*keyRecord{},
	}
	vaults, err := s.vaults.All()
	if err != nil {
		return nil, err
	}
	for name, v := range vaults {
		s.byName[name] = &v
	}
	return s, s.loadKeys()
}

func withDefaults(cfg Config) Config {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Trusted == nil {
		cfg.Trusted = func(principal.Caller) bool { return false }
	}
	if cfg.RequireGroup == nil {
		cfg.RequireGroup = func(string) error { return nil }
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(string, string) {}
	}
	if cfg.OnDelete == nil {
		cfg.OnDelete = func(string) error { return nil }
	}
	return cfg
}

func (s *Service) loadKeys() error {
	all, err := s.keys.All()
	if err != nil {
		return err
	}
	for id, rec := range all {
		if err := rec.parse(); err != nil {
			return err
		}
		vault, name, _ := strings.Cut(id, "/")
		s.publishKey(vault, name, &rec)
	}
	return nil
}

// publishKey makes rec visible; nil removes. Names are in lower case.
func (s *Service) publishKey(vault, name string, rec *keyRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec == nil {
		delete(s.byKey[vault], name)
		return
	}
	if s.byKey[vault] == nil {
		s.byKey[vault] = map[string]*keyRecord{}
	}
	s.byKey[vault][name] = rec
}

// find returns the vault of a name, live or deleted, unless its retention is over.
func (s *Service) find(name string) (Vault, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.byName[strings.ToLower(name)]
	if !ok || v.Deletion.over(s.cfg.Now()) {
		return Vault{}, false
	}
	return *v, true
}

// live returns the vault of a name that is not deleted.
func (s *Service) live(name string) (Vault, error) {
	v, ok := s.find(name)
	if !ok || v.Deletion != nil {
		return Vault{}, fault.New(fault.NotFound, "VaultNotFound", "The vault '%s' does not exist.", name)
	}
	return v, nil
}

// findKey returns the record of a key, live or deleted, unless its retention is over.
func (s *Service) findKey(vault, name string) (*keyRecord, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.byKey[strings.ToLower(vault)][strings.ToLower(name)]
	if !ok || k.Deletion.over(s.cfg.Now()) {
		return nil, false
	}
	return k, true
}

// saveVault makes v durable and then visible. The caller holds changing.
func (s *Service) saveVault(v Vault) error {
	key := strings.ToLower(v.Name)
	if err := s.vaults.Put(key, v); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName[key] = &v
	return nil
}

// saveKey makes rec durable and then visible. The caller holds changing.
func (s *Service) saveKey(vault string, rec *keyRecord) error {
	vault, name := strings.ToLower(vault), strings.ToLower(rec.Name)
	if err := s.keys.Put(vault+"/"+name, *rec); err != nil {
		return err
	}
	s.publishKey(vault, name, rec)
	return nil
}

// eraseKey removes a key for good. The caller holds changing.
func (s *Service) eraseKey(vault, name string) error {
	vault, name = strings.ToLower(vault), strings.ToLower(name)
	if err := s.keys.Delete(vault + "/" + name); err != nil {
		return err
	}
	s.publishKey(vault, name, nil)
	return nil
}

// eraseVault removes a vault and its keys for good, in one commit. The caller holds changing.
func (s *Service) eraseVault(name string) error {
	name = strings.ToLower(name)
	b := s.cfg.DB.NewBatch()
	s.mu.RLock()
	for key := range s.byKey[name] {
		s.keys.DeleteIn(b, name+"/"+key)
	}
	s.mu.RUnlock()
	s.vaults.DeleteIn(b, name)
	if err := s.cfg.DB.Commit(b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, name)
	delete(s.byKey, name)
	return nil
}

// Sweep does what is due at now: it erases deleted vaults and keys whose retention is over, and rotates
// keys by their policies. The server calls it from time to time, and when [Service.NextRotation] says so.
func (s *Service) Sweep(ctx context.Context, now time.Time) error {
	return errors.Join(s.eraseOverdue(ctx, now), s.rotateDue(ctx, now))
}

func (s *Service) eraseOverdue(ctx context.Context, now time.Time) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.sweep(ctx, now)
}

// sweep erases what is overdue at now; changes do it for themselves. The caller holds changing.
func (s *Service) sweep(ctx context.Context, now time.Time) error {
	vaults, keys := s.overdue(now)
	for _, v := range vaults {
		if err := s.recordPurge(ctx, "VaultPurge", v.ResourceID); err != nil {
			return err
		}
		if err := s.eraseVault(v.Name); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if err := s.recordPurge(ctx, "KeyPurge", k.vault.keyScope(k.name)); err != nil {
			return err
		}
		if err := s.eraseKey(k.vault.Name, k.name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) recordPurge(ctx context.Context, operation, resource string) error {
	return s.cfg.Audit.Record(ctx, audit.Event{Time: s.cfg.Now(), Operation: operation, Resource: resource,
		Outcome: audit.Allowed, Caller: "platform", Detail: "the retention is over"})
}

type overdueKey struct {
	vault Vault
	name  string
}

// overdue collects what Sweep erases; the keys of an overdue vault go with it.
func (s *Service) overdue(now time.Time) (vaults []Vault, keys []overdueKey) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, v := range s.byName {
		if v.Deletion.over(now) {
			vaults = append(vaults, *v)
			continue
		}
		for _, k := range s.byKey[name] {
			if k.Deletion.over(now) {
				keys = append(keys, overdueKey{*v, k.Name})
			}
		}
	}
	return vaults, keys
}

// change runs edit as the only change of the service, after what is overdue has gone.
func (s *Service) change(ctx context.Context, edit func() error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.sweep(ctx, s.cfg.Now()); err != nil {
		return err
	}
	return edit()
}
