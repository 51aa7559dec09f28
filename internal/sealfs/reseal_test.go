package sealfs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/sealfs"
)

var key2 = bytes.Repeat([]byte{0x52}, sealfs.KeySize)

// rotated returns a file system on base whose ring has two keys, the first one current, and the ring.
func rotated(t testing.TB, base vfs.FS) (*sealfs.FS, *sealfs.Ring) {
	ring := keys()
	return seal(t, base, func(o *sealfs.Options) { o.Keys = ring }), ring
}

func TestDescribe(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs := seal(t, base, nil)
		seen := map[[32]byte]bool{}
		for name, want := range map[string]sealfs.Info{
			"000007.sst":      {Class: sealfs.Block, Kind: sealfs.Table, Number: 7},
			"000008.blob":     {Class: sealfs.Block, Kind: sealfs.Blob, Number: 8},
			"OPTIONS-000003":  {Class: sealfs.Block, Kind: sealfs.Other},
			"000009.log":      {Class: sealfs.Record, Kind: sealfs.Log, Number: 9},
			"MANIFEST-000010": {Class: sealfs.Record, Kind: sealfs.Manifest, Number: 10},
			"000011.rlog":     {Class: sealfs.Record, Kind: sealfs.Audit, Number: 11},
			"marker.x.1.y":    {Class: sealfs.Plain, Kind: sealfs.Other},
		} {
			path := base.PathJoin(dir, name)
			if want.Class == sealfs.Plain {
				write(t, fs, path)
			} else {
				write(t, fs, path, pattern(5000), pattern(40))
				want.KeyID, want.Size = sealfs.KeyID{1}, 5040
			}
			want.Physical = int64(len(raw(t, base, path)))
			got, err := fs.Describe(path)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if seen[got.FileID] {
				t.Errorf("%s: file id %x is not its own", name, got.FileID)
			}
			seen[got.FileID] = true
			want.FileID = got.FileID
			if got != want {
				t.Errorf("Describe(%s) = %+v, want %+v", name, got, want)
			}
			want.Size = 0
			if got, err := sealfs.DescribeClear(base, path); err != nil || got != want {
				t.Errorf("DescribeClear(%s) = %+v, %v, want %+v", name, got, err, want)
			}
		}
	})
}

func TestDescribeRefusals(t *testing.T) {
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	write(t, fs, "000001.sst", pattern(10))
	whole := raw(t, base, "000001.sst")
	forged := bytes.Clone(whole)
	forged[13] ^= 1 // the key's id
	moved := bytes.Clone(whole)
	moved[70] ^= 1 // the number
	for i, c := range []struct {
		content      []byte
		sealed, open error
	}{
		{nil, sealfs.ErrNoHeader, sealfs.ErrNoHeader},
		{whole[:95], sealfs.ErrNoHeader, sealfs.ErrNoHeader},
		{make([]byte, 96), sealfs.ErrNoHeader, sealfs.ErrNoHeader},
		{bytes.Repeat([]byte("clear"), 40), sealfs.ErrIntegrity, sealfs.ErrIntegrity},
		{forged, sealfs.ErrUnknownKey, nil},
		{moved, sealfs.ErrIntegrity, nil},
	} {
		put(t, base, "000001.sst", c.content)
		if _, err := fs.Describe("000001.sst"); !errors.Is(err, c.sealed) {
			t.Errorf("%d: Describe: %v, want %v", i, err, c.sealed)
		}
		if _, err := sealfs.DescribeClear(base, "000001.sst"); !errors.Is(err, c.open) {
			t.Errorf("%d: DescribeClear: %v, want %v", i, err, c.open)
		}
	}
	if err := base.MkdirAll("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	if i, err := fs.Describe("dir"); err != nil || i.Class != sealfs.Plain {
		t.Errorf("a directory: %+v, %v", i, err)
	}
	if _, err := fs.Describe("missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// TestReseal: every kind of file comes under the current key with the same content, readers of the
// old file go on, links keep the old file, and no scratch file stays.
func TestReseal(t *testing.T) {
	sizes := []int{0, 1, 4096, 8193, 3<<20 + 17}
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs, ring := rotated(t, base)
		dir = base.PathJoin(dir, "db")
		if err := base.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(names, "marker.a.1.b") {
			for _, size := range sizes {
				ring.Add(sealfs.KeyID{1}, keyOf(ring, 1))
				path, content := base.PathJoin(dir, name), pattern(size)
				if name == "marker.a.1.b" {
					content = nil
				}
				write(t, fs, path, content[:len(content)/3], content[len(content)/3:])
				checkReseal(t, fs, ring, path, content)
			}
		}
		left, err := base.List(base.PathJoin(dir, sealfs.ResealDir))
		if err != nil || len(left) > 0 {
			t.Errorf("scratch directory: %v, %v", left, err)
		}
		if err := fs.CleanReseal(dir); err != nil {
			t.Error(err)
		}
		if _, err := base.Stat(base.PathJoin(dir, sealfs.ResealDir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after CleanReseal: %v", err)
		}
		if err := fs.CleanReseal(dir); err != nil {
			t.Errorf("CleanReseal again: %v", err)
		}
	})
}

func keyOf(ring *sealfs.Ring, id byte) []byte {
	key, err := ring.Key(sealfs.KeyID{id})
	if err != nil {
		panic(err)
	}
	return bytes.Clone(key)
}

func checkReseal(t *testing.T, fs *sealfs.FS, ring *sealfs.Ring, path string, content []byte) {
	t.Helper()
	before, err := fs.Describe(path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ring.Add(sealfs.KeyID{2}, key2)
	asked := 0
	limit := func(_ context.Context, n int) error {
		if n <= 0 || n > sealfs.CopyChunk {
			t.Errorf("limit was asked for %d bytes", n)
		}
		asked += n
		return nil
	}
	if err := fs.Reseal(context.Background(), path, limit); err != nil {
		t.Fatalf("%s of %d bytes: %v", path, len(content), err)
	}
	after, err := fs.Describe(path)
	if err != nil {
		t.Fatal(err)
	}
	if before.Class != sealfs.Plain && (after.KeyID != sealfs.KeyID{2} || after.FileID == before.FileID) {
		t.Errorf("%s: %+v became %+v", path, before, after)
	}
	if after.Physical != before.Physical || after.Size != before.Size || asked != len(content) {
		t.Errorf("%s: %+v became %+v, %d bytes were asked for", path, before, after, asked)
	}
	if before.Class == sealfs.Plain {
		return
	}
	if got, err := read(fs, path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: read %d bytes, %v", path, len(got), err)
	}
	p := make([]byte, len(content))
	if n, err := reader.ReadAt(p, 0); err != nil || !bytes.Equal(p[:n], content) {
		t.Errorf("%s: the old file: read %d bytes, %v", path, n, err)
	}
	if r, err := fs.Verify(path); err != nil || r.Open || r.Torn {
		t.Errorf("%s: %+v, %v", path, r, err)
	}
}

// TestResealUnfinished: a file without its end is refused, also one that is being written; UpToTear
// takes what is intact of a record file whose writer is gone.
func TestResealUnfinished(t *testing.T) {
	ctx := context.Background()
	for _, name := range names {
		name = "/" + name
		base := vfs.NewMem()
		fs, _ := rotated(t, base)
		f, err := fs.Create(name, category)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(pattern(5000)); err != nil {
			t.Fatal(err)
		}
		for _, opts := range [][]sealfs.CopyOption{nil, {sealfs.UpToTear}} {
			if err := fs.Reseal(ctx, name, nil, opts...); !errors.Is(err, sealfs.ErrNotComplete) {
				t.Errorf("%s while it is written: %v", name, err)
			}
		}
		i, err := fs.Describe(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Verify(name); i.Class == sealfs.Block && !errors.Is(err, sealfs.ErrNotComplete) {
			t.Errorf("%s: Verify while it is written: %v", name, err)
		}
		later, _ := rotated(t, base) // after the writer's death
		want := sealfs.ErrNotComplete
		if i.Class == sealfs.Block {
			want = sealfs.ErrIntegrity
		}
		if err := later.Reseal(ctx, name, nil); !errors.Is(err, want) {
			t.Errorf("%s after a crash: %v, want %v", name, err, want)
		}
		if i.Class == sealfs.Record {
			checkUpToTear(t, base, name)
		}
	}
}

func checkUpToTear(t *testing.T, base vfs.FS, name string) {
	t.Helper()
	whole := raw(t, base, name)
	for _, n := range []int{0, 50, 96, 97, len(whole) - 1, len(whole)} {
		put(t, base, name, whole[:n])
		fs, ring := rotated(t, base)
		want, err := read(fs, name)
		if err != nil {
			t.Fatal(err)
		}
		ring.Add(sealfs.KeyID{2}, key2)
		if err := fs.Reseal(context.Background(), name, nil, sealfs.UpToTear); err != nil {
			t.Fatalf("%s cut to %d: %v", name, n, err)
		}
		got, err := read(fs, name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s cut to %d: read %d bytes, %v; want %d", name, n, len(got), err, len(want))
		}
		if r, err := fs.Verify(name); err != nil || r.Open || r.Torn || r.KeyID != (sealfs.KeyID{2}) {
			t.Errorf("%s cut to %d: %+v, %v", name, n, r, err)
		}
	}
}

// TestResealRacesWithNames: what the engine does to the name during the copying wins.
func TestResealRacesWithNames(t *testing.T) {
	const name, other = "db/OPTIONS-000001", "db/OPTIONS-000002"
	for what, change := range map[string]func(fs *sealfs.FS) error{
		"remove":  func(fs *sealfs.FS) error { return fs.Remove(name) },
		"rename":  func(fs *sealfs.FS) error { return fs.Rename(name, "db/away") },
		"replace": func(fs *sealfs.FS) error { write(t, fs, name, []byte("new")); return nil },
		"over":    func(fs *sealfs.FS) error { return fs.Rename(other, name) },
	} {
		base := vfs.NewMem()
		fs, ring := rotated(t, base)
		if err := base.MkdirAll("db", 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, fs, name, pattern(2*sealfs.CopyChunk))
		write(t, fs, other, pattern(10))
		ring.Add(sealfs.KeyID{2}, key2)
		var wanted []string
		calls := 0
		err := fs.Reseal(context.Background(), name, func(context.Context, int) error {
			if calls++; calls != 2 {
				return nil
			}
			err := change(fs)
			wanted = content(t, base, "db")
			return err
		})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
		if got := content(t, base, "db"); !slices.Equal(got, wanted) {
			t.Errorf("%s: the directory has\n%q, want\n%q", what, got, wanted)
		}
	}
}

// content lists the files of a directory with a digest of each.
func content(t testing.TB, base vfs.FS, dir string) (all []string) {
	t.Helper()
	files, err := base.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f != sealfs.ResealDir {
			all = append(all, fmt.Sprintf("%s %x", f, sha256.Sum256(raw(t, base, base.PathJoin(dir, f)))))
		}
	}
	slices.Sort(all)
	return all
}

func TestResealStops(t *testing.T) {
	base := vfs.NewMem()
	fs, _ := rotated(t, base)
	write(t, fs, "000001.sst", pattern(3*sealfs.CopyChunk))
	before := content(t, base, "")
	enough := errors.New("enough")
	calls := 0
	err := fs.Reseal(context.Background(), "000001.sst", func(context.Context, int) error {
		if calls++; calls == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("limit's error: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = fs.Reseal(ctx, "000001.sst", func(context.Context, int) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := fs.Reseal(ctx, "000001.sst", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	if after := content(t, base, ""); !slices.Equal(before, after) {
		t.Errorf("files changed: %q, %q", before, after)
	}
	if left, err := base.List(sealfs.ResealDir); err != nil || len(left) > 0 {
		t.Errorf("scratch directory: %v, %v", left, err)
	}
}

// TestCopy: a file moves to another store with other keys, and only by being copied.
func TestCopy(t *testing.T) {
	ctx := context.Background()
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		src := seal(t, base, nil)
		dst := seal(t, base, func(o *sealfs.Options) {
			o.StoreID, o.Keys, o.BlockSize = "store-b", sealfs.StaticKeys(sealfs.KeyID{9}, key2), 16<<10
		})
		to := base.PathJoin(dir, "copy")
		if err := base.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(names, "marker.a.1.b") {
			a, b := base.PathJoin(dir, name), base.PathJoin(to, name)
			write(t, src, a)
			if name != "marker.a.1.b" {
				write(t, src, a, chunks()...)
			}
			if err := sealfs.Copy(ctx, dst, b, src, a, nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want, _ := read(src, a)
			if got, err := read(dst, b); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: read %d bytes, %v; want %d", name, len(got), err, len(want))
			}
			if i, err := dst.Describe(b); err != nil || (i.Class != sealfs.Plain && i.KeyID != sealfs.KeyID{9}) {
				t.Errorf("%s: %+v, %v", name, i, err)
			}
		}
		a := base.PathJoin(dir, "000001.log")
		if err := sealfs.Copy(ctx, dst, base.PathJoin(to, "x.sst"), src, a, nil); err == nil {
			t.Error("records were copied to blocks")
		}
		if err := sealfs.Copy(ctx, dst, a, src, base.PathJoin(dir, "missing.log"), nil); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("missing source: %v", err)
		}
	})
}

// TestCopyIsNotMadeByHalves: after an error there is no new file, torn sources are refused.
func TestCopyIsNotMadeByHalves(t *testing.T) {
	ctx := context.Background()
	base := vfs.NewMem()
	fs := seal(t, base, nil)
	stop := func(context.Context, int) error { return errors.New("stop") }
	for _, name := range []string{"000007.sst", "000007.rlog"} {
		write(t, fs, name, pattern(5000))
		to := "000008" + base.PathBase(name)[6:]
		if err := sealfs.Copy(ctx, fs, to, fs, name, stop); err == nil {
			t.Errorf("%s: limit's error was lost", name)
		}
		if _, err := base.Stat(to); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: half a copy: %v", name, err)
		}
		if err := sealfs.Copy(ctx, fs, name, fs, name, nil); err == nil {
			t.Errorf("%s was copied onto itself", name)
		}
	}
	writeOpen(t, fs, "000009.rlog")
	other := seal(t, base, nil)
	if err := sealfs.Copy(ctx, other, "000010.rlog", other, "000009.rlog", nil); !errors.Is(err, sealfs.ErrNotComplete) {
		t.Errorf("open file: %v", err)
	}
	if err := sealfs.Copy(ctx, other, "000010.rlog", other, "000009.rlog", nil, sealfs.UpToTear); err != nil {
		t.Error(err)
	}
	if got, err := read(other, "000010.rlog"); err != nil || !bytes.Equal(got, bytes.Join(chunks(), nil)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// TestOnRecordFile: the owner hears of each record file when it is durable under its name.
func TestOnRecordFile(t *testing.T) {
	base := vfs.NewCrashableMem()
	var heard []string
	fs := seal(t, base, func(o *sealfs.Options) {
		o.OnRecordFile = func(name string, i sealfs.Info) {
			clone := base.CrashClone(vfs.CrashCloneCfg{})
			found, err := sealfs.DescribeClear(clone, name)
			if err != nil || found.FileID != i.FileID || found.Number != i.Number || found.KeyID != i.KeyID {
				t.Errorf("%s: told %+v, durable is %+v, %v", name, i, found, err)
			}
			heard = append(heard, fmt.Sprint(name, " ", i.Kind, " ", i.Number))
		}
	})
	for _, name := range []string{"/000007.log", "/MANIFEST-000008", "/000009.rlog", "/000007.sst", "/OPTIONS-000001"} {
		write(t, fs, name, pattern(10))
	}
	if err := fs.Reseal(context.Background(), "/000007.log", nil); err != nil {
		t.Fatal(err)
	}
	if err := sealfs.Copy(context.Background(), fs, "/000010.rlog", fs, "/000009.rlog", nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"/000007.log log 7", "/MANIFEST-000008 manifest 8", "/000009.rlog audit 9", "/000007.log log 7", "/000010.rlog audit 10"}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}
