# What the vault encrypts and signs is checked with openssl. Only stable output is printed; the golden file has it.
set -euo pipefail
say() { echo "== $*"; }
key() { az keyvault key "$1" --vault-name kv1 "${@:2}"; }
cd "$(mktemp -d)"
digest() { openssl dgst "-sha$1" -binary message; }
echo "the message" > message

key create -n crypto -o none; key create -n crypto-ec --curve P-384 -o none; key create -n crypto-oct --kty oct --size 256 --ops encrypt decrypt sign verify -o none
key download -n crypto -f rsa.pub; key download -n crypto-ec -f ec.pub
for alg in RSA-OAEP-256 RSA1_5; do
  say "$alg"; c=$(key encrypt -n crypto -a $alg --value "hello $alg" --data-type plaintext --query result -o tsv)
  key decrypt -n crypto -a $alg --value "$c" --data-type plaintext --query result -o tsv
done
say from openssl; echo -n "from outside" | openssl pkeyutl -encrypt -pubin -inkey rsa.pub -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1 | base64 -w0 > c
key decrypt -n crypto -a RSA-OAEP --value "$(cat c)" --data-type plaintext --query result -o tsv
say RS256; key sign -n crypto -a RS256 --digest "$(digest 256 | base64 -w0)" --query signature -o tsv > s; base64 -d s > s.bin
openssl dgst -sha256 -verify rsa.pub -signature s.bin message
key verify -n crypto -a RS256 --digest "$(digest 256 | base64 -w0)" --signature "$(cat s)" --query isValid -o tsv
say PS512; key sign -n crypto -a PS512 --digest "$(digest 512 | base64 -w0)" --query signature -o tsv | base64 -d > s.bin
openssl dgst -sha512 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:64 -verify rsa.pub -signature s.bin message
say ES384; key sign -n crypto-ec -a ES384 --digest "$(digest 384 | base64 -w0)" --query signature -o tsv > s; base64 -d s | wc -c
key verify -n crypto-ec -a ES384 --digest "$(digest 384 | base64 -w0)" --signature "$(cat s)" --query isValid -o tsv
key verify -n crypto-ec -a ES384 --digest "$(head -c 48 /dev/zero | base64 -w0)" --signature "$(cat s)" --query isValid -o tsv
say A256GCM; key encrypt -n crypto-oct -a A256GCM --value hello --data-type plaintext --aad 0102 -o json > out.json
part() { python3 -c 'import json, sys; print(json.load(open("out.json"))[sys.argv[1]] or "")' "$1"; }
key decrypt -n crypto-oct -a A256GCM --value "$(part result)" --data-type plaintext --iv "$(part iv)" --tag "$(part tag)" --aad 0102 --query result -o tsv
say A256CBC; key encrypt -n crypto-oct -a A256CBC --value "sixteen bytes..." --data-type plaintext --iv 000102030405060708090a0b0c0d0e0f -o json > out.json
key decrypt -n crypto-oct -a A256CBC --value "$(part result)" --data-type plaintext --iv 000102030405060708090a0b0c0d0e0f --query result -o tsv
