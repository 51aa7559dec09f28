package arm

import (
	"net/http"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
)

// cloudName is the name under which a client registers this server.
const cloudName = "Latchkey"

// metadata tells unauthenticated clients where the services are (az cloud register, Terraform's
// metadata_host). Each api-version has its own shape.
func (d *Door) metadata(w http.ResponseWriter, r *http.Request) {
	n := naming.From(r.Context())
	switch version := r.URL.Query().Get("api-version"); version {
	case "":
		d.writeError(w, r, fault.New(fault.Invalid, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."))
	case "2015-01-01", "1.0":
		wire.WriteJSON(w, http.StatusOK, map[string]any{
			"galleryEndpoint": "https://" + n.ManagementHost() + "/", "graphEndpoint": "https://" + n.GraphHost() + "/",
			"portalEndpoint": "https://" + n.ManagementHost() + "/",
			"authentication": map[string]any{"loginEndpoint": "https://" + n.LoginHost(), "audiences": audiencesOf(n)},
		})
	case "2019-05-01", "2020-06-01":
		wire.WriteJSON(w, http.StatusOK, []any{cloud(n)})
	default:
		wire.WriteJSON(w, http.StatusOK, cloud(n))
	}
}

func audiencesOf(n naming.Names) []string {
	return []string{"https://" + n.ManagementHost() + "/", "https://management.core.windows.net/", "https://management.azure.com/"}
}

// cloud is the description of api-version 2022-09-01. Services that are not here are named after
// Resource Manager's address: clients demand some value.
func cloud(n naming.Names) map[string]any {
	management, graph := "https://"+n.ManagementHost()+"/", "https://"+n.GraphHost()+"/"
	c := map[string]any{
		"name": cloudName, "portal": management, "resourceManager": management,
		"graph": graph, "graphAudience": graph, "microsoftGraphResourceId": graph,
		"authentication": map[string]any{
			"loginEndpoint": "https://" + n.LoginHost(), "audiences": audiencesOf(n), "tenant": "common", "identityProvider": "AAD",
		},
		"suffixes": suffixes(n),
	}
	for _, absent := range []string{"gallery", "sqlManagement", "batch", "media", "vmImageAliasDoc", "activeDirectoryDataLake",
		"ossrDbmsResourceId", "ossrdbmsResourceId", "logAnalyticsResourceId", "appInsightsResourceId",
		"appInsightsTelemetryChannelResourceId", "synapseAnalyticsResourceId", "attestationResourceId"} {
		c[absent] = management
	}
	return c
}

func suffixes(n naming.Names) map[string]string {
	domain := "core.windows.net"
	if n.IsLocal() {
		domain = naming.Domain
	}
	s := map[string]string{"keyVaultDns": n.VaultDomain(), "mhsmDns": "managedhsm." + domain}
	for _, name := range []string{"storage", "sqlServerHostname", "acrLoginServer", "azureDataLakeStoreFileSystem",
		"azureDataLakeAnalyticsCatalogAndJob", "azureFrontDoorEndpointSuffix", "storageSyncEndpointSuffix", "mysqlServerEndpoint",
		"postgresqlServerEndpoint", "mariadbServerEndpoint", "synapseAnalytics", "attestationEndpoint"} {
		s[name] = domain
	}
	return s
}
