package directory

import (
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Who finds the principal that a person means by an object id, an application id, a service principal
// name, a display name or a user name, as the caller that it would be. active is false when it is
// disabled: then it gets no token. It is for who has authorised the question; it grants nothing.
func (d *Directory) Who(name string) (c principal.Caller, active bool, err error) {
	s := d.now()
	users, principals := s.called(name)
	c = principal.Caller{TenantID: s.tenant.ID}
	switch n := len(users) + len(principals); {
	case n == 0:
		return c, false, fault.New(fault.NotFound, "PrincipalNotFound", "There is no user and no service principal '%s'.", printable(name))
	case n > 1:
		return c, false, fault.New(fault.Conflict, "PrincipalAmbiguous", "%d principals are called '%s': name one by its object id.", n, printable(name))
	case len(users) == 1:
		u := users[0]
		c.Kind, c.ObjectID, c.Name, active = principal.User, u.ID, u.Name, !u.Disabled
	default:
		p := principals[0]
		c.Kind, c.ObjectID, c.AppID, c.Name, active = principal.ServicePrincipal, p.ID, p.AppID, p.DisplayName, !p.Disabled
	}
	c.Groups = slices.Clone(s.memberOf[c.ObjectID])
	return c, active, nil
}

// called finds the principals of a name: an id or a unique name wins over display names.
func (s *state) called(name string) (users []*User, principals []*ServicePrincipal) {
	lower := strings.ToLower(name)
	if u, err := s.findUser(lower); err == nil {
		return []*User{u}, nil
	}
	if p := s.principals[lower]; p != nil {
		return nil, []*ServicePrincipal{p}
	}
	if p := s.principalOf[lower]; p != nil {
		return nil, []*ServicePrincipal{p}
	}
	for _, u := range s.users {
		if strings.EqualFold(u.DisplayName, name) {
			users = append(users, u)
		}
	}
	for _, p := range s.principals {
		if strings.EqualFold(p.DisplayName, name) || slices.ContainsFunc(p.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
			principals = append(principals, p)
		}
	}
	return users, principals
}

// NameOf is the name of an object of any kind, for messages; "" when there is none.
func (d *Directory) NameOf(objectID string) string {
	s := d.now()
	switch {
	case s.users[objectID] != nil:
		return s.users[objectID].Name
	case s.principals[objectID] != nil:
		return s.principals[objectID].DisplayName
	case s.groups[objectID] != nil:
		return s.groups[objectID].DisplayName
	}
	return ""
}
