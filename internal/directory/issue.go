package directory

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// The grants that a token can be asked with (RFC 6749).
const (
	GrantClientCredentials = "client_credentials"
	GrantPassword          = "password"
	GrantRefreshToken      = "refresh_token"
)

// Lifetimes of what is issued.
const (
	tokenLifetime   = time.Hour
	refreshLifetime = 90 * 24 * time.Hour
)

// publicClients are the well-known applications of Azure's tools, which every tenant knows and with
// which users sign in without a client secret.
var publicClients = map[string]bool{
	"04b07795-8ddb-461a-bbee-02f9e1bf7b46": true, // Azure CLI; also the default of the SDKs' user credentials
	"1950a258-227b-4e31-a9cf-717495945fc2": true, // Azure PowerShell
}

// TokenRequest is a request to the token endpoint. The caller has resolved the tenant.
type TokenRequest struct {
	Grant           string
	ClientID        string
	ClientSecret    string
	ClientAssertion string
	// AssertionAudiences are the addresses that an assertion may be meant for.
	AssertionAudiences []string
	Username, Password string
	RefreshToken       string
	Scope              string // v2
	Resource           string // v1
	// Issuer is what an id token names as its issuer: an address that the caller can reach.
	Issuer  string
	Address string // remote IP address
	Request string // correlation id
}

// TokenResponse is what was issued. IDToken, RefreshToken and ClientInfo are "" for applications.
type TokenResponse struct {
	AccessToken  string
	IDToken      string
	RefreshToken string
	ClientInfo   string // base64url JSON with uid and utid, from which MSAL makes its account id
	Scope        string
	Resource     string // the audience
	Issued       time.Time
	Expires      time.Time
	Family       bool // the refresh token is good for every public client of the family
}

// subject is who a token is about, proven.
type subject struct {
	id, app, acr string
	user         *User
	methods      []string
}

// IssueToken proves who asks and issues a token. Faults have kind Unauthenticated (wrong secret or
// assertion), Denied or Invalid; their reasons are in the token face's table.
func (d *Directory) IssueToken(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	who, want, err := d.authenticate(ctx, r)
	if recorded := d.recordSignIn(ctx, r, who, want, err); recorded != nil {
		return TokenResponse{}, recorded
	}
	if err != nil {
		return TokenResponse{}, err
	}
	return d.issue(r, who, want)
}

func (d *Directory) recordSignIn(ctx context.Context, r TokenRequest, who subject, w wanted, failed error) error {
	e := audit.Event{
		Time: d.cfg.Now(), Operation: "Microsoft.Directory/signIn", Resource: w.audience, Outcome: audit.Succeeded,
		Principal: who.id, AppID: printable(r.ClientID), Caller: printable(r.Username), Address: r.Address, Request: r.Request, Detail: printable(r.Grant),
	}
	if failed != nil {
		e.Outcome, e.Reason = audit.Failed, "Internal"
		if f := fault.As(failed); f != nil {
			e.Reason = f.Reason
		}
	}
	return d.cfg.Audit.Record(ctx, e)
}

func (d *Directory) authenticate(ctx context.Context, r TokenRequest) (subject, wanted, error) {
	if r.Grant == "" {
		return subject{}, wanted{}, missing("grant_type")
	}
	if r.ClientID == "" {
		return subject{}, wanted{}, missing("client_id")
	}
	prove, ok := map[string]func(context.Context, TokenRequest) (subject, error){
		GrantClientCredentials: d.proveClient, GrantPassword: d.provePassword, GrantRefreshToken: d.proveRefresh,
	}[r.Grant]
	if !ok {
		return subject{}, wanted{}, fault.New(fault.Invalid, "GrantUnsupported", "The app requested an unsupported grant type '%s'.", printable(r.Grant))
	}
	who, err := prove(ctx, r)
	if err != nil {
		return subject{}, wanted{}, err
	}
	want, err := d.resolveWanted(r, who.user == nil)
	return who, want, err
}

// provePassword proves a user by name and password (ROPC).
func (d *Directory) provePassword(ctx context.Context, r TokenRequest) (subject, error) {
	if r.Username == "" {
		return subject{}, missing("username")
	}
	if r.Password == "" {
		return subject{}, missing("password")
	}
	acr, err := d.userClient(r)
	if err != nil {
		return subject{}, err
	}
	u := d.now().userOf[strings.ToLower(r.Username)]
	var h passwordHash
	if u != nil {
		h = u.Password
	}
	ok, err := d.passwordMatches(ctx, r.Password, h)
	if err != nil {
		return subject{}, err
	}
	if !ok {
		return subject{}, fault.New(fault.Denied, "CredentialsInvalid", "Error validating credentials due to invalid username or password.")
	}
	return activeUser(u, r.ClientID, acr)
}

// activeUser is the subject of a proven user, unless the account is disabled.
func activeUser(u *User, app, acr string) (subject, error) {
	if u.Disabled {
		return subject{}, fault.New(fault.Denied, "UserDisabled", "The user account is disabled.")
	}
	return subject{id: u.ID, app: app, acr: acr, user: u, methods: []string{"pwd"}}, nil
}

// userClient checks the client with which a user signs in: public, or with its own credential.
func (d *Directory) userClient(r TokenRequest) (acr string, err error) {
	app := d.now().appOf[strings.ToLower(r.ClientID)]
	if publicClients[strings.ToLower(r.ClientID)] || (app != nil && app.PublicClient && r.ClientSecret == "" && r.ClientAssertion == "") {
		return "0", nil
	}
	who, err := d.proveClient(context.Background(), r)
	return who.acr, err
}

// refreshClaims are the content of a refresh token: an HS256 JWT that only this directory reads.
type refreshClaims struct {
	UserID   string `json:"oid"`
	AppID    string `json:"appid"`
	IssuedAt int64  `json:"iat"` // Unix nanoseconds: sessions can end within a second
	Expires  int64  `json:"exp"` // Unix seconds
}

func (d *Directory) issue(r TokenRequest, who subject, w wanted) (TokenResponse, error) {
	now := d.cfg.Now()
	out := TokenResponse{Scope: grantedScope(w), Resource: w.audience, Issued: now, Expires: now.Add(tokenLifetime)}
	var err error
	if out.AccessToken, err = sign(d.signer.tokens, d.accessClaims(r, who, w, now)); err != nil || who.user == nil {
		return out, err
	}
	out.ClientInfo = d.clientInfo(who.id)
	out.Family = publicClients[strings.ToLower(who.app)]
	if w.refresh {
		claims := refreshClaims{UserID: who.id, AppID: strings.ToLower(who.app), IssuedAt: now.UnixNano(), Expires: now.Add(refreshLifetime).Unix()}
		if out.RefreshToken, err = sign(d.signer.refresh, claims); err != nil {
			return out, err
		}
	}
	if w.openID {
		out.IDToken, err = sign(d.signer.tokens, d.idClaims(r, who, now))
	}
	return out, err
}

func (d *Directory) accessClaims(r TokenRequest, who subject, w wanted, now time.Time) accessClaims {
	s := d.now()
	c := accessClaims{
		Audience: w.audience, Issuer: issuerOf(s.tenant.ID), Provider: issuerOf(s.tenant.ID), TenantID: s.tenant.ID,
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(tokenLifetime).Unix(),
		AppID: strings.ToLower(who.app), AppIDACR: who.acr, ObjectID: who.id, Subject: who.id,
		Type: "app", TokenID: tokenID(), Version: "1.0",
	}
	if slices.Contains(s.tenant.Administrators, who.id) {
		c.Roles = []string{GlobalAdministrator}
	}
	if u := who.user; u != nil {
		c.Type, c.Scope, c.Methods, c.Address = "user", "user_impersonation", who.methods, r.Address
		c.Name, c.UPN, c.UniqueName = u.DisplayName, u.Name, u.Name
	}
	return c
}

// idClaims are the claims of a v2 id token (OpenID Connect).
func (d *Directory) idClaims(r TokenRequest, who subject, now time.Time) map[string]any {
	return map[string]any{
		"aud": strings.ToLower(who.app), "iss": r.Issuer, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(tokenLifetime).Unix(),
		"name": who.user.DisplayName, "oid": who.id, "preferred_username": who.user.Name, "upn": who.user.Name,
		"sub": who.id, "tid": d.TenantID(), "uti": tokenID(), "ver": "2.0",
	}
}

func (d *Directory) clientInfo(objectID string) string {
	b, err := json.Marshal(map[string]string{"uid": objectID, "utid": d.TenantID()})
	if err != nil {
		return "" // strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// grantedScope echoes what was granted: the resource's delegated scope, and the OIDC scopes.
func grantedScope(w wanted) string {
	if len(w.scopes) == 0 {
		return "user_impersonation"
	}
	var out []string
	for _, s := range w.scopes {
		if resource, ok := strings.CutSuffix(s, suffixDefault); ok {
			out = append(out, strings.TrimSuffix(resource, "/")+"/user_impersonation")
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func tokenID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func missing(parameter string) *fault.Error {
	return fault.New(fault.Invalid, "ParameterMissing", "The request body must contain the following parameter: '%s'.", parameter)
}
