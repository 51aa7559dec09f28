# Keys are made with every option of az. Only stable output is printed; the golden file has it.
set -euo pipefail
say() { echo "== $*"; }
create() { az keyvault key create --vault-name kv1 -o json "$@" | tr -d ' \n'; echo; }
# sized prints type and curve of a new key, and how many bytes its public members have.
sized() { az keyvault key create --vault-name kv1 -o json "$@" | python3 -c 'import base64, json, sys
k = json.load(sys.stdin)["key"]
print(k["kty"], k["crv"] or "", *(m + ":" + str(len(base64.b64decode(k[m]))) for m in ("n", "x", "y") if k[m]))'; }
refused() { { az keyvault key create --vault-name kv1 -o none "$@" 2>&1 || true; } | grep -o "$want" | head -n 1; }
cd "$(mktemp -d)"

say RSA; create -n rsa --query "[key.kty, key.keyOps, attributes.enabled, attributes.recoveryLevel, attributes.recoverableDays, attributes.exportable, tags]"
say RSA 3072; sized -n rsa3072 --kty RSA --size 3072
say P-256; sized -n p256 --curve P-256
say P-256K; sized -n p256k --kty EC --curve P-256K
say P-384; sized -n p384 --kty EC --curve P-384
say P-521; sized -n p521 --kty EC --curve P-521
say oct; create -n oct --kty oct --size 192 --query "[key.kty, key.keyOps, key.k]"
say hsm; create -n hsm --protection hsm --query "[key.kty, attributes.hsmPlatform]"
say EC-HSM; create -n echsm --kty EC-HSM --query "[key.kty, key.crv]"
say everything; create -n full --ops wrapKey unwrapKey --not-before 2097-01-01T00:00:00Z --expires 2099-01-01T00:00:00Z --tags team=ledger stage="pre prod" --disabled \
  --query "[key.keyOps, attributes.enabled, attributes.notBefore, attributes.expires, tags]"

say policy template; az keyvault key get-policy-template -o json > policy.json; python3 -c 'import json; print(sorted(json.load(open("policy.json"))))'
say exportable; create -n exp --exportable true --policy policy.json --query "[attributes.exportable, releasePolicy.immutable, releasePolicy.contentType]"
sed 's/<issuer>/issuer/' policy.json > other.json; az keyvault key set-attributes --vault-name kv1 -n exp --policy other.json --query releasePolicy -o json | grep -o 'authority[^,}]*' | tr -d '\\" '
say rotated; az keyvault key rotate --vault-name kv1 -n exp --query "[attributes.exportable, releasePolicy.immutable]" -o json | tr -d ' \n'; echo
say immutable; create -n imm --exportable true --policy policy.json --immutable true --query "[attributes.exportable, releasePolicy.immutable]"
{ az keyvault key set-attributes --vault-name kv1 -n imm --policy policy.json -o none 2>&1 || true; } | grep -o "Immutable Key Release Policy cannot be modified" | head -n 1
say refused
want="(BadParameter) An exportable key must have a release policy" refused -n no1 --exportable true
want="(BadParameter) The key size 1024 is not valid for RSA" refused -n no2 --size 1024
want="(BadParameter) The attribute 'exp' must be later than 'nbf'" refused -n no3 --not-before 2099-01-01T00:00:00Z --expires 2098-01-01T00:00:00Z
want="(BadParameter) The key operation 'encrypt' is not possible" refused -n no4 --kty EC --ops encrypt
want="resource namespace 'Microsoft.Attestation' is invalid" refused -n no5 --exportable true --default-cvm-policy
want="resource namespace 'Microsoft.Attestation' is invalid" refused -n no6 --exportable true --default-data-disk-policy
