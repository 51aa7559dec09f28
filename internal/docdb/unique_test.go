package docdb_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// uniqueWriters are writers of one logical partition whose values must be unique: they take values, give them
// back, exchange them in batches and let them end, all at the same time.
type uniqueWriters struct {
	t     *testing.T
	w     *world
	path  docdb.ContainerPath
	clock atomic.Int64
	taken atomic.Int64 // refusals because a value belongs to another item
	swaps atomic.Int64
}

// step is one random change by one writer.
func (u *uniqueWriters) step(d *dice) error {
	ctx, q := context.Background(), at(u.path, `["a"]`)
	id, other := fmt.Sprint(d.roll(10)), fmt.Sprint(d.roll(10))
	body := func(id string, value int) []byte {
		return fmt.Appendf(nil, `{"id":%q,"pk":"a","u":%d,"ttl":%d}`, id, value, 1+d.roll(20))
	}
	var err error
	switch d.roll(6) {
	case 0:
		_, err = u.w.CreateItem(ctx, key, q, body(id, d.roll(14)))
	case 1, 2:
		_, err = u.w.UpsertItem(ctx, key, q, body(id, d.roll(14)))
	case 3:
		_, err = u.w.PatchItem(ctx, key, q, id, fmt.Appendf(nil, `[{"op":"set","path":"/u","value":%d}]`, d.roll(14)))
	case 4:
		_, err = u.w.DeleteItem(ctx, key, q, id)
	case 5:
		if id == other {
			return nil
		}
		return u.swap(q, body, id, other)
	}
	return u.judge(err)
}

// swap exchanges the values of two items as they were read, which may have changed since.
func (u *uniqueWriters) swap(q docdb.ItemRequest, body func(string, int) []byte, id, other string) error {
	var values [2]int
	for i, name := range []string{id, other} {
		r, err := u.w.ReadItem(context.Background(), key, q, name)
		if err != nil {
			return u.judge(err)
		}
		if _, err := fmt.Sscanf(string(r.JSON), `{"id":"`+name+`","pk":"a","u":%d`, &values[i]); err != nil {
			return err
		}
	}
	results, _, err := u.w.Batch(context.Background(), key, q, []docdb.BatchOperation{
		{Kind: docdb.OpUpsert, Body: body(id, values[1])}, {Kind: docdb.OpUpsert, Body: body(other, values[0])}})
	if err == nil && results[0].Err == nil {
		u.swaps.Add(1)
	}
	for _, r := range results {
		if r.Err != nil && !r.FailedDependency() {
			err = r.Err
		}
	}
	return u.judge(err)
}

// judge lets the refusals pass that are to be expected.
func (u *uniqueWriters) judge(err error) error {
	switch {
	case fault.Is(err, "UniqueIndexConflict"):
		u.taken.Add(1)
		return nil
	case fault.KindOf(err) == fault.NotFound, fault.KindOf(err) == fault.Conflict:
		return nil
	}
	return err
}

// check reads the partition at one point of its history.
func (u *uniqueWriters) check() {
	u.t.Helper()
	page, err := u.w.Query(context.Background(), key, docdb.FeedRequest{Path: u.path, PartitionKey: at(u.path, `["a"]`).PartitionKey, MaxItems: -1}, docdb.Query{Text: "SELECT VALUE c.u FROM c"})
	if err != nil {
		u.t.Error(err)
	}
	seen := map[string]bool{}
	for _, v := range page.Items {
		if seen[string(v)] {
			u.t.Errorf("two items have %s", v)
		}
		seen[string(v)] = true
	}
}

// TestUniqueUnderConcurrency: no reader ever sees two items with a value, whatever writers, expiry and sweeps do at
// the same time; in the end every item holds its value and no value is held by nobody.
func TestUniqueUnderConcurrency(t *testing.T) {
	for seed := range seeds(3, 200) {
		w := newWorld(t)
		u := &uniqueWriters{t: t, w: w}
		u.clock.Store(w.now.Unix())
		w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return time.Unix(u.clock.Load(), 0) }})
		u.path = w.container(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"defaultTtl":-1,"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/u"]}]}}`)
		var writers, others sync.WaitGroup
		done := make(chan struct{})
		for n := range 5 {
			writers.Go(func() {
				d := dice(seed*10 + n)
				for range 150 {
					if err := u.step(&d); err != nil {
						t.Error(err)
						return
					}
					if d.roll(20) == 0 {
						u.clock.Add(1)
					}
				}
			})
		}
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				u.check()
				if err := w.Sweep(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
		writers.Wait()
		close(done)
		others.Wait()
		if items, values := count(t, w, 0x20), count(t, w, 0x23); items != values {
			t.Errorf("seed %d: %d items hold %d values", seed, items, values)
		}
		if u.taken.Load() == 0 || u.swaps.Load() == 0 {
			t.Errorf("seed %d: %d conflicts and %d exchanges say little", seed, u.taken.Load(), u.swaps.Load())
		}
	}
}
