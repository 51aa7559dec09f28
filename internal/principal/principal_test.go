package principal_test

import (
	"slices"
	"testing"

	"github.com/latchkey-db/latchkey/internal/principal"
)

func TestCaller(t *testing.T) {
	user := principal.Caller{Door: principal.Management, Kind: principal.User, ObjectID: "u", Groups: []string{"g1", "g2"}, Name: "ada@x", AppID: "cli"}
	for _, c := range []struct {
		caller principal.Caller
		ids    []string
		label  string
	}{
		{user, []string{"u", "g1", "g2"}, "ada@x"},
		{principal.Caller{Door: principal.VaultData, Kind: principal.ServicePrincipal, ObjectID: "s", AppID: "app", Name: "shown"}, []string{"s"}, "app"},
		{principal.Caller{Door: principal.AccountKey, Account: "a"}, nil, "account-key"},
		{principal.Caller{Door: principal.AccountReadOnlyKey}, nil, "account-readonly-key"},
		{principal.Server("sweep"), nil, "platform"},
	} {
		if got := c.caller.IDs(); !slices.Equal(got, c.ids) {
			t.Errorf("%+v: IDs = %v", c.caller, got)
		}
		if got := c.caller.Label(); got != c.label {
			t.Errorf("%+v: Label = %q", c.caller, got)
		}
		if c.caller.Is("") || c.caller.Is("other") {
			t.Errorf("%+v: is somebody else", c.caller)
		}
		for _, id := range c.ids {
			if !c.caller.Is(id) {
				t.Errorf("%+v: is not %s", c.caller, id)
			}
		}
	}
	ids := user.IDs()
	ids[1] = "x"
	if user.Groups[0] != "g1" {
		t.Error("IDs shares memory with Groups")
	}
}
