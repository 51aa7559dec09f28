package keyvault

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// certificateIn is the body of create and update.
type certificateIn struct {
	changeIn
	Policy *certPolicyJSON `json:"policy"`
}

func (c certificateIn) spec() vault.CertificateSpec {
	s := vault.CertificateSpec{Change: c.change()}
	if c.Policy != nil {
		p := c.Policy.policy()
		s.Policy = &p
	}
	return s
}

// importCertificateIn is the body of an import.
type importCertificateIn struct {
	certificateIn
	Value    string `json:"value"`
	Password string `json:"pwd"`
}

// mergeIn is the body of a merge: DER certificates in base64.
type mergeIn struct {
	changeIn
	Chain []string `json:"x5c"`
}

// maxMerged bounds the certificates of a merge.
const maxMerged = 20

func (m mergeIn) chain() ([][]byte, error) {
	if len(m.Chain) == 0 || len(m.Chain) > maxMerged {
		return nil, badParameter("The property 'x5c' must have 1 to %d certificates.", maxMerged)
	}
	var out [][]byte
	for _, s := range m.Chain {
		der, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			var ok bool
			if der, ok = decode64(s); !ok {
				return nil, badParameter("The property 'x5c' is not base64.")
			}
		}
		out = append(out, der)
	}
	return out, nil
}

// certPolicyJSON is a certificate's policy in both directions.
type certPolicyJSON struct {
	ID         string            `json:"id,omitzero"`
	Key        *certKeyJSON      `json:"key_props,omitzero"`
	Secret     *certSecretJSON   `json:"secret_props,omitzero"`
	X509       *certX509JSON     `json:"x509_props,omitzero"`
	Actions    *[]certActionJSON `json:"lifetime_actions,omitzero"`
	Issuer     *certIssuerJSON   `json:"issuer,omitzero"`
	Attributes *certTimesJSON    `json:"attributes,omitzero"`
}

type certKeyJSON struct {
	Exportable *bool  `json:"exportable"`
	KTY        string `json:"kty,omitzero"`
	Size       int    `json:"key_size,omitzero"`
	Curve      string `json:"crv,omitzero"`
	Reuse      bool   `json:"reuse_key"`
}

type certSecretJSON struct {
	ContentType string `json:"contentType,omitzero"`
}

type certX509JSON struct {
	Subject  string               `json:"subject"`
	Names    *certNamesJSON       `json:"sans,omitzero"`
	EKUs     *[]string            `json:"ekus,omitzero"`
	KeyUsage *[]string            `json:"key_usage,omitzero"`
	Months   int                  `json:"validity_months,omitzero"`
	Basic    *certConstraintsJSON `json:"basic_constraints,omitzero"`
}

type certNamesJSON struct {
	DNS    []string `json:"dns_names,omitempty"`
	Emails []string `json:"emails,omitempty"`
	UPNs   []string `json:"upns,omitempty"`
	URIs   []string `json:"uris,omitempty"`
	IPs    []string `json:"ipAddresses,omitempty"`
}

type certConstraintsJSON struct {
	CA *bool `json:"ca,omitzero"`
}

type certActionJSON struct {
	Trigger struct {
		Percentage int `json:"lifetime_percentage,omitzero"`
		DaysBefore int `json:"days_before_expiry,omitzero"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"action_type"`
	} `json:"action"`
}

type certIssuerJSON struct {
	Name         string `json:"name"`
	Type         string `json:"cty,omitzero"`
	Transparency *bool  `json:"cert_transparency,omitzero"`
}

type certTimesJSON struct {
	Enabled bool  `json:"enabled"`
	Created int64 `json:"created"`
	Updated int64 `json:"updated"`
}

func (p certPolicyJSON) policy() vault.CertificatePolicy {
	out := vault.CertificatePolicy{Exportable: true}
	if k := p.Key; k != nil {
		out.Exportable = k.Exportable == nil || *k.Exportable
		out.KTY, out.Size, out.Curve, out.ReuseKey = k.KTY, k.Size, k.Curve, k.Reuse
	}
	if p.Secret != nil {
		out.ContentType = p.Secret.ContentType
	}
	if i := p.Issuer; i != nil {
		out.Issuer, out.Type, out.Transparency = i.Name, i.Type, i.Transparency
	}
	if p.X509 != nil {
		p.X509.into(&out)
	}
	if p.Actions != nil {
		out.Actions = []vault.CertificateAction{}
		for _, a := range *p.Actions {
			out.Actions = append(out.Actions, vault.CertificateAction{Type: a.Action.Type, DaysBefore: a.Trigger.DaysBefore, Percentage: a.Trigger.Percentage})
		}
	}
	return out
}

func (x certX509JSON) into(out *vault.CertificatePolicy) {
	out.Subject, out.Months = x.Subject, x.Months
	if n := x.Names; n != nil {
		out.Names = vault.AlternativeNames{DNS: n.DNS, Emails: n.Emails, UPNs: n.UPNs, URIs: n.URIs, IPs: n.IPs}
	}
	if x.EKUs != nil {
		out.EKUs = append([]string{}, *x.EKUs...)
	}
	if x.KeyUsage != nil {
		out.KeyUsage = append([]string{}, *x.KeyUsage...)
	}
	if x.Basic != nil {
		out.Authority = x.Basic.CA
	}
}

func (x *exchange) certPolicyOut(name string) func(vault.CertificatePolicy) certPolicyJSON {
	return func(p vault.CertificatePolicy) certPolicyJSON {
		out := certPolicyJSON{
			ID:     x.id("certificates", name, "policy"),
			Key:    &certKeyJSON{Exportable: &p.Exportable, KTY: p.KTY, Size: p.Size, Curve: p.Curve, Reuse: p.ReuseKey},
			Secret: &certSecretJSON{p.ContentType},
			X509: &certX509JSON{Subject: p.Subject, Names: &certNamesJSON{p.Names.DNS, p.Names.Emails, p.Names.UPNs, p.Names.URIs, p.Names.IPs},
				EKUs: &p.EKUs, KeyUsage: &p.KeyUsage, Months: p.Months, Basic: &certConstraintsJSON{pointer(p.Authority != nil && *p.Authority)}},
			Issuer:     &certIssuerJSON{p.Issuer, p.Type, p.Transparency},
			Attributes: &certTimesJSON{true, p.Created, p.Updated},
		}
		actions := []certActionJSON{}
		for _, a := range p.Actions {
			var shown certActionJSON
			shown.Action.Type, shown.Trigger.DaysBefore, shown.Trigger.Percentage = a.Type, a.DaysBefore, a.Percentage
			actions = append(actions, shown)
		}
		out.Actions = &actions
		return out
	}
}

// certificateOut is a certificate in an answer.
type certificateOut struct {
	ID         string            `json:"id"`
	KeyID      string            `json:"kid,omitzero"`
	SecretID   string            `json:"sid,omitzero"`
	Thumbprint string            `json:"x5t,omitzero"`
	DER        string            `json:"cer,omitzero"`
	Attributes attributesOut     `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	Policy     *certPolicyJSON   `json:"policy,omitzero"`
	Pending    *idJSON           `json:"pending,omitzero"`
	deletionOut
}

type idJSON struct {
	ID string `json:"id"`
}

// certificateItem is a certificate in a list.
type certificateItem struct {
	ID         string            `json:"id"`
	Thumbprint string            `json:"x5t,omitzero"`
	Subject    string            `json:"subject"`
	Attributes attributesOut     `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	deletionOut
}

// thumbprint names a certificate by its SHA-1, as the protocol has it.
func thumbprint(der []byte) string {
	if der == nil {
		return ""
	}
	sum := sha1.Sum(der)
	return b64.EncodeToString(sum[:])
}

func (x *exchange) certificateOut(c vault.Certificate) certificateOut {
	policy := x.certPolicyOut(c.Name)(c.Policy)
	return certificateOut{
		ID: x.id("certificates", c.Name, c.Version), KeyID: x.id("keys", c.Name, c.Version), SecretID: x.id("secrets", c.Name, c.Version),
		Thumbprint: thumbprint(c.DER), DER: base64.StdEncoding.EncodeToString(c.DER), Attributes: x.attributes(c.Properties), Tags: c.Tags,
		Policy: &policy, Pending: &idJSON{x.id("certificates", c.Name, "pending")}, deletionOut: x.deletion("certificates", c.Properties),
	}
}

func (x *exchange) certificateItem(c vault.Certificate) certificateItem {
	return certificateItem{ID: x.id("certificates", c.Name, c.Version), Thumbprint: thumbprint(c.DER), Subject: c.Policy.Subject,
		Attributes: x.attributes(c.Properties), Tags: c.Tags, deletionOut: x.deletion("certificates", c.Properties)}
}

// certOperationOut is the making of a version in an answer.
type certOperationOut struct {
	ID        string         `json:"id"`
	Issuer    certIssuerJSON `json:"issuer"`
	CSR       string         `json:"csr,omitzero"`
	Cancelled bool           `json:"cancellation_requested"`
	Status    string         `json:"status"`
	Details   string         `json:"status_details,omitzero"`
	Target    string         `json:"target,omitzero"`
	RequestID string         `json:"request_id"`
}

func (x *exchange) certOperationOut(o vault.CertificateOperation) certOperationOut {
	out := certOperationOut{ID: x.id("certificates", o.Name, "pending"), Issuer: certIssuerJSON{Name: o.Issuer}, CSR: base64.StdEncoding.EncodeToString(o.CSR),
		Cancelled: o.Cancelled, Status: o.Status, Details: o.Details, RequestID: o.RequestID}
	if o.Version != "" {
		out.Target = x.id("certificates", o.Name, "")
	}
	return out
}

func createCertificate(s *vault.Service, x *exchange) (int, any, error) {
	var in certificateIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	_, body, err := shown(x.certOperationOut)(s.CreateCertificate(x.ctx, x.caller, x.vault, x.route.name, in.spec()))
	return http.StatusAccepted, body, err
}

func importCertificate(s *vault.Service, x *exchange) (int, any, error) {
	var in importCertificateIn
	if err := wire.ReadJSON(x.r, importLimit, &in); err != nil {
		return 0, nil, err
	}
	return shown(x.certificateOut)(s.ImportCertificate(x.ctx, x.caller, x.vault, x.route.name, in.spec(), in.Value, in.Password))
}

func getCertificate(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.certificateOut)(s.Certificate(x.ctx, x.caller, x.vault, x.route.name, x.route.version))
}

func updateCertificate(s *vault.Service, x *exchange) (int, any, error) {
	var in certificateIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return shown(x.certificateOut)(s.UpdateCertificate(x.ctx, x.caller, x.vault, x.route.name, x.route.version, in.spec()))
}

func deleteCertificate(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.certificateOut)(s.DeleteCertificate(x.ctx, x.caller, x.vault, x.route.name))
}

func getDeletedCertificate(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.certificateOut)(s.DeletedCertificate(x.ctx, x.caller, x.vault, x.route.name))
}

func recoverCertificate(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.certificateOut)(s.RecoverCertificate(x.ctx, x.caller, x.vault, x.route.name))
}

func purgeCertificate(s *vault.Service, x *exchange) (int, any, error) {
	return http.StatusNoContent, nil, s.PurgeCertificate(x.ctx, x.caller, x.vault, x.route.name)
}

func backUpCertificate(s *vault.Service, x *exchange) (int, any, error) {
	return shown(blobOut)(s.BackUpCertificate(x.ctx, x.caller, x.vault, x.route.name))
}

func restoreCertificate(s *vault.Service, x *exchange) (int, any, error) {
	blob, err := x.blob()
	if err != nil {
		return 0, nil, err
	}
	return shown(x.certificateOut)(s.RestoreCertificate(x.ctx, x.caller, x.vault, blob))
}

func listCertificates(s *vault.Service, x *exchange) (int, any, error) {
	pending, _ := strconv.ParseBool(x.r.URL.Query().Get("includePending"))
	return page(x, "/certificates", func(p vault.Page) ([]vault.Certificate, string, error) {
		return s.Certificates(x.ctx, x.caller, x.vault, p, pending)
	}, x.certificateItem)
}

func listDeletedCertificates(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/deletedcertificates", func(p vault.Page) ([]vault.Certificate, string, error) {
		return s.DeletedCertificates(x.ctx, x.caller, x.vault, p)
	}, x.certificateItem)
}

func listCertificateVersions(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/certificates/"+x.route.name+"/versions", func(p vault.Page) ([]vault.Certificate, string, error) {
		return s.CertificateVersions(x.ctx, x.caller, x.vault, x.route.name, p)
	}, x.certificateItem)
}

func getCertPolicy(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.certPolicyOut(x.route.name))(s.CertificatePolicy(x.ctx, x.caller, x.vault, x.route.name))
}

func setCertPolicy(s *vault.Service, x *exchange) (int, any, error) {
	var in certPolicyJSON
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return shown(x.certPolicyOut(x.route.name))(s.SetCertificatePolicy(x.ctx, x.caller, x.vault, x.route.name, in.policy()))
}

func getPending(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.certOperationOut)(s.CertificateOperation(x.ctx, x.caller, x.vault, x.route.name))
}

func updatePending(s *vault.Service, x *exchange) (int, any, error) {
	var in struct {
		Cancel bool `json:"cancellation_requested"`
	}
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	if !in.Cancel {
		return getPending(s, x)
	}
	return shown(x.certOperationOut)(s.CancelCertificateOperation(x.ctx, x.caller, x.vault, x.route.name))
}

func deletePending(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.certOperationOut)(s.DeleteCertificateOperation(x.ctx, x.caller, x.vault, x.route.name))
}

func mergeCertificate(s *vault.Service, x *exchange) (int, any, error) {
	var in mergeIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	chain, err := in.chain()
	if err != nil {
		return 0, nil, err
	}
	_, body, err := shown(x.certificateOut)(s.MergeCertificate(x.ctx, x.caller, x.vault, x.route.name, vault.CertificateSpec{Change: in.change()}, chain))
	return http.StatusCreated, body, err
}

// contactsJSON are the contacts of a vault in both directions.
type contactsJSON struct {
	ID       string        `json:"id,omitzero"`
	Contacts []contactJSON `json:"contacts"`
}

type contactJSON struct {
	Email string `json:"email"`
	Name  string `json:"name,omitzero"`
	Phone string `json:"phone,omitzero"`
}

func (x *exchange) contactsOut(all []vault.Contact) contactsJSON {
	out := contactsJSON{ID: x.base() + "/certificates/contacts", Contacts: []contactJSON{}}
	for _, c := range all {
		out.Contacts = append(out.Contacts, contactJSON(c))
	}
	return out
}

func getContacts(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.contactsOut)(s.Contacts(x.ctx, x.caller, x.vault))
}

func setContacts(s *vault.Service, x *exchange) (int, any, error) {
	var in contactsJSON
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	var all []vault.Contact
	for _, c := range in.Contacts {
		all = append(all, vault.Contact(c))
	}
	return shown(x.contactsOut)(s.SetContacts(x.ctx, x.caller, x.vault, all))
}

func deleteContacts(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.contactsOut)(s.DeleteContacts(x.ctx, x.caller, x.vault))
}

// importLimit bounds the body of an imported certificate, in bytes.
const importLimit = 512 << 10

// issuerID is the address of an issuer.
func (x *exchange) issuerID(name string) string {
	return x.base() + "/certificates/issuers/" + strings.TrimSpace(name)
}
