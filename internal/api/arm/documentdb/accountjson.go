package documentdb

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/naming"
)

// regions are the display names that the service shows for the usual locations.
var regions = map[string]string{
	"eastus": "East US", "eastus2": "East US 2", "westus": "West US", "westus2": "West US 2", "westus3": "West US 3",
	"centralus": "Central US", "northcentralus": "North Central US", "southcentralus": "South Central US",
	"northeurope": "North Europe", "westeurope": "West Europe", "uksouth": "UK South", "ukwest": "UK West",
	"francecentral": "France Central", "germanywestcentral": "Germany West Central", "switzerlandnorth": "Switzerland North",
	"swedencentral": "Sweden Central", "norwayeast": "Norway East", "canadacentral": "Canada Central", "canadaeast": "Canada East",
	"brazilsouth": "Brazil South", "southeastasia": "Southeast Asia", "eastasia": "East Asia", "japaneast": "Japan East",
	"japanwest": "Japan West", "koreacentral": "Korea Central", "centralindia": "Central India", "southindia": "South India",
	"australiaeast": "Australia East", "australiasoutheast": "Australia Southeast", "southafricanorth": "South Africa North",
	"uaenorth": "UAE North",
}

// canonical is a location in the form that is stored and compared: lower case, no spaces.
func canonical(location string) string {
	return strings.ToLower(strings.ReplaceAll(location, " ", ""))
}

// display is a location as the service shows it.
func display(location string) string {
	if name, ok := regions[canonical(location)]; ok {
		return name
	}
	return location
}

// readOnly are the members of properties that a caller may send (it sends what it read) and that
// change nothing.
var readOnly = map[string]bool{
	"provisioningstate": true, "documentendpoint": true, "instanceid": true, "enabledapitypes": true, "failoverpolicies": true,
	"readlocations": true, "writelocations": true, "locations": true, "customermanagedkeystatus": true, "keyvaultkeyuriversion": true,
	"keysmetadata": true, "privateendpointconnections": true, "databaseaccountoffertype": true, "createmode": true,
	"restoreparameters": true, "latchkey": true, "keyvaultkeyuri": true, "defaultidentity": true, "enablepartitionkeymonitor": true,
}

// accountBody is the request body of a create or update.
type accountBody struct {
	Location string                     `json:"location"`
	Kind     string                     `json:"kind"`
	Tags     map[string]string          `json:"tags"`
	Identity *identityBody              `json:"identity"`
	Raw      map[string]json.RawMessage `json:"properties"`
}

type identityBody struct {
	Type string `json:"type"`
}

// change turns a body into what the domain understands. Properties without a meaning here are kept
// and echoed under the service's own spelling.
func (b accountBody) change() account.Change {
	ch := account.Change{Location: canonical(b.Location), Kind: b.Kind, Tags: b.Tags, Settings: account.Settings{}}
	if b.Identity != nil {
		ch.IdentityType = &b.Identity.Type
	}
	for name, raw := range b.Raw {
		switch key := strings.ToLower(name); {
		case key == "keyvaultkeyuri":
			ch.KeyURI = text(raw)
		case key == "defaultidentity":
			ch.DefaultIdentity = nonEmpty(text(raw))
		case key == "locations":
			ch.Location = firstLocation(raw, ch.Location)
		case key == "iprangefilter": // as versions before 2020 say it
			ch.Settings["ipRules"] = ipRules(*text(raw))
		case readOnly[key] || string(raw) == "null":
		default:
			ch.Settings[spelling(name)] = raw
		}
	}
	return ch
}

// ipRules are the rules that a list of addresses and ranges, with commas between them, stands for.
func ipRules(filter string) json.RawMessage {
	rules := []map[string]string{}
	for r := range strings.SplitSeq(filter, ",") {
		if r = strings.TrimSpace(r); r != "" {
			rules = append(rules, map[string]string{"ipAddressOrRange": r})
		}
	}
	raw, _ := json.Marshal(rules) // strings always encode
	return raw
}

// text decodes a string; null and what is no string are the empty string.
func text(raw json.RawMessage) *string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return &s
}

func nonEmpty(s *string) *string {
	if *s == "" {
		return nil
	}
	return s
}

// firstLocation is the write region of a list of locations.
func firstLocation(raw json.RawMessage, fallback string) string {
	var list []struct {
		Name     string `json:"locationName"`
		Priority int    `json:"failoverPriority"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return fallback
	}
	for _, l := range list {
		if l.Priority == 0 && l.Name != "" {
			return canonical(l.Name)
		}
	}
	return fallback
}

// defaults are the properties of a fresh account, as the service returns them.
var defaults = map[string]string{
	"publicNetworkAccess": `"Enabled"`, "enableAutomaticFailover": `false`, "enableMultipleWriteLocations": `false`,
	"enablePartitionKeyMonitor": `false`, "isVirtualNetworkFilterEnabled": `false`, "virtualNetworkRules": `[]`,
	"EnabledApiTypes": `"Sql"`, "disableKeyBasedMetadataWriteAccess": `false`, "enableFreeTier": `false`,
	"enableAnalyticalStorage": `false`, "analyticalStorageConfiguration": `{"schemaType":"WellDefined"}`,
	"databaseAccountOfferType": `"Standard"`, "enableCassandraConnector": `false`, "connectorOffer": `""`,
	"enableMaterializedViews": `false`, "networkAclBypass": `"None"`, "disableLocalAuth": `false`,
	"enablePartitionMerge": `false`, "enableBurstCapacity": `false`, "minimalTlsVersion": `"Tls12"`,
	"consistencyPolicy":      `{"defaultConsistencyLevel":"Session","maxIntervalInSeconds":5,"maxStalenessPrefix":100}`,
	"configurationOverrides": `{}`, "cors": `[]`, "capabilities": `[]`, "ipRules": `[]`, "networkAclBypassResourceIds": `[]`,
	"backupPolicy":                         `{"type":"Periodic","periodicModeProperties":{"backupIntervalInMinutes":240,"backupRetentionIntervalInHours":8,"backupStorageRedundancy":"Geo"}}`,
	"diagnosticLogSettings":                `{"enableFullTextQuery":"None"}`,
	"enablePerRegionPerPartitionAutoscale": `false`, "enablePriorityBasedExecution": `false`, "defaultPriorityLevel": `"High"`,
}

// Defaults are the settings of an account that nobody changed.
func Defaults() account.Settings {
	out := account.Settings{}
	for name, value := range defaults {
		out[name] = json.RawMessage(value)
	}
	return out
}

// spelling is the service's own spelling of a property that a client may write in another case.
func spelling(name string) string {
	for known := range defaults {
		if strings.EqualFold(known, name) {
			return known
		}
	}
	return name
}

// location is an entry of the lists of regions.
type location struct {
	ID            string `json:"id"`
	Name          string `json:"locationName"`
	Endpoint      string `json:"documentEndpoint,omitempty"`
	State         string `json:"provisioningState,omitempty"`
	Priority      int    `json:"failoverPriority"`
	ZoneRedundant bool   `json:"isZoneRedundant"`
}

// render is the account as Resource Manager shows it to a caller that uses the given names.
func render(a account.Account, st account.EncryptionStatus, n naming.Names) map[string]any {
	p := map[string]any{}
	for name, raw := range defaults {
		p[name] = json.RawMessage(raw)
	}
	for name, raw := range a.Settings {
		p[name] = raw
	}
	p["provisioningState"] = string(a.State)
	p["instanceId"] = a.InstanceID
	p["defaultIdentity"] = a.DefaultIdentity
	addLocations(p, a, n)
	if a.KeyURI != "" {
		p["keyVaultKeyUri"] = a.KeyURI
	}
	if st.Text != "" {
		p["customerManagedKeyStatus"] = st.Text
	}
	if st.KeyVersion != "" {
		p["keyVaultKeyUriVersion"] = st.KeyVersion
	}
	if st.More != nil {
		p["latchkey"] = st.More
	}
	return map[string]any{
		"id": a.ResourceID().String(), "name": a.Name, "type": account.Type, "location": display(a.Location),
		"kind": a.Kind, "tags": tags(a.Tags), "identity": identity(a), "properties": p,
		"systemData": map[string]any{"createdAt": a.CreatedAt.Format(time.RFC3339Nano)},
	}
}

func addLocations(p map[string]any, a account.Account, n naming.Names) {
	region := a.Name + "-" + canonical(a.Location)
	l := location{ID: region, Name: display(a.Location), State: string(a.State)}
	if a.State != account.Creating {
		p["documentEndpoint"] = n.DocumentsEndpoint(a.Name)
		l.Endpoint = n.DocumentsEndpoint(region)
	}
	p["locations"], p["writeLocations"], p["readLocations"] = []location{l}, []location{l}, []location{l}
	p["failoverPolicies"] = []map[string]any{{"id": region, "locationName": l.Name, "failoverPriority": 0}}
}

func tags(t map[string]string) map[string]string {
	if t == nil {
		return map[string]string{}
	}
	return t
}

func identity(a account.Account) map[string]any {
	id := map[string]any{"type": a.Identity.Type}
	if a.Identity.PrincipalID != "" {
		id["principalId"], id["tenantId"] = a.Identity.PrincipalID, a.Identity.TenantID
	}
	return id
}
