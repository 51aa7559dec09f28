// Package material is the mathematics of keys: it makes them, reads them from JSON Web Keys, and carries
// out the service's algorithms with them. What a caller may do, when, and with which version belongs to
// package vault; this package knows no caller, no store and no clock.
//
// # What protects what
//
// A [Key] holds a private part and gives it out in one form only, [Key.Private], for the sealed control
// store; [Key.Public] has no private member. No type here prints one.
//
// # Tokens
//
// A key may live in a [Token] (PKCS #11) instead: then no private part is in this process at any time,
// but for the moment of an import. What takes the public half alone (encrypt, wrapKey and verify of RSA
// and EC) is done here, so it works while the token is away. Keys in tokens have no RSNULL, no
// CKM_AES_KEY_WRAP_PAD and no HMAC.
//
// # Algorithms
//
//	RSA  encrypt, decrypt, wrapKey, unwrapKey  RSA1_5, RSA-OAEP (SHA-1), RSA-OAEP-256    RFC 8017
//	     sign, verify                          RS256-512, PS256-512, RSNULL
//	EC   sign, verify                          ES256 (P-256), ES256K (P-256K), ES384, ES512   RFC 7518, 8812
//	oct  wrapKey, unwrapKey                    A128KW-A256KW, CKM_AES_KEY_WRAP            RFC 3394
//	                                           CKM_AES_KEY_WRAP_PAD                       RFC 5649
//	     encrypt, decrypt                      A128GCM-A256GCM, A128CBC-A256CBC, A128CBCPAD-A256CBCPAD
//	     sign, verify                          HS256, HS384, HS512                        RFC 2104
//
// The names are those of the service's published list. Sign takes a digest: the caller has hashed.
//
// # Invariants
//
// A failure to decrypt has one text, whatever was wrong with the cipher text. The nonce of GCM is made
// here and never taken from a caller. Nothing panics on input. Keys are safe for concurrent use.
package material
