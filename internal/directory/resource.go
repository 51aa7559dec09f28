package directory

import (
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
)

// Application ids of the services that clients may name instead of an address.
var serviceApps = map[string]bool{
	"00000003-0000-0000-c000-000000000000": true, // Microsoft Graph
	"00000002-0000-0000-c000-000000000000": true, // the directory's older API
	"797f4846-ba00-4fd7-ba43-dac1f8f63013": true, // Resource Manager
	"cfa8b339-82a2-471a-a3c9-0fc0be7a4093": true, // Key Vault
	FirstPartyAppID:                        true,
}

// bareHosts are resources that are a service's parent domain, or no host that is served at all.
var bareHosts = map[string]bool{
	"vault.azure.net":            true,
	"vault." + naming.Domain:     true,
	"cosmos.azure.com":           true,
	"cosmos." + naming.Domain:    true,
	"documents." + naming.Domain: true,
}

// graphResource is what a user's sign-in without a resource gets a token for.
const graphResource = "https://graph.microsoft.com"

// suffixDefault ends a scope that asks for everything a resource has granted. It is cut exactly, so
// that "https://host//.default" asks for the audience "https://host/", as Entra reads it.
const suffixDefault = "/.default"

// openIDScopes are about the answer, not about a resource.
var openIDScopes = []string{"openid", "profile", "email", "offline_access"}

// wanted is what a token request asks for.
type wanted struct {
	audience string
	scopes   []string // as asked
	openID   bool
	refresh  bool
}

// resolveWanted reads the v1 parameter resource or the v2 parameter scope. app says that the client
// asks for itself, which needs the ".default" form.
func (d *Directory) resolveWanted(r TokenRequest, app bool) (wanted, error) {
	w := wanted{scopes: strings.Fields(r.Scope)}
	w.openID = slices.Contains(w.scopes, "openid")
	w.refresh = slices.Contains(w.scopes, "offline_access")
	resource := r.Resource
	if resource != "" {
		w.openID, w.refresh = true, true // v1 always answers with both to users
	} else {
		var err error
		if resource, err = resourceOf(w.scopes, app); err != nil {
			return wanted{}, err
		}
	}
	if !d.resourceKnown(resource) {
		return wanted{}, fault.New(fault.Invalid, "ResourceUnknown",
			"The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.",
			printable(resource), d.now().tenant.DisplayName)
	}
	w.audience = resource
	return w, nil
}

// resourceOf finds the one resource that scopes name.
func resourceOf(scopes []string, app bool) (string, error) {
	found := ""
	for _, s := range scopes {
		if slices.Contains(openIDScopes, s) {
			continue
		}
		resource, isDefault := strings.CutSuffix(s, suffixDefault)
		if app && !isDefault {
			return "", fault.New(fault.Invalid, "ScopeNotDefault",
				"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", printable(s))
		}
		if !isDefault {
			resource = delegatedResource(s)
		}
		if found != "" && !sameAudience(found, resource) {
			return "", fault.New(fault.Invalid, "ScopeManyResources", "The provided value for the input parameter scope is not valid because it contains more than one resource.")
		}
		found = resource
	}
	switch {
	case found != "":
		return found, nil
	case app:
		return "", missing("scope")
	}
	return graphResource, nil
}

// delegatedResource is the resource of a scope such as https://host/user_impersonation; scopes
// without a resource are Graph's.
func delegatedResource(scope string) string {
	if i := strings.LastIndexByte(scope, '/'); i > 0 {
		return scope[:i]
	}
	return graphResource
}

// resourceKnown reports whether tokens for the resource can be used with this server or with an
// application of the tenant.
func (d *Directory) resourceKnown(resource string) bool {
	bare := strings.ToLower(strings.TrimSuffix(resource, "/"))
	return reserved(bare) || d.now().principalOf[bare] != nil
}

// reserved reports whether a resource, in lower case, is one of the platform's own services.
func reserved(bare string) bool {
	if serviceApps[strings.TrimPrefix(bare, "spn:")] {
		return true
	}
	u, err := url.Parse(bare)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return false
	}
	if bareHosts[u.Hostname()] {
		return true
	}
	t, ok := naming.Resolve(u.Host, 0)
	return ok && t.Service != naming.Home && t.Service != naming.Login
}

// printable bounds and cleans a value of the caller for a message.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0xffff {
			return '?'
		}
		return r
	}, s)
	if len(s) > 256 {
		s = strings.ToValidUTF8(s[:256], "")
	}
	return s
}
