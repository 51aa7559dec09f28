package docdb_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// normal writes results so that equal ones are equal texts. Numbers have nine digits: sums may differ in the last ones.
func normal(results []string) []string {
	out := make([]string, len(results))
	for i, r := range results {
		var v any
		if err := json.Unmarshal([]byte(r), &v); err != nil {
			panic(err)
		}
		out[i] = string(mustMarshal(rounded(v)))
	}
	return out
}

func rounded(v any) any {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v+0, 'g', 9, 64) // there is no negative zero
	case []any:
		for i := range v {
			v[i] = rounded(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = rounded(v[k])
		}
	}
	return v
}

// identity is a text that equal values share, and what is missing.
func identity(v any) string {
	if rank(v) == 0 {
		return "missing"
	}
	return normal([]string{string(mustMarshal(v))})[0]
}

// object is what a query constructs of names and values; what is missing is left out.
func object(members ...any) string {
	o := map[string]any{}
	for i := 0; i < len(members); i += 2 {
		if rank(members[i+1]) > 0 {
			o[members[i].(string)] = members[i+1]
		}
	}
	return string(mustMarshal(o))
}

// joined is a query with a JOIN, by itself, under a condition on what is joined, counted, or joined once more.
func (t *trial) joined(where string, docs []map[string]any) (text string, want []string) {
	where = strings.TrimPrefix(where, " FROM c WHERE ")
	form, least := t.roll(4), t.scalar()
	for _, d := range docs {
		items, _ := get(d, "items").([]any)
		tags, _ := get(d, "tags").([]any)
		for _, i := range items {
			n, m := get(i, "n"), get(i, "m")
			switch {
			case form == 0 && rank(m) > 0:
				want = append(want, string(mustMarshal(m)))
			case form == 1 && compared(m, ">=", least) == 1:
				want = append(want, object("id", d["id"], "n", n, "m", m))
			case form == 2 && same(m, least):
				want = append(want, "1")
			case form == 3:
				for _, x := range tags {
					want = append(want, string(mustMarshal([]any{m, x})))
				}
			}
		}
	}
	constant := string(mustMarshal(least))
	switch form {
	case 0:
		return "SELECT VALUE i.m FROM c JOIN i IN c.items WHERE " + where, want
	case 1:
		return "SELECT c.id, i.n, i.m FROM c JOIN i IN c.items WHERE i.m >= " + constant + " AND " + where, want
	case 2:
		return "SELECT VALUE COUNT(1) FROM c JOIN i IN c.items WHERE " + where + " AND i.m = " + constant, []string{fmt.Sprint(len(want))}
	}
	return "SELECT VALUE [i.m, t] FROM c JOIN i IN c.items JOIN t IN c.tags WHERE " + where, want
}

// totals are the aggregates of some values.
func totals(values []any) (least, greatest, sum, average any, count int) {
	least, greatest, sum, average = missing{}, missing{}, 0.0, missing{}
	total := 0.0
	for _, v := range values {
		switch r := rank(v); {
		case r == 0:
			continue
		case r > 5:
			least, greatest = spoiled{}, spoiled{}
		}
		if f, ok := v.(float64); ok {
			total += f
		} else {
			sum = missing{}
		}
		least, greatest = better(least, v, -1), better(greatest, v, 1)
		count++
	}
	if rank(sum) > 0 {
		if sum = total; count > 0 {
			average = total / float64(count)
		}
	}
	return unspoiled(least), unspoiled(greatest), sum, average, count
}

// spoiled is the least or greatest of values that cannot be compared.
type spoiled struct{}

func unspoiled(v any) any {
	if v == (any)(spoiled{}) {
		return missing{}
	}
	return v
}

func better(best, v any, sign int) any {
	if _, bad := best.(spoiled); bad || rank(best) > 0 && order(v, best)*sign <= 0 {
		return best
	}
	return v
}

func values(docs []map[string]any, path string) (out []any) {
	for _, d := range docs {
		out = append(out, get(d, path))
	}
	return out
}

// aggregated is a query of one aggregate of a path, or of several.
func (t *trial) aggregated(where string, docs []map[string]any) (string, []string) {
	path := pick(t.dice, singles...)
	least, greatest, sum, average, count := totals(values(docs, path))
	if t.roll(3) == 0 {
		return "SELECT MIN(c." + path + ") AS lo, MAX(c." + path + ") AS hi, COUNT(c." + path + ") AS n, SUM(c." + path + ") AS s, AVG(c." + path + ") AS m" + where,
			[]string{object("lo", least, "hi", greatest, "n", count, "s", sum, "m", average)}
	}
	one := []any{least, greatest, sum, average, count}
	i := t.roll(len(one))
	text := "SELECT VALUE " + []string{"MIN", "MAX", "SUM", "AVG", "COUNT"}[i] + "(c." + path + ")" + where
	if rank(one[i]) == 0 {
		return text, nil
	}
	return text, []string{string(mustMarshal(one[i]))}
}

// grouped is a query with GROUP BY one path or two, whose groups come in the order of their first documents.
func (t *trial) grouped(where string, docs []map[string]any) (text string, want []string) {
	by, of := pick(t.dice, "a", "o.x", "pk", "tags"), pick(t.dice, singles...)
	two := t.roll(2) == 0
	groups, ids := map[string][]map[string]any{}, []string{}
	for _, d := range docs {
		id := identity(get(d, by))
		if two {
			id += " " + identity(get(d, "sub"))
		}
		if groups[id] == nil {
			ids = append(ids, id)
		}
		groups[id] = append(groups[id], d)
	}
	for _, id := range ids {
		g := groups[id]
		least, greatest, sum, _, count := totals(values(g, of))
		members := []any{"k", get(g[0], by), "n", len(g), "lo", least, "hi", greatest, "s", sum, "c", count}
		if two {
			members = append(members, "sub", get(g[0], "sub"))
		}
		want = append(want, object(members...))
	}
	text = fmt.Sprintf("SELECT c.%[1]s AS k, COUNT(1) AS n, MIN(c.%[2]s) AS lo, MAX(c.%[2]s) AS hi, SUM(c.%[2]s) AS s, COUNT(c.%[2]s) AS c", by, of)
	if two {
		return text + ", c.sub" + where + " GROUP BY c." + by + ", c.sub", want
	}
	return text + where + " GROUP BY c." + by, want
}

// distinct is a query with DISTINCT over one path or two, as they come or in an order.
func (t *trial) distinct(where string, docs []map[string]any) (text string, want []string) {
	clause := ""
	path := pick(t.dice, "a", "o.x", "tags", "items")
	if t.roll(2) == 0 {
		by := pick(t.dice, "a", "-a", "o.x", "-o.x")
		var condition string
		path = strings.TrimPrefix(by, "-")
		docs, condition, clause = inOrderOf(docs, []string{by})
		where += condition
	}
	two := t.roll(2) == 0
	for _, d := range docs {
		v := get(d, path)
		switch {
		case two:
			want = append(want, object("v", v, "pk", d["pk"]))
		case rank(v) > 0:
			want = append(want, string(mustMarshal(v)))
		}
	}
	want = each(want)
	text = "SELECT DISTINCT VALUE c." + path
	if two {
		text = "SELECT DISTINCT c." + path + " AS v, c.pk"
	}
	text += where + clause
	if n, o := t.roll(4), t.roll(3); t.roll(3) == 0 {
		want = want[min(o, len(want)):]
		return fmt.Sprintf("%s OFFSET %d LIMIT %d", text, o, n), want[:min(n, len(want))]
	}
	return text, want
}

// each keeps the first of results that are equal.
func each(results []string) (out []string) {
	seen := []string{}
	for i, n := range normal(results) {
		if !slices.Contains(seen, n) {
			seen, out = append(seen, n), append(out, results[i])
		}
	}
	return out
}
