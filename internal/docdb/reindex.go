package docdb

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/latchkey-db/latchkey/internal/store"
)

// buildStep is how many items get their terms in one commit: their locks are held meanwhile.
const buildStep = 128

// BuildIndexes goes on with the indexes that are not complete yet, in the accounts that are open. It does
// a bounded piece of work for each container; more tells that there is more to do.
func (s *Service) BuildIndexes(ctx context.Context) (more bool, failed error) {
	for _, id := range s.open((*account).buildsIndexes) {
		a, release, err := s.acquire(ctx, id)
		if err != nil {
			continue // locked or gone: it goes on when the account is open again
		}
		r := &session{account: a, ctx: ctx, now: s.cfg.Now(), release: release}
		for _, c := range a.loaded() {
			again, err := r.build(c)
			more, failed = more || again, errors.Join(failed, err)
		}
		release()
	}
	return more, failed
}

// open are the accounts that are remembered and for which there is something to do.
func (s *Service) open(todo func(*account) bool) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.accounts {
		if !a.forgotten && todo(a) {
			ids = append(ids, id)
		}
	}
	return ids
}

// buildsIndexes reports whether a container in memory has an index that is not complete.
func (a *account) buildsIndexes() bool {
	return slices.ContainsFunc(a.loaded(), func(c *container) bool { return c.building.Load() })
}

// buildSteps bounds the work on one container before another has its turn.
const buildSteps = 64

// build goes on with a container's index. Nothing of it waits for requests, nor they for it, but for the
// locks of the items of one step.
func (r *session) build(c *container) (more bool, err error) {
	for range buildSteps {
		if !c.building.Load() || r.ctx.Err() != nil {
			return false, r.ctx.Err()
		}
		done, err := r.buildStep(c)
		if err != nil {
			return false, err
		}
		if done {
			return false, r.switchIndex(c)
		}
	}
	return true, nil
}

// buildStep gives the next items their terms in the generation that is being built.
func (r *session) buildStep(c *container) (done bool, err error) {
	c.life.RLock()
	defer c.life.RUnlock()
	g := c.indexes.building
	if c.gone || g == nil {
		return false, nil
	}
	after, err := r.built(c.id, g.number)
	if err != nil {
		return false, err
	}
	ats, last, err := r.following(c.id, after)
	if err != nil || len(ats) == 0 || !g.Enabled() {
		return err == nil, err
	}
	locks := make([]string, len(ats))
	for i, at := range ats {
		locks[i] = c.lockOf(at)
	}
	defer c.lock.lock(locks...)()
	b := r.db.NewBatch()
	var learned []func()
	for _, at := range ats {
		i, err := r.itemNow(c.id, at)
		if err != nil {
			b.Discard()
			return false, err
		}
		if i != nil {
			learned = append(learned, g.bring(b, c.id, at, i))
		}
	}
	b.Set(key(keyBuilt, c.id[:], be32(g.number)), be64(last))
	if err := r.db.Commit(b); err != nil {
		return false, err
	}
	for _, f := range learned {
		f()
	}
	return false, nil
}

// bring puts the terms of an item into a batch.
func (g *generation) bring(b *store.Batch, id containerID, at []byte, i *item) (learned func()) {
	epk, _, _ := skipEscaped(at)
	c := container{id: id, indexes: generations{building: g}}
	changes, learned := c.reindex(nil, i)
	changes[0].apply(b, epk)
	return learned
}

// itemNow reads an item as it is; nil when it has gone.
func (a *account) itemNow(id containerID, at []byte) (*item, error) {
	raw, err := a.db.Get(key(keyItem, id[:], at))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeItem(raw)
}

// built is the number of the last item that the building of a generation has come to.
func (a *account) built(id containerID, number uint32) (uint64, error) {
	v, err := a.db.Get(key(keyBuilt, id[:], be32(number)))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return fromBE64(v), nil
}

// following are the next items behind a number, and the number of the last of them.
func (a *account) following(id containerID, after uint64) (ats [][]byte, last uint64, err error) {
	r := below(keyOrder, id[:])
	r.Lower = key(keyOrder, id[:], be64(after+1))
	for k, v := range a.db.Scan(r, &err) {
		ats, last = append(ats, bytes.Clone(v)), tail(k)
		if len(ats) == buildStep {
			break
		}
	}
	return ats, last, err
}

// lockOf is the lock of the item at a key below the container; see [transaction.lockKeys].
func (c *container) lockOf(at []byte) string {
	if len(c.unique()) == 0 {
		return string(at)
	}
	return c.partitionOf(at)
}

// switchIndex makes the generation that was built the one that queries use, and removes the one before.
func (r *session) switchIndex(c *container) error {
	r.schema.Lock()
	defer r.schema.Unlock()
	c.life.Lock()
	defer c.life.Unlock()
	rec, g := c.rec, c.indexes.building
	if c.gone || g == nil {
		return nil
	}
	old := rec.Index.Serving
	rec.Index = &indexRecord{Last: rec.Index.Last, Serving: g.number}
	err := r.commit(func(b *store.Batch) error {
		if old != 0 {
			deleteGeneration(b, c.id, old)
		}
		b.Delete(key(keyBuilt, c.id[:], be32(g.number)))
		return putRecord(b, key(keyContainer, c.id[:]), rec)
	})
	if err != nil {
		return err
	}
	c.rec, c.indexes = rec, generations{serving: g}
	c.building.Store(false)
	return nil
}

// transform begins a new generation when the policy has changed. The caller holds schema and life.
func (r *session) transform(c *container, rec *containerRecord) (g generations, commit func(b *store.Batch), err error) {
	if bytes.Equal(rec.Spec.IndexingPolicy, c.rec.Spec.IndexingPolicy) {
		return c.indexes, func(*store.Batch) {}, nil
	}
	secret, err := r.pathSecret()
	if err != nil {
		return g, nil, err
	}
	given := *c.rec.Index
	next := indexRecord{Last: given.Last + 1, Serving: given.Serving, Policy: given.Policy, Building: given.Last + 1}
	if given.Building == 0 {
		next.Policy = c.rec.Spec.IndexingPolicy
	}
	rec.Index = &next
	g.serving = c.indexes.serving
	g.building, err = r.openIndex(c.id, next.Building, rec.Spec.IndexingPolicy, secret)
	return g, func(b *store.Batch) {
		if given.Building != 0 {
			deleteGeneration(b, c.id, given.Building)
		}
	}, err
}

// Progress of an index transformation in percent, as the service tells it: 100 when there is none.
func (r *session) progress(c *container) (int, error) {
	g := c.indexes.building
	if g == nil {
		return 100, nil
	}
	after, err := r.built(c.id, g.number)
	if err != nil {
		return 0, err
	}
	var last uint64
	order := below(keyOrder, c.id[:])
	order.Reverse = true
	for k := range r.db.Scan(order, &err) {
		last = tail(k)
		break
	}
	return int(min(99, 100*(after>>8)/max(1, last>>8))), err
}
