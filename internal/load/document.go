package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync"
	"sync/atomic"
)

// document is what is written: the checksum is over the id, the version and the padding.
type document struct {
	ID      string `json:"id"`
	PK      string `json:"pk"`
	Version uint64 `json:"version"`
	Sum     uint32 `json:"sum"`
	Pad     string `json:"pad"`
}

func nameOf(n uint64) string {
	return "user" + strconv.FormatUint(n*0x9E3779B97F4A7C15>>20, 36) + "-" + strconv.FormatUint(n, 10)
}

func (d *document) checksum() uint32 {
	h := crc32.ChecksumIEEE([]byte(d.ID))
	h = crc32.Update(h, crc32.IEEETable, strconv.AppendUint(nil, d.Version, 10))
	return crc32.Update(h, crc32.IEEETable, []byte(d.Pad))
}

// letters are what padding is made of.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// newDocument is a document of about size bytes.
func newDocument(n, version uint64, size int, rng *source) []byte {
	d := document{ID: nameOf(n), PK: nameOf(n), Version: version}
	pad := make([]byte, max(1, size-150))
	for i := range pad {
		if i%10 == 0 {
			rng.next()
		}
		pad[i] = letters[rng.state>>(6*(i%10))&63]
	}
	d.Pad = string(pad)
	d.Sum = d.checksum()
	b, _ := json.Marshal(d) // it can always be written
	return b
}

// WrongError is an answer that a right database would not have given.
type WrongError struct{ what string }

// Error says what is wrong.
func (e *WrongError) Error() string { return e.what }

// check reads a document that was asked for by its number and must not be older than a version.
func check(body []byte, n, least uint64) error {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return &WrongError{"the answer is not JSON"}
	}
	switch {
	case d.ID != nameOf(n):
		return &WrongError{fmt.Sprintf("asked for %s, got %.40q", nameOf(n), d.ID)}
	case d.Sum != d.checksum():
		return &WrongError{"the checksum of " + d.ID + " is wrong"}
	case d.Version < least:
		return &WrongError{fmt.Sprintf("%s has version %d, %d was acknowledged before", d.ID, d.Version, least)}
	}
	return nil
}

// ledger remembers what the database has acknowledged.
type ledger struct {
	next     atomic.Uint64 // number of the next document
	inserted atomic.Uint64 // all below are there
	given    atomic.Uint64 // versions

	mu    sync.Mutex
	acked map[uint64]uint64 // versions of the documents that were written after the loading
	done  map[uint64]bool   // inserts above inserted that are there
}

func newLedger(records uint64) *ledger {
	l := &ledger{acked: map[uint64]uint64{}, done: map[uint64]bool{}}
	l.next.Store(records)
	l.inserted.Store(records)
	return l
}

func (l *ledger) version(n uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[n]
}

func (l *ledger) acknowledge(n, version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[n] = max(l.acked[n], version)
}

// insert remembers that a new document is there.
func (l *ledger) insert(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[n] = true
	for at := l.inserted.Load(); l.done[at]; at++ {
		delete(l.done, at)
		l.inserted.Store(at + 1)
	}
}

var errNothing = errors.New("there are no records")
