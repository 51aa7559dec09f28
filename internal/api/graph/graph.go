// Package graph is the face of the directory: the part of Microsoft Graph v1.0 that Azure's command
// line, its SDKs and infrastructure tools use for applications, service principals, users and groups.
//
// Who may do what is decided in package directory. This package authenticates the bearer token,
// reads the OData conventions ($filter, $select, $top, @odata.nextLink, @odata.id references), and
// gives objects the shape of Graph. Two things are worth knowing:
//
//   - Every object carries the older member objectId next to id, so that scripts written for the
//     directory's previous API work.
//   - A single object never has a member named value: clients take that for a list.
//
// Members of applications and groups that the server does not interpret are kept and given back.
package graph

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Config says what the face works with. Directory is required.
type Config struct {
	Directory *directory.Directory
	Log       *slog.Logger
}

// maxBody bounds a request body, in bytes.
const maxBody = 1 << 20

type face struct {
	dir *directory.Directory
	log *slog.Logger
}

// New returns the handler of the Graph hosts.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &face{dir: cfg.Directory, log: cfg.Log}
	return wire.Identify("request-id", http.HandlerFunc(f.serve))
}

// call is one authenticated request.
type call struct {
	*face
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	caller principal.Caller
	path   []string // below the version; the first segment in lower case
}

func (f *face) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	if id := r.Header.Get("client-request-id"); len(id) <= 64 {
		h.Set("client-request-id", id)
	}
	if err := f.route(w, r); err != nil {
		f.fail(w, r, err)
	}
}

func (f *face) route(w http.ResponseWriter, r *http.Request) error {
	caller, err := f.authenticate(r)
	if err != nil {
		return err
	}
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if v := strings.ToLower(segments[0]); v != "v1.0" && v != "beta" {
		return fault.New(fault.Invalid, "VersionInvalid", "Invalid version: %s", printable(segments[0]))
	}
	if len(segments) < 2 || len(segments) > 6 {
		return unknownSegment(segments[len(segments)-1])
	}
	c := &call{face: f, w: w, r: r, ctx: r.Context(), caller: caller, path: splitKey(segments[1:])}
	serve, ok := collections[c.path[0]]
	if !ok {
		return unknownSegment(segments[1])
	}
	return serve(c)
}

// splitKey writes the key form collection(appId='x') or collection('x') as two segments, and the
// name of the collection in lower case.
func splitKey(segments []string) []string {
	first, key, ok := strings.Cut(segments[0], "(")
	out := []string{strings.ToLower(first)}
	if ok {
		out = append(out, "("+key)
	}
	return append(out, segments[1:]...)
}

// audiences are what a token for Graph may be issued for.
func audiences(n naming.Names) []string {
	return []string{"https://graph.microsoft.com", "https://graph.windows.net", "00000003-0000-0000-c000-000000000000",
		"00000002-0000-0000-c000-000000000000", "https://" + n.GraphHost()}
}

func (f *face) authenticate(r *http.Request) (principal.Caller, error) {
	token, _ := wire.Bearer(r)
	c, err := f.dir.VerifyToken(r.Context(), token, audiences(naming.From(r.Context())))
	if err != nil {
		return c, err
	}
	c.Door, c.Address, c.Request = principal.Directory, wire.RemoteAddress(r), wire.RequestID(r.Context())
	return c, nil
}

// collections are the first segments of paths.
var collections = map[string]func(*call) error{
	"applications":           func(c *call) error { return c.objects(applications) },
	"serviceprincipals":      func(c *call) error { return c.objects(servicePrincipals) },
	"users":                  func(c *call) error { return c.objects(users) },
	"groups":                 func(c *call) error { return c.objects(groups) },
	"directoryobjects":       (*call).directoryObjects,
	"me":                     (*call).me,
	"organization":           (*call).organization,
	"oauth2permissiongrants": (*call).permissionGrants,
}

func (c *call) answer(status int, body any) error {
	c.w.Header().Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	c.w.Header().Set("OData-Version", "4.0")
	wire.WriteJSON(c.w, status, body)
	return nil
}

func (c *call) noContent() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// root is the address of the API as this caller reaches it.
func (c *call) root() string {
	return "https://" + naming.From(c.ctx).GraphHost() + "/v1.0"
}

func unknownSegment(name string) error {
	return fault.New(fault.NotFound, "SegmentUnknown", "Resource not found for the segment '%s'.", printable(name))
}

func methodNotAllowed(method string) error {
	return fault.New(fault.Invalid, "MethodUnsupported", "Specified HTTP method is not allowed for the request target: %s.", printable(method))
}

// printable bounds and cleans a value of the caller for a message.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), 128)], "")
}

// wireErrors maps the reasons of the directory and of this face to Graph's codes and statuses.
var wireErrors = map[string]struct {
	code   string
	status int
}{
	"ResourceNotFound":      {"Request_ResourceNotFound", http.StatusNotFound},
	"AuthorizationDenied":   {"Authorization_RequestDenied", http.StatusForbidden},
	"BadRequest":            {"Request_BadRequest", http.StatusBadRequest},
	"ReferenceExists":       {"Request_BadRequest", http.StatusBadRequest},
	"InvalidRequestContent": {"Request_BadRequest", http.StatusBadRequest},
	"DuplicateKey":          {"Request_MultipleObjectsWithSameKeyValue", http.StatusConflict},
	"ApplicationMissing":    {"NoBackingApplicationObject", http.StatusBadRequest},
	"LastAdministrator":     {"Request_BadRequest", http.StatusBadRequest},
	"FilterInvalid":         {"Request_UnsupportedQuery", http.StatusBadRequest},
	"PageInvalid":           {"Request_UnsupportedQuery", http.StatusBadRequest},
	"NotDelegated":          {"BadRequest", http.StatusBadRequest},
	"SegmentUnknown":        {"BadRequest", http.StatusBadRequest},
	"VersionInvalid":        {"BadRequest", http.StatusBadRequest},
	"MethodUnsupported":     {"Request_BadRequest", http.StatusMethodNotAllowed},
	"RequestEntityTooLarge": {"RequestEntityTooLarge", http.StatusRequestEntityTooLarge},
	"BodyNotReadable":       {"Request_BadRequest", http.StatusBadRequest},
	"NotSupported":          {"NotImplemented", http.StatusNotImplemented},
}

type errorBody struct {
	Error struct {
		Code    string     `json:"code"`
		Message string     `json:"message"`
		Inner   innerError `json:"innerError"`
	} `json:"error"`
}

type innerError struct {
	Date          string `json:"date"`
	Request       string `json:"request-id"`
	ClientRequest string `json:"client-request-id"`
}

// fail answers with the wire form of err.
func (f *face) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := wire.Failure(r.Context(), f.log, err)
	status, code := wire.Status(e.Kind), "UnknownError"
	if e.Kind == fault.Unauthenticated {
		code = "InvalidAuthenticationToken"
		w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://`+naming.From(r.Context()).LoginHost()+`/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`)
	} else if we, ok := wireErrors[e.Reason]; ok {
		status, code = we.status, we.code
	}
	var body errorBody
	body.Error.Code, body.Error.Message = code, e.Message
	body.Error.Inner = innerError{
		Date: time.Now().UTC().Format("2006-01-02T15:04:05"), Request: wire.RequestID(r.Context()), ClientRequest: w.Header().Get("client-request-id"),
	}
	if body.Error.Inner.ClientRequest == "" {
		body.Error.Inner.ClientRequest = body.Error.Inner.Request
	}
	wire.WriteJSON(w, status, body)
}
