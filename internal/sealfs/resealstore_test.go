package sealfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
)

// resealAll brings the files of a directory that can be resealed under the current key, and returns
// how many it changed and how many were not complete.
func resealAll(t testing.TB, fs *sealfs.FS, ring *sealfs.Ring, dir string) (changed, open int) {
	t.Helper()
	current, _, err := ring.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sealedIn(t, fs, dir) {
		i, err := fs.Describe(name)
		if err == nil && i.KeyID != current {
			if err = fs.Reseal(context.Background(), name, nil); err == nil {
				changed++
			}
		}
		switch {
		case errors.Is(err, sealfs.ErrNotComplete):
			open++
		case err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, sealfs.ErrNoHeader):
			t.Errorf("%s: %v", name, err)
		}
	}
	return changed, open
}

// TestResealUnderLoad rotates the key and reseals all files, over and over, while writers, readers,
// flushes and compactions run. In the end no file names an old key and nothing is lost.
func TestResealUnderLoad(t *testing.T) {
	const writers = 2
	perWriter := times(1500, 40_000)
	base := vfs.NewMem()
	fs, ring := rotated(t, base)
	db := openEngine(t, fs, "/db")
	models := make([]map[string]string, writers)
	var writing, others sync.WaitGroup
	var done atomic.Bool
	for w := range writers {
		models[w] = map[string]string{}
		writing.Go(func() { loadOwn(t, db, w, perWriter, models[w]) })
	}
	others.Go(func() { readOn(t, db, &done) })
	others.Go(func() {
		for !done.Load() {
			if err := db.Compact(context.Background(), []byte("a"), []byte("z"), false); err != nil {
				t.Errorf("compaction: %v", err)
			}
		}
	})
	rounds, changed := 0, 0
	others.Go(func() {
		for ; !done.Load() && rounds < 200; rounds++ {
			ring.Add(sealfs.KeyID{2, byte(rounds)}, value(uint64(rounds), sealfs.KeySize))
			n, _ := resealAll(t, fs, ring, "/db")
			changed += n
		}
	})
	writing.Wait()
	done.Store(true)
	others.Wait()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rotations, %d files resealed", rounds, changed)
	if changed == 0 {
		t.Error("nothing was resealed")
	}
	ring.Add(sealfs.KeyID{3}, key2)
	if _, open := resealAll(t, fs, ring, "/db"); open > 0 {
		t.Errorf("%d files of a closed store are not complete", open)
	}
	only := seal(t, base, func(o *sealfs.Options) { o.Keys = sealfs.StaticKeys(sealfs.KeyID{3}, key2) })
	verifyAll(t, only, "/db")
	all := map[string]string{}
	for _, m := range models {
		for k, v := range m {
			all[k] = v
		}
	}
	db = openEngine(t, only, "/db")
	same(t, "under the last key alone", db, all)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// loadOwn writes keys that no other writer has, and reads each back.
func loadOwn(t *testing.T, db *pebble.DB, writer, n int, model map[string]string) {
	rng := &splitmix{uint64(writer)}
	for range n {
		k, v := fmt.Sprintf("key-%d-%04d", writer, rng.n(400)), string(value(rng.Uint64(), 10+rng.n(600)))
		if err := db.Set([]byte(k), []byte(v), pebble.NoSync); err != nil {
			t.Errorf("Set: %v", err)
			return
		}
		model[k] = v
		got, closer, err := db.Get([]byte(k))
		if err != nil || string(got) != v {
			t.Errorf("%s: got %d bytes, %v", k, len(got), err)
			return
		}
		_ = closer.Close()
	}
}

func readOn(t *testing.T, db *pebble.DB, done *atomic.Bool) {
	for !done.Load() {
		if _, err := dump(db); err != nil {
			t.Errorf("scan: %v", err)
			return
		}
	}
}

// closedStore makes a store with all kinds of files in a base that can crash.
func closedStore(t *testing.T) (*vfs.MemFS, map[string]string) {
	t.Helper()
	base, model := vfs.NewCrashableMem(), map[string]string{}
	fs := seal(t, base, nil)
	for seed := range uint64(2) {
		db := openEngine(t, fs, "/db")
		load(t, db, &splitmix{seed}, 60, model)
		if seed == 0 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return base, model
}

// twoKeys returns a file system whose current key is not the one that closedStore used.
func twoKeys(t *testing.T, base vfs.FS) *sealfs.FS {
	fs, ring := rotated(t, base)
	ring.Add(sealfs.KeyID{2}, key2)
	return fs
}

func isChange(k errorfs.OpKind) bool {
	switch k {
	case errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpFileRead, errorfs.OpFileReadAt, errorfs.OpFileStat, errorfs.OpStat, errorfs.OpList:
		return false
	}
	return true
}

// TestResealCrashes crashes before each operation that a Reseal does on the disk, with all, some and
// none of what was not synced. The store is the same, whichever file it finds.
func TestResealCrashes(t *testing.T) {
	base, model := closedStore(t)
	for n, name := range sealedIn(t, seal(t, base, nil), "/db") {
		live := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: dice(1)})
		rng, crashes := dice(uint64(n)), 0
		crash := func(op string) {
			for _, percent := range []int{0, 50, 100} {
				crashes++
				clone := live.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
				checkAfterCrash(t, fmt.Sprintf("%s: crash before %s, %d %%", name, op, percent), clone, name, model)
			}
		}
		watched := errorfs.Wrap(live, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if isChange(op.Kind) {
				crash(fmt.Sprint(op.Kind, " ", op.Path))
			}
			return nil
		}))
		if err := twoKeys(t, watched).Reseal(context.Background(), name, nil); err != nil {
			t.Fatal(err)
		}
		crash("the end")
		if i, err := sealfs.DescribeClear(live.CrashClone(vfs.CrashCloneCfg{}), name); err != nil || i.KeyID != (sealfs.KeyID{2}) {
			t.Errorf("%s: after Reseal a crash finds %+v, %v", name, i, err)
		}
		if crashes < 15 {
			t.Errorf("%s: only %d crashes", name, crashes)
		}
	}
}

func checkAfterCrash(t *testing.T, what string, base vfs.FS, name string, model map[string]string) {
	t.Helper()
	fs := twoKeys(t, base)
	if err := fs.CleanReseal("/db"); err != nil {
		t.Fatalf("%s: CleanReseal: %v", what, err)
	}
	if r, err := fs.Verify(name); err != nil || r.Open {
		t.Fatalf("%s: %+v, %v", what, r, err)
	}
	db := openEngine(t, fs, "/db")
	same(t, what, db, model)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestResealErrors lets each operation of a Reseal fail in turn. The store is intact, nothing is left
// behind, and a second try succeeds.
func TestResealErrors(t *testing.T) {
	original, model := closedStore(t)
	injected := errors.New("injected")
	for _, name := range sealedIn(t, seal(t, original, nil), "/db") {
		for k, fired := 0, true; fired; k++ {
			base := original.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: dice(1)})
			left := k
			var failed errorfs.Op
			fired = false
			broken := errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if left--; left != -1 {
					return nil
				}
				fired, failed = true, op
				return injected
			}))
			err := twoKeys(t, broken).Reseal(context.Background(), name, nil)
			what := fmt.Sprintf("%s: operation %d on %s failed", name, failed.Kind, failed.Path)
			checkFailedReseal(t, what, base, name, fired, err)
			if err := twoKeys(t, base).Reseal(context.Background(), name, nil); err != nil {
				t.Fatalf("%s: the second try: %v", what, err)
			}
			checkAfterCrash(t, what, base, name, model)
		}
	}
}

func checkFailedReseal(t *testing.T, what string, base vfs.FS, name string, fired bool, err error) {
	t.Helper()
	i, e := sealfs.DescribeClear(base, name)
	if e != nil {
		t.Fatalf("%s: %v", what, e)
	}
	if err == nil && i.KeyID != (sealfs.KeyID{2}) {
		t.Fatalf("%s: no error, and the old key", what)
	}
	if err != nil && !fired {
		t.Fatalf("%s: %v", name, err)
	}
	files, _ := base.List(base.PathJoin("/db", sealfs.ResealDir))
	if len(files) > 0 {
		t.Errorf("%s: %v is left", what, files)
	}
}

// TestCopyErrors lets each operation of a Copy fail in turn: there is no copy, or a whole one.
func TestCopyErrors(t *testing.T) {
	for _, name := range names {
		name = "/" + name
		for k, fired := 0, true; fired; k++ {
			base := vfs.NewMem()
			write(t, seal(t, base, nil), name, chunks()...)
			if err := base.MkdirAll("/to", 0o755); err != nil {
				t.Fatal(err)
			}
			left, failed := k, errorfs.Op{}
			fired = false
			fs := seal(t, errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if left--; left != -1 {
					return nil
				}
				fired, failed = true, op
				return errors.New("injected")
			})), nil)
			err := sealfs.Copy(context.Background(), fs, "/to"+name, fs, name, nil)
			_, verr := seal(t, base, nil).Verify("/to" + name)
			if (err == nil) != (verr == nil) || (err != nil && !errors.Is(verr, os.ErrNotExist)) {
				t.Errorf("%s: operation %d on %s failed: Copy: %v; Verify: %v", name, failed.Kind, failed.Path, err, verr)
			}
		}
	}
}
