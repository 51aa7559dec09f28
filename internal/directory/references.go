package directory

import (
	"context"
	"slices"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Relation is a list of references that an object has.
type Relation string

// The relations.
const (
	Owners  Relation = "owners"
	Members Relation = "members"
)

// maxReferences bounds one list.
const maxReferences = 10_000

// References returns the ids that an object refers to.
func (d *Directory) References(ctx context.Context, c principal.Caller, id string, r Relation) ([]string, error) {
	if err := d.guard(ctx, c, string(r)+"/read", id); err != nil {
		return nil, err
	}
	s := d.now()
	if g := s.groups[id]; g != nil && r == Members {
		return slices.Clone(g.Members), nil
	}
	if r == Members || !s.exists(id) {
		return nil, notFound(printable(id))
	}
	if p := s.principals[id]; p != nil {
		return slices.Clone(p.Owners), nil
	}
	return slices.Clone(s.owners(id)), nil
}

// AddReference adds target to a list of an object.
func (d *Directory) AddReference(ctx context.Context, c principal.Caller, id string, r Relation, target string) error {
	if err := d.guard(ctx, c, string(r)+"/write", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		if !ch.next.exists(target) || ch.next.apps[target] != nil || (r == Owners && ch.next.groups[target] != nil) || target == id {
			return notFound(printable(target))
		}
		return ch.editReferences(id, r, func(list []string) ([]string, error) {
			switch {
			case slices.Contains(list, target):
				return nil, fault.New(fault.Invalid, "ReferenceExists", "One or more added object references already exist for the following modified properties: '%s'.", r)
			case len(list) >= maxReferences:
				return nil, badRequest("The list '%s' is full.", r)
			}
			ch.told = append(ch.told, target)
			return append(slices.Clone(list), target), nil
		})
	})
}

// RemoveReference takes target from a list of an object.
func (d *Directory) RemoveReference(ctx context.Context, c principal.Caller, id string, r Relation, target string) error {
	if err := d.guard(ctx, c, string(r)+"/delete", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		return ch.editReferences(id, r, func(list []string) ([]string, error) {
			if !slices.Contains(list, target) {
				return nil, notFound(printable(target))
			}
			ch.told = append(ch.told, target)
			return without(list, target), nil
		})
	})
}

func (c *change) editReferences(id string, r Relation, edit func([]string) ([]string, error)) (err error) {
	switch a, g, p := c.next.apps[id], c.next.groups[id], c.next.principals[id]; {
	case g != nil && r == Members:
		n := *g
		n.Members, err = edit(g.Members)
		c.putGroup(&n)
	case g != nil:
		n := *g
		n.Owners, err = edit(g.Owners)
		c.putGroup(&n)
	case a != nil && r == Owners:
		n := *a
		n.Owners, err = edit(a.Owners)
		c.putApp(&n)
	case p != nil && r == Owners && !p.Platform():
		n := *p
		n.Owners, err = edit(p.Owners)
		c.putPrincipal(&n)
	default:
		return notFound(printable(id))
	}
	return err
}
