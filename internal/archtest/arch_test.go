// Package archtest checks the house: which package may import which, and the few rules that every
// package keeps. It is a test and nothing else, so that no tool is needed.
package archtest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/latchkey-db/latchkey/"

// floors lists the packages from the ground up. A package may import packages of lower floors; what
// else it may import stands in sideways. A name ending in "/" stands for everything below it.
var floors = [][]string{
	{"internal/secret", "internal/fault", "internal/atomicfile", "internal/supervise", "internal/jsonx",
		"internal/uri", "internal/naming", "internal/principal", "internal/fastrsa", "internal/access"},
	{"internal/obs", "internal/audit", "internal/sealfs", "internal/store", "internal/pkcs11"},
	{"internal/directory", "internal/rbac", "internal/resource", "internal/vault", "internal/vault/", "internal/account",
		"internal/docdb", "internal/docdb/", "internal/load", "internal/envelope", "internal/kek", "internal/why", "internal/rootkey", "internal/webhook"},
	{"internal/api/", "internal/front"},
	{"internal/config", "internal/app"},
	{""}, // package latchkey itself
	{"latchkeytest", "internal/demo"},
	{"internal/cli"},
	{"cmd/", "test", "test/", "bench", "bench/", "internal/archtest"},
}

// sideways lists the imports within one floor that are wanted.
var sideways = map[string][]string{
	"internal/app":         {"internal/config"},
	"internal/docdb":       {"internal/docdb/sql", "internal/docdb/index", "internal/docdb/geo"},
	"internal/docdb/sql":   {"internal/docdb/geo"},
	"internal/docdb/index": {"internal/docdb/geo"},
	"internal/vault":       {"internal/vault/material"},
	"internal/api/":        {"internal/api/wire"},
	"internal/api/arm/":    {"internal/api/wire", "internal/api/arm"},
}

// forbidden lists imports from outside that a part of the house must not have, and what to use.
var forbidden = []struct{ in, imports, instead string }{
	{"internal/directory", "net/http", "a face below internal/api"},
	{"internal/rbac", "net/http", "a face below internal/api"},
	{"internal/resource", "net/http", "a face below internal/api"},
	{"internal/vault", "net/http", "a face below internal/api"},
	{"internal/vault/", "net/http", "a face below internal/api"},
	{"internal/vault/material", module + "internal/store", "package vault"},
	{"internal/account", "net/http", "a face below internal/api"},
	{"internal/docdb", "net/http", "a face below internal/api"},
	{"internal/docdb/", "net/http", "a face below internal/api"},
	{"internal/envelope", "net/http", "package kek"},
	{"internal/docdb/sql", module + "internal/store", "the Source interface"},
	{"internal/docdb/index", module + "internal/store", "package docdb"},
	{"internal/api/", module + "internal/store", "a domain package"},
	{"internal/api/", module + "internal/sealfs", "a domain package"},
	{"internal/", "math/rand", "crypto/rand"},
	{"internal/", "github.com/cockroachdb/errors", "errors"},
}

type listed struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func relative(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, strings.TrimSuffix(module, "/")), "/")
}

func matches(pattern, pkg string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/"); ok {
		return strings.HasPrefix(pkg, prefix+"/")
	}
	return pattern == pkg
}

// floor returns the floor of pkg; the longest matching pattern counts, -1 for none.
func floor(pkg string) int {
	best, bestLen := -1, -1
	for i, names := range floors {
		for _, n := range names {
			if matches(n, pkg) && len(n) > bestLen {
				best, bestLen = i, len(n)
			}
		}
	}
	return best
}

func sidewaysAllowed(from, to string) bool {
	for pattern, targets := range sideways {
		if !matches(pattern, from) {
			continue
		}
		for _, target := range targets {
			if matches(target, to) {
				return true
			}
		}
	}
	return false
}

func TestFloors(t *testing.T) {
	for _, p := range packages(t) {
		from := relative(p.ImportPath)
		if floor(from) < 0 {
			t.Errorf("package %s stands on no floor: add it to the table", from)
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, strings.TrimSuffix(module, "/")) {
				continue
			}
			to := relative(imported)
			if floor(to) < floor(from) || sidewaysAllowed(from, to) {
				continue
			}
			t.Errorf("%s imports %s, which is not below it: declare an interface in the consumer and let internal/app fill it", from, to)
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	for _, p := range packages(t) {
		from := relative(p.ImportPath)
		for _, imported := range p.Imports {
			for _, f := range forbidden {
				if matches(f.in, from) && (imported == f.imports || strings.HasPrefix(imported, f.imports+"/")) {
					t.Errorf("%s imports %s: use %s", from, imported, f.instead)
				}
			}
		}
	}
}

// TestPackageComments demands a package comment of every package and, on every floor, a doc comment
// on every exported declaration.
func TestComments(t *testing.T) {
	for _, p := range packages(t) {
		documented := false
		var missing []string
		fset := token.NewFileSet()
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			documented = documented || f.Doc != nil
			missing = append(missing, undocumented(f)...)
		}
		if !documented && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no package comment", relative(p.ImportPath))
		}
		sort.Strings(missing)
		if len(missing) > 0 {
			t.Errorf("package %s: no doc comment on %s", relative(p.ImportPath), strings.Join(missing, ", "))
		}
	}
}

func undocumented(f *ast.File) []string {
	var out []string
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
				out = append(out, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					out = append(out, s.Name.Name)
				}
			}
		}
	}
	return out
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}
