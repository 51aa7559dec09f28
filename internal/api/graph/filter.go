package graph

import (
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// The grammar of $filter, the part of OData 4.01 that clients of the directory use:
//
//	or     = and { "or" and }
//	and    = term { "and" term }
//	term   = "not" term | "(" or ")" | function | test
//	test   = property ( "eq" | "ne" ) literal | property "in" "(" literal { "," literal } ")"
//	function = "startswith(" property "," literal ")"
//	         | property "/any(" x ":" x "eq" literal ")" | property "/any(" x ":startswith(" x "," literal "))"
//	literal = 'text with '' doubled' | true | false | null
//
// Texts compare without regard to case. A property with several values matches when one of them does.
const (
	maxFilter      = 8 << 10 // bytes
	maxFilterDepth = 32
)

// predicate decides about the values of one object.
type predicate func(values func(property string) []string) bool

type filterParser struct {
	rest  string
	names map[string]bool // properties that can be searched, in lower case
	depth int
}

// parseFilter returns the predicate of a $filter. names are the searchable properties in lower case.
func parseFilter(text string, names map[string]bool) (predicate, error) {
	if len(text) > maxFilter {
		return nil, invalidFilter("The filter is too long.")
	}
	p := &filterParser{rest: text, names: names}
	f, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.space(); p.rest != "" {
		return nil, invalidFilter("Syntax error at position %d.", len(text)-len(p.rest))
	}
	return f, nil
}

func invalidFilter(format string, args ...any) error {
	return fault.New(fault.Invalid, "FilterInvalid", "Invalid filter clause: "+format, args...)
}

func (p *filterParser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

// word takes a keyword or a name.
func (p *filterParser) word() string {
	p.space()
	n := 0
	for n < len(p.rest) && (isLetter(p.rest[n]) || n > 0 && p.rest[n] >= '0' && p.rest[n] <= '9') {
		n++
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// accept takes a keyword when it is next.
func (p *filterParser) accept(keyword string) bool {
	before := p.rest
	if strings.EqualFold(p.word(), keyword) {
		return true
	}
	p.rest = before
	return false
}

// symbol takes one character when it is next.
func (p *filterParser) symbol(c string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, c)
	p.rest = rest
	return ok
}

func (p *filterParser) expect(symbols ...string) error {
	for _, s := range symbols {
		if !p.symbol(s) {
			return invalidFilter("'%s' expected.", s)
		}
	}
	return nil
}

func (p *filterParser) or() (predicate, error) {
	return p.chain("or", p.and, func(a, b predicate) predicate {
		return func(v func(string) []string) bool { return a(v) || b(v) }
	})
}

func (p *filterParser) and() (predicate, error) {
	return p.chain("and", p.term, func(a, b predicate) predicate {
		return func(v func(string) []string) bool { return a(v) && b(v) }
	})
}

func (p *filterParser) chain(keyword string, part func() (predicate, error), join func(a, b predicate) predicate) (predicate, error) {
	left, err := part()
	for err == nil && p.accept(keyword) {
		var right predicate
		if right, err = part(); err == nil {
			left = join(left, right)
		}
	}
	return left, err
}

func (p *filterParser) term() (predicate, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, invalidFilter("The filter is nested too deeply.")
	}
	defer func() { p.depth-- }()
	if p.symbol("(") {
		f, err := p.or()
		if err != nil {
			return nil, err
		}
		return f, p.expect(")")
	}
	switch w := p.word(); {
	case strings.EqualFold(w, "not"):
		f, err := p.term()
		return func(v func(string) []string) bool { return !f(v) }, err
	case strings.EqualFold(w, "startswith"):
		return p.startsWith()
	default:
		return p.test(w)
	}
}

func (p *filterParser) startsWith() (predicate, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	name, err := p.property(p.word())
	if err != nil {
		return nil, err
	}
	return p.prefixArgument(name)
}

// prefixArgument reads ", literal )".
func (p *filterParser) prefixArgument(name string) (predicate, error) {
	if err := p.expect(","); err != nil {
		return nil, err
	}
	want, err := p.literal()
	if err != nil {
		return nil, err
	}
	return one(name, func(x string) bool { return len(x) >= len(want) && strings.EqualFold(x[:len(want)], want) }), p.expect(")")
}

// one matches when one of the values of the property does.
func one(name string, match func(string) bool) predicate {
	return func(values func(string) []string) bool { return slices.ContainsFunc(values(name), match) }
}

func (p *filterParser) property(w string) (string, error) {
	name := strings.ToLower(w)
	if !p.names[name] {
		return "", invalidFilter("Could not find a searchable property named '%s'.", w[:min(len(w), 64)])
	}
	return name, nil
}

func (p *filterParser) test(w string) (predicate, error) {
	name, err := p.property(w)
	switch {
	case err != nil:
		return nil, err
	case p.symbol("/"):
		return p.anyOf(name)
	case p.accept("eq"):
		return p.equal(name)
	case p.accept("ne"):
		f, err := p.equal(name)
		return func(v func(string) []string) bool { return !f(v) }, err
	case p.accept("in"):
		return p.in(name)
	}
	return nil, invalidFilter("An operator was expected after '%s'.", w)
}

func (p *filterParser) equal(name string) (predicate, error) {
	p.space()
	null := !strings.HasPrefix(p.rest, "'")
	want, err := p.literal()
	if err != nil {
		return nil, err
	}
	if null && want == "null" {
		return func(values func(string) []string) bool { return len(values(name)) == 0 }, nil
	}
	return one(name, func(x string) bool { return strings.EqualFold(x, want) }), nil
}

func (p *filterParser) in(name string) (predicate, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var wanted []string
	for {
		v, err := p.literal()
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, v)
		if !p.symbol(",") {
			break
		}
	}
	match := func(x string) bool {
		return slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(x, w) })
	}
	return one(name, match), p.expect(")")
}

// anyOf reads "any(x:x eq literal)" or "any(x:startswith(x,literal))".
func (p *filterParser) anyOf(name string) (predicate, error) {
	if !p.accept("any") {
		return nil, invalidFilter("'any' expected.")
	}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	x := p.word()
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	var f predicate
	var err error
	switch w := p.word(); {
	case x != "" && w == x && p.accept("eq"):
		f, err = p.equal(name)
	case x != "" && strings.EqualFold(w, "startswith"):
		if err = p.expect("(", x); err == nil {
			f, err = p.prefixArgument(name)
		}
	default:
		err = invalidFilter("'any' supports eq and startswith on its variable.")
	}
	if err != nil {
		return nil, err
	}
	return f, p.expect(")")
}

// literal takes a quoted text, or true, false or null.
func (p *filterParser) literal() (string, error) {
	p.space()
	if !strings.HasPrefix(p.rest, "'") {
		switch w := strings.ToLower(p.word()); w {
		case "true", "false", "null":
			return w, nil
		}
		return "", invalidFilter("A literal was expected.")
	}
	var b strings.Builder
	for rest := p.rest[1:]; ; {
		text, after, ok := strings.Cut(rest, "'")
		if !ok {
			return "", invalidFilter("There is an unterminated string literal.")
		}
		b.WriteString(text)
		if !strings.HasPrefix(after, "'") {
			p.rest = after
			return b.String(), nil
		}
		b.WriteByte('\'')
		rest = after[1:]
	}
}
