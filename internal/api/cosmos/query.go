package cosmos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
)

// queryBody is the body of a query.
type queryBody struct {
	Query      *string `json:"query"`
	Parameters []struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
	} `json:"parameters"`
}

// statement reads the body of a query.
func (x *exchange) statement() (docdb.Query, error) {
	body, err := x.body()
	if err != nil {
		return docdb.Query{}, err
	}
	var in queryBody
	if jsonx.Check(body) != nil || json.Unmarshal(body, &in) != nil || in.Query == nil {
		return docdb.Query{}, fault.New(fault.Invalid, "BadRequest", "The body of a query must be a JSON object with the members query and parameters.")
	}
	q := docdb.Query{Text: *in.Query, Parameters: map[string]json.RawMessage{}}
	for _, p := range in.Parameters {
		q.Parameters[p.Name] = p.Value
	}
	return q, nil
}

// query answers a query over documents. The container is one range, so the answer is final: there is
// nothing left for the client to merge, whatever the query is.
func (x *exchange) query() error {
	f, err := x.feedRequest()
	if err != nil {
		return err
	}
	q, err := x.statement()
	if err != nil {
		return err
	}
	started := x.Now()
	page, err := x.results(f, q)
	if err != nil {
		return err
	}
	if x.flag("x-ms-documentdb-populatequerymetrics") {
		x.w.Header().Set("x-ms-documentdb-query-metrics", metrics(page, x.Now().Sub(started)))
	}
	x.page(page)
	return nil
}

// results runs a query. The one that asks for all documents is a feed, and is answered as one.
func (x *exchange) results(f docdb.FeedRequest, q docdb.Query) (docdb.Page, error) {
	if isEverything(q.Text) {
		return x.Service.ReadFeed(x.r.Context(), x.caller, f)
	}
	return x.Service.Query(x.r.Context(), x.caller, f, q)
}

func isEverything(text string) bool {
	m := simpleQuery.FindStringSubmatch(text)
	return m != nil && m[2] == ""
}

// metrics is what clients show of a query's work, in the service's form.
func metrics(p docdb.Page, took time.Duration) string {
	return fmt.Sprintf("totalExecutionTimeInMs=%.2f;retrievedDocumentCount=%d;retrievedDocumentSize=%d;outputDocumentCount=%d",
		float64(took.Microseconds())/1000, p.Retrieved, p.RetrievedBytes, len(p.Items))
}

// planBody is a query plan on the wire.
type planBody struct {
	Version int         `json:"partitionedQueryExecutionInfoVersion"`
	Info    planInfo    `json:"queryInfo"`
	Ranges  []planRange `json:"queryRanges"`
}

// planInfo says what the client has to do with the results of several ranges: nothing.
type planInfo struct {
	Distinct        string            `json:"distinctType"`
	Top             *int              `json:"top"`
	Offset          *int              `json:"offset"`
	Limit           *int              `json:"limit"`
	OrderBy         []string          `json:"orderBy"`
	OrderByExprs    []string          `json:"orderByExpressions"`
	GroupByExprs    []string          `json:"groupByExpressions"`
	GroupByAliases  []string          `json:"groupByAliases"`
	Aggregates      []string          `json:"aggregates"`
	AliasAggregates map[string]string `json:"groupByAliasToAggregateType"`
	Rewritten       string            `json:"rewrittenQuery"`
	SelectValue     bool              `json:"hasSelectValue"`
	DCount          *struct{}         `json:"dCountInfo"`
	NonStreaming    bool              `json:"hasNonStreamingOrderBy"`
}

type planRange struct {
	Min          string `json:"min"`
	Max          string `json:"max"`
	MinInclusive bool   `json:"isMinInclusive"`
	MaxInclusive bool   `json:"isMaxInclusive"`
}

// queryPlan tells the client to send the query as it is to the one range and to pass on what comes.
func (x *exchange) queryPlan() error {
	q, err := x.statement()
	if err != nil {
		return err
	}
	if !isEverything(q.Text) {
		if err := docdb.CheckQuery(q.Text); err != nil {
			return err
		}
	}
	_, _, receipt, err := x.Service.PartitionKeyRanges(x.r.Context(), x.caller, x.containerPath())
	if err != nil {
		return err
	}
	x.receipt(receipt)
	none := []string{}
	x.answer(http.StatusOK, mustJSON(planBody{
		Version: 2,
		Info: planInfo{Distinct: "None", OrderBy: none, OrderByExprs: none, GroupByExprs: none, GroupByAliases: none,
			Aggregates: none, AliasAggregates: map[string]string{}},
		Ranges: []planRange{{Min: "", Max: "FF", MinInclusive: true}},
	}))
	return nil
}

// simpleQuery is what clients ask over databases, containers and offers: everything, or what has one
// member with one value. The groups are the source, the source again, the member (two forms) and the
// value (three).
var simpleQuery = regexp.MustCompile(`(?is)^\s*SELECT\s+\*\s+FROM\s+(?:root\s+)?(\w+)(?:\s+WHERE\s+(\w+)(?:\.(\w+)|\[\s*["'](\w+)["']\s*\])\s*=\s*(?:'([^'\\]*)'|"([^"\\]*)"|(@\w+)))?\s*$`)

// selected answers with a feed of resources, or with what a query makes of them.
func (x *exchange) selected(rid, name string, all [][]byte) error {
	if x.isQuery() {
		q, err := x.statement()
		if err != nil {
			return err
		}
		if all, err = selectFrom(x.r.Context(), q, all); err != nil {
			return err
		}
	}
	x.feed(rid, name, all)
	return nil
}

// selectFrom runs a query over resources. The simple ones need no query engine.
func selectFrom(ctx context.Context, q docdb.Query, all [][]byte) ([][]byte, error) {
	m := simpleQuery.FindStringSubmatch(q.Text)
	switch {
	case m == nil || m[2] != "" && m[2] != m[1]:
		return docdb.Select(ctx, q, all)
	case m[2] == "":
		return all, nil
	}
	wanted := m[5] + m[6]
	if m[7] != "" {
		wanted = jsonx.Unquote(jsontext.Value(q.Parameters[m[7]]))
	}
	var out [][]byte
	for _, resource := range all {
		if v, ok := jsonx.Find(resource, m[3]+m[4]); ok && v.Kind() == '"' && jsonx.Unquote(v) == wanted {
			out = append(out, resource)
		}
	}
	return out, nil
}
