package docdb_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
)

const historic = `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"defaultTtl":-1,
	"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/u"]}]},"changeFeedPolicy":{"retentionDuration":60}}`

// stored is an item as the model has it. made tells it from others that had its id before.
type stored struct {
	v, u, made int
	lsn, place uint64
	ts, ttl    int64
}

func (s stored) expired(now int64) bool { return s.ttl > 0 && s.ts+s.ttl <= now }

// chronicle is the history of a container by a model of it: batches with values that must be unique, lives
// that end, splits, merges and starts, and readers of the change feeds that read a page now and then.
type chronicle struct {
	t       *testing.T
	w       *world
	d       dice
	path    docdb.ContainerPath
	items   map[string]map[string]stored // by partition and id
	want    map[string][]string          // events by partition
	values  int
	readers []*feedReader
}

var chroniclePartitions = []string{"p0", "p1", "p2", "p3", "p4", "p5"}

// Bounds of the feed ranges that are read by themselves; ranges are split elsewhere.
var chronicleBounds = []string{"", "0A", "1D5C", "FF"}

func newChronicle(t *testing.T, seed int) *chronicle {
	w := newWorld(t)
	c := &chronicle{t: t, w: w, d: dice(seed), path: w.container(historic), items: map[string]map[string]stored{}, want: map[string][]string{}}
	for _, pk := range chroniclePartitions {
		c.items[pk] = map[string]stored{}
	}
	for _, all := range []bool{true, false} {
		c.reader("container", all, docdb.FeedRequest{})
		for i, low := range chronicleBounds[1:] {
			bounds := docdb.FeedRequest{MinEPK: chronicleBounds[i], MaxEPK: low}
			if low == "FF" {
				bounds.MaxEPK = ""
			}
			c.reader("range below "+low, all, bounds)
		}
		for _, pk := range chroniclePartitions {
			c.reader("partition "+pk, all, docdb.FeedRequest{PartitionKey: at(c.path, `["`+pk+`"]`).PartitionKey})
		}
	}
	return c
}

// feedReader reads one change feed.
type feedReader struct {
	name   string
	q      docdb.ChangeFeedRequest
	events map[string][]string // by partition
	last   map[string]uint64   // LSN by partition
	latest map[string]int      // the latest value seen of an item
}

func (c *chronicle) reader(name string, all bool, q docdb.FeedRequest) {
	q.Path = c.path
	r := &feedReader{name: fmt.Sprint(name, ", all versions ", all), q: docdb.ChangeFeedRequest{FeedRequest: q, AllVersions: all},
		events: map[string][]string{}, last: map[string]uint64{}, latest: map[string]int{}}
	if all {
		r.q.Since = "*"
	}
	c.readers = append(c.readers, r)
	c.page(r, 1)
}

// page reads one page; more is false at the end of the feed.
func (c *chronicle) page(r *feedReader, size int) (more bool) {
	c.t.Helper()
	r.q.MaxItems = size
	page, err := c.w.ChangeFeed(context.Background(), key, r.q)
	if err != nil {
		c.t.Fatalf("%s since %s: %v", r.name, r.q.Since, err)
	}
	r.q.Since = page.ETag
	for _, raw := range page.Items {
		c.note(r, raw)
	}
	return len(page.Items) > 0
}

func (c *chronicle) note(r *feedReader, raw []byte) {
	c.t.Helper()
	var e event
	var x doc
	if err := json.Unmarshal(raw, &e); err != nil {
		c.t.Fatal(err)
	}
	pk, lsn := e.Metadata.PartitionKey.PK, e.Metadata.LSN
	if e.Current != nil {
		pk = e.Current.PK
	}
	if !r.q.AllVersions {
		if err := json.Unmarshal(raw, &x); err != nil {
			c.t.Fatal(err)
		}
		pk, lsn = x.PK, x.LSN
		v, err := x.V.Int64()
		if err != nil || r.latest[pk+"/"+x.ID] >= int(v) {
			c.t.Fatalf("%s: %s/%s is %s after %d, %v", r.name, pk, x.ID, x.V, r.latest[pk+"/"+x.ID], err)
		}
		r.latest[pk+"/"+x.ID] = int(v)
	}
	if lsn < r.last[pk] {
		c.t.Fatalf("%s: %d after %d in %s", r.name, lsn, r.last[pk], pk)
	}
	r.last[pk] = lsn
	r.events[pk] = append(r.events[pk], e.String())
}

// batch sends up to four operations on one partition, and tells what they did by the model.
func (c *chronicle) batch() {
	c.t.Helper()
	pk := chroniclePartitions[c.d.roll(len(chroniclePartitions))]
	now, after := c.w.now.Unix(), maps.Clone(c.items[pk])
	var ops []docdb.BatchOperation
	var order []string
	possible, written := true, uint64(0)
	for range 1 + c.d.roll(4) {
		id := fmt.Sprint(c.d.roll(5))
		if !slices.Contains(order, id) {
			order = append(order, id)
		}
		op, ok := c.operation(pk, id, after, now)
		if s, is := after[id]; is && op.Kind != docdb.OpDelete {
			s.place = written
			after[id], written = s, written+1
		}
		ops, possible = append(ops, op), possible && ok
	}
	for _, id := range order { // what is over stays until it is swept, unless something took its place
		if _, is := after[id]; !is && c.items[pk][id].expired(now) {
			after[id] = c.items[pk][id]
		}
	}
	possible = possible && distinct(after)
	results, receipt, err := c.w.Batch(context.Background(), key, at(c.path, `["`+pk+`"]`), ops)
	if err != nil {
		c.t.Fatal(err)
	}
	for i, r := range results {
		if possible != (r.Err == nil) {
			c.t.Fatalf("%+v at %d: %v, expected %v; %v", ops[i], now, r.Err, possible, c.items[pk])
		}
	}
	if possible {
		c.commit(pk, order, after, receipt.LSN)
	}
}

// operation makes up one operation and carries it out on the model, as far as the model allows it.
func (c *chronicle) operation(pk, id string, after map[string]stored, now int64) (op docdb.BatchOperation, ok bool) {
	old, there := after[id]
	there = there && !old.expired(now)
	c.values++
	next := stored{v: c.values, u: c.d.roll(8), made: c.values, ts: now, ttl: int64(max(0, c.d.roll(12)-5) * 3)}
	body := fmt.Sprintf(`{"id":%q,"pk":%q,"v":%d,"u":%d`, id, pk, next.v, next.u)
	if next.ttl > 0 {
		body += fmt.Sprint(`,"ttl":`, next.ttl)
	}
	if there {
		next.made = old.made
	}
	switch c.d.roll(6) {
	case 0:
		op, ok = docdb.BatchOperation{Kind: docdb.OpCreate, Body: []byte(body + "}")}, !there
	case 1:
		op, ok = docdb.BatchOperation{Kind: docdb.OpDelete, ID: id}, there
		if ok {
			delete(after, id)
		}
		return op, ok
	case 2:
		next.ttl = old.ttl
		op, ok = docdb.BatchOperation{Kind: docdb.OpPatch, ID: id, Body: fmt.Appendf(nil, `[{"op":"set","path":"/v","value":%d},{"op":"set","path":"/u","value":%d}]`, next.v, next.u)}, there
	default:
		op, ok = docdb.BatchOperation{Kind: docdb.OpUpsert, Body: []byte(body + "}")}, true
	}
	if ok {
		after[id] = next
	}
	return op, ok
}

// distinct reports whether no two items have the same u.
func distinct(items map[string]stored) bool {
	seen := map[int]bool{}
	for _, s := range items {
		if seen[s.u] {
			return false
		}
		seen[s.u] = true
	}
	return true
}

// commit takes the new state over and writes down its events in the order in which the items were first named.
func (c *chronicle) commit(pk string, order []string, after map[string]stored, lsn uint64) {
	for _, id := range order {
		old, was := c.items[pk][id]
		cur, is := after[id]
		switch {
		case was == is && old == cur:
			continue
		case was && (!is || old.made != cur.made):
			c.tell(pk, "delete %s/%s%s", pk, id, map[bool]string{true: " expired"}[old.expired(c.w.now.Unix())])
		}
		if is {
			cur.lsn = lsn
			after[id] = cur
			c.tell(pk, "%s %s/%s=%d", map[bool]string{true: "replace", false: "create"}[was && old.made == cur.made], pk, id, cur.v)
		}
	}
	c.items[pk] = after
}

func (c *chronicle) tell(pk, format string, args ...any) {
	c.want[pk] = append(c.want[pk], fmt.Sprintf(format, args...))
}

// sweep lets time pass and removes what is over.
func (c *chronicle) sweep() {
	c.t.Helper()
	c.w.now = c.w.now.Add(time.Duration(c.d.roll(8)) * time.Second)
	if c.d.roll(2) == 0 {
		return
	}
	for _, pk := range chroniclePartitions { // whoever starts anew has no account to sweep before it is used
		_, _ = c.w.ReadItem(context.Background(), key, at(c.path, `["`+pk+`"]`), "0")
	}
	if err := c.w.Sweep(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	for pk, items := range c.items {
		ids := slices.SortedFunc(maps.Keys(items), func(a, b string) int {
			return cmp.Or(cmp.Compare(items[a].lsn, items[b].lsn), cmp.Compare(items[a].place, items[b].place))
		})
		for _, id := range ids {
			if items[id].expired(c.w.now.Unix()) {
				c.tell(pk, "delete %s/%s expired", pk, id)
				delete(items, id)
			}
		}
	}
	n := 0
	for _, items := range c.items {
		n += len(items)
	}
	if have := count(c.t, c.w, 0x20); have != n {
		c.t.Fatalf("%d items after the sweep, want %d", have, n)
	}
}

// reshape splits or merges.
func (c *chronicle) reshape() {
	m := &model{t: c.t, w: c.w, path: c.path}
	m.reshape(&c.d)
}

// live are the items that can be read, as "partition/id" to their value.
func (c *chronicle) live() map[string]int {
	out := map[string]int{}
	for pk, items := range c.items {
		for id, s := range items {
			if !s.expired(c.w.now.Unix()) {
				out[pk+"/"+id] = s.v
			}
		}
	}
	return out
}

// check reads every feed to its end and compares.
func (c *chronicle) check() {
	c.t.Helper()
	covered := map[bool]map[string]int{true: {}, false: {}}
	for _, r := range c.readers {
		for c.page(r, 1+c.d.roll(9)) {
		}
		for pk := range r.events {
			if strings.HasPrefix(r.name, "range") {
				covered[r.q.AllVersions][pk]++
			}
			if r.q.AllVersions && !slices.Equal(r.events[pk], c.want[pk]) {
				c.t.Fatalf("%s, partition %s:\nread %v\nwant %v", r.name, pk, r.events[pk], c.want[pk])
			}
		}
		c.checkReader(r)
	}
	for all, by := range covered {
		for pk, n := range by {
			if n != 1 {
				c.t.Fatalf("partition %s is in %d feed ranges, all versions %v", pk, n, all)
			}
		}
	}
	c.checkFeeds()
}

// checkReader: what a reader of one partition or the container must have seen, it has.
func (c *chronicle) checkReader(r *feedReader) {
	c.t.Helper()
	if r.q.AllVersions && strings.HasPrefix(r.name, "container") {
		for pk := range c.want {
			if len(r.events[pk]) != len(c.want[pk]) {
				c.t.Fatalf("%s: %d of %d events of %s", r.name, len(r.events[pk]), len(c.want[pk]), pk)
			}
		}
	}
	for at, v := range c.live() {
		pk, _, _ := strings.Cut(at, "/")
		reads := strings.HasPrefix(r.name, "container") || strings.HasPrefix(r.name, "partition "+pk) || len(r.events[pk]) > 0
		if !r.q.AllVersions && reads && r.latest[at] != v {
			c.t.Fatalf("%s: %s is %d, seen %d", r.name, at, v, r.latest[at])
		}
	}
}

// checkFeeds: the container, its ranges, any feed ranges and the partitions hold the same items, whatever the
// size of a page, and although ranges are split and merged between two pages.
func (c *chronicle) checkFeeds() {
	c.t.Helper()
	for _, parts := range [][]docdb.FeedRequest{{{}}, c.boundRequests(), c.partitionRequests()} {
		found := map[string]int{}
		for _, q := range parts {
			q.Path = c.path
			for more := true; more; more = q.Continuation != "" {
				q.MaxItems = 1 + c.d.roll(6)
				page, err := c.w.ReadFeed(context.Background(), key, q)
				if err != nil {
					c.t.Fatal(err)
				}
				for _, x := range decodeDocs(c.t, page.Items) {
					if _, twice := found[x.PK+"/"+x.ID]; twice {
						c.t.Fatalf("%s/%s came twice", x.PK, x.ID)
					}
					v, _ := x.V.Int64()
					found[x.PK+"/"+x.ID] = int(v)
				}
				if q.Continuation = page.Continuation; c.d.roll(10) == 0 {
					c.reshape()
				}
			}
		}
		if !maps.Equal(found, c.live()) {
			c.t.Fatalf("read %v\nwant %v", found, c.live())
		}
	}
}

func (c *chronicle) boundRequests() (out []docdb.FeedRequest) {
	for _, r := range c.readers {
		if r.q.AllVersions && strings.HasPrefix(r.name, "range") {
			out = append(out, docdb.FeedRequest{MinEPK: r.q.MinEPK, MaxEPK: r.q.MaxEPK})
		}
	}
	return out
}

func (c *chronicle) partitionRequests() (out []docdb.FeedRequest) {
	for _, pk := range chroniclePartitions {
		out = append(out, docdb.FeedRequest{PartitionKey: at(c.path, `["`+pk+`"]`).PartitionKey})
	}
	return out
}

// TestFeedsAreTheHistory: both change feeds, of the container, of any feed range and of every partition, are the
// history of what was committed, each change once and in order, through splits, merges and starts; no two
// items ever have a unique value; what has lived its time is gone.
func TestFeedsAreTheHistory(t *testing.T) {
	for seed := range seeds(3, 300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := newChronicle(t, seed)
			for range 40 {
				for range c.d.roll(12) {
					c.batch()
				}
				switch c.d.roll(6) {
				case 0, 1:
					c.reshape()
				case 2:
					c.w.restart()
				case 3:
					c.sweep()
				}
				for range c.d.roll(6) {
					c.page(c.readers[c.d.roll(len(c.readers))], 1+c.d.roll(9))
				}
			}
			c.check()
		})
	}
}
