package sql

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Defaults of [Options].
const (
	defaultSteps  = 100_000_000
	defaultMemory = 256 << 20
)

// run is one execution of a plan.
type run struct {
	ctx     context.Context
	source  Source
	udf     UDF
	sorted  bool    // the rows come in the order of the query
	params  []value // by the number that the plan gave a parameter
	slots   []value // of the variables, grouping values and aggregates in scope
	args    []value // a stack of the arguments of calls
	origin  *origin // of what was read from JSON
	steps   int64   // that may still be taken
	checked int64   // steps since the context was looked at
	memory  int64   // that may still be held
	now     time.Time
	cache   map[string]any // compiled patterns
}

// Run executes the plan over a source. Each result is JSON text, valid until the next one is asked
// for. An error ends the sequence.
func (p *Plan) Run(ctx context.Context, src Source, params Params, o Options) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := &run{ctx: ctx, source: src, udf: o.UDF, sorted: o.Sorted, origin: &origin{}, slots: make([]value, p.slots), steps: orDefault(o.MaxSteps, defaultSteps),
			memory: orDefault(o.MaxMemory, defaultMemory), now: time.Now(), cache: map[string]any{}}
		if o.Now != nil {
			r.now = o.Now()
		}
		stopped := false
		err := r.results(p, params, func(out []byte) bool {
			stopped = !yield(out, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

// orDefault is n, or d when n says nothing.
func orDefault(n, d int64) int64 {
	if n <= 0 {
		return d
	}
	return n
}

// results runs the outermost query and writes what it gives.
func (r *run) results(p *Plan, params Params, yield func([]byte) bool) error {
	if err := r.bind(p.params, params); err != nil {
		return err
	}
	var out []byte
	err := p.query.run(r, func(v value) (bool, error) {
		var err error
		if out, err = r.write(out[:0], v); err != nil {
			return false, err
		}
		return yield(out), nil
	})
	if err == nil {
		err = r.origin.err
	}
	return err
}

// bind reads the parameters that the plan asks for. One that is not given is undefined.
func (r *run) bind(names []string, params Params) error {
	r.params = make([]value, len(names))
	for i, name := range names {
		raw := params[name]
		if len(raw) == 0 {
			continue
		}
		if !jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true)) {
			return &SyntaxError{Message: fmt.Sprintf("The value of the parameter '%s' is not valid JSON.", name)}
		}
		r.params[i] = readJSON(string(raw), r.origin)
	}
	return r.origin.err
}

// write appends the JSON of a result. A number that JSON has no word for is the service's error 4001.
func (r *run) write(b []byte, v value) ([]byte, error) {
	if !finite(v) {
		return nil, &SyntaxError{Code: codeNotFinite, Message: "The result of the query contains a number that is not finite."}
	}
	return appendJSON(b, v), r.origin.err
}

// spend counts work, in units of about the evaluation of an operator, and now and then looks whether
// anybody still waits for the result.
func (r *run) spend(n int) error {
	if r.steps -= int64(n); r.steps < 0 {
		return ErrTooMuchWork
	}
	if r.checked += int64(n); r.checked >= 1024 {
		r.checked = 0
		return r.ctx.Err()
	}
	return nil
}

// holder counts the memory that one clause of a query keeps while it runs.
type holder struct {
	run  *run
	held int64
}

// hold counts bytes that are kept from now on; fewer than none are given back.
func (h *holder) hold(bytes int) error {
	h.held += int64(bytes)
	if h.run.memory -= int64(bytes); h.run.memory < 0 {
		return ErrTooMuchMemory
	}
	return nil
}

// release gives back all that is held.
func (h *holder) release() {
	h.run.memory += h.held
	h.held = 0
}

// bounded refuses a value that is too large.
func bounded(v value) (value, error) {
	if v.size() > maxValueSize {
		return undefined, ErrTooMuchMemory
	}
	return v, nil
}
