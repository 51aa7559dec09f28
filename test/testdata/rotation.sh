# Key rotation as its users type it. Only stable output is printed; rotation.golden has it.
set -euo pipefail
say() { echo "== $*"; }
policy() { az keyvault key rotation-policy "$1" --vault-name kv1 -n k1 --query "[expiresIn, lifetimeActions[].[action,timeAfterCreate,timeBeforeExpiry]]" -o json "${@:2}" | tr -d " \n"; echo; }

az group create -n rg1 -l westeurope -o none
az keyvault create -n kv1 -g rg1 -l westeurope --enable-rbac-authorization false -o none
az keyvault key create --vault-name kv1 -n k1 --kty RSA --size 2048 -o none

say without the permission
{ az keyvault key rotation-policy show --vault-name kv1 -n k1 -o none 2>&1 || true; } | grep -o "does not have keys getrotationpolicy permission" | head -n 1
me=$(az keyvault show -n kv1 --query "properties.accessPolicies[0].objectId" -o tsv)
az keyvault set-policy -n kv1 --object-id "$me" --key-permissions all rotate getrotationpolicy setrotationpolicy -o none

say default; policy show
say update
policy update --value '{
  "lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}],
  "attributes": {"expiryTime": "P6M"}}'
say show; policy show
say refused
{ az keyvault key rotation-policy update --vault-name kv1 -n k1 -o none --value '{
  "lifetimeActions": [{"trigger": {"timeAfterCreate": "P1D"}, "action": {"type": "Rotate"}}]}' 2>&1 || true; } | grep -o "BadParameter" | head -n 1
say rotate
az keyvault key rotate --vault-name kv1 -n k1 --query "attributes.expires != null" -o tsv
az keyvault key list-versions --vault-name kv1 -n k1 --query "length(@)" -o tsv
