# The tutorial's flow in a vault that role assignments govern, with the database's role on the one
# key and nothing else.
set -euo pipefail

az group create --name myresourcegroup --location eastus --output none
VAULT_ID=$(az keyvault create --name mykeyvault --resource-group myresourcegroup --location eastus \
  --enable-rbac-authorization true --enable-purge-protection true --query id -o tsv)
az cosmosdb create --name mycosmosdbaccount --resource-group myresourcegroup --output none

az role assignment create --role "Key Vault Crypto Officer" --scope $VAULT_ID \
  --assignee-object-id "$1" --assignee-principal-type ServicePrincipal --output none
az keyvault key create --vault-name mykeyvault --name mycosmosdbkey --kty RSA --size 2048 --output none
az keyvault key create --vault-name mykeyvault --name otherkey --kty RSA --size 2048 --output none

RP_SP_ID=$(az ad sp list --display-name "Microsoft.DocumentDB" --query "[].id" -o tsv)
az role assignment create --role "Key Vault Crypto Service Encryption User" --scope $VAULT_ID/keys/mycosmosdbkey \
  --assignee-object-id $RP_SP_ID --assignee-principal-type ServicePrincipal --output none

az cosmosdb update --name mycosmosdbaccount --resource-group myresourcegroup \
  --key-uri https://mykeyvault.vault.azure.net/keys/mycosmosdbkey --output none
