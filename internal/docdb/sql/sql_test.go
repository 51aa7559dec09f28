package sql

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func docs(texts ...string) documents {
	var d documents
	for _, s := range texts {
		d = append(d, json.RawMessage(s))
	}
	return d
}

var people = docs(
	`{"id":"1","name":"Ada","age":36,"tags":["a","b"],"n":9007199254740993,"x":1.50}`,
	`{"id":"2","name":"Grace","age":85,"tags":[],"addr":{"city":"NY"}}`,
	`{"id":"3","name":"alan","age":41,"tags":["b","c"],"n":null}`,
)

func TestQueries(t *testing.T) {
	for _, tc := range []struct{ query, want string }{
		// whole documents pass through untouched, numbers included
		{`SELECT * FROM c WHERE c.id = "1"`, `{"id":"1","name":"Ada","age":36,"tags":["a","b"],"n":9007199254740993,"x":1.50}`},
		{`SELECT VALUE c FROM c WHERE c.x = 1.5`, `{"id":"1","name":"Ada","age":36,"tags":["a","b"],"n":9007199254740993,"x":1.50}`},
		{`SELECT c.n, c.x FROM c WHERE c.n > 1`, `{"n":9007199254740993,"x":1.5}`},
		{`SELECT VALUE c.id FROM c WHERE c.age > 40 AND c.age < 80`, `"3"`},
		{`SELECT VALUE root.id FROM root WHERE root.name IN ("Ada", "Grace")`, `"1" "2"`},
		{`SELECT VALUE c.id FROM c WHERE c.addr.city = "NY"`, `"2"`},
		{`SELECT VALUE c.id FROM c WHERE c["name"] LIKE "%a%"`, `"1" "2" "3"`},
		{`SELECT VALUE c.id FROM c WHERE c.name LIKE "A_a"`, `"1"`},
		{`SELECT VALUE c.id FROM c WHERE c.age BETWEEN 36 AND 41`, `"1" "3"`},
		{`SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.addr)`, `"1" "3"`},
		{`SELECT VALUE c.id FROM c WHERE c.n = null`, `"3"`},
		{`SELECT VALUE c.id FROM c WHERE c.n != null`, `"1"`},
		{`SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.tags, "b")`, `"1" "3"`},
		{`SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t = "c")`, `"3"`},
		{`SELECT c.id, t AS tag FROM c JOIN t IN c.tags`, `{"id":"1","tag":"a"} {"id":"1","tag":"b"} {"id":"3","tag":"b"} {"id":"3","tag":"c"}`},
		{`SELECT VALUE t FROM t IN c.tags`, `"a" "b" "b" "c"`},
		{`SELECT VALUE c.id FROM c ORDER BY c.age DESC`, `"2" "3" "1"`},
		{`SELECT VALUE c.id FROM c ORDER BY c.n`, `"2" "3" "1"`},
		{`SELECT VALUE c.id FROM c ORDER BY c.name OFFSET 1 LIMIT 1`, `"2"`},
		{`SELECT TOP 2 VALUE c.id FROM c`, `"1" "2"`},
		{`SELECT VALUE COUNT(1) FROM c`, `3`},
		{`SELECT VALUE COUNT(1) FROM c WHERE false`, `0`},
		{`SELECT VALUE AVG(c.missing) FROM c`, ``},
		{`SELECT AVG(c.missing), SUM(c.age) AS s FROM c`, `{"s":162}`},
		{`SELECT MIN(c.age), MAX(c.age) FROM c`, `{"$1":36,"$2":85}`},
		{`SELECT DISTINCT VALUE t FROM t IN c.tags`, `"a" "b" "c"`},
		{`SELECT t, COUNT(1) AS n FROM t IN c.tags GROUP BY t`, `{"t":"a","n":1} {"t":"b","n":2} {"t":"c","n":1}`},
		{`SELECT c.missing FROM c WHERE c.id = "1"`, `{}`},
		{`SELECT VALUE c.missing FROM c`, ``},
		{`SELECT c FROM c.addr AS c`, `{"c":{"city":"NY"}}`},
		{`SELECT VALUE {a: 1, "b": [c.id, "x"]} FROM c WHERE c.id = '1'`, `{"a":1,"b":["1","x"]}`},
		{`SELECT 1 + 2, "a" || "b" AS s, 7 % 4`, `{"$1":3,"s":"ab","$2":3}`},
		{`SELECT VALUE 9007199254740993 + 1`, `9007199254740994`},
		{`SELECT VALUE 1/3`, `0.33333333333333331`},
		{`SELECT VALUE 0.1 + 0.2`, `0.30000000000000004`},
		{`SELECT VALUE c.id FROM c WHERE c.id = @id -- a comment`, `"3"`},
		{`SELECT VALUE c.missing ?? c.name FROM c WHERE c.id = "1"`, `"Ada"`},
		{`SELECT VALUE c.age > 40 ? "old" : "young" FROM c`, `"young" "old" "old"`},
		{`SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN c.tags) FROM c`, `2 0 2`},
		{`SELECT VALUE ARRAY(SELECT VALUE t FROM t IN c.tags) FROM c WHERE c.id="1"`, `["a","b"]`},
	} {
		got, err := runAll(t, tc.query, people, Params{"@id": json.RawMessage(`"3"`)})
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%s\n got %s\nwant %s\n err %v", tc.query, strings.Join(got, " "), tc.want, err)
		}
	}
}

// TestLogic is the table of three-valued logic and of comparisons across types.
func TestLogic(t *testing.T) {
	for expression, want := range map[string]string{
		"true AND true": "true", "true AND false": "false", "true AND undefined": "", "false AND undefined": "false", "undefined AND false": "false",
		"undefined AND undefined": "", "true OR undefined": "true", "undefined OR true": "true", "false OR undefined": "", "false OR false": "false",
		"NOT true": "false", "NOT undefined": "", "NOT null": "", "0 AND false": "false", "0 OR true": "true", "1 AND true": "",
		`1 = "1"`: "false", `1 != "1"`: "true", "null = null": "true", "null != 0": "true", "undefined = undefined": "", "[1,2] = [1,2]": "true",
		`{"a":1,"b":2} = {"b":2,"a":1}`: "true", "{} != []": "true", "1 < 2": "true", `1 < "2"`: "", "null <= null": "true", "false < true": "true",
		"[1] < [2]": "", `"a" < "b"`: "true", "1 IN (1, undefined)": "true", "undefined IN (1)": "", "2 NOT IN (1)": "true",
		"1 BETWEEN 0 AND 2": "true", `1 NOT BETWEEN "a" AND "b"`: "", "5 & 3": "1", "-1 >>> 0": "4294967295", "1 << 4": "16", "~0": "-1",
		"null ?? 5": "null", "undefined ?? 5": "5", "1 ? 2 : 3": "3", "1 + undefined": "", `1 + "1"`: "", "-0.0": "0",
	} {
		got, err := runAll(t, "SELECT VALUE "+expression, nil, nil)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s is %v, want %q (%v)", expression, got, want, err)
		}
	}
}

// TestTypeOrder sorts one value of each type.
func TestTypeOrder(t *testing.T) {
	mixed := docs(`{"k":{}}`, `{"k":"a"}`, `{}`, `{"k":1}`, `{"k":true}`, `{"k":[]}`, `{"k":null}`, `{"k":false}`, `{"k":-1}`)
	got, err := runAll(t, "SELECT VALUE c FROM c ORDER BY c.k", mixed, nil)
	want := `{} {"k":null} {"k":false} {"k":true} {"k":-1} {"k":1} {"k":"a"} {"k":[]} {"k":{}}`
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %s, %v", strings.Join(got, " "), err)
	}
}

func TestErrors(t *testing.T) {
	for query, code := range map[string]string{
		"": "SC1002", "  ": "SC1002", "SELECT": "SC1001", "SELECT * FROM c;": "SC1010", "SELECT * FROM c WHERE": "SC1001", "SELECT c.12 FROM c": "SC1001",
		"SELECT * FROM c WHERE d.x = 1": "SC2001", "SELECT NOSUCH(c) FROM c": "SC2005", "SELECT LOWER() FROM c": "SC2050", "SELECT c.a, c.b AS a FROM c": "SC2022",
		"SELECT MAX(MIN(c.x)) FROM c": "SC2101", "SELECT c.a, COUNT(1) FROM c": "SC2102", "SELECT * FROM c GROUP BY c.a": "SC2041",
		"SELECT * FROM c OFFSET 1": "SC1001", "SELECT TOP -1 * FROM c": "SC1001", "SELECT TOP 99999999999 * FROM c": "SC2060", "SELECT 'a": "SC1001",
		"SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000): "SC1001", "SELECT 1/0": "SC4001",
	} {
		_, err := runAll(t, query, people, nil)
		var se *SyntaxError
		if !errors.As(err, &se) || se.Code != code {
			t.Errorf("%.60q: got %v, want %s", query, err, code)
		}
	}
}

func TestLimits(t *testing.T) {
	p, err := compile("SELECT VALUE COUNT(1) FROM a JOIN b IN a.tags JOIN d IN a.tags JOIN e IN a.tags")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range p.Run(t.Context(), people, nil, Options{MaxSteps: 10}) {
		if !errors.Is(err, ErrTooMuchWork) {
			t.Errorf("steps: %v", err)
		}
	}
	if p, err = compile("SELECT * FROM c ORDER BY c.name"); err != nil {
		t.Fatal(err)
	}
	for _, err := range p.Run(t.Context(), people, nil, Options{MaxMemory: 10}) {
		if !errors.Is(err, ErrTooMuchMemory) {
			t.Errorf("memory: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	many := make(documents, 5000)
	for i := range many {
		many[i] = people[0]
	}
	if p, err = compile("SELECT VALUE SUM(c.age) FROM c"); err != nil {
		t.Fatal(err)
	}
	for _, err := range p.Run(ctx, many, nil, Options{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func compile(query string) (*Plan, error) {
	q, err := Parse(query)
	if err != nil {
		return nil, err
	}
	return Compile(q)
}

func TestStreaming(t *testing.T) {
	for query, want := range map[string]bool{
		"SELECT * FROM c": true, "SELECT c.a FROM c WHERE c.b = 1": true, "SELECT * FROM c ORDER BY c.a": false, "SELECT TOP 1 * FROM c": false,
		"SELECT VALUE COUNT(1) FROM c": false, "SELECT VALUE t FROM t IN c.tags": false, "SELECT DISTINCT c.a FROM c": false,
	} {
		p, err := compile(query)
		if err != nil || p.Streaming() != want {
			t.Errorf("%s: %v, %v", query, p.Streaming(), err)
		}
	}
}

// FuzzQuery: no text makes the parser or a run panic, and what a query prints as means the same.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"SELECT * FROM c", "SELECT a.b[0]['x'] FROM c JOIN a IN c.d WHERE NOT a.x LIKE '%[a-c]_' ESCAPE '!' ORDER BY a DESC", "SELECT VALUE {a:[1,@p]}",
		"SELECT COUNT(1) FROM (SELECT DISTINCT c.x FROM c) GROUP BY c", "SELECT 1 ?? 2 ? 3 : -4 >>> 5", "SELECT VALUE REGEXMATCH('a','(')"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := compile(s)
		if err != nil {
			return
		}
		n := 0
		for _, err := range p.Run(t.Context(), people, nil, Options{MaxSteps: 20000, MaxMemory: 1 << 20}) {
			if n++; err != nil || n > 200 {
				break
			}
		}
	})
}
