package docdb

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb/sql"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Query is the text of a query and the values of its parameters by name, "@" included.
type Query struct {
	Text       string
	Parameters map[string]json.RawMessage
}

// ReasonSyntax marks a query that cannot be compiled or evaluated. The message is the service's
// object {"errors":[{"severity","location","code","message"}]} as JSON text.
const ReasonSyntax = "QuerySyntax"

// Bounds of what one page of a streaming query looks at, in documents, in bytes and in time: a query that finds
// little answers with a short page and a continuation instead of holding its request.
const (
	maxScan      = 10_000
	maxScanBytes = 64 << 20
	maxSlice     = 5 * time.Second
)

// queryFault gives a query's error the form that clients read; other errors pass.
func queryFault(err error) error {
	if errors.Is(err, sql.ErrTooMuchWork) || errors.Is(err, sql.ErrTooMuchMemory) {
		return badRequest("The query exceeds the limits of one request: it takes too many steps or too much memory.")
	}
	var s *sql.SyntaxError
	if !errors.As(err, &s) {
		return err
	}
	body := mustJSON(map[string][]queryError{"errors": {describe(s)}})
	return &fault.Error{Kind: fault.Invalid, Reason: ReasonSyntax, Message: string(body), Err: err}
}

// queryError is one error as the service writes it.
type queryError struct {
	Severity string         `json:"severity"`
	Location *queryLocation `json:"location,omitempty"`
	Code     any            `json:"code,omitempty"`
	Message  string         `json:"message"`
}

type queryLocation struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// describe gives an error its place and its code. A code that is a number stands without a place, as
// the service writes it; a code that is not known is left out.
func describe(s *sql.SyntaxError) queryError {
	e := queryError{Severity: "Error", Message: s.Message}
	if n, err := strconv.Atoi(s.Code); err == nil {
		e.Code = n
		return e
	}
	e.Location = &queryLocation{s.Start, s.End}
	if s.Code != "" {
		e.Code = s.Code
	}
	return e
}

// Bounds of what is remembered of queries.
const (
	maxPlans    = 512
	maxPlanText = 4 << 10
)

// planCache remembers what was compiled: applications ask the same again and again, with other parameters.
// It is the account's, and goes with it: the texts of queries hold its data.
type planCache struct {
	mu    sync.Mutex
	plans map[string]*sql.Plan
}

func (c *planCache) get(text string) *sql.Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plans[text]
}

// put remembers a plan. When there are too many, all are forgotten.
func (c *planCache) put(text string, p *sql.Plan) {
	if len(text) > maxPlanText {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plans == nil || len(c.plans) >= maxPlans {
		c.plans = map[string]*sql.Plan{}
	}
	c.plans[strings.Clone(text)] = p
}

// compile is the plan of a text.
func (c *planCache) compile(text string) (*sql.Plan, error) {
	if p := c.get(text); p != nil {
		return p, nil
	}
	p, err := compile(text)
	if err == nil {
		c.put(text, p)
	}
	return p, err
}

func compile(text string) (*sql.Plan, error) {
	q, err := sql.Parse(text)
	if err != nil {
		return nil, queryFault(err)
	}
	plan, err := sql.Compile(q)
	return plan, queryFault(err)
}

// digest identifies a query for its continuation tokens. Parameters count in the order of their names.
func (q Query) digest() []byte {
	parts := [][]byte{[]byte(q.Text)}
	names := make([]string, 0, len(q.Parameters))
	for name := range q.Parameters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		parts = append(parts, []byte(name), q.Parameters[name])
	}
	return requestDigest(parts...)
}

// Query returns a page of the results of a query over the documents of a container. A query whose
// results depend on single documents goes on behind the last one that was looked at; every other
// query runs again for its next page, and leaves out the results that were given already.
func (s *Service) Query(ctx context.Context, c principal.Caller, q FeedRequest, query Query) (page Page, err error) {
	r, state, end, err := s.begin(ctx, c, actionQuery, q.Path, q.Consistency)
	if err != nil {
		return Page{}, err
	}
	defer end()
	plan, err := r.plans.compile(query.Text)
	if err != nil {
		return Page{}, err
	}
	if q.PartitionKey == nil && q.RangeID == "" {
		if err := plan.Composed(); err != nil {
			return Page{}, queryFault(err)
		}
	}
	part, err := r.span(&q, state)
	if err != nil {
		return Page{}, err
	}
	pay, err := r.admit(state, part.first())
	if err != nil {
		return Page{}, err
	}
	digest := q.digest("query", state, query.digest())
	at, err := r.position(q.Continuation, digest)
	if err != nil {
		return Page{}, err
	}
	lsn := part.first().log.Visible()
	view, err := r.view(part, state.id)
	if err != nil {
		return Page{}, err
	}
	defer closeView(view, &err)
	defer part.settle()()
	src := &rows{view: view, state: state, part: part, after: at.after, now: r.now.Unix(), bare: readsBodies(plan), began: time.Now()}
	if plan.PerRow() {
		src.most = maxScan
	}
	if at, err = src.choose(plan, query, r.now, at); err != nil {
		return Page{}, queryFault(err)
	}
	defer func() { err = errors.Join(err, src.index.close()) }()
	next, more, err := page.collect(ctx, plan, src, query, at, q.pageSize())
	if err != nil {
		return Page{}, err
	}
	page.Retrieved, page.RetrievedBytes = src.read, src.bytes
	if q.Usage {
		usage := src.index.usage(src.condition, plan.Order())
		page.Usage = &usage
	}
	if q.Explain {
		if page.Explanation, err = src.explain(plan, len(page.Items)); err != nil {
			return Page{}, err
		}
	}
	page, err = r.page(state, part.first(), page, lsn, more, next, digest)
	pay(page.Charge)
	return page, err
}

// collect fills the page from the position on. more tells that there are results behind it, and next
// where they begin.
func (p *Page) collect(ctx context.Context, plan *sql.Plan, src *rows, query Query, at position, limit int) (next position, more bool, err error) {
	skip, size := at.skip, 0
	next = at
	o := sql.Options{Sorted: src.order != nil, Now: func() time.Time { return src.at }}
	for result, err := range plan.Run(ctx, src, sql.Params(query.Parameters), o) {
		if err != nil {
			return at, false, queryFault(err)
		}
		if skip > 0 && src.leaves(plan, at) {
			skip--
			continue
		}
		if len(p.Items) == limit || size+len(result) > maxPageBytes && len(p.Items) > 0 {
			return next, true, nil
		}
		p.Items = append(p.Items, slices.Clone(result))
		size += len(result)
		src.pass(plan, &next)
	}
	if src.cut {
		src.reach(&next)
	}
	return next, src.cut, nil
}

// Select runs a query over resources that are not documents, such as databases and offers.
func Select(ctx context.Context, query Query, resources [][]byte) ([][]byte, error) {
	plan, err := compile(query.Text)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for result, err := range plan.Run(ctx, list(resources), sql.Params(query.Parameters), sql.Options{}) {
		if err != nil {
			return nil, queryFault(err)
		}
		out = append(out, slices.Clone(result))
	}
	return out, nil
}

// list is a source of texts in memory.
type list [][]byte

// Scan gives the texts in their order.
func (l list) Scan(context.Context) iter.Seq2[sql.Row, error] {
	return func(yield func(sql.Row, error) bool) {
		for _, text := range l {
			if !yield(sql.Row{JSON: text}, nil) {
				return
			}
		}
	}
}

// patchCondition decides whether the condition of a patch, the part of a query from FROM on, holds
// for a document.
func patchCondition(ctx context.Context, condition string, doc []byte) error {
	if condition == "" {
		return nil
	}
	results, err := Select(ctx, Query{Text: "SELECT VALUE 1 " + condition}, [][]byte{doc})
	if err != nil {
		return err
	}
	if len(results) == 0 {
		return fault.New(fault.Precondition, reasonCondition, textPrecondition)
	}
	return nil
}
