package resources

// regions are the locations that a subscription offers, by name. One machine stands for all of them:
// scripts name a location, and it is kept and shown.
var regions = [][2]string{
	{"eastus", "East US"}, {"eastus2", "East US 2"}, {"westus", "West US"}, {"westus2", "West US 2"}, {"westus3", "West US 3"},
	{"centralus", "Central US"}, {"northcentralus", "North Central US"}, {"southcentralus", "South Central US"},
	{"northeurope", "North Europe"}, {"westeurope", "West Europe"}, {"uksouth", "UK South"}, {"ukwest", "UK West"},
	{"francecentral", "France Central"}, {"germanywestcentral", "Germany West Central"}, {"switzerlandnorth", "Switzerland North"},
	{"swedencentral", "Sweden Central"}, {"norwayeast", "Norway East"}, {"canadacentral", "Canada Central"}, {"canadaeast", "Canada East"},
	{"brazilsouth", "Brazil South"}, {"southeastasia", "Southeast Asia"}, {"eastasia", "East Asia"}, {"japaneast", "Japan East"},
	{"japanwest", "Japan West"}, {"koreacentral", "Korea Central"}, {"centralindia", "Central India"}, {"southindia", "South India"},
	{"australiaeast", "Australia East"}, {"australiasoutheast", "Australia Southeast"}, {"southafricanorth", "South Africa North"},
	{"uaenorth", "UAE North"},
}

func (p *Provider) locations() []any {
	out := []any{}
	for _, r := range regions {
		out = append(out, map[string]any{
			"id": "/subscriptions/" + p.svc.Subscription().ID + "/locations/" + r[0], "name": r[0], "type": "Region",
			"displayName": r[1], "regionalDisplayName": r[1],
			"metadata": map[string]any{"regionType": "Physical", "regionCategory": "Recommended", "geographyGroup": "Local", "pairedRegion": []any{}},
		})
	}
	return out
}

func (p *Provider) locationNames() []string {
	var out []string
	for _, r := range regions {
		out = append(out, r[1])
	}
	return out
}
