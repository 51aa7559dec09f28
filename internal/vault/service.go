package vault

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// Authorizer decides by role assignments. scope is a resource id. A refusal is a [*fault.Error] of
// kind Denied whose message is for callers of Resource Manager. DecideData decides about data actions and
// says why.
type Authorizer interface {
	Authorize(ctx context.Context, c principal.Caller, action, scope string) error
	DecideData(ctx context.Context, c principal.Caller, action, scope string) access.Decision
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
	// OnEvent adds what is to become of an event to the commit that makes it true: both become durable or
	// neither. It is called with locks held and must not call the service. nil: nobody is told.
	OnEvent func(b *store.Batch, e Event) error
	// Told is called when events that OnEvent was given are durable. It is called with locks held and must
	// not block.
	Told func()
	// Limits has the service's limits of operations in a period enforced.
	Limits bool
	// AllowFaults lets operators disturb vaults; see [Disturbance].
	AllowFaults bool
	// OnDelete is called with the resource id of a vault that was deleted: its role assignments go.
	OnDelete func(scope string) error
	// Why answers a question about a vault whose asker is authorised; see [Service.Explain].
	Why func(ctx context.Context, asker principal.Caller, id uri.ResourceID, q access.Question) (any, error)
	// Token is where keys of the types that end in -HSM are made and stay. nil: they are software keys.
	Token material.Token
	Now   func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil discards
}

// Service is the set of all vaults and what they hold. It is safe for concurrent use.
//
// Lock order: changing before mu. changing makes one change at a time and is held over the store;
// mu guards the vaults, each shelf has one for its objects; none is held over anything slow.
type Service struct {
	cfg     Config
	vaults  *store.Table[Vault]
	keys    *shelf[keyRecord]
	secrets *shelf[secretRecord]

	certificates *shelf[certificateRecord]

	unproven  flood // of refused tokens
	meter     meter
	disturbed disturbances

	noticeTable *store.Table[notice]
	noticed     sync.Mutex // guards notices
	notices     map[string]notice

	changing sync.Mutex
	mu       sync.RWMutex
	byName   map[string]*Vault // by lower-case name
}

// Open loads all vaults and what they hold.
func Open(cfg Config) (*Service, error) {
	cfg = withDefaults(cfg)
	s := &Service{cfg: cfg, vaults: store.NewTable[Vault](cfg.DB, "vault/vaults"), byName: map[string]*Vault{},
		noticeTable: store.NewTable[notice](cfg.DB, "vault/notices")}
	vaults, err := s.vaults.All()
	if err != nil {
		return nil, err
	}
	if s.notices, err = s.noticeTable.All(); err != nil {
		return nil, err
	}
	for name, v := range vaults {
		s.byName[name] = &v
	}
	if s.keys, err = openShelf(cfg.DB, ofKeys, cfg.Now, func(k *keyRecord) error { return k.parse(cfg.Token) }); err != nil {
		return nil, err
	}
	if s.secrets, err = openShelf(cfg.DB, ofSecrets, cfg.Now, func(*secretRecord) error { return nil }); err != nil {
		return nil, err
	}
	s.certificates, err = openShelf(cfg.DB, ofCertificates, cfg.Now, func(*certificateRecord) error { return nil })
	return s, err
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
	if cfg.Told == nil {
		cfg.Told = func() {}
	}
	if cfg.Why == nil {
		cfg.Why = func(context.Context, principal.Caller, uri.ResourceID, access.Question) (any, error) {
			return nil, fault.New(fault.NotImplemented, "NotOffered", "This server does not answer questions.")
		}
	}
	return cfg
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

// eraseVault removes a vault and all that it holds for good, in one commit. The caller holds changing.
func (s *Service) eraseVault(name string) error {
	name = strings.ToLower(name)
	return s.commit(func(c *changes) {
		s.keys.emptyIn(c, name)
		s.secrets.emptyIn(c, name)
		s.certificates.emptyIn(c, name)
		s.eraseSide(c, name)
		s.vaults.DeleteIn(c.batch, name)
		c.do(nil, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.byName, name)
		})
	})
}

// Sweep does what is due at now: it erases deleted vaults and keys whose retention is over, rotates keys
// by their policies, and tells of versions that come to their end. The server calls it from time to time, and when [Service.NextRotation] says so.
func (s *Service) Sweep(ctx context.Context, now time.Time) error {
	return errors.Join(s.eraseOverdue(ctx, now), s.rotateDue(ctx, now), s.renewDue(ctx, now), s.notify(ctx, now))
}

func (s *Service) eraseOverdue(ctx context.Context, now time.Time) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.sweep(ctx, now)
}

// sweep erases what is overdue at now; changes do it for themselves. The caller holds changing.
func (s *Service) sweep(ctx context.Context, now time.Time) error {
	overdue, rest := s.overdue(now)
	for _, v := range overdue {
		if err := s.recordPurge(ctx, "VaultPurge", v.ResourceID); err != nil {
			return err
		}
		if err := s.emptyToken(v.Name); err != nil {
			s.cfg.Log.Error("a vault whose retention is over cannot be erased yet", "vault", v.Name, "error", err)
			continue // it counts as absent; the next sweep tries again
		}
		if err := s.eraseVault(v.Name); err != nil {
			return err
		}
	}
	for _, v := range rest {
		if err := errors.Join(sweepShelf(ctx, s, s.keys, v, now), sweepShelf(ctx, s, s.secrets, v, now), sweepShelf(ctx, s, s.certificates, v, now)); err != nil {
			return err
		}
	}
	return nil
}

// sweepShelf erases a vault's objects of one kind that are overdue.
func sweepShelf[R record[R]](ctx context.Context, s *Service, h *shelf[R], v Vault, now time.Time) error {
	for _, name := range h.overdue(v.Name, now) {
		if err := beforeErase(s, h.any(v.Name, name)); err != nil {
			s.cfg.Log.Error("an object whose retention is over cannot be erased yet", "vault", v.Name, "name", name, "error", err)
			continue // it counts as absent; the next sweep tries again
		}
		if err := s.recordPurge(ctx, h.kind.title+"Purge", v.objectScope(h.kind, name)); err != nil {
			return err
		}
		if err := s.commit(func(c *changes) { h.eraseIn(c, v.Name, name) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) recordPurge(ctx context.Context, operation, resource string) error {
	return s.cfg.Audit.Record(ctx, audit.Event{Time: s.cfg.Now(), Operation: operation, Resource: resource,
		Outcome: audit.Allowed, Caller: "platform", Detail: "the retention is over"})
}

// overdue tells the vaults whose retention is over from the others.
func (s *Service) overdue(now time.Time) (over, rest []Vault) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, v := range s.byName {
		if v.Deletion.over(now) {
			over = append(over, *v)
			continue
		}
		rest = append(rest, *v)
	}
	return over, rest
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
