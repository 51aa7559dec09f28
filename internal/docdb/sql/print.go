package sql

import "strings"

// String writes the query in its normal form: every operator in parentheses, names and keywords as
// they are, strings and numbers as JSON has them. It parses to the same tree.
func (q *Query) String() string {
	p := &printer{}
	p.query(q)
	return p.b.String()
}

// format writes an expression in its normal form.
func format(e expr) string {
	p := &printer{}
	p.expr(e)
	return p.b.String()
}

// printer collects the text of a normal form.
type printer struct {
	b    strings.Builder
	plan bool // as query plans have it: ASC only where it was written
}

// put writes texts and expressions one after the other.
func (p *printer) put(parts ...any) {
	for _, part := range parts {
		switch x := part.(type) {
		case string:
			p.b.WriteString(x)
		case expr:
			p.expr(x)
		}
	}
}

// list writes n things with ", " between them.
func (p *printer) list(n int, f func(i int)) {
	for i := range n {
		if i > 0 {
			p.put(", ")
		}
		f(i)
	}
}

// exprs writes expressions with ", " between them.
func (p *printer) exprs(list []expr) { p.list(len(list), func(i int) { p.expr(list[i]) }) }

// query writes all clauses of a query.
func (p *printer) query(q *Query) {
	p.put("SELECT ")
	if q.distinct {
		p.put("DISTINCT ")
	}
	if q.top != nil {
		p.put("TOP ", q.top, " ")
	}
	p.selection(q)
	p.sources(q)
	if q.where != nil {
		p.put(" WHERE ", q.where)
	}
	if len(q.groupBy) > 0 {
		p.put(" GROUP BY ")
		p.exprs(q.groupBy)
	}
	p.order(q)
	if q.offset != nil {
		p.put(" OFFSET ", q.offset, " LIMIT ", q.limit)
	}
}

// sources writes FROM and what is joined.
func (p *printer) sources(q *Query) {
	for i, s := range q.from {
		p.put(map[bool]string{true: " FROM ", false: " JOIN "}[i == 0])
		p.source(s)
	}
}

// selection writes what is selected.
func (p *printer) selection(q *Query) {
	if q.star {
		p.put("*")
	}
	if q.value {
		p.put("VALUE ")
	}
	p.list(len(q.items), func(i int) {
		p.put(q.items[i].expr)
		if alias := q.items[i].alias; alias != "" {
			p.put(" AS ", alias)
		}
	})
}

// source writes an input of FROM; an alias that was not written is not.
func (p *printer) source(s source) {
	if s.iterate {
		p.put(s.alias, " IN ")
	}
	if s.query != nil {
		p.put("(")
		p.query(s.query)
		p.put(")")
	} else {
		p.expr(s.path)
	}
	if s.written {
		p.put(" AS ", s.alias)
	}
}

// order writes ORDER BY.
func (p *printer) order(q *Query) {
	if len(q.orderBy) == 0 {
		return
	}
	p.put(" ORDER BY ")
	if q.rank {
		p.put("RANK ")
	}
	p.list(len(q.orderBy), func(i int) {
		o := q.orderBy[i]
		p.put(o.expr)
		if o.desc {
			p.put(" DESC")
		} else if o.asc || !q.rank && !p.plan {
			p.put(" ASC")
		}
	})
}

// expr writes any expression.
func (p *printer) expr(e expr) {
	switch e := e.(type) {
	case *literal:
		p.literal(e.value)
	case *name:
		p.put(e.name)
	case *parameter:
		p.put(e.name)
	case *member:
		p.member(e)
	case *unary:
		p.put("(", e.op, " ", e.operand, ")")
	case *binary:
		p.put("(", e.left, " ", e.op, " ", e.right, ")")
	case *in, *between, *like:
		p.predicate(e)
	case *conditional:
		p.put("(", e.condition, " ? ", e.yes, " : ", e.no, ")")
	case *call:
		p.call(e)
	case *arrayLiteral:
		p.put("[")
		p.exprs(e.items)
		p.put("]")
	case *objectLiteral:
		p.put("{")
		p.list(len(e.items), func(i int) { p.put(quote(e.names[i]), ": ", e.items[i]) })
		p.put("}")
	case *subquery:
		p.put(e.kind, "(")
		p.query(e.query)
		p.put(")")
	}
}

// literal writes a constant.
func (p *printer) literal(v value) {
	switch {
	case v.typ == undefinedType:
		p.put("undefined")
	case v.typ == numberType:
		p.put(numberName(v))
	default:
		p.b.Write(appendJSON(nil, v))
	}
}

// numberName spells the numbers too that JSON has no words for.
func numberName(v value) string {
	if f := v.float(); f != f {
		return "NaN"
	} else if f-f != 0 {
		return map[bool]string{true: "Infinity", false: "-1E999"}[f > 0]
	}
	return string(appendNumber(nil, v))
}

// member writes a property or an element.
func (p *printer) member(e *member) {
	p.put(e.base)
	if _, constant := e.base.(*literal); e.dotted && !constant { // a point behind a number would be read as a part of it
		p.put(".", e.index.(*literal).value.s)
		return
	}
	p.put("[", e.index, "]")
}

// predicate writes IN, BETWEEN and LIKE.
func (p *printer) predicate(e expr) {
	not := map[bool]string{true: " NOT"}
	switch e := e.(type) {
	case *in:
		p.put("(", e.operand, not[e.not], " IN (")
		p.exprs(e.items)
		p.put("))")
	case *between:
		p.put("(", e.operand, not[e.not], " BETWEEN ", e.low, " AND ", e.high, ")")
	case *like:
		p.put("(", e.operand, not[e.not], " LIKE ", e.pattern)
		if e.escape != "" {
			p.put(" ESCAPE ", quote(e.escape))
		}
		p.put(")")
	}
}

// call writes a function call, with its name as it was written.
func (p *printer) call(e *call) {
	if e.udf {
		p.put("udf.")
	}
	p.put(e.name, "(")
	p.exprs(e.args)
	p.put(")")
}

// quote writes a string as JSON has it; it is one of the language too.
func quote(s string) string { return string(appendJSON(nil, text(s))) }
