package sql

import (
	"slices"
	"strings"
)

// evaluator computes an expression in a run. Its errors are those of the run (limits, cancellation),
// never those of a value.
type evaluator func(r *run) (value, error)

// variable is a name in scope.
type variable struct {
	name  string
	slot  int
	owner *block
	shape *shape // what it stands for, for ORDER BY
	outer *variable
}

// block is what is known about the query that is being compiled.
type block struct {
	query      *Query
	selecting  bool // the select list of a grouped query: no variable of the block is what it was
	keys       []uint64
	keySlots   []int
	aggregates []aggregateCall
}

// compiler turns a query into a pipeline. Slots are never used twice in a plan, so a subquery does not
// disturb the query around it.
type compiler struct {
	slots      int
	params     map[string]int
	paramNames []string
	udfs       int
	aggregate  *call  // the aggregate whose argument is being compiled; nil outside
	current    *block // the block whose select list may hold aggregates; nil where none may stand
	hashes     map[expr]uint64
	depth      int
}

// slot makes a slot that no other part of the plan has.
func (c *compiler) slot() int {
	c.slots++
	return c.slots - 1
}

// lookup finds the innermost variable of a name; nil for none.
func lookup(scope *variable, name string) *variable {
	for ; scope != nil; scope = scope.outer {
		if scope.name == name {
			return scope
		}
	}
	return nil
}

// expr compiles an expression.
func (c *compiler) expr(e expr, scope *variable) (evaluator, error) {
	if ev, ok, err := c.grouped(e, scope); ok || err != nil {
		return ev, err
	}
	switch e := e.(type) {
	case *literal:
		v := e.value
		return func(*run) (value, error) { return v, nil }, nil
	case *name:
		return c.name(e, scope)
	case *parameter:
		return c.parameter(e), nil
	case *member:
		return c.member(e, scope)
	case *unary:
		return c.unary(e, scope)
	case *binary:
		return c.binary(e, scope)
	case *in:
		return c.in(e, scope)
	case *between:
		return c.between(e, scope)
	case *like:
		return c.like(e, scope)
	case *conditional:
		return c.conditional(e, scope)
	case *call:
		return c.call(e, scope)
	case *arrayLiteral:
		return c.array(e, scope)
	case *objectLiteral:
		return c.object(e, scope, c.expr)
	default:
		return c.subquery(e.(*subquery), scope)
	}
}

// exprs compiles a list.
func (c *compiler) exprs(list []expr, scope *variable) ([]evaluator, error) {
	out := make([]evaluator, len(list))
	for i, e := range list {
		var err error
		if out[i], err = c.expr(e, scope); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// name compiles a variable. An unknown name is SC2001.
func (c *compiler) name(e *name, scope *variable) (evaluator, error) {
	v := lookup(scope, e.name)
	if v == nil {
		return nil, failure(e.span, codeName, "Identifier '%s' could not be resolved.", e.name)
	}
	slot := v.slot
	return func(r *run) (value, error) { return r.slots[slot], nil }, nil
}

// parameter compiles a parameter. Each one is bound once in a run, however often it is used.
func (c *compiler) parameter(e *parameter) evaluator {
	n, ok := c.params[e.name]
	if !ok {
		n = len(c.paramNames)
		c.params[e.name] = n
		c.paramNames = append(c.paramNames, e.name)
	}
	return func(r *run) (value, error) { return r.params[n], nil }
}

// member compiles a property or an element. An index that depends on the row is refused, as the
// service does.
func (c *compiler) member(e *member, scope *variable) (evaluator, error) {
	base, err := c.expr(e.base, scope)
	if err != nil {
		return nil, err
	}
	if l, ok := e.index.(*literal); ok {
		key := l.value
		return func(r *run) (value, error) {
			v, err := base(r)
			if err != nil {
				return undefined, err
			}
			return v.index(key), r.spend(1 + v.width()>>5)
		}, nil
	}
	if !constant(e.index) {
		return nil, failure(e.span, codeIndexer, "The specified query includes 'member indexer' which is currently not supported.")
	}
	index, err := c.expr(e.index, scope)
	if err != nil {
		return nil, err
	}
	return both(base, index, value.index), nil
}

// constant reports whether an expression is made of literals and parameters only.
func constant(e expr) bool {
	switch e := e.(type) {
	case *literal, *parameter:
		return true
	case *name, *subquery, *call:
		return false
	default:
		return !slices.ContainsFunc(children(e), func(x expr) bool { return !constant(x) })
	}
}

// both evaluates two operands and applies a function to them.
func both(left, right evaluator, f func(a, b value) value) evaluator {
	return func(r *run) (value, error) {
		a, err := left(r)
		if err != nil {
			return undefined, err
		}
		b, err := right(r)
		if err != nil {
			return undefined, err
		}
		return f(a, b), r.spend(1 + (a.size()+b.size())>>10)
	}
}

// unary compiles a prefix operator.
func (c *compiler) unary(e *unary, scope *variable) (evaluator, error) {
	operand, err := c.expr(e.operand, scope)
	if err != nil {
		return nil, err
	}
	f := unaryOperator(e.op)
	return func(r *run) (value, error) {
		v, err := operand(r)
		if err != nil {
			return undefined, err
		}
		return f(v), r.spend(1)
	}, nil
}

// binary compiles an infix operator; AND, OR and ?? evaluate the right side only when they need it.
func (c *compiler) binary(e *binary, scope *variable) (evaluator, error) {
	left, err := c.expr(e.left, scope)
	if err != nil {
		return nil, err
	}
	right, err := c.expr(e.right, scope)
	if err != nil {
		return nil, err
	}
	switch e.op {
	case "AND":
		return shortCircuit(left, right, value.isFalse, and), nil
	case "OR":
		return shortCircuit(left, right, value.isTrue, or), nil
	case "??":
		return shortCircuit(left, right, value.defined, func(_, b value) value { return b }), nil
	case "||":
		return concatenation(left, right), nil
	}
	return both(left, right, binaryOperator(e.op)), nil
}

// shortCircuit evaluates the right operand only when the left one does not decide.
func shortCircuit(left, right evaluator, decides func(value) bool, f func(a, b value) value) evaluator {
	return func(r *run) (value, error) {
		a, err := left(r)
		if err != nil || decides(a) {
			return a, err
		}
		b, err := right(r)
		if err != nil {
			return undefined, err
		}
		return f(a, b), r.spend(1)
	}
}

// concatenation compiles "||". The length is checked before the string is made.
func concatenation(left, right evaluator) evaluator {
	return func(r *run) (value, error) {
		a, err := left(r)
		if err != nil {
			return undefined, err
		}
		b, err := right(r)
		switch {
		case err != nil:
			return undefined, err
		case a.typ != stringType || b.typ != stringType:
			return undefined, r.spend(1)
		case len(a.s)+len(b.s) > maxValueSize:
			return undefined, ErrTooMuchMemory
		}
		return text(a.s + b.s), r.spend(1 + (len(a.s)+len(b.s))>>10)
	}
}

// negated applies NOT when asked.
func negated(v value, negate bool) value {
	if negate {
		return not(v)
	}
	return v
}

// manyItems is the length from which a list of IN is looked up instead of gone through.
const manyItems = 8

// in compiles [NOT] IN. An undefined operand makes it undefined; undefined items equal nothing.
func (c *compiler) in(e *in, scope *variable) (evaluator, error) {
	operand, err := c.expr(e.operand, scope)
	if err != nil {
		return nil, err
	}
	if set := literalSet(e.items); set != nil {
		return func(r *run) (value, error) {
			v, err := operand(r)
			if err != nil || !v.defined() {
				return undefined, err
			}
			return negated(boolean(set[key(v)]), e.not), r.spend(1 + v.size()>>10)
		}, nil
	}
	items, err := c.exprs(e.items, scope)
	if err != nil {
		return nil, err
	}
	return func(r *run) (value, error) {
		v, err := operand(r)
		if err != nil || !v.defined() {
			return undefined, err
		}
		found, err := r.anyEqual(v, items)
		return negated(boolean(found), e.not), err
	}, nil
}

// literalSet is the set of the keys of a long list of literals; nil when something else is in it.
func literalSet(items []expr) map[string]bool {
	if len(items) < manyItems {
		return nil
	}
	set := make(map[string]bool, len(items))
	for _, e := range items {
		l, ok := e.(*literal)
		if !ok {
			return nil
		}
		set[key(l.value)] = true
	}
	return set
}

// anyEqual evaluates items until one equals the value.
func (r *run) anyEqual(v value, items []evaluator) (bool, error) {
	for _, item := range items {
		x, err := item(r)
		if err != nil {
			return false, err
		}
		if err := r.spend(1 + x.size()>>10); err != nil {
			return false, err
		}
		if equal(v, x) {
			return true, nil
		}
	}
	return false, nil
}

// between compiles [NOT] BETWEEN, which is two comparisons with AND.
func (c *compiler) between(e *between, scope *variable) (evaluator, error) {
	parts, err := c.exprs([]expr{e.operand, e.low, e.high}, scope)
	if err != nil {
		return nil, err
	}
	return func(r *run) (value, error) {
		v, err := parts[0](r)
		if err != nil {
			return undefined, err
		}
		low, err := parts[1](r)
		if err != nil {
			return undefined, err
		}
		high, err := parts[2](r)
		if err != nil {
			return undefined, err
		}
		return negated(and(ordered(">=", v, low), ordered("<=", v, high)), e.not), r.spend(1)
	}, nil
}

// like compiles [NOT] LIKE. Operands that are no strings make it undefined.
func (c *compiler) like(e *like, scope *variable) (evaluator, error) {
	parts, err := c.exprs([]expr{e.operand, e.pattern}, scope)
	if err != nil {
		return nil, err
	}
	return func(r *run) (value, error) {
		s, err := parts[0](r)
		if err != nil {
			return undefined, err
		}
		p, err := parts[1](r)
		if err != nil || s.typ != stringType || p.typ != stringType {
			return undefined, err
		}
		if err := r.spend(1 + (len(s.s)+len(p.s))>>6); err != nil {
			return undefined, err
		}
		items := cached(r, "like"+e.escape+"\x00"+p.s, func() []likeItem { return parseLike(p.s, e.escape) })
		ok, err := r.matchLike(s.s, items)
		return negated(boolean(ok), e.not), err
	}, nil
}

// maxCached bounds how many patterns a run remembers.
const maxCached = 64

// cached returns what make gives, remembered for the run.
func cached[T any](r *run, key string, make func() T) T {
	if x, ok := r.cache[key].(T); ok {
		return x
	}
	x := make()
	if len(r.cache) < maxCached && len(key) < 4096 {
		r.cache[strings.Clone(key)] = x
	}
	return x
}

// conditional compiles "? :". Whatever is not true chooses the second value.
func (c *compiler) conditional(e *conditional, scope *variable) (evaluator, error) {
	parts, err := c.exprs([]expr{e.condition, e.yes, e.no}, scope)
	if err != nil {
		return nil, err
	}
	return func(r *run) (value, error) {
		v, err := parts[0](r)
		if err != nil {
			return undefined, err
		}
		if err := r.spend(1); err != nil {
			return undefined, err
		}
		if v.isTrue() {
			return parts[1](r)
		}
		return parts[2](r)
	}, nil
}

// array compiles an array literal. What is undefined is left out.
func (c *compiler) array(e *arrayLiteral, scope *variable) (evaluator, error) {
	items, err := c.exprs(e.items, scope)
	if err != nil {
		return nil, err
	}
	return func(r *run) (value, error) {
		values, err := r.all(items, undefined)
		if err != nil {
			return undefined, err
		}
		return bounded(array(values))
	}, nil
}

// all evaluates a list; instead of what is undefined it has what is given, or nothing.
func (r *run) all(items []evaluator, instead value) ([]value, error) {
	values := make([]value, 0, len(items))
	size := 0
	for _, item := range items {
		v, err := item(r)
		if err != nil {
			return nil, err
		}
		if !v.defined() {
			v = instead
		}
		if v.defined() {
			values = append(values, v)
		}
		if size += v.size(); size > maxValueSize {
			return nil, ErrTooMuchMemory
		}
	}
	return values, r.spend(1 + len(items))
}

// object compiles an object literal, its values by the given function.
func (c *compiler) object(e *objectLiteral, scope *variable, compile func(expr, *variable) (evaluator, error)) (evaluator, error) {
	items := make([]evaluator, len(e.items))
	for i, x := range e.items {
		var err error
		if items[i], err = compile(x, scope); err != nil {
			return nil, err
		}
	}
	return construct(e.names, items), nil
}

// construct makes an object of values that are computed.
func construct(names []string, items []evaluator) evaluator {
	return func(r *run) (value, error) {
		values := make([]value, len(items))
		size := 0
		for i, item := range items {
			var err error
			if values[i], err = item(r); err != nil {
				return undefined, err
			}
			if size += values[i].size(); size > maxValueSize {
				return undefined, ErrTooMuchMemory
			}
		}
		if err := r.spend(1 + len(items)); err != nil {
			return undefined, err
		}
		return bounded(object(slices.Clone(names), values))
	}
}

// output compiles an expression of the outermost select list. There, what is undefined in an array
// that is written is null, as recorded answers of the service show; everywhere else it is left out.
func (c *compiler) output(e expr, scope *variable) (evaluator, error) {
	if ev, ok, err := c.grouped(e, scope); ok || err != nil {
		return ev, err
	}
	switch e := e.(type) {
	case *objectLiteral:
		return c.object(e, scope, c.output)
	case *arrayLiteral:
		items := make([]evaluator, len(e.items))
		for i, x := range e.items {
			var err error
			if items[i], err = c.output(x, scope); err != nil {
				return nil, err
			}
		}
		return func(r *run) (value, error) {
			values, err := r.all(items, null)
			if err != nil {
				return undefined, err
			}
			return bounded(array(values))
		}, nil
	}
	return c.expr(e, scope)
}
