package sql

import (
	"encoding/json"
	"slices"
	"strings"
)

// callCondition is what a function that is a condition asks.
func (c *compiler) callCondition(e *call, scope paths) condition {
	upper := strings.ToUpper(e.name)
	if f, ok := functions[upper]; !ok || len(e.args) < f.least || len(e.args) == 0 {
		return nil
	}
	p, isPath := scope.of(e.args[0])
	isPath = isPath && len(p) > 0
	switch upper {
	case "ST_WITHIN", "ST_INTERSECTS":
		return c.near(e, &literal{value: integer(0)}, scope)
	case "ARRAY_CONTAINS":
		return c.arrayContains(e, p, isPath, scope)
	case "ARRAY_CONTAINS_ANY":
		if isPath {
			return c.equals(element(p), e.args[1:])
		}
	case "ARRAY_CONTAINS_ALL":
		if isPath {
			return c.allOf(element(p), e.args[1:])
		}
	}
	if !isPath {
		return nil
	}
	return c.stringCondition(upper, e, p)
}

// stringCondition is what functions of a string and tests of a type ask.
func (c *compiler) stringCondition(upper string, e *call, p Path) condition {
	exact := len(e.args) == 2 || len(e.args) == 3 && isFalse(e.args[2])
	switch upper {
	case "STARTSWITH":
		if exact {
			return c.startsWith(p, e.args[1])
		}
	case "STRINGEQUALS":
		if exact {
			return c.equals(p, e.args[1:2])
		}
	case "IS_DEFINED":
		return fixed(&Condition{Test: Defined, Path: p})
	case "IS_NULL":
		return fixed(&Condition{Test: HasType, Path: p, Values: []json.RawMessage{json.RawMessage("null")}})
	case "IS_BOOL":
		return fixed(&Condition{Test: HasType, Path: p, Values: []json.RawMessage{json.RawMessage("true")}})
	case "IS_NUMBER", "IS_INTEGER", "IS_FINITE_NUMBER":
		return fixed(&Condition{Test: HasType, Path: p, Values: []json.RawMessage{json.RawMessage("0")}})
	case "IS_STRING", "IS_DATETIME", "CONTAINS", "ENDSWITH", "REGEXMATCH":
		return fixed(&Condition{Test: HasType, Path: p, Values: []json.RawMessage{json.RawMessage(`""`)}})
	}
	return nil
}

func isFalse(e expr) bool {
	l, ok := e.(*literal)
	return ok && l.value.isFalse()
}

// element is the path of the elements of the array at a path.
func element(p Path) Path { return append(slices.Clip(p), Step{Element: true}) }

// startsWith asks for a prefix.
func (c *compiler) startsWith(p Path, e expr) condition {
	ev := c.constantOf(e)
	if ev == nil {
		return nil
	}
	return func(r *run) (*Condition, error) {
		v, err := ev(r)
		if err != nil || v.typ != stringType {
			return never, err
		}
		return &Condition{Test: HasPrefix, Path: p, Prefix: v.s}, nil
	}
}

// allOf asks for each of some constants at a path.
func (c *compiler) allOf(p Path, list []expr) condition {
	var all condition
	for _, e := range list {
		all = both2(all, c.equals(p, []expr{e}))
	}
	return all
}

// arrayContains is what ARRAY_CONTAINS asks: of an array of the document that an element is a constant, or
// has members of one, and of a constant array that a value of the document is one of its elements.
func (c *compiler) arrayContains(e *call, p Path, isPath bool, scope paths) condition {
	if !isPath {
		list := c.constantOf(e.args[0])
		q, ok := scope.of(e.args[1])
		if list == nil || !ok || len(q) == 0 || len(e.args) > 2 {
			return nil
		}
		return func(r *run) (*Condition, error) {
			v, err := list(r)
			return oneOf(q, v.items()), err
		}
	}
	ev := c.constantOf(e.args[1])
	if ev == nil {
		return nil
	}
	return func(r *run) (*Condition, error) {
		v, err := ev(r)
		if err != nil {
			return nil, err
		}
		return containing(element(p), v), nil
	}
}

// containing asks for a value, or for the scalars in an object, at a path.
func containing(p Path, v value) *Condition {
	if v.typ != objectType {
		return oneOf(p, []value{v})
	}
	out := &Condition{Test: And}
	names, items := v.members()
	for i, x := range items {
		if part := containing(append(slices.Clip(p), Step{Name: names[i]}), x); part != nil {
			out.Of = append(out.Of, part)
		}
	}
	if len(out.Of) == 0 {
		return nil
	}
	return out
}

// distanceBelow recognises a distance that must be below a bound.
func distanceBelow(e *binary) (f *call, bound expr, ok bool) {
	left, right, op := e.left, e.right, e.op
	if op == ">" || op == ">=" {
		left, right, op = right, left, mirrored[op]
	}
	f, ok = left.(*call)
	if !ok || f.udf || !strings.EqualFold(f.name, "ST_DISTANCE") || len(f.args) != 2 || op != "<" && op != "<=" {
		return nil, nil, false
	}
	return f, right, true
}

// near asks that the geometry at a path, one of the two arguments, is no further from the other than a bound.
func (c *compiler) near(f *call, bound expr, scope paths) condition {
	p, ok := scope.of(f.args[0])
	other := f.args[1]
	if !ok {
		p, ok = scope.of(f.args[1])
		other = f.args[0]
	}
	shape, most := c.constantOf(other), c.constantOf(bound)
	if !ok || len(p) == 0 || shape == nil || most == nil {
		return nil
	}
	return func(r *run) (*Condition, error) {
		v, err := shape(r)
		if err != nil {
			return nil, err
		}
		limit, err := most(r)
		if err != nil || v.typ != objectType || limit.typ != numberType || !finite(limit) || limit.float() < 0 {
			return never, err
		}
		return &Condition{Test: Near, Path: p, Shape: appendJSON(nil, v), Metres: limit.float()}, nil
	}
}
