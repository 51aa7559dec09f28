package kek

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// The causes, in the service's numbers.
const (
	TokenRefused      = 4000 // no token for the identity
	TokenUnanswered   = 4001 // the token service fails or is silent
	AccessRefused     = 4002 // the identity may not use the key
	KeyNotFound       = 4003 // no such key or version, or it is deleted
	VaultUnanswered   = 4004 // the vault fails or is silent
	UnwrapFailed      = 4005 // the key cannot do this, or not with this value
	MalformedURI      = 4006 // the key URI
	VaultFailed       = 4008 // an answer that makes no sense
	HostUnknown       = 4009 // the vault's host name has no address
	IdentityUndefined = 4015 // the account has no identity
	BlockedByFirewall = 4016 // the vault does not talk to our address
	VaultNotFound     = 4017 // no such vault, or it is deleted
	DisabledOrExpired = 4018 // the key is disabled or outside its validity
)

// AccessError says why a key could not be used. Its texts hold no secret.
type AccessError struct {
	substatus   int
	definite    bool
	status      int // HTTP status of the vault or of the token service; 0 without an answer
	code, inner string
	text        string
	err         error // for logs only
}

// Substatus is the service's code for the cause.
func (e *AccessError) Substatus() int { return e.substatus }

// Definite reports whether this is a "no" rather than no answer.
func (e *AccessError) Definite() bool { return e.definite }

// Detail is the other side's answer in one line.
func (e *AccessError) Detail() string {
	var parts []string
	if e.status != 0 {
		parts = append(parts, "HTTP "+strconv.Itoa(e.status))
	}
	for _, s := range []string{e.code, e.inner, e.text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// VaultAnswer returns the vault's own answer, for whoever configures an account. status is 0 when it
// was not the vault that refused.
func (e *AccessError) VaultAnswer() (status int, code, innerCode, message string) {
	if e.substatus == TokenRefused || e.substatus == TokenUnanswered {
		return 0, "", "", ""
	}
	return e.status, e.code, e.inner, e.text
}

// Error joins the cause and the detail.
func (e *AccessError) Error() string {
	return "kek: key cannot be used (" + strconv.Itoa(e.substatus) + "): " + e.Detail()
}

// Unwrap returns the cause.
func (e *AccessError) Unwrap() error { return e.err }

// garbage is an answer that no vault gives.
func garbage(text string) *AccessError { return &AccessError{substatus: VaultFailed, text: text} }

// errForeignTenant: the vault wants a token of another tenant than the identity's.
var errForeignTenant = errors.New("kek: the vault belongs to another tenant")

// tokenError marks a failure to obtain a token.
type tokenError struct{ err error }

// Error does not repeat the token service's answer, which may quote the request.
func (e *tokenError) Error() string { return "kek: no token" }

// Unwrap returns the identity library's error.
func (e *tokenError) Unwrap() error { return e.err }

// NonRetriable keeps the pipeline from trying again.
func (e *tokenError) NonRetriable() {}

// unauthorized reports whether the vault answered 401.
func unauthorized(err error) bool {
	var r *azcore.ResponseError
	var t *tokenError
	return !errors.As(err, &t) && errors.As(err, &r) && r.StatusCode == http.StatusUnauthorized
}

// classify finds the cause of a failed call.
func classify(op operation, err error) *AccessError {
	var t *tokenError
	if errors.As(err, &t) {
		return classifyToken(t)
	}
	var r *azcore.ResponseError
	if errors.As(err, &r) {
		return classifyAnswer(op, r)
	}
	return classifySilence(err)
}

// classifyToken: the token service says no with 400 or 401; all else is trouble of its own.
func classifyToken(t *tokenError) *AccessError {
	if errors.Is(t, errForeignTenant) {
		return &AccessError{substatus: TokenRefused, definite: true, text: "The vault belongs to another tenant.", err: t.err}
	}
	var a *azidentity.AuthenticationFailedError
	if !errors.As(t, &a) || a.RawResponse == nil {
		return &AccessError{substatus: TokenUnanswered, text: "The token service does not answer.", err: t.err}
	}
	e := &AccessError{substatus: TokenUnanswered, status: a.RawResponse.StatusCode, text: "The token service failed.", err: t.err}
	if e.status == http.StatusBadRequest || e.status == http.StatusUnauthorized {
		e.substatus, e.definite, e.text = TokenRefused, true, "The token service refused the identity."
	}
	return e
}

// classifySilence: no answer came. An unknown host may be a deleted vault or a resolver in trouble,
// which the caller tells apart by time.
func classifySilence(err error) *AccessError {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return &AccessError{substatus: HostUnknown, text: "The vault's host name is unknown.", err: err}
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &AccessError{substatus: VaultUnanswered, text: "The vault does not answer.", err: err}
	}
	if isTransport(err) {
		return &AccessError{substatus: VaultUnanswered, text: "The vault cannot be reached.", err: err}
	}
	return &AccessError{substatus: VaultFailed, text: "The vault's answer cannot be understood.", err: err}
}

// classifyAnswer: the vault, or something in front of it, answered. A refusal is believed only in the
// vault's own form: a proxy's page is no answer of the customer's.
func classifyAnswer(op operation, r *azcore.ResponseError) *AccessError {
	e := &AccessError{substatus: VaultFailed, status: r.StatusCode, err: r}
	inVaultForm := e.parse(r.RawResponse)
	switch {
	case r.StatusCode == http.StatusTooManyRequests || r.StatusCode >= 500:
		e.substatus = VaultUnanswered
	case r.StatusCode == http.StatusUnauthorized && !carriedToken(r.RawResponse):
		e.text = "The vault's challenge cannot be answered."
	case r.StatusCode == http.StatusUnauthorized:
		e.deny(AccessRefused)
	case !inVaultForm:
		e.text = "The answer is not a vault's."
	case r.StatusCode == http.StatusForbidden:
		e.deny(forbidden(e.inner))
	case r.StatusCode == http.StatusNotFound && e.code == "VaultNotFound":
		e.deny(VaultNotFound)
	case r.StatusCode == http.StatusNotFound:
		e.deny(KeyNotFound)
	case r.StatusCode == http.StatusBadRequest && op != opGet:
		e.deny(UnwrapFailed)
	}
	return e
}

// carriedToken reports whether the answered request had a token for the vault to refuse.
func carriedToken(resp *http.Response) bool {
	return resp != nil && resp.Request != nil && resp.Request.Header.Get("Authorization") != ""
}

func (e *AccessError) deny(substatus int) { e.substatus, e.definite = substatus, true }

// forbidden tells the reasons of a 403 apart by the inner code. Those of a key outside its validity
// are not documented; they are recognised by their words.
func forbidden(inner string) int {
	switch word := strings.ToLower(inner); {
	case word == "forbiddenbyfirewall":
		return BlockedByFirewall
	case word == "keyoperationforbidden":
		return UnwrapFailed
	case strings.Contains(word, "disabled"), strings.Contains(word, "expired"), strings.Contains(word, "notyetvalid"):
		return DisabledOrExpired
	default:
		return AccessRefused
	}
}

// parse reads the vault's error body, whose inner code the client library does not know. It reports
// whether the body has the vault's form.
func (e *AccessError) parse(resp *http.Response) bool {
	if resp == nil || resp.Body == nil {
		return false
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false
	}
	var body struct {
		Error struct {
			Code       string `json:"code"`
			Message    string `json:"message"`
			InnerError struct {
				Code string `json:"code"`
			} `json:"innererror"` // also innerError: the decoder does not mind case
		} `json:"error"`
	}
	if json.Unmarshal(raw, &body) != nil || body.Error.Code == "" {
		return false
	}
	e.code, e.inner, e.text = body.Error.Code, body.Error.InnerError.Code, body.Error.Message
	return true
}

// isTransport reports whether the request never got an answer: TLS failures and everything else that
// the HTTP client wraps.
func isTransport(err error) bool {
	var u *url.Error
	return errors.As(err, &u) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
