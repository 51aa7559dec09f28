package docdb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// enforcing is a world whose throughput counts.
func enforcing(t *testing.T) *world {
	w := newWorld(t)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Enforce: true, Now: func() time.Time { return w.now }})
	return w
}

// until writes until it is refused, and returns how many request units that took and how long to wait.
func (w *world) until(t *testing.T, q docdb.ItemRequest) (spent float64, wait time.Duration) {
	t.Helper()
	for i := range 100_000 {
		r, err := w.UpsertItem(context.Background(), key, q, fmt.Appendf(nil, `{"id":"%d","pk":"a"}`, i%7))
		if err == nil {
			spent += r.Charge
			continue
		}
		var after docdb.RetryAfter
		if !fault.Is(err, docdb.ReasonThrottled) || fault.KindOf(err) != fault.Throttled || !errors.As(err, &after) {
			t.Fatal(err)
		}
		return spent, time.Duration(after)
	}
	t.Fatal("never refused")
	return 0, 0
}

// TestThroughputIsEnforced: a second's worth, then a wait that is long enough, then the savings of a rest.
func TestThroughputIsEnforced(t *testing.T) {
	w := enforcing(t)
	q := at(w.container(simple), `["a"]`) // 400 request units a second
	spent, wait := w.until(t, q)
	if spent < 400 || spent > 410 || wait < time.Millisecond || wait > 50*time.Millisecond {
		t.Errorf("spent %v, to wait %v", spent, wait)
	}
	w.now = w.now.Add(wait)
	if again, _ := w.until(t, q); again == 0 || again > 20 {
		t.Errorf("after the wait %v", again)
	}
	w.now = w.now.Add(time.Hour)
	w.until(t, q)
	total := 0.0
	for range 10 {
		w.now = w.now.Add(time.Second)
		spent, _ := w.until(t, q)
		total += spent
	}
	if total < 29_000 || total > 31_000 { // the savings are spent at 3000 a second
		t.Errorf("%v in ten seconds after a rest", total)
	}
	for range 60 {
		w.now = w.now.Add(time.Second)
		w.until(t, q)
	}
	w.now = w.now.Add(time.Second)
	if spent, _ := w.until(t, q); spent > 420 {
		t.Errorf("%v in a second when the savings are gone", spent)
	}
	_, err := w.ReadItem(context.Background(), key, q, "1")
	wantFault(t, err, fault.Throttled, docdb.ReasonThrottled)
	_, err = w.Query(context.Background(), key, docdb.FeedRequest{Path: q.Path}, docdb.Query{Text: "SELECT * FROM c"})
	wantFault(t, err, fault.Throttled, docdb.ReasonThrottled)
}

// TestMoreThroughput: an offer that is raised counts at once, and gives the container more ranges.
func TestMoreThroughput(t *testing.T) {
	w, ctx := enforcing(t), context.Background()
	for _, version := range []int{1, 2} {
		path := w.container(fmt.Sprintf(`{"id":"c%d","partitionKey":{"paths":["/pk"],"kind":"Hash","version":%d}}`, version, version))
		q := at(path, `["a"]`)
		w.until(t, q)
		if _, err := w.SetThroughputOf(ctx, key, accountID, "d", path.Container, docdb.Throughput{Manual: 40_000}); err != nil {
			t.Fatal(err)
		}
		m := &model{t: t, w: w, path: path}
		list := m.ranges()
		if len(list) != 4 {
			t.Fatalf("%d ranges", len(list))
		}
		used := map[string]int{}
		for i := range 400 {
			r, err := w.CreateItem(ctx, key, at(path, fmt.Sprintf(`["p%d"]`, i)), fmt.Appendf(nil, `{"id":"x","pk":"p%d"}`, i))
			if err != nil {
				t.Fatal(err)
			}
			used[r.RangeID]++
		}
		for id, n := range used {
			if n < 60 || len(used) != 4 {
				t.Errorf("version %d: %d of 400 items in range %s of %d", version, n, id, len(used))
			}
		}
		if spent, _ := w.until(t, q); spent < 9_000 || spent > 10_100 { // a quarter is this range's
			t.Errorf("%v", spent)
		}
	}
}

// TestSharedThroughput: containers without throughput of their own spend what their database has.
func TestSharedThroughput(t *testing.T) {
	w, ctx := enforcing(t), context.Background()
	if _, err := w.CreateDatabase(ctx, key, accountID, docdb.DatabaseSpec{ID: "d", Throughput: 1000}); err != nil {
		t.Fatal(err)
	}
	one, two := at(w.container(simple), `["a"]`), at(w.container(`{"id":"c2","partitionKey":{"paths":["/pk"]}}`), `["a"]`)
	if spent, _ := w.until(t, one); spent < 1000 || spent > 1010 {
		t.Errorf("%v", spent)
	}
	if spent, _ := w.until(t, two); spent != 0 {
		t.Errorf("the other container spent %v", spent)
	}
}

// TestNothingIsEnforcedUnlessAsked for.
func TestNothingIsEnforcedUnlessAsked(t *testing.T) {
	w := newWorld(t)
	q := at(w.container(simple), `["a"]`)
	for i := range 200 {
		if _, err := w.UpsertItem(context.Background(), key, q, fmt.Appendf(nil, `{"id":"%d","pk":"a"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCharges are the published figures.
func TestCharges(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	plain := w.container(`{"id":"plain","partitionKey":{"paths":["/pk"]},"indexingPolicy":{"indexingMode":"none"}}`)
	for size, want := range map[int][2]float64{1 << 10: {1, 5}, 100 << 10: {10, 50}} {
		q := at(plain, `["a"]`)
		body := fmt.Appendf(nil, `{"id":"%d","pk":"a","x":""}`, size)
		body = fmt.Appendf(nil, `{"id":"%d","pk":"a","x":"%0*d"}`, size, size-len(body), 0)
		wrote, err := w.UpsertItem(ctx, key, q, body)
		if err != nil {
			t.Fatal(err)
		}
		read, err := w.ReadItem(ctx, key, q, fmt.Sprint(size))
		if err != nil {
			t.Fatal(err)
		}
		if read.Charge != want[0] || wrote.Charge != want[1] {
			t.Errorf("%d bytes: reading %v, writing %v; want %v", size, read.Charge, wrote.Charge, want)
		}
	}
}
