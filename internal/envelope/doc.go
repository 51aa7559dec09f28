// Package envelope owns the keys of every database account and decides, from what the customer's
// vault says, whether an account may be served.
//
// # Which key protects what
//
//	customer key (KEK)   RSA, in a vault, never here; the account's identity may wrap and unwrap with it
//	   | RSA-OAEP-256    or, for an account without a customer key: AES-256-GCM under the platform's root key
//	account key (AK)     32 bytes; on disk only wrapped, in the account's keyring
//	   | AES-256-GCM     under a key derived from the AK; purpose, account and data key id are authenticated
//	data keys (DK)       32 bytes; the current one seals new files, retired ones open old files
//	   | package sealfs
//	every file of the account's store
//
// The keyring file holds the wrapped AK and the wrapped DKs and ends in a MAC under a second key
// derived from the AK, so that it can be read but not changed without the KEK; docs/FORMAT.md
// describes it byte by byte.
//
// Nothing is sent to a vault's wrapKey before the keyring that names the vault was authenticated,
// and a probe wraps random bytes, never the AK.
//
// # States
//
// An account is in one state at a time; the transitions are:
//
//	state        event                               next
//	sealed       Acquire                             opening
//	sealed       probe confirmed                     sealed (a newer key version is adopted)
//	sealed       probe denied                        revoked
//	sealed       probe unanswered                    sealed
//	opening      unwrap, MAC, anchor and store good  open (AccountOpened)
//	opening      denied, or no answer                revoked (AccountRevoked)
//	opening      keyring or store fails to verify    quarantined
//	opening      audit log or disk refuses           as before; an Acquire tries again after a while
//	open         probe confirmed                     open
//	open         probe unanswered                    grace (GraceStarted); draining when Grace is 0
//	open         not used, or its place is needed    draining, then sealed; requests wait and open it again
//	open         last step of a re-encryption        opening, then open; requests wait
//	open, grace  probe denied                        draining
//	open, grace  engine failed                       quarantined, once the holders are gone
//	grace        probe confirmed                     open (AccountRestored)
//	grace        deadline passed                     draining
//	draining     last holder released, store closed  revoked; AK and DKs are wiped, then OnLock is called
//	revoked      probe confirmed                     opening, then open (AccountRestored)
//	revoked      probe denied or unanswered          revoked; the next probe is later
//	quarantined  Retry, a restart                    sealed
//	quarantined  a while after the disk failed       sealed
//	quarantined  Accept (files were replaced)        sealed (AccountAccepted)
//	any          Lock                                draining, then locked (AccountLocked)
//	locked       Unlock                              sealed (AccountUnlocked), or quarantined as before
//	any          Delete                              gone: the keyring is overwritten, then removed
//
// Protect on a draining account waits until it is locked; on a revoked one it opens.
//
// A re-wrap (a newer version of the key, Protect, RotateKeys) is no state: the account serves all the
// while. The old wrapping is replaced only after the new one was unwrapped again.
//
// "Denied" is a definite no: the vault, or the token service, refused. "Unanswered" is silence or a
// failure of the other side. A start never trusts yesterday's yes: every account begins sealed, and
// opening it takes a real unwrap by the vault; there is no grace for a cold start.
//
// # Re-encryption
//
// When the data key changes (RotateKeys, or Protect of an account that leaves the platform's key),
// everything that stands under a retired data key is sealed again in the background:
//
//	keyring has a retired DK
//	   | flush: the memtable and the log under the old key end
//	   | tables and blobs, one by one, at a bounded rate, below the running engine   <-+
//	   |   denied, locked, closed, failed: rests, and begins again here when it can  --+
//	   | quiesce: requests wait, the store is closed; logs, manifest and options are sealed again
//	   | no header names a retired DK: the keyring drops it, and the keyring before is overwritten
//	   v opened again
//	one DK
//
// What is to be done stands in the keyring and in the headers of the files and nowhere else: after a
// crash the work goes on with what is left. One account is worked on at a time.
//
// # Anchors
//
// Who can write the disk can put an older or a foreign keyring and store in an account's directory;
// the MACs hold. So another place ([Anchors]; the control store) remembers of each account the digest
// of its keyring, number and id of the manifest of the last opening, and the digest of its files at
// the last clean close. What does not match is quarantined until an operator has put the right files
// back, or accepts what is there. docs/THREATS.md says what this cannot see.
//
// # Budget
//
// At most MaxOpen accounts have their store open, with CacheBytes of memory for all of them together.
// An account costs a goroutine and about 20 KiB when it is not open; when it is, besides, about nine
// descriptors, four goroutines and 200 KiB, and its share of the memory. Tables have 8 descriptors per
// open account, shared by all.
//
// # Probes
//
// A probe asks for all three rights that the database needs: it reads the key, unwraps the stored AK
// and compares it, and wraps random bytes. Probes of one account never overlap. They run every
// Interval (less up to a tenth, at random), and at once after Hint and Check; a hint that arrives
// during a probe causes one more after it. While revoked they run with a back-off from one second
// to Interval; an Acquire then asks for a probe too, at most once a second.
//
// # Invariants
//
//   - From the moment a denial is known, no Acquire succeeds. Requests that already hold the store
//     have the drain time to finish. After it they are only waited for: the store is closed, and the
//     keys are wiped, when the last one let go, because an engine must never lose its keys while it runs.
//   - The store is closed before its keys are wiped.
//   - At every moment, also in a crash, the keyring on disk opens with the key that was in force
//     before a change or with the one after it.
//   - Wiping is best effort: the cipher's key schedule and the engine's freed blocks stay in memory
//     until the garbage collector reuses them (docs/THREATS.md).
//
// # Without its dependencies
//
// Vault or token service silent: open accounts run on until the end of the grace; sealed ones do not
// open. Audit log failing: no account opens and no key is changed; locking never waits for the log.
// Disk failing: the account's engine stops, the account is quarantined, others do not notice.
package envelope
