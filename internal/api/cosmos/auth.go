package cosmos

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Limits of the authorization header in bytes, and of the age of a signature.
const (
	maxMasterHeader   = 1024
	maxResourceHeader = 8 << 10
	maxTokenHeader    = 16 << 10
	tokenValidity     = 15 * time.Minute
	clockSkew         = 15 * time.Minute
)

// credential is a parsed authorization header.
type credential struct {
	kind string // master, resource, aad
	sig  string
}

// unauthorized is a refused proof with its sub-status.
func unauthorized(substatus, format string, args ...any) error {
	return fault.New(fault.Unauthenticated, substatus, format, args...)
}

// parseAuthorization reads "type=…&ver=…&sig=…", percent-encoded or not. A plus sign is one: it
// belongs to base64.
func parseAuthorization(header string) (credential, error) {
	switch {
	case header == "":
		return credential{}, unauthorized("5000", "Required Header authorization is missing. Ensure a valid Authorization token is passed.")
	case len(header) > maxTokenHeader:
		return credential{}, malformed()
	}
	if !strings.Contains(header, "&") {
		decoded, err := url.PathUnescape(header)
		if err != nil {
			return credential{}, malformed()
		}
		header = decoded
	}
	kind, rest, ok1 := strings.Cut(header, "&")
	version, sig, ok2 := strings.Cut(rest, "&")
	sig, _, _ = strings.Cut(sig, ",")
	kind, ok3 := strings.CutPrefix(kind, "type=")
	version, ok4 := strings.CutPrefix(version, "ver=")
	sig, ok5 := strings.CutPrefix(sig, "sig=")
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || version != "1.0" && version != "1" || sig == "" {
		return credential{}, malformed()
	}
	if kind == "master" && len(header) > maxMasterHeader || kind == "resource" && len(header) > maxResourceHeader {
		return credential{}, malformed()
	}
	return credential{kind: kind, sig: sig}, nil
}

func malformed() error {
	return unauthorized("5001", "The authorization token is not well formed. Ensure that it has the form type=…&ver=…&sig=….")
}

// authenticate proves who is asking.
func (x *exchange) authenticate() error {
	c, err := parseAuthorization(x.r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	switch c.kind {
	case "master":
		err = x.authenticateKey(c.sig)
	case "aad":
		err = x.authenticateToken(c.sig)
	case "resource":
		err = x.authenticateResource(c.sig)
	default:
		err = malformed()
	}
	x.caller.Account, x.caller.Address = x.account.ID, wire.RemoteAddress(x.r)
	x.caller.Request = wire.RequestID(x.r.Context())
	return err
}

// localAuth refuses what is proven by the account's own secrets when the account does not want it.
func (x *exchange) localAuth() error {
	if x.account.LocalAuthDisabled {
		return unauthorized("5202", "Local Authorization is disabled. Use an AAD token to authorize all requests.")
	}
	return nil
}

func (x *exchange) authenticateResource(sig string) (err error) {
	if err := x.localAuth(); err != nil {
		return err
	}
	x.caller, err = x.Service.VerifyResourceToken(x.r.Context(), x.account.ID, sig)
	return err
}

func (x *exchange) authenticateKey(sig string) error {
	if err := x.localAuth(); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		return malformed()
	}
	date, plain := strings.ToLower(x.r.Header.Get("x-ms-date")), ""
	if date == "" {
		plain = strings.ToLower(x.r.Header.Get("Date"))
	}
	door, err := x.verifyKey(func(kind, link string) string { return stringToSign(x.r.Method, kind, link, date, plain) }, raw)
	if err != nil {
		return err
	}
	x.caller = principal.Caller{Door: door}
	return x.checkDate()
}

// verifyKey looks for what was signed among the forms that clients use. A refusal tells the first.
func (x *exchange) verifyKey(text func(kind, link string) string, sig []byte) (door principal.Door, err error) {
	for _, s := range x.at.signatures() {
		d, e := x.Accounts.VerifyKey(x.r.Context(), x.account.ID, text(s.kind, s.link), sig)
		if e == nil {
			return d, nil
		}
		if err == nil {
			err = e
		}
	}
	return door, err
}

func stringToSign(verb, kind, link, date, plainDate string) string {
	return strings.ToLower(verb) + "\n" + kind + "\n" + link + "\n" + date + "\n" + plainDate + "\n"
}

// checkDate refuses signatures that are not fresh. It comes after the signature was found right.
func (x *exchange) checkDate() error {
	header := x.r.Header.Get("x-ms-date")
	if header == "" {
		header = x.r.Header.Get("Date")
	}
	start, err := parseDate(header)
	if err != nil {
		return unauthorized("", "The input authorization token can't serve the request. The date header is missing or not valid.")
	}
	now, end := x.Now().UTC(), start.Add(tokenValidity)
	if start.Add(-clockSkew).After(now) || end.Add(clockSkew).Before(now) {
		return fault.New(fault.Denied, "", "The authorization token is not valid at the current time. Please create another token and retry (token start time: %s, token expiry time: %s, current server time: %s).",
			start.Format(http.TimeFormat), end.Format(http.TimeFormat), now.Format(http.TimeFormat))
	}
	return nil
}

// parseDate reads a date of HTTP. Clients write it in either case; names parse without regard to
// it, the zone does not.
func parseDate(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	if utc, ok := strings.CutSuffix(strings.ToUpper(s), " UTC"); ok { // as one client names the zone
		s = s[:len(utc)] + " GMT"
	}
	if zone := len(s) - len("GMT"); zone > 0 {
		s = s[:zone] + strings.ToUpper(s[zone:])
	}
	return time.Parse(http.TimeFormat, s)
}

func (x *exchange) authenticateToken(token string) error {
	host := x.r.Host
	bare := host
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
		bare = host[:i]
	}
	c, err := x.Verifier.VerifyToken(x.r.Context(), token, []string{"https://cosmos.azure.com", "https://" + host, "https://" + bare, "https://" + bare + ":443"})
	if err != nil {
		return tokenRefused(err)
	}
	c.Door = principal.AccountToken
	x.caller = c
	return nil
}

// tokenRefused gives a refused token the sub-status of this protocol.
func tokenRefused(err error) error {
	f := fault.As(err)
	if f == nil || f.Kind != fault.Unauthenticated {
		return err
	}
	c := *f
	c.Reason = tokenSubstatuses[f.Reason]
	return &c
}

// tokenSubstatuses are the numbers for the reasons of the token service.
var tokenSubstatuses = map[string]string{
	"TokenMissing": "5000", "TokenMalformed": "5003", "TokenSignature": "5004", "TokenNotYetValid": "5005",
	"TokenExpired": "5006", "TokenIssuer": "5007", "TokenAudience": "5008", "TokenPrincipal": "5011",
}
