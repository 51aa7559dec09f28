package azurelog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/api/azurelog"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
)

const vaultID = "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv1"

var start = time.Date(2026, 3, 4, 5, 6, 7, 89_000, time.UTC)

func event(n int, operation string, outcome audit.Outcome, edit func(*audit.Event)) audit.Event {
	e := audit.Event{Time: start.Add(time.Duration(n) * time.Second), Operation: operation, Resource: "https://kv1.vault.azure.net/keys/k/0a", Outcome: outcome,
		Principal: "oid", AppID: "app", Caller: "app", Address: "10.0.0.1", Request: fmt.Sprint("req", n), Micros: 1500, Client: "azsdk-go",
		URI: "https://kv1.vault.azure.net/keys/k/0a/sign?api-version=7.4", Scope: vaultID, Gate: access.AccessPolicy, Key: &audit.Key{Type: "RSA", Size: 2048}}
	if edit != nil {
		edit(&e)
	}
	return e
}

func export(t *testing.T, f azurelog.Filter, events ...audit.Event) (out []azurelog.Record) {
	t.Helper()
	x := azurelog.New(f, func(r azurelog.Record) error { out = append(out, r); return nil })
	for _, e := range events {
		if err := x.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRecord pins the form of a record: these are the names that tools for the service's log look for.
func TestRecord(t *testing.T) {
	got := export(t, azurelog.Filter{}, event(0, "KeySign", audit.Succeeded, func(e *audit.Event) { e.Caller = "alice@latchkey.localhost" }))
	raw, err := json.Marshal(got[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-03-04T05:06:07.0000890Z","category":"AuditEvent","operationName":"KeySign","operationVersion":"7.4","resultType":"Success","resultSignature":"OK","resultDescription":"",` +
		`"durationMs":1,"callerIpAddress":"10.0.0.1","correlationId":"req0","identity":{"claim":{"oid":"oid","appid":"app","upn":"alice@latchkey.localhost"}},` +
		`"properties":{"id":"https://kv1.vault.azure.net/keys/k/0a","clientInfo":"azsdk-go","requestUri":"https://kv1.vault.azure.net/keys/k/0a/sign?api-version=7.4","httpStatusCode":200,` +
		`"keyProperties":{"type":"RSA","size":2048},"isRbacAuthorized":false,"isAccessPolicyMatch":true,"isAddressAuthorized":true},"resourceId":"` + strings.ToUpper(vaultID) + `"}`
	if string(raw) != want {
		t.Errorf("record\n%s\nwant\n%s", raw, want)
	}
}

func TestResults(t *testing.T) {
	denied := func(kind fault.Kind, reason, gate string) func(*audit.Event) {
		return func(e *audit.Event) { e.Kind, e.Reason, e.Gate = kind, reason, gate }
	}
	for name, tc := range map[string]struct {
		e                      audit.Event
		operation, result, sig string
		status                 int
		rbac, policy, address  bool
	}{
		"role":              {event(0, "KeyWrap", audit.Succeeded, denied(0, "", access.DataRole)), "KeyWrap", "Success", "OK", 200, true, false, true},
		"purge":             {event(0, "SecretPurge", audit.Succeeded, nil), "SecretPurge", "Success", "No Content", 204, false, true, true},
		"no policy":         {event(0, "KeyWrap", audit.Denied, denied(fault.Denied, "ForbiddenByPolicy", access.AccessPolicy)), "KeyWrap", "Failed", "Forbidden", 403, false, false, true},
		"firewall":          {event(0, "VaultAccess", audit.Denied, denied(fault.Denied, "ForbiddenByFirewall", access.Firewall)), "Authentication", "Failed", "Forbidden", 403, false, false, false},
		"bad name":          {event(0, "KeyGet", audit.Denied, denied(fault.Invalid, "BadParameter", access.Form)), "KeyGet", "Failed", "Bad Request", 400, false, false, true},
		"missing":           {event(0, "KeyGet", audit.Failed, denied(fault.NotFound, "KeyNotFound", access.AccessPolicy)), "KeyGet", "Failed", "Not Found", 404, false, true, true},
		"token":             {event(0, "Authentication", audit.Denied, denied(fault.Unauthenticated, "TokenExpired", "")), "Authentication", "Failed", "Unauthorized", 401, false, false, true},
		"by itself":         {event(0, "KeyRotate", audit.Succeeded, func(e *audit.Event) { e.Principal = "" }), "KeyRotateIfDue", "Success", "OK", 200, false, true, true},
		"by hand":           {event(0, "KeyRotate", audit.Succeeded, nil), "KeyRotate", "Success", "OK", 200, false, true, true},
		"policy of a key":   {event(0, "KeySetRotationPolicy", audit.Succeeded, nil), "KeyRotationPolicySet", "Success", "OK", 200, false, true, true},
		"unexpected":        {event(0, "KeyGet", audit.Failed, denied(fault.Internal, "InternalServerError", access.AccessPolicy)), "KeyGet", "Failed", "Internal Server Error", 500, false, true, true},
		"old, missing":      {event(0, "KeyGet", audit.Failed, denied(0, "KeyNotFound", "")), "KeyGet", "Failed", "Not Found", 404, false, false, true},
		"old, denied":       {event(0, "KeyGet", audit.Denied, denied(0, "ForbiddenByFirewall", "")), "KeyGet", "Failed", "Forbidden", 403, false, false, false},
		"old, disabled":     {event(0, "KeyUnwrap", audit.Failed, denied(0, "KeyDisabled", "")), "KeyUnwrap", "Failed", "Forbidden", 403, false, false, true},
		"Resource Manager":  {event(0, "VaultPut", audit.Allowed, func(e *audit.Event) { e.Resource, e.Scope, e.Gate = vaultID, "", "" }), "VaultPut", "Success", "Authorized", 0, false, false, true},
		"old, vault's host": {event(0, "KeyGet", audit.Succeeded, func(e *audit.Event) { e.Scope, e.Gate = "", "" }), "KeyGet", "Success", "OK", 200, false, false, true},
	} {
		got := export(t, azurelog.Filter{}, tc.e)
		if len(got) != 1 {
			t.Errorf("%s: %d records", name, len(got))
			continue
		}
		r, p := got[0], got[0].Properties
		if r.Operation != tc.operation || r.Result != tc.result || r.Signature != tc.sig || p.Status != tc.status || p.RBAC != tc.rbac || p.PolicyMatch != tc.policy || p.AddressPassed != tc.address {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestOneRecordForEachRequest: the record of a permission gives way to the record of the end, in order.
func TestOneRecordForEachRequest(t *testing.T) {
	same := func(n int) func(*audit.Event) { return func(e *audit.Event) { e.Request = fmt.Sprint("req", n) } }
	got := export(t, azurelog.Filter{},
		event(0, "KeyCreate", audit.Allowed, same(0)),
		event(1, "KeyGet", audit.Succeeded, nil),
		event(2, "KeyDelete", audit.Allowed, same(2)), // its end was never recorded
		event(3, "KeyCreate", audit.Succeeded, same(0)),
		event(4, "AccountRevoked", audit.Succeeded, func(e *audit.Event) { e.Resource, e.Scope = "some account", "" }),
		event(5, "KeyGet", audit.Succeeded, func(e *audit.Event) { e.Scope = strings.Replace(vaultID, "kv1", "kv2", 1) }),
	)
	var names []string
	for _, r := range got {
		names = append(names, r.Operation+" "+r.Signature)
	}
	if s := strings.Join(names, ", "); s != "KeyGet OK, KeyDelete Authorized, KeyCreate OK, KeyGet OK" {
		t.Errorf("records: %s", s)
	}
}

func TestFilter(t *testing.T) {
	events := []audit.Event{event(0, "KeyGet", audit.Succeeded, nil), event(9, "KeySign", audit.Succeeded, nil)}
	for _, tc := range []struct {
		f    azurelog.Filter
		want int
	}{{azurelog.Filter{}, 2}, {azurelog.Filter{Vault: "KV1"}, 2}, {azurelog.Filter{Vault: "kv2"}, 0}, {azurelog.Filter{Since: start.Add(9 * time.Second)}, 1}} {
		if got := export(t, tc.f, events...); len(got) != tc.want {
			t.Errorf("%+v: %d records", tc.f, len(got))
		}
	}
}

// TestManyUnfinished: what waits is bounded.
func TestManyUnfinished(t *testing.T) {
	n := 0
	x := azurelog.New(azurelog.Filter{}, func(azurelog.Record) error { n++; return nil })
	for i := range 1 << 13 {
		if err := x.Add(event(i, "KeyCreate", audit.Allowed, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if n != 1<<12 {
		t.Errorf("%d records were written before the end", n)
	}
	if err := x.Flush(); err != nil || n != 1<<13 {
		t.Errorf("%d records, %v", n, err)
	}
}
