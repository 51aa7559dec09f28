package sql

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Distribution says how a client runs a query over several partitions: which text it sends to each, and
// what it does with the rows that come back. The forms are those of the service (queryInfo of its query
// plans); clients know them.
type Distribution struct {
	Distinct           string // None, Ordered, Unordered
	Top, Offset, Limit *int64
	OrderBy            []string // Ascending, Descending
	OrderByExpressions []string
	GroupByExpressions []string
	GroupByAliases     []string
	Aggregates         []string           // of SELECT VALUE
	AliasAggregates    map[string]*string // of a select list, by name; nil for what is no aggregate
	Rewritten          string             // "" for the text as it is
	SelectValue        bool
	DCount             *string // what the count of distinct values is called, "" for VALUE
	// Features are what the client must be able to do.
	Features []string
}

// orderFilter is where clients put the condition with which they go on behind a row.
const orderFilter = "({documentdb-formattableorderbyquery-filter})"

// errComposed is the service's refusal of what cannot be put together from the parts.
var errComposed = &SyntaxError{Message: "Compositions of aggregates and other expressions are not allowed."}

// aggregateNames are the words of plans for aggregates.
var aggregateNames = map[string]string{"AVG": "Average", "COUNT": "Count", "COUNTIF": "CountIf", "MAX": "Max", "MIN": "Min", "SUM": "Sum",
	"MAKELIST": "MakeList", "MAKESET": "MakeSet"}

// Distribute works out how the query runs over several partitions. single tells that it looks at one
// logical partition only.
func (p *Plan) Distribute(params Params, single bool) (*Distribution, error) {
	q := p.text
	d := &Distribution{Distinct: "None", AliasAggregates: map[string]*string{}, SelectValue: q.value}
	if inner, alias, ok := q.distinctCount(); ok {
		return &Distribution{Distinct: "Unordered", AliasAggregates: d.AliasAggregates, SelectValue: q.value,
			Rewritten: inner.String(), DCount: &alias, Features: []string{"DCount", "Distinct"}}, nil
	}
	if len(q.from) == 0 {
		return d, nil
	}
	if err := d.window(p, params); err != nil {
		return nil, err
	}
	grouped := len(q.groupBy) > 0 || hasAggregate(q.items)
	if q.distinct {
		d.Distinct = "Unordered"
		d.need("Distinct")
	}
	switch {
	case grouped:
		return d, d.group(q)
	case len(q.orderBy) > 0 && !q.rank:
		d.order(q)
	case q.distinct && (d.Top != nil || d.Offset != nil):
		d.Rewritten = q.unbounded().plain()
	case d.Offset != nil && single:
		d.Offset, d.Limit = nil, nil
	case d.Offset != nil:
		d.Rewritten = q.upTo(*d.Offset + *d.Limit).plain()
	}
	return d, nil
}

// Composed is the refusal of a query whose results cannot be put together from those of several partitions:
// it computes with aggregates. Over one partition it is answered.
func (p *Plan) Composed() error {
	for i, item := range p.text.items {
		if aggregateOf(item.expr) == nil && hasAggregate(p.text.items[i:i+1]) {
			return errComposed
		}
	}
	return nil
}

func (d *Distribution) need(feature string) {
	if !slices.Contains(d.Features, feature) {
		d.Features = append(d.Features, feature)
	}
}

// window reads TOP, OFFSET and LIMIT.
func (d *Distribution) window(p *Plan, params Params) error {
	r := &run{origin: &origin{}, slots: make([]value, p.slots), steps: defaultSteps, memory: defaultMemory, cache: map[string]any{}}
	if err := r.bind(p.params, params); err != nil {
		return err
	}
	for _, c := range []struct {
		bound   *bound
		into    **int64
		feature string
	}{{p.query.top, &d.Top, "Top"}, {p.query.offset, &d.Offset, "OffsetAndLimit"}, {p.query.limit, &d.Limit, "OffsetAndLimit"}} {
		if c.bound == nil {
			continue
		}
		v, err := c.bound.count(r)
		if err != nil {
			return err
		}
		n, whole := v.int64()
		if !whole || n < 0 || n >= maxCount {
			return c.bound.refuse
		}
		*c.into = &n
		d.need(c.feature)
	}
	return nil
}

// plain is a query in the form of plans: like [Query.String], but ASC only where it was written.
func (q *Query) plain() string {
	p := &printer{plan: true}
	p.query(q)
	return p.b.String()
}

func plainExpr(e expr) string {
	p := &printer{plan: true}
	p.expr(e)
	return p.b.String()
}

// unbounded is the query without its bounds.
func (q *Query) unbounded() *Query {
	c := *q
	c.top, c.offset, c.limit = nil, nil, nil
	return &c
}

// upTo is the query with its first n results only.
func (q *Query) upTo(n int64) *Query {
	c := *q
	c.offset, c.limit = &literal{value: integer(0)}, &literal{value: integer(n)}
	return &c
}

// order rewrites a query with ORDER BY: each row comes with what it is sorted by.
func (d *Distribution) order(q *Query) {
	d.need("OrderBy")
	if len(q.orderBy) > 1 {
		d.need("MultipleOrderBy")
	}
	items := make([]string, len(q.orderBy))
	for i, o := range q.orderBy {
		direction := "Ascending"
		if o.desc {
			direction = "Descending"
		}
		text := plainExpr(o.expr)
		d.OrderBy, d.OrderByExpressions = append(d.OrderBy, direction), append(d.OrderByExpressions, text)
		items[i] = `{"item": ` + text + `}`
	}
	if q.distinct && slices.Equal(d.OrderByExpressions, q.selected()) {
		d.Distinct = "Ordered"
	}
	p := &printer{plan: true}
	p.put("SELECT ")
	switch {
	case q.distinct:
	case q.top != nil:
		p.put("TOP ", q.top, " ")
	}
	p.put(q.from[0].alias, "._rid, [", strings.Join(items, ", "), "] AS orderByItems, ", q.payload(plainExpr), " AS payload")
	p.sources(q)
	p.put(" WHERE ", q.resumable())
	p.order(q)
	if d.Offset != nil && !q.distinct {
		p.put(" OFFSET 0 LIMIT ", strconv.FormatInt(*d.Offset+*d.Limit, 10))
	}
	d.Rewritten = p.b.String()
}

// selected are the expressions of the select list.
func (q *Query) selected() (out []string) {
	for _, i := range q.items {
		out = append(out, plainExpr(i.expr))
	}
	return out
}

// resumable is the condition of a query with a place for that of the client. A value that is selected must
// be there, for a row without one would be no result.
func (q *Query) resumable() string {
	text := orderFilter
	if q.where != nil {
		text = "(" + plainExpr(q.where) + " AND " + text + ")"
	}
	if q.value {
		text = "(" + text + " AND IS_DEFINED(" + plainExpr(q.items[0].expr) + "))"
	}
	return text
}

// payload is what the query selects, as one value.
func (q *Query) payload(write func(expr) string) string {
	if q.star {
		return q.from[0].alias
	}
	if q.value {
		return write(q.items[0].expr)
	}
	parts := make([]string, len(q.items))
	for i, name := range q.names() {
		parts[i] = quote(name) + ": " + write(q.items[i].expr)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// names are what the members of results are called.
func (q *Query) names() []string {
	out := make([]string, len(q.items))
	unnamed := 0
	for i, item := range q.items {
		if out[i] = item.name(); out[i] == "" {
			unnamed++
			out[i] = "$" + strconv.Itoa(unnamed)
		}
	}
	return out
}

// group rewrites a query with aggregates or GROUP BY: each partition gives the parts of its groups.
func (d *Distribution) group(q *Query) error {
	count := 0
	for i, item := range q.items {
		f := aggregateOf(item.expr)
		if f == nil {
			if hasAggregate(q.items[i : i+1]) {
				return errComposed
			}
			continue
		}
		count++
		d.feature(f, q)
	}
	if count > 1 {
		d.need("MultipleAggregates")
	}
	d.named(q)
	p := &printer{plan: true}
	p.put("SELECT ")
	switch {
	case len(q.groupBy) > 0:
		p.put("[", d.keys(q), "] AS groupByItems, ", q.payload(partial(q)), " AS payload")
	case q.value:
		p.put("VALUE ", q.payload(partial(q)))
	default:
		p.put(q.payload(partial(q)), " AS payload")
	}
	p.sources(q)
	if q.where != nil {
		p.put(" WHERE ", q.where)
	}
	if len(q.groupBy) > 0 {
		p.put(" GROUP BY ")
		p.exprs(q.groupBy)
	}
	p.order(q)
	d.Rewritten = p.b.String()
	return nil
}

func (d *Distribution) feature(f *call, q *Query) {
	switch strings.ToUpper(f.name) {
	case "COUNTIF":
		d.need("CountIf")
	case "MAKELIST", "MAKESET":
		d.need("ListAndSetAggregate")
	}
	if q.value || len(q.groupBy) > 0 {
		d.need("Aggregate")
	} else {
		d.need("NonValueAggregate")
	}
}

// named tells which results are aggregates.
func (d *Distribution) named(q *Query) {
	if q.value {
		if f := aggregateOf(q.items[0].expr); f != nil {
			d.Aggregates = []string{aggregateNames[strings.ToUpper(f.name)]}
		}
		return
	}
	for i, name := range q.names() {
		d.GroupByAliases = append(d.GroupByAliases, name)
		d.AliasAggregates[name] = nil
		if f := aggregateOf(q.items[i].expr); f != nil {
			kind := aggregateNames[strings.ToUpper(f.name)]
			d.AliasAggregates[name] = &kind
		}
	}
}

// keys are the values that groups are told apart by.
func (d *Distribution) keys(q *Query) string {
	d.need("GroupBy")
	parts := make([]string, len(q.groupBy))
	for i, e := range q.groupBy {
		text := plainExpr(e)
		d.GroupByExpressions = append(d.GroupByExpressions, text)
		parts[i] = `{"item": ` + text + `}`
	}
	return strings.Join(parts, ", ")
}

// aggregateOf is the aggregate that an expression is; nil for anything else.
func aggregateOf(e expr) *call {
	if f, ok := e.(*call); ok && !f.udf && aggregates[strings.ToUpper(f.name)] != nil {
		return f
	}
	return nil
}

// partial writes what one partition gives for an expression of the select list: of an aggregate, what the
// client puts together with those of other partitions.
func partial(q *Query) func(expr) string {
	return func(e expr) string {
		f := aggregateOf(e)
		if f == nil {
			return plainExpr(e)
		}
		p := &printer{plan: true}
		p.exprs(f.args)
		arg, name := p.b.String(), strings.ToUpper(f.name)
		text := `{"item": ` + name + "(" + arg + ")}"
		switch name {
		case "AVG":
			text = `{"item": {"sum": SUM(` + arg + `), "count": COUNT(` + arg + `)}}`
		case "MIN", "MAX":
			text = `{"item": ` + name + "(" + arg + `), "item2": {` + quote(strings.ToLower(name)) + ": " + name + "(" + arg + `), "count": COUNT(` + arg + `)}}`
		}
		if q.value {
			return "[" + text + "]"
		}
		return text
	}
}

// distinctCount recognises the count of different values: a count over nothing but a DISTINCT subquery.
func (q *Query) distinctCount() (inner *Query, alias string, ok bool) {
	if len(q.from) != 1 || q.from[0].query == nil || q.from[0].iterate || q.where != nil || len(q.items) != 1 || len(q.groupBy) > 0 || q.top != nil || q.offset != nil {
		return nil, "", false
	}
	f := aggregateOf(q.items[0].expr)
	inner = q.from[0].query
	if f == nil || !strings.EqualFold(f.name, "COUNT") || !constant(f.args[0]) || !inner.distinct || len(inner.groupBy) > 0 || hasAggregate(inner.items) {
		return nil, "", false
	}
	if !q.value {
		alias = q.names()[0]
	}
	return inner, alias, true
}

// Keys are the partition keys that the documents of a query can have: one value for each of some paths,
// as JSON. all tells that they can have any.
func (c *Condition) Keys(paths []Path) (keys [][]json.RawMessage, all bool) {
	if c != nil && c.Test == Or {
		for _, x := range c.Of {
			some, any := x.Keys(paths)
			if any {
				return nil, true
			}
			keys = append(keys, some...)
		}
		return keys, len(keys) > maxKeys
	}
	if c == never {
		return nil, false
	}
	keys = [][]json.RawMessage{nil}
	for _, p := range paths {
		values, ok := c.at(p)
		if !ok {
			return nil, true
		}
		var longer [][]json.RawMessage
		for _, k := range keys {
			for _, v := range values {
				longer = append(longer, append(slices.Clip(k), v))
			}
		}
		if keys = longer; len(keys) > maxKeys {
			return nil, true
		}
	}
	return keys, false
}

// maxKeys bounds the keys of a query that is sent to some partitions only.
const maxKeys = 1000

// at are the values that a condition leaves at a path; ok is false when it leaves any.
func (c *Condition) at(p Path) (values []json.RawMessage, ok bool) {
	switch {
	case c == nil:
		return nil, false
	case c.Test == In && slices.Equal(c.Path, p):
		return c.Values, true
	case c.Test == HasType && slices.Equal(c.Path, p) && string(c.Values[0]) == "null":
		return c.Values, true
	case c.Test != And:
		return nil, false
	}
	for _, x := range c.Of {
		some, known := x.at(p)
		switch {
		case x == never:
			return nil, true
		case known && ok:
			values = slices.DeleteFunc(slices.Clone(values), func(v json.RawMessage) bool {
				return !slices.ContainsFunc(some, func(w json.RawMessage) bool { return string(v) == string(w) })
			})
		case known:
			values, ok = some, true
		}
	}
	return values, ok
}
