package docdb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// ids returns the ids of documents in their order.
func ids[T ~[]byte](t *testing.T, docs []T) []string {
	t.Helper()
	out := []string{}
	for _, d := range docs {
		var v struct{ ID string }
		if err := json.Unmarshal(d, &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v.ID)
	}
	return out
}

func (w *world) fill(path docdb.ContainerPath, n int) {
	w.t.Helper()
	for i := range n {
		pk := string(rune('a' + i%3))
		if _, err := w.CreateItem(context.Background(), key, at(path, `["`+pk+`"]`), fmt.Appendf(nil, `{"id":"%02d","pk":%q}`, i, pk)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestFeedPages(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	w.fill(path, 20)
	for _, tt := range []struct {
		pk   string
		want int
	}{{"", 20}, {`["a"]`, 7}, {`["b"]`, 7}, {`["zz"]`, 0}} {
		q := docdb.FeedRequest{Path: path, MaxItems: 3}
		q.PartitionKey = at(path, tt.pk).PartitionKey
		var all []string
		for {
			page, err := w.ReadFeed(ctx, key, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Continuation) > 1024 || len(page.Items) > 3 {
				t.Fatalf("page of %d with a token of %d bytes", len(page.Items), len(page.Continuation))
			}
			all = append(all, ids(t, page.Items)...)
			if q.Continuation = page.Continuation; q.Continuation == "" {
				break
			}
			w.Forget(accountID) // a token needs nothing that is in memory
		}
		if len(all) != tt.want {
			t.Errorf("key %s: %d documents, want %d", tt.pk, len(all), tt.want)
		}
		for i := 1; i < len(all); i++ {
			if all[i] <= all[i-1] {
				t.Errorf("key %s: order %v", tt.pk, all)
			}
		}
	}
}

func TestForeignContinuation(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	w.fill(path, 5)
	page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, MaxItems: 1})
	if err != nil {
		t.Fatal(err)
	}
	other := docdb.FeedRequest{Path: path, PartitionKey: at(path, `["a"]`).PartitionKey, Continuation: page.Continuation}
	_, err = w.ReadFeed(ctx, key, other)
	wantFault(t, err, fault.Invalid, "InvalidContinuation")
	for _, token := range []string{"x", strings.Repeat("A", 44), page.Continuation[:20], "B" + page.Continuation[1:]} {
		_, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, Continuation: token})
		wantFault(t, err, fault.Invalid, "InvalidContinuation")
	}
}

func FuzzContinuation(f *testing.F) {
	w, ctx := newWorld(f), context.Background()
	path := w.container(simple)
	w.fill(path, 3)
	page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, MaxItems: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page.Continuation)
	f.Add("AQAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, Continuation: token})
		if token != "" && strings.TrimRight(token, "\r\n") != page.Continuation && err == nil && !strings.ContainsAny(token, "\r\n") {
			t.Fatalf("made-up token %q was accepted", token)
		}
	})
}

// FuzzItem: every accepted document comes back valid, with the same members as were sent.
func FuzzItem(f *testing.F) {
	w, ctx := newWorld(f), context.Background()
	path := w.container(`{"id":"c","partitionKey":{"paths":["/id"],"version":2}}`)
	f.Add([]byte(`{"id":"a","n":1.0}`))
	f.Add([]byte(`{"id":"\u00e9","_etag":1,"o":{"id":[]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var d struct {
			ID *string `json:"id"`
		}
		if json.Unmarshal(body, &d) != nil || d.ID == nil {
			return
		}
		k := docdb.PartitionKey{docdb.String(*d.ID)}
		r, err := w.UpsertItem(ctx, key, docdb.ItemRequest{Path: path, PartitionKey: &k}, body)
		if fault.KindOf(err) == fault.Internal && err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if err != nil {
			return
		}
		var sent, got map[string]any
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Skip()
		}
		if err := json.Unmarshal(r.JSON, &got); err != nil {
			t.Fatalf("%q came back as %q: %v", body, r.JSON, err)
		}
		for name, v := range sent {
			if !strings.HasPrefix(name, "_") && !reflect.DeepEqual(got[name], v) {
				t.Fatalf("%q: %q came back as %v", body, name, got[name])
			}
		}
	})
}

func TestChangeFeed(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	feed := func(since string, change func(*docdb.ChangeFeedRequest)) docdb.ChangeFeedPage {
		t.Helper()
		q := docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path}, Since: since}
		if change != nil {
			change(&q)
		}
		page, err := w.ChangeFeed(ctx, key, q)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	now := feed("*", nil)
	if len(now.Items) != 0 {
		t.Errorf("something is new in nothing: %s", now.Items)
	}
	w.fill(path, 4) // a b c a
	q := at(path, `["a"]`)
	if _, err := w.UpsertItem(ctx, key, q, []byte(`{"id":"00","pk":"a"}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DeleteItem(ctx, key, q, "03"); err != nil {
		t.Fatal(err)
	}
	all := feed("", nil)
	if got := fmt.Sprint(ids(t, all.Items)); got != "[01 02 00]" {
		t.Errorf("from the beginning: %s", got)
	}
	if !bytes.Contains(all.Items[2], []byte(`"_lsn":5`)) || all.ETag != `"6"` {
		t.Errorf("%s, etag %s", all.Items[2], all.ETag)
	}
	if got := fmt.Sprint(ids(t, feed(now.ETag, nil).Items)); got != "[01 02 00]" {
		t.Errorf("from then: %s", got)
	}
	end := feed(all.ETag, nil)
	if len(end.Items) != 0 || end.ETag != all.ETag {
		t.Errorf("at the end: %s %s", end.Items, end.ETag)
	}
	if got := fmt.Sprint(ids(t, feed("", func(q *docdb.ChangeFeedRequest) { q.PartitionKey = at(path, `["a"]`).PartitionKey }).Items)); got != "[00]" {
		t.Errorf("one partition: %s", got)
	}
	w.now = w.now.Add(time.Minute)
	if _, err := w.CreateItem(ctx, key, q, []byte(`{"id":"late","pk":"a"}`)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ids(t, feed("", func(q *docdb.ChangeFeedRequest) { q.Start = w.now.Add(-time.Second) }).Items)); got != "[late]" {
		t.Errorf("since a time: %s", got)
	}
	lower := feed("", func(q *docdb.ChangeFeedRequest) { q.MaxEPK = "20" })
	upper := feed("", func(q *docdb.ChangeFeedRequest) { q.MinEPK, q.MaxEPK = "20", "FF" })
	if len(lower.Items)+len(upper.Items) != 4 || len(lower.Items) == 0 || len(upper.Items) == 0 {
		t.Errorf("halves have %d and %d", len(lower.Items), len(upper.Items))
	}
	_, err := w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path, RangeID: "7"}})
	wantFault(t, err, fault.Gone, "PartitionKeyRangeGone")
	_, err = w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path}, Since: `"x"`})
	wantFault(t, err, fault.Invalid, "BadRequest")
}

// TestCommitOnOnePage: the changes of one commit are never divided between pages.
func TestCommitOnOnePage(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	var ops []docdb.BatchOperation
	for i := range 5 {
		ops = append(ops, docdb.BatchOperation{Kind: docdb.OpCreate, Body: fmt.Appendf(nil, `{"id":"%d","pk":"a"}`, i)})
	}
	if _, _, err := w.Batch(ctx, key, at(path, `["a"]`), ops); err != nil {
		t.Fatal(err)
	}
	page, err := w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path, MaxItems: 2}})
	if err != nil || len(page.Items) != 5 {
		t.Errorf("%d changes on the page, %v", len(page.Items), err)
	}
}

func TestHierarchicalKey(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(`{"id":"c","partitionKey":{"paths":["/t","/u"],"kind":"MultiHash","version":2}}`)
	for i, k := range []string{`["t1","u1"]`, `["t1","u2"]`, `["t2","u1"]`} {
		pair := strings.Split(strings.Trim(k, "[]"), ",")
		if _, err := w.CreateItem(ctx, key, at(path, k), fmt.Appendf(nil, `{"id":"%d","t":%s,"u":%s}`, i, pair[0], pair[1])); err != nil {
			t.Fatal(err)
		}
	}
	page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, PartitionKey: at(path, `["t1"]`).PartitionKey})
	if err != nil || fmt.Sprint(ids(t, page.Items)) != "[0 1]" {
		t.Errorf("prefix: %s %v", page.Items, err)
	}
	page, err = w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, MinEPK: "0DAE0B8467B011E957BC0B8B0DEB5ACA", MaxEPK: "0DAE0B8467B011E957BC0B8B0DEB5ACAFF"})
	if err != nil || len(page.Items) != 0 { // that is tenant1, which is not there
		t.Errorf("range of another prefix: %s %v", page.Items, err)
	}
	_, err = w.ReadItem(ctx, key, at(path, `["t1"]`), "0")
	wantFault(t, err, fault.Invalid, "PartitionKeyMismatch")
}

func TestUniqueKeys(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(`{"id":"c","partitionKey":{"paths":["/pk"],"version":2},"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/mail"]},{"paths":["/a/b","/n"]}]}}`)
	create := func(pk, body string) error {
		_, err := w.CreateItem(ctx, key, at(path, pk), []byte(body))
		return err
	}
	steps := []struct {
		name, pk, body string
		ok             bool
	}{
		{"first", `["x"]`, `{"id":"1","pk":"x","mail":"m","a":{"b":1},"n":1}`, true},
		{"same mail", `["x"]`, `{"id":"2","pk":"x","mail":"m","n":2}`, false},
		{"other partition", `["y"]`, `{"id":"2","pk":"y","mail":"m","a":{"b":1},"n":1}`, true},
		{"same pair, written otherwise", `["x"]`, `{"id":"3","pk":"x","mail":"o","a":{"b":1.0},"n":1e0}`, false},
		{"missing values", `["x"]`, `{"id":"4","pk":"x"}`, true},
		{"missing values again", `["x"]`, `{"id":"5","pk":"x"}`, false},
		{"null is missing", `["x"]`, `{"id":"5","pk":"x","mail":null,"n":9}`, false},
		{"case matters", `["x"]`, `{"id":"6","pk":"x","mail":"M","n":6}`, true},
	}
	for _, s := range steps {
		if err := create(s.pk, s.body); (err == nil) != s.ok {
			t.Errorf("%s: %v", s.name, err)
		} else if err != nil {
			wantFault(t, err, fault.Conflict, "UniqueIndexConflict")
		}
	}
	q := at(path, `["x"]`)
	if _, err := w.ReplaceItem(ctx, key, q, "1", []byte(`{"id":"1","pk":"x","mail":"m","a":{"b":1},"n":1,"more":true}`)); err != nil {
		t.Errorf("an item is in its own way: %v", err)
	}
	if _, err := w.DeleteItem(ctx, key, q, "1"); err != nil {
		t.Fatal(err)
	}
	if err := create(`["x"]`, `{"id":"7","pk":"x","mail":"m","n":7}`); err != nil {
		t.Errorf("a deleted item keeps its values: %v", err)
	}
	// Values may change hands within a commit.
	_, _, err := w.Batch(ctx, key, q, []docdb.BatchOperation{
		{Kind: docdb.OpReplace, ID: "6", Body: []byte(`{"id":"6","pk":"x","mail":"m","n":6}`)},
		{Kind: docdb.OpReplace, ID: "7", Body: []byte(`{"id":"7","pk":"x","mail":"M","n":7}`)},
	})
	if err != nil {
		t.Error(err)
	}
	if err := create(`["x"]`, `{"id":"8","pk":"x","mail":"m","n":8}`); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the value that the first of two took over can be taken again: %v", err)
	}
	if err := create(`["x"]`, `{"id":"8","pk":"x","mail":"M","n":8}`); fault.KindOf(err) != fault.Conflict {
		t.Errorf("after the exchange: %v", err)
	}
}

func TestTimeToLive(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(`{"id":"c","partitionKey":{"paths":["/pk"],"version":2},"defaultTtl":100}`)
	q := at(path, `["a"]`)
	first := map[string]docdb.Result{}
	for id, ttl := range map[string]string{"default": "", "short": `,"ttl":10`, "never": `,"ttl":-1`} {
		r, err := w.CreateItem(ctx, key, q, []byte(`{"id":"`+id+`","pk":"a"`+ttl+`}`))
		if err != nil {
			t.Fatal(err)
		}
		first[id] = r
	}
	for _, bad := range []string{`0`, `null`, `"5"`, `1.5`, `-2`, `2147483648`} {
		_, err := w.CreateItem(ctx, key, q, []byte(`{"id":"bad","pk":"a","ttl":`+bad+`}`))
		wantFault(t, err, fault.Invalid, "BadRequest")
	}
	alive := func() string {
		t.Helper()
		page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for id := range first {
			if _, err := w.ReadItem(ctx, key, q, id); err == nil {
				n++
			}
		}
		if n != len(page.Items) {
			t.Errorf("%d can be read, %d are in the feed", n, len(page.Items))
		}
		return strings.Join(ids(t, page.Items), " ")
	}
	w.now = w.now.Add(9 * time.Second)
	if got := len(strings.Fields(alive())); got != 3 {
		t.Errorf("too early: %d", got)
	}
	w.now = w.now.Add(time.Second)
	if got := alive(); strings.Contains(got, "short") {
		t.Errorf("too late: %s", got)
	}
	_, err := w.DeleteItem(ctx, key, q, "short")
	wantFault(t, err, fault.NotFound, "NotFound")
	again, err := w.CreateItem(ctx, key, q, []byte(`{"id":"short","pk":"a"}`))
	if err != nil || again.RID == first["short"].RID {
		t.Errorf("over an expired one: %v", err)
	}
	w.now = w.now.Add(time.Hour)
	if got := alive(); got != "never" {
		t.Errorf("after an hour: %s", got)
	}
}

func TestPatch(t *testing.T) {
	const doc = `{"id":"x","pk":"a","n":1,"f":1.5,"o":{"k":"v","a/b":0,"~":1},"l":[1,2,3],"keep":1.00}`
	tests := []struct{ name, patch, want string }{ // want: members that differ, or "" for a refusal
		{"set", `[{"op":"set","path":"/new","value":{"a":1}}]`, `{"new":{"a":1}}`},
		{"add over", `[{"op":"add","path":"/n","value":"s"}]`, `{"n":"s"}`},
		{"absent value is null", `[{"op":"set","path":"/n"}]`, `{"n":null}`},
		{"replace", `{"operations":[{"op":"replace","path":"/o/k","value":2}]}`, `{"o":{"k":2,"a/b":0,"~":1}}`},
		{"replace missing", `[{"op":"replace","path":"/none","value":2}]`, ``},
		{"remove", `[{"op":"remove","path":"/o/k"}]`, `{"o":{"a/b":0,"~":1}}`},
		{"remove missing", `[{"op":"remove","path":"/none"}]`, ``},
		{"escapes", `[{"op":"remove","path":"/o/a~1b"},{"op":"remove","path":"/o/~0"}]`, `{"o":{"k":"v"}}`},
		{"insert", `[{"op":"add","path":"/l/1","value":9}]`, `{"l":[1,9,2,3]}`},
		{"set element", `[{"op":"set","path":"/l/1","value":9}]`, `{"l":[1,9,3]}`},
		{"append", `[{"op":"add","path":"/l/-","value":9},{"op":"add","path":"/l/4","value":10}]`, `{"l":[1,2,3,9,10]}`},
		{"beyond the end", `[{"op":"add","path":"/l/4","value":9}]`, ``},
		{"remove element", `[{"op":"remove","path":"/l/0"}]`, `{"l":[2,3]}`},
		{"leading zero", `[{"op":"remove","path":"/l/00"}]`, ``},
		{"increment", `[{"op":"incr","path":"/n","value":-3}]`, `{"n":-2}`},
		{"increment a double", `[{"op":"incr","path":"/f","value":1}]`, `{"f":2.5}`},
		{"increment nothing", `[{"op":"incr","path":"/none","value":4}]`, `{"none":4}`},
		{"increment a string", `[{"op":"incr","path":"/o/k","value":4}]`, ``},
		{"increment by a string", `[{"op":"incr","path":"/n","value":"4"}]`, ``},
		{"move", `[{"op":"move","from":"/o/k","path":"/moved"}]`, `{"o":{"a/b":0,"~":1},"moved":"v"}`},
		{"move missing", `[{"op":"move","from":"/none","path":"/moved"}]`, ``},
		{"move below itself", `[{"op":"move","from":"/o","path":"/o/k"}]`, ``},
		{"through a scalar", `[{"op":"set","path":"/n/x","value":1}]`, ``},
		{"id", `[{"op":"set","path":"/id","value":"y"}]`, ``},
		{"partition key", `[{"op":"set","path":"/pk","value":"a"}]`, ``},
		{"system", `[{"op":"set","path":"/_ts","value":1}]`, ``},
		{"all or nothing", `[{"op":"set","path":"/n","value":7},{"op":"remove","path":"/none"}]`, ``},
		{"unknown", `[{"op":"test","path":"/n","value":1}]`, ``},
		{"no operation", `{"operations":[]}`, ``},
		{"eleven", `[` + strings.Repeat(`{"op":"incr","path":"/n","value":1},`, 10) + `{"op":"incr","path":"/n","value":1}]`, ``},
		{"no pointer", `[{"op":"set","path":"n","value":1}]`, ``},
		{"duplicate member", `[{"op":"set","op":"set","path":"/n","value":1}]`, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, ctx := newWorld(t), context.Background()
			q := at(w.container(simple), `["a"]`)
			if _, err := w.CreateItem(ctx, key, q, []byte(doc)); err != nil {
				t.Fatal(err)
			}
			_, err := w.PatchItem(ctx, key, q, "x", []byte(tt.patch))
			if (err == nil) != (tt.want != "") {
				t.Fatalf("got %v", err)
			}
			if err != nil && fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind of %v", err)
			}
			comparePatched(t, w, q, doc, tt.want)
		})
	}
}

// comparePatched reads x and compares it with doc changed by the members in diff.
func comparePatched(t *testing.T, w *world, q docdb.ItemRequest, doc, diff string) {
	t.Helper()
	r, err := w.ReadItem(context.Background(), key, q, "x")
	if err != nil {
		t.Fatal(err)
	}
	var got, want, changes map[string]any
	for raw, v := range map[string]*map[string]any{string(r.JSON): &got, doc: &want, diff: &changes} {
		if raw != "" {
			if err := json.Unmarshal([]byte(raw), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	for k, v := range changes {
		want[k] = v
	}
	for k := range got {
		if strings.HasPrefix(k, "_") {
			delete(got, k)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if !bytes.Contains(r.JSON, []byte(`"keep":1.00`)) {
		t.Errorf("a number was rewritten: %s", r.JSON)
	}
}

func TestBatch(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	q := at(w.container(simple), `["a"]`)
	results, receipt, err := w.Batch(ctx, key, q, []docdb.BatchOperation{
		{Kind: docdb.OpCreate, Body: []byte(`{"id":"1","pk":"a"}`)},
		{Kind: docdb.OpCreate, Body: []byte(`{"id":"2","pk":"a","n":1}`)},
		{Kind: docdb.OpPatch, ID: "2", Body: []byte(`[{"op":"incr","path":"/n","value":1}]`)},
		{Kind: docdb.OpRead, ID: "2"},
		{Kind: docdb.OpDelete, ID: "1"},
	})
	if err != nil || receipt.LSN != 1 || !results[0].Created || results[2].Item.ETag == "" || results[4].Err != nil {
		t.Fatalf("%+v %+v %v", results, receipt, err)
	}
	if !bytes.Contains(results[3].Item.JSON, []byte(`"n":2`)) || results[3].Item.ETag != results[2].Item.ETag {
		t.Errorf("read within the batch: %s", results[3].Item.JSON)
	}
	stored, err := w.ReadItem(ctx, key, q, "2")
	if err != nil || stored.ETag != results[3].Item.ETag {
		t.Errorf("etag %s, want %s, %v", stored.ETag, results[3].Item.ETag, err)
	}
	_, err = w.ReadItem(ctx, key, q, "1")
	wantFault(t, err, fault.NotFound, "NotFound")
	results, receipt, err = w.Batch(ctx, key, q, []docdb.BatchOperation{
		{Kind: docdb.OpCreate, Body: []byte(`{"id":"3","pk":"a"}`)},
		{Kind: docdb.OpReplace, ID: "2", Body: []byte(`{"id":"2","pk":"a"}`), Conditions: docdb.Conditions{IfMatch: `"old"`}},
		{Kind: docdb.OpDelete, ID: "2"},
	})
	if err != nil || receipt.LSN != 1 || !results[0].FailedDependency() || !results[2].FailedDependency() {
		t.Fatalf("%+v %v", results, err)
	}
	wantFault(t, results[1].Err, fault.Precondition, "PreconditionFailed")
	_, err = w.ReadItem(ctx, key, q, "3")
	wantFault(t, err, fault.NotFound, "NotFound")
	_, _, err = w.Batch(ctx, key, q, nil)
	wantFault(t, err, fault.Invalid, "BadRequest")
	w.deny = "sqlDatabases/containers/items/delete"
	_, _, err = w.Batch(ctx, key, q, []docdb.BatchOperation{{Kind: docdb.OpRead, ID: "2"}, {Kind: docdb.OpDelete, ID: "2"}})
	wantFault(t, err, fault.Denied, "5302")
}

func TestBulk(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	var ops []docdb.BatchOperation
	for i := range 40 {
		k := docdb.PartitionKey{docdb.Number(float64(i % 4))}
		ops = append(ops, docdb.BatchOperation{Kind: docdb.OpUpsert, PartitionKey: &k, Body: fmt.Appendf(nil, `{"id":"%d","pk":%d}`, i, i%4)})
	}
	ops[7].Body = []byte(`{"id":"7","pk":"wrong"}`)
	results, _, err := w.Bulk(ctx, key, docdb.ItemRequest{Path: path}, ops, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if i == 7 {
			wantFault(t, r.Err, fault.Invalid, "PartitionKeyMismatch")
		} else if r.Err != nil || !r.Created || r.Item.ID != fmt.Sprint(i) {
			t.Errorf("%d: %+v", i, r)
		}
	}
	page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path})
	if err != nil || len(page.Items) != 39 || page.LSN != 39 {
		t.Errorf("%d items, LSN %d, %v", len(page.Items), page.LSN, err)
	}
}

func TestOffers(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container(simple)
	if _, err := w.CreateDatabase(ctx, key, accountID, docdb.DatabaseSpec{ID: "shared", Autoscale: 4000}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateContainer(ctx, key, accountID, "shared", docdb.ContainerSpec{Properties: json.RawMessage(simple)}); err != nil {
		t.Fatal(err)
	}
	offers, err := w.Offers(ctx, key, accountID)
	if err != nil || len(offers) != 2 || offers[0].Throughput.Manual != 400 || offers[1].Throughput.Autoscale != 4000 {
		t.Fatalf("%+v %v", offers, err)
	}
	c, err := w.Container(ctx, key, accountID, "d", "c")
	if err != nil || offers[0].ResourceRID != c.RID || offers[0].ResourceSelf != c.Self {
		t.Errorf("%+v %v", offers[0], err)
	}
	if _, err := w.ThroughputOf(ctx, key, accountID, "shared", "c"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a container with shared throughput has an offer: %v", err)
	}
	to, err := docdb.ParseOffer(bytes.Replace(offers[0].JSON(), []byte(`:400`), []byte(`:700`), 1))
	if err != nil {
		t.Fatal(err)
	}
	if o, err := w.ReplaceOffer(ctx, key, accountID, offers[0].RID, to, offers[0].ETag); err != nil || o.Throughput.Manual != 700 {
		t.Errorf("%+v %v", o, err)
	}
	for _, bad := range []docdb.Throughput{{}, {Manual: 350}, {Manual: 450}, {Autoscale: 4000}, {Manual: 400, Autoscale: 1000}} {
		if _, err := w.ReplaceOffer(ctx, key, accountID, offers[0].RID, bad, ""); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	_, err = w.SetThroughputOf(ctx, key, accountID, "d", "c", docdb.Throughput{Autoscale: 1000})
	wantFault(t, err, fault.Invalid, "ThroughputInvalid")
	if err := w.DeleteDatabase(ctx, key, accountID, "shared"); err != nil {
		t.Fatal(err)
	}
	if offers, err := w.Offers(ctx, key, accountID); err != nil || len(offers) != 1 {
		t.Errorf("after the deletion: %+v %v", offers, err)
	}
}

func TestRanges(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	ranges, etag, _, err := w.PartitionKeyRanges(ctx, key, path)
	if err != nil || len(ranges) != 1 || ranges[0].Min != "" || ranges[0].Max != "FF" || ranges[0].ID != "0" {
		t.Fatalf("%+v %v", ranges, err)
	}
	w.fill(path, 2)
	if _, again, _, err := w.PartitionKeyRanges(ctx, key, path); err != nil || again != etag {
		t.Errorf("the etag of the set changed with the items: %s %s %v", etag, again, err)
	}
}
