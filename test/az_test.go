package test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTutorialVerbatim runs the tutorial's script with the real az, unmodified and with its default
// configuration for the public cloud, and then the two gates: RBAC on the account, policy in the vault.
func TestTutorialVerbatim(t *testing.T) {
	azPath(t)
	s := &scenario{server: startServer(t)}
	script, err := filepath.Abs("testdata/tutorial.sh")
	if err != nil {
		t.Fatal(err)
	}
	s.mustExec("bash", script)
	s.connect()
	c := s.newContainer("db1", "c1")
	docs := someDocs(100)
	s.putAll(c, docs)

	t.Run("account says so", func(t *testing.T) {
		out := s.mustExec("az", "cosmosdb", "show", "--name", "mycosmosdbaccount", "--resource-group", "myresourcegroup", "-o", "json")
		var a struct {
			KeyURI string `json:"keyVaultKeyUri"`
			Status string `json:"customerManagedKeyStatus"`
		}
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatal(err)
		}
		if a.KeyURI != "https://mykeyvault.vault.azure.net/keys/mycosmosdbkey" || a.Status != "Access to the configured customer managed key confirmed." {
			t.Errorf("%+v", a)
		}
	})
	t.Run("disable and enable", func(t *testing.T) {
		set := func(enabled string) {
			s.mustExec("az", "keyvault", "key", "set-attributes", "--vault-name", "mykeyvault", "--name", "mycosmosdbkey", "--enabled", enabled)
		}
		set("false")
		s.waitRevoked(c, docs[0], "4018")
		if out := s.mustExec("az", "cosmosdb", "show", "-n", "mycosmosdbaccount", "-g", "myresourcegroup", "--query", "customerManagedKeyStatus", "-o", "tsv"); !strings.Contains(out, "disabled or expired") {
			t.Errorf("az cosmosdb show: %s", out)
		}
		set("true")
		s.waitServed(c, docs[0])
		s.compareAll(c, docs)
	})
	t.Run("gate one: RBAC on the account", func(t *testing.T) { s.gateOne(t); s.compareAll(c, docs) })
	t.Run("gate two: the vault's policy", func(t *testing.T) { s.gateTwo(t); s.compareAll(c, docs) })
}

// gateOne: whoever lacks databaseAccounts/write cannot change the key, however right the policy is.
func (s *scenario) gateOne(t *testing.T) {
	out := s.mustExec("az", "ad", "sp", "create-for-rbac", "--name", "onlooker", "--role", "Cosmos DB Account Reader Role",
		"--scopes", "/subscriptions/"+s.admin().SubscriptionID+"/resourceGroups/myresourcegroup", "-o", "json")
	var sp struct{ AppID, Password, Tenant string }
	if err := json.Unmarshal([]byte(out), &sp); err != nil {
		t.Fatal(err)
	}
	script := `set -e
export AZURE_CONFIG_DIR="$1"
az login --service-principal -u "$2" -p "$3" --tenant "$4" -o none
az cosmosdb show --name mycosmosdbaccount --resource-group myresourcegroup -o none
az cosmosdb update --name mycosmosdbaccount --resource-group myresourcegroup --key-uri https://mykeyvault.vault.azure.net/keys/mycosmosdbkey -o none`
	_, err := s.exec("bash", "-c", script, "gate", t.TempDir(), sp.AppID, sp.Password, sp.Tenant)
	if err := contains(err, "AuthorizationFailed", "does not have authorization to perform action 'Microsoft.DocumentDB/databaseAccounts/write'"); err != nil {
		t.Error(err)
	}
}

// gateTwo: an Owner cannot make the account use a key that the database may not unwrap with.
func (s *scenario) gateTwo(t *testing.T) {
	script := `set -e
az keyvault create --name othervault --resource-group myresourcegroup --location eastus --enable-rbac-authorization false --enable-purge-protection true -o none
RP_SP_ID=$(az ad sp list --display-name "Microsoft.DocumentDB" --query "[].objectId" -o tsv)
az keyvault set-policy --name othervault --resource-group myresourcegroup --object-id $RP_SP_ID --key-permissions get wrapKey -o none
az keyvault key create --vault-name othervault --name otherkey --kty RSA --size 2048 -o none
az cosmosdb update --name mycosmosdbaccount --resource-group myresourcegroup --key-uri https://othervault.vault.azure.net/keys/otherkey -o none`
	_, err := s.exec("bash", "-c", script)
	if err := contains(err, "Forbidden", "does not have keys unwrapKey permission"); err != nil {
		t.Error(err)
	}
	out := s.mustExec("az", "cosmosdb", "show", "-n", "mycosmosdbaccount", "-g", "myresourcegroup", "--query", "keyVaultKeyUri", "-o", "tsv")
	if out != "https://mykeyvault.vault.azure.net/keys/mycosmosdbkey" {
		t.Errorf("the account changed: %s", out)
	}
}

// TestAZTour runs the az commands that the tutorial does not use but that its reader will try next.
func TestAZTour(t *testing.T) {
	azPath(t)
	s := startServer(t)
	script, err := filepath.Abs("testdata/tour.sh")
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.exec("bash", script)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/tour.golden")
	if err != nil {
		t.Fatal(err)
	}
	if out != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", out, want)
	}
}

// TestRegisteredCloud uses the server under its own names: az learns them from the metadata endpoint,
// and every address in an answer is of the same family.
func TestRegisteredCloud(t *testing.T) {
	azPath(t)
	s := startServer(t)
	_, port, err := net.SplitHostPort(s.run.Addresses.Front)
	if err != nil {
		t.Fatal(err)
	}
	script := `set -e
export AZURE_CONFIG_DIR="$1"
az cloud register -n Latchkey --endpoint-resource-manager "https://management.localhost:$2" -o none
az cloud set -n Latchkey -o none
az config set core.instance_discovery=false -o none
az login --service-principal -u "$AZURE_CLIENT_ID" -p "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID" -o none
az group create -n rg1 -l eastus -o none
az keyvault create -n kv1 -g rg1 -l eastus --enable-rbac-authorization false -o none
az keyvault key create --vault-name kv1 -n k1 --kty RSA --size 2048 --query key.kid -o tsv
az keyvault show -n kv1 --query properties.vaultUri -o tsv
az cosmosdb create -n acct1 -g rg1 --query documentEndpoint -o tsv
az ad sp list --display-name Microsoft.DocumentDB --query "length(@)" -o tsv`
	out := strings.Fields(s.mustExec("bash", "-c", script, "cloud", t.TempDir(), port))
	if len(out) != 4 || !strings.HasPrefix(out[0], "https://kv1.vault.localhost:"+port+"/keys/k1/") || out[1] != "https://kv1.vault.localhost:"+port+"/" ||
		out[2] != "https://acct1.documents.localhost:"+port+"/" || out[3] != "1" {
		t.Errorf("got %q", out)
	}
}

// TestRoleOnTheKey runs the tutorial's flow with the real az in a vault that role assignments govern.
// The database has a role on one key: that key protects the account, its neighbour in the same vault
// cannot, and taking the role away revokes.
func TestRoleOnTheKey(t *testing.T) {
	azPath(t)
	s := &scenario{server: startServer(t)}
	script, err := filepath.Abs("testdata/role.sh")
	if err != nil {
		t.Fatal(err)
	}
	s.mustExec("bash", script, s.admin().ObjectID)
	s.connect()
	if st := s.status(); st.Text != "Access to the configured customer managed key confirmed." || st.KeyVersion == "" {
		t.Fatalf("%+v", st)
	}
	if uri := *s.account().Properties.KeyVaultKeyURI; uri != "https://mykeyvault.vault.azure.net/keys/mycosmosdbkey" {
		t.Errorf("keyVaultKeyUri: %s", uri)
	}
	c := s.newContainer("db1", "c1")
	docs := someDocs(20)
	s.putAll(c, docs)
	if err := contains(s.op.PointAccount(t.Context(), "https://mykeyvault.vault.azure.net/keys/otherkey"), "Forbidden", "Caller is not authorized", "otherkey"); err != nil {
		t.Error(err)
	}
	s.compareAll(c, docs)
	s.mustExec("bash", "-c", `set -e
VAULT_ID=$(az keyvault show --name mykeyvault --query id -o tsv)
az role assignment delete --role "Key Vault Crypto Service Encryption User" --scope $VAULT_ID/keys/mycosmosdbkey`)
	s.waitRevoked(c, docs[0], "4002")
}
