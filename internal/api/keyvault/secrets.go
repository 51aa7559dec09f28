package keyvault

import (
	"net/http"

	"github.com/latchkey-db/latchkey/internal/vault"
)

// secretIn is the body of set and update.
type secretIn struct {
	changeIn
	Value       *string `json:"value"`
	ContentType *string `json:"contentType"`
}

func (s secretIn) spec() vault.SecretSpec {
	return vault.SecretSpec{Change: s.change(), Value: s.Value, ContentType: s.ContentType}
}

// secretOut is a secret in an answer; items of lists and answers without a value are the same without it.
type secretOut struct {
	Value       *string           `json:"value,omitzero"`
	ContentType string            `json:"contentType,omitzero"`
	ID          string            `json:"id"`
	Attributes  attributesOut     `json:"attributes"`
	Tags        map[string]string `json:"tags,omitempty"`
	KeyID       string            `json:"kid,omitzero"`
	Managed     bool              `json:"managed,omitzero"`
	deletionOut
}

func (x *exchange) secretOut(s vault.Secret) secretOut {
	out := secretOut{
		ContentType: s.ContentType, ID: x.id("secrets", s.Name, s.Version), Attributes: x.attributes(s.Properties), Tags: s.Tags,
		Managed: s.Managed, deletionOut: x.deletion("secrets", s.Properties),
	}
	if s.Value != nil {
		out.Value = pointer(string(s.Value))
	}
	if s.Managed && s.Version != "" {
		out.KeyID = x.id("keys", s.Name, s.Version)
	}
	return out
}

func setSecret(s *vault.Service, x *exchange) (int, any, error) {
	var in secretIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return shown(x.secretOut)(s.SetSecret(x.ctx, x.caller, x.vault, x.route.name, in.spec()))
}

func getSecret(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.secretOut)(s.Secret(x.ctx, x.caller, x.vault, x.route.name, x.route.version))
}

func updateSecret(s *vault.Service, x *exchange) (int, any, error) {
	var in secretIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return shown(x.secretOut)(s.UpdateSecret(x.ctx, x.caller, x.vault, x.route.name, x.route.version, in.spec()))
}

func deleteSecret(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.secretOut)(s.DeleteSecret(x.ctx, x.caller, x.vault, x.route.name))
}

func getDeletedSecret(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.secretOut)(s.DeletedSecret(x.ctx, x.caller, x.vault, x.route.name))
}

func recoverSecret(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.secretOut)(s.RecoverSecret(x.ctx, x.caller, x.vault, x.route.name))
}

func purgeSecret(s *vault.Service, x *exchange) (int, any, error) {
	return http.StatusNoContent, nil, s.PurgeSecret(x.ctx, x.caller, x.vault, x.route.name)
}

func backUpSecret(s *vault.Service, x *exchange) (int, any, error) {
	return shown(blobOut)(s.BackUpSecret(x.ctx, x.caller, x.vault, x.route.name))
}

func restoreSecret(s *vault.Service, x *exchange) (int, any, error) {
	blob, err := x.blob()
	if err != nil {
		return 0, nil, err
	}
	return shown(x.secretOut)(s.RestoreSecret(x.ctx, x.caller, x.vault, blob))
}

func listSecrets(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/secrets", func(p vault.Page) ([]vault.Secret, string, error) { return s.Secrets(x.ctx, x.caller, x.vault, p) }, x.secretOut)
}

func listDeletedSecrets(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/deletedsecrets", func(p vault.Page) ([]vault.Secret, string, error) {
		return s.DeletedSecrets(x.ctx, x.caller, x.vault, p)
	}, x.secretOut)
}

func listSecretVersions(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/secrets/"+x.route.name+"/versions", func(p vault.Page) ([]vault.Secret, string, error) {
		return s.SecretVersions(x.ctx, x.caller, x.vault, x.route.name, p)
	}, x.secretOut)
}
