//go:build libcrypto

#include "libcrypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

// No configuration is read: OPENSSL_CONF could make the library load code into the process that holds keys.
EVP_PKEY *lk_new(const unsigned char *der, size_t len) {
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return NULL;
	EVP_PKEY *key = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &der, (long)len);
	ERR_clear_error();
	return key;
}

void lk_free(EVP_PKEY *key) { EVP_PKEY_free(key); }

const char *lk_version(void) { return OpenSSL_version(OPENSSL_VERSION_STRING); }

static const EVP_MD *digest(int hash) {
	switch (hash) {
	case 20: return EVP_sha1();
	case 32: return EVP_sha256();
	case 48: return EVP_sha384();
	case 64: return EVP_sha512();
	}
	return NULL;
}

// pad_decryption chooses the padding. OpenSSL 3.2 and later, unless told otherwise, answer a wrong
// PKCS #1 v1.5 padding with an invented message; earlier ones do not know the option.
static int pad_decryption(EVP_PKEY_CTX *ctx, int padding, int hash) {
	if (padding == LK_PKCS1) {
		if (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) <= 0)
			return 0;
		(void)EVP_PKEY_CTX_ctrl_str(ctx, "rsa_pkcs1_implicit_rejection", "0");
		return 1;
	}
	const EVP_MD *md = digest(hash);
	return padding == LK_OAEP && md != NULL
		&& EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0
		&& EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) > 0
		&& EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) > 0;
}

static int pad_signature(EVP_PKEY_CTX *ctx, int padding, int hash) {
	const EVP_MD *md = digest(hash);
	if (padding == LK_PKCS1)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0
			&& (hash == 0 || (md != NULL && EVP_PKEY_CTX_set_signature_md(ctx, md) > 0));
	return padding == LK_PSS && md != NULL
		&& EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0
		&& EVP_PKEY_CTX_set_signature_md(ctx, md) > 0
		&& EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) > 0
		&& EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
}

EVP_PKEY_CTX *lk_decryption(EVP_PKEY *key, int padding, int hash) {
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	int ok = ctx != NULL && EVP_PKEY_decrypt_init(ctx) > 0 && pad_decryption(ctx, padding, hash);
	ERR_clear_error();
	if (ok)
		return ctx;
	EVP_PKEY_CTX_free(ctx);
	return NULL;
}

EVP_PKEY_CTX *lk_signature(EVP_PKEY *key, int padding, int hash) {
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	int ok = ctx != NULL && EVP_PKEY_sign_init(ctx) > 0 && pad_signature(ctx, padding, hash);
	ERR_clear_error();
	if (ok)
		return ctx;
	EVP_PKEY_CTX_free(ctx);
	return NULL;
}

void lk_end(EVP_PKEY_CTX *ctx) { EVP_PKEY_CTX_free(ctx); }

int lk_decrypt(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len, unsigned char *out, size_t cap) {
	int ok = EVP_PKEY_decrypt(ctx, out, &cap, in, len) > 0;
	ERR_clear_error();
	return ok ? (int)cap : -1;
}

int lk_sign(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len, unsigned char *out, size_t cap) {
	int ok = EVP_PKEY_sign(ctx, out, &cap, in, len) > 0;
	ERR_clear_error();
	return ok ? (int)cap : -1;
}
