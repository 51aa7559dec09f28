package docdb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// dice is a small generator whose seed is the whole of its state.
type dice uint64

func (d *dice) roll(n int) int {
	*d += 0x9E3779B97F4A7C15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return int((z ^ z>>31) % uint64(n))
}

// model is what a container must hold, and a reader of its change feed.
type model struct {
	t     *testing.T
	w     *world
	path  docdb.ContainerPath
	items map[string]string // "pk/id" to the value
	feeds map[string]string // etag by range id
	seen  map[string]string // the latest value that the feed showed
}

func (m *model) ranges() []docdb.PartitionKeyRange {
	m.t.Helper()
	list, _, _, err := m.w.PartitionKeyRanges(context.Background(), key, m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	min := ""
	for _, r := range list {
		if r.Min != min {
			m.t.Fatalf("ranges do not meet: %+v", list)
		}
		min = r.Max
	}
	if min != "FF" {
		m.t.Fatalf("ranges do not reach the end: %+v", list)
	}
	return list
}

// write changes one item.
func (m *model) write(d *dice) {
	m.t.Helper()
	ctx := context.Background()
	pk, id := fmt.Sprint("p", d.roll(20)), fmt.Sprint(d.roll(5))
	q := at(m.path, `["`+pk+`"]`)
	if d.roll(5) == 0 {
		_, err := m.w.DeleteItem(ctx, key, q, id)
		if _, there := m.items[pk+"/"+id]; there != (err == nil) {
			m.t.Fatalf("delete %s/%s: %v", pk, id, err)
		}
		delete(m.items, pk+"/"+id)
		return
	}
	value := fmt.Sprint(d.roll(1 << 30))
	r, err := m.w.UpsertItem(ctx, key, q, fmt.Appendf(nil, `{"id":%q,"pk":%q,"v":%s}`, id, pk, value))
	if err != nil {
		m.t.Fatal(err)
	}
	if !slices.ContainsFunc(m.ranges(), func(p docdb.PartitionKeyRange) bool { return p.ID == r.RangeID && p.LSN >= r.LSN }) {
		m.t.Fatalf("written to range %s at %d", r.RangeID, r.LSN)
	}
	m.items[pk+"/"+id] = value
}

func (m *model) reshape(d *dice) {
	m.t.Helper()
	ctx := context.Background()
	list := m.ranges()
	i := d.roll(len(list))
	var err error
	if len(list) > 4 || len(list) > 1 && d.roll(2) == 0 {
		i = min(i, len(list)-2)
		_, err = m.w.Merge(ctx, key, m.path, list[i].ID, list[i+1].ID)
	} else {
		_, err = m.w.Split(ctx, key, m.path, list[i].ID, "")
	}
	if err != nil {
		m.t.Fatal(err)
	}
	_, err = m.w.ReadFeed(ctx, key, docdb.FeedRequest{Path: m.path, RangeID: list[i].ID})
	if !fault.Is(err, "PartitionKeyRangeGone") {
		m.t.Fatalf("a range that is closed answers: %v", err)
	}
}

// doc is what the tests look at in a document.
type doc struct {
	ID, PK string
	V      json.Number
	LSN    uint64 `json:"_lsn"`
}

func decodeDocs[T ~[]byte](t *testing.T, items []T) (out []doc) {
	t.Helper()
	for _, i := range items {
		var x doc
		if err := json.Unmarshal(i, &x); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// follow reads the change feed of every range to its end, as clients do: where a range is new, on from the
// etags of the ranges that it comes from.
func (m *model) follow(d *dice) {
	m.t.Helper()
	next := map[string]string{}
	for _, r := range m.ranges() {
		etag, known := m.feeds[r.ID]
		if !known {
			for _, parent := range r.Parents {
				if e, ok := m.feeds[parent]; ok && (etag == "" || number(e) < number(etag)) {
					etag = e
				}
			}
		}
		last := uint64(0)
		for {
			page, err := m.w.ChangeFeed(context.Background(), key, docdb.ChangeFeedRequest{Since: etag,
				FeedRequest: docdb.FeedRequest{Path: m.path, RangeID: r.ID, MaxItems: 1 + d.roll(7)}})
			if err != nil {
				m.t.Fatal(err)
			}
			etag = page.ETag
			if len(page.Items) == 0 {
				break
			}
			for _, x := range decodeDocs(m.t, page.Items) {
				if x.LSN < last {
					m.t.Fatalf("change %d after %d", x.LSN, last)
				}
				last = x.LSN
				m.seen[x.PK+"/"+x.ID] = x.V.String()
			}
		}
		next[r.ID] = etag
	}
	m.feeds = next
}

func number(etag string) (n uint64) {
	_, _ = fmt.Sscanf(etag, `"%d"`, &n)
	return n
}

// check compares everything that can be read with the model.
func (m *model) check(d *dice) {
	m.t.Helper()
	ctx := context.Background()
	whole, parts := map[string]string{}, map[string]string{}
	collect := func(into map[string]string, q docdb.FeedRequest) {
		for {
			q.MaxItems = 1 + d.roll(30)
			page, err := m.w.ReadFeed(ctx, key, q)
			if err != nil {
				m.t.Fatal(err)
			}
			for _, x := range decodeDocs(m.t, page.Items) {
				if _, twice := into[x.PK+"/"+x.ID]; twice {
					m.t.Fatalf("%s/%s is in two ranges", x.PK, x.ID)
				}
				into[x.PK+"/"+x.ID] = x.V.String()
			}
			if q.Continuation = page.Continuation; q.Continuation == "" {
				return
			}
		}
	}
	collect(whole, docdb.FeedRequest{Path: m.path})
	for _, r := range m.ranges() {
		collect(parts, docdb.FeedRequest{Path: m.path, RangeID: r.ID})
	}
	if !maps.Equal(whole, m.items) || !maps.Equal(parts, m.items) {
		m.t.Fatalf("items: %d, in the feed %d, in the ranges %d", len(m.items), len(whole), len(parts))
	}
	for name, value := range m.items {
		if m.seen[name] != value {
			m.t.Fatalf("the change feed showed %q of %s, which is %s", m.seen[name], name, value)
		}
	}
	m.fromBeginning()
}

// fromBeginning reads the change feed of the whole container, without a range: each item once.
func (m *model) fromBeginning() {
	m.t.Helper()
	all, etag := map[string]string{}, ""
	for {
		page, err := m.w.ChangeFeed(context.Background(), key, docdb.ChangeFeedRequest{Since: etag, FeedRequest: docdb.FeedRequest{Path: m.path, MaxItems: 9}})
		if err != nil {
			m.t.Fatal(err)
		}
		etag = page.ETag
		if len(page.Items) == 0 {
			break
		}
		for _, x := range decodeDocs(m.t, page.Items) {
			if _, twice := all[x.PK+"/"+x.ID]; twice {
				m.t.Fatalf("%s/%s came twice", x.PK, x.ID)
			}
			all[x.PK+"/"+x.ID] = x.V.String()
		}
	}
	if !maps.Equal(all, m.items) {
		m.t.Fatalf("items: %d, in the change feed from the beginning %d", len(m.items), len(all))
	}
}

// TestRangesUnderChange: whatever is split, merged and written, and however often the server starts, the
// ranges together are the container and the change feeds are the history.
func TestRangesUnderChange(t *testing.T) {
	definitions := map[string]string{
		"hash 2": simple, "hash 1": `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash"}}`,
		"unique": `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/v"]}]}}`,
	}
	for name, definition := range definitions {
		for seed := range seeds(4, 300) {
			t.Run(fmt.Sprint(name, " seed ", seed), func(t *testing.T) {
				w, d := newWorld(t), dice(seed)
				m := &model{t: t, w: w, path: w.container(definition), items: map[string]string{}, feeds: map[string]string{}, seen: map[string]string{}}
				for range 25 {
					for range d.roll(20) {
						m.write(&d)
					}
					switch d.roll(8) {
					case 0, 1:
						m.reshape(&d)
					case 2:
						w.restart()
					case 3:
						m.follow(&d)
					case 4, 5:
						m.erase(&d)
					case 6:
						w.eraseSome()
					}
				}
				m.follow(&d)
				m.check(&d)
				w.eraseAll()
				m.follow(&d)
				m.check(&d)
				if items, marks := count(t, w, 0x20), count(t, w, 0x34); items != len(m.items) || marks != 0 {
					t.Errorf("the store has %d items of %d, and %d marks", items, len(m.items), marks)
				}
			})
		}
	}
}

// seeds is how many histories to try: more when there is time.
func seeds(usual, torture int) int {
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		return torture
	}
	return usual
}

// restart drops everything in memory.
func (w *world) restart() {
	w.t.Helper()
	w.Forget(accountID)
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open(w.fs)
}

// TestSplitUnderWriters: writers that go on while ranges are split and merged lose nothing.
func TestSplitUnderWriters(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	m := &model{t: t, w: w, path: w.container(simple), items: map[string]string{}, feeds: map[string]string{}, seen: map[string]string{}}
	var running sync.WaitGroup
	var mu sync.Mutex
	for n := range 4 {
		running.Go(func() {
			d := dice(n)
			for i := range 150 {
				pk, id, value := fmt.Sprint("p", n, "-", d.roll(10)), fmt.Sprint(i), fmt.Sprint(d.roll(1<<30))
				r, err := w.CreateItem(ctx, key, at(m.path, `["`+pk+`"]`), fmt.Appendf(nil, `{"id":%q,"pk":%q,"v":%s}`, id, pk, value))
				if err != nil {
					t.Error(err)
					return
				}
				_ = r
				mu.Lock()
				m.items[pk+"/"+id] = value
				mu.Unlock()
			}
		})
	}
	d := dice(99)
	for range 12 {
		m.reshape(&d)
		m.follow(&d)
	}
	running.Wait()
	m.follow(&d)
	m.check(&d)
}

// TestNewContainerHasRangesForItsThroughput: 10,000 request units a second each.
func TestNewContainerHasRangesForItsThroughput(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container(simple)
	for throughput, want := range map[int]int{400: 1, 10_000: 1, 10_100: 2, 50_000: 5} {
		for _, version := range []int{1, 2} {
			id := fmt.Sprint("c", throughput, "-", version)
			_, err := w.CreateContainer(ctx, key, accountID, "d", docdb.ContainerSpec{Throughput: throughput,
				Properties: fmt.Appendf(nil, `{"id":%q,"partitionKey":{"paths":["/pk"],"kind":"Hash","version":%d}}`, id, version)})
			if err != nil {
				t.Fatal(err)
			}
			m := &model{t: t, w: w, path: docdb.ContainerPath{Account: accountID, Database: "d", Container: id}}
			list := m.ranges()
			if len(list) != want {
				t.Errorf("%d RU/s: %d ranges", throughput, len(list))
			}
			used := map[string]bool{}
			for i := range 200 {
				r, err := w.CreateItem(ctx, key, at(m.path, fmt.Sprintf(`["p%d"]`, i)), fmt.Appendf(nil, `{"id":"x","pk":"p%d"}`, i))
				if err != nil {
					t.Fatal(err)
				}
				used[r.RangeID] = true
			}
			if len(used) != want {
				t.Errorf("%d RU/s, version %d: items in %d ranges of %d", throughput, version, len(used), want)
			}
		}
	}
}

// TestSplitRefusals: bounds outside the range, ranges that are gone or no neighbours.
func TestSplitRefusals(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	for _, bad := range []string{"FF", "G0", "0", "1", "FF00"} {
		if _, err := w.Split(ctx, key, path, "0", bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("split at %q: %v", bad, err)
		}
	}
	list, err := w.Split(ctx, key, path, "0", "20")
	if err != nil || len(list) != 2 || list[0].Max != "20" || !slices.Equal(list[1].Parents, []string{"0"}) {
		t.Fatalf("%+v, %v", list, err)
	}
	_, err = w.Split(ctx, key, path, "0", "")
	wantFault(t, err, fault.Gone, "PartitionKeyRangeGone")
	if _, err = w.Merge(ctx, key, path, "2", "1"); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	if list, err = w.Merge(ctx, key, path, "1", "2"); err != nil || len(list) != 1 || !slices.Equal(list[0].Parents, []string{"0", "1", "2"}) {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestSessionAcrossSplit: a token of a range that is closed is honoured by its children; one that is ahead
// of them is not.
func TestSessionAcrossSplit(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	q := at(w.container(simple), `["a"]`)
	for i := range 3 {
		if _, err := w.CreateItem(ctx, key, q, fmt.Appendf(nil, `{"id":"%d","pk":"a"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Split(ctx, key, q.Path, "0", ""); err != nil {
		t.Fatal(err)
	}
	for token, ok := range map[string]bool{"0:-1#3": true, "0:-1#4": false, "1:-1#3,2:-1#3": true, "2:-1#9": false, "7:-1#9": true} {
		q.Consistency.SessionToken = token
		_, err := w.ReadItem(ctx, key, q, "0")
		if (err == nil) != ok {
			t.Errorf("%s: %v", token, err)
		}
	}
}
