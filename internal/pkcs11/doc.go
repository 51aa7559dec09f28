// Package pkcs11 uses keys that live in a hardware security module, or in any other token with a
// PKCS #11 library, and never leave it.
//
// # What it owns
//
// A [Token] is one token of one PKCS #11 library, logged in as the user. It makes keys, takes keys in,
// finds them by the identifier that its caller gave (CKA_ID), removes them, and computes with them. It
// knows nothing of vaults or of the root key: callers say what a key is for.
//
// # Builds
//
// PKCS #11 is a C interface. A build with the tag pkcs11 (which needs cgo) has it; in every other
// build [Open] returns [ErrUnsupported]. Everything but the thin binding is the same in both, so that
// its rules are tested in both.
//
// # Keys
//
//	Generate, Import   token objects, private, sensitive, not extractable
//	public half        a public-key object beside the private one, with the same CKA_ID
//	identifier         CKA_ID; Generate and Import refuse one that is taken
//	Destroy            removes every object with the identifier; one that is not there is no error
//
// Computations happen in the token, but for two things that are no secret of the key: the DigestInfo
// before a PKCS #1 v1.5 signature; and the padding of RSA-OAEP with SHA-256, where a token cannot take
// it off itself (SoftHSM 2 cannot). Then the token does the raw RSA computation, and the padding is
// taken off here, in constant time. RFC 3394 key wrap of bytes from outside makes them a session object
// of the token for the length of the call.
//
// # Sessions
//
// A Token has a fixed number of sessions, opened when first needed; a call takes one, and waits for one
// as long as its context allows. A call into the library itself cannot be interrupted. When the library
// reports that session, login or token are gone, all sessions are opened anew and the call is made once
// more: a token that was unplugged and is back is noticed by nobody. A second failure is
// [ErrUnavailable]. Objects that are found are remembered until then.
//
// The library is loaded once for a process, however many Tokens use it, and closed with the last. A
// login belongs to the process and the token: where two Tokens open the same one, the PIN of the second
// may not be looked at.
//
// A PIN that was refused is never shown to the token again by the same Token: tokens lock themselves
// after a few wrong ones.
//
// # Errors
//
// Wrong padding, a wrong tag, a wrong length: always [ErrInput], without a cause, whatever code the token
// chose. What the token cannot do is [ErrMechanism]; a silent or absent token is [ErrUnavailable] or
// [ErrNoToken]. PINs and key material are in no error.
//
// # Invariants
//
//   - No method returns secret key material of a token object.
//   - Buffers of the C library are freed but not wiped by the binding: a memory dump of this process may
//     hold PINs and results, though never a token's keys.
package pkcs11
