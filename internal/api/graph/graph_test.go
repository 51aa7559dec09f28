package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/api/entra"
	"github.com/latchkey-db/latchkey/internal/api/graph"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/store"
)

// azureCLI is the client id with which users sign in.
const azureCLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

type silent struct{}

func (silent) Record(context.Context, audit.Event) error { return nil }

// server is the two faces behind one transport that resolves names as the front does.
type server struct {
	t     *testing.T
	dir   *directory.Directory
	admin *directory.Admin
	faces map[naming.Service]http.Handler
	token string
}

const port = 8443

func (s *server) Do(r *http.Request) (*http.Response, error) { return s.RoundTrip(r) }

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	target, ok := naming.Resolve(r.URL.Host, port)
	if !ok || s.faces[target.Service] == nil {
		s.t.Errorf("a request to %s", r.URL)
		return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody, Request: r}, nil
	}
	in := r.Clone(naming.With(r.Context(), target.Names))
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	s.faces[target.Service].ServeHTTP(w, in)
	res := w.Result()
	res.Request = r
	return res, nil
}

func newServer(t *testing.T) *server {
	t.Helper()
	db, err := store.Open("db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	dir, err := directory.Open(directory.Config{DB: db, Audit: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := dir.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, admin: admin, faces: map[naming.Service]http.Handler{
		naming.Login: entra.New(entra.Config{Directory: dir}), naming.Graph: graph.New(graph.Config{Directory: dir}),
	}}
	tok, err := s.credential("https://login.localhost:8443/", string(admin.Secret.Reveal())).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://graph.localhost:8443//.default"}})
	if err != nil {
		t.Fatal(err)
	}
	s.token = tok.Token
	return s
}

func (s *server) credential(authority, secret string) azcore.TokenCredential {
	s.t.Helper()
	cred, err := azidentity.NewClientSecretCredential(s.admin.TenantID, s.admin.ClientID, secret, &azidentity.ClientSecretCredentialOptions{
		ClientOptions:            azcore.ClientOptions{Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: authority}, Transport: s},
		DisableInstanceDiscovery: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return cred
}

// ask sends one Graph request to the local family and returns the status and the answer.
func (s *server) ask(method, path string, body any) (int, map[string]any) {
	s.t.Helper()
	var in io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(raw)
	}
	if !strings.HasPrefix(path, "https:") {
		path = "https://graph.localhost:8443/v1.0" + path
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	out := map[string]any{}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			s.t.Fatalf("%s %s: %q: %v", method, path, raw, err)
		}
	}
	return res.StatusCode, out
}

func (s *server) must(status int, method, path string, body any) map[string]any {
	s.t.Helper()
	got, out := s.ask(method, path, body)
	if got != status {
		s.t.Fatalf("%s %s: %d %v, want %d", method, path, got, out, status)
	}
	return out
}

func (s *server) filter(collection, filter string) []any {
	s.t.Helper()
	list, ok := s.must(200, "GET", "/"+collection+"?%24filter="+url.QueryEscape(filter), nil)["value"].([]any)
	if !ok {
		s.t.Fatalf("%s %s: not a list", collection, filter)
	}
	return list
}

func TestAzureIdentityInBothFamilies(t *testing.T) {
	s := newServer(t)
	for authority, scope := range map[string]string{
		"https://login.localhost:8443/":      "https://management.localhost:8443//.default",
		"https://login.microsoftonline.com/": "https://vault.azure.net/.default",
	} {
		tok, err := s.credential(authority, string(s.admin.Secret.Reveal())).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
		if err != nil {
			t.Errorf("%s: %v", authority, err)
			continue
		}
		c, err := s.dir.VerifyToken(t.Context(), tok.Token, []string{strings.TrimSuffix(scope, "/.default")})
		if err != nil || c.ObjectID != s.admin.ObjectID {
			t.Errorf("%s: %+v, %v", authority, c, err)
		}
		_, err = s.credential(authority, "wrong").GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
		if err == nil || !strings.Contains(err.Error(), "AADSTS7000215") {
			t.Errorf("%s: wrong secret: %v", authority, err)
		}
	}
}

func TestFirstPartyIsFoundOnceByEitherName(t *testing.T) {
	s := newServer(t)
	id, _ := s.dir.FirstParty()
	for _, filter := range []string{
		"startswith(displayName,'Microsoft.DocumentDB')", "displayName eq 'Microsoft.DocumentDB'", "startswith(displayName,'Azure Cosmos DB')",
		"displayName eq 'azure cosmos db'", "servicePrincipalNames/any(c:c eq 'a232010e-820c-4083-83bb-3ace5fc29d0b')", "appId eq 'a232010e-820c-4083-83bb-3ace5fc29d0b'",
	} {
		got := s.filter("servicePrincipals", filter)
		if len(got) != 1 {
			t.Errorf("%s: %d objects", filter, len(got))
			continue
		}
		o := got[0].(map[string]any)
		if o["id"] != id || o["objectId"] != id || o["displayName"] != "Azure Cosmos DB" {
			t.Errorf("%s: %v", filter, o)
		}
	}
	s.must(200, "GET", "/servicePrincipals(appId='a232010e-820c-4083-83bb-3ace5fc29d0b')", nil)
	s.must(403, "POST", "/servicePrincipals/"+id+"/addPassword", map[string]any{})
}

// TestCreateForRBAC sends what "az ad sp create-for-rbac" sends, and signs in with the result.
func TestCreateForRBAC(t *testing.T) {
	s := newServer(t)
	if got := s.filter("servicePrincipals", "displayName eq 'app9'"); len(got) != 0 {
		t.Fatalf("%v", got)
	}
	app := s.must(201, "POST", "/applications", map[string]any{"displayName": "app9", "keyCredentials": []any{}})
	if creds, ok := app["passwordCredentials"].([]any); !ok || len(creds) != 0 {
		t.Errorf("passwordCredentials: %v", app["passwordCredentials"])
	}
	id := app["id"].(string)
	pass := s.must(200, "POST", "/applications/"+id+"/addPassword", map[string]any{"passwordCredential": map[string]any{
		"displayName": "rbac", "startDateTime": "2020-01-01T00:00:00Z", "endDateTime": "2120-01-01T00:00:00Z"}})
	status, refusal := s.ask("POST", "/servicePrincipals", map[string]any{"appId": "x"})
	if text := refusal["error"].(map[string]any)["message"].(string); status != 400 || !strings.Contains(text, " does not reference ") {
		t.Errorf("%d %s", status, text)
	}
	sp := s.must(201, "POST", "/servicePrincipals", map[string]any{"appId": app["appId"], "accountEnabled": true})
	s.must(409, "POST", "/servicePrincipals", map[string]any{"appId": app["appId"]})
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {app["appId"].(string)}, "client_secret": {pass["secretText"].(string)}, "scope": {"https://graph.microsoft.com/.default"}}
	if status, out := s.post("/"+s.admin.TenantID+"/oauth2/v2.0/token/?client-request-id=1", form); status != 200 {
		t.Errorf("sign in: %d %v", status, out)
	}
	shown := s.must(200, "GET", "/applications/"+id, nil)["passwordCredentials"].([]any)[0].(map[string]any)
	if shown["secretText"] != nil || shown["keyId"] != pass["keyId"] {
		t.Errorf("%v", shown)
	}
	stubs := s.must(200, "POST", "/directoryObjects/getByIds", map[string]any{"ids": []any{sp["id"], id}, "types": []any{"user", "group", "servicePrincipal"}})["value"].([]any)
	if len(stubs) != 1 || stubs[0].(map[string]any)["@odata.type"] != "#microsoft.graph.servicePrincipal" {
		t.Errorf("%v", stubs)
	}
	s.must(204, "POST", "/applications/"+id+"/removePassword", map[string]any{"keyId": pass["keyId"]})
	s.must(204, "DELETE", "/applications/"+id, nil)
	s.must(404, "GET", "/servicePrincipals/"+sp["id"].(string), nil)
	if status, out := s.post("/adfs/oauth2/token/", form); status != 400 || out["error"] != "unauthorized_client" {
		t.Errorf("after the deletion: %d %v", status, out)
	}
}

func (s *server) post(path string, form url.Values) (int, map[string]any) {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), "POST", "https://login.localhost:8443"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	out := map[string]any{}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, out
}

func TestUsersAndGroups(t *testing.T) {
	s := newServer(t)
	user := s.must(201, "POST", "/users", map[string]any{"userPrincipalName": "ada@latchkey.localhost", "displayName": "Ada O'Neil", "mailNickname": "ada",
		"accountEnabled": true, "passwordProfile": map[string]any{"password": "correct horse", "forceChangePasswordNextSignIn": false}})
	id := user["id"].(string)
	s.must(200, "GET", "/users/ada@latchkey.localhost", nil)
	if got := s.filter("users", "displayName eq 'Ada O''Neil' and accountEnabled eq true"); len(got) != 1 {
		t.Errorf("%v", got)
	}
	group := s.must(201, "POST", "/groups", map[string]any{"displayName": "g", "mailNickname": "g", "mailEnabled": false, "securityEnabled": true})["id"].(string)
	ref := map[string]any{"@odata.id": "https://graph.localhost:8443/v1.0/directoryObjects/" + id}
	s.must(204, "POST", "/groups/"+group+"/members/$ref", ref)
	s.must(400, "POST", "/groups/"+group+"/members/$ref", ref)
	if got := s.must(200, "POST", "/users/"+id+"/getMemberGroups", map[string]any{"securityEnabledOnly": false})["value"].([]any); len(got) != 1 || got[0] != group {
		t.Errorf("%v", got)
	}
	form := url.Values{"grant_type": {"password"}, "client_id": {azureCLI}, "username": {"ada@latchkey.localhost"}, "password": {"correct horse"}, "scope": {"https://graph.microsoft.com//.default offline_access openid profile"}}
	status, out := s.post("/organizations/oauth2/v2.0/token", form)
	if status != 200 || out["foci"] != "1" || out["id_token"] == nil || out["client_info"] == nil {
		t.Fatalf("%d %v", status, out)
	}
	admin := s.token
	s.token = out["access_token"].(string)
	if me := s.must(200, "GET", "/me", nil); me["id"] != id {
		t.Errorf("%v", me)
	}
	s.must(403, "POST", "/groups", map[string]any{"displayName": "h"})
	s.token = admin
	s.must(204, "DELETE", "/users/"+id, nil)
	if left := s.must(200, "GET", "/groups/"+group+"/members", nil)["value"].([]any); len(left) != 0 {
		t.Errorf("%v", left)
	}
}

func TestPagesAreFollowed(t *testing.T) {
	s := newServer(t)
	for _, n := range []string{"a", "b", "c"} {
		s.must(201, "POST", "/groups", map[string]any{"displayName": n})
	}
	seen, next := map[any]bool{}, "/groups?$top=2"
	for range 3 {
		out := s.must(200, "GET", next, nil)
		for _, g := range out["value"].([]any) {
			seen[g.(map[string]any)["id"]] = true
		}
		link, ok := out["@odata.nextLink"].(string)
		if !ok {
			break
		}
		next = link
	}
	if len(seen) != 3 {
		t.Errorf("%d groups on all pages", len(seen))
	}
}

func TestGraphErrors(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct {
		method, path, code, message string
		status                      int
	}{
		{"GET", "/me", "BadRequest", "/me request is only valid with delegated authentication flow.", 400},
		{"GET", "/users/nobody", "Request_ResourceNotFound", "Resource 'nobody' does not exist or one of its queried reference-property objects are not present.", 404},
		{"GET", "/nothing", "BadRequest", "Resource not found for the segment 'nothing'.", 400},
		{"GET", "/users?$filter=x", "Request_UnsupportedQuery", "Invalid filter clause: Could not find a searchable property named 'x'.", 400},
		{"POST", "/applications", "Request_BadRequest", "Property displayName is required.", 400},
	} {
		status, out := s.ask(tc.method, tc.path, nil)
		e, _ := out["error"].(map[string]any)
		if status != tc.status || e["code"] != tc.code || e["message"] != tc.message || e["innerError"] == nil {
			t.Errorf("%s %s: %d %v", tc.method, tc.path, status, out)
		}
	}
	s.token = "x.y.z"
	if status, out := s.ask("GET", "/me", nil); status != 401 || out["error"].(map[string]any)["code"] != "InvalidAuthenticationToken" {
		t.Errorf("%d %v", status, out)
	}
}
