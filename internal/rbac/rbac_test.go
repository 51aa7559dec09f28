package rbac

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

const (
	sub     = "/subscriptions/s1"
	group   = sub + "/resourceGroups/rg1"
	account = group + "/providers/Microsoft.DocumentDB/databaseAccounts/a1"
	vault   = group + "/providers/Microsoft.KeyVault/vaults/v1"
)

type log struct {
	events []audit.Event
	fail   error
}

func (l *log) Record(_ context.Context, e audit.Event) error {
	l.events = append(l.events, e)
	return l.fail
}

func newEngine(t *testing.T) (*Engine, *log) {
	t.Helper()
	db, err := store.Open("/db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	l := &log{}
	e := reopen(t, db, l)
	return e, l
}

// reopen loads the engine from its store, as a start does.
func reopen(t *testing.T, db *store.Store, l *log) *Engine {
	t.Helper()
	e, err := Open(Config{DB: db, Audit: l, Tenant: "t1", Principals: func(id string) (principal.Kind, bool) {
		return principal.ServicePrincipal, !strings.HasPrefix(id, "00000000")
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func caller(id string) principal.Caller {
	return principal.Caller{Door: principal.Management, ObjectID: id, AppID: "app-" + id[:4]}
}

func roleID(t *testing.T, name string) string {
	t.Helper()
	for id, d := range builtIn {
		if d.Name == name {
			return id
		}
	}
	t.Fatalf("no role %q", name)
	return ""
}

func grant(t *testing.T, e *Engine, who, role, scope string) Assignment {
	t.Helper()
	a, created, err := e.PutAssignment(t.Context(), principal.Server("test"), Assignment{ID: uuid.NewString(), RoleID: roleID(t, role), PrincipalID: who, Scope: scope})
	if err != nil || !created {
		t.Fatal(created, err)
	}
	return a
}

// TestRoles asks what each role may do with accounts, keys and vaults.
func TestRoles(t *testing.T) {
	e, _ := newEngine(t)
	const (
		write   = "Microsoft.DocumentDB/databaseAccounts/write"
		read    = "Microsoft.DocumentDB/databaseAccounts/read"
		keys    = "Microsoft.DocumentDB/databaseAccounts/listKeys/action"
		roKeys  = "Microsoft.DocumentDB/databaseAccounts/readonlykeys/action"
		assign  = "Microsoft.Authorization/roleAssignments/write"
		policy  = "Microsoft.KeyVault/vaults/write"
		purge   = "Microsoft.KeyVault/locations/deletedVaults/purge/action"
		wrap    = "data:Microsoft.KeyVault/vaults/keys/wrap/action"
		decrypt = "data:Microsoft.KeyVault/vaults/keys/decrypt/action"
		create  = "data:Microsoft.KeyVault/vaults/keys/create/action"
		keyRead = "data:Microsoft.KeyVault/vaults/keys/read"
	)
	all := []string{write, read, keys, roKeys, assign, policy, purge, wrap, decrypt, create, keyRead}
	for role, may := range map[string][]string{
		"Owner":                     {write, read, keys, roKeys, assign, policy, purge},
		"Contributor":               {write, read, keys, roKeys, policy, purge},
		"Reader":                    {read},
		"User Access Administrator": {read, assign},
		"Role Based Access Control Administrator":  {read, assign},
		"DocumentDB Account Contributor":           {write, read, keys, roKeys},
		"Cosmos DB Operator":                       {write, read},
		"Cosmos DB Account Reader Role":            {read, roKeys},
		"Key Vault Administrator":                  {wrap, decrypt, create, keyRead},
		"Key Vault Contributor":                    {policy},
		"Key Vault Crypto Officer":                 {wrap, decrypt, create, keyRead},
		"Key Vault Crypto User":                    {wrap, decrypt, keyRead},
		"Key Vault Crypto Service Encryption User": {wrap, keyRead},
		"Key Vault Reader":                         {keyRead},
		"Key Vault Secrets User":                   {},
	} {
		t.Run(role, func(t *testing.T) {
			who := uuid.NewString()
			grant(t, e, who, role, group)
			allowed := map[string]bool{}
			for _, a := range may {
				allowed[a] = true
			}
			for _, a := range all {
				action, data := strings.CutPrefix(a, "data:")
				if got := e.Decide(caller(who), action, account, data).Allowed; got != allowed[a] {
					t.Errorf("%s: allowed %v", a, got)
				}
			}
		})
	}
}

func TestScopes(t *testing.T) {
	e, _ := newEngine(t)
	who := uuid.NewString()
	grant(t, e, who, "Reader", strings.ToUpper(group)+"/")
	for scope, want := range map[string]bool{
		group: true, account: true, strings.ToLower(account): true, vault + "/keys/k": true,
		sub: false, "/": false, sub + "/resourceGroups/rg10": false, sub + "/resourceGroups/rg": false, "/subscriptions/s2/resourceGroups/rg1": false,
	} {
		if got := e.Decide(caller(who), "Microsoft.KeyVault/vaults/read", scope, false).Allowed; got != want {
			t.Errorf("%s: allowed %v", scope, got)
		}
	}
}

func TestGrantsAddUpAndReachGroups(t *testing.T) {
	e, _ := newEngine(t)
	who, team := uuid.NewString(), uuid.NewString()
	c := caller(who)
	c.Groups = []string{team}
	grant(t, e, who, "Cosmos DB Operator", group) // notActions of this role …
	if e.Decide(c, "Microsoft.DocumentDB/databaseAccounts/listKeys/action", account, false).Allowed {
		t.Fatal("the operator may list keys")
	}
	grant(t, e, team, "DocumentDB Account Contributor", account) // … deny nothing that another grants
	if !e.Decide(c, "Microsoft.DocumentDB/databaseAccounts/listKeys/action", account, false).Allowed {
		t.Fatal("the group's role does not count")
	}
}

func TestRefusalHasTheServicesText(t *testing.T) {
	e, _ := newEngine(t)
	err := e.Authorize(t.Context(), caller("11112222-0000-0000-0000-000000000000"), "Microsoft.DocumentDB/databaseAccounts/write", account)
	want := "The client 'app-1111' with object id '11112222-0000-0000-0000-000000000000' does not have authorization to perform action 'Microsoft.DocumentDB/databaseAccounts/write' over scope '" + account + "' or the scope is invalid. If access was recently granted, please refresh your credentials."
	if f := fault.As(err); f == nil || f.Kind != fault.Denied || f.Reason != "AuthorizationFailed" || f.Message != want {
		t.Fatalf("got %v", err)
	}
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, action string
		want            bool
	}{
		{"*", "a/b", true}, {"*/read", "a/b/read", true}, {"*/read", "a/b/write", false}, {"A/*/c", "a/b/x/c", true},
		{"a/*", "a/", true}, {"a/*", "a", false}, {"a", "A", true}, {"a/*b*c", "a/bxc", true}, {"a/*b*c", "a/c", false}, {"ab*ba", "aba", false},
	} {
		if got := Match(tc.pattern, tc.action); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.pattern, tc.action, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/*/c", "a/b/c")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, action string) {
		lower := strings.ToLower(pattern)
		if !strings.Contains(pattern, "*") && Match(pattern, action) != (lower == strings.ToLower(action)) {
			t.Errorf("Match(%q, %q)", pattern, action)
		}
		if !Match("*", action) {
			t.Errorf("* does not match %q", action)
		}
	})
}

func TestAssignments(t *testing.T) {
	e, l := newEngine(t)
	owner, other := uuid.NewString(), uuid.NewString()
	grant(t, e, owner, "Owner", group)
	put := func(c principal.Caller, a Assignment) error {
		_, _, err := e.PutAssignment(t.Context(), c, a)
		return err
	}
	a := Assignment{ID: uuid.NewString(), RoleID: roleID(t, "Reader"), PrincipalID: other, Scope: account}
	for _, tc := range []struct {
		name   string
		c      principal.Caller
		a      Assignment
		reason string
	}{
		{"by a stranger", caller(other), a, "AuthorizationFailed"},
		{"above the owner's scope", caller(owner), Assignment{ID: a.ID, RoleID: a.RoleID, PrincipalID: other, Scope: sub}, "AuthorizationFailed"},
		{"no GUID", caller(owner), Assignment{ID: "x", RoleID: a.RoleID, PrincipalID: other, Scope: account}, "InvalidRoleAssignmentId"},
		{"no principal", caller(owner), Assignment{ID: a.ID, RoleID: a.RoleID, PrincipalID: "00000000-0000-0000-0000-000000000001", Scope: account}, "PrincipalNotFound"},
		{"no role", caller(owner), Assignment{ID: a.ID, RoleID: uuid.NewString(), PrincipalID: other, Scope: account}, "RoleDefinitionDoesNotExist"},
		{"first", caller(owner), a, ""},
		{"again", caller(owner), a, ""},
		{"another id", caller(owner), Assignment{ID: uuid.NewString(), RoleID: a.RoleID, PrincipalID: other, Scope: account}, "RoleAssignmentExists"},
		{"another scope", caller(owner), Assignment{ID: a.ID, RoleID: a.RoleID, PrincipalID: other, Scope: vault}, "RoleAssignmentUpdateNotPermitted"},
	} {
		err := put(tc.c, tc.a)
		if tc.reason == "" && err != nil || tc.reason != "" && !fault.Is(err, tc.reason) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.reason)
		}
	}
	if !e.Decide(caller(other), "x/read", account, false).Allowed {
		t.Fatal("the assignment has no effect")
	}
	list, err := e.Assignments(t.Context(), caller(owner), Filter{Scope: group})
	if err != nil || len(list) != 2 {
		t.Fatalf("%d assignments, %v", len(list), err)
	}
	if list, err = e.Assignments(t.Context(), caller(owner), Filter{Scope: group, AtScope: true}); err != nil || len(list) != 1 {
		t.Fatalf("at scope: %d assignments, %v", len(list), err)
	}
	if _, ok, err := e.DeleteAssignment(t.Context(), caller(owner), account, a.ID); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if e.Decide(caller(other), "x/read", account, false).Allowed {
		t.Fatal("the assignment still has effect")
	}
	if denied := countDenied(l); denied != 2 {
		t.Errorf("%d refusals are recorded", denied)
	}
	l.fail = errors.New("disk full")
	if err := put(caller(owner), a); err == nil || e.Decide(caller(other), "x/read", account, false).Allowed {
		t.Fatalf("an unrecorded grant went through: %v", err)
	}
}

func countDenied(l *log) (n int) {
	for _, e := range l.events {
		if e.Outcome == audit.Denied {
			n++
		}
	}
	return n
}

func TestForgetRemovesWhatStoodThereAndBelow(t *testing.T) {
	e, _ := newEngine(t)
	who := uuid.NewString()
	for i, scope := range []string{sub, group, account, vault, sub + "/resourceGroups/rg11"} {
		grant(t, e, who, []string{"Reader", "Owner", "Contributor", "Reader", "Reader"}[i], scope)
	}
	if err := e.Forget(group); err != nil {
		t.Fatal(err)
	}
	list, err := e.Assignments(t.Context(), principal.Server("test"), Filter{Scope: "/"})
	if err != nil || len(list) != 2 {
		t.Fatalf("left: %v, %v", list, err)
	}
}

func TestCustomRole(t *testing.T) {
	e, _ := newEngine(t)
	d := Definition{ID: uuid.NewString(), Name: "Key Setter", AssignableScopes: []string{group}, Permissions: []Permission{{Actions: []string{"Microsoft.DocumentDB/databaseAccounts/write"}}}}
	if _, created, err := e.PutDefinition(t.Context(), principal.Server("test"), group, d); err != nil || !created {
		t.Fatal(created, err)
	}
	who := uuid.NewString()
	if _, _, err := e.PutAssignment(t.Context(), principal.Server("test"), Assignment{ID: uuid.NewString(), RoleID: d.ID, PrincipalID: who, Scope: group}); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]*Engine{"at once": e, "after a restart": reopen(t, e.cfg.DB, &log{})} {
		if !e.Decide(caller(who), "Microsoft.DocumentDB/databaseAccounts/write", account, false).Allowed {
			t.Fatalf("the custom role has no effect %s", name)
		}
	}
	if _, _, err := e.DeleteDefinition(t.Context(), principal.Server("test"), group, d.ID); !fault.Is(err, "RoleDefinitionHasAssignments") {
		t.Fatalf("deleting a role in use: %v", err)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	fs := vfs.NewMem()
	db, err := store.Open("/db", store.Options{FS: fs})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	e, err := Open(Config{DB: db, Audit: &log{}, Principals: func(string) (principal.Kind, bool) { return principal.User, true }})
	if err != nil {
		b.Fatal(err)
	}
	who := uuid.NewString()
	for i := range 20 {
		_, _, err := e.PutAssignment(b.Context(), principal.Server("bench"), Assignment{ID: uuid.NewString(), RoleID: RoleOwner, PrincipalID: who, Scope: fmt.Sprintf("%s%d", group, i)})
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		e.Decide(caller(who), "Microsoft.DocumentDB/databaseAccounts/write", group+"19/providers/x/y/z", false)
	}
}
