// Package store is one durable ordered map of bytes to bytes: Pebble behind our own small interface.
//
// It owns one directory of one file system (in production a sealed one, see package sealfs: the
// store itself knows nothing about keys). It does not know accounts or documents either.
//
// # Promises
//
//   - [Store.Commit] returns nil only after the whole batch is durable; a batch is applied wholly or
//     not at all. Concurrent commits share one sync.
//   - A read sees every commit that returned before the read began. A [Snapshot] never changes.
//   - After a failure that Pebble regards as fatal (a log or manifest that cannot be written) the
//     store is poisoned: every call returns an error wrapping [ErrPoisoned], the engine is severed
//     from its files, so that the directory can be opened again, the function given as
//     Options.OnPoison is called once, and nothing else in the process is touched.
//
// A Store is safe for concurrent use. Close must come after all iterators and snapshots are closed.
package store

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors of this package.
var (
	// ErrNotFound is returned by Get for a key that is not there.
	ErrNotFound = errors.New("store: not found")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("store: closed")
	// ErrCorrupt is wrapped beside ErrPoisoned when the engine stopped because a file is not what was
	// written: another attempt would not help.
	ErrCorrupt = errors.New("store: a file is damaged")
	// ErrConflict is returned by a replicated Log for a place that another entry has taken. A LocalLog
	// has no such case.
	ErrConflict = errors.New("store: another entry came first")
	// ErrPoisoned is wrapped by every call after the engine met an error that it cannot survive.
	ErrPoisoned = errors.New("store: stopped after a fatal storage error")
)

// formatVersion is pinned, so that a new engine release cannot ratchet the format by itself.
const formatVersion = pebble.FormatValueSeparation

// Options say how to open a store.
type Options struct {
	// FS is the file system; required.
	FS vfs.FS
	// CacheBytes bounds the cache of decrypted blocks; 0 means 8 MiB. The cache belongs to this
	// store alone and is dropped with it.
	CacheBytes int64
	// Shared, if not nil, gives the store a share of what all stores of the process have; CacheBytes
	// counts for nothing then.
	Shared *Shared
	// MemTableBytes bounds one memtable; 0 means 4 MiB.
	MemTableBytes uint64
	// Logger receives engine messages at debug level; nil discards them.
	Logger *slog.Logger
	// OnPoison is called once, in its own goroutine, when the store becomes unusable.
	OnPoison func(error)
}

// Store is an open store.
type Store struct {
	db     *pebble.DB
	poison *poison
	closed atomic.Bool
	// leave gives back what the store shares; abandon is for a poisoned one.
	leave, abandon func()
}

// Open opens the store in dir, creating it when dir has none.
func Open(dir string, o Options) (*Store, error) {
	p := &poison{notify: o.OnPoison, gone: make(chan struct{})}
	p.fs = newSeverable(o.FS, p)
	o.FS = p.fs
	shared, cache, leave, abandon := o.shared()
	if o.Shared != nil && o.MemTableBytes == 0 {
		o.MemTableBytes = o.Shared.memTableBytes()
	}
	opts := engineOptions(o, cache, p)
	opts.FileCache = shared.files
	db, err := guarded(p, func() (*pebble.DB, error) { return pebble.Open(dir, opts) })
	if err != nil {
		abandon()
		p.fs.sever() // an engine that failed half-way may have files open, and its lock
		return nil, fmt.Errorf("open store: %w", err)
	}
	p.fs.live.Store(true)
	return &Store{db: db, poison: p, leave: leave, abandon: abandon}, nil
}

// shared returns what the store shares, its cache, what gives both back, and what is done instead when
// the engine failed: it has left goroutines behind that go on using them. A store that shares nothing
// has a budget of its own.
func (o Options) shared() (s *Shared, cache *pebble.Cache, leave, abandon func()) {
	if s = o.Shared; s != nil {
		x := s.join()
		return s, x.cache, func() { s.leave(x) }, func() { s.abandon(x) }
	}
	s = NewShared(defaultTo(o.CacheBytes, 8<<20), 256)
	x := s.join()
	return s, x.cache, func() { s.leave(x); s.Close() }, func() {}
}

func defaultTo[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func engineOptions(o Options, cache *pebble.Cache, p *poison) *pebble.Options {
	opts := &pebble.Options{
		FS:                          o.FS,
		Cache:                       cache,
		FormatMajorVersion:          formatVersion,
		MemTableSize:                defaultTo(o.MemTableBytes, 4<<20),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       20,
		BytesPerSync:                1 << 30, // see storage notes: otherwise tables are synced in mid-file
		MaxOpenFiles:                256,
		Logger:                      engineLogger{log: o.Logger, poison: p},
		EventListener:               &pebble.EventListener{DataCorruption: p.corruption, BackgroundError: p.background},
	}
	opts.Experimental.EnableColumnarBlocks = func() bool { return true }
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 8 << 10 // a point read decrypts little more than one
		opts.Levels[i].IndexBlockSize = 64 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return opts
}

// Err returns nil while the store is usable.
func (s *Store) Err() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.poison.err()
}

// Get returns a copy of the value of key, or [ErrNotFound].
func (s *Store) Get(key []byte) ([]byte, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	return get(s.db, key)
}

// closed turns the engine's panic about a use after Close, which can only be a race with Close, into
// [ErrClosed].
func closed(err *error) {
	v := recover()
	if v == nil {
		return
	}
	if e, ok := v.(error); !ok || !errors.Is(e, pebble.ErrClosed) {
		panic(v)
	}
	*err = ErrClosed
}

func get(r pebble.Reader, key []byte) (value []byte, err error) {
	defer closed(&err)
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("store: get: %w", err)
	}
	out := append([]byte(nil), v...)
	return out, closer.Close()
}

// Batch collects changes that are committed together. It is not safe for concurrent use.
type Batch struct{ b *pebble.Batch }

// NewBatch returns an empty batch for s. It must be given to Commit or to Discard.
func (s *Store) NewBatch() *Batch { return &Batch{b: s.db.NewBatch()} }

// Set stores value under key. Both are copied.
func (b *Batch) Set(key, value []byte) { must(b.b.Set(key, value, nil)) }

// Delete removes key; it need not exist.
func (b *Batch) Delete(key []byte) { must(b.b.Delete(key, nil)) }

// DeleteRange removes every key in [lower, upper).
func (b *Batch) DeleteRange(lower, upper []byte) { must(b.b.DeleteRange(lower, upper, nil)) }

// Empty reports whether b holds no change.
func (b *Batch) Empty() bool { return b.b.Empty() }

// Discard frees a batch that will not be committed.
func (b *Batch) Discard() { _ = b.b.Close() }

// must: building a batch in memory fails only when it is used after Commit, a defect of ours.
func must(err error) {
	if err != nil {
		panic("store: batch used after commit: " + err.Error())
	}
}

// Commit makes b durable and visible, and frees it. After an error that wraps [ErrPoisoned] it is
// unknown whether b will be there when the store is opened again.
func (s *Store) Commit(b *Batch) error {
	if err := s.Err(); err != nil {
		b.Discard()
		return err
	}
	return s.poison.guard(func() (err error) {
		defer closed(&err)
		if err = s.db.Apply(b.b, pebble.Sync); err != nil {
			err = fmt.Errorf("store: commit: %w", err)
		}
		// Only here: a batch that a parked engine holds must never return to the pool, which all
		// stores share.
		b.Discard()
		return err
	})
}

// Set commits one key.
func (s *Store) Set(key, value []byte) error {
	b := s.NewBatch()
	b.Set(key, value)
	return s.Commit(b)
}

// Delete commits the removal of one key.
func (s *Store) Delete(key []byte) error {
	b := s.NewBatch()
	b.Delete(key)
	return s.Commit(b)
}

// Range selects keys: Lower inclusive, Upper exclusive, nil for no bound.
type Range struct {
	Lower, Upper []byte
	Reverse      bool
}

// Prefix is the range of all keys that begin with p.
func Prefix(p []byte) Range { return Range{Lower: p, Upper: after(p)} }

// after returns the first key that is greater than every key with prefix p; nil if there is none.
func after(p []byte) []byte {
	u := append([]byte(nil), p...)
	for i := len(u) - 1; i >= 0; i-- {
		if u[i]++; u[i] != 0 {
			return u[:i+1]
		}
	}
	return nil
}

// Scan returns the entries of r in key order. The yielded slices are valid until the next step.
// After the loop, *err tells whether it ended early.
func (s *Store) Scan(r Range, err *error) iter.Seq2[[]byte, []byte] {
	if e := s.Err(); e != nil {
		*err = e
		return func(func([]byte, []byte) bool) {}
	}
	return scan(s.db, r, err)
}

func scan(reader pebble.Reader, r Range, errp *error) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		it, err := newIter(reader, r)
		if err != nil {
			*errp = fmt.Errorf("store: scan: %w", err)
			return
		}
		defer func() { *errp = errors.Join(*errp, it.Close()) }()
		first, next := it.First, it.Next
		if r.Reverse {
			first, next = it.Last, it.Prev
		}
		for ok := first(); ok; ok = next() {
			v, err := it.ValueAndErr()
			if err != nil {
				*errp = fmt.Errorf("store: scan: %w", err)
				return
			}
			if !yield(it.Key(), v) {
				return
			}
		}
	}
}

func newIter(reader pebble.Reader, r Range) (it *pebble.Iterator, err error) {
	defer closed(&err)
	return reader.NewIter(&pebble.IterOptions{LowerBound: r.Lower, UpperBound: r.Upper})
}

// Snapshot is an unchanging view. It must be closed.
type Snapshot struct {
	snap *pebble.Snapshot
}

// Snapshot returns a view of all that is committed now.
func (s *Store) Snapshot() (*Snapshot, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	snap, err := guarded(s.poison, func() (snap *pebble.Snapshot, err error) {
		defer closed(&err)
		return s.db.NewSnapshot(), nil
	})
	if err != nil {
		return nil, err
	}
	return &Snapshot{snap}, nil
}

// Get is as [Store.Get].
func (v *Snapshot) Get(key []byte) ([]byte, error) { return get(v.snap, key) }

// Scan is as [Store.Scan].
func (v *Snapshot) Scan(r Range, err *error) iter.Seq2[[]byte, []byte] { return scan(v.snap, r, err) }

// Close releases the view.
func (v *Snapshot) Close() error { return v.snap.Close() }

// Cursor moves through the entries of a range of a view. It must be closed before the view. Where it
// stands, Key and Value are valid until it moves.
type Cursor struct {
	it  *pebble.Iterator
	err error
}

// Cursor returns a cursor that stands nowhere yet.
func (v *Snapshot) Cursor(r Range) (*Cursor, error) {
	it, err := newIter(v.snap, r)
	if err != nil {
		return nil, fmt.Errorf("store: cursor: %w", err)
	}
	return &Cursor{it: it}, nil
}

// Seek moves to the first entry whose key is not below key. Like all that moves, it reports whether
// there is one; at the end, and after an error, there is none.
func (c *Cursor) Seek(key []byte) bool { return c.it.SeekGE(key) }

// SeekBelow moves to the last entry whose key is below key.
func (c *Cursor) SeekBelow(key []byte) bool { return c.it.SeekLT(key) }

// First moves to the first entry of the range.
func (c *Cursor) First() bool { return c.it.First() }

// Last moves to the last entry of the range.
func (c *Cursor) Last() bool { return c.it.Last() }

// Next moves to the entry behind.
func (c *Cursor) Next() bool { return c.it.Next() }

// Prev moves to the entry before.
func (c *Cursor) Prev() bool { return c.it.Prev() }

// Key is the key of the entry.
func (c *Cursor) Key() []byte { return c.it.Key() }

// Value is the value of the entry; nil when it cannot be read, which Close then tells.
func (c *Cursor) Value() []byte {
	v, err := c.it.ValueAndErr()
	c.err = errors.Join(c.err, err)
	return v
}

// Close releases the cursor and returns what went wrong, if anything did.
func (c *Cursor) Close() error {
	if err := errors.Join(c.err, c.it.Close()); err != nil {
		return fmt.Errorf("store: cursor: %w", err)
	}
	return nil
}

// Flush writes everything in memory to tables.
func (s *Store) Flush() error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.poison.guard(s.db.Flush)
}

// Checkpoint makes a copy of the store, as it is now, in dir, which must not exist. Tables are hard
// links; the copy is complete and can be opened as a store of its own.
func (s *Store) Checkpoint(dir string) error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.poison.guard(func() error {
		if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
			return fmt.Errorf("store: checkpoint: %w", err)
		}
		return nil
	})
}

// Size returns the bytes that the store's files take.
func (s *Store) Size() (uint64, error) {
	if err := s.Err(); err != nil {
		return 0, err
	}
	return guarded(s.poison, func() (uint64, error) { return s.db.Metrics().DiskSpaceUsage(), nil })
}

// Usage estimates the bytes that the keys of a range take in tables: what is only in memory is not counted.
func (s *Store) Usage(r Range) (uint64, error) {
	if err := s.Err(); err != nil {
		return 0, err
	}
	return guarded(s.poison, func() (uint64, error) { return s.db.EstimateDiskUsage(r.Lower, r.Upper) })
}

// Close closes the store. The keys of a sealed file system must stay valid until it returns. Of a
// poisoned store some memory stays until the process ends.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if s.poison.err() == nil {
		err := s.poison.guard(s.db.Close)
		if s.poison.err() == nil {
			s.leave()
			return err
		}
	}
	s.abandon() // the engine is parked in an undefined state
	<-s.poison.gone
	return nil
}
