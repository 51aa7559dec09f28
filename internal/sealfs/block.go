package sealfs

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// maxBlocks keeps the logical size below 2^62 whatever the block size.
const maxBlocks = 1 << 46

// blockAADSize is header hash, index, final flag.
const blockAADSize = 32 + 8 + 1

// appendBlockAAD appends the associated data of block index to dst.
func (s *sealed) appendBlockAAD(dst []byte, index int64, final bool) []byte {
	dst = append(dst, s.sum[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(index))
	if final {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func blockNonce(index int64) (n [nonceSize]byte) {
	binary.BigEndian.PutUint64(n[4:], uint64(index))
	return n
}

// geometry is where the blocks of a block file are.
type geometry struct {
	blockSize int64 // plaintext bytes of every block but the last
	blocks    int64 // at least 1
	size      int64 // plaintext bytes of the file
}

// measure computes the geometry from the length of the base file.
func measure(physical int64, blockLog uint8) (g geometry, reason string) {
	g.blockSize = 1 << blockLog
	body := physical - headerSize
	if body < tagSize {
		return g, "file has no final block"
	}
	stride := g.blockSize + tagSize
	g.blocks = (body + stride - 1) / stride
	last := body - (g.blocks-1)*stride
	if last < tagSize || (last == tagSize && g.blocks > 1) || g.blocks > maxBlocks {
		return geometry{}, "length is impossible"
	}
	g.size = body - g.blocks*tagSize
	return g, ""
}

func (g geometry) offset(block int64) int64 { return headerSize + block*(g.blockSize+tagSize) }

// plain returns the number of plaintext bytes of a block.
func (g geometry) plain(block int64) int64 {
	return min(g.blockSize, g.size-block*g.blockSize)
}

// blockWriter seals a block file. The last block is held back until Close, even when it is full,
// because only Close knows that it is the last.
type blockWriter struct {
	writeOnly
	*sealed
	pending []byte // plaintext of the block being filled
	out     []byte // sealed blocks not yet written
	aad     [blockAADSize]byte
	nonce   [nonceSize]byte
	index   int64 // of the pending block
	size    int64
	err     error // sticky
	closed  bool
}

var _ vfs.File = (*blockWriter)(nil)

// outSize is how much a blockWriter collects before it writes to the base.
const outSize = 64 << 10

func newBlockWriter(s *sealed) *blockWriter {
	return &blockWriter{sealed: s, pending: make([]byte, 0, 1<<s.header.blockLog)}
}

// Write implements [vfs.File].
func (f *blockWriter) Write(p []byte) (int, error) {
	if f.closed {
		return 0, errClosed
	}
	written := 0
	for written < len(p) && f.err == nil {
		written += f.take(p[written:])
	}
	f.size += int64(written)
	return written, f.err
}

// take accepts a beginning of p. A whole block that is not the last of what is known is sealed as it
// is; the rest waits for the end of its block.
func (f *blockWriter) take(p []byte) int {
	block := cap(f.pending)
	if len(f.pending) == block {
		f.sealBlock(f.pending, false)
		f.pending = f.pending[:0]
	}
	if len(f.pending) == 0 && len(p) > block && f.err == nil {
		f.sealBlock(p[:block], false)
		return block
	}
	n := min(len(p), block-len(f.pending))
	f.pending = append(f.pending, p[:n]...)
	return n
}

func (f *blockWriter) sealBlock(plain []byte, final bool) {
	switch {
	case f.err != nil:
		return
	case f.index >= maxBlocks:
		f.err = ErrTooLong
		return
	case f.out == nil && !final:
		f.out = make([]byte, 0, outSize+cap(f.pending)+tagSize)
	}
	f.nonce = blockNonce(f.index)
	f.sealing(f.nonce)
	aad := f.appendBlockAAD(f.aad[:0], f.index, final)
	f.out = f.key.aead.Seal(f.out, f.nonce[:], plain, aad)
	f.index++
	if final || len(f.out) >= outSize {
		f.flush()
	}
}

func (f *blockWriter) flush() {
	if f.err == nil && len(f.out) > 0 {
		f.err = writeAll(f.base, f.out)
	}
	f.out = f.out[:0]
}

// Sync hands every full block to the base and leaves the rest to Close. It makes nothing durable:
// without its last block, which only Close can seal, the file could not be opened after a crash
// anyway, and the engine closes a table right after it synced it.
func (f *blockWriter) Sync() error {
	if f.closed {
		return errClosed
	}
	f.flush()
	return f.err
}

// SyncData is as Sync.
func (f *blockWriter) SyncData() error { return f.Sync() }

// Close seals the last block and makes the file durable. If it fails the file is incomplete and
// cannot be opened.
func (f *blockWriter) Close() error {
	if f.closed {
		return errClosed
	}
	f.closed = true
	if f.err == nil {
		f.sealBlock(f.pending, true)
	}
	if f.err == nil {
		f.err = f.base.SyncData()
	}
	clear(f.pending[:cap(f.pending)])
	defer f.written()
	return errors.Join(f.err, f.base.Close())
}

func (f *blockWriter) abort() error {
	f.err = errAborted
	return f.Close()
}

func (f *blockWriter) info() Info { return f.sealed.info(f.size) }

// Stat implements [vfs.File].
func (f *blockWriter) Stat() (vfs.FileInfo, error) { return statAs(f.base, f.size) }

// blockReader reads a block file.
type blockReader struct {
	readOnly
	*sealed
	geometry
}

var _ vfs.File = (*blockReader)(nil)

func (s *sealed) openBlocks(want role, info vfs.FileInfo) (vfs.File, error) {
	if err := s.readHeader(want); err != nil {
		return nil, err
	}
	g, reason := measure(info.Size(), s.header.blockLog)
	if reason != "" {
		return nil, s.damaged(HeaderBlock, reason)
	}
	f := &blockReader{sealed: s, geometry: g}
	// The last block carries the final flag: a cut or extended file has none.
	last := g.blocks - 1
	b := borrow()
	defer b.giveBack()
	raw, err := f.readBlocks(b, last, last)
	if err != nil {
		return nil, err
	}
	if _, err := f.openBlock(b, raw, b.room(len(raw)), last); err != nil {
		return nil, err
	}
	return f, nil
}

// scratch holds the buffers of one read.
type scratch struct {
	cipher []byte
	plain  []byte // its length is how much of it may hold plaintext
	aad    []byte
	nonce  [nonceSize]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func borrow() *scratch { return scratches.Get().(*scratch) }

// giveBack wipes the plaintext: a pool outlives the store it served.
func (b *scratch) giveBack() {
	clear(b.plain)
	b.plain = b.plain[:0]
	scratches.Put(b)
}

// room returns an empty slice for n bytes of plaintext, in place of what was there before.
func (b *scratch) room(n int) []byte {
	if cap(b.plain) < n {
		clear(b.plain)
		b.plain = make([]byte, n)
	}
	b.plain = b.plain[:max(n, len(b.plain))]
	return b.plain[:0]
}

func (b *scratch) grow(n int64) []byte {
	if int64(cap(b.cipher)) < n {
		b.cipher = make([]byte, n)
	}
	b.cipher = b.cipher[:n]
	return b.cipher
}

// readSpan bounds the sealed bytes that one read of the base returns.
const readSpan = 256 << 10

// ReadAt implements [vfs.File]. It is safe for concurrent use.
func (f *blockReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("sealfs: negative offset")
	}
	end := min(off+int64(len(p)), f.size)
	if off >= end {
		return 0, eofIf(len(p) > 0)
	}
	b := borrow()
	defer b.giveBack()
	done := 0
	for at := off; at < end; at = off + int64(done) {
		n, err := f.readSome(b, p[done:end-off], at)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, eofIf(done < len(p))
}

func eofIf(short bool) error {
	if short {
		return io.EOF
	}
	return nil
}

// readSome fills a beginning of p, at least a byte, with what is at off.
func (f *blockReader) readSome(b *scratch, p []byte, off int64) (done int, err error) {
	first := off / f.blockSize
	last := min((off+int64(len(p))-1)/f.blockSize, first+readSpan/f.blockSize-1)
	raw, err := f.readBlocks(b, first, last)
	if err != nil {
		return 0, err
	}
	for i := first; i <= last; i++ {
		n := f.plain(i) + tagSize
		m, err := f.copyBlock(b, raw[:n], p[done:], i, off+int64(done)-i*f.blockSize)
		if err != nil {
			return done, err
		}
		done, raw = done+m, raw[n:]
	}
	return done, nil
}

// readBlocks reads the sealed blocks first to last into b.cipher.
func (f *blockReader) readBlocks(b *scratch, first, last int64) ([]byte, error) {
	raw := b.grow((last-first)*(f.blockSize+tagSize) + f.plain(last) + tagSize)
	n, err := f.base.ReadAt(raw, f.offset(first))
	if n == len(raw) {
		return raw, nil
	}
	if errors.Is(err, io.EOF) || err == nil {
		return nil, f.damaged(first, "file became shorter")
	}
	return nil, err
}

// copyBlock opens the sealed block and copies what p wants of it, from skip on. A block that p
// wants wholly is opened in place.
func (f *blockReader) copyBlock(b *scratch, raw, p []byte, index, skip int64) (int, error) {
	if plain := len(raw) - tagSize; skip == 0 && len(p) >= plain {
		_, err := f.openBlock(b, raw, p[:0:plain], index)
		return plain, err
	}
	plain, err := f.openBlock(b, raw, b.room(len(raw)), index)
	if err != nil {
		return 0, err
	}
	return copy(p, plain[skip:]), nil
}

func (f *blockReader) openBlock(b *scratch, raw, dst []byte, index int64) ([]byte, error) {
	b.aad = f.appendBlockAAD(b.aad[:0], index, index == f.blocks-1)
	b.nonce = blockNonce(index)
	plain, err := f.key.aead.Open(dst, b.nonce[:], raw, b.aad)
	if err != nil {
		return nil, f.damaged(index, "block does not authenticate")
	}
	return plain, nil
}

// Read implements [vfs.File].
func (f *blockReader) Read(p []byte) (int, error) { return f.read(f, p) }

// Prefetch passes the hint on, for the sealed bytes.
func (f *blockReader) Prefetch(off, length int64) error {
	if off < 0 || length <= 0 || off >= f.size {
		return nil
	}
	last := off + min(length, f.size-off) - 1
	from := f.offset(off / f.blockSize)
	return f.base.Prefetch(from, f.offset(last/f.blockSize+1)-from)
}

// Stat implements [vfs.File].
func (f *blockReader) Stat() (vfs.FileInfo, error) { return statAs(f.base, f.size) }

// Close implements [vfs.File].
func (f *blockReader) Close() error { return f.base.Close() }
