package docdb_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// bounded is a world whose ranges are split beyond so many stored bytes.
func bounded(t *testing.T, bytes int64) *world {
	w := newWorld(t)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, RangeBytes: bytes, Now: func() time.Time { return w.now }})
	return w
}

// noise is text that no table can compress.
func noise(d *dice, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%08x", d.roll(1<<32))
	}
	return b.String()
}

// load writes documents of about a KiB and brings them into tables.
func (w *world) load(path docdb.ContainerPath, d *dice, n int, pk func(i int) string) {
	w.t.Helper()
	for i := range n {
		body := fmt.Appendf(nil, `{"id":"%d","pk":%q,"text":%q}`, i, pk(i), noise(d, 1024))
		if _, err := w.UpsertItem(context.Background(), key, at(path, `["`+pk(i)+`"]`), body); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.db.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

// TestLargeRangeIsSplit: a sweep splits what has become too large where half of it lies on either side, until
// nothing is too large; nothing gets lost, and the record says that the server did it.
func TestLargeRangeIsSplit(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			w, d := bounded(t, 256<<10), dice(version)
			path := w.container(fmt.Sprintf(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":%d},"indexingPolicy":{"indexingMode":"none"}}`, version))
			m := &model{t: t, w: w, path: path}
			if err := w.Sweep(t.Context()); err != nil || len(m.ranges()) != 1 {
				t.Fatal("an empty range was split", err)
			}
			w.load(path, &d, 1000, func(i int) string { return fmt.Sprint("p", i) })
			for range 20 {
				m.ranges() // the account is used
				if err := w.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			list := m.ranges()
			if len(list) < 4 || len(list) > 10 {
				t.Fatalf("%d ranges", len(list))
			}
			total := 0
			for _, r := range list {
				page, err := w.ReadFeed(t.Context(), key, docdb.FeedRequest{Path: path, RangeID: r.ID, MaxItems: -1})
				if err != nil || len(page.Items) < 60 || len(page.Items) > 350 {
					t.Errorf("range %s has %d documents, %v", r.ID, len(page.Items), err)
				}
				total += len(page.Items)
			}
			if total != 1000 {
				t.Errorf("%d documents in all ranges", total)
			}
			if e := w.events[len(w.events)-1]; !strings.HasSuffix(e.Operation, "latchkey/split/action") || e.Caller != "platform" || e.Detail != "the range had become too large" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestOneKeyIsNotSplit: what has one partition key stays in one range, however large.
func TestOneKeyIsNotSplit(t *testing.T) {
	w, d := bounded(t, 64<<10), dice(1)
	path := w.container(simple)
	w.load(path, &d, 300, func(int) string { return "a" })
	for range 3 {
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m := &model{t: t, w: w, path: path}
	if list := m.ranges(); len(list) != 1 {
		t.Errorf("%d ranges", len(list))
	}
}

// TestMergeSmall: neighbours become one as far as throughput and size allow; a rehearsal changes nothing.
func TestMergeSmall(t *testing.T) {
	w, d, ctx := bounded(t, 1<<20), dice(1), context.Background()
	path := w.container(simple)
	m := &model{t: t, w: w, path: path}
	if _, err := w.SetThroughputOf(ctx, key, accountID, "d", "c", docdb.Throughput{Manual: 80_000}); err != nil {
		t.Fatal(err)
	}
	w.load(path, &d, 400, func(i int) string { return fmt.Sprint("p", i) })
	merge := func(rehearsal bool) []docdb.RangeSize {
		t.Helper()
		out, err := w.MergeSmall(ctx, key, path, rehearsal)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := merge(false); len(got) != 8 || len(m.ranges()) != 8 {
		t.Fatalf("with all its throughput: %v", got)
	}
	if _, err := w.SetThroughputOf(ctx, key, accountID, "d", "c", docdb.Throughput{Manual: 30_000}); err != nil {
		t.Fatal(err)
	}
	planned := merge(true)
	if len(planned) != 3 || len(m.ranges()) != 8 {
		t.Errorf("rehearsal: %v, %d ranges", planned, len(m.ranges()))
	}
	done := merge(false)
	list := m.ranges()
	if len(done) != 3 || len(list) != 3 {
		t.Fatalf("%v, %d ranges", done, len(list))
	}
	for i, r := range list {
		if done[i].ID != r.ID || done[i].Bytes != planned[i].Bytes || done[i].Bytes == 0 || done[i].Bytes > 512<<10 {
			t.Errorf("%v, planned %v, range %s", done[i], planned[i], r.ID)
		}
	}
	page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, MaxItems: -1})
	if err != nil || len(page.Items) != 400 {
		t.Errorf("%d documents, %v", len(page.Items), err)
	}
}

// TestReshapeByOperators: the range with the most is split in half where nothing is said; a merge without a
// partner takes the neighbour behind; both have rights of their own.
func TestReshapeByOperators(t *testing.T) {
	w, d, ctx := bounded(t, 1<<30), dice(1), context.Background()
	path := w.container(simple)
	if _, err := w.Split(ctx, key, path, "0", "01"); err != nil { // nearly everything is in range 2
		t.Fatal(err)
	}
	w.load(path, &d, 400, func(i int) string { return fmt.Sprint("p", i) })
	list, err := w.Split(ctx, key, path, "", "")
	if err != nil || len(list) != 3 || !slices.Equal(list[2].Parents, []string{"0", "2"}) {
		t.Fatalf("%+v, %v", list, err)
	}
	left, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, RangeID: list[1].ID, MaxItems: -1})
	if n := len(left.Items); err != nil || n < 120 || n > 280 {
		t.Errorf("%d documents on the left, %v", n, err)
	}
	if list, err = w.Merge(ctx, key, path, list[1].ID, ""); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = w.Merge(ctx, key, path, list[1].ID, "")
	wantFault(t, err, fault.Gone, "PartitionKeyRangeGone")
	for action, f := range map[string]func() error{
		"latchkey/split/action":                         func() error { _, err := w.Split(ctx, key, path, "", ""); return err },
		"latchkey/merge/action":                         func() error { _, err := w.Merge(ctx, key, path, "1", ""); return err },
		"sqlDatabases/containers/partitionMerge/action": func() error { _, err := w.MergeSmall(ctx, key, path, false); return err },
	} {
		w.deny = action
		wantFault(t, f(), fault.Denied, "5302")
		if e := w.events[len(w.events)-1]; !strings.HasSuffix(e.Operation, action) || e.Outcome != "denied" {
			t.Errorf("%s: %+v", action, e)
		}
	}
}

// TestOneTenantIsSplit: of a hierarchical key, what has one value at the first level can be divided; it is read
// by that value as before.
func TestOneTenantIsSplit(t *testing.T) {
	w, d := bounded(t, 128<<10), dice(1)
	path := w.container(`{"id":"h","partitionKey":{"paths":["/t","/u"],"kind":"MultiHash","version":2}}`)
	for i := range 400 {
		body := fmt.Appendf(nil, `{"id":"%d","t":"one","u":"u%d","text":%q}`, i, i, noise(&d, 1024))
		if _, err := w.CreateItem(t.Context(), key, at(path, fmt.Sprintf(`["one","u%d"]`, i)), body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.db.Flush(); err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, w: w, path: path}
	for range 5 {
		m.ranges()
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if list := m.ranges(); len(list) < 3 {
		t.Errorf("%d ranges", len(list))
	}
	page, err := w.ReadFeed(t.Context(), key, docdb.FeedRequest{Path: path, PartitionKey: at(path, `["one"]`).PartitionKey, MaxItems: -1})
	if err != nil || len(page.Items) != 400 {
		t.Errorf("%d documents of the tenant, %v", len(page.Items), err)
	}
	for i := range 400 {
		r, err := w.ReadItem(t.Context(), key, at(path, fmt.Sprintf(`["one","u%d"]`, i)), fmt.Sprint(i))
		if err != nil || r.RangeID == "0" {
			t.Fatal(r.RangeID, err)
		}
	}
}
