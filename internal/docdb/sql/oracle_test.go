package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oracle reads a file of recorded cases, which lie beside the project and are not part of it.
func oracle[T any](t *testing.T, name string) []T {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "..", "shared", "oracles", name))
	if err != nil {
		t.Skipf("the recorded cases are not here: %v", err)
	}
	var cases []T
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// documents is a source in memory.
type documents []json.RawMessage

func (d documents) Scan(context.Context) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for i, raw := range d {
			if !yield(Row{JSON: raw, RID: fmt.Sprint(i)}, nil) {
				return
			}
		}
	}
}

func runAll(t *testing.T, query string, docs documents, params Params) ([]string, error) {
	t.Helper()
	q, err := Parse(query)
	if err != nil {
		return nil, err
	}
	p, err := Compile(q)
	if err != nil {
		return nil, err
	}
	var out []string
	for r, err := range p.Run(t.Context(), docs, params, Options{}) {
		if err != nil {
			return nil, err
		}
		out = append(out, string(r))
	}
	return out, nil
}

// report fails the test for cases that fail without a known reason, and returns how often each known
// gap was met.
func report(t *testing.T, total int, failing map[string]string) {
	t.Helper()
	met := map[string]int{}
	for name, why := range failing {
		if id := gapOf(why); id != "" {
			met[id]++
			continue
		}
		t.Errorf("%s: %s", name, why)
	}
	t.Logf("%d of %d cases pass; known gaps: %v", total-len(failing), total, met)
}

func TestParserCases(t *testing.T) {
	type parserCase struct {
		Query  string `json:"query"`
		Parses bool   `json:"parses"`
	}
	cases := oracle[parserCase](t, "parser.json")
	failing := map[string]string{}
	for _, c := range cases {
		if _, err := Parse(c.Query); (err == nil) != c.Parses {
			failing[c.Query] = fmt.Sprintf("parses: want %v, got %v", c.Parses, err)
		}
	}
	report(t, len(cases), failing)
}

func TestCompileCases(t *testing.T) {
	type compileCase struct {
		Query string  `json:"query"`
		Error *string `json:"error"`
	}
	cases := oracle[compileCase](t, "compile.json")
	failing := map[string]string{}
	for _, c := range cases {
		q, err := Parse(c.Query)
		if err == nil {
			_, err = Compile(q)
		}
		if c.Error == nil && err != nil {
			failing[c.Query] = err.Error()
		}
	}
	report(t, len(cases), failing)
}

func TestSampleCases(t *testing.T) {
	type sampleCase struct {
		Name   string            `json:"name"`
		Seed   []json.RawMessage `json:"seed"`
		Query  string            `json:"query"`
		Result any               `json:"result"`
	}
	cases := oracle[sampleCase](t, "query-samples.json")
	failing := map[string]string{}
	for _, c := range cases {
		got, err := runAll(t, c.Query, c.Seed, nil)
		if err != nil {
			failing[c.Name] = err.Error()
			continue
		}
		if why := sameResults(got, c.Result, strings.Contains(strings.ToUpper(c.Query), "ORDER BY")); why != "" {
			failing[c.Name] = why
		}
	}
	report(t, len(cases), failing)
}

func sameResults(got []string, want any, ordered bool) string {
	var list []any
	for _, g := range got {
		var v any
		if err := json.Unmarshal([]byte(g), &v); err != nil {
			return err.Error()
		}
		list = append(list, v)
	}
	wanted, ok := want.([]any)
	if !ok || len(wanted) != len(list) {
		return fmt.Sprintf("got %v, want %v", got, want)
	}
	for i, w := range wanted {
		at := i
		if !ordered {
			at = slices.IndexFunc(list, func(v any) bool { return near(v, w) })
		}
		if at < 0 || !near(list[at], w) {
			raw, _ := json.Marshal(w)
			return fmt.Sprintf("got %v, want %s", got, raw)
		}
	}
	return ""
}

// near is deep equality with a little room for numbers.
func near(a, b any) bool {
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && math.Abs(x-y) <= 1e-15*math.Max(math.Abs(x), math.Abs(y))
	case []any:
		y, ok := b.([]any)
		return ok && len(x) == len(y) && !slices.ContainsFunc(indexes(len(x)), func(i int) bool { return !near(x[i], y[i]) })
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			if w, ok := y[k]; !ok || !near(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
