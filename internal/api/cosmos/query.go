package cosmos

import (
	"encoding/json"
	"net/http"
	"regexp"

	"github.com/go-json-experiment/json/jsontext"

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

func (x *exchange) queryBody() (text string, params map[string]json.RawMessage, err error) {
	body, err := x.body()
	if err != nil {
		return "", nil, err
	}
	var in queryBody
	if jsonx.Check(body) != nil || json.Unmarshal(body, &in) != nil || in.Query == nil {
		return "", nil, fault.New(fault.Invalid, "BadRequest", "The body of a query must be a JSON object with the members query and parameters.")
	}
	params = map[string]json.RawMessage{}
	for _, p := range in.Parameters {
		params[p.Name] = p.Value
	}
	return *in.Query, params, nil
}

// query answers a query over documents. The container is one range, so the answer is final: there is
// nothing left for the client to merge.
func (x *exchange) query() error {
	if err := x.checkQuery(); err != nil {
		return err
	}
	return x.readFeed()
}

// checkQuery accepts the one query that a feed answers: all documents.
func (x *exchange) checkQuery() error {
	text, _, err := x.queryBody()
	if err != nil {
		return err
	}
	if m := metadataQuery.FindStringSubmatch(text); m == nil || m[2] != "" {
		return unsupported("queries over documents other than SELECT * FROM c")
	}
	return nil
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
	if err := x.checkQuery(); err != nil {
		return err
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

// metadataQuery is what queries over databases, containers and offers may be: everything, or what has
// one member with one value. Clients ask for no more than that.
var metadataQuery = regexp.MustCompile(`(?is)^\s*SELECT\s+\*\s+FROM\s+(?:root\s+)?(\w+)(?:\s+WHERE\s+(\w+)(?:\.(\w+)|\[\s*["'](\w+)["']\s*\])\s*=\s*(?:'([^'\\]*)'|"([^"\\]*)"|(@\w+)))?\s*;?\s*$`)

// selected answers with a feed of resources, or with those that a query chooses.
func (x *exchange) selected(rid, name string, all [][]byte) error {
	if x.isQuery() {
		text, params, err := x.queryBody()
		if err != nil {
			return err
		}
		if all, err = selectWhere(text, params, all); err != nil {
			return err
		}
	}
	x.feed(rid, name, all)
	return nil
}

func selectWhere(text string, params map[string]json.RawMessage, all [][]byte) ([][]byte, error) {
	m := metadataQuery.FindStringSubmatch(text)
	if m == nil || m[2] != "" && m[2] != m[1] {
		return nil, fault.New(fault.Invalid, "BadRequest",
			"Queries over databases, containers and offers may only be SELECT * FROM c, or that with WHERE c.member = a string.")
	}
	if m[2] == "" {
		return all, nil
	}
	wanted := m[5] + m[6]
	if m[7] != "" {
		wanted = jsonx.Unquote(jsontext.Value(params[m[7]]))
	}
	var out [][]byte
	for _, resource := range all {
		if v, ok := jsonx.Find(resource, m[3]+m[4]); ok && v.Kind() == '"' && jsonx.Unquote(v) == wanted {
			out = append(out, resource)
		}
	}
	return out, nil
}
