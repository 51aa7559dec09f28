package vault

import (
	"context"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Contact is a person to be told about certificates. Contacts are kept and shown; nothing is sent.
type Contact struct{ Email, Name, Phone string }

// contactsRecord are the contacts of a vault.
type contactsRecord struct{ Contacts []Contact }

// Issuer is an account at a certification authority. It is kept and shown; no authority is asked.
type Issuer struct {
	Name     string
	Provider string
	Account  string
	Password private
	Details  []byte // the organisation as it was sent, JSON
	Enabled  bool
	Created  int64
	Updated  int64
}

const (
	maxContacts = 50
	maxIssuers  = 100 // in a vault
	maxDetails  = 16 << 10
)

// side are the tables beside the objects of a vault.
func (s *Service) contacts() *store.Table[contactsRecord] {
	return store.NewTable[contactsRecord](s.cfg.DB, "vault/contacts")
}

func (s *Service) issuers() *store.Table[Issuer] {
	return store.NewTable[Issuer](s.cfg.DB, "vault/issuers")
}

func lower(s string) string { return strings.ToLower(s) }

// Contacts returns the contacts of a vault, or a fault ContactsNotFound.
func (s *Service) Contacts(ctx context.Context, c principal.Caller, vault string) ([]Contact, error) {
	return s.readContacts(ctx, c, vault, mayManageContacts.as("CertificateContactsGet").reading())
}

func (s *Service) readContacts(ctx context.Context, c principal.Caller, vault string, need permission) ([]Contact, error) {
	r, err := s.guard(ctx, c, vault, "", need)
	if err != nil {
		return nil, err
	}
	rec, ok, err := s.contacts().Get(lower(vault))
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "ContactsNotFound", "Contacts not found")
	}
	return rec.Contacts, r.done(err)
}

// SetContacts replaces the contacts of a vault; none removes them.
func (s *Service) SetContacts(ctx context.Context, c principal.Caller, vault string, all []Contact) ([]Contact, error) {
	var form error
	if len(all) > maxContacts || slices.ContainsFunc(all, func(x Contact) bool { return x.Email == "" || len(x.Email)+len(x.Name)+len(x.Phone) > 1024 }) {
		form = badParameter("The contacts must have email addresses, and there can be up to %d.", maxContacts)
	}
	r, err := s.guard(ctx, c, vault, "", mayManageContacts, form)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func() error {
		if len(all) == 0 {
			return s.contacts().Delete(lower(vault))
		}
		return s.contacts().Put(lower(vault), contactsRecord{all})
	})
	return all, r.done(err)
}

// DeleteContacts removes the contacts of a vault and returns them.
func (s *Service) DeleteContacts(ctx context.Context, c principal.Caller, vault string) ([]Contact, error) {
	old, err := s.readContacts(ctx, c, vault, mayManageContacts.as("CertificateContactsDelete"))
	if err != nil {
		return nil, err
	}
	return old, s.change(ctx, func() error { return s.contacts().Delete(lower(vault)) })
}

// knownIssuer refuses an issuer that cannot make certificates here.
func (s *Service) knownIssuer(vault, name string) error {
	if name == IssuerSelf || name == IssuerUnknown {
		return nil
	}
	_, ok, err := s.issuers().Get(lower(vault + "/" + name))
	switch {
	case err != nil:
		return err
	case !ok:
		return badParameter("The issuer '%.64s' does not exist in this vault.", name)
	}
	return badParameter("The provider of the issuer '%.64s' cannot be reached from this server; use Self, or Unknown and merge.", name)
}

func issuerNotFound(name string) error {
	return fault.New(fault.NotFound, "CertificateIssuerNotFound", "Issuer not found: %s", name)
}

// CertificateIssuer returns an issuer.
func (s *Service) CertificateIssuer(ctx context.Context, c principal.Caller, vault, name string) (Issuer, error) {
	r, err := s.guard(ctx, c, vault, name, mayGetIssuers)
	if err != nil {
		return Issuer{}, err
	}
	i, ok, err := s.issuers().Get(lower(vault + "/" + name))
	if err == nil && !ok {
		err = issuerNotFound(name)
	}
	return i, r.done(err)
}

// CertificateIssuers lists the issuers of a vault by name.
func (s *Service) CertificateIssuers(ctx context.Context, c principal.Caller, vault string, p Page) ([]Issuer, string, error) {
	r, err := s.guard(ctx, c, vault, "", mayListIssuers)
	if err != nil {
		return nil, "", err
	}
	all, err := s.issuersOf(vault)
	if err != nil {
		return nil, "", r.done(err)
	}
	items, next := paged(all, p, func(i Issuer) string { return lower(i.Name) })
	return items, next, r.done(nil)
}

func (s *Service) issuersOf(vault string) ([]Issuer, error) {
	all, err := s.issuers().All()
	out := []Issuer{}
	for id, i := range all {
		if v, _, _ := strings.Cut(id, "/"); v == lower(vault) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b Issuer) int { return strings.Compare(lower(a.Name), lower(b.Name)) })
	return out, err
}

// SetCertificateIssuer makes an issuer, or replaces one. merge, given the one that is there, returns the one
// that is to be; exists tells whether there is one.
func (s *Service) SetCertificateIssuer(ctx context.Context, c principal.Caller, vault, name string, merge func(old Issuer, exists bool) (Issuer, error)) (Issuer, error) {
	var form error
	if name == IssuerSelf || name == IssuerUnknown {
		form = badParameter("The name '%s' is reserved.", name)
	}
	r, err := s.guard(ctx, c, vault, name, maySetIssuers, form)
	if err != nil {
		return Issuer{}, err
	}
	var made Issuer
	err = s.change(ctx, func() error {
		old, exists, err := s.issuers().Get(lower(vault + "/" + name))
		if err != nil {
			return err
		}
		if made, err = merge(old, exists); err != nil {
			return err
		}
		if err := s.roomForIssuer(vault, made, exists); err != nil {
			return err
		}
		made.Name, made.Created, made.Updated = name, old.Created, s.cfg.Now().Unix()
		if !exists {
			made.Created = made.Updated
		}
		return s.issuers().Put(lower(vault+"/"+name), made)
	})
	return made, r.done(err)
}

func (s *Service) roomForIssuer(vault string, i Issuer, exists bool) error {
	switch {
	case i.Provider == "" || len(i.Provider)+len(i.Account)+len(i.Password) > 4<<10:
		return badParameter("The property 'provider' is required, and the issuer must not be too long.")
	case len(i.Details) > maxDetails:
		return badParameter("The organization details exceed the limit of %d bytes.", maxDetails)
	}
	all, err := s.issuersOf(vault)
	if err == nil && !exists && len(all) >= maxIssuers {
		return badParameter("A vault can have up to %d issuers.", maxIssuers)
	}
	return err
}

// IssuerMissing is what merge returns when there is nothing to update.
func IssuerMissing(name string) error { return issuerNotFound(name) }

// DeleteCertificateIssuer removes an issuer and returns it.
func (s *Service) DeleteCertificateIssuer(ctx context.Context, c principal.Caller, vault, name string) (Issuer, error) {
	r, err := s.guard(ctx, c, vault, name, mayDeleteIssuers)
	if err != nil {
		return Issuer{}, err
	}
	var gone Issuer
	err = s.change(ctx, func() error {
		i, ok, err := s.issuers().Get(lower(vault + "/" + name))
		if err == nil && !ok {
			err = issuerNotFound(name)
		}
		if err != nil {
			return err
		}
		gone = i
		return s.issuers().Delete(lower(vault + "/" + name))
	})
	return gone, r.done(err)
}

// eraseSide adds the end of what stands beside a vault's objects to c.
func (s *Service) eraseSide(c *changes, vault string) {
	s.contacts().DeleteIn(c.batch, lower(vault))
	all, err := s.issuersOf(vault)
	for _, i := range all {
		s.issuers().DeleteIn(c.batch, lower(vault+"/"+i.Name))
	}
	c.do(err, func() {})
}
