package app

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/api/arm/authorization"
	"github.com/latchkey-db/latchkey/internal/api/arm/documentdb"
	"github.com/latchkey-db/latchkey/internal/api/arm/kv"
	"github.com/latchkey-db/latchkey/internal/api/arm/resources"
	"github.com/latchkey-db/latchkey/internal/api/cosmos"
	"github.com/latchkey-db/latchkey/internal/api/entra"
	"github.com/latchkey-db/latchkey/internal/api/graph"
	"github.com/latchkey-db/latchkey/internal/api/keyvault"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/envelope"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/front"
	"github.com/latchkey-db/latchkey/internal/kek"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/rbac"
	"github.com/latchkey-db/latchkey/internal/resource"
	"github.com/latchkey-db/latchkey/internal/rootkey"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// Version is the version of the build, as the Go tool recorded it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

var _ envelope.KEK = (*kek.Client)(nil)

// openKeeper opens the envelope of the accounts. Its client reaches vaults and the token service
// through the front, whose address it learns when the front listens.
func (s *Server) openKeeper(ctx context.Context, ring *rootkey.Ring) (err error) {
	if s.ca, err = front.OpenCA(caStore{store.NewTable[[]byte](s.control, "front/ca")}); err != nil {
		return err
	}
	var retired []*secret.Bytes
	for _, k := range ring.Before(rootkey.Accounts) {
		retired = append(retired, k.Secret)
	}
	transport := front.NewTransport(s.ca, s.frontAddress)
	s.onStop(func(context.Context) error { transport.CloseIdleConnections(); return nil })
	s.keeper, err = envelope.Open(envelope.Config{
		Dir: s.dir.file(accountsDir), FS: baseFS, RootKey: ring.Current(rootkey.Accounts).Secret, RetiredRootKeys: retired, Interval: s.cfg.KeyCheckInterval, Grace: s.cfg.KeyGrace,
		MaxOpen: s.cfg.MaxOpenAccounts, IdleClose: s.cfg.IdleClose, CacheBytes: int64(s.cfg.CacheMiB) << 20, ReencryptRate: s.cfg.ReencryptMiB << 20,
		Audit: s.audit, OnLock: s.forgetDocuments, Log: s.log, Anchors: anchors{store.NewTable[envelope.Anchor](s.control, "envelope/anchors")},
		KEK: kek.New(kek.Config{
			Transport: transport, Log: s.log,
			TenantID:   func() string { return s.directory.TenantID() },
			Credential: func(id string) (string, *secret.Bytes, error) { return s.directory.PlatformCredential(id) },
		}),
	})
	if err != nil {
		return err
	}
	s.onStop(s.keeper.Close)
	if err := s.leaveRetired(ctx, ring); err != nil {
		return err
	}
	return s.metrics.Registerer().Register(keyMetrics{s.keeper})
}

// anchors keeps the accounts' anchors in the control store: another directory, under another key.
type anchors struct{ table *store.Table[envelope.Anchor] }

// Load returns what Save stored.
func (a anchors) Load(accountID string) (envelope.Anchor, bool, error) { return a.table.Get(accountID) }

// Save stores an anchor durably.
func (a anchors) Save(accountID string, x envelope.Anchor) error { return a.table.Put(accountID, x) }

// Delete removes an anchor durably.
func (a anchors) Delete(accountID string) error { return a.table.Delete(accountID) }

// caStore keeps the local authority in the control store.
type caStore struct{ table *store.Table[[]byte] }

// Load returns what Save stored.
func (c caStore) Load(context.Context) ([]byte, error) {
	raw, _, err := c.table.Get("root")
	return raw, err
}

// Save stores the authority durably.
func (c caStore) Save(_ context.Context, content []byte) error { return c.table.Put("root", content) }

func (s *Server) openDomains(context.Context) (err error) {
	hint := func(string) { s.keeper.Hint(func(p envelope.Protection) bool { return p.CustomerManaged() }) }
	if s.directory, err = directory.Open(directory.Config{DB: s.control, Audit: s.audit, OnChange: hint, Log: s.log}); err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	if s.rbac, err = rbac.Open(rbac.Config{DB: s.control, Audit: s.audit, Principals: s.directory.PrincipalExists,
		Tenant: s.directory.TenantID(), OnChange: func() { hint("") }, Log: s.log}); err != nil {
		return fmt.Errorf("open role assignments: %w", err)
	}
	if s.resources, err = resource.Open(resource.Config{DB: s.control, Authorizer: s.rbac, Audit: s.audit,
		Contents: []resource.Contents{accountContents{s}, vaultContents{s}}, OnDelete: s.rbac.Forget, HasGrant: s.rbac.HasGrant, Log: s.log}); err != nil {
		return fmt.Errorf("open resource groups: %w", err)
	}
	onEvent, err := s.openWebhooks()
	if err != nil {
		return fmt.Errorf("open webhooks: %w", err)
	}
	token, err := s.openHSM()
	if err != nil {
		return err
	}
	if s.vaults, err = vault.Open(vault.Config{Token: token, OnEvent: onEvent, Told: s.told, Limits: s.cfg.VaultLimits, AllowFaults: s.cfg.AllowFaults, DB: s.control, Authorizer: s.rbac, Audit: s.audit, Trusted: s.trusted,
		RequireGroup: s.resources.RequireGroup, OnChange: s.vaultChanged, OnDelete: s.rbac.Forget, Why: s.whyVault, Log: s.log}); err != nil {
		return fmt.Errorf("open vaults: %w", err)
	}
	s.sweeper = newSweeper(s.vaults, s.log)
	return nil
}

// trusted reports whether a caller is the database: the service that a vault's bypass lets through.
func (s *Server) trusted(c principal.Caller) bool {
	first, _ := s.directory.FirstParty()
	return c.ObjectID == first || s.accounts.HasIdentity(c.ObjectID)
}

// vaultChanged makes the accounts whose key lives in the vault look at it at once, and the sweep look
// when it is needed next.
func (s *Server) vaultChanged(name, _ string) {
	s.sweeper.hint()
	s.keeper.Hint(func(p envelope.Protection) bool {
		k, err := uri.ParseKeyID(p.KeyURI)
		if err != nil {
			return false
		}
		target, ok := naming.Resolve(k.Host, 0)
		return ok && target.Service == naming.Vault && strings.EqualFold(target.Label, name)
	})
}

func (s *Server) openAccounts(ctx context.Context) (err error) {
	s.accounts, err = account.Open(ctx, account.Config{DB: s.control, Authorizer: s.rbac, Audit: s.audit, Encryption: encryption{s.keeper}, Operator: operator{s.keeper},
		Identities: s.directory, RequireGroup: s.resources.RequireGroup, Defaults: documentdb.Defaults(), Why: s.whyAccount, Log: s.log,
		OnDelete: func(_, scope string) {
			if err := s.rbac.Forget(scope); err != nil {
				s.log.Error("role assignments of a deleted account could not be removed", "error", err)
			}
		}})
	if err != nil {
		return fmt.Errorf("open accounts: %w", err)
	}
	documents := docdb.New(docdb.Config{Stores: s.keeper, Authorizer: s.accounts, Audit: s.audit, Enforce: s.cfg.EnforceRU, RangeBytes: int64(s.cfg.RangeMiB) << 20, Log: s.log})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documents = documents
	return nil
}

// forgetDocuments drops what is remembered of an account that was locked: names are data too. The
// first probes run before the documents are there.
func (s *Server) forgetDocuments(accountID string) {
	s.mu.RLock()
	documents := s.documents
	s.mu.RUnlock()
	if documents != nil {
		documents.Forget(accountID)
	}
}

// emulatorAccount is the account behind the emulator's address; emulatorKey is the Cosmos DB
// emulator's key, which is public knowledge and therefore served on loopback only.
const (
	emulatorAccount = "localhost"
	emulatorKey     = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
)

func (s *Server) openEmulator(ctx context.Context) error {
	if !s.cfg.Emulator {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(emulatorKey)
	if err != nil {
		return err
	}
	if _, err := s.accounts.EnsureEmulator(ctx, emulatorAccount, s.resources.Subscription().ID, key); err != nil {
		return fmt.Errorf("make the emulator's account: %w", err)
	}
	s.emulator = emulatorAccount
	return nil
}

func (s *Server) cosmosConfig() cosmos.Config {
	return cosmos.Config{Service: s.documents, Accounts: dataAccounts{s}, Verifier: s.directory, Log: s.log, LocalPort: s.localPort}
}

func (s *Server) emulatorFace() http.Handler { return cosmos.NewEmulator(s.cosmosConfig(), s.emulator) }

func (s *Server) localPort() int {
	_, port, err := net.SplitHostPort(s.frontAddress())
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return n
}

// faces are the handlers of all services.
func (s *Server) faces() map[naming.Service]http.Handler {
	sub, tenant := s.resources.Subscription().ID, s.directory.TenantID()
	providers := []arm.Provider{
		kv.New(s.vaults, s.resources), documentdb.New(s.accounts, s.documents, s.resources),
		authorization.New(s.rbac, sub, s.grantIDs),
	}
	providers = append(providers, resources.New(s.resources, tenant, providers))
	return map[naming.Service]http.Handler{
		naming.Login:      entra.New(entra.Config{Directory: s.directory, Log: s.log}),
		naming.Graph:      graph.New(graph.Config{Directory: s.directory, Log: s.log}),
		naming.Management: arm.New(arm.Config{Verifier: s.directory, Resources: s.resources, Providers: providers, TenantID: tenant, Log: s.log}),
		naming.Vault:      keyvault.New(keyvault.Config{Vaults: s.vaults, Verifier: s.directory, TenantID: tenant, LocalPort: s.localPort, Log: s.log}),
		naming.Documents:  cosmos.New(s.cosmosConfig()),
	}
}

// grantIDs are the object ids under which a grant to an object may stand: its own and its groups'.
func (s *Server) grantIDs(objectID string) []string {
	groups, err := s.directory.MemberOf(context.Background(), principal.Server("role assignment filter"), objectID)
	if err != nil {
		return []string{objectID}
	}
	return append([]string{objectID}, groups...)
}

func (s *Server) observe(service naming.Service, status int, elapsed time.Duration) {
	s.metrics.ObserveRequest(string(service), status, elapsed)
}

// encryption is the envelope as the accounts see it.
type encryption struct{ keeper *envelope.Keeper }

// Create makes an account's keys and store.
func (e encryption) Create(ctx context.Context, id, keyURI, identity string) error {
	return passOn(e.keeper.Create(ctx, id, envelope.Protection{KeyURI: keyURI, Identity: identity}))
}

// Protect changes an account's key or identity.
func (e encryption) Protect(ctx context.Context, id, keyURI, identity string) error {
	return passOn(e.keeper.Protect(ctx, id, envelope.Protection{KeyURI: keyURI, Identity: identity}))
}

// Status tells how an account stands towards its key.
func (e encryption) Status(id string) account.EncryptionStatus {
	st, ok := e.keeper.Status(id)
	if !ok {
		return account.EncryptionStatus{}
	}
	out := account.EncryptionStatus{KeyURI: st.Protection.KeyURI, KeyVersion: st.KeyVersion,
		Revoked: st.State == envelope.StateRevoked || st.State == envelope.StateDraining}
	if st.Protection.CustomerManaged() {
		out.Text = envelope.StatusText(st)
	}
	out.More = map[string]any{"state": st.State, "reencryption": progress(st)}
	return out
}

// Delete destroys an account's keys and store.
func (e encryption) Delete(ctx context.Context, id string) error { return e.keeper.Delete(ctx, id) }

// dataAccounts are the accounts as the data plane sees them.
type dataAccounts struct{ s *Server }

// Resolve finds the account that a host label means.
func (d dataAccounts) Resolve(_ context.Context, label string) (docdb.AccountView, error) {
	a, err := d.s.accounts.Resolve(label)
	if err != nil {
		return docdb.AccountView{}, err
	}
	return docdb.AccountView{ID: a.ID, Name: a.Name, Location: a.Location, DefaultConsistency: a.Settings.Consistency(),
		LocalAuthDisabled: a.Settings.LocalAuthDisabled(), TenantID: d.s.directory.TenantID()}, nil
}

// VerifyKey proves a master key's signature.
func (d dataAccounts) VerifyKey(_ context.Context, id, stringToSign string, sig []byte) (principal.Door, error) {
	return d.s.accounts.VerifyKey(id, stringToSign, sig)
}

// vaultContents are the vaults in the list of everything.
type vaultContents struct{ s *Server }

// Resources lists the vaults that the caller may read.
func (v vaultContents) Resources(ctx context.Context, c principal.Caller, subscription, group string) ([]resource.Generic, error) {
	var out []resource.Generic
	for _, x := range v.s.vaults.Vaults(ctx, c, subscription, group) {
		out = append(out, resource.Generic{ID: x.ID(), Location: x.Location, Tags: x.Tags, Created: x.Created.At, State: "Succeeded"})
	}
	return out, nil
}

// Delete soft-deletes a vault.
func (v vaultContents) Delete(ctx context.Context, c principal.Caller, id uri.ResourceID) (bool, error) {
	if id.Provider != vault.Namespace {
		return false, nil
	}
	_, err := v.s.vaults.DeleteVault(ctx, c, id)
	return true, err
}

// accountContents are the accounts in the list of everything.
type accountContents struct{ s *Server }

// Resources lists the accounts that the caller may read.
func (a accountContents) Resources(ctx context.Context, c principal.Caller, subscription, group string) ([]resource.Generic, error) {
	list, err := a.s.accounts.List(ctx, c, subscription, group)
	var out []resource.Generic
	for _, x := range list {
		out = append(out, resource.Generic{ID: x.ResourceID(), Location: x.Location, Kind: x.Kind, Tags: x.Tags, Created: x.CreatedAt, State: string(x.State)})
	}
	return out, err
}

// Delete deletes an account.
func (a accountContents) Delete(ctx context.Context, c principal.Caller, id uri.ResourceID) (bool, error) {
	return a.s.accounts.DeleteNow(ctx, c, id)
}

// passOn gives the envelope's refusals the codes that the service's resource provider uses: a vault's
// own "no" is passed on as Forbidden, with the vault's own text.
func passOn(err error) error {
	f := fault.As(err)
	if f == nil {
		return err
	}
	code, ok := map[fault.Kind]string{fault.Denied: "Forbidden", fault.Invalid: "BadRequest", fault.Unavailable: "ServiceUnavailable"}[f.Kind]
	if !ok {
		return err
	}
	c := *f
	c.Reason = code
	return &c
}
