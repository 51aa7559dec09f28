package docdb_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
)

func pick[T any](d *dice, list ...T) T { return list[d.roll(len(list))] }

// missing is a value that is not there.
type missing struct{}

// The pools that documents and queries are made of; small ones, so that they meet.
var (
	long    = strings.Repeat("x", 300)
	scalars = []any{nil, true, false, -1.0, 0.0, math.Copysign(0, -1), 1.0, 1.5, 2.0, 1e16, "", "a", "ab", "b", "a\x00c", "é", long + "1", long + "2", long}
	singles = []string{"a", "b", "o.x", `o["y z"]`, "deep.er.est"}
)

func (d *dice) scalar() any { return scalars[d.roll(len(scalars))] }

// value is any value, scalars most of the time.
func (d *dice) value() any {
	switch d.roll(12) {
	case 0:
		return []any{d.scalar(), d.scalar()}
	case 1:
		return map[string]any{"x": d.scalar()}
	}
	return d.scalar()
}

func (d *dice) document(id string) map[string]any {
	doc := map[string]any{"id": id, "pk": pick(d, "p", "q", "r"), "sub": pick(d, "p", "q")}
	for _, name := range []string{"a", "b"} {
		if d.roll(5) > 0 {
			doc[name] = d.value()
		}
	}
	if d.roll(3) > 0 {
		o := map[string]any{}
		for _, name := range []string{"x", "y z"} {
			if d.roll(3) > 0 {
				o[name] = d.value()
			}
		}
		doc["o"] = o
	}
	if d.roll(3) == 0 {
		doc["deep"] = map[string]any{"er": map[string]any{"est": d.value()}}
	}
	if d.roll(2) == 0 {
		doc["tags"] = []any{d.scalar(), d.scalar(), d.scalar()}[:d.roll(4)]
	}
	if d.roll(2) == 0 {
		items := []any{}
		for range d.roll(3) {
			items = append(items, map[string]any{"n": d.value(), "m": d.scalar()})
		}
		doc["items"] = items
	}
	if d.roll(6) == 0 {
		doc[fmt.Sprintf("odd%d", d.roll(40))] = d.scalar()
	}
	return doc
}

// get is the value at a path as the queries write it.
func get(doc any, path string) any {
	path = strings.ReplaceAll(path, `["y z"]`, ".y z")
	for name := range strings.SplitSeq(path, ".") {
		o, ok := doc.(map[string]any)
		if !ok {
			return missing{}
		}
		if doc, ok = o[name]; !ok {
			return missing{}
		}
	}
	return doc
}

// rank is the place of a value's type in the order of types.
func rank(v any) int {
	switch v := v.(type) {
	case missing:
		return 0
	case nil:
		return 1
	case bool:
		if v {
			return 3
		}
		return 2
	case float64:
		return 4
	case string:
		return 5
	case []any:
		return 6
	}
	return 7
}

// order compares two values in ORDER BY.
func order(a, b any) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case float64:
		return cmp.Compare(a, b.(float64))
	case string:
		return strings.Compare(a, b.(string))
	case []any:
		return slices.CompareFunc(a, b.([]any), order)
	case map[string]any:
		return 0 // objects have an order of their own, which the test does not know
	}
	return 0
}

func same(a, b any) bool {
	if rank(a) == 0 || rank(b) == 0 {
		return false
	}
	if o, ok := a.(map[string]any); ok {
		p, ok := b.(map[string]any)
		return ok && string(mustMarshal(o)) == string(mustMarshal(p))
	}
	return rank(a) == rank(b) && order(a, b) == 0
}

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// truth is a value of three-valued logic: 1, 0, or -1 for undefined.
type truth int

func known(b bool) truth {
	if b {
		return 1
	}
	return 0
}

func not(t truth) truth {
	if t < 0 {
		return t
	}
	return 1 - t
}

// predicate is a condition of a query and what it means.
type predicate struct {
	text string
	eval func(doc map[string]any) truth
}

// maker makes queries; it collects their parameters.
type maker struct {
	*dice
	params map[string]json.RawMessage
}

// constant writes a constant, as a literal or a parameter.
func (m *maker) constant(v any) string {
	text := string(mustMarshal(v))
	if m.roll(2) == 0 {
		return text
	}
	name := fmt.Sprintf("@p%d", len(m.params))
	m.params[name] = json.RawMessage(text)
	return name
}

func (m *maker) predicate(depth int) predicate {
	if depth > 0 {
		switch m.roll(6) {
		case 0, 1:
			a, b := m.predicate(depth-1), m.predicate(depth-1)
			return predicate{"(" + a.text + " AND " + b.text + ")", func(d map[string]any) truth {
				x, y := a.eval(d), b.eval(d)
				switch {
				case x == 0 || y == 0:
					return 0
				case x < 0 || y < 0:
					return -1
				}
				return 1
			}}
		case 2, 3:
			a, b := m.predicate(depth-1), m.predicate(depth-1)
			return predicate{"(" + a.text + " OR " + b.text + ")", func(d map[string]any) truth {
				x, y := a.eval(d), b.eval(d)
				switch {
				case x == 1 || y == 1:
					return 1
				case x < 0 || y < 0:
					return -1
				}
				return 0
			}}
		case 4:
			a := m.predicate(depth - 1)
			return predicate{"NOT (" + a.text + ")", func(d map[string]any) truth { return not(a.eval(d)) }}
		}
	}
	return m.leaf()
}

func (m *maker) leaf() predicate {
	path, v, w := singles[m.roll(len(singles))], m.scalar(), m.scalar()
	c := "c." + path
	if m.roll(12) == 0 {
		v = m.value()
	}
	at := func(d map[string]any) any { return get(d, path) }
	switch m.roll(15) {
	case 14:
		path, v := pick(m.dice, "pk", "sub"), any(pick(m.dice, "p", "q", "none"))
		return predicate{"c." + path + " = " + m.constant(v), func(d map[string]any) truth { return equal(get(d, path), v) }}
	case 0, 1, 2:
		text := c + " = " + m.constant(v)
		if m.roll(4) == 0 {
			text = m.constant(v) + " = " + c
		}
		return predicate{text, func(d map[string]any) truth { return equal(at(d), v) }}
	case 3:
		return predicate{c + " != " + m.constant(v), func(d map[string]any) truth { return not(equal(at(d), v)) }}
	case 4, 5:
		op := pick(m.dice, "<", "<=", ">", ">=")
		return predicate{c + " " + op + " " + m.constant(v), func(d map[string]any) truth { return compared(at(d), op, v) }}
	case 6:
		return predicate{c + " BETWEEN " + m.constant(v) + " AND " + m.constant(w), func(d map[string]any) truth {
			x, y := compared(at(d), ">=", v), compared(at(d), "<=", w)
			switch {
			case x == 0 || y == 0:
				return 0
			case x < 0 || y < 0:
				return -1
			}
			return 1
		}}
	case 7:
		return predicate{c + " IN (" + m.constant(v) + ", " + m.constant(w) + ")", func(d map[string]any) truth {
			x := at(d)
			if rank(x) == 0 {
				return -1
			}
			return known(same(x, v) || same(x, w))
		}}
	case 8:
		prefix := pick(m.dice, "", "a", "ab", "é", long, long+"1")
		text := "STARTSWITH(" + c + ", " + m.constant(prefix) + ")"
		if m.roll(2) == 0 {
			text = c + " LIKE " + m.constant(prefix+"%")
		}
		return predicate{text, func(d map[string]any) truth {
			s, ok := at(d).(string)
			if !ok {
				return -1
			}
			return known(strings.HasPrefix(s, prefix))
		}}
	case 9:
		return predicate{"IS_DEFINED(" + c + ")", func(d map[string]any) truth { return known(rank(at(d)) > 0) }}
	case 10:
		f := pick(m.dice, "IS_NULL", "IS_BOOL", "IS_NUMBER", "IS_STRING")
		return predicate{f + "(" + c + ")", func(d map[string]any) truth {
			r := rank(at(d))
			return known(map[string]bool{"IS_NULL": r == 1, "IS_BOOL": r == 2 || r == 3, "IS_NUMBER": r == 4, "IS_STRING": r == 5}[f])
		}}
	case 11:
		return predicate{c, func(d map[string]any) truth {
			b, ok := at(d).(bool)
			if !ok {
				return -1
			}
			return known(b)
		}}
	case 12:
		return m.ofElements(v, w)
	}
	return predicate{"ARRAY_CONTAINS(" + m.constant([]any{v, w}) + ", " + c + ")", func(d map[string]any) truth {
		x := at(d)
		if rank(x) == 0 {
			return -1
		}
		return known(same(x, v) || same(x, w))
	}}
}

// ofElements asks about the elements of arrays.
func (m *maker) ofElements(v, w any) predicate {
	switch m.roll(3) {
	case 0:
		return predicate{"ARRAY_CONTAINS(c.tags, " + m.constant(v) + ")", func(d map[string]any) truth {
			list, ok := get(d, "tags").([]any)
			if !ok {
				return -1
			}
			return known(slices.ContainsFunc(list, func(x any) bool { return same(x, v) }))
		}}
	case 1:
		return predicate{"EXISTS(SELECT VALUE i FROM i IN c.items WHERE i.n = " + m.constant(v) + " AND i.m > " + m.constant(w) + ")", func(d map[string]any) truth {
			list, _ := get(d, "items").([]any)
			return known(slices.ContainsFunc(list, func(x any) bool {
				return equal(get(x, "n"), v) == 1 && compared(get(x, "m"), ">", w) == 1
			}))
		}}
	}
	return predicate{"c.items[0].m = " + m.constant(v), func(d map[string]any) truth {
		list, _ := get(d, "items").([]any)
		if len(list) == 0 {
			return -1
		}
		return equal(get(list[0], "m"), v)
	}}
}

func equal(a, b any) truth {
	if rank(a) == 0 {
		return -1
	}
	return known(same(a, b))
}

func compared(a any, op string, b any) truth {
	class := func(v any) int {
		if r := rank(v); r == 3 {
			return 2
		} else {
			return r
		}
	}
	if class(a) != class(b) || rank(a) == 0 || rank(a) > 5 {
		return -1
	}
	c := order(a, b)
	return known(map[string]bool{"<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op])
}

// trial is one container with its documents and what is known of them.
type trial struct {
	*world
	*dice
	path  docdb.ContainerPath
	docs  map[string]map[string]any // by partition key and id
	count int
	deep  bool // the partition key is hierarchical
}

// key is a document's partition key, or the part of one that a request may name.
func (t *trial) key(pk, sub any) string {
	if t.deep && sub != nil {
		return string(mustMarshal([]any{pk, sub}))
	}
	return string(mustMarshal([]any{pk}))
}

// name is what a document is known by.
func (t *trial) name(doc map[string]any) string {
	return t.key(doc["pk"], doc["sub"]) + "/" + doc["id"].(string)
}

// policies of indexing, all of them with what the queries sort by.
func (d *dice) policy() string {
	paths := pick(d,
		`"includedPaths":[{"path":"/*"}],"excludedPaths":[]`,
		`"includedPaths":[{"path":"/*"}],"excludedPaths":[{"path":"/b/?"},{"path":"/tags/*"},{"path":"/deep/*"}]`,
		`"includedPaths":[{"path":"/a/?"},{"path":"/o/*"},{"path":"/items/[]/m/?"}],"excludedPaths":[{"path":"/*"}]`)
	return `{"indexingMode":"consistent",` + paths + `,"compositeIndexes":[[{"path":"/a","order":"ascending"},{"path":"/b","order":"descending"}],[{"path":"/o/x"},{"path":"/a"}]]}`
}

func (t *trial) properties() json.RawMessage {
	paths := `["/pk"],"kind":"Hash"`
	if t.deep {
		paths = `["/pk","/sub"],"kind":"MultiHash"`
	}
	return json.RawMessage(`{"id":"c","partitionKey":{"paths":` + paths + `,"version":2},"indexingPolicy":` + t.policy() + `}`)
}

// change does one random thing to the documents.
func (t *trial) change() {
	ctx := context.Background()
	if len(t.docs) > 0 && t.roll(3) == 0 {
		keys := make([]string, 0, len(t.docs))
		for k := range t.docs {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		k := keys[t.roll(len(keys))]
		pk, id, _ := strings.Cut(k, "/")
		r := at(t.path, pk)
		if t.roll(2) == 0 {
			if _, err := t.DeleteItem(ctx, key, r, id); err != nil {
				t.t.Fatal(err)
			}
			delete(t.docs, k)
			return
		}
		doc := t.document(id)
		doc["pk"] = t.docs[k]["pk"]
		if t.deep {
			doc["sub"] = t.docs[k]["sub"]
		}
		if _, err := t.ReplaceItem(ctx, key, r, id, mustMarshal(doc)); err != nil {
			t.t.Fatal(err)
		}
		delete(t.docs, k)
		t.docs[t.name(doc)] = doc
		return
	}
	t.count++
	doc := t.document(fmt.Sprint(t.count))
	if _, err := t.CreateItem(ctx, key, at(t.path, t.key(doc["pk"], doc["sub"])), mustMarshal(doc)); err != nil {
		t.t.Fatal(err)
	}
	t.docs[t.name(doc)] = doc
}

// inOrder are the documents in the order of their resource ids, as the feed gives them.
func (t *trial) inOrder(f docdb.FeedRequest) (out []map[string]any) {
	f.MaxItems = -1
	for {
		page, err := t.ReadFeed(context.Background(), key, f)
		if err != nil {
			t.t.Fatal(err)
		}
		for _, raw := range page.Items {
			var doc map[string]any
			if err := json.Unmarshal(raw, &doc); err != nil {
				t.t.Fatal(err)
			}
			out = append(out, t.docs[t.name(doc)])
		}
		if f.Continuation = page.Continuation; f.Continuation == "" {
			return out
		}
	}
}

// ask runs one random query in random pages and compares the answer with what it must be.
func (t *trial) ask() {
	m := &maker{t.dice, map[string]json.RawMessage{}}
	where := m.predicate(t.roll(4))
	f := docdb.FeedRequest{Path: t.path, MaxItems: pick(t.dice, 1, 2, 3, 7, -1)}
	if t.roll(3) == 0 {
		k, err := docdb.ParsePartitionKey(t.key(pick(t.dice, "p", "q", "r", "none"), pick[any](t.dice, "p", "q", nil)))
		if err != nil {
			t.t.Fatal(err)
		}
		f.PartitionKey = &k
	}
	var docs []map[string]any
	for _, d := range t.inOrder(docdb.FeedRequest{Path: t.path, PartitionKey: f.PartitionKey}) {
		if where.eval(d) == 1 {
			docs = append(docs, d)
		}
	}
	text, want := t.shape(where.text, docs)
	got, _ := t.run(f, docdb.Query{Text: text, Parameters: m.params})
	defer docdb.WithoutIndex()()
	scanned, _ := t.run(f, docdb.Query{Text: text, Parameters: m.params})
	if want = normal(want); !slices.Equal(normal(got), want) || !slices.Equal(normal(scanned), want) {
		t.t.Fatalf("%s\n with %s, in pages of %d of %v\n index %.2000s\n scan  %.2000s\n want  %.2000s", text, mustMarshal(m.params), f.MaxItems, f.PartitionKey, got, scanned, want)
	}
}

// shape makes a query of a condition, and its answer of the documents that fulfil it.
func (t *trial) shape(where string, docs []map[string]any) (text string, want []string) {
	where = " FROM c WHERE " + where
	names := func(list []map[string]any) (out []string) {
		for _, d := range list {
			out = append(out, string(mustMarshal(d["id"])))
		}
		return out
	}
	switch t.roll(13) {
	case 8:
		return t.joined(where, docs)
	case 9:
		return t.grouped(where, docs)
	case 10:
		return t.aggregated(where, docs)
	case 11, 12:
		return t.distinct(where, docs)
	case 0:
		return "SELECT VALUE COUNT(1)" + where, []string{fmt.Sprint(len(docs))}
	case 1:
		n, o := t.roll(5), t.roll(5)
		all := names(docs)
		all = all[min(o, len(all)):]
		return fmt.Sprintf("SELECT VALUE c.id%s OFFSET %d LIMIT %d", where, o, n), all[:min(n, len(all))]
	case 2:
		seen := map[string]bool{}
		for _, d := range docs {
			if v := get(d, "o.x"); rank(v) > 0 && rank(v) < 6 && !seen[identity(v)] {
				seen[identity(v)] = true
				want = append(want, string(mustMarshal(d["id"])))
			}
		}
		return "SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.o.x" + where + " AND IS_PRIMITIVE(c.o.x)) AS x", []string{fmt.Sprint(len(want))}
	case 3, 4, 5:
		by := pick(t.dice, []string{"a"}, []string{"o.x"}, []string{"a", "-b"}, []string{"-a", "b"}, []string{"o.x", "a"}, []string{"-a"}, []string{"-o.x"}, []string{"-o.x", "-a"})
		return t.sorted(where, by, docs, names)
	}
	return "SELECT VALUE c.id" + where, names(docs)
}

func (t *trial) sorted(where string, by []string, docs []map[string]any, names func([]map[string]any) []string) (string, []string) {
	docs, condition, clause := inOrderOf(docs, by)
	text, all := "SELECT VALUE c.id"+where+condition+clause, names(docs)
	switch n := t.roll(6); t.roll(4) {
	case 0:
		return fmt.Sprintf("%s OFFSET 0 LIMIT %d", text, n), all[:min(n, len(all))]
	case 1:
		return strings.Replace(text, "SELECT", fmt.Sprint("SELECT TOP ", n), 1), all[:min(n, len(all))]
	}
	return text, all
}

// inOrderOf sorts documents, and writes the clause that does, with the condition that leaves out what is left out here.
func inOrderOf(docs []map[string]any, by []string) (sorted []map[string]any, condition, clause string) {
	docs = slices.DeleteFunc(slices.Clone(docs), func(d map[string]any) bool { // objects have no order that is known here
		return slices.ContainsFunc(by, func(p string) bool { return holdsObject(get(d, strings.TrimPrefix(p, "-"))) })
	})
	if strings.HasPrefix(by[0], "-") {
		slices.Reverse(docs)
	}
	slices.SortStableFunc(docs, func(a, b map[string]any) int {
		for _, p := range by {
			path, desc := strings.CutPrefix(p, "-")
			if c := order(get(a, path), get(b, path)); c != 0 {
				if desc {
					return -c
				}
				return c
			}
		}
		return 0
	})
	var clauses, noObjects []string
	for _, p := range by {
		path, desc := strings.CutPrefix(p, "-")
		clauses = append(clauses, "c."+path+map[bool]string{true: " DESC"}[desc])
		noObjects = append(noObjects, fmt.Sprintf(" AND NOT IS_OBJECT(c.%s)", path))
	}
	return docs, strings.Join(noObjects, ""), " ORDER BY " + strings.Join(clauses, ", ")
}

func holdsObject(v any) bool { return rank(v) == 7 }

// TestIndexAgrees: whatever the index does for a query, the answer is the one that looking at every
// document gives, page by page, under any policy, while the index is built, and across splits.
func TestIndexAgrees(t *testing.T) {
	count := seeds(24, 3200)
	for seed := range count {
		d := dice(seed)
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			defer docdb.BoundIndex(pick(&d, 0, 2, 1024), pick(&d, 0, 5, 1<<17), pick(&d, 3, 2048), pick(&d, 0, 5, 4096))()
			tr := &trial{world: newWorld(t), dice: &d, docs: map[string]map[string]any{}, deep: seed%3 == 1}
			tr.path = tr.container(string(tr.properties()))
			for range 8 {
				tr.turn()
				for range 4 {
					tr.ask()
				}
			}
		})
	}
}

// turn changes documents, and now and then the container.
func (t *trial) turn() {
	ctx := context.Background()
	for range t.roll(12) {
		t.change()
	}
	switch t.roll(5) {
	case 0:
		if _, err := t.ReplaceContainer(ctx, key, accountID, "d", "c", docdb.ContainerSpec{Properties: t.properties()}); err != nil {
			t.t.Fatal(err)
		}
	case 1:
		if _, err := t.BuildIndexes(ctx); err != nil {
			t.t.Fatal(err)
		}
	case 2:
		ranges, _, _, err := t.PartitionKeyRanges(ctx, key, t.path)
		if err != nil {
			t.t.Fatal(err)
		}
		if len(ranges) < 4 {
			if _, err := t.Split(ctx, key, t.path, ranges[t.roll(len(ranges))].ID, ""); err != nil {
				t.t.Fatal(err)
			}
		}
	case 3:
		t.Forget(accountID)
	}
}
