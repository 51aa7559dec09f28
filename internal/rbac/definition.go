package rbac

import (
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Definition is a role: a name for what it permits.
type Definition struct {
	ID               string // a GUID
	Name             string
	BuiltIn          bool
	Description      string
	Permissions      []Permission
	AssignableScopes []string
	// Delegable, when it is not empty, are the only roles (GUIDs) that a holder may give or take away.
	// It stands for the condition of the service's own delegation role; custom roles have none.
	Delegable []string `json:",omitempty"`
}

// Permission is one block of a role.
type Permission struct {
	Actions, NotActions         []string
	DataActions, NotDataActions []string
}

func (d Definition) allows(action string, data bool) bool {
	for _, p := range d.Permissions {
		yes, no := p.Actions, p.NotActions
		if data {
			yes, no = p.DataActions, p.NotDataActions
		}
		if matchAny(yes, action) && !matchAny(no, action) {
			return true
		}
	}
	return false
}

// delegates reports whether a holder may give or take away role; "" stands for no role in particular.
func (d Definition) delegates(role string) bool {
	return role == "" || len(d.Delegable) == 0 || slices.ContainsFunc(d.Delegable, func(id string) bool { return strings.EqualFold(id, role) })
}

// assignableAt reports whether the role may be assigned at scope.
func (d Definition) assignableAt(scope string) bool {
	return slices.ContainsFunc(d.AssignableScopes, func(s string) bool { return uri.Within(scope, s) })
}

// visibleAt reports whether a list of the roles at scope shows the role: it can be assigned there or
// below.
func (d Definition) visibleAt(scope string) bool {
	return slices.ContainsFunc(d.AssignableScopes, func(s string) bool { return uri.Within(scope, s) || uri.Within(s, scope) })
}

// maxPatterns bounds the patterns of a custom role: a decision may have to look at each of them.
const maxPatterns = 1000

// check refuses a custom role that says nothing, or too much to evaluate.
func (d Definition) check() error {
	if d.Name == "" || len(d.AssignableScopes) == 0 {
		return fault.New(fault.Invalid, "InvalidRoleDefinition", "The role definition needs a role name and at least one assignable scope.")
	}
	total := 0
	for _, p := range d.Permissions {
		for _, list := range [][]string{p.Actions, p.NotActions, p.DataActions, p.NotDataActions} {
			total += len(list)
			if slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "" }) {
				return fault.New(fault.Invalid, "InvalidActionOrNotAction", "'' does not match any of the actions supported by the providers.")
			}
		}
	}
	if total > maxPatterns {
		return fault.New(fault.Invalid, "InvalidRoleDefinition", "The role definition has more than %d actions.", maxPatterns)
	}
	return nil
}

func matchAny(patterns []string, action string) bool {
	for _, p := range patterns {
		if Match(p, action) {
			return true
		}
	}
	return false
}

// Match reports whether action matches pattern, in which "*" stands for any run of characters. Case
// does not matter. It takes time linear in the length of action for each star.
func Match(pattern, action string) bool {
	parts := strings.Split(strings.ToLower(pattern), "*")
	rest := strings.ToLower(action)
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return rest == first
	}
	if !strings.HasPrefix(rest, first) || len(rest) < len(first)+len(last) || !strings.HasSuffix(rest, last) {
		return false
	}
	rest = rest[len(first) : len(rest)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return true
}
