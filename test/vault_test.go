package test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

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
	for _, name := range strings.Fields("all purge manageissuers") {
		all.Certificates = append(all.Certificates, ptr(armkeyvault.CertificatePermissions(name)))
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

// grant gives a principal permissions on the keys of a vault.
func (s *scenario) grant(vault, principal, permissions string) {
	s.t.Helper()
	vaults, err := armkeyvault.NewVaultsClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		s.t.Fatal(err)
	}
	p := &armkeyvault.Permissions{}
	for _, name := range strings.Fields(permissions) {
		p.Keys = append(p.Keys, ptr(armkeyvault.KeyPermissions(name)))
	}
	if _, err := vaults.UpdateAccessPolicy(s.t.Context(), demo.Group, vault, armkeyvault.AccessPolicyUpdateKindAdd, armkeyvault.VaultAccessPolicyParameters{
		Properties: &armkeyvault.VaultAccessPolicyProperties{AccessPolicies: []*armkeyvault.AccessPolicyEntry{{TenantID: ptr(s.op.Tenant), ObjectID: &principal, Permissions: p}}},
	}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// TestAZVault runs every command of `az keyvault key`, `secret` and `certificate` that applies to a vault,
// each script against the same vault and beside the others.
func TestAZVault(t *testing.T) {
	azPath(t)
	if testing.Short() {
		t.Skip("takes about a hundred runs of az")
	}
	s := newGoVault(t)
	s.mustExec("az", "account", "show", "-o", "none") // signs in, once for all
	s.fill(t)                                         // for many.sh
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

// fill makes more keys and secrets, and more versions of one, than a page of a list has.
func (v *goVault) fill(t *testing.T) {
	t.Helper()
	for i := range many {
		for _, name := range []string{fmt.Sprintf("many-%02d", i), "versions"} {
			v.create(t, name, azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOct)})
			ok(v.secrets.SetSecret(t.Context(), name, azsecrets.SetSecretParameters{Value: ptr("x")}, nil))(t)
		}
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

// inBothFamilies runs a client against a vault under Azure's names, and against another one under the
// server's own.
func (s *scenario) inBothFamilies(t *testing.T, command ...string) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.run.Addresses.Front)
	if err != nil {
		t.Fatal(err)
	}
	s.newVault("kv2")
	for _, env := range [][]string{
		{"VAULT_URL=" + clientVaultURL},
		{"VAULT_URL=https://kv2.vault.localhost:" + port, "AZURE_AUTHORITY_HOST=https://login.localhost:" + port},
	} {
		if got := s.mustExec(append(append([]string{"env"}, env...), command...)...); got != "ok" {
			t.Errorf("%s: got %q", env[0], got)
		}
	}
}

// TestVaultPython runs azure-keyvault-keys and azure-keyvault-secrets.
func TestVaultPython(t *testing.T) {
	t.Parallel()
	interpreter := pythonWith(t, "azure.keyvault.keys.aio", "azure.keyvault.secrets", "azure.identity")
	script, err := filepath.Abs("python/vault.py")
	if err != nil {
		t.Fatal(err)
	}
	vaultScenario(t).inBothFamilies(t, interpreter, script)
}

// TestCertificatesPython runs azure-keyvault-certificates.
func TestCertificatesPython(t *testing.T) {
	t.Parallel()
	interpreter := pythonWith(t, "azure.keyvault.certificates", "azure.keyvault.secrets", "azure.identity")
	script, err := filepath.Abs("python/certificates.py")
	if err != nil {
		t.Fatal(err)
	}
	vaultScenario(t).inBothFamilies(t, interpreter, script)
}

// TestCertificatesJavaScript runs @azure/keyvault-certificates.
func TestCertificatesJavaScript(t *testing.T) {
	t.Parallel()
	dir := nodeModulesOf(t, "js/vault")
	vaultScenario(t).inBothFamilies(t, "node", filepath.Join(dir, "certificates.mjs"))
}

// TestVaultPythonWithoutGet: a caller who may not read keys does all with the vault, also what the client
// does by itself for others.
func TestVaultPythonWithoutGet(t *testing.T) {
	t.Parallel()
	interpreter := pythonWith(t, "azure.keyvault.keys", "azure.identity")
	script, err := filepath.Abs("python/blind.py")
	if err != nil {
		t.Fatal(err)
	}
	v := newGoVault(t)
	v.create(t, "rsa", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA)})
	v.create(t, "ec", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC), Curve: ptr(azkeys.CurveNameP256K)})
	key := make([]byte, 32)
	rand.Read(key)
	v.importOct(t, "oct", key)
	app, password, principal := v.newPrincipal("blind")
	v.grant(clientVault, principal, "encrypt decrypt wrapKey unwrapKey sign verify")
	if got := v.mustExec("env", "VAULT_URL="+clientVaultURL, "SECRET="+hex.EncodeToString(key), "AZURE_CLIENT_ID="+app, "AZURE_CLIENT_SECRET="+password,
		interpreter, script); got != "ok" {
		t.Errorf("got %q", got)
	}
}

// TestVaultJavaScript runs @azure/keyvault-keys and @azure/keyvault-secrets.
func TestVaultJavaScript(t *testing.T) {
	t.Parallel()
	dir := nodeModulesOf(t, "js/vault")
	vaultScenario(t).inBothFamilies(t, "node", filepath.Join(dir, "vault.mjs"))
}

// TestVaultJava runs azure-security-keyvault-keys and azure-security-keyvault-secrets.
func TestVaultJava(t *testing.T) {
	t.Parallel()
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
