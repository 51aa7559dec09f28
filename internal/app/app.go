// Package app builds a whole server out of its parts, starts it and stops it. It is the only package
// that knows all the others, and holds no rule of any domain: it fills the small interfaces that the
// domains declare.
//
// # The data directory
//
//	lock         held by the one process that has the directory open
//	root.key     the platform's root key, or what opens it; mode 0600
//	root.ring    the platform's keys under the root key: package rootkey
//	admin.json   the administrator's credentials, mode 0600
//	ca.pem       the certificate of the local authority; its key is in the control store
//	control/     the control store, sealed under a platform key
//	audit/       the audit log, sealed under another
//	accounts/    one directory per account: keyring and store
//
// # Start
//
// Lock, platform keys, control store, audit log, domains, faces, listeners: in this order, each standing
// on the one before. What was started is stopped in reverse, also when a later step fails. No
// account is opened: the first request, or the first probe of its key, does that.
//
// # Events
//
// Three things make the envelope look at its keys at once instead of at the next interval: a change
// in a vault of ours, of role assignments, of a principal. Each is a hint and nothing more; the
// envelope asks the vault over HTTPS like anybody else.
//
// Webhooks are told of events of objects: what happened is queued in the same commit, and sent after it.
//
// # The sweep
//
// One job keeps the vaults in order (rotation, expiry, retention): it wakes when the first key is due for its rotation, when a vault
// changes, and every ten minutes. A sweep that fails is logged and waits for the next interval. Another
// removes documents whose life is over, every half a minute, from the accounts that are in use.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/atomicfile"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/envelope"
	"github.com/latchkey-db/latchkey/internal/fastrsa"
	"github.com/latchkey-db/latchkey/internal/front"
	"github.com/latchkey-db/latchkey/internal/obs"
	"github.com/latchkey-db/latchkey/internal/rbac"
	"github.com/latchkey-db/latchkey/internal/resource"
	"github.com/latchkey-db/latchkey/internal/rootkey"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/supervise"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/webhook"
)

// Server is a running server.
type Server struct {
	cfg     config.Config
	log     *slog.Logger
	metrics *obs.Metrics

	dir       *dataDir
	control   *store.Store
	audit     *audit.Log
	directory *directory.Directory
	rbac      *rbac.Engine
	resources *resource.Service
	vaults    *vault.Service
	keeper    *envelope.Keeper
	accounts  *account.Service
	ca        *front.CA
	front     *front.Server
	jobs      *supervise.Group
	admin     Credentials
	sweeper   *sweeper
	webhooks  *webhook.Hub // nil without receivers
	emulator  string       // the label of the emulator's account; "" without one

	// mu guards what the envelope, which starts first, needs of parts that start later: the address
	// of the front ("" until it listens), and the documents (nil until they are there).
	mu        sync.RWMutex
	address   string
	documents *docdb.Service

	started  atomic.Bool                   // the start is done and no stop has begun
	stops    []func(context.Context) error // in the order of starting
	stopOnce sync.Once
	stopErr  error
}

// Start builds and starts a server. It returns when the server is ready; ctx bounds the start only.
// Whatever fails, nothing is left running.
func Start(ctx context.Context, cfg config.Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: log, metrics: obs.NewMetrics(Version(), fastrsa.Provider()), jobs: supervise.New()}
	for _, step := range []func(context.Context) error{
		s.openDirectory, s.openControl, s.openDomains, s.openAccounts, s.openAdministrator, s.openEmulator, s.openFront, s.startJobs,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}
	s.started.Store(true)
	return s, nil
}

// onStop remembers how to undo what was just started.
func (s *Server) onStop(f func(context.Context) error) { s.stops = append(s.stops, f) }

// Stop stops everything in reverse order. It is safe to call twice.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.started.Store(false)
		for i := len(s.stops) - 1; i >= 0; i-- {
			s.stopErr = errors.Join(s.stopErr, s.stops[i](ctx))
		}
	})
	return s.stopErr
}

// Addresses returns where the server listens.
func (s *Server) Addresses() front.Addresses { return s.front.Addresses() }

// Administrator returns the administrator's credentials.
func (s *Server) Administrator() Credentials { return s.admin }

// RootCertificate returns the local authority's certificate in PEM.
func (s *Server) RootCertificate() []byte { return s.ca.Certificate() }

// Transport leads the names that the server serves to it.
func (s *Server) Transport() http.RoundTripper { return s.front.Transport() }

func (s *Server) openDirectory(context.Context) (err error) {
	path, err := filepath.Abs(s.cfg.DataDir)
	if err != nil {
		return err
	}
	if s.dir, err = openDataDir(path); err != nil {
		return err
	}
	s.onStop(func(context.Context) error { return s.dir.close() })
	return nil
}

// openControl opens what everything else stands on: the control store, and the audit log, without
// which nothing is done.
func (s *Server) openControl(ctx context.Context) error {
	ring, err := s.dir.startKeys(ctx, s.cfg)
	if err != nil {
		return err
	}
	defer ring.Wipe() // the root key is not needed any more; the others were copied to where they are
	controlFS, err := sealed(ring, rootkey.Control)
	if err != nil {
		return err
	}
	s.control, err = store.Open(s.dir.file(controlDir), store.Options{FS: controlFS, Logger: s.log, OnPoison: s.controlFailed})
	if err != nil {
		return fmt.Errorf("open the control store: %w", err)
	}
	s.onStop(func(context.Context) error { return s.control.Close() })
	auditFS, err := sealed(ring, rootkey.Audit)
	if err != nil {
		return err
	}
	if s.audit, err = audit.Open(audit.Options{FS: auditFS, Dir: s.dir.file(auditDir)}); err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	s.onStop(func(context.Context) error { return s.audit.Close() })
	return s.openKeeper(ctx, ring)
}

func (s *Server) controlFailed(err error) {
	s.log.Error("the control store failed; restart the server when its disk is in order", "error", err)
}

// openAdministrator makes the administrator on the first start. A start that was cut before the
// credentials were written gives new ones.
func (s *Server) openAdministrator(ctx context.Context) error {
	admin, err := s.directory.Bootstrap(ctx)
	if err != nil {
		return err
	}
	if err := s.rbac.Bootstrap(ctx, admin.ObjectID); err != nil {
		return err
	}
	if admin.Secret == nil {
		if s.admin, err = s.dir.loadAdmin(); err == nil {
			return nil
		}
		if admin, err = s.directory.ResetAdministrator(ctx); err != nil {
			return err
		}
	}
	s.admin = Credentials{TenantID: admin.TenantID, SubscriptionID: s.resources.Subscription().ID,
		ClientID: admin.ClientID, ObjectID: admin.ObjectID, ClientSecret: string(admin.Secret.Reveal())}
	return s.dir.saveAdmin(s.admin)
}

// openFront starts the listeners.
func (s *Server) openFront(context.Context) (err error) {
	if err := atomicfile.Write(s.dir.file(caFile), s.ca.Certificate(), 0o644); err != nil {
		return err
	}
	cfg := front.Config{
		Listen: s.cfg.Listen, ProxyListen: s.cfg.ProxyListen, AllowRemoteProxy: s.cfg.ProxyRemote, CA: s.ca,
		Handlers: s.faces(), Ready: s.ready,
		Metrics: s.metrics.Handler(), Observe: s.observe, Log: s.log,
	}
	if s.emulator != "" {
		cfg.EmulatorListen, cfg.Emulator = s.cfg.EmulatorListen, s.emulatorFace()
	}
	if s.front, err = front.Start(cfg); err != nil {
		return err
	}
	s.onStop(s.front.Stop)
	s.setAddress(s.front.Addresses().Front)
	return nil
}

// errStarting is why a server whose last steps are still to come is not ready.
var errStarting = errors.New("the server is starting")

// ready reports whether requests will be served: all has started, the control store works, and the emulator's
// account opens. Accounts open when they are asked for; one whose key is denied is no reason to take the
// others out of service.
func (s *Server) ready(ctx context.Context) error {
	if !s.started.Load() {
		return errStarting
	}
	if err := s.control.Err(); err != nil {
		return err
	}
	if s.emulator == "" {
		return nil
	}
	a, err := s.accounts.Resolve(s.emulator)
	if err != nil {
		return err
	}
	_, release, err := s.keeper.Acquire(ctx, a.ID)
	if err != nil {
		return err
	}
	release()
	return nil
}

func (s *Server) setAddress(a string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = a
}

func (s *Server) frontAddress() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.address
}

// startJobs starts the background work.
func (s *Server) startJobs(context.Context) error {
	s.onStop(func(ctx context.Context) error {
		return errors.Join(s.jobs.Stop(ctx), s.resources.Operations.Stop(ctx))
	})
	s.keeper.Hint(func(envelope.Protection) bool { return true })
	for _, send := range s.webhookSenders() {
		if err := s.jobs.Go("webhook", send); err != nil {
			return err
		}
	}
	return errors.Join(s.jobs.Go("sweep", s.sweeper.run), s.jobs.Go("expiry", s.expire), s.jobs.Go("indexes", s.buildIndexes), s.jobs.Go("erasing", s.erase))
}

// baseFS is the file system below all sealed ones.
var baseFS = vfs.Default
