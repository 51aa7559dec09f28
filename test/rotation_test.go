package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// TestAutomaticRotation: a rotation policy fires, the account takes the new version, and the old one may
// go. A version that was given an exp inside timeBeforeExpiry is due at once: no clock has to be moved.
func TestAutomaticRotation(t *testing.T) {
	s := tutorial(t)
	ctx := t.Context()
	c := s.newContainer("db1", "c1")
	docs := someDocs(50)
	s.putAll(c, docs)
	if err := s.op.GrantOnly(ctx, s.self(), "all", "getrotationpolicy", "setrotationpolicy"); err != nil {
		t.Fatal(err)
	}
	keys, err := s.op.Keys()
	if err != nil {
		t.Fatal(err)
	}
	before := s.status().KeyVersion
	soon := time.Now().Add(10 * 24 * time.Hour)
	if _, err := keys.UpdateKey(ctx, demo.Key, before, azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Expires: &soon}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.UpdateKeyRotationPolicy(ctx, demo.Key, azkeys.KeyRotationPolicy{
		Attributes: &azkeys.KeyRotationPolicyAttributes{ExpiryTime: ptr("P90D")},
		LifetimeActions: []*azkeys.LifetimeAction{{
			Action:  &azkeys.LifetimeActionType{Type: ptr(azkeys.KeyRotationPolicyActionRotate)},
			Trigger: &azkeys.LifetimeActionTrigger{TimeBeforeExpiry: ptr("P20D")}}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	after := s.waitRotated(before)
	if _, err := keys.UpdateKey(ctx, demo.Key, before, disabled(), nil); err != nil {
		t.Fatal(err)
	}
	s.compareAll(c, docs)
	s.restart(s.stop)
	s.compareAll(s.container("db1", "c1"), docs)
	if now := s.status().KeyVersion; now != after {
		t.Errorf("rotated again: %s after %s", now, after)
	}
	s.checkRotationRecord(after)
}

// checkRotationRecord looks for the record of the rotation that made a version, in the platform's name.
func (s *scenario) checkRotationRecord(version string) {
	s.t.Helper()
	for line := range strings.Lines(s.latchkey("audit", "--output", "json")) {
		var e struct {
			Event struct{ Operation, Outcome, Caller, Version string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		if v := e.Event; v.Operation == "KeyRotate" && v.Version == version && v.Outcome == "succeeded" && v.Caller == "platform" {
			return
		}
	}
	s.t.Error("the rotation is not in the audit log")
}

// waitRotated waits until the account uses another version, and returns it.
func (s *scenario) waitRotated(before string) (after string) {
	s.t.Helper()
	s.waitFor("the new version", 3*bound, func() error {
		if after = s.status().KeyVersion; after == before || after == "" {
			return os.ErrNotExist
		}
		return nil
	})
	return after
}

// TestAZRotation: rotation by hand and by policy with the real az.
func TestAZRotation(t *testing.T) {
	azPath(t)
	s := startServer(t)
	script, err := filepath.Abs("testdata/rotation.sh")
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.exec("bash", script)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/rotation.golden")
	if err != nil {
		t.Fatal(err)
	}
	if out != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", out, want)
	}
}
