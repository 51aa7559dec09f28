package entra_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/api/entra"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/store"
)

type silent struct{}

func (silent) Record(context.Context, audit.Event) error { return nil }

// ask sends one request to the face as a caller of the given family.
type ask func(method, path string, form url.Values, user ...string) (int, map[string]any)

func newFace(t *testing.T, names naming.Names) (ask, *directory.Admin) {
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
	face := entra.New(entra.Config{Directory: dir})
	return func(method, path string, form url.Values, user ...string) (int, map[string]any) {
		t.Helper()
		r := httptest.NewRequestWithContext(naming.With(t.Context(), names), method, "https://"+names.LoginHost()+path, strings.NewReader(form.Encode()))
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if len(user) == 2 {
			r.SetBasicAuth(user[0], user[1])
		}
		w := httptest.NewRecorder()
		face.ServeHTTP(w, r)
		out := map[string]any{}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%s %s: %q: %v", method, path, w.Body, err)
		}
		return w.Code, out
	}, admin
}

func TestDiscoveryNamesTheCallersFamily(t *testing.T) {
	for _, names := range []naming.Names{naming.Azure(), naming.Local(8443)} {
		ask, admin := newFace(t, names)
		host := "https://" + names.LoginHost() + "/"
		for path, want := range map[string]map[string]string{
			"/common/v2.0/.well-known/openid-configuration?": {
				"issuer": host + admin.TenantID + "/v2.0", "token_endpoint": host + admin.TenantID + "/oauth2/v2.0/token", "jwks_uri": host + admin.TenantID + "/discovery/v2.0/keys"},
			"/latchkey.localhost/.well-known/openid-configuration/": {"token_endpoint": host + admin.TenantID + "/oauth2/token"},
			"/adfs/.well-known/openid-configuration": {
				"issuer": host + "adfs", "token_endpoint": host + "adfs/oauth2/token", "authorization_endpoint": host + "adfs/oauth2/authorize"},
		} {
			status, out := ask("GET", path, nil)
			if status != 200 {
				t.Errorf("%s: %d %v", path, status, out)
			}
			for k, v := range want {
				if out[k] != v {
					t.Errorf("%s: %s = %v, want %s", path, k, out[k], v)
				}
			}
		}
		for _, path := range []string{"/common/discovery/keys", "/adfs/discovery/keys", "/" + admin.TenantID + "/discovery/v2.0/keys"} {
			status, out := ask("GET", path, nil)
			keys, _ := out["keys"].([]any)
			if status != 200 || len(keys) != 1 || keys[0].(map[string]any)["e"] != "AQAB" {
				t.Errorf("%s: %d %v", path, status, out)
			}
		}
	}
}

func TestInstanceDiscovery(t *testing.T) {
	ask, admin := newFace(t, naming.Azure())
	for _, host := range []string{"login.microsoftonline.com", "login.localhost:8443"} {
		status, out := ask("GET", "/common/discovery/instance?api-version=1.1&authorization_endpoint="+url.QueryEscape("https://"+host+"/x/oauth2/v2.0/authorize"), nil)
		if want := "https://" + host + "/" + admin.TenantID + "/v2.0/.well-known/openid-configuration"; status != 200 || out["tenant_discovery_endpoint"] != want {
			t.Errorf("%s: %d %v", host, status, out)
		}
	}
	status, out := ask("GET", "/common/discovery/instance?authorization_endpoint=https://evil.example/x", nil)
	if status != 400 || out["error"] != "invalid_instance" {
		t.Errorf("%d %v", status, out)
	}
}

func TestTokenErrors(t *testing.T) {
	ask, admin := newFace(t, naming.Local(8443))
	secret := string(admin.Secret.Reveal())
	good := func(edit ...string) url.Values {
		v := url.Values{"grant_type": {"client_credentials"}, "client_id": {admin.ClientID}, "client_secret": {secret}, "scope": {"https://management.localhost:8443//.default"}}
		for i := 0; i < len(edit); i += 2 {
			v.Set(edit[i], edit[i+1])
		}
		return v
	}
	v2 := "/" + admin.TenantID + "/oauth2/v2.0/token"
	for name, tc := range map[string]struct {
		path   string
		form   url.Values
		status int
		oauth  string
		code   float64
	}{
		"good":          {v2, good(), 200, "", 0},
		"slash":         {"/ADFS/oauth2/token/", good(), 200, "", 0},
		"v1":            {"/common/oauth2/token", good("scope", "", "resource", "https://management.core.windows.net/"), 200, "", 0},
		"wrong secret":  {v2, good("client_secret", "x"), 401, "invalid_client", 7000215},
		"no secret":     {v2, good("client_secret", ""), 401, "invalid_client", 7000218},
		"bad assertion": {v2, good("client_assertion", "x", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), 401, "invalid_client", 700027},
		"app":           {v2, good("client_id", "b3f9f5c5-0000-0000-0000-000000000000"), 400, "unauthorized_client", 700016},
		"resource":      {v2, good("scope", "https://evil.example/.default"), 400, "invalid_resource", 500011},
		"scope":         {v2, good("scope", "https://vault.azure.net/x"), 400, "invalid_scope", 1002012},
		"no grant":      {v2, good("grant_type", ""), 400, "invalid_request", 900144},
		"grant":         {v2, good("grant_type", "x"), 400, "unsupported_grant_type", 70003},
		"tenant":        {"/nowhere/oauth2/v2.0/token", good(), 400, "invalid_request", 90002},
		"device code":   {"/common/oauth2/v2.0/devicecode", good(), 400, "unsupported_grant_type", 70003},
		"password":      {v2, good("grant_type", "password", "client_id", "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "username", "x", "password", "y"), 400, "invalid_grant", 50126},
	} {
		status, out := ask("POST", tc.path, tc.form)
		if status != tc.status {
			t.Errorf("%s: %d %v", name, status, out)
			continue
		}
		if tc.oauth == "" {
			if out["token_type"] != "Bearer" || out["expires_in"] != 3599.0 || out["refresh_token"] != nil || out["id_token"] != nil {
				t.Errorf("%s: %v", name, out)
			}
			continue
		}
		codes, _ := out["error_codes"].([]any)
		text, _ := out["error_description"].(string)
		if out["error"] != tc.oauth || len(codes) != 1 || codes[0] != tc.code || !strings.HasPrefix(text, "AADSTS") || strings.Contains(text, secret) {
			t.Errorf("%s: %v", name, out)
		}
	}
	form := good()
	form.Del("client_id")
	form.Del("client_secret")
	if status, out := ask("POST", v2, form, admin.ClientID, secret); status != 200 {
		t.Errorf("HTTP Basic: %d %v", status, out)
	}
	if status, _ := ask("GET", v2, nil); status != 405 {
		t.Errorf("GET on the token endpoint: %d", status)
	}
}
