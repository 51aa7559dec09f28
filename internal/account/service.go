package account

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Authorizer decides whether a caller may do action on scope, a resource id. A refusal is a
// [*fault.Error] of kind Denied whose message is for the caller.
type Authorizer interface {
	Authorize(ctx context.Context, c principal.Caller, action, scope string) error
}

// Auditor keeps the record of decisions. When it fails, the operation is refused.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// Encryption is the envelope of the accounts. keyURI is "" for the platform's key; identity is the
// object id of the service principal that goes to the vault.
type Encryption interface {
	// Create makes the keys and the empty store of an account. On error nothing is left.
	Create(ctx context.Context, accountID, keyURI, identity string) error
	// Protect changes the key or the identity. On error the account is exactly as before.
	Protect(ctx context.Context, accountID, keyURI, identity string) error
	// Status tells how the account stands towards its key.
	Status(accountID string) EncryptionStatus
	// Delete destroys the keys and the store. It succeeds when there is nothing.
	Delete(ctx context.Context, accountID string) error
}

// EncryptionStatus is what operators are shown about an account's key.
type EncryptionStatus struct {
	KeyURI     string // the key that the envelope really uses
	KeyVersion string
	Text       string // the service's customerManagedKeyStatus; "" under the platform's key
	Revoked    bool   // the data is inaccessible because of the key
	// More is what this server tells beyond the service's own words; it encodes as JSON.
	More any
}

// Identities is the part of the directory that accounts need.
type Identities interface {
	FirstParty() (objectID, appID string)
	CreateManagedIdentity(ctx context.Context, displayName, resourceID string) (objectID, clientID string, err error)
	DeletePrincipal(ctx context.Context, objectID string) error
	TenantID() string
}

// Config says what a Service works with. All fields but Now and Log are required.
type Config struct {
	DB         *store.Store
	Authorizer Authorizer
	Audit      Auditor
	Encryption Encryption
	Operator   Operator
	Identities Identities
	Now        func() time.Time // nil means time.Now
	Log        *slog.Logger     // nil discards
	// Defaults are the settings that an account has as long as nobody changes them: a client that sends
	// back what it read changes nothing.
	Defaults Settings
	// RequireGroup returns a fault when a resource group does not exist; nil accepts all.
	RequireGroup func(name string) error
	// OnDelete is called with the storage id and the resource id of an account whose data is gone.
	OnDelete func(accountID, scope string)
	// Why answers a question about an account whose asker is authorised; nil answers none.
	Why func(ctx context.Context, asker principal.Caller, a Account, q access.Question) (any, error)
}

// Service is the set of all accounts. It is safe for concurrent use.
//
// Lock order: a record's own gate (see lockAccount) before mu. mu guards the maps only and is never
// held while the envelope, the vault or the store are called.
type Service struct {
	cfg     Config
	records *store.Table[record]
	roles   *dataRoles

	mu     sync.RWMutex
	byName map[string]*record
	byID   map[string]*record
	gates  map[string]*sync.Mutex // by name: one change of an account at a time
}

// Open loads the accounts from the control store and repairs what a crash left half done.
func Open(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.RequireGroup == nil {
		cfg.RequireGroup = func(string) error { return nil }
	}
	s := &Service{
		cfg: cfg, records: store.NewTable[record](cfg.DB, "account/accounts"),
		byName: map[string]*record{}, byID: map[string]*record{}, gates: map[string]*sync.Mutex{},
	}
	var err error
	if s.roles, err = openDataRoles(cfg.DB); err != nil {
		return nil, err
	}
	all, err := s.records.All()
	if err != nil {
		return nil, err
	}
	for _, rec := range all {
		if err := s.reconcile(ctx, &rec); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// reconcile brings a loaded record in line with the envelope after a crash: an account that was
// being made or destroyed is removed, and the envelope's key is the one that counts.
func (s *Service) reconcile(ctx context.Context, rec *record) error {
	if rec.State == Creating || rec.State == Deleting {
		return s.erase(ctx, rec)
	}
	rec.State = Succeeded
	if st := s.cfg.Encryption.Status(rec.ID); st.KeyURI != rec.KeyURI {
		rec.KeyURI = st.KeyURI
		if err := s.records.Put(rec.ID, *rec); err != nil {
			return err
		}
	}
	s.remember(rec)
	return nil
}

func (s *Service) remember(rec *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName[nameKey(rec.Name)] = rec
	s.byID[rec.ID] = rec
}

func (s *Service) forget(rec *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, nameKey(rec.Name))
	delete(s.byID, rec.ID)
}

// save makes rec durable, then visible.
func (s *Service) save(rec *record) error {
	if err := s.records.Put(rec.ID, *rec); err != nil {
		return err
	}
	s.remember(rec)
	return nil
}

// erase removes an account's data, its system-assigned identity and its record, in this order.
func (s *Service) erase(ctx context.Context, rec *record) error {
	if err := s.cfg.Encryption.Delete(ctx, rec.ID); err != nil {
		return err
	}
	if err := s.dropIdentity(ctx, rec.Identity); err != nil {
		return err
	}
	if err := s.roles.deleteAccount(rec.ID); err != nil {
		return err
	}
	if err := s.records.Delete(rec.ID); err != nil {
		return err
	}
	s.forget(rec)
	if s.cfg.OnDelete != nil {
		s.cfg.OnDelete(rec.ID, rec.ResourceID().String())
	}
	return nil
}

func (s *Service) dropIdentity(ctx context.Context, id Identity) error {
	if id.PrincipalID == "" {
		return nil
	}
	err := s.cfg.Identities.DeletePrincipal(ctx, id.PrincipalID)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// lockAccount serialises the changes of one account.
func (s *Service) lockAccount(name string) (unlock func()) {
	s.mu.Lock()
	gate := s.gates[nameKey(name)]
	if gate == nil {
		gate = &sync.Mutex{}
		s.gates[nameKey(name)] = gate
	}
	s.mu.Unlock()
	gate.Lock()
	return gate.Unlock
}

// find returns the record of an account under its resource id.
func (s *Service) find(id uri.ResourceID) (*record, error) {
	s.mu.RLock()
	rec := s.byName[nameKey(id.Segments[0].Name)]
	s.mu.RUnlock()
	if rec == nil || !strings.EqualFold(rec.ResourceGroup, id.ResourceGroup) || !strings.EqualFold(rec.Subscription, id.Subscription) {
		return nil, notFound(id)
	}
	return rec, nil
}

func notFound(id uri.ResourceID) error {
	return fault.New(fault.NotFound, "ResourceNotFound",
		"The Resource '%s/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
		Type, id.Segments[0].Name, id.ResourceGroup)
}

// guard is the first line of every method that callers reach: it decides and keeps the record. A
// permitted read leaves no record; everything else does, and without a record there is no operation.
func (s *Service) guard(ctx context.Context, c principal.Caller, action string, id uri.ResourceID) error {
	decision := s.cfg.Authorizer.Authorize(ctx, c, Type+"/"+action, id.String())
	if decision == nil && strings.HasSuffix(action, "read") {
		return nil
	}
	if err := s.cfg.Audit.Record(ctx, audit.By(c, s.cfg.Now(), Type+"/"+action, id.String()).Decided(decision)); err != nil {
		return err
	}
	return decision
}

// Get returns one account.
func (s *Service) Get(ctx context.Context, c principal.Caller, id uri.ResourceID) (Account, error) {
	if err := s.guard(ctx, c, "read", id); err != nil {
		return Account{}, err
	}
	rec, err := s.find(id)
	if err != nil {
		return Account{}, err
	}
	return rec.clone().Account, nil
}

// At returns the account with the resource id, without asking for a right: for who authorises what is
// done inside the account.
func (s *Service) At(id uri.ResourceID) (Account, error) {
	rec, err := s.find(id)
	if err != nil {
		return Account{}, err
	}
	return rec.clone().Account, nil
}

// List returns the accounts of a subscription, or of one group when group is not "", that the caller
// may read, ordered by name.
func (s *Service) List(ctx context.Context, c principal.Caller, subscription, group string) ([]Account, error) {
	var out []Account
	for _, rec := range s.snapshot() {
		if !strings.EqualFold(rec.Subscription, subscription) || group != "" && !strings.EqualFold(rec.ResourceGroup, group) {
			continue
		}
		if s.cfg.Authorizer.Authorize(ctx, c, Type+"/read", rec.ResourceID().String()) == nil {
			out = append(out, rec.clone().Account)
		}
	}
	slices.SortFunc(out, func(a, b Account) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *Service) snapshot() []*record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*record, 0, len(s.byID))
	for _, rec := range s.byID {
		out = append(out, rec)
	}
	return out
}

// NameTaken reports whether an account has the name.
func (s *Service) NameTaken(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byName[nameKey(name)] != nil
}

// EncryptionStatus tells how a shown account stands towards its key.
func (s *Service) EncryptionStatus(a Account) EncryptionStatus { return s.cfg.Encryption.Status(a.ID) }

// Protecting reports the ids of the accounts whose key lives in the named vault, or of all accounts
// with a customer's key when vault is "".
func (s *Service) Protecting(vault string) []string {
	var out []string
	for _, rec := range s.snapshot() {
		k, err := uri.ParseKeyID(rec.KeyURI)
		if err == nil && (vault == "" || strings.EqualFold(k.Vault(), vault)) {
			out = append(out, rec.ID)
		}
	}
	return out
}
