# The tutorial's commands, as they stand in it, after the three that make the group, the vault and
# the account.
set -euo pipefail

az group create --name myresourcegroup --location eastus --output none
az keyvault create --name mykeyvault --resource-group myresourcegroup --location eastus \
  --enable-rbac-authorization false --enable-purge-protection true --output none
az cosmosdb create --name mycosmosdbaccount --resource-group myresourcegroup --output none

RP_SP_ID=$(az ad sp list --display-name "Microsoft.DocumentDB" --query "[].objectId" -o tsv)
az keyvault set-policy --name mykeyvault --resource-group myresourcegroup --object-id $RP_SP_ID --key-permissions get wrapKey unwrapKey

az keyvault key create --vault-name mykeyvault --name mycosmosdbkey --kty RSA --size 2048
KEY_VAULT_URI=$(az keyvault show --name mykeyvault --query properties.vaultUri -o tsv)
KEY_URI="${KEY_VAULT_URI}keys/mycosmosdbkey"

az cosmosdb update --name mycosmosdbaccount --resource-group myresourcegroup --key-uri $KEY_URI
