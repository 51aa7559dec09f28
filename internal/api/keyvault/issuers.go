package keyvault

import (
	"encoding/json"

	"github.com/latchkey-db/latchkey/internal/vault"
)

// issuerJSON is an issuer in both directions. The password is never shown.
type issuerJSON struct {
	ID          string             `json:"id,omitzero"`
	Provider    *string            `json:"provider,omitzero"`
	Credentials *issuerCredentials `json:"credentials,omitzero"`
	Details     json.RawMessage    `json:"org_details,omitempty"`
	Attributes  *issuerAttributes  `json:"attributes,omitzero"`
}

type issuerCredentials struct {
	Account  string `json:"account_id,omitzero"`
	Password string `json:"pwd,omitzero"`
}

type issuerAttributes struct {
	Enabled *bool `json:"enabled,omitzero"`
	Created int64 `json:"created,omitzero"`
	Updated int64 `json:"updated,omitzero"`
}

// issuerItem is an issuer in a list.
type issuerItem struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
}

func (x *exchange) issuerOut(i vault.Issuer) issuerJSON {
	out := issuerJSON{ID: x.issuerID(i.Name), Provider: &i.Provider, Credentials: &issuerCredentials{Account: i.Account},
		Attributes: &issuerAttributes{&i.Enabled, i.Created, i.Updated}}
	if json.Valid(i.Details) {
		out.Details = i.Details
	}
	return out
}

// merged applies a body to an issuer that may be there.
func (in issuerJSON) merged(i vault.Issuer) vault.Issuer {
	if in.Provider != nil {
		i.Provider = *in.Provider
	}
	if c := in.Credentials; c != nil {
		i.Account, i.Password = c.Account, []byte(c.Password)
	}
	if in.Details != nil {
		i.Details = in.Details
	}
	if a := in.Attributes; a != nil && a.Enabled != nil {
		i.Enabled = *a.Enabled
	}
	return i
}

func getIssuer(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.issuerOut)(s.CertificateIssuer(x.ctx, x.caller, x.vault, x.route.name))
}

func setIssuer(s *vault.Service, x *exchange) (int, any, error) {
	var in issuerJSON
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return shown(x.issuerOut)(s.SetCertificateIssuer(x.ctx, x.caller, x.vault, x.route.name, func(old vault.Issuer, _ bool) (vault.Issuer, error) {
		return in.merged(vault.Issuer{Enabled: true, Created: old.Created}), nil
	}))
}

func updateIssuer(s *vault.Service, x *exchange) (int, any, error) {
	var in issuerJSON
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return shown(x.issuerOut)(s.SetCertificateIssuer(x.ctx, x.caller, x.vault, x.route.name, func(old vault.Issuer, exists bool) (vault.Issuer, error) {
		if !exists {
			return old, vault.IssuerMissing(x.route.name)
		}
		return in.merged(old), nil
	}))
}

func deleteIssuer(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.issuerOut)(s.DeleteCertificateIssuer(x.ctx, x.caller, x.vault, x.route.name))
}

func listIssuers(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/certificates/issuers", func(p vault.Page) ([]vault.Issuer, string, error) {
		return s.CertificateIssuers(x.ctx, x.caller, x.vault, p)
	}, func(i vault.Issuer) issuerItem { return issuerItem{x.issuerID(i.Name), i.Provider} })
}
