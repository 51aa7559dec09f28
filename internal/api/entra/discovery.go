package entra

import (
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
)

// openID answers /{tenant}/.well-known/openid-configuration: the v1 tree, or the ADFS tree.
func (f *face) openID(w http.ResponseWriter, r *http.Request, tenant string) {
	base := f.base(r, tenant)
	doc := f.document(r, base, base+"/oauth2")
	doc["jwks_uri"] = base + "/discovery/keys"
	doc["issuer"] = base
	wire.WriteJSON(w, http.StatusOK, doc)
}

// openIDv2 answers /{tenant}/v2.0/.well-known/openid-configuration.
func (f *face) openIDv2(w http.ResponseWriter, r *http.Request, tenant string) {
	base := f.base(r, tenant)
	doc := f.document(r, base, base+"/oauth2/v2.0")
	doc["jwks_uri"] = base + "/discovery/v2.0/keys"
	doc["issuer"] = f.issuer(r)
	wire.WriteJSON(w, http.StatusOK, doc)
}

// base is the address of the tree that the caller is in. The words common and organizations become
// the one tenant, so that libraries go on with its id.
func (f *face) base(r *http.Request, tenant string) string {
	if tenant != adfs {
		tenant = f.dir.Tenant().ID
	}
	return "https://" + naming.From(r.Context()).LoginHost() + "/" + tenant
}

// issuer is the issuer of id tokens: MSAL for Go and JavaScript compare its scheme, host and port
// with those of the authority.
func (f *face) issuer(r *http.Request) string {
	return "https://" + naming.From(r.Context()).LoginHost() + "/" + f.dir.Tenant().ID + "/v2.0"
}

func (f *face) document(r *http.Request, base, oauth string) map[string]any {
	n := naming.From(r.Context())
	return map[string]any{
		"authorization_endpoint":                oauth + "/authorize",
		"token_endpoint":                        oauth + "/token",
		"device_authorization_endpoint":         oauth + "/devicecode",
		"end_session_endpoint":                  oauth + "/logout",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"subject_types_supported":               []string{"pairwise"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "nbf", "name", "oid", "preferred_username", "tid", "ver"},
		"request_uri_parameter_supported":       false,
		"userinfo_endpoint":                     "https://" + n.GraphHost() + "/oidc/userinfo",
		"http_logout_supported":                 false,
		"frontchannel_logout_supported":         false,
		"tenant_region_scope":                   nil,
		"cloud_instance_name":                   "microsoftonline.com",
		"cloud_graph_host_name":                 "graph.windows.net",
		"msgraph_host":                          n.GraphHost(),
		"kerberos_endpoint":                     base + "/kerberos",
		"rbac_url":                              "https://pas.windows.net",
	}
}

// jwk is one entry of the key set (RFC 7517); x5t as v1 tokens name their key.
type jwk struct {
	Type        string   `json:"kty"`
	Use         string   `json:"use"`
	KeyID       string   `json:"kid"`
	Thumbprint  string   `json:"x5t"`
	Modulus     string   `json:"n"`
	Exponent    string   `json:"e"`
	Certificate []string `json:"x5c"`
	Issuer      string   `json:"issuer"`
}

func (f *face) keys(w http.ResponseWriter, r *http.Request, _ string) {
	set := []jwk{}
	for _, k := range f.dir.SigningKeys() {
		set = append(set, f.jwk(r, k))
	}
	wire.WriteJSON(w, http.StatusOK, map[string]any{"keys": set})
}

func (f *face) jwk(r *http.Request, k directory.SigningKey) jwk {
	return jwk{
		Type: "RSA", Use: "sig", KeyID: k.KeyID, Thumbprint: k.KeyID, Issuer: f.issuer(r),
		Modulus: base64.RawURLEncoding.EncodeToString(k.Modulus), Exponent: base64.RawURLEncoding.EncodeToString(k.Exponent),
		Certificate: []string{base64.StdEncoding.EncodeToString(k.Certificate)},
	}
}

// azureAliases are the names of the public cloud's token service, the preferred one first.
var azureAliases = []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"}

// instance answers whether an authority is a real one. Libraries ask the public cloud's host, which
// is also ours; the authority that they ask about may be of either family.
func (f *face) instance(w http.ResponseWriter, r *http.Request, _ string) {
	asked, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || asked.Scheme != "https" {
		f.fail(w, r, fault.New(fault.Invalid, "InstanceUnknown", "Invalid instance."))
		return
	}
	target, ok := naming.Resolve(asked.Host, 0)
	if !ok || target.Service != naming.Login {
		f.fail(w, r, fault.New(fault.Invalid, "InstanceUnknown", "Unknown or invalid instance."))
		return
	}
	wire.WriteJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + asked.Host + "/" + f.dir.Tenant().ID + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata":                  metadata(asked.Host, target.Names),
	})
}

func metadata(host string, n naming.Names) []map[string]any {
	azure := map[string]any{"preferred_network": azureAliases[0], "preferred_cache": azureAliases[1], "aliases": azureAliases}
	if !n.IsLocal() {
		return []map[string]any{azure}
	}
	return []map[string]any{azure, {"preferred_network": host, "preferred_cache": host, "aliases": []string{host}}}
}
