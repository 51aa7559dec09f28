package sql

// Query is a parsed SELECT.
type Query struct {
	distinct  bool
	top       *expr // a number or a parameter
	value     bool  // SELECT VALUE
	star      bool
	items     []selectItem
	from      []source // joined from left to right; none without FROM
	where     *expr
	groupBy   []*expr
	orderBy   []orderItem
	offset    *expr
	limit     *expr
	sub       bool
	text      string
	aggregate bool // an aggregate stands in the select list
}

type selectItem struct {
	expr *expr
	name string // as it is in the result; "" for $n
}

type orderItem struct {
	expr *expr
	desc bool
}

// source is one input of FROM. Either path or query is set.
type source struct {
	alias   string
	iterate bool // alias IN …: one row per element
	path    *expr
	query   *Query
}

// exprKind tells what an expression is.
type exprKind uint8

const (
	exLiteral exprKind = iota
	exName
	exParameter
	exMember // left.name, or left[right]
	exUnary
	exBinary
	exIn // left IN (args)
	exBetween
	exLike
	exConditional // left ? right : third
	exCall
	exUDF
	exArray
	exObject
	exSubquery
	exExists
	exArrayOf
)

// expr is an expression. Which fields are used depends on kind.
type expr struct {
	kind       exprKind
	op         string // operator, name, function in upper case, parameter
	literal    value
	left       *expr
	right      *expr
	third      *expr
	args       []*expr
	names      []string // of an object's members
	query      *Query
	not        bool
	start, end int
	slot       int // of a variable, or of an aggregate
}
