package docdb_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// TestNobodyIsToldWhatIsNotDurable: while a write, or a deletion, waits for the disk, no reader is told of it.
func TestNobodyIsToldWhatIsNotDurable(t *testing.T) {
	var held atomic.Bool
	release := make(chan struct{})
	slow := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && held.Load() {
			<-release
		}
		return nil
	}))
	w := &world{t: t, now: time.Unix(1_795_424_400, 0)}
	w.open(slow)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return w.now }})
	defer func() {
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, q := context.Background(), at(w.container(simple), `["a"]`)
	for _, id := range []string{"changed", "deleted"} {
		if _, err := w.CreateItem(ctx, key, q, []byte(`{"id":"`+id+`","pk":"a","v":"old"}`)); err != nil {
			t.Fatal(err)
		}
	}
	held.Store(true)
	var running sync.WaitGroup
	start := func(f func() error) {
		running.Go(func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	start(func() error {
		_, err := w.UpsertItem(ctx, key, q, []byte(`{"id":"changed","pk":"a","v":"new"}`))
		return err
	})
	start(func() error { _, err := w.DeleteItem(ctx, key, q, "deleted"); return err })
	for count(t, w, 0x20) != 1 { // the store shows both already
		runtime.Gosched()
	}
	told := func() {
		if held.Load() {
			t.Error("a reader was told before the disk had it")
		}
	}
	start(func() error {
		r, err := w.ReadItem(ctx, key, q, "changed")
		if strings.Contains(string(r.JSON), "new") {
			told()
		}
		return err
	})
	start(func() error {
		if _, err := w.ReadItem(ctx, key, q, "deleted"); fault.KindOf(err) == fault.NotFound {
			told()
		}
		return nil
	})
	start(func() error {
		page, err := w.Query(ctx, key, docdb.FeedRequest{Path: q.Path}, docdb.Query{Text: "SELECT VALUE c.v FROM c"})
		if len(page.Items) == 1 {
			told()
		}
		return err
	})
	start(func() error {
		page, err := w.ReadFeed(ctx, key, docdb.FeedRequest{Path: q.Path, PartitionKey: q.PartitionKey})
		if len(page.Items) == 1 {
			told()
		}
		return err
	})
	start(func() error {
		page, err := w.ChangeFeed(ctx, key, docdb.ChangeFeedRequest{FeedRequest: docdb.FeedRequest{Path: q.Path}})
		if len(page.Items) == 1 && strings.Contains(string(page.Items[0]), "new") {
			told()
		}
		return err
	})
	for range 10_000 { // time enough for readers that do not wait
		runtime.Gosched()
	}
	held.Store(false)
	close(release)
	running.Wait()
}
