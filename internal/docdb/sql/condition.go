package sql

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Step is one step of a path: a member of an object, or with Element any element of an array.
type Step struct {
	Name    string
	Element bool
}

// Path leads from a document to a value in it.
type Path []Step

// Test is what a [Condition] asks.
type Test int

// The tests of conditions.
const (
	And       Test = iota // all of Of
	Or                    // one of Of
	In                    // a value at Path equals one of Values; none when there are none
	Between               // a value at Path lies between Low and High
	HasPrefix             // a string at Path begins with Prefix
	HasType               // a value at Path has the type of Values[0]
	Defined               // there is a value at Path
	Undefined             // there is none
	Near                  // a geometry at Path comes as near as Metres to Shape
)

// Condition is what every document that a query looks at must fulfil, as far as an index could tell. It may
// let documents through that the query does not: the query still decides. A nil one lets all through.
type Condition struct {
	Test   Test
	Of     []*Condition
	Path   Path
	Values []json.RawMessage // scalars
	// The bounds; nil for none. Both have one type. Open ones are not included.
	Low, High         json.RawMessage
	LowOpen, HighOpen bool
	Prefix            string
	Shape             json.RawMessage // a geometry
	Metres            float64
}

// never is fulfilled by no document.
var never = &Condition{Test: In}

// condition is a [Condition] whose constants are computed in a run.
type condition func(r *run) (*Condition, error)

// Condition is what the query's documents must fulfil when it runs with these parameters at this time.
func (p *Plan) Condition(params Params, now time.Time) (*Condition, error) {
	if p.condition == nil {
		return nil, nil
	}
	r := &run{origin: &origin{}, slots: make([]value, p.slots), steps: defaultSteps, memory: defaultMemory, now: now, cache: map[string]any{}}
	if err := r.bind(p.params, params); err != nil {
		return nil, err
	}
	return p.condition(r)
}

// paths are the variables in scope that stand for a path of the document.
type paths map[string]Path

// root is the scope of a query over the container; ok is false when its documents cannot be told.
func (q *Query) root() (scope paths, ok bool) {
	if len(q.from) == 0 || q.from[0].query != nil {
		return nil, false
	}
	root := pathRoot(q.from[0].path)
	if root == nil {
		return nil, false
	}
	return q.from[0].bind(paths{root.name: Path{}}, nil), true
}

// bind adds what a source stands for to a scope, in which its own path is read.
func (s source) bind(outer, scope paths) paths {
	out := maps.Clone(scope)
	if out == nil {
		out = paths{}
	}
	delete(out, s.alias)
	if s.query != nil {
		return out
	}
	p, ok := outer.of(s.path)
	if ok && s.iterate {
		p = append(slices.Clip(p), Step{Element: true})
	}
	if ok {
		out[s.alias] = p
	}
	return out
}

// of is the path that an expression is; an element that it names by number is any of them.
func (s paths) of(e expr) (Path, bool) {
	var steps Path // from the last one
	for {
		m, ok := e.(*member)
		if !ok {
			break
		}
		l, known := m.index.(*literal)
		switch {
		case known && l.value.typ == stringType:
			steps = append(steps, Step{Name: l.value.s})
		case known && l.value.typ == numberType:
			steps = append(steps, Step{Element: true})
		default:
			return nil, false
		}
		e = m.base
	}
	n, ok := e.(*name)
	if !ok {
		return nil, false
	}
	base, ok := s[n.name]
	slices.Reverse(steps)
	return append(slices.Clip(base), steps...), ok
}

// conditionOf finds the condition of a query over the container; nil for none.
func (c *compiler) conditionOf(q *Query) condition {
	scope, ok := q.root()
	if !ok || q.where == nil {
		return nil
	}
	for _, s := range q.from[1:] {
		scope = s.bind(scope, scope)
	}
	return c.condition(q.where, scope)
}

// condition finds what must hold in a document for which an expression is true; nil for nothing.
func (c *compiler) condition(e expr, scope paths) condition {
	if ev := c.constantOf(e); ev != nil {
		return func(r *run) (*Condition, error) {
			v, err := ev(r)
			if err != nil || v.isTrue() {
				return nil, err
			}
			return never, nil
		}
	}
	if p, ok := scope.of(e); ok && len(p) > 0 {
		return fixed(&Condition{Test: In, Path: p, Values: []json.RawMessage{json.RawMessage("true")}})
	}
	switch e := e.(type) {
	case *binary:
		return c.binaryCondition(e, scope)
	case *unary:
		return c.negation(e, scope)
	case *in:
		if p, ok := scope.of(e.operand); ok && !e.not {
			return c.equals(p, e.items)
		}
	case *between:
		if p, ok := scope.of(e.operand); ok && !e.not {
			return both2(c.compared(p, ">=", e.low), c.compared(p, "<=", e.high))
		}
	case *like:
		if p, ok := scope.of(e.operand); ok && !e.not {
			return c.likeCondition(p, e)
		}
	case *call:
		if !e.udf {
			return c.callCondition(e, scope)
		}
	case *subquery:
		return c.existence(e, scope)
	}
	return nil
}

// fixed is a condition without constants that have to be computed.
func fixed(x *Condition) condition { return func(*run) (*Condition, error) { return x, nil } }

// binaryCondition is what AND, OR and comparisons ask.
func (c *compiler) binaryCondition(e *binary, scope paths) condition {
	switch e.op {
	case "AND":
		return both2(c.condition(e.left, scope), c.condition(e.right, scope))
	case "OR":
		return either(c.condition(e.left, scope), c.condition(e.right, scope))
	case "=", "<", "<=", ">", ">=":
		if f, bound, ok := distanceBelow(e); ok {
			return c.near(f, bound, scope)
		}
		if p, ok := scope.of(e.left); ok {
			return c.compared(p, e.op, e.right)
		}
		if p, ok := scope.of(e.right); ok {
			return c.compared(p, mirrored[e.op], e.left)
		}
	}
	return nil
}

// mirrored are the comparisons read from right to left.
var mirrored = map[string]string{"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// both2 asks two things; one that is not known is not asked.
func both2(a, b condition) condition {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return func(r *run) (*Condition, error) {
		x, y, err := two(r, a, b)
		switch {
		case err != nil || x == nil:
			return y, err
		case y == nil:
			return x, nil
		}
		return &Condition{Test: And, Of: append(parts(And, x), parts(And, y)...)}, nil
	}
}

// either asks one of two things, when both are known.
func either(a, b condition) condition {
	if a == nil || b == nil {
		return nil
	}
	return func(r *run) (*Condition, error) {
		x, y, err := two(r, a, b)
		if err != nil || x == nil || y == nil {
			return nil, err
		}
		return &Condition{Test: Or, Of: append(parts(Or, x), parts(Or, y)...)}, nil
	}
}

func two(r *run, a, b condition) (x, y *Condition, err error) {
	if x, err = a(r); err != nil {
		return nil, nil, err
	}
	y, err = b(r)
	return x, y, err
}

// parts are the conditions that x is made of by a test.
func parts(t Test, x *Condition) []*Condition {
	if x.Test == t {
		return slices.Clip(x.Of)
	}
	return []*Condition{x}
}

// constant compiles an expression that has the same value for all documents; nil when it does not.
func (c *compiler) constantOf(e expr) evaluator {
	if !unchanging(e) {
		return nil
	}
	ev, err := c.expr(e, nil)
	if err != nil {
		return nil
	}
	return ev
}

// unchanging reports whether an expression is made of literals, parameters and functions of them that give
// the same whenever they are called in one run.
func unchanging(e expr) bool {
	switch x := e.(type) {
	case *name, *subquery:
		return false
	case *call:
		upper := strings.ToUpper(x.name)
		if _, known := functions[upper]; !known || x.udf || upper == "RAND" || aggregates[upper] != nil {
			return false
		}
	}
	return !slices.ContainsFunc(children(e), func(x expr) bool { return !unchanging(x) })
}

// compared asks that the value at a path compares to a constant. Only values of one type do.
func (c *compiler) compared(p Path, op string, e expr) condition {
	if op == "=" {
		return c.equals(p, []expr{e})
	}
	ev := c.constantOf(e)
	if ev == nil || len(p) == 0 {
		return nil
	}
	return func(r *run) (*Condition, error) {
		v, err := ev(r)
		if err != nil || v.typ < nullType || v.typ > stringType || !finite(v) {
			return never, err
		}
		x := &Condition{Test: Between, Path: p}
		text := json.RawMessage(appendJSON(nil, v))
		if op[0] == '>' {
			x.Low, x.LowOpen = text, op == ">"
		} else {
			x.High, x.HighOpen = text, op == "<"
		}
		return x, nil
	}
}

// equals asks that the value at a path equals one of some constants. An array or object among them cannot
// be looked up.
func (c *compiler) equals(p Path, list []expr) condition {
	if len(p) == 0 {
		return nil
	}
	evs := make([]evaluator, len(list))
	for i, e := range list {
		if evs[i] = c.constantOf(e); evs[i] == nil {
			return nil
		}
	}
	return func(r *run) (*Condition, error) {
		values, err := r.all(evs, undefined)
		if err != nil {
			return nil, err
		}
		return oneOf(p, values), nil
	}
}

// oneOf asks that a value at a path is one of some values; what is undefined is not among them.
func oneOf(p Path, values []value) *Condition {
	x := &Condition{Test: In, Path: p}
	for _, v := range values {
		switch {
		case !v.defined():
		case v.typ > stringType || !finite(v):
			return nil
		default:
			x.Values = append(x.Values, appendJSON(nil, v))
		}
	}
	return x
}

// negation is what NOT asks: false where there is a path, nothing where there must be something.
func (c *compiler) negation(e *unary, scope paths) condition {
	if e.op != "NOT" {
		return nil
	}
	if p, ok := scope.of(e.operand); ok && len(p) > 0 {
		return fixed(&Condition{Test: In, Path: p, Values: []json.RawMessage{json.RawMessage("false")}})
	}
	if f, ok := e.operand.(*call); ok && strings.EqualFold(f.name, "IS_DEFINED") && !f.udf {
		if p, ok := scope.of(f.args[0]); ok && len(p) > 0 && !slices.Contains(p, Step{Element: true}) {
			return fixed(&Condition{Test: Undefined, Path: p})
		}
	}
	return nil
}

// likeCondition asks for what a pattern begins with.
func (c *compiler) likeCondition(p Path, e *like) condition {
	ev := c.constantOf(e.pattern)
	if ev == nil || len(p) == 0 {
		return nil
	}
	return func(r *run) (*Condition, error) {
		v, err := ev(r)
		if err != nil || v.typ != stringType {
			return never, err
		}
		items := parseLike(v.s, e.escape)
		n := slices.IndexFunc(items, func(i likeItem) bool { return i.run || i.any || i.set != nil })
		if n < 0 {
			n = len(items)
		}
		var b strings.Builder
		for _, i := range items[:n] {
			b.WriteRune(i.char)
		}
		return &Condition{Test: HasPrefix, Path: p, Prefix: b.String()}, nil
	}
}

// existence is what EXISTS asks: that some row of the subquery passes its condition.
func (c *compiler) existence(e *subquery, scope paths) condition {
	q := e.query
	if e.kind != "EXISTS" || q.where == nil || len(q.groupBy) > 0 || hasAggregate(q.items) {
		return nil
	}
	for _, s := range q.from {
		scope = s.bind(scope, scope)
	}
	return c.condition(q.where, scope)
}

// Each calls f with the conditions on paths that a condition is made of.
func (c *Condition) Each(f func(*Condition)) {
	if c == nil || c == never {
		return
	}
	for _, x := range c.Of {
		x.Each(f)
	}
	if c.Test != And && c.Test != Or {
		f(c)
	}
}
