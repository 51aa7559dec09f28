# Lists of more than a page: the vault has 27 keys and secrets of the name many-*, and as many versions of one. Only stable output is printed; the golden file has it.
set -euo pipefail
for what in key secret; do
  echo "== $what"
  az keyvault $what list --vault-name kv1 --query "length([?starts_with(name, 'many-')])" -o tsv
  az keyvault $what list-versions --vault-name kv1 -n versions --query "length(@)" -o tsv
  az keyvault $what list-versions --vault-name kv1 -n versions --maxresults 3 --query "length(@)" -o tsv
done
