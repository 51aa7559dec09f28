// Package atomicfile replaces small state files so that a reader, also one after a crash, finds
// either the old content or the new, never a mixture.
//
// The order is: write a temporary file in the same directory, sync it, rename it over the old name,
// sync the directory. When Write returns an error the old content is still there, or, if only the
// last step failed, either one. A crash can leave the temporary file, which nobody reads:
// [RemoveLeftovers] is for the owner of the directory to call at its start.
package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// leftover is what the names of temporary files look like.
var leftover = regexp.MustCompile(`\.tmp[0-9]+$`)

// Write replaces the content of name. The file gets exactly the permissions perm.
func Write(name string, data []byte, perm os.FileMode) error {
	if err := write(name, data, perm); err != nil {
		return fmt.Errorf("replace %s: %w", filepath.Base(name), err)
	}
	return nil
}

func write(name string, data []byte, perm os.FileMode) (err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, filepath.Base(name)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := fill(f, data, perm); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return SyncDir(dir)
}

func fill(f *os.File, data []byte, perm os.FileMode) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// RemoveLeftovers removes the temporary files that crashed writers left in dir. Nobody may be writing
// there.
func RemoveLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && leftover.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
