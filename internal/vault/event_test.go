package vault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// told are the events that are durable, as "type kind name", in order; the test empties it.
func (w *world) told() string {
	out := strings.Join(w.events, ", ")
	w.events = nil
	return out
}

func TestEventsOfChanges(t *testing.T) {
	w := newWorld(t)
	server := principal.Server("test")
	w.put("kv1", spec())
	steps := []struct {
		name string
		do   func() error
		want string
	}{
		{"import", func() error {
			_, err := w.svc.ImportKey(ctx, server, "kv1", "k", vault.KeySpec{KTY: "RSA"}, testJWK())
			return err
		}, "NewVersionCreated Key k"},
		{"new version", func() error { _, err := w.svc.RotateKey(ctx, server, "kv1", "k"); return err }, "NewVersionCreated Key k"},
		{"disable", func() error {
			_, err := w.svc.UpdateKey(ctx, server, "kv1", "k", "", vault.KeySpec{Change: vault.Change{Enabled: ptr(false)}})
			return err
		}, "Disabled Key k"},
		{"tags", func() error {
			_, err := w.svc.UpdateKey(ctx, server, "kv1", "k", "", vault.KeySpec{Change: vault.Change{Tags: map[string]string{"a": "b"}}})
			return err
		}, ""},
		{"enable", func() error {
			_, err := w.svc.UpdateKey(ctx, server, "kv1", "k", "", vault.KeySpec{Change: vault.Change{Enabled: ptr(true)}})
			return err
		}, "Enabled Key k"},
		{"use", func() error {
			_, err := w.svc.Crypt(ctx, server, "kv1", "k", "", material.Wrap, material.Input{Algorithm: "RSA-OAEP-256", Value: []byte("x")})
			return err
		}, ""},
		{"delete", func() error { _, err := w.svc.DeleteKey(ctx, server, "kv1", "k"); return err }, "Deleted Key k"},
		{"recover", func() error { _, err := w.svc.RecoverKey(ctx, server, "kv1", "k"); return err }, "Recovered Key k"},
		{"secret", func() error {
			_, err := w.svc.SetSecret(ctx, server, "kv1", "s", vault.SecretSpec{Value: ptr("v")})
			return err
		}, "NewVersionCreated Secret s"},
		{"refused", func() error { _, _ = w.svc.DeleteKey(ctx, server, "kv1", "none"); return nil }, ""},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got := w.told(); got != s.want {
			t.Errorf("%s: told %q, want %q", s.name, got, s.want)
		}
	}
	w.refuse = true
	if _, err := w.svc.DeleteKey(ctx, server, "kv1", "k"); err == nil {
		t.Error("a change whose event cannot be queued was made")
	}
	if _, err := w.svc.Key(ctx, server, "kv1", "k", ""); err != nil || w.told() != "" {
		t.Errorf("after that: %v", err)
	}
}

// TestNotices moves the clock over the end of versions: each notice comes once, also over a restart, and
// another exp counts anew.
func TestNotices(t *testing.T) {
	const day = 24 * time.Hour
	w := newWorld(t)
	server := principal.Server("test")
	w.put("kv1", spec())
	end := w.now.Add(100 * day).Unix()
	if _, err := w.svc.ImportKey(ctx, server, "kv1", "k", vault.KeySpec{KTY: "RSA", Change: vault.Change{Expires: &end}}, testJWK()); err != nil {
		t.Fatal(err)
	}
	policy := vault.RotationPolicy{Actions: []vault.LifetimeAction{{Action: vault.Notify, BeforeExpiry: vault.Duration{Days: 10}}}}
	if _, err := w.svc.SetRotationPolicy(ctx, server, "kv1", "k", policy); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.SetSecret(ctx, server, "kv1", "s", vault.SecretSpec{Value: ptr("v"), Change: vault.Change{Expires: &end}}); err != nil {
		t.Fatal(err)
	}
	w.told()
	start := w.now
	sweep := func(days int, want string) {
		t.Helper()
		w.now = start.Add(time.Duration(days) * day)
		for range 2 {
			if err := w.svc.Sweep(ctx, w.now); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.told(); got != want {
			t.Errorf("day %d: told %q, want %q", days, got, want)
		}
	}
	if at, ok := w.svc.NextNotice(); !ok || !at.Equal(start.Add(70*day)) {
		t.Errorf("the first notice is due at %v, %v", at, ok)
	}
	sweep(69, "")
	sweep(70, "NearExpiry Secret s")
	sweep(89, "")
	sweep(90, "NearExpiry Key k")
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	sweep(91, "")
	if at, ok := w.svc.NextNotice(); !ok || !at.Equal(start.Add(100*day)) {
		t.Errorf("the next notice is due at %v, %v", at, ok)
	}
	sweep(100, "Expired Key k, Expired Secret s")
	if e := w.last(); e.Operation != "SecretExpiredEventGridNotification" {
		t.Errorf("record %+v", e)
	}
	sweep(101, "")
	end = start.Add(120 * day).Unix()
	if _, err := w.svc.UpdateSecret(ctx, server, "kv1", "s", "", vault.SecretSpec{Change: vault.Change{Expires: &end}}); err != nil {
		t.Fatal(err)
	}
	sweep(102, "NearExpiry Secret s")
	sweep(200, "Expired Secret s")
	if _, ok := w.svc.NextNotice(); ok {
		t.Error("something is due although all was told")
	}
	if _, err := w.svc.DeleteSecret(ctx, server, "kv1", "s"); err != nil {
		t.Fatal(err)
	}
	w.told()
	sweep(400, "")
}

// TestLateNotice: after a long pause subscribers hear that a version is over, not that it was near.
func TestLateNotice(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec())
	end := w.now.Add(time.Hour).Unix()
	if _, err := w.svc.SetSecret(ctx, principal.Server("test"), "kv1", "s", vault.SecretSpec{Value: ptr("v"), Change: vault.Change{Expires: &end}}); err != nil {
		t.Fatal(err)
	}
	w.told()
	w.now = w.now.Add(time.Hour)
	if err := w.svc.Sweep(ctx, w.now); err != nil {
		t.Fatal(err)
	}
	if got := w.told(); got != "Expired Secret s" {
		t.Errorf("told %q", got)
	}
}

// queue takes an event; durable is called when its commit is durable.
func (w *world) queue(_ *store.Batch, e vault.Event) error {
	if w.refuse {
		return errRefused
	}
	w.queued = append(w.queued, string(e.Type)+" "+e.Kind+" "+e.Name)
	return nil
}

func (w *world) durable() {
	w.events = append(w.events, w.queued...)
	w.queued = nil
}
