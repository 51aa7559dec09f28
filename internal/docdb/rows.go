package docdb

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb/sql"
	"github.com/latchkey-db/latchkey/internal/store"
)

// rows are the documents of a span as the query engine reads them. There are three ways to them:
//
//	scan   all of them, in the order of their numbers
//	found  those of which the index says that they may fulfil the condition, in the same order
//	order  all of them, or those with a value in a range, in the order of the query
//
// Rows may stand for documents that are not read (cover.go).
type rows struct {
	view  *store.Snapshot
	state *container
	part  span
	after uint64 // of scan and found: go on behind this number
	now   int64
	at    time.Time // the time of the query
	most  int       // documents that may be read; 0 for no bound
	began time.Time
	// anyOrder tells that the answer does not depend on the order of the rows.
	anyOrder bool
	bare     bool // the members that the system adds are not asked for

	index     *access
	condition *sql.Condition
	found     postings
	order     *ordered

	constant []byte // the row that stands for each of found; nil to read the documents
	covered  func(context.Context, func(sql.Row, error) bool) error

	current uint64 // number of the item that was read last
	read    int
	bytes   int
	cut     bool // there may be more than was read
}

// readsBodies reports whether a query asks for nothing but what users put into their documents.
func readsBodies(plan *sql.Plan) bool {
	paths, ok := plan.Reads()
	return ok && !slices.ContainsFunc(paths, func(p sql.Path) bool { return isSystemMember(p[0].Name) })
}

// Texts of the service for orders that no index serves.
const (
	textOrderExcluded  = "The index path corresponding to the specified order-by item is excluded."
	textOrderComposite = "The order by query does not have a corresponding composite index that it can be served from."
)

// choose decides on the way to the rows. A position in an order that cannot be gone on with becomes one in
// the results.
func (s *rows) choose(plan *sql.Plan, query Query, now time.Time, at position) (position, error) {
	s.at = now
	s.index = &access{view: s.view, id: s.state.id, part: &s.part}
	if !boundsOfIndex.Load().off {
		s.index.gen = s.state.indexes.serving
	}
	condition, err := plan.Condition(sql.Params(query.Parameters), now)
	if err != nil {
		return at, err
	}
	s.condition, s.anyOrder = condition, plan.Unordered()
	if order := plan.Order(); len(order) > 0 {
		return s.chooseOrder(plan, order, condition, at)
	}
	if s.found, err = s.index.candidates(condition); err == nil {
		s.cover(plan, condition)
	}
	return at, err
}

// chooseOrder reads in the order of the query, unless there are so few documents to sort that their number
// does not matter.
func (s *rows) chooseOrder(plan *sql.Plan, order []sql.OrderBy, condition *sql.Condition, at position) (position, error) {
	o, err := s.index.ordered(order, condition)
	if err != nil {
		return at, err
	}
	if at.ordered == nil {
		few, err := s.few(condition)
		if err != nil || few != nil {
			s.found = few
			return at, err
		}
	}
	switch {
	case o != nil:
		s.order, o.rows = o, s
		if at.ordered != nil {
			o.at = *at.ordered
		}
		if plan.Resumable() {
			s.most = maxScan
		}
		return at, nil
	case at.ordered != nil:
		at = position{skip: at.skip + at.given}
	}
	s.found, err = s.index.candidates(condition)
	return at, err
}

// few are the documents that may fulfil a condition, when there are few of them.
func (s *rows) few(condition *sql.Condition) (postings, error) {
	p, err := s.index.candidates(condition)
	if err != nil {
		return nil, err
	}
	most := boundsOfIndex.Load().few
	if p == nil {
		most /= 4
		prefix := key(keyOrder, s.state.id[:])
		if s.part.partition != "" {
			prefix = key(keyPartition, s.state.id[:], []byte(s.part.partition))
		}
		if p, err = s.index.stored(prefix, nil); err != nil {
			return nil, err
		}
	}
	if list, all := take(p, most); all {
		return &list, nil
	}
	return nil, nil
}

// ordered reads the documents in an order, if an index has it. An order that the container's policy does
// not serve is refused, as the service does.
func (a *access) ordered(order []sql.OrderBy, condition *sql.Condition) (*ordered, error) {
	if a.gen == nil {
		return nil, nil
	}
	o := &ordered{access: a, by: order, desc: order[0].Desc}
	if len(order) > 1 {
		return a.composite(o)
	}
	path, ok := a.path(order[0].Path)
	switch {
	case !ok && isSystemMember(order[0].Path[0].Name):
		return nil, nil
	case !ok:
		return nil, badRequest(textOrderExcluded)
	case a.gen.overflow.Load():
		return nil, nil
	}
	o.path, o.prefix = path, a.termKey(path)
	o.bound(condition)
	return o, nil
}

// bound keeps the terms in the range that a condition asks of the path of the order.
func (o *ordered) bound(c *sql.Condition) {
	if c == nil {
		return
	}
	list := []*sql.Condition{c}
	if c.Test == sql.And {
		list = merged(c.Of)
	}
	for _, x := range list {
		if (x.Test == sql.Between || x.Test == sql.HasPrefix || x.Test == sql.HasType) && slices.Equal(x.Path, o.by[0].Path) && !o.bounded {
			o.lower, o.upper = bounds(x)
			o.bounded = true
		}
	}
}

// composite finds the composite index that has the order, or the reverse one.
func (a *access) composite(o *ordered) (*ordered, error) {
	for n, paths := range a.gen.Composites() {
		same, reverse := len(paths) == len(o.by), len(paths) == len(o.by)
		for i := 0; i < len(paths) && (same || reverse); i++ {
			path, _ := a.path(o.by[i].Path)
			match := slices.Equal(path, paths[i].Path)
			same = same && match && paths[i].Desc == o.by[i].Desc
			reverse = reverse && match && paths[i].Desc != o.by[i].Desc
		}
		if same || reverse {
			o.prefix, o.paths, o.desc = key(keyComposite, a.id[:], be32(a.gen.number), []byte{byte(n)}), paths, reverse
			if a.gen.overflow.Load() {
				return nil, nil
			}
			return o, nil
		}
	}
	return nil, badRequest(textOrderComposite)
}

// Scan gives the documents that are alive.
func (s *rows) Scan(ctx context.Context) iter.Seq2[sql.Row, error] {
	return func(yield func(sql.Row, error) bool) {
		var err error
		switch {
		case s.order != nil:
			s.order.run(ctx, yield)
			return
		case s.covered != nil:
			err = s.covered(ctx, yield)
		case s.found != nil:
			err = s.search(ctx, yield)
		case s.anyOrder:
			err = s.sequential(ctx, yield)
		default:
			for i := range s.part.items(s.view, s.state, s.after, &err) {
				if ctx.Err() != nil || !s.give(i, yield) {
					break
				}
			}
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			yield(sql.Row{}, err)
		}
	}
}

// sequential gives the documents in the order in which they are stored, for a query whose answer does not
// depend on it: neighbours are read together.
func (s *rows) sequential(ctx context.Context, yield func(sql.Row, error) bool) (err error) {
	r := below(keyItem, s.state.id[:], []byte(s.part.partition))
	for k, v := range s.view.Scan(r, &err) {
		if ctx.Err() != nil {
			break
		}
		at := k[1+len(s.state.id):]
		if !s.part.whole() && !s.part.holds(at) {
			continue
		}
		i, e := decodeItem(v)
		if e != nil {
			return e
		}
		if !s.state.hidden(at, i) && !s.give(i, yield) {
			break
		}
	}
	return err
}

// search gives the documents that were found.
func (s *rows) search(ctx context.Context, yield func(sql.Row, error) bool) error {
	for n, ok := s.found.seek(s.after + 1); ok && ctx.Err() == nil; n, ok = s.found.seek(n + 1) {
		if s.constant != nil {
			if s.current = n; !yield(sql.Row{JSON: s.constant}, nil) {
				return nil
			}
			continue
		}
		i, err := s.byNumber(n)
		if err != nil {
			return err
		}
		if i != nil && !s.give(i, yield) {
			return nil
		}
	}
	return nil
}

// give passes a document on when it is alive. It returns false when no more are wanted.
func (s *rows) give(i *item, yield func(sql.Row, error) bool) bool {
	if i.expired(s.now, s.state.rec.Spec.DefaultTTL) {
		return true
	}
	if s.most > 0 && (s.read >= s.most || s.bytes > maxScanBytes || s.read%64 == 63 && time.Since(s.began) > maxSlice) {
		s.cut = true
		return false
	}
	s.current, s.read, s.bytes = i.number, s.read+1, s.bytes+len(i.body)
	row := sql.Row{JSON: i.body}
	if !s.bare {
		row = sql.Row{JSON: i.json(s.state.id), RID: s.state.id.child(i.number, 0)}
	}
	return yield(row, nil)
}

// byNumber reads an item; nil when it does not lie in the span.
func (s *rows) byNumber(n uint64) (*item, error) {
	id := s.state.id
	k := key(keyOrder, id[:], be64(n))
	if s.part.partition != "" {
		k = key(keyPartition, id[:], []byte(s.part.partition), be64(n))
	}
	at, err := s.view.Get(k)
	if errors.Is(err, store.ErrNotFound) && s.part.partition != "" {
		return nil, nil // of another logical partition with the same hash
	}
	if err != nil {
		return nil, err
	}
	if s.part.partition != "" {
		at = append([]byte(s.part.partition), at...)
	} else if !s.part.holds(at) {
		return nil, nil
	}
	i, err := itemAt(s.view, id, at)
	if err != nil || s.state.hidden(at, i) {
		return nil, err
	}
	return i, nil
}

// pass moves a position behind the result that was given last.
func (s *rows) pass(plan *sql.Plan, p *position) {
	switch {
	case plan.Streaming() || s.order != nil && plan.Resumable():
		s.reach(p)
		p.given++
	case s.rowwise(plan):
		if p.after != s.current-1 {
			p.after, p.skip = s.current-1, 0
		}
		p.skip++
	default:
		p.skip++
	}
}

// rowwise reports whether a page may go on within the results of one row, such as those of a JOIN.
func (s *rows) rowwise(plan *sql.Plan) bool {
	return plan.PerRow() && s.order == nil && s.covered == nil
}

// leaves reports whether a result was given on an earlier page: with rowwise, only those of the row that the
// page goes on within.
func (s *rows) leaves(plan *sql.Plan, at position) bool {
	return !s.rowwise(plan) || s.current == at.after+1
}

// reach moves a position behind the row that was read last.
func (s *rows) reach(p *position) {
	if s.order == nil {
		p.after, p.skip = s.current, 0
		return
	}
	here := s.order.at
	here.term = bytes.Clone(here.term)
	p.ordered, p.skip = &here, 0
}

var _ sql.Source = (*rows)(nil)
