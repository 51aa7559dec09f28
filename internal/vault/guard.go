package vault

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// request is an operation on objects from its decision to its record in the audit log.
type request struct {
	s       *Service
	ctx     context.Context
	caller  principal.Caller
	need    permission
	by      access.Decision // of the last gate that was asked
	vault   Vault
	name    string // of the object; "" for operations on all of them
	version string
	started time.Time
}

// guard is the first line of every method on objects: firewall, form of the request, right. Refusals
// are recorded here; so is the permission of a change. The caller ends the request with done. name is ""
// for operations on all objects of a kind; form are the findings about the rest of the request.
func (s *Service) guard(ctx context.Context, c principal.Caller, vault, name string, need permission, form ...error) (*request, error) {
	v, err := s.live(vault)
	if err != nil {
		return nil, err
	}
	r := &request{s: s, ctx: ctx, caller: c, need: need, vault: v, name: name, started: s.cfg.Now()}
	if err := r.limit(); err != nil {
		return nil, err
	}
	trail := s.decide(r, form)
	r.by = trail[len(trail)-1]
	if !r.by.Allowed {
		return nil, r.record(audit.Event.Decided, r.by.Refusal)
	}
	if need.change {
		return r, r.record(audit.Event.Decided, nil)
	}
	return r, nil
}

// decide asks the gates one after the other until one is against. The last decision is the answer. It is
// the only code that decides about objects: guard turns its answer into a refusal, [Service.Explain]
// shows it.
func (s *Service) decide(r *request, form []error) []access.Decision {
	trail := []access.Decision{s.firewall(r.caller, r.vault)}
	if !trail[0].Allowed {
		return trail
	}
	for _, err := range append([]error{checkName(r.name)}, form...) {
		if err != nil {
			return append(trail, access.No(access.Form, "the request is not well formed", err))
		}
	}
	return append(trail, s.allowed(r))
}

// done records the outcome of an operation and returns err. A record that cannot be written is itself
// the error: no result without a record.
func (r *request) done(err error) error {
	return r.record(audit.Event.Done, err)
}

// record writes the event, with the outcome that cause means, and returns cause or the log's own error.
func (r *request) record(outcome func(audit.Event, error) audit.Event, cause error) error {
	now := r.s.cfg.Now()
	e := outcome(audit.By(r.caller, now, r.need.operation, r.resource()), cause)
	e.Version, e.Micros = r.version, now.Sub(r.started).Microseconds()
	e.Gate, e.Scope, e.Key = r.by.Gate, r.vault.ResourceID, r.keyKind()
	if err := r.s.cfg.Audit.Record(r.ctx, e); err != nil {
		return err
	}
	return cause
}

// keyKind is what records tell of the key that an operation is about; nil when it is about none.
func (r *request) keyKind() *audit.Key {
	if r.need.kind != ofKeys || r.name == "" {
		return nil
	}
	k, _ := r.s.keys.find(r.vault.Name, r.name)
	v, ok := k.version(r.version)
	if !ok {
		return nil
	}
	return &audit.Key{Type: v.KTY, Size: v.Bits, Curve: v.Curve}
}

// resource is the object's id with its version, or the vault's address.
func (r *request) resource() string {
	id := naming.From(r.ctx).VaultURI(r.vault.Name)
	if r.name == "" {
		return id
	}
	id += r.need.kind.plural + "/" + r.name
	if r.version != "" {
		id += "/" + r.version
	}
	return id
}

// Admit answers whether the vault exists and its firewall lets the caller in. A face asks it before it
// reads what the request says; methods on keys ask again.
func (s *Service) Admit(ctx context.Context, c principal.Caller, vault string) error {
	v, err := s.live(vault)
	if err != nil {
		return err
	}
	if d := s.firewall(c, v); !d.Allowed {
		r := &request{s: s, ctx: ctx, caller: c, by: d, vault: v, need: permission{operation: "VaultAccess"}, started: s.cfg.Now()}
		return r.record(audit.Event.Decided, d.Refusal)
	}
	return nil
}

// Location returns where a live vault is, or a fault VaultNotFound. It tells no more than a lookup of
// the vault's host name would, so it asks for no right.
func (s *Service) Location(vault string) (string, error) {
	v, err := s.live(vault)
	return v.Location, err
}

// firewall applies publicNetworkAccess and networkAcls to the caller's address.
func (s *Service) firewall(c principal.Caller, v Vault) access.Decision {
	switch {
	case c.Door == principal.Platform:
		return access.Yes(access.Firewall, "the server itself")
	case v.admits(c.Address):
		return access.Yes(access.Firewall, v.openness())
	case (v.Network == nil || strings.EqualFold(v.Network.Bypass, "AzureServices")) && s.cfg.Trusted(c):
		return access.Yes(access.Firewall, "the caller is a trusted service, which the bypass AzureServices lets through")
	case v.closed():
		return access.No(access.Firewall, "public network access is disabled, and the caller is not a trusted service",
			fault.New(fault.Denied, "ForbiddenByFirewall",
				"Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nCaller: %s\r\nVault: %s", sentence(c), v.describe()))
	}
	return access.No(access.Firewall, "the vault denies by default, no rule has the address, and the caller is not a trusted service",
		fault.New(fault.Denied, "ForbiddenByFirewall",
			"Client address is not authorized and caller is not a trusted service.\r\nClient address: %s\r\nCaller: %s\r\nVault: %s",
			c.Address, sentence(c), v.describe()))
}

// openness says why an address is admitted.
func (v Vault) openness() string {
	if v.Network == nil || !strings.EqualFold(v.Network.DefaultAction, "Deny") {
		return "the vault is open to all networks"
	}
	return "a rule of the firewall has the address"
}

// closed reports whether nobody may come in from a public network.
func (v Vault) closed() bool { return strings.EqualFold(v.PublicAccess, "Disabled") }

// admits reports whether the firewall lets an address in, whoever is there.
func (v Vault) admits(address string) bool {
	switch {
	case v.closed():
		return false
	case v.Network == nil || !strings.EqualFold(v.Network.DefaultAction, "Deny"):
		return true
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, rule := range v.Network.IPRules {
		if p, err := parsePrefix(rule); err == nil && p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// parsePrefix reads an address or a prefix.
func parsePrefix(rule string) (netip.Prefix, error) {
	if strings.Contains(rule, "/") {
		return netip.ParsePrefix(rule)
	}
	addr, err := netip.ParseAddr(rule)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.Prefix(addr.BitLen())
}

// allowed applies the vault's permission model. Only callers from the data plane's door have rights here.
func (s *Service) allowed(r *request) access.Decision {
	switch {
	case r.caller.Door == principal.Platform:
		return access.Yes(access.PlatformsOwn, "the server itself")
	case r.caller.Door == principal.VaultData && r.vault.RBAC:
		return s.byRole(r)
	case r.caller.Door == principal.VaultData:
		return r.vault.byPolicy(r.caller, r.need)
	}
	return access.No(access.AccessPolicy, "this door leads to no objects", noPolicy(r.caller, r.need, r.vault))
}

// byPolicy looks for an access policy that gives the caller a permission.
func (v Vault) byPolicy(c principal.Caller, need permission) access.Decision {
	about := 0
	for _, p := range v.Policies {
		if !strings.EqualFold(p.TenantID, v.TenantID) || !p.covers(c) {
			continue
		}
		about++
		if p.Permissions.has(need) {
			return access.Yes(access.AccessPolicy, "the access policy for object id "+p.ObjectID+" has the permission "+need.kind.plural+" "+need.policy)
		}
	}
	reason := "no access policy is about the principal or a group that it is in"
	if about > 0 {
		reason = "the access policies about the principal lack the permission " + need.kind.plural + " " + need.policy
	}
	return access.No(access.AccessPolicy, reason, noPolicy(c, need, v))
}

// covers reports whether a policy is about the caller. A policy with an application is for users who
// come through it.
func (p AccessPolicy) covers(c principal.Caller) bool {
	if !strings.EqualFold(p.TenantID, c.TenantID) || !c.Is(p.ObjectID) {
		return false
	}
	return p.ApplicationID == "" || c.Kind == principal.User && strings.EqualFold(p.ApplicationID, c.AppID)
}

// sentence is how the data plane's messages name a caller.
func sentence(c principal.Caller) string {
	return "appid=" + c.AppID + ";oid=" + c.ObjectID + ";iss=https://sts.windows.net/" + c.TenantID + "/"
}

func noPolicy(c principal.Caller, need permission, v Vault) error {
	return fault.New(fault.Denied, "ForbiddenByPolicy",
		"The user, group or application 'appid=%s;oid=%s;numgroups=%d;iss=https://sts.windows.net/%s/' does not have %s %s permission on key vault '%s'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
		c.AppID, c.ObjectID, len(c.Groups), c.TenantID, need.kind.plural, need.policy, v.describe())
}

// byRole asks the Authorizer and puts a refusal into the vault's own words.
func (s *Service) byRole(r *request) access.Decision {
	action, scope := r.need.dataAction(), r.vault.objectScope(r.need.kind, r.name)
	d := s.cfg.Authorizer.DecideData(r.ctx, r.caller, action, scope)
	if d.Allowed || fault.KindOf(d.Refusal) != fault.Denied {
		return d
	}
	lines := []string{
		"Caller is not authorized to perform action on resource.",
		"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.",
		"Caller: " + sentence(r.caller),
		"Action: '" + action + "'",
		"Resource: '" + strings.ToLower(scope) + "'",
		"Assignment: (not found)",
		"DenyAssignmentId: null",
		"DecisionReason: 'DeniedWithNoValidRBAC' ",
		"Vault: " + r.vault.describe(),
	}
	d.Refusal = fault.New(fault.Denied, "ForbiddenByRbac", "%s", strings.Join(lines, "\r\n")).Because(d.Refusal)
	return d
}
