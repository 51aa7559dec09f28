package rootkey

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey-db/latchkey/internal/secret"
)

var update = flag.Bool("update", false, "write the golden files")

// golden are directories as former versions left them: what each must open to stands in control.hex.
// The passphrase of all is that of newWorld; the file elsewhere is key in the same directory.
var golden = []string{"legacy", "file", "elsewhere", "passphrase", "interrupted"}

// goldenFiles reads a golden directory into the places of a world.
func goldenFiles(t *testing.T, w *world, name string) {
	t.Helper()
	for file, place := range map[string]string{KeyName: "/data/root.key", RingName: "/data/root.ring", "key": "/mnt/key"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name, file))
		if err == nil {
			w.files.files[place] = raw
		}
	}
}

func TestGolden(t *testing.T) {
	for _, name := range golden {
		w := newWorld(t)
		if *update {
			writeGolden(t, name)
		}
		goldenFiles(t, w, name)
		r := w.start()
		want, err := os.ReadFile(filepath.Join("testdata", name, "control.hex"))
		if err != nil {
			t.Fatal(err)
		}
		k := r.Current(Control)
		if got := hex.EncodeToString(k.ID[:]) + " " + hex.EncodeToString(k.Secret.Reveal()) + "\n"; got != string(want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestLegacyIsServedAsItIs: no file is written for a directory from before there was a ring, and the first
// rotation keeps its keys.
func TestLegacyIsServedAsItIs(t *testing.T) {
	w := newWorld(t)
	goldenFiles(t, w, "legacy")
	r := w.start()
	if len(w.files.files) != 1 {
		t.Errorf("%d files", len(w.files.files))
	}
	was := r.Current(Audit)
	if _, err := w.rotate("passphrase", false); err != nil {
		t.Fatal(err)
	}
	before := w.start().Before(Audit)
	if len(before) != 1 || before[0].ID != was.ID || !before[0].Secret.Equal(was.Secret.Reveal()) {
		t.Error("the key before is lost")
	}
}

// TestHeaders is the format of the two files, byte by byte where bytes are not random.
func TestHeaders(t *testing.T) {
	key := secret.From(bytes.Repeat([]byte{7}, 32))
	f := &keyFile{protection: Protection{Kind: Elsewhere, Path: "/k"}, created: 1}
	if got, want := hex.EncodeToString(f.encode()[:25]), "4c4b524f4f544b59"+"0001"+"02"+"0000000000000001"+"0002"+"2f6b"+"0000"; got != want {
		t.Errorf("root.key %s, want %s", got, want)
	}
	e, err := seal(legacyKeys(key), key)
	if err != nil {
		t.Fatal(err)
	}
	raw := encodeRing(e)
	id := keyID(key)
	want := "4c4b524f4f545247" + "0001" + "01" + hex.EncodeToString(id[:])
	if got := hex.EncodeToString(raw[:27]); got != want {
		t.Errorf("root.ring %s, want %s", got, want)
	}
	keys, err := e.open(key)
	if err != nil || len(keys) != 3 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// writeGolden makes a golden directory. It is done once for each version of the format.
func writeGolden(t *testing.T, name string) {
	w := newWorld(t)
	switch name {
	case "legacy":
		w.files.files["/data/root.key"] = secret.Random(32).Reveal()
	case "elsewhere":
		w.said = elsewhere
	case "passphrase":
		w.said = "passphrase"
	}
	r := w.start()
	if name == "interrupted" {
		w.files.n, w.files.after, w.files.once = 1, true, false // the ring with two entries, and nothing else
		_, _ = r.Rotate(Rotation{})
		w.files.dead, w.files.n = false, 0
	}
	k := r.Current(Control)
	dir := filepath.Join("testdata", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.files.files["control"] = []byte(hex.EncodeToString(k.ID[:]) + " " + hex.EncodeToString(k.Secret.Reveal()) + "\n")
	for place, file := range map[string]string{"/data/root.key": KeyName, "/data/root.ring": RingName, "/mnt/key": "key", "control": "control.hex"} {
		if raw, ok := w.files.files[place]; ok {
			if err := os.WriteFile(filepath.Join(dir, file), raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// FuzzDecode: no input makes a parser panic, or is taken for a key file of another length.
func FuzzDecode(f *testing.F) {
	for _, name := range golden {
		for _, file := range []string{KeyName, RingName} {
			if raw, err := os.ReadFile(filepath.Join("testdata", name, file)); err == nil {
				f.Add(raw)
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if k, err := decodeKeyFile(raw, KeyName); err == nil && !bytes.Equal(k.encode(), raw) && k.protection.Kind != Token {
			t.Errorf("%x is read as %x", raw, k.encode())
		}
		if entries, err := decodeRing(raw); err == nil && !bytes.Equal(encodeRing(entries...), raw) {
			t.Errorf("%x is read as %x", raw, encodeRing(entries...))
		}
	})
}
