package account

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Change is what a caller asks of an account. Nil members stay as they are.
type Change struct {
	Location        string // used at creation only
	Kind            string // used at creation only
	Tags            map[string]string
	IdentityType    *string
	DefaultIdentity *string
	// KeyURI is the customer's key; "" asks for the platform's key again, which the service refuses
	// once a customer's key was set.
	KeyURI   *string
	Settings Settings
}

// Work carries out a change that has been authorised and checked. It must be called exactly once;
// ctx bounds the calls to the vault.
type Work func(ctx context.Context) (Account, error)

var accountName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{1,42})[a-z0-9]$`)

// Begin checks a create-or-update and reserves what it needs. The returned account is how the
// resource looks until the work is done. create is true when there was none before.
func (s *Service) Begin(ctx context.Context, c principal.Caller, id uri.ResourceID, ch Change) (a Account, w Work, create bool, err error) {
	if err := s.guard(ctx, c, "write", id); err != nil {
		return Account{}, nil, false, err
	}
	if rec, err := s.find(id); err == nil {
		a, w, err = s.beginUpdate(rec, ch)
		return a, w, false, err
	}
	if err := s.cfg.RequireGroup(id.ResourceGroup); err != nil {
		return Account{}, nil, false, err
	}
	a, w, err = s.beginCreate(id, ch)
	return a, w, true, err
}

// BeginUpdate is [Service.Begin] for a request that may not create.
func (s *Service) BeginUpdate(ctx context.Context, c principal.Caller, id uri.ResourceID, ch Change) (Account, Work, error) {
	if err := s.guard(ctx, c, "write", id); err != nil {
		return Account{}, nil, err
	}
	rec, err := s.find(id)
	if err != nil {
		return Account{}, nil, err
	}
	return s.beginUpdate(rec, ch)
}

func (s *Service) beginCreate(id uri.ResourceID, ch Change) (Account, Work, error) {
	name := id.Segments[0].Name
	if !accountName.MatchString(name) {
		return Account{}, nil, badRequest("DatabaseAccount name '%s' is invalid. The name can contain only lowercase letters, numbers and the '-' character, and must have 3 to 44 characters.", name)
	}
	if ch.DefaultIdentity != nil && strings.EqualFold(*ch.DefaultIdentity, SystemAssignedIdentity) {
		return Account{}, nil, badRequest("Updating default identity not allowed. Cannot set SystemAssignedIdentity as the default identity during provision.")
	}
	rec := s.newRecord(id, ch)
	if err := checkChange(rec, ch); err != nil {
		return Account{}, nil, err
	}
	unlock := s.lockAccount(name)
	defer unlock()
	if s.NameTaken(name) {
		return Account{}, nil, fault.New(fault.Conflict, "DatabaseAccountAlreadyExists",
			"The account name '%s' is already in use.", name)
	}
	if err := s.save(rec); err != nil {
		return Account{}, nil, err
	}
	return rec.clone().Account, func(ctx context.Context) (Account, error) { return s.create(ctx, rec.ID, ch) }, nil
}

func (s *Service) newRecord(id uri.ResourceID, ch Change) *record {
	now := s.cfg.Now().UTC()
	rec := &record{Keys: newMasterKeys(now), Account: Account{
		ID: uuid.NewString(), InstanceID: uuid.NewString(), Name: id.Segments[0].Name,
		Subscription: id.Subscription, ResourceGroup: id.ResourceGroup, Location: ch.Location,
		Kind: ch.Kind, Tags: ch.Tags, Identity: Identity{Type: "None"},
		DefaultIdentity: FirstPartyIdentity, Settings: Settings{}.with(ch.Settings),
		CreatedAt: now, State: Creating,
	}}
	if rec.Kind == "" {
		rec.Kind = "GlobalDocumentDB"
	}
	return rec
}

// create makes the data of a reserved account; when that fails the reservation goes too.
func (s *Service) create(ctx context.Context, id string, ch Change) (Account, error) {
	rec, unlock, err := s.lockByID(id)
	if err != nil {
		return Account{}, err
	}
	defer unlock()
	if err := s.fill(ctx, rec, ch); err != nil {
		if e := s.erase(context.WithoutCancel(ctx), rec); e != nil {
			s.cfg.Log.Error("account creation could not be undone", "account", rec.ID, "error", e)
		}
		return Account{}, err
	}
	return rec.clone().Account, nil
}

func (s *Service) fill(ctx context.Context, rec *record, ch Change) error {
	if err := s.applyIdentity(ctx, rec, ch); err != nil {
		return err
	}
	if ch.KeyURI != nil {
		rec.KeyURI = *ch.KeyURI
	}
	who, err := s.vaultIdentity(rec)
	if err != nil {
		return err
	}
	if err := s.cfg.Encryption.Create(ctx, rec.ID, rec.KeyURI, who); err != nil {
		return err
	}
	rec.State = Succeeded
	return s.save(rec)
}

// lockByID waits for the account's gate and returns a copy of its record to change and save.
func (s *Service) lockByID(id string) (*record, func(), error) {
	s.mu.RLock()
	rec := s.byID[id]
	s.mu.RUnlock()
	gone := fault.New(fault.NotFound, "ResourceNotFound", "The account no longer exists.")
	if rec == nil {
		return nil, nil, gone
	}
	unlock := s.lockAccount(rec.Name)
	s.mu.RLock()
	rec = s.byID[id]
	s.mu.RUnlock()
	if rec == nil {
		unlock()
		return nil, nil, gone
	}
	return rec.clone(), unlock, nil
}

func (s *Service) beginUpdate(rec *record, ch Change) (Account, Work, error) {
	if err := checkChange(rec, ch); err != nil {
		return Account{}, nil, err
	}
	if err := s.checkRevoked(rec, ch); err != nil {
		return Account{}, nil, err
	}
	shown := rec.clone()
	shown.State = Updating
	return shown.Account, func(ctx context.Context) (Account, error) { return s.update(ctx, rec.ID, ch) }, nil
}

// update carries out a change: identity, then envelope, then record. Each step that fails leaves the
// account as it was.
func (s *Service) update(ctx context.Context, id string, ch Change) (Account, error) {
	rec, unlock, err := s.lockByID(id)
	if err != nil {
		return Account{}, err
	}
	defer unlock()
	before := rec.clone()
	if err := s.applyIdentity(ctx, rec, ch); err != nil {
		return Account{}, err
	}
	if err := s.protect(ctx, before, rec, ch); err != nil {
		s.undoIdentity(ctx, before, rec)
		return Account{}, err
	}
	if ch.Tags != nil {
		rec.Tags = ch.Tags
	}
	rec.Settings = rec.Settings.with(ch.Settings)
	if err := s.save(rec); err != nil {
		return Account{}, err
	}
	if before.Identity.PrincipalID != rec.Identity.PrincipalID {
		return rec.clone().Account, s.dropIdentity(ctx, before.Identity)
	}
	return rec.clone().Account, nil
}

// protect moves the envelope to the key and identity that the change asks for.
func (s *Service) protect(ctx context.Context, before, rec *record, ch Change) error {
	if ch.KeyURI != nil {
		rec.KeyURI = *ch.KeyURI
	}
	if ch.DefaultIdentity != nil {
		rec.DefaultIdentity = *ch.DefaultIdentity
	}
	was, errWas := s.vaultIdentity(before)
	who, err := s.vaultIdentity(rec)
	if err != nil {
		return err
	}
	if rec.KeyURI == "" || rec.KeyURI == before.KeyURI && errWas == nil && who == was {
		return nil
	}
	return s.cfg.Encryption.Protect(ctx, rec.ID, rec.KeyURI, who)
}

// applyIdentity gives rec the managed identity that the change asks for. The old one is removed by
// the caller, after the change is durable.
func (s *Service) applyIdentity(ctx context.Context, rec *record, ch Change) error {
	if ch.IdentityType == nil || strings.EqualFold(*ch.IdentityType, rec.Identity.Type) {
		return nil
	}
	if strings.EqualFold(*ch.IdentityType, "None") {
		rec.Identity = Identity{Type: "None"}
		return nil
	}
	oid, cid, err := s.cfg.Identities.CreateManagedIdentity(ctx, rec.Name, rec.ResourceID().String())
	if err != nil {
		return err
	}
	rec.Identity = Identity{Type: "SystemAssigned", TenantID: s.cfg.Identities.TenantID(), PrincipalID: oid, ClientID: cid}
	return nil
}

func (s *Service) undoIdentity(ctx context.Context, before, rec *record) {
	if rec.Identity.PrincipalID == before.Identity.PrincipalID {
		return
	}
	if err := s.dropIdentity(context.WithoutCancel(ctx), rec.Identity); err != nil {
		s.cfg.Log.Error("unused managed identity could not be removed", "account", rec.ID, "error", err)
	}
}

// vaultIdentity is the object id of the service principal that the account's default identity means.
func (s *Service) vaultIdentity(rec *record) (string, error) {
	switch {
	case strings.EqualFold(rec.DefaultIdentity, FirstPartyIdentity):
		oid, _ := s.cfg.Identities.FirstParty()
		return oid, nil
	case strings.EqualFold(rec.DefaultIdentity, SystemAssignedIdentity):
		if rec.Identity.PrincipalID != "" {
			return rec.Identity.PrincipalID, nil
		}
		if rec.KeyURI == "" {
			return "", nil
		}
	}
	return "", badRequest("The given default identity for %s is not valid. The account has no such identity; please assign it first.", rec.Name)
}

// checkChange refuses what can be refused without asking anybody.
func checkChange(rec *record, ch Change) error {
	if err := checkKeyURI(rec, ch.KeyURI); err != nil {
		return err
	}
	if err := checkIdentity(rec, ch); err != nil {
		return err
	}
	return checkSettings(ch.Settings)
}

func checkKeyURI(rec *record, keyURI *string) error {
	switch {
	case keyURI == nil:
		return nil
	case *keyURI == "" && rec.KeyURI != "":
		return badRequest("Updating KeyVaultKeyUri is not supported")
	case *keyURI == "":
		return nil
	}
	if _, err := uri.ParseKeyID(*keyURI); err != nil {
		return badRequest("Provided KeyVaultKeyUri %s is Invalid.", *keyURI)
	}
	return nil
}

func checkIdentity(rec *record, ch Change) error {
	if t := ch.IdentityType; t != nil && !strings.EqualFold(*t, "None") && !strings.EqualFold(*t, "SystemAssigned") {
		return badRequest("The identity type '%s' is not supported by this server; use 'None' or 'SystemAssigned'.", *t)
	}
	d := ch.DefaultIdentity
	if d == nil || strings.EqualFold(*d, FirstPartyIdentity) || strings.EqualFold(*d, SystemAssignedIdentity) {
		return nil
	}
	if strings.HasPrefix(strings.ToLower(*d), "userassignedidentity=") {
		return badRequest("User-assigned identities are not supported by this server yet; use 'FirstPartyIdentity' or 'SystemAssignedIdentity'.")
	}
	return badRequest("The given default identity for %s is not valid. The format for the default identity is not valid, please use 'FirstPartyIdentity'/'SystemAssignedIdentity'/'UserAssignedIdentity=<UA_resource_id>'", rec.Name)
}

var consistencyLevels = []string{"Strong", "BoundedStaleness", "Session", "ConsistentPrefix", "Eventual"}

func checkSettings(set Settings) error {
	if err := set.checkNetwork(); err != nil {
		return err
	}
	raw, ok := set["consistencyPolicy"]
	if !ok {
		return nil
	}
	level := Settings{"consistencyPolicy": raw}.Consistency()
	for _, l := range consistencyLevels {
		if l == level {
			return nil
		}
	}
	return badRequest("The consistency level '%s' is invalid.", level)
}

// checkRevoked refuses changes of an account whose key is denied, except those that can bring the
// key back, and those that change nothing.
func (s *Service) checkRevoked(rec *record, ch Change) error {
	if !s.cfg.Encryption.Status(rec.ID).Revoked {
		return nil
	}
	unchanged := (ch.KeyURI == nil || *ch.KeyURI == rec.KeyURI) && sameTags(rec.Tags, ch.Tags) && sameSettings(s.cfg.Defaults.with(rec.Settings), ch.Settings)
	if unchanged {
		return nil
	}
	return ErrRevokedUpdate()
}

// ErrRevokedUpdate is the refusal of a change while the account's key is denied, in the service's words.
func ErrRevokedUpdate() error {
	return badRequest("No Update is allowed on Database Account with Customer Managed Key in Revoked Status")
}

func sameTags(have, want map[string]string) bool {
	if want == nil {
		return true
	}
	if len(have) != len(want) {
		return false
	}
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

func sameSettings(have, want Settings) bool {
	for k, v := range want {
		if !sameJSON(have[k], v) {
			return false
		}
	}
	return true
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}

func badRequest(format string, args ...any) error {
	return fault.New(fault.Invalid, "BadRequest", format, args...)
}

// BeginDelete checks the removal of an account and of all its data. Work reports the account as it
// was. It is allowed while the key is denied.
func (s *Service) BeginDelete(ctx context.Context, c principal.Caller, id uri.ResourceID) (Work, error) {
	if err := s.guard(ctx, c, "delete", id); err != nil {
		return nil, err
	}
	rec, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (Account, error) { return s.delete(ctx, rec.ID) }, nil
}

func (s *Service) delete(ctx context.Context, id string) (Account, error) {
	rec, unlock, err := s.lockByID(id)
	if err != nil {
		return Account{}, err
	}
	defer unlock()
	rec.State = Deleting
	if err := s.save(rec); err != nil {
		return Account{}, err
	}
	return rec.Account, s.erase(ctx, rec)
}

// ListKeys returns all four master keys.
func (s *Service) ListKeys(ctx context.Context, c principal.Caller, id uri.ResourceID, action string) (Keys, error) {
	return s.keys(ctx, c, id, action, keyKinds...)
}

// ListReadOnlyKeys returns the two read-only master keys. action is "readonlykeys/action" or, for
// the GET form, "readonlykeys/read".
func (s *Service) ListReadOnlyKeys(ctx context.Context, c principal.Caller, id uri.ResourceID, action string) (Keys, error) {
	return s.keys(ctx, c, id, action, PrimaryReadonly, SecondaryReadonly)
}

func (s *Service) keys(ctx context.Context, c principal.Caller, id uri.ResourceID, action string, kinds ...KeyKind) (Keys, error) {
	if err := s.guard(ctx, c, action, id); err != nil {
		return Keys{}, err
	}
	rec, err := s.find(id)
	if err != nil {
		return Keys{}, err
	}
	return rec.Keys.export(kinds...), nil
}

// BeginRegenerate checks the replacement of one master key. The old key stops working when the work
// is done.
func (s *Service) BeginRegenerate(ctx context.Context, c principal.Caller, id uri.ResourceID, kind KeyKind) (Work, error) {
	if err := s.guard(ctx, c, "regenerateKey/action", id); err != nil {
		return nil, err
	}
	rec, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if indexOf(kind) < 0 {
		return nil, badRequest("The key kind '%s' is invalid.", string(kind))
	}
	if s.cfg.Encryption.Status(rec.ID).Revoked {
		return nil, ErrRevokedUpdate()
	}
	return func(ctx context.Context) (Account, error) { return s.regenerate(rec.ID, kind) }, nil
}

func (s *Service) regenerate(id string, kind KeyKind) (Account, error) {
	rec, unlock, err := s.lockByID(id)
	if err != nil {
		return Account{}, err
	}
	defer unlock()
	rec.Keys.Slots[indexOf(kind)] = newMasterKey(s.cfg.Now().UTC())
	if err := s.save(rec); err != nil {
		return Account{}, err
	}
	return rec.clone().Account, nil
}

// EnsureEmulator makes, on the first start with an emulator, an account under the platform's key
// whose read-write keys are the well-known one, and returns it.
func (s *Service) EnsureEmulator(ctx context.Context, name, subscription string, key []byte) (Account, error) {
	s.mu.RLock()
	rec := s.byName[nameKey(name)]
	s.mu.RUnlock()
	if rec != nil {
		return rec.clone().Account, nil
	}
	id := uri.ResourceID{Subscription: subscription, ResourceGroup: "emulator", Provider: "Microsoft.DocumentDB"}.Child("databaseAccounts", name)
	rec = s.newRecord(id, Change{Location: "South Central US"}) // where the official emulator says it is
	rec.Keys.Slots[indexOf(Primary)].Key = key
	rec.Keys.Slots[indexOf(Secondary)].Key = key
	if err := s.fill(ctx, rec, Change{}); err != nil {
		return Account{}, err
	}
	return rec.clone().Account, nil
}
