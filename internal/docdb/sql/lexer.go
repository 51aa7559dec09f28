package sql

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxTextLength is the service's limit for the text of a query, in bytes.
const maxTextLength = 512 << 10

// SyntaxError is what is wrong with a text, in the service's codes. Start and End are byte offsets.
type SyntaxError struct {
	Code       string
	Message    string
	Start, End int
}

// Error returns the code and the message.
func (e *SyntaxError) Error() string { return e.Code + ": " + e.Message }

// The codes of the service that are used here.
const (
	codeSyntax   = "SC1001" // incorrect syntax
	codeEmpty    = "SC1002" // empty text
	codeToken    = "SC1010" // an unexpected character
	codeName     = "SC2001" // an identifier that cannot be resolved
	codeFunction = "SC2005" // an unknown function
	codeAlias    = "SC2022" // one name twice
	codeArity    = "SC2050" // wrong number of arguments
	codeNested   = "SC2101" // an aggregate inside another
	codeGroup    = "SC2102" // a property that is not grouped
)

type kind uint8

const (
	tokEnd kind = iota
	tokName
	tokKeyword
	tokNumber
	tokString
	tokParameter
	tokPunct
)

// token is one lexical unit. text is the keyword in upper case, the operator, the name, or the
// decoded string.
type token struct {
	kind       kind
	text       string
	number     value
	start, end int
}

// reserved are the words that cannot be names. Four of them are written in lower case only.
var reserved = map[string]bool{
	"AND": true, "ARRAY": true, "AS": true, "ASC": true, "BETWEEN": true, "BY": true, "DESC": true, "DISTINCT": true, "ESCAPE": true,
	"EXISTS": true, "FROM": true, "GROUP": true, "IN": true, "JOIN": true, "LEFT": true, "LIKE": true, "LIMIT": true, "NOT": true,
	"OFFSET": true, "OR": true, "ORDER": true, "RANK": true, "RIGHT": true, "SELECT": true, "TOP": true, "VALUE": true, "WHERE": true,
}

var lowerReserved = map[string]bool{"true": true, "false": true, "null": true, "undefined": true, "udf": true}

// operators, longest first within one first character.
var operators = []string{">>>", "<<", ">>", "<=", ">=", "!=", "<>", "??", "||", "(", ")", "[", "]", "{", "}", ",", ".", ":", "?", "=", "<", ">",
	"+", "-", "*", "/", "%", "&", "|", "^", "~"}

// lex cuts a text into tokens, the last of which is tokEnd.
func lex(text string) ([]token, error) {
	if len(text) > maxTextLength {
		return nil, &SyntaxError{Code: codeSyntax, Message: "The query text exceeds the maximum length.", End: len(text)}
	}
	l := &lexer{text: text}
	var out []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		if t.kind == tokEnd {
			return out, nil
		}
	}
}

type lexer struct {
	text string
	pos  int
}

func (l *lexer) fail(start, end int, format string, args ...any) error {
	return &SyntaxError{Code: codeSyntax, Message: fmt.Sprintf(format, args...), Start: start, End: end}
}

// blank skips white space and comments to the end of the line.
func (l *lexer) blank() {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			l.pos++
		case strings.HasPrefix(l.text[l.pos:], "--"):
			n := strings.IndexByte(l.text[l.pos:], '\n')
			if n < 0 {
				n = len(l.text) - l.pos
			}
			l.pos += n
		default:
			return
		}
	}
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func (l *lexer) at(i int) byte {
	if i < len(l.text) {
		return l.text[i]
	}
	return 0
}

func (l *lexer) next() (token, error) {
	l.blank()
	start := l.pos
	switch c := l.at(start); {
	case start >= len(l.text):
		return token{kind: tokEnd, start: start, end: start}, nil
	case isLetter(c):
		return l.word(), nil
	case isDigit(c) || c == '.' && isDigit(l.at(start+1)):
		return l.numeral()
	case c == '"' || c == '\'':
		return l.quoted(c)
	case c == '@':
		return l.parameter()
	}
	for _, op := range operators {
		if strings.HasPrefix(l.text[start:], op) {
			l.pos += len(op)
			return token{kind: tokPunct, text: op, start: start, end: l.pos}, nil
		}
	}
	_, n := utf8.DecodeRuneInString(l.text[start:])
	err := &SyntaxError{Code: codeSyntax, Message: fmt.Sprintf("Syntax error, invalid token '%s'.", strings.ToValidUTF8(l.text[start:start+n], "?")), Start: start, End: start + n}
	if l.text[start] == ';' {
		err.Code = codeToken
	}
	return token{}, err
}

func (l *lexer) identifier() string {
	start := l.pos
	for isLetter(l.at(l.pos)) || isDigit(l.at(l.pos)) {
		l.pos++
	}
	return l.text[start:l.pos]
}

func (l *lexer) word() token {
	start := l.pos
	w := l.identifier()
	t := token{kind: tokName, text: w, start: start, end: l.pos}
	switch upper := strings.ToUpper(w); {
	case lowerReserved[w]:
		t.kind = tokKeyword
	case reserved[upper]:
		t.kind, t.text = tokKeyword, upper
	}
	return t
}

func (l *lexer) parameter() (token, error) {
	start := l.pos
	l.pos++
	if name := l.identifier(); name == "" || isDigit(name[0]) {
		return token{}, l.fail(start, l.pos, "Syntax error, invalid parameter name.")
	}
	return token{kind: tokParameter, text: l.text[start:l.pos], start: start, end: l.pos}, nil
}

// numeral reads digits with a fraction and an exponent, or a hexadecimal integer.
func (l *lexer) numeral() (token, error) {
	start := l.pos
	digits := func() {
		for isDigit(l.at(l.pos)) {
			l.pos++
		}
	}
	if l.at(start) == '0' && l.at(start+1)|0x20 == 'x' {
		l.pos += 2
		l.identifier()
		n, err := strconv.ParseUint(l.text[start+2:l.pos], 16, 64)
		if err != nil {
			return token{}, l.fail(start, l.pos, "Syntax error, invalid numeric value token '%s'.", l.text[start:l.pos])
		}
		return token{kind: tokNumber, number: number(float64(n)), start: start, end: l.pos}, nil
	}
	digits()
	if l.at(l.pos) == '.' {
		l.pos++
		digits()
	}
	if l.at(l.pos)|0x20 == 'e' {
		l.pos++
		if c := l.at(l.pos); c == '+' || c == '-' {
			l.pos++
		}
		digits()
	}
	text := l.text[start:l.pos]
	v, err := parseNumber(text)
	if err != nil || isLetter(l.at(l.pos)) {
		l.identifier()
		return token{}, l.fail(start, l.pos, "Syntax error, invalid numeric value token '%s'.", l.text[start:l.pos])
	}
	return token{kind: tokNumber, text: text, number: v, start: start, end: l.pos}, nil
}

var escapes = map[byte]byte{'"': '"', '\'': '\'', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (l *lexer) quoted(quote byte) (token, error) {
	start := l.pos
	l.pos++
	var b strings.Builder
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch {
		case c == quote:
			l.pos++
			return token{kind: tokString, text: b.String(), start: start, end: l.pos}, nil
		case c < 0x20:
			return token{}, l.fail(start, l.pos+1, "Syntax error, invalid string value token.")
		case c != '\\':
			b.WriteByte(c)
			l.pos++
		default:
			if err := l.escape(&b); err != nil {
				return token{}, err
			}
		}
	}
	return token{}, l.fail(start, l.pos, "Syntax error, invalid string value token.")
}

// escape decodes one escape sequence; two halves of a surrogate pair belong together.
func (l *lexer) escape(b *strings.Builder) error {
	start := l.pos
	c := l.at(l.pos + 1)
	if c != 'u' {
		r, ok := escapes[c]
		if !ok {
			return l.fail(start, min(start+2, len(l.text)), "Syntax error, invalid escape sequence in a string.")
		}
		b.WriteByte(r)
		l.pos += 2
		return nil
	}
	r, ok := l.hex4(l.pos + 2)
	if !ok {
		return l.fail(start, min(start+6, len(l.text)), "Syntax error, invalid escape sequence in a string.")
	}
	l.pos += 6
	if utf16.IsSurrogate(r) && strings.HasPrefix(l.text[l.pos:], `\u`) {
		if low, ok := l.hex4(l.pos + 2); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				r = pair
				l.pos += 6
			}
		}
	}
	b.WriteRune(r)
	return nil
}

func (l *lexer) hex4(i int) (rune, bool) {
	if i+4 > len(l.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(l.text[i:i+4], 16, 32)
	return rune(n), err == nil
}
