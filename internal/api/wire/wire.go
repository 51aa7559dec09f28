// Package wire is what the protocol faces share: request ids, token authentication, bounded JSON
// bodies and answers, and the rule about unexpected errors.
//
// The rule: every face has one function that turns an error into its own wire form. It asks
// [Failure] first; what is not a [*fault.Error] becomes a constant text with the request's
// correlation id, and the detail goes to the log only.
package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Verifier proves a bearer token. audiences are the accepted audiences, compared without regard to
// case and to one trailing slash. Errors are [*fault.Error] of kind Unauthenticated with one of the
// reasons of package directory.
type Verifier interface {
	VerifyToken(ctx context.Context, token string, audiences []string) (principal.Caller, error)
}

type requestKey struct{}

// Identify gives every request a correlation id: a fresh one, which the answer shows under header.
func Identify(header string, next http.Handler) http.Handler {
	header = http.CanonicalHeaderKey(header)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := uuid.NewString()
		w.Header().Set(header, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
	})
}

// RequestID returns the correlation id that Identify gave, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// Bearer returns the token of an "Authorization: Bearer …" header.
func Bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// RemoteAddress returns the peer's IP address without its port.
func RemoteAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// presized is up to which announced length, in bytes, a body gets its memory before it has come.
const presized = 16 << 10

// Note adds to a caller what records tell of its request: from where, with what, for what. Of the query
// only the api-version is kept: the rest may hold what is nobody's business.
func Note(c principal.Caller, r *http.Request) principal.Caller {
	c.Address, c.Request, c.Client = RemoteAddress(r), RequestID(r.Context()), r.UserAgent()
	c.URI = "https://" + r.Host + r.URL.EscapedPath()
	if v := r.URL.Query().Get("api-version"); v != "" {
		c.URI += "?api-version=" + url.QueryEscape(v)
	}
	return c
}

// ReadBody returns the whole body, or a fault of kind TooLarge beyond limit bytes.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	var body []byte
	var err error
	if n := r.ContentLength; n >= 0 && n <= min(limit, presized) {
		body = make([]byte, n)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(io.LimitReader(r.Body, limit+1))
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "BodyNotReadable", "The request body could not be read.").Because(err)
	}
	if int64(len(body)) > limit {
		return nil, fault.New(fault.TooLarge, "RequestEntityTooLarge", "The request body exceeds the limit of %d bytes.", limit)
	}
	return body, nil
}

// ReadJSON decodes the body into v, matching member names without regard to case, as the service
// does, and ignoring members that v does not have. An empty body leaves v as it is.
func ReadJSON(r *http.Request, limit int64, v any) error {
	body, err := ReadBody(r, limit)
	if err != nil {
		return err
	}
	return Decode(body, v)
}

// Decode is the decoding of [ReadJSON] for a body that has been read. A byte order mark is tolerated.
func Decode(body []byte, v any) error {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, v, json.MatchCaseInsensitiveNames(true)); err != nil {
		return fault.New(fault.Invalid, "InvalidRequestContent", "The request content was invalid and could not be deserialized.").Because(err)
	}
	return nil
}

// WriteJSON answers with v as JSON. Bytes that are no UTF-8, which a message may echo from a request,
// become replacement characters.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil { // a type of ours that cannot be encoded: a defect that tests must find
		http.Error(w, `{"error":{"code":"InternalServerError","message":"The answer could not be encoded."}}`, http.StatusInternalServerError)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Failure returns err as a fault that may be shown. An unexpected error is logged, and a constant
// text with the correlation id stands for it.
func Failure(ctx context.Context, log *slog.Logger, err error) *fault.Error {
	if f := fault.As(err); f != nil && f.Kind != fault.Internal {
		return f
	}
	if !errors.Is(err, context.Canceled) {
		log.ErrorContext(ctx, "request failed unexpectedly", "request", RequestID(ctx), "error", err)
	}
	return fault.New(fault.Internal, "InternalServerError",
		"The server met an unexpected condition. Correlation id: %s.", RequestID(ctx))
}

// Status is the HTTP status that a kind of failure has in every face, unless the face knows better.
func Status(k fault.Kind) int {
	if s, ok := statuses[k]; ok {
		return s
	}
	return http.StatusInternalServerError
}

var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Denied:          http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.Precondition:    http.StatusPreconditionFailed,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Throttled:       http.StatusTooManyRequests,
	fault.KeyDenied:       http.StatusForbidden,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Gone:            http.StatusGone,
	fault.NotImplemented:  http.StatusNotImplemented,
}
