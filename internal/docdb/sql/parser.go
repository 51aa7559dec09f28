package sql

import "strings"

// maxNesting bounds how deep expressions and subqueries may stand inside each other. Clients write
// every operator in parentheses, so a long condition is a deep one.
const maxNesting = 1500

// maxDepth bounds the depth of a tree. A chain of operators of one precedence is as deep a tree as it
// is long, without any nesting in the text.
const maxDepth = 20_000

// Parse reads one SELECT. Errors are [*SyntaxError] values.
func Parse(text string) (*Query, error) {
	q, err := parse(text)
	if err != nil {
		return nil, inCharacters(err, text)
	}
	q.text = text
	return q, nil
}

// parse is Parse with places counted in bytes.
func parse(text string) (*Query, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{text: text, tokens: tokens}
	q, err := p.query()
	if err != nil {
		return nil, err
	}
	if p.peek().kind != tokEnd {
		return nil, p.unexpected()
	}
	if len(tokens) > maxDepth && !within(maxDepth, q.exprs()) {
		return nil, tooDeep(q.span, maxDepth)
	}
	return q, nil
}

// tooDeep is the error of a query that is nested too deeply.
func tooDeep(at span, limit int) error {
	return failure(at, "", "The SQL query is nested too deeply. The allowed limit is %d.", limit)
}

// within reports whether no expression is deeper than the limit.
func within(limit int, list []expr) bool {
	for _, e := range list {
		inner := children(e)
		if s, ok := e.(*subquery); ok {
			inner = s.query.exprs()
		}
		if limit == 0 || !within(limit-1, inner) {
			return false
		}
	}
	return true
}

// parser parses statements by recursive descent, and expressions by the precedence of their operators.
type parser struct {
	text   string
	tokens []token
	pos    int
	depth  int
}

// peek is the next token.
func (p *parser) peek() token { return p.tokens[p.pos] }

// ahead is the token n behind the next one.
func (p *parser) ahead(n int) token { return p.tokens[min(p.pos+n, len(p.tokens)-1)] }

// next takes the next token. The end is never passed.
func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}

// from is the range from the place of an earlier token to the last token that was taken.
func (p *parser) from(start int) span { return span{start, p.tokens[max(p.pos-1, 0)].end} }

// unexpected is the error that the next token does not fit.
func (p *parser) unexpected() error {
	t := p.peek()
	if t.kind == tokEnd {
		return failure(t.span, codeEnd, "Syntax error, unexpected end-of-file.")
	}
	return failure(t.span, codeSyntax, "Syntax error, incorrect syntax near '%s'.", p.text[t.start:t.end])
}

// is reports whether a token is this keyword or operator.
func (t token) is(text string) bool {
	return (t.kind == tokKeyword || t.kind == tokPunctuation) && t.text == text
}

// accept takes the next token when it is this keyword or operator.
func (p *parser) accept(text string) bool {
	if p.peek().is(text) {
		p.pos++
		return true
	}
	return false
}

// expect takes a keyword or operator that must come next.
func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.unexpected()
	}
	return nil
}

// take takes the next token when it is of this kind.
func (p *parser) take(kind tokenKind) (token, error) {
	if p.peek().kind != kind {
		return token{}, p.unexpected()
	}
	return p.next(), nil
}

// enter counts a level of nesting; leave ends it.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return tooDeep(p.peek().span, maxNesting)
	}
	return nil
}

// leave ends a level of nesting.
func (p *parser) leave() { p.depth-- }

// query parses SELECT … up to the first token that does not belong to it.
func (p *parser) query() (*Query, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	q := &Query{}
	start := p.peek().start
	for _, clause := range []func(*Query) error{p.selectClause, p.fromClause, p.whereClause, p.groupClause, p.orderClause, p.offsetClause} {
		if err := clause(q); err != nil {
			return nil, err
		}
	}
	q.span = p.from(start)
	return q, nil
}

// selectClause parses SELECT [DISTINCT] [TOP n] and what is selected.
func (p *parser) selectClause(q *Query) (err error) {
	if err := p.expect("SELECT"); err != nil {
		return err
	}
	q.distinct = p.accept("DISTINCT")
	if t := p.peek(); p.accept("TOP") {
		if q.top, err = p.count(); err != nil {
			return err
		}
		q.topAt = p.from(t.start)
	}
	if t := p.peek(); p.accept("*") {
		q.star, q.starAt = true, t.span
		return nil
	}
	if p.accept("VALUE") {
		e, err := p.expression()
		q.value, q.items = true, []selectItem{{expr: e}}
		return err
	}
	return p.selectList(q)
}

// selectList parses expressions with their aliases.
func (p *parser) selectList(q *Query) error {
	for {
		e, err := p.expression()
		if err != nil {
			return err
		}
		alias, err := p.alias()
		if err != nil {
			return err
		}
		q.items = append(q.items, selectItem{e, alias})
		if !p.accept(",") {
			return nil
		}
	}
}

// alias parses [AS] name; "" when there is none.
func (p *parser) alias() (string, error) {
	if !p.accept("AS") && p.peek().kind != tokName {
		return "", nil
	}
	t, err := p.take(tokName)
	return t.text, err
}

// count parses the operand of TOP, OFFSET and LIMIT: an integer or a parameter.
func (p *parser) count() (expr, error) {
	switch t := p.peek(); {
	case t.kind == tokParameter:
		p.pos++
		return &parameter{t.span, t.text}, nil
	case t.kind == tokNumber && t.number.exact:
		p.pos++
		return &literal{t.span, t.number}, nil
	}
	return nil, p.unexpected()
}

// fromClause parses FROM with its joins; a query may have none.
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
	start := p.peek().start
	if t := p.peek(); t.kind == tokName && p.ahead(1).is("IN") {
		p.pos += 2
		s.alias, s.iterate = t.text, true
		err = p.collection(&s)
		s.span = p.from(start)
		return s, err
	}
	if err := p.collection(&s); err != nil {
		return s, err
	}
	s.alias, err = p.alias()
	if s.written = s.alias != ""; !s.written && s.path != nil {
		s.alias = pathName(s.path)
	}
	s.span = p.from(start)
	return s, err
}

// collection parses a subquery, or what a source iterates: a path, or a call that makes an array.
func (p *parser) collection(s *source) (err error) {
	if p.peek().is("(") && p.ahead(1).is("SELECT") {
		p.pos++
		if s.query, err = p.query(); err != nil {
			return err
		}
		return p.expect(")")
	}
	if p.peek().kind != tokName || !s.iterate && p.ahead(1).is("(") {
		return p.unexpected()
	}
	root, err := p.named()
	if err != nil {
		return err
	}
	s.path, err = p.suffixes(root)
	return err
}

// whereClause parses WHERE, if it is there.
func (p *parser) whereClause(q *Query) (err error) {
	if p.accept("WHERE") {
		q.where, err = p.expression()
	}
	return err
}

// groupClause parses GROUP BY, if it is there.
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

// orderClause parses ORDER BY, if it is there.
func (p *parser) orderClause(q *Query) error {
	start := p.peek().start
	if !p.accept("ORDER") {
		return nil
	}
	if err := p.expect("BY"); err != nil {
		return err
	}
	q.rank = p.accept("RANK")
	for {
		item, err := p.orderItem(q.rank)
		if err != nil {
			return err
		}
		q.orderBy = append(q.orderBy, item)
		if !p.accept(",") {
			q.orderAt = p.from(start)
			return nil
		}
	}
}

// orderItem parses an expression with its direction; behind RANK it must be a call.
func (p *parser) orderItem(rank bool) (orderItem, error) {
	if t := p.peek(); rank && (t.kind != tokName || !p.ahead(1).is("(")) {
		return orderItem{}, p.unexpected()
	}
	e, err := p.expression()
	if err != nil {
		return orderItem{}, err
	}
	return orderItem{expr: e, desc: p.accept("DESC"), asc: p.accept("ASC")}, nil
}

// offsetClause parses OFFSET and LIMIT, which come together or not at all.
func (p *parser) offsetClause(q *Query) (err error) {
	start := p.peek().start
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
	q.offsetAt = p.from(start)
	return err
}

// list parses expressions separated by commas; there is at least one.
func (p *parser) list() (out []expr, err error) {
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

// quantifier is the word, if it is one, that makes a value of the subquery behind it.
func quantifier(t token) string {
	switch upper := strings.ToUpper(t.text); upper {
	case "EXISTS", "ARRAY":
		if t.kind == tokKeyword {
			return upper
		}
	case "ALL", "FIRST", "LAST":
		if t.kind == tokName {
			return upper
		}
	}
	return ""
}
