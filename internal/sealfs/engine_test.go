package sealfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"

	"github.com/latchkey-db/latchkey/internal/sealfs"
)

// torture reports whether the long forms of the tests are wanted.
func torture() bool { return os.Getenv("LATCHKEY_TORTURE") == "1" }

// times returns the number of rounds: n, or the larger number under torture.
func times(n, long int) int {
	if torture() {
		return long
	}
	return n
}

// splitmix is a small generator for tests, seeded and repeatable.
type splitmix struct{ state uint64 }

// Uint64 returns the next number.
func (s *splitmix) Uint64() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n returns a number below limit.
func (s *splitmix) n(limit int) int { return int(s.Uint64() % uint64(limit)) }

// engineLog keeps the engine from ending the process and is quiet otherwise.
type engineLog struct{ t testing.TB }

func (engineLog) Infof(string, ...any)  {}
func (engineLog) Errorf(string, ...any) {}
func (l engineLog) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// engineOptions makes many small files of all kinds: values of 100 bytes and more go to blob files.
func engineOptions(t testing.TB, fs vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS: fs, FormatMajorVersion: pebble.FormatValueSeparation, MemTableSize: 64 << 10,
		L0CompactionThreshold: 2, MaxOpenFiles: 20, Logger: engineLog{t},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { t.Errorf("in the engine's background: %v", err) },
		},
	}
	o.Experimental.EnableColumnarBlocks = func() bool { return true }
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: 100, MaxBlobReferenceDepth: 3, RewriteMinimumAge: time.Nanosecond, TargetGarbageRatio: 0.1,
		}
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 32 << 10
	}
	return o
}

func openEngine(t testing.TB, fs vfs.FS, dir string) *pebble.DB {
	t.Helper()
	db, err := pebble.Open(dir, engineOptions(t, fs))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func value(seed uint64, size int) []byte {
	rng := splitmix{seed}
	b := make([]byte, size)
	for i := range b {
		b[i] = "0123456789abcdef"[rng.Uint64()%16]
	}
	return b
}

// load writes n keys of a small set, half of them with values that are separated.
func load(t testing.TB, db *pebble.DB, rng *splitmix, n int, model map[string]string) {
	t.Helper()
	for range n {
		k, v := fmt.Sprintf("key-%04d", rng.n(300)), string(value(rng.Uint64(), 10+rng.n(600)))
		if rng.n(10) == 0 {
			if err := db.Delete([]byte(k), pebble.Sync); err != nil {
				t.Fatal(err)
			}
			delete(model, k)
			continue
		}
		if err := db.Set([]byte(k), []byte(v), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		model[k] = v
	}
}

// dump reads a whole engine.
func dump(db *pebble.DB) (map[string]string, error) {
	got := map[string]string{}
	it, err := db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			_ = it.Close()
			return nil, err
		}
		got[string(it.Key())] = string(v)
	}
	return got, it.Close()
}

func same(t testing.TB, what string, db *pebble.DB, model map[string]string) {
	t.Helper()
	got, err := dump(db)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(model) {
		t.Fatalf("%s: %d keys, %v; want %d", what, len(got), err, len(model))
	}
}

// kindsIn counts the files of each kind.
func kindsIn(t testing.TB, fs *sealfs.FS, dir string) map[sealfs.Kind]int {
	t.Helper()
	n := map[sealfs.Kind]int{}
	for _, name := range sealedIn(t, fs, dir) {
		i, err := fs.Describe(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // the engine has just removed it
		}
		if err != nil {
			t.Fatal(err)
		}
		n[i.Kind]++
	}
	return n
}

// sealedIn lists the paths of the files with content.
func sealedIn(t testing.TB, fs *sealfs.FS, dir string) (paths []string) {
	t.Helper()
	files, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f != "LOCK" && f != sealfs.ResealDir && !strings.HasPrefix(f, "marker.") {
			paths = append(paths, fs.PathJoin(dir, f))
		}
	}
	return paths
}

func verifyAll(t testing.TB, fs *sealfs.FS, dir string) {
	t.Helper()
	for _, name := range sealedIn(t, fs, dir) {
		if _, err := fs.Verify(name); err != nil {
			t.Errorf("Verify(%s): %v", name, err)
		}
	}
}

// TestEngine leads the engine through every path that makes or reads files.
func TestEngine(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs, rng, model := seal(t, base, nil), &splitmix{1}, map[string]string{}
		home := base.PathJoin(dir, "db")
		db := openEngine(t, fs, home)
		load(t, db, rng, 1500, model)
		if err := db.Compact(context.Background(), []byte("a"), []byte("z"), false); err != nil {
			t.Fatal(err)
		}
		load(t, db, rng, 300, model)
		same(t, "after a compaction", db, model)
		n := kindsIn(t, fs, home)
		for _, k := range []sealfs.Kind{sealfs.Table, sealfs.Blob, sealfs.Log, sealfs.Manifest, sealfs.Other} {
			if n[k] == 0 {
				t.Errorf("no file of kind %s: %v", k, n)
			}
		}
		checkCheckpoint(t, db, fs, base.PathJoin(dir, "copy"), model)
		ingest(t, db, fs, base.PathJoin(dir, "outside.sst"), model)
		same(t, "after ingestion", db, model)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		verifyAll(t, fs, home)
		db = openEngine(t, fs, home)
		same(t, "after a restart", db, model)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func checkCheckpoint(t *testing.T, db *pebble.DB, fs *sealfs.FS, dir string, model map[string]string) {
	t.Helper()
	if err := db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		t.Fatal(err)
	}
	verifyAll(t, fs, dir)
	again := openEngine(t, fs, dir)
	same(t, "checkpoint", again, model)
	load(t, again, &splitmix{2}, 100, map[string]string{})
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, "the original after the checkpoint changed", db, model)
}

// ingest adds one table, and replaces a span by another.
func ingest(t *testing.T, db *pebble.DB, fs *sealfs.FS, path string, model map[string]string) {
	t.Helper()
	table(t, fs, path, "key-9", model)
	if err := db.Ingest(context.Background(), []string{path}); err != nil {
		t.Fatal(err)
	}
	for k := range model {
		if k >= "key-01" && k < "key-02" {
			delete(model, k)
		}
	}
	table(t, fs, path, "key-01", model)
	span := pebble.KeyRange{Start: []byte("key-01"), End: []byte("key-02")}
	if _, err := db.IngestAndExcise(context.Background(), []string{path}, nil, nil, span); err != nil {
		t.Fatal(err)
	}
}

func table(t *testing.T, fs *sealfs.FS, path, prefix string, model map[string]string) {
	t.Helper()
	f, err := fs.Create(path, category)
	if err != nil {
		t.Fatal(err)
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), sstable.WriterOptions{TableFormat: sstable.TableFormatPebblev5})
	for i := range 50 {
		k, v := fmt.Sprintf("%s%02d", prefix, i), string(value(uint64(i), 200))
		if err := w.Set([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
		model[k] = v
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestEngineTakesTheSecondLog: with a second directory for logs, which the engine may use when the
// first one is slow, a store can be written and opened again.
func TestEngineTakesTheSecondLog(t *testing.T) {
	base := vfs.NewMem()
	var second atomic.Int32
	fs := seal(t, base, func(o *sealfs.Options) {
		o.OnRecordFile = func(name string, _ sealfs.Info) {
			if strings.HasPrefix(name, "/second/") {
				second.Add(1)
			}
		}
	})
	model := map[string]string{}
	if err := base.MkdirAll("/second", 0o755); err != nil {
		t.Fatal(err)
	}
	open := func() *pebble.DB {
		o := engineOptions(t, fs)
		o.WALFailover = &pebble.WALFailoverOptions{Secondary: wal.Dir{FS: fs, Dirname: "/second"}}
		o.WALFailover.UnhealthyOperationLatencyThreshold = func() (time.Duration, bool) { return time.Nanosecond, true }
		o.WALFailover.UnhealthySamplingInterval = time.Microsecond
		db, err := pebble.Open("/db", o)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	for round := 0; round < 3 || (second.Load() == 0 && round < 30); round++ {
		db := open()
		same(t, fmt.Sprint("round ", round), db, model)
		load(t, db, &splitmix{uint64(round)}, 300, model)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if second.Load() == 0 {
		t.Error("the second directory was never used")
	}
}
