package sql

import (
	"crypto/rand"
	"math"
)

// mathFunctions compute with doubles, those that begin with INT with integers of 64 bits.
var mathFunctions = map[string]function{
	"ABS":     ofNumber(absolute),
	"SIGN":    ofNumber(func(v value) value { return integer(int64(compareNumbers(v, integer(0)))) }),
	"CEILING": onDouble(math.Ceil),
	"FLOOR":   onDouble(math.Floor),
	"TRUNC":   onDouble(math.Trunc),
	"ROUND":   onDouble(math.Round), // halves away from zero
	"SQRT":    onDouble(math.Sqrt),
	"SQUARE":  ofNumber(func(v value) value { return arithmetic["*"](v, v) }),
	"EXP":     onDouble(math.Exp),
	"LOG":     {least: 1, most: 2, f: ofTypes(logarithm, numberType)},
	"LOG10":   onDouble(math.Log10),
	"SIN":     onDouble(math.Sin),
	"COS":     onDouble(math.Cos),
	"TAN":     onDouble(tangent),
	"COT":     onDouble(func(f float64) float64 { return 1 / tangent(f) }),
	"ASIN":    onDouble(math.Asin),
	"ACOS":    onDouble(math.Acos),
	"ATAN":    onDouble(math.Atan),
	"DEGREES": onDouble(func(f float64) float64 { return f * 180 / math.Pi }),
	"RADIANS": onDouble(func(f float64) float64 { return f * math.Pi / 180 }),
	"ATN2":    onDoubles(math.Atan2),
	"POWER":   onDoubles(math.Pow),
	"PI":      {f: func([]value) value { return number(math.Pi) }},
	"RAND":    {f: func([]value) value { return number(random()) }},

	"NUMBERBIN": {least: 1, most: 2, f: ofTypes(numberBin, numberType)},

	"INTADD": onIntegers(func(a, b int64) (int64, bool) { return a + b, true }),
	"INTSUB": onIntegers(func(a, b int64) (int64, bool) { return a - b, true }),
	"INTMUL": onIntegers(func(a, b int64) (int64, bool) { return a * b, true }),
	"INTDIV": onIntegers(func(a, b int64) (int64, bool) { return safely(a, b, func() int64 { return a / b }) }),
	"INTMOD": onIntegers(func(a, b int64) (int64, bool) { return safely(a, b, func() int64 { return a % b }) }),

	"INTBITAND":            bitAnd,
	"INTBITOR":             bitOr,
	"INTBITXOR":            bitXor,
	"INTBITNOT":            bitNot,
	"INTBITLEFTSHIFT":      shiftLeft,
	"INTBITRIGHTSHIFT":     shiftRight,
	"INTBITWISEAND":        bitAnd, // the clients write the longer names
	"INTBITWISEOR":         bitOr,
	"INTBITWISEXOR":        bitXor,
	"INTBITWISENOT":        bitNot,
	"INTBITWISELEFTSHIFT":  shiftLeft,
	"INTBITWISERIGHTSHIFT": shiftRight,
}

// The bit operations work on all 64 bits; shifts count modulo 64.
var (
	bitAnd     = onIntegers(func(a, b int64) (int64, bool) { return a & b, true })
	bitOr      = onIntegers(func(a, b int64) (int64, bool) { return a | b, true })
	bitXor     = onIntegers(func(a, b int64) (int64, bool) { return a ^ b, true })
	shiftLeft  = onIntegers(func(a, b int64) (int64, bool) { return a << (uint64(b) & 63), true })
	shiftRight = onIntegers(func(a, b int64) (int64, bool) { return a >> (uint64(b) & 63), true })
	bitNot     = function{least: 1, most: 1, f: func(a []value) value {
		n, ok := a[0].int64()
		if !ok {
			return undefined
		}
		return integer(^n)
	}}
)

// ofNumber is a function of one number, undefined for anything else.
func ofNumber(f func(value) value) function {
	return function{least: 1, most: 1, f: ofTypes(func(a []value) value { return f(a[0]) }, numberType)}
}

// onDouble is a function of one double.
func onDouble(f func(float64) float64) function {
	return ofNumber(func(v value) value { return number(f(v.float())) })
}

// onDoubles is a function of two doubles.
func onDoubles(f func(a, b float64) float64) function {
	return function{least: 2, most: 2, f: ofTypes(func(a []value) value { return number(f(a[0].float(), a[1].float())) }, numberType)}
}

// onIntegers is undefined unless both arguments are integers of 64 bits. Overflow wraps around.
func onIntegers(f func(a, b int64) (int64, bool)) function {
	return function{least: 2, most: 2, f: func(a []value) value {
		n, ok := a[0].int64()
		m, also := a[1].int64()
		if !ok || !also {
			return undefined
		}
		result, ok := f(n, m)
		if !ok {
			return undefined
		}
		return integer(result)
	}}
}

// safely guards a division against what has no result.
func safely(a, b int64, f func() int64) (int64, bool) {
	if b == 0 || a == math.MinInt64 && b == -1 {
		return 0, false
	}
	return f(), true
}

// random is a number from 0 up to 1.
func random() float64 {
	var b [7]byte
	_, _ = rand.Read(b[:]) // never fails
	n := uint64(0)
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return float64(n>>3) / (1 << 53)
}

// absolute keeps integers exact.
func absolute(v value) value {
	if v.float() < 0 {
		return negate(v)
	}
	return v
}

// logarithm is natural, or to the base that the second argument gives.
func logarithm(a []value) value {
	x := math.Log(a[0].float())
	if len(a) == 2 {
		x /= math.Log(a[1].float())
	}
	return number(x)
}

// numberBin is the greatest multiple of the size that is not greater than the number. A negative size
// has its multiples counted the other way.
func numberBin(a []value) value {
	size := optional(a, 1, integer(1)).float()
	if size == 0 {
		return undefined
	}
	bins := math.Floor(a[0].float() / size)
	if scale := 1 / math.Abs(size); scale == math.Trunc(scale) && scale > 1 {
		return number(bins / math.Copysign(scale, size))
	}
	return number(bins * size)
}

// Half of pi as the sum of three doubles.
const (
	halfPi1 = 1.5707963267948966
	halfPi2 = 6.123233995736766e-17
	halfPi3 = -1.4973849048591833e-33
)

// tangent takes multiples of half of pi off with more digits than a double has, so that the result is right
// near the poles too.
func tangent(x float64) float64 {
	k := math.RoundToEven(x / halfPi1)
	if math.Abs(k) > 1<<20 {
		return math.Tan(x)
	}
	high := math.FMA(-k, halfPi1, x)
	low := math.FMA(-k, halfPi2, -k*halfPi3)
	r := high + low
	low -= r - high
	t := math.Tan(r)
	t += low * (1 + t*t)
	if math.Mod(k, 2) != 0 {
		return -1 / t
	}
	return t
}
