package sql

// Query is a parsed SELECT. It is not changed after [Parse].
type Query struct {
	text string // of the outermost query, for places in it
	span
	distinct bool
	top      expr // a number or a parameter; nil for none
	topAt    span
	star     bool
	starAt   span
	value    bool // SELECT VALUE
	items    []selectItem
	from     []source // joined from left to right; none without FROM
	where    expr
	groupBy  []expr
	orderBy  []orderItem
	rank     bool // ORDER BY RANK
	orderAt  span
	offset   expr // with limit, or neither
	limit    expr
	offsetAt span
}

// selectItem is an element of the select list.
type selectItem struct {
	expr  expr
	alias string // as written; "" for none
}

// name is what the item is called in the result; "" for $1, $2 and so on.
func (i selectItem) name() string {
	if i.alias != "" {
		return i.alias
	}
	return pathName(i.expr)
}

// orderItem is an element of ORDER BY.
type orderItem struct {
	expr expr
	desc bool
	asc  bool // as written
}

// source is one input of FROM: a path or a subquery.
type source struct {
	span
	alias   string // as written, or the last name of the path; "" for none
	written bool   // the alias is
	iterate bool   // alias IN …: one row per element
	path    expr
	query   *Query
}

// expr is a node of an expression.
type expr interface{ at() span }

// at makes every node tell its place.
func (s span) at() span { return s }

// The nodes. Each begins with its place in the text.
type (
	literal struct {
		span
		value value
	}
	// name is a variable, or the container.
	name struct {
		span
		name string
	}
	// parameter is a value that comes with the request; its name begins with "@".
	parameter struct {
		span
		name string
	}
	// member is base.index or base[index].
	member struct {
		span
		base   expr
		index  expr
		dotted bool
	}
	unary struct {
		span
		op      string
		operand expr
	}
	binary struct {
		span
		op          string
		left, right expr
	}
	// in is operand [NOT] IN (items).
	in struct {
		span
		operand expr
		not     bool
		items   []expr
	}
	// between is operand [NOT] BETWEEN low AND high.
	between struct {
		span
		operand   expr
		not       bool
		low, high expr
	}
	// like is operand [NOT] LIKE pattern [ESCAPE escape].
	like struct {
		span
		operand expr
		not     bool
		pattern expr
		escape  string
	}
	// conditional is condition ? yes : no.
	conditional struct {
		span
		condition, yes, no expr
	}
	// call is a call of a built-in or, with udf, of a user-defined function.
	call struct {
		span
		name   string
		nameAt span
		udf    bool
		args   []expr
	}
	arrayLiteral struct {
		span
		items []expr
	}
	objectLiteral struct {
		span
		names []string
		items []expr
	}
	// subquery is a query in parentheses behind nothing, EXISTS, ARRAY, ALL, FIRST or LAST.
	subquery struct {
		span
		kind  string
		query *Query
	}
)

// pathName is the name that a path ends in; "" for anything else.
func pathName(e expr) string {
	switch e := e.(type) {
	case *name:
		return e.name
	case *member:
		if l, ok := e.index.(*literal); ok && l.value.typ == stringType {
			return l.value.s
		}
	}
	return ""
}

// pathRoot returns the name that a path begins with; nil when e is no path.
func pathRoot(e expr) *name {
	for {
		switch x := e.(type) {
		case *name:
			return x
		case *member:
			e = x.base
		default:
			return nil
		}
	}
}

// children are the expressions directly inside of e; those of subqueries are not.
func children(e expr) []expr {
	switch e := e.(type) {
	case *member:
		return []expr{e.base, e.index}
	case *unary:
		return []expr{e.operand}
	case *binary:
		return []expr{e.left, e.right}
	case *in:
		return append([]expr{e.operand}, e.items...)
	case *between:
		return []expr{e.operand, e.low, e.high}
	case *like:
		return []expr{e.operand, e.pattern}
	case *conditional:
		return []expr{e.condition, e.yes, e.no}
	case *call:
		return e.args
	case *arrayLiteral:
		return e.items
	case *objectLiteral:
		return e.items
	}
	return nil
}

// exprs are the expressions of a query; those of its sources' subqueries count as its own.
func (q *Query) exprs() (out []expr) {
	for _, i := range q.items {
		out = append(out, i.expr)
	}
	for _, s := range q.from {
		if s.query != nil {
			out = append(out, &subquery{query: s.query})
		} else {
			out = append(out, s.path)
		}
	}
	if q.where != nil {
		out = append(out, q.where)
	}
	out = append(out, q.groupBy...)
	for _, o := range q.orderBy {
		out = append(out, o.expr)
	}
	return out
}
