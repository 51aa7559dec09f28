// Package sealfs is a file system that encrypts and authenticates every file: a [vfs.FS] over
// another one. The store's engine and the audit log write through it and know nothing about keys.
// docs/FORMAT.md defines the bytes.
//
// # Keys
//
// A data key (32 bytes, from [Keys]) seals no data itself. Each Create draws a random 32-byte file
// id and derives the file's own key from data key, file id, store id and class with HKDF-SHA256. The
// file's header names the data key; there is no registry, so Link and Rename keep the atomicity of
// the base. A data key must stay available until no file names it.
//
// # Two classes of files
//
// Block files (tables, blobs, options, everything that is not a log) are sealed in blocks that can
// be read in any order. The nonce is the block's index: each index is sealed exactly once, because
// full blocks never change and the last one is sealed at Close. A block file that was not closed
// cannot be opened, so Sync before Close promises nothing and costs nothing: Close makes the file
// durable, and who needs the file must look at its error.
//
// Record files (logs: *.log, MANIFEST-*, *.rlog) are sealed write by write, each with a random nonce
// and chained to the one before. They can be read while they grow and after a crash. A record that
// does not authenticate ends the file like a crash does, unless a later record proves that it had
// been synced: then it is corruption. Two closing records, written at Close, end a complete file; a
// numbered *.log without them is refused once a log with a higher number exists.
//
// Logs and audit segments are written into zeros that were written ahead, because they are synced all
// the time; zeros after the last record mean nothing.
//
// LOCK and marker.* files have no content and pass through.
//
// # Invariants
//
//   - no (key, nonce) pair seals two plaintexts, also after a crash, a restore or a clone
//   - no plaintext byte is returned that was not authenticated at its place in its file
//   - a file is accepted only under the class, kind and number for which it was made
//
// What no per-file scheme can see: a file that is missing, a whole directory that is rolled back, and
// a growing record file that is cut at its end.
//
// # Re-encryption
//
// [FS.Reseal] puts a finished file under the current data key: it copies the plaintext to a new sealed
// file of the same base name in the directory's scratch subdirectory reseal, and renames that over
// the old one. Who has the old file open goes on reading it. Every moment of a crash leaves the old
// file or the new one, and at most a leftover in the scratch directory, which nobody opens and which
// [FS.CleanReseal] removes. The rename happens only if the name still holds the file that was read,
// and excludes every change of names through the same FS: so a store must be resealed through the
// FS by which its engine works. [Copy] is the same between two file systems with other keys and store
// ids. [FS.Describe] and [DescribeClear] say what a file is and which data key it names.
//
// # Concurrency
//
// FS is safe for concurrent use. ReadAt of one file is safe for concurrent use; Read, Write and the
// Syncs of one file are not, as in the vfs contract. Files hold their derived key until they are
// collected; wiping a data key does not reach it (docs/THREATS.md).
package sealfs
