package arm_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/api/arm/authorization"
	"github.com/latchkey-db/latchkey/internal/api/arm/resources"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/rbac"
	"github.com/latchkey-db/latchkey/internal/resource"
	"github.com/latchkey-db/latchkey/internal/store"
)

const (
	ownerID  = "11111111-0000-0000-0000-000000000001"
	readerID = "22222222-0000-0000-0000-000000000002"
	tenantID = "99999999-0000-0000-0000-000000000009"
)

// tokens is a verifier for which a token is the caller's object id.
type tokens struct{}

func (tokens) VerifyToken(_ context.Context, token string, _ []string) (principal.Caller, error) {
	if token != ownerID && token != readerID {
		return principal.Caller{}, fault.New(fault.Unauthenticated, "TokenExpired", "The token is expired.")
	}
	return principal.Caller{Kind: principal.ServicePrincipal, TenantID: tenantID, ObjectID: token, AppID: "app-" + token[:1]}, nil
}

type noAudit struct{}

func (noAudit) Record(context.Context, audit.Event) error { return nil }

// slow is a provider whose resources take their time: a release of the gate ends its operations.
type slow struct {
	resources *resource.Service
	gate      chan error
}

func (s *slow) Namespace() string                 { return "Test.Slow" }
func (s *slow) ResourceTypes() []arm.ResourceType { return []arm.ResourceType{{Name: "things"}} }

func (s *slow) Handle(_ context.Context, r *arm.Request) (*arm.Response, error) {
	body := map[string]any{"id": r.ID.String(), "name": r.ID.Name(), "properties": map[string]string{"provisioningState": "Succeeded"}}
	if r.Method == http.MethodGet {
		return arm.OK(body), nil
	}
	op, err := s.resources.Operations.Start(r.Caller.ObjectID, time.Millisecond, func(ctx context.Context) (any, error) {
		select {
		case err := <-s.gate:
			return body, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	if err != nil {
		return nil, err
	}
	return &arm.Response{Status: http.StatusOK, Body: map[string]any{"properties": map[string]string{"provisioningState": "Updating"}}, Operation: op.ID}, nil
}

type world struct {
	t      *testing.T
	server *httptest.Server
	res    *resource.Service
	slow   *slow
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := store.Open("/db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	engine, err := rbac.Open(rbac.Config{DB: db, Audit: noAudit{}, Principals: func(string) (principal.Kind, bool) { return principal.ServicePrincipal, true }})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Bootstrap(t.Context(), ownerID); err != nil {
		t.Fatal(err)
	}
	res, err := resource.Open(resource.Config{DB: db, Authorizer: engine, Audit: noAudit{}, OnDelete: engine.Forget, HasGrant: engine.HasGrant, Contents: []resource.Contents{shelf{}}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, res: res, slow: &slow{resources: res, gate: make(chan error)}}
	self := func(id string) []string { return []string{id} }
	providers := []arm.Provider{authorization.New(engine, res.Subscription().ID, self), w.slow}
	providers = append(providers, resources.New(res, tenantID, providers))
	door := arm.New(arm.Config{Verifier: tokens{}, Resources: res, Providers: providers, TenantID: tenantID})
	w.server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		door.ServeHTTP(rw, r.WithContext(naming.With(r.Context(), naming.Azure())))
	}))
	t.Cleanup(w.server.Close)
	return w
}

// Do leads every request to the test server, whatever its host.
func (w *world) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = w.server.Listener.Addr().String()
	return w.server.Client().Do(r)
}

// as is a credential whose token is the object id.
type as string

func (a as) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(a), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (w *world) options() *azarm.ClientOptions {
	o := &azarm.ClientOptions{DisableRPRegistration: true}
	o.Transport = w
	o.Retry.MaxRetries = -1
	return o
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ptr[T any](v T) *T { return &v }

func TestGroupsWithTheRealClient(t *testing.T) {
	w := newWorld(t)
	sub := w.res.Subscription().ID
	groups := must(armresources.NewResourceGroupsClient(sub, as(ownerID), w.options()))
	ctx := t.Context()
	if _, err := groups.Get(ctx, "rg1", nil); !isCode(err, 404, "ResourceGroupNotFound") {
		t.Fatalf("missing group: %v", err)
	}
	g, err := groups.CreateOrUpdate(ctx, "rg1", armresources.ResourceGroup{Location: ptr("West Europe"), Tags: map[string]*string{"a": ptr("b")}}, nil)
	if err != nil || *g.Location != "westeurope" || *g.Properties.ProvisioningState != "Succeeded" {
		t.Fatal(g, err)
	}
	if g, err := groups.Get(ctx, "RG1", nil); err != nil || *g.Name != "rg1" {
		t.Fatalf("case matters: %v", err)
	}
	if _, err := groups.CreateOrUpdate(ctx, "rg1", armresources.ResourceGroup{Location: ptr("eastus")}, nil); !isCode(err, 409, "InvalidResourceGroupLocation") {
		t.Fatalf("moving a group: %v", err)
	}
	if ok, err := groups.CheckExistence(ctx, "rg1", nil); err != nil || !ok.Success {
		t.Fatal(ok, err)
	}
	poller := must(groups.BeginDelete(ctx, "rg1", nil))
	if _, err := poller.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: time.Second}); err != nil {
		t.Fatal(err)
	}
	if ok, err := groups.CheckExistence(ctx, "rg1", nil); err != nil || ok.Success {
		t.Fatal(ok, err)
	}
}

func isCode(err error, status int, code string) bool {
	var re *azcore.ResponseError
	return errors.As(err, &re) && re.StatusCode == status && re.ErrorCode == code
}

func TestAssignmentsWithTheRealClient(t *testing.T) {
	w := newWorld(t)
	sub, ctx := w.res.Subscription().ID, t.Context()
	scope := "/subscriptions/" + sub
	owner := must(armauthorization.NewRoleAssignmentsClient(sub, as(ownerID), w.options()))
	defs := must(armauthorization.NewRoleDefinitionsClient(as(ownerID), w.options()))
	page := must(defs.NewListPager(scope, &armauthorization.RoleDefinitionsClientListOptions{Filter: ptr("roleName eq 'reader'")}).NextPage(ctx))
	if len(page.Value) != 1 || *page.Value[0].Properties.RoleType != "BuiltInRole" {
		t.Fatalf("%d definitions", len(page.Value))
	}
	groups := must(armresources.NewResourceGroupsClient(sub, as(readerID), w.options()))
	if _, err := groups.Get(ctx, "rg1", nil); !isCode(err, 403, "AuthorizationFailed") {
		t.Fatalf("a stranger reads: %v", err)
	}
	name := uuid.NewString()
	params := armauthorization.RoleAssignmentCreateParameters{Properties: &armauthorization.RoleAssignmentProperties{
		RoleDefinitionID: page.Value[0].ID, PrincipalID: ptr(readerID)}}
	a, err := owner.Create(ctx, scope, name, params, nil)
	if err != nil || *a.Properties.Scope != scope || *a.Properties.PrincipalType != armauthorization.PrincipalTypeServicePrincipal {
		t.Fatal(a, err)
	}
	if _, err := owner.Create(ctx, scope, uuid.NewString(), params, nil); !isCode(err, 409, "RoleAssignmentExists") {
		t.Fatalf("twice: %v", err)
	}
	if _, err := groups.Get(ctx, "rg1", nil); !isCode(err, 404, "ResourceGroupNotFound") {
		t.Fatalf("a reader reads: %v", err)
	}
	if _, err := groups.CreateOrUpdate(ctx, "rg1", armresources.ResourceGroup{Location: ptr("eastus")}, nil); !isCode(err, 403, "AuthorizationFailed") {
		t.Fatalf("a reader writes: %v", err)
	}
	list := must(owner.NewListForScopePager(scope, &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: ptr(url.QueryEscape("principalId eq '" + readerID + "'"))}).NextPage(ctx))
	if len(list.Value) != 1 || *list.Value[0].Name != name {
		t.Fatalf("%d assignments", len(list.Value))
	}
	if _, err := owner.Delete(ctx, scope, name, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := groups.Get(ctx, "rg1", nil); !isCode(err, 403, "AuthorizationFailed") {
		t.Fatalf("a former reader reads: %v", err)
	}
}

// TestLongRunning polls an operation as Go's and Python's clients do (Azure-AsyncOperation, then the
// resource), and as JavaScript's does after a PATCH (Location).
func TestLongRunning(t *testing.T) {
	w := newWorld(t)
	client := must(armresources.NewClient(w.res.Subscription().ID, as(ownerID), w.options()))
	id := "/subscriptions/" + w.res.Subscription().ID + "/resourceGroups/rg1/providers/Test.Slow/things/t1"
	for name, outcome := range map[string]error{"succeeds": nil, "fails": fault.New(fault.Denied, "Forbidden", "the vault says no")} {
		t.Run(name, func(t *testing.T) {
			poller, err := client.BeginUpdateByID(t.Context(), id, "2021-04-01", armresources.GenericResource{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := poller.Poll(t.Context()); err != nil || poller.Done() || resp.Header.Get("Retry-After") != "" {
				t.Logf("first poll: %v %v", resp, err)
			}
			go func() { w.slow.gate <- outcome }()
			_, err = poller.PollUntilDone(t.Context(), &runtime.PollUntilDoneOptions{Frequency: time.Second})
			if outcome == nil && err != nil {
				t.Fatal(err)
			}
			if outcome != nil && (err == nil || !strings.Contains(err.Error(), "the vault says no") || !strings.Contains(err.Error(), "Forbidden")) {
				t.Fatalf("failure is told as %v", err)
			}
		})
	}
	t.Run("by location", func(t *testing.T) {
		resp := w.send(http.MethodPatch, id+"?api-version=2021-04-01", ownerID, "{}")
		location := resp.Header.Get("Location")
		if resp.StatusCode != 200 || location == "" || resp.Header.Get("Retry-After") != "1" {
			t.Fatal(resp.StatusCode, resp.Header)
		}
		if r := w.send(http.MethodGet, strings.TrimPrefix(location, "https://management.azure.com"), readerID, ""); r.StatusCode != 404 {
			t.Fatalf("somebody else polls: %d", r.StatusCode)
		}
		if r := w.send(http.MethodGet, strings.TrimPrefix(location, "https://management.azure.com"), ownerID, ""); r.StatusCode != 202 {
			t.Fatalf("while it runs: %d", r.StatusCode)
		}
		w.slow.gate <- nil
		for {
			r := w.send(http.MethodGet, strings.TrimPrefix(location, "https://management.azure.com"), ownerID, "")
			if r.StatusCode == 200 {
				var body struct{ Name string }
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Name != "t1" {
					t.Fatal(body, err)
				}
				return
			}
			if r.StatusCode != 202 {
				t.Fatal(r.StatusCode)
			}
		}
	})
}

func (w *world) send(method, path, token, body string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "https://management.azure.com"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestErrors(t *testing.T) {
	w := newWorld(t)
	sub := "/subscriptions/" + w.res.Subscription().ID
	for _, tc := range []struct {
		name, method, path, token string
		status                    int
		code                      string
	}{
		{"no token", "GET", sub + "/resourcegroups?api-version=2021-04-01", "", 401, "AuthenticationFailed"},
		{"bad token", "GET", sub + "/resourcegroups?api-version=2021-04-01", "x", 401, "ExpiredAuthenticationToken"},
		{"no version", "GET", sub + "/resourcegroups", ownerID, 400, "MissingApiVersionParameter"},
		{"odd version", "GET", sub + "/resourcegroups?api-version=newest", ownerID, 400, "InvalidApiVersionParameter"},
		{"encoded key", "GET", sub + "/resourcegroups?api%2Dversion=2021-04-01", ownerID, 200, ""},
		{"double slash", "GET", "//subscriptions//" + w.res.Subscription().ID + "/resourceGroups/?api-version=2021-04-01", ownerID, 200, ""},
		{"other subscription", "GET", "/subscriptions/0b0b0b0b-0000-0000-0000-000000000000/resourcegroups?api-version=2021-04-01", ownerID, 404, "SubscriptionNotFound"},
		{"unknown provider", "GET", sub + "/resourceGroups/rg1/providers/Microsoft.Nothing/x/y?api-version=2021-04-01", ownerID, 404, "InvalidResourceNamespace"},
		{"unknown type", "GET", sub + "/nothing?api-version=2021-04-01", ownerID, 404, "InvalidResourceType"},
		{"not JSON", "PUT", sub + "/resourcegroups/rg1?api-version=2021-04-01", ownerID, 400, "InvalidRequestContent"},
		{"bad filter", "GET", sub + "/resources?api-version=2021-04-01&$filter=nonsense", ownerID, 400, "InvalidFilterInQueryString"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := w.send(tc.method, tc.path, tc.token, "{{")
			raw, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var body struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal(raw, &body); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if resp.StatusCode != tc.status || body.Error.Code != tc.code {
				t.Errorf("%d %s", resp.StatusCode, raw)
			}
			if tc.status == 401 && !strings.Contains(resp.Header.Get("WWW-Authenticate"), `authorization_uri="https://login.microsoftonline.com/`+tenantID+`"`) {
				t.Errorf("challenge: %q", resp.Header.Get("WWW-Authenticate"))
			}
		})
	}
}

// TestMetadata checks the three shapes that clients read without a token.
func TestMetadata(t *testing.T) {
	w := newWorld(t)
	for version, want := range map[string]string{
		"2015-01-01": `"graphEndpoint"`, "2020-06-01": `[{`, "2022-09-01": `"microsoftGraphResourceId":"https://graph.microsoft.com/"`,
	} {
		raw, err := io.ReadAll(w.send("GET", "/metadata/endpoints?api-version="+version, "", "").Body)
		if err != nil || !json.Valid(raw) || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %s %v", version, raw, err)
		}
	}
}

func TestSubscriptionsAreFiltered(t *testing.T) {
	w := newWorld(t)
	count := func(token string) int {
		var body struct{ Value []any }
		if err := json.NewDecoder(w.send("GET", "/subscriptions?api-version=2022-12-01", token, "").Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return len(body.Value)
	}
	if count(ownerID) != 1 || count(readerID) != 0 {
		t.Errorf("owner sees %d, stranger sees %d", count(ownerID), count(readerID))
	}
}

func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/subscriptions/x/resourceGroups/y/providers/a/b/c", "/providers/", "//", "/subscriptions/x/providers/Microsoft.Authorization/roleAssignments"} {
		f.Add("GET", s)
		f.Add("POST", s)
	}
	res, err := resource.Open(resource.Config{DB: must(store.Open("/db", store.Options{FS: vfs.NewMem()})), Authorizer: denyAll{}, Audit: noAudit{}})
	if err != nil {
		f.Fatal(err)
	}
	door := arm.New(arm.Config{Verifier: tokens{}, Resources: res, Providers: []arm.Provider{resources.New(res, tenantID, nil)}, TenantID: tenantID})
	f.Fuzz(func(t *testing.T, method, path string) {
		r := httptest.NewRequest(http.MethodGet, "https://management.azure.com/?api-version=2021-04-01", nil)
		r.Method, r.URL.Path = method, path
		r.Header.Set("Authorization", "Bearer "+ownerID)
		rec := httptest.NewRecorder()
		door.ServeHTTP(rec, r)
		if rec.Code >= 500 && rec.Code != http.StatusNotImplemented {
			t.Errorf("%s %q: %d %s", method, path, rec.Code, rec.Body)
		}
	})
}

type denyAll struct{}

func (denyAll) Authorize(context.Context, principal.Caller, string, string) error {
	return fault.New(fault.Denied, "AuthorizationFailed", "no")
}
