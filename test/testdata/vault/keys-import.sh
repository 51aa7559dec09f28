# Keys that openssl made are imported, and leave as public keys: those of openssl again. Only stable output is printed; the golden file has it.
set -euo pipefail
say() { echo "== $*"; }
import() { az keyvault key import --vault-name kv1 -o json "$@" | tr -d ' \n'; echo; }
# same NAME: the public key that the vault gives out is the imported one, in both encodings.
same() {
  az keyvault key download --vault-name kv1 -n "$1" -f "$1.pub"
  openssl pkey -in "$1.pem" ${2:+-passin pass:$2} -pubout -outform DER | cmp - <(openssl pkey -pubin -in "$1.pub" -outform DER) && echo same
}
cd "$(mktemp -d)"

openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa-in.pem 2>/dev/null
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -aes256 -pass pass:s3cret -out rsa-locked.pem 2>/dev/null
openssl ecparam -name secp256k1 -genkey -noout -out ec-in.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -aes256 -pass pass:s3cret -out ec-locked.pem

say RSA; import -n rsa-in --pem-file rsa-in.pem --query "[key.kty, key.d, key.p, key.keyOps]"; same rsa-in
say RSA with a password; import -n rsa-locked --pem-file rsa-locked.pem --pem-password s3cret --ops sign verify --tags a=b --query "[key.kty, key.keyOps, tags]"; same rsa-locked s3cret
say hsm; import -n rsa-hsm --pem-file rsa-in.pem --protection hsm --disabled --query "[key.kty, attributes.enabled]"
say EC; import -n ec-in --pem-file ec-in.pem --expires 2099-01-01T00:00:00Z --query "[key.kty, key.crv, key.d, attributes.expires]"; same ec-in
say EC with a password, as a string; import -n ec-locked --pem-string "$(cat ec-locked.pem)" --pem-password s3cret --query "[key.kty, key.crv]"; same ec-locked s3cret
say DER; az keyvault key download --vault-name kv1 -n rsa-in -f rsa-in.der -e DER; openssl pkey -in rsa-in.pem -pubout -outform DER | cmp - rsa-in.der && echo same
say exportable; az keyvault key get-policy-template -o json > policy.json
import -n exp-in --pem-file rsa-in.pem --exportable true --policy policy.json --query "[attributes.exportable, releasePolicy.immutable]"
say a blob for hardware is refused; head -c 64 /dev/urandom > blob
{ az keyvault key import --vault-name kv1 -n byok --byok-file blob -o none 2>&1 || true; } | grep -o "(BadParameter) The property 'key_hsm' is not supported" | head -n 1
