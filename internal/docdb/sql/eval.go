package sql

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
)

var (
	notANumber = value{typ: numberType, num: math.NaN()}
	infinity   = value{typ: numberType, num: math.Inf(1)}
)

// Errors of a run.
var (
	// ErrTooMuchWork is returned when a run takes more steps than its options allow.
	ErrTooMuchWork = errors.New("sql: the query takes too many steps")
	// ErrTooMuchMemory is returned when a run would hold more than its options allow.
	ErrTooMuchMemory = errors.New("sql: the query needs too much memory")
	errCardinality   = &SyntaxError{Code: "SC2103", Message: "The cardinality of a scalar subquery result set cannot be greater than one."}
)

// run is one execution of a plan.
type run struct {
	ctx    context.Context
	params map[string]value
	steps  int64
	memory int64
	groups []accumulator // of the group that is being evaluated; nil outside
}

// step counts work; now and then it looks whether anybody still waits.
func (r *run) step() error {
	if r.steps--; r.steps < 0 {
		return ErrTooMuchWork
	}
	if r.steps&1023 == 0 {
		return r.ctx.Err()
	}
	return nil
}

// hold counts memory that a run keeps.
func (r *run) hold(bytes int) error {
	if r.memory -= int64(bytes); r.memory < 0 {
		return ErrTooMuchMemory
	}
	return nil
}

// scope is what names mean: a chain of variables, innermost first.
type scope struct {
	name  string
	value value
	outer *scope
}

func (s *scope) lookup(name string) (value, bool) {
	for ; s != nil; s = s.outer {
		if s.name == name {
			return s.value, true
		}
	}
	return undefined, false
}

// eval computes an expression. The error is one of the run (limits, cancellation), never one of a value.
func (r *run) eval(e *expr, s *scope) (value, error) {
	if err := r.step(); err != nil {
		return undefined, err
	}
	switch e.kind {
	case exLiteral:
		return e.literal, nil
	case exName:
		v, _ := s.lookup(e.op)
		return v, nil
	case exParameter:
		return r.params[e.op], nil
	case exMember:
		return r.member(e, s)
	case exUnary:
		v, err := r.eval(e.left, s)
		return unary(e.op, v), err
	case exBinary:
		return r.binary(e, s)
	case exIn:
		return r.in(e, s)
	case exBetween:
		return r.between(e, s)
	case exLike:
		return r.like(e, s)
	case exConditional:
		return r.conditional(e, s)
	case exCall:
		return r.call(e, s)
	case exArray, exObject:
		return r.construct(e, s)
	case exSubquery, exExists, exArrayOf:
		return r.subquery(e, s)
	}
	return undefined, nil
}

func (r *run) member(e *expr, s *scope) (value, error) {
	base, err := r.eval(e.left, s)
	if err != nil {
		return undefined, err
	}
	key, err := r.eval(e.right, s)
	if err != nil {
		return undefined, err
	}
	switch {
	case base.typ == objectType && key.typ == stringType:
		return base.get(key.str), nil
	case base.typ == arrayType && key.typ == numberType && key.flag && key.integer >= 0 && key.integer < int64(len(base.items)):
		return base.items[key.integer], nil
	}
	return undefined, nil
}

func unary(op string, v value) value {
	switch {
	case op == "NOT" && v.typ == boolType:
		return boolean(!v.flag)
	case v.typ != numberType || op == "NOT":
		return undefined
	case op == "-" && v.flag && v.integer != math.MinInt64:
		return integerValue(-v.integer)
	case op == "-":
		return number(-v.num)
	case op == "~":
		return number(float64(^toInt32(v.num)))
	}
	return v
}

func (r *run) binary(e *expr, s *scope) (value, error) {
	left, err := r.eval(e.left, s)
	if err != nil {
		return undefined, err
	}
	switch {
	case e.op == "AND" && left.typ == boolType && !left.flag, e.op == "OR" && left.isTrue():
		return left, nil
	case e.op == "??" && left.typ != undefinedType:
		return left, nil
	}
	right, err := r.eval(e.right, s)
	if err != nil {
		return undefined, err
	}
	return apply(e.op, left, right), nil
}

// apply is a binary operator on two values.
func apply(op string, a, b value) value {
	switch op {
	case "AND":
		return and(a, b)
	case "OR":
		return or(a, b)
	case "??":
		return b
	case "||":
		if a.typ == stringType && b.typ == stringType {
			return text(a.str + b.str)
		}
		return undefined
	case "=", "!=":
		if a.typ == undefinedType || b.typ == undefinedType {
			return undefined
		}
		return boolean(equal(a, b) == (op == "="))
	case "<", "<=", ">", ">=":
		return ordered(op, a, b)
	}
	if a.typ != numberType || b.typ != numberType {
		return undefined
	}
	return arithmetic(op, a, b)
}

// and and or are three-valued: what is not boolean counts as undefined.
func and(a, b value) value {
	switch {
	case a.typ == boolType && !a.flag, b.typ == boolType && !b.flag:
		return boolean(false)
	case a.isTrue() && b.isTrue():
		return boolean(true)
	}
	return undefined
}

func or(a, b value) value {
	switch {
	case a.isTrue() || b.isTrue():
		return boolean(true)
	case a.typ == boolType && b.typ == boolType:
		return boolean(false)
	}
	return undefined
}

// ordered compares values of one primitive type; all else is undefined.
func ordered(op string, a, b value) value {
	if a.typ != b.typ || a.typ == undefinedType || a.typ >= arrayType {
		return undefined
	}
	if a.typ == numberType && (math.IsNaN(a.num) || math.IsNaN(b.num)) {
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

// arithmetic computes with doubles, but keeps sums and products of integers exact while they fit.
func arithmetic(op string, a, b value) value {
	if a.flag && b.flag {
		if v, ok := exact(op, a.integer, b.integer); ok {
			return v
		}
	}
	switch op {
	case "+":
		return number(a.num + b.num)
	case "-":
		return number(a.num - b.num)
	case "*":
		return number(a.num * b.num)
	case "/":
		return number(a.num / b.num)
	case "%":
		return number(math.Mod(a.num, b.num))
	}
	return bitwise(op, toInt32(a.num), toInt32(b.num))
}

func exact(op string, a, b int64) (value, bool) {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return integerValue(c), true
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return integerValue(c), true
		}
	case "*":
		if a == 0 || b == 0 {
			return integerValue(0), true
		}
		if c := a * b; c/b == a && (a != -1 || b != math.MinInt64) && (b != -1 || a != math.MinInt64) {
			return integerValue(c), true
		}
	}
	return undefined, false
}

// toInt32 converts as ECMAScript does.
func toInt32(f float64) int32 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return int32(uint32(int64(math.Mod(math.Trunc(f), 1<<32))))
}

func bitwise(op string, a, b int32) value {
	shift := uint32(b) & 31
	switch op {
	case "&":
		return number(float64(a & b))
	case "|":
		return number(float64(a | b))
	case "^":
		return number(float64(a ^ b))
	case "<<":
		return number(float64(a << shift))
	case ">>":
		return number(float64(a >> shift))
	default:
		return number(float64(uint32(a) >> shift))
	}
}

func negate(v value, not bool) value {
	if not {
		return unary("NOT", v)
	}
	return v
}

func (r *run) in(e *expr, s *scope) (value, error) {
	v, err := r.eval(e.left, s)
	if err != nil || v.typ == undefinedType {
		return undefined, err
	}
	found := false
	for _, a := range e.args {
		x, err := r.eval(a, s)
		if err != nil {
			return undefined, err
		}
		if found = x.typ != undefinedType && equal(v, x); found {
			break
		}
	}
	return negate(boolean(found), e.not), nil
}

func (r *run) between(e *expr, s *scope) (value, error) {
	vs, err := r.evalAll([]*expr{e.left, e.right, e.third}, s)
	if err != nil {
		return undefined, err
	}
	return negate(and(ordered(">=", vs[0], vs[1]), ordered("<=", vs[0], vs[2])), e.not), nil
}

func (r *run) evalAll(list []*expr, s *scope) ([]value, error) {
	out := make([]value, len(list))
	for i, e := range list {
		var err error
		if out[i], err = r.eval(e, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *run) like(e *expr, s *scope) (value, error) {
	vs, err := r.evalAll([]*expr{e.left, e.right}, s)
	if err != nil {
		return undefined, err
	}
	if vs[0].typ != stringType || vs[1].typ != stringType {
		return undefined, nil
	}
	escape := ""
	if e.third != nil {
		escape = e.third.literal.str
	}
	ok, err := like(vs[0].str, vs[1].str, escape, r)
	return negate(boolean(ok), e.not), err
}

func (r *run) conditional(e *expr, s *scope) (value, error) {
	cond, err := r.eval(e.left, s)
	if err != nil {
		return undefined, err
	}
	if cond.isTrue() {
		return r.eval(e.right, s)
	}
	return r.eval(e.third, s)
}

func (r *run) construct(e *expr, s *scope) (value, error) {
	vs, err := r.evalAll(e.args, s)
	if err != nil || e.kind == exArray {
		return array(vs), err
	}
	var members []member
	for i, name := range e.names {
		if vs[i].typ != undefinedType {
			members = slices.DeleteFunc(members, func(m member) bool { return m.name == name })
			members = append(members, member{name, vs[i]})
		}
	}
	return object(members), nil
}

func (r *run) subquery(e *expr, s *scope) (value, error) {
	var rows []value
	err := r.rows(e.query, s, func(v value) (bool, error) {
		rows = append(rows, v)
		return e.kind != exExists, r.hold(valueSize)
	})
	if err != nil {
		return undefined, err
	}
	switch {
	case e.kind == exExists:
		return boolean(len(rows) > 0), nil
	case e.kind == exArrayOf:
		return array(rows), nil
	case len(rows) > 1:
		return undefined, errCardinality
	case len(rows) == 0:
		return undefined, nil
	}
	return rows[0], nil
}

// like matches a pattern: % any run, _ one character, [set], [^set], and an escape character.
func like(s, pattern, escape string, r *run) (bool, error) {
	return matchRunes([]rune(s), parseLike(pattern, escape), r)
}

// likeItem is one element of a pattern.
type likeItem struct {
	any    bool // %
	set    string
	negate bool
	single bool // _
	char   rune
}

func parseLike(pattern, escape string) (out []likeItem) {
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case escape != "" && string(c) == escape && i+1 < len(runes):
			i++
			out = append(out, likeItem{char: runes[i]})
		case c == '%':
			out = append(out, likeItem{any: true})
		case c == '_':
			out = append(out, likeItem{single: true})
		case c == '[' && closing(runes, i) > 0:
			end := closing(runes, i)
			set := string(runes[i+1 : end])
			negated := strings.HasPrefix(set, "^")
			out = append(out, likeItem{set: strings.TrimPrefix(set, "^"), negate: negated})
			i = end
		default:
			out = append(out, likeItem{char: c})
		}
	}
	return out
}

func closing(runes []rune, open int) int {
	for i := open + 1; i < len(runes); i++ {
		if runes[i] == ']' && i > open+1 {
			return i
		}
	}
	return 0
}

func (l likeItem) matches(c rune) bool {
	switch {
	case l.single:
		return true
	case l.set != "":
		return inSet([]rune(l.set), c) != l.negate
	}
	return c == l.char
}

func inSet(set []rune, c rune) bool {
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			if set[i] <= c && c <= set[i+2] {
				return true
			}
			i += 2
		} else if set[i] == c {
			return true
		}
	}
	return false
}

// matchRunes goes back to the last % only, so it takes time in the product of the lengths at most.
func matchRunes(s []rune, p []likeItem, r *run) (bool, error) {
	i, j, star, mark := 0, 0, -1, 0
	for i < len(s) {
		if err := r.step(); err != nil {
			return false, err
		}
		switch {
		case j < len(p) && p[j].any:
			star, mark = j, i
			j++
		case j < len(p) && p[j].matches(s[i]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false, nil
		}
	}
	for j < len(p) && p[j].any {
		j++
	}
	return j == len(p), nil
}
