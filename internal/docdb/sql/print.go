package sql

import "strings"

// source writes an expression in one normal form, by which two expressions are told to be the same.
func (e *expr) source() string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e *expr) write(b *strings.Builder) {
	switch e.kind {
	case exLiteral:
		if e.literal.typ == undefinedType {
			b.WriteString("undefined")
			return
		}
		b.Write(e.literal.encode(nil))
	case exName, exParameter:
		b.WriteString(e.op)
	case exMember:
		e.left.write(b)
		if name := pathName(e); plainName(name) {
			b.WriteString("." + name)
			return
		}
		b.WriteByte('[')
		e.right.write(b)
		b.WriteByte(']')
	case exSubquery, exExists, exArrayOf:
		b.WriteString(strings.TrimSpace(map[exprKind]string{exExists: "EXISTS", exArrayOf: "ARRAY"}[e.kind]) + "(" + e.query.String() + ")")
	default:
		e.writeCompound(b)
	}
}

// writeCompound writes operators in the form of calls: no precedence can be misread.
func (e *expr) writeCompound(b *strings.Builder) {
	name := map[exprKind]string{exIn: "IN", exBetween: "BETWEEN", exLike: "LIKE", exConditional: "?", exArray: "[]", exObject: "{}", exUDF: "udf."}[e.kind]
	if e.not {
		name = "NOT " + name
	}
	b.WriteString(name + e.op + "(")
	for i, c := range e.children() {
		if i > 0 {
			b.WriteString(", ")
		}
		if e.kind == exObject {
			b.Write(append(text(e.names[i]).encode(nil), ": "...))
		}
		c.write(b)
	}
	b.WriteByte(')')
}

func plainName(s string) bool {
	if s == "" || isDigit(s[0]) || reserved[strings.ToUpper(s)] || lowerReserved[s] {
		return false
	}
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// String writes a query in its normal form.
func (q *Query) String() string {
	var b strings.Builder
	b.WriteString("SELECT ")
	if q.distinct {
		b.WriteString("DISTINCT ")
	}
	if q.top != nil {
		b.WriteString("TOP " + q.top.source() + " ")
	}
	q.writeItems(&b)
	for i, s := range q.from {
		b.WriteString(map[bool]string{true: " FROM ", false: " JOIN "}[i == 0])
		s.write(&b)
	}
	if q.where != nil {
		b.WriteString(" WHERE " + q.where.source())
	}
	for i, g := range q.groupBy {
		b.WriteString(map[bool]string{true: " GROUP BY ", false: ", "}[i == 0] + g.source())
	}
	for i, o := range q.orderBy {
		b.WriteString(map[bool]string{true: " ORDER BY ", false: ", "}[i == 0] + o.expr.source())
		if o.desc {
			b.WriteString(" DESC")
		}
	}
	if q.offset != nil {
		b.WriteString(" OFFSET " + q.offset.source() + " LIMIT " + q.limit.source())
	}
	return b.String()
}

func (q *Query) writeItems(b *strings.Builder) {
	if q.star {
		b.WriteByte('*')
	}
	if q.value {
		b.WriteString("VALUE ")
	}
	for i, item := range q.items {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(item.expr.source())
		if item.name != "" && item.name != pathName(item.expr) {
			b.WriteString(" AS " + item.name)
		}
	}
}

func (s source) write(b *strings.Builder) {
	collection := ""
	if s.query != nil {
		collection = "(" + s.query.String() + ")"
	} else {
		collection = s.path.source()
	}
	switch {
	case s.iterate:
		b.WriteString(s.alias + " IN " + collection)
	case s.alias != "" && (s.query != nil || s.alias != pathName(s.path)):
		b.WriteString(collection + " AS " + s.alias)
	default:
		b.WriteString(collection)
	}
}
