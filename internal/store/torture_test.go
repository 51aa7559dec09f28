package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/latchkey-db/latchkey/internal/store"
)

// long reports whether the long forms of the tests are wanted.
var long = os.Getenv("LATCHKEY_TORTURE") != ""

// pick returns the first value for `make test` and the second for `make torture`.
func pick[T any](short, torture T) T {
	if long {
		return torture
	}
	return short
}

// model is what a store must hold.
type model map[string]string

func (m model) digest() string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(h, "%d %s %d %s\n", len(k), k, len(m[k]), m[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func digest(t testing.TB, s *store.Store) string {
	t.Helper()
	m := model{}
	var err error
	for k, v := range s.Scan(store.Range{}, &err) {
		m[string(k)] = string(v)
	}
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return m.digest()
}

// history plays a random history on a store, one commit after the other, and knows what must be there.
type history struct {
	t     *testing.T
	rng   *rand.Rand
	fs    vfs.FS
	s     *store.Store
	steps int

	mu      sync.Mutex
	sure    model  // after the last commit that returned
	pending string // digest after the commit under way; "" without one
}

func newHistory(t *testing.T, seed uint64, fs vfs.FS) *history {
	return &history{t: t, rng: rand.New(rand.NewPCG(seed, 7)), fs: fs, sure: model{}}
}

func (h *history) open() (err error) {
	h.s, err = store.Open("/db", store.Options{FS: h.fs, MemTableBytes: 64 << 10, CacheBytes: 256 << 10})
	return err
}

// may are the digests that a store may have after a crash now.
func (h *history) may() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return []string{h.sure.digest(), h.pending}
}

// play makes n steps, or stops at the first error, which it returns.
func (h *history) play(n int) error {
	for h.steps = 0; h.steps < n; h.steps++ {
		if err := h.step(); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) step() error {
	switch p := h.rng.IntN(100); {
	case p < 86:
		return h.commit()
	case p < 91:
		return h.s.Flush()
	case p < 94:
		return h.checkpoint()
	case p < 97:
		return h.compare()
	default:
		if err := h.s.Close(); err != nil {
			return err
		}
		return h.open()
	}
}

// commit makes a batch of random changes.
func (h *history) commit() error {
	next, b := maps.Clone(h.sure), h.s.NewBatch()
	for range 1 + h.rng.IntN(4) {
		k := fmt.Sprintf("%03d", h.rng.IntN(300))
		switch h.rng.IntN(8) {
		case 0:
			b.Delete([]byte(k))
			delete(next, k)
		case 1:
			to := fmt.Sprintf("%03d", h.rng.IntN(300))
			if k > to {
				k, to = to, k
			}
			b.DeleteRange([]byte(k), []byte(to))
			maps.DeleteFunc(next, func(x, _ string) bool { return x >= k && x < to })
		default:
			v := strings.Repeat(fmt.Sprint(h.rng.Uint32()), h.rng.IntN(200))
			b.Set([]byte(k), []byte(v))
			next[k] = v
		}
	}
	h.mu.Lock()
	h.pending = next.digest()
	h.mu.Unlock()
	if err := h.s.Commit(b); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sure, h.pending = next, ""
	return nil
}

// checkpoint makes a copy, which must be a store of its own.
func (h *history) checkpoint() error {
	if err := h.fs.RemoveAll("/copy"); err != nil {
		return err
	}
	if err := h.s.Checkpoint("/copy"); err != nil {
		return err
	}
	c, err := store.Open("/copy", store.Options{FS: h.fs, MemTableBytes: 64 << 10})
	if err != nil {
		return err
	}
	var e error
	m := model{}
	for k, v := range c.Scan(store.Range{}, &e) {
		m[string(k)] = string(v)
	}
	if e == nil && m.digest() != h.sure.digest() {
		h.t.Errorf("step %d: the checkpoint differs", h.steps)
	}
	return errors.Join(e, c.Close())
}

// compare reads in every way that there is.
func (h *history) compare() error {
	snap, err := h.s.Snapshot()
	if err != nil {
		return err
	}
	keys := slices.Sorted(maps.Keys(h.sure))
	lower, upper := fmt.Sprintf("%03d", h.rng.IntN(300)), fmt.Sprintf("%03d", h.rng.IntN(300))
	want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k < lower || k >= upper })
	for _, reverse := range []bool{false, true} {
		var got []string
		for k, v := range snap.Scan(store.Range{Lower: []byte(lower), Upper: []byte(upper), Reverse: reverse}, &err) {
			if h.sure[string(k)] != string(v) {
				h.t.Errorf("step %d: %s has another value", h.steps, k)
			}
			got = append(got, string(k))
		}
		if reverse {
			slices.Reverse(got)
		}
		if err == nil && lower < upper && !slices.Equal(got, want) {
			h.t.Errorf("step %d: scan %s to %s reverse=%v: %v, want %v", h.steps, lower, upper, reverse, got, want)
		}
	}
	for _, k := range []string{lower, upper} {
		v, e := h.s.Get([]byte(k))
		if was, ok := h.sure[k]; e == nil && (!ok || was != string(v)) || errors.Is(e, store.ErrNotFound) && ok {
			h.t.Errorf("step %d: Get %s: %q, %v", h.steps, k, v, e)
		} else if e != nil && !errors.Is(e, store.ErrNotFound) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, snap.Close())
}

// TestHistories: whatever is done to a store, on a sealed and on a plain file system, it holds what a
// plain map holds. Each history ends with a crash.
func TestHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(pick(20, 1000)) {
		for _, plain := range []bool{false, true} {
			base := vfs.NewCrashableMem()
			fs := vfs.FS(base)
			if !plain {
				fs = sealed(t, base)
			}
			h := newHistory(t, seed, fs)
			err := h.open()
			if err == nil {
				err = h.play(120)
			}
			if err == nil && digest(t, h.s) != h.sure.digest() {
				err = errors.New("digest differs")
			}
			if err != nil || t.Failed() {
				t.Fatalf("seed %d, plain=%v, step %d: %v", seed, plain, h.steps, err)
			}
			clone := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed % 3 * 50), RNG: h.rng})
			if err := h.s.Close(); err != nil {
				t.Fatal(err)
			}
			reopened(t, clone, plain, h.may(), fmt.Sprintf("seed %d, plain=%v", seed, plain))
		}
	}
}

// reopened opens what a crash left and checks that it holds one of the digests.
func reopened(t *testing.T, base vfs.FS, plain bool, may []string, where string) {
	t.Helper()
	fs := base
	if !plain {
		fs = sealed(t, base)
	}
	s, err := store.Open("/db", store.Options{FS: fs})
	if err != nil {
		t.Fatalf("%s: open: %v", where, err)
	}
	defer s.Close()
	if got := digest(t, s); !slices.Contains(may, got) {
		t.Fatalf("%s: acknowledged data is missing, or more is there", where)
	}
	if err := s.Set([]byte("works"), nil); err != nil {
		t.Fatalf("%s: set: %v", where, err)
	}
}

// TestCrashAtEverySync takes the power away at each sync of a history, with none, half and all of what
// was not synced on the disk.
func TestCrashAtEverySync(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 50, 100} {
		for n, more := 1, true; more; n += pick(17, 1) {
			base := vfs.NewCrashableMem()
			var syncs atomic.Int64
			var clone *vfs.MemFS
			var may []string
			var h *history
			fs := errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
				switch op.Kind {
				case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
					if syncs.Add(1) == int64(n) {
						may = h.may()
						clone = base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(n), 9))})
					}
				}
				return nil
			}))
			h = newHistory(t, uint64(percent), sealed(t, fs))
			if err := errors.Join(h.open(), h.play(60)); err != nil {
				t.Fatal(err)
			}
			if err := h.s.Close(); err != nil {
				t.Fatal(err)
			}
			if more = clone != nil; more {
				reopened(t, clone, false, may, fmt.Sprintf("sync %d, %d %%", n, percent))
			}
		}
	}
}

// TestEveryOperationFails lets each operation on the disk fail in turn: the store says so, or does not
// care; it never answers wrong, and it can be opened again in this process with everything that was
// acknowledged.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	for n, more := 1, true; more; n += pick(23, 1) {
		base := vfs.NewMem()
		var count atomic.Int64
		fs := errorfs.Wrap(base, errorfs.InjectorFunc(func(errorfs.Op) error {
			if count.Add(1) == int64(n) {
				return fmt.Errorf("operation %d: %w", n, syscall.EIO)
			}
			return nil
		}))
		h := newHistory(t, uint64(n%5), sealed(t, fs))
		err := h.open()
		if err == nil {
			err = h.play(40)
		}
		if h.s != nil {
			_ = h.s.Close()
		}
		more = count.Load() >= int64(n)
		if err != nil && !more {
			t.Fatalf("operation %d: %v without a failure", n, err)
		}
		reopened(t, base, false, h.may(), fmt.Sprintf("operation %d", n))
	}
}

// quota is a file system on a disk with so many bytes.
func quota(base vfs.FS, left *atomic.Int64) vfs.FS { return &quotaFS{base, left} }

type quotaFS struct {
	vfs.FS
	left *atomic.Int64
}

func (q *quotaFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &quotaFile{f, q.left}, nil
}

func (q *quotaFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return q.wrap(q.FS.Create(name, c))
}

type quotaFile struct {
	vfs.File
	left *atomic.Int64
}

func (f *quotaFile) Write(p []byte) (int, error) {
	if f.left.Add(-int64(len(p))) < 0 {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

// TestFullDisk: a disk that is full stops the store; when there is room again it opens in the same
// process with everything that was acknowledged.
func TestFullDisk(t *testing.T) {
	for _, room := range []int64{20 << 10, 100 << 10, 300 << 10, 1 << 20} {
		base := vfs.NewMem()
		left := new(atomic.Int64)
		left.Store(room)
		h := newHistory(t, uint64(room), sealed(t, quota(base, left)))
		err := h.open()
		for err == nil {
			err = h.commit()
		}
		if h.s != nil {
			if !errors.Is(err, store.ErrPoisoned) {
				t.Errorf("room for %d: %v", room, err)
			}
			_ = h.s.Close()
		}
		left.Store(1 << 40)
		reopened(t, base, false, h.may(), fmt.Sprintf("room for %d", room))
	}
}

// TestFullTmpfs is TestFullDisk on a real file system of 8 MiB.
func TestFullTmpfs(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skip("no small file system can be mounted:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	fs, path := sealed(t, vfs.Default), filepath.Join(dir, "db")
	s, err := store.Open(path, store.Options{FS: fs, MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	acked := 0
	value := make([]byte, 4000)
	rng := rand.NewChaCha8([32]byte{1})
	for ; err == nil; acked++ {
		_, _ = rng.Read(value)
		err = s.Set(fmt.Appendf(nil, "%06d", acked), value)
	}
	acked--
	if !errors.Is(err, store.ErrPoisoned) || acked < 100 {
		t.Fatalf("after %d commits: %v", acked, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	again, err := store.Open(path, store.Options{FS: fs})
	if err != nil {
		t.Fatal("the store does not open after the disk got room:", err)
	}
	defer again.Close()
	n := 0
	for k, v := range again.Scan(store.Range{}, &err) {
		if string(k) != fmt.Sprintf("%06d", n) || len(v) != len(value) {
			t.Fatalf("entry %d is %s", n, k)
		}
		n++
	}
	if err != nil || n < acked || n > acked+1 {
		t.Errorf("%d entries of %d, %v", n, acked, err)
	}
	if err := again.Set([]byte("works"), nil); err != nil {
		t.Error(err)
	}
}

// TestSevered: after a failure the old engine cannot touch the directory any more, while the new one
// works in it.
func TestSevered(t *testing.T) {
	for _, broken := range []string{".log", "MANIFEST", ".sst"} {
		base := vfs.NewMem()
		var fail atomic.Bool
		fs := sealed(t, errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if fail.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, broken) {
				return syscall.EIO
			}
			return nil
		})))
		old := open(t, fs, "/db")
		set(t, old, "a", "b", "c")
		fail.Store(true)
		_ = old.Set([]byte("lost"), bytes.Repeat([]byte("x"), 1000))
		_ = old.Flush()
		fail.Store(false)
		if !errors.Is(old.Err(), store.ErrPoisoned) {
			t.Fatalf("%s: %v", broken, old.Err())
		}
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		fresh := open(t, fs, "/db")
		set(t, fresh, "d")
		if err := old.Set([]byte("e"), nil); err == nil {
			t.Errorf("%s: the old store writes", broken)
		}
		if err := fresh.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"a", "b", "c", "d"} {
			if v, err := fresh.Get([]byte(k)); err != nil || string(v) != "v"+k {
				t.Errorf("%s: %s is %q, %v", broken, k, v, err)
			}
		}
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
