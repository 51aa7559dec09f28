package sealfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
)

const category = vfs.WriteCategoryUnspecified

func keys() *sealfs.Ring {
	return sealfs.StaticKeys(sealfs.KeyID{1}, bytes.Repeat([]byte{0x4b}, sealfs.KeySize))
}

func seal(t testing.TB, base vfs.FS, change func(*sealfs.Options)) *sealfs.FS {
	t.Helper()
	o := sealfs.Options{Keys: keys(), StoreID: "store-a"}
	if change != nil {
		change(&o)
	}
	fs, err := sealfs.New(base, o)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func write(t testing.TB, fs vfs.FS, name string, chunks ...[]byte) {
	t.Helper()
	f, err := fs.Create(name, category)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		if _, err := f.Write(bytes.Clone(c)); err != nil {
			t.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

// raw returns the bytes of a base file; put replaces them.
func raw(t testing.TB, base vfs.FS, name string) []byte {
	t.Helper()
	b, err := read(base, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, base vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := base.Create(name, category)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// bases are the file systems that the contract tests run on.
func bases(t *testing.T, f func(t *testing.T, base vfs.FS, dir string)) {
	t.Run("memory", func(t *testing.T) { f(t, vfs.NewMem(), "") })
	t.Run("disk", func(t *testing.T) { f(t, vfs.Default, t.TempDir()) })
}

// names has one name of every role.
var names = []string{"000007.sst", "000007.blob", "OPTIONS-000003", "spill", "000007.log", "MANIFEST-000007", "000001.rlog"}

// TestSizes: of every kind and size of file, the sizes are logical, all can be read and verified.
func TestSizes(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs := seal(t, base, nil)
		for _, name := range names {
			for _, size := range []int{0, 1, 4096, 8193, 3<<20 + 17} {
				path := base.PathJoin(dir, name)
				want := pattern(size)
				write(t, fs, path, want[:size/2], want[size/2:])
				has(t, fs, path, want)
				r, err := fs.Verify(path)
				if err != nil || r.Size != int64(size) || r.Open || r.Torn {
					t.Errorf("Verify(%s) of %d bytes: %+v, %v", name, size, r, err)
				}
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	if _, err := fs.OpenReadWrite("x", category); !errors.Is(err, sealfs.ErrUnsupported) {
		t.Errorf("OpenReadWrite: %v", err)
	}
	for _, name := range []string{"x", "000001.log"} {
		f, err := fs.Create(name, category)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("a"), 0); !errors.Is(err, sealfs.ErrUnsupported) {
			t.Errorf("%s: WriteAt: %v", name, err)
		}
		if f.Fd() != vfs.InvalidFd {
			t.Errorf("%s: Fd is valid", name)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.Write([]byte("a")); err == nil {
			t.Errorf("%s: Write after Close succeeded", name)
		}
	}
	f, err := fs.Create("marker.manifest.000001.MANIFEST-000001", category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("a")); err == nil {
		t.Error("content of a marker was accepted")
	}
	if _, err := fs.Open("missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of a missing file: %v", err)
	}
	if _, err := fs.Stat("missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat of a missing file: %v", err)
	}
}

// hinted remembers the last Prefetch of the base.
type hinted struct {
	vfs.FS
	from, length int64
}

type hintedFile struct {
	vfs.File
	fs *hinted
}

func (h *hinted) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.Open(name, opts...)
	return hintedFile{f, h}, err
}

func (f hintedFile) Prefetch(from, length int64) error {
	f.fs.from, f.fs.length = from, length
	return nil
}

// TestPrefetch: a hint covers the sealed blocks of the range, and nothing outside the file.
func TestPrefetch(t *testing.T) {
	const stride = 4096 + 16
	base := &hinted{FS: vfs.NewMem()}
	fs := seal(t, base, nil)
	write(t, fs, "000001.sst", pattern(10_000))
	f := open(t, fs, "000001.sst")
	for _, c := range []struct{ off, length, from, n int64 }{
		{0, 1, 96, stride}, {0, 4096, 96, stride}, {4095, 2, 96, 2 * stride}, {4096, 1, 96 + stride, stride},
		{9999, 1 << 62, 96 + 2*stride, stride}, {0, 10_000, 96, 3 * stride}, {10_000, 5, 0, 0}, {-1, 5, 0, 0}, {3, 0, 0, 0},
	} {
		base.from, base.length = 0, 0
		if err := f.Prefetch(c.off, c.length); err != nil || base.from != c.from || base.length != c.n {
			t.Errorf("Prefetch(%d, %d): %d, %d, %v; want %d, %d", c.off, c.length, base.from, base.length, err, c.from, c.n)
		}
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	for i, o := range []sealfs.Options{
		{StoreID: "a"}, {Keys: keys()}, {Keys: keys(), StoreID: string(make([]byte, 256))},
		{Keys: keys(), StoreID: "a", BlockSize: 5000}, {Keys: keys(), StoreID: "a", BlockSize: 1024},
		{Keys: keys(), StoreID: "a", BlockSize: 1 << 17}, {Keys: keys(), StoreID: "a", BlockSize: -1},
	} {
		if _, err := sealfs.New(vfs.NewMem(), o); err == nil {
			t.Errorf("options %d were accepted", i)
		}
	}
}

func TestReuseMakesANewFile(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs := seal(t, base, nil)
		old, fresh, linked := base.PathJoin(dir, "000001.log"), base.PathJoin(dir, "000002.log"), base.PathJoin(dir, "keep")
		write(t, fs, old, []byte("old"))
		before := raw(t, base, old)
		if err := base.Link(old, linked); err != nil {
			t.Fatal(err)
		}
		f, err := fs.ReuseForWrite(old, fresh, category)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("new")); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := base.Stat(old); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old name is still there: %v", err)
		}
		if !bytes.Equal(raw(t, base, linked), before) {
			t.Error("the old inode was written to")
		}
		if got, err := read(fs, fresh); err != nil || string(got) != "new" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestCreateReplacesTheInode(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs := seal(t, base, nil)
		a, b := base.PathJoin(dir, "000001.sst"), base.PathJoin(dir, "sub", "000001.sst")
		if err := fs.MkdirAll(base.PathJoin(dir, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, fs, a, []byte("first"))
		if err := fs.Link(a, b); err != nil {
			t.Fatal(err)
		}
		write(t, fs, a, []byte("second"))
		if got, err := read(fs, b); err != nil || string(got) != "first" {
			t.Errorf("the link reads %q, %v", got, err)
		}
	})
}

func TestKeyRotation(t *testing.T) {
	base, ring := vfs.NewMem(), keys()
	fs := seal(t, base, func(o *sealfs.Options) { o.Keys = ring })
	write(t, fs, "a", []byte("one"))
	ring.Add(sealfs.KeyID{2}, bytes.Repeat([]byte{2}, sealfs.KeySize))
	write(t, fs, "b", []byte("two"))
	for name, id := range map[string]sealfs.KeyID{"a": {1}, "b": {2}} {
		if r, err := fs.Verify(name); err != nil || r.KeyID != id {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	other := seal(t, base, nil)
	if _, err := other.Open("b"); !errors.Is(err, sealfs.ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
	ring.Wipe()
	if _, err := fs.Open("a"); !errors.Is(err, sealfs.ErrUnknownKey) {
		t.Errorf("after Wipe: %v", err)
	}
	if _, err := fs.Create("c", category); !errors.Is(err, sealfs.ErrUnknownKey) {
		t.Errorf("Create after Wipe: %v", err)
	}
}

func TestNoPlaintextNames(t *testing.T) {
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	secret := []byte("a marker of high entropy 9f8e1c")
	for _, name := range names {
		write(t, fs, name, secret, pattern(5000), secret)
		if bytes.Contains(raw(t, base, name), secret[:12]) {
			t.Errorf("%s holds plaintext", name)
		}
	}
}

// BenchmarkReadAt decides the block size: reads of the engine's usual sizes at random places.
func BenchmarkReadAt(b *testing.B) {
	const size = 32 << 20
	for _, block := range []int{4 << 10, 16 << 10, 32 << 10} {
		fs := seal(b, vfs.Default, func(o *sealfs.Options) { o.BlockSize = block })
		name := filepath.Join(b.TempDir(), "000001.sst")
		write(b, fs, name, pattern(size))
		f, err := fs.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{4 << 10, 16 << 10, 256 << 10} {
			b.Run(fmt.Sprintf("block=%dK/read=%dK", block>>10, n>>10), func(b *testing.B) {
				rng, p := rand.New(rand.NewPCG(1, 2)), make([]byte, n)
				b.SetBytes(int64(n))
				for b.Loop() {
					if _, err := f.ReadAt(p, rng.Int64N(size-int64(n))); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite seals 1 MiB at a time, in the engine's pieces.
func BenchmarkWrite(b *testing.B) {
	for _, name := range []string{"000001.sst", "000001.log"} {
		for _, block := range []int{4 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("%s/block=%dK", name, block>>10), func(b *testing.B) {
				fs := seal(b, vfs.NewMem(), func(o *sealfs.Options) { o.BlockSize = block })
				p := pattern(4096)
				b.SetBytes(1 << 20)
				for b.Loop() {
					f, _ := fs.Create(name, category)
					for range 256 {
						_, _ = f.Write(p)
					}
					if err := f.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// dice is the source of chance that the engine's crashing file system wants.
func dice(seed uint64) *rand.Rand { return rand.New(&splitmix{seed}) }
