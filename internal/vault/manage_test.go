package vault_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// TestVaultLife: creation, deletion, recovery with everything in it, purge; names are global.
func TestVaultLife(t *testing.T) {
	w := newWorld(t)
	v, created, err := w.svc.PutVault(ctx, manager, id("rg", "Kv-1"), spec(policy(alice, "all")))
	if err != nil || !created || v.RetentionDays != 90 || v.Location != "eastus" || v.RecoveryLevel() != "Recoverable+Purgeable" {
		t.Fatalf("%+v %v %v", v, created, err)
	}
	w.key("kv-1", "k1")
	_, created, err = w.svc.PutVault(ctx, manager, id("RG", "KV-1"), spec(policy(alice, "get")))
	if err != nil || created {
		t.Fatalf("the same vault in another case: %v %v", created, err)
	}
	_, _, err = w.svc.PutVault(ctx, manager, id("other", "kv-1"), spec())
	want(t, err, "VaultAlreadyExists")
	_, err = w.svc.Vault(ctx, manager, id("other", "kv-1"))
	want(t, err, "ResourceNotFound")
	_, err = w.svc.Vault(ctx, manager, id("nogroup", "kv-1"))
	want(t, err, "ResourceGroupNotFound")
	recover := spec()
	recover.Recover = true
	_, _, err = w.svc.PutVault(ctx, manager, id("rg", "kv-2"), recover)
	want(t, err, "SoftDeletedVaultDoesNotExist")

	existed, err := w.svc.DeleteVault(ctx, manager, id("rg", "kv-1"))
	if !existed || err != nil || len(w.gone) != 1 {
		t.Fatal(existed, err, w.gone)
	}
	existed, err = w.svc.DeleteVault(ctx, manager, id("rg", "kv-1"))
	if existed || err != nil {
		t.Fatal(existed, err)
	}
	_, err = w.svc.Key(ctx, user, "kv-1", "k1", "")
	want(t, err, "VaultNotFound")
	_, _, err = w.svc.PutVault(ctx, manager, id("rg", "kv-1"), spec())
	want(t, err, "ConflictError")
	if reason, _, _ := w.svc.NameAvailable(ctx, manager, subID, "kV-1"); reason != "AlreadyExists" {
		t.Errorf("%q", reason)
	}
	_ = w.db.Close()
	w.open()
	back, _, err := w.svc.PutVault(ctx, manager, id("rg", "kv-1"), recover)
	if err != nil || len(back.Policies) != 1 || back.Policies[0].Permissions.Keys[0] != "get" {
		t.Fatalf("%+v %v", back, err)
	}
	_, err = w.svc.Key(ctx, user, "kv-1", "k1", "")
	want(t, err, "")

	_, err = w.svc.DeleteVault(ctx, manager, id("rg", "kv-1"))
	want(t, err, "")
	_, err = w.svc.DeletedVault(ctx, manager, subID, "westus", "kv-1")
	want(t, err, "DeletedVaultNotFound")
	_, err = w.svc.DeletedVault(ctx, manager, subID, "East US", "kv-1")
	want(t, err, "")
	want(t, w.svc.PurgeVault(ctx, manager, subID, "eastus", "kv-1"), "")
	want(t, w.svc.PurgeVault(ctx, manager, subID, "eastus", "kv-1"), "DeletedVaultNotFound")
	w.put("kv-1", spec(policy(alice, "all")))
	_, err = w.svc.Key(ctx, user, "kv-1", "k1", "")
	want(t, err, "KeyNotFound")
}

// TestRefusedVaults: what a vault cannot be, and that a refusal leaves the vault as it was.
func TestRefusedVaults(t *testing.T) {
	change := func(edit func(*vault.Spec)) vault.Spec {
		s := spec()
		edit(&s)
		return s
	}
	for _, row := range []struct {
		name   string
		spec   vault.Spec
		reason string
		text   string
	}{
		{"location moves", change(func(s *vault.Spec) { s.Location = "westus" }), "InvalidResourceLocation", "already exists in location"},
		{"retention changes", change(func(s *vault.Spec) { s.RetentionDays = ptr(30) }), "BadRequest", `The property "softDeleteRetentionInDays" has been set already and it can't be modified.`},
		{"purge protection off", change(func(s *vault.Spec) { s.PurgeProtect = ptr(false) }), "BadRequest", `The property "enablePurgeProtection" cannot be set to false.`},
		{"soft delete off", change(func(s *vault.Spec) { s.SoftDelete = ptr(false) }), "BadRequest", "enableSoftDelete"},
		{"unknown permission", spec(policy(alice, "fly")), "BadRequest", "fly"},
		{"object id", spec(policy("alice", "get")), "BadRequest", "accessPolicies"},
		{"too many policies", spec(make([]vault.AccessPolicy, 1025)...), "BadRequest", "1024"},
		{"IP rule", change(func(s *vault.Spec) { s.Network = &vault.NetworkRules{IPRules: []string{"300.1.1.1"}} }), "BadRequest", "300.1.1.1"},
		{"default action", change(func(s *vault.Spec) { s.Network = &vault.NetworkRules{DefaultAction: "Maybe"} }), "BadRequest", "networkAcls"},
		{"public access", change(func(s *vault.Spec) { s.PublicAccess = "Perhaps" }), "BadRequest", "publicNetworkAccess"},
		{"sku", change(func(s *vault.Spec) { s.SKU = "gold" }), "BadRequest", "gold"},
		{"tenant", change(func(s *vault.Spec) { s.TenantID = "" }), "BadRequest", "tenantId"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			s := spec(policy(alice, "get"))
			s.PurgeProtect = ptr(true)
			before := fmt.Sprintf("%+v", w.put("kv1", s))
			_, _, err := w.svc.PutVault(ctx, manager, id("rg", "kv1"), row.spec)
			want(t, err, row.reason)
			if err != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("%v does not say %q", err, row.text)
			}
			if v, _ := w.svc.Vault(ctx, manager, id("rg", "kv1")); fmt.Sprintf("%+v", v) != before {
				t.Errorf("the vault changed to %+v", v)
			}
		})
	}
	for _, name := range []string{"", "a", "ab", "1abc", "abc-", "a--b", "with_underscore", "a234567890123456789012345", "a.b"} {
		_, _, err := newWorld(t).svc.PutVault(ctx, manager, id("rg", name), spec())
		want(t, err, "VaultNameNotValid")
	}
}

// TestPermissionModel: the switch between policies and roles needs the right to give roles.
func TestPermissionModel(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	w.denied["Microsoft.Authorization/roleAssignments/write"] = true
	_, err := w.svc.UpdateVault(ctx, manager, id("rg", "kv1"), vault.Spec{RBAC: ptr(true)})
	want(t, err, "AuthorizationFailed")
	_, err = w.svc.UpdateVault(ctx, manager, id("rg", "kv1"), vault.Spec{RBAC: ptr(false)})
	want(t, err, "")
	delete(w.denied, "Microsoft.Authorization/roleAssignments/write")
	v, err := w.svc.UpdateVault(ctx, manager, id("rg", "kv1"), vault.Spec{RBAC: ptr(true)})
	if err != nil || !v.RBAC || len(v.Policies) != 1 {
		t.Errorf("%+v %v", v, err)
	}
}

// TestPolicyChanges: add, replace and remove, entry by entry.
func TestPolicyChanges(t *testing.T) {
	for _, row := range []struct {
		kind  vault.PolicyChange
		entry vault.AccessPolicy
		after string
	}{
		{vault.AddPolicies, policy(alice, "GET", "wrapKey"), "[get list wrapKey]"},
		{vault.AddPolicies, policy(team, "get"), "[get list] [get]"},
		{vault.ReplacePolicies, policy(strings.ToUpper(alice), "sign"), "[sign]"},
		{vault.RemovePolicies, policy(alice, "LIST"), "[get]"},
		{vault.RemovePolicies, policy(alice, "list", "get"), ""},
		{vault.RemovePolicies, policy(alice), ""},
		{vault.RemovePolicies, policy(team, "get"), "[get list]"},
	} {
		w := newWorld(t)
		w.put("kv1", spec(policy(alice, "get", "list")))
		v, err := w.svc.ChangePolicies(ctx, manager, id("rg", "kv1"), row.kind, []vault.AccessPolicy{row.entry})
		want(t, err, "")
		var got []string
		for _, p := range v.Policies {
			got = append(got, fmt.Sprint(p.Permissions.Keys))
		}
		if strings.Join(got, " ") != row.after {
			t.Errorf("%s %v: %v, want %v", row.kind, row.entry, got, row.after)
		}
	}
	w := newWorld(t)
	w.put("kv1", spec())
	_, err := w.svc.ChangePolicies(ctx, manager, id("rg", "kv1"), "shuffle", []vault.AccessPolicy{policy(alice)})
	want(t, err, "BadRequest")
}

// TestManagementRights: every method asks for its action at the right scope, and records refusals.
func TestManagementRights(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec())
	at := id("rg", "kv1").String()
	gone := "/subscriptions/" + subID + "/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv1"
	for _, row := range []struct {
		action, scope string
		do            func() error
	}{
		{"vaults/read", at, func() error { _, err := w.svc.Vault(ctx, manager, id("rg", "kv1")); return err }},
		{"vaults/write", at, func() error { _, _, err := w.svc.PutVault(ctx, manager, id("rg", "kv1"), spec()); return err }},
		{"vaults/write", at, func() error { _, err := w.svc.UpdateVault(ctx, manager, id("rg", "kv1"), vault.Spec{}); return err }},
		{"vaults/delete", at, func() error { _, err := w.svc.DeleteVault(ctx, manager, id("rg", "kv1")); return err }},
		{"vaults/accessPolicies/write", at, func() error {
			_, err := w.svc.ChangePolicies(ctx, manager, id("rg", "kv1"), vault.AddPolicies, nil)
			return err
		}},
		{"locations/deletedVaults/read", gone, func() error { _, err := w.svc.DeletedVault(ctx, manager, subID, "eastus", "kv1"); return err }},
		{"locations/deletedVaults/purge/action", gone, func() error { return w.svc.PurgeVault(ctx, manager, subID, "eastus", "kv1") }},
		{"deletedVaults/read", "/subscriptions/" + subID, func() error { _, err := w.svc.DeletedVaults(ctx, manager, subID); return err }},
		{"checkNameAvailability/read", "/subscriptions/" + subID, func() error { _, _, err := w.svc.NameAvailable(ctx, manager, subID, "kv1"); return err }},
	} {
		action := "Microsoft.KeyVault/" + row.action
		w.denied[action], w.asked = true, nil
		want(t, row.do(), "AuthorizationFailed")
		if len(w.asked) == 0 || w.asked[0] != action+" "+row.scope {
			t.Errorf("asked %q, want %s at %s", w.asked, action, row.scope)
		}
		if e := w.last(); e.Outcome != audit.Denied || e.Resource != row.scope {
			t.Errorf("audit: %+v", e)
		}
		delete(w.denied, action)
	}
	w.denied["Microsoft.KeyVault/vaults/read"] = true
	if all := w.svc.Vaults(ctx, manager, subID, ""); len(all) != 0 {
		t.Errorf("listed without the right to read: %v", all)
	}
}
