package sql

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// stringFunctions work on strings. Positions and lengths count characters, not bytes.
var stringFunctions = map[string]function{
	"CONCAT":       {least: 2, most: -1, f: ofTypes(concat, stringType)},
	"LENGTH":       onString(func(s string) value { return integer(int64(utf8.RuneCountInString(s))) }),
	"LOWER":        onString(func(s string) value { return text(strings.ToLower(s)) }),
	"UPPER":        onString(func(s string) value { return text(strings.ToUpper(s)) }),
	"REVERSE":      onString(reverse),
	"TRIM":         {least: 1, most: 2, f: ofTypes(trim(strings.Trim), stringType)},
	"LTRIM":        {least: 1, most: 2, f: ofTypes(trim(strings.TrimLeft), stringType)},
	"RTRIM":        {least: 1, most: 2, f: ofTypes(trim(strings.TrimRight), stringType)},
	"LEFT":         {least: 2, most: 2, f: left},
	"RIGHT":        {least: 2, most: 2, f: right},
	"SUBSTRING":    {least: 3, most: 3, f: substring},
	"INDEX_OF":     {least: 2, most: 3, f: indexOf},
	"LASTINDEXOF":  {least: 2, most: 3, f: lastIndexOf},
	"REPLACE":      {least: 3, most: 3, inRun: replace},
	"REPLICATE":    {least: 2, most: 2, f: replicate},
	"STARTSWITH":   search(strings.HasPrefix),
	"ENDSWITH":     search(strings.HasSuffix),
	"CONTAINS":     search(strings.Contains),
	"STRINGEQUALS": search(func(s, t string) bool { return s == t }),
	"STRINGJOIN":   {least: 2, most: 2, inRun: stringJoin},
	"STRINGSPLIT":  {least: 2, most: 2, inRun: stringSplit},
	"TOSTRING":     {least: 1, most: 1, f: toString},
	"REGEXMATCH":   {least: 2, most: 3, inRun: regexMatch},

	"CONTAINS_ALL_CS": containsTerms(false, and),
	"CONTAINS_ALL_CI": containsTerms(true, and),
	"CONTAINS_ANY_CS": containsTerms(false, or),
	"CONTAINS_ANY_CI": containsTerms(true, or),

	"STRINGTONUMBER":  parsed(numberType),
	"STRINGTOBOOLEAN": parsed(boolType),
	"STRINGTONULL":    parsed(nullType),
	"STRINGTOARRAY":   parsed(arrayType),
	"STRINGTOOBJECT":  parsed(objectType),
}

// onString is a function of one string, undefined for anything else.
func onString(f func(string) value) function {
	return function{least: 1, most: 1, f: ofTypes(func(a []value) value { return f(a[0].s) }, stringType)}
}

// concat joins strings; the caller has bounded their sizes.
func concat(a []value) value {
	var b strings.Builder
	for _, v := range a {
		b.WriteString(v.s)
	}
	return text(b.String())
}

// reverse turns the order of characters around.
func reverse(s string) value {
	r := []rune(s)
	slices.Reverse(r)
	return text(string(r))
}

// trim cuts off the characters of a set, by default white space.
func trim(f func(s, set string) string) func([]value) value {
	return func(a []value) value { return text(f(a[0].s, optional(a, 1, text(" \t\r\n\v\f")).s)) }
}

// offset is where in s the n-th character begins; the end for those that are not there.
func offset(s string, n int64) int {
	for i := range s {
		if n <= 0 {
			return i
		}
		n--
	}
	return len(s)
}

// left is the first n characters; none for n below 1.
func left(a []value) value {
	n, ok := a[1].int64()
	if a[0].typ != stringType || !ok {
		return undefined
	}
	return text(a[0].s[:offset(a[0].s, n)])
}

// right is the last n characters; none for n below 1.
func right(a []value) value {
	n, ok := a[1].int64()
	if a[0].typ != stringType || !ok {
		return undefined
	}
	if n <= 0 {
		return text("")
	}
	return text(a[0].s[offset(a[0].s, int64(utf8.RuneCountInString(a[0].s))-n):])
}

// substring is empty when it begins before the string or has no length.
func substring(a []value) value {
	from, ok := a[1].int64()
	length, also := a[2].int64()
	if a[0].typ != stringType || !ok || !also {
		return undefined
	}
	if from < 0 || length <= 0 {
		return text("")
	}
	rest := a[0].s[offset(a[0].s, from):]
	return text(rest[:offset(rest, length)])
}

// indexOf is the position of the first occurrence from a start on, -1 for none.
func indexOf(a []value) value {
	from, ok := optional(a, 2, integer(0)).int64()
	if a[0].typ != stringType || a[1].typ != stringType || !ok {
		return undefined
	}
	start := offset(a[0].s, from)
	return position(a[0].s, start, strings.Index(a[0].s[start:], a[1].s))
}

// position turns an index into s[start:] into characters of s; -1 stays.
func position(s string, start, index int) value {
	if index < 0 {
		return integer(-1)
	}
	return integer(int64(utf8.RuneCountInString(s[:start+index])))
}

// lastIndexOf searches backwards; what is found must end at the start position at the latest.
func lastIndexOf(a []value) value {
	from, ok := optional(a, 2, integer(math.MaxInt64-1)).int64()
	if a[0].typ != stringType || a[1].typ != stringType || !ok {
		return undefined
	}
	s := a[0].s
	return position(s, 0, strings.LastIndex(s[:offset(s, max(from, -1)+1)], a[1].s))
}

// replace replaces all occurrences; there is none of nothing.
func replace(_ *run, a []value) (value, error) {
	if a[0].typ != stringType || a[1].typ != stringType || a[2].typ != stringType || a[1].s == "" {
		return undefined, nil
	}
	n := strings.Count(a[0].s, a[1].s)
	if len(a[0].s)+n*(len(a[2].s)-len(a[1].s)) > maxValueSize {
		return undefined, ErrTooMuchMemory
	}
	return text(strings.ReplaceAll(a[0].s, a[1].s, a[2].s)), nil
}

// maxReplicated is the longest string that REPLICATE makes; the service answers undefined beyond it.
const maxReplicated = 10_000

// replicate repeats a string; a fraction of a time is dropped.
func replicate(a []value) value {
	if a[0].typ != stringType || a[1].typ != numberType {
		return undefined
	}
	n := math.Trunc(a[1].float())
	if !(n >= 0 && n <= maxReplicated) || n*float64(utf8.RuneCountInString(a[0].s)) > maxReplicated {
		return undefined
	}
	return text(strings.Repeat(a[0].s, int(n)))
}

// search tests two strings; a third argument that is true ignores case.
func search(f func(s, t string) bool) function {
	return function{least: 2, most: 3, f: ofTypes(func(a []value) value {
		s, t := a[0].s, a[1].s
		if optional(a, 2, undefined).isTrue() {
			s, t = strings.ToLower(s), strings.ToLower(t)
		}
		return boolean(f(s, t))
	}, stringType, stringType, boolType)}
}

// containsTerms combines the tests for several terms by a three-valued operator; a term that is no
// string is undefined.
func containsTerms(ignoreCase bool, combine func(a, b value) value) function {
	return function{least: 2, most: -1, lenient: true, f: func(a []value) value {
		if a[0].typ != stringType {
			return undefined
		}
		result := containsTerm(a[0], a[1], ignoreCase)
		for _, term := range a[2:] {
			result = combine(result, containsTerm(a[0], term, ignoreCase))
		}
		return result
	}}
}

// containsTerm is one of the tests of containsTerms.
func containsTerm(s, term value, ignoreCase bool) value {
	switch {
	case term.typ != stringType:
		return undefined
	case ignoreCase:
		return boolean(strings.Contains(strings.ToLower(s.s), strings.ToLower(term.s)))
	}
	return boolean(strings.Contains(s.s, term.s))
}

// stringJoin joins the strings of an array; its length is checked before.
func stringJoin(_ *run, a []value) (value, error) {
	if a[0].typ != arrayType || a[1].typ != stringType {
		return undefined, nil
	}
	parts, size := []string{}, 0
	for _, v := range a[0].items() {
		if v.typ != stringType {
			return undefined, nil
		}
		parts = append(parts, v.s)
		if size += len(v.s) + len(a[1].s); size > maxValueSize {
			return undefined, ErrTooMuchMemory
		}
	}
	return text(strings.Join(parts, a[1].s)), nil
}

// stringSplit splits at a separator; without one the string is the only part.
func stringSplit(_ *run, a []value) (value, error) {
	if a[0].typ != stringType || a[1].typ != stringType {
		return undefined, nil
	}
	if a[1].s == "" {
		return array([]value{a[0]}), nil
	}
	if strings.Count(a[0].s, a[1].s)*valueSize > maxValueSize {
		return undefined, ErrTooMuchMemory
	}
	var parts []value
	for s := range strings.SplitSeq(a[0].s, a[1].s) {
		parts = append(parts, text(s))
	}
	return array(parts), nil
}

// toString leaves a string as it is and writes anything else as JSON, and the numbers that JSON has no
// word for by their names.
func toString(a []value) value {
	switch v := a[0]; {
	case v.typ == stringType:
		return v
	case v.typ == numberType && !finite(v):
		return text(unwritable(v.float()))
	case v.typ == numberType:
		return text(wideExponent(string(appendNumber(nil, v))))
	case v.c != nil:
		return text(string(appendComposite(nil, v)))
	default:
		return text(string(appendJSON(nil, v)))
	}
}

// unwritable is the name of a number that is not finite.
func unwritable(f float64) string {
	switch {
	case f > 0:
		return "Infinity"
	case f < 0:
		return "-Infinity"
	}
	return "NaN"
}

// wideExponent gives an exponent three digits, which is how TOSTRING writes it.
func wideExponent(s string) string {
	i := strings.IndexByte(s, 'e')
	if i < 0 || len(s)-i != 4 {
		return s
	}
	return s[:i+2] + "0" + s[i+2:]
}

// parsed reads JSON of one type out of a string.
func parsed(want valueType) function {
	return function{least: 1, most: 1, inRun: func(r *run, a []value) (value, error) {
		if a[0].typ != stringType || !jsontext.Value(a[0].s).IsValid(jsontext.AllowDuplicateNames(true)) {
			return undefined, nil
		}
		v := readJSON(a[0].s, r.origin)
		if v.typ != want {
			return undefined, nil
		}
		return bounded(v)
	}}
}

// regexMatch searches a string; the third argument holds the modifiers i, m, s and x. Patterns take
// time linear in the string. What could not be done so (references back, looking around) is no
// pattern here; an invalid pattern makes the result undefined.
func regexMatch(r *run, a []value) (value, error) {
	modifiers := optional(a, 2, text(""))
	if a[0].typ != stringType || a[1].typ != stringType || modifiers.typ != stringType {
		return undefined, nil
	}
	re := cached(r, "regex"+modifiers.s+"\x00"+a[1].s, func() *regexp.Regexp { return compileRegex(a[1].s, modifiers.s) })
	if re == nil {
		return undefined, nil
	}
	if err := r.spend((1 + len(a[1].s)>>4) * (1 + len(a[0].s)>>6)); err != nil {
		return undefined, err
	}
	return boolean(re.MatchString(a[0].s)), nil
}

// maxPattern bounds the length of a pattern, in bytes.
const maxPattern = 4096

// compileRegex returns nil for what is no pattern.
func compileRegex(pattern, modifiers string) *regexp.Regexp {
	if strings.Trim(modifiers, "imsx") != "" || len(pattern) > maxPattern {
		return nil
	}
	if strings.Contains(modifiers, "x") {
		pattern = withoutSpace(pattern)
	}
	if flags := strings.ReplaceAll(modifiers, "x", ""); flags != "" {
		pattern = "(?" + flags + ")" + pattern
	}
	re, _ := regexp.Compile(pattern)
	return re
}

// withoutSpace drops the white space and the comments of a pattern that is written with the modifier
// x; those in sets and behind a backslash stay.
func withoutSpace(pattern string) string {
	var b strings.Builder
	set := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			b.WriteByte(c)
			i++
			c = pattern[i]
		case c == '[' || c == ']':
			set = c == '['
		case !set && strings.IndexByte(" \t\r\n\f\v", c) >= 0:
			continue
		case !set && c == '#':
			n := strings.IndexByte(pattern[i:], '\n')
			if n < 0 {
				return b.String()
			}
			i += n
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
