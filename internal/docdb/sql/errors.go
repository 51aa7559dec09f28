package sql

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// SyntaxError is what is wrong with a query, in the service's codes. Start and End locate it in the
// text, in characters. Code is empty where the service's code is not known; it is a plain number, and
// there is no location, where the service writes it so (2206, 4001).
type SyntaxError struct {
	Code       string
	Message    string
	Start, End int
}

// Error returns the code and the message.
func (e *SyntaxError) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return e.Code + ": " + e.Message
}

// Limits of a run. They are errors of the query, not of the server.
var (
	// ErrTooMuchWork is returned when a run takes more steps than its options allow.
	ErrTooMuchWork = errors.New("sql: the query takes too many steps")
	// ErrTooMuchMemory is returned when a run would hold more than its options allow, or would build
	// one value larger than any document may be.
	ErrTooMuchMemory = errors.New("sql: the query needs too much memory")
)

// errCorrupt is returned when a source gives a row that is not a JSON value.
var errCorrupt = errors.New("sql: a stored document cannot be read")

// Codes of the service, by what they mean.
const (
	codeSyntax     = "SC1001" // a token that does not fit
	codeEnd        = "SC1002" // the text ends too early
	codeToken      = "SC1010" // characters that are no token
	codeString     = "SC1012" // a string without an end
	codeName       = "SC2001" // a name that stands for nothing
	codeFunction   = "SC2005" // no such function
	codeAlias      = "SC2022" // one output name twice
	codeStarGroup  = "SC2041" // SELECT * with GROUP BY
	codeArity      = "SC2050" // wrong number of arguments
	codeTop        = "SC2060" // TOP out of range
	codeLimit      = "SC2061" // LIMIT out of range
	codeOffset     = "SC2062" // OFFSET out of range
	codeNested     = "SC2101" // an aggregate of an aggregate or of a subquery
	codeUngrouped  = "SC2102" // a property that is neither grouped nor aggregated
	codeSubOrder   = "SC2202" // ORDER BY in a subquery
	codeSubTop     = "SC2203" // TOP in a subquery
	codeSubOffset  = "SC2204" // OFFSET LIMIT in a subquery
	codeSubRank    = "SC2228" // ORDER BY RANK in a subquery
	codeScoreUse   = "SC2240" // FullTextScore outside of ORDER BY RANK
	codeIndexer    = "SC2990" // an index that is computed from the row
	codeTooManyUDF = "SC3005" // too many calls of user-defined functions
	codeTooLong    = "SC3020" // the text is too long
	codeOrderPath  = "2206"   // ORDER BY something that is no path
	codeNotFinite  = "4001"   // a result that JSON cannot hold
)

// span is a range of bytes in the text of a query.
type span struct{ start, end int }

// failure is an error at a place, while the place is still counted in bytes.
func failure(at span, code, format string, args ...any) error {
	return &SyntaxError{Code: code, Message: fmt.Sprintf(format, args...), Start: at.start, End: at.end}
}

// inCharacters turns the place of a failure from bytes into characters. They are UTF-16 code units,
// which the clients' languages count in.
func inCharacters(err error, text string) error {
	var e *SyntaxError
	if errors.As(err, &e) {
		c := *e
		c.Start, c.End = utf16Length(text[:min(e.Start, len(text))]), utf16Length(text[:min(e.End, len(text))])
		return &c
	}
	return err
}

// utf16Length is the length of a text in UTF-16 code units.
func utf16Length(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r > 0xFFFF {
			n++
		}
	}
	return n
}
