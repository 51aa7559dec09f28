package keyvault_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// rotate sets a policy and rotates under it, with the official client.
func (l *life) rotate() {
	ctx := l.t.Context()
	p, err := l.c.UpdateKeyRotationPolicy(ctx, "Cmk", azkeys.KeyRotationPolicy{
		Attributes: &azkeys.KeyRotationPolicyAttributes{ExpiryTime: ptr("P30D")},
		LifetimeActions: []*azkeys.LifetimeAction{{
			Action:  &azkeys.LifetimeActionType{Type: ptr(azkeys.KeyRotationPolicyActionRotate)},
			Trigger: &azkeys.LifetimeActionTrigger{TimeBeforeExpiry: ptr("P7D")}}},
	}, nil)
	l.must(err)
	got, err := l.c.GetKeyRotationPolicy(ctx, "Cmk", nil)
	l.must(err)
	if *got.ID != "https://"+l.host+"/keys/Cmk/rotationpolicy" || *got.Attributes.ExpiryTime != "P30D" || got.Attributes.Created == nil ||
		len(got.LifetimeActions) != 2 || *got.LifetimeActions[0].Trigger.TimeBeforeExpiry != "P7D" || *p.ID != *got.ID {
		l.t.Errorf("%+v", got)
	}
	k, err := l.c.RotateKey(ctx, "Cmk", nil)
	l.must(err)
	if k.Attributes.Expires.Sub(*k.Attributes.Created) != 30*24*time.Hour {
		l.t.Errorf("%+v", k.Attributes)
	}
}

// TestRotationPolicyForms: the JSON of policies, and what is refused.
func TestRotationPolicyForms(t *testing.T) {
	w := newWorld(t)
	w.importKey("k1")
	const path = "https://kv1.vault.azure.net/keys/k1/rotationpolicy?"
	none := `{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":null}`
	if a := w.do("GET", path+version, ""); a.status != 200 || a.body != none {
		t.Errorf("none set: %d %s", a.status, a.body)
	}
	for _, row := range []struct {
		body   string
		status int
		want   string // times are written as 0
	}{
		{`{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"rotate"}}]}`, 200,
			`{"id":"https://kv1.vault.azure.net/keys/k1/rotationpolicy","lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":{"created":0,"updated":0}}`},
		{`{"id":"ignored","lifetimeActions":[{"trigger":{"timeAfterCreate":null,"timeBeforeExpiry":"P3M"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P15D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P1Y","created":5}}`, 200,
			`{"id":"https://kv1.vault.azure.net/keys/k1/rotationpolicy","lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P3M"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P15D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P1Y","created":0,"updated":0}}`},
		{`{"attributes":{"expiryTime":"P27D"}}`, 400, "expiryTime must be at least 28 days"},
		{`{"attributes":{"expiryTime":"28 days"}}`, 400, "The value '28 days' is not a duration"},
		{`{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P6D"},"action":{"type":"Rotate"}}]}`, 400, "at the earliest 7 days"},
		{`{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"PT6H"},"action":{"type":"Notify"}}]}`, 400, "is not a duration"},
		{`{"lifetimeActions":[` + strings.Repeat(`{},`, 16) + `{}]}`, 400, "too many"},
		{`{"lifetimeActions":[{}]}`, 400, "not Rotate or Notify"},
		{`{"lifetimeActions":7}`, 400, "could not be deserialized"},
	} {
		a := w.do("PUT", path+version, row.body)
		body := regexp.MustCompile(`"(created|updated)":[1-9]\d*`).ReplaceAllString(a.body, `"$1":0`)
		switch {
		case a.status != row.status:
			t.Errorf("%s: %d %s", row.body, a.status, a.body)
		case a.status == 200 && body != row.want:
			t.Errorf("%s:\n got %s\nwant %s", row.body, body, row.want)
		case a.status != 200 && (!strings.HasPrefix(body, `{"error":{"code":"BadParameter","message":"`) || !strings.Contains(body, row.want)):
			t.Errorf("%s: %s, want %s", row.body, body, row.want)
		}
	}
	if a := w.do("GET", "https://kv1.vault.azure.net/keys/absent/rotationpolicy?"+version, ""); a.status != 404 || !strings.Contains(a.body, `"code":"KeyNotFound"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.do("DELETE", path+version, ""); a.status != 404 {
		t.Errorf("DELETE: %d %s", a.status, a.body)
	}
}
