package sql

import (
	"math"
	"slices"
)

// arrayFunctions work on arrays. Sets are arrays in which each value stands once.
var arrayFunctions = map[string]function{
	"ARRAY_LENGTH":       {least: 1, most: 1, f: ofTypes(func(a []value) value { return integer(int64(len(a[0].items()))) }, arrayType)},
	"ARRAY_CONCAT":       {least: 2, most: -1, f: ofTypes(arrayConcat, arrayType)},
	"ARRAY_SLICE":        {least: 2, most: 3, f: arraySlice},
	"ARRAY_CONTAINS":     {least: 2, most: 3, lenient: true, f: arrayContains},
	"ARRAY_CONTAINS_ALL": arrayContainsEach(and),
	"ARRAY_CONTAINS_ANY": arrayContainsEach(or),
	"ARRAY_SUM":          ofNumbers(func(n []value) value { return total(n) }),
	"ARRAY_AVG":          ofNumbers(arrayAverage),
	"ARRAY_MEDIAN":       ofNumbers(median),
	"ARRAY_MIN":          {least: 1, most: 1, f: ofTypes(arrayExtreme(-1), arrayType)},
	"ARRAY_MAX":          {least: 1, most: 1, f: ofTypes(arrayExtreme(1), arrayType)},
	"SETUNION":           {least: 2, most: 2, f: ofTypes(setUnion, arrayType)},
	"SETINTERSECT":       {least: 2, most: 2, f: ofTypes(setIntersect, arrayType)},
	"SETDIFFERENCE":      {least: 2, most: 2, f: ofTypes(setDifference, arrayType)},
	"SETEQUAL":           {least: 2, most: 2, f: ofTypes(setEqual, arrayType)},
}

// arrayConcat joins arrays; their elements are shared.
func arrayConcat(a []value) value {
	items := []value{}
	for _, v := range a {
		items = append(items, v.items()...)
	}
	return array(items)
}

// arraySlice cuts elements out; a negative start counts from the end, and what is not there is not
// there.
func arraySlice(a []value) value {
	start, ok := a[1].int64()
	length, also := optional(a, 2, integer(math.MaxInt64)).int64()
	if a[0].typ != arrayType || !ok || !also {
		return undefined
	}
	items := a[0].items()
	n := int64(len(items))
	if start < 0 {
		start = max(n+start, 0)
	}
	start = min(start, n)
	return array(slices.Clone(items[start : start+min(max(length, 0), n-start)]))
}

// arrayContains looks for an element that equals the value, or, with a third argument that is true, for
// an object that has all the members of the given one.
func arrayContains(a []value) value {
	if a[0].typ != arrayType || !a[1].defined() {
		return undefined
	}
	partly := len(a) == 3 && a[2].isTrue()
	return boolean(slices.ContainsFunc(a[0].items(), func(x value) bool {
		return equal(x, a[1]) || partly && includes(x, a[1])
	}))
}

// includes reports whether an object has every member of another one; objects inside are compared in
// the same way.
func includes(x, want value) bool {
	names, items := want.members()
	if x.typ != objectType || want.typ != objectType || len(names) > x.width() {
		return false
	}
	others, values := x.members()
	at := positions(others)
	for i, s := range names {
		j, ok := at[s]
		if !ok || !equal(values[j], items[i]) && !includes(values[j], items[i]) {
			return false
		}
	}
	return true
}

// arrayContainsEach combines the tests for several elements by a three-valued operator.
func arrayContainsEach(combine func(a, b value) value) function {
	return function{least: 2, most: -1, lenient: true, f: func(a []value) value {
		if a[0].typ != arrayType {
			return undefined
		}
		items := a[0].items()
		seen := keys(items)
		var result value
		for i, want := range a[1:] {
			found := undefined
			if want.defined() {
				found = boolean(seen[key(want)])
			}
			if i == 0 {
				result = found
			} else {
				result = combine(result, found)
			}
		}
		return result
	}}
}

// keys is the set of what stands in an array.
func keys(items []value) map[string]bool {
	set := make(map[string]bool, len(items))
	for _, v := range items {
		set[key(v)] = true
	}
	return set
}

// ofNumbers makes a function of one array that is undefined when something in it is no number.
func ofNumbers(f func(n []value) value) function {
	return function{least: 1, most: 1, f: ofTypes(func(a []value) value {
		items := a[0].items()
		if slices.ContainsFunc(items, func(v value) bool { return v.typ != numberType }) {
			return undefined
		}
		return f(items)
	}, arrayType)}
}

// total adds numbers, exactly while they are integers.
func total(n []value) value {
	sum := integer(0)
	for _, v := range n {
		sum = arithmetic["+"](sum, v)
	}
	return sum
}

// arrayAverage is undefined for no numbers.
func arrayAverage(n []value) value {
	if len(n) == 0 {
		return undefined
	}
	return number(total(n).float() / float64(len(n)))
}

// median is the middle of the numbers in their order, or the mean of the two in the middle.
func median(n []value) value {
	if len(n) == 0 {
		return undefined
	}
	n = slices.SortedFunc(slices.Values(n), compareNumbers)
	middle := n[len(n)/2]
	if len(n)%2 == 1 {
		return middle
	}
	return number((n[len(n)/2-1].float() + middle.float()) / 2)
}

// arrayExtreme is the least or the greatest element, by the order of types.
func arrayExtreme(sign int) func(a []value) value {
	return func(a []value) value {
		x := &extreme{sign: sign}
		for _, v := range a[0].items() {
			x.add(v)
		}
		return x.result()
	}
}

// once keeps the elements that are allowed, each once, in the order in which they come.
func once(items []value, allowed func(key string) bool) value {
	out := []value{}
	seen := map[string]bool{}
	for _, v := range items {
		if k := key(v); !seen[k] && allowed(k) {
			seen[k] = true
			out = append(out, v)
		}
	}
	return array(out)
}

// setUnion keeps the order in which values come first.
func setUnion(a []value) value {
	return once(slices.Concat(a[0].items(), a[1].items()), func(string) bool { return true })
}

// setIntersect has the order of the second array, as the service's documented samples do.
func setIntersect(a []value) value {
	first := keys(a[0].items())
	return once(a[1].items(), func(k string) bool { return first[k] })
}

// setDifference is what only the first array has.
func setDifference(a []value) value {
	second := keys(a[1].items())
	return once(a[0].items(), func(k string) bool { return !second[k] })
}

// setEqual ignores order and repetition.
func setEqual(a []value) value {
	first, second := keys(a[0].items()), keys(a[1].items())
	for k := range first {
		if !second[k] {
			return boolean(false)
		}
	}
	return boolean(len(first) == len(second))
}
