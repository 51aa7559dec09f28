"""The Python client as a caller who may use keys but not read them: everything goes to the vault. VAULT_URL
names it, SECRET is the oct key in hexadecimal. Ends with "ok", or with the assertion that failed."""

import os

from azure.core.exceptions import HttpResponseError
from azure.identity import EnvironmentCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import keywrap, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

URL = os.environ["VAULT_URL"]
SECRET = bytes.fromhex(os.environ["SECRET"])
credential = EnvironmentCredential()

try:
    KeyClient(URL, credential).get_key("rsa")
    raise AssertionError("the key can be read")
except HttpResponseError as e:
    assert e.status_code == 403 and "does not have keys get permission" in e.message, e.message


def client(name):
    return CryptographyClient(f"{URL}/keys/{name}", credential)


rsa = client("rsa")
for name in ("RSA-OAEP", "RSA-OAEP-256", "RSA1_5"):
    sealed = rsa.encrypt(EncryptionAlgorithm(name), b"plain")
    assert rsa.decrypt(EncryptionAlgorithm(name), sealed.ciphertext).plaintext == b"plain"
    wrapped = rsa.wrap_key(KeyWrapAlgorithm(name), b"a key")
    assert rsa.unwrap_key(KeyWrapAlgorithm(name), wrapped.encrypted_key).key == b"a key"
for key, name, size in (("rsa", "RS256", 32), ("rsa", "PS512", 64), ("ec", "ES256K", 32), ("oct", "HS384", 48)):
    c, digest = client(key), os.urandom(size)
    signature = c.sign(SignatureAlgorithm(name), digest).signature
    assert c.verify(SignatureAlgorithm(name), digest, signature).is_valid
    assert not c.verify(SignatureAlgorithm(name), digest[::-1], signature).is_valid

oct = client("oct")
wrapped = oct.wrap_key(KeyWrapAlgorithm("A256KW"), bytes(16)).encrypted_key
assert wrapped == keywrap.aes_key_wrap(SECRET, bytes(16))
assert oct.unwrap_key(KeyWrapAlgorithm("A256KW"), wrapped).key == bytes(16)
padder, local = padding.PKCS7(128).padder(), Cipher(algorithms.AES(SECRET), modes.CBC(bytes(16))).encryptor()
sealed = oct.encrypt(EncryptionAlgorithm("A256CBCPAD"), b"plain", iv=bytes(16))
assert sealed.ciphertext == local.update(padder.update(b"plain") + padder.finalize()) + local.finalize()
assert oct.decrypt(EncryptionAlgorithm("A256CBCPAD"), sealed.ciphertext, iv=bytes(16)).plaintext == b"plain"
print("ok")
