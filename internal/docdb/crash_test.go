package docdb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/store"
)

// TestCrashUnderWriters cuts the power while many write, with half of what was not synced lost at
// random. What was acknowledged before is there; every index agrees with the items; the sequence
// goes on.
func TestCrashUnderWriters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	fs := vfs.NewCrashableMem()
	w := &world{t: t, now: time.Unix(1_795_424_400, 0)}
	w.open(fs)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return w.now }})
	path := w.container(simple)
	var mu sync.Mutex
	acked := map[string]string{} // by id: the etag
	var writers sync.WaitGroup
	enough := make(chan struct{})
	for n := range 6 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			for i := 0; ; i++ {
				writeSome(w, path, rng, n, &mu, acked)
				if i == 20 && n == 0 {
					close(enough)
				}
				select {
				case <-enough:
					return
				default:
				}
			}
		})
	}
	<-enough
	mu.Lock() // what is acknowledged now must survive; an item that is being written has no entry
	want := map[string]string{}
	for id, etag := range acked {
		want[id] = etag
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 99))})
	mu.Unlock()
	writers.Wait()
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.Forget(accountID)
	w.open(after)
	checkAfterCrash(t, w, path, want)
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeSome writes or deletes one of the items of writer n and keeps acked up to date.
func writeSome(w *world, path docdb.ContainerPath, rng *rand.Rand, n int, mu *sync.Mutex, acked map[string]string) {
	id := fmt.Sprintf("%d-%d", n, rng.IntN(10))
	mu.Lock()
	delete(acked, id)
	mu.Unlock()
	q := at(path, `["a"]`)
	if rng.IntN(4) == 0 {
		if _, err := w.DeleteItem(context.Background(), key, q, id); err != nil && fault.KindOf(err) != fault.NotFound {
			w.t.Error(err)
		}
		return
	}
	r, err := w.UpsertItem(context.Background(), key, q, fmt.Appendf(nil, `{"id":%q,"pk":"a","n":%d}`, id, rng.Int()))
	if err != nil {
		w.t.Error(err)
		return
	}
	mu.Lock()
	acked[id] = r.ETag
	mu.Unlock()
}

func checkAfterCrash(t *testing.T, w *world, path docdb.ContainerPath, want map[string]string) {
	t.Helper()
	ctx := context.Background()
	for id, etag := range want {
		if r, err := w.ReadItem(ctx, key, at(path, `["a"]`), id); err != nil || r.ETag != etag {
			t.Errorf("%s: etag %s, want %s, %v", id, r.ETag, etag, err)
		}
	}
	all, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, MaxItems: -1})
	if err != nil {
		t.Fatal(err)
	}
	one, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: path, MaxItems: -1, PartitionKey: at(path, `["a"]`).PartitionKey})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: path, MaxItems: -1}})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, w, 0x20); len(all.Items) != n || len(one.Items) != n || len(changes.Items) != n {
		t.Errorf("%d items, %d in order, %d in the partition, %d in the change feed", n, len(all.Items), len(one.Items), len(changes.Items))
	}
	r, err := w.UpsertItem(ctx, key, at(path, `["a"]`), []byte(`{"id":"next","pk":"a"}`))
	if err != nil || r.LSN <= all.LSN {
		t.Errorf("LSN %d after %d, %v", r.LSN, all.LSN, err)
	}
}

// count is the number of keys of a kind in the store.
func count(t *testing.T, w *world, kind byte) (n int) {
	t.Helper()
	var err error
	for range w.db.Scan(store.Prefix([]byte{kind}), &err) {
		n++
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkWrite measures concurrent writes to different items of one container: they share syncs.
func BenchmarkWrite(b *testing.B) {
	w := newWorld(b)
	path := w.container(simple)
	var n int
	var mu sync.Mutex
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			n++
			id := n
			mu.Unlock()
			if _, err := w.CreateItem(context.Background(), key, at(path, `["a"]`), fmt.Appendf(nil, `{"id":"%d","pk":"a","text":"some text that is not very long"}`, id)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkRead measures point reads.
func BenchmarkRead(b *testing.B) {
	w := newWorld(b)
	path := w.container(simple)
	w.fill(path, 1000)
	for i := 0; b.Loop(); i++ {
		if _, err := w.ReadItem(context.Background(), key, at(path, `["`+string(rune('a'+i%1000%3))+`"]`), fmt.Sprintf("%02d", i%1000)); err != nil {
			b.Fatal(err)
		}
	}
}
