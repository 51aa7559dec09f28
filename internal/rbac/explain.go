package rbac

import (
	"cmp"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Holders lists who may do an action of Resource Manager on scope: one entry for each assignment that
// says so, the widest scope first. Who is in a group is the directory's matter.
func (e *Engine) Holders(action, scope string) []access.Holder {
	s := e.state.Load()
	out := []access.Holder{}
	for _, a := range s.assignments {
		if d, ok := s.definition(a.RoleID); ok && uri.Within(scope, a.Scope) && d.allows(action, false) {
			out = append(out, access.Holder{PrincipalID: a.PrincipalID, Kind: string(a.PrincipalType), Role: d.Name, Scope: a.Scope})
		}
	}
	slices.SortFunc(out, func(a, b access.Holder) int {
		return cmp.Or(cmp.Compare(len(a.Scope), len(b.Scope)), strings.Compare(a.Scope, b.Scope), strings.Compare(a.PrincipalID, b.PrincipalID), strings.Compare(a.Role, b.Role))
	})
	return out
}

// Narrowest returns the name of the built-in role that has an action and the least besides: the one with
// the most particular pattern for it and, of several, the one with the fewest patterns. "" when none has it.
func (e *Engine) Narrowest(action string, data bool) string {
	var fit []Definition
	for _, d := range builtIn {
		if d.allows(action, data) {
			fit = append(fit, d)
		}
	}
	if len(fit) == 0 {
		return ""
	}
	return slices.MinFunc(fit, func(a, b Definition) int {
		x, nx := a.particular(action, data)
		y, ny := b.particular(action, data)
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(nx, ny), strings.Compare(a.Name, b.Name))
	}).Name
}

// particular is the length of the longest pattern that matches an action, and how many patterns there are.
func (d Definition) particular(action string, data bool) (longest, patterns int) {
	for _, p := range d.Permissions {
		list := p.Actions
		if data {
			list = p.DataActions
		}
		patterns += len(list)
		for _, x := range list {
			if Match(x, action) {
				longest = max(longest, len(x))
			}
		}
	}
	return longest, patterns
}
