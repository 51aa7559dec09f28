package sealfs

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sizedInfo is a file's description with its logical size.
type sizedInfo struct {
	vfs.FileInfo
	size int64
}

// Size returns the number of plaintext bytes.
func (i sizedInfo) Size() int64 { return i.size }

// statAs describes the base file with a logical size.
func statAs(base vfs.File, size int64) (vfs.FileInfo, error) {
	info, err := base.Stat()
	if err != nil {
		return nil, err
	}
	return sizedInfo{info, size}, nil
}

// common holds the methods that do nothing on a sealed file, as hints about logical offsets would be
// wrong for the base file.
type common struct{}

func (common) WriteAt([]byte, int64) (int, error) { return 0, ErrUnsupported }
func (common) Preallocate(int64, int64) error     { return nil }
func (common) SyncTo(int64) (bool, error)         { return false, nil }
func (common) Prefetch(int64, int64) error        { return nil }
func (common) Fd() uintptr                        { return vfs.InvalidFd }

// writeOnly holds the reading methods of a file that is being written.
type writeOnly struct{ common }

func (writeOnly) Read([]byte) (int, error)          { return 0, errMode }
func (writeOnly) ReadAt([]byte, int64) (int, error) { return 0, errMode }

// readOnly holds the writing methods of a file that is being read, and the position of Read.
type readOnly struct {
	common
	pos int64
}

func (*readOnly) Write([]byte) (int, error) { return 0, errMode }
func (*readOnly) Sync() error               { return nil }
func (*readOnly) SyncData() error           { return nil }

// read is Read in terms of r's ReadAt.
func (f *readOnly) read(r io.ReaderAt, p []byte) (int, error) {
	n, err := r.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// plainFile is a file without content.
type plainFile struct{ vfs.File }

func wrapPlain(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &plainFile{File: f}, nil
}

// Write accepts only nothing: the content would be in clear.
func (f *plainFile) Write(p []byte) (int, error) {
	if len(p) > 0 {
		return 0, ErrUnsupported
	}
	return 0, nil
}

// WriteAt refuses.
func (f *plainFile) WriteAt([]byte, int64) (int, error) { return 0, ErrUnsupported }

// Fd keeps the engine from hinting about the file.
func (f *plainFile) Fd() uintptr { return vfs.InvalidFd }

// writeAll writes all of p or returns an error.
func writeAll(w io.Writer, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
