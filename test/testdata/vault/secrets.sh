# Secrets with every command of az. Only stable output is printed; the golden file has it.
set -euo pipefail
say() { echo "== $*"; }
secret() { az keyvault secret "$1" --vault-name kv1 "${@:2}"; }
json() { tr -d ' \n'; echo; }
cd "$(mktemp -d)"

say set; v1=$(secret set -n s1 --value "first é" --query id -o tsv); v1=${v1##*/}
secret set -n s1 --value second --content-type text/plain --expires 2099-01-01T00:00:00Z --not-before 2020-01-01T00:00:00Z --tags a=b \
  --query "[value, contentType, attributes.expires, attributes.notBefore, attributes.enabled, attributes.recoveryLevel, tags, kid, managed]" -o json | json
say show; secret show -n s1 --query "[name, value]" -o tsv
say version; secret show -n s1 -v "$v1" --query value -o tsv
say by id; az keyvault secret show --id "https://kv1.vault.azure.net/secrets/s1/$v1" --query value -o tsv
say from a file; printf 'line one\nline two\n' > text; secret set -n text -f text --query value -o json
say download; secret download -n text -f text.out; cmp text text.out && echo same
say base64; head -c 300 /dev/urandom > bytes; secret set -n bytes -f bytes -e base64 --query "tags" -o json | json
secret download -n bytes -f bytes.out; cmp bytes bytes.out && echo same
say hex; secret set -n hex -f bytes -e hex -o none; secret download -n hex -f hex.out; cmp bytes hex.out && echo same
say disabled; secret set -n off --value x --disabled --query attributes.enabled -o tsv
{ secret show -n off -o none 2>&1 || true; } | grep -o "Operation get is not allowed on a disabled secret" | head -n 1
say list; secret list --query "sort([?name=='s1' || name=='text' || name=='bytes' || name=='off'].name)" -o tsv
secret list --query "[?value != null]" -o tsv
say list-versions; secret list-versions -n s1 --query "length(@)" -o tsv
say set-attributes; secret set-attributes -n s1 --content-type text/html --enabled true --expires 2098-01-01T00:00:00Z --tags c=d \
  --query "[contentType, attributes.enabled, attributes.expires, tags, value]" -o json | json
say backup; secret backup -n s1 -f s1.backup
{ secret restore -f s1.backup -o none 2>&1 || true; } | grep -o "(Conflict)" | head -n 1
say delete; secret delete -n s1 --query "[recoveryId, scheduledPurgeDate != null]" -o tsv
say list-deleted; secret list-deleted --query "[?name=='s1'].recoveryId" -o tsv
say show-deleted; secret show-deleted -n s1 --query "[recoveryId, contentType]" -o tsv
say recover; secret recover -n s1 --query "[name, contentType]" -o tsv; secret show -n s1 --query value -o tsv
say purge; secret delete -n s1 -o none; secret purge -n s1
{ secret show -n s1 -o none 2>&1 || true; } | grep -o "(SecretNotFound) A secret with (name/id) s1 was not found in this key vault" | head -n 1
say restore; secret restore -f s1.backup --query "[name, contentType, tags.c]" -o tsv
secret show -n s1 -v "$v1" --query value -o tsv; secret list-versions -n s1 --query "length(@)" -o tsv
say too long; head -c 26000 /dev/zero | tr '\0' x > long; { secret set -n long -f long -o none 2>&1 || true; } | grep -o "(BadParameter)" | head -n 1
