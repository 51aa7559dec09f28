package test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/cosmos/armcosmos/v3"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// TestRevocationAndReturn takes the key away in every way and gives it back, on one server, while a
// second account without a customer's key goes on being served.
func TestRevocationAndReturn(t *testing.T) {
	s := tutorial(t, "--emulator")
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(50)
	s.putAll(c, docs)
	other := s.emulatorContainer()
	vaults, err := armkeyvault.NewVaultsClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		t.Fatal(err)
	}
	firewall := func(action armkeyvault.NetworkRuleAction, bypass armkeyvault.NetworkRuleBypassOptions) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := vaults.Update(ctx, demo.Group, demo.Vault, armkeyvault.VaultPatchParameters{Properties: &armkeyvault.VaultPatchProperties{
				NetworkACLs: &armkeyvault.NetworkRuleSet{DefaultAction: &action, Bypass: &bypass}}}, nil)
			return err
		}
	}
	only := func(permissions ...string) func(context.Context) error {
		return func(ctx context.Context) error { return s.op.GrantOnly(ctx, s.principal, permissions...) }
	}
	grant := func(ctx context.Context) error { return s.op.Grant(ctx, s.principal) }
	for _, way := range []struct {
		name       string
		take, give func(context.Context) error
		substatus  string
		text       string
	}{
		{"key disabled", func(ctx context.Context) error { return s.op.SetKeyEnabled(ctx, false) },
			func(ctx context.Context) error { return s.op.SetKeyEnabled(ctx, true) }, "4018", "disabled or expired"},
		{"policy removed", func(ctx context.Context) error { return s.op.Withdraw(ctx, s.principal) }, grant, "4002", "no longer has permission"},
		{"unwrapKey removed", only("get", "wrapKey"), grant, "4002", "no longer has permission"},
		{"wrapKey removed", only("get", "unwrapKey"), grant, "4002", "no longer has permission"},
		{"get removed", only("wrapKey", "unwrapKey"), grant, "4002", "no longer has permission"},
		{"key deleted", s.op.DeleteKey, s.op.RecoverKey, "4003", "is not found"},
		{"firewall closed", firewall(armkeyvault.NetworkRuleActionDeny, armkeyvault.NetworkRuleBypassOptionsNone),
			firewall(armkeyvault.NetworkRuleActionAllow, armkeyvault.NetworkRuleBypassOptionsAzureServices), "4016", "blocking outbound requests"},
		{"vault deleted", func(ctx context.Context) error { _, err := vaults.Delete(ctx, demo.Group, demo.Vault, nil); return err },
			func(ctx context.Context) error { return recoverVault(ctx, s, vaults) }, "4017", "Key Vault was not found"},
	} {
		t.Run(way.name, func(t *testing.T) {
			if err := way.take(ctx); err != nil {
				t.Fatal(err)
			}
			s.waitRevoked(c, docs[0], way.substatus)
			if st := s.status(); !strings.Contains(st.Text, way.text) || !strings.Contains(st.Text, way.substatus) {
				t.Errorf("customerManagedKeyStatus: %q", st.Text)
			}
			if err := refusedWith(put(ctx, c, docs[0]), way.substatus); err != nil {
				t.Errorf("write: %v", err)
			}
			if _, err := s.cosmos().NewDatabase("db1"); err != nil {
				t.Fatal(err)
			}
			if err := put(ctx, other, docs[0]); err != nil {
				t.Errorf("the other account: %v", err)
			}
			if err := way.give(ctx); err != nil {
				t.Fatal(err)
			}
			s.waitServed(c, docs[0])
			s.compareAll(c, docs)
			if st := s.status(); st.Text != "Access to the configured customer managed key confirmed." {
				t.Errorf("customerManagedKeyStatus: %q", st.Text)
			}
		})
	}
}

func recoverVault(ctx context.Context, s *scenario, vaults *armkeyvault.VaultsClient) error {
	poller, err := vaults.BeginCreateOrUpdate(ctx, demo.Group, demo.Vault, armkeyvault.VaultCreateOrUpdateParameters{
		Location: ptr(demo.Location), Properties: &armkeyvault.VaultProperties{
			CreateMode: ptr(armkeyvault.CreateModeRecover), TenantID: ptr(s.op.Tenant),
			SKU: &armkeyvault.SKU{Family: ptr(armkeyvault.SKUFamilyA), Name: ptr(armkeyvault.SKUNameStandard)}},
	}, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, nil)
	return err
}

// TestRevokedAcrossRestart: a start never opens an account on a remembered key.
func TestRevokedAcrossRestart(t *testing.T) {
	s := tutorial(t)
	c := s.newContainer("db1", "c1")
	docs := someDocs(20)
	s.putAll(c, docs)
	if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4018")
	s.restart(s.stop)
	c = s.container("db1", "c1")
	s.waitRevoked(c, docs[0], "4018")
	if err := s.op.SetKeyEnabled(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	// A client of this SDK that was refused its first request does not ask again for minutes.
	s.waitFor("the data to be back", bound, func() error { return get(t.Context(), s.container("db1", "c1"), docs[0]) })
	s.compareAll(s.container("db1", "c1"), docs)
}

// TestRotation: a new version is taken, then the old one may go; another key likewise.
func TestRotation(t *testing.T) {
	s := tutorial(t)
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(50)
	s.putAll(c, docs)
	before := s.status().KeyVersion
	if before == "" {
		t.Fatal("no key version is shown")
	}
	tables := s.tables()
	if err := s.op.CreateKey(ctx); err != nil {
		t.Fatal(err)
	}
	s.waitFor("the new version", bound, func() error {
		if now := s.status().KeyVersion; now == before {
			return os.ErrNotExist
		}
		return nil
	})
	if after := s.tables(); strings.Join(after, " ") != strings.Join(tables, " ") {
		t.Errorf("the rotation touched data files: %v, then %v", tables, after)
	}
	keys, err := s.op.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.UpdateKey(ctx, demo.Key, before, disabled(), nil); err != nil {
		t.Fatal(err)
	}
	s.compareAll(c, docs)
	s.restart(s.stop)
	s.compareAll(s.container("db1", "c1"), docs)
}

// tables lists the data files of all accounts.
func (s *scenario) tables() []string {
	files, err := filepath.Glob(filepath.Join(s.dir, "accounts", "*", "data", "*.sst"))
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// TestRefusedConfiguration: with the vault's policy short of unwrapKey an Owner's update fails with
// the vault's own error, and the account stays as it was.
func TestRefusedConfiguration(t *testing.T) {
	s := prepared(t)
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(10)
	s.putAll(c, docs)
	if err := s.op.CreateKey(ctx); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name        string
		permissions []string
		uri         string
		parts       []string
	}{
		{"no unwrapKey", []string{"get", "wrapKey"}, s.keyURI, []string{"Forbidden", "does not have keys unwrapKey permission"}},
		{"no wrapKey", []string{"get", "unwrapKey"}, s.keyURI, []string{"Forbidden", "does not have keys wrapKey permission"}},
		{"no get", []string{"wrapKey", "unwrapKey"}, s.keyURI, []string{"Forbidden", "does not have keys get permission"}},
		{"no such key", []string{"get", "wrapKey", "unwrapKey"}, s.keyURI + "x", []string{"BadRequest", "was not found in this key vault"}},
		{"not a key", []string{"get", "wrapKey", "unwrapKey"}, "https://mykeyvault.vault.azure.net/", []string{"Provided KeyVaultKeyUri https://mykeyvault.vault.azure.net/ is Invalid."}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := s.op.GrantOnly(ctx, s.principal, tc.permissions...); err != nil {
				t.Fatal(err)
			}
			if err := contains(s.op.PointAccount(ctx, tc.uri), tc.parts...); err != nil {
				t.Error(err)
			}
			if st := s.status(); st.Text != "" || st.KeyVersion != "" {
				t.Errorf("the account changed: %+v", st)
			}
			s.compareAll(c, docs)
		})
	}
}

// TestPurgeableKeyIsRefused: a key that could be destroyed at once protects nothing.
func TestPurgeableKeyIsRefused(t *testing.T) {
	s := prepared(t)
	ctx := t.Context()
	const other = "purgeable"
	s.makeVault(other, &armkeyvault.VaultProperties{AccessPolicies: s.everything()})
	if err := contains(s.op.PointAccount(ctx, s.makeKey(other)), "BadRequest", "soft delete and purge protection"); err != nil {
		t.Error(err)
	}
}

// TestPinnedVersion: a key URI with a version is not rotated away from.
func TestPinnedVersion(t *testing.T) {
	s := tutorial(t)
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(5)
	s.putAll(c, docs)
	first := s.status().KeyVersion
	if err := s.op.PointAccount(ctx, s.keyURI+"/"+first); err != nil {
		t.Fatal(err)
	}
	if err := s.op.CreateKey(ctx); err != nil {
		t.Fatal(err)
	}
	accounts, err := s.op.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	a, err := accounts.Get(ctx, demo.Group, demo.Account, nil)
	if err != nil || *a.Properties.KeyVaultKeyURI != s.keyURI+"/"+first || *a.Properties.KeyVaultKeyURIVersion != first {
		t.Errorf("%+v, %v", a.Properties, err)
	}
	keys, err := s.op.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.UpdateKey(ctx, demo.Key, first, disabled(), nil); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4018")
}

// TestRoleRemoved: in a vault that role assignments govern, taking the role away revokes.
func TestRoleRemoved(t *testing.T) {
	s := prepared(t)
	ctx := t.Context()
	const governed = "governedbyrbac"
	v := s.makeVault(governed, &armkeyvault.VaultProperties{EnableRbacAuthorization: ptr(true), EnablePurgeProtection: ptr(true)})
	roles, err := armauthorization.NewRoleAssignmentsClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		t.Fatal(err)
	}
	grant := func(role, principal string) string {
		name := uuid.NewString()
		_, err := roles.Create(ctx, *v.ID, name, armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
			RoleDefinitionID: ptr("/subscriptions/" + s.op.Subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + role), PrincipalID: &principal}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	grant("14b46e9e-c2b7-41b4-b07b-48a6ebf60603", s.self()) // Key Vault Crypto Officer
	uri := s.makeKey(governed)
	if err := contains(s.op.PointAccount(ctx, uri), "Forbidden", "Caller is not authorized to perform action on resource"); err != nil {
		t.Fatal(err)
	}
	assignment := grant("e147488a-f6f5-4113-8e2d-b22465e65bf6", s.principal) // Key Vault Crypto Service Encryption User
	if err := s.op.PointAccount(ctx, uri); err != nil {
		t.Fatal(err)
	}
	c := s.newContainer("db1", "c1")
	docs := someDocs(5)
	s.putAll(c, docs)
	if _, err := roles.Delete(ctx, *v.ID, assignment, nil); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4002")
	grant("e147488a-f6f5-4113-8e2d-b22465e65bf6", s.principal)
	s.waitServed(c, docs[0])
	s.compareAll(c, docs)
}

// makeVault makes a second vault.
func (s *scenario) makeVault(name string, p *armkeyvault.VaultProperties) armkeyvault.Vault {
	s.t.Helper()
	vaults, err := armkeyvault.NewVaultsClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		s.t.Fatal(err)
	}
	p.TenantID, p.SKU = ptr(s.op.Tenant), &armkeyvault.SKU{Family: ptr(armkeyvault.SKUFamilyA), Name: ptr(armkeyvault.SKUNameStandard)}
	if p.EnableRbacAuthorization == nil {
		p.EnableRbacAuthorization = ptr(false)
	}
	poller, err := vaults.BeginCreateOrUpdate(s.t.Context(), demo.Group, name, armkeyvault.VaultCreateOrUpdateParameters{Location: ptr(demo.Location), Properties: p}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := poller.PollUntilDone(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return v.Vault
}

// self is the administrator's object id.
func (s *scenario) self() string { return s.admin().ObjectID }

// everything is an access policy list that gives the administrator and the database every key
// permission.
func (s *scenario) everything() []*armkeyvault.AccessPolicyEntry {
	var out []*armkeyvault.AccessPolicyEntry
	for _, id := range []string{s.self(), s.principal} {
		out = append(out, &armkeyvault.AccessPolicyEntry{TenantID: ptr(s.op.Tenant), ObjectID: &id,
			Permissions: &armkeyvault.Permissions{Keys: []*armkeyvault.KeyPermissions{ptr(armkeyvault.KeyPermissionsAll)}}})
	}
	return out
}

// makeKey makes a key in a vault and returns its versionless URI.
func (s *scenario) makeKey(vault string) string {
	s.t.Helper()
	o := &azkeys.ClientOptions{}
	o.Transport = s.http
	url := "https://" + vault + ".vault.azure.net"
	c, err := azkeys.NewClient(url, s.op.Credential, o)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.CreateKey(s.t.Context(), "k", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA)}, nil); err != nil {
		s.t.Fatal(err)
	}
	return url + "/keys/k"
}

// TestAuditTrail: every use of the key is in the log, with who, which version and what came of it.
func TestAuditTrail(t *testing.T) {
	s := tutorial(t)
	c := s.newContainer("db1", "c1")
	docs := someDocs(1)
	s.putAll(c, docs)
	version := s.status().KeyVersion
	if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4018")
	out := s.latchkey("audit", "--output", "json") // beside the running server
	type entry struct {
		Event struct{ Operation, Outcome, Reason, Principal, Version, Resource string }
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		v := e.Event
		if v.Principal == s.principal && v.Version == version {
			seen[v.Operation+" "+v.Outcome+" "+v.Reason] = true
		}
		seen[v.Operation+" "+v.Outcome] = true
	}
	for _, want := range []string{"KeyGet succeeded ", "KeyWrap succeeded ", "KeyUnwrap succeeded ", "KeyUnwrap failed KeyDisabled",
		"Microsoft.DocumentDB/databaseAccounts/write allowed", "AccountRevoked denied"} {
		if !seen[want] {
			t.Errorf("the log has no %q\n%s", want, out)
		}
	}
}

// TestOneProcessPerDirectory: a second server on the same directory is refused, with its own code.
func TestOneProcessPerDirectory(t *testing.T) {
	s := startServer(t)
	cmd := exec.Command(s.bin, "serve", "--data", s.dir, "--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 11 || !strings.Contains(string(out), "latchkey: error: ") {
		t.Errorf("%v: %s", err, out)
	}
}

// latchkey runs a verb of the command on the server's directory.
func (s *server) latchkey(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(s.bin, append(args, "--data", s.dir)...)
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("latchkey %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// TestSystemAssignedIdentity: the account goes to the vault as itself.
func TestSystemAssignedIdentity(t *testing.T) {
	s := tutorial(t)
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(5)
	s.putAll(c, docs)
	if err := s.op.Update(ctx, identity("SystemAssigned")); err != nil {
		t.Fatal(err)
	}
	useSystem := armcosmos.DatabaseAccountUpdateParameters{Properties: &armcosmos.DatabaseAccountUpdateProperties{DefaultIdentity: ptr("SystemAssignedIdentity")}}
	if err := contains(s.op.Update(ctx, useSystem), "does not have keys"); err != nil {
		t.Fatalf("the identity has no policy yet: %v", err)
	}
	s.compareAll(c, docs)
	accounts, err := s.op.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	a, err := accounts.Get(ctx, demo.Group, demo.Account, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.op.Grant(ctx, *a.Identity.PrincipalID); err != nil {
		t.Fatal(err)
	}
	if err := s.op.Update(ctx, useSystem); err != nil {
		t.Fatal(err)
	}
	if err := s.op.Withdraw(ctx, s.principal); err != nil {
		t.Fatal(err)
	}
	s.compareAll(c, docs)
	if err := s.op.Withdraw(ctx, *a.Identity.PrincipalID); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4002")
}
