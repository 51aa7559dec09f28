package rbac

import (
	"slices"
	"strings"
)

// The ids of roles that other packages name.
const (
	RoleOwner = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
)

// builtIn are the service's roles that matter here, by id. Ids and action lists are those of its
// published list of built-in roles.
var builtIn = byID(slices.Concat(general, documentDB, keyVault))

func byID(list []Definition) map[string]Definition {
	m := make(map[string]Definition, len(list))
	for _, d := range list {
		d.BuiltIn, d.AssignableScopes = true, []string{"/"}
		m[strings.ToLower(d.ID)] = d
	}
	return m
}

func role(id, name, description string, p Permission) Definition {
	return Definition{ID: id, Name: name, Description: description, Permissions: []Permission{p}}
}

var general = []Definition{
	role(RoleOwner, "Owner", "Grants full access to manage all resources, including the ability to assign roles in Azure RBAC.",
		Permission{Actions: []string{"*"}}),
	role("b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor", "Grants full access to manage all resources, but does not allow you to assign roles in Azure RBAC.",
		Permission{Actions: []string{"*"}, NotActions: []string{
			"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action",
			"Microsoft.Blueprint/blueprintAssignments/write", "Microsoft.Blueprint/blueprintAssignments/delete",
			"Microsoft.Compute/galleries/share/action", "Microsoft.Purview/consents/write", "Microsoft.Purview/consents/delete",
			"Microsoft.Resources/deploymentStacks/manageDenySetting/action", "Microsoft.Subscription/cancel/action", "Microsoft.Subscription/enable/action",
		}}),
	role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", "View all resources, but does not allow you to make any changes.",
		Permission{Actions: []string{"*/read"}}),
	role("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", "User Access Administrator", "Lets you manage user access to Azure resources.",
		Permission{Actions: []string{"*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"}}),
	role("f58310d9-a9f6-439a-9e8d-f62e7b41a168", "Role Based Access Control Administrator", "Manage access to Azure resources by assigning roles using Azure RBAC.",
		Permission{Actions: []string{"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "*/read", "Microsoft.Support/*"}}),
}

// accountManagement is what DocumentDB Account Contributor and Cosmos DB Operator have in common.
var accountManagement = []string{
	"Microsoft.Authorization/*/read", "Microsoft.DocumentDb/databaseAccounts/*", "Microsoft.Insights/alertRules/*",
	"Microsoft.ResourceHealth/availabilityStatuses/read", "Microsoft.Resources/deployments/*",
	"Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Support/*",
	"Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action",
}

var documentDB = []Definition{
	role("5bd9cd88-fe45-4216-938b-f97437e15450", "DocumentDB Account Contributor", "Lets you manage DocumentDB accounts, but not access to them.",
		Permission{Actions: accountManagement}),
	role("230815da-be43-4aae-9cb4-875f7bd000aa", "Cosmos DB Operator", "Lets you manage Azure Cosmos DB accounts, but not access data in them. Prevents access to account keys and connection strings.",
		Permission{Actions: accountManagement, NotActions: operatorMayNot()}),
	role("fbdf93bf-df7d-467e-a4d2-9458aa1360c8", "Cosmos DB Account Reader Role", "Can read Azure Cosmos DB Accounts data",
		Permission{Actions: []string{
			"Microsoft.Authorization/*/read", "Microsoft.DocumentDB/*/read", "Microsoft.DocumentDB/databaseAccounts/readonlykeys/action",
			"Microsoft.Insights/MetricDefinitions/read", "Microsoft.Insights/Metrics/read",
			"Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Support/*",
		}}),
	role("db7b14f2-5adf-42da-9f96-f2ee17bab5cb", "CosmosBackupOperator", "Can submit restore request for a Cosmos DB database or a container for an account",
		Permission{Actions: []string{"Microsoft.DocumentDB/databaseAccounts/backup/action", "Microsoft.DocumentDB/databaseAccounts/restore/action"}}),
	role("5432c526-bc82-444a-b7ba-57c5b0b5b34f", "CosmosRestoreOperator", "Can perform restore action for Cosmos DB database account with continuous backup mode",
		Permission{Actions: []string{
			"Microsoft.DocumentDB/locations/restorableDatabaseAccounts/restore/action",
			"Microsoft.DocumentDB/locations/restorableDatabaseAccounts/*/read", "Microsoft.DocumentDB/locations/restorableDatabaseAccounts/read",
		}}),
}

// operatorMayNot lists what the Cosmos DB Operator is kept from: keys, and who has data roles.
func operatorMayNot() []string {
	const account = "Microsoft.DocumentDB/databaseAccounts/"
	var out []string
	for _, s := range []string{"copyJobs/*", "dataTransferJobs/*", "readonlyKeys/*", "regenerateKey/*", "listKeys/*", "listConnectionStrings/*",
		"mongodbRoleDefinitions/write", "mongodbRoleDefinitions/delete", "mongodbUserDefinitions/write", "mongodbUserDefinitions/delete"} {
		out = append(out, account+s)
	}
	for _, api := range []string{"sql", "table", "gremlin", "cassandra", "mongoMI"} {
		for _, kind := range []string{"RoleDefinitions", "RoleAssignments"} {
			out = append(out, account+api+kind+"/write", account+api+kind+"/delete")
		}
	}
	return out
}

// vaultReads are the control actions that the vault's data roles have in common.
var vaultReads = []string{
	"Microsoft.Authorization/*/read", "Microsoft.Insights/alertRules/*", "Microsoft.Resources/deployments/*",
	"Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Support/*",
	"Microsoft.KeyVault/checkNameAvailability/read", "Microsoft.KeyVault/deletedVaults/read", "Microsoft.KeyVault/locations/*/read",
	"Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/operations/read",
}

const vaultData = "Microsoft.KeyVault/vaults/"

func vaultRole(id, name, description string, data ...string) Definition {
	for i, d := range data {
		data[i] = vaultData + d
	}
	return role(id, name, description, Permission{Actions: vaultReads, DataActions: data})
}

// delegation is the role whose holders may give vault roles to others: eight of them and no more,
// which the service says by a condition on the role.
func delegation(id, name, description string) Definition {
	d := role(id, name, description, Permission{Actions: []string{
		"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "Microsoft.Authorization/*/read",
		"Microsoft.Resources/deployments/*", "Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Resources/subscriptions/read",
		"Microsoft.Management/managementGroups/read", "Microsoft.Support/*", "Microsoft.KeyVault/vaults/*/read",
	}})
	d.Delegable = []string{
		"00482a5a-887f-4fb3-b363-3b7fe8e74483", "a4417e6f-fecd-4de8-b567-7b0420556985", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
		"e147488a-f6f5-4113-8e2d-b22465e65bf6", "12338af0-0e69-4776-bea7-57ae8d297424", "21090545-7ca7-4776-b22c-e363652d74d2",
		"b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "4633458b-17de-408a-b874-0445c86b69e6",
	}
	return d
}

var keyVault = []Definition{
	vaultRole("00482a5a-887f-4fb3-b363-3b7fe8e74483", "Key Vault Administrator", "Perform all data plane operations on a key vault and all objects in it.", "*"),
	role("f25e0fa2-a7c8-4377-a976-54943a77a395", "Key Vault Contributor", "Lets you manage key vaults, but not access to them.",
		Permission{
			Actions: []string{"Microsoft.Authorization/*/read", "Microsoft.Insights/alertRules/*", "Microsoft.KeyVault/*",
				"Microsoft.Resources/deployments/*", "Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Support/*"},
			NotActions: []string{"Microsoft.KeyVault/locations/deletedVaults/purge/action", "Microsoft.KeyVault/hsmPools/*", "Microsoft.KeyVault/managedHsms/*"},
		}),
	vaultRole("14b46e9e-c2b7-41b4-b07b-48a6ebf60603", "Key Vault Crypto Officer", "Perform any action on the keys of a key vault, except manage permissions.",
		"keys/*", "keyrotationpolicies/*"),
	vaultRole("12338af0-0e69-4776-bea7-57ae8d297424", "Key Vault Crypto User", "Perform cryptographic operations using keys.",
		"keys/read", "keys/update/action", "keys/backup/action", "keys/encrypt/action", "keys/decrypt/action",
		"keys/wrap/action", "keys/unwrap/action", "keys/sign/action", "keys/verify/action"),
	role("e147488a-f6f5-4113-8e2d-b22465e65bf6", "Key Vault Crypto Service Encryption User", "Read metadata of keys and perform wrap/unwrap operations.",
		Permission{
			Actions:     []string{"Microsoft.EventGrid/eventSubscriptions/write", "Microsoft.EventGrid/eventSubscriptions/read", "Microsoft.EventGrid/eventSubscriptions/delete"},
			DataActions: []string{vaultData + "keys/read", vaultData + "keys/wrap/action", vaultData + "keys/unwrap/action"},
		}),
	role("08bbd89e-9f13-488c-ac41-acfcb10c90ab", "Key Vault Crypto Service Release User", "Release keys.",
		Permission{DataActions: []string{vaultData + "keys/release/action"}}),
	vaultRole("21090545-7ca7-4776-b22c-e363652d74d2", "Key Vault Reader", "Read metadata of key vaults and its certificates, keys, and secrets.",
		"*/read", "secrets/readMetadata/action"),
	vaultRole("a4417e6f-fecd-4de8-b567-7b0420556985", "Key Vault Certificates Officer", "Perform any action on the certificates of a key vault, except manage permissions.",
		"certificatecas/*", "certificates/*", "certificatecontacts/write"),
	role("db79e9a7-68ee-4b58-9aeb-b90e7c24fcba", "Key Vault Certificate User", "Read entire certificate contents including secret and key portion.",
		Permission{DataActions: []string{vaultData + "certificates/read", vaultData + "secrets/getSecret/action", vaultData + "secrets/readMetadata/action", vaultData + "keys/read"}}),
	vaultRole("b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "Key Vault Secrets Officer", "Perform any action on the secrets of a key vault, except manage permissions.", "secrets/*"),
	role("4633458b-17de-408a-b874-0445c86b69e6", "Key Vault Secrets User", "Read secret contents.",
		Permission{DataActions: []string{vaultData + "secrets/getSecret/action", vaultData + "secrets/readMetadata/action"}}),
	delegation("8b54135c-b56d-4d72-a534-26097cfdc8d8", "Key Vault Data Access Administrator", "Manage access to Azure Key Vault by adding or removing role assignments for the Key Vault Administrator, Key Vault Certificates Officer, Key Vault Crypto Officer, Key Vault Crypto Service Encryption User, Key Vault Crypto User, Key Vault Reader, Key Vault Secrets Officer, or Key Vault Secrets User roles."),
	role("a68e7c17-0ab2-4c09-9a58-125dae29748c", "Key Vault Purge Operator", "Allows permanent deletion of soft-deleted vaults.",
		Permission{Actions: []string{"Microsoft.KeyVault/locations/deletedVaults/read", "Microsoft.KeyVault/locations/deletedVaults/purge/action", "Microsoft.KeyVault/deletedVaults/read", "Microsoft.KeyVault/vaults/read"}}),
}
