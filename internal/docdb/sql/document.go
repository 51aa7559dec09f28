package sql

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// origin remembers that a text turned out not to be JSON while it was read. It belongs to one run.
type origin struct{ err error }

// documentFactor is how many bytes of memory a byte of unread JSON is counted as.
const documentFactor = 3

// readJSON makes a value of a JSON text. Arrays and objects are not looked into before somebody asks;
// what is wrong in there comes to light in origin.
func readJSON(s string, o *origin) value {
	s = trimSpace(s)
	if s == "" {
		o.err = errCorrupt
		return undefined
	}
	return readValue(s, o)
}

// readDocument makes a value of a row. As long as it is not taken apart it is written as it was.
func readDocument(raw []byte, o *origin) value {
	v := readJSON(string(raw), o)
	if v.c != nil {
		v.c.whole = true
	}
	return v
}

// readValue reads a text that is one value, with nothing around it.
func readValue(s string, o *origin) value {
	switch s[0] {
	case '{':
		return unread(objectType, s, o)
	case '[':
		return unread(arrayType, s, o)
	case '"':
		return text(unquote(s, o))
	case 't', 'f', 'n':
		if v, ok := constants[s]; ok {
			return v
		}
	default:
		if v, ok := parseNumber(s); ok {
			return v
		}
	}
	o.err = errCorrupt
	return undefined
}

// unread is an array or object that nobody has looked into yet.
func unread(t valueType, s string, o *origin) value {
	return value{typ: t, c: &composite{text: s, origin: o, size: valueSize + documentFactor*len(s)}}
}

// unquote decodes a string of JSON; without escapes it is a part of the text.
func unquote(s string, o *origin) string {
	if len(s) >= 2 && strings.IndexByte(s, '\\') < 0 {
		return s[1 : len(s)-1]
	}
	b, err := jsontext.AppendUnquote(nil, s)
	if err != nil {
		o.err = errCorrupt
	}
	return string(b)
}

// read reads one level of an array or object.
func (c *composite) read() *composite {
	if c.origin == nil {
		return c
	}
	o := c.origin
	c.origin = nil
	s := scanner{text: c.text, pos: 1}
	object := c.text[0] == '{'
	c.items = make([]value, 0, min(8, len(c.text)/4))
	if object {
		c.names = make([]string, 0, cap(c.items))
	}
	for s.more() {
		if object {
			start, end := s.value()
			if end == start || c.text[start] != '"' || !s.take(':') {
				break
			}
			c.names = append(c.names, unquote(c.text[start:end], o))
		}
		start, end := s.value()
		if start == end {
			break
		}
		c.items = append(c.items, readValue(c.text[start:end], o))
	}
	if !s.closed {
		o.err = errCorrupt
		c.names, c.items = nil, nil
	}
	if !c.whole {
		c.text = ""
	}
	return c
}

// scanner finds where the elements of one array or object begin and end.
type scanner struct {
	text   string
	pos    int
	count  int
	closed bool
}

// blank skips white space and returns the byte behind it, 0 at the end.
func (s *scanner) blank() byte {
	for ; s.pos < len(s.text); s.pos++ {
		if c := s.text[s.pos]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// more moves to the next element; there is none behind the closing bracket.
func (s *scanner) more() bool {
	c := s.blank()
	if c == ']' || c == '}' {
		s.closed = s.pos == len(s.text)-1 && c == s.text[0]+2 // both brackets stand two before their ends
		return false
	}
	if s.count++; s.count == 1 {
		return c != 0
	}
	s.pos++
	return c == ',' && s.blank() != 0
}

// take moves behind a byte when it comes next.
func (s *scanner) take(want byte) bool {
	if s.blank() != want {
		return false
	}
	s.pos++
	return true
}

// value returns where the value here begins and ends, and moves behind it. They are the same when
// there is none.
func (s *scanner) value() (start, end int) {
	c := s.blank()
	start = s.pos
	switch c {
	case '"':
		s.string()
	case '{', '[':
		s.nested()
	default:
		for s.pos < len(s.text) && strings.IndexByte(",]} \n\r\t:", s.text[s.pos]) < 0 {
			s.pos++
		}
	}
	return start, s.pos
}

// string moves behind a string.
func (s *scanner) string() {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		n := strings.IndexByte(s.text[s.pos:], '"')
		if n < 0 {
			s.pos = len(s.text)
			return
		}
		n += s.pos
		escaped := false
		for i := n - 1; i >= s.pos && s.text[i] == '\\'; i-- {
			escaped = !escaped
		}
		if s.pos = n; !escaped {
			s.pos++
			return
		}
	}
}

// nested moves behind an array or object. It only counts brackets: what is in it is not asked for yet.
func (s *scanner) nested() {
	depth := 0
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case '"':
			s.string()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.pos++
				return
			}
		}
		s.pos++
	}
}

// trimSpace cuts off what JSON calls white space, and nothing else.
func trimSpace(s string) string { return strings.Trim(s, " \t\r\n") }

// appendJSON writes a value. Undefined cannot be written; inside of an array it is null.
func appendJSON(b []byte, v value) []byte {
	switch v.typ {
	case boolType:
		if v.isTrue() {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case numberType:
		return appendNumber(b, v)
	case stringType:
		b, _ = jsontext.AppendQuote(b, v.s) // what is not UTF-8 is replaced
		return b
	case arrayType, objectType:
		if v.c.whole {
			return append(b, v.c.text...)
		}
		return appendComposite(b, v)
	}
	return append(b, "null"...)
}

// appendComposite writes an array or object element by element, in the normal form of numbers.
func appendComposite(b []byte, v value) []byte {
	brackets := "[]"
	if v.typ == objectType {
		brackets = "{}"
	}
	b = append(b, brackets[0])
	c := v.c.read()
	for i, x := range c.items {
		if i > 0 {
			b = append(b, ',')
		}
		if v.typ == objectType {
			b = append(appendJSON(b, text(c.names[i])), ':')
		}
		b = appendJSON(b, x)
	}
	return append(b, brackets[1])
}

// finite reports whether JSON can hold all numbers of a value. What was read from JSON can be.
func finite(v value) bool {
	switch {
	case v.typ == numberType:
		f := v.float()
		return f-f == 0
	case v.c == nil || v.c.whole || v.c.origin != nil:
		return true
	}
	for _, x := range v.c.items {
		if !finite(x) {
			return false
		}
	}
	return true
}

// detach copies a value out of the document that it was read from, so that it does not keep that one
// in memory.
func detach(v value) value {
	switch {
	case v.typ == stringType:
		v.s = strings.Clone(v.s)
	case v.c != nil && v.c.whole:
		v.c = &composite{text: v.c.text, origin: &origin{}, whole: true, size: v.c.size}
	case v.c != nil && finite(v):
		return unread(v.typ, string(appendComposite(nil, v)), &origin{})
	}
	return v
}
