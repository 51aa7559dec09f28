package keyvault_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/api/keyvault"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// everything lets the caller do all that access policies know.
func everything() vault.Spec {
	return vault.Spec{Location: "eastus", TenantID: tenant, SKU: "standard", Policies: []vault.AccessPolicy{{TenantID: tenant, ObjectID: alice,
		Permissions: vault.Permissions{Keys: policyNames["keys"], Secrets: policyNames["secrets"], Certificates: policyNames["certificates"]}}}}
}

// bench is a face without a listener, for fuzzing.
func bench(f *testing.F) (*world, http.Handler) {
	w := newWorld(f)
	w.put(everything())
	server := principal.Server("test")
	for name, kty := range map[string]string{"ec": "EC", "o": "oct"} {
		if _, err := w.svc.CreateKey(context.Background(), server, "kv1", name, vault.KeySpec{KTY: kty}); err != nil {
			f.Fatal(err)
		}
	}
	jwk, err := keyWithRSA()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.svc.ImportKey(context.Background(), server, "kv1", "k1", vault.KeySpec{KTY: "RSA"}, jwk); err != nil {
		f.Fatal(err)
	}
	return w, keyvault.New(keyvault.Config{Vaults: w.svc, Verifier: w, TenantID: tenant, LocalPort: func() int { return 8443 }})
}

// ask sends a request that may not be one; what came back must be the service's kind of answer.
func ask(t *testing.T, face http.Handler, method, target, body string) {
	t.Helper()
	r := httptest.NewRequest("GET", "https://kv1.vault.azure.net/", strings.NewReader(body))
	r.Method, r.ContentLength = method, int64(len(body))
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery = path, query
	r.Header.Set("Authorization", "Bearer good")
	rec := httptest.NewRecorder()
	face.ServeHTTP(rec, r)
	a := rec.Result()
	raw, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	if a.StatusCode >= 500 && a.StatusCode != http.StatusNotImplemented {
		t.Errorf("%s %s %q: %d %s", method, target, body, a.StatusCode, raw)
	}
	if len(raw) > 0 && !json.Valid(raw) {
		t.Errorf("%s %s: no JSON: %q", method, target, raw)
	}
}

// costly tells requests that generate an RSA key, which would leave no time for others.
func costly(target, body string) bool {
	return strings.Contains(strings.ToLower(target), "create") && strings.Contains(strings.ToUpper(body), "RSA")
}

// FuzzBodies: whatever the JSON, the answer is the service's, and never an internal error.
func FuzzBodies(f *testing.F) {
	_, face := bench(f)
	for i, r := range matrix {
		f.Add(i, r.body)
	}
	for i, body := range []string{`{"attributes":{"nbf":1e400,"exp":-1}}`, `{"tags":{"":null}}`, `{"key":{"kty":"RSA","n":"AA","e":"AQAB","d":"AA"}}`, `{"value":{}}`, `[`, `{"alg":1}`,
		`{"key":{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}}`, `{"alg":"A256GCM","value":"","iv":"","tag":""}`, `{"alg":"A256CBCPAD","value":"AAAAAAAAAAAAAAAAAAAAAA","iv":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"release_policy":{"data":"e30"},"attributes":{"exportable":true},"kty":"EC"}`, `{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"rotate"}}]}`, "\xff", `{"count":1e9}`} {
		f.Add(i, body)
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		r := matrix[uint(i)%uint(len(matrix))]
		if costly(r.path, body) {
			return
		}
		method, _, _ := strings.Cut(r.endpoint, " ")
		for _, path := range []string{r.path, strings.Replace(r.path, "/k1", "/o", 1), strings.Replace(r.path, "/k1", "/ec", 1)} {
			ask(t, face, method, "/"+path+"?"+version, body)
		}
	})
}

// FuzzURLs: whatever the method, the path and the query, there is an answer.
func FuzzURLs(f *testing.F) {
	_, face := bench(f)
	for _, r := range matrix {
		method, _, _ := strings.Cut(r.endpoint, " ")
		f.Add(method, "/"+r.path+"?"+version)
		f.Add(method, "//"+strings.ToUpper(r.path)+"//?"+version+"&maxresults=1")
	}
	f.Add("GET", "/keys?api-version=7.4&$skiptoken=e30&maxresults=25")
	f.Add("GET", "/keys?api-version=9999-99-99")
	f.Add("GET", "/%2e%2e/keys?api-version=7.4-preview.1")
	f.Add("", "?")
	f.Fuzz(func(t *testing.T, method, target string) {
		ask(t, face, method, target, `{"kty":"EC","value":"AAAA","alg":"RSA-OAEP"}`)
	})
}

// FuzzRestore: no blob but the server's own is restored.
func FuzzRestore(f *testing.F) {
	w, _ := bench(f)
	caller := principal.Caller{Door: principal.VaultData, Kind: principal.User, TenantID: tenant, ObjectID: alice}
	blob, err := w.svc.BackUpKey(context.Background(), caller, "kv1", "o")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Add(blob[:len(blob)/2])
	f.Add([]byte("&AzureKeyVaultKeyBackupV1.microsoft.com"))
	f.Add([]byte(base64.RawURLEncoding.EncodeToString(blob)))
	f.Fuzz(func(t *testing.T, mutated []byte) {
		_, err := w.svc.RestoreKey(context.Background(), caller, "kv1", mutated)
		if fault.KindOf(err) == fault.Conflict && fault.Is(err, "RestoreConflict") {
			return // another spelling of the server's own blob, whose key is there
		}
		if !fault.Is(err, vault.ReasonMalformedBackup) {
			t.Errorf("%q: %v", mutated, err)
		}
		_, err = w.svc.RestoreSecret(context.Background(), caller, "kv1", mutated)
		if !fault.Is(err, vault.ReasonMalformedBackup) {
			t.Errorf("as a secret: %v", err)
		}
	})
}
