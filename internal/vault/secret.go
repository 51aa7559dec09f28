package vault

import (
	"context"
	"slices"

	"github.com/latchkey-db/latchkey/internal/principal"
)

// secretRecord is a secret with all its versions.
type secretRecord struct {
	object[secretVersion]
}

func (r secretRecord) marked(d *Deletion) secretRecord {
	r.Deletion = d
	return r
}

// leaves refuses a backup of more versions than the service takes.
func (r secretRecord) leaves() error { return checkBackup(ofSecrets, len(r.Versions)) }

// secretVersion is one version of a secret.
type secretVersion struct {
	state
	ContentType string `json:",omitempty"`
	Value       private
}

// Secret is a version of a secret as callers see it. Value is nil where only its properties are asked for.
type Secret struct {
	Properties
	ContentType string
	Value       []byte
}

// view is the public form of a version, without the value.
func (r secretRecord) view(vault Vault, v secretVersion) Secret {
	return Secret{Properties: r.properties(vault, v), ContentType: v.ContentType}
}

// SecretSpec is what a caller asks for. Members that are nil are left as they are.
type SecretSpec struct {
	Change
	Value       *string
	ContentType *string
}

// The service's limits, in bytes.
const (
	maxSecret      = 25 << 10
	maxContentType = 255
)

func (s SecretSpec) check() error {
	switch {
	case s.Value != nil && len(*s.Value) > maxSecret:
		return badParameter("The secret value exceeds the limit of %d bytes.", maxSecret)
	case s.ContentType != nil && len(*s.ContentType) > maxContentType:
		return badParameter("The content type exceeds the limit of %d characters.", maxContentType)
	}
	return s.Change.check()
}

func (s SecretSpec) apply(r *request, v secretVersion) (secretVersion, error) {
	var err error
	if s.ContentType != nil {
		v.ContentType = *s.ContentType
	}
	v.state, err = s.Change.apply(v.state, r.s.cfg.Now())
	return v, err
}

// liveSecret returns a secret that is not deleted, and one of its versions; "" means the current one.
func (s *Service) liveSecret(vault, name, id string) (secretRecord, secretVersion, error) {
	rec, err := s.secrets.live(vault, name)
	if err != nil {
		return rec, secretVersion{}, ofSecrets.notFound(name, id)
	}
	v, ok := rec.version(id)
	if !ok {
		return rec, v, ofSecrets.notFound(name, id)
	}
	return rec, v, nil
}

// SetSecret stores a new current version of a secret.
func (s *Service) SetSecret(ctx context.Context, c principal.Caller, vault, name string, spec SecretSpec) (Secret, error) {
	var form error
	if spec.Value == nil {
		form = badParameter("The property 'value' is required.")
	}
	r, err := s.guard(ctx, c, vault, name, maySetSecret, form, spec.check())
	if err != nil {
		return Secret{}, err
	}
	v, err := spec.apply(r, secretVersion{state: newState(s.cfg.Now()), Value: private(*spec.Value)})
	if err != nil {
		return Secret{}, r.done(err)
	}
	r.version = v.ID
	rec, err := change(r, s.secrets, func() (secretRecord, error) {
		rec, ok := s.secrets.find(vault, name)
		switch {
		case !ok:
			rec.Name = name
		case rec.Deletion != nil:
			return rec, ofSecrets.nameTaken(rec.Name)
		case rec.Managed:
			return rec, ofSecrets.managed(name)
		}
		rec.object = rec.with(v)
		return rec, nil
	})
	if err != nil {
		return Secret{}, err
	}
	out := rec.view(r.vault, v)
	out.Value = slices.Clone(v.Value)
	return out, nil
}

// Secret returns a version of a secret with its value; version "" is the current one. Bounds in time do
// not matter: the service leaves them to those who use the value.
func (s *Service) Secret(ctx context.Context, c principal.Caller, vault, name, id string) (Secret, error) {
	r, err := s.guard(ctx, c, vault, name, mayGetSecret, checkVersion(id))
	if err != nil {
		return Secret{}, err
	}
	rec, v, err := s.liveSecret(vault, name, id)
	if err == nil {
		r.version = v.ID
		if !v.Enabled {
			err = ofSecrets.disabled("get")
		}
	}
	if err := r.done(err); err != nil {
		return Secret{}, err
	}
	out := rec.view(r.vault, v)
	out.Value = slices.Clone(v.Value)
	return out, nil
}

// UpdateSecret changes the properties of a version, never its value; "" is the current one.
func (s *Service) UpdateSecret(ctx context.Context, c principal.Caller, vault, name, id string, spec SecretSpec) (Secret, error) {
	r, err := s.guard(ctx, c, vault, name, mayUpdateSecret, checkVersion(id), spec.check())
	if err != nil {
		return Secret{}, err
	}
	var v secretVersion
	rec, err := change(r, s.secrets, func() (rec secretRecord, err error) {
		if rec, v, err = s.liveSecret(vault, name, id); err != nil {
			return rec, err
		}
		r.version = v.ID
		if rec.Managed {
			return rec, ofSecrets.managed(name)
		}
		v, err = spec.apply(r, v)
		rec.object = rec.with(v)
		return rec, err
	})
	if err != nil {
		return Secret{}, err
	}
	return rec.view(r.vault, v), nil
}

// Secrets lists the current versions of all secrets by name, without values and versions.
func (s *Service) Secrets(ctx context.Context, c principal.Caller, vault string, p Page) (items []Secret, next string, err error) {
	return list(s, ctx, c, vault, p, mayListSecrets, s.secrets, false, secretRecord.headline)
}

// DeletedSecrets lists the deleted secrets by name.
func (s *Service) DeletedSecrets(ctx context.Context, c principal.Caller, vault string, p Page) (items []Secret, next string, err error) {
	return list(s, ctx, c, vault, p, mayListSecrets.as("SecretListDeleted"), s.secrets, true, secretRecord.headline)
}

func (r secretRecord) headline(vault Vault) Secret {
	out := r.latest(vault)
	out.Version = ""
	return out
}

func (r secretRecord) latest(vault Vault) Secret {
	v, _ := r.version("")
	return r.view(vault, v)
}

// SecretVersions lists the versions of a secret by version id. A secret that does not exist has none.
func (s *Service) SecretVersions(ctx context.Context, c principal.Caller, vault, name string, p Page) (items []Secret, next string, err error) {
	r, err := s.guard(ctx, c, vault, name, mayListSecrets.as("SecretListVersions"))
	if err != nil {
		return nil, "", err
	}
	rec, err := s.secrets.live(vault, name)
	if err != nil {
		return []Secret{}, "", r.done(nil)
	}
	items, next = versions(rec.object, p, func(v secretVersion) Secret { return rec.view(r.vault, v) })
	return items, next, r.done(nil)
}

// DeleteSecret deletes all versions of a secret; they can be recovered until the retention is over.
func (s *Service) DeleteSecret(ctx context.Context, c principal.Caller, vault, name string) (Secret, error) {
	r, err := s.guard(ctx, c, vault, name, mayDeleteSecret)
	if err != nil {
		return Secret{}, err
	}
	rec, err := remove(r, s.secrets)
	return rec.latest(r.vault), err
}

// DeletedSecret returns the properties of a deleted secret's current version.
func (s *Service) DeletedSecret(ctx context.Context, c principal.Caller, vault, name string) (Secret, error) {
	r, err := s.guard(ctx, c, vault, name, mayReadDeleted)
	if err != nil {
		return Secret{}, err
	}
	rec, err := s.secrets.recoverable(vault, name)
	return rec.latest(r.vault), r.done(err)
}

// RecoverSecret brings a deleted secret back with all its versions.
func (s *Service) RecoverSecret(ctx context.Context, c principal.Caller, vault, name string) (Secret, error) {
	r, err := s.guard(ctx, c, vault, name, mayRecoverSecret)
	if err != nil {
		return Secret{}, err
	}
	rec, err := bringBack(r, s.secrets)
	return rec.latest(r.vault), err
}

// PurgeSecret destroys a deleted secret for good, unless purge protection forbids it.
func (s *Service) PurgeSecret(ctx context.Context, c principal.Caller, vault, name string) error {
	r, err := s.guard(ctx, c, vault, name, mayPurgeSecret)
	if err != nil {
		return err
	}
	return purge(r, s.secrets)
}

// BackUpSecret returns a blob with all versions of a secret, which only [Service.RestoreSecret] of this
// server can read.
func (s *Service) BackUpSecret(ctx context.Context, c principal.Caller, vault, name string) ([]byte, error) {
	r, err := s.guard(ctx, c, vault, name, mayBackUpSecret)
	if err != nil {
		return nil, err
	}
	return backUp(r, s.secrets, secretRecord.leaves)
}

// RestoreSecret brings back a secret from a blob, with its name and versions.
func (s *Service) RestoreSecret(ctx context.Context, c principal.Caller, vault string, blob []byte) (Secret, error) {
	r, err := s.guard(ctx, c, vault, "", mayRestoreSecret)
	if err != nil {
		return Secret{}, err
	}
	rec, err := restore(r, s.secrets, blob, func(rec *secretRecord) error { return nil })
	return rec.latest(r.vault), err
}
