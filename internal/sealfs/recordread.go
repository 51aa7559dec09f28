package sealfs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sort"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// recordRef is where a record is, and which plaintext bytes it holds.
type recordRef struct {
	offset  int64 // in the base file
	logical int64
}

// recordReader reads a record file as far as it was intact when it was opened.
type recordReader struct {
	readOnly
	*sealed
	refs    []recordRef // without the closing records
	closing int         // closing records
	end     int64       // offset after the last good record
	size    int64
	torn    bool // there are bytes after end
}

func (f *recordReader) closed() bool { return f.closing == closingRecords }

// records is the number of good records, and so the index of the next one.
func (f *recordReader) records() uint32 { return uint32(len(f.refs) + f.closing) }

var _ vfs.File = (*recordReader)(nil)

func (s *sealed) openRecords(name string, want role, info vfs.FileInfo) (vfs.File, error) {
	f := &recordReader{sealed: s, end: headerSize}
	unborn, err := f.unborn(info.Size())
	if err != nil {
		return nil, err
	}
	if unborn {
		f.torn = info.Size() > 0
		return f, f.checkSuccessor(name, want)
	}
	if err := s.readHeader(want); err != nil {
		return nil, err
	}
	if err := f.scan(info.Size()); err != nil {
		return nil, err
	}
	return f, f.checkSuccessor(name, want)
}

// unborn reports whether Create of the file was cut short by a crash: Create returns only after the
// header is durable, so such a file holds no record.
func (f *recordReader) unborn(physical int64) (bool, error) {
	if physical != headerSize {
		return physical < headerSize, nil
	}
	raw, err := readRaw(f.base)
	return len(raw) == headerSize && allZero(raw), err
}

// checkSuccessor refuses an unclosed log that is not the newest: the engine closes a log before it
// creates the next one, so the closing record was taken away.
func (f *recordReader) checkSuccessor(name string, want role) error {
	if f.closed() || want.kind != kindLog {
		return nil
	}
	names, err := f.fs.base.List(f.fs.base.PathDir(name))
	if err != nil {
		return err
	}
	for _, other := range names {
		if r := roleOf(other); r.kind == kindLog && r.number > want.number {
			return f.damaged(int64(len(f.refs)), "log ends early although a later log exists")
		}
	}
	return nil
}

// scan authenticates the records up to the closing ones, or to the first bad one.
func (f *recordReader) scan(physical int64) error {
	body := io.NewSectionReader(f.base, headerSize, physical-headerSize)
	in := bufio.NewReaderSize(body, int(min(64<<10, max(body.Size(), recordOverhead))))
	b := borrow()
	defer b.giveBack()
	prev := f.mac
	for f.end < physical && !f.closed() {
		ok, err := f.scanRecord(in, b, physical, &prev)
		if err != nil {
			return err
		}
		if !ok {
			return f.ended(physical)
		}
	}
	padding, err := f.onlyZeros(f.end, physical)
	if err == nil && !padding {
		err = f.damaged(int64(f.records()), "bytes after the closing records")
	}
	return err
}

// ended decides what follows the last good record of a file without closing records.
func (f *recordReader) ended(physical int64) error {
	padding, err := f.onlyZeros(f.end, physical)
	if err != nil || padding {
		return err
	}
	f.torn = true
	return f.judge(physical)
}

// onlyZeros reports whether the bytes between two offsets are what a writer pads its file with:
// nothing, or in version 2 zeros.
func (f *recordReader) onlyZeros(from, to int64) (bool, error) {
	if from < to && f.header.version < version2 {
		return false, nil
	}
	b := borrow()
	defer b.giveBack()
	for from < to {
		raw := b.grow(min(to-from, maxPadding))
		n, err := f.base.ReadAt(raw, from)
		if n < len(raw) {
			return n == 0 && notEOF(err) == nil, notEOF(err)
		}
		if !bytes.Equal(raw, zeros[:n]) {
			return false, nil
		}
		from += int64(n)
	}
	return true, nil
}

// scanRecord takes the next record from in; ok is false if there is no authentic one.
func (f *recordReader) scanRecord(
	in *bufio.Reader, b *scratch, physical int64, prev *[tagSize]byte,
) (ok bool, err error) {
	head, err := in.Peek(recordHeaderSize)
	if err != nil {
		return false, notEOF(err)
	}
	h := parseRecordHeader(head)
	if h.index != f.records() || !h.fits(physical-f.end) || (f.closing > 0 && h.length > 0) {
		return false, nil
	}
	raw := b.grow(recordOverhead + int64(h.length))
	if _, err := io.ReadFull(in, raw); err != nil {
		return false, notEOF(err)
	}
	if _, ok := f.openRecord(b, &h, raw, f.end, prev[:]); !ok {
		return false, nil
	}
	copy(prev[:], raw[len(raw)-tagSize:])
	f.take(&h, int64(len(raw)))
	return true, nil
}

func (f *recordReader) take(h *recordHeader, physical int64) {
	if h.length == 0 {
		f.closing++
	} else {
		f.refs = append(f.refs, recordRef{f.end, f.size})
	}
	f.size += int64(h.length)
	f.end += physical
}

// notEOF drops the errors by which a reader says that the file became shorter since it was measured.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// openRecord decrypts the record raw, which has the header h and is at offset. The plaintext is b's.
func (f *recordReader) openRecord(
	b *scratch, h *recordHeader, raw []byte, offset int64, prev []byte,
) (plain []byte, ok bool) {
	b.aad = f.appendRecordAAD(b.aad[:0], h, offset, prev)
	b.nonce = h.nonce
	plain, err := f.key.aead.Open(b.room(len(raw)), b.nonce[:], raw[recordHeaderSize:], b.aad)
	return plain, err == nil
}

// judgeBudget bounds the work of judge: so many bytes are tried for each byte of the damaged part.
// Honest bytes look like a record's header once in 2^32.
const judgeBudget = 16

// judge decides what the bad record at f.end means. It looks for an authentic record after it that
// was sealed when the bad one had been synced. If there is one, the file was damaged; if not, the
// bad record was being written when the writer stopped.
func (f *recordReader) judge(physical int64) error {
	bad := f.records()
	b := borrow()
	defer b.giveBack()
	window := make([]byte, min(judgeWindow, physical-f.end))
	budget := judgeBudget * (physical - f.end)
	for at := f.end; at+recordOverhead <= physical; at += judgeWindow - recordHeaderSize + 1 {
		n, err := f.base.ReadAt(window, at)
		if err = notEOF(err); err != nil {
			return err
		}
		for i := 0; i+recordHeaderSize <= n; i++ {
			h := parseRecordHeader(window[i:n])
			if h.index <= bad || h.synced <= bad || !h.fits(physical-at-int64(i)) {
				continue
			}
			if budget -= int64(h.length); budget < 0 || f.authentic(b, &h, at+int64(i)) {
				if f.completed(b) {
					f.torn = false
					return nil
				}
				return f.damaged(int64(bad), "record does not authenticate although it was synced")
			}
		}
	}
	return nil
}

const judgeWindow = 64 << 10

// completed reports whether the record at f.end is authentic now: a writer finished it, and wrote on, after
// it was looked at first. The file is then read as far as it was intact before.
func (f *recordReader) completed(b *scratch) bool {
	head := make([]byte, recordHeaderSize)
	if n, _ := f.base.ReadAt(head, f.end); n < len(head) {
		return false
	}
	h := parseRecordHeader(head)
	return h.index == f.records() && h.synced <= h.index && h.length <= maxRecord && f.authentic(b, &h, f.end)
}

// authentic reports whether there is an authentic record at offset.
func (f *recordReader) authentic(b *scratch, h *recordHeader, offset int64) bool {
	raw := b.grow(tagSize + recordOverhead + int64(h.length))
	if n, _ := f.base.ReadAt(raw, offset-tagSize); n < len(raw) {
		return false
	}
	_, ok := f.openRecord(b, h, raw[tagSize:], offset, raw[:tagSize])
	return ok
}

// ReadAt implements [vfs.File]. It is safe for concurrent use.
func (f *recordReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("sealfs: negative offset")
	}
	b := borrow()
	defer b.giveBack()
	done := 0
	for done < len(p) && off < f.size {
		i := sort.Search(len(f.refs), func(i int) bool { return f.refs[i].logical > off }) - 1
		plain, err := f.load(b, i)
		if err != nil {
			return done, err
		}
		n := copy(p[done:], plain[off-f.refs[i].logical:])
		done, off = done+n, off+int64(n)
	}
	return done, eofIf(done < len(p))
}

// length returns the number of plaintext bytes of record i.
func (f *recordReader) length(i int) int64 {
	if i+1 < len(f.refs) {
		return f.refs[i+1].logical - f.refs[i].logical
	}
	return f.size - f.refs[i].logical
}

// load reads record i again, with the tag before it, and opens it. It must still be the record that
// was there when the file was opened. The plaintext is b's.
func (f *recordReader) load(b *scratch, i int) ([]byte, error) {
	from, length := f.refs[i].offset, f.length(i)
	raw := b.grow(tagSize + recordOverhead + length)
	if n, err := f.base.ReadAt(raw, from-tagSize); n < len(raw) {
		if err = notEOF(err); err != nil {
			return nil, err
		}
		return nil, f.damaged(int64(i), "file became shorter")
	}
	h := parseRecordHeader(raw[tagSize:])
	if h.index == uint32(i) && int64(h.length) == length {
		if plain, ok := f.openRecord(b, &h, raw[tagSize:], from, raw[:tagSize]); ok {
			return plain, nil
		}
	}
	return nil, f.damaged(int64(i), "record does not authenticate any more")
}

// Read implements [vfs.File].
func (f *recordReader) Read(p []byte) (int, error) { return f.read(f, p) }

// Stat implements [vfs.File].
func (f *recordReader) Stat() (vfs.FileInfo, error) { return statAs(f.base, f.size) }

// Close implements [vfs.File].
func (f *recordReader) Close() error { return f.base.Close() }

// walkRecords adds up the lengths that the records claim, authenticating nothing.
func walkRecords(f io.ReaderAt, physical int64) (size int64, err error) {
	raw := make([]byte, recordHeaderSize)
	index := uint32(0)
	for at := int64(headerSize); at < physical; index++ {
		if n, err := f.ReadAt(raw, at); n < len(raw) {
			return size, notEOF(err)
		}
		h := parseRecordHeader(raw)
		if h.index != index || !h.fits(physical-at) {
			break
		}
		size += int64(h.length)
		at += recordOverhead + int64(h.length)
	}
	return size, nil
}
