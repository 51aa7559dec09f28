# Certificates with every command of az. Only stable output is printed; the golden file has it.
set -euo pipefail
say() { echo "== $*"; }
cert() { az keyvault certificate "$1" --vault-name kv1 "${@:2}"; }
under() { az keyvault certificate "$1" "$2" --vault-name kv1 "${@:3}"; }
deep() { az keyvault certificate "$1" "$2" "$3" --vault-name kv1 "${@:4}"; }
json() { tr -d ' \n'; echo; }
cd "$(mktemp -d)"

say get-default-policy; az keyvault certificate get-default-policy > policy.json; az keyvault certificate get-default-policy --scaffold -o none && echo scaffold
say create; cert create -n c1 -p @policy.json --validity 24 --tags a=b --query "[status, issuerParameters.name, cancellationRequested]" -o json | json
say show; cert show -n c1 --query "[name, policy.x509CertificateProperties.subject, policy.x509CertificateProperties.validityInMonths, policy.keyProperties.keyType, policy.secretProperties.contentType, attributes.enabled, tags.a, kid != null, sid != null, x509ThumbprintHex != null]" -o json | json
v1=$(cert show -n c1 --query id -o tsv); v1=${v1##*/}
say its key and secret; az keyvault key show --vault-name kv1 -n c1 --query "[managed, key.kty]" -o tsv; az keyvault secret show --vault-name kv1 -n c1 --query "[managed, contentType]" -o tsv
{ az keyvault secret set --vault-name kv1 -n c1 --value x -o none 2>&1 || true; } | grep -o "(Forbidden)" | head -n 1
say download; cert download -n c1 -f c1.pem; openssl x509 -in c1.pem -noout -subject; cert download -n c1 -f c1.der -e DER; openssl x509 -inform DER -in c1.der -noout -subject
say another version; cert create -n c1 -p @policy.json -o none; cert list-versions -n c1 --query "length(@)" -o tsv
say list; cert list --query "sort([].name)" -o tsv
say set-attributes; cert set-attributes -n c1 --enabled false --tags c=d --query "[attributes.enabled, tags]" -o json | json
cert set-attributes -n c1 --enabled true -o none
say policy of its own; sed 's/CLIGetDefaultPolicy/own/' policy.json > own.json; cert set-attributes -n c1 --policy @own.json --query policy.x509CertificateProperties.subject -o tsv
say import pem; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out i.pem -subj /CN=imported -days 30 2> /dev/null
cat k.pem i.pem > both.pem; cert import -n pem -f both.pem --query "[policy.keyProperties.keyType, policy.secretProperties.contentType]" -o tsv
say import pfx; openssl pkcs12 -export -in i.pem -inkey k.pem -passout pass:geheim -out i.pfx; cert import -n pfx -f i.pfx --password geheim --query "policy.secretProperties.contentType" -o tsv
{ cert import -n pfx -f i.pfx --password falsch -o none 2>&1 || true; } | grep -o "(BadParameter)" | head -n 1
az keyvault secret download --vault-name kv1 -n pfx -f back.pfx -e base64; openssl pkcs12 -in back.pfx -passin pass: -nodes 2> /dev/null | openssl x509 -noout -subject
say pending; sed 's/"Self"/"Unknown"/' policy.json > unknown.json; cert create -n m1 -p @unknown.json --query status -o tsv
under pending show -n m1 --query csr -o tsv > csr.b64; { echo "-----BEGIN CERTIFICATE REQUEST-----"; fold -w 64 csr.b64; echo "-----END CERTIFICATE REQUEST-----"; } > csr.pem
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=Authority -days 30 2> /dev/null
openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 10 -out m1.pem 2> /dev/null
say merge; under pending merge -n m1 -f m1.pem --query "[name, attributes.enabled]" -o tsv; cert download -n m1 -f m1.out; openssl x509 -in m1.out -noout -issuer
say pending delete; cert create -n m2 -p @unknown.json -o none; under pending delete -n m2 --query status -o tsv
{ under pending show -n m2 -o none 2>&1 || true; } | grep -o "(PendingCertificateNotFound)" | head -n 1
say contacts; under contact add --email ops@example.com --name Ops --phone 1 --query "[contactList, [].email]" -o json | json; under contact list --query "contactList[].name" -o tsv; under contact delete --email ops@example.com -o none && echo gone
say issuers; under issuer create --issuer-name ca1 --provider-name DigiCert --account-id a --password p --query provider -o tsv
deep issuer admin add --issuer-name ca1 --email a@example.com --first-name A -o none; deep issuer admin list --issuer-name ca1 --query "[0].[emailAddress, email, firstName]" -o json | json
under issuer update --issuer-name ca1 --account-id b --query credentials.accountId -o tsv; under issuer list --query "[].provider" -o tsv; under issuer show --issuer-name ca1 --query provider -o tsv
under issuer delete --issuer-name ca1 -o none && echo gone
say backup; cert backup -n c1 -f c1.backup; cert delete -n c1 --query "[recoveryId != null, scheduledPurgeDate != null]" -o tsv
say list-deleted; cert list-deleted --query "[].name" -o tsv; cert show-deleted -n c1 --query name -o tsv
say recover; cert recover -n c1 --query name -o tsv; cert delete -n c1 -o none
say purge; cert purge -n c1; { cert show -n c1 -o none 2>&1 || true; } | grep -o "(CertificateNotFound)" | head -n 1
say restore; cert restore -f c1.backup --query name -o tsv; cert show -n c1 -v "$v1" --query "tags.a" -o tsv; az keyvault key show --vault-name kv1 -n c1 -v "$v1" --query managed -o tsv
