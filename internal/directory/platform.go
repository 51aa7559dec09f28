package directory

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// The database's first-party application, as it is known in the public cloud. Scripts look it up by
// the name of the application or by the name of its resource provider.
const (
	FirstPartyAppID   = "a232010e-820c-4083-83bb-3ace5fc29d0b"
	firstPartyName    = "Azure Cosmos DB"
	firstPartyAlias   = "Microsoft.DocumentDB"
	microsoftServices = "f8cdef31-a31e-4b4a-93e4-5f571e91255a" // tenant that owns first-party applications
)

// GlobalAdministrator is the template id of the only directory role.
const GlobalAdministrator = "62e90394-69f5-4237-9190-012177145e10"

// found makes the tenant, its keys and the first-party service principal in one step.
func (d *Directory) found() error {
	now := d.cfg.Now().UTC()
	key, cert, err := newSigningKey(now)
	if err != nil {
		return err
	}
	t := &tenantRecord{
		ID: uuid.NewString(), DisplayName: "Latchkey", DefaultDomain: "latchkey.localhost", Created: now,
		SigningKey: key, Certificate: cert, RefreshKey: secret.Random(32).Reveal(), FirstParty: uuid.NewString(),
	}
	return d.change(func(c *change) error {
		c.putTenant(t)
		c.putPrincipal(&ServicePrincipal{
			ID: t.FirstParty, AppID: FirstPartyAppID, DisplayName: firstPartyName, Aliases: []string{firstPartyAlias},
			Type: TypeApplication, Names: []string{FirstPartyAppID}, OwnerTenant: microsoftServices, FirstParty: true, Created: now,
		})
		c.putPlatform(t.FirstParty, newPlatformRecord())
		return nil
	})
}

func newPlatformRecord() *platformRecord { return &platformRecord{Secret: []byte(newSecret())} }

// Admin is the application that administers a new directory.
type Admin struct {
	TenantID string
	ClientID string
	ObjectID string // of its service principal
	// Secret is the client secret. It is nil when it has been handed out before.
	Secret *secret.Bytes
}

// Bootstrap returns the administrator, and makes it when there is none. Only the call that makes it
// returns the secret, which is kept nowhere; [Directory.ResetAdministrator] replaces a lost one.
func (d *Directory) Bootstrap(ctx context.Context) (*Admin, error) {
	if s := d.now(); s.principals[s.tenant.Administrator] != nil {
		return d.admin(nil), nil
	}
	return d.ResetAdministrator(ctx)
}

// ResetAdministrator gives the administrator a new secret, in place of all it had, and makes it
// first when it is missing. It is for the operator of the server, never for requests.
func (d *Directory) ResetAdministrator(ctx context.Context) (*Admin, error) {
	if err := d.guard(ctx, principal.Server("administrator"), "administrator/write", "administrator"); err != nil {
		return nil, err
	}
	text := newSecret()
	err := d.change(func(c *change) error {
		app := c.administrator(d.cfg.Now().UTC())
		n := *app
		n.Passwords = []PasswordCredential{d.newCredential("administrator", text, time.Time{}, d.cfg.Now().AddDate(100, 0, 0))}
		c.putApp(&n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.admin(secret.From([]byte(text))), nil
}

func (d *Directory) admin(s *secret.Bytes) *Admin {
	st := d.now()
	p := st.principals[st.tenant.Administrator]
	return &Admin{TenantID: st.tenant.ID, ClientID: p.AppID, ObjectID: p.ID, Secret: s}
}

// administrator returns the administrator's application, and makes what is missing of it: the
// application, the service principal, the role. A disabled administrator is enabled again.
func (c *change) administrator(now time.Time) *Application {
	p := c.next.principals[c.next.tenant.Administrator]
	if p == nil {
		p = &ServicePrincipal{ID: uuid.NewString(), AppID: uuid.NewString(), DisplayName: "Latchkey Administrator", Type: TypeApplication, OwnerTenant: c.next.tenant.ID, Created: now}
		p.Names = []string{p.AppID}
	}
	enabled := *p
	enabled.Disabled = false
	c.putPrincipal(&enabled)
	t := *c.next.tenant
	t.Administrator = p.ID
	if !slices.Contains(t.Administrators, p.ID) {
		t.Administrators = append(slices.Clone(t.Administrators), p.ID)
	}
	c.putTenant(&t)
	if a := c.next.appOf[p.AppID]; a != nil {
		return a
	}
	return &Application{ID: uuid.NewString(), AppID: p.AppID, DisplayName: p.DisplayName, Created: now}
}

// FirstParty returns the database's first-party service principal.
func (d *Directory) FirstParty() (objectID, appID string) {
	return d.now().tenant.FirstParty, FirstPartyAppID
}

// PrincipalExists says whether and as what a role can be assigned to the object.
func (d *Directory) PrincipalExists(objectID string) (kind principal.Kind, ok bool) {
	s := d.now()
	switch {
	case s.principals[objectID] != nil:
		return principal.ServicePrincipal, true
	case s.users[objectID] != nil:
		return principal.User, true
	case s.groups[objectID] != nil:
		return principal.Group, true
	}
	return "", false
}

// CreateManagedIdentity makes the service principal of a resource. It is for the providers of the
// server, which have authorised the request on the resource.
func (d *Directory) CreateManagedIdentity(ctx context.Context, displayName, resourceID string) (objectID, clientID string, err error) {
	p := &ServicePrincipal{
		ID: uuid.NewString(), AppID: uuid.NewString(), DisplayName: displayName, Type: TypeManagedIdentity,
		AlternativeNames: []string{"isExplicit=False", resourceID}, OwnerTenant: d.TenantID(), Created: d.cfg.Now().UTC(),
	}
	p.Names = []string{p.AppID}
	if err := d.guard(ctx, principal.Server("managed identity"), "managedIdentities/write", p.ID); err != nil {
		return "", "", err
	}
	err = d.change(func(c *change) error {
		c.putPrincipal(p)
		c.putPlatform(p.ID, newPlatformRecord())
		return nil
	})
	return p.ID, p.AppID, err
}

// DeletePrincipal removes a managed identity. It succeeds when there is none.
func (d *Directory) DeletePrincipal(ctx context.Context, objectID string) error {
	if err := d.guard(ctx, principal.Server("managed identity"), "managedIdentities/delete", objectID); err != nil {
		return err
	}
	p := d.now().principals[objectID]
	if p == nil {
		return nil
	}
	if p.Type != TypeManagedIdentity {
		return platformObject(objectID)
	}
	return d.change(func(c *change) error { c.remove(objectID); return nil })
}

// PlatformCredential returns what the server needs to sign in as one of its own principals. The
// caller wipes the secret. The fault is NotFound when the principal is gone or disabled.
func (d *Directory) PlatformCredential(objectID string) (clientID string, s *secret.Bytes, err error) {
	st := d.now()
	p, rec := st.principals[objectID], st.platform[objectID]
	if p == nil || p.Disabled || rec == nil {
		return "", nil, fault.New(fault.NotFound, "ResourceNotFound", "There is no enabled platform principal %q.", objectID)
	}
	return p.AppID, secret.From(slices.Clone(rec.Secret)), nil
}
