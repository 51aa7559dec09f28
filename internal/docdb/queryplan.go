package docdb

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/docdb/sql"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// QueryPlan is how a client runs a query over the partition key ranges of a container: what it sends to each, and to
// which effective partition keys.
type QueryPlan struct {
	Receipt
	sql.Distribution
	Ranges []KeyRange
}

// KeyRange is a range of effective partition keys, in upper-case hexadecimal; of a single key both ends,
// which then belong to it.
type KeyRange struct {
	Min, Max string
	Point    bool
}

// QueryPlan plans a query for a client that can do so much. A query that needs more is refused.
func (s *Service) QueryPlan(ctx context.Context, c principal.Caller, q FeedRequest, query Query, features []string) (QueryPlan, error) {
	r, state, end, err := s.begin(ctx, c, actionQuery, q.Path, q.Consistency)
	if err != nil {
		return QueryPlan{}, err
	}
	defer end()
	plan, err := r.plans.compile(query.Text)
	if err != nil {
		return QueryPlan{}, err
	}
	ranges, err := q.targets(state, plan, query, r)
	if err != nil {
		return QueryPlan{}, queryFault(err)
	}
	d, err := plan.Distribute(sql.Params(query.Parameters), len(ranges) == 1 && ranges[0].Point)
	if err != nil {
		return QueryPlan{}, queryFault(err)
	}
	for _, f := range d.Features {
		if len(features) > 0 && !slices.ContainsFunc(features, func(x string) bool { return strings.EqualFold(x, f) }) {
			return QueryPlan{}, badRequest("Query contains 1 or more unsupported features. Upgrade your SDK to a version that does support the requested features:\r\nQuery contained %s, which the calling client does not support.", f)
		}
	}
	receipt, err := r.receipt(state, state.parts[0], state.parts[0].log.Visible(), rounded(queryBase))
	return QueryPlan{receipt, *d, ranges}, err
}

// targets are the partition keys that the documents of a query can have: the one that the request names,
// those that its condition leaves, or all.
func (q *FeedRequest) targets(state *container, plan *sql.Plan, query Query, r *session) ([]KeyRange, error) {
	d := *state.rec.Spec.PartitionKey
	if q.PartitionKey != nil {
		k, err := d.complete(q.PartitionKey)
		if err != nil {
			return nil, err
		}
		return []KeyRange{point(d, k)}, nil
	}
	condition, err := plan.Condition(sql.Params(query.Parameters), r.now)
	if err != nil {
		return nil, err
	}
	keys, all := condition.Keys(d.paths())
	if all && plan.ReadsContainer() {
		return []KeyRange{{Min: lowestEPK, Max: highestEPK}}, nil
	}
	out := pointsOf(d, keys)
	if len(out) == 0 { // nothing can be found; somebody has to say so
		return []KeyRange{{Point: true}}, nil
	}
	return out, nil
}

// paths are the paths of the partition key, as queries name them.
func (d PartitionKeyDefinition) paths() (out []sql.Path) {
	for _, text := range d.Paths {
		names, _ := parsePath(text)
		var p sql.Path
		for _, n := range names {
			p = append(p, sql.Step{Name: n})
		}
		out = append(out, p)
	}
	return out
}

// pointsOf are the effective keys of partition keys, in their order.
func pointsOf(d PartitionKeyDefinition, keys [][]json.RawMessage) (out []KeyRange) {
	for _, values := range keys {
		k := make(PartitionKey, len(values))
		for i, v := range values {
			k[i] = component(jsontext.Value(v))
		}
		out = append(out, point(d, k))
	}
	slices.SortFunc(out, func(a, b KeyRange) int { return cmp.Compare(a.Min, b.Min) })
	return slices.Compact(out)
}

func point(d PartitionKeyDefinition, k PartitionKey) KeyRange {
	at := strings.ToUpper(hex.EncodeToString(effective(d, k)))
	return KeyRange{Min: at, Max: at, Point: true}
}
