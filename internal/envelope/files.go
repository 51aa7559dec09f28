package envelope

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
)

// Files is the little of a file system that keyrings need. Every method is durable when it returns
// nil. Names are full paths; a missing file is reported as [fs.ErrNotExist].
type Files interface {
	// Read returns the content of a file.
	Read(name string) ([]byte, error)
	// Replace makes data the content of a file: a crash leaves the old content or the new.
	Replace(name string, data []byte) error
	// Retain gives the content of a file a second name, which survives a Replace of the first. What
	// had that name before is scrubbed.
	Retain(name, second string) error
	// Scrub overwrites a file with zeros where the medium allows it, and removes it. A missing file
	// is no error.
	Scrub(name string) error
	// MakeDir makes a directory; that it exists is no error.
	MakeDir(name string) error
	// RemoveDir removes a directory and everything in it; a missing one is no error.
	RemoveDir(name string) error
	// Tidy removes what interrupted Replaces left in a directory.
	Tidy(name string) error
	// Dirs returns the names of the directories in a directory.
	Dirs(name string) ([]string, error)
}

// osFiles is Files on the operating system.
type osFiles struct{}

// Read implements [Files].
func (osFiles) Read(name string) ([]byte, error) { return os.ReadFile(name) }

// Replace implements [Files]. Only the owner can read the file.
func (osFiles) Replace(name string, data []byte) error { return atomicfile.Write(name, data, 0o600) }

// Retain implements [Files] by a hard link, so that no further copy of the content is made.
func (f osFiles) Retain(name, second string) error {
	if same, err := sameFile(name, second); same || err != nil {
		return err
	}
	if err := f.Scrub(second); err != nil {
		return err
	}
	if err := os.Link(name, second); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(second))
}

// sameFile reports whether second is already a name of the first file: a change that was interrupted
// after Retain left it so, and scrubbing it would destroy the only copy.
func sameFile(name, second string) (bool, error) {
	a, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	b, err := os.Stat(second)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(a, b), nil
}

// Scrub implements [Files].
func (osFiles) Scrub(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(overwrite(f), f.Close()); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(name))
}

func overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, info.Size()), 0); err != nil {
		return err
	}
	return f.Sync()
}

// MakeDir implements [Files].
func (osFiles) MakeDir(name string) error {
	if err := os.MkdirAll(name, 0o700); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(name))
}

// RemoveDir implements [Files].
func (osFiles) RemoveDir(name string) error {
	if err := os.RemoveAll(name); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(name))
}

// Tidy implements [Files].
func (osFiles) Tidy(name string) error { return atomicfile.RemoveLeftovers(name) }

// Dirs implements [Files].
func (osFiles) Dirs(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
