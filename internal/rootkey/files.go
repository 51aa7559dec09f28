package rootkey

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
)

// Files is the little of a file system that root keys need. A method is durable when it returns nil.
type Files interface {
	// Read returns the content of a file; [fs.ErrNotExist] when there is none.
	Read(name string) ([]byte, error)
	// Create makes a file; [fs.ErrExist] when there is one. A crash leaves it whole or not at all.
	Create(name string, data []byte) error
	// Replace makes data the content of a file: a crash leaves the old content or the new. The old
	// content is overwritten afterwards where the medium allows it and no other name leads to it.
	Replace(name string, data []byte) error
}

// osFiles is Files on the operating system.
type osFiles struct{}

// Read implements [Files].
func (osFiles) Read(name string) ([]byte, error) { return os.ReadFile(name) }

// Create implements [Files]. Only the owner can read the file.
func (osFiles) Create(name string, data []byte) error {
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	return atomicfile.Write(name, data, 0o600)
}

// Replace implements [Files]. Only the owner can read the file. A symbolic link is followed, so that the
// key does not come to stand where the link is.
func (osFiles) Replace(name string, data []byte) error {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	old, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if old != nil {
		defer old.Close()
	}
	if err := atomicfile.Write(name, data, 0o600); err != nil {
		return err
	}
	if old != nil {
		scrub(old)
	}
	return nil
}

// scrub overwrites a file that has lost its last name. It is best effort: the new content is in force, and
// a medium that does not write in place keeps the old blocks anyway.
func scrub(f *os.File) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink > 0 {
		return // somebody has another name for it: a backup
	}
	if _, err := f.WriteAt(make([]byte, st.Size), 0); err == nil {
		_ = f.Sync()
	}
}
