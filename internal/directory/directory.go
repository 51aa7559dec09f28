// Package directory is the identity provider of the server: one tenant, its applications, service
// principals, users, groups and managed identities, the tokens that it issues to them, and the proof
// of those tokens for every other service.
//
// # What it owns
//
// All records live in the control store, which is sealed as a whole. The directory itself adds:
// client secrets and passwords are kept only as salted hashes, and a client secret is shown once,
// when it is made. Two kinds of secret have to be kept whole: the tenant's RS256 signing key, and
// the platform credentials with which the server itself signs in as the database's first-party
// service principal or as a managed identity. Platform credentials are in a table of their own that
// no request can read or write.
//
// # State
//
// The whole directory is one immutable value behind an atomic pointer. A change copies the maps,
// commits one batch to the store, and then publishes the copy: durable first, visible second.
// Readers, and above all [Directory.VerifyToken], wait for no change. Records are never modified after
// they are published. The cost of a change grows with the directory, which is small by design.
//
// # Rights
//
// Any principal of the tenant may read. Changes need the built-in role Global Administrator, or
// ownership of the application, service principal or group that is changed. Objects of the platform (the
// first-party service principal, managed identities) can be disabled but not given credentials and
// not deleted by requests.
//
// # Revocation
//
// An access token is good for an hour, but verification also asks whether the principal still exists
// and is enabled, so disabling one ends its access at once. What is remembered of a token that was
// verified before is only that its signature is good. Refresh tokens end when the user's
// password changes.
package directory

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Auditor keeps the record of decisions. When it fails, the operation is refused.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// Config says what a Directory works with. DB and Audit are required.
type Config struct {
	DB    *store.Store
	Audit Auditor
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// OnChange is called with the id of every principal that was changed, disabled or deleted,
	// after the change is durable. It must not block. nil means nobody listens.
	OnChange func(objectID string)
	Log      *slog.Logger
}

// Directory is the identity provider. It is safe for concurrent use.
type Directory struct {
	cfg    Config
	tables tables
	signer *signer

	mu    sync.Mutex // one change at a time
	state atomic.Pointer[state]

	hashing chan struct{} // bounds the password hashes that are computed at the same time
}

// Open loads the directory and, at the first start, makes the tenant, its signing key and the
// first-party service principal. The administrator is made by [Directory.Bootstrap].
func Open(cfg Config) (*Directory, error) {
	if cfg.DB == nil || cfg.Audit == nil {
		return nil, fmt.Errorf("directory: a store and an auditor are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Directory{cfg: cfg, tables: openTables(cfg.DB), hashing: make(chan struct{}, 2)}
	s, err := d.tables.load()
	if err != nil {
		return nil, fmt.Errorf("directory: load: %w", err)
	}
	d.state.Store(s)
	if s.tenant == nil {
		if err := d.found(); err != nil {
			return nil, fmt.Errorf("directory: first start: %w", err)
		}
	}
	if d.signer, err = loadSigner(d.now().tenant); err != nil {
		return nil, fmt.Errorf("directory: signing key: %w", err)
	}
	return d, nil
}

// now returns the published state.
func (d *Directory) now() *state { return d.state.Load() }

// TenantID is the id of the one tenant.
func (d *Directory) TenantID() string { return d.now().tenant.ID }

// Tenant describes the one tenant.
func (d *Directory) Tenant() Tenant {
	t := d.now().tenant
	return Tenant{ID: t.ID, DisplayName: t.DisplayName, DefaultDomain: t.DefaultDomain, Created: t.Created}
}
