package sealfs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// counter is a source of "random" bytes that is the same in every run.
type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

func goldenFS(t testing.TB, base vfs.FS) *FS {
	t.Helper()
	key := make([]byte, KeySize)
	for i := range key {
		key[i] = byte(i)
	}
	fs, err := New(base, Options{Keys: StaticKeys(KeyID{0: 0xaa, 15: 0xbb}, key), StoreID: "golden", Random: new(counter)})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// golden lists the files of testdata: written once, read by every later version, never regenerated.
// Current ones are still written byte for byte the same.
var golden = []struct {
	version, name string
	current       bool
}{
	{"v1", "000005.sst", true}, {"v1", "OPTIONS-000003", true}, {"v1", "000005.log", false}, {"v1", "000001.rlog", false},
	{"v2", "000005.log", true}, {"v2", "000001.rlog", true},
}

func goldenContent() [][]byte {
	return [][]byte{[]byte("first"), bytes.Repeat([]byte("0123456789abcdef"), 300), []byte("last")}
}

// TestGolden: files of every version can be read, and the format has not changed.
func TestGolden(t *testing.T) {
	base := vfs.NewMem()
	fs := goldenFS(t, base)
	for _, g := range golden {
		name := g.name
		want, err := os.ReadFile(filepath.Join("testdata", g.version, name))
		if err != nil {
			t.Fatal(err)
		}
		putRaw(t, base, "/"+name, want)
		f, err := fs.Open("/" + name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, bytes.Join(goldenContent(), nil)) {
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
		_ = f.Close()
		if again := writeGolden(t, name); g.current && !bytes.Equal(again, want) {
			t.Errorf("%s is now written otherwise", name)
		}
	}
}

func writeGolden(t testing.TB, name string) []byte {
	t.Helper()
	base := vfs.NewMem()
	f, err := goldenFS(t, base).Create("/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range goldenContent() {
		if _, err := f.Write(c); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return rawOf(t, base, "/"+name)
}

func rawOf(t testing.TB, base vfs.FS, name string) []byte {
	t.Helper()
	f, err := base.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func putRaw(t testing.TB, base vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := base.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
}

// TestKnownKey fixes the derivation: the expected values were computed with another implementation
// of HKDF (RFC 5869).
func TestKnownKey(t *testing.T) {
	h := header{role: role{class: classBlock}}
	copy(h.fileID[:], bytes.Repeat([]byte{0x11}, fileIDSize))
	k, err := deriveKey(bytes.Repeat([]byte{0x22}, KeySize), &h, "golden")
	if err != nil {
		t.Fatal(err)
	}
	const wantCheck, wantTag = "34d11d5b14a6178b", "eb7962d2c648cd7cd658cde8cd614ecc"
	tag := k.aead.Seal(nil, make([]byte, nonceSize), nil, nil)
	if got := hex.EncodeToString(k.check[:]); got != wantCheck {
		t.Errorf("key check value %s, want %s", got, wantCheck)
	}
	if got := hex.EncodeToString(tag); got != wantTag {
		t.Errorf("tag %s, want %s", got, wantTag)
	}
}

func TestRoles(t *testing.T) {
	for name, want := range map[string]role{
		"000012.sst":                            {classBlock, kindTable, 12},
		"000012.blob":                           {classBlock, kindBlob, 12},
		"000012.log":                            {classRecord, kindLog, 12},
		"000012-001.log":                        {classRecord, kindOther, 0},
		"MANIFEST-000012":                       {classRecord, kindManifest, 12},
		"MANIFEST-x":                            {classRecord, kindOther, 0},
		"000003.rlog":                           {classRecord, kindAudit, 3},
		"OPTIONS-000003":                        {classBlock, kindOther, 0},
		"temporary.000003.dbtmp":                {classBlock, kindOther, 0},
		"99999999999999999999.sst":              {classBlock, kindOther, 0},
		"-1.sst":                                {classBlock, kindOther, 0},
		"LOCK":                                  {classPlain, kindOther, 0},
		"marker.manifest.000001.MANIFEST-00001": {classPlain, kindOther, 0},
	} {
		if got := roleOf(name); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestGeometry(t *testing.T) {
	const b = 1 << minBlockLog
	for _, c := range []struct{ physical, blocks, size int64 }{
		{0, 0, 0}, {96, 0, 0}, {111, 0, 0}, {112, 1, 0}, {113, 1, 1}, {112 + b, 1, b},
		{113 + b, 0, 0}, {128 + b, 0, 0}, {129 + b, 2, b + 1}, {128 + 2*b, 2, 2 * b},
	} {
		g, reason := measure(c.physical, minBlockLog)
		if (reason == "") != (c.blocks > 0) || (reason == "" && (g.blocks != c.blocks || g.size != c.size)) {
			t.Errorf("%d: %+v, %q; want %+v", c.physical, g, reason, c)
		}
	}
}

// TestReservedNonce: a record never uses the nonce of the header.
func TestReservedNonce(t *testing.T) {
	source := io.MultiReader(bytes.NewReader(headerNonce[:]), new(counter))
	f := &recordWriter{sealed: &sealed{fs: &FS{random: source}}}
	if err := f.drawNonce(); err != nil || f.next.nonce == headerNonce {
		t.Errorf("nonce %x, %v", f.next.nonce, err)
	}
	f.fs.random = bytes.NewReader(nil)
	if err := f.drawNonce(); !errors.Is(err, io.EOF) {
		t.Errorf("without randomness: %v", err)
	}
}

// TestScratchIsWiped: buffers go back to the pool without plaintext, whatever was read with them.
func TestScratchIsWiped(t *testing.T) {
	base := vfs.NewMem()
	fs := goldenFS(t, base)
	for _, name := range []string{"/000005.sst", "/000005.log"} {
		putRaw(t, base, name, writeGolden(t, name[1:]))
		f, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		b := new(scratch)
		held := openAll(t, f, b)
		b.giveBack()
		for i, plain := range held {
			if len(plain) == 0 || !allZero(plain) {
				t.Errorf("%s: plaintext %d of %d bytes stayed in memory", name, i, len(plain))
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// openAll opens all that f holds in one scratch, long and short in turn, and returns the plaintexts.
func openAll(t *testing.T, f vfs.File, b *scratch) (held [][]byte) {
	t.Helper()
	switch f := f.(type) {
	case *recordReader:
		for i := range f.refs {
			plain, err := f.load(b, i)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, plain)
		}
	case *blockReader:
		for _, p := range [][]byte{make([]byte, 100), make([]byte, 1)} {
			at := int64(len(held)) * f.blockSize
			if _, err := f.readSome(b, p, at+1); err != nil {
				t.Fatal(err)
			}
			held = append(held, b.plain)
		}
	}
	return held
}
