package test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// try runs a verb of the command on the server's directory and returns its output and exit code.
func (s *server) try(args ...string) (out string, exit int) {
	s.t.Helper()
	cmd := exec.Command(s.bin, append(args, "--data", s.dir, "--output", "json")...)
	raw, err := cmd.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		s.t.Fatal(err)
	}
	if failed != nil {
		raw = append(raw, failed.Stderr...)
	}
	return string(raw), cmd.ProcessState.ExitCode()
}

// report runs a verb that must succeed and decodes what it prints.
func (s *server) report(result any, args ...string) {
	s.t.Helper()
	out, exit := s.try(args...)
	if exit != 0 {
		s.t.Fatalf("latchkey %s: exit code %d\n%s", strings.Join(args, " "), exit, out)
	}
	if err := json.Unmarshal([]byte(out), result); err != nil {
		s.t.Fatalf("latchkey %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// verification is the part of verify's report that the tests look at.
type verification struct {
	OK       bool
	Accounts []struct {
		Name, State, KeyID, Content, Denied string
		DataKeys                            []struct{ ID, State string }
		Files                               []struct{ Name, State string }
		Problems                            []string
	}
	Platform struct{ Problems []string }
}

// TestOperations walks through what an operator does to an account: verify, rotate, back up, lose the
// key, restore, lock, rehearse, destroy.
func TestOperations(t *testing.T) {
	s := tutorial(t)
	docs, c := someDocs(40), s.newContainer("db", "c")
	s.putAll(c, docs)
	var before, after verification
	s.report(&before, "verify")
	if !before.OK || len(before.Accounts) != 1 || !strings.HasPrefix(before.Accounts[0].KeyID, s.keyURI+"/") || len(before.Accounts[0].Files) < 3 {
		t.Fatalf("verify: %+v", before)
	}
	if out, exit := s.try("account", "rotate", demo.Account, "--wait"); exit != 0 {
		t.Fatalf("rotate: %s", out)
	}
	s.report(&after, "verify")
	if !after.OK || len(after.Accounts[0].DataKeys) != 1 || after.Accounts[0].DataKeys[0].ID == before.Accounts[0].DataKeys[0].ID {
		t.Errorf("after the rotation: %+v", after)
	}
	if after.Accounts[0].Content != before.Accounts[0].Content {
		t.Error("the content changed with its keys")
	}
	backup := filepath.Join(t.TempDir(), "backup")
	s.report(&struct{}{}, "backup", "--account", demo.Account, "--to", backup)
	s.rotateThenRestore(t, backup, before.Accounts[0].Content)
	s.lockAndUnlock(t)
	s.rehearse(t)
	s.compareAll(s.container("db", "c"), docs)
	if out, exit := s.try("account", "shred", demo.Account); exit != 2 {
		t.Errorf("shred without the name again: exit code %d\n%s", exit, out)
	}
	var proof struct{ Files, KeyringsLeft int }
	s.report(&proof, "account", "shred", demo.Account, "--yes", demo.Account)
	if proof.Files == 0 || proof.KeyringsLeft != 0 {
		t.Errorf("proof %+v", proof)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "accounts", "*", "keyring")); len(left) != 1 {
		t.Errorf("keyrings: %v", left)
	}
	if log := s.latchkey("audit"); !strings.Contains(log, "AccountShredded") || !strings.Contains(log, "RevocationDrilled") || !strings.Contains(log, "AccountBackedUp") {
		t.Error("the audit log does not tell of the operations")
	}
	s.stop()
	s.report(&after, "verify") // starts a server for itself
	if !after.OK || len(after.Accounts) != 1 || after.Accounts[0].Content != before.Accounts[0].Content {
		t.Errorf("with the server stopped: %+v", after)
	}
}

// rotateThenRestore is row 21 of the checklist: a backup that was taken under one version of the key
// is restored while that version may be used, whatever the newest one is, and not otherwise.
func (s *scenario) rotateThenRestore(t *testing.T, backup, content string) {
	t.Helper()
	ctx := t.Context()
	keys, err := s.op.Keys()
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.op.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.op.CreateKey(ctx); err != nil { // a new version
		t.Fatal(err)
	}
	s.waitFor("the new version", bound, func() error {
		if now, err := s.op.Status(ctx); err != nil || now.KeyVersion == old.KeyVersion {
			return errors.Join(err, errors.New("still under the old version"))
		}
		return nil
	})
	enable := func(on bool) {
		t.Helper()
		change := azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Enabled: ptr(on)}}
		if _, err := keys.UpdateKey(ctx, demo.Key, old.KeyVersion, change, nil); err != nil {
			t.Fatal(err)
		}
	}
	enable(false)
	restore := []string{"restore", "--from", backup, "--account", "restored", "--resource-group", demo.Group}
	if out, exit := s.try(restore...); exit == 0 || !strings.Contains(out, old.KeyVersion) || !strings.Contains(out, "disabled or expired") {
		t.Errorf("restore under a disabled version: exit code %d\n%s", exit, out)
	}
	enable(true)
	s.report(&struct{}{}, restore...)
	var v verification
	s.report(&v, "verify", "--account", "restored")
	if !v.OK || v.Accounts[0].Content != content {
		t.Errorf("restored: %+v", v)
	}
}

func (s *scenario) lockAndUnlock(t *testing.T) {
	t.Helper()
	if out, exit := s.try("account", "lock", demo.Account); exit != 0 {
		t.Fatal(out)
	}
	read := func() error { return get(t.Context(), s.container("db", "c"), someDocs(1)[0]) }
	if err := refusedWith(read(), ""); err != nil {
		t.Errorf("a locked account: %v", err)
	}
	s.restart(s.stop)
	if err := refusedWith(read(), ""); err != nil {
		t.Errorf("a locked account after a restart: %v", err)
	}
	if out, exit := s.try("verify"); exit != 12 || !strings.Contains(out, `"ok":false`) {
		t.Errorf("verify: exit code %d\n%s", exit, out)
	}
	if out, exit := s.try("account", "unlock", demo.Account); exit != 0 {
		t.Fatal(out)
	}
}

func (s *scenario) rehearse(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"--clone"}, {}} {
		var r struct {
			Passed                        bool
			Clone, Substatus              string
			RefusedAfterMs, ServedAfterMs float64
		}
		s.report(&r, append([]string{"drill", "revoke", "--account", demo.Account}, args...)...)
		if !r.Passed || r.Substatus != "4018" || (r.Clone != "") != (len(args) > 0) || r.RefusedAfterMs > float64(bound/time.Millisecond) {
			t.Errorf("drill %v: %+v", args, r)
		}
	}
	resp, err := s.client().Get("https://localhost/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`latchkey_key_checks_total{substatus="4018"}`, `latchkey_accounts{state="open"} `, "latchkey_account_lock_seconds_total "} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if dirs, _ := os.ReadDir(filepath.Join(s.dir, "accounts")); len(dirs) != 2 { // the account and the restored one
		t.Errorf("%d accounts are left", len(dirs))
	}
}
