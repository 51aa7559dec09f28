package rbac

import (
	"testing"

	"github.com/latchkey-db/latchkey/internal/access"
)

func TestNarrowest(t *testing.T) {
	e, _ := newEngine(t)
	for _, tc := range []struct {
		action string
		data   bool
		want   string
	}{
		{"Microsoft.KeyVault/vaults/keys/wrap/action", true, "Key Vault Crypto Service Encryption User"},
		{"Microsoft.KeyVault/vaults/keys/read", true, "Key Vault Crypto Service Encryption User"},
		{"Microsoft.KeyVault/vaults/keys/sign/action", true, "Key Vault Crypto User"},
		{"Microsoft.KeyVault/vaults/keys/create/action", true, "Key Vault Crypto Officer"},
		{"Microsoft.KeyVault/vaults/secrets/getSecret/action", true, "Key Vault Secrets User"},
		{"Microsoft.KeyVault/vaults/write", false, "Key Vault Contributor"},
		{"Microsoft.DocumentDB/databaseAccounts/listKeys/action", false, "DocumentDB Account Contributor"},
		{"Microsoft.Authorization/roleAssignments/write", false, "Role Based Access Control Administrator"},
		{"Microsoft.KeyVault/vaults/nothing", true, "Key Vault Administrator"},
		{"Elsewhere/x", true, ""},
	} {
		if got := e.Narrowest(tc.action, tc.data); got != tc.want {
			t.Errorf("narrowest role with %s: %q, want %q", tc.action, got, tc.want)
		}
	}
}

func TestHolders(t *testing.T) {
	const write = "Microsoft.DocumentDB/databaseAccounts/write"
	e, _ := newEngine(t)
	grant(t, e, "11111111-0000-4000-8000-000000000000", "Owner", sub)
	grant(t, e, "22222222-0000-4000-8000-000000000000", "Reader", group)
	grant(t, e, "33333333-0000-4000-8000-000000000000", "Cosmos DB Operator", account)
	grant(t, e, "44444444-0000-4000-8000-000000000000", "Contributor", sub+"/resourceGroups/other")
	got := e.Holders(write, account)
	if len(got) != 2 || got[0].PrincipalID != "11111111-0000-4000-8000-000000000000" || got[1].Role != "Cosmos DB Operator" || got[1].Scope != account {
		t.Errorf("holders %+v", got)
	}
}

// TestDecisionTellsItsReason: what granted is named, and what refuses says what is missing.
func TestDecisionTellsItsReason(t *testing.T) {
	const wrap = "Microsoft.KeyVault/vaults/keys/wrap/action"
	e, _ := newEngine(t)
	a := grant(t, e, "11111111-0000-4000-8000-000000000000", "Key Vault Crypto User", vault)
	if d := e.Decide(caller("11111111-0000-4000-8000-000000000000"), wrap, vault+"/keys/k", true); d.Gate != access.DataRole || d.Assignment != a.ID || d.Role != "Key Vault Crypto User" || d.Scope != vault || d.Refusal != nil {
		t.Errorf("granted: %+v", d)
	}
	none, other := e.Decide(caller("22222222-0000-4000-8000-000000000000"), wrap, vault, true), e.Decide(caller("11111111-0000-4000-8000-000000000000"), "x/y", vault, false)
	if none.Refusal == nil || other.Refusal == nil || none.Reason == other.Reason || other.Gate != access.ControlRole {
		t.Errorf("refused: %+v, %+v", none, other)
	}
}
