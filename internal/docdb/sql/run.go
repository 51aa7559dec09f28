package sql

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
)

const (
	defaultSteps  = 100_000_000
	defaultMemory = 256 << 20
	// valueSize is what a held value counts beside its text.
	valueSize = 160
)

// rootName is the hidden variable for the document; no identifier can be spelled like it.
const rootName = "\x00root"

// Run executes the plan over a source. Each result is JSON text, valid until the next one. An error
// ends the sequence.
func (p *Plan) Run(ctx context.Context, src Source, params Params, o Options) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := &run{ctx: ctx, steps: orDefault(o.MaxSteps, defaultSteps), memory: orDefault(o.MaxMemory, defaultMemory)}
		if err := r.bind(params); err != nil {
			yield(nil, err)
			return
		}
		stopped := false
		err := r.top(p.q, src, func(v value) (bool, error) {
			out, err := output(v)
			if err != nil {
				return false, err
			}
			stopped = !yield(out, nil)
			return !stopped, nil
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

func orDefault(n, d int64) int64 {
	if n <= 0 {
		return d
	}
	return n
}

func (r *run) bind(params Params) error {
	r.params = map[string]value{}
	for name, raw := range params {
		if len(raw) == 0 {
			continue
		}
		v, err := decode(raw)
		if err != nil {
			return &SyntaxError{Code: codeSyntax, Message: "The value of the parameter '" + name + "' is not valid JSON."}
		}
		v.raw = nil
		r.params[name] = v
	}
	return nil
}

// output is the text of a result. A number that is not finite cannot be written.
func output(v value) ([]byte, error) {
	if !finite(v) {
		return nil, &SyntaxError{Code: "SC4001", Message: "The result of the query holds a number that is not finite."}
	}
	return v.encode(nil), nil
}

func finite(v value) bool {
	if v.raw != nil {
		return true
	}
	if v.typ == numberType {
		return v.flag || !math.IsNaN(v.num) && !math.IsInf(v.num, 0)
	}
	return !slices.ContainsFunc(v.items, func(x value) bool { return !finite(x) }) &&
		!slices.ContainsFunc(v.members, func(m member) bool { return !finite(m.value) })
}

// emit takes a result; it returns false when no more are wanted.
type emit func(value) (bool, error)

// top runs an outermost query.
func (r *run) top(q *Query, src Source, out emit) error {
	out, err := r.window(q, out)
	if err != nil {
		return err
	}
	if q.distinct {
		out = r.distinct(out)
	}
	if len(q.from) == 0 {
		return r.project(q, func(row func(*scope) (bool, error)) error { _, err := row(nil); return err }, out)
	}
	return r.project(q, func(row func(*scope) (bool, error)) error {
		for doc, err := range src.Scan(r.ctx) {
			if err != nil {
				return err
			}
			v, err := decode(doc.JSON)
			if err != nil {
				return fmt.Errorf("sql: a stored document cannot be read: %w", err)
			}
			more, err := r.join(q.from, 0, &scope{name: rootName, value: v}, q.where, row)
			if err != nil || !more {
				return err
			}
		}
		return nil
	}, out)
}

// window counts results for TOP, OFFSET and LIMIT.
func (r *run) window(q *Query, out emit) (emit, error) {
	skip, limit, top := int64(0), int64(math.MaxInt64), int64(math.MaxInt64)
	for _, c := range []struct {
		e    *expr
		into *int64
		code string
	}{{q.top, &top, "SC2060"}, {q.limit, &limit, "SC2061"}, {q.offset, &skip, "SC2062"}} {
		if c.e == nil {
			continue
		}
		v, err := r.eval(c.e, nil)
		if err != nil {
			return nil, err
		}
		if v.typ != numberType || !v.flag || v.integer < 0 || v.integer >= 1<<32 {
			return nil, failAt(c.e, c.code, "The value of TOP, OFFSET or LIMIT must be an integer from 0 to 4294967295.")
		}
		*c.into = v.integer
	}
	limit = min(limit, top)
	return func(v value) (bool, error) {
		if skip > 0 {
			skip--
			return true, nil
		}
		if limit <= 0 {
			return false, nil
		}
		limit--
		more, err := out(v)
		return more && limit > 0, err
	}, nil
}

func (r *run) distinct(out emit) emit {
	seen := map[string]bool{}
	return func(v value) (bool, error) {
		key := string(canonical(v, nil))
		if seen[key] {
			return true, nil
		}
		seen[key] = true
		if err := r.hold(len(key) + valueSize); err != nil {
			return false, err
		}
		return out(v)
	}
}

// canonical is a text that two values share exactly when they are equal.
func canonical(v value, b []byte) []byte {
	switch v.typ {
	case arrayType:
		b = append(b, '[')
		for _, x := range v.items {
			b = append(canonical(x, b), ',')
		}
		return append(b, ']')
	case objectType:
		members := slices.Clone(v.members)
		slices.SortFunc(members, func(a, c member) int {
			if a.name < c.name {
				return -1
			}
			return btoi(a.name > c.name)
		})
		b = append(b, '{')
		for _, m := range members {
			if m.value.typ != undefinedType {
				b = append(strconv.AppendQuote(b, m.name), ':')
				b = append(canonical(m.value, b), ',')
			}
		}
		return append(b, '}')
	case stringType:
		return strconv.AppendQuote(b, v.str)
	case undefinedType:
		return append(b, 'u')
	}
	v.raw = nil
	return v.encode(b)
}

// join binds the sources from i on, and gives each combination that the condition keeps to row.
func (r *run) join(from []source, i int, s *scope, where *expr, row func(*scope) (bool, error)) (bool, error) {
	if i == len(from) {
		if where != nil {
			v, err := r.eval(where, s)
			if err != nil || !v.isTrue() {
				return true, err
			}
		}
		return row(s)
	}
	next := func(v value) (bool, error) {
		if v.typ == undefinedType {
			return true, nil
		}
		return r.join(from, i+1, &scope{name: from[i].alias, value: v, outer: s}, where, row)
	}
	src := from[i]
	if src.query != nil {
		return r.joinQuery(src, s, next)
	}
	v, err := r.collection(src.path, s, i)
	if err != nil {
		return false, err
	}
	if !src.iterate {
		return next(v)
	}
	return each(v, next)
}

func each(v value, next func(value) (bool, error)) (bool, error) {
	for _, x := range v.items {
		if more, err := next(x); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}

// joinQuery iterates the rows of a subquery, or with IN the elements of the arrays that it gives.
func (r *run) joinQuery(src source, s *scope, next func(value) (bool, error)) (more bool, err error) {
	more = true
	err = r.rows(src.query, s, func(v value) (bool, error) {
		if src.iterate {
			more, err = each(v, next)
		} else {
			more, err = next(v)
		}
		return more, err
	})
	return more, err
}

// collection is the value that a path of FROM names. A first name that is no variable is the document.
func (r *run) collection(e *expr, s *scope, i int) (value, error) {
	if e.kind == exName {
		if v, ok := s.lookup(e.op); ok {
			return v, nil
		}
		v, _ := s.lookup(rootName)
		return v, nil
	}
	if e.kind != exMember {
		return r.eval(e, s)
	}
	base, err := r.collection(e.left, s, i)
	if err != nil {
		return undefined, err
	}
	return r.eval(&expr{kind: exMember, left: &expr{kind: exLiteral, literal: base}, right: e.right}, s)
}

// rows runs a subquery inside a scope.
func (r *run) rows(q *Query, s *scope, out emit) error {
	if q.distinct {
		out = r.distinct(out)
	}
	groups := r.groups
	r.groups = nil
	defer func() { r.groups = groups }()
	return r.project(q, func(row func(*scope) (bool, error)) error {
		_, err := r.join(q.from, 0, s, q.where, row)
		return err
	}, out)
}

// feed drives the rows of a query through a function, until it returns false.
type feed func(row func(*scope) (bool, error)) error

// project turns rows into results: one by one, or sorted, or grouped.
func (r *run) project(q *Query, rows feed, out emit) error {
	switch {
	case q.aggregate || len(q.groupBy) > 0:
		return r.group(q, rows, out)
	case len(q.orderBy) > 0:
		return r.sort(q, rows, out)
	}
	return rows(func(s *scope) (bool, error) {
		v, err := r.selectRow(q, s)
		if err != nil {
			return false, err
		}
		return emitDefined(q, v, out)
	})
}

// emitDefined drops results that are undefined.
func emitDefined(q *Query, v value, out emit) (bool, error) {
	if v.typ == undefinedType {
		return true, nil
	}
	return out(v)
}

func (r *run) selectRow(q *Query, s *scope) (value, error) {
	switch {
	case q.star:
		return s.value, nil
	case q.value:
		return r.eval(q.items[0].expr, s)
	}
	var members []member
	unnamed := 0
	for _, item := range q.items {
		name := item.name
		if name == "" {
			unnamed++
			name = "$" + strconv.Itoa(unnamed)
		}
		v, err := r.eval(item.expr, s)
		if err != nil {
			return undefined, err
		}
		if v.typ != undefinedType {
			members = append(members, member{name, v})
		}
	}
	return object(members), nil
}

// sorted is a result with what it is sorted by.
type sorted struct {
	keys   []value
	result value
}

func (r *run) sort(q *Query, rows feed, out emit) error {
	var all []sorted
	err := rows(func(s *scope) (bool, error) {
		x := sorted{}
		for _, o := range q.orderBy {
			k, err := r.eval(o.expr, s)
			if err != nil {
				return false, err
			}
			x.keys = append(x.keys, k)
		}
		var err error
		if x.result, err = r.selectRow(q, s); err != nil {
			return false, err
		}
		all = append(all, x)
		return true, r.hold(valueSize + len(x.result.raw))
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b sorted) int {
		for i, o := range q.orderBy {
			c := compare(a.keys[i], b.keys[i])
			if o.desc {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	for _, x := range all {
		if more, err := emitDefined(q, x.result, out); err != nil || !more {
			return err
		}
	}
	return nil
}
