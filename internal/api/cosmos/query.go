package cosmos

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
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
	f.Usage, f.Explain = x.flag(headerIndexMetrics) || x.flag(headerIndexMetricsV2), x.flag(headerExplain)
	started := x.Now()
	page, err := x.results(f, q)
	if err != nil {
		return err
	}
	if x.flag("x-ms-documentdb-populatequerymetrics") {
		x.w.Header().Set("x-ms-documentdb-query-metrics", metrics(page, x.Now().Sub(started)))
	}
	x.indexMetrics(page)
	x.page(page)
	return nil
}

// The headers by which a client asks which indexes serve a query, in the older form (base64) and the newer one
// (percent encoding), and by which `latchkey query` asks how it was run.
const (
	headerIndexMetrics   = "x-ms-cosmos-populateindexmetrics"
	headerIndexMetricsV2 = "x-ms-cosmos-populateindexmetrics-V2"
	headerExplain        = "x-latchkey-explain"
)

// indexMetrics answers these questions.
func (x *exchange) indexMetrics(p docdb.Page) {
	h := x.w.Header()
	if p.Explanation != nil {
		h.Set(headerExplain, url.PathEscape(string(mustJSON(p.Explanation))))
	}
	switch {
	case p.Usage == nil:
	case x.flag(headerIndexMetricsV2):
		h.Set("x-ms-cosmos-index-utilization", url.PathEscape(string(mustJSON(map[string]indexList{
			"Utilized": listOf(p.Usage.Single, p.Usage.Composite), "Potential": listOf(p.Usage.PotentialSingle, p.Usage.PotentialComposite)}))))
	default:
		h.Set("x-ms-cosmos-index-utilization", base64.StdEncoding.EncodeToString(mustJSON(map[string]any{
			"UtilizedSingleIndexes": listOf(p.Usage.Single, nil).Single, "PotentialSingleIndexes": listOf(p.Usage.PotentialSingle, nil).Single,
			"UtilizedCompositeIndexes": listOf(nil, p.Usage.Composite).Composite, "PotentialCompositeIndexes": listOf(nil, p.Usage.PotentialComposite).Composite})))
	}
}

// indexList is a list of indexes on the wire.
type indexList struct {
	Single    []singleIndex    `json:"SingleIndexes"`
	Composite []compositeIndex `json:"CompositeIndexes"`
}

type singleIndex struct {
	Filter    string `json:"FilterExpression"`
	Spec      string `json:"IndexSpec"`
	Precise   bool   `json:"FilterPreciseSet"`
	PreciseIx bool   `json:"IndexPreciseSet"`
	Impact    string `json:"IndexImpactScore"`
}

type compositeIndex struct {
	Specs     []string `json:"IndexSpecs"`
	PreciseIx bool     `json:"IndexPreciseSet"`
	Impact    string   `json:"IndexImpactScore"`
}

func listOf(single []string, composite [][]string) indexList {
	out := indexList{[]singleIndex{}, []compositeIndex{}} // never null
	for _, s := range single {
		out.Single = append(out.Single, singleIndex{"", s, true, true, "High"})
	}
	for _, c := range composite {
		out.Composite = append(out.Composite, compositeIndex{c, true, "High"})
	}
	return out
}

// results runs a query. The one that asks for all documents is a feed, and is answered as one.
func (x *exchange) results(f docdb.FeedRequest, q docdb.Query) (docdb.Page, error) {
	if isEverything(q.Text) && !f.Usage && !f.Explain {
		return x.Service.ReadFeed(x.r.Context(), x.caller, f)
	}
	return x.Service.Query(x.r.Context(), x.caller, f, q)
}

func isEverything(text string) bool {
	m := simpleQuery.FindStringSubmatch(text)
	return m != nil && m[2] == ""
}

// metrics is what clients show of a query's work, in the service's form. Clients read all of its members; of
// the times only the whole is measured here.
func metrics(p docdb.Page, took time.Duration) string {
	ms := float64(took.Microseconds()) / 1000
	given := 0
	for _, i := range p.Items {
		given += len(i)
	}
	hits := 1.0
	if p.Retrieved > 0 {
		hits = min(1, float64(len(p.Items))/float64(p.Retrieved))
	}
	return fmt.Sprintf("totalExecutionTimeInMs=%.2f;queryCompileTimeInMs=0.00;queryLogicalPlanBuildTimeInMs=0.00;queryPhysicalPlanBuildTimeInMs=0.00;"+
		"queryOptimizationTimeInMs=0.00;VMExecutionTimeInMs=%.2f;indexLookupTimeInMs=0.00;instructionCount=0;documentLoadTimeInMs=0.00;systemFunctionExecuteTimeInMs=0.00;"+
		"userFunctionExecuteTimeInMs=0.00;retrievedDocumentCount=%d;retrievedDocumentSize=%d;outputDocumentCount=%d;outputDocumentSize=%d;writeOutputTimeInMs=0.00;indexUtilizationRatio=%.2f",
		ms, ms, p.Retrieved, p.RetrievedBytes, len(p.Items), given, hits)
}

// planBody is a query plan on the wire.
type planBody struct {
	Version int         `json:"partitionedQueryExecutionInfoVersion"`
	Info    planInfo    `json:"queryInfo"`
	Ranges  []planRange `json:"queryRanges"`
}

// planInfo says what the client has to do with the results of several ranges.
type planInfo struct {
	Distinct        string             `json:"distinctType"`
	Top             *int64             `json:"top"`
	Offset          *int64             `json:"offset"`
	Limit           *int64             `json:"limit"`
	OrderBy         []string           `json:"orderBy"`
	OrderByExprs    []string           `json:"orderByExpressions"`
	GroupByExprs    []string           `json:"groupByExpressions"`
	GroupByAliases  []string           `json:"groupByAliases"`
	Aggregates      []string           `json:"aggregates"`
	AliasAggregates map[string]*string `json:"groupByAliasToAggregateType"`
	Rewritten       string             `json:"rewrittenQuery"`
	SelectValue     bool               `json:"hasSelectValue"`
	DCount          *dCount            `json:"dCountInfo"`
	NonStreaming    bool               `json:"hasNonStreamingOrderBy"`
}

type dCount struct {
	Alias string `json:"dCountAlias"`
}

type planRange struct {
	Min          string `json:"min"`
	Max          string `json:"max"`
	MinInclusive bool   `json:"isMinInclusive"`
	MaxInclusive bool   `json:"isMaxInclusive"`
}

// queryPlan tells the client how it runs a query over the ranges of the container.
func (x *exchange) queryPlan() error {
	f, err := x.feedRequest()
	if err != nil {
		return err
	}
	q, err := x.statement()
	if err != nil {
		return err
	}
	features := strings.FieldsFunc(x.r.Header.Get("x-ms-cosmos-supported-query-features"), func(r rune) bool { return r == ',' || r == ' ' })
	plan, err := x.Service.QueryPlan(x.r.Context(), x.caller, f, q, features)
	if err != nil {
		return err
	}
	x.receipt(plan.Receipt)
	body := planBody{Version: 2, Info: info(plan)}
	for _, r := range plan.Ranges {
		body.Ranges = append(body.Ranges, planRange{r.Min, r.Max, true, r.Point})
	}
	x.answer(http.StatusOK, mustJSON(body))
	return nil
}

func info(p docdb.QueryPlan) planInfo {
	list := func(s []string) []string { return append([]string{}, s...) } // never null
	out := planInfo{Distinct: p.Distinct, Top: p.Top, Offset: p.Offset, Limit: p.Limit, OrderBy: list(p.OrderBy), OrderByExprs: list(p.OrderByExpressions),
		GroupByExprs: list(p.GroupByExpressions), GroupByAliases: list(p.GroupByAliases), Aggregates: list(p.Aggregates),
		AliasAggregates: p.AliasAggregates, Rewritten: p.Rewritten, SelectValue: p.SelectValue}
	if p.DCount != nil {
		out.DCount = &dCount{*p.DCount}
	}
	return out
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
