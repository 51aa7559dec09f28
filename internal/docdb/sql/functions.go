package sql

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// function is a built-in. f gets as many arguments as the call has, between min and max; a negative
// max means any number. Unless lenient, an undefined argument makes the result undefined.
type function struct {
	min, max int
	lenient  bool
	f        func(args []value) value
}

// functions are the built-in functions by upper-case name. Those of the service that are not in it
// are refused by their name.
var functions = map[string]function{
	"IS_DEFINED":   {1, 1, true, func(a []value) value { return boolean(a[0].typ != undefinedType) }},
	"IS_NULL":      isType(nullType),
	"IS_BOOL":      isType(boolType),
	"IS_NUMBER":    isType(numberType),
	"IS_STRING":    isType(stringType),
	"IS_ARRAY":     isType(arrayType),
	"IS_OBJECT":    isType(objectType),
	"IS_PRIMITIVE": {1, 1, true, func(a []value) value { return boolean(a[0].typ >= nullType && a[0].typ <= stringType) }},
	"IS_INTEGER": {1, 1, true, func(a []value) value {
		return boolean(a[0].typ == numberType && (a[0].flag || a[0].num == math.Trunc(a[0].num) && a[0].num >= -1<<63 && a[0].num < 1<<63))
	}},
	"IS_FINITE_NUMBER": {1, 1, true, func(a []value) value {
		return boolean(a[0].typ == numberType && !math.IsNaN(a[0].num) && !math.IsInf(a[0].num, 0))
	}},
	"IIF": {3, 3, true, iif},

	"CONCAT":       {2, -1, false, concat},
	"LENGTH":       {1, 1, false, onString(func(s string) value { return number(float64(utf8.RuneCountInString(s))) })},
	"LOWER":        {1, 1, false, onString(func(s string) value { return text(strings.ToLower(s)) })},
	"UPPER":        {1, 1, false, onString(func(s string) value { return text(strings.ToUpper(s)) })},
	"TRIM":         {1, 2, false, trim(strings.Trim)},
	"LTRIM":        {1, 2, false, trim(strings.TrimLeft)},
	"RTRIM":        {1, 2, false, trim(strings.TrimRight)},
	"REVERSE":      {1, 1, false, onString(reverse)},
	"LEFT":         {2, 2, false, left},
	"RIGHT":        {2, 2, false, right},
	"SUBSTRING":    {3, 3, false, substring},
	"INDEX_OF":     {2, 3, false, indexOf},
	"REPLACE":      {3, 3, false, replace},
	"REPLICATE":    {2, 2, false, replicate},
	"STARTSWITH":   {2, 3, false, search(strings.HasPrefix)},
	"ENDSWITH":     {2, 3, false, search(strings.HasSuffix)},
	"CONTAINS":     {2, 3, false, search(strings.Contains)},
	"STRINGEQUALS": {2, 3, false, search(func(s, t string) bool { return s == t })},
	"TOSTRING":     {1, 1, false, toString},

	"STRINGTONUMBER":  {1, 1, false, parsed(numberType)},
	"STRINGTOBOOLEAN": {1, 1, false, parsed(boolType)},
	"STRINGTONULL":    {1, 1, false, parsed(nullType)},
	"STRINGTOARRAY":   {1, 1, false, parsed(arrayType)},
	"STRINGTOOBJECT":  {1, 1, false, parsed(objectType)},

	"ABS": onNumber(math.Abs), "CEILING": onNumber(math.Ceil), "FLOOR": onNumber(math.Floor), "SQRT": onNumber(math.Sqrt), "EXP": onNumber(math.Exp),
	"LOG10": onNumber(math.Log10), "SIN": onNumber(math.Sin), "COS": onNumber(math.Cos), "TAN": onNumber(math.Tan), "ASIN": onNumber(math.Asin),
	"ACOS": onNumber(math.Acos), "ATAN": onNumber(math.Atan), "TRUNC": onNumber(math.Trunc),
	"SQUARE":  onNumber(func(f float64) float64 { return f * f }),
	"COT":     onNumber(func(f float64) float64 { return 1 / math.Tan(f) }),
	"DEGREES": onNumber(func(f float64) float64 { return f * 180 / math.Pi }),
	"RADIANS": onNumber(func(f float64) float64 { return f * math.Pi / 180 }),
	"SIGN":    onNumber(func(f float64) float64 { return float64(btoi(f > 0) - btoi(f < 0)) }),
	"PI":      {0, 0, false, func([]value) value { return number(math.Pi) }},
	"POWER":   onNumbers(math.Pow),
	"ATN2":    onNumbers(math.Atan2),
	"LOG":     {1, 2, false, logarithm},
	"ROUND":   {1, 2, false, round},

	"ARRAY_LENGTH": {1, 1, false, func(a []value) value {
		return ifArray(a[0], func(x []value) value { return integerValue(int64(len(x))) })
	}},
	"ARRAY_CONTAINS": {2, 3, true, arrayContains},
	"ARRAY_CONCAT":   {2, -1, false, arrayConcat},
	"ARRAY_SLICE":    {2, 3, false, arraySlice},
	"SETINTERSECT":   {2, 2, false, setIntersect},
	"SETUNION":       {2, 2, false, setUnion},

	"ARRAY_CONTAINS_ANY": {2, -1, true, arrayContainsSome(func(found, asked int) bool { return found > 0 })},
	"ARRAY_CONTAINS_ALL": {2, -1, true, arrayContainsSome(func(found, asked int) bool { return found == asked })},
	"OBJECTTOARRAY":      {1, 3, false, objectToArray},
	"CHOOSE":             {2, -1, true, choose},
	"REGEXMATCH":         {2, 3, false, regexMatch},
	"INTADD":             onIntegers(func(a, b int64) (int64, bool) { return a + b, true }),
	"INTSUB":             onIntegers(func(a, b int64) (int64, bool) { return a - b, true }),
	"INTMUL":             onIntegers(func(a, b int64) (int64, bool) { return a * b, true }),
	"INTDIV":             onIntegers(func(a, b int64) (int64, bool) { return divide(a, b, func() int64 { return a / b }) }),
	"INTMOD":             onIntegers(func(a, b int64) (int64, bool) { return divide(a, b, func() int64 { return a % b }) }),
}

// notYet are the functions of the service that this package does not have yet.
var notYet = map[string]bool{
	"DATETIMEADD": true, "DATETIMEBIN": true, "DATETIMEDIFF": true, "DATETIMEFROMPARTS": true, "DATETIMEPART": true, "DATETIMETOTICKS": true,
	"DATETIMETOTIMESTAMP": true, "TICKSTODATETIME": true, "TIMESTAMPTODATETIME": true, "GETCURRENTDATETIME": true, "GETCURRENTTICKS": true,
	"GETCURRENTTIMESTAMP": true, "GETCURRENTDATETIMESTATIC": true, "GETCURRENTTICKSSTATIC": true, "GETCURRENTTIMESTAMPSTATIC": true,
	"ST_AREA": true, "ST_DISTANCE": true, "ST_INTERSECTS": true, "ST_ISVALID": true, "ST_ISVALIDDETAILED": true, "ST_WITHIN": true,
	"FULLTEXTCONTAINS": true, "FULLTEXTCONTAINSALL": true, "FULLTEXTCONTAINSANY": true, "FULLTEXTSCORE": true, "RRF": true, "VECTORDISTANCE": true,
	"DOCUMENTID": true, "RAND": true, "INTBITAND": true, "INTBITOR": true, "INTBITXOR": true, "INTBITNOT": true, "INTBITLEFTSHIFT": true,
	"INTBITRIGHTSHIFT": true, "NUMBERBIN": true,
}

// call evaluates a function, or takes an aggregate's result.
func (r *run) call(e *expr, s *scope) (value, error) {
	if e.slot > 0 {
		if e.slot > len(r.groups) {
			return undefined, nil
		}
		return r.groups[e.slot-1].result(), nil
	}
	f := functions[e.op]
	args, err := r.evalAll(e.args, s)
	if err != nil {
		return undefined, err
	}
	if !f.lenient && slices.ContainsFunc(args, func(v value) bool { return v.typ == undefinedType }) {
		return undefined, nil
	}
	return f.f(args), nil
}

func isType(t typ) function {
	return function{1, 1, true, func(a []value) value { return boolean(a[0].typ == t) }}
}

func iif(a []value) value {
	if a[0].isTrue() {
		return a[1]
	}
	return a[2]
}

func onString(f func(string) value) func([]value) value {
	return func(a []value) value {
		if a[0].typ != stringType {
			return undefined
		}
		return f(a[0].str)
	}
}

func onNumber(f func(float64) float64) function {
	return function{1, 1, false, func(a []value) value {
		if a[0].typ != numberType {
			return undefined
		}
		return number(f(a[0].num))
	}}
}

func onNumbers(f func(a, b float64) float64) function {
	return function{2, 2, false, func(a []value) value {
		if a[0].typ != numberType || a[1].typ != numberType {
			return undefined
		}
		return number(f(a[0].num, a[1].num))
	}}
}

func concat(a []value) value {
	var b strings.Builder
	for _, v := range a {
		if v.typ != stringType {
			return undefined
		}
		b.WriteString(v.str)
	}
	return text(b.String())
}

// trim removes a set of characters: by default white space.
func trim(f func(s, cutset string) string) func([]value) value {
	return func(a []value) value {
		cut := " \t\r\n"
		if len(a) == 2 {
			if a[1].typ != stringType {
				return undefined
			}
			cut = a[1].str
		}
		return onString(func(s string) value { return text(f(s, cut)) })(a)
	}
}

func reverse(s string) value {
	r := []rune(s)
	slices.Reverse(r)
	return text(string(r))
}

// slice cuts characters out of a string; what lies outside is not there.
func slice(s string, from, length float64) value {
	r := []rune(s)
	start := min(max(from, 0), float64(len(r)))
	end := min(max(from+length, start), float64(len(r)))
	return text(string(r[int(start):int(end)]))
}

func left(a []value) value {
	if a[0].typ != stringType || a[1].typ != numberType {
		return undefined
	}
	return slice(a[0].str, 0, a[1].num)
}

func right(a []value) value {
	if a[0].typ != stringType || a[1].typ != numberType {
		return undefined
	}
	n := float64(utf8.RuneCountInString(a[0].str))
	return slice(a[0].str, max(n-max(a[1].num, 0), 0), n)
}

func substring(a []value) value {
	if a[0].typ != stringType || a[1].typ != numberType || a[2].typ != numberType {
		return undefined
	}
	return slice(a[0].str, math.Trunc(a[1].num), math.Trunc(a[2].num))
}

func indexOf(a []value) value {
	if a[0].typ != stringType || a[1].typ != stringType || len(a) == 3 && a[2].typ != numberType {
		return undefined
	}
	r := []rune(a[0].str)
	from := 0
	if len(a) == 3 {
		from = int(min(max(a[2].num, 0), float64(len(r))))
	}
	i := strings.Index(string(r[from:]), a[1].str)
	if i < 0 {
		return integerValue(-1)
	}
	return integerValue(int64(from + utf8.RuneCountInString(string(r[from:])[:i])))
}

func replace(a []value) value {
	if a[0].typ != stringType || a[1].typ != stringType || a[2].typ != stringType {
		return undefined
	}
	if a[1].str == "" {
		return a[0]
	}
	return text(strings.ReplaceAll(a[0].str, a[1].str, a[2].str))
}

// maxReplicated is the longest string that REPLICATE makes; the service answers undefined beyond it.
const maxReplicated = 10000

func replicate(a []value) value {
	if a[0].typ != stringType || a[1].typ != numberType || a[1].num < 0 || a[1].num*float64(len(a[0].str)) > maxReplicated || a[1].num > maxReplicated {
		return undefined
	}
	return text(strings.Repeat(a[0].str, int(a[1].num)))
}

// search is a test of two strings; a third argument true ignores case.
func search(f func(s, t string) bool) func([]value) value {
	return func(a []value) value {
		if a[0].typ != stringType || a[1].typ != stringType || len(a) == 3 && a[2].typ != boolType {
			return undefined
		}
		s, t := a[0].str, a[1].str
		if len(a) == 3 && a[2].flag {
			s, t = strings.ToLower(s), strings.ToLower(t)
		}
		return boolean(f(s, t))
	}
}

func toString(a []value) value {
	switch v := a[0]; {
	case v.typ == stringType:
		return v
	case v.typ == numberType && math.IsNaN(v.num):
		return text("NaN")
	case v.typ == numberType && math.IsInf(v.num, 0):
		return text(map[bool]string{true: "Infinity", false: "-Infinity"}[v.num > 0])
	default:
		v.raw = nil
		return text(string(v.encode(nil)))
	}
}

// parsed reads JSON of one type out of a string.
func parsed(want typ) func([]value) value {
	return onString(func(s string) value {
		s = strings.TrimSpace(s)
		if want == numberType {
			switch s {
			case "NaN":
				return notANumber
			case "Infinity":
				return infinity
			}
		}
		v, err := decode([]byte(s))
		if err != nil || v.typ != want {
			return undefined
		}
		v.raw = nil
		return v
	})
}

func logarithm(a []value) value {
	if a[0].typ != numberType || len(a) == 2 && a[1].typ != numberType {
		return undefined
	}
	if len(a) == 2 {
		return number(math.Log(a[0].num) / math.Log(a[1].num))
	}
	return number(math.Log(a[0].num))
}

// round rounds halves away from zero, to a number of decimal places.
func round(a []value) value {
	if a[0].typ != numberType || len(a) == 2 && a[1].typ != numberType {
		return undefined
	}
	if len(a) == 1 {
		return number(math.Round(a[0].num))
	}
	f, err := strconv.ParseFloat(strconv.FormatFloat(a[0].num, 'f', int(min(max(a[1].num, 0), 30)), 64), 64)
	if err != nil {
		return undefined
	}
	return number(f)
}

func ifArray(v value, f func([]value) value) value {
	if v.typ != arrayType {
		return undefined
	}
	return f(v.items)
}

// arrayContains looks for an element, or, with a third argument true, for an object that has all the
// members of the given one.
func arrayContains(a []value) value {
	if a[0].typ != arrayType || a[1].typ == undefinedType {
		return undefined
	}
	partial := len(a) == 3 && a[2].isTrue()
	return boolean(slices.ContainsFunc(a[0].items, func(x value) bool {
		return equal(x, a[1]) || partial && includes(x, a[1])
	}))
}

// includes reports whether object x has every member of want.
func includes(x, want value) bool {
	if x.typ != objectType || want.typ != objectType {
		return false
	}
	return !slices.ContainsFunc(want.members, func(m member) bool {
		have := x.get(m.name)
		return !equal(have, m.value) && !includes(have, m.value)
	})
}

func arrayConcat(a []value) value {
	out := []value{}
	for _, v := range a {
		if v.typ != arrayType {
			return undefined
		}
		out = append(out, v.items...)
	}
	return array(out)
}

func arraySlice(a []value) value {
	if a[0].typ != arrayType || a[1].typ != numberType || len(a) == 3 && a[2].typ != numberType {
		return undefined
	}
	n := float64(len(a[0].items))
	start := math.Trunc(a[1].num)
	if start < 0 {
		start = max(n+start, 0)
	}
	start = min(start, n)
	end := n
	if len(a) == 3 {
		if end = start + math.Trunc(a[2].num); a[2].num < 0 {
			end = start
		}
	}
	return array(slices.Clone(a[0].items[int(start):int(min(max(end, start), n))]))
}

func setIntersect(a []value) value {
	if a[0].typ != arrayType || a[1].typ != arrayType {
		return undefined
	}
	out := &list{set: true}
	for _, v := range a[0].items {
		if slices.ContainsFunc(a[1].items, func(x value) bool { return equal(x, v) }) {
			out.add(v)
		}
	}
	return array(append([]value{}, out.items...))
}

func setUnion(a []value) value {
	if a[0].typ != arrayType || a[1].typ != arrayType {
		return undefined
	}
	out := &list{set: true}
	for _, v := range append(slices.Clone(a[0].items), a[1].items...) {
		out.add(v)
	}
	return array(append([]value{}, out.items...))
}

// onIntegers works on two whole numbers of 64 bits.
func onIntegers(f func(a, b int64) (int64, bool)) function {
	return function{2, 2, false, func(a []value) value {
		if !a[0].flag || !a[1].flag || a[0].typ != numberType || a[1].typ != numberType {
			return undefined
		}
		n, ok := f(a[0].integer, a[1].integer)
		if !ok {
			return undefined
		}
		return integerValue(n)
	}}
}

// divide guards a division against what has no result.
func divide(a, b int64, f func() int64) (int64, bool) {
	if b == 0 || a == math.MinInt64 && b == -1 {
		return 0, false
	}
	return f(), true
}

// arrayContainsSome counts how many of the further arguments are elements of the first.
func arrayContainsSome(enough func(found, asked int) bool) func([]value) value {
	return func(a []value) value {
		return ifArray(a[0], func(items []value) value {
			found := 0
			for _, want := range a[1:] {
				found += btoi(want.typ != undefinedType && slices.ContainsFunc(items, func(x value) bool { return equal(x, want) }))
			}
			return boolean(enough(found, len(a)-1))
		})
	}
}

// objectToArray turns members into objects of a name and a value; the two further arguments say how
// these are called.
func objectToArray(a []value) value {
	if a[0].typ != objectType {
		return undefined
	}
	names := []string{"k", "v"}
	for i, n := range a[1:] {
		if n.typ != stringType {
			return undefined
		}
		names[i] = n.str
	}
	out := []value{}
	for _, m := range a[0].members {
		if m.value.typ != undefinedType {
			out = append(out, object([]member{{names[0], text(m.name)}, {names[1], m.value}}))
		}
	}
	return array(out)
}

// choose returns the argument whose number, from 1, the first argument is.
func choose(a []value) value {
	if a[0].typ != numberType || !a[0].flag || a[0].integer < 1 || a[0].integer >= int64(len(a)) {
		return undefined
	}
	return a[a[0].integer]
}

// regexMatch searches a string; the third argument holds the modifiers m, s, i and x. Patterns take
// time linear in the string: what would need more is no pattern here, and makes the result undefined.
func regexMatch(a []value) value {
	if a[0].typ != stringType || a[1].typ != stringType || len(a) == 3 && a[2].typ != stringType {
		return undefined
	}
	pattern := a[1].str
	if len(a) == 3 && a[2].str != "" {
		flags := strings.ReplaceAll(a[2].str, "x", "")
		if strings.Trim(flags, "msi") != "" {
			return undefined
		}
		if strings.Contains(a[2].str, "x") {
			pattern = strings.Join(strings.Fields(pattern), "")
		}
		if flags != "" {
			pattern = "(?" + flags + ")" + pattern
		}
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return undefined
	}
	return boolean(re.MatchString(a[0].str))
}
