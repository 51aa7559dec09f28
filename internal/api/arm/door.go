package arm

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/resource"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// bodyLimit is the service's limit for a request body.
const bodyLimit = 4 << 20

// Config says what the door works with. All fields but Log are required.
type Config struct {
	Verifier  wire.Verifier
	Resources *resource.Service
	Providers []Provider
	TenantID  string
	Log       *slog.Logger
}

// Door is the HTTP face of Resource Manager.
type Door struct {
	cfg       Config
	providers map[string]Provider // by lower-case namespace
}

// New returns the face.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Door{cfg: cfg, providers: map[string]Provider{}}
	for _, p := range cfg.Providers {
		d.providers[strings.ToLower(p.Namespace())] = p
	}
	return wire.Identify("x-ms-request-id", d)
}

// ServeHTTP serves one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	commonHeaders(w, r)
	path := cleanPath(r.URL.Path)
	if strings.EqualFold(path, "/metadata/endpoints") {
		d.metadata(w, r)
		return
	}
	resp, err := d.serve(r, path)
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	if resp.Operation != "" {
		d.operationHeaders(w, r, path, resp)
	}
	write(w, r, resp)
}

func commonHeaders(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	id := wire.RequestID(r.Context())
	h.Set("x-ms-correlation-request-id", id)
	h.Set("x-ms-routing-request-id", "LOCAL:"+time.Now().UTC().Format("20060102T150405Z")+":"+id)
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(remainingHeader(r.Method))
	if c := r.Header.Get("x-ms-client-request-id"); c != "" && len(c) <= 128 {
		h.Set("x-ms-client-request-id", c)
	}
}

// remainingHeader tells how many requests of a kind are left. This server counts none, so it shows the
// service's full allowance, which clients only log.
func remainingHeader(method string) (name, value string) {
	const prefix = "x-ms-ratelimit-remaining-subscription-"
	switch method {
	case http.MethodGet, http.MethodHead:
		return prefix + "reads", "11999"
	case http.MethodDelete:
		return prefix + "deletes", "14999"
	}
	return prefix + "writes", "1199"
}

func write(w http.ResponseWriter, r *http.Request, resp *Response) {
	if resp.Body == nil || r.Method == http.MethodHead {
		w.WriteHeader(resp.Status)
		return
	}
	wire.WriteJSON(w, resp.Status, resp.Body)
}

// cleanPath drops empty segments and a trailing slash.
func cleanPath(path string) string {
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return "/" + strings.Join(parts, "/")
}

var apiVersion = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-[a-zA-Z0-9.]+)?$|^1\.0$`)

func (d *Door) serve(r *http.Request, path string) (*Response, error) {
	caller, err := d.authenticate(r)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	version := query.Get("api-version")
	switch {
	case version == "":
		return nil, fault.New(fault.Invalid, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	case !apiVersion.MatchString(version):
		return nil, fault.New(fault.Invalid, "InvalidApiVersionParameter", "The api-version '%s' is invalid. Versions have the form YYYY-MM-DD, or YYYY-MM-DD-preview.", version)
	}
	if resp, ok, err := d.operation(r.Method, path, caller); ok {
		return resp, err
	}
	body, err := wire.ReadBody(r, bodyLimit)
	if err != nil {
		return nil, err
	}
	req, p, err := d.route(r.Method, path)
	if err != nil {
		return nil, err
	}
	req.APIVersion, req.Query, req.Caller, req.Names, req.Body = version, query, caller, naming.From(r.Context()), body
	if isExistenceCheck(req) {
		return exists(r.Context(), p, req)
	}
	return p.Handle(r.Context(), req)
}

// isExistenceCheck reports whether a request asks only whether a resource of a group exists.
func isExistenceCheck(req *Request) bool {
	return req.Method == http.MethodHead && req.ID.ResourceGroup != "" && len(req.ID.Segments) > 0 && !req.IsCollection()
}

// exists answers 204 where a GET would show the resource, and the GET's error where it would not.
func exists(ctx context.Context, p Provider, req *Request) (*Response, error) {
	req.Method = http.MethodGet
	if _, err := p.Handle(ctx, req); err != nil {
		return nil, err
	}
	return &Response{Status: http.StatusNoContent}, nil
}

// audiences are the resources for which a token is good here.
func audiences(n naming.Names) []string {
	return []string{"https://management.azure.com", "https://management.core.windows.net", "https://" + n.ManagementHost()}
}

func (d *Door) authenticate(r *http.Request) (principal.Caller, error) {
	token, ok := wire.Bearer(r)
	if !ok || token == "" {
		return principal.Caller{}, fault.New(fault.Unauthenticated, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	c, err := d.cfg.Verifier.VerifyToken(r.Context(), token, audiences(naming.From(r.Context())))
	if err != nil {
		return c, err
	}
	c.Door = principal.Management
	return wire.Note(c, r), nil
}

// resourcesNamespace is the provider of everything that is not below a provider: tenants,
// subscriptions, groups.
const resourcesNamespace = "microsoft.resources"

// route parses a path and finds its provider.
func (d *Door) route(method, path string) (*Request, Provider, error) {
	req := &Request{Method: method, Path: path}
	scope, extension, hasProvider := uri.SplitExtension(path)
	namespace := resourcesNamespace
	var err error
	if !hasProvider {
		req.ID, err = parsePlain(path)
	} else {
		namespace, _, _ = strings.Cut(extension, "/")
		req.Scope = scope
		req.ID, err = parseProvided(scope, extension)
	}
	if err != nil {
		return nil, nil, fault.New(fault.NotFound, "InvalidResourcePath", "The request path is not a resource.").Because(err)
	}
	if err := d.cfg.Resources.CheckSubscription(req.ID.Subscription); err != nil {
		return nil, nil, err
	}
	takeAction(req)
	p := d.providers[strings.ToLower(namespace)]
	if hasProvider && isProviderItself(req) {
		p = d.providers[resourcesNamespace]
	}
	if p == nil || !isAllowedBelow(scope, namespace) {
		return nil, nil, fault.New(fault.NotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", namespace)
	}
	return req, p, nil
}

// extensionNamespace is the provider whose resources hang below any other resource.
const extensionNamespace = "Microsoft.Authorization"

// isAllowedBelow reports whether a namespace may follow a scope. Only an extension's may follow another
// resource: a path such as …/vaults/v/providers/Microsoft.KeyVault/vaults/w names nothing.
func isAllowedBelow(scope, namespace string) bool {
	_, _, nested := uri.SplitExtension(scope)
	return !nested || strings.EqualFold(namespace, extensionNamespace)
}

// isProviderItself reports whether a request is about a provider (its types, its registration).
func isProviderItself(req *Request) bool {
	action := strings.ToLower(req.Action)
	return len(req.ID.Segments) == 0 && (action == "" || action == "register" || action == "unregister")
}

// takeAction moves the last, nameless segment of a POST into Action.
func takeAction(req *Request) {
	n := len(req.ID.Segments)
	if req.Method == http.MethodPost && n > 0 && req.ID.Segments[n-1].Name == "" {
		req.Action = req.ID.Segments[n-1].Type
		req.ID.Segments = req.ID.Segments[:n-1]
	}
}

// parsePlain parses a path without a provider. What follows the known keywords (tenants, locations,
// resources) becomes segments of the namespace Microsoft.Resources.
func parsePlain(path string) (uri.ResourceID, error) {
	var id uri.ResourceID
	parts := strings.Split(strings.Trim(path, "/"), "/")
	next := func(keyword string) (string, bool) {
		if len(parts) < 1 || !strings.EqualFold(parts[0], keyword) {
			return "", false
		}
		if len(parts) == 1 {
			return "", true
		}
		return parts[1], true
	}
	if v, ok := next("subscriptions"); ok && v != "" {
		id.Subscription, parts = v, parts[2:]
	}
	if v, ok := next("resourceGroups"); ok && v != "" && id.Subscription != "" {
		id.ResourceGroup, parts = v, parts[2:]
	}
	for len(parts) > 0 {
		seg := uri.Segment{Type: parts[0]}
		if len(parts) > 1 {
			seg.Name = parts[1]
		}
		id.Segments = append(id.Segments, seg)
		parts = parts[min(2, len(parts)):]
	}
	return id, nil
}

// parseProvided parses the part behind the last /providers/, below its scope.
func parseProvided(scope, extension string) (uri.ResourceID, error) {
	parent := scope
	if s, _, nested := uri.SplitExtension(scope); nested {
		parent = s // an extension resource: what it hangs below is in Request.Scope
	}
	id, err := uri.ParseResourceID(parent)
	if err != nil {
		return id, err
	}
	below, err := uri.ParseResourceID("providers/" + extension)
	id.Provider, id.Segments = below.Provider, below.Segments
	return id, err
}

func lowerTypes(id uri.ResourceID) string {
	var parts []string
	for _, s := range id.Segments {
		parts = append(parts, strings.ToLower(s.Type))
	}
	return strings.Join(parts, "/")
}

// writeError is the one place where an error becomes a Resource Manager body.
func (d *Door) writeError(w http.ResponseWriter, r *http.Request, err error) {
	f := wire.Failure(r.Context(), d.cfg.Log, err)
	code := f.Reason
	h := w.Header()
	switch f.Kind {
	case fault.Unauthenticated:
		if f.Reason != "AuthenticationFailed" {
			code = tokenCode(f.Reason)
		}
		n := naming.From(r.Context())
		h.Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization_uri="https://%s/%s", error="invalid_token", error_description=%q`, n.LoginHost(), d.cfg.TenantID, f.Message))
	case fault.Denied, fault.NotFound:
		h.Set("x-ms-failure-cause", "gateway")
	}
	h.Set("x-ms-error-code", code)
	write(w, r, &Response{Status: wire.Status(f.Kind), Body: ErrorBody(code, f.Message)})
}

// tokenCode is Resource Manager's code for a token that did not verify.
func tokenCode(reason string) string {
	switch reason {
	case "TokenExpired":
		return "ExpiredAuthenticationToken"
	case "TokenAudience":
		return "InvalidAuthenticationTokenAudience"
	case "TokenIssuer":
		return "InvalidAuthenticationTokenTenant"
	}
	return "InvalidAuthenticationToken"
}

// ErrorBody is the error envelope of Resource Manager.
func ErrorBody(code, message string) any {
	return map[string]any{"error": map[string]any{"code": code, "message": message}}
}

// retryAfterMillis is how long clients that read milliseconds wait between two polls.
const retryAfterMillis = "250"

// operationHeaders adds what clients poll.
func (d *Door) operationHeaders(w http.ResponseWriter, r *http.Request, path string, resp *Response) {
	n := naming.From(r.Context())
	base := fmt.Sprintf("https://%s/subscriptions/%s/providers/%s/locations/local", n.ManagementHost(), d.cfg.Resources.Subscription().ID, providerOf(path))
	query := "?api-version=" + r.URL.Query().Get("api-version")
	h := w.Header()
	if !resp.LocationOnly {
		h.Set("Azure-AsyncOperation", base+"/operationsStatus/"+resp.Operation+query)
	}
	h.Set("Location", base+"/operationResults/"+resp.Operation+query)
	pollHeaders(h)
}

func pollHeaders(h http.Header) {
	h.Set("Retry-After", "1")
	h.Set("retry-after-ms", retryAfterMillis)
}

func providerOf(path string) string {
	_, extension, ok := uri.SplitExtension(path)
	if !ok {
		return "Microsoft.Resources"
	}
	ns, _, _ := strings.Cut(extension, "/")
	return ns
}

var operationPath = regexp.MustCompile(`(?i)^/subscriptions/[^/]+/providers/[^/]+/locations/[^/]+/(operationsStatus|operationResults)/([0-9a-f-]{36})$`)

// operation serves the two polling addresses. ok is false for any other path.
func (d *Door) operation(method, path string, c principal.Caller) (resp *Response, ok bool, err error) {
	m := operationPath.FindStringSubmatch(path)
	if m == nil || method != http.MethodGet {
		return nil, false, nil
	}
	op, found := d.cfg.Resources.Operations.Get(m[2])
	if !found || op.Owner != c.ObjectID {
		return nil, true, fault.New(fault.NotFound, "OperationNotFound", "The operation '%s' could not be found.", m[2])
	}
	if strings.EqualFold(m[1], "operationsStatus") {
		return d.operationStatus(op), true, nil
	}
	resp, err = d.operationResult(op)
	return resp, true, err
}

func (d *Door) operationStatus(op resource.Operation) *Response {
	body := map[string]any{"id": op.ID, "name": op.ID, "status": string(op.State), "startTime": op.Started.UTC().Format(time.RFC3339)}
	if op.State != resource.Running {
		body["endTime"] = op.Finished.UTC().Format(time.RFC3339)
	}
	if op.State == resource.Failed {
		f := wire.Failure(context.Background(), d.cfg.Log, op.Err)
		body["error"] = map[string]any{"code": f.Reason, "message": f.Message}
	}
	return OK(body)
}

func (d *Door) operationResult(op resource.Operation) (*Response, error) {
	switch {
	case op.State == resource.Running:
		return &Response{Status: http.StatusAccepted, Operation: op.ID, LocationOnly: true}, nil
	case op.State == resource.Failed:
		return nil, op.Err
	case op.Result == nil:
		return &Response{Status: http.StatusNoContent}, nil
	}
	return OK(op.Result), nil
}
