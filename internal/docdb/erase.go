package docdb

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Erasing a logical partition takes two steps, so that its size does not matter. The first is one small
// commit: a marker with the number that the next item of the logical partition could have had. It hides every item with
// a smaller number, from all readers and at once: to them, and to writes, the items are gone. The second
// removes the items, a bounded number with each commit, which the log and the change feed of all versions
// show like any other deletion; what a write wants to put in a hidden item's place it removes first.
// When nothing is left, the marker goes. A marker is in the store, so a crash changes nothing: who opens the
// container again finds it, and the removal goes on.
//
// An item that is made after the marker has a greater number, also when it has the id of a hidden one.

// Bounds of the removal of hidden items.
const (
	eraseStep   = 100 // items of one commit: their locks are held meanwhile
	eraseSteps  = 64  // commits on one logical partition before another has its turn
	eraseListed = 1024
	// eraseShare is the part of a range's throughput that removing may take (the service's figure).
	eraseShare = 0.1
)

// erasures are the markers of a container: by logical partition (E and P) the bound below which numbers of
// items are hidden. They come when they are durable, and go while nobody uses the container.
type erasures struct {
	count  atomic.Int64
	bounds sync.Map // string to uint64
}

func (e *erasures) put(partition string, bound uint64) {
	if _, had := e.bounds.Swap(partition, bound); !had {
		e.count.Add(1)
	}
}

func (e *erasures) drop(partition string) {
	if _, had := e.bounds.LoadAndDelete(partition); had {
		e.count.Add(-1)
	}
}

// none reports whether nothing is hidden.
func (e *erasures) none() bool { return e.count.Load() == 0 }

// bound is 0 for a logical partition without a marker.
func (e *erasures) bound(partition string) uint64 {
	if e.none() {
		return 0
	}
	v, ok := e.bounds.Load(partition)
	if !ok {
		return 0
	}
	return v.(uint64)
}

// partitionOf is E and P of an item's key below its container.
func (c *container) partitionOf(at []byte) string {
	_, id, _ := c.rec.Spec.PartitionKey.split(at)
	return string(at[:len(at)-len(id)])
}

// hidden reports whether the item at a key below the container is of a logical partition that is being
// erased, and from before that.
func (c *container) hidden(at []byte, i *item) bool {
	return !c.erasures.none() && i.number < c.erasures.bound(c.partitionOf(at))
}

// erased is hidden for who knows the partition key.
func (c *container) erased(k PartitionKey, i *item) bool {
	return !c.erasures.none() && i.number < c.erasures.bound(partitionPrefix(*c.rec.Spec.PartitionKey, k))
}

func eraseKey(id containerID, partition string) []byte {
	return key(keyErase, id[:], []byte(partition))
}

// openErasures reads the markers of a container.
func (a *account) openErasures(c *container) (err error) {
	prefix := key(keyErase, c.id[:])
	for k, v := range a.db.Scan(store.Prefix(prefix), &err) {
		c.erasures.put(string(k[len(prefix):]), fromBE64(v))
	}
	return err
}

// ErasePartition removes all items of one logical partition. When it returns they are gone for everybody;
// their space is given back in the background. A prefix of a key of several parts is refused, as in the
// service.
func (s *Service) ErasePartition(ctx context.Context, c principal.Caller, q ItemRequest) (Receipt, error) {
	r, state, end, err := s.begin(ctx, c, actionDelete, q.Path, q.Consistency)
	if err != nil {
		return Receipt{}, err
	}
	defer end()
	k, err := state.rec.Spec.PartitionKey.complete(q.PartitionKey)
	if err != nil {
		return Receipt{}, err
	}
	if err := r.coversAll(&FeedRequest{PartitionKey: &k}); err != nil {
		return Receipt{}, err
	}
	home := state.at(effective(*state.rec.Spec.PartitionKey, k))
	pay, err := r.admit(state, home)
	if err != nil {
		return Receipt{}, err
	}
	if err := s.auditErasure(ctx, c, r, state); err != nil {
		return Receipt{}, err
	}
	lsn, err := r.hide(state, home, partitionPrefix(*state.rec.Spec.PartitionKey, k))
	if err != nil {
		return Receipt{}, err
	}
	charge := writeCharge(0, state.rec.Spec.indexed())
	pay(charge)
	return r.receipt(state, home, lsn, charge)
}

// auditErasure records who erases in which container: with one request much is gone. The key is a value of
// the documents, so it is not told.
func (s *Service) auditErasure(ctx context.Context, c principal.Caller, r *session, state *container) error {
	d, err := record[databaseRecord](r.db, key(keyDatabase, be32(state.id.database())))
	if err != nil {
		return err
	}
	e := audit.By(c, s.cfg.Now(), "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/partitionKeyDelete", r.id+scope(d.Name, state.rec.Spec.ID))
	return s.cfg.Audit.Record(ctx, e.Decided(nil))
}

// hide makes the marker of a logical partition, unless it is empty. No commit is under way meanwhile, so each
// is wholly before the marker or behind it.
func (r *session) hide(c *container, home *partition, partition string) (lsn uint64, err error) {
	c.committing.Lock()
	defer c.committing.Unlock()
	ids, err := r.below(c.id, partition, math.MaxUint64, 1)
	if err != nil || len(ids) == 0 {
		return home.log.Visible(), err
	}
	lsn = home.log.Reserve()
	bound := itemNumber(home.Number, lsn, 0)
	e := entry{container: c.id, rangeNumber: home.Number, ts: r.now.Unix(), erase: []byte(partition), bound: bound}
	if err := home.log.Append(lsn, e); err != nil {
		return lsn, err
	}
	c.erasures.put(partition, bound)
	r.erases.Store(true)
	return lsn, nil
}

// below lists ids of the items of a logical partition whose numbers are below a bound, the oldest first.
func (a *account) below(id containerID, partition string, bound uint64, most int) (ids []string, err error) {
	prefix := key(keyPartition, id[:], []byte(partition))
	r := store.Range{Lower: prefix, Upper: append(prefix[:len(prefix):len(prefix)], be64(bound)...)}
	for _, v := range a.db.Scan(r, &err) {
		if ids = append(ids, string(v)); len(ids) == most {
			break
		}
	}
	return ids, err
}

// removeHidden removes those of the items that are hidden, in a commit of their own, and returns its cost.
// The caller holds their locks.
func (t *transaction) removeHidden(ids ...string) (charge float64, err error) {
	bound := t.container.erasures.bound(t.partition)
	if bound == 0 {
		return 0, nil
	}
	pre := &transaction{session: t.session, container: t.container, key: t.key, home: t.home, epk: t.epk, partition: t.partition,
		items: map[string]*pending{}, erasure: true}
	for _, id := range ids {
		p, err := pre.get(id)
		if err != nil {
			return 0, err
		}
		if p.cur = p.old; p.old != nil && p.old.number < bound {
			pre.remove(p)
			charge += writeCharge(len(p.old.body), t.container.rec.Spec.indexed())
		}
	}
	_, err = pre.commit()
	return charge, err
}

// freed reports whether a unique key belongs to an item that is hidden, which it removes. The caller holds
// the lock of the logical partition.
func (t *transaction) freed(owner []byte) (bool, error) {
	bound := t.container.erasures.bound(t.partition)
	if bound == 0 || len(owner) != 8 || fromBE64(owner) >= bound {
		return false, nil
	}
	id, err := t.session.db.Get(key(keyPartition, t.container.id[:], []byte(t.partition), owner))
	if err != nil {
		return false, err
	}
	_, err = t.removeHidden(string(id))
	return err == nil, err
}

// Erase goes on with the removal of hidden items in the accounts that are open. It does a bounded piece of
// work; more tells that there is more to do now.
func (s *Service) Erase(ctx context.Context) (more bool, failed error) {
	for _, id := range s.open(func(a *account) bool { return a.erases.Load() }) {
		a, release, err := s.acquire(ctx, id)
		if err != nil {
			continue // locked or gone: it goes on when the account is open again
		}
		r := &session{account: a, ctx: ctx, now: s.cfg.Now(), enforce: s.cfg.Enforce, release: release}
		again, err := r.erase()
		more, failed = more || again, errors.Join(failed, err)
		release()
	}
	return more, failed
}

// marker is one as it stands in the store.
type marker struct {
	partition string
	bound     uint64
}

func (r *session) erase() (more bool, failed error) {
	r.erases.Store(false)
	listed, err := r.markers()
	if err != nil {
		r.erases.Store(true)
		return false, err
	}
	for id, list := range listed {
		c, err := r.load(id)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		var done []marker
		for _, m := range list {
			left, progress, err := r.eraseMarked(c, m)
			if failed = errors.Join(failed, err); err == nil && !left {
				done = append(done, m)
			}
			more = more || progress && left
		}
		failed = errors.Join(failed, r.unmark(c, done))
		if len(done) < len(list) {
			r.erases.Store(true)
		}
	}
	return more, failed
}

// markers are the first of those in the store, by container.
func (r *session) markers() (out map[containerID][]marker, err error) {
	out = map[containerID][]marker{}
	n := 0
	for k, v := range r.db.Scan(below(keyErase), &err) {
		id := containerID(k[1:])
		out[id] = append(out[id], marker{string(k[1+len(id):]), fromBE64(v)})
		if n++; n == eraseListed {
			r.erases.Store(true)
			break
		}
	}
	return out, err
}

// eraseMarked removes hidden items of one logical partition, as its throughput allows. left tells that some
// are still there, progress that more can be removed now.
func (r *session) eraseMarked(c *container, m marker) (left, progress bool, err error) {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.gone {
		return false, false, nil
	}
	k, _, ok := c.rec.Spec.PartitionKey.split([]byte(m.partition))
	if !ok {
		return true, false, errors.New("docdb: the marker of an erasure cannot be read")
	}
	for range eraseSteps {
		ids, err := r.below(c.id, m.partition, m.bound, eraseStep)
		if err != nil || len(ids) == 0 {
			return err != nil, false, err
		}
		if r.ctx.Err() != nil || !r.affordsErasure(c, c.at(effective(*c.rec.Spec.PartitionKey, k)), 0) {
			return true, false, r.ctx.Err()
		}
		t := r.transaction(c, k)
		unlock := c.lock.lock(t.lockKeys(ids)...)
		charge, err := t.removeHidden(ids...)
		unlock()
		if err != nil {
			return true, false, err
		}
		r.affordsErasure(c, t.home, charge)
	}
	return true, true, nil
}

// affordsErasure pays for what was removed, and reports whether the throughput of the range allows to go on:
// removing has a budget of its own, a part of the range's, and is paid from both.
func (r *session) affordsErasure(c *container, p *partition, charge float64) bool {
	w, err := r.wallet(c, p)
	if err != nil || w.budget == nil {
		return err == nil
	}
	own := r.budget(c.id.rid() + "/" + p.id() + "/erase")
	wait := own.admit(r.now, w.rate*eraseShare)
	own.spend(charge)
	w.spend(charge)
	return wait == 0
}

// unmark removes markers below which nothing is left, and have not been renewed.
func (r *session) unmark(c *container, done []marker) error {
	if len(done) == 0 {
		return nil
	}
	c.life.Lock()
	defer c.life.Unlock()
	if c.gone {
		return nil
	}
	err := r.commit(func(b *store.Batch) error {
		for _, m := range done {
			if c.erasures.bound(m.partition) == m.bound {
				b.Delete(eraseKey(c.id, m.partition))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range done {
		if c.erasures.bound(m.partition) == m.bound {
			c.erasures.drop(m.partition)
		} else {
			r.erases.Store(true)
		}
	}
	return nil
}
