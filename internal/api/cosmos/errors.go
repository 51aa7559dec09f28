package cosmos

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// reasonMethod marks a method that the resource does not have: 405.
const reasonMethod = "MethodNotAllowed"

// codes are the service's words for the kinds of failure.
var codes = map[fault.Kind]string{
	fault.Invalid: "BadRequest", fault.Unauthenticated: "Unauthorized", fault.Denied: "Forbidden", fault.NotFound: "NotFound",
	fault.Conflict: "Conflict", fault.Precondition: "PreconditionFailed", fault.TooLarge: "RequestEntityTooLarge",
	fault.Throttled: "TooManyRequests", fault.KeyDenied: "Forbidden", fault.Unavailable: "ServiceUnavailable", fault.Gone: "Gone",
	fault.NotImplemented: "BadRequest", fault.Internal: "InternalServerError",
}

// substatuses are the numbers of failures whose domain reason is a word. A reason that is a number is
// one already.
var substatuses = map[string]string{
	"OwnerResourceNotFound": "1003", "ReadSessionNotAvailable": "1002", "PartitionKeyMismatch": "1001",
	"CollectionRidMismatch": "1024", "PartitionKeyRangeGone": "1002", "PatchConditionNotMet": "1110",
}

// failure is a failure in the protocol's terms. substatus is "" for none.
type failure struct {
	status          int
	code, substatus string
	message         string
	retryAfter      int64 // milliseconds; 0 for none
}

// failure gives an error its wire form; nothing else does. What the back end of the service would
// say is nested as its gateway nests it; what the gateway says itself, about identity, is not.
func (x *exchange) failure(err error) failure {
	f := wire.Failure(x.r.Context(), x.Log, err)
	out := failure{status: wire.Status(f.Kind), code: codes[f.Kind], substatus: substatuses[f.Reason]}
	switch {
	case f.Reason == reasonMethod:
		out.status, out.code = http.StatusMethodNotAllowed, reasonMethod
	case f.Kind == fault.NotImplemented:
		out.status = http.StatusBadRequest
	case isNumber(f.Reason):
		out.substatus = f.Reason
	}
	var wait docdb.RetryAfter
	if errors.As(err, &wait) {
		out.code, out.retryAfter = strconv.Itoa(out.status), time.Duration(wait).Milliseconds()
	}
	out.message = f.Message + "\r\nActivityId: " + x.activity
	switch {
	case f.Reason == docdb.ReasonSyntax: // the message is the object to nest
		out.message = "Message: " + f.Message + "\r\nActivityId: " + x.activity
	case f.Kind != fault.Unauthenticated && f.Kind != fault.Denied:
		nested := mustJSON(map[string][]string{"Errors": {f.Message}})
		out.message = "Message: " + string(nested) + "\r\nActivityId: " + x.activity
	}
	return out
}

// fail answers with an error.
func (x *exchange) fail(err error) {
	f := x.failure(err)
	if f.substatus != "" {
		x.w.Header().Set(headerSubstatus, f.substatus)
	}
	if f.retryAfter > 0 {
		x.w.Header().Set("x-ms-retry-after-ms", strconv.FormatInt(f.retryAfter, 10))
	}
	x.answer(f.status, mustJSON(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{f.code, f.message}))
}

func isNumber(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// answer writes a status and a body; HEAD and 304 have none.
func (x *exchange) answer(status int, body []byte) {
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead && status != http.StatusNotModified && status != http.StatusNoContent {
		_, _ = x.w.Write(body)
	}
}

// mustJSON encodes a type of ours, without escaping HTML.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // maps and structs of strings and numbers always encode
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
