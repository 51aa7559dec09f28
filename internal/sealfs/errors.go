package sealfs

import (
	"errors"
	"fmt"
)

// Errors of this package.
var (
	// ErrIntegrity is matched by every [*IntegrityError].
	ErrIntegrity = errors.New("sealfs: integrity failure")
	// ErrUnknownKey is returned when a file names a data key that the [Keys] do not have.
	ErrUnknownKey = errors.New("sealfs: unknown data key")
	// ErrUnsupported is returned by operations that would overwrite sealed bytes in place, or give a
	// file a name under which it could not be opened.
	ErrUnsupported = errors.New("sealfs: files cannot be changed in place")
	// ErrTooLong is returned when a file would exceed the limits of its format.
	ErrTooLong = errors.New("sealfs: file exceeds the limits of its format")
	// ErrNoHeader is returned for a file whose creation was interrupted before its header was
	// durable: it holds nothing and names no key.
	ErrNoHeader = errors.New("sealfs: file has no header")
	// ErrNotComplete is returned when a finished file is needed and the file is still being written,
	// or its writer stopped without Close.
	ErrNotComplete = errors.New("sealfs: file is not complete")
	errClosed      = errors.New("sealfs: file is closed")
	errAborted     = errors.New("sealfs: file was given up")
	errMode        = errors.New("sealfs: file is not open for this operation")
)

// HeaderBlock is the Block of an [*IntegrityError] that concerns the file as a whole.
const HeaderBlock = -1

// IntegrityError says that a file is not what was written: damaged, cut, moved or forged.
type IntegrityError struct {
	File   string // base name
	Block  int64  // index of the block or record, or HeaderBlock
	Reason string // constant text
}

// Error names the file, the block and the reason.
func (e *IntegrityError) Error() string {
	if e.Block == HeaderBlock {
		return fmt.Sprintf("%v: %s: %s", ErrIntegrity, e.File, e.Reason)
	}
	return fmt.Sprintf("%v: %s: block %d: %s", ErrIntegrity, e.File, e.Block, e.Reason)
}

// Is makes errors.Is(err, ErrIntegrity) true.
func (e *IntegrityError) Is(target error) bool { return target == ErrIntegrity }
