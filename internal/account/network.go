package account

import (
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Network rules decide from where the data plane may be used; Resource Manager is always open, so that
// nobody locks himself out. The address of a caller is that of the connection's other end, never what a
// header says. No virtual network leads here: who asks for one to be required gets only what the rules for
// addresses let in.

// maxIPRules bounds the rules of an account.
const maxIPRules = 256

// network are the settings that close an account to some networks.
type network struct {
	public string // Enabled, Disabled, SecuredByPerimeter
	filter bool   // only virtual networks, and what the rules have
	rules  []netip.Prefix
}

func (s Settings) network() (n network, err error) {
	var rules []struct {
		Value string `json:"ipAddressOrRange"`
	}
	for name, into := range map[string]any{"publicNetworkAccess": &n.public, "isVirtualNetworkFilterEnabled": &n.filter, "ipRules": &rules} {
		if raw, ok := s[name]; ok && json.Unmarshal(raw, into) != nil {
			return n, badRequest("The property '%s' has the wrong type.", name)
		}
	}
	if len(rules) > maxIPRules {
		return n, badRequest("An account has at most %d IP rules.", maxIPRules)
	}
	for _, r := range rules {
		p, err := parseIPRule(r.Value)
		if err != nil {
			return n, badRequest("The IP rule '%.64s' is invalid. It must be an IPv4 address or a range in CIDR notation.", r.Value)
		}
		n.rules = append(n.rules, p)
	}
	return n, nil
}

func parseIPRule(rule string) (netip.Prefix, error) {
	if strings.Contains(rule, "/") {
		p, err := netip.ParsePrefix(rule)
		return p.Masked(), err
	}
	addr, err := netip.ParseAddr(rule)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.Prefix(addr.BitLen())
}

// checkNetwork refuses network settings that cannot be read: they would have to close the account.
func (s Settings) checkNetwork() error {
	n, err := s.network()
	if err != nil {
		return err
	}
	for _, known := range []string{"", "Enabled", "Disabled", "SecuredByPerimeter"} {
		if strings.EqualFold(n.public, known) {
			return nil
		}
	}
	return badRequest("The value '%.64s' of publicNetworkAccess is invalid. It must be Enabled, Disabled or SecuredByPerimeter.", n.public)
}

// admits reports whether the data plane may be used from an address. Without a rule everybody may.
func (n network) admits(address string) bool {
	if n.public != "" && !strings.EqualFold(n.public, "Enabled") {
		return false
	}
	if len(n.rules) == 0 {
		return !n.filter
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, p := range n.rules {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// admit applies the network rules to a caller of the data plane.
func (s *Service) admit(c principal.Caller, accountID string) error {
	if c.Door == principal.Platform || c.Door == principal.Management {
		return nil
	}
	s.mu.RLock()
	rec := s.byID[accountID]
	s.mu.RUnlock()
	if rec == nil || !rec.Settings.restricted() {
		return nil
	}
	if n, err := rec.Settings.network(); err == nil && n.admits(c.Address) {
		return nil
	}
	return fault.New(fault.Denied, "ForbiddenByFirewall",
		"Request originated from IP %s through public internet. This is blocked by your Cosmos DB account firewall settings. More info: https://aka.ms/cosmosdb-tsg-forbidden", c.Address)
}

// restricted reports whether there is anything to decide: most accounts are open to all.
func (s Settings) restricted() bool {
	rules, public, filter := string(s["ipRules"]), string(s["publicNetworkAccess"]), string(s["isVirtualNetworkFilterEnabled"])
	return rules != "" && rules != "[]" || public != "" && public != `"Enabled"` || filter != "" && filter != "false"
}
