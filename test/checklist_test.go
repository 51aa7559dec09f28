package test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/cosmos/armcosmos/v3"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// useIdentity makes an account go to its vault under another identity.
func useIdentity(name string) armcosmos.DatabaseAccountUpdateParameters {
	return armcosmos.DatabaseAccountUpdateParameters{Properties: &armcosmos.DatabaseAccountUpdateProperties{DefaultIdentity: &name}}
}

// account is the account as Resource Manager shows it.
func (s *scenario) account() armcosmos.DatabaseAccountGetResults {
	s.t.Helper()
	accounts, err := s.op.Accounts()
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := accounts.Get(s.t.Context(), demo.Group, demo.Account, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return a.DatabaseAccountGetResults
}

// graph sends a request to Graph as the administrator and returns the answer's body; the status must be
// the wanted one.
func (s *scenario) graph(method, path, body string, want int) []byte {
	s.t.Helper()
	token, err := s.op.Credential.GetToken(s.t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "https://graph.microsoft.com/v1.0/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		s.t.Fatalf("%s %s: %s, %v\n%s", method, path, resp.Status, err, out)
	}
	return out
}

// disablePrincipal disables a service principal in the directory, through Graph.
func (s *scenario) disablePrincipal(id string) {
	s.t.Helper()
	s.graph(http.MethodPatch, "servicePrincipals/"+id, `{"accountEnabled":false}`, http.StatusNoContent)
}

// newPrincipal makes an application with a service principal and a secret, through Graph.
func (s *scenario) newPrincipal(name string) (appID, secret, objectID string) {
	s.t.Helper()
	var app struct{ ID, AppID string }
	var password struct{ SecretText string }
	var principal struct{ ID string }
	post := func(path, body string, want int, out any) {
		s.t.Helper()
		if err := json.Unmarshal(s.graph(http.MethodPost, path, body, want), out); err != nil {
			s.t.Fatal(err)
		}
	}
	post("applications", `{"displayName":"`+name+`"}`, http.StatusCreated, &app)
	post("applications/"+app.ID+"/addPassword", "{}", http.StatusOK, &password)
	post("servicePrincipals", `{"appId":"`+app.AppID+`"}`, http.StatusCreated, &principal)
	return app.AppID, password.SecretText, principal.ID
}

// TestDefaultIdentityIsTaken: an identity that was disabled is refused its token, and another default
// identity, given while the account is revoked, brings the data back. The platform lets nobody delete
// the principal of a managed identity, nor take the identity from the account that uses it.
func TestDefaultIdentityIsTaken(t *testing.T) {
	s := tutorial(t, "--key-check-interval", "500ms")
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(5)
	s.putAll(c, docs)
	if err := s.op.Update(ctx, identity("SystemAssigned")); err != nil {
		t.Fatal(err)
	}
	own := *s.account().Identity.PrincipalID
	if err := s.op.Grant(ctx, own); err != nil {
		t.Fatal(err)
	}
	if err := s.op.Update(ctx, useIdentity("SystemAssignedIdentity")); err != nil {
		t.Fatal(err)
	}
	if err := contains(s.op.Update(ctx, identity("None")), "BadRequest", "assign it first"); err != nil {
		t.Error(err)
	}
	s.disablePrincipal(own)
	s.waitRevoked(c, docs[0], "4000")
	if st := s.status(); !strings.Contains(st.Text, "unable to obtain the AAD authentication token") {
		t.Errorf("customerManagedKeyStatus: %q", st.Text)
	}
	if err := s.op.Update(ctx, useIdentity("FirstPartyIdentity")); err != nil {
		t.Fatalf("another default identity while revoked: %v", err)
	}
	s.waitServed(c, docs[0])
	s.compareAll(c, docs)
}

// revokedUpdate is the service's text for changes of a revoked account.
const revokedUpdate = "No Update is allowed on Database Account with Customer Managed Key in Revoked Status"

// TestManagementWhileRevoked: what Resource Manager still does with an account whose key is denied.
func TestManagementWhileRevoked(t *testing.T) {
	s := tutorial(t)
	c := s.newContainer("db1", "c1")
	docs := someDocs(5)
	s.putAll(c, docs)
	if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4018")
	accounts, err := s.op.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	same := s.account()
	update := func(p armcosmos.DatabaseAccountUpdateParameters) func(context.Context) error {
		return func(ctx context.Context) error { return s.op.Update(ctx, p) }
	}
	key := func(u string) armcosmos.DatabaseAccountUpdateParameters {
		return armcosmos.DatabaseAccountUpdateParameters{Properties: &armcosmos.DatabaseAccountUpdateProperties{KeyVaultKeyURI: &u}}
	}
	for _, row := range []struct {
		name string
		do   func(context.Context) error
		want []string // of the refusal; nil when it is allowed
	}{
		{"tags", update(armcosmos.DatabaseAccountUpdateParameters{Tags: map[string]*string{"a": ptr("b")}}), []string{"400", revokedUpdate}},
		{"another key", update(key(s.keyURI + "2")), []string{"400", revokedUpdate}},
		{"the same key", update(key(s.keyURI)), nil},
		{"nothing", update(armcosmos.DatabaseAccountUpdateParameters{}), nil},
		{"the same identity", update(useIdentity("FirstPartyIdentity")), nil},
		{"PUT of what is there", func(ctx context.Context) error { return s.putAccount(ctx, accounts, same, nil) }, nil},
		{"PUT with tags", func(ctx context.Context) error {
			return s.putAccount(ctx, accounts, same, map[string]*string{"a": ptr("b")})
		}, []string{"400", revokedUpdate}},
		{"keys", func(ctx context.Context) error { _, err := s.op.MasterKey(ctx); return err }, nil},
		{"read-only keys", func(ctx context.Context) error {
			_, err := accounts.ListReadOnlyKeys(ctx, demo.Group, demo.Account, nil)
			return err
		}, nil},
		{"regenerate", func(ctx context.Context) error {
			_, err := accounts.BeginRegenerateKey(ctx, demo.Group, demo.Account, armcosmos.DatabaseAccountRegenerateKeyParameters{KeyKind: ptr(armcosmos.KeyKindPrimary)}, nil)
			return err
		}, []string{"400", revokedUpdate}},
		{"databases are not shown", s.showDatabase, []string{"403", "disabled or expired"}},
		{"databases are not made", s.makeDatabase, []string{"400", revokedUpdate}},
		{"identity", update(identity("SystemAssigned")), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.do(t.Context())
			if row.want == nil && err != nil {
				t.Fatal(err)
			}
			if row.want != nil {
				if err := contains(err, row.want...); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if err := s.op.SetKeyEnabled(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	s.waitServed(c, docs[0])
	s.compareAll(c, docs)
}

// putAccount sends back the account as it was shown, as a tool that keeps a desired state does.
func (s *scenario) putAccount(ctx context.Context, accounts *armcosmos.DatabaseAccountsClient, a armcosmos.DatabaseAccountGetResults, tags map[string]*string) error {
	p := armcosmos.DatabaseAccountCreateUpdateParameters{
		Location: a.Location, Kind: a.Kind, Tags: tags,
		Properties: &armcosmos.DatabaseAccountCreateUpdateProperties{
			DatabaseAccountOfferType: a.Properties.DatabaseAccountOfferType, Locations: a.Properties.Locations,
			ConsistencyPolicy: a.Properties.ConsistencyPolicy, KeyVaultKeyURI: a.Properties.KeyVaultKeyURI,
			DefaultIdentity: a.Properties.DefaultIdentity,
		},
	}
	poller, err := accounts.BeginCreateOrUpdate(ctx, demo.Group, demo.Account, p, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, nil)
	return err
}

func (s *scenario) showDatabase(ctx context.Context) error {
	sql, err := armcosmos.NewSQLResourcesClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		return err
	}
	_, err = sql.GetSQLDatabase(ctx, demo.Group, demo.Account, "db1", nil)
	return err
}

func (s *scenario) makeDatabase(ctx context.Context) error {
	sql, err := armcosmos.NewSQLResourcesClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		return err
	}
	poller, err := sql.BeginCreateUpdateSQLDatabase(ctx, demo.Group, demo.Account, "db2", armcosmos.SQLDatabaseCreateUpdateParameters{
		Properties: &armcosmos.SQLDatabaseCreateUpdateProperties{Resource: &armcosmos.SQLDatabaseResource{ID: ptr("db2")}}}, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, nil)
	return err
}

// TestDeleteWhileRevoked: an account goes without its key, and no wrapped key of it stays behind.
func TestDeleteWhileRevoked(t *testing.T) {
	s := tutorial(t)
	c := s.newContainer("db1", "c1")
	docs := someDocs(5)
	s.putAll(c, docs)
	if got := len(s.keyrings()); got != 1 {
		t.Fatalf("%d keyrings before", got)
	}
	if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4018")
	accounts, err := s.op.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	poller, err := accounts.BeginDelete(t.Context(), demo.Group, demo.Account, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := poller.PollUntilDone(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, "accounts", "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	s.restart(s.stop)
	if _, err := s.op.Status(t.Context()); contains(err, "ResourceNotFound") != nil {
		t.Errorf("the account after a restart: %v", err)
	}
}

func (s *scenario) keyrings() []string {
	s.t.Helper()
	out, err := filepath.Glob(filepath.Join(s.dir, "accounts", "*", "keyring"))
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// TestKeyInAnotherVault: after the account moved to a key in another vault, the old vault may go.
func TestKeyInAnotherVault(t *testing.T) {
	s := tutorial(t, "--key-check-interval", "500ms")
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(20)
	s.putAll(c, docs)
	const other = "newvault"
	s.makeVault(other, &armkeyvault.VaultProperties{EnablePurgeProtection: ptr(true), AccessPolicies: s.everything()})
	uri := s.makeKey(other)
	if err := s.op.PointAccount(ctx, uri); err != nil {
		t.Fatal(err)
	}
	if a := s.account(); *a.Properties.KeyVaultKeyURI != uri {
		t.Errorf("keyVaultKeyUri: %s", *a.Properties.KeyVaultKeyURI)
	}
	vaults, err := armkeyvault.NewVaultsClient(s.op.Subscription, s.op.Credential, options(s))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vaults.Delete(ctx, demo.Group, demo.Vault, nil); err != nil {
		t.Fatal(err)
	}
	s.compareAll(c, docs)
	s.restart(s.stop) // a start asks the vault that counts for everything
	s.compareAll(s.container("db1", "c1"), docs)
	if st := s.status(); st.Text != "Access to the configured customer managed key confirmed." {
		t.Errorf("customerManagedKeyStatus: %q", st.Text)
	}
}

// TestValidity: a key whose time has passed, or has not come, is denied; a moved date brings it back.
func TestValidity(t *testing.T) {
	s := tutorial(t, "--key-check-interval", "500ms")
	c := s.newContainer("db1", "c1")
	docs := someDocs(5)
	s.putAll(c, docs)
	keys, err := s.op.Keys()
	if err != nil {
		t.Fatal(err)
	}
	set := func(t *testing.T, a azkeys.KeyAttributes) {
		t.Helper()
		if _, err := keys.UpdateKey(t.Context(), demo.Key, "", azkeys.UpdateKeyParameters{KeyAttributes: &a}, nil); err != nil {
			t.Fatal(err)
		}
	}
	in := func(d time.Duration) *time.Time { return ptr(time.Now().Add(d)) }
	for _, row := range []struct {
		name       string
		take, give azkeys.KeyAttributes
	}{
		{"expires by itself", azkeys.KeyAttributes{Expires: in(2 * time.Second)}, azkeys.KeyAttributes{Expires: in(time.Hour)}},
		{"has expired", azkeys.KeyAttributes{Expires: in(-time.Hour)}, azkeys.KeyAttributes{Expires: in(time.Hour)}},
		{"not yet valid", azkeys.KeyAttributes{NotBefore: in(time.Hour), Expires: in(2 * time.Hour)}, azkeys.KeyAttributes{NotBefore: in(-time.Hour)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			set(t, row.take)
			s.waitFor("403/4018", 5*time.Second, func() error { return refusedWith(get(t.Context(), c, docs[0]), "4018") })
			if st := s.status(); !strings.Contains(st.Text, "disabled or expired") {
				t.Errorf("customerManagedKeyStatus: %q", st.Text)
			}
			set(t, row.give)
			s.waitServed(c, docs[0])
			s.compareAll(c, docs)
		})
	}
}

// sealedHeader is how many bytes of a sealed file name its data key, and where; docs/FORMAT.md.
const (
	dataKeyAt  = 12
	dataKeyEnd = 28
)

// dataKeys lists the data keys that the files of the accounts' stores name.
func (s *scenario) dataKeys() []string {
	s.t.Helper()
	var out []string
	for _, path := range s.files() {
		if !strings.HasPrefix(path, filepath.Join(s.dir, "accounts")) {
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) < dataKeyEnd || string(raw[:4]) != "LKSF" {
			continue // gone meanwhile, just begun, or the keyring
		}
		out = append(out, hex.EncodeToString(raw[dataKeyAt:dataKeyEnd]))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestEnableOnData: an account with data gets a customer's key and is killed in the midst of the
// re-encryption; it goes on after a start, and in the end no file is under the key from before.
func TestEnableOnData(t *testing.T) {
	s := prepared(t, "--reencrypt-mib", "1")
	ctx := t.Context()
	c := s.newContainer("db-marker-c7e1", "c-marker-91aa")
	docs := s.someMegabytes(c)
	before := s.dataKeys()
	if len(before) != 1 {
		t.Fatalf("data keys before: %v", before)
	}
	if err := errors.Join(s.op.Grant(ctx, s.principal), s.op.CreateKey(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := s.op.PointAccount(ctx, s.keyURI); err != nil {
		t.Fatal(err)
	}
	s.waitFor("a file under the new key", 10*time.Second, func() error {
		if now := s.dataKeys(); len(now) < 2 {
			return fmt.Errorf("data keys: %v", now)
		}
		return nil
	})
	s.restart(s.kill)
	c = s.container("db-marker-c7e1", "c-marker-91aa")
	s.compareAll(c, docs) // which also opens the account
	s.waitFor("the end of the re-encryption", 30*time.Second, func() error {
		if now := s.dataKeys(); len(now) != 1 || now[0] == before[0] {
			return fmt.Errorf("data keys: %v, before %v", now, before)
		}
		return nil
	})
	s.compareAll(c, docs)
	s.grep([]string{"marker-c7e1", "marker-91aa", docs[0].ID, docs[1].City, docs[2].Text[:20]})
	s.restart(s.stop)
	s.compareAll(s.container("db-marker-c7e1", "c-marker-91aa"), docs)
}

// someMegabytes fills a container with documents that do not compress, about 4 MB.
func (s *scenario) someMegabytes(c *azcosmos.ContainerClient) []doc {
	s.t.Helper()
	docs := make([]doc, 200)
	for i := range docs {
		b := make([]byte, 10<<10)
		rand.Read(b)
		docs[i] = doc{ID: "marker-" + hex.EncodeToString(b[:8]), City: "marker-" + hex.EncodeToString(b[8:16]), Text: hex.EncodeToString(b)}
	}
	s.putAll(c, docs)
	return docs
}
