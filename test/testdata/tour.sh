# What a reader of the tutorial tries next. Only stable output is printed; tour.golden has it.
set -euo pipefail
say() { echo "== $*"; }

az group create -n rg1 -l westeurope -o none
say group; az group show -n rg1 --query "[name,location,properties.provisioningState]" -o tsv
say exists; az group exists -n rg1; az group exists -n nothere
say groups; az group list --query "[].name" -o tsv

az keyvault create -n kv1 -g rg1 -l westeurope --enable-rbac-authorization false -o none
say vault; az keyvault show -n kv1 --query "[name,properties.vaultUri,properties.enableSoftDelete,properties.enablePurgeProtection]" -o tsv
say vaults; az keyvault list --query "[].name" -o tsv
az keyvault key create --vault-name kv1 -n k1 --kty RSA --size 2048 -o none
az keyvault key create --vault-name kv1 -n k1 --kty RSA --size 2048 -o none
say keys; az keyvault key list --vault-name kv1 --query "[].name" -o tsv
say versions; az keyvault key list-versions --vault-name kv1 -n k1 --query "length(@)" -o tsv
say key; az keyvault key show --vault-name kv1 -n k1 --query "[key.kty,attributes.enabled,attributes.recoveryLevel]" -o tsv
say encrypt; c=$(az keyvault key encrypt --vault-name kv1 -n k1 -a RSA-OAEP-256 --value hello --data-type plaintext --query result -o tsv)
az keyvault key decrypt --vault-name kv1 -n k1 -a RSA-OAEP-256 --value "$c" --data-type plaintext --query result -o tsv
say delete; az keyvault key delete --vault-name kv1 -n k1 -o none; az keyvault key list-deleted --vault-name kv1 --query "[].name" -o tsv
az keyvault key recover --vault-name kv1 -n k1 -o none; az keyvault key show --vault-name kv1 -n k1 --query key.kty -o tsv
say soft-deleted vault; az keyvault delete -n kv1 -g rg1 -o none; az keyvault list-deleted --query "[].name" -o tsv
az keyvault recover -n kv1 -o none; az keyvault show -n kv1 --query name -o tsv

az cosmosdb create -n acct1 -g rg1 -o none
say account; az cosmosdb show -n acct1 -g rg1 --query "[name,kind,documentEndpoint,provisioningState]" -o tsv
say accounts; az cosmosdb list --query "[].name" -o tsv
say exists; az cosmosdb check-name-exists -n acct1; az cosmosdb check-name-exists -n nothere
az cosmosdb sql database create -a acct1 -g rg1 -n db1 -o none
az cosmosdb sql container create -a acct1 -g rg1 -d db1 -n c1 -p /pk -o none
say sql; az cosmosdb sql database list -a acct1 -g rg1 --query "[].name" -o tsv
az cosmosdb sql container show -a acct1 -g rg1 -d db1 -n c1 --query "[name,resource.partitionKey.paths[0]]" -o tsv
say keys; before=$(az cosmosdb keys list -n acct1 -g rg1 --query primaryMasterKey -o tsv); echo ${#before}
az cosmosdb keys regenerate -n acct1 -g rg1 --key-kind primary -o none
after=$(az cosmosdb keys list -n acct1 -g rg1 --query primaryMasterKey -o tsv); [ "$before" != "$after" ] && echo regenerated
az cosmosdb identity assign -n acct1 -g rg1 -o none; az cosmosdb identity show -n acct1 -g rg1 --query type -o tsv

say principals; az ad sp list --display-name "Azure Cosmos DB" --query "[].appId" -o tsv
az ad sp create-for-rbac -n app1 --role Reader --scopes $(az group show -n rg1 --query id -o tsv) -o none
app=$(az ad sp list --display-name app1 --query "[0].appId" -o tsv)
say role; az role assignment list -g rg1 --assignee $app --query "[].roleDefinitionName" -o tsv
az role assignment create --assignee $app --role "Cosmos DB Operator" --scope $(az cosmosdb show -n acct1 -g rg1 --query id -o tsv) -o none
az role assignment list --all --assignee $app --query "sort([].roleDefinitionName)" -o tsv
az ad sp delete --id $app; az ad sp list --display-name app1 --query "length(@)" -o tsv

say resources; az resource list -g rg1 --query "sort([].type)" -o tsv
az cosmosdb sql container delete -a acct1 -g rg1 -d db1 -n c1 -y
az cosmosdb delete -n acct1 -g rg1 -y
az group delete -n rg1 -y
say gone; az group list --query "length(@)" -o tsv; az keyvault list-deleted --query "[].name" -o tsv
az keyvault purge -n kv1; az keyvault list-deleted --query "length(@)" -o tsv
