// Package vault owns key vaults: the vaults themselves, who may use them, and what they hold: keys,
// secrets and certificates. A key that is made or imported here never leaves: operations come to the
// key. What is done with it (the mathematics) is package material.
//
// # What protects what
//
// Private keys and the values of secrets stand in the control store, which is sealed at rest; what is
// parsed is cached in memory for as long as its record lives. No method returns the private part of a
// key, and no type of this package that holds one prints it. A backup leaves the server sealed with
// AES-256-GCM under a key of the control store: it can be restored here and nowhere else.
//
// # Two doors
//
// Methods on vaults (PutVault, DeleteVault, …) belong to Resource Manager: the [Authorizer] decides by
// action and resource id. Methods on objects belong to the data plane: first the vault's firewall, then
// the form of the request, then the vault's access policies or, in RBAC mode, the Authorizer's data
// actions, and only then whether the object exists. A caller without the right cannot tell a missing
// object from a present one.
//
// Each gate's answer is an access.Decision with its reason. One function makes them (decide): the guard
// of an operation turns one that is against into the refusal, [Service.Explain] shows it.
//
// # States
//
//	vault:  absent -> live -> deleted -> live (recover) | absent (purge, or the retention is over)
//	object: absent -> live -> deleted -> live (recover) | absent (purge, or the retention is over)
//
// Soft delete is always on. The retention is fixed when the vault is made; purge protection cannot be
// taken back and forbids purging by hand. What has outlived its retention counts as absent at once and
// is erased by the next change or by [Service.Sweep].
//
// An object is a name with a list of versions; the last made is the current one, and older ones stay
// usable. enabled, nbf and exp belong to a version:
//
//	            disabled                          outside nbf and exp
//	key         no cryptographic operation        decrypts, unwraps and verifies, so that late rotation
//	                                              loses no data; nothing else
//	secret      its value is not read             no difference: that is left to those who use the value
//
// A certificate has a key and a secret of its name, with a version for each of its own: the three change,
// are deleted and come back in one commit, and the two are changed through the certificate only. One that
// signs itself is made at once, and renewed by [Service.Sweep] when its policy says so; one that somebody
// else signs waits, with its key, for the certificate:
//
//	inProgress -> completed (merge) | cancelled | absent (deleted)
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
// # Events
//
// Config.OnEvent is told of new versions, of versions that are switched off and on, of deletion and
// recovery, in the commit that makes it so: whatever changes an object goes through a shelf's putIn, which
// compares. [Service.Sweep] tells of current versions that are near their end or over it, each once; the note
// that it was told is in the same commit. What belongs to a certificate is told of by the certificate.
//
// # Limits and rehearsals
//
// Both are off unless Config says otherwise. With Config.Limits a request is counted before the gates, by
// vault and subscription, in periods of ten seconds; what is refused does not count and leaves no record.
// With Config.AllowFaults an operator can have a vault throttle, be late or be out ([Disturbance]): the
// faces ask [Service.Disturb] before anything else. It is kept in memory only and ends by itself.
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
