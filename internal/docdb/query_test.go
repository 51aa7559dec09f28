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

// run returns all results of a query, page by page.
func (w *world) run(q docdb.FeedRequest, query docdb.Query) (results []string, pages int) {
	w.t.Helper()
	for {
		page, err := w.Query(context.Background(), key, q, query)
		if err != nil {
			w.t.Fatalf("%s: %v", query.Text, err)
		}
		for _, i := range page.Items {
			results = append(results, string(i))
		}
		if pages++; len(page.Continuation) > 1024 {
			w.t.Fatalf("continuation of %d bytes", len(page.Continuation))
		}
		if q.Continuation = page.Continuation; q.Continuation == "" {
			return results, pages
		}
		w.Forget(accountID)
	}
}

func TestQuery(t *testing.T) {
	w := newWorld(t)
	path := w.container(simple)
	for i := range 12 {
		body := fmt.Appendf(nil, `{"id":"%02d","pk":"%d","n":%d,"tags":["t%d","u"]}`, i, i%2, (i*7)%12, i%3)
		if _, err := w.CreateItem(context.Background(), key, at(path, fmt.Sprintf(`["%d"]`, i%2)), body); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		pk, text, params, want string
		pages                  int // with three results a page
	}{
		{``, `SELECT VALUE c.id FROM c`, ``, `"00" "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11"`, 4},
		{`["0"]`, `SELECT VALUE c.id FROM c`, ``, `"00" "02" "04" "06" "08" "10"`, 2},
		{``, `SELECT VALUE c.n FROM c ORDER BY c.n DESC`, ``, `11 10 9 8 7 6 5 4 3 2 1 0`, 4},
		{``, `SELECT TOP 4 VALUE c.id FROM c`, ``, `"00" "01" "02" "03"`, 2},
		{``, `SELECT VALUE c.id FROM c OFFSET 5 LIMIT 4`, ``, `"05" "06" "07" "08"`, 2},
		{``, `SELECT VALUE COUNT(1) FROM c WHERE c.n >= @least`, `{"@least":9}`, `3`, 1},
		{``, `SELECT DISTINCT VALUE c.pk FROM c`, ``, `"0" "1"`, 1},
		{`["1"]`, `SELECT VALUE t FROM c JOIN t IN c.tags WHERE c.id = "01"`, ``, `"t1" "u"`, 1},
		{``, `SELECT VALUE c.id FROM c WHERE c.id IN ("03", "04")`, ``, `"03" "04"`, 1},
		{`["7"]`, `SELECT * FROM c`, ``, ``, 1},
	}
	for _, tt := range tests {
		query := docdb.Query{Text: tt.text}
		if tt.params != "" {
			if err := json.Unmarshal([]byte(tt.params), &query.Parameters); err != nil {
				t.Fatal(err)
			}
		}
		q := docdb.FeedRequest{Path: path, MaxItems: 3}
		q.PartitionKey = at(path, tt.pk).PartitionKey
		results, pages := w.run(q, query)
		if got := strings.Join(results, " "); got != tt.want || pages != tt.pages {
			t.Errorf("%s: got %s in %d pages, want %s in %d", tt.text, got, pages, tt.want, tt.pages)
		}
	}
}

// TestQueryPagesUnderWrites: a query over single documents shows none twice and skips none when
// others come and go between its pages.
func TestQueryPagesUnderWrites(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	w.fill(path, 9)
	q := docdb.FeedRequest{Path: path, MaxItems: 2}
	query := docdb.Query{Text: `SELECT VALUE c.id FROM c WHERE c.id != "x"`}
	var got []string
	for n := 0; ; n++ {
		page, err := w.Query(ctx, key, q, query)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Items {
			got = append(got, string(i))
		}
		if q.Continuation = page.Continuation; q.Continuation == "" {
			break
		}
		if n == 0 { // one that was given goes, one that was given changes, one comes
			if _, err := w.DeleteItem(ctx, key, at(path, `["a"]`), "00"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.UpsertItem(ctx, key, at(path, `["b"]`), []byte(`{"id":"01","pk":"b","new":1}`)); err != nil {
				t.Fatal(err)
			}
			if _, err := w.UpsertItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"99","pk":"a"}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := `"00" "01" "02" "03" "04" "05" "06" "07" "08" "99"`; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}

func TestQueryRefusals(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	_, err := w.Query(ctx, key, docdb.FeedRequest{Path: path}, docdb.Query{Text: `SELECT * FROM c WHERE c.a -`})
	wantFault(t, err, fault.Invalid, docdb.ReasonSyntax)
	var body struct {
		Errors []struct {
			Severity, Code, Message string
			Location                struct{ Start, End int }
		}
	}
	if f := fault.As(err); json.Unmarshal([]byte(f.Message), &body) != nil || len(body.Errors) != 1 || body.Errors[0].Severity != "Error" || !strings.HasPrefix(body.Errors[0].Code, "SC") {
		t.Errorf("message: %s", f.Message)
	}
	w.fill(path, 5)
	page, err := w.Query(ctx, key, docdb.FeedRequest{Path: path, MaxItems: 1}, docdb.Query{Text: `SELECT * FROM c`})
	if err != nil || page.Retrieved == 0 {
		t.Fatal(page.Retrieved, err)
	}
	_, err = w.Query(ctx, key, docdb.FeedRequest{Path: path, Continuation: page.Continuation}, docdb.Query{Text: `SELECT c.id FROM c`})
	wantFault(t, err, fault.Invalid, "InvalidContinuation")
	w.deny = "sqlDatabases/containers/executeQuery"
	_, err = w.Query(ctx, key, docdb.FeedRequest{Path: path}, docdb.Query{Text: `SELECT * FROM c`})
	wantFault(t, err, fault.Denied, "5302")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	w.deny = ""
	if _, err := w.Query(canceled, key, docdb.FeedRequest{Path: path}, docdb.Query{Text: `SELECT * FROM c`}); err == nil {
		t.Error("a query runs on after its request ended")
	}
}

// TestLongScan: a page that finds little ends early, and the pages together find everything.
func TestLongScan(t *testing.T) {
	w := newWorld(t)
	path := w.container(simple)
	for n := range 105 {
		var ops []docdb.BatchOperation
		for i := range 100 {
			ops = append(ops, docdb.BatchOperation{Kind: docdb.OpCreate, Body: fmt.Appendf(nil, `{"id":"%d","pk":"a","n":%d}`, n*100+i, n*100+i)})
		}
		if _, _, err := w.Batch(context.Background(), key, at(path, `["a"]`), ops); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]struct {
		results string
		pages   int // at least: a slow machine ends them by the clock
	}{
		`SELECT VALUE c.n FROM c WHERE c.n + 0 IN (3, 10400)`: {"3 10400", 2},
		`SELECT VALUE c.n FROM c WHERE c.n IN (3, 10400)`:     {"3 10400", 1},
		`SELECT VALUE COUNT(1) FROM c`:                        {"10500", 1},
	} {
		results, pages := w.run(docdb.FeedRequest{Path: path}, docdb.Query{Text: text})
		if got := strings.Join(results, " "); got != want.results || pages < want.pages {
			t.Errorf("%s: %s in %d pages, want %s in %d", text, got, pages, want.results, want.pages)
		}
	}
}

func TestSelect(t *testing.T) {
	offers := [][]byte{[]byte(`{"id":"a","offerResourceId":"R="}`), []byte(`{"id":"b","offerResourceId":"S="}`)}
	got, err := docdb.Select(context.Background(), docdb.Query{Text: `SELECT * FROM c WHERE c.offerResourceId = 'S='`}, offers)
	if err != nil || len(got) != 1 || string(got[0]) != string(offers[1]) {
		t.Errorf("%s %v", got, err)
	}
}

func TestPatchCondition(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	q := at(w.container(simple), `["a"]`)
	if _, err := w.CreateItem(ctx, key, q, []byte(`{"id":"x","pk":"a","n":3}`)); err != nil {
		t.Fatal(err)
	}
	for condition, reason := range map[string]string{
		"from c where c.n = 3": "", "FROM c WHERE c.n > 100": "PatchConditionNotMet", "from c where": docdb.ReasonSyntax,
	} {
		_, err := w.PatchItem(ctx, key, q, "x", fmt.Appendf(nil, `{"condition":%q,"operations":[{"op":"set","path":"/m","value":1}]}`, condition))
		if reason == "" && err != nil || reason != "" && !fault.Is(err, reason) {
			t.Errorf("%s: %v", condition, err)
		}
	}
}
