package rbac

import "strings"

// Definition is a role: a name for what it permits.
type Definition struct {
	ID               string // a GUID
	Name             string
	BuiltIn          bool
	Description      string
	Permissions      []Permission
	AssignableScopes []string
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
