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

// TestSpatialIndex: with a spatial index or without, queries find the same places; with it they read few.
func TestSpatialIndex(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	plain := w.container(`{"id":"plain","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}`)
	spatial := w.container(`{"id":"spatial","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"indexingPolicy":{
		"includedPaths":[{"path":"/*"}],"spatialIndexes":[{"path":"/at/*","types":["Point","Polygon"]}]}}`)
	d := dice(7)
	for n := range 200 {
		x, y := float64(d.roll(3600))/10-180, float64(d.roll(1800))/10-90
		at0 := fmt.Sprintf(`{"type":"Point","coordinates":[%v,%v]}`, x, y)
		if n%5 == 0 && x < 170 && y < 80 && y > -80 {
			at0 = fmt.Sprintf(`{"type":"Polygon","coordinates":[[[%[1]v,%[2]v],[%[3]v,%[2]v],[%[3]v,%[4]v],[%[1]v,%[4]v],[%[1]v,%[2]v]]]}`, x, y, x+float64(1+d.roll(9)), y+2)
		}
		for _, path := range []docdb.ContainerPath{plain, spatial} {
			if _, err := w.CreateItem(ctx, key, at(path, `["a"]`), fmt.Appendf(nil, `{"id":"%d","pk":"a","at":%s}`, n, at0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range 36 {
		x, y := float64(d.roll(3400))/10-170, float64(d.roll(1500))/10-75
		box := fmt.Sprintf(`{"type":"Polygon","coordinates":[[[%[1]v,%[2]v],[%[3]v,%[2]v],[%[3]v,%[4]v],[%[1]v,%[4]v],[%[1]v,%[2]v]]]}`, x, y, x+float64(1+d.roll(9)), y+float64(1+d.roll(9)))
		text := []string{
			`SELECT VALUE c.id FROM c WHERE ST_WITHIN(c.at, ` + box + `)`,
			`SELECT VALUE c.id FROM c WHERE ST_INTERSECTS(` + box + `, c.at)`,
			fmt.Sprintf(`SELECT VALUE c.id FROM c WHERE ST_DISTANCE(c.at, {"type":"Point","coordinates":[%v,%v]}) < %d`, x, y, d.roll(1_500_000)),
		}[n%3]
		want, _ := w.run(docdb.FeedRequest{Path: plain, MaxItems: -1}, docdb.Query{Text: text})
		page, err := w.Query(ctx, key, docdb.FeedRequest{Path: spatial, MaxItems: -1}, docdb.Query{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range page.Items {
			got = append(got, string(i))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s\n got  %s\n want %s", text, got, want)
		}
		if page.Retrieved > 200 {
			t.Errorf("%s: %d documents were read", text, page.Retrieved)
		}
	}
}
