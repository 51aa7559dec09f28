package vault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// TestRefusedTokensCannotFillTheLog: they are recorded, a few in a second, and none goes uncounted.
func TestRefusedTokensCannotFillTheLog(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec())
	before := len(w.audited)
	why := fault.New(fault.Unauthenticated, "TokenExpired", "old")
	c := principal.Caller{Door: principal.VaultData, Address: "10.0.0.9", Client: "tool", URI: "https://kv1.vault.azure.net/keys"}
	for range 1000 {
		if err := w.svc.Unproven(ctx, c, "kv1", why); !errors.Is(err, why) {
			t.Fatal(err)
		}
	}
	if n := len(w.audited) - before; n == 0 || n > 10 {
		t.Errorf("%d records of 1000 refused tokens", n)
	}
	if e := w.last(); e.Operation != "Authentication" || e.Outcome != "denied" || e.Address != "10.0.0.9" || e.Client != "tool" || !strings.HasSuffix(e.Scope, "/vaults/kv1") {
		t.Errorf("record %+v", e)
	}
	w.now = w.now.Add(time.Second)
	_ = w.svc.Unproven(ctx, c, "kv1", why)
	if e := w.last(); e.Detail != "990 more were refused since the record before" {
		t.Errorf("after the second: %+v", e)
	}
	w.noAudit = errors.New("disk full")
	if err := w.svc.Unproven(ctx, c, "kv1", why); !errors.Is(err, w.noAudit) {
		t.Errorf("without a record: %v", err)
	}
	if err := w.svc.Unproven(ctx, c, "kv9", why); !errors.Is(err, why) {
		t.Errorf("a vault that is not there: %v", err)
	}
}

// TestRecordsTellGateAndKey: what a record has to tell for the form of the service's log.
func TestRecordsTellGateAndKey(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "get")))
	if _, err := w.svc.ImportKey(ctx, principal.Server("test"), "kv1", "key-1", vault.KeySpec{KTY: "RSA"}, testJWK()); err != nil {
		t.Fatal(err)
	}
	c := user
	c.Client, c.URI = "azsdk", "https://kv1.vault.azure.net/keys/key-1?api-version=7.4"
	if _, err := w.svc.Key(ctx, c, "kv1", "key-1", ""); err != nil {
		t.Fatal(err)
	}
	e := w.last()
	if e.Gate != "access policy" || e.Key == nil || e.Key.Type != "RSA" || e.Key.Size != 2048 || e.Client != c.Client || e.URI != c.URI || e.Kind != 0 {
		t.Errorf("record %+v, key %+v", e, e.Key)
	}
	if _, err := w.svc.DeleteKey(ctx, c, "kv1", "key-1"); err == nil {
		t.Fatal("deleted without the permission")
	}
	if e := w.last(); e.Kind != fault.Denied || e.Gate != "access policy" {
		t.Errorf("record %+v", e)
	}
}
