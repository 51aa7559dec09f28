package docdb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb/sql"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Query is the text of a query and the values of its parameters by name, "@" included.
type Query struct {
	Text       string
	Parameters map[string]json.RawMessage
}

// ReasonSyntax marks a query that cannot be compiled or evaluated. The message is the service's
// object {"errors":[{"severity","location","code","message"}]} as JSON text.
const ReasonSyntax = "QuerySyntax"

// Bounds of one page of a query that gives few results: then the page ends early, with a
// continuation, so that a scan never holds a request for long.
const (
	scanTime      = 2 * time.Second
	scanDocuments = 200_000
)

// compile reads a query; errors are faults.
func (q Query) compile() (*sql.Plan, error) {
	parsed, err := sql.Parse(q.Text)
	if err != nil {
		return nil, queryFault(err)
	}
	plan, err := sql.Compile(parsed)
	return plan, queryFault(err)
}

// queryFault turns an error of the query language into what clients read.
func queryFault(err error) error {
	var se *sql.SyntaxError
	switch {
	case errors.As(err, &se):
		message, e := json.Marshal(map[string]any{"errors": []any{map[string]any{"severity": "Error",
			"location": map[string]int{"start": se.Start, "end": se.End}, "code": se.Code, "message": se.Message}}})
		if e != nil {
			return e
		}
		return fault.New(fault.Invalid, ReasonSyntax, "%s", message)
	case errors.Is(err, sql.ErrTooMuchWork), errors.Is(err, sql.ErrTooMuchMemory):
		return badRequest("The query exceeded the limits of one request: it takes too many steps, or too much memory.")
	}
	return err
}

// CheckQuery reports what is wrong with the text of a query, if anything.
func CheckQuery(text string) error {
	_, err := Query{Text: text}.compile()
	return err
}

// Query returns a page of the results of a query over the documents of a container. A plan that
// streams goes on behind the last document of the page before; any other is run again, and what was
// given already is left out.
func (s *Service) Query(ctx context.Context, c principal.Caller, q FeedRequest, query Query) (page Page, err error) {
	r, state, end, err := s.begin(ctx, c, actionQuery, q.Path, q.Consistency)
	if err != nil {
		return Page{}, err
	}
	defer end()
	plan, err := query.compile()
	if err != nil {
		return Page{}, err
	}
	part, err := q.span(state)
	if err != nil {
		return Page{}, err
	}
	digest := q.digest("query", state, query.identity())
	at, err := r.position(q.Continuation, digest)
	if err != nil {
		return Page{}, err
	}
	lsn := state.seq.visible()
	view, err := r.db.Snapshot()
	if err != nil {
		return Page{}, err
	}
	defer closeView(view, &err)
	scan := &itemScan{view: view, part: part, state: state, now: r.now, at: at.after, started: time.Now(), sliced: plan.Streaming()}
	next, more, err := scan.collect(ctx, plan, query, at, q.pageSize(), &page)
	if err != nil {
		return Page{}, err
	}
	return r.page(state, page, lsn, more, next, digest)
}

// identity is what a continuation of a query belongs to: its text and parameters.
func (q Query) identity() []byte {
	out := []byte(q.Text)
	names := make([]string, 0, len(q.Parameters))
	for name := range q.Parameters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(append(append(append(out, 0), name...), 0), q.Parameters[name]...)
	}
	return out
}

// itemScan is the documents of a span as a source of the query language.
type itemScan struct {
	view    *store.Snapshot
	part    span
	state   *container
	now     time.Time
	at      uint64 // number of the last document that was given
	started time.Time
	sliced  bool // may end early, to go on at the next page
	cut     bool // did end early

	read, bytes int
}

var _ sql.Source = (*itemScan)(nil)

// Scan yields the documents in the order of their resource ids.
func (s *itemScan) Scan(ctx context.Context) iter.Seq2[sql.Row, error] {
	return func(yield func(sql.Row, error) bool) {
		var err error
		for i := range s.part.items(s.view, s.state.id, s.at, &err) {
			if s.read%256 == 0 && ctx.Err() != nil {
				err = ctx.Err()
				break
			}
			if s.sliced && s.read > 0 && s.spent() {
				s.cut = true
				return
			}
			s.at = i.number
			if i.expired(s.now.Unix(), s.state.rec.Spec.DefaultTTL) {
				continue
			}
			s.read++
			s.bytes += len(i.body)
			if !yield(sql.Row{JSON: i.json(s.state.id), RID: s.state.id.child(i.number, 0)}, nil) {
				return
			}
		}
		if err != nil {
			yield(sql.Row{}, err)
		}
	}
}

// spent reports whether a page has looked at enough. The clock is asked now and then only.
func (s *itemScan) spent() bool {
	return s.read >= scanDocuments || s.read%256 == 0 && time.Since(s.started) > scanTime
}

// collect fills a page and returns where the next one begins; more tells whether there may be one.
func (s *itemScan) collect(ctx context.Context, plan *sql.Plan, q Query, at position, size int, page *Page) (next position, more bool, err error) {
	next = at
	skip, held := at.skip, 0
	for result, err := range plan.Run(ctx, s, sql.Params(q.Parameters), sql.Options{}) {
		switch {
		case err != nil:
			return next, false, queryFault(err)
		case skip > 0:
			skip--
			continue
		case len(page.Items) == size || held > maxPageBytes-maxDocument && len(page.Items) > 0:
			s.count(page)
			return next, true, nil
		}
		page.Items = append(page.Items, bytes.Clone(result))
		held += len(result)
		if plan.Streaming() {
			next.after = s.at
		} else {
			next.skip++
		}
	}
	if s.cut {
		next.after = s.at
	}
	s.count(page)
	return next, s.cut, nil
}

func (s *itemScan) count(page *Page) { page.Retrieved, page.RetrievedBytes = s.read, s.bytes }

// resources are JSON texts as a source of the query language.
type resources [][]byte

// Scan yields the resources in their order.
func (r resources) Scan(context.Context) iter.Seq2[sql.Row, error] {
	return func(yield func(sql.Row, error) bool) {
		for _, raw := range r {
			if !yield(sql.Row{JSON: raw}, nil) {
				return
			}
		}
	}
}

// Select runs a query over resources that are not documents, such as databases and offers.
func Select(ctx context.Context, q Query, all [][]byte) ([][]byte, error) {
	plan, err := q.compile()
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for result, err := range plan.Run(ctx, resources(all), sql.Params(q.Parameters), sql.Options{}) {
		if err != nil {
			return nil, queryFault(err)
		}
		out = append(out, bytes.Clone(result))
	}
	return out, nil
}

// patchCondition decides whether the condition of a patch, "from c where …", holds for a document.
func patchCondition(ctx context.Context, condition string, document []byte) error {
	if condition == "" {
		return nil
	}
	found, err := Select(ctx, Query{Text: "SELECT VALUE 1 " + condition}, [][]byte{document})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fault.New(fault.Precondition, reasonCondition, "One of the specified pre-condition is not met.")
	}
	return nil
}
