package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/principal"
)

// UserSpec is a wanted change of a user; nil members stay as they are.
type UserSpec struct {
	Name        *string // user principal name
	DisplayName *string
	Enabled     *bool
	Password    *string
	Properties  Properties
}

// Users returns all users, oldest first.
func (d *Directory) Users(ctx context.Context, c principal.Caller) ([]*User, error) {
	if err := d.guard(ctx, c, "users/read", "users"); err != nil {
		return nil, err
	}
	return sorted(d.now().users, func(u *User) (time.Time, string) { return u.Created, u.ID }), nil
}

// User returns one user by object id or user principal name.
func (d *Directory) User(ctx context.Context, c principal.Caller, id string) (*User, error) {
	if err := d.guard(ctx, c, "users/read", id); err != nil {
		return nil, err
	}
	return d.now().findUser(id)
}

func (s *state) findUser(id string) (*User, error) {
	if u := s.userOf[strings.ToLower(id)]; u != nil {
		return u, nil
	}
	return find(s.users, id)
}

// CreateUser makes a user.
func (d *Directory) CreateUser(ctx context.Context, c principal.Caller, spec UserSpec) (*User, error) {
	if err := d.guard(ctx, c, "users/write", "users"); err != nil {
		return nil, err
	}
	if spec.Name == nil || spec.DisplayName == nil || spec.Password == nil {
		return nil, badRequest("One or more properties are missing: userPrincipalName, displayName and passwordProfile are required.")
	}
	now := d.cfg.Now().UTC()
	u := &User{ID: uuid.NewString(), Created: now}
	hash, err := d.newPassword(ctx, *spec.Password)
	if err != nil {
		return nil, err
	}
	return u, d.change(func(ch *change) error { return ch.saveUser(u, spec, hash, now) })
}

// UpdateUser changes a user. A new password, and disabling, end the user's sessions.
func (d *Directory) UpdateUser(ctx context.Context, c principal.Caller, id string, spec UserSpec) error {
	if err := d.guard(ctx, c, "users/write", id); err != nil {
		return err
	}
	hash := passwordHash{}
	if spec.Password != nil {
		var err error
		if hash, err = d.newPassword(ctx, *spec.Password); err != nil {
			return err
		}
	}
	return d.change(func(ch *change) error {
		old, err := ch.next.findUser(id)
		if err != nil {
			return err
		}
		n := *old
		if spec.Enabled != nil && !*spec.Enabled {
			if err := ch.checkAdministrators(n.ID); err != nil {
				return err
			}
		}
		return ch.saveUser(&n, spec, hash, d.cfg.Now().UTC())
	})
}

// newPassword hashes a password that is good enough. It runs before a change, because it is slow.
func (d *Directory) newPassword(ctx context.Context, password string) (passwordHash, error) {
	if len(password) < 8 || len(password) > maxText {
		return passwordHash{}, badRequest("The specified password does not comply with password complexity requirements. Please provide a different password.")
	}
	return d.hashPassword(ctx, password)
}

func (c *change) saveUser(u *User, spec UserSpec, hash passwordHash, now time.Time) (err error) {
	if spec.Name != nil {
		if err := c.nameUser(u, *spec.Name); err != nil {
			return err
		}
	}
	if spec.DisplayName != nil {
		if err := checkText("displayName", *spec.DisplayName); err != nil {
			return err
		}
		u.DisplayName = *spec.DisplayName
	}
	if hash.Rounds > 0 {
		u.Password, u.SessionsFrom = hash, now
	}
	if spec.Enabled != nil {
		u.Disabled = !*spec.Enabled
		if u.Disabled {
			u.SessionsFrom = now
		}
	}
	if u.Properties, err = u.Properties.with(spec.Properties); err != nil {
		return err
	}
	c.putUser(u)
	return nil
}

// nameUser gives the user a principal name in the tenant's domain that nobody else has.
func (c *change) nameUser(u *User, name string) error {
	local, domain, ok := strings.Cut(name, "@")
	if !ok || checkText("userPrincipalName", local) != nil || len(name) > maxText || strings.ContainsAny(local, " /\\'\"<>") {
		return badRequest("Invalid value specified for property 'userPrincipalName' of resource 'User'.")
	}
	if !strings.EqualFold(domain, c.next.tenant.DefaultDomain) {
		return badRequest("The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.")
	}
	if other := c.next.userOf[strings.ToLower(name)]; other != nil && other.ID != u.ID {
		return duplicate("userPrincipalName")
	}
	u.Name = name
	return nil
}

// DeleteUser removes a user.
func (d *Directory) DeleteUser(ctx context.Context, c principal.Caller, id string) error {
	if err := d.guard(ctx, c, "users/delete", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		u, err := ch.next.findUser(id)
		if err != nil {
			return err
		}
		if err := ch.checkAdministrators(u.ID); err != nil {
			return err
		}
		ch.remove(u.ID)
		return nil
	})
}

// GroupSpec is a wanted change of a group; nil members stay as they are.
type GroupSpec struct {
	DisplayName *string
	Properties  Properties
}

// Groups returns all groups, oldest first.
func (d *Directory) Groups(ctx context.Context, c principal.Caller) ([]*Group, error) {
	if err := d.guard(ctx, c, "groups/read", "groups"); err != nil {
		return nil, err
	}
	return sorted(d.now().groups, func(g *Group) (time.Time, string) { return g.Created, g.ID }), nil
}

// Group returns one group by object id.
func (d *Directory) Group(ctx context.Context, c principal.Caller, id string) (*Group, error) {
	if err := d.guard(ctx, c, "groups/read", id); err != nil {
		return nil, err
	}
	return find(d.now().groups, id)
}

// CreateGroup makes an empty group, owned by the caller.
func (d *Directory) CreateGroup(ctx context.Context, c principal.Caller, spec GroupSpec) (*Group, error) {
	if err := d.guard(ctx, c, "groups/write", "groups"); err != nil {
		return nil, err
	}
	if spec.DisplayName == nil {
		return nil, badRequest("Property displayName is required.")
	}
	g := &Group{ID: uuid.NewString(), Created: d.cfg.Now().UTC(), Owners: ownedBy(c)}
	return g, d.change(func(ch *change) error { return ch.saveGroup(g, spec) })
}

// UpdateGroup changes a group.
func (d *Directory) UpdateGroup(ctx context.Context, c principal.Caller, id string, spec GroupSpec) error {
	if err := d.guard(ctx, c, "groups/write", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		old, err := find(ch.next.groups, id)
		if err != nil {
			return err
		}
		n := *old
		return ch.saveGroup(&n, spec)
	})
}

func (c *change) saveGroup(g *Group, spec GroupSpec) (err error) {
	if spec.DisplayName != nil {
		if err := checkText("displayName", *spec.DisplayName); err != nil {
			return err
		}
		g.DisplayName = *spec.DisplayName
	}
	if g.Properties, err = g.Properties.with(spec.Properties); err != nil {
		return err
	}
	c.putGroup(g)
	return nil
}

// DeleteGroup removes a group; its members stay.
func (d *Directory) DeleteGroup(ctx context.Context, c principal.Caller, id string) error {
	if err := d.guard(ctx, c, "groups/delete", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		g, err := find(ch.next.groups, id)
		if err != nil {
			return err
		}
		if err := ch.checkAdministrators(g.ID); err != nil {
			return err
		}
		ch.told = append(ch.told, g.Members...)
		ch.remove(g.ID)
		return nil
	})
}

// MemberOf returns the groups that an object is in, transitively, by id.
func (d *Directory) MemberOf(ctx context.Context, c principal.Caller, id string) ([]string, error) {
	if err := d.guard(ctx, c, "groups/read", id); err != nil {
		return nil, err
	}
	s := d.now()
	if u, err := s.findUser(id); err == nil {
		id = u.ID
	}
	if !s.exists(id) {
		return nil, notFound(printable(id))
	}
	return slices.Clone(s.memberOf[id]), nil
}
