package docdb_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

func (w *world) erasePartition(path docdb.ContainerPath, pk string) docdb.Receipt {
	w.t.Helper()
	r, err := w.ErasePartition(context.Background(), key, at(path, pk))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) eraseSome() bool {
	w.t.Helper()
	more, err := w.Erase(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return more
}

// eraseAll opens the account, which a restart has closed, and removes all that is hidden.
func (w *world) eraseAll() {
	w.t.Helper()
	if _, err := w.Databases(context.Background(), key, accountID); err != nil {
		w.t.Fatal(err)
	}
	for w.eraseSome() {
	}
}

// erase erases one logical partition of the model.
func (m *model) erase(d *dice) {
	m.t.Helper()
	pk := fmt.Sprint("p", d.roll(20))
	m.w.erasePartition(m.path, `["`+pk+`"]`)
	for name := range m.items {
		if strings.HasPrefix(name, pk+"/") {
			delete(m.items, name)
		}
	}
}

// fillPartition makes items 0 to n-1 of a logical partition.
func (w *world) fillPartition(path docdb.ContainerPath, pk string, n int) {
	w.t.Helper()
	for i := range n {
		body := fmt.Appendf(nil, `{"id":"%d","pk":%q,"v":%d}`, i, pk, i)
		if _, err := w.CreateItem(context.Background(), key, at(path, `["`+pk+`"]`), body); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) query(path docdb.ContainerPath, text string) string {
	w.t.Helper()
	page, err := w.Query(context.Background(), key, docdb.FeedRequest{Path: path, MaxItems: -1, RangeID: "0"}, docdb.Query{Text: text})
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("%s", page.Items)
}

// TestErasedIsGoneAtOnce: once the call has returned nobody sees an item of the logical partition, before
// any of them is removed and after a restart; what is written later is there. Others are left alone.
func TestErasedIsGoneAtOnce(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	w.fillPartition(path, "a", 250)
	w.fillPartition(path, "b", 2)
	before, err := w.ReadItem(ctx, key, at(path, `["a"]`), "3")
	if err != nil {
		t.Fatal(err)
	}
	receipt := w.erasePartition(path, `["a"]`)
	if n := count(t, w, 0x20); n != 252 {
		t.Fatalf("%d items are stored: the call has removed some itself", n)
	}
	check := func(when string) {
		t.Helper()
		for _, c := range []struct{ query, want string }{
			{"SELECT VALUE COUNT(1) FROM c", "[2]"},
			{"SELECT VALUE SUM(c.v) FROM c", "[1]"},
			{"SELECT VALUE c.pk FROM c WHERE c.v >= 0 ORDER BY c.v", `["b" "b"]`},
			{"SELECT VALUE c.pk FROM c WHERE c.id = '0'", `["b"]`},
			{"SELECT VALUE c.pk FROM c WHERE c.pk = 'a'", `[]`},
		} {
			if got := w.query(path, c.query); got != c.want {
				t.Errorf("%s: %s: %s", when, c.query, got)
			}
		}
		_, err := w.ReadItem(ctx, key, at(path, `["a"]`), "3")
		wantFault(t, err, fault.NotFound, "NotFound")
		_, err = w.ReadItem(ctx, key, at(path, `["a"]`), before.RID)
		wantFault(t, err, fault.NotFound, "NotFound")
		for _, q := range []docdb.FeedRequest{{Path: path}, {Path: path, PartitionKey: at(path, `["a"]`).PartitionKey}} {
			page, err := w.ReadFeed(ctx, key, q)
			if want := map[bool]int{true: 2, false: 0}[q.PartitionKey == nil]; err != nil || len(page.Items) != want {
				t.Errorf("%s: %d items in a feed, %v", when, len(page.Items), err)
			}
		}
		page, err := w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path, MaxItems: -1}})
		if err != nil || len(page.Items) != 2 {
			t.Errorf("%s: %d items in the change feed, %v", when, len(page.Items), err)
		}
	}
	check("at once")
	w.restart()
	check("after a restart")
	q := at(path, `["a"]`)
	q.Consistency.SessionToken = fmt.Sprintf("0:-1#%d", receipt.LSN)
	_, err = w.ReplaceItem(ctx, key, q, "3", []byte(`{"id":"3","pk":"a"}`))
	wantFault(t, err, fault.NotFound, "NotFound")
	_, err = w.DeleteItem(ctx, key, q, "4")
	wantFault(t, err, fault.NotFound, "NotFound")
	w.eraseAll()
	check("when all is removed")
	for kind, want := range map[byte]int{0x20: 2, 0x21: 2, 0x22: 2, 0x30: 2, 0x34: 0} {
		if n := count(t, w, kind); n != want {
			t.Errorf("%d keys of kind %x, want %d", n, kind, want)
		}
	}
	if w.eraseSome() {
		t.Error("there is more to erase")
	}
}

// TestWritesAfterErasing: an id, and a unique value, of a hidden item can be taken at once, and what is
// written then stays.
func TestWritesAfterErasing(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/v"]}]}}`)
	w.fillPartition(path, "a", 5)
	w.erasePartition(path, `["a"]`)
	for _, body := range []string{`{"id":"1","pk":"a","v":3}`, `{"id":"new","pk":"a","v":2}`} {
		if r, err := w.UpsertItem(ctx, key, at(path, `["a"]`), []byte(body)); err != nil || !r.Created {
			t.Fatal(r.Created, err)
		}
	}
	_, err := w.CreateItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"other","pk":"a","v":2}`))
	wantFault(t, err, fault.Conflict, "UniqueIndexConflict")
	w.eraseAll()
	if got := w.query(path, "SELECT VALUE c.id FROM c ORDER BY c.id"); got != `["1" "new"]` {
		t.Error(got)
	}
	if n := count(t, w, 0x23); n != 2 {
		t.Errorf("%d unique keys", n)
	}
}

// TestErasingInHistory: the feed of all versions tells the deletion of each item that was there, once, and
// before what takes its place.
func TestErasingInHistory(t *testing.T) {
	for seed := range seeds(6, 300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w, d, ctx := newWorld(t), dice(seed), context.Background()
			h := newHistorian(&model{t: t, w: w, path: w.container(versioned)})
			var want, live, hidden []string
			remove := func(from *[]string, id string) bool {
				i := slices.Index(*from, id)
				if i >= 0 {
					*from = slices.Delete(*from, i, i+1)
					want = append(want, "delete a/"+id)
				}
				return i >= 0
			}
			for range 60 {
				switch id := fmt.Sprint(d.roll(6)); d.roll(9) {
				case 0:
					w.erasePartition(h.path, `["a"]`)
					hidden, live = append(hidden, live...), nil
				case 1:
					w.eraseAll()
					for len(hidden) > 0 {
						remove(&hidden, hidden[0])
					}
				case 2:
					w.restart()
				case 3:
					remove(&hidden, id)
					_, err := w.DeleteItem(ctx, key, at(h.path, `["a"]`), id)
					if there := remove(&live, id); there != (err == nil) {
						t.Fatalf("delete %s: %v", id, err)
					}
				default:
					remove(&hidden, id)
					r, err := w.UpsertItem(ctx, key, at(h.path, `["a"]`), fmt.Appendf(nil, `{"id":%q,"pk":"a","v":1}`, id))
					if err != nil || r.Created == slices.Contains(live, id) {
						t.Fatal(id, r.Created, err)
					}
					if r.Created {
						live = append(live, id)
					}
					want = append(want, fmt.Sprintf("%s a/%s=1", map[bool]string{true: "create", false: "replace"}[r.Created], id))
				}
			}
			h.catchUp(&d)
			if !slices.Equal(h.read["a"], want) {
				t.Errorf("\n got %v\nwant %v", h.read["a"], want)
			}
		})
	}
}

// TestEraseRefusals: who may erase, and what a key must be.
func TestEraseRefusals(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(`{"id":"h","partitionKey":{"paths":["/t","/u"],"kind":"MultiHash","version":2}}`)
	_, err := w.ErasePartition(ctx, key, at(path, `["a"]`))
	wantFault(t, err, fault.Invalid, "PartitionKeyMismatch")
	_, err = w.ErasePartition(ctx, key, at(path, ""))
	wantFault(t, err, fault.Invalid, "PartitionKeyMissing")
	if len(w.events) != 2 { // the database and the container
		t.Errorf("%d records", len(w.events))
	}
	w.erasePartition(path, `["a","b"]`)
	if e := w.events[len(w.events)-1]; len(w.events) != 3 || !strings.HasSuffix(e.Operation, "partitionKeyDelete") || strings.Contains(fmt.Sprint(e), `"b"`) {
		t.Errorf("%+v", e)
	}
	w.deny = "sqlDatabases/containers/items/delete"
	_, err = w.ErasePartition(ctx, key, at(path, `["a","b"]`))
	wantFault(t, err, fault.Denied, "5302")
}

// TestErasingUnderWriters: no reader sees an item that was acknowledged before an erasure began, and every
// one whose writer began when it had ended. Then the power is cut.
func TestErasingUnderWriters(t *testing.T) {
	fs := vfs.NewCrashableMem()
	w := &world{t: t, now: time.Unix(1_795_424_400, 0)}
	w.open(fs)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return w.now }})
	ctx, path := context.Background(), w.container(simple)
	var mu sync.Mutex
	acked, stays := map[string]bool{}, map[string]bool{} // stays: begun when the erasure had ended
	for round := range 5 {
		var writers sync.WaitGroup
		var erased atomic.Bool
		clear(stays)
		for n := range 4 {
			writers.Go(func() {
				for i := range 25 {
					id, behind := fmt.Sprintf("%d-%d-%d", round, n, i), erased.Load()
					if _, err := w.CreateItem(ctx, key, at(path, `["a"]`), fmt.Appendf(nil, `{"id":%q,"pk":"a"}`, id)); err != nil {
						t.Error(err)
					}
					mu.Lock()
					acked[id] = true
					if behind {
						stays[id] = true
					}
					mu.Unlock()
				}
			})
		}
		writers.Go(func() {
			mu.Lock()
			gone := acked
			acked = map[string]bool{}
			mu.Unlock()
			w.erasePartition(path, `["a"]`)
			erased.Store(true)
			for id := range gone {
				if _, err := w.ReadItem(ctx, key, at(path, `["a"]`), id); fault.KindOf(err) != fault.NotFound {
					t.Errorf("%s is there: %v", id, err)
				}
			}
			w.eraseSome()
		})
		writers.Wait()
		for id := range stays {
			if _, err := w.ReadItem(ctx, key, at(path, `["a"]`), id); err != nil {
				t.Errorf("%s was written behind the erasure: %v", id, err)
			}
		}
	}
	w.erasePartition(path, `["a"]`)
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.Forget(accountID)
	w.open(after)
	if got := w.query(path, "SELECT VALUE COUNT(1) FROM c"); got != "[0]" {
		t.Errorf("after the crash: %s", got)
	}
	w.eraseAll()
	if n := count(t, w, 0x20); n != 0 {
		t.Errorf("%d items are left", n)
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestErasingSparesThroughput: with throughput that is enforced, removing takes a tenth of it.
func TestErasingSparesThroughput(t *testing.T) {
	w := newWorld(t)
	path := w.container(simple)
	w.fillPartition(path, "a", 1000)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Enforce: true, Now: func() time.Time { return w.now }})
	w.erasePartition(path, `["a"]`)
	if w.eraseSome() {
		t.Error("it would go on at once")
	}
	left := count(t, w, 0x20)
	if left == 0 || left == 1000 {
		t.Fatalf("%d items are left", left)
	}
	seconds := 0
	for ; count(t, w, 0x20) > 0 && seconds < 400; seconds++ {
		w.now = w.now.Add(time.Second)
		w.eraseSome()
	}
	if seconds < 120 || seconds > 200 { // 1,000 deletions of 6.29 at 40 a second
		t.Errorf("it takes %d seconds", seconds)
	}
}

// TestBatchesAreBeforeOrBehind: of a batch that meets an erasure everything is erased, or nothing. Each one
// writes the same item again and makes another: where the first of those is that stayed, the same one was made anew.
func TestBatchesAreBeforeOrBehind(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	for round := range seeds(40, 4000) {
		pk := fmt.Sprint("p", round)
		q := at(path, `["`+pk+`"]`)
		var done atomic.Bool
		var writer sync.WaitGroup
		var made []bool // by batch: whether the same item was made
		started := make(chan struct{})
		writer.Go(func() {
			for i := 0; !done.Load() || i < 4; i++ {
				results, _, err := w.Batch(ctx, key, q, []docdb.BatchOperation{
					{Kind: docdb.OpUpsert, Body: fmt.Appendf(nil, `{"id":"same","pk":%q}`, pk)},
					{Kind: docdb.OpCreate, Body: fmt.Appendf(nil, `{"id":"%d","pk":%q}`, i, pk)},
				})
				if err != nil || results[1].Err != nil {
					t.Error(err, results)
					break
				}
				if made = append(made, results[0].Created); i == 2 {
					close(started)
				}
			}
		})
		<-started
		w.erasePartition(path, `["`+pk+`"]`)
		done.Store(true)
		writer.Wait()
		for i, anew := range made {
			_, err := w.ReadItem(ctx, key, q, fmt.Sprint(i))
			if err == nil && !anew {
				t.Fatalf("round %d: half of batch %d of %d was erased", round, i, len(made))
			}
			if err == nil {
				break
			}
		}
	}
}

// TestRoleRefusedByResourceID: a refusal by data roles has another sub-status where the request names
// resources by their ids.
func TestRoleRefusedByResourceID(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	c, err := w.Container(ctx, key, accountID, "d", "c")
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.Database(ctx, key, accountID, "d")
	if err != nil {
		t.Fatal(err)
	}
	w.deny = "sqlDatabases/containers/items/read"
	_, err = w.ReadItem(ctx, key, at(path, `["a"]`), "1")
	wantFault(t, err, fault.Denied, "5302")
	path.Database, path.Container = d.RID, c.RID
	_, err = w.ReadItem(ctx, key, at(path, `["a"]`), "1")
	wantFault(t, err, fault.Denied, "5303")
}
