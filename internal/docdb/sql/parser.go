package sql

import (
	"fmt"
	"strings"
)

// maxNesting bounds how deep expressions and subqueries may stand inside each other.
const maxNesting = 100

// Parse reads one SELECT. Errors are [*SyntaxError] values.
func Parse(text string) (*Query, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &SyntaxError{Code: codeEmpty, Message: "The query text is empty."}
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	q, err := p.query(false)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokEnd {
		return nil, p.unexpected(t)
	}
	q.text = text
	return q, nil
}

// parser is a recursive-descent parser; expressions are parsed by the precedence of their operators.
type parser struct {
	tokens []token
	pos    int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}

func (p *parser) unexpected(t token) error {
	near := t.text
	if t.kind == tokEnd {
		near = "end of query"
	}
	return &SyntaxError{Code: codeSyntax, Message: fmt.Sprintf("Syntax error, incorrect syntax near '%s'.", near), Start: t.start, End: t.end}
}

// is reports whether the next token is this keyword or operator.
func (p *parser) is(text string) bool {
	t := p.peek()
	return (t.kind == tokKeyword || t.kind == tokPunct) && t.text == text
}

// accept takes the next token when it is this keyword or operator.
func (p *parser) accept(text string) bool {
	if p.is(text) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.unexpected(p.peek())
	}
	return nil
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		t := p.peek()
		return &SyntaxError{Code: codeSyntax, Message: "The query is nested too deeply.", Start: t.start, End: t.end}
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// query parses SELECT … up to what does not belong to it.
func (p *parser) query(sub bool) (q *Query, err error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	q = &Query{sub: sub}
	for _, clause := range []func(*Query) error{p.selectClause, p.fromClause, p.whereClause, p.groupClause, p.orderClause, p.offsetClause} {
		if err := clause(q); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (p *parser) selectClause(q *Query) (err error) {
	if err := p.expect("SELECT"); err != nil {
		return err
	}
	q.distinct = p.accept("DISTINCT")
	if p.accept("TOP") {
		if q.top, err = p.count(); err != nil {
			return err
		}
	}
	switch {
	case p.accept("*"):
		q.star = true
		return nil
	case p.accept("VALUE"):
		q.value = true
		e, err := p.expression()
		q.items = []selectItem{{expr: e}}
		return err
	}
	for {
		item, err := p.selectItem()
		if err != nil {
			return err
		}
		q.items = append(q.items, item)
		if !p.accept(",") {
			return nil
		}
	}
}

// selectItem parses an expression with its name: an alias, or what a path ends in.
func (p *parser) selectItem() (selectItem, error) {
	e, err := p.expression()
	if err != nil {
		return selectItem{}, err
	}
	item := selectItem{expr: e, name: pathName(e)}
	if p.accept("AS") || p.peek().kind == tokName {
		t := p.next()
		if t.kind != tokName {
			return item, p.unexpected(t)
		}
		item.name = t.text
	}
	return item, nil
}

// pathName is the name that a path gives to its value; "" for anything else.
func pathName(e *expr) string {
	switch {
	case e.kind == exName:
		return e.op
	case e.kind == exMember && e.right.kind == exLiteral && e.right.literal.typ == stringType:
		return e.right.literal.str
	}
	return ""
}

// count parses the operand of TOP, OFFSET and LIMIT: an integer or a parameter.
func (p *parser) count() (*expr, error) {
	t := p.next()
	switch {
	case t.kind == tokParameter:
		return &expr{kind: exParameter, op: t.text, start: t.start, end: t.end}, nil
	case t.kind == tokNumber && t.number.flag:
		return &expr{kind: exLiteral, literal: t.number, start: t.start, end: t.end}, nil
	}
	return nil, p.unexpected(t)
}

func (p *parser) fromClause(q *Query) error {
	if !p.accept("FROM") {
		return nil
	}
	for {
		s, err := p.source()
		if err != nil {
			return err
		}
		q.from = append(q.from, s)
		if !p.accept("JOIN") {
			return nil
		}
	}
}

// source parses "alias IN collection", or "collection [AS] alias".
func (p *parser) source() (s source, err error) {
	if t := p.peek(); t.kind == tokName && p.tokens[p.pos+1].kind == tokKeyword && p.tokens[p.pos+1].text == "IN" {
		p.pos += 2
		s.alias, s.iterate = t.text, true
		return s, p.collection(&s)
	}
	if err := p.collection(&s); err != nil {
		return s, err
	}
	if p.accept("AS") || p.peek().kind == tokName {
		t := p.next()
		if t.kind != tokName {
			return s, p.unexpected(t)
		}
		s.alias = t.text
	} else if s.path != nil {
		s.alias = pathName(s.path)
	}
	return s, nil
}

func (p *parser) collection(s *source) (err error) {
	if p.accept("(") {
		if s.query, err = p.query(true); err != nil {
			return err
		}
		return p.expect(")")
	}
	t := p.next()
	if t.kind != tokName {
		return p.unexpected(t)
	}
	s.path, err = p.suffixes(&expr{kind: exName, op: t.text, start: t.start, end: t.end})
	return err
}

func (p *parser) whereClause(q *Query) (err error) {
	if p.accept("WHERE") {
		q.where, err = p.expression()
	}
	return err
}

func (p *parser) groupClause(q *Query) (err error) {
	if !p.accept("GROUP") {
		return nil
	}
	if err := p.expect("BY"); err != nil {
		return err
	}
	q.groupBy, err = p.list()
	return err
}

func (p *parser) orderClause(q *Query) error {
	if !p.accept("ORDER") {
		return nil
	}
	if err := p.expect("BY"); err != nil {
		return err
	}
	for {
		e, err := p.expression()
		if err != nil {
			return err
		}
		item := orderItem{expr: e, desc: p.accept("DESC")}
		if !item.desc {
			p.accept("ASC")
		}
		q.orderBy = append(q.orderBy, item)
		if !p.accept(",") {
			return nil
		}
	}
}

func (p *parser) offsetClause(q *Query) (err error) {
	if !p.accept("OFFSET") {
		return nil
	}
	if q.offset, err = p.count(); err != nil {
		return err
	}
	if err := p.expect("LIMIT"); err != nil {
		return err
	}
	q.limit, err = p.count()
	return err
}

// list parses expressions separated by commas; there is at least one.
func (p *parser) list() (out []*expr, err error) {
	for {
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		if !p.accept(",") {
			return out, nil
		}
	}
}

// expression parses the loosest operators: the conditional, which stands to the right of everything.
func (p *parser) expression() (*expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	cond, err := p.binary(0)
	if err != nil || !p.accept("?") {
		return cond, err
	}
	e := &expr{kind: exConditional, left: cond, start: cond.start}
	if e.right, err = p.expression(); err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	if e.third, err = p.expression(); err != nil {
		return nil, err
	}
	e.end = e.third.end
	return e, nil
}

// levels are the binary operators, loosest first. IN, LIKE and BETWEEN stand between AND and "||".
var levels = [][]string{
	{"??"}, {"OR"}, {"AND"}, {"||"}, {"|"}, {"^"}, {"&"}, {"=", "!=", "<>"}, {"<", "<=", ">", ">="}, {"<<", ">>", ">>>"}, {"+", "-"}, {"*", "/", "%"},
}

// predicateLevel is the level above which IN, LIKE and BETWEEN stand.
const predicateLevel = 3

func (p *parser) binary(level int) (*expr, error) {
	if level == len(levels) {
		return p.unary()
	}
	left, err := p.binary(level + 1)
	if err != nil {
		return nil, err
	}
	if level == predicateLevel {
		if left, err = p.concatenation(left); err != nil {
			return nil, err
		}
		return p.predicate(left)
	}
	return p.operators(left, level)
}

// operators parses a chain of operators of one level, from left to right.
func (p *parser) operators(left *expr, level int) (*expr, error) {
	for {
		op := p.operator(levels[level])
		if op == "" {
			return left, nil
		}
		right, err := p.binary(level + 1)
		if err != nil {
			return nil, err
		}
		left = &expr{kind: exBinary, op: op, left: left, right: right, start: left.start, end: right.end}
	}
}

func (p *parser) concatenation(left *expr) (*expr, error) { return p.operators(left, predicateLevel) }

func (p *parser) operator(ops []string) string {
	for _, op := range ops {
		if p.accept(op) {
			if op == "<>" {
				return "!="
			}
			return op
		}
	}
	return ""
}

// predicate parses [NOT] IN, LIKE, BETWEEN behind an operand. They do not chain.
func (p *parser) predicate(left *expr) (*expr, error) {
	not := false
	if p.is("NOT") {
		p.pos++
		not = true
	}
	e := &expr{left: left, not: not, start: left.start}
	var err error
	switch {
	case p.accept("IN"):
		err = p.in(e)
	case p.accept("BETWEEN"):
		err = p.between(e)
	case p.accept("LIKE"):
		err = p.like(e)
	case not:
		return nil, p.unexpected(p.peek())
	default:
		return left, nil
	}
	e.end = p.tokens[p.pos-1].end
	return e, err
}

func (p *parser) in(e *expr) (err error) {
	e.kind = exIn
	if err := p.expect("("); err != nil {
		return err
	}
	if e.args, err = p.list(); err != nil {
		return err
	}
	return p.expect(")")
}

func (p *parser) between(e *expr) (err error) {
	e.kind = exBetween
	if e.right, err = p.operand(); err != nil {
		return err
	}
	if err := p.expect("AND"); err != nil {
		return err
	}
	e.third, err = p.operand()
	return err
}

// operand is an expression that is tighter than the predicates.
func (p *parser) operand() (*expr, error) {
	left, err := p.binary(predicateLevel + 1)
	if err != nil {
		return nil, err
	}
	return p.concatenation(left)
}

func (p *parser) like(e *expr) (err error) {
	e.kind = exLike
	if e.right, err = p.operand(); err != nil {
		return err
	}
	if p.accept("ESCAPE") {
		t := p.next()
		if t.kind != tokString {
			return p.unexpected(t)
		}
		e.third = &expr{kind: exLiteral, literal: text(t.text), start: t.start, end: t.end}
	}
	return nil
}

func (p *parser) unary() (*expr, error) {
	t := p.peek()
	for _, op := range []string{"-", "+", "~", "NOT"} {
		if !p.accept(op) {
			continue
		}
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer p.leave()
		operand, err := p.unary()
		if err != nil {
			return nil, err
		}
		return &expr{kind: exUnary, op: op, left: operand, start: t.start, end: operand.end}, nil
	}
	e, err := p.primary()
	if err != nil {
		return nil, err
	}
	return p.suffixes(e)
}

// suffixes parses .name and [index] behind an expression.
func (p *parser) suffixes(e *expr) (*expr, error) {
	for {
		m := &expr{kind: exMember, left: e, start: e.start}
		switch {
		case p.accept("."):
			t := p.next()
			if t.kind != tokName {
				return nil, p.unexpected(t)
			}
			m.right = &expr{kind: exLiteral, literal: text(t.text), start: t.start, end: t.end}
		case p.accept("["):
			var err error
			if m.right, err = p.expression(); err != nil {
				return nil, err
			}
			if err := p.expect("]"); err != nil {
				return nil, err
			}
		default:
			return e, nil
		}
		m.end = p.tokens[p.pos-1].end
		e = m
	}
}

func (p *parser) primary() (*expr, error) {
	t := p.next()
	e := &expr{kind: exLiteral, start: t.start, end: t.end}
	switch t.kind {
	case tokNumber:
		e.literal = t.number
		return e, nil
	case tokString:
		e.literal = text(t.text)
		return e, nil
	case tokParameter:
		e.kind, e.op = exParameter, t.text
		return e, nil
	case tokName:
		return p.named(t)
	case tokKeyword:
		return p.keyword(t, e)
	case tokPunct:
		return p.bracketed(t, e)
	}
	return nil, p.unexpected(t)
}

// named parses a function call, a constant that is written as a word, or a name.
func (p *parser) named(t token) (*expr, error) {
	if p.accept("(") {
		return p.call(t, &expr{kind: exCall, op: strings.ToUpper(t.text), start: t.start})
	}
	switch t.text {
	case "NaN":
		return &expr{kind: exLiteral, literal: notANumber, start: t.start, end: t.end}, nil
	case "Infinity":
		return &expr{kind: exLiteral, literal: infinity, start: t.start, end: t.end}, nil
	}
	return &expr{kind: exName, op: t.text, start: t.start, end: t.end}, nil
}

func (p *parser) call(t token, e *expr) (_ *expr, err error) {
	if !p.is(")") {
		if e.args, err = p.list(); err != nil {
			return nil, err
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	e.end = p.tokens[p.pos-1].end
	return e, nil
}

func (p *parser) keyword(t token, e *expr) (*expr, error) {
	switch t.text {
	case "true", "false":
		e.literal = boolean(t.text == "true")
		return e, nil
	case "null":
		e.literal = null
		return e, nil
	case "undefined":
		return e, nil
	case "EXISTS", "ARRAY":
		e.kind = exExists
		if t.text == "ARRAY" {
			e.kind = exArrayOf
		}
		if err := p.expect("("); err != nil {
			return nil, err
		}
		return p.subquery(e)
	case "LEFT", "RIGHT":
		if p.accept("(") {
			return p.call(t, &expr{kind: exCall, op: t.text, start: t.start})
		}
	case "udf":
		if p.accept(".") && p.peek().kind == tokName {
			name := p.next()
			if p.accept("(") {
				return p.call(name, &expr{kind: exUDF, op: name.text, start: t.start})
			}
		}
	}
	return nil, p.unexpected(t)
}

func (p *parser) subquery(e *expr) (_ *expr, err error) {
	if e.query, err = p.query(true); err != nil {
		return nil, err
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	e.end = p.tokens[p.pos-1].end
	return e, nil
}

func (p *parser) bracketed(t token, e *expr) (*expr, error) {
	switch t.text {
	case "(":
		if p.is("SELECT") {
			e.kind = exSubquery
			return p.subquery(e)
		}
		inner, err := p.expression()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	case "[":
		e.kind = exArray
		var err error
		if !p.is("]") {
			if e.args, err = p.list(); err != nil {
				return nil, err
			}
		}
		return e, p.expect("]")
	case "{":
		e.kind = exObject
		return p.object(e)
	}
	return nil, p.unexpected(t)
}

func (p *parser) object(e *expr) (*expr, error) {
	for !p.is("}") {
		t := p.next()
		if t.kind != tokString && t.kind != tokName {
			return nil, p.unexpected(t)
		}
		if err := p.expect(":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		e.names, e.args = append(e.names, t.text), append(e.args, v)
		if !p.accept(",") {
			break
		}
		if p.is("}") {
			return nil, p.unexpected(p.peek())
		}
	}
	return e, p.expect("}")
}
