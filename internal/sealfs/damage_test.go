package sealfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/store"
)

// chunks is the content of the small files that are damaged: several records, several blocks.
func chunks() [][]byte {
	return [][]byte{pattern(700), pattern(40), pattern(4200)}
}

// writeOpen leaves a file as its writer's crash does: everything synced, not closed.
func writeOpen(t *testing.T, fs vfs.FS, name string) {
	t.Helper()
	f, err := fs.Create(name, category)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks() {
		if _, err := f.Write(bytes.Clone(c)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// state is how a file was left by its writer.
type state string

const (
	closedFile state = "closed"
	unsynced   state = "closed without a sync before"
	openFile   state = "open" // everything synced, not closed
	tornFile   state = "torn" // cut in the last record, or block
)

func isRecord(name string) bool {
	return strings.HasSuffix(name, "log") || strings.Contains(name, "MANIFEST")
}

// leave makes a file in the given state, and returns its sealed bytes.
func leave(t *testing.T, base vfs.FS, name string, s state) []byte {
	t.Helper()
	fs := seal(t, base, nil)
	switch s {
	case closedFile:
		write(t, fs, name, chunks()...)
		return raw(t, base, name)
	case unsynced:
		f, err := fs.Create(name, category)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chunks() {
			if _, err := f.Write(c); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return raw(t, base, name)
	}
	writeOpen(t, fs, name)
	b := raw(t, base, name)
	if s == tornFile {
		b = b[:min(len(b), sealedEnd()-2*40)-100] // in the last record or block
	}
	return b
}

// TestEveryBit flips bits of each kind of file in each state: all of them under torture, otherwise one
// or less of each byte. A closed file never yields other data; a record file that was not closed may
// lose its last two whole records: no later one vouches for the last, and a record is bound to the
// tag before it.
func TestEveryBit(t *testing.T) {
	t.Parallel()
	whole := bytes.Join(chunks(), nil)
	kept := map[state]int{closedFile: len(whole), unsynced: len(whole), openFile: len(chunks()[0]), tornFile: 0}
	for _, name := range names {
		for _, s := range []state{closedFile, unsynced, openFile, tornFile} {
			base := vfs.NewMem()
			original := leave(t, base, "/"+name, s)
			end := min(len(original), sealedEnd())
			fs := seal(t, base, nil)
			for i := range original {
				for _, b := range bitsOf(i, end) {
					changed := bytes.Clone(original)
					changed[i] ^= 1 << b
					put(t, base, "/"+name, changed)
					got, err := read(fs, "/"+name)
					what := fmt.Sprintf("%s, %s: bit %d of byte %d of %d", name, s, b, i, len(original))
					switch {
					case err == nil && !(isRecord(name) && bytes.HasPrefix(whole, got) && len(got) >= kept[s]):
						t.Fatalf("%s: read %d bytes without error", what, len(got))
					case err != nil && !errors.Is(err, sealfs.ErrIntegrity) && !errors.Is(err, sealfs.ErrUnknownKey):
						t.Fatalf("%s: untyped error %v", what, err)
					}
				}
			}
		}
	}
}

// sealedEnd is the offset after the closing records of a closed record file of chunks; after it come
// zeros only.
func sealedEnd() int {
	const header, overhead, closing = 96, 40, 2
	n := header + closing*overhead
	for _, c := range chunks() {
		n += overhead + len(c)
	}
	return n
}

// isPadded reports whether zeros may follow the records of a file.
func isPadded(name string) bool { return strings.HasSuffix(name, "log") }

// bitsOf returns the bits to flip in byte i of a file whose structure ends at n: all under torture;
// otherwise one, and in the middle of ciphertext and in padding only of every 64th byte.
func bitsOf(i, n int) []int {
	switch {
	case torture():
		return []int{0, 1, 2, 3, 4, 5, 6, 7}
	case i < 180 || (i > n-120 && i < n) || i%64 == 0:
		return []int{(i + i/64) % 8}
	}
	return nil
}

// TestEveryLength cuts and extends files. A cut block file is refused; a cut record file ends at a
// record's end, like after a crash.
func TestEveryLength(t *testing.T) {
	t.Parallel()
	ends, end := []int{0}, sealedEnd()
	for _, c := range chunks() {
		ends = append(ends, ends[len(ends)-1]+len(c))
	}
	whole := bytes.Join(chunks(), nil)
	for _, name := range names {
		name = "/" + name
		base := vfs.NewMem()
		fs := seal(t, base, nil)
		write(t, fs, name, chunks()...)
		original := raw(t, base, name)
		record := isRecord(name)
		for n := range original {
			if skipLength(n, len(original)) {
				continue
			}
			put(t, base, name, original[:n])
			got, err := read(fs, name)
			atEnd := false
			for _, e := range ends {
				atEnd = atEnd || bytes.Equal(got, whole[:e])
			}
			whole := !record || n < end // otherwise only padding is gone
			if record != (err == nil) || (record && !atEnd) || (!whole && len(got) != ends[len(ends)-1]) {
				t.Fatalf("%s cut to %d of %d: %d bytes, %v", name, n, len(original), len(got), err)
			}
		}
		for _, more := range [][]byte{{0}, make([]byte, 16), make([]byte, 5000), original[96:]} {
			put(t, base, name, append(bytes.Clone(original), more...))
			got, err := read(fs, name)
			if isPadded(name) && len(bytes.Trim(more, "\x00")) == 0 {
				if err != nil || !bytes.Equal(got, whole) {
					t.Errorf("%s with more padding: %d bytes, %v", name, len(got), err)
				}
			} else if !errors.Is(err, sealfs.ErrIntegrity) {
				t.Errorf("%s extended by %d: %v", name, len(more), err)
			}
		}
	}
}

// skipLength leaves out most lengths in the middle of ciphertext, unless under torture.
func skipLength(n, of int) bool {
	return !torture() && n > 180 && n < of-180 && n%16 != 0
}

// TestCutLogWithSuccessor: the engine closes a log before it makes the next one.
func TestCutLogWithSuccessor(t *testing.T) {
	t.Parallel()
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	write(t, fs, "/000004.log", chunks()...)
	write(t, fs, "/000009.log", chunks()...)
	original := raw(t, base, "/000004.log")
	end := sealedEnd()
	for n := range end {
		if skipLength(n, end) {
			continue
		}
		put(t, base, "/000004.log", original[:n])
		if _, err := fs.Open("/000004.log"); !errors.Is(err, sealfs.ErrIntegrity) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
}

// TestMoved: a file is what it was made for, where it was made.
func TestMoved(t *testing.T) {
	base := vfs.NewMem()
	a := seal(t, base, nil)
	b := seal(t, base, func(o *sealfs.Options) { o.StoreID = "store-b" })
	for _, name := range names {
		write(t, a, name, []byte("content"))
		if _, err := b.Open(name); !errors.Is(err, sealfs.ErrIntegrity) {
			t.Errorf("%s in another store: %v", name, err)
		}
	}
	wrong := seal(t, base, func(o *sealfs.Options) {
		o.Keys = sealfs.StaticKeys(sealfs.KeyID{1}, make([]byte, sealfs.KeySize))
	})
	if _, err := wrong.Open("spill"); !errors.Is(err, sealfs.ErrIntegrity) {
		t.Errorf("wrong key under the right id: %v", err)
	}
	for from, to := range map[string]string{
		"000007.sst": "000008.sst", "000007.blob": "000007.sst", "000007.log": "000006.log",
		"MANIFEST-000007": "MANIFEST-000006", "000001.rlog": "000002.rlog", "spill": "000003.sst",
	} {
		if err := a.Rename(from, to); !errors.Is(err, sealfs.ErrUnsupported) {
			t.Errorf("%s was renamed to %s: %v", from, to, err)
		}
		if err := base.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Open(to); !errors.Is(err, sealfs.ErrIntegrity) {
			t.Errorf("%s renamed to %s: %v", from, to, err)
		}
	}
	write(t, a, "temporary.000003.dbtmp", []byte("options"))
	if err := a.Rename("temporary.000003.dbtmp", "OPTIONS-000004"); err != nil {
		t.Fatal(err)
	}
	if got, err := read(a, "OPTIONS-000004"); err != nil || string(got) != "options" {
		t.Errorf("renamed options: %q, %v", got, err)
	}
}

// TestSwappedBlocks: a block is accepted at its place in its file only, whatever the arrangement.
func TestSwappedBlocks(t *testing.T) {
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	const block, stride = 4096, 4096 + 16
	same := make([]byte, 4*block) // four blocks of the same plaintext
	write(t, fs, "/000001.sst", same)
	write(t, fs, "/000002.sst", same)
	a, b := raw(t, base, "/000001.sst"), raw(t, base, "/000002.sst")
	at := func(raw []byte, i int) []byte { return raw[96+i*stride : 96+(i+1)*stride] }
	for what, parts := range map[string][][]byte{
		"swapped":          {at(a, 1), at(a, 0), at(a, 2), at(a, 3)},
		"last in front":    {at(a, 3), at(a, 1), at(a, 2), at(a, 0)},
		"repeated":         {at(a, 0), at(a, 0), at(a, 2), at(a, 3)},
		"one left out":     {at(a, 0), at(a, 1), at(a, 3)},
		"last left out":    {at(a, 0), at(a, 1), at(a, 2)},
		"only the last":    {at(a, 3)},
		"inserted":         {at(a, 0), at(a, 1), at(a, 2), at(a, 2), at(a, 3)},
		"of another file":  {at(a, 0), at(b, 1), at(a, 2), at(a, 3)},
		"end of another":   {at(a, 0), at(a, 1), at(a, 2), at(b, 3)},
		"body of another":  {at(b, 0), at(b, 1), at(b, 2), at(b, 3)},
		"last twice":       {at(a, 0), at(a, 1), at(a, 2), at(a, 3), at(a, 3)},
		"nothing":          {},
		"the right order!": {at(a, 0), at(a, 1), at(a, 2), at(a, 3)},
	} {
		put(t, base, "/000001.sst", append(bytes.Clone(a[:96]), bytes.Join(parts, nil)...))
		got, err := read(fs, "/000001.sst")
		if wanted := strings.HasSuffix(what, "!"); wanted != (err == nil) || (wanted && !bytes.Equal(got, same)) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		} else if err != nil && !errors.Is(err, sealfs.ErrIntegrity) {
			t.Errorf("%s: untyped error %v", what, err)
		}
	}
}

// TestSplicedRecords: no order of authentic pieces but the written one is accepted.
func TestSplicedRecords(t *testing.T) {
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	part := pattern(100)
	write(t, fs, "/000001.log", part, part, part, part)
	b := raw(t, base, "/000001.log")
	const n = 100 + 40
	head, recs, tail := b[:96], [][]byte{b[96 : 96+n], b[96+n : 96+2*n], b[96+2*n : 96+3*n], b[96+3*n : 96+4*n]}, b[96+4*n:]
	for i, order := range [][]int{{1, 0, 2, 3}, {0, 2, 3}, {0, 1, 1, 2, 3}, {0, 2, 1, 3}, {1, 2, 3}, {}} {
		spliced := bytes.Clone(head)
		for _, k := range order {
			spliced = append(spliced, recs[k]...)
		}
		put(t, base, "/000001.log", append(spliced, tail...))
		got, err := read(fs, "/000001.log")
		if err == nil && (len(got)%100 != 0 || len(got) > 100*len(order)) {
			t.Errorf("order %d was accepted: %d bytes", i, len(got))
		}
		if len(order) == 4 && err == nil {
			t.Errorf("order %d: reordering went unnoticed", i)
		}
	}
}

// fill runs a small store through tables, blobs and logs and returns what is in it.
func fill(t *testing.T, fs vfs.FS, rng *rand.Rand, rounds int) map[string]string {
	t.Helper()
	s, err := store.Open("db", store.Options{FS: fs, MemTableBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	model := map[string]string{}
	for i := range rounds {
		k, v := fmt.Sprintf("key-%03d", rng.IntN(200)), fmt.Sprintf("secret-marker-%x-%d", rng.Uint64(), i)
		if err := s.Set([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
		model[k] = v
		if i == rounds/2 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return model
}

// contents reads a whole store.
func contents(fs vfs.FS, dir string) (map[string]string, error) {
	s, err := store.Open(dir, store.Options{FS: fs})
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	for k, v := range s.Scan(store.Range{}, &err) {
		got[string(k)] = string(v)
	}
	if e := s.Close(); err == nil {
		err = e
	}
	return got, err
}

// TestDamagedStore changes bytes of every file of a cleanly closed store. It opens with the exact
// content or not at all.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	base := vfs.NewCrashableMem()
	model := fill(t, seal(t, base, nil), rand.New(rand.NewPCG(1, 1)), 60)
	files, err := base.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := base.PathJoin("db", file)
		original := raw(t, base, name)
		rng := rand.New(rand.NewPCG(2, uint64(len(original))))
		for range min(len(original), 12) {
			clone := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
			i := rng.IntN(len(original))
			changed := bytes.Clone(original)
			changed[i] ^= byte(1 + rng.IntN(255))
			put(t, clone, name, changed)
			if got, err := contents(seal(t, clone, nil), "db"); err == nil && fmt.Sprint(got) != fmt.Sprint(model) {
				t.Errorf("%s: byte %d of %d changed: other content", file, i, len(original))
			}
		}
	}
}

// survey opens an engine and reads all of it. A fatal error of the engine is an error here; the
// goroutine that met it stays parked.
func survey(t *testing.T, fs vfs.FS, dir string) (map[string]string, error) {
	type result struct {
		content map[string]string
		err     error
	}
	done := make(chan result, 1)
	o := engineOptions(t, fs)
	o.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
	o.Logger = parkingLog{func(err error) { done <- result{err: err} }}
	go func() {
		db, err := pebble.Open(dir, o)
		if err != nil {
			done <- result{err: err}
			return
		}
		content, err := dump(db)
		done <- result{content, errors.Join(err, db.Close())}
	}()
	r := <-done
	return r.content, r.err
}

type parkingLog struct{ fatal func(error) }

func (parkingLog) Infof(string, ...any)  {}
func (parkingLog) Errorf(string, ...any) {}
func (l parkingLog) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf(format, args...))
	select {}
}

// TestEveryBitOfAStore flips bits of every file of a store with tables, blobs, log, manifest and
// options: all of them under torture. A store that was closed opens with the exact content or not at
// all. One whose process was killed may besides lose the last two commits of its log, or the last two
// edits of its manifest; never does it have a value that was not written.
func TestEveryBitOfAStore(t *testing.T) {
	t.Parallel()
	for _, s := range []state{closedFile, openFile} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			base, history := smallStore(t, s == closedFile)
			fs := seal(t, base, nil)
			total := 0
			for _, name := range sealedIn(t, fs, "/db") {
				i, err := fs.Describe(name)
				if err != nil {
					t.Fatal(err)
				}
				flips, outcome := flipAll(t, base, name, i.Kind, s == closedFile, history)
				t.Logf("%s (%s): %d flips, %d refused, %d like a crash", name, i.Kind, flips, outcome[0], outcome[1])
				total += flips
			}
			if total < 100 {
				t.Errorf("only %d flips", total)
			}
		})
	}
}

// smallStore makes a store and returns what it held after each commit.
func smallStore(t *testing.T, closed bool) (*vfs.MemFS, []map[string]string) {
	t.Helper()
	base := vfs.NewCrashableMem()
	db := openEngine(t, seal(t, base, nil), "/db")
	history, now := []map[string]string{{}}, map[string]string{}
	for i := range 8 {
		k, v := fmt.Sprintf("key-%d", i%6), string(value(uint64(i), 30+i%2*150))
		if err := db.Set([]byte(k), []byte(v), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		now = maps.Clone(now)
		now[k] = v
		history = append(history, now)
		if i == 4 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if closed {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return base, history
	}
	t.Cleanup(func() { _ = db.Close() })
	return base.CrashClone(vfs.CrashCloneCfg{}), history
}

// flipAll returns the number of flips, of those that were refused, and of those that look like a crash.
func flipAll(
	t *testing.T, base *vfs.MemFS, name string, kind sealfs.Kind, closed bool, history []map[string]string,
) (flips int, outcome [2]int) {
	original, last := raw(t, base, name), len(history)-1
	step := 1
	if !torture() {
		step = 1 + 8*len(original)/25
	}
	for bit := len(name) % step; bit < 8*len(original); bit += step {
		clone := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: dice(0)})
		changed := bytes.Clone(original)
		changed[bit/8] ^= 1 << (bit % 8)
		put(t, clone, name, changed)
		flips++
		got, err := survey(t, seal(t, clone, nil), "/db")
		if err != nil {
			outcome[0]++
			continue
		}
		at := slices.IndexFunc(history, func(h map[string]string) bool { return maps.Equal(h, got) })
		switch {
		case at == last:
		case !closed && kind == sealfs.Log && at >= last-2, !closed && kind == sealfs.Manifest && written(got, history):
			outcome[1]++
		default:
			t.Errorf("%s: bit %d of %d: other content, as after commit %d", name, bit, 8*len(original), at)
		}
	}
	return flips, outcome
}

// written reports whether every value was written at some time.
func written(got map[string]string, history []map[string]string) bool {
	for k, v := range got {
		if !slices.ContainsFunc(history, func(h map[string]string) bool { return h[k] == v }) {
			return false
		}
	}
	return true
}

// TestStoreHides: no plaintext in any file.
func TestStoreHides(t *testing.T) {
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	fill(t, fs, rand.New(rand.NewPCG(3, 3)), 1500)
	fill(t, fs, rand.New(rand.NewPCG(4, 4)), 500)
	files, _ := base.List("db")
	for _, file := range files {
		b := raw(t, base, base.PathJoin("db", file))
		if bytes.Contains(b, []byte("secret-marker")) || bytes.Contains(b, []byte("key-0")) {
			t.Errorf("%s holds plaintext", file)
		}
	}
}

// TestCrashes cuts the power at random moments of a store's life, several times in a row. Each
// acknowledged write is there; of the one in flight, all or nothing.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(times(8, 300)) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			base := vfs.NewCrashableMem()
			model := map[string]string{}
			for range 3 {
				base = liveAndCrash(t, base, rng, model)
			}
			got, err := contents(seal(t, base, nil), "/db")
			if err != nil || fmt.Sprint(got) != fmt.Sprint(model) {
				t.Fatalf("after the last crash: %d keys, %v; want %d", len(got), err, len(model))
			}
		})
	}
}

// liveAndCrash opens the store, compares it with the model, writes, and returns the disk as a crash
// at that moment, with flushes, compactions and a re-encryption under way, could leave it.
func liveAndCrash(t *testing.T, base *vfs.MemFS, rng *rand.Rand, model map[string]string) *vfs.MemFS {
	fs := seal(t, base, nil)
	if err := fs.CleanReseal("/db"); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open("/db", store.Options{FS: fs, MemTableBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := map[string]string{}
	for k, v := range s.Scan(store.Range{}, &err) {
		got[string(k)] = string(v)
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(model) {
		t.Fatalf("after a crash: %d keys, %v; want %d", len(got), err, len(model))
	}
	stop := resealOn(t, fs, "/db")
	commit(t, s, rng, model)
	crashed := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[rng.IntN(3)], RNG: rng})
	unfinished := stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range unfinished { // of a table that an earlier crash left, which the engine removes
		if _, e := fs.Stat(name); !errors.Is(e, os.ErrNotExist) {
			t.Errorf("Reseal(%s): %v", name, err)
		}
	}
	return crashed
}

func commit(t *testing.T, s *store.Store, rng *rand.Rand, model map[string]string) {
	for range rng.IntN(150) {
		b := s.NewBatch()
		for range 1 + rng.IntN(3) {
			k, v := fmt.Sprint("k", rng.IntN(100)), strings.Repeat("v", rng.IntN(3000))+fmt.Sprint(rng.Uint64())
			b.Set([]byte(k), []byte(v))
			model[k] = v
		}
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
	}
}

// resealOn reseals every file that it can, over and over, until it is stopped; then it tells which
// files it took for damaged.
func resealOn(t *testing.T, fs *sealfs.FS, dir string) (stop func() map[string]error) {
	var done atomic.Bool
	var running sync.WaitGroup
	damaged := map[string]error{}
	running.Go(func() {
		for !done.Load() {
			for _, name := range sealedIn(t, fs, dir) {
				err := fs.Reseal(context.Background(), name, nil)
				switch {
				case errors.Is(err, sealfs.ErrIntegrity):
					damaged[name] = err
				case err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, sealfs.ErrNotComplete):
					t.Errorf("Reseal(%s): %v", name, err)
				}
			}
		}
	})
	return func() map[string]error { done.Store(true); running.Wait(); return damaged }
}

func TestMissingDirectory(t *testing.T) {
	if _, err := seal(t, vfs.NewMem(), nil).List("nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("List: %v", err)
	}
}
