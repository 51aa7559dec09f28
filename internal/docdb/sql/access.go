package sql

import (
	"slices"
	"strings"
)

// OrderBy is one key of ORDER BY.
type OrderBy struct {
	Path Path
	Desc bool
}

// Order is what the results of a query over single documents are sorted by, when all of it are paths of
// the document: rows that come in this order, with [Options.Sorted], need not be sorted. Equal ones must
// come in the order of their resource ids, or in the reverse one when the first key goes downwards.
func (p *Plan) Order() []OrderBy { return p.order }

// Resumable reports whether a query whose rows come sorted gives a result at most for each, which depends
// on that row only: a later run may begin behind the row of the last result.
func (p *Plan) Resumable() bool { return p.resumable }

// Reads are the paths of the documents that the query looks at; ok is false when it may look at anything.
func (p *Plan) Reads() (paths []Path, ok bool) { return p.reads, p.reads != nil }

// ReadsContainer reports whether the query looks at documents at all.
func (p *Plan) ReadsContainer() bool { return len(p.text.from) > 0 }

// Unordered reports whether the answer of a query is the same in whatever order its rows come.
func (p *Plan) Unordered() bool { return p.unordered }

// isUnordered reports whether a query over single documents only counts them, or looks for the least or the
// greatest of their values.
func (q *Query) isUnordered() bool {
	if len(q.groupBy) > 0 || len(q.from) != 1 || q.star {
		return false
	}
	return !slices.ContainsFunc(q.items, func(i selectItem) bool {
		f, ok := i.expr.(*call)
		return !ok || f.udf || !slices.Contains([]string{"COUNT", "COUNTIF", "MIN", "MAX"}, strings.ToUpper(f.name))
	})
}

// orderOf is the order of a query over single documents.
func (q *Query) orderOf() (out []OrderBy) {
	scope, ok := q.root()
	if !ok || len(q.from) != 1 || q.from[0].iterate || q.rank || len(q.groupBy) > 0 || hasAggregate(q.items) {
		return nil
	}
	for _, o := range q.orderBy {
		p, ok := scope.of(o.expr)
		if !ok || len(p) == 0 || slices.Contains(p, Step{Element: true}) {
			return nil
		}
		out = append(out, OrderBy{p, o.desc})
	}
	return out
}

// readsOf are the paths that a query over single documents looks at; nil when that cannot be told.
func (q *Query) readsOf() []Path {
	scope, ok := q.root()
	if !ok || len(q.from) != 1 || q.from[0].iterate || q.star {
		return nil
	}
	out := []Path{}
	list := q.exprs()
	for _, e := range slices.DeleteFunc(list, func(e expr) bool { return e == q.from[0].path }) {
		if out, ok = scope.reads(out, e); !ok {
			return nil
		}
	}
	return out
}

// reads adds the paths that an expression looks at.
func (s paths) reads(out []Path, e expr) ([]Path, bool) {
	if p, ok := s.of(e); ok {
		return append(out, p), len(p) > 0 && !slices.Contains(p, Step{Element: true})
	}
	switch e.(type) {
	case *name, *member, *subquery:
		return nil, false
	}
	ok := true
	for _, x := range children(e) {
		if out, ok = s.reads(out, x); !ok {
			return nil, false
		}
	}
	return out, true
}

// SortDocuments puts documents in an order. What is equal keeps its place.
func SortDocuments[T any](docs []T, order []OrderBy, text func(T) []byte) error {
	type keyed struct {
		doc  T
		keys []value
	}
	o := &origin{}
	list := make([]keyed, len(docs))
	for i, d := range docs {
		v := readJSON(string(text(d)), o)
		list[i] = keyed{doc: d}
		for _, by := range order {
			list[i].keys = append(list[i].keys, v.at(by.Path))
		}
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		for i, by := range order {
			if c := compare(a.keys[i], b.keys[i]); c != 0 {
				if by.Desc {
					return -c
				}
				return c
			}
		}
		return 0
	})
	for i := range list {
		docs[i] = list[i].doc
	}
	return o.err
}

// at is the value at a path of members.
func (v value) at(p Path) value {
	for _, s := range p {
		v = v.get(s.Name)
	}
	return v
}

// Steps are what becomes of the rows of a query, from the last step to the first; sorted tells that they
// come in its order.
func (p *Plan) Steps(sorted bool) []string {
	q := p.text
	var out []string
	add := func(when bool, parts ...any) {
		if when {
			w := &printer{plan: true}
			w.put(parts...)
			out = append(out, w.b.String())
		}
	}
	add(q.top != nil, "first ", q.top)
	add(q.offset != nil, "skip ", q.offset, ", then first ", q.limit)
	add(q.distinct, "distinct")
	w := &printer{plan: true}
	w.selection(q)
	out = append(out, "select "+w.b.String())
	if p.query.group != nil {
		w := &printer{plan: true}
		w.exprs(q.groupBy)
		out = append(out, strings.TrimSpace("aggregate by "+w.b.String()))
	}
	if len(q.orderBy) > 0 && !sorted {
		w := &printer{plan: true}
		w.order(q)
		out = append(out, "sort"+strings.TrimPrefix(w.b.String(), " ORDER BY"))
	}
	add(q.where != nil, "keep where ", q.where)
	for _, s := range slices.Backward(q.from[min(1, len(q.from)):]) {
		w := &printer{plan: true}
		w.source(s)
		out = append(out, "join "+w.b.String())
	}
	return out
}
