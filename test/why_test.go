package test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// because is the part of why's answer that the tests look at.
type because struct {
	Allowed bool
	Steps   []struct {
		Step  string
		Gates []struct {
			Gate, Code, Reason, Remedy string
			Allowed                    bool
		}
	}
	Notes []string
}

// last is the gate that decided.
func (b because) last() (gate, code, remedy string) {
	s := b.Steps[len(b.Steps)-1]
	g := s.Gates[len(s.Gates)-1]
	return g.Gate, g.Code, g.Remedy
}

// why asks a question; the exit code must agree with the answer.
func (s *server) why(args ...string) because {
	s.t.Helper()
	out, exit := s.try(append([]string{"why"}, args...)...)
	var b because
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&b); err != nil {
		s.t.Fatalf("why %v: %v\n%s", args, err, out)
	}
	if (exit == 0) != b.Allowed || exit > 1 {
		s.t.Errorf("why %v: exit code %d\n%s", args, exit, out)
	}
	return b
}

// TestWhy asks for the reasons along the tutorial: before the grant, after it, with the key disabled,
// and at the other gate.
func TestWhy(t *testing.T) {
	s := prepared(t)
	ctx := t.Context()
	if b := s.why("--account", demo.Account); !b.Allowed {
		t.Errorf("under the platform's key: %+v", b)
	}
	vault := strings.TrimSuffix(s.keyURI, "keys/"+demo.Key)
	b := s.why("--principal", "Azure Cosmos DB", "--action", "wrapKey", "--resource", vault)
	gate, code, remedy := b.last()
	if b.Allowed || gate != "access policy" || code != "ForbiddenByPolicy" || !strings.Contains(remedy, "set-policy") || !strings.HasSuffix(remedy, " wrapKey") {
		t.Errorf("before the grant: %+v", b)
	}
	for i, step := range []func() error{
		func() error { return s.op.Grant(ctx, s.principal) },
		func() error { return s.op.CreateKey(ctx) },
		func() error { return s.op.PointAccount(ctx, s.keyURI) },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if b := s.why("--principal", s.principal, "--action", "wrapKey", "--resource", s.keyURI); !b.Allowed {
		t.Errorf("after the grant: %+v", b)
	}
	if b := s.why("--account", demo.Account); !b.Allowed || len(b.Steps) != 4 {
		t.Errorf("the chain: %+v", b)
	}
	account := "/subscriptions/" + s.admin().SubscriptionID + "/resourceGroups/" + demo.Group + "/providers/Microsoft.DocumentDB/databaseAccounts/" + demo.Account
	b = s.why("--principal", s.principal, "--action", "Microsoft.DocumentDB/databaseAccounts/write", "--resource", account)
	if gate, _, remedy := b.last(); b.Allowed || gate != "RBAC management" || !strings.Contains(remedy, "az role assignment create") || len(b.Notes) != 1 {
		t.Errorf("the database itself may not write accounts: %+v", b)
	}
	if b := s.why("--principal", s.admin().ClientID, "--action", "Microsoft.DocumentDB/databaseAccounts/write", "--resource", account); !b.Allowed {
		t.Errorf("the administrator: %+v", b)
	}
	if err := s.op.SetKeyEnabled(ctx, false); err != nil {
		t.Fatal(err)
	}
	b = s.why("--account", demo.Account)
	if gate, code, remedy := b.last(); b.Allowed || gate != "object" || code != "KeyDisabled" || !strings.Contains(remedy, "--enabled true") {
		t.Errorf("with the key disabled: %+v", b)
	}
	raw, err := exec.Command(s.bin, "why", "--account", demo.Account, "--data", s.dir).Output()
	if err == nil || !strings.Contains(string(raw), "allowed: NO") || !strings.Contains(string(raw), "may change the account's encryption") {
		t.Errorf("as text: %v\n%s", err, raw)
	}
	if log := s.latchkey("audit"); !strings.Contains(log, "Microsoft.KeyVault/vaults/latchkey/why/action") || !strings.Contains(log, "databaseAccounts/latchkey/why/action") {
		t.Error("the questions are not in the audit log")
	}
	s.exported(t)
}

// exported looks at the log in the service's form: one record for each operation, none without a vault.
func (s *scenario) exported(t *testing.T) {
	t.Helper()
	out, exit := s.try("audit", "export", "--format", "azure", "--since", "1h")
	if exit != 0 {
		t.Fatalf("audit export: exit code %d\n%s", exit, out)
	}
	unwraps := 0
	for line := range strings.Lines(out) {
		var r struct {
			OperationName, OperationVersion, ResourceID string
			Identity                                    struct{ Claim struct{ OID string } }
			Properties                                  struct {
				ClientInfo, RequestURI string
				HTTPStatusCode         int
				KeyProperties          struct{ Type string }
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if r.OperationName == "KeyUnwrap" && r.Properties.HTTPStatusCode == 200 {
			unwraps++
			if r.OperationVersion == "" || !strings.Contains(r.ResourceID, "/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/") || r.Identity.Claim.OID != s.principal ||
				r.Properties.KeyProperties.Type != "RSA" || !strings.Contains(r.Properties.RequestURI, "/unwrapkey?api-version=") || r.Properties.ClientInfo == "" {
				t.Errorf("record %s", line)
			}
		}
	}
	if unwraps == 0 {
		t.Errorf("no unwrap in\n%s", out)
	}
}
