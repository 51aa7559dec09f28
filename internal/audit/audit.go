// Package audit is the append-only, hash-chained record of every use of a key and of every decision.
//
// The log is a directory of segments, NNNNNN.rlog, on a file system that in production is a sealed
// one (package sealfs): names in it are nobody's business without the root key. A segment holds one
// JSON object a line: an [Entry]. Each entry has the next sequence number and the hash of the entry
// before it, over all segments, so that a changed, dropped, inserted or moved entry is found by
// [Verify]. docs/FORMAT.md has the bytes.
//
// # Promises
//
//   - [Log.Record] returns nil only when the entry is durable. Concurrent callers share one sync.
//   - No audit, no operation: after a failed write every further Record is refused with an error
//     wrapping [ErrFailed], until the server is started again.
//   - Each start opens a new segment, whose first entry, [OperationOpened], vouches for all before
//     it. What came after that in the newest segment can be cut off unseen: keep a copy of the last
//     hash elsewhere (the Summary of [Verify] has it).
//
// A Log is safe for concurrent use; one process at a time may hold a directory open. [Read] and
// [Verify] work while a Log is writing.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors of this package.
var (
	// ErrFailed is wrapped by every Record after one could not be written.
	ErrFailed = errors.New("audit: log stopped after a failed write")
	// ErrClosed is returned by Record after Close.
	ErrClosed = errors.New("audit: log is closed")
	// ErrBroken is wrapped when the entries read are not the ones that were written.
	ErrBroken = errors.New("audit: chain is broken")
)

// OperationOpened is the operation of the entry that each start of the log writes first.
const OperationOpened = "AuditLogOpened"

const (
	defaultSegment = 64 << 20
	// maxBatch bounds what one write carries; a sealed record of the file system holds it whole.
	maxBatch = 512 << 10
)

// Options say where the log is.
type Options struct {
	FS  vfs.FS // required
	Dir string // made if missing; its parent must exist
	// Now gives the time of events that bring none; nil means time.Now.
	Now func() time.Time
	// SegmentBytes is the size at which a new segment begins; 0 means 64 MiB.
	SegmentBytes int64
}

// Log is an open audit log.
type Log struct {
	o    Options
	lock io.Closer

	mu      sync.Mutex
	idle    sync.Cond // signalled when flushing becomes false
	head    head      // after all entries that were accepted
	pending *batch    // nil when there is nothing to write
	spare   []byte    // the memory of a batch that was written
	flush   bool      // a goroutine is writing batches
	err     error     // sticky

	// Of the flushing goroutine, and of Open and Close when there is none.
	segment vfs.File
	number  uint64
	written int64
}

// batch is a group of entries that becomes durable together.
type batch struct {
	lines []byte
	done  chan struct{} // closed when err is set
	err   error
}

// Open continues the log in o.Dir after its last entry, in a new segment.
func Open(o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
	}
	l := &Log{o: o}
	l.idle.L = &l.mu
	if err := l.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open audit log: %w", err), l.release())
	}
	return l, nil
}

func (l *Log) open() (err error) {
	if err := l.o.FS.MkdirAll(l.o.Dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(l.o.FS, l.o.FS.PathDir(l.o.Dir)); err != nil {
		return err
	}
	if l.lock, err = l.o.FS.Lock(l.o.FS.PathJoin(l.o.Dir, "LOCK")); err != nil {
		return err
	}
	last, err := tail(l.o.FS, l.o.Dir)
	if err != nil {
		return err
	}
	l.head, l.number = last.head, last.number
	if err := l.nextSegment(); err != nil {
		return err
	}
	return l.Record(context.Background(), Event{
		Operation: OperationOpened,
		Resource:  segmentName(l.number),
		Outcome:   Succeeded,
		Detail:    last.note(),
	})
}

// nextSegment closes the current segment and creates the next one durably.
func (l *Log) nextSegment() error {
	if l.segment != nil {
		if err := l.segment.Close(); err != nil {
			return err
		}
		l.segment = nil
	}
	l.number++
	l.written = 0
	name := l.o.FS.PathJoin(l.o.Dir, segmentName(l.number))
	f, err := l.o.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	l.segment = f
	return syncDir(l.o.FS, l.o.Dir)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Record writes e durably. When ctx ends first its error is returned, and the entry may or may not
// be written.
func (l *Log) Record(ctx context.Context, e Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := l.enqueue(e)
	if err != nil {
		return err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enqueue gives e its place in the chain and puts it into a batch that will be written.
func (l *Log) enqueue(e Event) (*batch, error) {
	if e.Time.IsZero() {
		e.Time = l.o.Now()
	}
	event, err := encodeEvent(e)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && l.pending != nil && len(l.pending.lines)+len(event) > maxBatch {
		l.idle.Wait()
	}
	if l.err != nil {
		return nil, l.err
	}
	if l.pending == nil {
		l.pending = &batch{lines: l.spare, done: make(chan struct{})}
		l.spare = nil
	}
	l.pending.lines = l.head.appendEntry(l.pending.lines, event)
	if !l.flush {
		l.flush = true
		go l.flushAll()
	}
	return l.pending, nil
}

// flushAll writes batches until there are none. While one is being written the next one grows. Before
// each, others who are ready to run go first: what they record shares the sync, and where there are none
// nothing waits.
func (l *Log) flushAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.pending != nil {
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
		b := l.pending
		l.pending = nil
		l.idle.Broadcast()
		b.err = l.err
		if b.err == nil {
			l.mu.Unlock()
			err := l.write(b.lines)
			l.mu.Lock()
			b.err = l.fail(err)
			l.spare = b.lines[:0]
		}
		close(b.done)
	}
	l.flush = false
	l.idle.Broadcast()
}

// fail makes the first write error final.
func (l *Log) fail(err error) error {
	if err == nil {
		return nil
	}
	l.err = fmt.Errorf("%w: %w", ErrFailed, err)
	return l.err
}

func (l *Log) write(lines []byte) error {
	n := int64(len(lines)) // Write may change the bytes
	if l.written > 0 && l.written+n > l.o.SegmentBytes {
		if err := l.nextSegment(); err != nil {
			return err
		}
	}
	if m, err := l.segment.Write(lines); err != nil || int64(m) < n {
		return errors.Join(err, shortWrite(int64(m) < n))
	}
	l.written += n
	return l.segment.SyncData()
}

func shortWrite(short bool) error {
	if short {
		return io.ErrShortWrite
	}
	return nil
}

// Close writes what was accepted and closes the log. It returns the error that stopped the log, if
// one did.
func (l *Log) Close() error {
	l.mu.Lock()
	for l.flush {
		l.idle.Wait()
	}
	err := l.err
	if errors.Is(err, ErrClosed) {
		l.mu.Unlock()
		return nil
	}
	l.err = ErrClosed
	l.idle.Broadcast()
	l.mu.Unlock()
	return errors.Join(err, l.release())
}

func (l *Log) release() (err error) {
	if l.segment != nil {
		err = l.segment.Close()
		l.segment = nil
	}
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
		l.lock = nil
	}
	return err
}
