package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/store"
)

func sealed(t testing.TB, base vfs.FS) *sealfs.FS {
	t.Helper()
	fs, err := sealfs.New(base, sealfs.Options{
		Keys:    sealfs.StaticKeys(sealfs.KeyID{1}, bytes.Repeat([]byte{9}, sealfs.KeySize)),
		StoreID: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func open(t testing.TB, fs vfs.FS, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func set(t testing.TB, s *store.Store, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if err := s.Set([]byte(k), []byte("v"+k)); err != nil {
			t.Fatal(err)
		}
	}
}

func scan(t testing.TB, s *store.Store, r store.Range) string {
	t.Helper()
	var keys []string
	var err error
	for k, v := range s.Scan(r, &err) {
		if string(v) != "v"+string(k) {
			t.Errorf("key %q has value %q", k, v)
		}
		keys = append(keys, string(k))
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(keys, " ")
}

func TestScan(t *testing.T) {
	s := open(t, vfs.NewMem(), "/db")
	defer s.Close()
	set(t, s, "a", "b", "b1", "b2", "c", "\xff", "\xff\xff", "\xff\xffz")
	for _, c := range []struct {
		r    store.Range
		want string
	}{
		{store.Range{}, "a b b1 b2 c \xff \xff\xff \xff\xffz"},
		{store.Prefix([]byte("b")), "b b1 b2"},
		{store.Prefix([]byte("\xff\xff")), "\xff\xff \xff\xffz"},
		{store.Prefix(nil), "a b b1 b2 c \xff \xff\xff \xff\xffz"},
		{store.Range{Lower: []byte("b1"), Upper: []byte("c")}, "b1 b2"},
		{store.Range{Lower: []byte("b"), Upper: []byte("c"), Reverse: true}, "b2 b1 b"},
		{store.Range{Lower: []byte("x"), Upper: []byte("y")}, ""},
	} {
		if got := scan(t, s, c.r); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.r, got, c.want)
		}
	}
	var err error
	for range s.Scan(store.Range{}, &err) {
		break
	}
	if err != nil {
		t.Errorf("after break: %v", err)
	}
}

func TestPrefixIsNotShared(t *testing.T) {
	p := []byte("ab")
	if r := store.Prefix(p); string(p) != "ab" || string(r.Upper) != "ac" {
		t.Errorf("prefix %q, upper %q", p, r.Upper)
	}
	if r := store.Prefix([]byte("a\xff")); string(r.Upper) != "b" {
		t.Errorf("upper %q", r.Upper)
	}
}

func TestBatchAndSnapshot(t *testing.T) {
	s := open(t, sealed(t, vfs.NewMem()), "/db")
	set(t, s, "a", "b", "c", "d")
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	b := s.NewBatch()
	b.Set([]byte("e"), []byte("ve"))
	b.DeleteRange([]byte("a"), []byte("c"))
	b.Delete([]byte("d"))
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, s, store.Range{}); got != "c e" {
		t.Errorf("after the batch: %q", got)
	}
	if _, err := s.Get([]byte("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a deleted key: %v", err)
	}
	if v, err := snap.Get([]byte("a")); err != nil || string(v) != "va" {
		t.Errorf("snapshot: %q, %v", v, err)
	}
	n := 0
	for range snap.Scan(store.Range{}, &err) {
		n++
	}
	if n != 4 || err != nil {
		t.Errorf("snapshot has %d keys, %v", n, err)
	}
	if err := errors.Join(snap.Close(), s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get([]byte("c")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get after Close: %v", err)
	}
	if err := s.Set([]byte("c"), nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Set after Close: %v", err)
	}
	for range s.Scan(store.Range{}, &err) {
		t.Error("entry after Close")
	}
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("Scan after Close: %v", err)
	}
}

func TestReadsRacingClose(t *testing.T) {
	s := open(t, vfs.NewMem(), "/db")
	set(t, s, "a")
	var err error
	late := s.Scan(store.Range{}, &err) // begins only after Close
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range late {
		t.Error("entry after Close")
	}
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestCheckpoint(t *testing.T) {
	fs := sealed(t, vfs.NewMem())
	s := open(t, fs, "/db")
	set(t, s, "a", "b")
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	set(t, s, "c")
	if err := s.Checkpoint("/copy"); err != nil {
		t.Fatal(err)
	}
	set(t, s, "d")
	if size, err := s.Size(); err != nil || size == 0 {
		t.Errorf("Size: %d, %v", size, err)
	}
	c := open(t, fs, "/copy")
	if got := scan(t, c, store.Range{}); got != "a b c" {
		t.Errorf("copy has %q", got)
	}
	set(t, c, "x")
	if got := scan(t, s, store.Range{}); got != "a b c d" {
		t.Errorf("original has %q", got)
	}
	if err := errors.Join(c.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("/copy")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if r, err := fs.Verify("/copy/" + name); err != nil || r.Torn {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestPoison: an engine that cannot write its log stops itself and nobody else.
func TestPoison(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileSyncData, errorfs.OpFileWrite} {
		var broken atomic.Bool
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if broken.Load() && op.Kind == kind && strings.HasSuffix(op.Path, ".log") {
				return errorfs.ErrInjected
			}
			return nil
		})
		base := vfs.NewCrashableMem()
		poisoned := make(chan error, 2)
		sick, err := store.Open("/sick", store.Options{
			FS:       sealed(t, errorfs.Wrap(base, inject)),
			OnPoison: func(err error) { poisoned <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
		well := open(t, sealed(t, base), "/well")
		set(t, sick, "a")
		broken.Store(true)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := sick.Set(fmt.Append(nil, i), nil); !errors.Is(err, store.ErrPoisoned) {
					t.Errorf("Set: %v", err)
				}
			})
		}
		wg.Wait()
		select {
		case err := <-poisoned:
			if !errors.Is(err, store.ErrPoisoned) {
				t.Errorf("OnPoison: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("OnPoison was not called")
		}
		checkRefuses(t, sick)
		set(t, well, "b")
		crashed := base.CrashClone(vfs.CrashCloneCfg{})
		if err := errors.Join(sick.Close(), well.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
		again := open(t, sealed(t, crashed), "/sick")
		if v, err := again.Get([]byte("a")); err != nil || string(v) != "va" {
			t.Errorf("after a restart: %q, %v", v, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func checkRefuses(t *testing.T, s *store.Store) {
	t.Helper()
	_, get := s.Get([]byte("a"))
	_, snapshot := s.Snapshot()
	_, size := s.Size()
	var scan error
	for range s.Scan(store.Range{}, &scan) {
		t.Error("Scan yields")
	}
	for name, err := range map[string]error{
		"Err": s.Err(), "Get": get, "Snapshot": snapshot, "Size": size, "Scan": scan,
		"Flush": s.Flush(), "Checkpoint": s.Checkpoint("/c"), "Delete": s.Delete([]byte("a")),
	} {
		if !errors.Is(err, store.ErrPoisoned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTable(t *testing.T) {
	type rec struct{ N int }
	s := open(t, vfs.NewMem(), "/db")
	defer s.Close()
	a, b := store.NewTable[rec](s, "t/a"), store.NewTable[rec](s, "t/ab")
	batch := s.NewBatch()
	if err := errors.Join(a.PutIn(batch, "1", rec{1}), b.PutIn(batch, "1", rec{11}), s.Commit(batch), a.Put("2", rec{2})); err != nil {
		t.Fatal(err)
	}
	if all, err := a.All(); err != nil || fmt.Sprint(all) != "map[1:{1} 2:{2}]" {
		t.Errorf("All: %v, %v", all, err)
	}
	if r, ok, err := b.Get("1"); !ok || r.N != 11 || err != nil {
		t.Errorf("Get: %v, %v, %v", r, ok, err)
	}
	if err := a.Delete("1"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := a.Get("1"); ok || err != nil {
		t.Errorf("deleted: %v, %v", ok, err)
	}
	if err := s.Set([]byte("t/a\x00bad"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.All(); err == nil {
		t.Error("a damaged record was passed over")
	}
}

// BenchmarkCommit shows what group commit brings: durable 1 KiB commits from n goroutines.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprint("committers=", n), func(b *testing.B) {
			s := open(b, sealed(b, vfs.Default), b.TempDir())
			defer s.Close()
			var next atomic.Int64
			value := make([]byte, 1<<10)
			var wg sync.WaitGroup
			b.ResetTimer()
			for range n {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if err := s.Set(fmt.Appendf(nil, "%08d", i), value); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
