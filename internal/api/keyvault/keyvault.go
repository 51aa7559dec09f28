// Package keyvault is the data plane of Key Vault on the wire: the challenge, the routes, the JSON of
// keys, and the errors. What a caller may do and what a key is belongs to package vault.
//
// # Order
//
// A request is answered in this order: is there such a vault (the real service has no host name for
// one that is not there), is the caller proven, does the firewall let it in, is the request well
// formed, and then what the domain decides. The challenge comes before anything of the body is read,
// because clients send their first request without one.
//
// # Paths
//
// Clients write /keys/{name}/ for the current version, /keys/{name}//wrapkey for an operation with it,
// and double slashes at the front. Nothing is redirected: a redirect would lose the body of a POST.
//
// # Addresses
//
// Every address in an answer belongs to the family of names that the caller used.
package keyvault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// Config says what the face works with. Vaults, Verifier and TenantID are required.
type Config struct {
	Vaults    *vault.Service
	Verifier  wire.Verifier
	TenantID  string
	LocalPort func() int // the front's port, for the local family of names
	Log       *slog.Logger
}

type face struct{ cfg Config }

// New returns the handler of the vault hosts.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.LocalPort == nil {
		cfg.LocalPort = func() int { return 0 }
	}
	f := &face{cfg: cfg}
	return wire.Identify("x-ms-request-id", http.HandlerFunc(f.serve))
}

// exchange is one request after it was admitted.
type exchange struct {
	ctx     context.Context
	r       *http.Request
	caller  principal.Caller
	vault   string // label of the host
	names   naming.Names
	version apiVersion
	route   route
}

// base is the vault's address without a trailing slash.
func (x *exchange) base() string { return "https://" + x.names.VaultHost(x.vault) }

func (f *face) serve(w http.ResponseWriter, r *http.Request) {
	target, ok := naming.Resolve(r.Host, f.cfg.LocalPort())
	if !ok || target.Service != naming.Vault {
		f.fail(w, r, target, fault.New(fault.NotFound, "VaultNotFound", "The host is not a vault's."))
		return
	}
	if naming.From(r.Context()) != target.Names { // the front has looked already
		r = r.WithContext(naming.With(r.Context(), target.Names))
	}
	commonHeaders(w, r)
	location, err := f.cfg.Vaults.Location(target.Label)
	if err != nil {
		f.fail(w, r, target, err)
		return
	}
	w.Header().Set("X-Ms-Keyvault-Region", location)
	if err := f.disturbed(r, target.Label); err != nil {
		f.fail(w, r, target, err)
		return
	}
	status, body, err := f.answer(r, target)
	switch {
	case err != nil:
		f.fail(w, r, target, err)
	case body == nil:
		w.WriteHeader(status)
	default:
		wire.WriteJSON(w, status, body)
	}
}

// disturbed lets the request meet what an operator rehearses.
func (f *face) disturbed(r *http.Request, vault string) error {
	wait, cut, err := f.cfg.Vaults.Disturb(vault)
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	if cut {
		panic(http.ErrAbortHandler) // the standard library's way to end a connection without an answer
	}
	return err
}

func (f *face) answer(r *http.Request, target naming.Target) (status int, body any, err error) {
	caller, err := f.authenticate(r, target.Names)
	if err != nil {
		return 0, nil, f.unproven(r, target.Label, err)
	}
	x := &exchange{ctx: r.Context(), r: r, caller: caller, vault: target.Label, names: target.Names}
	if err := f.cfg.Vaults.Admit(x.ctx, caller, x.vault); err != nil {
		return 0, nil, err
	}
	if x.version, err = parseVersion(r.URL.Query().Get("api-version")); err != nil {
		return 0, nil, err
	}
	if x.route, err = parseRoute(method(r), r.URL.Path); err != nil {
		return 0, nil, err
	}
	return x.route.handle(f.cfg.Vaults, x)
}

// method is the request's method, or the one that a POST overrides.
func method(r *http.Request) string {
	if o := r.Header.Get("X-Http-Method"); o != "" && r.Method == http.MethodPost {
		return strings.ToUpper(o)
	}
	return r.Method
}

// vaultAppID is Key Vault's application id, which is an audience too.
const vaultAppID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"

func (f *face) authenticate(r *http.Request, n naming.Names) (principal.Caller, error) {
	token, ok := wire.Bearer(r)
	if !ok || token == "" {
		return principal.Caller{}, fault.New(fault.Unauthenticated, "TokenMissing", "AKV10000: Request is missing a Bearer or PoP token.")
	}
	c, err := f.cfg.Verifier.VerifyToken(r.Context(), token, []string{"https://vault.azure.net", vaultAppID, "https://" + n.VaultDomain()})
	if err != nil {
		return c, f.tokenRefusal(token, err)
	}
	c.Door = principal.VaultData
	return wire.Note(c, r), nil
}

// unproven has a token that proves nothing recorded. A request without one is how every client begins,
// and leaves no record.
func (f *face) unproven(r *http.Request, vault string, err error) error {
	if fault.KindOf(err) != fault.Unauthenticated || fault.Is(err, "TokenMissing") {
		return err
	}
	return f.cfg.Vaults.Unproven(r.Context(), wire.Note(principal.Caller{Door: principal.VaultData}, r), vault, err)
}

// tokenRefusal puts the two refusals whose texts tools look for into the service's words.
func (f *face) tokenRefusal(token string, err error) error {
	e := fault.As(err)
	if e == nil || e.Kind != fault.Unauthenticated {
		return err
	}
	claims := claimsOf(token)
	switch e.Reason {
	case "TokenAudience":
		return fault.New(e.Kind, e.Reason, "AKV10022: Invalid audience. Expected https://vault.azure.net or %s, found: %s.", vaultAppID, claims.Audience).Because(err)
	case "TokenIssuer":
		return fault.New(e.Kind, e.Reason, "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/%s/, found %s.", f.cfg.TenantID, claims.Issuer).Because(err)
	}
	return err
}

type tokenClaims struct {
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
}

// maxClaim bounds a claim in a message, in bytes.
const maxClaim = 256

// claimsOf reads the claims of a token that was refused, for the message only.
func claimsOf(token string) tokenClaims {
	var c tokenClaims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return tokenClaims{}
	}
	c.Audience, c.Issuer = bounded(c.Audience), bounded(c.Issuer)
	return c
}

func bounded(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxClaim)], "") }

// commonHeaders sets what every answer has. Names are in canonical form, which costs nothing to find.
func commonHeaders(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("Strict-Transport-Security", "max-age=31536000;includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Ms-Keyvault-Service-Version", "1.9.0.0")
	h.Set("X-Ms-Keyvault-Network-Info", "conn_type=Ipv4;addr="+wire.RemoteAddress(r)+";act_addr_fam=InterNetwork;")
	if c := r.Header.Get("X-Ms-Client-Request-Id"); c != "" && len(c) <= 128 {
		h.Set("X-Ms-Client-Request-Id", c)
	}
}

// fail is the one place where an error becomes the vault's form.
func (f *face) fail(w http.ResponseWriter, r *http.Request, target naming.Target, err error) {
	e := wire.Failure(r.Context(), f.cfg.Log, err)
	status, code, inner := wire.Status(e.Kind), e.Reason, ""
	switch e.Kind {
	case fault.Unauthenticated:
		code = "Unauthorized"
		w.Header().Set("WWW-Authenticate", f.challenge(target.Names))
	case fault.Denied:
		code, inner = "Forbidden", e.Reason
		if e.Reason == "PurgeProtected" {
			inner = ""
		}
	case fault.Conflict:
		code, inner = "Conflict", e.Reason
	case fault.Throttled, fault.Unavailable:
		retryAfter(w, err)
	case fault.Invalid, fault.TooLarge:
		if e.Reason != vault.ReasonMalformedBackup {
			code = "BadParameter"
		}
	}
	wire.WriteJSON(w, status, errorBody(code, e.Message, inner))
}

// retryAfter tells how long to wait, in whole seconds.
func retryAfter(w http.ResponseWriter, err error) {
	var after *vault.RetryAfter
	if errors.As(err, &after) {
		w.Header().Set("Retry-After", strconv.Itoa(int((after.Wait+time.Second-1)/time.Second)))
	}
}

// challenge tells where tokens come from. Clients split it on blanks or commas and compare the
// resource's host, port included, with the end of the vault's.
func (f *face) challenge(n naming.Names) string {
	return fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="https://%s"`, n.LoginHost(), f.cfg.TenantID, n.VaultDomain())
}

type errorJSON struct {
	Error struct {
		Code    string     `json:"code"`
		Message string     `json:"message"`
		Inner   *innerJSON `json:"innererror,omitzero"`
	} `json:"error"`
}

type innerJSON struct {
	Code string `json:"code"`
}

func errorBody(code, message, inner string) errorJSON {
	var b errorJSON
	b.Error.Code, b.Error.Message = code, message
	if inner != "" {
		b.Error.Inner = &innerJSON{inner}
	}
	return b
}
