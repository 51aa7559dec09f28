package sql

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// equal is deep equality of two values; the order of members does not matter.
func equal(a, b value) bool {
	if a.typ != b.typ {
		return false
	}
	switch a.typ {
	case boolType:
		return a.bits == b.bits
	case numberType:
		return compareNumbers(a, b) == 0 && !math.IsNaN(a.float())
	case stringType:
		return a.s == b.s
	case arrayType:
		return slices.EqualFunc(a.items(), b.items(), equal)
	case objectType:
		return equalObjects(a, b)
	}
	return true
}

// equalObjects looks members up at the place where they stand in the other object, and by a map when
// the orders differ.
func equalObjects(a, b value) bool {
	names, items := a.members()
	others, values := b.members()
	if len(names) != len(others) {
		return false
	}
	var at map[string]int
	for i, s := range names {
		j := i
		if others[i] != s {
			if at == nil {
				at = positions(others)
			}
			var ok bool
			if j, ok = at[s]; !ok {
				return false
			}
		}
		if !equal(items[i], values[j]) {
			return false
		}
	}
	return true
}

// positions is where each name stands; of two equal ones it is the later one.
func positions(names []string) map[string]int {
	at := make(map[string]int, len(names))
	for i, s := range names {
		at[s] = i
	}
	return at
}

// compareNumbers orders numbers by what they are, not by how they are held: an integer that no double
// can hold equals none. NaN is less than all others.
func compareNumbers(a, b value) int {
	n, whole := a.int64()
	m, also := b.int64()
	if whole && also {
		return cmp.Compare(n, m)
	}
	return cmp.Compare(a.float(), b.float())
}

// compare orders any two values by type, then by value: arrays by their elements, objects in an
// arbitrary order that does not change.
func compare(a, b value) int {
	if a.typ != b.typ {
		return cmp.Compare(a.typ, b.typ)
	}
	switch a.typ {
	case boolType:
		return cmp.Compare(a.bits, b.bits)
	case numberType:
		return compareNumbers(a, b)
	case stringType:
		return cmp.Compare(a.s, b.s)
	case arrayType:
		return slices.CompareFunc(a.items(), b.items(), compare)
	case objectType:
		return cmp.Compare(key(a), key(b))
	}
	return 0
}

// key is a string that two values share exactly when they are equal.
func key(v value) string { return string(appendKey(nil, v)) }

// appendKey writes a key. Numbers are written by what they are, so 1 and 1.0 share one.
func appendKey(b []byte, v value) []byte {
	switch v.typ {
	case undefinedType:
		return append(b, 'u')
	case nullType:
		return append(b, 'n')
	case boolType:
		return append(b, 'f'+byte(v.bits))
	case numberType:
		if n, ok := v.int64(); ok {
			return append(strconv.AppendInt(append(b, '#'), n, 36), ';')
		}
		return append(strconv.AppendUint(append(b, '.'), v.bits, 36), ';')
	case stringType:
		return appendText(append(b, '"'), v.s)
	case arrayType:
		b = append(b, '[')
		for _, x := range v.items() {
			b = appendKey(b, x)
		}
		return append(b, ']')
	}
	return appendObjectKey(b, v)
}

// appendText writes a string with its length before it, so that nothing in it needs an escape.
func appendText(b []byte, s string) []byte {
	return append(append(strconv.AppendInt(b, int64(len(s)), 36), ':'), s...)
}

// appendObjectKey writes the members in the order of their names.
func appendObjectKey(b []byte, v value) []byte {
	names, items := v.members()
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(names[i], names[j]) })
	b = append(b, '{')
	for _, i := range order {
		b = appendKey(appendText(b, names[i]), items[i])
	}
	return append(b, '}')
}

// ordered is the comparison operators: they compare values of one primitive type, all else is
// undefined.
func ordered(op string, a, b value) value {
	if a.typ != b.typ || !a.defined() || a.typ >= arrayType {
		return undefined
	}
	if a.typ == numberType && (math.IsNaN(a.float()) || math.IsNaN(b.float())) {
		return boolean(false)
	}
	c := compare(a, b)
	switch op {
	case "<":
		return boolean(c < 0)
	case "<=":
		return boolean(c <= 0)
	case ">":
		return boolean(c > 0)
	default:
		return boolean(c >= 0)
	}
}
