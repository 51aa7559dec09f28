package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// severable is a file system that can be taken away from an engine. A poisoned engine is parked in an
// undefined state and some of its goroutines may run on; after sever none of them can touch the disk
// any more, and the engine's lock is given back, so that the directory can be opened again in this
// process without two writers.
//
// It also keeps errors from the engine that the engine answers with a panic: a log that cannot be closed
// or made (in the middle of its locks), and anything that fails while it opens (it closes what its own
// goroutines still use). The goroutine that met the error is parked, as by Fatalf.
type severable struct {
	vfs.FS
	poison *poison
	live   atomic.Bool // the engine is open

	mu      sync.RWMutex // held to read while an operation of the base runs
	severed bool

	opened sync.Mutex // guards the sets; taken after mu
	locks  map[io.Closer]struct{}
	files  map[*severableFile]struct{}
}

func newSeverable(base vfs.FS, p *poison) *severable {
	return &severable{FS: base, poison: p, locks: map[io.Closer]struct{}{}, files: map[*severableFile]struct{}{}}
}

var errSevered = fmt.Errorf("%w: the file system was taken away", ErrPoisoned)

// sever waits for the operations that run, lets no other begin, and closes every file and lock.
func (s *severable) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.severed = true
	s.opened.Lock()
	defer s.opened.Unlock()
	for f := range s.files {
		_ = f.File.Close()
	}
	for l := range s.locks {
		_ = l.Close()
	}
	clear(s.files)
	clear(s.locks)
}

// vital ends an operation without whose success the engine cannot go on.
func (s *severable) vital(err error) error {
	if err != nil {
		s.poison.set(err)
		select {} // nothing of this engine may run on
	}
	return nil
}

// met ends any other operation: while the engine opens all are vital, but for the answers that belong
// to reading.
func (s *severable) met(err error) error {
	if err == nil || s.live.Load() || errors.Is(err, os.ErrNotExist) || errors.Is(err, io.EOF) {
		return err
	}
	return s.vital(err)
}

// guard runs one operation of the base.
func (s *severable) guard(f func() error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.severed {
		return errSevered
	}
	return f()
}

// open makes a file known, so that sever can close it.
func (s *severable) open(vital bool, f func() (vfs.File, error)) (vfs.File, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.severed {
		return nil, errSevered
	}
	file, err := f()
	if err != nil {
		return nil, err
	}
	x := &severableFile{File: file, fs: s, vital: vital}
	s.opened.Lock()
	defer s.opened.Unlock()
	s.files[x] = struct{}{}
	return x, nil
}

// forget takes a file out of the set; it reports whether it was there.
func (s *severable) forget(f *severableFile) bool {
	s.opened.Lock()
	defer s.opened.Unlock()
	_, open := s.files[f]
	delete(s.files, f)
	return open
}

// Create implements [vfs.FS].
func (s *severable) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.open(isLog(name), func() (vfs.File, error) { return s.FS.Create(name, c) })
	if isLog(name) || errors.Is(err, errSevered) { // only the engine's own work creates: it must not try for ever
		return f, s.vital(err)
	}
	return f, s.met(err)
}

// Open implements [vfs.FS].
func (s *severable) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.open(false, func() (vfs.File, error) { return s.FS.Open(name, opts...) })
	return f, s.met(err)
}

// OpenReadWrite implements [vfs.FS].
func (s *severable) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return s.open(false, func() (vfs.File, error) { return s.FS.OpenReadWrite(name, c, opts...) })
}

// OpenDir implements [vfs.FS].
func (s *severable) OpenDir(name string) (vfs.File, error) {
	f, err := s.open(true, func() (vfs.File, error) { return s.FS.OpenDir(name) })
	return f, s.met(err)
}

// ReuseForWrite implements [vfs.FS].
func (s *severable) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.open(isLog(newname), func() (vfs.File, error) { return s.FS.ReuseForWrite(oldname, newname, c) })
	return f, s.vital(err)
}

// List implements [vfs.FS].
func (s *severable) List(dir string) (names []string, err error) {
	err = s.guard(func() error { names, err = s.FS.List(dir); return err })
	return names, s.met(err)
}

// Stat implements [vfs.FS].
func (s *severable) Stat(name string) (info vfs.FileInfo, err error) {
	err = s.guard(func() error { info, err = s.FS.Stat(name); return err })
	return info, s.met(err)
}

// Link implements [vfs.FS].
func (s *severable) Link(oldname, newname string) error {
	return s.met(s.guard(func() error { return s.FS.Link(oldname, newname) }))
}

// Remove implements [vfs.FS].
func (s *severable) Remove(name string) error {
	return s.met(s.guard(func() error { return s.FS.Remove(name) }))
}

// RemoveAll implements [vfs.FS].
func (s *severable) RemoveAll(name string) error {
	return s.met(s.guard(func() error { return s.FS.RemoveAll(name) }))
}

// Rename implements [vfs.FS].
func (s *severable) Rename(oldname, newname string) error {
	return s.met(s.guard(func() error { return s.FS.Rename(oldname, newname) }))
}

// MkdirAll implements [vfs.FS].
func (s *severable) MkdirAll(dir string, perm os.FileMode) error {
	return s.met(s.guard(func() error { return s.FS.MkdirAll(dir, perm) }))
}

// Lock implements [vfs.FS].
func (s *severable) Lock(name string) (io.Closer, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.severed {
		return nil, errSevered
	}
	l, err := s.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	s.opened.Lock()
	defer s.opened.Unlock()
	s.locks[l] = struct{}{}
	return &severableLock{l, s}, nil
}

// Unwrap implements [vfs.FS].
func (s *severable) Unwrap() vfs.FS { return s.FS }

type severableLock struct {
	io.Closer
	fs *severable
}

// Close gives the lock back, unless sever did.
func (l *severableLock) Close() error {
	l.fs.opened.Lock()
	defer l.fs.opened.Unlock()
	if _, held := l.fs.locks[l.Closer]; !held {
		return nil
	}
	delete(l.fs.locks, l.Closer)
	return l.Closer.Close()
}

// isLog reports whether a file is a write-ahead log.
func isLog(name string) bool { return filepath.Ext(name) == ".log" }

type severableFile struct {
	vfs.File
	fs    *severable
	vital bool // a log that is being written, or a directory
}

// wrote ends an operation that changes the file.
func (f *severableFile) wrote(err error) error {
	if f.vital {
		return f.fs.vital(err)
	}
	return f.fs.met(err)
}

func (f *severableFile) guard(op func() (int, error)) (n int, err error) {
	err = f.fs.guard(func() error { n, err = op(); return err })
	return n, err
}

// Write implements [vfs.File].
func (f *severableFile) Write(p []byte) (int, error) {
	n, err := f.guard(func() (int, error) { return f.File.Write(p) })
	return n, f.wrote(err)
}

// WriteAt implements [vfs.File].
func (f *severableFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.guard(func() (int, error) { return f.File.WriteAt(p, off) })
	return n, f.wrote(err)
}

// Read implements [vfs.File].
func (f *severableFile) Read(p []byte) (int, error) {
	n, err := f.guard(func() (int, error) { return f.File.Read(p) })
	return n, f.fs.met(err)
}

// ReadAt implements [vfs.File].
func (f *severableFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.guard(func() (int, error) { return f.File.ReadAt(p, off) })
	return n, f.fs.met(err)
}

// Stat implements [vfs.File]. The engine panics when it cannot look at a log that it begins.
func (f *severableFile) Stat() (info vfs.FileInfo, err error) {
	err = f.fs.guard(func() error { info, err = f.File.Stat(); return err })
	return info, f.wrote(err)
}

// Sync implements [vfs.File].
func (f *severableFile) Sync() error { return f.wrote(f.fs.guard(f.File.Sync)) }

// SyncData implements [vfs.File].
func (f *severableFile) SyncData() error { return f.wrote(f.fs.guard(f.File.SyncData)) }

// SyncTo implements [vfs.File].
func (f *severableFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.guard(func() error { full, err = f.File.SyncTo(n); return err })
	return full, f.wrote(err)
}

// Preallocate implements [vfs.File].
func (f *severableFile) Preallocate(off, n int64) error {
	return f.fs.guard(func() error { return f.File.Preallocate(off, n) })
}

// Close closes the file, unless sever did. A block file does its last writing here.
func (f *severableFile) Close() error {
	err := f.fs.guard(func() error {
		if !f.fs.forget(f) {
			return errSevered
		}
		return f.File.Close()
	})
	return f.wrote(err)
}
