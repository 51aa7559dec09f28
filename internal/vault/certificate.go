package vault

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// certificateRecord is a certificate with all its versions. Each has a key and a secret of the same name
// and version, in records of their own that are marked as managed and change in the same commit.
type certificateRecord struct {
	object[certificateVersion]
	Policy  CertificatePolicy
	Pending *pendingCertificate `json:",omitempty"` // the last operation that made a version, or was to
}

func (c certificateRecord) marked(d *Deletion) certificateRecord {
	c.Deletion = d
	return c
}

// certificateVersion is one version of a certificate.
type certificateVersion struct {
	state
	Chain [][]byte // DER, the certificate itself first
}

// pendingCertificate is an operation on its way, or the last one that ended. Private is the key that waits
// for its certificate.
type pendingCertificate struct {
	RequestID string
	Issuer    string
	CSR       []byte
	Status    string // one of the statuses below
	Details   string `json:",omitempty"`
	Cancelled bool   `json:",omitempty"` // cancellation was asked for
	Version   string `json:",omitempty"` // that was made
	Change    Change
	KTY       string
	Params    material.Params
	Private   private `json:",omitempty"`
}

// Format writes a constant, whatever the verb.
func (pendingCertificate) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[pending]") }

// The statuses of operations.
const (
	StatusInProgress = "inProgress"
	StatusCompleted  = "completed"
	StatusCancelled  = "cancelled"
)

// The issuers that are no objects: certificates that sign themselves, and those that somebody else signs.
const (
	IssuerSelf    = "Self"
	IssuerUnknown = "Unknown"
)

// The forms of a certificate's secret.
const (
	ContentPFX = "application/x-pkcs12"
	ContentPEM = "application/x-pem-file"
)

// CertificatePolicy says how the versions of a certificate are made.
type CertificatePolicy struct {
	Exportable   bool // the secret holds the private key
	KTY          string
	Size         int
	Curve        string
	ReuseKey     bool
	ContentType  string
	Subject      string
	Names        AlternativeNames
	EKUs         []string // object identifiers
	KeyUsage     []string
	Months       int
	Authority    *bool // basic constraints; nil: not given
	Issuer       string
	Type         string // what a named issuer calls it
	Transparency *bool
	Actions      []CertificateAction
	Enabled      bool
	Created      int64
	Updated      int64
}

// AlternativeNames are what a certificate is for beside its subject.
type AlternativeNames struct {
	DNS, Emails, UPNs, URIs, IPs []string
}

// CertificateAction is what a policy does before a certificate expires: one of the two triggers is set.
type CertificateAction struct {
	Type       string // AutoRenew or EmailContacts
	DaysBefore int
	Percentage int
}

// The actions. EmailContacts is kept and shown; nothing is sent.
const (
	ActionAutoRenew     = "AutoRenew"
	ActionEmailContacts = "EmailContacts"
)

// Certificate is a version of a certificate as callers see it.
type Certificate struct {
	Properties
	DER    []byte
	Policy CertificatePolicy
}

func (c certificateRecord) view(vault Vault, v certificateVersion) Certificate {
	out := Certificate{Properties: c.properties(vault, v), Policy: c.Policy}
	if len(v.Chain) > 0 {
		out.DER = v.Chain[0]
	}
	return out
}

// CertificateOperation is the making of a version as callers see it.
type CertificateOperation struct {
	Name      string
	RequestID string
	Issuer    string
	CSR       []byte
	Status    string
	Details   string
	Cancelled bool
	Version   string // that was made; "" for none
}

func (c certificateRecord) operation() CertificateOperation {
	p := c.Pending
	return CertificateOperation{Name: c.Name, RequestID: p.RequestID, Issuer: p.Issuer, CSR: p.CSR, Status: p.Status, Details: p.Details,
		Cancelled: p.Cancelled, Version: p.Version}
}

// CertificateSpec is what a caller asks for. A nil policy is left as it is.
type CertificateSpec struct {
	Change
	Policy *CertificatePolicy
}

// Defaults and bounds of policies.
const (
	defaultMonths  = 12
	maxMonths      = 1200
	defaultPercent = 80
	maxNames       = 100
)

// The words of key_usage, by the bits that they stand for.
var keyUsages = map[string]x509.KeyUsage{
	"digitalsignature": x509.KeyUsageDigitalSignature, "nonrepudiation": x509.KeyUsageContentCommitment, "keyencipherment": x509.KeyUsageKeyEncipherment,
	"dataencipherment": x509.KeyUsageDataEncipherment, "keyagreement": x509.KeyUsageKeyAgreement, "keycertsign": x509.KeyUsageCertSign,
	"crlsign": x509.KeyUsageCRLSign, "encipheronly": x509.KeyUsageEncipherOnly, "decipheronly": x509.KeyUsageDecipherOnly,
}

// Server and client authentication, which every certificate is for unless its policy says other.
var usualEKUs = []string{"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}

// normal fills in what was left open and refuses what no certificate can be.
func (p CertificatePolicy) normal() (CertificatePolicy, error) {
	if p.KTY == "" {
		p.KTY = string(material.RSA)
	}
	kty, err := KeySpec{KTY: p.KTY}.kty()
	if err != nil {
		return p, err
	}
	params, err := material.Params{Type: typeOf(kty), Bits: p.Size, Curve: p.Curve}.Normal()
	if err != nil {
		return p, err
	}
	p.KTY, p.Size, p.Curve = kty, params.Bits, params.Curve
	for _, d := range []struct {
		is       *string
		standard string
	}{{&p.ContentType, ContentPFX}, {&p.Issuer, IssuerUnknown}} {
		if *d.is == "" {
			*d.is = d.standard
		}
	}
	if p.Months == 0 {
		p.Months = defaultMonths
	}
	if p.EKUs == nil {
		p.EKUs = usualEKUs
	}
	if p.KeyUsage == nil {
		p.KeyUsage = []string{"digitalSignature", "keyEncipherment"}
	}
	if p.Actions == nil {
		p.Actions = p.usualActions()
	}
	return p, p.check(params.Type)
}

// usualActions renew what can be renewed here and tell about the rest.
func (p CertificatePolicy) usualActions() []CertificateAction {
	if p.Issuer == IssuerSelf {
		return []CertificateAction{{Type: ActionAutoRenew, Percentage: defaultPercent}}
	}
	return []CertificateAction{{Type: ActionEmailContacts, Percentage: defaultPercent}}
}

func (p CertificatePolicy) check(t material.Type) error {
	switch {
	case t == material.Oct || p.Curve == material.P256K:
		return badParameter("The key type '%s' is not possible in a certificate.", p.KTY)
	case p.ContentType != ContentPFX && p.ContentType != ContentPEM:
		return badParameter("The content type '%.64s' is not valid; use %s or %s.", p.ContentType, ContentPFX, ContentPEM)
	case p.Months < 1 || p.Months > maxMonths:
		return badParameter("The validity must be between 1 and %d months.", maxMonths)
	case p.Exportable && strings.HasSuffix(p.KTY, hsm):
		return badParameter("The key of a certificate cannot be exportable with the key type '%s'.", p.KTY)
	}
	for _, u := range p.KeyUsage {
		if _, ok := keyUsages[strings.ToLower(u)]; !ok {
			return badParameter("Property key_usage has invalid value '%.32s'.", u)
		}
	}
	if _, err := p.template(time.Unix(0, 0)); err != nil {
		return err
	}
	return checkActions(p.Actions)
}

func checkActions(all []CertificateAction) error {
	seen := map[string]bool{}
	for _, a := range all {
		switch {
		case a.Type != ActionAutoRenew && a.Type != ActionEmailContacts:
			return badParameter("The action type '%.32s' is not %s or %s.", a.Type, ActionAutoRenew, ActionEmailContacts)
		case seen[a.Type]:
			return badParameter("There can be only one action of the type %s.", a.Type)
		case (a.DaysBefore == 0) == (a.Percentage == 0):
			return badParameter("The trigger of %s must have either days_before_expiry or lifetime_percentage.", a.Type)
		case a.DaysBefore < 0 || a.DaysBefore > 31*maxMonths || a.Percentage < 0 || a.Percentage > 99:
			return badParameter("The trigger of %s is out of range.", a.Type)
		}
		seen[a.Type] = true
	}
	return nil
}

// renewal is when the current version is to be renewed; ok is false when it will not be by itself.
func (c certificateRecord) renewal() (at time.Time, ok bool) {
	v, there := c.version("")
	if !there || c.Deletion != nil || !v.Enabled || c.Policy.Issuer != IssuerSelf {
		return time.Time{}, false
	}
	i := slices.IndexFunc(c.Policy.Actions, func(a CertificateAction) bool { return a.Type == ActionAutoRenew })
	if i < 0 {
		return time.Time{}, false
	}
	from, to := time.Unix(v.NotBefore, 0), time.Unix(v.Expires, 0)
	if a := c.Policy.Actions[i]; a.DaysBefore > 0 {
		at = to.AddDate(0, 0, -a.DaysBefore)
	} else {
		at = from.Add(to.Sub(from) / 100 * time.Duration(a.Percentage))
	}
	if made := time.Unix(v.Created, 0).Add(minRenewal); at.Before(made) {
		at = made // a policy that is always due does not keep the server busy
	}
	return at, true
}

// minRenewal is the shortest time between two renewals.
const minRenewal = 24 * time.Hour

func pendingNotFound(name string) error {
	return fault.New(fault.NotFound, "PendingCertificateNotFound", "Pending certificate not found: %s", name)
}
