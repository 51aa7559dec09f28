package docdb

import (
	"context"
	"errors"

	"github.com/latchkey-db/latchkey/internal/store"
)

// Bounds of one sweep of one partition.
const (
	sweptEntries = 10_000 // entries of the index of changes that are looked at
	sweptItems   = 1_000  // items that are removed
)

// Sweep removes items whose life is over from the containers of the accounts that were used since the last
// sweep: reads do not see them before that either. Each removal is a commit like any other, and tells the
// change feed of all versions why. It does a bounded piece of work; the next one goes on behind it.
// It also splits ranges that have become too large (size.go).
func (s *Service) Sweep(ctx context.Context) error {
	var failed error
	for _, id := range s.touched() {
		a, release, err := s.acquire(ctx, id)
		if err != nil {
			continue // locked or gone: there is nothing to remove
		}
		r := &session{account: a, ctx: ctx, now: s.cfg.Now(), release: release}
		failed = errors.Join(failed, r.sweep())
		for _, c := range a.loaded() {
			failed = errors.Join(failed, s.splitLarge(r, c))
		}
		release()
		s.untouch(a)
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// touched are the accounts that were used since the last sweep.
func (s *Service) touched() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.accounts {
		if a.touched && !a.forgotten {
			ids = append(ids, id)
		}
	}
	return ids
}

// untouch leaves an account alone until it is used again, so that a sweep does not keep it open.
func (s *Service) untouch(a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.touched = false
}

func (r *session) sweep() (failed error) {
	for _, c := range r.loaded() {
		c.life.RLock()
		if !c.gone && c.rec.Spec.DefaultTTL != nil {
			for _, p := range c.parts {
				failed = errors.Join(failed, r.sweepPartition(c, p))
			}
		}
		c.life.RUnlock()
	}
	return failed
}

// loaded are the containers in memory.
func (a *account) loaded() (out []*container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.containers {
		out = append(out, c)
	}
	return out
}

// victims are items of one logical partition whose life was over when they were looked at.
type victims struct {
	key PartitionKey
	ids []string
}

func (r *session) sweepPartition(c *container, p *partition) error {
	found, err := r.overdue(c, p)
	if err != nil {
		return err
	}
	for _, v := range found {
		_, _, err := r.transact(c, v.key, v.ids, func(t *transaction) error {
			t.expiry = true
			for _, id := range v.ids {
				if x, err := t.get(id); err != nil {
					return err
				} else if x.cur != nil {
					t.spare(x)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// spare takes an item that lives again out of a transaction of expiry.
func (t *transaction) spare(p *pending) { p.cur = p.old }

// overdue looks at a stretch of the partition's items, those that changed first coming first, and moves
// the partition's cursor on.
func (r *session) overdue(c *container, p *partition) (out map[string]*victims, err error) {
	view, err := r.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer closeView(view, &err)
	from, to, n := p.swept, p.log.Visible(), 0
	p.swept = 0 // from the beginning again, unless there is more
	out = map[string]*victims{}
	part := span{}
	part.narrow(p.rangeRecord)
	f := feedReader{q: &ChangeFeedRequest{}, state: c, view: view}
	for x := range f.changesOf(c.segments(p.rangeRecord, from, to), &err) {
		if n++; n > sweptEntries || len(out) > sweptItems {
			p.swept = x.lsn - 1
			break
		}
		if !part.holds(x.at) {
			continue
		}
		if err := r.victim(view, c, x.at, out); err != nil {
			return nil, err
		}
	}
	return out, err
}

func (r *session) victim(view *store.Snapshot, c *container, at []byte, out map[string]*victims) error {
	i, err := itemAt(view, c.id, at)
	if err != nil || !i.expired(r.now.Unix(), c.rec.Spec.DefaultTTL) {
		return err
	}
	k, id, ok := c.rec.Spec.PartitionKey.split(at)
	if !ok {
		return errors.New("docdb: the key of an item cannot be read")
	}
	prefix := string(at[:len(at)-len(id)])
	if out[prefix] == nil {
		out[prefix] = &victims{key: k}
	}
	out[prefix].ids = append(out[prefix].ids, id)
	return nil
}

// split takes an item's key below its container apart.
func (d *PartitionKeyDefinition) split(at []byte) (k PartitionKey, id string, ok bool) {
	_, rest, ok := skipEscaped(at)
	for range d.Paths {
		var c Component
		if !ok {
			return nil, "", false
		}
		c, rest, ok = decodeComponent(rest)
		k = append(k, c)
	}
	return k, string(rest), ok
}
