// Package entra is the token service's face: OpenID discovery, signing keys, and the token endpoint
// in the shapes of v1 (resource=), v2 (scope=) and ADFS.
//
// It keeps no state. Every address in an answer belongs to the family of names that the caller used,
// so that a library which compares the issuer with its authority (scheme, host and port) is content
// with either family. Access tokens, in contrast, always name https://sts.windows.net/{tenant}/ as
// their issuer, as v1 tokens do, and are the same for both families.
//
// The tenant in a path is the tenant's id, its domain, or one of the words common and organizations;
// the ADFS tree has none. Interactive sign-in (authorize, devicecode) is not offered: those
// endpoints answer with an Entra error.
package entra

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// Directory is the identity provider that answers.
type Directory interface {
	IssueToken(ctx context.Context, r directory.TokenRequest) (directory.TokenResponse, error)
	SigningKeys() []directory.SigningKey
	Tenant() directory.Tenant
}

// Config says what the face works with. Directory is required.
type Config struct {
	Directory Directory
	Log       *slog.Logger
}

type face struct {
	dir Directory
	log *slog.Logger
}

// New returns the handler of the login hosts.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &face{dir: cfg.Directory, log: cfg.Log}
	return wire.Identify("x-ms-request-id", http.HandlerFunc(f.serve))
}

// endpoint is one resource below a tenant. Methods are checked by serve.
type endpoint struct {
	method string
	serve  func(f *face, w http.ResponseWriter, r *http.Request, tenant string)
}

// endpoints are the paths below /{tenant}, in lower case and without a trailing slash. The ADFS tree
// is the tenant "adfs".
var endpoints = map[string]endpoint{
	".well-known/openid-configuration":      {http.MethodGet, (*face).openID},
	"v2.0/.well-known/openid-configuration": {http.MethodGet, (*face).openIDv2},
	"oauth2/token":                          {http.MethodPost, (*face).token},
	"oauth2/v2.0/token":                     {http.MethodPost, (*face).token},
	"discovery/keys":                        {http.MethodGet, (*face).keys},
	"discovery/v2.0/keys":                   {http.MethodGet, (*face).keys},
	"discovery/instance":                    {http.MethodGet, (*face).instance},
	"oauth2/authorize":                      {"", (*face).interactive},
	"oauth2/v2.0/authorize":                 {"", (*face).interactive},
	"oauth2/devicecode":                     {"", (*face).interactive},
	"oauth2/v2.0/devicecode":                {"", (*face).interactive},
}

func (f *face) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	tenant, rest, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	tenant, rest = strings.ToLower(tenant), strings.ToLower(rest)
	if user, ok := strings.CutPrefix(rest, "userrealm/"); ok {
		f.userRealm(w, user)
		return
	}
	e, ok := endpoints[rest]
	switch {
	case !ok:
		f.fail(w, r, fault.New(fault.NotFound, "PathUnknown", "The requested path does not exist."))
	case e.method != "" && r.Method != e.method && (r.Method != http.MethodHead || e.method != http.MethodGet):
		f.fail(w, r, fault.New(fault.Invalid, "MethodNotAllowed", "The endpoint only accepts %s requests. Received a %s request.", e.method, knownMethod(r.Method)))
	case !f.tenantKnown(tenant):
		f.fail(w, r, fault.New(fault.Invalid, "TenantUnknown", "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", printable(tenant)))
	default:
		e.serve(f, w, r, tenant)
	}
}

// tenantKnown reports whether the first segment of a path, in lower case, leads to the tenant.
func (f *face) tenantKnown(segment string) bool {
	t := f.dir.Tenant()
	switch segment {
	case t.ID, t.DefaultDomain, "common", "organizations", adfs:
		return true
	}
	return false
}

// adfs is the first path segment of the tree that serves ADFS-style authorities.
const adfs = "adfs"

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "different"
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

func (f *face) userRealm(w http.ResponseWriter, user string) {
	wire.WriteJSON(w, http.StatusOK, map[string]string{
		"ver": "1.0", "account_type": "Managed", "domain_name": f.dir.Tenant().DefaultDomain,
		"cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline", "login": printable(user),
	})
}

func (f *face) interactive(w http.ResponseWriter, r *http.Request, _ string) {
	f.fail(w, r, fault.New(fault.NotImplemented, "InteractiveUnsupported",
		"This server does not offer interactive sign-in. Sign in with a client secret, a certificate, or a user name and password."))
}
