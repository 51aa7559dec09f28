package docdb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// TestOrderNeedsIndex: an order that no index serves is refused, as the service does, also when there is
// nothing to sort.
func TestOrderNeedsIndex(t *testing.T) {
	w := newWorld(t)
	path := w.container(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"indexingPolicy":{
		"includedPaths":[{"path":"/*"}],"excludedPaths":[{"path":"/b/?"}],"compositeIndexes":[[{"path":"/a"},{"path":"/c","order":"descending"}]]}}`)
	for text, want := range map[string]string{
		`SELECT * FROM c ORDER BY c.a`:                "",
		`SELECT * FROM c ORDER BY c._ts DESC`:         "",
		`SELECT * FROM c ORDER BY c.id`:               "",
		`SELECT * FROM c ORDER BY c.b`:                "The index path corresponding to the specified order-by item is excluded.",
		`SELECT * FROM c ORDER BY c.a, c.c DESC`:      "",
		`SELECT * FROM c ORDER BY c.a DESC, c.c`:      "",
		`SELECT * FROM c ORDER BY c.a, c.c`:           "does not have a corresponding composite index",
		`SELECT * FROM c ORDER BY c.c DESC, c.a`:      "does not have a corresponding composite index",
		`SELECT * FROM c ORDER BY c.a, c.c DESC, c.d`: "does not have a corresponding composite index",
	} {
		_, err := w.Query(context.Background(), key, docdb.FeedRequest{Path: path}, docdb.Query{Text: text})
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && (want == "" || fault.KindOf(err) != fault.Invalid || !strings.Contains(got, want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestManyTerms: a document with more terms than an index keeps is found by every query all the same.
func TestManyTerms(t *testing.T) {
	w := newWorld(t)
	path := w.container(simple)
	ctx := context.Background()
	numbers := make([]int, 9000)
	for i := range numbers {
		numbers[i] = i
	}
	big, _ := json.Marshal(numbers)
	for _, body := range []string{`{"id":"1","pk":"a","n":5}`, `{"id":"2","pk":"a","n":3,"v":` + string(big) + `}`, `{"id":"3","pk":"a","n":4}`} {
		if _, err := w.CreateItem(ctx, key, at(path, `["a"]`), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	defer docdb.BoundIndex(0, 1<<17, 2048, 4096)()
	for range 2 {
		for text, want := range map[string]string{
			`SELECT VALUE c.id FROM c WHERE c.n = 3`:                       `"2"`,
			`SELECT VALUE c.id FROM c WHERE c.n > 3`:                       `"1" "3"`,
			`SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.v, 8999)`:     `"2"`,
			`SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.v)`:           `"1" "3"`,
			`SELECT VALUE c.id FROM c ORDER BY c.n`:                        `"2" "3" "1"`,
			`SELECT VALUE COUNT(1) FROM c WHERE c.n IN (3, 4) AND c.n < 9`: `2`,
		} {
			if got, _ := w.run(docdb.FeedRequest{Path: path}, docdb.Query{Text: text}); strings.Join(got, " ") != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
		w.restart()
	}
}

// TestTransformation: a new policy is built in the background; its progress is told, queries are answered
// meanwhile, and a crash on the way loses nothing.
func TestTransformation(t *testing.T) {
	w := newWorld(t)
	path := w.container(simple)
	ctx := context.Background()
	for n := range 300 {
		if _, err := w.CreateItem(ctx, key, at(path, `["a"]`), fmt.Appendf(nil, `{"id":"%d","pk":"a","n":%d}`, n, n%7)); err != nil {
			t.Fatal(err)
		}
	}
	if p := progress(w, path); p != 100 {
		t.Errorf("progress %d before", p)
	}
	composite := json.RawMessage(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"indexingPolicy":{
		"includedPaths":[{"path":"/*"}],"compositeIndexes":[[{"path":"/n"},{"path":"/id"}]]}}`)
	if _, err := w.ReplaceContainer(ctx, key, accountID, "d", "c", docdb.ContainerSpec{Properties: composite}); err != nil {
		t.Fatal(err)
	}
	if p := progress(w, path); p >= 100 {
		t.Errorf("progress %d on the way", p)
	}
	w.restart()
	ask := func() error {
		_, err := w.Query(ctx, key, docdb.FeedRequest{Path: path}, docdb.Query{Text: `SELECT * FROM c ORDER BY c.n, c.id`})
		return err
	}
	if err := ask(); fault.KindOf(err) != fault.Invalid {
		t.Errorf("the new index serves before it is complete: %v", err)
	}
	for more := true; more; {
		var err error
		if more, err = w.BuildIndexes(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if p := progress(w, path); p != 100 {
		t.Errorf("progress %d after", p)
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
}

func progress(w *world, path docdb.ContainerPath) int {
	w.t.Helper()
	c, err := w.Container(context.Background(), key, path.Account, path.Database, path.Container)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.IndexProgress
}
