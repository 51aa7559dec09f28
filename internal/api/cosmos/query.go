package cosmos

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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

// query answers a query over documents. What it asks for is answered whole, over all ranges that it names:
// there is nothing left for the client to merge, whatever the query is.
func (x *exchange) query() error {
	f, err := x.feedRequest()
	if err != nil {
		return err
	}
	if f.PartitionKey == nil && f.RangeID == "" && !x.flag("x-ms-documentdb-query-enablecrosspartition") {
		return fault.New(fault.Invalid, "BadRequest", "Cross partition query is required but disabled. Please set x-ms-documentdb-query-enablecrosspartition to true, specify x-ms-documentdb-partitionkey, or revise your query to avoid this exception.")
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
	x.indexMetrics()
	x.page(page)
	return nil
}

// indexMetrics tells which indexes a query used, in the older form (base64) or the newer one (percent
// encoding): none, for there are none yet, and none that would help can be told.
func (x *exchange) indexMetrics() {
	switch h := x.w.Header(); {
	case x.flag("x-ms-cosmos-populateindexmetrics-V2"):
		h.Set("x-ms-cosmos-index-utilization", url.PathEscape(`{"Utilized":{"SingleIndexes":[],"CompositeIndexes":[]},"Potential":{"SingleIndexes":[],"CompositeIndexes":[]}}`))
	case x.flag("x-ms-cosmos-populateindexmetrics"):
		h.Set("x-ms-cosmos-index-utilization", base64.StdEncoding.EncodeToString([]byte(`{"UtilizedSingleIndexes":[],"PotentialSingleIndexes":[],"UtilizedCompositeIndexes":[],"PotentialCompositeIndexes":[]}`)))
	}
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

// queryPlan tells the client to send the query as it is to each range and to pass on what comes. Where the
// results of several ranges would have to be merged, there is no such plan: it is refused, because clients
// that ask for one would put together a wrong answer.
func (x *exchange) queryPlan() error {
	q, err := x.statement()
	if err != nil {
		return err
	}
	perRow := true
	if !isEverything(q.Text) {
		if perRow, err = docdb.CheckQuery(q.Text); err != nil {
			return err
		}
	}
	ranges, _, receipt, err := x.Service.PartitionKeyRanges(x.r.Context(), x.caller, x.containerPath())
	if err != nil {
		return err
	}
	if len(ranges) > 1 && !perRow {
		return unsupported("plans for queries whose results from several partition key ranges have to be merged; name a partition key")
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
