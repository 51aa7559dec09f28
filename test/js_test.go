package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestJavaScriptSeesTheRevocation reads 1,000 documents with @azure/cosmos before, during and after
// a revocation, under Azure's own names.
func TestJavaScriptSeesTheRevocation(t *testing.T) {
	dir := nodeModules(t)
	s := tutorial(t)
	c := s.newContainer("db1", "c1")
	docs := someDocs(1000)
	s.putAll(c, docs)
	key := s.masterKey()
	read := func() string {
		return s.mustExec("env", "ENDPOINT=https://mycosmosdbaccount.documents.azure.com:443/", "KEY="+key,
			"node", filepath.Join(dir, "read.mjs"), fmt.Sprint(len(docs)), "7")
	}
	if got := read(); got != "1000 equal" {
		t.Fatalf("before: %s", got)
	}
	if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4018")
	if got := read(); got != "403/4018" {
		t.Errorf("revoked: %s", got)
	}
	if err := s.op.SetKeyEnabled(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	s.waitServed(c, docs[0])
	if got := read(); got != "1000 equal" {
		t.Errorf("after: %s", got)
	}
	s.compareAll(c, docs)
}

// nodeModules installs what the scripts of test/js need into a temporary directory.
func nodeModules(t *testing.T) string {
	t.Helper()
	return nodeModulesOf(t, "js")
}

// nodeModulesOf installs the packages of a directory of scripts into a temporary copy of it.
func nodeModulesOf(t *testing.T, scripts string) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(scripts)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("npm", "install", "--no-audit", "--no-fund", "--silent")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("the packages of %s/package.json cannot be installed: %v\n%s", scripts, err, out)
	}
	return dir
}
