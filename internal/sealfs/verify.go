package sealfs

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Report describes one file that was authenticated.
type Report struct {
	Size int64 // plaintext bytes
	// KeyID is the data key under which the file is sealed; zero for files without content.
	KeyID KeyID
	// Torn is set for a record file that ends in bytes that are no record: its writer stopped in the
	// middle of a write, or the end was damaged.
	Torn bool
	// Open is set for a record file without its closing records: it is being written, or its writer
	// stopped without Close, or it was cut.
	Open bool
}

// Verify authenticates every byte of the named file. It returns [ErrNotComplete] for a block file that
// is being written.
func (fs *FS) Verify(name string) (Report, error) {
	if roleOf(fs.base.PathBase(name)).class == classBlock {
		if err := fs.refuseUnfinished(name); err != nil {
			return Report{}, err
		}
	}
	f, err := fs.Open(name)
	if err != nil {
		return Report{}, err
	}
	r, err := verify(f)
	return r, errors.Join(err, f.Close())
}

func verify(f vfs.File) (r Report, err error) {
	switch f := f.(type) {
	case *recordReader: // Open did the work
		return Report{Size: f.size, KeyID: f.header.keyID, Torn: f.torn, Open: !f.closed()}, nil
	case *blockReader:
		r = Report{Size: f.size, KeyID: f.header.keyID}
		buf := make([]byte, readSpan)
		defer clear(buf)
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
	}
	return r, err
}
