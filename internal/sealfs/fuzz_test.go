package sealfs

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// readAll reads a file of fs.
func readAll(fs *FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func FuzzHeader(f *testing.F) {
	f.Add(writeGolden(f, "000005.sst")[:headerSize])
	f.Add(writeGolden(f, "000005.log")[:headerSize])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, reason := parseHeader(b)
		if reason == "" && !bytes.Equal(h.encode(), b[:macOffset]) {
			t.Errorf("%x does not encode back", b)
		}
		if reason == "" && h.role.class == classBlock {
			for _, physical := range []int64{0, headerSize, int64(len(b)), 1 << 62} {
				if g, reason := measure(physical, h.blockLog); reason == "" && (g.size < 0 || g.blocks < 1 || g.offset(g.blocks) < physical) {
					t.Errorf("length %d: %+v", physical, g)
				}
			}
		}
	})
}

// FuzzDescribe gives arbitrary bytes under any name to what needs no more than a header.
func FuzzDescribe(f *testing.F) {
	for _, g := range golden {
		f.Add(g.name, writeGolden(f, g.name))
	}
	f.Add("marker.x.1.y", []byte{})
	f.Add("LOCK", []byte("content"))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		base := vfs.NewMem()
		fs := goldenFS(t, base)
		if name == "" || bytes.ContainsAny([]byte(name), "/\x00") || name == "." || name == ".." {
			return
		}
		putRaw(t, base, "/"+name, b)
		clearInfo, clearErr := DescribeClear(base, "/"+name)
		info, err := fs.Describe("/" + name)
		if err == nil && clearErr != nil {
			t.Errorf("authentic, but unreadable: %v", clearErr)
		}
		if err == nil {
			if info.Size < 0 || info.Size > info.Physical {
				t.Errorf("%d bytes in a file of %d", info.Size, info.Physical)
			}
			if info.Size = 0; info != clearInfo {
				t.Errorf("%+v, without keys %+v", info, clearInfo)
			}
		}
		if _, err := fs.Stat("/" + name); err != nil {
			t.Errorf("Stat: %v", err)
		}
	})
}

// FuzzOpen gives arbitrary bytes to every reader: an error or content, never a panic, and never
// other content than was sealed.
func FuzzOpen(f *testing.F) {
	for i, g := range golden {
		f.Add(uint8(i), writeGolden(f, g.name))
	}
	f.Add(uint8(1), writeGolden(f, "000005.log")[:300])
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		base := vfs.NewMem()
		name := "/" + golden[int(which)%len(golden)].name
		putRaw(t, base, name, b)
		checkGolden(t, base, name)
	})
}

// FuzzBody is as FuzzOpen behind an authentic header: what it tries gets past the header's MAC.
func FuzzBody(f *testing.F) {
	for i, g := range golden {
		f.Add(uint8(i), writeGolden(f, g.name)[headerSize:])
		f.Add(uint8(i), writeGolden(f, g.name)[headerSize:400])
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		base := vfs.NewMem()
		name := golden[int(which)%len(golden)].name
		putRaw(t, base, "/"+name, append(writeGolden(t, name)[:headerSize:headerSize], body...))
		checkGolden(t, base, "/"+name)
	})
}

// checkGolden reads, describes, verifies and reseals a file that may be anything: whatever it yields is a
// beginning of the golden content, and the same each time.
func checkGolden(t *testing.T, base vfs.FS, name string) {
	t.Helper()
	fs := goldenFS(t, base)
	if _, err := fs.Stat(name); err != nil {
		t.Errorf("Stat: %v", err)
	}
	got, err := readAll(fs, name)
	if err != nil {
		return
	}
	if !bytes.HasPrefix(bytes.Join(goldenContent(), nil), got) {
		t.Fatalf("accepted %d bytes that were never sealed", len(got))
	}
	if r, err := fs.Verify(name); err != nil || r.Size != int64(len(got)) {
		t.Errorf("Verify: %+v, %v; read %d bytes", r, err, len(got))
	}
	if err := fs.Reseal(context.Background(), name, nil, UpToTear); err != nil {
		t.Fatalf("Reseal: %v", err)
	}
	if again, err := readAll(fs, name); err != nil || !bytes.Equal(got, again) {
		t.Errorf("after Reseal: %d bytes, %v; want %d", len(again), err, len(got))
	}
}

// FuzzWalkRecords: lengths that nobody authenticated never add up to more than there is.
func FuzzWalkRecords(f *testing.F) {
	f.Add(writeGolden(f, "000005.log"))
	f.Add(make([]byte, 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, err := walkRecords(bytes.NewReader(b), int64(len(b)))
		if err != nil || size < 0 || size > int64(len(b)) {
			t.Errorf("%d bytes in a file of %d, %v", size, len(b), err)
		}
	})
}

// FuzzWrites writes a content in arbitrary pieces: it reads the same, before and after Reseal and
// Copy, at any place.
func FuzzWrites(f *testing.F) {
	f.Add(uint8(0), uint16(9000), []byte{1, 200, 0, 255, 16})
	f.Add(uint8(3), uint16(4096), []byte{128, 128})
	f.Fuzz(func(t *testing.T, which uint8, size uint16, cuts []byte) {
		base := vfs.NewMem()
		fs := goldenFS(t, base)
		fs.random = &counter{n: which}
		name := "/" + golden[int(which)%len(golden)].name
		want := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), 1+int(size)/36)[:size]
		writePieces(t, fs, name, want, cuts)
		for round := range 3 {
			got, err := readAll(fs, name)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("round %d: read %d bytes, %v; want %d", round, len(got), err, len(want))
			}
			if round == 0 {
				err = fs.Reseal(context.Background(), name, nil)
			} else {
				other := goldenFS(t, base)
				other.storeID = "other"
				err = Copy(context.Background(), other, name, fs, name, nil)
				fs = other
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// writePieces cuts content at distances of 32 bytes per unit; an odd one is followed by a sync.
func writePieces(t *testing.T, fs *FS, name string, content, cuts []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cuts {
		n := min(int(c)*32, len(content))
		if _, err := f.Write(bytes.Clone(content[:n])); err != nil {
			t.Fatal(err)
		}
		content = content[n:]
		if c%2 == 1 {
			if err := f.SyncData(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := f.Write(bytes.Clone(content)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLengthsAreNotBelieved: a small file that claims long records costs little memory.
func TestLengthsAreNotBelieved(t *testing.T) {
	base := vfs.NewMem()
	fs := goldenFS(t, base)
	whole := writeGolden(t, "000005.log")[:3000]
	for _, length := range [][]byte{{0, 16, 0, 0}, {0, 15, 255, 255}, {127, 255, 255, 255}, {255, 255, 255, 255}} {
		for _, at := range []int{headerSize, headerSize + 5 + recordOverhead} {
			b := bytes.Clone(whole)
			copy(b[at:], length)
			putRaw(t, base, "/000005.log", b)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = readAll(fs, "/000005.log")
			_, _ = fs.Describe("/000005.log")
			_, _ = fs.Stat("/000005.log")
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 512<<10 {
				t.Errorf("length %x at %d: %d bytes were allocated", length, at, n)
			}
		}
	}
}
