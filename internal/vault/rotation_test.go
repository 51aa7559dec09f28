package vault_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault"
)

const day = 24 * time.Hour

func span(t testing.TB, s string) vault.Duration {
	t.Helper()
	d, err := vault.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDurations: what is read, and how it is written.
func TestDurations(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "P90D": "P90D", "p90d": "P90D", "P3M": "P3M", "P1Y": "P1Y", "P1Y2M10D": "P1Y2M10D", "P4W": "P28D", "P0Y7D": "P7D", "P100Y": "P100Y",
		"P": "-", "P0D": "-", "90D": "-", "P-1D": "-", "PT48H": "-", "P1DT1H": "-", "P1.5D": "-", "P1D2M": "-", "P101Y": "-", "P99999D": "-", "P1D ": "-", "P٣D": "-",
	} {
		d, err := vault.ParseDuration(in)
		if want == "-" {
			want = ""
			if err == nil {
				t.Errorf("%q is accepted as %q", in, d)
			}
		} else if err != nil {
			t.Error(err)
		}
		if d.String() != want {
			t.Errorf("%q: %q, want %q", in, d, want)
		}
		var back vault.Duration
		if text, err := d.MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != d {
			t.Errorf("%q: %q comes back as %v", in, text, back)
		}
	}
}

func policyOf(t testing.TB, expiry string, actions ...[3]string) vault.RotationPolicy {
	t.Helper()
	p := vault.RotationPolicy{Expiry: span(t, expiry)}
	for _, a := range actions {
		p.Actions = append(p.Actions, vault.LifetimeAction{Action: vault.Action(a[0]), AfterCreate: span(t, a[1]), BeforeExpiry: span(t, a[2])})
	}
	return p
}

// TestRotationPolicyRules: which policies are taken.
func TestRotationPolicyRules(t *testing.T) {
	type actions [][3]string
	for _, row := range []struct {
		name    string
		expiry  string
		actions actions
		reason  string
	}{
		{"nothing", "", nil, ""},
		{"expiry alone", "P28D", nil, ""},
		{"expiry of a month", "P1M", nil, ""},
		{"expiry too short", "P27D", nil, "BadParameter"},
		{"after creation", "", actions{{"Rotate", "P7D", ""}}, ""},
		{"too soon after creation", "", actions{{"Rotate", "P6D", ""}}, "BadParameter"},
		{"after creation and before expiry", "P28D", actions{{"Rotate", "P21D", ""}}, ""},
		{"too late before expiry", "P28D", actions{{"Rotate", "P22D", ""}}, "BadParameter"},
		{"after expiry", "P28D", actions{{"Rotate", "P2M", ""}}, "BadParameter"},
		{"before expiry", "P90D", actions{{"rotate", "", "P30D"}}, ""},
		{"before expiry, early", "P28D", actions{{"Rotate", "", "P21D"}}, ""},
		{"before expiry, too early", "P28D", actions{{"Rotate", "", "P22D"}}, "BadParameter"},
		{"before expiry, too late", "P28D", actions{{"Rotate", "", "P6D"}}, "BadParameter"},
		{"before an expiry that is not set", "", actions{{"Rotate", "", "P30D"}}, "BadParameter"},
		{"no trigger", "P90D", actions{{"Rotate", "", ""}}, "BadParameter"},
		{"two triggers", "P90D", actions{{"Rotate", "P30D", "P30D"}}, "BadParameter"},
		{"both actions", "P1Y", actions{{"Rotate", "P90D", ""}, {"NOTIFY", "", "P15D"}}, ""},
		{"notify without an expiry", "", actions{{"Notify", "", "P30D"}}, ""},
		{"notify after creation", "", actions{{"Notify", "P30D", ""}}, "BadParameter"},
		{"twice the same", "P1Y", actions{{"Rotate", "P90D", ""}, {"rotate", "P91D", ""}}, "BadParameter"},
		{"unknown", "", actions{{"Explode", "P90D", ""}}, "BadParameter"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.put("kv1", spec(policy(alice, "setrotationpolicy", "getrotationpolicy")))
			w.key("kv1", "k1")
			set, err := w.svc.SetRotationPolicy(ctx, user, "kv1", "k1", policyOf(t, row.expiry, row.actions...))
			want(t, err, row.reason)
			got, err := w.svc.RotationPolicy(ctx, user, "kv1", "k1")
			want(t, err, "")
			if row.reason == "" && !reflect.DeepEqual(got, set) {
				t.Errorf("kept %+v, answered %+v", got, set)
			}
			if kept := got.Created != 0; kept != (row.reason == "") {
				t.Errorf("kept: %+v", got)
			}
		})
	}
}

// TestRotationPolicyIsKept: the default, the notification that is added, the times, and a restart.
func TestRotationPolicyIsKept(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "setrotationpolicy", "getrotationpolicy", "get")))
	k := w.key("kv1", "k1")
	notify := vault.LifetimeAction{Action: vault.Notify, BeforeExpiry: vault.Duration{Days: 30}}
	get := func() vault.RotationPolicy {
		t.Helper()
		p, err := w.svc.RotationPolicy(ctx, user, "kv1", "k1")
		want(t, err, "")
		return p
	}
	if got := get(); !reflect.DeepEqual(got, vault.RotationPolicy{Actions: []vault.LifetimeAction{notify}}) {
		t.Errorf("default: %+v", got)
	}
	created := w.now.Unix()
	_, err := w.svc.SetRotationPolicy(ctx, user, "kv1", "k1", policyOf(t, "", [3]string{"rotate", "P90D", ""}))
	want(t, err, "")
	w.now = w.now.Add(time.Hour)
	_, err = w.svc.SetRotationPolicy(ctx, user, "kv1", "k1", policyOf(t, "P1Y", [3]string{"rotate", "P91D", ""}))
	want(t, err, "")
	rotate := vault.LifetimeAction{Action: vault.Rotate, AfterCreate: vault.Duration{Days: 91}}
	kept := vault.RotationPolicy{Actions: []vault.LifetimeAction{rotate, notify}, Expiry: vault.Duration{Years: 1}, Created: created, Updated: w.now.Unix()}
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	if got := get(); !reflect.DeepEqual(got, kept) {
		t.Errorf("after a restart: %+v, want %+v", got, kept)
	}
	if now, err := w.svc.Key(ctx, user, "kv1", "k1", ""); err != nil || now.Version != k.Version || now.Attributes.Expires != nil {
		t.Errorf("a policy changed a version: %+v, %v", now, err)
	}
	for _, do := range []func() error{
		func() error { _, err := w.svc.RotationPolicy(ctx, user, "kv1", "none"); return err },
		func() error { _, err := w.svc.SetRotationPolicy(ctx, user, "kv1", "none", kept); return err },
	} {
		want(t, do(), "KeyNotFound")
	}
}

// rotating is a world with a key under a policy.
func rotating(t *testing.T, p vault.RotationPolicy) *world {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all", "rotate", "setrotationpolicy")))
	w.key("kv1", "k1")
	if _, err := w.svc.SetRotationPolicy(ctx, user, "kv1", "k1", p); err != nil {
		t.Fatal(err)
	}
	return w
}

// sweepAt moves the clock and sweeps.
func (w *world) sweepAt(at time.Time) {
	w.t.Helper()
	w.now = at
	if err := w.svc.Sweep(ctx, at); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) versions() int {
	w.t.Helper()
	all, _, err := w.svc.KeyVersions(ctx, principal.Server("test"), "kv1", "k1", vault.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

// TestRotationFires: not before it is due, then once, with an exp, a record and a hint; and again.
func TestRotationFires(t *testing.T) {
	w := rotating(t, policyOf(t, "P90D", [3]string{"Rotate", "P30D", ""}))
	due := w.now.AddDate(0, 0, 30)
	if at, ok := w.svc.NextRotation(); !ok || !at.Equal(due) {
		t.Fatalf("due at %v, %v, want %v", at, ok, due)
	}
	w.sweepAt(due.Add(-time.Second))
	if n := w.versions(); n != 1 {
		t.Fatalf("%d versions before it is due", n)
	}
	w.changes, w.audited = nil, nil
	w.sweepAt(due)
	w.sweepAt(due)
	if n := w.versions(); n != 2 {
		t.Fatalf("%d versions after it was due", n)
	}
	if !reflect.DeepEqual(w.changes, []string{"kv1/k1"}) {
		t.Errorf("hints: %v", w.changes)
	}
	k, err := w.svc.Key(ctx, user, "kv1", "k1", "")
	want(t, err, "")
	if k.Attributes.Expires == nil || !k.Attributes.Expires.Equal(due.AddDate(0, 0, 90)) || !k.Attributes.Enabled {
		t.Errorf("the new version: %+v", k.Attributes)
	}
	w.checkRotationRecord(k.Version)
	if at, ok := w.svc.NextRotation(); !ok || !at.Equal(due.AddDate(0, 0, 30)) {
		t.Errorf("next: %v, %v", at, ok)
	}
	w.sweepAt(due.AddDate(1, 0, 0)) // one version for all that was missed
	if n := w.versions(); n != 3 {
		t.Errorf("%d versions after a year", n)
	}
}

// checkRotationRecord looks for the record of the rotation that made a version.
func (w *world) checkRotationRecord(version string) {
	w.t.Helper()
	for _, e := range w.audited {
		if e.Operation == "KeyRotate" && e.Version == version {
			if e.Caller != "platform" || e.Outcome != audit.Succeeded {
				w.t.Errorf("record: %+v", e)
			}
			return
		}
	}
	w.t.Errorf("no record of the rotation in %+v", w.audited)
}

// TestRotationBeforeExpiry: the version's own exp counts, and without one the policy's.
func TestRotationBeforeExpiry(t *testing.T) {
	w := rotating(t, policyOf(t, "P90D", [3]string{"Rotate", "", "P30D"}))
	start := w.now
	if at, _ := w.svc.NextRotation(); !at.Equal(start.AddDate(0, 0, 60)) {
		t.Errorf("without an exp: %v", at)
	}
	_, err := w.svc.UpdateKey(ctx, user, "kv1", "k1", "", vault.KeySpec{Change: vault.Change{Expires: ptr(start.AddDate(0, 0, 40).Unix())}})
	want(t, err, "")
	if at, _ := w.svc.NextRotation(); !at.Equal(start.AddDate(0, 0, 10)) {
		t.Errorf("with an exp: %v", at)
	}
}

// TestRotateKeyAppliesThePolicy: the same for a rotation by hand; a version that is created stays without.
func TestRotateKeyAppliesThePolicy(t *testing.T) {
	w := rotating(t, policyOf(t, "P30D"))
	k, err := w.svc.RotateKey(ctx, user, "kv1", "k1")
	want(t, err, "")
	if e := k.Attributes.Expires; e == nil || e.Sub(k.Created) != 30*day {
		t.Errorf("exp of a rotated version: %v", e)
	}
	if e := w.key("kv1", "k1").Attributes.Expires; e != nil {
		t.Errorf("exp of an imported version: %v", e)
	}
	if _, ok := w.svc.NextRotation(); ok {
		t.Error("a policy without Rotate rotates")
	}
}

// TestRotationWaits: keys that are not rotated, and that they are once they may be.
func TestRotationWaits(t *testing.T) {
	for _, row := range []struct {
		name       string
		stop, back func(w *world) error
	}{
		{"disabled",
			func(w *world) error {
				_, err := w.svc.UpdateKey(ctx, user, "kv1", "k1", "", vault.KeySpec{Change: vault.Change{Enabled: ptr(false)}})
				return err
			},
			func(w *world) error {
				_, err := w.svc.UpdateKey(ctx, user, "kv1", "k1", "", vault.KeySpec{Change: vault.Change{Enabled: ptr(true)}})
				return err
			}},
		{"deleted",
			func(w *world) error { _, err := w.svc.DeleteKey(ctx, user, "kv1", "k1"); return err },
			func(w *world) error { _, err := w.svc.RecoverKey(ctx, user, "kv1", "k1"); return err }},
		{"vault deleted",
			func(w *world) error { _, err := w.svc.DeleteVault(ctx, manager, id("rg", "kv1")); return err },
			func(w *world) error {
				s := spec()
				s.Recover = true
				_, _, err := w.svc.PutVault(ctx, manager, id("rg", "kv1"), s)
				return err
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := rotating(t, policyOf(t, "", [3]string{"Rotate", "P30D", ""}))
			want(t, row.stop(w), "")
			if _, ok := w.svc.NextRotation(); ok {
				t.Error("it is still due")
			}
			w.sweepAt(w.now.AddDate(0, 0, 31))
			want(t, row.back(w), "")
			if n := w.versions(); n != 1 {
				t.Fatalf("%d versions", n)
			}
			w.sweepAt(w.now)
			if n := w.versions(); n != 2 {
				t.Errorf("%d versions after it came back", n)
			}
		})
	}
}

// TestRotationFails: without the audit log there is no new version; the next sweep makes it.
func TestRotationFails(t *testing.T) {
	w := rotating(t, policyOf(t, "", [3]string{"Rotate", "P30D", ""}))
	w.now = w.now.AddDate(0, 0, 30)
	w.noAudit = errors.New("disk full")
	if err := w.svc.Sweep(ctx, w.now); !errors.Is(err, w.noAudit) {
		t.Errorf("the sweep: %v", err)
	}
	w.noAudit = nil
	if n := w.versions(); n != 1 {
		t.Fatalf("%d versions", n)
	}
	w.sweepAt(w.now)
	if n := w.versions(); n != 2 {
		t.Errorf("%d versions", n)
	}
}

// TestRotationOvertaken: what changes while the new key is made is respected.
func TestRotationOvertaken(t *testing.T) {
	for name, overtake := range map[string]func(w *world) error{
		"disabled": func(w *world) error {
			_, err := w.svc.UpdateKey(ctx, user, "kv1", "k1", "", vault.KeySpec{Change: vault.Change{Enabled: ptr(false)}})
			return err
		},
		"policy withdrawn": func(w *world) error {
			_, err := w.svc.SetRotationPolicy(ctx, user, "kv1", "k1", vault.RotationPolicy{})
			return err
		},
		"deleted": func(w *world) error { _, err := w.svc.DeleteKey(ctx, user, "kv1", "k1"); return err },
		"vault deleted": func(w *world) error {
			_, err := w.svc.DeleteVault(ctx, manager, id("rg", "kv1"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := rotating(t, policyOf(t, "", [3]string{"Rotate", "P30D", ""}))
			done := false
			w.onRecord = func(e audit.Event) {
				if e.Operation == "KeyRotate" && !done {
					done = true
					want(t, overtake(w), "")
				}
			}
			w.sweepAt(w.now.AddDate(0, 0, 30))
			w.onRecord = nil
			_, err := w.svc.RecoverKey(ctx, user, "kv1", "k1")
			if name == "deleted" {
				want(t, err, "")
			}
			if name == "vault deleted" {
				s := spec()
				s.Recover = true
				w.put("kv1", s)
			}
			if n := w.versions(); !done || n != 1 {
				t.Errorf("overtaken: %v, %d versions", done, n)
			}
		})
	}
}
