package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withAccount starts a server with an account that has no customer's key, so that the root key alone
// protects it, and one document.
func withAccount(t *testing.T, args ...string) (*scenario, []doc) {
	t.Helper()
	s := prepared(t, args...)
	s.args = nil // the directory knows its protection
	s.newContainer("db1", "c1")
	return s, s.write(nil, "first")
}

// write adds a document to those that are there.
func (s *scenario) write(docs []doc, id string) []doc {
	s.t.Helper()
	d := doc{ID: id, City: "Bern", Text: "text of " + id}
	if err := put(s.t.Context(), s.container("db1", "c1"), d); err != nil {
		s.t.Fatal(err)
	}
	return append(docs, d)
}

// rotateRootKey rotates on the stopped server's directory.
func (s *scenario) rotateRootKey(args ...string) {
	s.t.Helper()
	if out, exit := s.try(append([]string{"rootkey", "rotate"}, args...)...); exit != 0 {
		s.t.Fatalf("rootkey rotate %v: exit code %d\n%s", args, exit, out)
	}
}

// resume starts the server, compares the documents, and writes one more.
func (s *scenario) resume(docs []doc, id string) []doc {
	s.t.Helper()
	s.start()
	s.connect()
	s.compareAll(s.container("db1", "c1"), docs)
	return s.write(docs, id)
}

const (
	firstPassphrase  = "correct horse battery staple"
	secondPassphrase = "another long passphrase"
)

// TestRootKeyProtections starts with each protection, writes, rotates in two ways, and reads.
func TestRootKeyProtections(t *testing.T) {
	t.Setenv("LATCHKEY_ROOT_PASSPHRASE", firstPassphrase)
	for _, p := range []string{"file", "file:" + filepath.Join(t.TempDir(), "key"), "passphrase"} {
		t.Run(strings.SplitAfter(p, ":")[0], func(t *testing.T) {
			s, docs := withAccount(t, "--root-key", p)
			if out, exit := s.try("rootkey", "rotate"); exit != 11 {
				t.Errorf("rotate beside a running server: exit code %d\n%s", exit, out)
			}
			s.stop()
			s.rotateRootKey()
			docs = s.resume(docs, "second")
			s.stop()
			s.rotateRootKey("--reseal")
			s.resume(docs, "third")
			s.offline(p)
		})
	}
}

// offline runs what reads the root key itself, beside the server and without it.
func (s *scenario) offline(p string) {
	s.t.Helper()
	for range 2 {
		var v verification
		s.report(&v, "verify")
		if !v.OK || len(v.Accounts) != 1 {
			s.t.Errorf("verify: %+v", v)
		}
		if out, exit := s.try("audit", "--last", "1000"); exit != 0 || strings.Count(out, `"RootKeyRotated"`) != 4 {
			s.t.Errorf("audit: exit code %d, %d records of a rotation", exit, strings.Count(out, `"RootKeyRotated"`))
		}
		var d struct{ Protection string }
		s.report(&d, "rootkey", "show")
		if d.Protection != p {
			s.t.Errorf("show: %+v, want %s", d, p)
		}
		s.stop()
	}
}

// TestRootKeyChangesProtection walks from the file of a plain directory to a passphrase, to another one,
// and back; and refuses what is wrong on the way.
func TestRootKeyChangesProtection(t *testing.T) {
	s, docs := withAccount(t)
	s.stop()
	old := s.keep()
	t.Setenv("LATCHKEY_NEW_ROOT_PASSPHRASE", firstPassphrase)
	s.rotateRootKey("--to", "passphrase")
	s.refuses("no passphrase", "RootPassphraseMissing")
	t.Setenv("LATCHKEY_ROOT_PASSPHRASE", secondPassphrase)
	s.refuses("a wrong passphrase", "RootPassphraseWrong")
	t.Setenv("LATCHKEY_ROOT_PASSPHRASE", firstPassphrase)
	docs = s.resume(docs, "second")
	s.stop()

	present := s.keep()
	s.put(old) // the thief's copy, beside what was written since
	if out, exit := s.try("verify"); exit == 0 {
		t.Errorf("the old root key and ring open what was written after the rotation\n%s", out)
	}
	s.put(present)

	file := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(file, []byte(secondPassphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.rotateRootKey("--to", "passphrase", "--new-root-passphrase-file", file, "--reseal")
	s.refuses("the passphrase before", "RootPassphraseWrong")
	s.args = []string{"--root-passphrase-file", file}
	docs = s.resume(docs, "third")
	s.stop()
	s.rotateRootKey("--to", "file", "--root-passphrase-file", file)
	s.args = nil
	s.resume(docs, "fourth")
	s.stop()
	if err := os.Remove(filepath.Join(s.dir, "root.ring")); err != nil {
		t.Fatal(err)
	}
	s.refuses("no ring", "RootRingMissing")
}

// keep are the two files of the root key.
func (s *scenario) keep() map[string][]byte {
	s.t.Helper()
	kept := map[string][]byte{}
	for _, name := range []string{"root.key", "root.ring"} {
		raw, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			s.t.Fatal(err)
		}
		kept[name] = raw
	}
	return kept
}

func (s *scenario) put(kept map[string][]byte) {
	s.t.Helper()
	for name, raw := range kept {
		if err := os.WriteFile(filepath.Join(s.dir, name), raw, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// refuses demands that neither the server nor an offline verb opens the directory, and why.
func (s *scenario) refuses(what, reason string) {
	s.t.Helper()
	before := s.keepIfThere()
	if err := s.tryStart(); err == nil {
		s.t.Errorf("%s: the server started", what)
		s.stop()
	}
	for _, verb := range []string{"audit", "verify"} {
		if out, exit := s.try(verb); exit == 0 || !strings.Contains(out, reason) {
			s.t.Errorf("%s: %s: exit code %d\n%s", what, verb, exit, out)
		}
	}
	if after := s.keepIfThere(); after != before {
		s.t.Errorf("%s: files were written", what)
	}
}

func (s *scenario) keepIfThere() string {
	key, _ := os.ReadFile(filepath.Join(s.dir, "root.key"))
	ring, _ := os.ReadFile(filepath.Join(s.dir, "root.ring"))
	return fmt.Sprintf("%x %x", key, ring)
}

// TestRootKeyKilledRotation kills rotations at ever later moments; after each the server starts and has
// every document.
func TestRootKeyKilledRotation(t *testing.T) {
	s, docs := withAccount(t)
	rounds, cut := 6, 0
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		rounds = 200
	}
	s.stop()
	started := time.Now()
	s.rotateRootKey("--reseal")
	whole := time.Since(started)
	docs = s.resume(docs, "whole")
	for i := range rounds {
		s.stop()
		cmd := exec.Command(s.bin, "rootkey", "rotate", "--reseal", "--data", s.dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(whole*time.Duration(i)/time.Duration(rounds), func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil {
			cut++
		}
		timer.Stop()
		docs = s.resume(docs, fmt.Sprintf("round %d", i))
	}
	t.Logf("%d of %d rotations were cut", cut, rounds)
	var v verification
	s.report(&v, "verify")
	if !v.OK || cut == 0 {
		t.Errorf("%d cut; %+v", cut, v)
	}
}

// softTokens makes two tokens, first and second, in SoftHSM2, and a binary that can use them.
func softTokens(t *testing.T) (bin, module string) {
	t.Helper()
	module = "/usr/lib/softhsm/libsofthsm2.so"
	if m := os.Getenv("SOFTHSM2_MODULE"); m != "" {
		module = m
	}
	if _, err := os.Stat(module); err != nil {
		t.Skip("SoftHSM2 is not on this machine: install libsofthsm2 and softhsm2, or set SOFTHSM2_MODULE")
	}
	bin = filepath.Join(t.TempDir(), "latchkey")
	build := exec.Command("go", "build", "-tags", "pkcs11", "-o", bin, "github.com/latchkey-db/latchkey/cmd/latchkey")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("no binary with PKCS #11 support, which needs a C compiler: %v\n%s", err, out)
	}
	conf := filepath.Join(t.TempDir(), "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+t.TempDir()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	for _, label := range []string{"first", "second"} {
		if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "4321", "--so-pin", "1234").CombinedOutput(); err != nil {
			t.Fatalf("softhsm2-util: %v\n%s", err, out)
		}
	}
	t.Setenv("LATCHKEY_PKCS11_PIN", "4321")
	return bin, module
}

// TestRootKeyInToken is TestRootKeyProtections with a key in SoftHSM2 and a binary that supports it.
func TestRootKeyInToken(t *testing.T) {
	bin, module := softTokens(t)
	uri := "pkcs11:token=first;object=root?module-path=" + module
	s, docs := withAccountIn(t, bin, "--root-key", uri)
	s.stop()
	s.rotateRootKey()
	docs = s.resume(docs, "second")
	s.stop()
	s.rotateRootKey("--reseal")
	docs = s.resume(docs, "third")
	s.offline(uri)

	t.Setenv("LATCHKEY_PKCS11_PIN", "0000")
	s.refuses("a wrong PIN", "RootTokenPIN")
	t.Setenv("LATCHKEY_PKCS11_PIN", "4321")
	s.args = []string{"--root-key", strings.Replace(uri, "first", "third", 1)}
	if err := s.tryStart(); err == nil {
		t.Error("no such token: the server started")
	}
	s.args = []string{"--root-key", strings.Replace(uri, "first", "second", 1)}
	if err := s.tryStart(); err == nil || !strings.Contains(s.log.String(), "does not have the key") {
		t.Errorf("another token: %v", err)
	}
	s.args = nil
	plain, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s.bin = plain
	s.refuses("a build without PKCS #11", "RootTokenUnsupported")
	s.bin = bin
	s.rotateRootKey("--to", "file")
	s.resume(docs, "fourth")
}

// withAccountIn is withAccount on another binary.
func withAccountIn(t *testing.T, bin string, args ...string) (*scenario, []doc) {
	t.Helper()
	s := &scenario{server: &server{t: t, bin: bin, dir: filepath.Join(t.TempDir(), "data"), args: args, log: &lockedBuffer{}}}
	s.start()
	t.Cleanup(s.stop)
	s.connect()
	for _, step := range []func() error{
		func() error { return s.op.CreateGroup(t.Context()) }, func() error { return s.op.CreateAccount(t.Context()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	s.args = nil
	s.newContainer("db1", "c1")
	return s, s.write(nil, "first")
}
