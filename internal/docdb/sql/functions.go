package sql

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// function is a built-in function. It gets as many arguments as the call has, between least and most;
// most is negative when any number may follow. Unless lenient, it is undefined as soon as an argument
// is, and is not called. It must not keep the slice of arguments.
type function struct {
	least, most int
	lenient     bool
	f           func(a []value) value
	inRun       func(r *run, a []value) (value, error) // instead of f, for what needs the run
}

// functions are the built-in functions by upper-case name, one group a file.
var functions = func() map[string]function {
	all := map[string]function{}
	for _, group := range []map[string]function{typeFunctions, stringFunctions, mathFunctions, arrayFunctions, conditionalFunctions, timeFunctions, spatialFunctions} {
		maps.Copy(all, group)
	}
	return all
}()

// missing are the functions of the service that this package does not have: they are refused by name.
var missing = map[string]bool{
	"VECTORDISTANCE": true, "FULLTEXTCONTAINS": true, "FULLTEXTCONTAINSALL": true, "FULLTEXTCONTAINSANY": true,
}

// maxUDF is the service's limit for calls of user-defined functions in a query (maxUdfRefPerSqlQuery).
const maxUDF = 10

// call compiles a call of a function or an aggregate.
func (c *compiler) call(e *call, scope *variable) (evaluator, error) {
	upper := strings.ToUpper(e.name)
	if e.udf {
		return c.udf(e, scope)
	}
	if aggregates[upper] != nil {
		return c.aggregateCall(e, scope)
	}
	f, ok := functions[upper]
	switch {
	case upper == "FULLTEXTSCORE":
		return nil, failure(e.span, codeScoreUse, "The FullTextScore function is only allowed in the ORDER BY RANK clause.")
	case missing[upper]:
		return nil, failure(e.nameAt, codeFunction, "'%s' is a built-in function that this server does not support yet.", e.name)
	case !ok:
		return nil, failure(e.nameAt, codeFunction, "'%s' is not a recognized built-in function name.", e.name)
	case len(e.args) < f.least || f.most >= 0 && len(e.args) > f.most:
		return nil, arity(e, f.least, f.most)
	}
	args, err := c.exprs(e.args, scope)
	return f.evaluator(args), err
}

// arity is the error of a wrong number of arguments.
func arity(e *call, least, most int) error {
	count := fmt.Sprintf("%d to %d", least, most)
	switch {
	case most < 0:
		count = fmt.Sprintf("at least %d", least)
	case least == most:
		count = fmt.Sprint(least)
	}
	return failure(e.span, codeArity, "The %s function requires %s argument(s).", strings.ToUpper(e.name), count)
}

// evaluator computes the arguments on the run's stack and calls the function. The work is counted by
// the size of the arguments, in which all functions are about linear.
func (f function) evaluator(args []evaluator) evaluator {
	return func(r *run) (_ value, err error) {
		base, size := len(r.args), 0
		defer func() {
			clear(r.args[base:])
			r.args = r.args[:base]
		}()
		for _, arg := range args {
			v, err := arg(r)
			if err != nil || !v.defined() && !f.lenient {
				return undefined, err
			}
			r.args = append(r.args, v)
			if size += v.size(); size > maxValueSize {
				return undefined, ErrTooMuchMemory
			}
		}
		if err := r.spend(1 + size>>10); err != nil {
			return undefined, err
		}
		if f.inRun != nil {
			return f.inRun(r, r.args[base:])
		}
		return f.f(r.args[base:]), nil
	}
}

// udf compiles a call of a user-defined function. It is not called when an argument is undefined.
func (c *compiler) udf(e *call, scope *variable) (evaluator, error) {
	if c.udfs++; c.udfs > maxUDF {
		return nil, failure(e.span, codeTooManyUDF, "The SQL query exceeded the maximum number of user-defined function calls. The allowed limit is %d.", maxUDF)
	}
	args, err := c.exprs(e.args, scope)
	f := function{inRun: func(r *run, a []value) (value, error) { return r.callUDF(e.name, a) }}
	return f.evaluator(args), err
}

// callUDF hands a call to the caller of the run, as JSON.
func (r *run) callUDF(name string, a []value) (value, error) {
	if r.udf == nil {
		return undefined, &SyntaxError{Message: fmt.Sprintf("The user-defined function '%s' cannot be called: this server does not run scripts yet.", name)}
	}
	args := make([]json.RawMessage, len(a))
	for i, v := range a {
		var err error
		if args[i], err = r.write(nil, v); err != nil {
			return undefined, err
		}
	}
	out, err := r.udf(r.ctx, name, args)
	if err != nil || out == nil {
		return undefined, err
	}
	v := readJSON(string(out), r.origin)
	if r.origin.err != nil {
		return undefined, r.origin.err
	}
	return bounded(v)
}

// ofTypes makes a function undefined unless its arguments have these types; those that a call leaves
// out are not looked at.
func ofTypes(f func(a []value) value, types ...valueType) func(a []value) value {
	return func(a []value) value {
		for i, v := range a {
			if v.typ != types[min(i, len(types)-1)] {
				return undefined
			}
		}
		return f(a)
	}
}

// optional is the argument at i, or what stands for it when the call has none.
func optional(a []value, i int, otherwise value) value {
	if i < len(a) {
		return a[i]
	}
	return otherwise
}
