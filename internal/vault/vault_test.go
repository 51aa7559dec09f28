package vault_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

const (
	tenant = "11111111-1111-1111-1111-111111111111"
	subID  = "22222222-2222-2222-2222-222222222222"
	alice  = "aaaaaaaa-0000-0000-0000-000000000001"
	team   = "aaaaaaaa-0000-0000-0000-000000000002"
	appID  = "aaaaaaaa-0000-0000-0000-000000000003"
)

// testJWK is testKey in parts.
func testJWK() material.JWK {
	k := testKey()
	return material.JWK{N: k.N.Bytes(), E: big.NewInt(int64(k.E)).Bytes(), D: k.D.Bytes(), P: k.Primes[0].Bytes(), Q: k.Primes[1].Bytes()}
}

// world is a vault service among fakes that can be told to fail.
type world struct {
	t        testing.TB
	fs       *vfs.MemFS
	db       *store.Store
	svc      *vault.Service
	now      time.Time
	denied   map[string]bool // actions and data actions that the authorizer refuses
	asked    []string        // "action scope"
	trusted  bool
	token    material.Token
	noAudit  error
	onRecord func(audit.Event) // is told before a record is written
	limits   bool
	faults   bool
	refuse   bool     // events cannot be queued
	queued   []string // events in a commit that is not durable yet
	events   []string // events that are

	mu      sync.Mutex
	audited []audit.Event
	changes []string
	gone    []string
}

func (w *world) Authorize(_ context.Context, c principal.Caller, action, scope string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, action+" "+scope)
	if w.denied[action] && c.Door != principal.Platform {
		return fault.New(fault.Denied, "AuthorizationFailed", "no %s over %s", action, scope)
	}
	return nil
}

func (w *world) DecideData(ctx context.Context, c principal.Caller, action, scope string) access.Decision {
	if err := w.Authorize(ctx, c, "data "+action, scope); err != nil {
		return access.No(access.DataRole, "the test says no", err)
	}
	return access.Yes(access.DataRole, "the test says yes")
}

func (w *world) Record(_ context.Context, e audit.Event) error {
	if w.onRecord != nil {
		w.onRecord(e)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.audited = append(w.audited, e)
	return w.noAudit
}

var errRefused = errors.New("the queue refuses")

func (w *world) last() audit.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.audited[len(w.audited)-1]
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem(), now: time.Unix(1_800_000_000, 0).UTC(), denied: map[string]bool{}}
	w.open()
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

// restart ends the store and opens everything again.
func (w *world) restart() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

// open opens the store and the service on it, as a start of the server does.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = store.Open("control", store.Options{FS: w.fs}); err != nil {
		w.t.Fatal(err)
	}
	w.svc, err = vault.Open(vault.Config{
		Limits: w.limits, AllowFaults: w.faults, OnEvent: w.queue, Told: w.durable,
		DB: w.db, Audit: w, Authorizer: w, Token: w.token, Now: func() time.Time { return w.now },
		Trusted: func(principal.Caller) bool { return w.trusted },
		RequireGroup: func(name string) error {
			if name == "nogroup" {
				return fault.New(fault.NotFound, "ResourceGroupNotFound", "no group")
			}
			return nil
		},
		OnChange: func(v, k string) {
			if _, _, err := w.svc.Keys(context.Background(), principal.Server("test"), v, vault.Page{}); err != nil && fault.KindOf(err) == fault.Internal {
				w.t.Errorf("a look from OnChange: %v", err) // it must not be called with a lock held
			}
			w.changes = append(w.changes, v+"/"+k)
		},
		OnDelete: func(scope string) error { w.gone = append(w.gone, scope); return nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

var (
	manager = principal.Caller{Door: principal.Management, Kind: principal.User, TenantID: tenant, ObjectID: alice, Name: "alice@latchkey", Address: "127.0.0.1"}
	user    = principal.Caller{Door: principal.VaultData, Kind: principal.User, TenantID: tenant, ObjectID: alice, AppID: appID, Name: "alice@latchkey", Groups: []string{team}, Address: "127.0.0.1"}
	ctx     = context.Background()
)

func id(group, name string) uri.ResourceID {
	return uri.ResourceID{Subscription: subID, ResourceGroup: group, Provider: vault.Namespace}.Child("vaults", name)
}

func ptr[T any](v T) *T { return &v }

func policy(objectID string, keys ...string) vault.AccessPolicy {
	return vault.AccessPolicy{TenantID: tenant, ObjectID: objectID, Permissions: vault.Permissions{Keys: keys}}
}

func spec(policies ...vault.AccessPolicy) vault.Spec {
	return vault.Spec{Location: "East US", TenantID: tenant, SKU: "standard", Policies: append([]vault.AccessPolicy{}, policies...)}
}

func (w *world) put(name string, s vault.Spec) vault.Vault {
	w.t.Helper()
	v, _, err := w.svc.PutVault(ctx, manager, id("rg", name), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// key imports a key without the cost of generating one.
func (w *world) key(v, name string) vault.Key {
	w.t.Helper()
	k, err := w.svc.ImportKey(ctx, principal.Server("test"), v, name, vault.KeySpec{KTY: "RSA"}, testJWK())
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// want checks that err is a fault of the reason, or nil for "".
func want(t testing.TB, err error, reason string) {
	t.Helper()
	if reason == "" && err != nil || reason != "" && !fault.Is(err, reason) {
		t.Errorf("got %v, want %q", err, reason)
	}
}

// operations are the operations on k1 of kv1 by the policy permission that each needs.
func (w *world) operations() map[string]func(c principal.Caller) error {
	crypt := func(op material.Operation, in material.Input) func(principal.Caller) error {
		return func(c principal.Caller) error {
			_, err := w.svc.Crypt(ctx, c, "kv1", "k1", "", op, in)
			return err
		}
	}
	plain := material.Input{Algorithm: "RSA-OAEP-256", Value: []byte("x")}
	wrapped, err := w.svc.Crypt(ctx, principal.Server("test"), "kv1", "k1", "", material.Wrap, plain)
	if err != nil {
		w.t.Fatal(err)
	}
	sealed := material.Input{Algorithm: "RSA-OAEP-256", Value: wrapped.Value}
	digest := material.Input{Algorithm: "RS256", Value: make([]byte, 32), Digest: make([]byte, 32)}
	return map[string]func(principal.Caller) error{
		"get":  func(c principal.Caller) error { _, err := w.svc.Key(ctx, c, "kv1", "k1", ""); return err },
		"list": func(c principal.Caller) error { _, _, err := w.svc.Keys(ctx, c, "kv1", vault.Page{}); return err },
		"create": func(c principal.Caller) error {
			_, err := w.svc.CreateKey(ctx, c, "kv1", "k1", vault.KeySpec{KTY: "RSA"})
			return err
		},
		"import": func(c principal.Caller) error {
			_, err := w.svc.ImportKey(ctx, c, "kv1", "k1", vault.KeySpec{KTY: "RSA"}, testJWK())
			return err
		},
		"update": func(c principal.Caller) error {
			_, err := w.svc.UpdateKey(ctx, c, "kv1", "k1", "", vault.KeySpec{})
			return err
		},
		"rotate": func(c principal.Caller) error { _, err := w.svc.RotateKey(ctx, c, "kv1", "k1"); return err },
		"getrotationpolicy": func(c principal.Caller) error {
			_, err := w.svc.RotationPolicy(ctx, c, "kv1", "k1")
			return err
		},
		"setrotationpolicy": func(c principal.Caller) error {
			_, err := w.svc.SetRotationPolicy(ctx, c, "kv1", "k1", vault.RotationPolicy{})
			return err
		},
		"delete":  func(c principal.Caller) error { _, err := w.svc.DeleteKey(ctx, c, "kv1", "absent"); return err },
		"recover": func(c principal.Caller) error { _, err := w.svc.RecoverKey(ctx, c, "kv1", "absent"); return err },
		"purge":   func(c principal.Caller) error { return w.svc.PurgeKey(ctx, c, "kv1", "absent") },
		"encrypt": crypt(material.Encrypt, plain), "wrapKey": crypt(material.Wrap, plain),
		"decrypt": crypt(material.Decrypt, sealed), "unwrapKey": crypt(material.Unwrap, sealed),
		"sign": crypt(material.Sign, digest), "verify": crypt(material.Verify, digest),
	}
}

// TestPolicyMatrix: every permission opens its own operation and no other; "all" opens all but the
// ones that have to be named; a missing key looks like a present one to who may not see it.
func TestPolicyMatrix(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec())
	w.key("kv1", "k1")
	operations := w.operations()
	grants := map[string][]string{"all": {}}
	for name := range operations {
		grants[name] = []string{name}
		if !slices.Contains([]string{"purge", "rotate", "getrotationpolicy", "setrotationpolicy"}, name) {
			grants["all"] = append(grants["all"], name)
		}
	}
	for granted, opens := range grants {
		w.put("kv1", spec(policy(alice, strings.ToUpper(granted))))
		for name, do := range operations {
			if name == "create" && granted != "create" && granted != "all" || name == "rotate" && granted != "rotate" {
				want(t, do(user), "ForbiddenByPolicy") // making keys is slow: only the right one
				continue
			}
			err := do(user)
			if allowed := strings.Contains(" "+strings.Join(opens, " ")+" ", " "+name+" "); allowed == fault.Is(err, "ForbiddenByPolicy") {
				t.Errorf("%s with the permission %s: %v", name, granted, err)
			}
		}
	}
}

// TestRoleMatrix: in RBAC mode the policies are silent and each operation asks for its data action.
func TestRoleMatrix(t *testing.T) {
	w := newWorld(t)
	s := spec(policy(alice, "all"))
	s.RBAC = ptr(true)
	w.put("kv1", s)
	w.key("kv1", "k1")
	actions := map[string]string{"get": "keys/read", "list": "keys/read", "delete": "keys/delete", "wrapKey": "keys/wrap/action", "unwrapKey": "keys/unwrap/action",
		"getrotationpolicy": "keyrotationpolicies/read", "setrotationpolicy": "keyrotationpolicies/write"}
	for name, do := range w.operations() {
		action := actions[name]
		if action == "" {
			action = "keys/" + name + "/action"
		}
		full := "data Microsoft.KeyVault/vaults/" + action
		w.denied[full] = true
		err := do(user)
		want(t, err, "ForbiddenByRbac")
		if m := fault.As(err); m == nil || !strings.Contains(m.Message, "Action: 'Microsoft.KeyVault/vaults/"+action+"'\r\nResource: '/subscriptions/"+subID+"/resourcegroups/rg/providers/microsoft.keyvault/vaults/kv1") {
			t.Errorf("%s: the message does not name action and scope: %v", name, err)
		}
		delete(w.denied, full)
		if err := do(user); fault.KindOf(err) == fault.Denied {
			t.Errorf("%s with its role: %v", name, err)
		}
	}
}

// TestGrantees: whom a policy is about.
func TestGrantees(t *testing.T) {
	app := user
	app.Kind, app.Groups = principal.ServicePrincipal, nil
	other := user
	other.ObjectID, other.Groups = "aaaaaaaa-0000-0000-0000-00000000000f", nil
	foreign := user
	foreign.TenantID = subID
	wrongDoor := user
	wrongDoor.Door = principal.Management
	compound := policy(alice, "get")
	compound.ApplicationID = strings.ToUpper(appID)
	elsewhere := policy(alice, "get")
	elsewhere.ApplicationID = subID
	foreignPolicy := policy(alice, "get")
	foreignPolicy.TenantID = subID
	for _, row := range []struct {
		name   string
		policy vault.AccessPolicy
		caller principal.Caller
		reason string
	}{
		{"itself", policy(alice, "get"), user, ""},
		{"itself, upper case", policy(strings.ToUpper(alice), "Get"), user, ""},
		{"a group", policy(team, "get"), user, ""},
		{"somebody else", policy(alice, "get"), other, "ForbiddenByPolicy"},
		{"user and application", compound, user, ""},
		{"user and another application", elsewhere, user, "ForbiddenByPolicy"},
		{"application as itself in a compound grant", compound, app, "ForbiddenByPolicy"},
		{"caller of another tenant", policy(alice, "get"), foreign, "ForbiddenByPolicy"},
		{"policy for another tenant", foreignPolicy, foreign, "ForbiddenByPolicy"},
		{"another door", policy(alice, "get"), wrongDoor, "ForbiddenByPolicy"},
		{"nobody", policy(alice), user, "ForbiddenByPolicy"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.put("kv1", spec(row.policy))
			w.key("kv1", "k1")
			_, err := w.svc.Key(ctx, row.caller, "KV1", "K1", "")
			want(t, err, row.reason)
			if e := w.last(); row.reason != "" && (e.Outcome != audit.Denied || e.Reason != row.reason || e.Operation != "KeyGet") {
				t.Errorf("audit: %+v", e)
			}
		})
	}
}

// TestAttributes: which operations each state of a key lets through.
func TestAttributes(t *testing.T) {
	past, future := int64(1_700_000_000), int64(1_900_000_000)
	makes, opens := []string{"encrypt", "wrapKey", "sign"}, []string{"decrypt", "unwrapKey", "verify"}
	for _, row := range []struct {
		name   string
		change vault.KeySpec
		makes  string
		opens  string
	}{
		{"plain", vault.KeySpec{}, "", ""},
		{"valid", vault.KeySpec{Change: vault.Change{NotBefore: &past, Expires: &future}}, "", ""},
		{"disabled", vault.KeySpec{Change: vault.Change{Enabled: ptr(false)}}, "KeyDisabled", "KeyDisabled"},
		{"not yet valid", vault.KeySpec{Change: vault.Change{NotBefore: &future}}, "KeyNotYetValid", ""},
		{"expired", vault.KeySpec{Change: vault.Change{Expires: &past}}, "KeyExpired", ""},
		{"expires now", vault.KeySpec{Change: vault.Change{Expires: ptr(int64(1_800_000_000))}}, "KeyExpired", ""},
		{"no operations", vault.KeySpec{Ops: []string{}}, "KeyOperationForbidden", "KeyOperationForbidden"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.put("kv1", spec(policy(alice, "all")))
			w.key("kv1", "k1")
			operations := w.operations()
			if _, err := w.svc.UpdateKey(ctx, user, "kv1", "k1", "", row.change); err != nil {
				t.Fatal(err)
			}
			for _, name := range makes {
				want(t, operations[name](user), row.makes)
			}
			for _, name := range opens {
				want(t, operations[name](user), row.opens)
			}
			want(t, operations["get"](user), "")
			want(t, operations["update"](user), "")
		})
	}
}

// TestKeyLife: versions, deletion, recovery, purge, and that a start of the server changes nothing.
func TestKeyLife(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all", "purge", "rotate")))
	first, err := w.svc.CreateKey(ctx, user, "kv1", "Key-1", vault.KeySpec{KTY: "RSA", Ops: []string{"wrapKey", "unwrapKey"}, Change: vault.Change{Tags: map[string]string{"a": "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := w.svc.Crypt(ctx, user, "kv1", "key-1", "", material.Wrap, material.Input{Algorithm: "RSA-OAEP-256", Value: []byte("secret")})
	if err != nil || wrapped.Version != first.Version {
		t.Fatalf("%v %v", wrapped, err)
	}
	second, err := w.svc.RotateKey(ctx, user, "kv1", "KEY-1")
	if err != nil || second.Version == first.Version || second.Tags["a"] != "b" || len(second.Ops) != 2 || second.Name != "Key-1" {
		t.Fatalf("rotated: %+v %v", second, err)
	}
	_ = w.db.Close()
	w.open()
	unwrap := func(version string) (string, error) {
		r, err := w.svc.Crypt(ctx, user, "kv1", "key-1", version, material.Unwrap, material.Input{Algorithm: "RSA-OAEP-256", Value: wrapped.Value})
		return string(r.Value), err
	}
	if s, err := unwrap(first.Version); s != "secret" || err != nil {
		t.Fatalf("the old version: %q %v", s, err)
	}
	_, err = unwrap("")
	want(t, err, "BadParameter") // the current version did not wrap it
	if e := w.last(); e.Operation != "KeyUnwrap" || e.Outcome != audit.Failed || e.Version != second.Version || e.Reason != "BadParameter" {
		t.Errorf("audit: %+v", e)
	}

	deleted, err := w.svc.DeleteKey(ctx, user, "kv1", "key-1")
	if err != nil || !deleted.Deletion.PurgeAt.Equal(w.now.AddDate(0, 0, 90)) {
		t.Fatalf("%+v %v", deleted, err)
	}
	_, err = unwrap(first.Version)
	want(t, err, "KeyNotFound")
	_, err = w.svc.Key(ctx, user, "kv1", "key-1", "")
	want(t, err, "KeyNotFound")
	_, err = w.svc.CreateKey(ctx, user, "kv1", "key-1", vault.KeySpec{KTY: "RSA"})
	want(t, err, "ObjectIsDeletedButRecoverable")
	_, err = w.svc.ImportKey(ctx, user, "kv1", "key-1", vault.KeySpec{KTY: "RSA"}, testJWK())
	want(t, err, "ObjectIsDeletedButRecoverable")
	_, err = w.svc.RecoverKey(ctx, user, "kv1", "key-1")
	want(t, err, "")
	if s, err := unwrap(first.Version); s != "secret" || err != nil {
		t.Fatalf("recovered: %q %v", s, err)
	}
	want(t, w.svc.PurgeKey(ctx, user, "kv1", "key-1"), "KeyNotFound") // it is not deleted
	_, err = w.svc.DeleteKey(ctx, user, "kv1", "key-1")
	want(t, err, "")
	want(t, w.svc.PurgeKey(ctx, user, "kv1", "key-1"), "")
	_, err = w.svc.RecoverKey(ctx, user, "kv1", "key-1")
	want(t, err, "KeyNotFound")
	if got := w.changes[len(w.changes)-1]; got != "kv1/key-1" {
		t.Errorf("OnChange: %q", got)
	}
}

// TestRetention: what has outlived its retention is absent at once, and its name is free; Sweep erases
// it from the store.
func TestRetention(t *testing.T) {
	w := newWorld(t)
	s := spec(policy(alice, "all", "purge"))
	s.RetentionDays, s.PurgeProtect = ptr(7), ptr(true)
	w.put("kv1", s)
	if k := w.key("kv1", "k1"); k.RecoveryLevel != "CustomizedRecoverable" || k.RecoverableDays != 7 {
		t.Errorf("%+v", k)
	}
	_, err := w.svc.DeleteKey(ctx, user, "kv1", "k1")
	want(t, err, "")
	want(t, w.svc.PurgeKey(ctx, user, "kv1", "k1"), "PurgeProtected")
	w.now = w.now.AddDate(0, 0, 7).Add(-time.Second)
	_, err = w.svc.DeletedKey(ctx, user, "kv1", "k1")
	want(t, err, "")
	w.now = w.now.Add(time.Second)
	_, err = w.svc.DeletedKey(ctx, user, "kv1", "k1")
	want(t, err, "KeyNotFound")
	if k := w.key("kv1", "k1"); k.Version == "" { // the name is free, and the old versions are gone
		t.Error("no version")
	}
	if all, _, _ := w.svc.KeyVersions(ctx, user, "kv1", "k1", vault.Page{}); len(all) != 1 {
		t.Errorf("%d versions", len(all))
	}

	_, err = w.svc.DeleteVault(ctx, manager, id("rg", "kv1"))
	want(t, err, "")
	want(t, w.svc.PurgeVault(ctx, manager, subID, "eastus", "kv1"), "MethodNotAllowed")
	w.now = w.now.AddDate(0, 0, 7)
	if err := w.svc.Sweep(ctx, w.now); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range w.db.Scan(store.Range{}, &err) {
		n++
	}
	if n != 0 || err != nil {
		t.Errorf("%d records are left: %v", n, err)
	}
}

// TestFirewall: who may come in.
func TestFirewall(t *testing.T) {
	deny := func(bypass string, rules ...string) vault.Spec {
		s := spec(policy(alice, "all"))
		s.Network = &vault.NetworkRules{DefaultAction: "Deny", Bypass: bypass, IPRules: rules}
		return s
	}
	disabled := spec(policy(alice, "all"))
	disabled.PublicAccess = "disabled"
	disabledNone := deny("None", "127.0.0.1")
	disabledNone.PublicAccess = "Disabled"
	for _, row := range []struct {
		name    string
		spec    vault.Spec
		address string
		trusted bool
		reason  string
	}{
		{"open", spec(policy(alice, "all")), "203.0.113.9", false, ""},
		{"closed", deny("None"), "127.0.0.1", false, "ForbiddenByFirewall"},
		{"closed to the trusted too", deny("None"), "127.0.0.1", true, "ForbiddenByFirewall"},
		{"bypass", deny("AzureServices"), "127.0.0.1", true, ""},
		{"bypass is for the trusted", deny("AzureServices"), "127.0.0.1", false, "ForbiddenByFirewall"},
		{"bypass is the default", deny(""), "127.0.0.1", true, ""},
		{"address", deny("None", "203.0.113.9"), "203.0.113.9", false, ""},
		{"address in the other family", deny("None", "127.0.0.1"), "::ffff:127.0.0.1", false, ""},
		{"range", deny("None", "203.0.113.0/24"), "203.0.113.9", false, ""},
		{"outside the range", deny("None", "203.0.113.0/24"), "203.0.114.9", false, "ForbiddenByFirewall"},
		{"no address", deny("None", "0.0.0.0/0"), "", false, "ForbiddenByFirewall"},
		{"no public access", disabled, "127.0.0.1", false, "ForbiddenByFirewall"},
		{"no public access, rules do not help", disabledNone, "127.0.0.1", false, "ForbiddenByFirewall"},
		{"no public access, trusted", disabled, "127.0.0.1", true, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.put("kv1", row.spec)
			w.key("kv1", "k1")
			c := user
			c.Address, w.trusted = row.address, row.trusted
			want(t, w.svc.Admit(ctx, c, "kv1"), row.reason)
			_, err := w.svc.Key(ctx, c, "kv1", "no such key, and a bad name", "")
			if row.reason == "" {
				want(t, err, "BadParameter")
			} else {
				want(t, err, row.reason) // before anything else
			}
		})
	}
}

// TestNoRecordNoOperation: without the audit log there is no change and no result.
func TestNoRecordNoOperation(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	w.key("kv1", "k1")
	operations := w.operations()
	w.noAudit = errors.New("disk full")
	for name, do := range operations {
		if err := do(user); !errors.Is(err, w.noAudit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := w.svc.PutVault(ctx, manager, id("rg", "kv2"), spec()); !errors.Is(err, w.noAudit) {
		t.Error(err)
	}
	w.noAudit = nil
	if all, _, _ := w.svc.KeyVersions(ctx, user, "kv1", "k1", vault.Page{}); len(all) != 1 {
		t.Errorf("%d versions", len(all))
	}
	_, err := w.svc.Vault(ctx, manager, id("rg", "kv2"))
	want(t, err, "ResourceNotFound")
}

// TestPaging: pages join up to the whole list, in order, whatever their size.
func TestPaging(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	for i := range 7 {
		w.key("kv1", fmt.Sprintf("k%d", 6-i))
		w.key("kv1", "versions")
	}
	lists := map[string]struct {
		n    int
		list func(vault.Page) ([]vault.Key, string, error)
	}{
		"keys": {8, func(p vault.Page) ([]vault.Key, string, error) { return w.svc.Keys(ctx, user, "kv1", p) }},
		"versions": {7, func(p vault.Page) ([]vault.Key, string, error) {
			return w.svc.KeyVersions(ctx, user, "kv1", "versions", p)
		}},
	}
	for name, l := range lists {
		for size := 1; size <= 9; size++ {
			var got []string
			for p := (vault.Page{Max: size}); ; {
				items, next, err := l.list(p)
				if err != nil || len(items) > size {
					t.Fatal(len(items), err)
				}
				for _, k := range items {
					got = append(got, k.Name+"/"+k.Version)
				}
				if p.Marker = next; next == "" {
					break
				}
			}
			if len(got) != l.n || !isSorted(got) {
				t.Errorf("%s by %d: %v", name, size, got)
			}
		}
	}
}

func isSorted(list []string) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return false
		}
	}
	return true
}
