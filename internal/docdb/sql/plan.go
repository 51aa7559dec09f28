package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
)

// Row is one document of a container.
type Row struct {
	JSON []byte // its whole text
	RID  string
}

// Source gives the documents that a query runs over, in the order of their resource ids.
type Source interface {
	Scan(ctx context.Context) iter.Seq2[Row, error]
}

// Params are the values of a query's parameters by name, "@" included, as JSON.
type Params map[string]json.RawMessage

// Options bound a run. Zero means the default.
type Options struct {
	MaxSteps  int64 // evaluated expressions; default 100 million
	MaxMemory int64 // bytes held for sorting, grouping and subqueries; default 256 MiB
}

// Plan is a checked query, ready to run any number of times, also at the same time.
type Plan struct{ q *Query }

// Compile checks a query. Errors are [*SyntaxError] values.
func Compile(q *Query) (*Plan, error) {
	c := &checker{}
	if err := c.query(q, nil); err != nil {
		return nil, err
	}
	return &Plan{q: q}, nil
}

// Streaming reports whether each result depends on its own row only and comes in the order of the
// rows, so that a later run may begin behind the row of the last result.
func (p *Plan) Streaming() bool {
	q := p.q
	return !q.distinct && q.top == nil && q.offset == nil && len(q.orderBy) == 0 && len(q.groupBy) == 0 && !q.aggregate && len(q.from) == 1 &&
		q.from[0].query == nil && !q.from[0].iterate
}

// checker walks a query before it runs.
type checker struct {
	inAggregate bool
	aggregates  *[]*expr // of the select list that is being checked; nil where none may stand
}

// names are the variables in scope.
type names struct {
	name  string
	outer *names
}

func (n *names) has(name string) bool {
	for ; n != nil; n = n.outer {
		if n.name == name {
			return true
		}
	}
	return false
}

func failAt(e *expr, code, format string, args ...any) error {
	return &SyntaxError{Code: code, Message: fmt.Sprintf(format, args...), Start: e.start, End: e.end}
}

func (c *checker) query(q *Query, scope *names) error {
	if q.sub && (len(q.orderBy) > 0 || q.top != nil || q.offset != nil) {
		return &SyntaxError{Code: map[bool]string{true: "SC2202", false: "SC2203"}[len(q.orderBy) > 0], Message: "The clause is not allowed in a subquery."}
	}
	scope, err := c.sources(q, scope)
	if err != nil {
		return err
	}
	if err := c.conditions(q, scope); err != nil {
		return err
	}
	return c.selection(q, scope)
}

func (c *checker) sources(q *Query, scope *names) (*names, error) {
	for i, s := range q.from {
		switch {
		case s.query != nil:
			if err := (&checker{}).query(s.query, scope); err != nil {
				return nil, err
			}
		case i == 0 && scope == nil:
			// The first name of a query is the container, whatever it is called.
		default:
			if err := c.expr(s.path, scope); err != nil {
				return nil, err
			}
		}
		if s.alias == "" {
			continue
		}
		for n := scope; n != nil && i > 0; n = n.outer {
			if n.name == s.alias && !q.sub {
				return nil, &SyntaxError{Code: codeAlias, Message: fmt.Sprintf("The input alias '%s' is specified more than once.", s.alias)}
			}
		}
		scope = &names{s.alias, scope}
	}
	if q.star && len(q.from) != 1 {
		return nil, &SyntaxError{Code: codeSyntax, Message: map[bool]string{
			true: "'SELECT *' is not valid if FROM clause is omitted.", false: "'SELECT *' is only valid with a single input set."}[len(q.from) == 0]}
	}
	return scope, nil
}

func (c *checker) conditions(q *Query, scope *names) error {
	none := &checker{}
	if q.where != nil {
		if err := none.expr(q.where, scope); err != nil {
			return err
		}
	}
	for _, g := range q.groupBy {
		if err := none.expr(g, scope); err != nil {
			return err
		}
	}
	for _, o := range q.orderBy {
		if err := none.expr(o.expr, scope); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) selection(q *Query, scope *names) error {
	var found []*expr
	inner := &checker{aggregates: &found}
	seen := map[string]bool{}
	for _, item := range q.items {
		if err := inner.expr(item.expr, scope); err != nil {
			return err
		}
		if item.name != "" && !q.value && seen[item.name] {
			return failAt(item.expr, codeAlias, "The alias '%s' is specified more than once.", item.name)
		}
		seen[item.name] = true
	}
	q.aggregate = len(found) > 0
	if q.star && len(q.groupBy) > 0 {
		return &SyntaxError{Code: "SC2041", Message: "'SELECT *' is not valid with GROUP BY clause."}
	}
	if !q.aggregate && len(q.groupBy) == 0 {
		return nil
	}
	for i, a := range found {
		a.slot = i + 1
	}
	for _, item := range q.items {
		if err := grouped(q, item.expr); err != nil {
			return err
		}
	}
	return nil
}

// grouped checks that a select expression uses grouped values and aggregates only.
func grouped(q *Query, e *expr) error {
	if e == nil || e.slot > 0 || isGroupKey(q, e) {
		return nil
	}
	if e.isPath() {
		return failAt(e, codeGroup, "Property reference '%s' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.", e.source())
	}
	for _, child := range e.children() {
		if err := grouped(q, child); err != nil {
			return err
		}
	}
	return nil
}

// isPath reports whether an expression leads from a variable through properties.
func (e *expr) isPath() bool {
	for e.kind == exMember {
		e = e.left
	}
	return e.kind == exName
}

func isGroupKey(q *Query, e *expr) bool {
	for _, g := range q.groupBy {
		if g.source() == e.source() {
			return true
		}
	}
	return false
}

func (e *expr) children() []*expr {
	var out []*expr
	for _, x := range append([]*expr{e.left, e.right, e.third}, e.args...) {
		if x != nil {
			out = append(out, x)
		}
	}
	return out
}

func (c *checker) expr(e *expr, scope *names) error {
	switch e.kind {
	case exName:
		if !scope.has(e.op) {
			return failAt(e, codeName, "Identifier '%s' could not be resolved.", e.op)
		}
		return nil
	case exSubquery, exExists, exArrayOf:
		return (&checker{}).query(e.query, scope)
	case exUDF:
		return failAt(e, "SC3001", "The user-defined function '%s' cannot be called: this server does not run scripts yet.", e.op)
	case exCall:
		return c.call(e, scope)
	}
	return c.each(e.children(), scope)
}

func (c *checker) each(list []*expr, scope *names) error {
	for _, x := range list {
		if err := c.expr(x, scope); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) call(e *expr, scope *names) error {
	if _, ok := aggregates[e.op]; ok {
		return c.aggregate(e, scope)
	}
	f, ok := functions[e.op]
	switch {
	case notYet[e.op]:
		return failAt(e, codeFunction, "'%s' is a built-in function that this server does not support yet.", e.op)
	case !ok:
		return failAt(e, codeFunction, "'%s' is not a recognized built-in function name.", e.op)
	}
	if len(e.args) < f.min || f.max >= 0 && len(e.args) > f.max {
		return failAt(e, codeArity, "The function '%s' requires %d argument(s).", e.op, f.min)
	}
	return c.each(e.args, scope)
}

func (c *checker) aggregate(e *expr, scope *names) error {
	switch {
	case c.inAggregate:
		return failAt(e, codeNested, "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.")
	case c.aggregates == nil:
		return failAt(e, "SC2100", "An aggregate may not appear here.")
	case len(e.args) != 1:
		return failAt(e, codeArity, "The function '%s' requires 1 argument(s).", e.op)
	}
	inner := &checker{inAggregate: true}
	if err := inner.expr(e.args[0], scope); err != nil {
		return err
	}
	*c.aggregates = append(*c.aggregates, e)
	return nil
}
