package sealfs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// CopyChunk is the most that is copied between two calls of a [Limit].
const CopyChunk = 256 << 10

// Limit is called before the next n bytes, at most [CopyChunk], are read and written. It may wait, to
// bound the rate, and ends the copying by an error. A nil Limit does not limit.
type Limit func(ctx context.Context, n int) error

// wait asks l for n bytes, in pieces of at most CopyChunk.
func (l Limit) wait(ctx context.Context, n int) error {
	for ; n > 0; n -= CopyChunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l == nil {
			continue
		}
		if err := l(ctx, min(n, CopyChunk)); err != nil {
			return err
		}
	}
	return nil
}

// CopyOption changes which files may be copied.
type CopyOption int

// UpToTear copies record files that are not complete as far as they are intact, and completes the
// copy. It is only for files of which it is certain that nobody will write them any more: those of a
// store that is closed.
const UpToTear CopyOption = 1

// Copy seals the content of a finished file again in another file system, which may have other keys
// and another store id. Record files keep the boundaries of their records. The new file is complete
// and durable when Copy returns, its directory entry is not: the caller syncs the directory when it
// has copied all files. After an error there is no new file. A record file without its end is refused
// with [ErrNotComplete], unless [UpToTear] is given.
func Copy(
	ctx context.Context, dst *FS, dstName string, src *FS, srcName string, limit Limit, opts ...CopyOption,
) error {
	r := roleOf(dst.base.PathBase(dstName))
	if r.class != roleOf(src.base.PathBase(srcName)).class {
		return fmt.Errorf("sealfs: %s and %s have other layouts", srcName, dstName)
	}
	if dst == src && dstName == srcName {
		return fmt.Errorf("sealfs: %s cannot be copied onto itself", srcName)
	}
	if r.class == classPlain {
		return copyPlain(dst, dstName, src, srcName)
	}
	from, err := src.openFinished(srcName, opts)
	if err != nil {
		return err
	}
	defer from.Close()
	i, err := dst.seal(ctx, dstName, from, limit)
	if err != nil {
		return err
	}
	if err := dst.announce(dstName, i); err != nil {
		return errors.Join(err, dst.Remove(dstName))
	}
	return nil
}

func copyPlain(dst *FS, dstName string, src *FS, srcName string) error {
	from, err := src.Open(srcName) // refuses content
	if err != nil {
		return err
	}
	to, err := dst.Create(dstName, vfs.WriteCategoryUnspecified)
	return errors.Join(err, closeAll(from, to))
}

// source is a sealed file that is copied.
type source interface {
	vfs.File
	// copyTo writes the content to w.
	copyTo(ctx context.Context, w io.Writer, limit Limit) error
	// identity returns the beginning of the sealed bytes, which holds the file id.
	identity() ([]byte, error)
}

func (s *sealed) identity() ([]byte, error) { return readRaw(s.base) }

// openFinished opens a file to be copied.
func (fs *FS) openFinished(name string, opts []CopyOption) (source, error) {
	if err := fs.refuseUnfinished(name); err != nil {
		return nil, err
	}
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case *blockReader:
		return f, nil
	case *recordReader:
		if f.closed() || allows(opts, UpToTear) {
			return f, nil
		}
		err = fmt.Errorf("%s: %w", f.name, ErrNotComplete)
	default:
		err = fmt.Errorf("sealfs: %s has no content", name)
	}
	return nil, errors.Join(err, f.Close())
}

func allows(opts []CopyOption, want CopyOption) bool {
	for _, o := range opts {
		if o == want {
			return true
		}
	}
	return false
}

// refuseUnfinished refuses a file that is being written through fs: a block file without its end
// would otherwise look damaged.
func (fs *FS) refuseUnfinished(name string) error {
	fs.names.Lock() // so that no file is seen before its header is there
	i, err := DescribeClear(fs.base, name)
	fs.names.Unlock()
	if errors.Is(err, ErrNoHeader) {
		return nil // Open decides
	}
	if _, writing := fs.writing.Load(i.FileID); writing {
		return fmt.Errorf("%s: %w", fs.base.PathBase(name), ErrNotComplete)
	}
	return err
}

// seal writes what from holds to a new file and reads that back. After an error there is no file.
func (fs *FS) seal(ctx context.Context, name string, from source, limit Limit) (Info, error) {
	to, err := fs.create(name, roleOf(fs.base.PathBase(name)), vfs.WriteCategoryUnspecified)
	if err != nil {
		return Info{}, err
	}
	if err = from.copyTo(ctx, to, limit); err != nil {
		err = errors.Join(err, ignore(to.abort(), errAborted))
	} else if err = to.Close(); err == nil {
		err = fs.compare(name, from)
	}
	if err != nil {
		return Info{}, errors.Join(err, fs.Remove(name))
	}
	return to.info(), nil
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// compare authenticates the whole copy, before anyone gives up the original for it.
func (fs *FS) compare(name string, from source) error {
	want, err := from.Stat()
	if err != nil {
		return err
	}
	got, err := fs.Verify(name)
	if err != nil {
		return fmt.Errorf("sealfs: the copy cannot be read back: %w", err)
	}
	if got.Size != want.Size() || got.Open {
		return fmt.Errorf("sealfs: the copy of %s has %d bytes instead of %d", name, got.Size, want.Size())
	}
	return nil
}

func (f *blockReader) copyTo(ctx context.Context, w io.Writer, limit Limit) error {
	buf := make([]byte, min(CopyChunk, f.size))
	defer clear(buf)
	for at := int64(0); at < f.size; at += int64(len(buf)) {
		buf = buf[:min(CopyChunk, f.size-at)]
		if err := limit.wait(ctx, len(buf)); err != nil {
			return err
		}
		if _, err := f.ReadAt(buf, at); err != nil {
			return err
		}
		if err := writeAll(w, buf); err != nil {
			return err
		}
	}
	return nil
}

// copyTo makes one Write, and so one record, of each record.
func (f *recordReader) copyTo(ctx context.Context, w io.Writer, limit Limit) error {
	b := borrow()
	defer b.giveBack()
	for i := range f.refs {
		if err := limit.wait(ctx, int(f.length(i))); err != nil {
			return err
		}
		plain, err := f.load(b, i)
		if err != nil {
			return err
		}
		if err := writeAll(w, plain); err != nil {
			return err
		}
	}
	return nil
}
