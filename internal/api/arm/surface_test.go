package arm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/api/arm/authorization"
	"github.com/latchkey-db/latchkey/internal/api/arm/resources"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/rbac"
	"github.com/latchkey-db/latchkey/internal/resource"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// shelf is a domain whose resources are in the list of everything.
type shelf struct{}

func (shelf) Resources(_ context.Context, c principal.Caller, sub, group string) ([]resource.Generic, error) {
	var out []resource.Generic
	for i, tags := range []map[string]string{{"env": "prod", "team": "a"}, {"env": "test", "team": "prod"}, nil} {
		id := uri.ResourceID{Subscription: sub, ResourceGroup: "rg1", Provider: "Test.Slow"}.Child("things", fmt.Sprintf("t%d", i))
		if c.ObjectID == ownerID && (group == "" || strings.EqualFold(group, "rg1")) {
			out = append(out, resource.Generic{ID: id, Location: "West US", Tags: tags, State: "Succeeded"})
		}
	}
	return out, nil
}

func (shelf) Delete(context.Context, principal.Caller, uri.ResourceID) (bool, error) {
	return false, nil
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	code   string
}

// ask sends a request below the subscription (or, with a path that starts with "//", anywhere).
func (w *world) ask(method, path, token, body string) answer {
	w.t.Helper()
	if rest, anywhere := strings.CutPrefix(path, "//"); anywhere {
		path = "/" + rest
	} else {
		path = "/subscriptions/" + w.res.Subscription().ID + path
	}
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	resp := w.send(method, path+sep+"api-version=2021-04-01", token, body)
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &a.body); err != nil {
			w.t.Fatalf("%s: %v", raw, err)
		}
	}
	if e, ok := a.body["error"].(map[string]any); ok {
		a.code, _ = e["code"].(string)
	}
	return a
}

func (a answer) names() (out []string) {
	list, _ := a.body["value"].([]any)
	for _, x := range list {
		m, _ := x.(map[string]any)
		for _, key := range []string{"name", "tagName"} {
			if s, ok := m[key].(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

func (w *world) group(name string) {
	w.t.Helper()
	if a := w.ask("PUT", "/resourceGroups/"+name, ownerID, `{"location":"eastus","tags":{"env":"dev"}}`); a.status != 201 {
		w.t.Fatal(a)
	}
}

// TestStrangersSeeNothing: every read asks for a right, and a stranger cannot tell what exists.
func TestStrangersSeeNothing(t *testing.T) {
	w := newWorld(t)
	w.group("rg1")
	for _, path := range []string{"", "/locations", "/providers", "/providers/Microsoft.Resources", "/resourcegroups", "/resources", "/tagNames",
		"/resourceGroups/rg1", "/resourceGroups/nothing", "/resourceGroups/rg1/resources", "/resourceGroups/nothing/resources",
		"/providers/Microsoft.Resources/deployments", "/resourceGroups/rg1/providers/Microsoft.Resources/deployments/x",
		"/providers/Microsoft.Authorization/roleAssignments", "/providers/Microsoft.Authorization/roleDefinitions",
		"/resourceGroups/rg1/providers/Microsoft.Authorization/roleAssignments/" + uuid.NewString()} {
		if a := w.ask("GET", path, readerID, ""); a.status != 403 || a.code != "AuthorizationFailed" {
			t.Errorf("%s: %d %v", path, a.status, a.body)
		}
		if a := w.ask("GET", path, ownerID, ""); a.status == 403 {
			t.Errorf("the owner may not: %s: %v", path, a.body)
		}
	}
	for path, method := range map[string]string{"/providers/Microsoft.Resources/register": "POST", "/providers/Microsoft.Resources/unregister": "POST", "/resourceGroups/rg1": "DELETE"} {
		if a := w.ask(method, path, readerID, ""); a.status != 403 {
			t.Errorf("%s %s: %d", method, path, a.status)
		}
	}
	if a := w.ask("GET", "//tenants", readerID, ""); a.status != 200 {
		t.Errorf("tenants: %d", a.status)
	}
}

// TestPathsThatNameNoGroup: a provider's path below a group is not the group.
func TestPathsThatNameNoGroup(t *testing.T) {
	w := newWorld(t)
	w.group("rg1")
	for _, path := range []string{"/resourceGroups/rg1/providers/Microsoft.Resources", "/resourceGroups/rg1/providers/Test.Slow",
		"/resourceGroups/rg1/providers/Test.Slow/things/t1/providers/Microsoft.Resources", "/resourceGroups/rg1/providers/Microsoft.Resources/subscriptions",
		"/resourceGroups/rg1/resources"} {
		for _, method := range []string{"DELETE", "PUT", "PATCH"} {
			if a := w.ask(method, path, ownerID, "{}"); a.status != 404 {
				t.Errorf("%s %s: %d %v", method, path, a.status, a.body)
			}
		}
	}
	if a := w.ask("GET", "/resourceGroups/rg1", ownerID, ""); a.status != 200 {
		t.Fatalf("the group: %v", a)
	}
	nested := "/resourceGroups/rg1/providers/Test.Slow/things/t1/providers/Test.Slow/things/t2"
	if a := w.ask("GET", nested, ownerID, ""); a.status != 404 || a.code != "InvalidResourceNamespace" {
		t.Errorf("a resource below another: %d %s", a.status, a.code)
	}
}

func TestExistenceChecks(t *testing.T) {
	w := newWorld(t)
	w.group("rg1")
	for path, want := range map[string]int{"/resourceGroups/rg1": 204, "/resourceGroups/rg2": 404, "/resourceGroups/rg1/providers/Test.Slow/things/t1": 204,
		"/resourceGroups/rg1/providers/Microsoft.Authorization/roleAssignments/" + uuid.NewString(): 404} {
		if a := w.ask("HEAD", path, ownerID, ""); a.status != want || a.body != nil {
			t.Errorf("%s: %d %v", path, a.status, a.body)
		}
	}
}

func TestFiltersOfResources(t *testing.T) {
	w := newWorld(t)
	w.group("rg1")
	for filter, want := range map[string]string{
		"":                                   "t0 t1 t2",
		"resourceType eq 'test.slow/THINGS'": "t0 t1 t2",
		"resourceType eq 'Microsoft.KeyVault/vaults'":         "",
		"resourceType eq 'Test.Slow/things' and name eq 'T1'": "t1",
		"name eq 't0' or name eq 't2'":                        "t0 t2",
		"name ne 't0' and resourceGroup eq 'RG1'":             "t1 t2",
		"resourceGroup eq 'rg2'":                              "",
		"location eq 'westus'":                                "t0 t1 t2",
		"tagName eq 'env' and tagValue eq 'prod'":             "t0",
		"tagName eq 'ENV'":                                    "t0 t1",
		"startswith(tagname, 'te')":                           "t0 t1",
		"substringof('1', name)":                              "t1",
		"name eq 'it''s'":                                     "",
	} {
		a := w.ask("GET", "/resources?$filter="+url.QueryEscape(filter), ownerID, "")
		if got := strings.Join(a.names(), " "); a.status != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", filter, a.status, got, want)
		}
	}
	for _, filter := range []string{"kind eq 'x'", "sku eq 'x' or name eq 't0'", "eq()", "startswith(name, 'x')"} {
		if a := w.ask("GET", "/resources?$filter="+url.QueryEscape(filter), ownerID, ""); a.code != "InvalidFilterInQueryString" {
			t.Errorf("%s: %d %v", filter, a.status, a.body)
		}
	}
	if a := w.ask("GET", "/resourcegroups?$filter="+url.QueryEscape("tagname eq 'env' and tagvalue eq 'dev'"), ownerID, ""); strings.Join(a.names(), " ") != "rg1" {
		t.Errorf("groups by tag: %v", a)
	}
	if a := w.ask("GET", "/tagNames", ownerID, ""); strings.Join(a.names(), " ") != "env team" {
		t.Errorf("tags: %v", a)
	}
}

// TestPaging reads pages of one with the real client.
func TestPaging(t *testing.T) {
	w := newWorld(t)
	client := must(armresources.NewClient(w.res.Subscription().ID, as(ownerID), w.options()))
	pager := client.NewListPager(&armresources.ClientListOptions{Top: ptr(int32(1)), Filter: ptr("name ne 't1'"), Expand: ptr("createdTime,provisioningState")})
	var got []string
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Value) != 1 || *page.Value[0].ProvisioningState != "Succeeded" {
			t.Fatalf("a page of %d", len(page.Value))
		}
		got = append(got, *page.Value[0].Name)
	}
	if !slices.Equal(got, []string{"t0", "t2"}) {
		t.Errorf("pages of %v", got)
	}
	for _, q := range []string{"$top=-1", "$top=x", "$skiptoken=99999999999999999999"} {
		if a := w.ask("GET", "/resources?"+q, ownerID, ""); a.status != 400 {
			t.Errorf("%s: %d", q, a.status)
		}
	}
	if a := w.ask("GET", "/resources?$skiptoken=100", ownerID, ""); a.status != 200 || len(a.names()) != 0 {
		t.Errorf("behind the end: %v", a)
	}
}

func TestProvidersWithTheRealClient(t *testing.T) {
	w := newWorld(t)
	c := must(armresources.NewProvidersClient(w.res.Subscription().ID, as(ownerID), w.options()))
	for _, ns := range []string{"microsoft.authorization", "Microsoft.Resources"} {
		p, err := c.Get(t.Context(), ns, nil)
		if err != nil || !strings.EqualFold(*p.Namespace, ns) || *p.RegistrationState != "Registered" || len(p.ResourceTypes) == 0 {
			t.Fatal(p, err)
		}
	}
	if p, err := c.Unregister(t.Context(), "Test.Slow", nil); err != nil || *p.RegistrationState != "Unregistered" {
		t.Error(p, err)
	}
	if p, err := c.Register(t.Context(), "Test.Slow", nil); err != nil || *p.RegistrationState != "Registered" {
		t.Error(p, err)
	}
	if _, err := c.Get(t.Context(), "Microsoft.Nothing", nil); !isCode(err, 404, "InvalidResourceNamespace") {
		t.Error(err)
	}
}

const (
	readerRole = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
	auth       = "/providers/Microsoft.Authorization/"
)

func TestAssignmentsOnTheWire(t *testing.T) {
	w := newWorld(t)
	w.group("rg1")
	scope := "/resourceGroups/rg1" + auth
	put := func(properties string) answer {
		return w.ask("PUT", scope+"roleAssignments/"+uuid.NewString(), ownerID, `{"properties":{`+properties+`}}`)
	}
	grant := `"roleDefinitionId":"/subscriptions/x` + auth + `roleDefinitions/` + readerRole + `","principalId":"` + readerID + `"`
	for properties, want := range map[string]string{
		grant + `,"condition":"@x"`:                               "501 NotSupported",
		grant + `,"principalType":"User"`:                         "400 UnmatchedPrincipalType",
		`"roleDefinitionId":"x","principalId":"` + readerID + `"`: "404 RoleDefinitionDoesNotExist",
		`"roleDefinitionId":"` + readerRole + `"`:                 "400 InvalidPrincipalId",
	} {
		if a := put(properties); fmt.Sprint(a.status, " ", a.code) != want {
			t.Errorf("%s: %d %s, want %s", properties, a.status, a.code, want)
		}
	}
	if a := put(grant + `,"condition":null,"principalType":"ServicePrincipal"`); a.status != 201 {
		t.Fatal(a)
	}
	for filter, want := range map[string]int{
		"": 2, "atScope()": 2, "principalId eq '" + strings.ToUpper(readerID) + "'": 1, "assignedTo('" + readerID + "')": 1,
		"atScope() and assignedTo('" + uuid.NewString() + "')": 0,
	} {
		if a := w.ask("GET", scope+"roleAssignments?$filter="+url.QueryEscape(filter), ownerID, ""); a.status != 200 || len(a.names()) != want {
			t.Errorf("%s: %d, %d assignments", filter, a.status, len(a.names()))
		}
	}
	for _, filter := range []string{"nonsense", "scope eq '/'", "principalId eq ''", "atScope() or principalId eq 'x'", "principalId ne 'x'", "atScope('x')"} {
		if a := w.ask("GET", scope+"roleAssignments?$filter="+url.QueryEscape(filter), ownerID, ""); a.code != "InvalidFilterInQueryString" {
			t.Errorf("%s selects: %d %d", filter, a.status, len(a.names()))
		}
	}
	// What the reader may do is known to the reader, and reads are what it may.
	a := w.ask("GET", scope+"permissions", readerID, "")
	if list, _ := a.body["value"].([]any); len(list) != 1 || !strings.Contains(fmt.Sprint(list), "*/read") {
		t.Errorf("permissions: %v", a.body)
	}
	if a := w.ask("GET", "/locations", readerID, ""); a.status != 200 {
		t.Errorf("the reader of one group cannot list locations: %v", a.body)
	}
}

func TestDefinitionsOnTheWire(t *testing.T) {
	w := newWorld(t)
	sub := "/subscriptions/" + w.res.Subscription().ID
	one := func(filter string) []string {
		a := w.ask("GET", auth+"roleDefinitions?$filter="+url.QueryEscape(filter), ownerID, "")
		if a.status != 200 {
			t.Errorf("%s: %d %s", filter, a.status, a.code)
		}
		return a.names()
	}
	id := uuid.NewString()
	body := `{"properties":{"roleName":"It's mine","type":"CustomRole","assignableScopes":["` + sub + `/"],"permissions":[{"actions":["*/read"],"notActions":[]}]}}`
	for range 2 { // made, then replaced
		if a := w.ask("PUT", auth+"roleDefinitions/"+id, ownerID, body); a.status != 201 {
			t.Fatal(a)
		}
	}
	defs := must(armauthorization.NewRoleDefinitionsClient(as(ownerID), w.options()))
	if d, err := defs.CreateOrUpdate(t.Context(), sub, id, armauthorization.RoleDefinition{Properties: &armauthorization.RoleDefinitionProperties{
		RoleName: ptr("It's mine"), AssignableScopes: []*string{ptr(sub)}, Permissions: []*armauthorization.Permission{{Actions: []*string{ptr("*/read")}}}}}, nil); err != nil || *d.Properties.RoleType != "CustomRole" {
		t.Errorf("the real client replaces it: %v %v", d, err)
	}
	for filter, want := range map[string]int{"roleName eq 'IT''S mine'": 1, "type eq 'CustomRole'": 1, "atScopeAndBelow() and type eq 'BuiltInRole'": 23, "roleName eq 'none'": 0} {
		if got := one(filter); len(got) != want {
			t.Errorf("%s: %d", filter, len(got))
		}
	}
	if a := w.ask("GET", auth+"roleDefinitions?$filter="+url.QueryEscape("description eq 'x'"), ownerID, ""); a.code != "InvalidFilterInQueryString" {
		t.Errorf("an unknown field: %d", a.status)
	}
	a := w.ask("GET", "//providers/Microsoft.Authorization/roleDefinitions/8b54135c-b56d-4d72-a534-26097cfdc8d8", ownerID, "")
	if !strings.Contains(fmt.Sprint(a.body), "ForAnyOfAnyValues:GuidEquals") {
		t.Errorf("the limit is not shown: %v", a.body)
	}
	for _, want := range []int{200, 204} {
		if a := w.ask("DELETE", auth+"roleDefinitions/"+id, ownerID, ""); a.status != want {
			t.Errorf("delete: %d, want %d", a.status, want)
		}
	}
}

// TestWhatIsAbsent: clients list what this server does not have; they are told that there is none.
func TestWhatIsAbsent(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"GET locks": "200 ", "GET denyAssignments": "200 ", "GET roleEligibilitySchedules": "200 ", "GET classicAdministrators": "200 ",
		"GET locks/l": "404 ResourceNotFound", "PUT locks/l": "501 NotSupported", "GET nothing": "404 InvalidResourceType",
		"DELETE permissions": "404 InvalidResourceType",
	} {
		method, typ, _ := strings.Cut(path, " ")
		a := w.ask(method, auth+typ, ownerID, "{}")
		if got := fmt.Sprint(a.status, " ", a.code); got != want || a.status == 200 && len(a.body["value"].([]any)) != 0 {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if a := w.ask("PUT", "/resourceGroups/rg1/providers/Microsoft.Resources/deployments/d", ownerID, "{}"); a.status != 501 {
		t.Errorf("a deployment: %d", a.status)
	}
}

func TestCommonHeaders(t *testing.T) {
	w := newWorld(t)
	a := w.ask("GET", "/resourcegroups", ownerID, "")
	for _, name := range []string{"x-ms-request-id", "x-ms-correlation-request-id", "x-ms-routing-request-id", "x-ms-ratelimit-remaining-subscription-reads",
		"Strict-Transport-Security", "Cache-Control", "Pragma", "Expires", "X-Content-Type-Options"} {
		if a.header.Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
}

// FuzzFilters sends filters through the providers that evaluate them.
func FuzzFilters(f *testing.F) {
	for _, s := range []string{"", "eq()", "name eq 'a' or startswith(tagname, 'x')", "atScope() and assignedTo('x')", "tagname eq 'a' and tagvalue eq 'b'", "roleName eq 'Reader'"} {
		f.Add(s)
	}
	db := must(store.Open("/db", store.Options{FS: vfs.NewMem()}))
	engine := must(rbac.Open(rbac.Config{DB: db, Audit: noAudit{}, Principals: func(string) (principal.Kind, bool) { return principal.User, true }}))
	if err := engine.Bootstrap(f.Context(), ownerID); err != nil {
		f.Fatal(err)
	}
	res := must(resource.Open(resource.Config{DB: db, Authorizer: engine, Audit: noAudit{}, Contents: []resource.Contents{shelf{}}}))
	sub := "/subscriptions/" + res.Subscription().ID
	providers := []arm.Provider{authorization.New(engine, res.Subscription().ID, func(string) []string { return nil })}
	door := arm.New(arm.Config{Verifier: tokens{}, Resources: res, Providers: append(providers, resources.New(res, tenantID, providers)), TenantID: tenantID})
	f.Fuzz(func(t *testing.T, filter string) {
		for _, path := range []string{"/resources", "/resourceGroups", auth + "roleAssignments", auth + "roleDefinitions"} {
			r := httptest.NewRequest(http.MethodGet, "https://management.azure.com"+sub+path+"?api-version=2021-04-01&$filter="+url.QueryEscape(filter), nil)
			r.Header.Set("Authorization", "Bearer "+ownerID)
			rec := httptest.NewRecorder()
			door.ServeHTTP(rec, r)
			if rec.Code != http.StatusOK && rec.Code != http.StatusBadRequest {
				t.Errorf("%s %q: %d %s", path, filter, rec.Code, rec.Body)
			}
		}
	})
}
