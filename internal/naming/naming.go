// Package naming knows the host names under which the server answers.
//
// There are two families. The Azure family is the public cloud's own names (vault.azure.net,
// documents.azure.com, …), which reach this server through its loopback proxy; scripts written for
// Azure run verbatim with it. The local family is the same services below one domain of ours with
// the front's port (kv1.vault.localhost:8443), for clients that are configured for a custom cloud.
//
// A request carries the family that its caller used (see [With] and [From]), so that every address
// in an answer is one that this caller can reach. Stored addresses are never rewritten.
//
// Protocol facts: the challenge of a vault must name a parent domain of the vault's host, port
// included, which is why every service has a domain of its own.
package naming

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Service is one of the protocols that the server speaks.
type Service string

// The services.
const (
	Login      Service = "login"      // Entra ID
	Management Service = "management" // Resource Manager
	Graph      Service = "graph"      // Microsoft Graph
	Vault      Service = "vault"      // Key Vault data plane; one label per vault
	Documents  Service = "documents"  // Cosmos DB data plane; one label per account
	Home       Service = "home"       // the server's own page and health endpoints
)

// Domain is the parent domain of the local family. Resolvers treat it as loopback.
const Domain = "localhost"

// Names builds the addresses of one family. The zero value is the Azure family.
type Names struct {
	local bool
	port  int
}

// Azure is the family of the public cloud's names.
func Azure() Names { return Names{} }

// Local is the family below [Domain], on the front's port.
func Local(port int) Names { return Names{local: true, port: port} }

// IsLocal reports whether n is the local family.
func (n Names) IsLocal() bool { return n.local }

func (n Names) host(azure, local string) string {
	if !n.local {
		return azure
	}
	return local + "." + Domain + ":" + strconv.Itoa(n.port)
}

// LoginHost is the host, with a port where one is needed, of the token service.
func (n Names) LoginHost() string { return n.host("login.microsoftonline.com", "login") }

// ManagementHost is the host of Resource Manager.
func (n Names) ManagementHost() string { return n.host("management.azure.com", "management") }

// GraphHost is the host of Microsoft Graph.
func (n Names) GraphHost() string { return n.host("graph.microsoft.com", "graph") }

// VaultDomain is the parent domain of all vaults, with a port where one is needed.
func (n Names) VaultDomain() string { return n.host("vault.azure.net", "vault") }

// VaultHost is the host of one vault's data plane.
func (n Names) VaultHost(vault string) string { return vault + "." + n.VaultDomain() }

// VaultURI is the address of a vault with the trailing slash that the service shows.
func (n Names) VaultURI(vault string) string { return "https://" + n.VaultHost(vault) + "/" }

// DocumentsHost is the host of one account's data plane, always with a port.
func (n Names) DocumentsHost(account string) string {
	if !n.local {
		return account + ".documents.azure.com:443"
	}
	return account + "." + n.host("", "documents")
}

// DocumentsEndpoint is the address of one account's data plane: https, a port, a trailing slash.
func (n Names) DocumentsEndpoint(account string) string {
	return "https://" + n.DocumentsHost(account) + "/"
}

// Target is what a host name leads to.
type Target struct {
	Service Service
	Label   string // vault or account label in lower case; "" for services without one
	Names   Names  // the family that the host belongs to
}

var azureHosts = map[string]Service{
	"login.microsoftonline.com":   Login,
	"login.microsoft.com":         Login,
	"login.windows.net":           Login,
	"sts.windows.net":             Login,
	"management.azure.com":        Management,
	"management.core.windows.net": Management,
	"graph.microsoft.com":         Graph,
	"graph.windows.net":           Graph,
}

var suffixes = []struct {
	suffix  string
	service Service
	local   bool
}{
	{".vault.azure.net", Vault, false},
	{".documents.azure.com", Documents, false},
	{".vault." + Domain, Vault, true},
	{".documents." + Domain, Documents, true},
}

var localHosts = map[string]Service{
	"login." + Domain:      Login,
	"management." + Domain: Management,
	"graph." + Domain:      Graph,
	"portal." + Domain:     Home,
	Domain:                 Home,
	"127.0.0.1":            Home,
	"::1":                  Home,
}

// Resolve says where hostport (a Host header, or a CONNECT target) leads. localPort is the front's
// port, used for the local family's addresses. ok is false for hosts that the server does not serve.
func Resolve(hostport string, localPort int) (t Target, ok bool) {
	host := strings.ToLower(strings.TrimSuffix(withoutPort(hostport), "."))
	if s, ok := azureHosts[host]; ok {
		return Target{Service: s, Names: Azure()}, true
	}
	if s, ok := localHosts[host]; ok {
		return Target{Service: s, Names: Local(localPort)}, true
	}
	for _, x := range suffixes {
		label, found := strings.CutSuffix(host, x.suffix)
		if !found || label == "" || strings.Contains(label, ".") {
			continue
		}
		n := Azure()
		if x.local {
			n = Local(localPort)
		}
		return Target{Service: x.service, Label: label, Names: n}, true
	}
	return Target{}, false
}

// CertificateDomains lists the domains below which, and the hosts for which, the local certificate
// authority may issue: its name constraints.
func CertificateDomains() []string {
	return append(slices.Sorted(maps.Keys(azureHosts)), Domain, "vault.azure.net", "documents.azure.com")
}

func withoutPort(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return strings.Trim(hostport, "[]")
}

type contextKey struct{}

// With returns ctx with the family that the caller used.
func With(ctx context.Context, n Names) context.Context {
	return context.WithValue(ctx, contextKey{}, n)
}

// From returns the family in ctx; the Azure family when there is none.
func From(ctx context.Context) Names {
	n, _ := ctx.Value(contextKey{}).(Names)
	return n
}
