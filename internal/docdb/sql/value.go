package sql

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// typ is the type of a value; the order of the constants is the order of types in ORDER BY.
type typ uint8

const (
	undefinedType typ = iota
	nullType
	boolType
	numberType
	stringType
	arrayType
	objectType
)

// value is a value of the language. The zero value is undefined.
type value struct {
	typ     typ
	flag    bool    // of a boolean; of a number: integer is exact
	num     float64 // of a number
	integer int64   // of a number with flag set
	str     string
	items   []value
	members []member
	raw     []byte // the text that the value was read from, when it was read whole
}

// member is a property of an object.
type member struct {
	name  string
	value value
}

var (
	undefined = value{}
	null      = value{typ: nullType}
)

func boolean(b bool) value      { return value{typ: boolType, flag: b} }
func text(s string) value       { return value{typ: stringType, str: s} }
func array(items []value) value { return value{typ: arrayType, items: items} }
func object(m []member) value   { return value{typ: objectType, members: m} }
func integerValue(n int64) value {
	return value{typ: numberType, num: float64(n), integer: n, flag: true}
}

// number is a double; one that is a whole number in the exact range is an integer too.
func number(f float64) value {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return integerValue(int64(f))
	}
	return value{typ: numberType, num: f}
}

// parseNumber reads the text of a JSON number or of a literal. Integers within 64 bits are exact.
func parseNumber(s string) (value, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return integerValue(n), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return undefined, err
	}
	return number(f), nil
}

func (v value) isTrue() bool { return v.typ == boolType && v.flag }

// get returns a property of an object.
func (v value) get(name string) value {
	for _, m := range v.members {
		if m.name == name {
			return m.value
		}
	}
	return undefined
}

// maxDepth bounds the nesting of a document.
const maxDepth = 256

var errDepth = errors.New("sql: a document is nested too deeply")

// decode reads a JSON text.
func decode(raw []byte) (value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true))
	v, err := decodeValue(d, 0)
	v.raw = raw
	return v, err
}

func decodeValue(d *jsontext.Decoder, depth int) (value, error) {
	if depth > maxDepth {
		return undefined, errDepth
	}
	t, err := d.ReadToken()
	if err != nil {
		return undefined, err
	}
	switch t.Kind() {
	case 'n':
		return null, nil
	case 't', 'f':
		return boolean(t.Bool()), nil
	case '"':
		return text(t.String()), nil
	case '0':
		return parseNumber(t.String())
	case '[':
		return decodeArray(d, depth)
	default:
		return decodeObject(d, depth)
	}
}

func decodeArray(d *jsontext.Decoder, depth int) (value, error) {
	items := []value{}
	for d.PeekKind() != ']' {
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return undefined, err
		}
		items = append(items, v)
	}
	_, err := d.ReadToken()
	return array(items), err
}

func decodeObject(d *jsontext.Decoder, depth int) (value, error) {
	members := []member{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return undefined, err
		}
		key := name.String()
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return undefined, err
		}
		members = append(members, member{key, v})
	}
	_, err := d.ReadToken()
	return object(members), err
}

// encode appends the JSON text of v. What was read whole is written as it was read.
func (v value) encode(b []byte) []byte {
	if v.raw != nil {
		return append(b, v.raw...)
	}
	switch v.typ {
	case boolType:
		return strconv.AppendBool(b, v.flag)
	case numberType:
		return append(b, v.numberText()...)
	case stringType:
		out, err := jsontext.AppendQuote(b, v.str)
		if err != nil { // not UTF-8: only out of a literal
			out, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(v.str, "\ufffd"))
		}
		return out
	case arrayType:
		b = append(b, '[')
		for i, x := range v.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = x.encode(b)
		}
		return append(b, ']')
	case objectType:
		return v.encodeObject(b)
	default: // undefined stands for null inside of a projected array, as the service does
		return append(b, "null"...)
	}
}

func (v value) encodeObject(b []byte) []byte {
	b = append(b, '{')
	first := true
	for _, m := range v.members {
		if m.value.typ == undefinedType {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(text(m.name).encode(b), ':')
		b = m.value.encode(b)
	}
	return append(b, '}')
}

// numberText prints integers exactly and doubles with 15 digits where that reads back as the same
// double, else with 17.
func (v value) numberText() string {
	if v.flag {
		return strconv.FormatInt(v.integer, 10)
	}
	s := strconv.FormatFloat(v.num, 'g', 15, 64)
	if back, err := strconv.ParseFloat(s, 64); err != nil || back != v.num {
		s = strconv.FormatFloat(v.num, 'g', 17, 64)
	}
	return s
}

// equal is deep equality of defined values; the order of members does not matter.
func equal(a, b value) bool {
	if a.typ != b.typ {
		return false
	}
	switch a.typ {
	case boolType:
		return a.flag == b.flag
	case numberType:
		return compareNumbers(a, b) == 0
	case stringType:
		return a.str == b.str
	case arrayType:
		return equalArrays(a.items, b.items)
	case objectType:
		return equalObjects(a, b)
	}
	return true
}

func equalArrays(a, b []value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func equalObjects(a, b value) bool {
	n := 0
	for _, m := range a.members {
		if m.value.typ == undefinedType {
			continue
		}
		n++
		if !equal(m.value, b.get(m.name)) {
			return false
		}
	}
	for _, m := range b.members {
		if m.value.typ != undefinedType {
			n--
		}
	}
	return n == 0
}

func compareNumbers(a, b value) int {
	if a.flag && b.flag {
		return cmp.Compare(a.integer, b.integer)
	}
	return cmp.Compare(a.num, b.num)
}

// compare orders any two values by type, then by value. Arrays and objects have an arbitrary but
// fixed order.
func compare(a, b value) int {
	if a.typ != b.typ {
		return cmp.Compare(a.typ, b.typ)
	}
	switch a.typ {
	case boolType:
		return cmp.Compare(btoi(a.flag), btoi(b.flag))
	case numberType:
		return compareNumbers(a, b)
	case stringType:
		return cmp.Compare(a.str, b.str)
	case arrayType, objectType:
		return bytes.Compare(canonical(a, nil), canonical(b, nil))
	}
	return 0
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
