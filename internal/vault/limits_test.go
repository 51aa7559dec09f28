package vault_test

import (
	"errors"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// limited is a world with the service's limits, at the beginning of a period.
func limited(t *testing.T) *world {
	w := newWorld(t)
	w.limits = true
	w.restart()
	w.now = time.Unix(1_800_000_000, 0).UTC()
	all := spec(policy(alice, "all", "rotate"))
	all.Policies[0].Permissions.Secrets = []string{"all"}
	w.put("kv1", all)
	return w
}

// TestLimits: as many operations as the service lets through in ten seconds, and then 429 until the next
// period; a larger key fills the share faster, and different keys add up.
func TestLimits(t *testing.T) {
	w := limited(t)
	for name, bits := range map[string]int{"small": 2048, "large": 4096} {
		if _, err := w.svc.CreateKey(ctx, principal.Server("test"), "kv1", name, vault.KeySpec{KTY: "RSA", Size: bits}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(name string, most int) (n int) {
		for range most {
			if _, err := w.svc.Key(ctx, user, "kv1", name, ""); err != nil {
				var after *vault.RetryAfter
				if !fault.Is(err, "Throttled") || fault.KindOf(err) != fault.Throttled || !errors.As(err, &after) || after.Wait <= 0 || after.Wait > 10*time.Second {
					t.Fatalf("refused with %v", err)
				}
				continue
			}
			n++
		}
		return n
	}
	next := func() { w.now = w.now.Add(10 * time.Second) }
	if n := count("small", 4010); n != 4000 {
		t.Errorf("%d reads of an RSA key of 2048 bits", n)
	}
	if _, err := w.svc.SetSecret(ctx, user, "kv1", "s", vault.SecretSpec{Value: ptr("v")}); err != nil {
		t.Errorf("secrets count apart: %v", err)
	}
	next()
	if n := count("large", 510); n != 500 {
		t.Errorf("%d reads of one of 4096 bits", n)
	}
	next()
	if n := count("large", 250); n != 250 {
		t.Fatal(n)
	}
	if n := count("small", 2010); n != 2000 {
		t.Errorf("%d small ones beside half of the large ones", n)
	}
	next()
	for i := range 25 {
		_, err := w.svc.CreateKey(ctx, user, "kv1", "ec", vault.KeySpec{KTY: "EC"})
		if (err == nil) != (i < 20) {
			t.Errorf("creation %d: %v", i, err)
		}
	}
	if _, err := w.svc.Key(ctx, principal.Server("test"), "kv1", "small", ""); err != nil {
		t.Errorf("the server itself is limited: %v", err)
	}
}

// TestSubscriptionLimit: all vaults together have the share of five.
func TestSubscriptionLimit(t *testing.T) {
	w := limited(t)
	n := 0
	for _, name := range []string{"kv1", "kv2", "kv3", "kv4", "kv5", "kv6"} {
		s := spec()
		s.Policies = []vault.AccessPolicy{{TenantID: tenant, ObjectID: alice, Permissions: vault.Permissions{Secrets: []string{"all"}}}}
		w.put(name, s)
		for range 4000 {
			if _, _, err := w.svc.Secrets(ctx, user, name, vault.Page{}); err == nil {
				n++
			}
		}
	}
	if n != 20_000 {
		t.Errorf("%d operations in six vaults", n)
	}
}

func TestNoLimitsUnlessAsked(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	for i := range 30 {
		if _, err := w.svc.CreateKey(ctx, user, "kv1", "ec", vault.KeySpec{KTY: "EC"}); err != nil {
			t.Fatalf("creation %d: %v", i, err)
		}
	}
}

func TestDisturbance(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec())
	w.put("kv2", spec())
	set := func(d vault.Disturbance) (vault.Disturbance, error) {
		got, err := w.svc.Operate(ctx, manager, id("rg", "kv1"), vault.Operation{Verb: "fault", Disturbance: d})
		if err != nil {
			return vault.Disturbance{}, err
		}
		return got.(vault.Disturbance), nil
	}
	if _, err := set(vault.Disturbance{Throttle: 10}); !fault.Is(err, "FaultsNotAllowed") {
		t.Errorf("without --allow-faults: %v", err)
	}
	w.faults = true
	w.restart()
	for _, bad := range []vault.Disturbance{{Throttle: 101}, {Throttle: -1}, {Outage: "half"}, {Latency: 60_001}, {Latency: 1, For: 86_401}, {Latency: 1, For: -1}} {
		if _, err := set(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if d, err := set(vault.Disturbance{Throttle: 30, Latency: 5, For: 60}); err != nil || !d.Until.Equal(w.now.Add(time.Minute)) || w.last().Detail == "" {
		t.Fatalf("set: %+v, %v", d, err)
	}
	n := 0
	for range 100 {
		wait, cut, err := w.svc.Disturb("KV1")
		if wait != 5*time.Millisecond || cut {
			t.Fatalf("wait %v, cut %v", wait, cut)
		}
		if fault.Is(err, "Throttled") {
			n++
		}
	}
	if n != 30 {
		t.Errorf("%d of 100 requests were throttled", n)
	}
	if d, err := set(vault.Disturbance{}); err != nil || d.Disturbed != 100 {
		t.Errorf("shown: %+v, %v", d, err)
	}
	if wait, cut, err := w.svc.Disturb("kv2"); wait != 0 || cut || err != nil {
		t.Error("another vault is disturbed")
	}
	w.now = w.now.Add(time.Minute)
	if wait, _, err := w.svc.Disturb("kv1"); wait != 0 || err != nil {
		t.Error("it did not end by itself")
	}
	if _, err := set(vault.Disturbance{Outage: vault.OutageBusy}); err != nil {
		t.Fatal(err)
	}
	if _, cut, err := w.svc.Disturb("kv1"); cut || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("busy: %v, %v", cut, err)
	}
	if _, err := set(vault.Disturbance{Outage: vault.OutageReset}); err != nil {
		t.Fatal(err)
	}
	if _, cut, _ := w.svc.Disturb("kv1"); !cut {
		t.Error("the connection is not cut")
	}
	w.restart()
	if _, cut, err := w.svc.Disturb("kv1"); cut || err != nil {
		t.Error("it survived a restart")
	}
}
