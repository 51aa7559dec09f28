package rootkey

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOSFiles(t *testing.T) {
	dir := t.TempDir()
	name, copied, link := filepath.Join(dir, "key"), filepath.Join(dir, "copy"), filepath.Join(dir, "link")
	f := osFiles{}
	if _, err := f.Read(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read: %v", err)
	}
	if err := f.Create(name, []byte("old key")); err != nil {
		t.Fatal(err)
	}
	if err := f.Create(name, []byte("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v", err)
	}
	held, err := os.Open(name) // what a medium would keep of the old content
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := f.Replace(name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	left := make([]byte, 7)
	if _, err := held.ReadAt(left, 0); err != nil || !bytes.Equal(left, make([]byte, 7)) {
		t.Errorf("the old content is left: %q, %v", left, err)
	}
	if err := os.Link(name, copied); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if err := f.Replace(link, []byte("newest")); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{name: "newest", copied: "new"} {
		info, err := os.Lstat(file)
		if got, _ := f.Read(file); string(got) != want || err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}
