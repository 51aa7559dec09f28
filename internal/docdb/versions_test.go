package docdb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

const versioned = `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"defaultTtl":-1,"changeFeedPolicy":{"retentionDuration":60}}`

// event is an entry of the feed of all versions.
type event struct {
	Current  *doc
	Metadata struct {
		OperationType, ID string
		LSN               uint64
		CRTS              int64
		TimeToLiveExpired bool
		PartitionKey      struct{ PK string }
	}
}

func (e event) String() string {
	expired := ""
	if e.Metadata.TimeToLiveExpired {
		expired = " expired"
	}
	if e.Current != nil {
		return fmt.Sprintf("%s %s/%s=%s", e.Metadata.OperationType, e.Current.PK, e.Current.ID, e.Current.V)
	}
	return fmt.Sprintf("%s %s/%s%s", e.Metadata.OperationType, e.Metadata.PartitionKey.PK, e.Metadata.ID, expired)
}

// historian reads the feed of all versions range by range, as clients do.
type historian struct {
	*model
	etags map[string]string
	read  map[string][]string // by logical partition
}

func newHistorian(m *model) *historian {
	h := &historian{model: m, etags: map[string]string{}, read: map[string][]string{}}
	for _, r := range m.ranges() {
		h.etags[r.ID] = h.page(r.ID, "*", 1).ETag
	}
	return h
}

func (h *historian) page(rangeID, since string, n int) docdb.ChangeFeedPage {
	h.t.Helper()
	page, err := h.w.ChangeFeed(context.Background(), key, docdb.ChangeFeedRequest{AllVersions: true, Since: since,
		FeedRequest: docdb.FeedRequest{Path: h.path, RangeID: rangeID, MaxItems: n}})
	if err != nil {
		h.t.Fatal(err)
	}
	return page
}

// catchUp reads every range to its end. A range that is new goes on from the range that it comes from; of
// several the one that is behind, and what was read before is left out by its sequence number.
func (h *historian) catchUp(d *dice) {
	h.t.Helper()
	next := map[string]string{}
	for _, r := range h.ranges() {
		etag, known := h.etags[r.ID]
		for _, parent := range slices.Backward(r.Parents) {
			if e, ok := h.etags[parent]; ok && !known && etag == "" {
				etag = e
			}
		}
		for {
			page := h.page(r.ID, etag, 1+d.roll(6))
			etag = page.ETag
			if len(page.Items) == 0 {
				break
			}
			for _, raw := range page.Items {
				var e event
				if err := json.Unmarshal(raw, &e); err != nil {
					h.t.Fatal(err)
				}
				pk := e.Metadata.PartitionKey.PK
				if e.Current != nil {
					pk = e.Current.PK
				}
				h.read[pk] = append(h.read[pk], e.String())
			}
		}
		next[r.ID] = etag
	}
	h.etags = next
}

// TestHistoryIsTheFeed: the feed of all versions is what was written, in the order of each logical
// partition, through splits and restarts.
func TestHistoryIsTheFeed(t *testing.T) {
	for seed := range seeds(8, 300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w, d, ctx := newWorld(t), dice(seed), context.Background()
			h := newHistorian(&model{t: t, w: w, path: w.container(versioned), items: map[string]string{}})
			want := map[string][]string{}
			write := func() {
				pk, id, v := fmt.Sprint("p", d.roll(6)), fmt.Sprint(d.roll(3)), fmt.Sprint(d.roll(1000))
				q := at(h.path, `["`+pk+`"]`)
				if d.roll(4) == 0 {
					if _, err := w.DeleteItem(ctx, key, q, id); err == nil {
						want[pk] = append(want[pk], fmt.Sprintf("delete %s/%s", pk, id))
					}
					return
				}
				r, err := w.UpsertItem(ctx, key, q, fmt.Appendf(nil, `{"id":%q,"pk":%q,"v":%s}`, id, pk, v))
				if err != nil {
					t.Fatal(err)
				}
				op := map[bool]string{true: "create", false: "replace"}[r.Created]
				want[pk] = append(want[pk], fmt.Sprintf("%s %s/%s=%s", op, pk, id, v))
			}
			for range 30 {
				for range d.roll(15) {
					write()
				}
				switch d.roll(4) {
				case 0:
					list := h.ranges()
					if _, err := w.Split(ctx, key, h.path, list[d.roll(len(list))].ID, ""); err != nil {
						t.Fatal(err)
					}
				case 1:
					w.restart()
				case 2:
					h.catchUp(&d)
				}
			}
			h.catchUp(&d)
			for pk := range want {
				if !slices.Equal(h.read[pk], want[pk]) {
					t.Errorf("%s:\n got %v\nwant %v", pk, h.read[pk], want[pk])
				}
			}
		})
	}
}

// TestExpiryInTheFeed: a sweep removes what is over, once, and the feed says why; what lives again is spared.
func TestExpiryInTheFeed(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	h := newHistorian(&model{t: t, w: w, path: w.container(versioned)})
	q := at(h.path, `["a"]`)
	for _, body := range []string{`{"id":"short","pk":"a","ttl":10}`, `{"id":"long","pk":"a","ttl":1000}`, `{"id":"ever","pk":"a"}`, `{"id":"again","pk":"a","ttl":10}`} {
		if _, err := w.CreateItem(ctx, key, q, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	w.now = w.now.Add(time.Minute)
	if _, err := w.CreateItem(ctx, key, q, []byte(`{"id":"again","pk":"a"}`)); err != nil {
		t.Fatal(err)
	}
	before := count(t, w, 0x20)
	for range 2 {
		if err := w.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if after := count(t, w, 0x20); before != 4 || after != 3 {
		t.Errorf("%d items before the sweep, %d after", before, after)
	}
	d := dice(1)
	h.catchUp(&d)
	got := h.read["a"]
	if len(got) != 7 || got[4] != "delete a/again expired" || got[5] != "create a/again=" || got[6] != "delete a/short expired" {
		t.Errorf("%v", got)
	}
}

// TestVersionRefusals: where there is no feed of all versions, and starts that it has not.
func TestVersionRefusals(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(versioned)
	ask := func(q docdb.ChangeFeedRequest) error {
		q.AllVersions = true
		_, err := w.ChangeFeed(ctx, key, q)
		return err
	}
	plain := w.container(`{"id":"plain","partitionKey":{"paths":["/pk"],"kind":"Hash"}}`)
	for name, err := range map[string]error{
		"not enabled": ask(docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: plain}, Since: "*"}),
		"beginning":   ask(docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path}}),
		"time":        ask(docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path}, Since: "*", Start: w.now}),
	} {
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{`-1`, `"x"`, `99999999`, `{}`} {
		_, err := w.CreateContainer(ctx, key, accountID, "d", docdb.ContainerSpec{
			Properties: json.RawMessage(`{"id":"x","partitionKey":{"paths":["/pk"]},"changeFeedPolicy":{"retentionDuration":` + bad + `}}`)})
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("retention %s: %v", bad, err)
		}
	}
}

// TestLogIsTrimmed: what is older than the retention goes, with the versions; a continuation from before is
// refused, one from within goes on.
func TestLogIsTrimmed(t *testing.T) {
	if os.Getenv("LATCHKEY_TORTURE") == "" {
		t.Skip("takes 74,000 commits; set LATCHKEY_TORTURE=1")
	}
	w, ctx := newWorld(t), context.Background()
	path := w.container(versioned) // an hour
	q := at(path, `["a"]`)
	read := func(since string) (docdb.ChangeFeedPage, error) {
		return w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{AllVersions: true, Since: since, FeedRequest: docdb.FeedRequest{Path: path, MaxItems: 1}})
	}
	old, err := read("*")
	if err != nil {
		t.Fatal(err)
	}
	const commits = 74_000
	for i := range commits {
		w.now = w.now.Add(time.Second)
		if _, err := w.UpsertItem(ctx, key, q, fmt.Appendf(nil, `{"id":"x","pk":"a","v":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if logs, versions := count(t, w, 0x31), count(t, w, 0x32); logs > 1<<16+1<<12 || versions > logs || logs < 1<<16 {
		t.Errorf("%d log records, %d versions", logs, versions)
	}
	_, err = read(old.ETag)
	wantFault(t, err, fault.Invalid, "RetentionExceeded")
	page, err := read(fmt.Sprintf(`"%d"`, commits-1000))
	if err != nil || len(page.Items) != 1 {
		t.Errorf("%d items, %v", len(page.Items), err)
	}
}
