package test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// The vault that the clients of these tests work with.
const (
	clientVault    = "kv1"
	clientVaultURL = "https://" + clientVault + ".vault.azure.net"
)

// vaultScenario starts a server with a vault in which its administrator may do everything.
func vaultScenario(t *testing.T) *scenario {
	t.Helper()
	s := &scenario{server: startServer(t)}
	s.connect()
	if err := s.op.CreateGroup(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.newVault(clientVault)
	return s
}

// newVault makes a vault in the scenario's group. It can be purged.
func (s *scenario) newVault(name string) {
	s.t.Helper()
	vaults, err := armkeyvault.NewVaultsClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		s.t.Fatal(err)
	}
	all := &armkeyvault.Permissions{}
	for _, name := range strings.Fields("all purge rotate getrotationpolicy setrotationpolicy release") {
		all.Keys = append(all.Keys, ptr(armkeyvault.KeyPermissions(name)))
	}
	for _, name := range strings.Fields("all purge") {
		all.Secrets = append(all.Secrets, ptr(armkeyvault.SecretPermissions(name)))
	}
	poller, err := vaults.BeginCreateOrUpdate(s.t.Context(), demo.Group, name, armkeyvault.VaultCreateOrUpdateParameters{
		Location: ptr("westeurope"),
		Properties: &armkeyvault.VaultProperties{
			TenantID: ptr(s.op.Tenant), SKU: &armkeyvault.SKU{Family: ptr(armkeyvault.SKUFamilyA), Name: ptr(armkeyvault.SKUNamePremium)},
			EnableRbacAuthorization: ptr(false),
			AccessPolicies:          []*armkeyvault.AccessPolicyEntry{{TenantID: ptr(s.op.Tenant), ObjectID: ptr(s.admin().ObjectID), Permissions: all}},
		},
	}, nil)
	if err == nil {
		_, err = poller.PollUntilDone(s.t.Context(), nil)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestAZVault runs every command of `az keyvault key` and `az keyvault secret` that applies to a vault,
// each script against the same vault and beside the others.
func TestAZVault(t *testing.T) {
	azPath(t)
	if testing.Short() {
		t.Skip("takes about a hundred runs of az")
	}
	s := vaultScenario(t)
	s.mustExec("az", "account", "show", "-o", "none") // signs in, once for all
	scripts, err := filepath.Glob("testdata/vault/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".sh"), func(t *testing.T) {
			t.Parallel()
			s.runGolden(t, script)
		})
	}
}

// runGolden runs a script whose standard output stands in the golden file beside it.
func (s *server) runGolden(t *testing.T, script string) {
	t.Helper()
	path, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(strings.TrimSuffix(path, ".sh") + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.exec("bash", path); err != nil || out != string(want) {
		t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, out, want)
	}
}

// TestVaultPython runs azure-keyvault-keys and azure-keyvault-secrets.
func TestVaultPython(t *testing.T) {
	interpreter := pythonWith(t, "azure.keyvault.keys.aio", "azure.keyvault.secrets", "azure.identity")
	script, err := filepath.Abs("python/vault.py")
	if err != nil {
		t.Fatal(err)
	}
	s := vaultScenario(t)
	if got := s.mustExec("env", "VAULT_URL="+clientVaultURL, interpreter, script); got != "ok" {
		t.Errorf("got %q", got)
	}
}

// TestVaultJavaScript runs @azure/keyvault-keys and @azure/keyvault-secrets.
func TestVaultJavaScript(t *testing.T) {
	dir := nodeModulesOf(t, "js/vault")
	s := vaultScenario(t)
	if got := s.mustExec("env", "VAULT_URL="+clientVaultURL, "node", filepath.Join(dir, "vault.mjs")); got != "ok" {
		t.Errorf("got %q", got)
	}
}

// TestVaultJava runs azure-security-keyvault-keys and azure-security-keyvault-secrets.
func TestVaultJava(t *testing.T) {
	s := vaultScenario(t)
	program := javaProgram(t, s.server, "java/vault")
	host, port, err := net.SplitHostPort(s.run.Addresses.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	command := append([]string{"env", "VAULT_URL=" + clientVaultURL, "java", "-Dhttps.proxyHost=" + host, "-Dhttps.proxyPort=" + port}, program...)
	if got := s.mustExec(append(command, "Vault")...); got != "ok" {
		t.Errorf("got %q", got)
	}
}
