package cli

import (
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/config"
)

// variable is one variable of a client's environment.
type variable struct {
	name, value string
	secret      bool
}

// environment returns the variables that lead a client to the server. Facts about the clients:
// requests (az) replaces its bundle by REQUESTS_CA_BUNDLE, Go, OpenSSL and .NET read SSL_CERT_FILE,
// Node adds NODE_EXTRA_CA_CERTS and its own fetch uses a proxy only with NODE_USE_ENV_PROXY.
// NO_PROXY is empty because names below localhost need the proxy too.
func (i *instance) environment(c credentials) []variable {
	root := filepath.Join(i.dir, caFile)
	proxy := "http://" + i.Addresses.Proxy
	public := []string{
		"HTTPS_PROXY", proxy, "https_proxy", proxy, "NO_PROXY", "", "no_proxy", "",
		"REQUESTS_CA_BUNDLE", root, "SSL_CERT_FILE", root, "CURL_CA_BUNDLE", root, "NODE_EXTRA_CA_CERTS", root,
		"NODE_USE_ENV_PROXY", "1",
		"AZURE_CONFIG_DIR", filepath.Join(i.dir, azureDir), "AZURE_CORE_COLLECT_TELEMETRY", "0",
		"AZURE_TENANT_ID", c.TenantID, "AZURE_CLIENT_ID", c.ClientID, "AZURE_SUBSCRIPTION_ID", c.SubscriptionID,
		"ARM_TENANT_ID", c.TenantID, "ARM_CLIENT_ID", c.ClientID, "ARM_SUBSCRIPTION_ID", c.SubscriptionID,
		"LATCHKEY_DATA", i.dir, "LATCHKEY_FRONT_URL", localURL(i.Addresses.Front), "LATCHKEY_PROXY_URL", proxy,
	}
	if i.Addresses.Emulator != "" {
		public = append(public, "LATCHKEY_EMULATOR_URL", localURL(i.Addresses.Emulator))
	}
	var all []variable
	for pair := range slices.Chunk(public, 2) {
		all = append(all, variable{name: pair[0], value: pair[1]})
	}
	return append(all,
		variable{"AZURE_CLIENT_SECRET", c.ClientSecret, true},
		variable{"ARM_CLIENT_SECRET", c.ClientSecret, true})
}

// localURL is the address of a listener under the name localhost.
func localURL(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return "https://localhost:" + port
}

// foreignPrefixes start the names of variables by which Azure's tools find a login, a cloud or a
// managed identity.
var foreignPrefixes = []string{"AZURE_", "ARM_", "AZD_", "MSI_", "IDENTITY_", "IMDS_"}

// harmlessPrefixes are the exceptions: the user's settings of the Azure CLI.
var harmlessPrefixes = []string{"AZURE_CORE_", "AZURE_DEFAULTS_", "AZURE_LOGGING_", "AZURE_EXTENSION_"}

// foreignNames are other proxies, which would lead a client elsewhere, and the secrets of the root key, which
// are no client's business.
var foreignNames = []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy",
	config.RootPassphraseVariable, config.NewRootPassphraseVariable, config.TokenPINVariable}

// isForeign reports whether a variable must not reach a client of this server.
func isForeign(name string) bool {
	starts := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return slices.Contains(foreignNames, name) ||
		slices.ContainsFunc(foreignPrefixes, starts) && !slices.ContainsFunc(harmlessPrefixes, starts)
}

// foreign lists the names in environ that must not reach a client and that set does not replace.
func foreign(environ []string, set []variable) []string {
	var names []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		replaced := slices.ContainsFunc(set, func(v variable) bool { return v.name == name })
		if isForeign(name) && !replaced && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// clientEnvironment is environ without what is foreign and with set.
func clientEnvironment(environ []string, set []variable) []string {
	var out []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		replaced := slices.ContainsFunc(set, func(v variable) bool { return v.name == name })
		if !isForeign(name) && !replaced {
			out = append(out, entry)
		}
	}
	for _, v := range set {
		out = append(out, v.name+"="+v.value)
	}
	return out
}
