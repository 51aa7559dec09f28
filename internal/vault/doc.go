// Package vault owns key vaults: the vaults themselves, who may use them, and the keys in them. A key
// that is made or imported here never leaves: operations come to the key.
//
// # What protects what
//
// Private keys are PKCS #8 in the control store, which is sealed at rest; parsed keys are cached in
// memory for as long as their record lives. No method returns a private part, and no type of this
// package that holds one prints it.
//
// # Two doors
//
// Methods on vaults (PutVault, DeleteVault, …) belong to Resource Manager: the [Authorizer] decides by
// action and resource id. Methods on keys belong to the data plane: first the vault's firewall, then the
// form of the request, then the vault's access policies or, in RBAC mode, the Authorizer's data
// actions, and only then whether the key exists. A caller without the right cannot tell a missing key
// from a present one.
//
// # States
//
//	vault: absent -> live -> deleted -> live (recover) | absent (purge, or the retention is over)
//	key:   absent -> live -> deleted -> live (recover) | absent (purge, or the retention is over)
//
// Soft delete is always on. The retention is fixed when the vault is made; purge protection cannot be
// taken back and forbids purging by hand. What has outlived its retention counts as absent at once and
// is erased by the next change or by [Service.Sweep].
//
// A key is a list of versions; the last made is the current one. Older versions stay usable. disabled
// blocks every cryptographic operation of a version; a version outside nbf and exp still decrypts,
// unwraps and verifies, so that late rotation loses no data.
//
// # Rotation
//
// A key may have a policy: when its current version is replaced, counted from the version's creation or
// back from its exp, and how long versions that a rotation makes live. [Service.Sweep] makes the version
// that is due, in the platform's name and like a caller would; [Service.NextRotation] says when to
// sweep. Only the current version counts, so a server that was down for long makes one version, not all
// that it missed. A key that is disabled or deleted, or whose vault is, waits. What is due is looked at
// again when the change is made. A rotation that fails is tried by the next sweep; the old version goes
// on working meanwhile.
//
// # Invariants
//
// A change is durable before anybody sees it, and OnChange fires after that, outside all locks.
// Records in memory are immutable: a change publishes a new one. Keys are generated and used outside
// all locks. A cryptographic result is released only after the audit log has recorded it; a change is
// made only after its permission has been recorded.
//
// # Dependencies
//
// The store: without it nothing changes, but keys in memory go on working. The audit log: when it
// fails, every operation on keys and every change fails with it.
package vault
