// Package docdb owns the documents of the database accounts: databases, containers, items, their
// throughput settings, and the order in which all of it happened.
//
// Everything about an account's content, names included, lives in that account's own encrypted
// store, which the package borrows for one request at a time ([Stores]). When the customer's key is
// denied there is no store to borrow, so every method fails with the fault that Stores gives, and
// nothing can be answered from memory: what is cached (definitions, sequence numbers) belongs to one
// opening of one store and is dropped by [Service.Forget].
//
// # Resources and tokens
//
// Users, permissions, client encryption keys and scripts are kept and given back as they were sent
// (resource.go); scripts do not run yet. Who reads a permission gets a resource token (permission.go): a
// proof for whoever holds it, good for what the permission opens and until it, or its user, is replaced or
// deleted. The authorizer decides what the bearer of a token may do, this package where (grant.go).
//
// # Partitions and their sequence
//
// A container is made of partition key ranges, which share the effective partition keys from "" to "FF"
// among them. Each range is a state machine fed by an ordered log: the proposer (see propose.go) checks preconditions under the locks of the items
// concerned, fixes times, resource ids and etags in an [entry], and gives it the next log sequence
// number (LSN) of its [store.Log]. Applying an entry is a pure function from the entry to a batch of
// the store (apply.go); on one machine the log record and its effects are one batch, one sync. Session tokens, the change
// feed and etags are all this one sequence.
//
// A range is split in two, or merged with its neighbour, by closing it and opening others in its place,
// whose sequence numbers go on behind its own: one small record, whatever the size, while nobody uses the
// container. Items are not under the number of a range, so they stay where they are. What a range's log
// and changes hold stays under its number too, and is read through its children: the changes of a range
// are its own and, below its first sequence number, those of the ranges that it comes from, as far as they
// lie within its bounds (see ranges.go).
//
//	open -> closed (split: two children; merge: one child of two parents), for good
//
// A container whose changeFeedPolicy names a retentionDuration keeps, for so long, what its items were
// before each change: the change feed of all versions and deletes is the log with these versions.
//
// A logical partition is erased by a marker, which hides what was there, and by commits in the background that
// remove it (see erase.go):
//
//	hidden (marker in the store) -> removed -> the marker is gone
//
// Commits of different items run at the same time and share syncs. A write returns only when every
// smaller LSN of its range is visible too, so a reader that saw LSN n has seen everything below it,
// and a change feed never skips a slow writer. The store shows a commit before it is on disk; nobody is
// told of it before: a reader of an item whose version is not visible yet, or that is missing, waits for
// the lock that its writer holds, and a reader of many waits at the end for what was on its way. Nor does it show
// commits out of their order: what a reader of many sees is each range's log up to some LSN ([session.view]).
//
// # Index
//
// Every commit also keeps the terms of what it changes (indexing.go; package index says what they are).
// The terms of one indexing policy are a generation. When the policy changes, the next generation is built
// beside the one that serves, which goes on being kept until the other takes its place (reindex.go):
//
//	building -> serving -> gone
//
// A query takes from the conditions that it puts on documents (package sql) the numbers of those that may
// fulfil them (access.go, postings.go), or reads them in the order that it wants (ordered.go). It evaluates
// every document that it reads all the same: the index decides what is read, never what is answered.
//
// # Keys of the store (layout version 2)
//
// Numbers are big-endian. C is the container's 8-byte resource id. E is the effective partition key
// and P the partition key's components, both as self-delimiting, order-preserving bytes (see
// keys.go). R is a range number, 4 bytes. V is an item's number within its container, 8 bytes.
//
//	key                  value
//	00                   layout version, one byte
//	01                   secret that authenticates continuation tokens, 32 random bytes
//	02 kind              last number given out: 'd' databases, 'c' containers, 'o' offers, 'u' users and
//	                     client encryption keys, 'p' permissions, 's' scripts
//	03                   secret that authenticates resource tokens, 32 random bytes
//	10 name              number of a database, 4 bytes
//	11 D                 database record, JSON
//	12 D name            C of a container in database D
//	13 C                 container record, JSON
//	14 O                 offer record, JSON; O is 3 bytes
//	15 k B name          number of a resource of kind k (resourcekind.go) in B, 4 bytes
//	16 k B N             record of that resource, JSON; B is a database (4 bytes), or a container or user (8)
//	20 C E P id          item: header (see record.go), then the user's JSON
//	21 C V               E P id of the item V: all items in the order of their resource ids
//	22 C E P V           id: the same order within one logical partition
//	23 C E P k hash      V: unique key number k (SHA-256 of the values) in a logical partition
//	30 C R lsn n         E P id: latest change of an item; moves when the item changes
//	31 C R lsn           log record of a commit, JSON
//	32 C R lsn n         an old version of an item, as it was in 20: in containers that keep versions
//	33 C R               the sequence number up to which 31 and 32 were trimmed, 8 bytes
//	34 C E P             items of a logical partition with smaller numbers are hidden: it is being erased
//	40 C G p v V         E: a term; G is a generation (4 bytes), p a path, v a value
//	41 C G s             the paths of the shape s
//	42 C G s V           E: an item of that shape
//	43 C G n v… V        E: a term of the composite index n
//	45 C G p cell V      E: a cell of the spatial index of a path
//	44 C G               number of the last item that the building of G has come to
//
// Items do not carry a range number, so a split moves nothing. Item numbers are the range's number<<44 |
// LSN<<8 | place in the commit, so within a logical partition they grow, and none is given out twice.
//
// # Locks
//
// In this order: schema (one per account: changing databases, containers, offers and resources), the
// container (readers are item operations, the writer is its deletion or replacement), its commits (readers
// are commits, the writer is what must lie between two of them), the items and
// unique keys of a commit in key order. Only item locks and the read side of the container are held
// while a commit syncs.
package docdb
