package sql

import (
	"math"
	"strconv"
)

// valueType is the type of a value; the order of the constants is the order of types.
type valueType uint8

// The types. Undefined is the zero value.
const (
	undefinedType valueType = iota
	nullType
	boolType
	numberType
	stringType
	arrayType
	objectType
)

// value is a value of the language. The zero value is undefined. Values are not changed once made.
type value struct {
	typ   valueType
	exact bool       // of a number: bits are an int64, else a float64
	bits  uint64     // of a number; of a boolean 0 or 1
	s     string     // of a string
	c     *composite // of an array or object
}

// composite is the content of an array or object. What came from a text is read when it is asked for,
// one level at a time.
type composite struct {
	names  []string // of an object's members
	items  []value
	size   int     // what it takes in memory at most, as if nothing in it were shared
	text   string  // the JSON that has not been read, or that is to be written as it is
	origin *origin // of an unread text; nil when items are there
	whole  bool    // a document: written as its text
}

// valueSize is what a value takes in memory beside its text and its elements.
const valueSize = 48

// maxValueSize bounds what one value takes in memory: several times what the largest document does.
const maxValueSize = 64 << 20

// Values that are needed often.
var (
	undefined  = value{}
	null       = value{typ: nullType}
	notANumber = value{typ: numberType, bits: math.Float64bits(math.NaN())}
	infinity   = value{typ: numberType, bits: math.Float64bits(math.Inf(1))}
)

// boolean makes a boolean.
func boolean(b bool) value {
	if b {
		return value{typ: boolType, bits: 1}
	}
	return value{typ: boolType}
}

// text makes a string. It does not copy: a part of a document keeps all of it in memory.
func text(s string) value { return value{typ: stringType, s: s} }

// integer makes a number that is exact in all 64 bits.
func integer(n int64) value { return value{typ: numberType, exact: true, bits: uint64(n)} }

// number is a double; a whole one in the range where doubles are exact is an integer. There is no
// negative zero.
func number(f float64) value {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return integer(int64(f))
	}
	return value{typ: numberType, bits: math.Float64bits(f)}
}

// array makes an array. It keeps the slice.
func array(items []value) value {
	return value{typ: arrayType, c: &composite{items: items, size: sizeOf(items)}}
}

// object makes an object without the members that are undefined; of two with one name the later one
// stays. It keeps the slices.
func object(names []string, items []value) value {
	n := 0
	for i, v := range items {
		if v.typ != undefinedType {
			names[n], items[n] = names[i], v
			n++
		}
	}
	names, items = lastOfEach(names[:n], items[:n])
	size := sizeOf(items)
	for _, s := range names {
		size += len(s) + valueSize/2
	}
	return value{typ: objectType, c: &composite{names: names, items: items, size: size}}
}

// lastOfEach drops members whose name comes again.
func lastOfEach(names []string, items []value) ([]string, []value) {
	if len(names) < 2 {
		return names, items
	}
	at := make(map[string]int, len(names))
	for i, s := range names {
		at[s] = i
	}
	if len(at) == len(names) {
		return names, items
	}
	n := 0
	for i, s := range names {
		if at[s] == i {
			names[n], items[n] = s, items[i]
			n++
		}
	}
	return names[:n], items[:n]
}

// sizeOf is the size of an array or object with these elements.
func sizeOf(items []value) int {
	size := valueSize
	for _, v := range items {
		size += v.size()
	}
	return size
}

// size is what the value takes in memory at most, as if nothing in it were shared.
func (v value) size() int {
	n := valueSize + len(v.s)
	if v.c != nil {
		n += v.c.size
	}
	return n
}

// defined reports whether there is a value.
func (v value) defined() bool { return v.typ != undefinedType }

// isTrue reports whether the value is exactly true.
func (v value) isTrue() bool { return v.typ == boolType && v.bits == 1 }

// isFalse reports whether the value is exactly false.
func (v value) isFalse() bool { return v.typ == boolType && v.bits == 0 }

// float is a number as a double.
func (v value) float() float64 {
	if v.exact {
		return float64(int64(v.bits))
	}
	return math.Float64frombits(v.bits)
}

// int64 is a number as an integer of 64 bits, when it is one.
func (v value) int64() (int64, bool) {
	if v.typ != numberType {
		return 0, false
	}
	if v.exact {
		return int64(v.bits), true
	}
	f := v.float()
	return int64(f), f == math.Trunc(f) && f >= -1<<63 && f < 1<<63
}

// items are the elements of an array.
func (v value) items() []value {
	if v.typ != arrayType {
		return nil
	}
	return v.c.read().items
}

// members are the names and values of an object, in their order.
func (v value) members() ([]string, []value) {
	if v.typ != objectType {
		return nil, nil
	}
	c := v.c.read()
	return c.names, c.items
}

// width is the number of elements of an array or object.
func (v value) width() int {
	if v.c == nil {
		return 0
	}
	return len(v.c.read().items)
}

// get returns a property of an object.
func (v value) get(name string) value {
	names, items := v.members()
	for i, s := range names {
		if s == name {
			return items[i]
		}
	}
	return undefined
}

// index returns what v[key] is.
func (v value) index(key value) value {
	switch {
	case v.typ == objectType && key.typ == stringType:
		return v.get(key.s)
	case v.typ == arrayType && key.typ == numberType:
		items := v.items()
		if n, ok := key.int64(); ok && n >= 0 && n < int64(len(items)) {
			return items[n]
		}
	}
	return undefined
}

// parseNumber reads a number of JSON or of the language, in decimal notation. Integers of 64 bits are
// exact; what is too large for a double is infinite.
func parseNumber(s string) (value, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return integer(n), true
	}
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && c != '-' && c != '+' && c != '.' && c|0x20 != 'e' {
			return undefined, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return number(f), err == nil || err.(*strconv.NumError).Err == strconv.ErrRange
}

// appendNumber writes integers exactly, and doubles with 15 digits where that reads back as the same
// double, else with 17: the service's form in results.
func appendNumber(b []byte, v value) []byte {
	if v.exact {
		return strconv.AppendInt(b, int64(v.bits), 10)
	}
	n := len(b)
	b = strconv.AppendFloat(b, v.float(), 'g', 15, 64)
	if back, err := strconv.ParseFloat(string(b[n:]), 64); err != nil || back != v.float() {
		b = strconv.AppendFloat(b[:n], v.float(), 'g', 17, 64)
	}
	return b
}
