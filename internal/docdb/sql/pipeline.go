package sql

import (
	"container/heap"
	"math"
	"slices"
	"strings"
)

// pipeline is a compiled query.
type pipeline struct {
	steps    []step
	where    evaluator // nil for none
	group    *grouping // nil for none
	project  evaluator
	order    []orderKey
	distinct bool
	top      *bound // these may be nil
	offset   *bound
	limit    *bound
	shape    *shape // of its results
}

// step is a source of FROM: it binds each of its values and calls next. next returns false when no
// more are wanted; the step then returns false too.
type step func(r *run, next func() (bool, error)) (bool, error)

// emit takes a result; it returns false when no more are wanted.
type emit func(value) (bool, error)

// orderKey is what results are sorted by.
type orderKey struct {
	by   evaluator
	desc bool
}

// bound is a count of results.
type bound struct {
	count  evaluator
	refuse error // what a wrong count is answered with
}

// scanStep reads the container. It is the access path that a planner replaces.
func scanStep(document int, path evaluator, slot int, iterate bool) step {
	bind := pathStep(path, slot, iterate)
	return func(r *run, next func() (bool, error)) (bool, error) {
		for row, err := range r.source.Scan(r.ctx) {
			if err != nil {
				return false, err
			}
			if err := r.spend(1 + len(row.JSON)>>10); err != nil {
				return false, err
			}
			r.slots[document] = readDocument(row.JSON, r.origin)
			more, err := bind(r, next)
			if err == nil {
				err = r.origin.err
			}
			if err != nil || !more {
				return false, err
			}
		}
		return true, nil
	}
}

// pathStep binds a value, or its elements one by one. Without a value there is no row.
func pathStep(path evaluator, slot int, iterate bool) step {
	return func(r *run, next func() (bool, error)) (bool, error) {
		v, err := path(r)
		if err != nil {
			return false, err
		}
		return r.bindTo(slot, v, iterate, next)
	}
}

// queryStep binds the results of a subquery, or the elements of the arrays among them.
func queryStep(q *pipeline, slot int, iterate bool) step {
	return func(r *run, next func() (bool, error)) (more bool, err error) {
		more = true
		err = q.run(r, func(v value) (bool, error) {
			more, err = r.bindTo(slot, v, iterate, next)
			return more, err
		})
		return more, err
	}
}

// bindTo puts a value, or each element of an array, into a slot and goes on with the next step.
func (r *run) bindTo(slot int, v value, iterate bool, next func() (bool, error)) (bool, error) {
	if !iterate {
		if !v.defined() {
			return true, nil
		}
		r.slots[slot] = v
		return next()
	}
	for _, x := range v.items() {
		if err := r.spend(1); err != nil {
			return false, err
		}
		r.slots[slot] = x
		if more, err := next(); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// run executes the query and gives its results to out.
func (p *pipeline) run(r *run, out emit) error {
	h := &holder{run: r}
	defer h.release()
	out, keep, err := p.window(r, out)
	if err != nil || keep == 0 {
		return err
	}
	if p.distinct {
		out, keep = distinct(h, out), math.MaxInt64
	}
	switch {
	case p.group != nil:
		return p.group.run(r, h, p, out)
	case len(p.order) > 0 && !r.sorted:
		return p.sort(r, h, keep, out)
	}
	return p.rows(r, func() (bool, error) { return p.emit(r, out) })
}

// rows calls row for each combination of the sources that the condition keeps.
func (p *pipeline) rows(r *run, row func() (bool, error)) error {
	kept := row
	if p.where != nil {
		kept = func() (bool, error) {
			v, err := p.where(r)
			if err != nil || !v.isTrue() {
				return true, err
			}
			return row()
		}
	}
	for _, s := range slices.Backward(p.steps) {
		next := kept
		kept = func() (bool, error) { return s(r, next) }
	}
	_, err := kept()
	return err
}

// emit projects the row that is bound. Undefined is no result.
func (p *pipeline) emit(r *run, out emit) (bool, error) {
	v, err := p.project(r)
	if err != nil || !v.defined() {
		return true, err
	}
	return out(v)
}

// window counts results for TOP, OFFSET and LIMIT. keep is how many results it looks at.
func (p *pipeline) window(r *run, out emit) (windowed emit, keep int64, err error) {
	skip, most := int64(0), int64(math.MaxInt64)
	for _, c := range []struct {
		bound *bound
		into  *int64
	}{{p.top, &most}, {p.limit, &most}, {p.offset, &skip}} {
		if c.bound == nil {
			continue
		}
		v, err := c.bound.count(r)
		if err != nil {
			return nil, 0, err
		}
		n, whole := v.int64()
		if !whole || n < 0 || n >= maxCount {
			return nil, 0, c.bound.refuse
		}
		*c.into = n
	}
	if most == math.MaxInt64 && skip == 0 {
		return out, most, nil
	}
	if most == 0 {
		return nil, 0, nil
	}
	keep = most
	if most < maxCount {
		keep += skip
	}
	return func(v value) (bool, error) {
		if skip > 0 {
			skip--
			return true, nil
		}
		most--
		more, err := out(v)
		return more && most > 0, err
	}, keep, nil
}

// distinct lets each value through once.
func distinct(h *holder, out emit) emit {
	seen := map[string]bool{}
	return func(v value) (bool, error) {
		k := key(v)
		if seen[k] {
			return true, h.run.spend(1 + len(k)>>10)
		}
		seen[k] = true
		if err := h.hold(len(k) + valueSize); err != nil {
			return false, err
		}
		return out(v)
	}
}

// sorted is a result with what it is sorted by. number is its place before.
type sorted struct {
	keys   []value
	number int
	result value
	size   int
}

// sorter keeps the first results of an order. It is a heap with the last of them on top.
type sorter struct {
	order []orderKey
	rows  []sorted
}

// compare orders two results. What is equal stays in the order of the rows, or in the reverse order when
// the first key is sorted downwards, as the service does.
func (s *sorter) compare(a, b sorted) int {
	for i, o := range s.order {
		if c := compare(a.keys[i], b.keys[i]); c != 0 {
			if o.desc {
				return -c
			}
			return c
		}
	}
	if s.order[0].desc {
		return b.number - a.number
	}
	return a.number - b.number
}

// Len is the number of results; [heap.Interface] asks for it.
func (s *sorter) Len() int { return len(s.rows) }

// Less puts the last result on top.
func (s *sorter) Less(i, j int) bool { return s.compare(s.rows[i], s.rows[j]) > 0 }

// Swap exchanges two results.
func (s *sorter) Swap(i, j int) { s.rows[i], s.rows[j] = s.rows[j], s.rows[i] }

// Push adds a result; [heap.Interface] asks for it.
func (s *sorter) Push(x any) { s.rows = append(s.rows, x.(sorted)) }

// Pop removes the result at the end; [heap.Interface] asks for it.
func (s *sorter) Pop() any {
	last := s.rows[len(s.rows)-1]
	s.rows = s.rows[:len(s.rows)-1]
	return last
}

// sort gives the results in order. It keeps no more of them than will be looked at.
func (p *pipeline) sort(r *run, h *holder, keep int64, out emit) error {
	s := &sorter{order: p.order}
	number := 0
	err := p.rows(r, func() (bool, error) {
		row := sorted{keys: make([]value, len(p.order)), number: number}
		number++
		for i, o := range p.order {
			k, err := o.by(r)
			if err != nil {
				return false, err
			}
			row.keys[i] = k
		}
		if int64(len(s.rows)) == keep && s.compare(row, s.rows[0]) > 0 {
			return true, r.spend(len(p.order))
		}
		return true, p.keep(r, h, s, row, keep)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(s.rows, s.compare)
	for _, row := range s.rows {
		if more, err := out(row.result); err != nil || !more {
			return err
		}
	}
	return nil
}

// keep adds the row that is bound to the sorter, and drops the last one when there are enough.
func (p *pipeline) keep(r *run, h *holder, s *sorter, row sorted, keep int64) error {
	v, err := p.project(r)
	if err != nil || !v.defined() {
		return err
	}
	row.result = detach(v)
	row.size = row.result.size()
	for i, k := range row.keys {
		row.keys[i] = sortKey(k)
		row.size += row.keys[i].size()
	}
	if err := r.spend(1 + row.size>>10); err != nil {
		return err
	}
	if err := h.hold(row.size); err != nil {
		return err
	}
	heap.Push(s, row)
	if int64(len(s.rows)) > keep {
		gone := heap.Pop(s).(sorted)
		return h.hold(-gone.size)
	}
	return nil
}

// sortKey is a value that does not keep the document in memory. Objects have no order but that of
// their keys.
func sortKey(v value) value {
	if v.typ == stringType {
		v.s = strings.Clone(v.s)
	}
	if v.c != nil {
		return detach(v)
	}
	return v
}
