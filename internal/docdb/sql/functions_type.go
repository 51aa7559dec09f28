package sql

import (
	"encoding/base64"
	"strings"
)

// typeFunctions tell what a value is; undefined is nothing but not defined.
var typeFunctions = map[string]function{
	"IS_DEFINED":       test(value.defined),
	"IS_NULL":          test(func(v value) bool { return v.typ == nullType }),
	"IS_BOOL":          test(func(v value) bool { return v.typ == boolType }),
	"IS_NUMBER":        test(func(v value) bool { return v.typ == numberType }),
	"IS_STRING":        test(func(v value) bool { return v.typ == stringType }),
	"IS_ARRAY":         test(func(v value) bool { return v.typ == arrayType }),
	"IS_OBJECT":        test(func(v value) bool { return v.typ == objectType }),
	"IS_PRIMITIVE":     test(func(v value) bool { return v.typ >= nullType && v.typ <= stringType }),
	"IS_INTEGER":       test(func(v value) bool { _, whole := v.int64(); return whole }),
	"IS_FINITE_NUMBER": test(func(v value) bool { return v.typ == numberType && finite(v) }),
	"IS_DATETIME": test(func(v value) bool {
		_, ok := parseTime(v.s)
		return v.typ == stringType && ok
	}),
}

// test is a function of one argument that is always true or false.
func test(f func(value) bool) function {
	return function{least: 1, most: 1, lenient: true, f: func(a []value) value { return boolean(f(a[0])) }}
}

// conditionalFunctions choose between their arguments.
var conditionalFunctions = map[string]function{
	"IIF":           {least: 3, most: 3, lenient: true, f: iif},
	"CHOOSE":        {least: 2, most: -1, lenient: true, f: choose},
	"OBJECTTOARRAY": {least: 1, most: 3, f: objectToArray},
	"DOCUMENTID":    {least: 1, most: 1, f: documentID},
}

// iif chooses the second value for whatever is not true.
func iif(a []value) value {
	if a[0].isTrue() {
		return a[1]
	}
	return a[2]
}

// choose returns the argument whose number, from 1, the first argument is.
func choose(a []value) value {
	if n, ok := a[0].int64(); ok && n >= 1 && n < int64(len(a)) {
		return a[n]
	}
	return undefined
}

// objectToArray turns members into objects of a name and a value; the further arguments say what these
// are called.
func objectToArray(a []value) value {
	name, content := optional(a, 1, text("k")), optional(a, 2, text("v"))
	if a[0].typ != objectType || name.typ != stringType || content.typ != stringType {
		return undefined
	}
	names, items := a[0].members()
	out := make([]value, len(names))
	for i, s := range names {
		out[i] = object([]string{name.s, content.s}, []value{text(s), items[i]})
	}
	return array(out)
}

// documentID is the number of a document within its partition. It is what stands in bytes 8 to 14 of
// the resource id; the last byte tells the kind of the resource.
func documentID(a []value) value {
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(a[0].get("_rid").s, "-", "/"))
	if err != nil || len(raw) != 16 {
		return undefined
	}
	n := int64(0)
	for _, b := range raw[8:15] {
		n = n<<8 | int64(b)
	}
	return integer(n)
}
