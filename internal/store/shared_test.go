package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/store"
)

// TestSharedBudget: the caches of all stores together stay within the budget, whatever their number,
// and every store still reads right.
func TestSharedBudget(t *testing.T) {
	const budget = 64 << 20
	shared := store.NewShared(budget, 256)
	defer shared.Close()
	fs := vfs.NewMem()
	var all []*store.Store
	for i := range 12 {
		s, err := store.Open(fmt.Sprint("/db", i), store.Options{FS: fs, Shared: shared})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
		for k := range 1000 {
			if err := s.Set(fmt.Appendf(nil, "%04d", k), bytes.Repeat([]byte{byte(k), byte(i)}, 700)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			readAll(t, s, 1000)
		}
		if n := shared.CacheBytes(); n > budget || n == 0 {
			t.Errorf("%d stores: %d bytes cached", len(all), n)
		}
	}
	for _, s := range all[1:] {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	readAll(t, all[0], 1000)
	if n := shared.CacheBytes(); n > budget || n < 1<<20 {
		t.Errorf("one store left: %d bytes cached", n)
	}
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	if n := shared.CacheBytes(); n != 0 {
		t.Errorf("no store left: %d bytes cached", n)
	}
}

func readAll(t *testing.T, s *store.Store, n int) {
	t.Helper()
	var err error
	for range s.Scan(store.Range{}, &err) {
		n--
	}
	if err != nil || n != 0 {
		t.Errorf("%d entries are missing, %v", n, err)
	}
}

// TestNoLeak opens and closes many stores and counts what is left of them.
func TestNoLeak(t *testing.T) {
	shared := store.NewShared(16<<20, 256)
	dir := t.TempDir()
	cycle := func(n int) {
		var all []*store.Store
		for i := range n {
			s, err := store.Open(filepath.Join(dir, fmt.Sprint(i)), store.Options{FS: sealed(t, vfs.Default), Shared: shared})
			if err != nil {
				t.Fatal(err)
			}
			set(t, s, "a", "b")
			all = append(all, s)
		}
		for _, s := range all {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cycle(2) // what is made once
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 5 {
		cycle(20)
	}
	if n := openFiles(t); n > files+5 {
		t.Errorf("%d files are open, %d before", n, files)
	}
	if n := runtime.NumGoroutine(); n > goroutines+5 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	shared.Close()
}

// openFiles counts the process's descriptors; 0 where the system does not tell.
func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("descriptors are not counted:", err)
	}
	return len(entries)
}
