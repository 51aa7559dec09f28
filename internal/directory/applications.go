package directory

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Limits of one object.
const (
	maxText        = 256 // bytes of a name
	maxCredentials = 100 // passwords or keys
	maxProperties  = 256 << 10
)

// ApplicationSpec is a wanted change of an application; nil members stay as they are.
type ApplicationSpec struct {
	DisplayName    *string
	IdentifierURIs *[]string
	PublicClient   *bool
	// Keys replaces the certificates. An entry without a certificate keeps the one with its KeyID.
	Keys       *[]KeyCredential
	Properties Properties // by member; JSON null removes
}

// Applications returns all applications, oldest first.
func (d *Directory) Applications(ctx context.Context, c principal.Caller) ([]*Application, error) {
	if err := d.guard(ctx, c, "applications/read", "applications"); err != nil {
		return nil, err
	}
	return sorted(d.now().apps, func(a *Application) (time.Time, string) { return a.Created, a.ID }), nil
}

// Application returns one application by object id.
func (d *Directory) Application(ctx context.Context, c principal.Caller, id string) (*Application, error) {
	if err := d.guard(ctx, c, "applications/read", id); err != nil {
		return nil, err
	}
	return find(d.now().apps, id)
}

// CreateApplication defines a new application, owned by the caller.
func (d *Directory) CreateApplication(ctx context.Context, c principal.Caller, spec ApplicationSpec) (*Application, error) {
	if err := d.guard(ctx, c, "applications/write", "applications"); err != nil {
		return nil, err
	}
	a := &Application{ID: uuid.NewString(), AppID: uuid.NewString(), Created: d.cfg.Now().UTC(), Owners: ownedBy(c)}
	if spec.DisplayName == nil {
		return nil, badRequest("Property displayName is required.")
	}
	if err := a.set(spec, a.Created); err != nil {
		return nil, err
	}
	return a, d.change(func(ch *change) error { return ch.saveApplication(a) })
}

// UpdateApplication changes an application.
func (d *Directory) UpdateApplication(ctx context.Context, c principal.Caller, id string, spec ApplicationSpec) error {
	if err := d.guard(ctx, c, "applications/write", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		old, err := find(ch.next.apps, id)
		if err != nil {
			return err
		}
		n := *old
		if err := n.set(spec, d.cfg.Now().UTC()); err != nil {
			return err
		}
		return ch.saveApplication(&n)
	})
}

// saveApplication stores a and gives its service principal the names that follow from it.
func (c *change) saveApplication(a *Application) error {
	for _, u := range a.IdentifierURIs {
		if p := c.next.principalOf[strings.ToLower(u)]; p != nil && p.AppID != a.AppID {
			return duplicate("identifierUris")
		}
		for _, other := range c.next.apps {
			if other.ID != a.ID && slices.Contains(other.IdentifierURIs, u) {
				return duplicate("identifierUris")
			}
		}
	}
	c.putApp(a)
	if p := c.next.principalOf[a.AppID]; p != nil {
		n := *p
		n.DisplayName, n.Names = a.DisplayName, append([]string{a.AppID}, a.IdentifierURIs...)
		c.putPrincipal(&n)
	}
	return nil
}

func (a *Application) set(spec ApplicationSpec, now time.Time) (err error) {
	if spec.DisplayName != nil {
		if err := checkText("displayName", *spec.DisplayName); err != nil {
			return err
		}
		a.DisplayName = *spec.DisplayName
	}
	if spec.IdentifierURIs != nil {
		if err := checkIdentifierURIs(*spec.IdentifierURIs); err != nil {
			return err
		}
		a.IdentifierURIs = slices.Clone(*spec.IdentifierURIs)
	}
	if spec.PublicClient != nil {
		a.PublicClient = *spec.PublicClient
	}
	if spec.Keys != nil {
		if a.Keys, err = mergeKeys(a.Keys, *spec.Keys, now); err != nil {
			return err
		}
	}
	a.Properties, err = a.Properties.with(spec.Properties)
	return err
}

// checkIdentifierURIs refuses the names of the platform's own services: with one of them, a token
// for the application would be one for the service.
func checkIdentifierURIs(uris []string) error {
	if len(uris) > maxCredentials {
		return badRequest("Property identifierUris has too many values.")
	}
	for _, u := range uris {
		l := strings.ToLower(u)
		if !strings.Contains(l, "://") || len(u) > maxText || reserved(l) {
			return badRequest("Values of identifierUris property must use a verified domain of the organization or its subdomain: '%s'", printable(u))
		}
	}
	return nil
}

// DeleteApplication removes an application and its service principal.
func (d *Directory) DeleteApplication(ctx context.Context, c principal.Caller, id string) error {
	if err := d.guard(ctx, c, "applications/delete", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		a, err := find(ch.next.apps, id)
		if err != nil {
			return err
		}
		if p := ch.next.principalOf[a.AppID]; p != nil {
			if err := ch.checkAdministrators(p.ID); err != nil {
				return err
			}
			ch.remove(p.ID)
		}
		ch.remove(a.ID)
		return nil
	})
}

// checkAdministrators refuses to take away the last Global Administrator.
func (c *change) checkAdministrators(leaving string) error {
	if a := c.next.tenant.Administrators; len(a) == 1 && a[0] == leaving {
		return fault.New(fault.Conflict, "LastAdministrator", "The last Global Administrator of the directory cannot be deleted or disabled.")
	}
	return nil
}

// PasswordSpec is a wanted client secret; zero times mean now and two years from the start.
type PasswordSpec struct {
	DisplayName string
	Start, End  time.Time
}

// AddPassword gives an application or a service principal a new client secret. The text of the
// secret is returned here and never again.
func (d *Directory) AddPassword(ctx context.Context, c principal.Caller, id string, spec PasswordSpec) (PasswordCredential, string, error) {
	if err := d.guard(ctx, c, "credentials/write", id); err != nil {
		return PasswordCredential{}, "", err
	}
	if len(spec.DisplayName) > maxText {
		return PasswordCredential{}, "", badRequest("Property displayName is too long.")
	}
	text := newSecret()
	p := d.newCredential(spec.DisplayName, text, spec.Start, spec.End)
	if !p.End.After(p.Start) {
		return PasswordCredential{}, "", badRequest("The endDateTime of a credential must be after its startDateTime.")
	}
	err := d.change(func(ch *change) error {
		return ch.editPasswords(id, func(list []PasswordCredential) ([]PasswordCredential, error) {
			if len(list) >= maxCredentials {
				return nil, badRequest("The object has too many password credentials.")
			}
			return append(slices.Clone(list), p), nil
		})
	})
	return p, text, err
}

// RemovePassword takes a client secret away.
func (d *Directory) RemovePassword(ctx context.Context, c principal.Caller, id, keyID string) error {
	if err := d.guard(ctx, c, "credentials/delete", id); err != nil {
		return err
	}
	return d.change(func(ch *change) error {
		return ch.editPasswords(id, func(list []PasswordCredential) ([]PasswordCredential, error) {
			rest := slices.DeleteFunc(slices.Clone(list), func(p PasswordCredential) bool { return strings.EqualFold(p.KeyID, keyID) })
			if len(rest) == len(list) {
				return nil, badRequest("No password credential found with keyId.")
			}
			return rest, nil
		})
	})
}

func (c *change) editPasswords(id string, edit func([]PasswordCredential) ([]PasswordCredential, error)) (err error) {
	if a := c.next.apps[id]; a != nil {
		n := *a
		n.Passwords, err = edit(a.Passwords)
		c.putApp(&n)
		return err
	}
	p, err := find(c.next.principals, id)
	if err != nil {
		return err
	}
	if p.Platform() {
		return platformObject(id)
	}
	n := *p
	n.Passwords, err = edit(p.Passwords)
	c.putPrincipal(&n)
	return err
}

func (d *Directory) newCredential(name, text string, start, end time.Time) PasswordCredential {
	if start.IsZero() {
		start = d.cfg.Now()
	}
	if end.IsZero() {
		end = start.AddDate(2, 0, 0)
	}
	return PasswordCredential{
		KeyID: uuid.NewString(), DisplayName: name, Hint: text[:3], Start: start.UTC(), End: end.UTC(), Hash: hashSecret(text),
	}
}

// mergeKeys returns the wanted certificates, completed from those that are registered.
func mergeKeys(old, want []KeyCredential, now time.Time) ([]KeyCredential, error) {
	if len(want) > maxCredentials {
		return nil, badRequest("The object has too many key credentials.")
	}
	var out []KeyCredential
	for _, k := range want {
		if len(k.Certificate) == 0 {
			i := slices.IndexFunc(old, func(o KeyCredential) bool { return k.KeyID != "" && strings.EqualFold(o.KeyID, k.KeyID) })
			if i < 0 {
				return nil, badRequest("Key credential '%s' has no key and does not exist yet.", printable(k.KeyID))
			}
			out = append(out, old[i])
			continue
		}
		n, err := completeKey(k, now)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// completeKey fills in what follows from the certificate. A credential is never good for longer than
// its certificate.
func completeKey(k KeyCredential, now time.Time) (KeyCredential, error) {
	cert, err := x509.ParseCertificate(k.Certificate)
	if err != nil {
		return k, badRequest("Key credential value is not a DER certificate.").Because(err)
	}
	if cert.PublicKeyAlgorithm != x509.RSA {
		return k, badRequest("Key credentials must be RSA certificates.")
	}
	if k.KeyID == "" {
		k.KeyID = uuid.NewString()
	}
	if k.Start.IsZero() {
		k.Start = now
	}
	if k.End.IsZero() || k.End.After(cert.NotAfter) {
		k.End = cert.NotAfter
	}
	if !k.End.After(now) {
		return k, badRequest("Key credential end date is invalid.")
	}
	sum := sha1.Sum(k.Certificate)
	k.Thumbprint = strings.ToUpper(hex.EncodeToString(sum[:]))
	k.Type, k.Usage = cmp.Or(k.Type, "AsymmetricX509Cert"), cmp.Or(k.Usage, "Verify")
	return k, nil
}

// with returns p changed by edit.
func (p Properties) with(edit Properties) (Properties, error) {
	if len(edit) == 0 {
		return p, nil
	}
	out, size := maps.Clone(p), 0
	if out == nil {
		out = Properties{}
	}
	for name, v := range edit {
		if string(v) == "null" {
			delete(out, name)
			continue
		}
		out[name] = v
	}
	for _, v := range out {
		size += len(v)
	}
	if size > maxProperties {
		return nil, badRequest("The object is too large.")
	}
	return out, nil
}

func checkText(name, v string) error {
	if strings.TrimSpace(v) == "" || len(v) > maxText {
		return badRequest("Invalid value specified for property '%s'.", name)
	}
	return nil
}

func ownedBy(c principal.Caller) []string {
	if c.ObjectID == "" {
		return nil
	}
	return []string{c.ObjectID}
}

func find[T any](m map[string]*T, id string) (*T, error) {
	if v := m[strings.ToLower(id)]; v != nil {
		return v, nil
	}
	return nil, notFound(printable(id))
}

// sorted returns the records by creation, then id: an order that paging can rely on.
func sorted[T any](m map[string]*T, key func(*T) (time.Time, string)) []*T {
	return slices.SortedFunc(maps.Values(m), func(a, b *T) int {
		ta, ia := key(a)
		tb, ib := key(b)
		return cmp.Or(ta.Compare(tb), strings.Compare(ia, ib))
	})
}
