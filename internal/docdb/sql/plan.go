package sql

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Row is one document of a container.
type Row struct {
	JSON []byte // its whole text, which must be a JSON value; not kept
	RID  string
}

// Source gives the documents that a query runs over, in the order of their resource ids.
type Source interface {
	Scan(ctx context.Context) iter.Seq2[Row, error]
}

// Params are the values of a query's parameters by name, "@" included, as JSON. One without a value is
// undefined.
type Params map[string]json.RawMessage

// UDF calls a user-defined function with arguments and a result in JSON; a nil result is undefined.
type UDF func(ctx context.Context, name string, args []json.RawMessage) (json.RawMessage, error)

// Options bound a run and say what it may use. Zero means the default.
type Options struct {
	MaxSteps  int64            // evaluated operators; default 100 million
	MaxMemory int64            // bytes held for sorting, grouping and the like; default 256 MiB
	Now       func() time.Time // the time of the run; default time.Now
	UDF       UDF              // default: a query that calls one fails
	Sorted    bool             // the rows come in the order of the query, see [Plan.Order]
}

// Plan is a checked query, ready to run any number of times, also at the same time.
type Plan struct {
	text      *Query
	query     *pipeline
	slots     int
	params    []string
	streaming bool
	perRow    bool
	resumable bool
	condition condition
	order     []OrderBy
	reads     []Path
	unordered bool
}

// Compile checks a query and makes a plan of it. Errors are [*SyntaxError] values.
func Compile(q *Query) (*Plan, error) {
	c := &compiler{params: map[string]int{}}
	p, err := c.query(q, nil)
	if err != nil {
		return nil, inCharacters(err, q.text)
	}
	plan := &Plan{text: q, query: p, slots: c.slots, params: c.paramNames}
	plan.perRow = !q.distinct && q.top == nil && q.offset == nil && len(q.orderBy) == 0 && p.group == nil && len(q.from) > 0 && q.from[0].query == nil
	plan.streaming = plan.perRow && len(q.from) == 1 && !q.from[0].iterate
	plan.order = q.orderOf()
	plan.resumable = len(plan.order) > 0 && !q.distinct && q.top == nil && q.offset == nil
	plan.reads = q.readsOf()
	plan.unordered = q.isUnordered()
	plan.condition = c.conditionOf(q)
	plan.slots, plan.params = c.slots, c.paramNames
	return plan, nil
}

// Streaming reports whether each row gives one result at most, which depends on that row only, and
// results come in the order of the rows: a later run may begin behind the row of the last result.
func (p *Plan) Streaming() bool { return p.streaming }

// PerRow reports whether each result depends on one row only and results come in the order of the
// rows, though a row may give several, as with JOIN: a later run may begin at the row of the last
// result and leave out as many results as that row gave before.
func (p *Plan) PerRow() bool { return p.perRow }
