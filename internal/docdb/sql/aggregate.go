package sql

import "slices"

// accumulator collects the values of one aggregate in one group.
type accumulator interface {
	add(v value)
	result() value
}

// aggregates are the aggregate functions.
var aggregates = map[string]func() accumulator{
	"COUNT":    func() accumulator { return &count{} },
	"COUNTIF":  func() accumulator { return &count{onlyTrue: true} },
	"SUM":      func() accumulator { return &sum{total: integerValue(0)} },
	"AVG":      func() accumulator { return &sum{total: integerValue(0), average: true} },
	"MIN":      func() accumulator { return &extreme{sign: -1} },
	"MAX":      func() accumulator { return &extreme{sign: 1} },
	"MAKELIST": func() accumulator { return &list{} },
	"MAKESET":  func() accumulator { return &list{set: true} },
}

type count struct {
	onlyTrue bool
	n        int64
}

func (c *count) add(v value) {
	if c.onlyTrue && v.isTrue() || !c.onlyTrue && v.typ != undefinedType {
		c.n++
	}
}

func (c *count) result() value { return integerValue(c.n) }

// sum is undefined as soon as something is no number.
type sum struct {
	average bool
	total   value
	n       int64
	spoiled bool
}

func (s *sum) add(v value) {
	switch v.typ {
	case undefinedType:
	case numberType:
		s.total = arithmetic("+", s.total, v)
		s.n++
	default:
		s.spoiled = true
	}
}

func (s *sum) result() value {
	switch {
	case s.spoiled || s.average && s.n == 0:
		return undefined
	case s.average:
		return number(s.total.num / float64(s.n))
	}
	return s.total
}

// extreme is the least or the greatest of primitive values; an array or object spoils it.
type extreme struct {
	sign    int
	best    value
	spoiled bool
}

func (x *extreme) add(v value) {
	switch {
	case v.typ == undefinedType:
	case v.typ >= arrayType:
		x.spoiled = true
	case x.best.typ == undefinedType || compare(v, x.best)*x.sign > 0:
		x.best = v
	}
}

func (x *extreme) result() value {
	if x.spoiled {
		return undefined
	}
	return x.best
}

type list struct {
	set   bool
	items []value
}

func (l *list) add(v value) {
	if v.typ == undefinedType || l.set && slices.ContainsFunc(l.items, func(x value) bool { return equal(x, v) }) {
		return
	}
	l.items = append(l.items, v)
}

func (l *list) result() value { return array(l.items) }

// groupState is one group: its first row stands for the grouped values.
type groupState struct {
	scope *scope
	accs  []accumulator
}

// group runs a query with aggregates or GROUP BY.
func (r *run) group(q *Query, rows feed, out emit) error {
	found := collectAggregates(q)
	groups := map[string]*groupState{}
	var order []*groupState
	open := func(key string, s *scope) *groupState {
		g := &groupState{scope: s}
		for _, a := range found {
			g.accs = append(g.accs, aggregates[a.op]())
		}
		groups[key] = g
		order = append(order, g)
		return g
	}
	err := rows(func(s *scope) (bool, error) {
		keys, err := r.evalAll(q.groupBy, s)
		if err != nil {
			return false, err
		}
		key := string(canonical(array(keys), nil))
		g := groups[key]
		if g == nil {
			g = open(key, s)
			if err := r.hold(len(key) + valueSize*(1+len(found))); err != nil {
				return false, err
			}
		}
		return true, r.accumulate(g, found, s)
	})
	if err != nil {
		return err
	}
	if len(q.groupBy) == 0 && len(order) == 0 {
		open("", nil)
	}
	return r.emitGroups(q, order, out)
}

func (r *run) accumulate(g *groupState, found []*expr, s *scope) error {
	for i, a := range found {
		v, err := r.eval(a.args[0], s)
		if err != nil {
			return err
		}
		g.accs[i].add(v)
		if err := r.hold(btoi(a.op == "MAKELIST" || a.op == "MAKESET") * valueSize); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) emitGroups(q *Query, order []*groupState, out emit) error {
	outer := r.groups
	defer func() { r.groups = outer }()
	for _, g := range order {
		r.groups = g.accs
		v, err := r.selectRow(q, g.scope)
		if err != nil {
			return err
		}
		if more, err := emitDefined(q, v, out); err != nil || !more {
			return err
		}
	}
	return nil
}

// collectAggregates finds the aggregates of a select list, in the order of their slots.
func collectAggregates(q *Query) []*expr {
	var out []*expr
	var walk func(*expr)
	walk = func(e *expr) {
		if e.slot > 0 {
			out = append(out, e)
			return
		}
		for _, c := range e.children() {
			walk(c)
		}
	}
	for _, item := range q.items {
		walk(item.expr)
	}
	slices.SortFunc(out, func(a, b *expr) int { return a.slot - b.slot })
	return out
}
