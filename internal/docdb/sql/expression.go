package sql

// Binding powers, loosest first. A binary operator takes operands that bind tighter than itself on
// its right, so all of them associate to the left; the conditional alone does to the right.
const (
	bindNone = iota
	bindConditional
	bindCoalesce
	bindOr
	bindAnd
	bindPredicate // IN, LIKE, BETWEEN: they do not chain
	bindConcat
	bindBitOr
	bindBitXor
	bindBitAnd
	bindEquality
	bindRelation
	bindShift
	bindSum
	bindProduct
)

// bindings are the binary operators. NOT, the signs and "~" bind tighter than all of them: "NOT a = b"
// is "(NOT a) = b", as the client's grammar has it.
var bindings = map[string]int{
	"??": bindCoalesce, "OR": bindOr, "AND": bindAnd, "||": bindConcat, "|": bindBitOr, "^": bindBitXor, "&": bindBitAnd,
	"=": bindEquality, "!=": bindEquality, "<>": bindEquality, "<": bindRelation, "<=": bindRelation, ">": bindRelation, ">=": bindRelation,
	"<<": bindShift, ">>": bindShift, ">>>": bindShift, "+": bindSum, "-": bindSum, "*": bindProduct, "/": bindProduct, "%": bindProduct,
	"?": bindConditional, "IN": bindPredicate, "LIKE": bindPredicate, "BETWEEN": bindPredicate, "NOT": bindPredicate,
}

// expression parses an expression of any operators.
func (p *parser) expression() (expr, error) { return p.binary(bindNone) }

// operand parses an expression that IN, LIKE and BETWEEN may take.
func (p *parser) operand() (expr, error) { return p.binary(bindPredicate) }

// binary parses operators that bind tighter than the given power.
func (p *parser) binary(than int) (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	left, err := p.unary()
	for err == nil {
		t := p.peek()
		power := bindings[t.text]
		if t.kind != tokKeyword && t.kind != tokPunctuation || power <= than {
			return left, nil
		}
		switch power {
		case bindConditional:
			left, err = p.conditional(left)
		case bindPredicate:
			if left, err = p.predicate(left); err == nil && bindings[p.peek().text] == bindPredicate && p.peek().kind == tokKeyword {
				return nil, p.unexpected()
			}
		default:
			left, err = p.operator(left, power)
		}
	}
	return nil, err
}

// operator parses an infix operator that was seen, and its right operand.
func (p *parser) operator(left expr, power int) (expr, error) {
	op := p.next().text
	if op == "<>" {
		op = "!="
	}
	right, err := p.binary(power)
	if err != nil {
		return nil, err
	}
	return &binary{p.from(left.at().start), op, left, right}, nil
}

// conditional parses what follows a condition. It associates to the right, unlike the client's
// grammar.
func (p *parser) conditional(condition expr) (expr, error) {
	p.next()
	yes, err := p.expression()
	if err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	no, err := p.binary(bindNone)
	if err != nil {
		return nil, err
	}
	return &conditional{p.from(condition.at().start), condition, yes, no}, nil
}

// predicate parses [NOT] IN, LIKE, BETWEEN behind their operand.
func (p *parser) predicate(operand expr) (expr, error) {
	start := operand.at().start
	not := p.accept("NOT")
	switch {
	case p.accept("IN"):
		items, err := p.parenthesised()
		return &in{p.from(start), operand, not, items}, err
	case p.accept("BETWEEN"):
		low, err := p.operand()
		if err != nil {
			return nil, err
		}
		if err := p.expect("AND"); err != nil {
			return nil, err
		}
		high, err := p.operand()
		return &between{p.from(start), operand, not, low, high}, err
	case p.accept("LIKE"):
		pattern, err := p.operand()
		if err != nil {
			return nil, err
		}
		escape, err := p.escape()
		return &like{p.from(start), operand, not, pattern, escape}, err
	}
	return nil, p.unexpected()
}

// parenthesised parses a list of at least one expression in parentheses.
func (p *parser) parenthesised() ([]expr, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	items, err := p.list()
	if err != nil {
		return nil, err
	}
	return items, p.expect(")")
}

// escape parses ESCAPE with a string of one character.
func (p *parser) escape() (string, error) {
	if !p.accept("ESCAPE") {
		return "", nil
	}
	if t := p.peek(); t.kind != tokString || utf16Length(t.text) != 1 {
		return "", p.unexpected()
	}
	return p.next().text, nil
}

// unary parses prefix operators and what they stand before.
func (p *parser) unary() (expr, error) {
	t := p.peek()
	if !t.is("-") && !t.is("+") && !t.is("~") && !t.is("NOT") {
		e, err := p.primary()
		if err != nil {
			return nil, err
		}
		return p.suffixes(e)
	}
	p.next()
	if n := p.peek(); t.text == "-" && n.kind == tokNumber && n.start == t.end {
		return p.negative(t)
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	operand, err := p.unary()
	if err != nil {
		return nil, err
	}
	return &unary{p.from(t.start), t.text, operand}, nil
}

// negative parses a number whose sign stands right before it: so the least integer can be written.
func (p *parser) negative(sign token) (expr, error) {
	t := p.next()
	v, ok := parseNumber("-" + t.text)
	if !ok {
		v = negate(t.number)
	}
	return p.suffixes(&literal{span{sign.start, t.end}, v})
}

// suffixes parses .name and [index] behind an expression.
func (p *parser) suffixes(e expr) (expr, error) {
	start := e.at().start
	for {
		switch {
		case p.accept("."):
			t, err := p.take(tokName)
			if err != nil {
				return nil, err
			}
			e = &member{p.from(start), e, &literal{t.span, text(t.text)}, true}
		case p.accept("["):
			index, err := p.expression()
			if err != nil {
				return nil, err
			}
			if err := p.expect("]"); err != nil {
				return nil, err
			}
			e = &member{p.from(start), e, index, false}
		default:
			return e, nil
		}
	}
}

// primary parses an operand without prefixes and suffixes.
func (p *parser) primary() (expr, error) {
	t := p.peek()
	switch t.kind {
	case tokNumber:
		p.pos++
		return &literal{t.span, t.number}, nil
	case tokString:
		p.pos++
		return &literal{t.span, text(t.text)}, nil
	case tokParameter:
		p.pos++
		return &parameter{t.span, t.text}, nil
	case tokName:
		return p.named()
	case tokKeyword:
		return p.keyword()
	case tokPunctuation:
		return p.bracketed()
	}
	return nil, p.unexpected()
}

// named parses a subquery behind ALL, FIRST and LAST, a call, a constant that is a word, or a name.
func (p *parser) named() (expr, error) {
	t := p.next()
	if p.peek().is("(") {
		if kind := quantifier(t); kind != "" && p.ahead(1).is("SELECT") {
			return p.subquery(t.start, kind)
		}
		return p.call(t, false)
	}
	switch t.text {
	case "NaN":
		return &literal{t.span, notANumber}, nil
	case "Infinity":
		return &literal{t.span, infinity}, nil
	}
	return &name{t.span, t.text}, nil
}

// call parses the arguments of the function whose name was taken.
func (p *parser) call(t token, udf bool) (expr, error) {
	c := &call{name: p.text[t.start:t.end], nameAt: t.span, udf: udf}
	start := t.start
	if udf {
		start = p.tokens[p.pos-3].start
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	if !p.peek().is(")") {
		var err error
		if c.args, err = p.list(); err != nil {
			return nil, err
		}
	}
	err := p.expect(")")
	c.span = p.from(start)
	return c, err
}

// constants are the literals that are words in lower case.
var constants = map[string]value{"true": boolean(true), "false": boolean(false), "null": null, "undefined": undefined}

// keyword parses the operands that begin with a reserved word.
func (p *parser) keyword() (expr, error) {
	t := p.peek()
	if v, ok := constants[t.text]; ok {
		p.pos++
		return &literal{t.span, v}, nil
	}
	switch {
	case quantifier(t) != "":
		p.pos++
		return p.subquery(t.start, quantifier(t))
	case (t.text == "LEFT" || t.text == "RIGHT") && p.ahead(1).is("("):
		return p.call(p.next(), false)
	case t.text == "udf" && p.ahead(1).is(".") && p.ahead(2).kind == tokName:
		p.pos += 2
		return p.call(p.next(), true)
	}
	return nil, p.unexpected()
}

// subquery parses a query in parentheses.
func (p *parser) subquery(start int, kind string) (expr, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	q, err := p.query()
	if err != nil {
		return nil, err
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	return &subquery{p.from(start), kind, q}, nil
}

// bracketed parses parentheses, arrays and objects.
func (p *parser) bracketed() (expr, error) {
	t := p.peek()
	switch t.text {
	case "(":
		if p.ahead(1).is("SELECT") {
			return p.subquery(t.start, "")
		}
		p.pos++
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		return e, p.expect(")")
	case "[":
		p.pos++
		return p.array(t.start)
	case "{":
		p.pos++
		return p.object(t.start)
	}
	return nil, p.unexpected()
}

// array parses an array literal behind its bracket. A comma at the end is an error.
func (p *parser) array(start int) (expr, error) {
	a := &arrayLiteral{}
	if !p.peek().is("]") {
		var err error
		if a.items, err = p.list(); err != nil {
			return nil, err
		}
	}
	err := p.expect("]")
	a.span = p.from(start)
	return a, err
}

// object parses an object literal behind its bracket. Names need no quotes, as on the service.
func (p *parser) object(start int) (expr, error) {
	o := &objectLiteral{}
	for more := !p.peek().is("}"); more; more = p.accept(",") {
		t := p.peek()
		if t.kind != tokString && t.kind != tokName {
			return nil, p.unexpected()
		}
		p.pos++
		if err := p.expect(":"); err != nil {
			return nil, err
		}
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		o.names, o.items = append(o.names, t.text), append(o.items, e)
	}
	err := p.expect("}")
	o.span = p.from(start)
	return o, err
}
