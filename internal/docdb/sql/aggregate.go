package sql

import "strings"

// accumulator collects the values of one aggregate in one group. add returns how many bytes it keeps
// of the value.
type accumulator interface {
	add(v value) int
	result() value
}

// aggregates are the aggregate functions by upper-case name. Undefined counts for none of them.
var aggregates = map[string]func() accumulator{
	"COUNT":    func() accumulator { return &count{counts: value.defined} },
	"COUNTIF":  func() accumulator { return &count{counts: value.isTrue} },
	"SUM":      func() accumulator { return &sum{total: integer(0)} },
	"AVG":      func() accumulator { return &sum{total: integer(0), average: true} },
	"MIN":      func() accumulator { return &extreme{sign: -1} },
	"MAX":      func() accumulator { return &extreme{sign: 1} },
	"MAKELIST": func() accumulator { return &list{} },
	"MAKESET":  func() accumulator { return &list{seen: map[string]bool{}} },
}

// count is COUNT, and with another test COUNTIF.
type count struct {
	counts func(value) bool
	n      int64
}

// add counts what passes the test and keeps nothing.
func (c *count) add(v value) int {
	if c.counts(v) {
		c.n++
	}
	return 0
}

// result is never undefined: there is a count of nothing.
func (c *count) result() value { return integer(c.n) }

// sum is undefined as soon as something is no number. The sum of nothing is 0, its average undefined.
type sum struct {
	average bool
	total   value
	n       int64
	spoiled bool
}

// add takes numbers; anything else that is defined spoils the sum.
func (s *sum) add(v value) int {
	switch v.typ {
	case undefinedType:
	case numberType:
		s.total = arithmetic["+"](s.total, v)
		s.n++
	default:
		s.spoiled = true
	}
	return 0
}

// result is undefined for a spoiled sum, and for the average of nothing.
func (s *sum) result() value {
	switch {
	case s.spoiled || s.average && s.n == 0:
		return undefined
	case s.average:
		return number(s.total.float() / float64(s.n))
	}
	return s.total
}

// extreme is the least or the greatest of primitive values of all types; an array or object makes it
// undefined.
type extreme struct {
	sign    int
	best    value
	spoiled bool
}

// add keeps the value when it is better than the best so far.
func (x *extreme) add(v value) int {
	switch {
	case !v.defined():
	case v.typ >= arrayType:
		x.spoiled = true
	case !x.best.defined() || compare(v, x.best)*x.sign > 0:
		kept := len(x.best.s)
		v.s = strings.Clone(v.s)
		x.best = v
		return len(v.s) - kept
	}
	return 0
}

// result is undefined when there was nothing to compare, or something that cannot be.
func (x *extreme) result() value {
	if x.spoiled {
		return undefined
	}
	return x.best
}

// list is all values, or with seen each value once.
type list struct {
	seen  map[string]bool
	items []value
}

// add copies the value out of its document, since the list outlives it.
func (l *list) add(v value) int {
	if !v.defined() {
		return 0
	}
	kept := 0
	if l.seen != nil {
		k := key(v)
		if l.seen[k] {
			return 0
		}
		l.seen[k] = true
		kept = len(k)
	}
	v = detach(v)
	l.items = append(l.items, v)
	return kept + v.size()
}

// result is an empty array for nothing.
func (l *list) result() value { return array(l.items) }
