package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// PrincipalSpec is a wanted change of a service principal; nil members stay as they are.
type PrincipalSpec struct {
	Enabled    *bool
	Properties Properties
}

// ServicePrincipals returns all service principals, oldest first.
func (d *Directory) ServicePrincipals(ctx context.Context, c principal.Caller) ([]*ServicePrincipal, error) {
	if err := d.guard(ctx, c, "servicePrincipals/read", "servicePrincipals"); err != nil {
		return nil, err
	}
	return sorted(d.now().principals, func(p *ServicePrincipal) (time.Time, string) { return p.Created, p.ID }), nil
}

// ServicePrincipal returns one service principal by object id.
func (d *Directory) ServicePrincipal(ctx context.Context, c principal.Caller, id string) (*ServicePrincipal, error) {
	if err := d.guard(ctx, c, "servicePrincipals/read", id); err != nil {
		return nil, err
	}
	return find(d.now().principals, id)
}

// CreateServicePrincipal gives an application of the tenant its identity. The owner of the
// application may do it.
func (d *Directory) CreateServicePrincipal(ctx context.Context, c principal.Caller, appID string, spec PrincipalSpec) (*ServicePrincipal, error) {
	appID = strings.ToLower(appID)
	resource := "servicePrincipals"
	if a := d.now().appOf[appID]; a != nil {
		resource = a.ID
	}
	if err := d.guard(ctx, c, "servicePrincipals/write", resource); err != nil {
		return nil, err
	}
	p := &ServicePrincipal{ID: uuid.NewString(), AppID: appID, Type: TypeApplication, OwnerTenant: d.TenantID(), Owners: ownedBy(c), Created: d.cfg.Now().UTC()}
	err := d.change(func(ch *change) error {
		a := ch.next.appOf[appID]
		switch {
		case ch.next.principalOf[appID] != nil:
			return fault.New(fault.Conflict, "DuplicateKey", "The service principal cannot be created, updated, or restored because the service principal name %s is already in use.", appID)
		case a == nil:
			return fault.New(fault.Invalid, "ApplicationMissing", "The appId '%s' of the service principal does not reference a valid application object.", printable(appID))
		}
		p.DisplayName, p.Names = a.DisplayName, append([]string{a.AppID}, a.IdentifierURIs...)
		if err := p.set(spec); err != nil {
			return err
		}
		ch.putPrincipal(p)
		return nil
	})
	return p, err
}

func (p *ServicePrincipal) set(spec PrincipalSpec) (err error) {
	if spec.Enabled != nil {
		p.Disabled = !*spec.Enabled
	}
	p.Properties, err = p.Properties.with(spec.Properties)
	return err
}

// UpdateServicePrincipal changes a service principal. Principals of the platform can be disabled
// and enabled.
func (d *Directory) UpdateServicePrincipal(ctx context.Context, c principal.Caller, id string, spec PrincipalSpec) error {
	if err := d.guard(ctx, c, "servicePrincipals/write", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		old, err := find(ch.next.principals, id)
		if err != nil {
			return err
		}
		n := *old
		if err := n.set(spec); err != nil {
			return err
		}
		if n.Disabled {
			if err := ch.checkAdministrators(n.ID); err != nil {
				return err
			}
		}
		ch.putPrincipal(&n)
		return nil
	})
}

// DeleteServicePrincipal removes a service principal; its application stays.
func (d *Directory) DeleteServicePrincipal(ctx context.Context, c principal.Caller, id string) error {
	if err := d.guard(ctx, c, "servicePrincipals/delete", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		p, err := find(ch.next.principals, id)
		if err != nil {
			return err
		}
		if p.Platform() {
			return platformObject(p.ID)
		}
		if err := ch.checkAdministrators(p.ID); err != nil {
			return err
		}
		ch.remove(p.ID)
		return nil
	})
}

// SetAdministrator makes a user or a service principal a Global Administrator, or takes the role
// away. Groups cannot have the role: their owners could give it to anybody.
func (d *Directory) SetAdministrator(ctx context.Context, c principal.Caller, id string, on bool) error {
	if err := d.guard(ctx, c, "directoryRoles/write", "directoryRoles"); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		if ch.next.users[id] == nil && ch.next.principals[id] == nil {
			return notFound(printable(id))
		}
		t := *ch.next.tenant
		if !on {
			if err := ch.checkAdministrators(id); err != nil {
				return err
			}
			t.Administrators = without(t.Administrators, id)
		} else if !slices.Contains(t.Administrators, id) {
			t.Administrators = append(slices.Clone(t.Administrators), id)
		}
		ch.putTenant(&t)
		return nil
	})
}
