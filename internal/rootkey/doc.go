// Package rootkey owns the platform's root key: how it is protected, the few keys that it opens, and how
// all of them are renewed.
//
// # Which key protects what
//
//	root key             32 bytes; in a file, or wrapped by a passphrase or by a key in a PKCS #11 token
//	   | AES-256-GCM     root.ring: under a key derived from the root key
//	platform keys        for each purpose one current key and what is left of those before
//	   control           data key of the control store
//	   audit             data key of the audit log
//	   accounts          wraps the account keys that no customer's key wraps
//
// A directory from before there was a ring has 32 bytes in root.key and no root.ring; its platform keys
// are derived from the root key. It is served as it is until the first rotation.
//
// # Protections
//
//	file          the key in the clear in root.key: the file's permissions protect it
//	file:PATH     the same in a file elsewhere; root.key says where
//	passphrase    root.key holds the key, encrypted under scrypt of a passphrase
//	pkcs11:URI    root.key holds the key, encrypted by an AES-256 key that never leaves a token
//
// The directory knows its protection: it is chosen when the directory is made, and changed by a rotation.
// Whoever opens it says nothing, or says the same; another place of the same kind (the file was moved, the
// library has another path) may be said.
//
// # Rotation
//
//	step                                            a start after a crash here finds
//	1  root.ring: old entry, new entry              the old root key; it drops the new entry
//	2  the new root key in its place, one rename    the new root key; it drops the old entry
//	3  root.ring: new entry                         the rotation done
//
// Every rotation makes new current platform keys beside the root key. The old entry never holds them: who
// has the old root key and every file from before reads those files, and nothing that is written later.
// The keys before are kept as retired ones, because files stand under them; a rotation that is to reseal
// marks them as leaving instead, and they are dropped when nothing stands under them any more. The owner
// of the files does that, also after a crash: see [Ring.Leaving].
//
// # Invariants
//
//   - The root key of a passphrase or token protection is never on the disk in the clear.
//   - A failure to open writes nothing. A root key is made in a directory without data only.
//   - A new wrapping is opened again, from its bytes, before anything is written.
//   - Of a passphrase, a token's absence, a missing file and damage each has an error of its own.
//
// # Without its dependencies
//
// A token that does not answer keeps the server from starting and does not stop one that runs: the root
// key is needed at the start only, and to drop keys.
package rootkey
