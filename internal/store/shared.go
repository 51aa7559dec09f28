package store

import (
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Shared is what all stores of a process use together: a number of bytes for their caches of decrypted
// blocks, and a number of descriptors for their tables.
//
// Each store has a cache of its own, so that closing the store drops what it held; the open stores
// have equal shares of the bytes, their memtables included. A store needs about nine descriptors and four goroutines beside
// the shared ones, and 150 KiB of memory before it holds data.
type Shared struct {
	bytes int64
	files *pebble.FileCache

	closed sync.Once

	mu     sync.Mutex
	level  int // the shares are cut for so many stores
	shares map[*share]struct{}
}

// minShare is the least that a cache gets, whatever the budget.
const minShare = 256 << 10

// share is one store's part of the bytes.
type share struct {
	cache   *pebble.Cache
	release func() // gives back what is reserved, that is, withheld from the cache
}

// NewShared returns a budget of so many bytes for caches and descriptors for tables.
func NewShared(cacheBytes int64, tables int) *Shared {
	return &Shared{
		bytes: cacheBytes, files: pebble.NewFileCache(runtime.GOMAXPROCS(0), max(tables, 64)),
		level: 1, shares: map[*share]struct{}{},
	}
}

// Close gives the descriptors back. All stores must be closed, but for poisoned ones. It is safe to
// call twice.
func (s *Shared) Close() { s.closed.Do(s.files.Unref) }

// join gives a store its share.
func (s *Shared) join() *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &share{cache: pebble.NewCache(max(s.bytes, minShare)), release: func() {}}
	s.shares[x] = struct{}{}
	if len(s.shares) > s.level {
		s.level *= 2
		s.cut()
	} else {
		s.size(x)
	}
	return x
}

// memTableBytes is the size of the memtables of a store that is opened now: its memtables count
// against its share.
func (s *Shared) memTableBytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(min(4<<20, max(512<<10, s.bytes/int64(s.level)/8)))
}

// leave takes the share back.
func (s *Shared) leave(x *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.shares[x]; !ok {
		return
	}
	delete(s.shares, x)
	x.cache.Unref()
	if s.level > 1 && len(s.shares) < s.level/4 {
		s.level /= 2
		s.cut()
	}
}

// abandon forgets the share of an engine that failed, whose goroutines may still use the cache.
func (s *Shared) abandon(x *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shares, x)
}

// cut gives every store its part of the budget. It is done when the number of stores has doubled or
// fallen to a quarter, not with every store.
func (s *Shared) cut() {
	for x := range s.shares {
		s.size(x)
	}
}

func (s *Shared) size(x *share) {
	old := x.release
	x.release = x.cache.Reserve(int(s.bytes - max(s.bytes/int64(s.level), min(minShare, s.bytes))))
	old()
}

// CacheBytes returns how many bytes the caches of all stores hold now.
func (s *Shared) CacheBytes() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := range s.shares {
		n += x.cache.Metrics().Size
	}
	return n
}
