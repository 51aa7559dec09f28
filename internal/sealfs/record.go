package sealfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The layout of a record; see docs/FORMAT.md.
const (
	recordHeaderSize = 4 + 4 + 4 + nonceSize // length, index, synced, nonce
	recordOverhead   = recordHeaderSize + tagSize
	recordAADSize    = 32 + 12 + 8 + tagSize

	// maxRecord bounds the plaintext of a record; a longer Write makes several.
	maxRecord = 1 << 20
	// closingRecords end a complete file. There are two, because a record is bound to the tag before
	// it: the first one vouches for the records but the last, the second one also for the last one's
	// tag.
	closingRecords = 2
	// maxRecords keeps the number of random nonces of one key within the limit of SP 800-38D.
	maxRecords = math.MaxUint32
)

// recordHeader is the clear but authenticated part of a record.
type recordHeader struct {
	length uint32 // plaintext bytes; 0 marks a closing record
	index  uint32
	synced uint32 // so many records were durable when this one was sealed
	nonce  [nonceSize]byte
}

func parseRecordHeader(b []byte) (h recordHeader) {
	h.length = binary.BigEndian.Uint32(b)
	h.index = binary.BigEndian.Uint32(b[4:])
	h.synced = binary.BigEndian.Uint32(b[8:])
	copy(h.nonce[:], b[12:])
	return h
}

func (h *recordHeader) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, h.length)
	dst = binary.BigEndian.AppendUint32(dst, h.index)
	dst = binary.BigEndian.AppendUint32(dst, h.synced)
	return append(dst, h.nonce[:]...)
}

// fits reports whether a record with this header can be complete in a file that has room bytes
// left from its start.
func (h *recordHeader) fits(room int64) bool {
	return h.length <= maxRecord && h.synced <= h.index && room >= recordOverhead+int64(h.length)
}

// appendRecordAAD appends the associated data of the record at offset to dst. prev is the tag of the
// record before, or the header's MAC: in either case the 16 bytes in front of the record.
func (s *sealed) appendRecordAAD(dst []byte, h *recordHeader, offset int64, prev []byte) []byte {
	dst = append(dst, s.sum[:]...)
	dst = binary.BigEndian.AppendUint32(dst, h.length)
	dst = binary.BigEndian.AppendUint32(dst, h.index)
	dst = binary.BigEndian.AppendUint32(dst, h.synced)
	dst = binary.BigEndian.AppendUint64(dst, uint64(offset))
	return append(dst, prev...)
}

// recordWriter seals a record file.
type recordWriter struct {
	writeOnly
	*sealed
	next   recordHeader // index and synced of the next record
	offset int64        // of the next record in the base file
	padded int64        // end of the zeros ahead of it; -1 when there are to be none
	prev   [tagSize]byte
	buf    []byte
	aad    []byte
	size   int64
	err    error // sticky
	closed bool
}

var _ vfs.File = (*recordWriter)(nil)

func newRecordWriter(s *sealed) *recordWriter {
	f := &recordWriter{sealed: s, offset: headerSize, prev: s.mac, padded: -1}
	if s.header.role.padded() {
		f.padded = headerSize
	}
	return f
}

// Write implements [vfs.File]: one record for every call, none for an empty one.
func (f *recordWriter) Write(p []byte) (int, error) {
	if f.closed {
		return 0, errClosed
	}
	written := 0
	for len(p) > 0 && f.err == nil {
		n := min(len(p), maxRecord)
		if f.err = f.writeRecord(p[:n]); f.err == nil {
			p, written = p[n:], written+n
		}
	}
	f.size += int64(written)
	return written, f.err
}

func (f *recordWriter) writeRecord(p []byte) error {
	if f.next.index == maxRecords {
		return ErrTooLong
	}
	f.next.length = uint32(len(p))
	if err := f.drawNonce(); err != nil {
		return err
	}
	f.sealing(f.next.nonce)
	f.aad = f.appendRecordAAD(f.aad[:0], &f.next, f.offset, f.prev[:])
	f.buf = f.next.append(f.buf[:0])
	f.buf = f.key.aead.Seal(f.buf, f.next.nonce[:], p, f.aad)
	copy(f.prev[:], f.buf[len(f.buf)-tagSize:]) // Write of the base may change its argument
	f.pad(f.offset + int64(len(f.buf)))
	if err := writeAll(f.base, f.buf); err != nil {
		return err
	}
	f.offset += int64(len(f.buf))
	f.next.index++
	return nil
}

// The zeros ahead of the records: as many as the file is long, within these bounds.
const (
	minPadding = 4 << 10
	maxPadding = 256 << 10
)

var zeros [maxPadding]byte

// pad writes zeros ahead when a record is to end at end. A sync of bytes that replace others is much
// cheaper than one of a file that grows: the base need not record a new length. A failure is not
// told: the record itself will meet the same disk.
func (f *recordWriter) pad(end int64) {
	if f.padded < 0 || end <= f.padded {
		return
	}
	n := min(max(end, minPadding), maxPadding)
	if _, err := f.base.WriteAt(zeros[:n], end); err != nil {
		f.padded = -1
		return
	}
	f.padded = end + n
}

func (f *recordWriter) drawNonce() error {
	for {
		if _, err := io.ReadFull(f.fs.random, f.next.nonce[:]); err != nil {
			return fmt.Errorf("sealfs: random: %w", err)
		}
		if f.next.nonce != headerNonce {
			return nil
		}
	}
}

// Sync implements [vfs.File].
func (f *recordWriter) Sync() error { return f.sync(f.base.Sync) }

// SyncData implements [vfs.File].
func (f *recordWriter) SyncData() error { return f.sync(f.base.SyncData) }

func (f *recordWriter) sync(base func() error) error {
	if f.closed {
		return errClosed
	}
	if f.err != nil {
		return f.err
	}
	if f.err = base(); f.err == nil {
		f.next.synced = f.next.index
	}
	return f.err
}

// Close writes the closing records and makes the file durable. After an earlier failure it only
// closes the base file, and returns that failure.
func (f *recordWriter) Close() error {
	if f.closed {
		return errClosed
	}
	f.closed = true
	if f.err == nil && f.next.synced < f.next.index {
		// The closing records then vouch that all others were durable: damage to one of these is
		// never taken for a crash.
		if f.err = f.base.SyncData(); f.err == nil {
			f.next.synced = f.next.index
		}
	}
	for i := 0; i < closingRecords && f.err == nil; i++ {
		f.err = f.writeRecord(nil)
	}
	if f.err == nil {
		f.err = f.base.Sync()
	}
	defer f.written()
	return errors.Join(f.err, f.base.Close())
}

func (f *recordWriter) abort() error {
	f.err = errAborted
	return f.Close()
}

func (f *recordWriter) info() Info { return f.sealed.info(f.size) }

// Stat implements [vfs.File].
func (f *recordWriter) Stat() (vfs.FileInfo, error) { return statAs(f.base, f.size) }
