package entra

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
)

// maxForm bounds a token request, in bytes.
const maxForm = 64 << 10

// assertionType is the only kind of client assertion (RFC 7523).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (f *face) token(w http.ResponseWriter, r *http.Request, tenant string) {
	out, err := f.issue(r, tenant)
	if err != nil {
		f.fail(w, r, err)
		return
	}
	wire.WriteJSON(w, http.StatusOK, answer(out))
}

func (f *face) issue(r *http.Request, tenant string) (directory.TokenResponse, error) {
	form, err := readForm(r)
	if err != nil {
		return directory.TokenResponse{}, err
	}
	if form.Get("client_assertion") != "" && form.Get("client_assertion_type") != assertionType {
		return directory.TokenResponse{}, fault.New(fault.Invalid, "AssertionType", "The provided client_assertion_type is not supported; it must be '%s'.", assertionType)
	}
	return f.dir.IssueToken(r.Context(), f.request(r, form, tenant))
}

// readForm reads the parameters of the body. Unknown parameters are left alone: libraries add many.
func readForm(r *http.Request) (url.Values, error) {
	body, err := wire.ReadBody(r, maxForm)
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "" && kind != "application/x-www-form-urlencoded" {
		return nil, fault.New(fault.Invalid, "FormMalformed", "The token endpoint expects the content type application/x-www-form-urlencoded.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fault.New(fault.Invalid, "FormMalformed", "The request body is not a well-formed form.").Because(err)
	}
	return form, nil
}

func (f *face) request(r *http.Request, form url.Values, tenant string) directory.TokenRequest {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if user, password, ok := basicClient(r); ok && secret == "" && (id == "" || id == user) {
		id, secret = user, password
	}
	return directory.TokenRequest{
		Grant: form.Get("grant_type"), ClientID: id, ClientSecret: secret,
		ClientAssertion: form.Get("client_assertion"), AssertionAudiences: f.assertionAudiences(r, tenant),
		Username: form.Get("username"), Password: form.Get("password"), RefreshToken: form.Get("refresh_token"),
		Scope: form.Get("scope"), Resource: form.Get("resource"), Issuer: f.issuer(r),
		Address: wire.RemoteAddress(r), Request: wire.RequestID(r.Context()),
	}
}

// basicClient reads HTTP Basic client credentials, which RFC 6749 2.3.1 encodes as a form does.
func basicClient(r *http.Request) (id, secret string, ok bool) {
	id, secret, ok = r.BasicAuth()
	if !ok {
		return "", "", false
	}
	if x, err := url.QueryUnescape(id); err == nil {
		id = x
	}
	if x, err := url.QueryUnescape(secret); err == nil {
		secret = x
	}
	return id, secret, true
}

// assertionAudiences lists what a client assertion may be meant for: MSAL uses the token endpoint
// or the issuer, as discovered; older libraries the v1 endpoint.
func (f *face) assertionAudiences(r *http.Request, tenant string) []string {
	base := f.base(r, tenant)
	host := "https://" + naming.From(r.Context()).LoginHost()
	return []string{
		base + "/oauth2/token", base + "/oauth2/v2.0/token", base, f.issuer(r),
		host + "/common/oauth2/token", host + "/common/oauth2/v2.0/token",
		host + "/organizations/oauth2/v2.0/token", host + "/" + f.dir.Tenant().DefaultDomain + "/oauth2/v2.0/token",
	}
}

// answerBody is the answer of the token endpoint. v1 clients read expires_on and resource, as
// strings; v2 clients ignore them.
type answerBody struct {
	Type         string `json:"token_type"`
	Scope        string `json:"scope,omitzero"`
	ExpiresIn    int64  `json:"expires_in"`
	ExtExpiresIn int64  `json:"ext_expires_in"`
	ExpiresOn    string `json:"expires_on"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitzero"`
	IDToken      string `json:"id_token,omitzero"`
	ClientInfo   string `json:"client_info,omitzero"`
	Family       string `json:"foci,omitzero"`
}

func answer(t directory.TokenResponse) answerBody {
	// One second less than the life of the token, as the service answers.
	life := int64(t.Expires.Sub(t.Issued)/time.Second) - 1
	b := answerBody{
		Type: "Bearer", ExpiresIn: life, ExtExpiresIn: life, Resource: t.Resource, AccessToken: t.AccessToken,
		ExpiresOn: strconv.FormatInt(t.Expires.Unix(), 10), NotBefore: strconv.FormatInt(t.Issued.Unix(), 10),
		RefreshToken: t.RefreshToken, IDToken: t.IDToken, ClientInfo: t.ClientInfo,
	}
	if t.ClientInfo != "" {
		b.Scope = t.Scope
	}
	if t.Family {
		b.Family = "1"
	}
	return b
}

// wireError is how a failure looks on the wire: the OAuth error, Entra's code, and the status.
type wireError struct {
	oauth  string
	code   int
	status int
}

// wireErrors maps the reasons of the directory and of this face. A wrong secret is 401, and not 400,
// because MSAL for Python caches answers with 400.
var wireErrors = map[string]wireError{
	"ClientSecretInvalid":     {"invalid_client", 7000215, http.StatusUnauthorized},
	"ClientSecretExpired":     {"invalid_client", 7000222, http.StatusUnauthorized},
	"ClientCredentialMissing": {"invalid_client", 7000218, http.StatusUnauthorized},
	"AssertionInvalid":        {"invalid_client", 700027, http.StatusUnauthorized},
	"AssertionIssuer":         {"invalid_client", 700021, http.StatusUnauthorized},
	"AssertionAudience":       {"invalid_client", 700023, http.StatusUnauthorized},
	"AssertionTime":           {"invalid_client", 700024, http.StatusUnauthorized},
	"AssertionType":           {"invalid_request", 50027, http.StatusBadRequest},
	"ApplicationUnknown":      {"unauthorized_client", 700016, http.StatusBadRequest},
	"ApplicationDisabled":     {"unauthorized_client", 7000112, http.StatusBadRequest},
	"PrincipalMissing":        {"unauthorized_client", 7000229, http.StatusBadRequest},
	"CredentialsInvalid":      {"invalid_grant", 50126, http.StatusBadRequest},
	"UserDisabled":            {"invalid_grant", 50057, http.StatusBadRequest},
	"RefreshTokenInvalid":     {"invalid_grant", 9002313, http.StatusBadRequest},
	"RefreshTokenClient":      {"invalid_grant", 70000, http.StatusBadRequest},
	"RefreshTokenExpired":     {"invalid_grant", 700082, http.StatusBadRequest},
	"RefreshTokenRevoked":     {"invalid_grant", 50173, http.StatusBadRequest},
	"ResourceUnknown":         {"invalid_resource", 500011, http.StatusBadRequest},
	"ScopeNotDefault":         {"invalid_scope", 1002012, http.StatusBadRequest},
	"ScopeManyResources":      {"invalid_scope", 28000, http.StatusBadRequest},
	"ParameterMissing":        {"invalid_request", 900144, http.StatusBadRequest},
	"GrantUnsupported":        {"unsupported_grant_type", 70003, http.StatusBadRequest},
	"InteractiveUnsupported":  {"unsupported_grant_type", 70003, http.StatusBadRequest},
	"TenantUnknown":           {"invalid_request", 90002, http.StatusBadRequest},
	"InstanceUnknown":         {"invalid_instance", 50049, http.StatusBadRequest},
	"MethodNotAllowed":        {"invalid_request", 900561, http.StatusMethodNotAllowed},
	"PathUnknown":             {"invalid_request", 90043, http.StatusNotFound},
	"FormMalformed":           {"invalid_request", 9002313, http.StatusBadRequest},
	"BodyNotReadable":         {"invalid_request", 9002313, http.StatusBadRequest},
	"RequestEntityTooLarge":   {"invalid_request", 9002313, http.StatusRequestEntityTooLarge},
}

// failed is what a failure that is not in the table looks like.
var failed = wireError{"server_error", 90033, http.StatusInternalServerError}

type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Codes       []int  `json:"error_codes"`
	Timestamp   string `json:"timestamp"`
	Trace       string `json:"trace_id"`
	Correlation string `json:"correlation_id"`
	URI         string `json:"error_uri"`
}

// fail answers with the wire form of err.
func (f *face) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := wire.Failure(r.Context(), f.log, err)
	we, ok := wireErrors[e.Reason]
	if !ok {
		we = failed
	}
	trace, correlation, now := wire.RequestID(r.Context()), correlationOf(r), time.Now().UTC().Format("2006-01-02 15:04:05Z")
	wire.WriteJSON(w, we.status, errorBody{
		Error:       we.oauth,
		Description: fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", we.code, e.Message, trace, correlation, now),
		Codes:       []int{we.code}, Timestamp: now, Trace: trace, Correlation: correlation,
		URI: fmt.Sprintf("https://%s/error?code=%d", naming.From(r.Context()).LoginHost(), we.code),
	})
}

// correlationOf is the caller's own id of the request, when it is one, else ours.
func correlationOf(r *http.Request) string {
	for _, v := range []string{r.Header.Get("client-request-id"), r.URL.Query().Get("client-request-id")} {
		if id, err := uuid.Parse(v); err == nil {
			return id.String()
		}
	}
	return wire.RequestID(r.Context())
}
