package docdb

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
	"github.com/latchkey-db/latchkey/internal/store"
)

// transaction proposes one commit to one logical partition: it reads under the items' locks, collects
// what changes, and at the end fixes numbers and times in an entry.
type transaction struct {
	session   *session
	container *container
	key       PartitionKey
	home      *partition // the range that the logical partition belongs to
	epk       []byte
	partition string              // E and P
	order     []*pending          // items in the order of their first use
	items     map[string]*pending // by id
	written   []*item             // all versions made, in order: their place in the commit
	expiry    bool                // it removes items whose life is over
	erasure   bool                // it removes items that are hidden
}

// pending is an item within a transaction.
type pending struct {
	id  string
	old *item // as stored, also when its life is over
	cur *item // as the transaction sees it; nil when absent
}

// transact runs propose under the locks of the ids and commits what it collected. The result is the
// sequence number of the commit, or the visible one when nothing changed. The caller holds the
// container's life for reading.
func (r *session) transact(c *container, k PartitionKey, ids []string, propose func(t *transaction) error) (home *partition, lsn uint64, err error) {
	if err := r.covers(k, ids...); err != nil {
		return c.parts[0], 0, err
	}
	t := r.transaction(c, k)
	c.committing.RLock()
	defer c.committing.RUnlock()
	defer c.lock.lock(t.lockKeys(ids)...)()
	if _, err := t.removeHidden(ids...); err != nil {
		return t.home, t.home.log.Visible(), err
	}
	if err := propose(t); err != nil {
		return t.home, t.home.log.Visible(), err
	}
	lsn, err = t.commit()
	return t.home, lsn, err
}

// transaction is one that has nothing in it yet.
func (r *session) transaction(c *container, k PartitionKey) *transaction {
	epk := effective(*c.rec.Spec.PartitionKey, k)
	return &transaction{session: r, container: c, key: k, items: map[string]*pending{}, home: c.at(epk), epk: epk,
		partition: partitionPrefix(*c.rec.Spec.PartitionKey, k)}
}

// partitionPrefix is E and P of a logical partition, as they stand in keys.
func partitionPrefix(d PartitionKeyDefinition, k PartitionKey) string {
	b := appendEscaped(nil, effective(d, k))
	return string(k.encode(b))
}

// lockKeys are the locks of a transaction: its items, or the whole logical partition when unique keys
// make its items depend on each other.
func (t *transaction) lockKeys(ids []string) []string {
	if len(t.container.unique()) > 0 {
		return []string{t.partition}
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = t.partition + id
	}
	return keys
}

// get returns an item as the transaction sees it.
func (t *transaction) get(id string) (*pending, error) {
	if p := t.items[id]; p != nil {
		return p, nil
	}
	p := &pending{id: id}
	var err error
	if p.old, err = t.session.item(t.container, t.partition, id); err != nil {
		return nil, err
	}
	if p.old != nil && !p.old.expired(t.session.now.Unix(), t.container.rec.Spec.DefaultTTL) {
		p.cur = p.old
	}
	t.items[id] = p
	t.order = append(t.order, p)
	return p, nil
}

// item reads a stored item; nil when there is none.
func (a *account) item(c *container, partition, id string) (*item, error) {
	raw, err := a.db.Get(key(keyItem, c.id[:], []byte(partition), []byte(id)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeItem(raw)
}

// put makes d the next version of p. Its number is fixed at the commit when the item is new.
func (t *transaction) put(p *pending, d *document) *item {
	next := &item{ts: t.session.now.Unix(), ttl: d.ttl, body: d.body}
	if p.cur != nil {
		next.number = p.cur.number
	}
	p.cur = next
	t.written = append(t.written, next)
	return next
}

// remove makes p absent.
func (t *transaction) remove(p *pending) { p.cur = nil }

// commit fixes the entry, applies it and waits until it is durable and visible.
func (t *transaction) commit() (uint64, error) {
	log := t.home.log
	changes, err := t.changes()
	if err != nil || len(changes) == 0 {
		return log.Visible(), err
	}
	lsn := log.Reserve()
	for place, i := range t.written {
		i.lsn, i.place = lsn, uint8(place)
		if i.number == 0 {
			i.number = itemNumber(t.home.Number, lsn, i.place)
		}
	}
	learned := t.reindex(changes)
	e := entry{container: t.container.id, rangeNumber: t.home.Number, ts: t.session.now.Unix(), changes: changes,
		versions: t.container.rec.Spec.retention() > 0, expiry: t.expiry}
	if e.trim, err = t.trim(lsn); err != nil {
		log.Abandon(lsn)
		return log.Visible(), err
	}
	if err := log.Append(lsn, e); err != nil {
		return lsn, err
	}
	learned()
	return lsn, nil
}

// reindex works out what the changes, whose numbers are fixed, do to the container's indexes.
func (t *transaction) reindex(changes []change) (learned func()) {
	var all []func()
	for i := range changes {
		c := &changes[i]
		var f func()
		c.index, f = t.container.reindex(c.old, c.new)
		all = append(all, f)
	}
	return func() {
		for _, f := range all {
			f()
		}
	}
}

// trim is the sequence number below which log records and old versions may go: once in logStep commits,
// what is beyond the newest logKept and older than the container's retention.
func (t *transaction) trim(lsn uint64) (uint64, error) {
	if lsn%logStep != 0 || lsn <= logKept {
		return 0, nil
	}
	upper := lsn - logKept
	retention := t.container.rec.Spec.retention()
	if retention == 0 {
		return upper, nil
	}
	oldest := t.session.now.Add(-retention).Unix()
	r := store.Range{Lower: logKey(t.container.id, t.home.Number, 0), Upper: logKey(t.container.id, t.home.Number, upper)}
	var err error
	for k, v := range t.session.db.Scan(r, &err) {
		var rec logRecord
		if e := json.Unmarshal(v, &rec); e != nil {
			return 0, fmt.Errorf("docdb: log record: %w", e)
		}
		if rec.TS >= oldest {
			return binary.BigEndian.Uint64(k[len(k)-8:]), err
		}
	}
	return upper, err
}

// changes lists what the transaction changed, with the unique keys that go and come.
func (t *transaction) changes() ([]change, error) {
	var out []change
	for _, p := range t.order {
		if p.cur == p.old {
			continue
		}
		if !t.expiry && !t.erasure && p.old != nil && p.cur == nil && p.old.expired(t.session.now.Unix(), t.container.rec.Spec.DefaultTTL) {
			continue // only looked at: what is over stays as it is until it is overwritten
		}
		c := change{key: itemKey{t.partition, p.id}, old: p.old, new: p.cur}
		if p.old != nil {
			c.lapsed = p.old.expired(t.session.now.Unix(), t.container.rec.Spec.DefaultTTL)
			c.oldRange = t.container.made(t.home.rangeRecord, t.epk, p.old.lsn)
		}
		c.oldUnique, c.newUnique = t.uniqueOf(p.old), t.uniqueOf(p.cur)
		out = append(out, c)
	}
	return out, t.checkUnique(out)
}

// uniqueOf returns the unique entries of an item.
func (t *transaction) uniqueOf(i *item) []uniqueEntry {
	if i == nil {
		return nil
	}
	var out []uniqueEntry
	for n, u := range t.container.unique() {
		out = append(out, uniqueEntry{policy: byte(n), hash: u.hash(i.body)})
	}
	return out
}

// hash identifies the combination of values that a document has at the paths. A missing value takes
// part as null; objects and arrays by their canonical text.
func (u UniqueKey) hash(body []byte) [32]byte {
	var values []byte
	for _, path := range u.Paths {
		names, _ := parsePath(path)
		v, ok := jsonx.Find(body, names...)
		switch {
		case !ok:
			values = PartitionKey{Null}.encode(values)
		case v.Kind() == '{' || v.Kind() == '[':
			v = v.Clone()
			_ = v.Canonicalize() // checked text; a number out of range leaves it as it is
			values = appendEscaped(append(values, 0x0F), v)
		default:
			values = PartitionKey{component(v)}.encode(values)
		}
	}
	return sha256.Sum256(values)
}

// checkUnique fails when a new value belongs to another item of the logical partition, stored or
// new. The whole partition is locked.
func (t *transaction) checkUnique(changes []change) error {
	freed, taken := map[uniqueEntry]bool{}, map[uniqueEntry]bool{}
	for _, c := range changes {
		for _, u := range c.oldUnique {
			freed[u] = true
		}
	}
	for _, c := range changes {
		for _, u := range c.newUnique {
			owner, err := t.session.db.Get(u.key(t.container.id, t.partition))
			if err == nil && !freed[u] {
				freed[u], err = t.freed(owner)
			}
			switch {
			case errors.Is(err, store.ErrNotFound):
				freed[u] = true
			case err != nil:
				return err
			}
			if taken[u] || !freed[u] {
				return fault.New(fault.Conflict, "UniqueIndexConflict", textUnique)
			}
			taken[u] = true
		}
	}
	return nil
}
