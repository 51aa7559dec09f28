package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/envelope"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// The many accounts of one server, and what they may take of the machine: docs/OPERATIONS.md.
const (
	manyAccounts = 2000
	manyActive   = 200
	manyOpen     = 256

	manyGoroutines = manyAccounts + 8*manyOpen + 100
	manyFiles      = 10*manyOpen + 8*manyOpen + 100
	manyMiB        = 256 + 1024 // the budget of the caches, and everything else
)

// BenchmarkManyAccounts makes 2,000 accounts on disk and uses 200 of them at random, a new choice every
// second, with at most 256 open. LATCHKEY_SOAK says for how long (10m); two seconds otherwise.
func BenchmarkManyAccounts(b *testing.B) {
	length := 2 * time.Second
	if s := os.Getenv("LATCHKEY_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			b.Fatal(err)
		}
	}
	k, err := envelope.Open(envelope.Config{
		Dir: filepath.Join(b.TempDir(), "accounts"), FS: vfs.Default, KEK: noVault{}, RootKey: secret.Random(32),
		Anchors: &anchors{all: map[string]envelope.Anchor{}}, Audit: silent{}, MaxOpen: manyOpen,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close(context.Background())
	begin := time.Now()
	for i := range manyAccounts {
		if err := k.Create(context.Background(), accountName(i), envelope.Protection{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(begin).Milliseconds())/manyAccounts, "ms/create")
	for range b.N {
		soak(b, k, length)
	}
}

func accountName(i int) string { return fmt.Sprintf("account%04d", i) }

// soak uses the accounts and looks every second at what they take.
func soak(b *testing.B, k *envelope.Keeper, length time.Duration) {
	b.Helper()
	ctx, stop := context.WithTimeout(context.Background(), length)
	defer stop()
	var ops, round atomic.Int64
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(worker)))
			for ctx.Err() == nil {
				first := int(round.Load()) * manyActive
				if err := useOne(k, accountName((first+rng.IntN(manyActive))%manyAccounts), rng); err != nil {
					b.Error(err)
					return
				}
				ops.Add(1)
			}
		})
	}
	var worst usage
	for ticker := time.NewTicker(time.Second); ctx.Err() == nil; {
		select {
		case <-ticker.C:
			worst = worst.max(measureUsage(b))
			round.Add(1)
		case <-ctx.Done():
			ticker.Stop()
		}
	}
	wg.Wait()
	worst = worst.max(measureUsage(b))
	b.ReportMetric(float64(ops.Load())/length.Seconds(), "ops/s")
	b.ReportMetric(float64(worst.goroutines), "goroutines")
	b.ReportMetric(float64(worst.files), "files")
	b.ReportMetric(float64(worst.mib), "MiB-resident")
	b.ReportMetric(0, "ns/op")
	if worst.goroutines > manyGoroutines || worst.files > manyFiles || worst.mib > manyMiB {
		b.Errorf("over the budget: %+v", worst)
	}
	if open := k.Stats().States[envelope.StateOpen]; open > manyOpen {
		b.Errorf("%d accounts are open", open)
	}
}

func useOne(k *envelope.Keeper, id string, rng *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, release, err := k.Acquire(ctx, id)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	defer release()
	key := fmt.Appendf(nil, "doc%03d", rng.IntN(200))
	if rng.IntN(2) == 0 {
		return db.Set(key, ycsbRecord(rng))
	}
	if _, err := db.Get(key); err != nil && !strings.Contains(err.Error(), "not found") {
		return err
	}
	return nil
}

// usage is what a process takes.
type usage struct{ goroutines, files, mib int }

func (u usage) max(v usage) usage {
	return usage{max(u.goroutines, v.goroutines), max(u.files, v.files), max(u.mib, v.mib)}
}

func measureUsage(b *testing.B) usage {
	b.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Skip("this system does not tell what a process takes:", err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	u := usage{goroutines: runtime.NumGoroutine(), files: len(files)}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			u.mib = kib >> 10
		}
	}
	return u
}

// noVault is never asked: the accounts are under the platform's key.
type noVault struct{}

// Describe implements [envelope.KEK].
func (noVault) Describe(context.Context, string, string) (string, string, string, error) {
	panic("no vault")
}

// Wrap implements [envelope.KEK].
func (noVault) Wrap(context.Context, string, string, []byte) ([]byte, string, error) {
	panic("no vault")
}

// Unwrap implements [envelope.KEK].
func (noVault) Unwrap(context.Context, string, string, []byte) ([]byte, error) { panic("no vault") }
