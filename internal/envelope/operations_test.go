package envelope

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// onDisk is a world on the operating system's files.
func onDisk(t *testing.T) (w *world, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "accounts")
	w = &world{t: t, kek: newFakeKEK(), audit: &auditLog{}, root: make([]byte, 32)}
	w.anchors = newMemAnchors(newMemFiles())
	k, err := Open(Config{
		Dir: dir, FS: vfs.Default, KEK: w.kek, RootKey: secret.From(make([]byte, 32)), Audit: w.audit, Anchors: w.anchors,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.k = k
	t.Cleanup(w.stop)
	return w, dir
}

func TestVerify(t *testing.T) {
	ctx := context.Background()
	w, dir := onDisk(t)
	w.create("a", protectedA)
	w.load("a", 20)
	w.flush("a")
	c, err := w.k.Verify(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, d := range c.DataKeys {
		files += d.Files
	}
	if !c.Healthy() || c.KeyURI != uriA || !strings.HasPrefix(c.KeyID, uriA+"/") || len(c.DataKeys) != 1 || files < 4 || c.Bytes == 0 || len(c.Content) != 64 {
		t.Errorf("chain %+v", c)
	}
	if raw, err := json.Marshal(c); err != nil || !strings.Contains(string(raw), `"problems":[]`) {
		t.Errorf("%s, %v", raw, err)
	}
	tables, _ := filepath.Glob(filepath.Join(dir, "a", "data", "*.sst"))
	for _, row := range []struct {
		name, want string
		do         func() (undo func())
	}{
		{"a plain file among the data", "notes.txt", func() func() { return put(t, filepath.Join(dir, "a", "data", "notes.txt"), "secret") }},
		{"a plain file beside the data", "export.json", func() func() { return put(t, filepath.Join(dir, "a", "export.json"), "secret") }},
		{"a marker with content", "marker.note.000001.x", func() func() { return put(t, filepath.Join(dir, "a", "data", "marker.note.000001.x"), "secret") }},
		{"a bit of a table", filepath.Base(tables[0]), func() func() { return flip(t, tables[0]) }},
		{"a bit of the keyring", "keyring", func() func() { return flip(t, filepath.Join(dir, "a", "keyring")) }},
	} {
		undo := row.do()
		c, err := w.k.Verify(ctx, "a")
		if err != nil || c.Healthy() || !strings.Contains(strings.Join(c.Problems, "\n"), row.want) {
			t.Errorf("%s: %v, problems %q", row.name, err, c.Problems)
		}
		undo()
	}
	if c, err := w.k.Verify(ctx, "a"); err != nil || !c.Healthy() {
		t.Errorf("in the end: %v, %v", c.Problems, err)
	}
	w.kek.fail(refusal)
	if _, err := w.k.Check(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.k.Verify(ctx, "a"); fault.KindOf(err) != fault.KeyDenied {
		t.Errorf("Verify of a revoked account: %v", err)
	}
}

func put(t *testing.T, name, content string) (undo func()) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(name) }
}

// flip changes one bit in the middle of a file.
func flip(t *testing.T, name string) (undo func()) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	at := info.Size() / 2
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	return func() { flip(t, name) }
}

// TestBackupAndRestore: a backup is restored as another account with the same content and keys of its
// own, wherever and as long as its key may be used, and only when nothing of it was changed.
func TestBackupAndRestore(t *testing.T) {
	ctx := context.Background()
	w, accounts := onDisk(t)
	w.create("a", protectedA)
	w.load("a", 20)
	dir := filepath.Join(t.TempDir(), "backup")
	b, err := w.k.Backup(ctx, "a", dir, []byte(`{"name":"shown"}`))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := w.k.Digest(ctx, "a")
	if err != nil || len(b.Files) < 4 || b.KeyURI != uriA {
		t.Fatalf("backup %+v, %v", b, err)
	}
	w.put("a", "later", "x")
	if _, err := os.Stat(filepath.Join(accounts, "a", checkpointName)); !os.IsNotExist(err) {
		t.Errorf("scratch directory: %v", err)
	}
	if _, err := w.k.Backup(ctx, "a", dir, nil); !fault.Is(err, "BackupDirectory") {
		t.Errorf("a backup over another: %v", err)
	}
	restored, err := w.k.Restore(ctx, "b", dir, Protection{Identity: "id1"})
	if err != nil || string(restored.About) != `{"name":"shown"}` {
		t.Fatalf("Restore: %+v, %v", restored, err)
	}
	if got, err := w.k.Digest(ctx, "b"); err != nil || got != digest {
		t.Errorf("digest %s, %v; want %s", got, err, digest)
	}
	if c, err := w.k.Verify(ctx, "b"); err != nil || !c.Healthy() || c.KeyURI != uriA {
		t.Errorf("verify: %+v, %v", c, err)
	}
	if _, err := w.k.Restore(ctx, "b", dir, Protection{Identity: "id1"}); !fault.Is(err, "AccountExists") {
		t.Errorf("over an account: %v", err)
	}
	if _, err := w.k.Restore(ctx, "c", dir, Protection{KeyURI: uriB, Identity: "id1"}); err != nil {
		t.Errorf("under another key: %v", err)
	}
	w.wantLoad("c", 20)
	names, _ := filepath.Glob(filepath.Join(dir, "data", "*"))
	for _, name := range append(names, filepath.Join(dir, "keyring"), filepath.Join(dir, "backup.json")) {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			continue
		}
		undo := flip(t, name)
		if _, err := w.k.Restore(ctx, "d", dir, Protection{Identity: "id1"}); !fault.Is(err, "NotABackup") {
			t.Errorf("a bit of %s: %v", filepath.Base(name), err)
		}
		undo()
	}
	w.kek.fail(&denial{4018, true})
	_, err = w.k.Restore(ctx, "d", dir, Protection{Identity: "id1"})
	if !fault.Is(err, "4018") || !strings.Contains(err.Error(), b.KeyID) {
		t.Errorf("with the key disabled: %v", err)
	}
	if _, err := os.Stat(filepath.Join(accounts, "d")); !os.IsNotExist(err) {
		t.Errorf("a failed restore left something: %v", err)
	}
	w.kek.fail(nil)
	if _, err := w.k.Restore(ctx, "d", dir, Protection{Identity: "id1"}); err != nil {
		t.Errorf("with the key enabled again: %v", err)
	}
}

func TestClone(t *testing.T) {
	ctx := context.Background()
	w, _ := onDisk(t)
	w.create("a", Protection{})
	w.load("a", 12)
	if err := w.k.Clone(ctx, "a", "b", Protection{KeyURI: uriB, Identity: "id1"}); err != nil {
		t.Fatal(err)
	}
	w.put("a", "only", "a")
	w.wantLoad("b", 12)
	if c, err := w.k.Verify(ctx, "b"); err != nil || !c.Healthy() || c.KeyURI != uriB {
		t.Errorf("verify: %+v, %v", c, err)
	}
	db, release, err := w.k.Acquire(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := db.Get([]byte("only")); err == nil {
		t.Error("the clone sees what came later")
	}
}

// TestShred: nothing opens the account any more, not even with its key and a copy of its files.
func TestShred(t *testing.T) {
	ctx := context.Background()
	w, dir := onDisk(t)
	w.create("a", protectedA)
	w.load("a", 12)
	w.flush("a")
	kept := t.TempDir()
	if err := os.CopyFS(filepath.Join(kept, "data"), os.DirFS(filepath.Join(dir, "a", "data"))); err != nil {
		t.Fatal(err)
	}
	print, _ := w.k.Fingerprint("a")
	p, err := w.k.Shred(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if p.Files < 4 || p.Bytes == 0 || p.KeyringsLeft != 0 || len(p.DataKeys) != 1 || p.KeyringSHA256 != hexOf(print) || p.KeyID == "" {
		t.Errorf("proof %+v", p)
	}
	if _, _, err := w.k.Acquire(ctx, "a"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Acquire: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
	if !strings.HasSuffix(w.audit.operations(), "AccountShredded") {
		t.Errorf("audit %q", w.audit.operations())
	}
	if err := os.CopyFS(filepath.Join(dir, "a", "data"), os.DirFS(filepath.Join(kept, "data"))); err != nil {
		t.Fatal(err)
	}
	if _, err := w.k.Verify(ctx, "a"); err == nil {
		t.Error("the files alone are an account")
	}
}

func FuzzDecodeBackup(f *testing.F) {
	b := &Backup{Format: 1, Account: "a", Files: []BackupFile{{Name: "000001.sst", Bytes: 1, SHA256: "x"}}}
	raw, err := b.encode(make([]byte, keySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)-1])
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, line, mac, err := decodeBackup(raw)
		if err == nil && (len(mac) != 32 || len(line) == 0 || b.Format != backupVersion) {
			t.Errorf("%q decodes to %+v", raw, b)
		}
		for i := range filesOf(b, err) {
			if n := b.Files[i].Name; n != filepath.Base(n) || n == ".." {
				t.Errorf("a file called %q", n)
			}
		}
	})
}

func filesOf(b *Backup, err error) []BackupFile {
	if err != nil {
		return nil
	}
	return b.Files
}

func hexOf(sum [32]byte) string { return hex.EncodeToString(sum[:]) }
