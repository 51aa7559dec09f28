package sealfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
)

// ledger remembers every sealing of a whole history, whatever branch of it.
type ledger struct {
	mu   sync.Mutex
	seen map[[44]byte]bool
	bad  []string
}

func (l *ledger) record(file [32]byte, nonce [12]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var use [44]byte
	copy(use[:], file[:])
	copy(use[32:], nonce[:])
	if l.seen[use] {
		l.bad = append(l.bad, fmt.Sprintf("file %x nonce %x", file, nonce))
	}
	l.seen[use] = true
}

func (l *ledger) watch(o *sealfs.Options) { o.OnSeal = l.record }

// TestNoncesNeverRepeat leads a store through crashes, restarts and re-encryptions, and starts copies
// of its directory side by side, twice from each point, as a restored snapshot of a machine does. No
// nonce is ever used twice under the key of one file.
func TestNoncesNeverRepeat(t *testing.T) {
	l := &ledger{seen: map[[44]byte]bool{}}
	disks := []*vfs.MemFS{vfs.NewCrashableMem()}
	rng := &splitmix{1}
	for range times(4, 8) {
		var next []*vfs.MemFS
		for _, disk := range disks {
			for range 2 { // the same directory, started twice
				clone := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: dice(rng.Uint64())})
				next = append(next, liveOn(t, clone, l, rng))
			}
		}
		disks = next
	}
	for _, b := range l.bad {
		t.Errorf("used twice: %s", b)
	}
	if len(l.seen) < 1000 {
		t.Errorf("only %d seals were seen", len(l.seen))
	}
	t.Logf("%d seals in %d histories", len(l.seen), len(disks))
}

// liveOn writes, reseals, and crashes.
func liveOn(t *testing.T, disk *vfs.MemFS, l *ledger, rng *splitmix) *vfs.MemFS {
	t.Helper()
	fs := seal(t, disk, l.watch)
	if err := fs.CleanReseal("/db"); err != nil {
		t.Fatal(err)
	}
	db := openEngine(t, fs, "/db")
	load(t, db, rng, 40, map[string]string{})
	if err := db.Compact(context.Background(), []byte("a"), []byte("z"), false); err != nil {
		t.Fatal(err)
	}
	load(t, db, rng, 1+rng.n(60), map[string]string{})
	table := ""
	for _, name := range sealedIn(t, fs, "/db") {
		if i, err := fs.Describe(name); err == nil && i.Kind == sealfs.Table {
			table = name
		}
	}
	crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: dice(rng.Uint64())})
	if err := fs.Reseal(context.Background(), table, nil); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if rng.n(2) == 0 {
		crashed = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: dice(rng.Uint64())})
	}
	if err := db.Set([]byte("after"), []byte("the crash of the clone"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return crashed
}

// TestLedgerNotices: the test above can fail.
func TestLedgerNotices(t *testing.T) {
	l := &ledger{seen: map[[44]byte]bool{}}
	for range 2 { // a random source that repeats itself, as that of a restored machine might
		fs := seal(t, vfs.NewMem(), func(o *sealfs.Options) {
			l.watch(o)
			o.Random = zeroSource{}
		})
		write(t, fs, "000001.sst", pattern(10))
	}
	if len(l.bad) == 0 {
		t.Error("a repeated nonce went unnoticed")
	}
}

type zeroSource struct{}

func (zeroSource) Read(p []byte) (int, error) { clear(p); return len(p), nil }
