package directory

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

const armAudience = "https://management.azure.com/"

// world is a directory with a clock and an audit log that the test holds.
type world struct {
	t     *testing.T
	db    *store.Store
	dir   *Directory
	admin *Admin
	now   time.Time

	mu      sync.Mutex
	events  []audit.Event
	changed []string
	broken  error // of the audit log
}

func (w *world) Record(_ context.Context, e audit.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	return w.broken
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.dir, err = Open(Config{DB: w.db, Audit: w, Now: func() time.Time { return w.now }, OnChange: func(id string) { w.changed = append(w.changed, id) }})
	if err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := store.Open("db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: db, now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.open()
	if w.admin, err = w.dir.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) token(clientID, secret, scope string) (TokenResponse, error) {
	return w.dir.IssueToken(w.t.Context(), TokenRequest{Grant: GrantClientCredentials, ClientID: clientID, ClientSecret: secret, Scope: scope})
}

func (w *world) caller(token string) principal.Caller {
	w.t.Helper()
	c, err := w.dir.VerifyToken(w.t.Context(), token, []string{armAudience})
	if err != nil {
		w.t.Fatal(err)
	}
	c.Door = principal.Directory
	return c
}

func (w *world) adminCaller() principal.Caller {
	w.t.Helper()
	out, err := w.token(w.admin.ClientID, string(w.admin.Secret.Reveal()), armAudience+"/.default")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.caller(out.AccessToken)
}

// application makes an application with a principal and a secret.
func (w *world) application(name string) (*Application, *ServicePrincipal, string) {
	w.t.Helper()
	ctx, c := w.t.Context(), w.adminCaller()
	a, err := w.dir.CreateApplication(ctx, c, ApplicationSpec{DisplayName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := w.dir.CreateServicePrincipal(ctx, c, a.AppID, PrincipalSpec{})
	if err != nil {
		w.t.Fatal(err)
	}
	_, text, err := w.dir.AddPassword(ctx, c, a.ID, PasswordSpec{})
	if err != nil {
		w.t.Fatal(err)
	}
	return a, p, text
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	if !fault.Is(err, reason) {
		t.Errorf("got %v, want the reason %s", err, reason)
	}
}

func TestBootstrapRevealsTheSecretOnce(t *testing.T) {
	w := newWorld(t)
	first := string(w.admin.Secret.Reveal())
	w.open()
	again, err := w.dir.Bootstrap(t.Context())
	if err != nil || again.Secret != nil || again.ClientID != w.admin.ClientID || again.TenantID != w.admin.TenantID {
		t.Fatalf("second bootstrap: %+v, %v", again, err)
	}
	if _, err := w.token(w.admin.ClientID, first, armAudience+"/.default"); err != nil {
		t.Fatalf("after reopening: %v", err)
	}
	reset, err := w.dir.ResetAdministrator(t.Context())
	if err != nil || reset.ClientID != w.admin.ClientID {
		t.Fatalf("reset: %+v, %v", reset, err)
	}
	_, err = w.token(w.admin.ClientID, first, armAudience+"/.default")
	wantReason(t, err, "ClientSecretInvalid")
	if _, err := w.token(reset.ClientID, string(reset.Secret.Reveal()), armAudience+"/.default"); err != nil {
		t.Errorf("with the new secret: %v", err)
	}
}

func TestScopesBecomeAudiences(t *testing.T) {
	w := newWorld(t)
	user := "user@latchkey.localhost"
	for _, tc := range []struct{ scope, resource, audience, reason string }{
		{scope: "https://management.localhost:8443//.default", audience: "https://management.localhost:8443/"},
		{scope: "https://management.azure.com/.default openid offline_access profile", audience: "https://management.azure.com"},
		{scope: "https://management.core.windows.net//.default", audience: "https://management.core.windows.net/"},
		{scope: "https://vault.azure.net/.default", audience: "https://vault.azure.net"},
		{scope: "https://vault.localhost:8443/.default", audience: "https://vault.localhost:8443"},
		{scope: "https://kv1.vault.azure.net/.default", audience: "https://kv1.vault.azure.net"},
		{scope: "https://cosmos.azure.com/.default", audience: "https://cosmos.azure.com"},
		{scope: "https://a1.documents.azure.com:443/.default", audience: "https://a1.documents.azure.com:443"},
		{scope: "cfa8b339-82a2-471a-a3c9-0fc0be7a4093/.default", audience: "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"},
		{resource: "https://management.core.windows.net/", audience: "https://management.core.windows.net/"},
		{scope: "https://evil.example/.default", reason: "ResourceUnknown"},
		{scope: "https://vault.azure.net.evil.example/.default", reason: "ResourceUnknown"},
		{scope: "http://vault.azure.net/.default", reason: "ResourceUnknown"},
		{scope: "https://user@vault.azure.net/.default", reason: "ResourceUnknown"},
		{scope: "https://login.microsoftonline.com/.default", reason: "ResourceUnknown"},
		{scope: "https://management.azure.com/user_impersonation", reason: "ScopeNotDefault"},
		{scope: "https://vault.azure.net/.default https://management.azure.com/.default", reason: "ScopeManyResources"},
		{scope: "openid", reason: "ParameterMissing"},
		{scope: "/.default", reason: "ParameterMissing"},
	} {
		out, err := w.dir.IssueToken(t.Context(), TokenRequest{
			Grant: GrantClientCredentials, ClientID: w.admin.ClientID, ClientSecret: string(w.admin.Secret.Reveal()),
			Scope: tc.scope, Resource: tc.resource, Username: user,
		})
		if tc.reason != "" {
			wantReason(t, err, tc.reason)
			continue
		}
		if err != nil || out.Resource != tc.audience {
			t.Errorf("%q: audience %q, %v; want %q", tc.scope, out.Resource, err, tc.audience)
			continue
		}
		if _, err := w.dir.VerifyToken(t.Context(), out.AccessToken, []string{"https://x", strings.ToUpper(tc.audience)}); err != nil {
			t.Errorf("%q: %v", tc.scope, err)
		}
	}
}

func TestAccessTokenClaims(t *testing.T) {
	w := newWorld(t)
	out, err := w.token(w.admin.ClientID, string(w.admin.Secret.Reveal()), armAudience+"/.default")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(out.AccessToken, ".")[1])
	if err != nil || json.Unmarshal(raw, &got) != nil {
		t.Fatalf("payload %q: %v", raw, err)
	}
	issuer := "https://sts.windows.net/" + w.admin.TenantID + "/"
	for name, want := range map[string]any{
		"aud": armAudience, "iss": issuer, "idp": issuer, "tid": w.admin.TenantID, "oid": w.admin.ObjectID, "sub": w.admin.ObjectID,
		"appid": w.admin.ClientID, "appidacr": "1", "idtyp": "app", "ver": "1.0",
		"iat": float64(w.now.Unix()), "nbf": float64(w.now.Unix()), "exp": float64(w.now.Unix() + 3600),
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"upn", "scp", "name"} {
		if _, ok := got[name]; ok {
			t.Errorf("an application's token has %s", name)
		}
	}
}

func TestVerifyTokenRefuses(t *testing.T) {
	w := newWorld(t)
	good := func(d *Directory) accessClaims {
		r := TokenRequest{}
		return d.accessClaims(r, subject{id: w.admin.ObjectID, app: w.admin.ClientID, acr: "1"}, wanted{audience: armAudience}, w.now)
	}
	ours := func(edit func(*accessClaims)) string {
		c := good(w.dir)
		edit(&c)
		s, err := sign(w.dir.signer.tokens, c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	valid := ours(func(*accessClaims) {})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(alg jose.SignatureAlgorithm, key any, kid string) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
		if err != nil {
			t.Fatal(err)
		}
		out, err := sign(s, good(w.dir))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	parts := strings.Split(valid, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"` + w.dir.signer.kid + `"}`))
	for name, tc := range map[string]struct{ token, reason string }{
		"empty":        {"", "TokenMissing"},
		"garbage":      {"a.b.c", "TokenMalformed"},
		"huge":         {strings.Repeat("a", maxToken+1), "TokenMalformed"},
		"alg none":     {none + "." + parts[1] + ".", "TokenMalformed"},
		"hmac":         {forge(jose.HS256, w.dir.signer.public.N.Bytes(), w.dir.signer.kid), "TokenMalformed"},
		"other key":    {forge(jose.RS256, other, w.dir.signer.kid), "TokenSignature"},
		"other kid":    {forge(jose.RS256, other, "x"), "TokenSignature"},
		"body swapped": {parts[0] + "." + strings.Split(ours(func(c *accessClaims) { c.ObjectID = "x" }), ".")[1] + "." + parts[2], "TokenSignature"},
		"issuer":       {ours(func(c *accessClaims) { c.Issuer = "https://sts.windows.net/x/" }), "TokenIssuer"},
		"tenant":       {ours(func(c *accessClaims) { c.TenantID = "x" }), "TokenIssuer"},
		"expired":      {ours(func(c *accessClaims) { c.Expires = w.now.Add(-clockSkew - time.Second).Unix() }), "TokenExpired"},
		"early":        {ours(func(c *accessClaims) { c.NotBefore = w.now.Add(clockSkew + time.Second).Unix() }), "TokenNotYetValid"},
		"audience":     {ours(func(c *accessClaims) { c.Audience = "https://vault.azure.net" }), "TokenAudience"},
		"principal":    {ours(func(c *accessClaims) { c.ObjectID = "x" }), "TokenPrincipal"},
	} {
		_, err := w.dir.VerifyToken(t.Context(), tc.token, []string{armAudience})
		if !fault.Is(err, tc.reason) || fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: got %v, want %s", name, err, tc.reason)
		}
	}
	if _, err := w.dir.VerifyToken(t.Context(), valid, []string{strings.TrimSuffix(armAudience, "/")}); err != nil {
		t.Errorf("the good token: %v", err)
	}
}

func TestDisablingEndsTokens(t *testing.T) {
	w := newWorld(t)
	_, p, text := w.application("app")
	out, err := w.token(p.AppID, text, armAudience+"/.default")
	if err != nil {
		t.Fatal(err)
	}
	off := false
	if err := w.dir.UpdateServicePrincipal(t.Context(), w.adminCaller(), p.ID, PrincipalSpec{Enabled: &off}); err != nil {
		t.Fatal(err)
	}
	_, err = w.dir.VerifyToken(t.Context(), out.AccessToken, []string{armAudience})
	wantReason(t, err, "TokenPrincipal")
	_, err = w.token(p.AppID, text, armAudience+"/.default")
	wantReason(t, err, "ApplicationDisabled")
	if !slices.Contains(w.changed, p.ID) {
		t.Error("nobody was told")
	}
	err = w.dir.UpdateServicePrincipal(t.Context(), w.adminCaller(), w.admin.ObjectID, PrincipalSpec{Enabled: &off})
	wantReason(t, err, "LastAdministrator")
}

func TestSecrets(t *testing.T) {
	w := newWorld(t)
	a, p, text := w.application("app")
	_, err := w.token(p.AppID, text+"x", armAudience+"/.default")
	wantReason(t, err, "ClientSecretInvalid")
	_, err = w.token(p.AppID, "", armAudience+"/.default")
	wantReason(t, err, "ClientCredentialMissing")
	_, err = w.token("11111111-1111-1111-1111-111111111111", text, armAudience+"/.default")
	wantReason(t, err, "ApplicationUnknown")
	w.now = w.now.AddDate(2, 0, 1)
	_, err = w.token(p.AppID, text, armAudience+"/.default")
	wantReason(t, err, "ClientSecretExpired")
	w.now = w.now.AddDate(-2, 0, -1)
	got, err := w.dir.Application(t.Context(), w.adminCaller(), a.ID)
	if err != nil || len(got.Passwords) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if raw, _ := json.Marshal(got); strings.Contains(string(raw), text) {
		t.Error("the record holds the secret itself")
	}
	if err := w.dir.RemovePassword(t.Context(), w.adminCaller(), a.ID, got.Passwords[0].KeyID); err != nil {
		t.Fatal(err)
	}
	_, err = w.token(p.AppID, text, armAudience+"/.default")
	wantReason(t, err, "ClientSecretInvalid")
}

func TestWhoMayWrite(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	a, p, text := w.application("mine")
	other, _, _ := w.application("other")
	out, err := w.token(p.AppID, text, armAudience+"/.default")
	if err != nil {
		t.Fatal(err)
	}
	c := w.caller(out.AccessToken)
	name := "n"
	if _, err := w.dir.Applications(ctx, c); err != nil {
		t.Errorf("reading: %v", err)
	}
	_, err = w.dir.CreateApplication(ctx, c, ApplicationSpec{DisplayName: &name})
	wantReason(t, err, "AuthorizationDenied")
	_, _, err = w.dir.AddPassword(ctx, c, a.ID, PasswordSpec{})
	wantReason(t, err, "AuthorizationDenied")
	if err := w.dir.AddReference(ctx, w.adminCaller(), a.ID, Owners, p.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err = w.dir.AddPassword(ctx, c, a.ID, PasswordSpec{}); err != nil {
		t.Errorf("as an owner: %v", err)
	}
	_, _, err = w.dir.AddPassword(ctx, c, other.ID, PasswordSpec{})
	wantReason(t, err, "AuthorizationDenied")
	wrongDoor := c
	wrongDoor.Door = principal.Management
	_, err = w.dir.Applications(ctx, wrongDoor)
	wantReason(t, err, "AuthorizationDenied")
	w.broken = errors.New("the disk is full")
	_, err = w.dir.CreateGroup(ctx, w.adminCallerOf(), GroupSpec{DisplayName: &name})
	if !errors.Is(err, w.broken) {
		t.Errorf("without an audit record: %v", err)
	}
	if all, _ := w.dir.Groups(ctx, c); len(all) != 0 {
		t.Error("the group was made without a record")
	}
}

// adminCallerOf is the administrator without asking for a token.
func (w *world) adminCallerOf() principal.Caller {
	return principal.Caller{Door: principal.Directory, Kind: principal.ServicePrincipal, TenantID: w.admin.TenantID, ObjectID: w.admin.ObjectID}
}

func TestPlatformPrincipals(t *testing.T) {
	w := newWorld(t)
	ctx, admin := t.Context(), w.adminCaller()
	id, appID := w.dir.FirstParty()
	mi, miApp, err := w.dir.CreateManagedIdentity(ctx, "acct", "/subscriptions/s/resourceGroups/r/providers/P/t/acct")
	if err != nil {
		t.Fatal(err)
	}
	for object, client := range map[string]string{id: appID, mi: miApp} {
		got, s, err := w.dir.PlatformCredential(object)
		if err != nil || got != client {
			t.Fatalf("%s: %s, %v", object, got, err)
		}
		out, err := w.token(client, string(s.Reveal()), "https://vault.azure.net/.default")
		if err != nil {
			t.Fatal(err)
		}
		if c, err := w.dir.VerifyToken(ctx, out.AccessToken, []string{"https://vault.azure.net"}); err != nil || c.ObjectID != object {
			t.Errorf("%+v, %v", c, err)
		}
		_, _, err = w.dir.AddPassword(ctx, admin, object, PasswordSpec{})
		wantReason(t, err, "AuthorizationDenied")
		wantReason(t, w.dir.DeleteServicePrincipal(ctx, admin, object), "AuthorizationDenied")
		wantReason(t, w.dir.AddReference(ctx, admin, object, Owners, w.admin.ObjectID), "ResourceNotFound")
		off := false
		if err := w.dir.UpdateServicePrincipal(ctx, admin, object, PrincipalSpec{Enabled: &off}); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.dir.PlatformCredential(object)
		wantReason(t, err, "ResourceNotFound")
	}
	if kind, ok := w.dir.PrincipalExists(mi); !ok || kind != principal.ServicePrincipal {
		t.Errorf("%v %v", kind, ok)
	}
	if err := w.dir.DeletePrincipal(ctx, mi); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.dir.PrincipalExists(mi); ok {
		t.Error("the managed identity is still there")
	}
	if err := w.dir.DeletePrincipal(ctx, id); err == nil {
		t.Error("the first-party principal was deleted")
	}
}

func TestUsersSignIn(t *testing.T) {
	w := newWorld(t)
	ctx, admin := t.Context(), w.adminCaller()
	name, display, password := "Ada@latchkey.localhost", "Ada", "correct horse"
	u, err := w.dir.CreateUser(ctx, admin, UserSpec{Name: &name, DisplayName: &display, Password: &password})
	if err != nil {
		t.Fatal(err)
	}
	const az = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	ask := TokenRequest{Grant: GrantPassword, ClientID: az, Username: "ada@LATCHKEY.localhost", Password: password, Scope: armAudience + "/.default offline_access openid profile"}
	out, err := w.dir.IssueToken(ctx, ask)
	if err != nil || out.IDToken == "" || out.RefreshToken == "" || out.ClientInfo == "" || !out.Family {
		t.Fatalf("%+v, %v", out, err)
	}
	if c := w.caller(out.AccessToken); c.Kind != principal.User || c.Name != name || c.ObjectID != u.ID {
		t.Errorf("%+v", c)
	}
	wrong := ask
	wrong.Password = "wrong horse"
	_, err = w.dir.IssueToken(ctx, wrong)
	wantReason(t, err, "CredentialsInvalid")
	refresh := TokenRequest{Grant: GrantRefreshToken, ClientID: az, RefreshToken: out.RefreshToken, Scope: "https://graph.microsoft.com//.default"}
	got, err := w.dir.IssueToken(ctx, refresh)
	if err != nil || got.Resource != "https://graph.microsoft.com/" {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := w.dir.VerifyToken(ctx, out.RefreshToken, []string{armAudience}); err == nil {
		t.Error("a refresh token passed for an access token")
	}
	access := refresh
	access.RefreshToken = out.AccessToken
	_, err = w.dir.IssueToken(ctx, access)
	wantReason(t, err, "RefreshTokenInvalid")
	w.now = w.now.Add(time.Minute)
	other := "another horse"
	if err := w.dir.UpdateUser(ctx, admin, u.ID, UserSpec{Password: &other}); err != nil {
		t.Fatal(err)
	}
	_, err = w.dir.IssueToken(ctx, refresh)
	wantReason(t, err, "RefreshTokenRevoked")
}

func TestGroupsAreTransitive(t *testing.T) {
	w := newWorld(t)
	ctx, admin := t.Context(), w.adminCaller()
	_, p, text := w.application("member")
	var ids []string
	for _, n := range []string{"inner", "outer"} {
		g, err := w.dir.CreateGroup(ctx, admin, GroupSpec{DisplayName: &n})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, g.ID)
	}
	for _, ref := range [][2]string{{ids[0], p.ID}, {ids[1], ids[0]}, {ids[0], ids[1]}} { // the last makes a cycle
		if err := w.dir.AddReference(ctx, admin, ref[0], Members, ref[1]); err != nil {
			t.Fatal(err)
		}
	}
	out, err := w.token(p.AppID, text, armAudience+"/.default")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(ids))
	if c := w.caller(out.AccessToken); !slices.Equal(c.Groups, want) {
		t.Errorf("groups %v, want %v", c.Groups, want)
	}
	if err := w.dir.DeleteGroup(ctx, admin, ids[0]); err != nil {
		t.Fatal(err)
	}
	if c := w.caller(out.AccessToken); len(c.Groups) != 0 {
		t.Errorf("groups %v after the deletion", c.Groups)
	}
}

func TestClientAssertions(t *testing.T) {
	w := newWorld(t)
	a, p, _ := w.application("certified")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: w.now, NotAfter: w.now.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keys := []KeyCredential{{Certificate: der}}
	if err := w.dir.UpdateApplication(t.Context(), w.adminCaller(), a.ID, ApplicationSpec{Keys: &keys}); err != nil {
		t.Fatal(err)
	}
	const endpoint = "https://login.localhost:1/t/oauth2/v2.0/token"
	ask := func(alg jose.SignatureAlgorithm, k any, edit map[string]any) error {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k}, (&jose.SignerOptions{}).WithHeader("x5t", "AAAA="))
		if err != nil {
			t.Fatal(err)
		}
		claims := map[string]any{"aud": endpoint, "iss": p.AppID, "sub": p.AppID, "exp": float64(w.now.Unix()) + 600.5, "jti": "1"}
		for n, v := range edit {
			claims[n] = v
		}
		token, err := sign(s, claims)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.dir.IssueToken(t.Context(), TokenRequest{Grant: GrantClientCredentials, ClientID: p.AppID, ClientAssertion: token, AssertionAudiences: []string{endpoint}, Scope: armAudience + "/.default"})
		return err
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256} {
		if err := ask(alg, key, nil); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		wantReason(t, ask(alg, stranger, nil), "AssertionInvalid")
	}
	wantReason(t, ask(jose.HS256, der[:64], nil), "AssertionInvalid")
	wantReason(t, ask(jose.RS256, key, map[string]any{"aud": "https://elsewhere"}), "AssertionAudience")
	wantReason(t, ask(jose.RS256, key, map[string]any{"iss": "x"}), "AssertionIssuer")
	wantReason(t, ask(jose.RS256, key, map[string]any{"exp": w.now.Unix() - 3600}), "AssertionTime")
	w.now = w.now.AddDate(1, 0, 1)
	wantReason(t, ask(jose.RS256, key, nil), "AssertionInvalid")
}

func TestIdentifierURIsCannotTakeAService(t *testing.T) {
	w := newWorld(t)
	a, _, _ := w.application("app")
	for uri, ok := range map[string]bool{"api://mine": true, "https://vault.azure.net": false, "https://management.azure.com/": false, "plain": false} {
		err := w.dir.UpdateApplication(t.Context(), w.adminCaller(), a.ID, ApplicationSpec{IdentifierURIs: &[]string{uri}})
		if (err == nil) != ok {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func FuzzVerifyToken(f *testing.F) {
	db, err := store.Open("db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		f.Fatal(err)
	}
	d, err := Open(Config{DB: db, Audit: &world{}})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9.e30.AA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := d.VerifyToken(t.Context(), token, []string{armAudience}); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%q: %v", token, err)
		}
	})
}

func BenchmarkVerifyToken(b *testing.B) {
	db, err := store.Open("db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		b.Fatal(err)
	}
	d, err := Open(Config{DB: db, Audit: &world{}})
	if err != nil {
		b.Fatal(err)
	}
	admin, err := d.Bootstrap(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	out, err := d.IssueToken(b.Context(), TokenRequest{Grant: GrantClientCredentials, ClientID: admin.ClientID, ClientSecret: string(admin.Secret.Reveal()), Scope: armAudience + "/.default"})
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := d.VerifyToken(context.Background(), out.AccessToken, []string{armAudience}); err != nil {
				b.Error(err)
			}
		}
	})
}
