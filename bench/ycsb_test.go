package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/store"
)

// ycsbMix is one of the standard mixes of the Yahoo! Cloud Serving Benchmark, in percent. What is
// left to 100 are reads.
type ycsbMix struct {
	name                          string
	update, insert, scan, rewrite int
	latest                        bool // reads prefer what was inserted last
}

var ycsbMixes = []ycsbMix{
	{name: "A", update: 50},
	{name: "B", update: 5},
	{name: "C"},
	{name: "D", insert: 5, latest: true},
	{name: "E", insert: 5, scan: 95},
	{name: "F", rewrite: 50},
}

// ycsbSize is a number of records of about 1 KiB and a cache that holds them all, or a small part.
type ycsbSize struct {
	name    string
	records int
	cache   int64
}

// BenchmarkYCSB runs the mixes on the encrypted store and on the same store over the plain file
// system, by turns, and reports the ratio of their throughputs: the median over the rounds. Every
// write is durable. LATCHKEY_TORTURE=1 takes ten times the records and longer rounds.
func BenchmarkYCSB(b *testing.B) {
	sizes := []ycsbSize{{"cached", 30_000, 128 << 20}, {"larger", 150_000, 32 << 20}}
	length, rounds := 250*time.Millisecond, 9
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		sizes[1].records, length, rounds = 1_500_000, 2*time.Second, 15
	}
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			stores := [2]*ycsbStore{newYCSBStore(b, size, vfs.Default), newYCSBStore(b, size, sealedFS(b))}
			for _, mix := range ycsbMixes {
				b.Run(mix.name, func(b *testing.B) {
					for range b.N {
						compare(b, stores, mix, length, rounds)
					}
				})
			}
		})
	}
}

// compare runs the rounds and reports.
func compare(b *testing.B, stores [2]*ycsbStore, mix ycsbMix, length time.Duration, rounds int) {
	var rates [2][]float64
	var ratios []float64
	for round := range rounds {
		var now [2]float64
		for turn := range 2 {
			i := (round + turn) % 2 // who begins changes
			now[i] = stores[i].run(b, mix, length, uint64(round))
			rates[i] = append(rates[i], now[i])
		}
		ratios = append(ratios, now[1]/now[0])
	}
	b.ReportMetric(median(rates[0]), "plain-ops/s")
	b.ReportMetric(median(rates[1]), "sealed-ops/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(0, "ns/op")
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

func sealedFS(b *testing.B) vfs.FS {
	fs, err := sealfs.New(vfs.Default, sealfs.Options{
		Keys: sealfs.StaticKeys(sealfs.KeyID{1}, bytes.Repeat([]byte{7}, sealfs.KeySize)), StoreID: "bench",
	})
	if err != nil {
		b.Fatal(err)
	}
	return fs
}

// ycsbStore is a loaded store.
type ycsbStore struct {
	db      *store.Store
	records atomic.Uint64
}

const (
	ycsbValue   = 1000
	ycsbClients = 4
	ycsbScan    = 50 // records at most
)

func newYCSBStore(b *testing.B, size ycsbSize, fs vfs.FS) *ycsbStore {
	b.Helper()
	db, err := store.Open(filepath.Join(b.TempDir(), "db"), store.Options{FS: fs, CacheBytes: size.cache})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	s := &ycsbStore{db: db}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < size.records; {
		batch := db.NewBatch()
		for range min(1000, size.records-i) {
			batch.Set(ycsbKey(uint64(i)), ycsbRecord(rng))
			i++
		}
		if err := db.Commit(batch); err != nil {
			b.Fatal(err)
		}
	}
	s.records.Store(uint64(size.records))
	if err := db.Flush(); err != nil {
		b.Fatal(err)
	}
	return s
}

// ycsbKey scatters the records over the key space, as hashed keys do.
func ycsbKey(n uint64) []byte {
	n ^= n >> 31
	n *= 0x9E3779B97F4A7C15
	return fmt.Appendf(nil, "user%020d", n)
}

// ycsbRecord is random text: a field of YCSB.
func ycsbRecord(rng *rand.Rand) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	v := make([]byte, ycsbValue)
	for i := range v {
		v[i] = letters[rng.Uint64()&63]
	}
	return v
}

// run lets the clients work for the time and returns operations per second.
func (s *ycsbStore) run(b *testing.B, mix ycsbMix, length time.Duration, seed uint64) float64 {
	var done atomic.Uint64
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range ycsbClients {
		wg.Go(func() {
			client := ycsbClient{s, mix, rand.New(rand.NewPCG(seed, uint64(c)))}
			for time.Since(begin) < length {
				for range 16 {
					if err := client.step(); err != nil {
						b.Error(err)
						return
					}
				}
				done.Add(16)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds()
}

type ycsbClient struct {
	s   *ycsbStore
	mix ycsbMix
	rng *rand.Rand
}

// pick chooses a record, with a few records that are asked for very often.
func (c ycsbClient) pick() []byte {
	n := c.s.records.Load()
	// A power law that is close to YCSB's zipfian constant of 0.99 and cheap to draw.
	rank := uint64(math.Exp(c.rng.Float64()*math.Log(float64(n)))) - 1
	if c.mix.latest {
		return ycsbKey(n - 1 - min(rank, n-1))
	}
	return ycsbKey((rank * 0x9E3779B97F4A7C15) % n)
}

func (c ycsbClient) step() error {
	switch p := c.rng.IntN(100); {
	case p < c.mix.update:
		return c.s.db.Set(c.pick(), ycsbRecord(c.rng))
	case p < c.mix.update+c.mix.insert:
		return c.s.db.Set(ycsbKey(c.s.records.Add(1)-1), ycsbRecord(c.rng))
	case p < c.mix.update+c.mix.insert+c.mix.scan:
		return c.scan()
	case p < c.mix.update+c.mix.insert+c.mix.scan+c.mix.rewrite:
		return c.rewrite()
	}
	return c.read()
}

func (c ycsbClient) read() error {
	v, err := c.s.db.Get(c.pick())
	if errors.Is(err, store.ErrNotFound) && c.mix.insert > 0 {
		return nil // counted before it was committed
	}
	if err == nil && len(v) != ycsbValue {
		err = fmt.Errorf("a record of %d bytes", len(v))
	}
	return err
}

func (c ycsbClient) scan() (err error) {
	left := 1 + c.rng.IntN(ycsbScan)
	for range c.s.db.Scan(store.Range{Lower: c.pick()}, &err) {
		if left--; left == 0 {
			break
		}
	}
	return err
}

func (c ycsbClient) rewrite() error {
	key := c.pick()
	v, err := c.s.db.Get(key)
	if err != nil {
		return err
	}
	v[c.rng.IntN(len(v))] = 'x'
	return c.s.db.Set(key, v)
}
