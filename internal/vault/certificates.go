package vault

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// changeCertificate is change for the three records of a certificate: what edit returns and adds to c
// becomes durable together.
func (s *Service) changeCertificate(r *request, edit func(c *changes) (certificateRecord, error)) (certificateRecord, error) {
	var rec certificateRecord
	err := s.change(r.ctx, func() error {
		vault, err := s.live(r.vault.Name)
		if err != nil {
			return err
		}
		r.vault = vault
		var failed error
		err = s.commit(func(c *changes) {
			c.vault = vault.Name
			if rec, failed = edit(c); failed != nil {
				c.do(failed, func() {})
				return
			}
			s.certificates.putIn(c, vault.Name, rec)
		})
		return err
	})
	if err == nil {
		s.changed(r.vault.Name, ofCertificates, rec.name())
		s.changed(r.vault.Name, ofKeys, rec.name())
	}
	return rec, r.done(err)
}

// certificateFree refuses a name that is deleted, or an ordinary key's or secret's.
func (s *Service) certificateFree(vault, name string) error {
	if err := s.certificates.free(vault, name); err != nil {
		return err
	}
	if k, ok := s.keys.find(vault, name); ok && !k.Managed {
		return fault.New(fault.Conflict, "NameInUse", "The name %s is in use by a key, so no certificate can have it.", name)
	}
	if x, ok := s.secrets.find(vault, name); ok && !x.Managed {
		return fault.New(fault.Conflict, "NameInUse", "The name %s is in use by a secret, so no certificate can have it.", name)
	}
	return nil
}

// issue is a version that is about to be made.
type issue struct {
	policy CertificatePolicy
	change Change
	kty    string
	key    material.Key
	chain  [][]byte
}

// versions of the three records, with one id and the certificate's own times.
func (i issue) versions(now time.Time) (cert certificateVersion, key keyVersion, text secretVersion, err error) {
	leaf, err := x509.ParseCertificate(i.chain[0])
	if err != nil {
		return cert, key, text, badParameter("The certificate cannot be read.")
	}
	from, to := leaf.NotBefore.Unix(), leaf.NotAfter.Unix()
	i.change.NotBefore, i.change.Expires = nil, nil
	cert = certificateVersion{state: newState(now), Chain: i.chain}
	if cert.state, err = i.change.apply(cert.state, now); err != nil {
		return cert, key, text, err
	}
	cert.NotBefore, cert.Expires = max(from, 0), max(to, 0)
	spec := KeySpec{KTY: i.kty, Ops: i.policy.operations()}
	if key, err = spec.version(made{Key: i.key}, now); err != nil {
		return cert, key, text, err
	}
	key.state = cert.state
	text = secretVersion{state: cert.state, ContentType: i.policy.ContentType}
	value, err := i.policy.secretOf(i.key, i.chain)
	text.Value = value
	return cert, key, text, err
}

// operations are the key_ops that the policy's key usage stands for.
func (p CertificatePolicy) operations() []string {
	usage := x509.KeyUsage(0)
	if t, err := p.template(time.Unix(0, 0)); err == nil {
		usage = t.KeyUsage
	}
	ops := []string{}
	for _, x := range []struct {
		usage x509.KeyUsage
		ops   []string
	}{
		{x509.KeyUsageDataEncipherment, []string{"encrypt", "decrypt"}},
		{x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageContentCommitment, []string{"sign", "verify"}},
		{x509.KeyUsageKeyEncipherment, []string{"wrapKey", "unwrapKey"}},
	} {
		if usage&x.usage != 0 && (typeOf(p.KTY) == material.RSA || x.ops[0] == "sign") {
			ops = append(ops, x.ops...)
		}
	}
	return ops
}

// addIssue puts a version into the three records.
func (s *Service) addIssue(c *changes, vault string, rec certificateRecord, i issue) (certificateRecord, certificateVersion, error) {
	cert, key, text, err := i.versions(s.cfg.Now())
	if err != nil {
		return rec, cert, err
	}
	k, ok := s.keys.find(vault, rec.Name)
	if !ok {
		k = keyRecord{object: object[keyVersion]{Name: rec.Name, Managed: true}}
	}
	x, ok := s.secrets.find(vault, rec.Name)
	if !ok {
		x = secretRecord{object[secretVersion]{Name: rec.Name, Managed: true}}
	}
	x.object = x.with(text)
	s.keys.putIn(c, vault, k.with(key))
	s.secrets.putIn(c, vault, x)
	rec.object = rec.with(cert)
	return rec, cert, nil
}

// CreateCertificate makes a version by a policy: at once when it signs itself, else a request that waits for
// its certificate. Without a policy the certificate's own holds.
func (s *Service) CreateCertificate(ctx context.Context, c principal.Caller, vault, name string, spec CertificateSpec) (CertificateOperation, error) {
	policy, form := s.policyFor(vault, name, spec)
	r, err := s.guard(ctx, c, vault, name, mayCreateCertificate, form, spec.Change.check())
	if err != nil {
		return CertificateOperation{}, err
	}
	if err := s.certificateFree(vault, name); err != nil {
		return CertificateOperation{}, r.done(err)
	}
	rec, err := s.issueCertificate(r, policy, spec.Change, func(certificateRecord) error { return nil })
	if err != nil {
		return CertificateOperation{}, err
	}
	return rec.operation().begun(), nil
}

// begun is the operation as it is told when it begins: clients wait for its end by looking again, and some
// know no other way.
func (o CertificateOperation) begun() CertificateOperation {
	if o.Status == StatusCompleted {
		o.Status, o.Version = StatusInProgress, ""
		o.Details = "Pending certificate created. Certificate request is in progress. This may take some time based on the issuer provider. Please check again later"
	}
	return o
}

// policyFor is the policy of a version that is to be made.
func (s *Service) policyFor(vault, name string, spec CertificateSpec) (CertificatePolicy, error) {
	if spec.Policy != nil {
		p := *spec.Policy
		return p.normal()
	}
	if rec, ok := s.certificates.find(vault, name); ok {
		return rec.Policy, nil
	}
	return CertificatePolicy{}, badParameter("The property 'policy' is required.")
}

// issueCertificate makes a version, or the request for one, and ends r. still is asked when it is stored:
// much can happen while a key is generated.
func (s *Service) issueCertificate(r *request, policy CertificatePolicy, change Change, still func(certificateRecord) error) (certificateRecord, error) {
	if err := s.knownIssuer(r.vault.Name, policy.Issuer); err != nil {
		return certificateRecord{}, r.done(err)
	}
	key, err := s.certificateKey(r.vault.Name, r.name, policy)
	if err != nil {
		return certificateRecord{}, r.done(err)
	}
	i := issue{policy: policy, change: change, kty: policy.KTY, key: key}
	pending, err := i.begin(s.cfg.Now())
	if err != nil {
		return certificateRecord{}, r.done(err)
	}
	return s.changeCertificate(r, func(c *changes) (certificateRecord, error) {
		if err := s.certificateFree(r.vault.Name, r.name); err != nil {
			return certificateRecord{}, err
		}
		rec, there := s.certificates.find(r.vault.Name, r.name)
		if !there {
			rec.Name = r.name
		}
		if err := still(rec); err != nil {
			return rec, err
		}
		if rec.Pending != nil && rec.Pending.Status == StatusInProgress {
			return rec, fault.New(fault.Conflict, "PendingCertificate", "The certificate %s has an operation in progress: merge, cancel or delete it first.", r.name)
		}
		rec.Policy, rec.Pending = policy.stamped(rec.Policy, s.cfg.Now()), &pending
		if i.chain == nil {
			return rec, nil
		}
		rec, v, err := s.addIssue(c, r.vault.Name, rec, i)
		r.version, pending.Version = v.ID, v.ID
		return rec, err
	})
}

// begin signs what can be signed here, and asks for the rest.
func (i *issue) begin(now time.Time) (pendingCertificate, error) {
	p := pendingCertificate{RequestID: newVersionID(), Issuer: i.policy.Issuer, Status: StatusInProgress, Change: i.change, KTY: i.kty, Params: i.key.Params()}
	k, err := signer(i.key)
	if err != nil {
		return p, err
	}
	if p.CSR, err = i.policy.request(k); err != nil {
		return p, err
	}
	if i.policy.Issuer == IssuerSelf {
		der, err := i.policy.signSelf(k, now)
		i.chain, p.Status = [][]byte{der}, StatusCompleted
		return p, err
	}
	p.Details = "Pending certificate created. Please Perform Merge to complete the request."
	p.Private, err = i.key.Private()
	return p, err
}

func (p CertificatePolicy) stamped(old CertificatePolicy, now time.Time) CertificatePolicy {
	p.Enabled, p.Created, p.Updated = true, old.Created, now.Unix()
	if p.Created == 0 {
		p.Created = p.Updated
	}
	return p
}

// certificateKey is the key of the next version: a new one, or the current one where the policy says so.
func (s *Service) certificateKey(vault, name string, p CertificatePolicy) (material.Key, error) {
	want := material.Params{Type: typeOf(p.KTY), Bits: p.Size, Curve: p.Curve}
	if k, ok := s.keys.find(vault, name); ok && k.Managed && p.ReuseKey {
		if v, ok := k.version(""); ok && v.key.Params() == want {
			return v.key, nil
		}
	}
	return material.Generate(want)
}

// certificate returns a live certificate and one of its versions; "" means the current one.
func (s *Service) certificate(vault, name, id string) (certificateRecord, certificateVersion, error) {
	rec, err := s.certificates.live(vault, name)
	if err != nil {
		return rec, certificateVersion{}, ofCertificates.notFound(name, id)
	}
	v, ok := rec.version(id)
	if !ok {
		return rec, v, ofCertificates.notFound(name, id)
	}
	return rec, v, nil
}

// Certificate returns a version of a certificate; "" is the current one.
func (s *Service) Certificate(ctx context.Context, c principal.Caller, vault, name, id string) (Certificate, error) {
	r, err := s.guard(ctx, c, vault, name, mayGetCertificate, checkVersion(id))
	if err != nil {
		return Certificate{}, err
	}
	rec, v, err := s.certificate(vault, name, id)
	if err != nil {
		return Certificate{}, r.done(err)
	}
	r.version = v.ID
	return rec.view(r.vault, v), r.done(nil)
}

// ImportCertificate takes a certificate with its private key over as a new current version: a PFX in base64,
// or PEM text.
func (s *Service) ImportCertificate(ctx context.Context, c principal.Caller, vault, name string, spec CertificateSpec, value, password string) (Certificate, error) {
	r, err := s.guard(ctx, c, vault, name, mayImportCertificate, spec.Change.check())
	if err != nil {
		return Certificate{}, err
	}
	in, err := parseImported(value, password)
	if err != nil {
		return Certificate{}, r.done(err)
	}
	policy, err := in.policy(spec.Policy)
	if err != nil {
		return Certificate{}, r.done(err)
	}
	return s.storeIssue(r, func(rec certificateRecord) (issue, certificateRecord, error) {
		rec.Policy = policy.stamped(rec.Policy, s.cfg.Now())
		return issue{policy: policy, change: spec.Change, kty: policy.KTY, key: in.key, chain: in.chain}, rec, nil
	})
}

// policy is what an imported certificate is like: what its owner says, and what can be read off it.
func (i imported) policy(given *CertificatePolicy) (CertificatePolicy, error) {
	p := CertificatePolicy{Exportable: true, ContentType: i.form}
	if given != nil {
		p = *given
	}
	if p.ContentType == "" {
		p.ContentType = i.form
	}
	leaf, err := x509.ParseCertificate(i.chain[0])
	if err != nil {
		return p, unreadable()
	}
	params := i.key.Params()
	p.KTY, p.Size, p.Curve = i.kty, params.Bits, params.Curve
	p.Subject, p.Names.DNS, p.Names.Emails = leaf.Subject.String(), leaf.DNSNames, leaf.EmailAddresses
	p.KeyUsage = nil
	for name, bit := range map[string]x509.KeyUsage{"digitalSignature": x509.KeyUsageDigitalSignature, "keyEncipherment": x509.KeyUsageKeyEncipherment,
		"dataEncipherment": x509.KeyUsageDataEncipherment, "keyCertSign": x509.KeyUsageCertSign} {
		if leaf.KeyUsage&bit != 0 {
			p.KeyUsage = append(p.KeyUsage, name)
		}
	}
	if months := int(leaf.NotAfter.Sub(leaf.NotBefore).Hours() / 24 / 30); p.Months == 0 {
		p.Months = min(max(months, 1), maxMonths)
	}
	if _, err := parseSubject(p.Subject); err != nil {
		p.Subject = "" // a subject with parts that have no short name; the certificate itself has it
	}
	return p.normal()
}

// storeIssue adds a version that is complete and ends r.
func (s *Service) storeIssue(r *request, edit func(certificateRecord) (issue, certificateRecord, error)) (Certificate, error) {
	var v certificateVersion
	rec, err := s.changeCertificate(r, func(c *changes) (certificateRecord, error) {
		if err := s.certificateFree(r.vault.Name, r.name); err != nil {
			return certificateRecord{}, err
		}
		rec, there := s.certificates.find(r.vault.Name, r.name)
		if !there {
			rec.Name = r.name
		}
		i, rec, err := edit(rec)
		if err != nil {
			return rec, err
		}
		rec, v, err = s.addIssue(c, r.vault.Name, rec, i)
		r.version = v.ID
		if rec.Pending != nil {
			rec.Pending.Version = v.ID
		}
		return rec, err
	})
	if err != nil {
		return Certificate{}, err
	}
	return rec.view(r.vault, v), nil
}

// pendingOf returns the operation of a certificate.
func (s *Service) pendingOf(vault, name string) (certificateRecord, error) {
	rec, err := s.certificates.live(vault, name)
	if err != nil || rec.Pending == nil {
		return rec, pendingNotFound(name)
	}
	return rec, nil
}

// CertificateOperation returns the operation that made the last version, or is to make one.
func (s *Service) CertificateOperation(ctx context.Context, c principal.Caller, vault, name string) (CertificateOperation, error) {
	r, err := s.guard(ctx, c, vault, name, mayGetCertificate.as("CertificatePendingGet"))
	if err != nil {
		return CertificateOperation{}, err
	}
	rec, err := s.pendingOf(vault, name)
	if err != nil {
		return CertificateOperation{}, r.done(err)
	}
	return rec.operation(), r.done(nil)
}

// CancelCertificateOperation stops an operation that waits for a certificate.
func (s *Service) CancelCertificateOperation(ctx context.Context, c principal.Caller, vault, name string) (CertificateOperation, error) {
	r, err := s.guard(ctx, c, vault, name, mayUpdateCertificate.as("CertificatePendingUpdate"))
	if err != nil {
		return CertificateOperation{}, err
	}
	rec, err := s.changeCertificate(r, func(*changes) (certificateRecord, error) {
		rec, err := s.pendingOf(vault, name)
		if err != nil {
			return rec, err
		}
		if rec.Pending.Status != StatusInProgress {
			return rec, fault.New(fault.Denied, "PendingCertificateDone", "The operation of the certificate %s has ended; it cannot be cancelled.", name)
		}
		p := *rec.Pending
		p.Cancelled, p.Status, p.Details, p.Private = true, StatusCancelled, "The operation was cancelled.", nil
		rec.Pending = &p
		return rec, nil
	})
	if err != nil {
		return CertificateOperation{}, err
	}
	return rec.operation(), nil
}

// DeleteCertificateOperation forgets an operation. A certificate that never had a version goes with it.
func (s *Service) DeleteCertificateOperation(ctx context.Context, c principal.Caller, vault, name string) (CertificateOperation, error) {
	r, err := s.guard(ctx, c, vault, name, mayUpdateCertificate.as("CertificatePendingDelete"))
	if err != nil {
		return CertificateOperation{}, err
	}
	var gone certificateRecord
	err = s.change(ctx, func() error {
		rec, err := s.pendingOf(vault, name)
		if err != nil {
			return err
		}
		gone = rec
		rec.Pending = nil
		return s.commit(func(c *changes) {
			if len(rec.Versions) == 0 {
				s.certificates.eraseIn(c, vault, name)
				return
			}
			s.certificates.putIn(c, vault, rec)
		})
	})
	if err := r.done(err); err != nil {
		return CertificateOperation{}, err
	}
	return gone.operation(), nil
}

// MergeCertificate completes an operation with the certificate that somebody else signed, DER, and the
// chain to it.
func (s *Service) MergeCertificate(ctx context.Context, c principal.Caller, vault, name string, spec CertificateSpec, chain [][]byte) (Certificate, error) {
	r, err := s.guard(ctx, c, vault, name, mayCreateCertificate.as("CertificatePendingMerge"), spec.Change.check())
	if err != nil {
		return Certificate{}, err
	}
	certs, err := parseChain(chain)
	if err != nil {
		return Certificate{}, r.done(err)
	}
	return s.storeIssue(r, func(certificateRecord) (issue, certificateRecord, error) {
		rec, err := s.pendingOf(vault, name)
		if err != nil {
			return issue{}, rec, err
		}
		if rec.Pending.Status != StatusInProgress {
			return issue{}, rec, pendingNotFound(name)
		}
		p := *rec.Pending
		i, err := p.issue(rec.Policy, spec.Change, certs)
		p.Status, p.Details, p.Private = StatusCompleted, "", nil
		rec.Pending = &p
		return i, rec, err
	})
}

// issue is the version that the pending key makes with a chain in which its certificate is.
func (p pendingCertificate) issue(policy CertificatePolicy, change Change, certs []*x509.Certificate) (issue, error) {
	key, err := material.Decode(p.Params, p.Private)
	if err != nil {
		return issue{}, fmt.Errorf("vault: the key of a pending certificate: %w", err)
	}
	k, err := signer(key)
	if err != nil {
		return issue{}, err
	}
	i := issue{policy: policy, change: p.Change, kty: p.KTY, key: key}
	if change.Tags != nil {
		i.change.Tags = change.Tags
	}
	if change.Enabled != nil {
		i.change.Enabled = change.Enabled
	}
	for _, c := range certs {
		if samePublic(c.PublicKey, k.Public()) {
			i.chain = [][]byte{c.Raw}
		}
	}
	if i.chain == nil {
		return i, badParameter("The public key of the end-entity certificate in the specified X.509 content does not match the public part of the pending key.")
	}
	for _, c := range certs {
		if !bytes.Equal(c.Raw, i.chain[0]) {
			i.chain = append(i.chain, c.Raw)
		}
	}
	return i, nil
}

// UpdateCertificate changes attributes and tags of a version, with its key and secret, and the policy; "" is
// the current one.
func (s *Service) UpdateCertificate(ctx context.Context, c principal.Caller, vault, name, id string, spec CertificateSpec) (Certificate, error) {
	var form error
	if spec.Policy != nil {
		*spec.Policy, form = spec.Policy.normal()
	}
	r, err := s.guard(ctx, c, vault, name, mayUpdateCertificate, checkVersion(id), form, spec.Change.check())
	if err != nil {
		return Certificate{}, err
	}
	var v certificateVersion
	rec, err := s.changeCertificate(r, func(ch *changes) (rec certificateRecord, err error) {
		if rec, v, err = s.certificate(vault, name, id); err != nil {
			return rec, err
		}
		r.version = v.ID
		if spec.Policy != nil {
			rec.Policy = spec.Policy.stamped(rec.Policy, s.cfg.Now())
		}
		spec.NotBefore, spec.Expires = nil, nil // they are the certificate's own
		if v.state, err = spec.apply(v.state, s.cfg.Now()); err != nil {
			return rec, err
		}
		rec.object = rec.with(v)
		s.follow(ch, rec.Name, v.state)
		return rec, nil
	})
	if err != nil {
		return Certificate{}, err
	}
	return rec.view(r.vault, v), nil
}

// follow gives the key and the secret of a version the state of its certificate.
func (s *Service) follow(c *changes, name string, to state) {
	vault := c.vault
	if k, ok := s.keys.find(vault, name); ok {
		if v, ok := k.version(to.ID); ok {
			v.state = to
			s.keys.putIn(c, vault, k.with(v))
		}
	}
	if x, ok := s.secrets.find(vault, name); ok {
		if v, ok := x.version(to.ID); ok {
			v.state = to
			x.object = x.with(v)
			s.secrets.putIn(c, vault, x)
		}
	}
}

// Certificates lists the current versions of all certificates by name. Those that never had one are left
// out unless pending is set.
func (s *Service) Certificates(ctx context.Context, c principal.Caller, vault string, p Page, pending bool) (items []Certificate, next string, err error) {
	all := p
	all.Max = 0
	items, _, err = list(s, ctx, c, vault, all, mayListCertificates, s.certificates, false, certificateRecord.headline)
	shown := items[:0]
	for _, x := range items {
		if x.DER != nil || pending {
			shown = append(shown, x)
		}
	}
	shown, next = paged(shown, p, func(x Certificate) string { return lower(x.Name) })
	return shown, next, err
}

// DeletedCertificates lists the deleted certificates by name.
func (s *Service) DeletedCertificates(ctx context.Context, c principal.Caller, vault string, p Page) (items []Certificate, next string, err error) {
	return list(s, ctx, c, vault, p, mayListCertificates.as("CertificateListDeleted"), s.certificates, true, certificateRecord.headline)
}

func (c certificateRecord) headline(vault Vault) Certificate {
	out := c.latest(vault)
	out.Version = ""
	return out
}

func (c certificateRecord) latest(vault Vault) Certificate {
	v, _ := c.version("")
	return c.view(vault, v)
}

// CertificateVersions lists the versions of a certificate by version id. One that does not exist has none.
func (s *Service) CertificateVersions(ctx context.Context, c principal.Caller, vault, name string, p Page) (items []Certificate, next string, err error) {
	r, err := s.guard(ctx, c, vault, name, mayListCertificates.as("CertificateListVersions"))
	if err != nil {
		return nil, "", err
	}
	rec, err := s.certificates.live(vault, name)
	if err != nil {
		return []Certificate{}, "", r.done(nil)
	}
	items, next = versions(rec.object, p, func(v certificateVersion) Certificate { return rec.view(r.vault, v) })
	return items, next, r.done(nil)
}

// mark changes the deletion of the three records.
func (s *Service) mark(c *changes, rec certificateRecord, d *Deletion) certificateRecord {
	if k, ok := s.keys.find(c.vault, rec.Name); ok && k.Managed {
		s.keys.putIn(c, c.vault, k.marked(d))
	}
	if x, ok := s.secrets.find(c.vault, rec.Name); ok && x.Managed {
		s.secrets.putIn(c, c.vault, x.marked(d))
	}
	return rec.marked(d)
}

// DeleteCertificate deletes a certificate with its key and secret; they can be recovered until the retention
// is over.
func (s *Service) DeleteCertificate(ctx context.Context, c principal.Caller, vault, name string) (Certificate, error) {
	r, err := s.guard(ctx, c, vault, name, mayDeleteCertificate)
	if err != nil {
		return Certificate{}, err
	}
	rec, err := s.changeCertificate(r, func(ch *changes) (certificateRecord, error) {
		rec, err := s.certificates.live(vault, name)
		if err != nil {
			return rec, err
		}
		return s.mark(ch, rec, r.vault.deletion(s.cfg.Now())), nil
	})
	return rec.latest(r.vault), err
}

// DeletedCertificate returns the current version of a deleted certificate.
func (s *Service) DeletedCertificate(ctx context.Context, c principal.Caller, vault, name string) (Certificate, error) {
	r, err := s.guard(ctx, c, vault, name, mayGetCertificate.as("CertificateGetDeleted"))
	if err != nil {
		return Certificate{}, err
	}
	rec, err := s.certificates.recoverable(vault, name)
	return rec.latest(r.vault), r.done(err)
}

// RecoverCertificate brings a deleted certificate back with all its versions, its key and its secret.
func (s *Service) RecoverCertificate(ctx context.Context, c principal.Caller, vault, name string) (Certificate, error) {
	r, err := s.guard(ctx, c, vault, name, mayRecoverCertificate)
	if err != nil {
		return Certificate{}, err
	}
	rec, err := s.changeCertificate(r, func(ch *changes) (certificateRecord, error) {
		rec, err := s.certificates.recoverable(vault, name)
		if err != nil {
			return rec, err
		}
		return s.mark(ch, rec, nil), nil
	})
	return rec.latest(r.vault), err
}

// PurgeCertificate destroys a deleted certificate for good, with its key and secret, unless purge protection
// forbids it.
func (s *Service) PurgeCertificate(ctx context.Context, c principal.Caller, vault, name string) error {
	r, err := s.guard(ctx, c, vault, name, mayPurgeCertificate)
	if err != nil {
		return err
	}
	err = s.change(ctx, func() error {
		v, err := s.live(vault)
		if err != nil {
			return err
		}
		if _, err := s.certificates.recoverable(vault, name); err != nil {
			return err
		}
		if v.PurgeProtect {
			return purgeProtected(v)
		}
		return s.commit(func(c *changes) {
			s.certificates.eraseIn(c, vault, name)
			s.keys.eraseIn(c, vault, name)
			s.secrets.eraseIn(c, vault, name)
		})
	})
	return r.done(err)
}

// certificateBackup is what the blob of a certificate holds.
type certificateBackup struct {
	Certificate certificateRecord
	Key         keyRecord
	Secret      secretRecord
}

// BackUpCertificate returns a blob with all versions of a certificate, its key and its secret.
func (s *Service) BackUpCertificate(ctx context.Context, c principal.Caller, vault, name string) ([]byte, error) {
	r, err := s.guard(ctx, c, vault, name, mayBackUpCertificate)
	if err != nil {
		return nil, err
	}
	rec, err := s.certificates.live(vault, name)
	if err == nil {
		err = checkBackup(ofCertificates, len(rec.Versions))
	}
	if err != nil {
		return nil, r.done(err)
	}
	k, _ := s.keys.find(vault, name)
	x, _ := s.secrets.find(vault, name)
	blob, err := seal(s, ofCertificates, contents[certificateBackup]{contentsFormat, ofCertificates.plural, r.vault.Subscription, certificateBackup{rec, k, x}})
	if err := r.done(err); err != nil {
		return nil, err
	}
	return blob, nil
}

// RestoreCertificate brings back a certificate from a blob. None of its three names may be taken.
func (s *Service) RestoreCertificate(ctx context.Context, c principal.Caller, vault string, blob []byte) (Certificate, error) {
	r, err := s.guard(ctx, c, vault, "", mayRestoreCertificate)
	if err != nil {
		return Certificate{}, err
	}
	in, err := unseal[certificateBackup](s, ofCertificates, blob)
	if err != nil {
		return Certificate{}, r.done(err)
	}
	b := in.Object
	rec := b.Certificate.marked(nil)
	if checkName(rec.Name) != nil || rec.Name == "" || b.Key.parse(s.cfg.Token) != nil {
		return Certificate{}, r.done(malformedBlob())
	}
	r.name = rec.Name
	rec, err = s.changeCertificate(r, func(ch *changes) (certificateRecord, error) {
		if in.Subscription != r.vault.Subscription {
			return rec, badParameter("The backup was made in another subscription and cannot be restored here.")
		}
		_, cert := s.certificates.find(vault, rec.Name)
		_, key := s.keys.find(vault, rec.Name)
		_, text := s.secrets.find(vault, rec.Name)
		if cert || key || text {
			return rec, restoreConflict(ofCertificates, r.resource())
		}
		if len(b.Key.Versions) > 0 {
			s.keys.putIn(ch, ch.vault, b.Key.marked(nil))
			s.secrets.putIn(ch, ch.vault, b.Secret.marked(nil))
		}
		return rec, nil
	})
	return rec.latest(r.vault), err
}

// CertificatePolicy returns the policy of a certificate.
func (s *Service) CertificatePolicy(ctx context.Context, c principal.Caller, vault, name string) (CertificatePolicy, error) {
	r, err := s.guard(ctx, c, vault, name, mayGetCertificate.as("CertificatePolicyGet"))
	if err != nil {
		return CertificatePolicy{}, err
	}
	rec, err := s.certificates.live(vault, name)
	return rec.Policy, r.done(err)
}

// SetCertificatePolicy replaces the policy of a certificate. No version changes.
func (s *Service) SetCertificatePolicy(ctx context.Context, c principal.Caller, vault, name string, p CertificatePolicy) (CertificatePolicy, error) {
	p, form := p.normal()
	r, err := s.guard(ctx, c, vault, name, mayUpdateCertificate.as("CertificatePolicySet"), form)
	if err != nil {
		return CertificatePolicy{}, err
	}
	rec, err := s.changeCertificate(r, func(*changes) (certificateRecord, error) {
		rec, err := s.certificates.live(vault, name)
		rec.Policy = p.stamped(rec.Policy, s.cfg.Now())
		return rec, err
	})
	return rec.Policy, err
}

// renewDue makes the next version of every certificate that renews itself and is due.
func (s *Service) renewDue(ctx context.Context, now time.Time) error {
	var failed error
	s.renewing(func(vault string, rec certificateRecord, due time.Time) {
		if now.Before(due) || ctx.Err() != nil {
			return
		}
		r, err := s.guard(ctx, principal.Server("certificate renewal"), vault, rec.Name, mayCreateCertificate)
		if err == nil {
			tags, _ := rec.version("")
			_, err = s.issueCertificate(r, rec.Policy, Change{Tags: tags.Tags}, func(rec certificateRecord) error {
				if at, ok := rec.renewal(); !ok || now.Before(at) {
					return errNotDue
				}
				return nil
			})
		}
		if err != nil && fault.KindOf(err) != fault.NotFound && !fault.Is(err, errNotDue.Reason) {
			failed = fmt.Errorf("renew certificate %s of vault %s: %w", rec.Name, vault, err)
		}
	})
	return failed
}

// renewing calls visit with every certificate that will be renewed by itself.
func (s *Service) renewing(visit func(vault string, rec certificateRecord, due time.Time)) {
	_, vaults := s.overdue(s.cfg.Now())
	for _, v := range vaults {
		if v.Deletion != nil {
			continue
		}
		for _, rec := range s.certificates.all(v.Name, false) {
			if at, ok := rec.renewal(); ok {
				visit(v.Name, rec, at)
			}
		}
	}
}
