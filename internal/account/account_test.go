package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
)

const (
	keyURI    = "https://kv1.vault.azure.net/keys/k1"
	firstID   = "c0000000-0000-0000-0000-000000000001"
	grantedID = "a0000000-0000-0000-0000-000000000002"
)

// world is an account service among fakes that can be told to fail.
type world struct {
	t       *testing.T
	fs      *vfs.MemFS
	db      *store.Store
	svc     *Service
	denied  map[string]bool // actions that the authorizer refuses
	audited []audit.Event
	noAudit error
	keys    map[string][2]string // account id -> key URI, identity
	refuse  error                // what the envelope answers
	revoked bool
	people  map[string]bool // live managed identities
}

func (w *world) Authorize(_ context.Context, c principal.Caller, action, scope string) error {
	if w.denied[action] {
		return fault.New(fault.Denied, "AuthorizationFailed", "no %s over %s", action, scope)
	}
	return nil
}

func (w *world) Record(_ context.Context, e audit.Event) error {
	w.audited = append(w.audited, e)
	return w.noAudit
}

func (w *world) Create(_ context.Context, id, key, who string) error {
	return w.Protect(context.TODO(), id, key, who)
}

func (w *world) Protect(_ context.Context, id, key, who string) error {
	if w.refuse != nil {
		return w.refuse
	}
	w.keys[id] = [2]string{key, who}
	return nil
}

func (w *world) Status(id string) EncryptionStatus {
	return EncryptionStatus{KeyURI: w.keys[id][0], Revoked: w.revoked}
}

func (w *world) Delete(_ context.Context, id string) error { delete(w.keys, id); return nil }

func (w *world) FirstParty() (string, string) { return firstID, "app" }

func (w *world) CreateManagedIdentity(_ context.Context, name, _ string) (string, string, error) {
	id := "m0000000-" + name
	w.people[id] = true
	return id, "client", nil
}

func (w *world) DeletePrincipal(_ context.Context, id string) error {
	if !w.people[id] {
		return fault.New(fault.NotFound, "Request_ResourceNotFound", "gone")
	}
	delete(w.people, id)
	return nil
}

func (w *world) TenantID() string { return "t" }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem(), denied: map[string]bool{}, keys: map[string][2]string{}, people: map[string]bool{}}
	w.open()
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = store.Open("db", store.Options{FS: w.fs}); err != nil {
		w.t.Fatal(err)
	}
	w.svc, err = Open(w.t.Context(), Config{DB: w.db, Authorizer: w, Audit: w, Encryption: w, Identities: w,
		Defaults: Settings{"enableFreeTier": json.RawMessage("false")}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reopen() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

var (
	someone = principal.Caller{Door: principal.Management, ObjectID: "o", AppID: "a"}
	acct    = resourceID("acct1")
)

func resourceID(name string) uri.ResourceID {
	return uri.ResourceID{Subscription: "s", ResourceGroup: "rg", Provider: "Microsoft.DocumentDB"}.Child("databaseAccounts", name)
}

func (w *world) change(id uri.ResourceID, ch Change) (Account, error) {
	_, work, _, err := w.svc.Begin(w.t.Context(), someone, id, ch)
	if err != nil {
		return Account{}, err
	}
	return work(w.t.Context())
}

func (w *world) mustChange(ch Change) Account {
	w.t.Helper()
	a, err := w.change(acct, ch)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func text(s string) *string { return &s }

func TestLifeOfAnAccount(t *testing.T) {
	w := newWorld(t)
	a := w.mustChange(Change{Location: "eastus", Tags: map[string]string{"k": "v"}, Settings: Settings{"disableLocalAuth": json.RawMessage("true")}})
	if a.State != Succeeded || a.DefaultIdentity != FirstPartyIdentity || !a.Settings.LocalAuthDisabled() {
		t.Fatalf("created account: %+v", a)
	}
	if w.keys[a.ID] != [2]string{"", firstID} {
		t.Fatalf("envelope got %v", w.keys[a.ID])
	}
	w.mustChange(Change{KeyURI: text(keyURI)})
	w.reopen()
	got, err := w.svc.Get(t.Context(), someone, resourceID("ACCT1"))
	if err != nil || got.KeyURI != keyURI || got.Tags["k"] != "v" || !got.Settings.LocalAuthDisabled() {
		t.Fatalf("after restart: %+v, %v", got, err)
	}
	work, err := w.svc.BeginDelete(t.Context(), someone, acct)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Get(t.Context(), someone, acct); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("deleted account: %v", err)
	}
	if len(w.keys) != 0 {
		t.Fatal("the envelope still has the account")
	}
}

func TestRefusedChangeLeavesTheAccountAsItWas(t *testing.T) {
	w := newWorld(t)
	before := w.mustChange(Change{Location: "eastus"})
	w.refuse = fault.New(fault.Denied, "Forbidden", "the vault says no")
	if _, err := w.change(acct, Change{KeyURI: text(keyURI), IdentityType: text("SystemAssigned"), DefaultIdentity: text(SystemAssignedIdentity)}); err == nil {
		t.Fatal("the change went through")
	}
	after, err := w.svc.Get(t.Context(), someone, acct)
	if err != nil || after.KeyURI != "" || after.Identity.Type != "None" || after.DefaultIdentity != before.DefaultIdentity {
		t.Fatalf("after a refused change: %+v, %v", after, err)
	}
	if len(w.people) != 0 {
		t.Fatal("a managed identity is left over")
	}
}

func TestRefusedCreationLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.refuse = errors.New("no")
	if _, err := w.change(acct, Change{KeyURI: text(keyURI)}); err == nil {
		t.Fatal("the creation went through")
	}
	if w.svc.NameTaken("acct1") {
		t.Fatal("the name is still taken")
	}
	w.refuse = nil
	w.mustChange(Change{})
}

func TestCrashDuringCreationIsUndone(t *testing.T) {
	w := newWorld(t)
	if _, _, _, err := w.svc.Begin(t.Context(), someone, acct, Change{}); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if w.svc.NameTaken("acct1") {
		t.Fatal("the half-made account survived the restart")
	}
}

func TestEnvelopeCountsAfterACrash(t *testing.T) {
	w := newWorld(t)
	a := w.mustChange(Change{})
	w.keys[a.ID] = [2]string{keyURI, firstID} // the envelope committed, the record did not
	w.reopen()
	if got, _ := w.svc.Get(t.Context(), someone, acct); got.KeyURI != keyURI {
		t.Fatalf("key URI after restart: %q", got.KeyURI)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.mustChange(Change{KeyURI: text(keyURI)})
	for _, tc := range []struct {
		name   string
		id     string
		change Change
		kind   fault.Kind
		text   string
	}{
		{"bad name", "Bad_Name", Change{}, fault.Invalid, "is invalid"},
		{"short name", "ab", Change{}, fault.Invalid, "is invalid"},
		{"key removed", "acct1", Change{KeyURI: text("")}, fault.Invalid, "Updating KeyVaultKeyUri is not supported"},
		{"key not a URI", "acct1", Change{KeyURI: text("nonsense")}, fault.Invalid, "Provided KeyVaultKeyUri nonsense is Invalid."},
		{"key over http", "acct1", Change{KeyURI: text("http://kv1.vault.azure.net/keys/k")}, fault.Invalid, "is Invalid."},
		{"system identity at creation", "acct2", Change{DefaultIdentity: text(SystemAssignedIdentity)}, fault.Invalid, "during provision"},
		{"system identity without one", "acct1", Change{DefaultIdentity: text(SystemAssignedIdentity)}, fault.Invalid, "is not valid"},
		{"odd identity", "acct1", Change{DefaultIdentity: text("SystemAssignedIdentity=x")}, fault.Invalid, "The format for the default identity is not valid"},
		{"odd consistency", "acct1", Change{Settings: Settings{"consistencyPolicy": json.RawMessage(`{"defaultConsistencyLevel":"Best"}`)}}, fault.Invalid, "consistency level"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.change(resourceID(tc.id), tc.change)
			if fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want kind %v with %q", err, tc.kind, tc.text)
			}
		})
	}
}

func TestRevokedAccountTakesOnlyWhatCanBringItBack(t *testing.T) {
	w := newWorld(t)
	w.mustChange(Change{KeyURI: text(keyURI)})
	w.revoked = true
	refused := map[string]Change{
		"tags":     {Tags: map[string]string{"a": "b"}},
		"key":      {KeyURI: text("https://kv1.vault.azure.net/keys/k2")},
		"settings": {Settings: Settings{"disableLocalAuth": json.RawMessage("true")}},
		"default":  {Settings: Settings{"enableFreeTier": json.RawMessage("true")}},
	}
	for name, ch := range refused {
		if _, err := w.change(acct, ch); !fault.Is(err, "BadRequest") || !strings.Contains(err.Error(), "Revoked Status") {
			t.Errorf("%s: %v", name, err)
		}
	}
	allowed := map[string]Change{
		"nothing":  {KeyURI: text(keyURI)},
		"default":  {Settings: Settings{"enableFreeTier": json.RawMessage("false")}},
		"identity": {IdentityType: text("SystemAssigned"), DefaultIdentity: text(SystemAssignedIdentity)},
	}
	for name, ch := range allowed {
		if _, err := w.change(acct, ch); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.svc.BeginRegenerate(t.Context(), someone, acct, Primary); err == nil {
		t.Error("a key was regenerated")
	}
	if _, err := w.svc.ListKeys(t.Context(), someone, acct, "listKeys/action"); err != nil {
		t.Error(err)
	}
}

func TestUnrelatedUpdateKeepsTheIdentity(t *testing.T) {
	w := newWorld(t)
	w.mustChange(Change{})
	w.mustChange(Change{IdentityType: text("SystemAssigned")})
	w.mustChange(Change{KeyURI: text(keyURI), DefaultIdentity: text(SystemAssignedIdentity)})
	a := w.mustChange(Change{Tags: map[string]string{"x": "y"}})
	if a.DefaultIdentity != SystemAssignedIdentity || w.keys[a.ID][1] != a.Identity.PrincipalID {
		t.Fatalf("%+v, envelope %v", a, w.keys[a.ID])
	}
}

func TestNothingHappensUnauthorisedOrUnrecorded(t *testing.T) {
	w := newWorld(t)
	w.denied[Type+"/write"] = true
	if _, err := w.change(acct, Change{}); fault.KindOf(err) != fault.Denied {
		t.Fatalf("denied write: %v", err)
	}
	if n := len(w.audited); n != 1 || w.audited[0].Outcome != audit.Denied {
		t.Fatalf("audit: %+v", w.audited)
	}
	w.denied = nil
	w.noAudit = errors.New("disk full")
	if _, err := w.change(acct, Change{}); err == nil || w.svc.NameTaken("acct1") {
		t.Fatalf("unrecorded write: %v", err)
	}
}

func sign(t *testing.T, key, payload string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != masterKeyBytes {
		t.Fatalf("key of %d bytes: %v", len(raw), err)
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(payload))
	return mac.Sum(nil)
}

func TestMasterKeys(t *testing.T) {
	w := newWorld(t)
	a := w.mustChange(Change{})
	keys, err := w.svc.ListKeys(t.Context(), someone, acct, "listKeys/action")
	if err != nil {
		t.Fatal(err)
	}
	want := map[KeyKind]principal.Door{Primary: principal.AccountKey, Secondary: principal.AccountKey,
		PrimaryReadonly: principal.AccountReadOnlyKey, SecondaryReadonly: principal.AccountReadOnlyKey}
	for kind, door := range want {
		if got, err := w.svc.VerifyKey(a.ID, "payload", sign(t, keys.Values[kind], "payload")); err != nil || got != door {
			t.Errorf("%s opens %q, %v", kind, got, err)
		}
		if _, err := w.svc.VerifyKey(a.ID, "other", sign(t, keys.Values[kind], "payload")); err == nil {
			t.Errorf("%s signs anything", kind)
		}
	}
	work, err := w.svc.BeginRegenerate(t.Context(), someone, acct, Primary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.VerifyKey(a.ID, "payload", sign(t, keys.Values[Primary], "payload")); err == nil {
		t.Error("the old key still works")
	}
	if _, err := w.svc.VerifyKey(a.ID, "payload", sign(t, keys.Values[Secondary], "payload")); err != nil {
		t.Errorf("the other key: %v", err)
	}
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"acct1", "acct1-eastus"} {
		if _, err := w.change(resourceID(name), Change{Location: "westus"}); err != nil {
			t.Fatal(err)
		}
	}
	for label, want := range map[string]string{
		"acct1": "acct1", "ACCT1": "acct1", "acct1-westus": "acct1", "acct1-eastus": "acct1-eastus",
		"acct1-eastus-westus": "acct1-eastus", "acct1-northpole": "", "acct": "", "": "",
	} {
		a, err := w.svc.Resolve(label)
		if a.Name != want || (err == nil) != (want != "") {
			t.Errorf("%q leads to %q, %v", label, a.Name, err)
		}
	}
}

// bearer is who comes with a resource token.
func bearer(account string, write bool) principal.Caller {
	return principal.Caller{Door: principal.AccountResourceToken, Account: account, Grant: &principal.Grant{Write: write}}
}

func TestAuthorizeDocuments(t *testing.T) {
	w := newWorld(t)
	a := w.mustChange(Change{})
	grants := []RoleAssignment{
		{ID: "00000000-0000-0000-0000-0000000000a1", RoleID: builtInRoles[0].ID, PrincipalID: grantedID, Scope: "/"},
		{ID: "00000000-0000-0000-0000-0000000000a2", RoleID: builtInRoles[1].ID, PrincipalID: grantedID, Scope: "/dbs/d1/colls/c1"},
	}
	for _, g := range grants {
		if err := w.svc.PutRoleAssignment(t.Context(), someone, acct, g); err != nil {
			t.Fatal(err)
		}
	}
	token := principal.Caller{Door: principal.AccountToken, ObjectID: grantedID}
	stranger := principal.Caller{Door: principal.AccountToken, ObjectID: "a0000000-0000-0000-0000-000000000009"}
	full := principal.Caller{Door: principal.AccountKey, Account: a.ID}
	other := principal.Caller{Door: principal.AccountKey, Account: "another"}
	reader := principal.Caller{Door: principal.AccountReadOnlyKey, Account: a.ID}
	for _, tc := range []struct {
		name   string
		c      principal.Caller
		action string
		scope  string
		reason string // "" = allowed
	}{
		{"key writes", full, "sqlDatabases/containers/items/create", "/dbs/d1/colls/c1", ""},
		{"key makes database", full, "sqlDatabases/write", "/", ""},
		{"key of another account", other, "sqlDatabases/containers/items/read", "/dbs/d1/colls/c1", "MACSignature"},
		{"reader reads", reader, "sqlDatabases/containers/items/read", "/dbs/d1/colls/c1", ""},
		{"reader queries", reader, "sqlDatabases/containers/executeQuery", "/dbs/d1/colls/c1", ""},
		{"reader writes", reader, "sqlDatabases/containers/items/upsert", "/dbs/d1/colls/c1", "ReadOnlyKey"},
		{"token reads anywhere", token, "sqlDatabases/containers/items/read", "/dbs/d2/colls/c9", ""},
		{"token metadata", token, "readMetadata", "/", ""},
		{"token writes in scope", token, "sqlDatabases/containers/items/create", "/dbs/d1/colls/c1", ""},
		{"token writes beside scope", token, "sqlDatabases/containers/items/create", "/dbs/d1/colls/c11", "5302"},
		{"token writes in another case", token, "sqlDatabases/containers/items/create", "/dbs/D1/colls/c1", "5302"},
		{"token makes database", token, "sqlDatabases/write", "/", "5300"},
		{"token makes container", token, "sqlDatabases/containers/write", "/dbs/d1", "5300"},
		{"stranger metadata", stranger, "readMetadata", "/", "5301"},
		{"stranger reads", stranger, "sqlDatabases/containers/items/read", "/dbs/d1/colls/c1", "5302"},
		{"token reads users", token, "sqlDatabases/users/read", "/dbs/d1", "5300"},
		{"token reads a permission", token, "sqlDatabases/users/permissions/read", "/dbs/d1", "5300"},
		{"token writes scripts in scope", token, "sqlDatabases/containers/storedProcedures/write", "/dbs/d1/colls/c1", "5300"},
		{"key reads a permission", full, "sqlDatabases/users/permissions/read", "/dbs/d1", ""},
		{"reader reads users", reader, "sqlDatabases/users/read", "/dbs/d1", ""},
		{"reader reads a permission", reader, "sqlDatabases/users/permissions/read", "/dbs/d1", "ReadOnlyKey"},
		{"bearer for reading reads", bearer(a.ID, false), "sqlDatabases/containers/items/read", "/dbs/d1/colls/c1", ""},
		{"bearer for reading queries", bearer(a.ID, false), "sqlDatabases/containers/executeQuery", "/dbs/d1/colls/c1", ""},
		{"bearer for reading writes", bearer(a.ID, false), "sqlDatabases/containers/items/create", "/dbs/d1/colls/c1", "InsufficientPermissions"},
		{"bearer for reading runs scripts", bearer(a.ID, false), "sqlDatabases/containers/executeStoredProcedure", "/dbs/d1/colls/c1", "InsufficientPermissions"},
		{"bearer for all writes", bearer(a.ID, true), "sqlDatabases/containers/items/create", "/dbs/d1/colls/c1", ""},
		{"bearer for all makes a container", bearer(a.ID, true), "sqlDatabases/containers/write", "/dbs/d1", "InsufficientPermissions"},
		{"bearer for all makes a script", bearer(a.ID, true), "sqlDatabases/containers/storedProcedures/write", "/dbs/d1/colls/c1", "InsufficientPermissions"},
		{"bearer for all reads permissions", bearer(a.ID, true), "sqlDatabases/users/permissions/read", "/dbs/d1", "InsufficientPermissions"},
		{"bearer for another account", bearer("another", true), "sqlDatabases/containers/items/read", "/dbs/d1/colls/c1", "InsufficientPermissions"},
		{"bearer of nothing", principal.Caller{Door: principal.AccountResourceToken, Account: a.ID}, "readMetadata", "/", "InsufficientPermissions"},
		{"no door", principal.Caller{}, "readMetadata", "/", "AuthorizationFailed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := w.svc.AuthorizeDocuments(t.Context(), tc.c, a.ID, tc.action, tc.scope)
			if tc.reason == "" && err != nil || tc.reason != "" && !fault.Is(err, tc.reason) {
				t.Errorf("got %v, want reason %q", err, tc.reason)
			}
		})
	}
	w.denied[Type+"/sqlDatabases/containers/write"] = true
	if err := w.svc.AuthorizeDocuments(t.Context(), someone, a.ID, "sqlDatabases/containers/write", "/dbs/d1/colls/c1"); fault.KindOf(err) != fault.Denied ||
		!strings.Contains(err.Error(), "/databaseAccounts/acct1/sqlDatabases/d1/containers/c1") {
		t.Errorf("management: %v", err)
	}
}
