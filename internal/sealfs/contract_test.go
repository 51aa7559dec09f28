package sealfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
)

// behaviours is what the engine relies on in every file system, sealed or not. dir is empty and
// exists; name has the role that is tested.
var behaviours = map[string]func(t *testing.T, fs vfs.FS, dir, name string){
	"content":           hasContent,
	"create replaces":   createReplaces,
	"missing":           missing,
	"rename over":       renameOver,
	"link":              link,
	"list and remove":   listAndRemove,
	"directories":       directories,
	"read":              readPieces,
	"read at":           readAtEdges,
	"read concurrently": readConcurrently,
	"write nothing":     writeNothing,
	"grow":              grow,
	"reuse":             reuse,
	"lock":              lock,
}

// TestContract holds for the file systems that the engine is made for, and for a sealed one over each.
func TestContract(t *testing.T) {
	for _, p := range []struct {
		base string
		make func() (vfs.FS, string)
	}{
		{"disk", func() (vfs.FS, string) { return vfs.Default, t.TempDir() }},
		{"memory", func() (vfs.FS, string) { return vfs.NewMem(), "/" }},
		{"crashable memory", func() (vfs.FS, string) { return vfs.NewCrashableMem(), "/" }},
	} {
		for _, isSealed := range []bool{false, true} {
			fs, root := p.make()
			if isSealed {
				fs = seal(t, fs, nil)
			}
			t.Run(fmt.Sprintf("%s/sealed=%v", p.base, isSealed), func(t *testing.T) { behave(t, fs, root) })
		}
	}
}

func behave(t *testing.T, fs vfs.FS, root string) {
	for what, check := range behaviours {
		for _, name := range names {
			t.Run(what+"/"+name, func(t *testing.T) {
				dir := fs.PathJoin(root, fmt.Sprintf("%s %s", what, name))
				if err := fs.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				check(t, fs, dir, name)
			})
		}
	}
}

func has(t *testing.T, fs vfs.FS, path string, want []byte) {
	t.Helper()
	if got, err := read(fs, path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: read %d bytes, %v; want %d", path, len(got), err, len(want))
	}
	if info, err := fs.Stat(path); err != nil || info.Size() != int64(len(want)) || info.IsDir() {
		t.Errorf("Stat(%s): %v, %v; want size %d", path, info, err, len(want))
	}
}

func hasContent(t *testing.T, fs vfs.FS, dir, name string) {
	path := fs.PathJoin(dir, name)
	for _, size := range []int{0, 1, 4095, 4096, 4097, 8192, 100_000} {
		want := pattern(size)
		write(t, fs, path, want[:size/2], nil, want[size/2:])
		has(t, fs, path, want)
	}
	if got := fs.PathBase(path); got != name {
		t.Errorf("PathBase(%s) = %s", path, got)
	}
	if got := fs.PathDir(path); got != dir {
		t.Errorf("PathDir(%s) = %s, want %s", path, got, dir)
	}
}

func createReplaces(t *testing.T, fs vfs.FS, dir, name string) {
	path := fs.PathJoin(dir, name)
	write(t, fs, path, pattern(5000))
	old, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	write(t, fs, path, []byte("new"))
	has(t, fs, path, []byte("new"))
	if got, err := io.ReadAll(old); err != nil || !bytes.Equal(got, pattern(5000)) {
		t.Errorf("the file that was open reads %d bytes, %v", len(got), err)
	}
}

func missing(t *testing.T, fs vfs.FS, dir, name string) {
	path, other := fs.PathJoin(dir, name), fs.PathJoin(dir, "sub", name)
	for what, try := range map[string]func() error{
		"Open":          func() error { _, err := fs.Open(path); return err },
		"Stat":          func() error { _, err := fs.Stat(path); return err },
		"Remove":        func() error { return fs.Remove(path) },
		"Rename":        func() error { return fs.Rename(path, other) },
		"Link":          func() error { return fs.Link(path, other) },
		"ReuseForWrite": func() error { _, err := fs.ReuseForWrite(path, path, category); return err },
		"List":          func() error { _, err := fs.List(other); return err },
		"OpenDir":       func() error { _, err := fs.OpenDir(other); return err },
		"Create":        func() error { _, err := fs.Create(other, category); return err },
	} {
		if err := try(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want one that wraps %v", what, err, os.ErrNotExist)
		}
	}
	if err := fs.RemoveAll(path); err != nil {
		t.Errorf("RemoveAll: %v", err)
	}
}

func renameOver(t *testing.T, fs vfs.FS, dir, name string) {
	from, to := fs.PathJoin(dir, "sub", name), fs.PathJoin(dir, name)
	if err := fs.MkdirAll(fs.PathDir(from), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, fs, from, []byte("new"))
	write(t, fs, to, pattern(5000))
	old, err := fs.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := fs.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	has(t, fs, to, []byte("new"))
	if _, err := fs.Stat(from); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old name: %v", err)
	}
	if got, err := io.ReadAll(old); err != nil || !bytes.Equal(got, pattern(5000)) {
		t.Errorf("the file that was open reads %d bytes, %v", len(got), err)
	}
}

func link(t *testing.T, fs vfs.FS, dir, name string) {
	first, second := fs.PathJoin(dir, name), fs.PathJoin(dir, "sub", name)
	if err := fs.MkdirAll(fs.PathDir(second), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, fs, first, pattern(5000))
	if err := fs.Link(first, second); err != nil {
		t.Fatal(err)
	}
	if err := fs.Link(first, second); !errors.Is(err, os.ErrExist) {
		t.Errorf("Link to a name that exists: %v", err)
	}
	write(t, fs, first, []byte("other"))
	has(t, fs, second, pattern(5000))
	if err := fs.Remove(first); err != nil {
		t.Fatal(err)
	}
	has(t, fs, second, pattern(5000))
}

func listAndRemove(t *testing.T, fs vfs.FS, dir, name string) {
	path := fs.PathJoin(dir, name)
	write(t, fs, path, []byte("content"))
	list := func(want ...string) {
		t.Helper()
		got, err := fs.List(dir)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("List: %q, %v; want %q", got, err, want)
		}
	}
	list(name)
	if err := fs.Remove(path); err != nil {
		t.Fatal(err)
	}
	list()
	if _, err := fs.Open(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open after Remove: %v", err)
	}
}

func directories(t *testing.T, fs vfs.FS, dir, name string) {
	deep := fs.PathJoin(dir, "a", "b")
	for range 2 {
		if err := fs.MkdirAll(deep, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, fs, fs.PathJoin(deep, name), []byte("content"))
	if info, err := fs.Stat(deep); err != nil || !info.IsDir() {
		t.Errorf("Stat of a directory: %v, %v", info, err)
	}
	d, err := fs.OpenDir(deep)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		t.Errorf("syncing a directory: %v", err)
	}
	if err := fs.RemoveAll(fs.PathJoin(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if left, err := fs.List(dir); err != nil || len(left) > 0 {
		t.Errorf("after RemoveAll: %q, %v", left, err)
	}
}

func open(t *testing.T, fs vfs.FS, path string) vfs.File {
	t.Helper()
	f, err := fs.Open(path, vfs.RandomReadsOption, vfs.SequentialReadsOption)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func readPieces(t *testing.T, fs vfs.FS, dir, name string) {
	want := pattern(20_000)
	write(t, fs, fs.PathJoin(dir, name), want[:7000], want[7000:])
	f := open(t, fs, fs.PathJoin(dir, name))
	if info, err := f.Stat(); err != nil || info.Size() != int64(len(want)) {
		t.Errorf("File.Stat: %v, %v", info, err)
	}
	var got []byte
	p := make([]byte, 777)
	for {
		n, err := f.Read(p)
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("Read = %d, %v", n, err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes", len(got))
	}
	if n, err := f.Read(p); n != 0 || err != io.EOF {
		t.Errorf("Read after the end = %d, %v", n, err)
	}
	_ = f.Prefetch(0, int64(len(want))) // a hint: the system's own returns nonsense
	if n, err := f.ReadAt(p, 0); n != len(p) || err != nil {
		t.Errorf("ReadAt after Prefetch = %d, %v", n, err)
	}
}

func readAtEdges(t *testing.T, fs vfs.FS, dir, name string) {
	want := pattern(9000)
	write(t, fs, fs.PathJoin(dir, name), want[:4096], want[4096:5000], want[5000:])
	f := open(t, fs, fs.PathJoin(dir, name))
	for _, c := range []struct{ off, length int }{
		{0, 9000}, {0, 1}, {8999, 1}, {4095, 2}, {4096, 4096}, {4999, 2}, {5000, 4000}, {1, 8999}, {100, 0},
		{0, 9001}, {8999, 2}, {8000, 5000}, {9000, 1}, {20_000, 1},
	} {
		p := make([]byte, c.length)
		n, err := f.ReadAt(p, int64(c.off))
		rest := want[min(c.off, len(want)):]
		rest = rest[:min(len(rest), c.length)]
		var wantErr error
		if len(rest) < c.length {
			wantErr = io.EOF
		}
		if n != len(rest) || !bytes.Equal(p[:n], rest) || err != wantErr {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v; want %d, %v", c.length, c.off, n, err, len(rest), wantErr)
		}
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAt moved the position of Read: %d bytes, %v", len(got), err)
	}
}

func readConcurrently(t *testing.T, fs vfs.FS, dir, name string) {
	want := pattern(60_000)
	write(t, fs, fs.PathJoin(dir, name), want[:100], want[100:40_000], want[40_000:])
	f := open(t, fs, fs.PathJoin(dir, name))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := splitmix{uint64(g)}
			for range 50 {
				off := rng.n(len(want))
				p := make([]byte, 1+rng.n(min(20_000, len(want)-off)))
				if n, err := f.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p[:n], want[off:off+n]) {
					t.Errorf("ReadAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
				}
			}
		})
	}
	wg.Wait()
}

func writeNothing(t *testing.T, fs vfs.FS, dir, name string) {
	path := fs.PathJoin(dir, name)
	write(t, fs, path)
	has(t, fs, path, nil)
	f, err := fs.Create(path, category)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{nil, {}, []byte("a"), {}, nil} {
		if n, err := f.Write(p); n != len(p) || err != nil {
			t.Errorf("Write of %d bytes = %d, %v", len(p), n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	has(t, fs, path, []byte("a"))
	e := open(t, fs, path)
	if n, err := e.ReadAt(nil, 0); n != 0 || err != nil {
		t.Errorf("ReadAt of nothing = %d, %v", n, err)
	}
}

// grow writes after syncs of all kinds, as the engine does, and looks at the size.
func grow(t *testing.T, fs vfs.FS, dir, name string) {
	path := fs.PathJoin(dir, name)
	f, err := fs.Create(path, category)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i, sync := range []func() error{f.Sync, f.SyncData, func() error { _, err := f.SyncTo(int64(len(want))); return err }} {
		part := pattern(3000 + i)
		if n, err := f.Write(bytes.Clone(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		want = append(want, part...)
		if err := sync(); err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || info.Size() != int64(len(want)) {
			t.Errorf("Stat while writing: %v, %v; want %d", info, err, len(want))
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	has(t, fs, path, want)
}

func reuse(t *testing.T, fs vfs.FS, dir, name string) {
	// Of the same role as name, so that a plain file system and a sealed one do the same.
	old, path := fs.PathJoin(dir, "sub", name), fs.PathJoin(dir, name)
	if err := fs.MkdirAll(fs.PathDir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, fs, old, pattern(5000))
	f, err := fs.ReuseForWrite(old, path, category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := read(fs, path) // a plain file system leaves the old bytes behind the new ones
	if err != nil || !bytes.HasPrefix(got, []byte("new")) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if _, err := fs.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old name: %v", err)
	}
}

func lock(t *testing.T, fs vfs.FS, dir, _ string) {
	path := fs.PathJoin(dir, "LOCK")
	l, err := fs.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := fs.Lock(path); err == nil {
		t.Errorf("locked twice: %v", again.Close())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = fs.Lock(path); err != nil {
		t.Fatalf("after unlocking: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestPassThrough: what has no content goes to the base unchanged.
func TestPassThrough(t *testing.T) {
	dir := t.TempDir()
	sealedFS := seal(t, vfs.Default, nil)
	if sealedFS.Unwrap() != vfs.Default {
		t.Error("Unwrap does not return the base")
	}
	if u, err := sealedFS.GetDiskUsage(dir); err != nil || u.TotalBytes == 0 {
		t.Errorf("GetDiskUsage: %+v, %v", u, err)
	}
	marker := sealedFS.PathJoin(dir, "marker.manifest.000001.MANIFEST-000001")
	write(t, sealedFS, marker)
	has(t, sealedFS, marker, nil)
	f := open(t, sealedFS, marker)
	if _, err := f.WriteAt([]byte("a"), 0); !errors.Is(err, sealfs.ErrUnsupported) {
		t.Errorf("WriteAt to a marker: %v", err)
	}
	if f.Fd() != vfs.InvalidFd {
		t.Error("the marker's Fd is valid")
	}
	if d, err := sealedFS.Open(dir); err != nil {
		t.Errorf("Open of a directory: %v", err)
	} else if info, err := d.Stat(); err != nil || !info.IsDir() || d.Close() != nil {
		t.Errorf("a directory: %v, %v", info, err)
	}
	if err := vfs.Default.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(marker, []byte("MANIFEST-000009"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sealedFS.Open(marker); !errors.Is(err, sealfs.ErrIntegrity) {
		t.Errorf("a marker with content: %v", err)
	}
	if _, err := sealedFS.Stat(dir + "/x/y"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat below nothing: %v", err)
	}
}
