package docdb

import (
	"encoding/json"

	"github.com/latchkey-db/latchkey/internal/store"
)

// entry is what the log is given of one commit to one partition key range: everything that applying it
// needs. Times, numbers and etags were fixed by the proposer.
type entry struct {
	container   containerID
	rangeNumber uint32
	ts          int64
	changes     []change
	versions    bool   // old versions are kept for the change feed of all versions
	expiry      bool   // the changes are deletions of items whose life was over
	trim        uint64 // log records and old versions below this sequence number go; 0 for none
	erase       []byte // the logical partition (E and P) that is erased; nil for none
	bound       uint64 // items of it with smaller numbers are hidden
}

// change is the step of one item from one state to the next. A nil item is an absent one.
type change struct {
	key       itemKey
	old, new  *item
	oldRange  uint32 // number of the range in which old was made
	lapsed    bool   // the life of old was over
	oldUnique []uniqueEntry
	newUnique []uniqueEntry
	index     []indexChange
}

// itemKey locates an item within its container.
type itemKey struct {
	partition string // E and P, encoded
	id        string
}

func (k itemKey) bytes() []byte { return []byte(k.partition + k.id) }

// uniqueEntry is one unique key value within a logical partition.
type uniqueEntry struct {
	policy byte
	hash   [32]byte
}

func (u uniqueEntry) key(id containerID, partition string) []byte {
	return key(keyUnique, id[:], []byte(partition), []byte{u.policy}, u.hash[:])
}

// Log records beyond the newest logKept are removed once in logStep commits.
const (
	logKept = 1 << 16
	logStep = 1 << 12
)

// logRecord is the stored form of an entry: what happened to which item, without the bodies.
type logRecord struct {
	TS      int64       `json:"ts"`
	Expiry  bool        `json:"expiry,omitempty"`
	Changes []logChange `json:"changes"`
	Erase   []byte      `json:"erase,omitempty"` // E and P of a logical partition that is erased
}

type logChange struct {
	Operation string `json:"op"` // create, replace, delete
	Item      uint64 `json:"item"`
	ID        string `json:"id"`
	Previous  uint64 `json:"previous,omitempty"` // LSN of the version before
	Expired   bool   `json:"expired,omitempty"`  // of a deletion: the item's life was over
	// Where the item and the version stand, in containers that keep versions.
	At    []byte `json:"at,omitempty"`
	Place uint8  `json:"place,omitempty"`
}

var _ store.Entry = entry{}

// Apply implements [store.Entry].
func (e entry) Apply(b *store.Batch, lsn uint64) error {
	rec := logRecord{TS: e.ts, Expiry: e.expiry, Erase: e.erase, Changes: make([]logChange, 0, len(e.changes))}
	for _, c := range e.changes { // all of them first: another item of the commit may take a value over
		for _, u := range c.oldUnique {
			b.Delete(u.key(e.container, c.key.partition))
		}
	}
	for _, c := range e.changes {
		applyChange(b, e, c)
		rec.Changes = append(rec.Changes, c.logged(e.versions)...)
	}
	raw, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	b.Set(logKey(e.container, e.rangeNumber, lsn), raw)
	if e.erase != nil {
		b.Set(eraseKey(e.container, string(e.erase)), be64(e.bound))
	}
	if e.trim > 0 {
		for _, kind := range []byte{keyLog, keyVersion} {
			b.DeleteRange(key(kind, e.container[:], be32(e.rangeNumber)), key(kind, e.container[:], be32(e.rangeNumber), be64(e.trim)))
		}
		b.Set(key(keyTrimmed, e.container[:], be32(e.rangeNumber)), be64(e.trim-1))
	}
	return nil
}

func logKey(id containerID, rangeNumber uint32, lsn uint64) []byte {
	return key(keyLog, id[:], be32(rangeNumber), be64(lsn))
}

func changeKey(id containerID, rangeNumber uint32, i *item) []byte {
	return key(keyChange, id[:], be32(rangeNumber), be64(i.lsn), []byte{i.place})
}

func applyChange(b *store.Batch, e entry, c change) {
	at := c.key.bytes()
	epk, _, _ := skipEscaped(at)
	for _, x := range c.index {
		x.apply(b, epk)
	}
	if c.old != nil {
		b.Delete(changeKey(e.container, c.oldRange, c.old))
	}
	if c.old != nil && e.versions {
		b.Set(versionKey(e.container, c.oldRange, c.old.lsn, c.old.place), c.old.encode())
	}
	if c.old != nil && (c.new == nil || c.new.number != c.old.number) {
		b.Delete(key(keyItem, e.container[:], at))
		b.Delete(key(keyOrder, e.container[:], be64(c.old.number)))
		b.Delete(key(keyPartition, e.container[:], []byte(c.key.partition), be64(c.old.number)))
	}
	if c.new == nil {
		return
	}
	b.Set(key(keyItem, e.container[:], at), c.new.encode())
	b.Set(changeKey(e.container, e.rangeNumber, c.new), at)
	if c.old == nil || c.new.number != c.old.number {
		b.Set(key(keyOrder, e.container[:], be64(c.new.number)), at)
		b.Set(key(keyPartition, e.container[:], []byte(c.key.partition), be64(c.new.number)), []byte(c.key.id))
	}
	for _, u := range c.newUnique {
		b.Set(u.key(e.container, c.key.partition), be64(c.new.number))
	}
}

func versionKey(id containerID, rangeNumber uint32, lsn uint64, place uint8) []byte {
	return key(keyVersion, id[:], be32(rangeNumber), be64(lsn), []byte{place})
}

// The operations of log records.
const (
	loggedCreate  = "create"
	loggedReplace = "replace"
	loggedDelete  = "delete"
)

// logged is what the log says of a change: an item that takes the place of another one, of which nothing
// but the id is the same, is the deletion of that one and a creation.
func (c change) logged(versions bool) []logChange {
	var at []byte
	if versions {
		at = c.key.bytes()
	}
	var out []logChange
	replaced := c.old != nil && c.new != nil && c.old.number == c.new.number
	if c.old != nil && !replaced {
		out = append(out, logChange{Operation: loggedDelete, ID: c.key.id, Item: c.old.number, Previous: c.old.lsn, Expired: c.lapsed, At: at})
	}
	if c.new == nil {
		return out
	}
	made := logChange{Operation: loggedCreate, ID: c.key.id, Item: c.new.number, At: at}
	if replaced {
		made.Operation, made.Previous = loggedReplace, c.old.lsn
	}
	if versions {
		made.Place = c.new.place
	}
	return append(out, made)
}
