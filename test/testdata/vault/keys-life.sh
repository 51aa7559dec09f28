# A key from its first version to its end, and back again. Only stable output is printed; the golden file has it.
set -euo pipefail
say() { echo "== $*"; }
key() { az keyvault key "$1" --vault-name kv1 "${@:2}"; }
cd "$(mktemp -d)"

v1=$(key create -n life --tags n=1 --query key.kid -o tsv); v1=${v1##*/}
v2=$(key create -n life --kty EC --query key.kid -o tsv); v2=${v2##*/}
say show; key show -n life --query "[key.kty, ends_with(key.kid, '$v2')]" -o json | tr -d ' \n'; echo
say version; key show -n life -v "$v1" --query "[key.kty, tags]" -o json | tr -d ' \n'; echo
say by id; az keyvault key show --id "https://kv1.vault.azure.net/keys/life/$v1" --query key.kty -o tsv
say list; key list --query "length([?name=='life'])" -o tsv; key list --maxresults 1 --query "length(@)" -o tsv
say list-versions; [ "$(key list-versions -n life --query "sort([].kid)" -o tsv)" = "$(printf 'https://kv1.vault.azure.net/keys/life/%s\n' "$v1" "$v2" | sort)" ] && echo both
say set-attributes
key set-attributes -n life --enabled false --not-before 2020-01-01T00:00:00Z --expires 2099-01-01T00:00:00Z --ops sign --tags x=y --query "[attributes.enabled, attributes.notBefore, attributes.expires, key.keyOps, tags]" -o json | tr -d ' \n'; echo
key set-attributes -n life -v "$v1" --tags --query "[attributes.enabled, tags]" -o json | tr -d ' \n'; echo
say disabled; { key sign -n life -a ES256 --digest "$(head -c 32 /dev/zero | base64)" -o none 2>&1 || true; } | grep -o "Operation sign is not allowed on a disabled key" | head -n 1
say backup; key backup -n life -f life.backup; head -c 24 life.backup; echo
say exists; { key restore -f life.backup -o none 2>&1 || true; } | grep -o "(Conflict)" | head -n 1
say delete; key delete -n life --query "[recoveryId, scheduledPurgeDate != null]" -o tsv
say deleted; { key show -n life -o none 2>&1 || true; } | grep -o "(KeyNotFound) A key with (name/id) life was not found in this key vault" | head -n 1
{ key create -n life -o none 2>&1 || true; } | grep -o "Key life is currently in a deleted but recoverable state" | head -n 1
say list-deleted; key list-deleted --query "[?name=='life'].recoveryId" -o tsv
say show-deleted; key show-deleted -n life --query "[recoveryId, key.kty]" -o tsv
say recover; key recover -n life --query "[key.kty, tags.x]" -o tsv
say purge; key delete -n life -o none; az keyvault key purge --id https://kv1.vault.azure.net/deletedkeys/life; { key show-deleted -n life -o none 2>&1 || true; } | grep -o "(KeyNotFound) Deleted Key not found: life" | head -n 1
say restore; key restore -f life.backup --query "[key.kty, attributes.enabled, tags.x, ends_with(key.kid, '$v2')]" -o tsv
key list-versions -n life --query "length(@)" -o tsv
say not a backup; head -c 100 /dev/urandom > bad; { key restore -f bad -o none 2>&1 || true; } | grep -o "Backup blob is corrupt" | head -n 1
say nothing there; key list-versions -n nosuch -o json
{ key delete -n nosuch -o none 2>&1 || true; } | grep -o "(KeyNotFound) A key with (name/id) nosuch was not found in this key vault" | head -n 1
say random; az keyvault key random --id https://kv1.vault.azure.net/ --count 16 --query value -o json | tr -d '"' | base64 -d | wc -c
say attestation; az keyvault key get-attestation --id https://kv1.vault.azure.net/keys/life -o json
