package why_test

import (
	"context"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
	"github.com/latchkey-db/latchkey/internal/why"
)

const accountID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.DocumentDB/databaseAccounts/a1"

// world is a directory with alice and the disabled bob, roles and a vault that answer as they are told.
type world struct {
	roles   map[string]bool // actions that are allowed
	answers []access.Answer
	gone    bool // the vault is not there
	asked   []string
	from    string // address in the last question to the vault
}

func (w *world) Who(name string) (principal.Caller, bool, error) {
	switch name {
	case "alice":
		return principal.Caller{Kind: principal.User, ObjectID: "oid-alice", Name: "alice"}, true, nil
	case "bob":
		return principal.Caller{Kind: principal.ServicePrincipal, ObjectID: "oid-bob", Name: "bob"}, false, nil
	}
	return principal.Caller{}, false, fault.New(fault.NotFound, "PrincipalNotFound", "nobody")
}

func (w *world) NameOf(id string) string { return strings.TrimPrefix(id, "oid-") }

func (w *world) Decide(c principal.Caller, action, scope string, data bool) access.Decision {
	if c.Door == principal.Management && !data && w.roles[action] {
		return access.Decision{Gate: access.ControlRole, Allowed: true, Reason: "yes", Role: "Owner", Scope: "/subscriptions/s"}
	}
	return access.No(access.ControlRole, "no", fault.New(fault.Denied, "AuthorizationFailed", "no"))
}

func (w *world) Narrowest(action string, data bool) string { return "Some Role" }

func (w *world) Holders(action, scope string) []access.Holder {
	return []access.Holder{{PrincipalID: "oid-alice", Role: "Owner", Scope: scope}}
}

func (w *world) Explain(_ context.Context, c principal.Caller, t access.Target, rights ...string) ([]access.Answer, error) {
	if w.gone {
		return nil, fault.New(fault.NotFound, "VaultNotFound", "no vault")
	}
	w.asked, w.from = rights, c.Address
	out := w.answers
	for i := range out {
		out[i].Vault, out[i].VaultID = t.Vault, "/vault-id"
	}
	return out, nil
}

func ask(w *world, principalName, action, resource string) (*why.Report, error) {
	e := &why.Explainer{Directory: w, Roles: w, Vaults: w}
	asker := principal.Caller{Address: "10.0.0.9"}
	q := access.Question{Principal: principalName, Action: action, Resource: resource}
	if strings.HasPrefix(resource, accountID) {
		return e.Account(asker, why.Encryption{Name: "a1", ResourceID: accountID, KeyURI: "https://kv1.vault.azure.net/keys/k", Identity: "oid-bob"}, q)
	}
	return e.Vault(context.Background(), asker, uri.ResourceID{Subscription: "s"}.Child("vaults", "kv1"), q)
}

const keyURI = "https://kv1.vault.azure.net/keys/k/"

func TestVaultGate(t *testing.T) {
	no := access.No(access.DataRole, "no role", fault.New(fault.Denied, "ForbiddenByRbac", ""))
	policyNo := access.No(access.AccessPolicy, "no policy", fault.New(fault.Denied, "ForbiddenByPolicy", ""))
	yes := access.Yes(access.AccessPolicy, "yes")
	for name, tc := range map[string]struct {
		answer  access.Answer
		owner   bool
		allowed bool
		note    string // part of the only note; "" for none
		remedy  string // part of the last gate's
	}{
		"granted":                  {answer: access.Answer{Gates: []access.Decision{yes}}, allowed: true},
		"no role":                  {answer: access.Answer{Gates: []access.Decision{no}, DataAction: "d"}, remedy: `az role assignment create --assignee-object-id oid-alice --assignee-principal-type User --role "Some Role"`},
		"policy that is ignored":   {answer: access.Answer{Gates: []access.Decision{no}, Other: yes}, note: "access policies are ignored", remedy: "az role"},
		"role that is ignored":     {answer: access.Answer{Gates: []access.Decision{policyNo}, Other: access.Decision{Allowed: true, Role: "Officer"}}, note: "data roles are ignored"},
		"owner of the vault":       {answer: access.Answer{Gates: []access.Decision{policyNo}}, owner: true, note: "does not open what is in the vault"},
		"owner who is granted too": {answer: access.Answer{Gates: []access.Decision{yes}}, owner: true, allowed: true},
	} {
		w := &world{roles: map[string]bool{"Microsoft.KeyVault/vaults/write": tc.owner}, answers: []access.Answer{tc.answer}}
		r, err := ask(w, "alice", "wrapKey", keyURI)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		gates := r.Steps[len(r.Steps)-1].Gates
		if r.Allowed != tc.allowed || (tc.note != "") != (len(r.Notes) == 1) || !strings.Contains(strings.Join(r.Notes, ""), tc.note) {
			t.Errorf("%s: %+v", name, r)
		}
		if got := gates[len(gates)-1].Remedy; !strings.Contains(got, tc.remedy) || tc.remedy == "" && got != "" {
			t.Errorf("%s: remedy %q", name, got)
		}
		if w.from != "10.0.0.9" {
			t.Errorf("%s: the vault was asked about address %q", name, w.from)
		}
	}
}

func TestResourceManagerGate(t *testing.T) {
	write := "Microsoft.DocumentDB/databaseAccounts/write"
	r, err := ask(&world{roles: map[string]bool{write: true}}, "alice", write, accountID)
	if err != nil || !r.Allowed || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "bob (oid-bob) goes to https://kv1") {
		t.Errorf("allowed: %+v, %v", r, err)
	}
	r, err = ask(&world{}, "alice", write, accountID)
	if err != nil || r.Allowed || !strings.Contains(r.Steps[1].Gates[0].Remedy, "--scope "+accountID) {
		t.Errorf("denied: %+v, %v", r, err)
	}
	r, err = ask(&world{roles: map[string]bool{"Microsoft.KeyVault/vaults/write": true}}, "alice", "Microsoft.KeyVault/vaults/write", "/subscriptions/s/providers/Microsoft.KeyVault/vaults/kv1")
	if err != nil || !r.Allowed {
		t.Errorf("action on a vault: %+v, %v", r, err)
	}
	r, err = ask(&world{roles: map[string]bool{write: true}}, "bob", write, accountID)
	if err != nil || r.Allowed || r.Steps[0].Gates[0].Code != "TokenPrincipal" {
		t.Errorf("a disabled principal: %+v, %v", r, err)
	}
}

func TestRefusedQuestions(t *testing.T) {
	for _, q := range [][3]string{
		{"nobody", "wrapKey", keyURI},
		{"alice", "wrapKey", "https://kv2.vault.azure.net/keys/k"}, // not the vault that was authorised
		{"alice", "wrapKey", "https://example.org/keys/k"},
		{"alice", "wrapKey", "://"},
		{"alice", "wrapKey", accountID},
		{"alice", "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/read", accountID},
	} {
		if r, err := ask(&world{}, q[0], q[1], q[2]); err == nil {
			t.Errorf("%v: %+v", q, r)
		}
	}
}

func TestChain(t *testing.T) {
	acc := why.Encryption{Name: "a1", ResourceID: accountID, KeyURI: keyURI + "0123456789abcdef0123456789abcdef", Identity: "alice", State: "open"}
	chain := func(w *world, edit func(*why.Encryption)) *why.Report {
		t.Helper()
		a := acc
		edit(&a)
		r, err := (&why.Explainer{Directory: w, Roles: w, Vaults: w}).Chain(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.MayChange) != 1 || r.MayChange[0].Name != "alice" {
			t.Errorf("who may change: %+v", r.MayChange)
		}
		return r
	}
	same := func(*why.Encryption) {}
	yes := access.Answer{Gates: []access.Decision{access.Yes(access.AccessPolicy, "yes")}}
	no := access.Answer{Gates: []access.Decision{access.No(access.Object, "disabled", fault.New(fault.Denied, "KeyDisabled", ""))}}
	w := &world{answers: []access.Answer{yes, yes, yes}}
	if r := chain(w, same); !r.Allowed || len(r.Steps) != 4 || len(r.MayOpen) != 1 || strings.Join(w.asked, ",") != "keys get,keys wrapKey,keys unwrapKey" || w.from != "127.0.0.1" {
		t.Errorf("all well: %+v, asked %v from %s", r, w.asked, w.from)
	}
	if r := chain(&world{answers: []access.Answer{yes, yes, no}}, same); r.Allowed || r.Steps[3].Allowed || !r.Steps[2].Allowed {
		t.Errorf("one right is missing: %+v", r)
	}
	if r := chain(&world{gone: true}, same); r.Allowed || !strings.Contains(r.Steps[1].Gates[0].Remedy, "az keyvault recover --name kv1") {
		t.Errorf("vault deleted: %+v", r)
	}
	if r := chain(w, func(a *why.Encryption) { a.Identity = "bob" }); r.Allowed {
		t.Errorf("identity disabled: %+v", r)
	}
	if r := chain(w, func(a *why.Encryption) { a.Identity = "carol" }); r.Allowed {
		t.Errorf("identity gone: %+v", r)
	}
	if r := chain(w, func(a *why.Encryption) { a.KeyURI = "https://kv.example.org/keys/k" }); r.Allowed {
		t.Errorf("a vault elsewhere: %+v", r)
	}
	if r := chain(w, func(a *why.Encryption) { a.KeyURI = "" }); !r.Allowed {
		t.Errorf("the platform's key: %+v", r)
	}
}
