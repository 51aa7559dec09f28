package docdb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

const accountID = "acct"

var key = principal.Caller{Door: principal.AccountKey, Account: accountID}

// world is a service over one store in memory, with an authorizer and an audit log that remember.
type world struct {
	*docdb.Service
	t    testing.TB
	fs   *vfs.MemFS
	now  time.Time
	deny string // action that is denied

	mu      sync.Mutex
	db      *store.Store
	locked  error
	borrows int
	asked   []string
	events  []audit.Event
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, fs: vfs.NewMem(), now: time.Unix(1_795_424_400, 0)}
	w.open(w.fs)
	t.Cleanup(func() {
		if w.borrows != 0 {
			t.Errorf("%d stores were not given back", w.borrows)
		}
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return w.now }})
	return w
}

func (w *world) open(fs vfs.FS) {
	w.t.Helper()
	db, err := store.Open("db", store.Options{FS: fs})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
}

func (w *world) Acquire(context.Context, string) (*store.Store, func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.locked != nil {
		return nil, nil, w.locked
	}
	w.borrows++
	return w.db, func() { w.mu.Lock(); w.borrows--; w.mu.Unlock() }, nil
}

func (w *world) AuthorizeDocuments(_ context.Context, _ principal.Caller, _, action, scope string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, action+" "+scope)
	if action == w.deny {
		return fault.New(fault.Denied, "5302", "no")
	}
	return nil
}

func (w *world) Record(_ context.Context, e audit.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	return nil
}

func (w *world) container(properties string) docdb.ContainerPath {
	w.t.Helper()
	ctx := context.Background()
	if _, err := w.CreateDatabase(ctx, key, accountID, docdb.DatabaseSpec{ID: "d"}); err != nil && fault.KindOf(err) != fault.Conflict {
		w.t.Fatal(err)
	}
	c, err := w.CreateContainer(ctx, key, accountID, "d", docdb.ContainerSpec{Properties: json.RawMessage(properties)})
	if err != nil {
		w.t.Fatal(err)
	}
	return docdb.ContainerPath{Account: accountID, Database: "d", Container: c.ID}
}

const simple = `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}`

func at(path docdb.ContainerPath, pk string) docdb.ItemRequest {
	q := docdb.ItemRequest{Path: path}
	if pk != "" {
		k, err := docdb.ParsePartitionKey(pk)
		if err != nil {
			panic(err)
		}
		q.PartitionKey = &k
	}
	return q
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	if f := fault.As(err); f == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("got %v, want %d %s", err, kind, reason)
	}
}

func TestItemLife(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	q := at(w.container(simple), `["a"]`)
	made, err := w.CreateItem(ctx, key, q, []byte(`{"id":"1","pk":"a","n":1.50,"_etag":"mine","_ts":3}`))
	if err != nil || !made.Created {
		t.Fatal(made, err)
	}
	var body struct {
		N                     json.RawMessage `json:"n"`
		RID, Self, ETag, Atta string
		TS                    int64 `json:"_ts"`
	}
	if err := json.Unmarshal(made.JSON, &body); err != nil {
		t.Fatal(err)
	}
	if string(body.N) != "1.50" || body.TS != w.now.Unix() || bytes.Count(made.JSON, []byte(`"_etag"`)) != 1 {
		t.Errorf("document: %s", made.JSON)
	}
	if made.LSN != 1 || made.AltPath != "dbs/d/colls/c" {
		t.Errorf("receipt: %+v", made.Receipt)
	}
	if _, err = w.CreateItem(ctx, key, q, []byte(`{"id":"1","pk":"a"}`)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("created twice: %v", err)
	}
	read, err := w.ReadItem(ctx, key, q, "1")
	if err != nil || read.ETag != made.ETag || string(read.JSON) != string(made.JSON) {
		t.Errorf("read %s, %v", read.JSON, err)
	}
	byRID, err := w.ReadItem(ctx, key, q, read.RID)
	if err != nil || byRID.Item.ID != "1" {
		t.Errorf("by resource id: %+v, %v", byRID.Item, err)
	}
	replaced, err := w.ReplaceItem(ctx, key, q, "1", []byte(`{"id":"1","pk":"a","n":2}`))
	if err != nil || replaced.RID != made.RID || replaced.ETag == made.ETag || replaced.Created {
		t.Errorf("replaced %+v, %v", replaced.Item, err)
	}
	if up, err := w.UpsertItem(ctx, key, q, []byte(`{"id":"1","pk":"a"}`)); err != nil || up.Created {
		t.Errorf("upsert over: %v", err)
	}
	if up, err := w.UpsertItem(ctx, key, q, []byte(`{"id":"2","pk":"a"}`)); err != nil || !up.Created {
		t.Errorf("upsert new: %v", err)
	}
	if gone, err := w.DeleteItem(ctx, key, q, "1"); err != nil || gone.JSON != nil || gone.LSN != 5 {
		t.Errorf("deleted %+v, %v", gone, err)
	}
	_, err = w.ReadItem(ctx, key, q, "1")
	wantFault(t, err, fault.NotFound, "NotFound")
	again, err := w.CreateItem(ctx, key, q, []byte(`{"id":"1","pk":"a"}`))
	if err != nil || again.RID == made.RID {
		t.Errorf("a new item has the resource id of the old one: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	if _, err := w.CreateItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"x","pk":"a"}`)); err != nil {
		t.Fatal(err)
	}
	create := func(pk, body string) func() error {
		return func() error { _, err := w.CreateItem(ctx, key, at(path, pk), []byte(body)); return err }
	}
	replace := func(id, body string, c docdb.Conditions) func() error {
		return func() error {
			q := at(path, `["a"]`)
			q.Conditions = c
			_, err := w.ReplaceItem(ctx, key, q, id, []byte(body))
			return err
		}
	}
	tests := []struct {
		name   string
		do     func() error
		kind   fault.Kind
		reason string
	}{
		{"no id", create(`["a"]`, `{"pk":"a"}`), fault.Invalid, "BadRequest"},
		{"id is a number", create(`["a"]`, `{"id":1,"pk":"a"}`), fault.Invalid, "BadRequest"},
		{"empty id", create(`["a"]`, `{"id":"","pk":"a"}`), fault.Invalid, "BadRequest"},
		{"slash in id", create(`["a"]`, `{"id":"a/b","pk":"a"}`), fault.Invalid, "BadRequest"},
		{"backslash in id", create(`["a"]`, `{"id":"a\\b","pk":"a"}`), fault.Invalid, "BadRequest"},
		{"long id", create(`["a"]`, `{"id":"`+strings.Repeat("i", 1024)+`","pk":"a"}`), fault.Invalid, "BadRequest"},
		{"array", create(`["a"]`, `[]`), fault.Invalid, "BadRequest"},
		{"not JSON", create(`["a"]`, `{"id":`), fault.Invalid, "BadRequest"},
		{"duplicate name", create(`["a"]`, `{"id":"y","pk":"a","pk":"b"}`), fault.Invalid, "BadRequest"},
		{"deep", create(`["a"]`, `{"id":"y","pk":"a","d":`+strings.Repeat("[", 130)+strings.Repeat("]", 130)+`}`), fault.Invalid, "BadRequest"},
		{"too large", create(`["a"]`, `{"id":"y","pk":"a","d":"`+strings.Repeat("x", 2<<20)+`"}`), fault.TooLarge, "RequestEntityTooLarge"},
		{"no key", create(``, `{"id":"y","pk":"a"}`), fault.Invalid, "PartitionKeyMissing"},
		{"other key", create(`["b"]`, `{"id":"y","pk":"a"}`), fault.Invalid, "PartitionKeyMismatch"},
		{"null is not undefined", create(`[null]`, `{"id":"y"}`), fault.Invalid, "PartitionKeyMismatch"},
		{"too many components", create(`["a","b"]`, `{"id":"y","pk":"a"}`), fault.Invalid, "PartitionKeyMismatch"},
		{"key too long", create(`["`+strings.Repeat("k", 2049)+`"]`, `{"id":"y","pk":"a"}`), fault.Invalid, "PartitionKeyTooLarge"},
		{"replace missing", replace("nope", `{"id":"nope","pk":"a"}`, docdb.Conditions{}), fault.NotFound, "NotFound"},
		{"replace with another id", replace("x", `{"id":"z","pk":"a"}`, docdb.Conditions{}), fault.Invalid, "BadRequest"},
		{"replace with another key", replace("x", `{"id":"x","pk":"b"}`, docdb.Conditions{}), fault.Invalid, "PartitionKeyMismatch"},
		{"stale etag", replace("x", `{"id":"x","pk":"a"}`, docdb.Conditions{IfMatch: `"stale"`}), fault.Precondition, "PreconditionFailed"},
		{"if none match", replace("x", `{"id":"x","pk":"a"}`, docdb.Conditions{IfNoneMatch: `*`}), fault.Precondition, "PreconditionFailed"},
		{"delete missing", func() error { _, err := w.DeleteItem(ctx, key, at(path, `["a"]`), "nope"); return err }, fault.NotFound, "NotFound"},
		{"no container", func() error {
			_, err := w.ReadItem(ctx, key, at(docdb.ContainerPath{Account: accountID, Database: "d", Container: "no"}, `["a"]`), "x")
			return err
		}, fault.NotFound, "OwnerResourceNotFound"},
		{"no database", func() error {
			_, err := w.ReadItem(ctx, key, at(docdb.ContainerPath{Account: accountID, Database: "no", Container: "c"}, `["a"]`), "x")
			return err
		}, fault.NotFound, "OwnerResourceNotFound"},
		{"session ahead", func() error {
			q := at(path, `["a"]`)
			q.Consistency.SessionToken = "1:9,0:-1#99"
			_, err := w.ReadItem(ctx, key, q, "x")
			return err
		}, fault.NotFound, "ReadSessionNotAvailable"},
		{"other container meant", func() error {
			q := at(path, `["a"]`)
			q.Consistency.ContainerRID = "AAAAAAAAAAA="
			_, err := w.ReadItem(ctx, key, q, "x")
			return err
		}, fault.Invalid, "CollectionRidMismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantFault(t, tt.do(), tt.kind, tt.reason) })
	}
	if r, err := w.ReadItem(ctx, key, at(path, `["a"]`), "x"); err != nil || r.LSN != 1 {
		t.Errorf("refused requests left a trace: %+v %v", r.Receipt, err)
	}
}

// TestPartitionsApart: the same id in different logical partitions is different items, also for null,
// undefined and values of different types.
func TestPartitionsApart(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	keys := map[string]string{`["1"]`: `"1"`, `[1]`: `1`, `[true]`: `true`, `[null]`: `null`, `[{}]`: `{}`, `[""]`: `""`}
	for pk, v := range keys {
		if _, err := w.CreateItem(ctx, key, at(path, pk), fmt.Appendf(nil, `{"id":"x","pk":%s,"v":%q}`, v, pk)); err != nil {
			t.Fatalf("%s: %v", pk, err)
		}
	}
	for pk := range keys {
		r, err := w.ReadItem(ctx, key, at(path, pk), "x")
		if err != nil || !bytes.Contains(r.JSON, fmt.Appendf(nil, `"v":%q`, pk)) {
			t.Errorf("%s: %s %v", pk, r.JSON, err)
		}
	}
}

// TestOneWinner: of many writers with the same If-Match exactly one wins, round after round, and the
// sequence has no number twice.
func TestOneWinner(t *testing.T) {
	const writers, rounds = 8, 25
	w, ctx := newWorld(t), context.Background()
	q := at(w.container(simple), `["a"]`)
	cur, err := w.CreateItem(ctx, key, q, []byte(`{"id":"x","pk":"a","n":0}`))
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		var won atomic.Int32
		var winner atomic.Value
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() {
				mine := q
				mine.Conditions.IfMatch = cur.ETag
				r, err := w.ReplaceItem(ctx, key, mine, "x", fmt.Appendf(nil, `{"id":"x","pk":"a","n":%d}`, n))
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(r)
				case fault.KindOf(err) != fault.Precondition:
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d has %d winners", round, won.Load())
		}
		next := winner.Load().(docdb.Result)
		if next.LSN != cur.LSN+1 {
			t.Fatalf("sequence went from %d to %d", cur.LSN, next.LSN)
		}
		cur = next
	}
}

// TestChangeFeedUnderWriters: a reader that follows the change feed while many write misses nothing.
func TestChangeFeedUnderWriters(t *testing.T) {
	const writers, each = 8, 40
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() {
			for i := range each {
				pk := fmt.Sprintf(`["%d"]`, n)
				r, err := w.CreateItem(ctx, key, at(path, pk), fmt.Appendf(nil, `{"id":"%d","pk":"%d"}`, i, n))
				if err != nil {
					t.Error(err)
					return
				}
				seen := at(path, pk)
				seen.Consistency.SessionToken = fmt.Sprintf("0:-1#%d", r.LSN)
				if _, err := w.ReadItem(ctx, key, seen, fmt.Sprint(i)); err != nil {
					t.Errorf("own write not visible: %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	seen, since, last := map[string]bool{}, "", false
	for {
		select {
		case <-done:
			last = true
		default:
		}
		page, err := w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path, MaxItems: 7}, Since: since})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Items {
			var d struct{ ID, PK string }
			if err := json.Unmarshal(i, &d); err != nil {
				t.Fatal(err)
			}
			if seen[d.PK+"/"+d.ID] {
				t.Errorf("%s came twice", i)
			}
			seen[d.PK+"/"+d.ID] = true
		}
		since = page.ETag
		if len(page.Items) == 0 && last {
			break
		}
	}
	if len(seen) != writers*each {
		t.Errorf("the feed showed %d of %d", len(seen), writers*each)
	}
}

// TestCrash: what was acknowledged is there after a crash, with the same etags, and numbers go on.
func TestCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	w := &world{t: t, now: time.Unix(1_795_424_400, 0)}
	w.open(fs)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return w.now }})
	ctx := context.Background()
	path := w.container(`{"id":"c","partitionKey":{"paths":["/pk"],"version":2},"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/u"]}]}}`)
	want := map[string]docdb.Result{}
	for i := range 50 {
		r, err := w.UpsertItem(ctx, key, at(path, `["a"]`), fmt.Appendf(nil, `{"id":"%d","pk":"a","u":%d}`, i%40, i))
		if err != nil {
			t.Fatal(err)
		}
		want[r.Item.ID] = r
	}
	if _, err := w.DeleteItem(ctx, key, at(path, `["a"]`), "39"); err != nil {
		t.Fatal(err)
	}
	delete(want, "39")
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.Forget(accountID)
	w.open(crashed)
	for id, before := range want {
		r, err := w.ReadItem(ctx, key, at(path, `["a"]`), id)
		if err != nil || string(r.JSON) != string(before.JSON) || r.ETag != before.ETag {
			t.Errorf("item %s: %s, %v, want %s", id, r.JSON, err, before.JSON)
		}
	}
	page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, MaxItems: -1})
	if err != nil || len(page.Items) != len(want) || page.LSN != 51 {
		t.Errorf("feed has %d of %d, LSN %d, %v", len(page.Items), len(want), page.LSN, err)
	}
	_, err = w.CreateItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"new","pk":"a","u":45}`))
	wantFault(t, err, fault.Conflict, "UniqueIndexConflict")
	if r, err := w.CreateItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"new","pk":"a","u":39}`)); err != nil || r.LSN != 52 {
		t.Errorf("after the crash: %+v %v", r.Receipt, err)
	}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLocked: without the key there is nothing, not even from memory, and all is back afterwards.
func TestLocked(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	if _, err := w.CreateItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"x","pk":"a"}`)); err != nil {
		t.Fatal(err)
	}
	w.locked = fault.New(fault.KeyDenied, "4002", "revoked")
	w.Forget(accountID)
	_, err := w.ReadItem(ctx, key, at(path, `["a"]`), "x")
	wantFault(t, err, fault.KeyDenied, "4002")
	_, err = w.Databases(ctx, key, accountID)
	wantFault(t, err, fault.KeyDenied, "4002")
	w.locked = nil
	if _, err := w.ReadItem(ctx, key, at(path, `["a"]`), "x"); err != nil {
		t.Error(err)
	}
}

// TestGuard: the authorizer is asked about names, also when the path has resource ids, and a refusal
// keeps the store closed.
func TestGuard(t *testing.T) {
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
	byRID := docdb.ContainerPath{Account: accountID, Database: d.RID, Container: c.RID}
	w.asked = nil
	if _, err := w.CreateItem(ctx, key, at(byRID, `["a"]`), []byte(`{"id":"x","pk":"a"}`)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.asked, ";"); got != "sqlDatabases/containers/items/create /dbs/d/colls/c" {
		t.Errorf("asked %q", got)
	}
	w.deny = "sqlDatabases/containers/items/read"
	_, err = w.ReadItem(ctx, key, at(path, `["a"]`), "x")
	wantFault(t, err, fault.Denied, "5302")
	w.deny = "sqlDatabases/containers/delete"
	wantFault(t, w.DeleteContainer(ctx, key, accountID, "d", "c"), fault.Denied, "5302")
	last := w.events[len(w.events)-1]
	if last.Outcome != audit.Denied || last.Operation != "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/delete" {
		t.Errorf("audit: %+v", last)
	}
	if n := len(w.events); n != 4 { // database, container, the refusals; no items
		t.Errorf("%d events", n)
	}
}

func TestContainerLife(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	first, err := w.Container(ctx, key, accountID, "d", "c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"x","pk":"a"}`)); err != nil {
		t.Fatal(err)
	}
	replaced, err := w.ReplaceContainer(ctx, key, accountID, "d", "c", docdb.ContainerSpec{
		Properties: json.RawMessage(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"defaultTtl":-1}`)})
	if err != nil || replaced.RID != first.RID || replaced.ETag == first.ETag || !bytes.Contains(replaced.Properties, []byte(`"defaultTtl":-1`)) {
		t.Errorf("replaced: %s %v", replaced.Properties, err)
	}
	_, err = w.ReplaceContainer(ctx, key, accountID, "d", "c", docdb.ContainerSpec{Properties: json.RawMessage(`{"id":"c","partitionKey":{"paths":["/other"],"version":2}}`)})
	wantFault(t, err, fault.Invalid, "ContainerImmutable")
	_, err = w.ReplaceContainer(ctx, key, accountID, "d", "c", docdb.ContainerSpec{Properties: json.RawMessage(simple), IfMatch: `"old"`})
	wantFault(t, err, fault.Precondition, "PreconditionFailed")
	if err := w.DeleteContainer(ctx, key, accountID, "d", "c"); err != nil {
		t.Fatal(err)
	}
	_, err = w.Container(ctx, key, accountID, "d", "c")
	wantFault(t, err, fault.NotFound, "NotFound")
	path = w.container(simple)
	second, err := w.Container(ctx, key, accountID, "d", "c")
	if err != nil || second.RID == first.RID {
		t.Errorf("the new container has the old resource id: %v", err)
	}
	_, err = w.ReadItem(ctx, key, at(path, `["a"]`), "x")
	wantFault(t, err, fault.NotFound, "NotFound")
	if err := w.DeleteDatabase(ctx, key, accountID, "d"); err != nil {
		t.Fatal(err)
	}
	var left int
	var scanErr error
	for k := range w.db.Scan(store.Range{Lower: []byte{0x10}}, &scanErr) {
		left++
		t.Errorf("left in the store: %x", k)
	}
	if scanErr != nil {
		t.Error(scanErr)
	}
}

// TestContainerGolden is the whole body of a container that was made with the least.
func TestContainerGolden(t *testing.T) {
	w := newWorld(t)
	w.container(`{"id":"Orders","partitionKey":{"paths":["/customer"]}}`)
	c, err := w.Container(context.Background(), key, accountID, "d", "Orders")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"Orders","indexingPolicy":{"indexingMode":"consistent","automatic":true,"includedPaths":[{"path":"/*"}],"excludedPaths":[{"path":"/\"_etag\"/?"}]},` +
		`"partitionKey":{"paths":["/customer"],"kind":"Hash","version":1},` +
		`"conflictResolutionPolicy":{"mode":"LastWriterWins","conflictResolutionPath":"/_ts","conflictResolutionProcedure":""},` +
		`"geospatialConfig":{"type":"Geography"},"_rid":"AAAAAYAAAAE=","_self":"dbs/AAAAAQ==/colls/AAAAAYAAAAE=/","_etag":` + string(must(json.Marshal(c.ETag))) +
		`,"_docs":"docs/","_sprocs":"sprocs/","_triggers":"triggers/","_udfs":"udfs/","_conflicts":"conflicts/","_ts":1795424400}`
	if string(c.Properties) != want {
		t.Errorf("got  %s\nwant %s", c.Properties, want)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestContainerRefusals(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container(simple)
	for name, properties := range map[string]string{
		"no id":               `{"partitionKey":{"paths":["/a"]}}`,
		"bad name":            `{"id":"a/b","partitionKey":{"paths":["/a"]}}`,
		"space at the end":    `{"id":"a ","partitionKey":{"paths":["/a"]}}`,
		"two paths of Hash":   `{"id":"x","partitionKey":{"paths":["/a","/b"]}}`,
		"bad path":            `{"id":"x","partitionKey":{"paths":["a"]}}`,
		"kind Range":          `{"id":"x","partitionKey":{"paths":["/a"],"kind":"Range"}}`,
		"four levels":         `{"id":"x","partitionKey":{"paths":["/a","/b","/c","/d"],"kind":"MultiHash"}}`,
		"ttl of zero":         `{"id":"x","partitionKey":{"paths":["/a"]},"defaultTtl":0}`,
		"bad indexing mode":   `{"id":"x","partitionKey":{"paths":["/a"]},"indexingPolicy":{"indexingMode":"odd"}}`,
		"unique key of none":  `{"id":"x","partitionKey":{"paths":["/a"]},"uniqueKeyPolicy":{"uniqueKeys":[{"paths":[]}]}}`,
		"id of another type":  `{"id":5,"partitionKey":{"paths":["/a"]}}`,
		"not JSON":            `{`,
		"indexing not object": `{"id":"x","partitionKey":{"paths":["/a"]},"indexingPolicy":[]}`,
	} {
		_, err := w.CreateContainer(ctx, key, accountID, "d", docdb.ContainerSpec{Properties: json.RawMessage(properties)})
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.CreateContainer(ctx, key, accountID, "d", docdb.ContainerSpec{Properties: json.RawMessage(simple)})
	wantFault(t, err, fault.Conflict, "Conflict")
	_, err = w.CreateContainer(ctx, key, accountID, "no", docdb.ContainerSpec{Properties: json.RawMessage(simple)})
	wantFault(t, err, fault.NotFound, "OwnerResourceNotFound")
}

func TestAuditFailureRefuses(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	broken := docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: brokenAudit{}})
	if _, err := broken.CreateDatabase(ctx, key, accountID, docdb.DatabaseSpec{ID: "d"}); err == nil {
		t.Error("a change without a record")
	}
	if _, err := w.Database(ctx, key, accountID, "d"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the change took place: %v", err)
	}
}

type brokenAudit struct{}

func (brokenAudit) Record(context.Context, audit.Event) error { return errors.New("disk full") }
