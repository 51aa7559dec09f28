package docdb

import (
	"bytes"
	"errors"
	"slices"

	"github.com/latchkey-db/latchkey/internal/store"
)

// postings are numbers of items in growing order.
type postings interface {
	// seek moves to the first number that is not below n, never back; ok is false when there is none.
	seek(n uint64) (number uint64, ok bool)
	// close ends the use, and tells whether the numbers ended early.
	close() error
}

// listed are postings in memory.
type listed []uint64

func (l *listed) seek(n uint64) (uint64, bool) {
	i, _ := slices.BinarySearch(*l, n)
	*l = (*l)[i:]
	if len(*l) == 0 {
		return 0, false
	}
	return (*l)[0], true
}

func (l *listed) close() error { return nil }

// stored are the postings below one key: its last eight bytes are the number.
type stored struct {
	cursor *store.Cursor
	prefix []byte
	part   *span // whose effective partition keys the values must lie in; nil for all
	at     uint64
	state  cursorState
}

type cursorState byte

const (
	cursorNew cursorState = iota
	cursorThere
	cursorEnd
)

// storedPostings reads the postings below a key.
func storedPostings(view *store.Snapshot, prefix []byte, part *span) (*stored, error) {
	c, err := view.Cursor(store.Prefix(prefix))
	if err != nil {
		return nil, err
	}
	return &stored{cursor: c, prefix: slices.Clip(prefix), part: part}, nil
}

// nearby is how far a cursor steps before it seeks.
const nearby = 8

func (s *stored) seek(n uint64) (uint64, bool) {
	if s.state == cursorEnd {
		return 0, false
	}
	if s.state == cursorThere && s.at >= n {
		return s.at, true
	}
	for range nearby {
		if s.state == cursorNew {
			break
		}
		if !s.move(s.cursor.Next()) {
			return 0, false
		}
		if s.at >= n && s.inside() {
			return s.at, true
		}
	}
	for ok := s.move(s.cursor.Seek(append(s.prefix, be64(n)...))); ok; ok = s.move(s.cursor.Next()) {
		if s.inside() {
			return s.at, true
		}
	}
	return 0, false
}

func (s *stored) move(ok bool) bool {
	if s.state = cursorThere; !ok {
		s.state = cursorEnd
		return false
	}
	s.at = tail(s.cursor.Key())
	return true
}

// inside reports whether the item where the cursor stands may lie in the span.
func (s *stored) inside() bool { return s.part == nil || s.part.covers(s.cursor.Value()) }

func (s *stored) close() error { return s.cursor.Close() }

// covers reports whether an effective partition key lies in the span; in one of a single logical partition
// all that have its key do.
func (s *span) covers(epk []byte) bool {
	if s.partition != "" {
		return bytes.Equal(epk, s.epk)
	}
	return bytes.Compare(epk, s.min) >= 0 && (s.max == nil || bytes.Compare(epk, s.max) < 0)
}

// either are the numbers of any of some postings.
type either []postings

func (e either) seek(n uint64) (best uint64, ok bool) {
	for _, p := range e {
		if x, there := p.seek(n); there && (!ok || x < best) {
			best, ok = x, true
		}
	}
	return best, ok
}

func (e either) close() error { return closeAll(e) }

// common are the numbers that all of some postings have.
type common []postings

func (c common) seek(n uint64) (uint64, bool) {
	for agreed := 0; ; {
		for _, p := range c {
			x, ok := p.seek(n)
			if !ok {
				return 0, false
			}
			if x == n {
				agreed++
			} else {
				n, agreed = x, 1
			}
			if agreed >= len(c) {
				return n, true
			}
		}
	}
}

func (c common) close() error { return closeAll(c) }

func closeAll(list []postings) (err error) {
	for _, p := range list {
		err = errors.Join(err, p.close())
	}
	return err
}

// take reads postings into memory, at most so many; all tells that there are no more.
func take(p postings, most int) (list listed, all bool) {
	for n, ok := p.seek(0); ok; n, ok = p.seek(n + 1) {
		if len(list) == most {
			return list, false
		}
		list = append(list, n)
	}
	return list, true
}
