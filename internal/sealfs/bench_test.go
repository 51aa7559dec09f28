package sealfs_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/store"
)

// BenchmarkPointReads decides the block size by what the engine really asks for: documents of a
// kilobyte at random in a store whose cache holds next to nothing, so that nearly each read fetches
// one of the engine's blocks of 16 KiB. The file systems take turns, and the median turn counts.
func BenchmarkPointReads(b *testing.B) {
	const reads = 4000
	records, turns := times(40_000, 400_000), times(15, 51)
	systems := []vfs.FS{vfs.Default}
	names := []string{"plain"}
	for _, block := range []int{4 << 10, 16 << 10, 32 << 10} {
		systems = append(systems, seal(b, vfs.Default, func(o *sealfs.Options) { o.BlockSize = block }))
		names = append(names, fmt.Sprintf("%dK", block>>10))
	}
	stores := make([]*store.Store, len(systems))
	for i, fs := range systems {
		stores[i] = documents(b, fs, records)
	}
	for b.Loop() {
		took := make([][]time.Duration, len(stores))
		for turn := range turns {
			for i, s := range stores {
				took[i] = append(took[i], readAtRandom(b, s, uint64(turn), reads, records))
			}
		}
		for i := range stores {
			slices.Sort(took[i])
			b.ReportMetric(float64(took[i][turns/2].Nanoseconds())/reads/1000, names[i]+"-µs/read")
		}
	}
	b.ReportMetric(0, "ns/op")
}

func documentKey(i int) []byte {
	return fmt.Appendf(nil, "document-%016x", uint64(i)*0x9e3779b97f4a7c15)
}

func documents(b *testing.B, fs vfs.FS, n int) *store.Store {
	b.Helper()
	s, err := store.Open(filepath.Join(b.TempDir(), "db"), store.Options{FS: fs, CacheBytes: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	for i := 0; i < n; {
		batch := s.NewBatch()
		for range min(500, n-i) {
			batch.Set(documentKey(i), value(uint64(i), 1000))
			i++
		}
		if err := s.Commit(batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	return s
}

func readAtRandom(b *testing.B, s *store.Store, seed uint64, n, records int) time.Duration {
	b.Helper()
	rng := splitmix{seed}
	begin := time.Now()
	for range n {
		if v, err := s.Get(documentKey(rng.n(records))); err != nil || len(v) != 1000 {
			b.Fatalf("%d bytes, %v", len(v), err)
		}
	}
	return time.Since(begin)
}
