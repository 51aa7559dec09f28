package kv_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/access"
	door "github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/api/arm/kv"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/resource"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/vault"
)

const (
	tenant = "11111111-1111-1111-1111-111111111111"
	alice  = "aaaaaaaa-0000-0000-0000-000000000001"
)

// world is Resource Manager's door with vaults behind it. Everybody may do everything.
type world struct {
	t    *testing.T
	sub  string
	face http.Handler
}

func (w *world) Authorize(context.Context, principal.Caller, string, string) error { return nil }
func (w *world) DecideData(context.Context, principal.Caller, string, string) access.Decision {
	return access.Yes(access.DataRole, "test")
}
func (w *world) Record(context.Context, audit.Event) error { return nil }

// VerifyToken accepts every token.
func (w *world) VerifyToken(context.Context, string, []string) (principal.Caller, error) {
	return principal.Caller{Kind: principal.User, TenantID: tenant, ObjectID: alice, Name: "alice@latchkey"}, nil
}

// GetToken makes the world a credential.
func (w *world) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// Do makes the world a transport: requests go straight to the door.
func (w *world) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	w.face.ServeHTTP(rec, r)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	db, err := store.Open("control", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	resources, err := resource.Open(resource.Config{DB: db, Authorizer: w, Audit: w})
	if err != nil {
		t.Fatal(err)
	}
	w.sub = resources.Subscription().ID
	if _, _, err := resources.PutGroup(t.Context(), principal.Server("test"), resource.Group{Subscription: w.sub, Name: "rg", Location: "eastus"}); err != nil {
		t.Fatal(err)
	}
	vaults, err := vault.Open(vault.Config{DB: db, Audit: w, Authorizer: w, RequireGroup: resources.RequireGroup})
	if err != nil {
		t.Fatal(err)
	}
	w.face = door.New(door.Config{Verifier: w, Resources: resources, Providers: []door.Provider{kv.New(vaults, resources)}, TenantID: tenant})
	return w
}

// client is the official client.
func (w *world) client() *armkeyvault.VaultsClient {
	w.t.Helper()
	c, err := armkeyvault.NewVaultsClient(w.sub, w, &arm.ClientOptions{ClientOptions: policy.ClientOptions{Transport: w}})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// raw sends what no client of this test sends. The path follows the subscription.
func (w *world) raw(method, path, body string) (int, map[string]any) {
	w.t.Helper()
	req := httptest.NewRequest(method, "https://management.azure.com/subscriptions/"+w.sub+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer t")
	resp, _ := w.Do(req)
	raw, _ := io.ReadAll(resp.Body)
	var out map[string]any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			w.t.Fatalf("%s: %v", raw, err)
		}
	}
	return resp.StatusCode, out
}

func ptr[T any](v T) *T { return &v }

func parameters(edit func(*armkeyvault.VaultProperties)) armkeyvault.VaultCreateOrUpdateParameters {
	p := &armkeyvault.VaultProperties{TenantID: ptr(tenant), SKU: &armkeyvault.SKU{Family: ptr(armkeyvault.SKUFamilyA), Name: ptr(armkeyvault.SKUNameStandard)},
		AccessPolicies: []*armkeyvault.AccessPolicyEntry{}}
	if edit != nil {
		edit(p)
	}
	return armkeyvault.VaultCreateOrUpdateParameters{Location: ptr("East US"), Tags: map[string]*string{"a": ptr("b")}, Properties: p}
}

func entry(keys ...armkeyvault.KeyPermissions) *armkeyvault.AccessPolicyEntry {
	e := &armkeyvault.AccessPolicyEntry{TenantID: ptr(tenant), ObjectID: ptr(alice), Permissions: &armkeyvault.Permissions{}}
	for _, k := range keys {
		e.Permissions.Keys = append(e.Permissions.Keys, &k)
	}
	return e
}

func (w *world) put(c *armkeyvault.VaultsClient, name string, p armkeyvault.VaultCreateOrUpdateParameters) (armkeyvault.Vault, error) {
	poller, err := c.BeginCreateOrUpdate(w.t.Context(), "rg", name, p, nil)
	if err != nil {
		return armkeyvault.Vault{}, err
	}
	if !poller.Done() {
		w.t.Error("there is something to poll")
	}
	r, err := poller.PollUntilDone(w.t.Context(), nil)
	return r.Vault, err
}

func refused(t *testing.T, err error, status int, code string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status || e.ErrorCode != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}

// TestRealClient walks the life of a vault with the official client.
func TestRealClient(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	c := w.client()
	_, err := c.Get(ctx, "rg", "Kv-1", nil)
	refused(t, err, 404, "ResourceNotFound")
	v, err := w.put(c, "Kv-1", parameters(nil))
	if err != nil {
		t.Fatal(err)
	}
	p := v.Properties
	if *v.ID != "/subscriptions/"+w.sub+"/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/Kv-1" || *v.Location != "eastus" || *v.Tags["a"] != "b" ||
		*p.VaultURI != "https://kv-1.vault.azure.net/" || *p.ProvisioningState != armkeyvault.VaultProvisioningStateSucceeded || !*p.EnableSoftDelete ||
		*p.SoftDeleteRetentionInDays != 90 || *p.EnableRbacAuthorization || p.EnablePurgeProtection != nil || p.NetworkACLs != nil || *p.EnabledForDeployment {
		t.Errorf("%+v", p)
	}
	if _, err := c.UpdateAccessPolicy(ctx, "rg", "kv-1", armkeyvault.AccessPolicyUpdateKindAdd, armkeyvault.VaultAccessPolicyParameters{
		Properties: &armkeyvault.VaultAccessPolicyProperties{AccessPolicies: []*armkeyvault.AccessPolicyEntry{entry(armkeyvault.KeyPermissionsGet)}}}, nil); err != nil {
		t.Fatal(err)
	}
	u, err := c.Update(ctx, "rg", "kv-1", armkeyvault.VaultPatchParameters{Properties: &armkeyvault.VaultPatchProperties{EnablePurgeProtection: ptr(true),
		NetworkACLs: &armkeyvault.NetworkRuleSet{DefaultAction: ptr(armkeyvault.NetworkRuleActionDeny), IPRules: []*armkeyvault.IPRule{{Value: ptr("203.0.113.1")}}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p = u.Properties
	if !*p.EnablePurgeProtection || *p.NetworkACLs.Bypass != armkeyvault.NetworkRuleBypassOptionsAzureServices || *p.NetworkACLs.IPRules[0].Value != "203.0.113.1/32" ||
		*u.Tags["a"] != "b" || len(p.AccessPolicies) != 1 || *p.AccessPolicies[0].Permissions.Keys[0] != "get" {
		t.Errorf("%+v", p)
	}
	// What was read can be written back, read-only members included.
	again, err := w.put(c, "kv-1", armkeyvault.VaultCreateOrUpdateParameters{Location: u.Location, Tags: u.Tags, Properties: u.Properties})
	if err != nil || *again.Properties.VaultURI != *v.Properties.VaultURI {
		t.Fatal(err)
	}
	n := 0
	for pager := c.NewListByResourceGroupPager("rg", nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Value)
	}
	if n != 1 {
		t.Errorf("%d vaults", n)
	}
	w.deleted(c)
}

// deleted goes on with a vault that is protected from purging.
func (w *world) deleted(c *armkeyvault.VaultsClient) {
	t, ctx := w.t, w.t.Context()
	if _, err := c.Delete(ctx, "rg", "kv-1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, "rg", "kv-1", nil); err != nil { // 204
		t.Fatal(err)
	}
	d, err := c.GetDeleted(ctx, "kv-1", "East US", nil)
	if err != nil || !*d.Properties.PurgeProtectionEnabled || d.Properties.ScheduledPurgeDate.Sub(*d.Properties.DeletionDate) != 90*24*time.Hour {
		t.Fatalf("%+v %v", d.Properties, err)
	}
	poller, err := c.BeginPurgeDeleted(ctx, "kv-1", "eastus", nil)
	if err == nil {
		_, err = poller.PollUntilDone(ctx, nil)
	}
	refused(t, err, 409, "MethodNotAllowed")
	_, err = w.put(c, "kv-1", parameters(nil))
	refused(t, err, 409, "ConflictError")
	a, err := c.CheckNameAvailability(ctx, armkeyvault.VaultCheckNameAvailabilityParameters{Name: ptr("kv-1"), Type: ptr("Microsoft.KeyVault/vaults")}, nil)
	if err != nil || *a.NameAvailable || *a.Reason != armkeyvault.ReasonAlreadyExists {
		t.Errorf("%+v %v", a, err)
	}
	back, err := w.put(c, "kv-1", parameters(func(p *armkeyvault.VaultProperties) {
		p.CreateMode = ptr(armkeyvault.CreateModeRecover)
		p.AccessPolicies = nil
	}))
	if err != nil || len(back.Properties.AccessPolicies) != 1 {
		t.Errorf("%+v %v", back.Properties, err)
	}
	// A vault without purge protection can be purged.
	if _, err = w.put(c, "kv-2", parameters(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, "rg", "kv-2", nil); err != nil {
		t.Fatal(err)
	}
	if poller, err = c.BeginPurgeDeleted(ctx, "kv-2", "eastus", nil); err == nil {
		_, err = poller.PollUntilDone(ctx, nil)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestRefusals: the service's codes and texts.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	if _, err := w.put(c, "kv-1", parameters(nil)); err != nil {
		t.Fatal(err)
	}
	for code, edit := range map[string]func(*armkeyvault.VaultProperties){
		`The property "softDeleteRetentionInDays" has been set already and it can't be modified.`:                                           func(p *armkeyvault.VaultProperties) { p.SoftDeleteRetentionInDays = ptr(int32(30)) },
		`The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is an irreversible action.`: func(p *armkeyvault.VaultProperties) { p.EnablePurgeProtection = ptr(false) },
	} {
		_, err := w.put(c, "kv-1", parameters(edit))
		refused(t, err, 400, "BadRequest")
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(code, `"`, `\"`)) {
			t.Errorf("%v", err)
		}
	}
	_, err := w.put(c, "a--b", parameters(nil))
	refused(t, err, 400, "VaultNameNotValid")
	if _, err = c.Get(t.Context(), "norg", "kv-1", nil); err == nil {
		t.Error("a vault in a group that does not exist")
	}
	refused(t, err, 404, "ResourceGroupNotFound")
	status, body := w.raw("PUT", "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv-3?api-version=2024-11-01", `{"location":"eastus","properties":{"tenantId":"`+tenant+`","sku":{"name":"standard"}}}`)
	if status != 400 || !strings.Contains(toString(body), "accessPolicies") {
		t.Errorf("%d %v", status, body)
	}
}

func toString(v any) string { raw, _ := json.Marshal(v); return string(raw) }

// TestDefaults: from 2026-02-01 on a new vault uses roles; an old one keeps its model.
func TestDefaults(t *testing.T) {
	w := newWorld(t)
	const body = `{"location":"eastus","properties":{"tenantId":"` + tenant + `","sku":{"family":"A","name":"premium"},"accessPolicies":[],"networkAcls":null}}`
	for _, row := range []struct {
		name, version string
		rbac          bool
	}{{"kv-1", "2024-11-01", false}, {"kv-2", "2026-02-01", true}, {"kv-3", "2026-02-01-preview", true}, {"kv-1", "2026-02-01", false}, {"kv-2", "2022-07-01", true}} {
		status, v := w.raw("PUT", "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/"+row.name+"?api-version="+row.version, body)
		if status != 200 || v["properties"].(map[string]any)["enableRbacAuthorization"] != row.rbac || len(v["tags"].(map[string]any)) != 0 {
			t.Errorf("%+v: %d %v", row, status, v)
		}
	}
}

// TestLists: the lists that az asks for are there, empty or not; what is not offered says so.
func TestLists(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"vaults", "deletedVaults", "managedHSMs", "deletedManagedHSMs"} {
		if status, v := w.raw("GET", "/providers/Microsoft.KeyVault/"+path+"?api-version=2024-11-01", ""); status != 200 || toString(v) != `{"value":[]}` {
			t.Errorf("%s: %d %v", path, status, v)
		}
	}
	if status, _ := w.raw("GET", "/resourceGroups/rg/providers/Microsoft.KeyVault/managedHSMs?api-version=2024-11-01", ""); status != 200 {
		t.Error(status)
	}
	if status, v := w.raw("GET", "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv-1/keys?api-version=2024-11-01", ""); status != 501 {
		t.Errorf("%d %v", status, v)
	}
	if status, v := w.raw("GET", "/providers/Microsoft.KeyVault/wishes?api-version=2024-11-01", ""); status != 404 {
		t.Errorf("%d %v", status, v)
	}
}
