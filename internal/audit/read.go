package audit

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const segmentSuffix = ".rlog"

func segmentName(number uint64) string { return fmt.Sprintf("%06d%s", number, segmentSuffix) }

// segments returns the numbers of the segments in dir, ascending. A directory that does not exist
// has none.
func segments(fs vfs.FS, dir string) ([]uint64, error) {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(fs.PathBase(name), segmentSuffix)
		n, err := strconv.ParseUint(digits, 10, 64)
		if ok && err == nil && segmentName(n) == name {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Summary is what [Verify] found.
type Summary struct {
	Segments int
	Entries  uint64
	LastHash string // of the last entry; keep it elsewhere to detect that the log was cut
	// Torn is the number of segments that end in an incomplete entry: their writer stopped in the
	// middle of a write. Nothing that was reported as recorded is lost by it.
	Torn int
}

// Read calls f for every entry from the first one, and stops at the first error of f. Every entry is
// verified before f sees it. An incomplete entry at the end of a segment is passed over: what
// follows in the next segment must continue the chain.
func Read(fs vfs.FS, dir string, f func(Entry) error) error {
	_, err := walk(fs, dir, f)
	return err
}

// Verify checks the whole log.
func Verify(fs vfs.FS, dir string) (Summary, error) {
	w, err := walk(fs, dir, func(Entry) error { return nil })
	s := Summary{Segments: w.segments, Entries: w.head.seq, Torn: w.torn}
	if w.head.seq > 0 {
		s.LastHash = hex.EncodeToString(w.head.hash[:])
	}
	return s, err
}

// walker is the state of a walk over the log.
type walker struct {
	head     head
	number   uint64 // of the last segment
	segments int
	torn     int
	trust    bool // the next entry may have any place in the chain
}

func walk(fs vfs.FS, dir string, f func(Entry) error) (w walker, err error) {
	numbers, err := segments(fs, dir)
	if err != nil {
		return w, fmt.Errorf("audit: %w", err)
	}
	for _, n := range numbers {
		if err := w.segment(fs, dir, n, f); err != nil {
			return w, fmt.Errorf("audit: segment %s: %w", segmentName(n), err)
		}
	}
	return w, nil
}

func (w *walker) segment(fs vfs.FS, dir string, number uint64, f func(Entry) error) (err error) {
	file, err := fs.Open(fs.PathJoin(dir, segmentName(number)), vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w.number = number
	w.segments++
	in := bufio.NewReaderSize(file, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if err == io.EOF {
			if len(line) > 0 {
				w.torn++
			}
			return nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w after entry %d: line is too long", ErrBroken, w.head.seq)
		}
		if err != nil {
			return err
		}
		e, err := w.accept(bytes.TrimSuffix(line, []byte("\n")))
		if err == nil {
			err = f(e)
		}
		if err != nil {
			return err
		}
	}
}

func (w *walker) accept(line []byte) (Entry, error) {
	if w.trust {
		w.trust = false
		w.head = before(line)
	}
	return w.head.accept(line)
}

// tail returns where the log ends. It reads the last segment that has entries and takes the place of
// its first entry in the chain on trust: Verify is for the rest.
func tail(fs vfs.FS, dir string) (walker, error) {
	numbers, err := segments(fs, dir)
	if err != nil {
		return walker{}, err
	}
	var last walker
	for _, n := range slices.Backward(numbers) {
		w := walker{trust: true}
		if err := w.segment(fs, dir, n, func(Entry) error { return nil }); err != nil {
			return w, fmt.Errorf("segment %s: %w", segmentName(n), err)
		}
		last.number = max(last.number, n)
		last.torn += w.torn
		if w.head.seq > 0 {
			last.head = w.head
			break
		}
	}
	return last, nil
}

// note describes the end at which a new segment goes on.
func (w *walker) note() string {
	if w.torn > 0 {
		return "the segment before ends in an incomplete entry"
	}
	return ""
}
