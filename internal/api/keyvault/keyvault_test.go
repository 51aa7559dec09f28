package keyvault_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/api/keyvault"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
	"github.com/latchkey-db/latchkey/internal/vault"
)

const (
	tenant  = "11111111-1111-1111-1111-111111111111"
	alice   = "aaaaaaaa-0000-0000-0000-000000000001"
	version = "api-version=7.6"
)

// world is a vault behind its face on a TLS listener to which every host name leads.
type world struct {
	t      testing.TB
	svc    *vault.Service
	client *http.Client
	asked  []policy.TokenRequestOptions // tokens that clients asked for
	good   string                       // the token that is accepted
	wrong  error                        // what the verifier says
}

func (w *world) Authorize(context.Context, principal.Caller, string, string) error { return nil }
func (w *world) DecideData(context.Context, principal.Caller, string, string) access.Decision {
	return access.Yes(access.DataRole, "test")
}
func (w *world) Record(context.Context, audit.Event) error { return nil }

// VerifyToken knows one token.
func (w *world) VerifyToken(_ context.Context, token string, audiences []string) (principal.Caller, error) {
	if w.wrong != nil {
		return principal.Caller{}, w.wrong
	}
	if token != w.good || len(audiences) != 3 {
		return principal.Caller{}, fault.New(fault.Unauthenticated, "TokenMalformed", "The access token is not well-formed.")
	}
	return principal.Caller{Kind: principal.User, TenantID: tenant, ObjectID: alice, AppID: "app"}, nil
}

// GetToken is the credential of the clients.
func (w *world) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	w.asked = append(w.asked, o)
	return azcore.AccessToken{Token: w.good, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, good: "good"}
	db, err := store.Open("control", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if w.svc, err = vault.Open(vault.Config{DB: db, Audit: w, Authorizer: w}); err != nil {
		t.Fatal(err)
	}
	w.put(vault.Spec{Location: "eastus", TenantID: tenant, SKU: "standard", Policies: []vault.AccessPolicy{
		{TenantID: tenant, ObjectID: alice, Permissions: vault.Permissions{Keys: []string{"all", "purge", "rotate", "getrotationpolicy", "setrotationpolicy"}}}}})
	w.serve(keyvault.New(keyvault.Config{Vaults: w.svc, Verifier: w, TenantID: tenant, LocalPort: func() int { return 8443 }}))
	return w
}

// serve puts a face on a listener.
func (w *world) serve(face http.Handler) {
	server := httptest.NewTLSServer(face)
	w.t.Cleanup(server.Close)
	w.client = server.Client()
	transport := w.client.Transport.(*http.Transport).Clone()
	transport.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		c := transport.TLSClientConfig.Clone()
		c.ServerName, c.NextProtos = "example.com", nil
		return (&tls.Dialer{Config: c}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	w.client.Transport = transport
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirected") }
}

func (w *world) put(s vault.Spec) {
	w.t.Helper()
	id := uri.ResourceID{Subscription: "s", ResourceGroup: "rg", Provider: vault.Namespace}.Child("vaults", "kv1")
	if _, _, err := w.svc.PutVault(context.Background(), principal.Server("test"), id, s); err != nil {
		w.t.Fatal(err)
	}
}

// answer is what came back from a raw request.
type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(method, url, body string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.good)
	return w.send(req)
}

func (w *world) send(req *http.Request) answer {
	w.t.Helper()
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

func ptr[T any](v T) *T { return &v }

// TestRealClient walks the life of a key with the official client, under both families of names; its
// check that the challenge belongs to the vault's domain is on.
func TestRealClient(t *testing.T) {
	for _, host := range []string{"kv1.vault.azure.net", "kv1.vault.localhost:8443"} {
		t.Run(host, func(t *testing.T) {
			w := newWorld(t)
			c, err := azkeys.NewClient("https://"+host, w, &azkeys.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: w.client}})
			if err != nil {
				t.Fatal(err)
			}
			l := life{t: t, c: c, host: host}
			l.create()
			l.use()
			l.manage()
			l.rotate()
			l.remove()
			if len(w.asked) == 0 || w.asked[0].Scopes[0] != "https://"+strings.TrimPrefix(host, "kv1.")+"/.default" || w.asked[0].TenantID != tenant {
				t.Errorf("tokens asked for: %+v", w.asked)
			}
		})
	}
}

type life struct {
	t    *testing.T
	c    *azkeys.Client
	host string
	v1   string
}

func (l *life) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// refused checks a service error.
func refused(t testing.TB, err error, status int, code string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status || e.ErrorCode != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}

func (l *life) create() {
	k, err := l.c.CreateKey(l.t.Context(), "Cmk", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA), KeySize: ptr(int32(2048)), Tags: map[string]*string{"a": ptr("b")}}, nil)
	l.must(err)
	l.v1 = k.Key.KID.Version()
	if string(*k.Key.KID) != "https://"+l.host+"/keys/Cmk/"+l.v1 || len(l.v1) != 32 || len(k.Key.N) != 256 || len(k.Key.KeyOps) != 6 || *k.Tags["a"] != "b" ||
		*k.Attributes.RecoveryLevel != "Recoverable+Purgeable" || *k.Attributes.RecoverableDays != 90 || *k.Attributes.HSMPlatform != "0" || *k.Attributes.Exportable {
		l.t.Errorf("%+v %+v", k.Key, k.Attributes)
	}
	_, err = l.c.CreateKey(l.t.Context(), "ec", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC), Curve: ptr(azkeys.CurveName("P-224"))}, nil)
	refused(l.t, err, 400, "BadParameter")
	_, err = l.c.GetKey(l.t.Context(), "absent", "", nil)
	refused(l.t, err, 404, "KeyNotFound")
}

func (l *life) use() {
	ctx := l.t.Context()
	for _, alg := range []azkeys.EncryptionAlgorithm{azkeys.EncryptionAlgorithmRSAOAEP, azkeys.EncryptionAlgorithmRSAOAEP256, azkeys.EncryptionAlgorithmRSA15} {
		plain := azkeys.KeyOperationParameters{Algorithm: &alg, Value: []byte("secret")}
		wrapped, err := l.c.WrapKey(ctx, "cmk", "", plain, nil)
		l.must(err)
		if wrapped.KID.Version() != l.v1 {
			l.t.Errorf("wrapped under %s", *wrapped.KID)
		}
		back, err := l.c.UnwrapKey(ctx, "cmk", l.v1, azkeys.KeyOperationParameters{Algorithm: &alg, Value: wrapped.Result}, nil)
		l.must(err)
		sealed, err := l.c.Encrypt(ctx, "cmk", l.v1, plain, nil)
		l.must(err)
		opened, err := l.c.Decrypt(ctx, "cmk", "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: sealed.Result}, nil)
		l.must(err)
		if string(back.Result) != "secret" || string(opened.Result) != "secret" {
			l.t.Errorf("%s: %q %q", alg, back.Result, opened.Result)
		}
	}
	digest := bytes.Repeat([]byte{1}, 32)
	s, err := l.c.Sign(ctx, "cmk", "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmPS256), Value: digest}, nil)
	l.must(err)
	v, err := l.c.Verify(ctx, "cmk", "", azkeys.VerifyParameters{Algorithm: ptr(azkeys.SignatureAlgorithmPS256), Digest: digest, Signature: s.Result}, nil)
	l.must(err)
	if !*v.Value {
		l.t.Error("the signature does not verify")
	}
}

func (l *life) manage() {
	ctx := l.t.Context()
	_, err := l.c.RotateKey(ctx, "cmk", nil)
	l.must(err)
	u, err := l.c.UpdateKey(ctx, "cmk", l.v1, azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Enabled: ptr(false)}}, nil)
	l.must(err)
	if *u.Attributes.Enabled || u.Key.KID.Version() != l.v1 {
		l.t.Errorf("%+v", u.Attributes)
	}
	_, err = l.c.UnwrapKey(ctx, "cmk", l.v1, azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmRSAOAEP), Value: []byte("x")}, nil)
	refused(l.t, err, 403, "Forbidden")
	names, versions := 0, 0
	for p := l.c.NewListKeyPropertiesPager(nil); p.More(); {
		page, err := p.NextPage(ctx)
		l.must(err)
		for _, k := range page.Value {
			names++
			if k.KID.Name() != "Cmk" || k.KID.Version() != "" {
				l.t.Errorf("listed %s", *k.KID)
			}
		}
	}
	for p := l.c.NewListKeyPropertiesVersionsPager("cmk", nil); p.More(); {
		page, err := p.NextPage(ctx)
		l.must(err)
		versions += len(page.Value)
	}
	if names != 1 || versions != 2 {
		l.t.Errorf("%d keys, %d versions", names, versions)
	}
}

func (l *life) remove() {
	ctx := l.t.Context()
	d, err := l.c.DeleteKey(ctx, "cmk", nil)
	l.must(err)
	if string(*d.RecoveryID) != "https://"+l.host+"/deletedkeys/Cmk" || d.ScheduledPurgeDate.Sub(*d.DeletedDate) != 90*24*time.Hour {
		l.t.Errorf("%+v", d.DeletedKey)
	}
	_, err = l.c.CreateKey(ctx, "cmk", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA)}, nil)
	refused(l.t, err, 409, "Conflict")
	_, err = l.c.GetDeletedKey(ctx, "cmk", nil)
	l.must(err)
	_, err = l.c.RecoverDeletedKey(ctx, "cmk", nil)
	l.must(err)
	_, err = l.c.GetDeletedKey(ctx, "cmk", nil)
	refused(l.t, err, 404, "KeyNotFound")
	_, err = l.c.DeleteKey(ctx, "cmk", nil)
	l.must(err)
	_, err = l.c.PurgeDeletedKey(ctx, "cmk", nil)
	l.must(err)
	_, err = l.c.GetDeletedKey(ctx, "cmk", nil)
	refused(l.t, err, 404, "KeyNotFound")
}

// importKey imports a key, which is faster than making one.
func (w *world) importKey(name string) {
	w.t.Helper()
	a := w.do("PUT", "https://kv1.vault.azure.net/keys/"+name+"?"+version, importBody)
	if a.status != 200 {
		w.t.Fatalf("import: %d %s", a.status, a.body)
	}
}

// TestChallenge: a request without a token gets the challenge, whatever it asks and whatever its body is.
func TestChallenge(t *testing.T) {
	w := newWorld(t)
	for url, want := range map[string]string{
		"https://kv1.vault.azure.net/keys/k/create":     `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`,
		"https://kv1.vault.azure.net/":                  `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`,
		"https://kv1.vault.localhost:8443/no/such/path": `Bearer authorization="https://login.localhost:8443/` + tenant + `", resource="https://vault.localhost:8443"`,
		"https://KV1.vault.azure.net:443/secrets/s?a=b": `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`,
	} {
		req, _ := http.NewRequest("POST", url, strings.NewReader("not json"))
		a := w.send(req)
		if a.status != 401 || a.header.Get("WWW-Authenticate") != want ||
			a.body != `{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}` {
			t.Errorf("%s: %d %s %s", url, a.status, a.header.Get("WWW-Authenticate"), a.body)
		}
	}
}

// TestGoldenErrors: the service's words.
func TestGoldenErrors(t *testing.T) {
	w := newWorld(t)
	w.importKey("k1")
	const base = "https://kv1.vault.azure.net"
	body := `{"alg":"RSA-OAEP","value":"AA"}`
	w.do("PUT", base+"/keys/off?"+version, importBody)
	w.do("PATCH", base+"/keys/off?"+version, `{"attributes":{"enabled":false}}`)
	w.do("PUT", base+"/keys/narrow?"+version, importBody)
	w.do("PATCH", base+"/keys/narrow?"+version, `{"key_ops":["sign"]}`)
	w.do("PUT", base+"/keys/gone?"+version, importBody)
	w.do("DELETE", base+"/keys/gone?"+version, "")
	for _, row := range []struct {
		method, url, body string
		status            int
		want              string
	}{
		{"POST", base + "/keys/off/unwrapkey?" + version, body, 403, `{"error":{"code":"Forbidden","message":"Operation unwrapKey is not allowed on a disabled key.","innererror":{"code":"KeyDisabled"}}}`},
		{"POST", base + "/keys/narrow/wrapkey?" + version, body, 403, `{"error":{"code":"Forbidden","message":"Operation wrapKey is not permitted on this key.","innererror":{"code":"KeyOperationForbidden"}}}`},
		{"GET", base + "/keys/absent?" + version, "", 404, `{"error":{"code":"KeyNotFound","message":"A key with (name/id) absent was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"}}`},
		{"GET", base + "/deletedkeys/k1?" + version, "", 404, `{"error":{"code":"KeyNotFound","message":"Deleted Key not found: k1"}}`},
		{"POST", base + "/keys/gone/create?" + version, `{"kty":"RSA"}`, 409, `{"error":{"code":"Conflict","message":"Key gone is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged.","innererror":{"code":"ObjectIsDeletedButRecoverable"}}}`},
		{"GET", base + "/keys/a_b?" + version, "", 400, `{"error":{"code":"BadParameter","message":"The request URI contains an invalid name: a_b"}}`},
		{"GET", base + "/keys", "", 400, `{"error":{"code":"BadParameter","message":"The api-version query parameter is required for all requests."}}`},
		{"GET", base + "/keys?api-version=6.0", "", 400, `{"error":{"code":"BadParameter","message":"The specified version (6.0) is not recognized. Consider using the latest supported version (2025-07-01)."}}`},
		{"POST", base + "/keys/k1/create?" + version, `{"kty":`, 400, `{"error":{"code":"BadParameter","message":"The request content was invalid and could not be deserialized."}}`},
		{"GET", "https://absent.vault.azure.net/keys?" + version, "", 404, `{"error":{"code":"VaultNotFound","message":"The vault 'absent' does not exist."}}`},
		{"GET", base + "/storage?" + version, ``, 501, `{"error":{"code":"NotImplemented","message":"This vault does not offer this operation."}}`},
		{"GET", base + "/elsewhere?" + version, "", 404, `{"error":{"code":"NotFound","message":"The method GET is not served at this path."}}`},
	} {
		if a := w.do(row.method, row.url, row.body); a.status != row.status || a.body != row.want {
			t.Errorf("%s %s:\n got %d %s\nwant %d %s", row.method, row.url, a.status, a.body, row.status, row.want)
		}
	}
	w.put(vault.Spec{Location: "eastus", TenantID: tenant, SKU: "standard", Policies: []vault.AccessPolicy{}})
	a := w.do("POST", base+"/keys/absent/wrapkey?"+version, body)
	want := `{"error":{"code":"Forbidden","message":"The user, group or application 'appid=app;oid=` + alice + `;numgroups=0;iss=https://sts.windows.net/` + tenant + `/' does not have keys wrapKey permission on key vault 'kv1;location=eastus'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287","innererror":{"code":"ForbiddenByPolicy"}}}`
	if a.status != 403 || a.body != want {
		t.Errorf("%d %s\nwant %s", a.status, a.body, want)
	}
	w.put(vault.Spec{Location: "eastus", TenantID: tenant, SKU: "standard", Network: &vault.NetworkRules{DefaultAction: "Deny", Bypass: "None"}})
	if a := w.do("GET", base+"/nonsense", "{"); a.status != 403 || !strings.Contains(a.body, `"innererror":{"code":"ForbiddenByFirewall"}`) || !strings.Contains(a.body, "Client address: 127.0.0.1") {
		t.Errorf("the firewall comes before the form of the request: %d %s", a.status, a.body)
	}
}

// TestTokenErrors: the two texts that people search for.
func TestTokenErrors(t *testing.T) {
	w := newWorld(t)
	claims, _ := json.Marshal(map[string]string{"aud": "https://management.azure.com/", "iss": "https://sts.windows.net/other/"})
	w.good = "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln"
	for reason, text := range map[string]string{
		"TokenAudience":  "AKV10022: Invalid audience. Expected https://vault.azure.net or cfa8b339-82a2-471a-a3c9-0fc0be7a4093, found: https://management.azure.com/.",
		"TokenIssuer":    "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/" + tenant + "/, found https://sts.windows.net/other/.",
		"TokenSignature": "the verifier's own words",
	} {
		w.wrong = fault.New(fault.Unauthenticated, reason, "the verifier's own words")
		a := w.do("GET", "https://kv1.vault.azure.net/keys?"+version, "")
		if a.status != 401 || !strings.Contains(a.body, text) || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", reason, a.status, a.body)
		}
	}
}

// TestForms: the spellings of one request that clients use.
func TestForms(t *testing.T) {
	w := newWorld(t)
	w.importKey("k1")
	for _, path := range []string{"/keys/k1/wrapkey", "/keys/k1/wrapKey", "/keys/k1//wrapkey", "//keys/k1//WRAPKEY", "/KEYS/K1/wrapkey/"} {
		for _, v := range []string{"7.0", "7.1", "7.2", "7.3", "7.4", "7.4-preview.1", "7.5", "7.6-preview.2", "7.6", "2025-07-01", "2027-01-01-preview"} {
			if a := w.do("POST", "https://kv1.vault.azure.net"+path+"?api-version="+v, `{"ALG":"RSA-OAEP","Value":"AA==","more":1}`); a.status != 200 {
				t.Errorf("%s %s: %d %s", path, v, a.status, a.body)
			}
		}
	}
	for _, path := range []string{"/keys/k1", "/keys/k1/", "//keys/k1/", "/Keys/K1"} {
		if a := w.do("GET", "https://kv1.vault.azure.net"+path+"?"+version, ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	req, _ := http.NewRequest("POST", "https://kv1.vault.azure.net/keys/k1?"+version, strings.NewReader(`{"tags":{"x":"y"}}`))
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("X-HTTP-METHOD", "patch")
	if a := w.send(req); a.status != 200 || !strings.Contains(a.body, `"tags":{"x":"y"}`) {
		t.Errorf("override: %d %s", a.status, a.body)
	}
}

// TestAttributesByVersion: members appear with the api-version that introduced them; absent ones are
// not null.
func TestAttributesByVersion(t *testing.T) {
	w := newWorld(t)
	w.importKey("k1")
	for v, members := range map[string]string{"7.0": "", "7.1": "recoverableDays", "7.2": "recoverableDays", "7.3": "recoverableDays exportable",
		"7.5": "recoverableDays exportable hsmPlatform", "2025-07-01": "recoverableDays exportable hsmPlatform"} {
		a := w.do("GET", "https://kv1.vault.azure.net/keys/k1?api-version="+v, "")
		for _, m := range []string{"recoverableDays", "exportable", "hsmPlatform"} {
			if strings.Contains(a.body, `"`+m+`"`) != strings.Contains(members, m) {
				t.Errorf("%s: %s", v, a.body)
			}
		}
		if strings.Contains(a.body, "null") || strings.Contains(a.body, `"tags"`) || strings.Contains(a.body, `"nbf"`) || strings.Contains(a.body, "deletedDate") {
			t.Errorf("%s: %s", v, a.body)
		}
	}
}

// TestPages: links lead through the whole list and end in null.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"c", "A", "b"} {
		w.importKey(name)
	}
	var got []string
	url := "https://kv1.vault.azure.net/keys?api-version=7.4&maxresults=2"
	for pages := 0; url != ""; pages++ {
		a := w.do("GET", url, "")
		var page struct {
			Value    []struct{ Kid string }
			NextLink *string
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != 200 || pages > 2 {
			t.Fatal(a.status, a.body, err)
		}
		for _, k := range page.Value {
			got = append(got, k.Kid)
		}
		if url = ""; page.NextLink != nil {
			url = *page.NextLink
		} else if !strings.Contains(a.body, `"nextLink":null`) {
			t.Errorf("the last page: %s", a.body)
		}
	}
	if strings.Join(got, " ") != "https://kv1.vault.azure.net/keys/A https://kv1.vault.azure.net/keys/b https://kv1.vault.azure.net/keys/c" {
		t.Errorf("%v", got)
	}
	for _, q := range []string{"maxresults=0", "maxresults=26", "maxresults=x", "$skiptoken=!", "$skiptoken=AAAA", "$skiptoken=e30"} {
		if a := w.do("GET", "https://kv1.vault.azure.net/keys?"+version+"&"+q, ""); a.status != 400 {
			t.Errorf("%s: %d %s", q, a.status, a.body)
		}
	}
	if a := w.do("GET", "https://kv1.vault.azure.net/deletedkeys?"+version, ""); a.body != `{"value":[],"nextLink":null}` {
		t.Errorf("%s", a.body)
	}
}

// TestImport: a private key in, its public half out; private members never come back.
func TestImport(t *testing.T) {
	w := newWorld(t)
	a := w.do("PUT", "https://kv1.vault.azure.net/keys/k1?"+version, strings.Replace(importBody, `"key":`, `"Hsm":true,"key":`, 1))
	if a.status != 200 || !strings.Contains(a.body, `"kty":"RSA-HSM"`) || !strings.Contains(a.body, `"hsmPlatform":"0"`) || strings.Contains(a.body, `"d":`) || strings.Contains(a.body, `"p":`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, body := range []string{``, `{}`, `{"key":{"kty":"RSA"}}`, `{"key":{"kty":"RSA","n":"AQ","e":"AQ","d":"AQ","p":"AQ","q":"AQ"}}`,
		strings.Replace(importBody, `"e":"AQAB"`, `"e":"Aw"`, 1), strings.Replace(importBody, `"kty":"RSA"`, `"kty":"EC"`, 1)} {
		if a := w.do("PUT", "https://kv1.vault.azure.net/keys/k2?"+version, body); a.status != 400 {
			t.Errorf("%.60s: %d %s", body, a.status, a.body)
		}
	}
}

// FuzzRequests: no path, query or body makes the face fail on its own account.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][3]string{
		{"PUT", "/keys/k1?" + version, importBody}, {"POST", "/keys/k1//wrapkey?" + version, `{"alg":"RSA-OAEP","value":"AA"}`},
		{"GET", "/keys?maxresults=1&$skiptoken=eyJOZXh0TWFya2VyIjoiYSJ9&" + version, ""}, {"PATCH", "/keys/k1/?" + version, `{"attributes":{"exp":-1}}`},
		{"POST", "/deletedkeys/k1/recover?" + version, "{}"}, {"PUT", "/keys/k?" + version, `{"key":{"kty":"RSA","n":"AQ","e":"AQ","d":"AQ","p":"","q":"AQ"}}`},
		{"POST", "/keys/k1/verify?" + version, `{"alg":"PS256","value":"AA","digest":"AA"}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	w := newWorld(f)
	h := keyvault.New(keyvault.Config{Vaults: w.svc, Verifier: w, TenantID: tenant})
	f.Fuzz(func(t *testing.T, method, target, body string) {
		req, err := http.NewRequest(method, "https://kv1.vault.azure.net"+target, strings.NewReader(body))
		if err != nil || strings.Contains(strings.ToLower(target), "create") || strings.Contains(strings.ToLower(target), "rotate") {
			t.Skip() // not a request, or one that takes long
		}
		req.Header.Set("Authorization", "Bearer good")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code == 500 {
			t.Errorf("%s %q %q: %s", method, target, body, rec.Body)
		}
		if rec.Code != 204 && !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%s %q: not JSON: %s", method, target, rec.Body)
		}
	})
}
