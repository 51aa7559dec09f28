package store

import "sync"

// Entry is one step of a partition's state machine, with everything fixed by its proposer: times, ids,
// numbers. Apply is pure: it reads nothing but the entry.
type Entry interface {
	// Apply adds the entry's effects, and its record, to b. seq is its place in the log.
	Apply(b *Batch, seq uint64) error
}

// Log is the ordered log that feeds the state machine of one partition. Places count up from 1.
//
// A proposer reserves a place, fixes its entry, and appends it. What is reserved by others meanwhile
// comes after it, so many entries can be on their way at once; they become visible in their order.
//
// On one machine there is one implementation, [LocalLog]. A replicated log would implement the same
// interface: Reserve predicts the place (the last one that it knows to be given out), Append proposes the
// entry there, and fails with [ErrConflict] if another leader's entry came first: then the proposer reads
// the state again and reserves anew. It must carry the whole entry, so that other machines apply it.
type Log interface {
	// Reserve returns the place after everything that was reserved before. It must be given to Append or
	// to Abandon.
	Reserve() (seq uint64)
	// Append makes e the entry at seq. It returns when e, and everything before it, is durable and
	// visible. After an error that wraps [ErrPoisoned] it is unknown whether e will be there when the
	// store is opened again; after any other it is not.
	Append(seq uint64, e Entry) error
	// Abandon gives a place up. It stays empty, which is nothing to readers.
	Abandon(seq uint64)
	// Visible is the place up to which readers see everything.
	Visible() uint64
	// Reserved is the last place that was given out. What readers of the store see now is at or before it.
	Reserved() uint64
	// Wait returns when everything up to seq, which was reserved, has ended. A store shows what is being
	// committed before it is durable: whoever tells others what he read waits first, or a cut of the power
	// takes back what was told.
	Wait(seq uint64)
}

// LocalLog is a Log whose log is the store's own write-ahead log: an entry, with its effects, is one
// batch, and concurrent ones share a sync.
type LocalLog struct {
	db *Store

	mu    sync.Mutex
	moved sync.Cond
	last  uint64          // last place given out
	upTo  uint64          // all places up to here have ended
	ended map[uint64]bool // places above upTo that have ended
}

var _ Log = (*LocalLog)(nil)

// NewLocalLog returns the log of one partition, whose last entry in the store is at last.
func NewLocalLog(db *Store, last uint64) *LocalLog {
	l := &LocalLog{db: db, last: last, upTo: last, ended: map[uint64]bool{}}
	l.moved.L = &l.mu
	return l
}

// Reserve implements [Log].
func (l *LocalLog) Reserve() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return l.last
}

// Append implements [Log].
func (l *LocalLog) Append(seq uint64, e Entry) error {
	defer l.end(seq)
	b := l.db.NewBatch()
	if err := e.Apply(b, seq); err != nil {
		b.Discard()
		return err
	}
	return l.db.Commit(b)
}

// Abandon implements [Log].
func (l *LocalLog) Abandon(seq uint64) { l.end(seq) }

// end tells that the commit at that place has ended, and waits for those before it: commits may end in
// any order, places become visible in order.
func (l *LocalLog) end(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended[seq] = true
	for l.ended[l.upTo+1] {
		l.upTo++
		delete(l.ended, l.upTo)
	}
	l.moved.Broadcast()
	for l.upTo < seq {
		l.moved.Wait()
	}
}

// Reserved implements [Log].
func (l *LocalLog) Reserved() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Wait implements [Log].
func (l *LocalLog) Wait(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.upTo < seq {
		l.moved.Wait()
	}
}

// Visible implements [Log].
func (l *LocalLog) Visible() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.upTo
}
