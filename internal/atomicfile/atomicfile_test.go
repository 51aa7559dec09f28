package atomicfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestWriteReplacesContentAndPermissions(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state")
	if err := os.WriteFile(name, []byte("old and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(name) // a reader that opened the old file keeps it
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := atomicfile.Write(name, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != "new" {
		t.Errorf("content %q, %v", got, err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	old := make([]byte, 32)
	if n, _ := before.Read(old); string(old[:n]) != "old and longer" {
		t.Errorf("the old file was changed in place: %q", old[:n])
	}
	if got := names(t, dir); got != "state" {
		t.Errorf("directory has %q", got)
	}
}

func TestFailureKeepsTheOldAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(name, "full"), 0o700); err != nil { // no file can replace it
		t.Fatal(err)
	}
	err := atomicfile.Write(name, []byte("new"), 0o600)
	if err == nil || strings.Contains(err.Error(), "replace "+dir) {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); got != "state" {
		t.Errorf("directory has %q", got)
	}
	if err := atomicfile.Write(filepath.Join(dir, "missing", "x"), nil, 0o600); err == nil {
		t.Error("a missing directory was no error")
	}
}

func TestRemoveLeftovers(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"state", "state.tmp123", "root.key.tmp9", "a.tmp", "b.tmpx", "c.tmp1.bak"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "d.tmp1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.RemoveLeftovers(dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "a.tmp b.tmpx c.tmp1.bak d.tmp1 state" {
		t.Errorf("left: %q", got)
	}
	if err := atomicfile.RemoveLeftovers(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory was no error")
	}
}
