package arm

import (
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// Filter is a parsed $filter: alternatives, each a list of clauses that must all hold. The zero value
// selects everything.
//
// The grammar is what az, the SDKs and Terraform send: comparisons with eq or ne and calls of functions,
// joined by "and" and "or" ("and" binds closer), with strings in single quotes and a quote doubled
// inside them. What a provider does not know it refuses: a filter that is half understood would
// select too much, and clients delete what they selected.
type Filter [][]Clause

// Clause is a comparison (Op "eq" or "ne", Args the field in lower case and the value) or a call
// (Op the function's name in lower case, Args as they were written).
type Clause struct {
	Op   string
	Args []string
}

// IsComparison reports whether the clause compares a field; it has two Args then. No call has the name
// of a comparison.
func (c Clause) IsComparison() bool { return c.Op == "eq" || c.Op == "ne" }

// maxFilter bounds a filter's length in bytes.
const maxFilter = 8 << 10

// BadFilter is the refusal of a filter.
func BadFilter(text string) error {
	return fault.New(fault.Invalid, "InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string.", text)
}

// ParseFilter parses a $filter; an empty one selects everything.
func ParseFilter(text string) (Filter, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > maxFilter {
		return nil, BadFilter(text[:64] + "…")
	}
	p := &filterParser{rest: text}
	f, ok := p.filter()
	if !ok {
		return nil, BadFilter(text)
	}
	return f, nil
}

// Match reports whether the filter selects something; holds evaluates one clause and reports false
// in known for one that the caller does not know.
func (f Filter) Match(holds func(Clause) (holds, known bool)) (selected, known bool) {
	if len(f) == 0 {
		return true, true
	}
	for _, all := range f {
		every := true
		for _, c := range all {
			yes, ok := holds(c)
			if !ok {
				return false, false
			}
			every = every && yes
		}
		selected = selected || every
	}
	return selected, true
}

type filterParser struct{ rest string }

func (p *filterParser) filter() (f Filter, ok bool) {
	for {
		var all []Clause
		for {
			c, ok := p.clause()
			if !ok {
				return nil, false
			}
			all = append(all, c)
			if !p.keyword("and") {
				break
			}
		}
		f = append(f, all)
		if !p.keyword("or") {
			return f, strings.TrimSpace(p.rest) == ""
		}
	}
}

func (p *filterParser) clause() (Clause, bool) {
	name := p.word()
	switch {
	case name == "":
		return Clause{}, false
	case p.symbol('('):
		args, ok := p.args()
		c := Clause{Op: strings.ToLower(name), Args: args}
		return c, ok && !c.IsComparison()
	}
	op := strings.ToLower(p.word())
	value, ok := p.text()
	c := Clause{Op: op, Args: []string{strings.ToLower(name), value}}
	return c, ok && c.IsComparison()
}

// args parses the arguments of a call, after its parenthesis.
func (p *filterParser) args() (args []string, ok bool) {
	if p.symbol(')') {
		return nil, true
	}
	for {
		arg, ok := p.text()
		if !ok {
			if arg = p.word(); arg == "" {
				return nil, false
			}
		}
		args = append(args, arg)
		if !p.symbol(',') {
			return args, p.symbol(')')
		}
	}
}

// skip drops leading blanks.
func (p *filterParser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// word takes a name, such as resourceType or properties/roleName; "" when none follows.
func (p *filterParser) word() string {
	p.skip()
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("_./-", r)
	})
	if end < 0 {
		end = len(p.rest)
	}
	w := p.rest[:end]
	p.rest = p.rest[end:]
	return w
}

// keyword takes a joining word if it follows.
func (p *filterParser) keyword(want string) bool {
	before := p.rest
	if strings.EqualFold(p.word(), want) {
		return true
	}
	p.rest = before
	return false
}

// symbol takes one character if it follows.
func (p *filterParser) symbol(c byte) bool {
	p.skip()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// text takes a quoted string.
func (p *filterParser) text() (string, bool) {
	if !p.symbol('\'') {
		return "", false
	}
	var b strings.Builder
	for {
		part, rest, ok := strings.Cut(p.rest, "'")
		if !ok {
			return "", false
		}
		b.WriteString(part)
		p.rest = rest
		if !strings.HasPrefix(rest, "'") {
			return b.String(), true
		}
		b.WriteByte('\'')
		p.rest = rest[1:]
	}
}
