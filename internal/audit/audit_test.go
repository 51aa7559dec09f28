package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/sealfs"
)

func sealed(t testing.TB, base vfs.FS) *sealfs.FS {
	t.Helper()
	fs, err := sealfs.New(base, sealfs.Options{
		Keys:    sealfs.StaticKeys(sealfs.KeyID{1}, bytes.Repeat([]byte{7}, sealfs.KeySize)),
		StoreID: "control",
	})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func open(t testing.TB, fs vfs.FS, change func(*audit.Options)) *audit.Log {
	t.Helper()
	o := audit.Options{FS: fs, Dir: "/audit", Now: func() time.Time { return time.Unix(1700000000, 123456789) }}
	if change != nil {
		change(&o)
	}
	l, err := audit.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func record(t testing.TB, l *audit.Log, operation string) {
	t.Helper()
	if err := l.Record(t.Context(), audit.Event{Operation: operation, Outcome: audit.Allowed}); err != nil {
		t.Fatal(err)
	}
}

// operations returns the operations in the log without the log's own entries.
func operations(t testing.TB, fs vfs.FS) (ops []string) {
	t.Helper()
	err := audit.Read(fs, "/audit", func(e audit.Entry) error {
		if e.Event.Operation != audit.OperationOpened {
			ops = append(ops, e.Event.Operation)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

func TestRecordAndRead(t *testing.T) {
	fs := sealed(t, vfs.NewMem())
	l := open(t, fs, nil)
	record(t, l, "one")
	if got := operations(t, fs); fmt.Sprint(got) != "[one]" {
		t.Errorf("while open: %v", got)
	}
	if _, err := audit.Open(audit.Options{FS: fs, Dir: "/audit"}); err == nil {
		t.Error("the directory was opened twice")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), audit.Event{}); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	l = open(t, fs, nil)
	record(t, l, "two")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := operations(t, fs); fmt.Sprint(got) != "[one two]" {
		t.Errorf("after reopening: %v", got)
	}
	s, err := audit.Verify(fs, "/audit")
	if err != nil || s.Segments != 2 || s.Entries != 4 || s.Torn != 0 || len(s.LastHash) != 64 {
		t.Errorf("Verify: %+v, %v", s, err)
	}
}

func TestVerifyNothing(t *testing.T) {
	if s, err := audit.Verify(vfs.NewMem(), "audit"); err != nil || s != (audit.Summary{}) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestEventIsCleaned(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, nil)
	event := audit.Event{
		Operation: "a\x1b[2Jb\nc\u202ed\xff", Reason: strings.Repeat("é", 2000),
		Detail: strings.Repeat("x", 10_000), Micros: 7, Outcome: audit.Denied,
	}
	if err := l.Record(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	var got audit.Event
	if err := audit.Read(fs, "/audit", func(e audit.Entry) error { got = e.Event; return nil }); err != nil {
		t.Fatal(err)
	}
	if got.Operation != "a\ufffd[2Jb\ufffdc\ufffdd\ufffd" || got.Micros != 7 || got.Outcome != audit.Denied {
		t.Errorf("got %+q", got.Operation)
	}
	if len(got.Reason) > 1024 || len(got.Reason) < 1020 || !strings.HasSuffix(got.Reason, "é…") || len(got.Detail) != 4096 {
		t.Errorf("reason has %d bytes, detail %d", len(got.Reason), len(got.Detail))
	}
	if want := time.Unix(1700000000, 123456000).UTC(); !got.Time.Equal(want) {
		t.Errorf("time %v, want %v", got.Time, want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentRecordsShareSyncs(t *testing.T) {
	const callers, each = 32, 20
	var syncs atomic.Int64
	counted := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			syncs.Add(1)
		}
		return nil
	})
	fs := errorfs.Wrap(sealed(t, vfs.Default), counted)
	dir := t.TempDir()
	l, err := audit.Open(audit.Options{FS: fs, Dir: dir, SegmentBytes: 40 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if err := l.Record(context.Background(), audit.Event{Operation: "op"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 { // a reader next to the writers
		if _, err := audit.Verify(fs, dir); err != nil {
			t.Errorf("while writing: %v", err)
		}
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := audit.Verify(fs, dir)
	if err != nil || s.Entries != callers*each+1 || s.Segments < 3 {
		t.Errorf("%+v, %v", s, err)
	}
	if n := syncs.Load(); n > callers*each/2 {
		t.Errorf("%d syncs for %d records", n, callers*each)
	}
}

func TestFailedWriteStopsTheLog(t *testing.T) {
	fail := false
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail && op.Kind == errorfs.OpFileSyncData {
			return errorfs.ErrInjected
		}
		return nil
	})
	base := vfs.NewMem()
	l := open(t, errorfs.Wrap(sealed(t, base), inject), nil)
	record(t, l, "good")
	fail = true
	err := l.Record(t.Context(), audit.Event{Operation: "lost"})
	if !errors.Is(err, audit.ErrFailed) || !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("failed write: %v", err)
	}
	fail = false
	if err := l.Record(t.Context(), audit.Event{Operation: "late"}); !errors.Is(err, audit.ErrFailed) {
		t.Errorf("after the failure: %v", err)
	}
	if err := l.Close(); !errors.Is(err, audit.ErrFailed) {
		t.Errorf("Close: %v", err)
	}
	fs := sealed(t, base)
	l = open(t, fs, nil)
	record(t, l, "again")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := operations(t, fs); got[0] != "good" || got[len(got)-1] != "again" {
		t.Errorf("after a restart: %v", got)
	}
}

func TestEndedContext(t *testing.T) {
	l := open(t, vfs.NewMem(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Record(ctx, audit.Event{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCrash cuts the power at random moments: what was acknowledged is there, in order.
func TestCrash(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		base := vfs.NewCrashableMem()
		acknowledged := 0
		for range 3 {
			fs := sealed(t, base)
			l := open(t, fs, func(o *audit.Options) { o.SegmentBytes = 2000 })
			seen := operations(t, fs)
			if len(seen) < acknowledged {
				t.Fatalf("seed %d: %d of %d entries", seed, len(seen), acknowledged)
			}
			acknowledged = len(seen)
			for range rng.IntN(10) {
				record(t, l, fmt.Sprint(acknowledged))
				acknowledged++
			}
			after := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[rng.IntN(3)], RNG: rng})
			_ = l.Close()
			base = after
		}
		fs := sealed(t, base)
		for i, op := range operations(t, fs) {
			if op != fmt.Sprint(i) {
				t.Fatalf("seed %d: entry %d is %q", seed, i, op)
			}
		}
		if s, err := audit.Verify(fs, "/audit"); err != nil || s.Entries < uint64(acknowledged) {
			t.Fatalf("seed %d: %+v, %v", seed, s, err)
		}
	}
}

// contents returns the bytes of a file; replace puts others in their place.
func contents(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func replace(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
}

// TestChain changes a log that is not sealed: the chain alone must find it.
func TestChain(t *testing.T) {
	fs := vfs.NewMem()
	for _, op := range []string{"a", "b"} {
		l := open(t, fs, nil)
		record(t, l, op)
		record(t, l, op+op)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first := contents(t, fs, "/audit/000001.rlog")
	for i := range first {
		for bit := range 8 {
			changed := bytes.Clone(first)
			changed[i] ^= 1 << bit
			replace(t, fs, "/audit/000001.rlog", changed)
			if _, err := audit.Verify(fs, "/audit"); err == nil {
				t.Fatalf("bit %d of byte %d (%q) changed unseen", bit, i, first[i])
			}
		}
	}
	lines := bytes.SplitAfter(first, []byte("\n"))
	for name, changed := range map[string][]byte{
		"dropped":  slicesJoin(lines[0], lines[2]),
		"swapped":  slicesJoin(lines[1], lines[0], lines[2]),
		"repeated": slicesJoin(lines[0], lines[1], lines[1], lines[2]),
		"cut":      slicesJoin(lines[0], lines[1]),
		"empty":    nil,
	} {
		replace(t, fs, "/audit/000001.rlog", changed)
		if _, err := audit.Verify(fs, "/audit"); !errors.Is(err, audit.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	replace(t, fs, "/audit/000001.rlog", first)
	last := contents(t, fs, "/audit/000002.rlog")
	replace(t, fs, "/audit/000002.rlog", last[:len(last)-3])
	if s, err := audit.Verify(fs, "/audit"); err != nil || s.Torn != 1 || s.Entries != 5 {
		t.Errorf("torn tail: %+v, %v", s, err)
	}
	l := open(t, fs, nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := audit.Verify(fs, "/audit"); err != nil || s.Torn != 1 || s.Entries != 6 {
		t.Errorf("continued after a torn tail: %+v, %v", s, err)
	}
}

func slicesJoin(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestGolden reads a segment of this format as it was first written. The file is never regenerated.
func TestGolden(t *testing.T) {
	b, err := os.ReadFile("testdata/v1.rlog")
	if err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/audit", 0o755); err != nil {
		t.Fatal(err)
	}
	replace(t, fs, "/audit/000001.rlog", b)
	const last = "6a7415908d207cdf3bf377573adbbca7ef3b4a55226e01eb0adf419adcbbc3c5"
	if s, err := audit.Verify(fs, "/audit"); err != nil || s.Entries != 3 || s.LastHash != last {
		t.Errorf("%+v, %v", s, err)
	}
	fresh := vfs.NewMem()
	l := open(t, fresh, nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, fresh, "/audit/000001.rlog"); !bytes.HasPrefix(b, got) {
		t.Errorf("the first entry is now written as %s", got)
	}
}

// TestEveryMember pins how an event with all members is written: the hash covers these bytes.
func TestEveryMember(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, nil)
	err := l.Record(t.Context(), audit.Event{Time: time.Unix(1, 2000).UTC(), Operation: "KeySign", Resource: "k", Outcome: audit.Failed, Reason: "r", Principal: "p",
		AppID: "a", Caller: "c", Address: "d", Request: "q", Version: "v", Detail: "t", Micros: 3, Kind: fault.Denied, Client: "u<\n>", URI: "i", Gate: "g", Scope: "s",
		Key: &audit.Key{Type: "EC", Size: 256, Curve: "P-256"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := `"event":{"time":"1970-01-01T00:00:01.000002Z","operation":"KeySign","resource":"k","outcome":"failed","reason":"r","principal":"p","appId":"a","caller":"c",` +
		`"address":"d","request":"q","version":"v","detail":"t","durationMicros":3,"kind":3,"client":"u<\ufffd>","uri":"i","gate":"g","scope":"s","key":{"type":"EC","size":256,"curve":"P-256"}}}` + "\n"
	want = strings.Replace(want, `\ufffd`, "\ufffd", 1)
	if got := contents(t, fs, "/audit/000001.rlog"); !bytes.HasSuffix(got, []byte(want)) {
		t.Errorf("written as\n%s\nwant\n%s", got, want)
	}
}

func FuzzRead(f *testing.F) {
	golden, err := os.ReadFile("testdata/v1.rlog")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"seq":1,"prev":"","hash":"","event":null}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/audit", 0o755); err != nil {
			t.Fatal(err)
		}
		replace(t, fs, "/audit/000001.rlog", b)
		s, err := audit.Verify(fs, "/audit")
		if err == nil && s.Entries != uint64(bytes.Count(b, []byte("\n"))) {
			t.Errorf("%d entries in %q", s.Entries, b)
		}
		if l, err := audit.Open(audit.Options{FS: fs, Dir: "/audit"}); err == nil {
			_ = l.Close()
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	l, err := audit.Open(audit.Options{FS: sealed(b, vfs.Default), Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Record(context.Background(), audit.Event{Operation: "op", Resource: "r"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	_ = l.Close()
}
