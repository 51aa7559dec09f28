package rbac

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

var server = principal.Server("test")

func custom(name string, scopes ...string) Definition {
	return Definition{ID: uuid.NewString(), Name: name, AssignableScopes: scopes, Permissions: []Permission{{Actions: []string{"Microsoft.DocumentDB/databaseAccounts/read"}}}}
}

func put(t *testing.T, e *Engine, d Definition) Definition {
	t.Helper()
	d, _, err := e.PutDefinition(t.Context(), server, "/", d)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRightOverOneGroupRewritesNoWiderRole: whoever administers access to a group must not change or
// remove a role that is assignable above it, nor pull it down to the group to get hold of it.
func TestRightOverOneGroupRewritesNoWiderRole(t *testing.T) {
	e, l := newEngine(t)
	wide := put(t, e, custom("Wide", sub))
	who := uuid.NewString()
	if _, _, err := e.PutAssignment(t.Context(), server, Assignment{ID: uuid.NewString(), RoleID: wide.ID, PrincipalID: who, Scope: sub}); err != nil {
		t.Fatal(err)
	}
	grant(t, e, who, "Owner", group)
	stronger := wide
	stronger.AssignableScopes, stronger.Permissions = []string{group}, []Permission{{Actions: []string{"*"}, DataActions: []string{"*"}}}
	if _, _, err := e.PutDefinition(t.Context(), caller(who), group, stronger); !fault.Is(err, "AuthorizationFailed") {
		t.Errorf("rewriting: %v", err)
	}
	if _, _, err := e.DeleteDefinition(t.Context(), caller(who), group, wide.ID); !fault.Is(err, "AuthorizationFailed") {
		t.Errorf("deleting: %v", err)
	}
	if e.Decide(caller(who), "Microsoft.DocumentDB/databaseAccounts/delete", sub, false).Allowed {
		t.Error("the role grants more than before")
	}
	if last := l.events[len(l.events)-1]; last.Outcome != audit.Denied {
		t.Errorf("last record: %+v", last)
	}
	own := custom("Own", group)
	if _, created, err := e.PutDefinition(t.Context(), caller(who), group, own); err != nil || !created {
		t.Errorf("a role for the own group: %v %v", created, err)
	}
	if _, ok, err := e.DeleteDefinition(t.Context(), caller(who), group, own.ID); err != nil || !ok {
		t.Errorf("deleting the own role: %v %v", ok, err)
	}
}

func TestDefinitionsThatAreRefused(t *testing.T) {
	e, _ := newEngine(t)
	first := put(t, e, custom("Taken", sub))
	if _, _, err := e.PutAssignment(t.Context(), server, Assignment{ID: uuid.NewString(), RoleID: first.ID, PrincipalID: uuid.NewString(), Scope: sub}); err != nil {
		t.Fatal(err)
	}
	with := func(d Definition, change func(*Definition)) Definition {
		change(&d)
		return d
	}
	for _, tc := range []struct {
		name   string
		d      Definition
		reason string
	}{
		{"a built-in role's id", with(custom("x", sub), func(d *Definition) { d.ID = RoleOwner }), "InvalidRoleDefinition"},
		{"no GUID", with(custom("x", sub), func(d *Definition) { d.ID = "x" }), "InvalidRoleDefinition"},
		{"no name", custom("", sub), "InvalidRoleDefinition"},
		{"nowhere assignable", custom("x"), "InvalidRoleDefinition"},
		{"an empty action", with(custom("x", sub), func(d *Definition) { d.Permissions[0].NotActions = []string{" "} }), "InvalidActionOrNotAction"},
		{"too many actions", with(custom("x", sub), func(d *Definition) { d.Permissions[0].Actions = slices.Repeat([]string{"a/read"}, 1001) }), "InvalidRoleDefinition"},
		{"a taken name", custom("TAKEN", sub), "RoleDefinitionWithSameNameExists"},
		{"a built-in name", custom("owner", sub), "RoleDefinitionWithSameNameExists"},
		{"leaving an assignment outside", with(first, func(d *Definition) { d.AssignableScopes = []string{group} }), "RoleDefinitionHasAssignments"},
	} {
		if _, _, err := e.PutDefinition(t.Context(), server, sub, tc.d); !fault.Is(err, tc.reason) {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.reason)
		}
	}
	if _, _, err := e.DeleteDefinition(t.Context(), server, "/", RoleOwner); !fault.Is(err, "InvalidRoleDefinition") {
		t.Errorf("deleting a built-in role: %v", err)
	}
}

func TestRoleIsAssignedOnlyWhereItIsAssignable(t *testing.T) {
	e, _ := newEngine(t)
	d := put(t, e, custom("Local", group))
	for scope, reason := range map[string]string{
		group: "", account: "", sub: "RoleAssignmentScopeNotAssignableToRoleDefinition",
		"/": "RoleAssignmentScopeNotAssignableToRoleDefinition", sub + "/resourceGroups/rg10": "RoleAssignmentScopeNotAssignableToRoleDefinition",
	} {
		_, _, err := e.PutAssignment(t.Context(), server, Assignment{ID: uuid.NewString(), RoleID: d.ID, PrincipalID: uuid.NewString(), Scope: scope})
		if reason == "" && err != nil || reason != "" && !fault.Is(err, reason) {
			t.Errorf("%s: got %v, want %q", scope, err, reason)
		}
	}
	for scope, visible := range map[string]bool{"/": true, sub: true, group: true, account: true, sub + "/resourceGroups/rg2": false} {
		if _, err := e.Definition(t.Context(), server, scope, d.ID); (err == nil) != visible {
			t.Errorf("seen from %s: %v", scope, err)
		}
	}
}

// TestDelegationIsLimited: the one role that may give vault roles to others gives no other role.
func TestDelegationIsLimited(t *testing.T) {
	e, _ := newEngine(t)
	who, other := uuid.NewString(), uuid.NewString()
	grant(t, e, who, "Key Vault Data Access Administrator", group)
	owner := grant(t, e, other, "Owner", vault)
	give := func(role string) (Assignment, error) {
		a, _, err := e.PutAssignment(t.Context(), caller(who), Assignment{ID: uuid.NewString(), RoleID: strings.ToUpper(roleID(t, role)), PrincipalID: who, Scope: vault})
		return a, err
	}
	for _, role := range []string{"Owner", "Contributor", "User Access Administrator", "Key Vault Contributor", "Key Vault Data Access Administrator", "Key Vault Purge Operator"} {
		if _, err := give(role); !fault.Is(err, "AuthorizationFailed") {
			t.Errorf("%s is given: %v", role, err)
		}
	}
	a, err := give("Key Vault Crypto User")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.DeleteAssignment(t.Context(), caller(who), vault, owner.ID); !fault.Is(err, "AuthorizationFailed") {
		t.Errorf("an owner is removed: %v", err)
	}
	if _, ok, err := e.DeleteAssignment(t.Context(), caller(who), vault, a.ID); err != nil || !ok {
		t.Errorf("what was given is not taken away: %v %v", ok, err)
	}
}

func TestIdentifiersCompareWithoutCase(t *testing.T) {
	e, _ := newEngine(t)
	who := uuid.NewString()
	a, _, err := e.PutAssignment(t.Context(), server, Assignment{ID: uuid.NewString(), RoleID: strings.ToUpper(roleID(t, "Reader")), PrincipalID: strings.ToUpper(who), Scope: "/Subscriptions/s1/resourcegroups/rg1/"})
	if err != nil || a.Scope != group {
		t.Fatal(a.Scope, err)
	}
	for _, id := range []string{who, strings.ToUpper(who)} {
		if !e.Decide(caller(id), "x/read", account, false).Allowed {
			t.Errorf("%s has no right", id)
		}
	}
	list, err := e.Assignments(t.Context(), server, Filter{Scope: group, Any: []string{strings.ToUpper(who)}})
	if err != nil || len(list) != 1 {
		t.Errorf("%d assignments, %v", len(list), err)
	}
	if list, err := e.Assignments(t.Context(), server, Filter{Scope: group, Any: []string{}}); err != nil || len(list) != 0 {
		t.Errorf("assigned to nobody: %d assignments, %v", len(list), err)
	}
}

func TestStatedPrincipalTypeMustBeTrue(t *testing.T) {
	e, _ := newEngine(t)
	for kind, reason := range map[principal.Kind]string{"": "", "serviceprincipal": "", principal.User: "UnmatchedPrincipalType"} {
		_, _, err := e.PutAssignment(t.Context(), server, Assignment{ID: uuid.NewString(), RoleID: roleID(t, "Reader"), PrincipalID: uuid.NewString(), PrincipalType: kind, Scope: sub})
		if reason == "" && err != nil || reason != "" && !fault.Is(err, reason) {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestPermissionsAreTheCallersOwn(t *testing.T) {
	e, _ := newEngine(t)
	who := uuid.NewString()
	grant(t, e, who, "Key Vault Crypto User", vault)
	if got := e.Permissions(caller(who), group); len(got) != 0 {
		t.Errorf("above the grant: %v", got)
	}
	if got := e.Permissions(caller(who), vault+"/keys/k"); len(got) != 1 || !slices.Contains(got[0].DataActions, "Microsoft.KeyVault/vaults/keys/wrap/action") {
		t.Errorf("below the grant: %v", got)
	}
}

// TestBuiltInRoles checks the list as a list, and that control actions alone never reach data.
func TestBuiltInRoles(t *testing.T) {
	names := map[string]bool{}
	for id, d := range builtIn {
		if uuid.Validate(id) != nil || names[d.Name] || !d.BuiltIn {
			t.Errorf("%s %q", id, d.Name)
		}
		names[d.Name] = true
		hasData := slices.ContainsFunc(d.Permissions, func(p Permission) bool { return len(p.DataActions) > 0 })
		if !hasData && d.allows("Microsoft.KeyVault/vaults/keys/read", true) {
			t.Errorf("%s reaches data", d.Name)
		}
	}
	if len(names) != 23 {
		t.Errorf("%d roles", len(names))
	}
}
