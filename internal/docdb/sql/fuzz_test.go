package sql

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/docdb/geo"
)

// fuzzQueries are where all targets that take queries begin.
var fuzzQueries = []string{
	"SELECT * FROM c", "SELECT a.b[0]['x'] FROM c JOIN a IN c.tags WHERE NOT a.x LIKE '%[a-c]_' ESCAPE '!' ORDER BY a DESC", "SELECT VALUE {a:[1,@p]}",
	"SELECT COUNT(1) FROM (SELECT DISTINCT c.x FROM c) x GROUP BY x", "SELECT 1 ?? 2 ? 3 : -4 >>> 5", "SELECT VALUE REGEXMATCH('a','(')",
	"SELECT TOP 2 c.tags, MAKESET(c.age) FROM c GROUP BY c.tags", "SELECT ALL(SELECT VALUE t FROM t IN c.tags WHERE t < 'b'), udf.f(1) FROM c",
	"SELECT DISTINCT c.id FROM c ORDER BY c.age DESC, c.id OFFSET 1 LIMIT 2", "SELECT VALUE 1e400 / -0x1F", "SELECT 0 .A",
	"SELECT VALUE c.id FROM c WHERE c.age BETWEEN 30 AND @p AND c.name IN ('Ada', @p) OR NOT IS_DEFINED(c.addr)",
	"SELECT VALUE COUNT(1) FROM c WHERE STARTSWITH(c.name, 'A') AND ARRAY_CONTAINS(c.tags, 'b') AND IS_NUMBER(c.age)",
	"SELECT c.age, AVG(c.n) AS a, MIN(c.x) AS m FROM c WHERE c.addr.city = 'NY' GROUP BY c.age", "SELECT VALUE MAX(c.name) FROM c WHERE c['age'] > 1 AND 90 >= c.age",
	"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.age FROM c)", "SELECT DISTINCT TOP @p c.age, c.id FROM c ORDER BY c.age", "SELECT c.n AS k, COUNTIF(c.age > 40) FROM c GROUP BY c.n",
	"SELECT VALUE t FROM c JOIN t IN c.tags WHERE EXISTS(SELECT VALUE z FROM z IN c.addr.zip WHERE z = 1) OR t = 'b' ORDER BY c.age, c.id DESC OFFSET 1 LIMIT 3",
	`SELECT VALUE c.id FROM c WHERE ST_DISTANCE(c.at, {"type":"Point","coordinates":[1,2]}) < 1e6 OR ST_WITHIN(c.at, @p)`,
	`SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.tags, {"a":{"b":@p}}, true) AND ARRAY_CONTAINS_ANY(c.tags, 1, 'b') AND STRINGEQUALS(c.name, "ada", true)`,
	"SELECT VALUE c.id FROM c WHERE NOT c.flag AND c.name LIKE 'A_a%' AND ARRAY_CONTAINS(['Ada', @p, null], c.name) AND c.tags[0] = 'a'",
	"SELECT VALUE root.age FROM root WHERE root.age = 2 - 1 OR root.age != 1 OR root.x = 1.50 OR root.id < 'b' OR (root.n > null) = undefined",
}

// fuzzLong are texts of which some part comes again and again.
var fuzzLong = []struct{ before, again, after string }{
	{"SELECT VALUE ", "(", "1"}, {"SELECT VALUE ", "NOT ", "true"}, {"SELECT VALUE 1", "+1", ""}, {"SELECT VALUE ", "[", ""}, {"SELECT VALUE ", "{a:", "1"}, {"SELECT VALUE c", ".a", " FROM c"},
	{"SELECT VALUE c", "[0]", " FROM c"}, {"SELECT VALUE ", "c.a?", "1"}, {"SELECT VALUE 1", "??1", ""}, {"SELECT 1", ",1", ""}, {"SELECT VALUE c.a IN (1", ",1", ") FROM c"},
	{"SELECT * FROM c", " JOIN c IN c.a", ""}, {"SELECT * FROM ", "(SELECT * FROM ", "c"}, {"SELECT VALUE ", "(SELECT VALUE ", "1"}, {"SELECT VALUE ", "EXISTS(SELECT VALUE ", "1"},
	{"SELECT VALUE '", "\\u00e9", "'"}, {"SELECT VALUE c.a LIKE '", "%_", "' FROM c"}, {"SELECT VALUE CONCAT('a'", ",'a'", ")"}, {"SELECT * FROM c WHERE c.a = 1", " OR c.a = 1", ""},
	{"SELECT * FROM c WHERE c.a = 1", " AND c.b > 2", ""}, {"SELECT * FROM c ORDER BY c.a", ", c.a", ""}, {"SELECT c.a FROM c GROUP BY c.a", ", c.b", ""}, {"SELECT VALUE ABS(", "ABS(", "1"},
	{"SELECT COUNT(1) FROM c GROUP BY ", "[(SELECT VALUE ", "1"}, {"SELECT VALUE ", "--\n", "1"}, {"SELECT VALUE ", "- ", "1"}, {"", "\xff", ""}, {"SELECT VALUE @", "a", ""}, {"", "0", ""}, {"SELECT 0x", "0", ""},
}

// maxFuzzText bounds the texts that are made of parts that come again.
const maxFuzzText = 32 << 10

// repeated is such a text.
func repeated(before, again, after string, times uint16) string {
	if len(again) > 0 {
		again = strings.Repeat(again, min(int(times), maxFuzzText/len(again)))
	}
	return before + again + after
}

// frugal fails when f allocates more than a multiple of a size, or takes so long that it is not linear in it.
func frugal(t *testing.T, what string, size int, f func()) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before, start := sample[0].Value.Uint64(), time.Now()
	f()
	took := time.Since(start)
	metrics.Read(sample)
	if used := sample[0].Value.Uint64() - before; used > 1<<20+8<<10*uint64(size) {
		t.Fatalf("%s of %d bytes takes %d bytes", what, size, used)
	}
	if took > 10*time.Second {
		t.Fatalf("%s of %d bytes takes %v", what, size, took)
	}
}

// FuzzLex: tokens stand in their order in the text, cover all of it but white space and comments, and there
// are no more of them than characters.
func FuzzLex(f *testing.F) {
	for _, s := range fuzzQueries {
		f.Add(s, "", "", uint16(0))
	}
	for _, l := range fuzzLong {
		f.Add(l.before, l.again, l.after, uint16(1<<16-1))
	}
	f.Fuzz(func(t *testing.T, before, again, after string, times uint16) {
		s := repeated(before, again, after, times)
		var tokens []token
		var err error
		frugal(t, "lexing", len(s), func() { tokens, err = lex(s) })
		if err != nil {
			placed(t, err, s)
			return
		}
		end := 0
		for i, k := range tokens {
			if gap := s[end:k.start]; strings.TrimSpace(gap) != "" && !strings.Contains(gap, "--") || k.end < k.start {
				t.Fatalf("%.2000q: token %d at %v behind %d", s, i, k.span, end)
			}
			if end = k.end; k.kind == tokEnd && i < len(tokens)-1 {
				t.Fatalf("%.2000q ends at token %d of %d", s, i, len(tokens))
			}
		}
		if len(tokens) > len(s)+1 || end != len(s) {
			t.Fatalf("%.2000q: %d tokens up to %d", s, len(tokens), end)
		}
	})
}

// placed checks that an error is one of the language and lies in the text.
func placed(t *testing.T, err error, s string) {
	t.Helper()
	var e *SyntaxError
	if !errors.As(err, &e) || e.Start < 0 || e.End < e.Start || e.End > len(s) || e.Message == "" {
		t.Fatalf("%.2000q: %#v", s, err)
	}
}

// FuzzParse: no text makes the parser or the compiler panic or take more than it should, and what a query is
// written as means the same.
func FuzzParse(f *testing.F) {
	for _, s := range fuzzQueries {
		f.Add(s, "", "", uint16(0))
	}
	for _, l := range fuzzLong {
		f.Add(l.before, l.again, l.after, uint16(1000))
		f.Add(l.before, l.again, l.after+strings.Repeat(")", 1000), uint16(1000))
	}
	f.Fuzz(func(t *testing.T, before, again, after string, times uint16) {
		s := repeated(before, again, after, times)
		var q *Query
		var err error
		frugal(t, "parsing", len(s), func() { q, err = Parse(s) })
		if err != nil {
			placed(t, err, s)
			return
		}
		written := q.String()
		switch again, err := Parse(written); {
		case err != nil && (len(written) > maxTextLength || strings.Contains(err.Error(), "nested too deeply")): // what is written has more brackets
		case err != nil || again.String() != written:
			t.Fatalf("%.2000q is written as %.2000q: %v", s, written, err)
		}
		frugal(t, "compiling", len(s), func() { _, err = Compile(q) })
		if err != nil {
			placed(t, err, s)
		}
	})
}

// fuzzSteps and fuzzMemory bound the runs of fuzz targets.
const (
	fuzzSteps  = 20_000
	fuzzMemory = 1 << 20
)

// compiled is the plan of a fuzzed text; nil when it is none.
func compiled(t *testing.T, s string) *Plan {
	q, err := Parse(s)
	if err != nil {
		placed(t, err, s)
		return nil
	}
	p, err := Compile(q)
	if err != nil {
		placed(t, err, s)
		return nil
	}
	return p
}

// bounded results of a run: at most some, all of them JSON.
func fuzzRun(t *testing.T, p *Plan, docs documents, params Params) (out []string, err error) {
	for result, err := range p.Run(t.Context(), docs, params, Options{MaxSteps: fuzzSteps, MaxMemory: fuzzMemory, Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}) {
		if err != nil {
			return out, err
		}
		if !jsontext.Value(result).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			t.Fatalf("%v gives %q", p.text, result)
		}
		if out = append(out, string(result)); len(out) > 500 {
			return out, errors.New("enough")
		}
	}
	return out, nil
}

// FuzzQuery: no text makes a run panic, hang or take more than it is allowed, whatever its parameter is.
func FuzzQuery(f *testing.F) {
	for i, s := range fuzzQueries {
		f.Add(s, []string{"1", `"b"`, "null", `[1,{"b":"a"}]`, `{"type":"Point","coordinates":[1,2]}`}[i%5])
	}
	for _, s := range []string{"SELECT VALUE REPLICATE(@p, 9999)", "SELECT VALUE StringToArray(@p)", "SELECT VALUE REPLACE(@p, 'a', @p)", "SELECT VALUE [@p,@p,@p,@p]", "SELECT VALUE StringSplit(@p, '')"} {
		f.Add(s, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`)
	}
	f.Fuzz(func(t *testing.T, s, param string) {
		p := compiled(t, s)
		if p == nil {
			return
		}
		frugal(t, s, 16<<10, func() { _, _ = fuzzRun(t, p, people, Params{"@p": json.RawMessage(param)}) })
	})
}

// FuzzDistribute: what a client sends to partitions is a query that the parser reads, and over one partition the
// rows that come back are those of the query itself.
func FuzzDistribute(f *testing.F) {
	for i, s := range fuzzQueries {
		f.Add(s, []string{"1", `"b"`, "null", "2"}[i%4], i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, s, param string, single bool) {
		p, params := compiled(t, s), Params{"@p": json.RawMessage(param)}
		if p == nil {
			return
		}
		d, err := p.Distribute(params, single)
		if err != nil || d.Rewritten == "" {
			return
		}
		if strings.Contains(s, "documentdb-formattableorderbyquery-filter") {
			return
		}
		again, err := compile(strings.ReplaceAll(d.Rewritten, orderFilter, "true"))
		if err != nil {
			t.Fatalf("%s\nis rewritten as %s\n%v", s, d.Rewritten, err)
		}
		if d.Distinct != "None" || d.Offset != nil || d.Top != nil || len(d.AliasAggregates) > 0 && len(d.OrderBy) == 0 || len(d.Aggregates) > 0 {
			return
		}
		want, err := fuzzRun(t, p, people, params)
		if err != nil {
			return
		}
		got, err := fuzzRun(t, again, people, params)
		if errors.Is(err, ErrTooMuchWork) || errors.Is(err, ErrTooMuchMemory) {
			return
		}
		if len(d.OrderBy) > 0 {
			got = payloads(t, got)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s\ngives %s\nrewritten %s\ngives %s, %v", s, want, d.Rewritten, got, err)
		}
	})
}

// payloads are the results in rows of a rewritten query.
func payloads(t *testing.T, rows []string) (out []string) {
	for _, row := range rows {
		var r struct {
			Items   []json.RawMessage `json:"orderByItems"`
			Payload json.RawMessage   `json:"payload"`
		}
		if err := json.Unmarshal([]byte(row), &r); err != nil || r.Items == nil {
			t.Fatalf("row %s: %v", row, err)
		}
		out = append(out, string(r.Payload))
	}
	return out
}

// FuzzCondition: a document that fulfils the condition of a query fulfils what the index is asked for, and its
// partition key is among those that the query is sent to.
func FuzzCondition(f *testing.F) {
	for i, s := range fuzzQueries {
		for n := range people {
			f.Add(s, string(people[(n+i)%len(people)]), []string{"1", `"b"`, "null", `["Ada"]`, "36"}[(n+i)%5])
		}
	}
	for _, s := range []string{`{"at":{"type":"Point","coordinates":[1,2]},"tags":[{"a":{"b":1}}],"flag":false}`, `{"id":0,"name":-0.0,"age":1e300,"flag":true}`} {
		for i, q := range fuzzQueries {
			f.Add(q, s, []string{"1", `{"type":"Polygon","coordinates":[[[0,0],[5,0],[5,5],[0,5],[0,0]]]}`}[i%2])
		}
	}
	f.Fuzz(func(t *testing.T, s, doc, param string) {
		params := Params{"@p": json.RawMessage(param)}
		if !jsontext.Value(doc).IsValid() || jsontext.Value(doc).Kind() != '{' {
			return
		}
		q, err := Parse(s)
		if err != nil || len(q.from) == 0 {
			return
		}
		q.star, q.value, q.distinct, q.top, q.offset, q.limit, q.groupBy, q.orderBy, q.rank = false, true, false, nil, nil, nil, nil, nil, false
		q.items = []selectItem{{expr: &literal{value: integer(1)}}}
		p, err := Compile(q)
		if err != nil {
			return
		}
		found, err := fuzzRun(t, p, documents{json.RawMessage(doc)}, params)
		if err != nil || len(found) == 0 {
			return
		}
		c, err := p.Condition(params, time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		v := readJSON(doc, &origin{})
		if c != nil && !c.holds(v) {
			t.Fatalf("%s\nfinds %s with %s\nwhich %s does not", s, doc, param, describe(c))
		}
		paths := []Path{{{Name: "id"}}, {{Name: "addr"}, {Name: "city"}}}
		for n := range len(paths) + 1 {
			inKeys(t, c, paths[:n], v, s+" with "+param)
		}
	})
}

// inKeys checks that the partition key of a document is among those of a condition.
func inKeys(t *testing.T, c *Condition, paths []Path, v value, what string) {
	keys, all := c.Keys(paths)
	if all {
		return
	}
	if !slices.ContainsFunc(keys, func(k []json.RawMessage) bool {
		return !slices.ContainsFunc(paths, func(p Path) bool {
			i := slices.IndexFunc(paths, func(x Path) bool { return slices.Equal(x, p) })
			return !equal(readJSON(string(k[i]), &origin{}), v.at(p))
		})
	}) {
		t.Fatalf("%s: key %v is not in %s", what, paths, keys)
	}
}

// holds is what a condition means, worked out by looking at the document.
func (c *Condition) holds(doc value) bool {
	switch c.Test {
	case And:
		return !slices.ContainsFunc(c.Of, func(x *Condition) bool { return !x.holds(doc) })
	case Or:
		return slices.ContainsFunc(c.Of, func(x *Condition) bool { return x.holds(doc) })
	case Undefined:
		return !slices.ContainsFunc(doc.all(c.Path), value.defined)
	}
	return slices.ContainsFunc(doc.all(c.Path), c.accepts)
}

// all are the values at a path.
func (v value) all(p Path) []value {
	list := []value{v}
	for _, s := range p {
		var next []value
		for _, x := range list {
			if s.Element {
				next = append(next, x.items()...)
			} else {
				next = append(next, x.get(s.Name))
			}
		}
		list = next
	}
	return list
}

// accepts is what a condition asks of one value.
func (c *Condition) accepts(v value) bool {
	read := func(raw json.RawMessage) value { return readJSON(string(raw), &origin{}) }
	switch c.Test {
	case In:
		return slices.ContainsFunc(c.Values, func(raw json.RawMessage) bool { return equal(read(raw), v) })
	case Between:
		return (c.Low == nil || ordered(map[bool]string{true: ">", false: ">="}[c.LowOpen], v, read(c.Low)).isTrue()) &&
			(c.High == nil || ordered(map[bool]string{true: "<", false: "<="}[c.HighOpen], v, read(c.High)).isTrue())
	case HasPrefix:
		return v.typ == stringType && strings.HasPrefix(v.s, c.Prefix)
	case HasType:
		return v.typ == read(c.Values[0]).typ
	case Defined:
		return v.defined()
	}
	a, err := geo.Parse(appendJSON(nil, v))
	b, err2 := geo.Parse(c.Shape)
	return err == nil && err2 == nil && (a.Distance(b) <= c.Metres || a.Intersects(b))
}

// describe writes a condition.
func describe(c *Condition) string {
	if c.Of == nil {
		return fmt.Sprintf("%+v", *c)
	}
	var parts []string
	for _, x := range c.Of {
		parts = append(parts, describe(x))
	}
	return "(" + strings.Join(parts, map[Test]string{And: " and ", Or: " or "}[c.Test]) + ")"
}

// FuzzDocument: no row makes a run panic, and what is valid comes out as what it is.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"\u00e9"}],"k":null}`, `[]`, `{"a":{"a":`, `"\ud800"`, `{"a":1e999}`, `{"a":"x","a":2}`} {
		f.Add([]byte(s))
	}
	plan, err := compile("SELECT VALUE [c.a[0].b ?? c.a, TOSTRING(c), c = c, c.k] FROM c WHERE IS_DEFINED(c)")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for result, err := range plan.Run(t.Context(), documents{raw}, Params{"@p": raw}, Options{}) {
			if err == nil && !json.Valid(result) && json.Valid(raw) {
				t.Fatalf("%.2000q gives %q", raw, result)
			}
		}
	})
}
