package account

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// TestNetworkRules: from which addresses an account's data plane may be used.
func TestNetworkRules(t *testing.T) {
	const one, ranges = `[{"ipAddressOrRange":"10.1.2.3"}]`, `[{"ipAddressOrRange":"10.1.0.0/16"},{"ipAddressOrRange":"127.0.0.1"}]`
	for name, c := range map[string]struct {
		rules, public, filter string
		admitted, refused     string // addresses
	}{
		"nothing set":        {"", "", "", "127.0.0.1 8.8.8.8 ::1", ""},
		"open":               {`[]`, `"Enabled"`, "false", "127.0.0.1 8.8.8.8", ""},
		"one address":        {one, "", "", "10.1.2.3 ::ffff:10.1.2.3", "10.1.2.4 127.0.0.1 ::1 nonsense"},
		"ranges":             {ranges, `"enabled"`, "", "10.1.255.1 127.0.0.1", "10.2.0.1"},
		"closed":             {one, `"Disabled"`, "", "", "10.1.2.3 127.0.0.1"},
		"perimeter":          {"", `"SecuredByPerimeter"`, "", "", "127.0.0.1"},
		"networks only":      {"", "", "true", "", "127.0.0.1"},
		"networks and rules": {one, "", "true", "10.1.2.3", "127.0.0.1"},
		"zeroes":             {`[{"ipAddressOrRange":"0.0.0.0"}]`, "", "", "", "127.0.0.1 20.1.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w, set := newWorld(t), Settings{}
			for k, v := range map[string]string{"ipRules": c.rules, "publicNetworkAccess": c.public, "isVirtualNetworkFilterEnabled": c.filter} {
				if v != "" {
					set[k] = json.RawMessage(v)
				}
			}
			a := w.mustChange(Change{Settings: set})
			ask := func(door principal.Door, address string) error {
				c := principal.Caller{Door: door, Account: a.ID, Address: address}
				return w.svc.AuthorizeDocuments(t.Context(), c, a.ID, "sqlDatabases/containers/items/read", "/dbs/d/colls/c")
			}
			for _, address := range strings.Fields(c.admitted) {
				if err := ask(principal.AccountKey, address); err != nil {
					t.Errorf("%s: %v", address, err)
				}
			}
			for _, address := range strings.Fields(c.refused) {
				for _, door := range []principal.Door{principal.AccountKey, principal.AccountReadOnlyKey, principal.AccountToken, principal.AccountResourceToken} {
					err := ask(door, address)
					if f := fault.As(err); !fault.Is(err, "ForbiddenByFirewall") || !strings.HasPrefix(f.Message, "Request originated from IP "+address+" through public internet. This is blocked by your Cosmos DB account firewall settings.") {
						t.Errorf("%s %s: %v", door, address, err)
					}
				}
				if err := ask(principal.Platform, address); err != nil {
					t.Errorf("the server itself: %v", err)
				}
			}
		})
	}
}

// TestNetworkSettingsAreChecked: what cannot be read is refused, not kept.
func TestNetworkSettingsAreChecked(t *testing.T) {
	w := newWorld(t)
	w.mustChange(Change{})
	for name, values := range map[string][]string{
		"ipRules":                       {`"1.2.3.4"`, `[{"ipAddressOrRange":"here"}]`, `[{"ipAddressOrRange":"1.2.3.4/40"}]`, `[{}]`, `[` + strings.Repeat(`{"ipAddressOrRange":"1.2.3.4"},`, maxIPRules) + `{"ipAddressOrRange":"1.2.3.4"}]`},
		"publicNetworkAccess":           {`"Perhaps"`, `true`},
		"isVirtualNetworkFilterEnabled": {`"yes"`},
	} {
		for _, v := range values {
			if _, err := w.change(acct, Change{Settings: Settings{name: json.RawMessage(v)}}); fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s %.60s: %v", name, v, err)
			}
		}
	}
}
