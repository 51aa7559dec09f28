package sql

import "math"

// and and or are three-valued: what is not boolean counts as undefined.
func and(a, b value) value {
	switch {
	case a.isFalse() || b.isFalse():
		return boolean(false)
	case a.isTrue() && b.isTrue():
		return boolean(true)
	}
	return undefined
}

// or is true as soon as one operand is.
func or(a, b value) value {
	switch {
	case a.isTrue() || b.isTrue():
		return boolean(true)
	case a.isFalse() && b.isFalse():
		return boolean(false)
	}
	return undefined
}

// not is undefined for what is not boolean.
func not(v value) value {
	if v.typ != boolType {
		return undefined
	}
	return boolean(!v.isTrue())
}

// negate is unary minus. The negative of the least integer is a double.
func negate(v value) value {
	switch {
	case v.typ != numberType:
		return undefined
	case v.exact && int64(v.bits) != math.MinInt64:
		return integer(-int64(v.bits))
	}
	return number(-v.float())
}

// unaryOperator is the function of a prefix operator.
func unaryOperator(op string) func(value) value {
	switch op {
	case "NOT":
		return not
	case "-":
		return negate
	case "~":
		return onNumber(func(f float64) float64 { return float64(^toInt32(f)) })
	}
	return func(v value) value {
		if v.typ != numberType {
			return undefined
		}
		return v
	}
}

// onNumber makes a function of numbers one of values: undefined for what is no number.
func onNumber(f func(float64) float64) func(value) value {
	return func(v value) value {
		if v.typ != numberType {
			return undefined
		}
		return number(f(v.float()))
	}
}

// binaryOperator is the function of an operator whose operands are both evaluated.
func binaryOperator(op string) func(a, b value) value {
	switch op {
	case "=":
		return equality
	case "!=":
		return func(a, b value) value { return not(equality(a, b)) }
	case "<", "<=", ">", ">=":
		return func(a, b value) value { return ordered(op, a, b) }
	}
	compute := arithmetic[op]
	return func(a, b value) value {
		if a.typ != numberType || b.typ != numberType {
			return undefined
		}
		return compute(a, b)
	}
}

// equality is false for values of different types, and undefined when one is undefined.
func equality(a, b value) value {
	if !a.defined() || !b.defined() {
		return undefined
	}
	return boolean(equal(a, b))
}

// arithmetic are the operators of numbers. Sums, differences and products of integers stay exact
// while they fit into 64 bits, as the service's recorded answers show for sums.
var arithmetic = map[string]func(a, b value) value{
	"+": func(a, b value) value {
		if s, ok := addInt64(a, b); ok {
			return integer(s)
		}
		return number(a.float() + b.float())
	},
	"-": func(a, b value) value {
		if s, ok := addInt64(a, negate(b)); ok {
			return integer(s)
		}
		return number(a.float() - b.float())
	},
	"*": func(a, b value) value {
		if p, ok := mulInt64(a, b); ok {
			return integer(p)
		}
		return number(a.float() * b.float())
	},
	"/":   func(a, b value) value { return number(a.float() / b.float()) },
	"%":   func(a, b value) value { return number(math.Mod(a.float(), b.float())) },
	"&":   onInt32(func(a int32, b int32) float64 { return float64(a & b) }),
	"|":   onInt32(func(a int32, b int32) float64 { return float64(a | b) }),
	"^":   onInt32(func(a int32, b int32) float64 { return float64(a ^ b) }),
	"<<":  onInt32(func(a int32, b int32) float64 { return float64(a << (uint32(b) & 31)) }),
	">>":  onInt32(func(a int32, b int32) float64 { return float64(a >> (uint32(b) & 31)) }),
	">>>": onInt32(func(a int32, b int32) float64 { return float64(uint32(a) >> (uint32(b) & 31)) }),
}

// addInt64 adds two exact integers; ok is false when they are none or the sum does not fit.
func addInt64(a, b value) (sum int64, ok bool) {
	n, m := int64(a.bits), int64(b.bits)
	sum = n + m
	return sum, a.exact && b.exact && (sum > n) == (m > 0)
}

// mulInt64 multiplies two exact integers; ok is false when they are none or the product does not fit.
func mulInt64(a, b value) (product int64, ok bool) {
	if !a.exact || !b.exact {
		return 0, false
	}
	n, m := int64(a.bits), int64(b.bits)
	if n == 0 || m == 0 {
		return 0, true
	}
	product = n * m
	return product, product/m == n && !(n == -1 && m == math.MinInt64) && !(m == -1 && n == math.MinInt64)
}

// onInt32 is an operator on 32-bit integers, which numbers are converted to as ECMAScript does.
func onInt32(f func(a, b int32) float64) func(a, b value) value {
	return func(a, b value) value { return number(f(toInt32(a.float()), toInt32(b.float()))) }
}

// toInt32 drops the fraction and takes the low 32 bits; what is not finite is 0.
func toInt32(f float64) int32 {
	if f-f != 0 {
		return 0
	}
	return int32(uint32(int64(math.Mod(math.Trunc(f), 1<<32))))
}
