// The four operations and the life of a key, on OpenSSL 3. Every function leaves the error queue of the
// thread empty. Lengths are in bytes.

#include <stddef.h>
#include <openssl/evp.h>

// lk_new parses a private key in PKCS #1 (DER); NULL when it is none.
EVP_PKEY *lk_new(const unsigned char *der, size_t len);

// lk_free drops a reference; the last one wipes the key.
void lk_free(EVP_PKEY *key);

// How bytes are padded.
enum { LK_PKCS1, LK_OAEP, LK_PSS };

// lk_decryption and lk_signature begin operations with one padding; NULL when the library refuses. What
// they return serves one operation after another, never two at once, and is given back with lk_end. hash is
// the size of a hash function's value, 0 for none; LK_OAEP and LK_PSS need one.
EVP_PKEY_CTX *lk_decryption(EVP_PKEY *key, int padding, int hash);
EVP_PKEY_CTX *lk_signature(EVP_PKEY *key, int padding, int hash);
void lk_end(EVP_PKEY_CTX *ctx);

// lk_decrypt and lk_sign write at most cap bytes to out and return how many, or -1.
int lk_decrypt(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len, unsigned char *out, size_t cap);
int lk_sign(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len, unsigned char *out, size_t cap);

// lk_version is the version of the library that runs.
const char *lk_version(void);
