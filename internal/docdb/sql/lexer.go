package sql

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxTextLength is the service's limit for the text of a query (maxSqlQueryInputLength).
const maxTextLength = 512 << 10

// tokenKind tells how a token is to be read.
type tokenKind uint8

// The kinds of tokens.
const (
	tokEnd tokenKind = iota
	tokName
	tokKeyword
	tokNumber
	tokString
	tokParameter
	tokPunctuation
)

// token is one lexical unit. text is a keyword in upper case (the lower-case ones as they are), an
// operator, a name, a parameter with its "@", or the decoded content of a string.
type token struct {
	kind   tokenKind
	text   string
	number value
	span
}

// reserved are the words that cannot be names, whatever their case.
var reserved = map[string]bool{
	"AND": true, "ARRAY": true, "AS": true, "ASC": true, "BETWEEN": true, "BY": true, "DESC": true, "DISTINCT": true, "ESCAPE": true,
	"EXISTS": true, "FROM": true, "GROUP": true, "IN": true, "JOIN": true, "LEFT": true, "LIKE": true, "LIMIT": true, "NOT": true,
	"OFFSET": true, "OR": true, "ORDER": true, "RANK": true, "RIGHT": true, "SELECT": true, "TOP": true, "VALUE": true, "WHERE": true,
}

// reservedLower are the words that cannot be names as they are written here; in another case they can.
var reservedLower = map[string]bool{"true": true, "false": true, "null": true, "undefined": true, "udf": true}

// punctuation lists the operators; one that begins like another stands before it.
var punctuation = []string{">>>", "<<", ">>", "<=", ">=", "!=", "<>", "??", "||", "(", ")", "[", "]", "{", "}", ",", ".", ":", "?", "=", "<", ">",
	"+", "-", "*", "/", "%", "&", "|", "^", "~"}

// lexer cuts a text into tokens.
type lexer struct {
	text string
	pos  int
}

// lex returns all tokens of a text; the last one is tokEnd.
func lex(text string) ([]token, error) {
	if len(text) > maxTextLength {
		return nil, failure(span{0, len(text)}, codeTooLong, "The SQL query text exceeded the maximum limit of %d characters.", maxTextLength)
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

// at returns the byte at i, or 0 behind the end.
func (l *lexer) at(i int) byte {
	if i < len(l.text) {
		return l.text[i]
	}
	return 0
}

// isLetter reports whether a name may begin with the byte. Names are ASCII.
func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// isDigit reports whether the byte is a decimal digit.
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// blank skips white space and comments, which end with their line.
func (l *lexer) blank() {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			l.pos++
		case c == '-' && l.at(l.pos+1) == '-':
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

// next reads one token.
func (l *lexer) next() (token, error) {
	l.blank()
	start := l.pos
	switch c := l.at(start); {
	case start >= len(l.text):
		return token{kind: tokEnd, span: span{start, start}}, nil
	case isLetter(c):
		return l.word(), nil
	case isDigit(c) || c == '.' && isDigit(l.at(start+1)):
		return l.numeral()
	case c == '"' || c == '\'':
		return l.quoted(c)
	case c == '@' && isLetter(l.at(start+1)):
		l.pos++
		l.identifier()
		return l.token(tokParameter, start), nil
	}
	for _, op := range punctuation {
		if strings.HasPrefix(l.text[start:], op) {
			l.pos += len(op)
			return l.token(tokPunctuation, start), nil
		}
	}
	_, n := utf8.DecodeRuneInString(l.text[start:])
	return token{}, l.invalid(start, start+n)
}

// token is the text from start to here.
func (l *lexer) token(kind tokenKind, start int) token {
	return token{kind: kind, text: l.text[start:l.pos], span: span{start, l.pos}}
}

// invalid is the error of characters that make no token.
func (l *lexer) invalid(start, end int) error {
	return failure(span{start, end}, codeToken, "Syntax error, invalid token '%s'.", strings.ToValidUTF8(l.text[start:end], "?"))
}

// identifier moves behind letters and digits.
func (l *lexer) identifier() {
	for isLetter(l.at(l.pos)) || isDigit(l.at(l.pos)) {
		l.pos++
	}
}

// word reads a name or a keyword.
func (l *lexer) word() token {
	start := l.pos
	l.identifier()
	t := l.token(tokName, start)
	if upper := strings.ToUpper(t.text); reserved[upper] {
		t.kind, t.text = tokKeyword, upper
	} else if reservedLower[t.text] {
		t.kind = tokKeyword
	}
	return t
}

// digits moves behind decimal digits.
func (l *lexer) digits() {
	for isDigit(l.at(l.pos)) {
		l.pos++
	}
}

// numeral reads digits with a fraction and an exponent, or a hexadecimal integer.
func (l *lexer) numeral() (token, error) {
	start := l.pos
	if l.at(start) == '0' && l.at(start+1)|0x20 == 'x' {
		return l.hexadecimal()
	}
	l.digits()
	if l.at(l.pos) == '.' {
		l.pos++
		l.digits()
	}
	if l.at(l.pos)|0x20 == 'e' {
		l.pos++
		if c := l.at(l.pos); c == '+' || c == '-' {
			l.pos++
		}
		l.digits()
	}
	t := l.token(tokNumber, start)
	var ok bool
	if t.number, ok = parseNumber(t.text); !ok || isLetter(l.at(l.pos)) {
		l.identifier()
		return token{}, l.invalid(start, l.pos)
	}
	return t, nil
}

// hexadecimal reads 0x and up to 64 bits.
func (l *lexer) hexadecimal() (token, error) {
	start := l.pos
	l.pos += 2
	l.identifier()
	n, err := strconv.ParseUint(l.text[start+2:l.pos], 16, 64)
	if err != nil {
		return token{}, l.invalid(start, l.pos)
	}
	t := l.token(tokNumber, start)
	t.number = number(float64(n))
	if n>>63 == 0 {
		t.number = integer(int64(n))
	}
	return t, nil
}

// escapes are the characters that may stand behind a backslash.
var escapes = map[byte]byte{'"': '"', '\'': '\'', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// quoted reads a string; a control character or the end of the text ends it too early.
func (l *lexer) quoted(quote byte) (token, error) {
	start := l.pos
	l.pos++
	var b strings.Builder
	for l.pos < len(l.text) && l.text[l.pos] >= 0x20 {
		switch c := l.text[l.pos]; c {
		case quote:
			l.pos++
			t := l.token(tokString, start)
			t.text = strings.ToValidUTF8(b.String(), "\uFFFD")
			return t, nil
		case '\\':
			r, n := l.escape()
			if n == 0 {
				return token{}, l.invalid(l.pos, min(l.pos+2, len(l.text)))
			}
			b.WriteRune(r)
			l.pos += n
		default:
			b.WriteByte(c)
			l.pos++
		}
	}
	return token{}, failure(span{start, l.pos}, codeString, "Syntax error, invalid string literal token '%c'.", quote)
}

// escape decodes the escape sequence here and returns its length, 0 for none. Two halves of a
// surrogate pair belong together; half of one is a replacement character.
func (l *lexer) escape() (rune, int) {
	if c := l.at(l.pos + 1); c != 'u' {
		r, ok := escapes[c]
		if !ok {
			return 0, 0
		}
		return rune(r), 2
	}
	r, ok := l.hex4(l.pos + 2)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) && l.at(l.pos+6) == '\\' && l.at(l.pos+7) == 'u' {
		if low, ok := l.hex4(l.pos + 8); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
	}
	return r, 6
}

// hex4 reads the four hexadecimal digits at i.
func (l *lexer) hex4(i int) (rune, bool) {
	if i+4 > len(l.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(l.text[i:i+4], 16, 32)
	return rune(n), err == nil
}
