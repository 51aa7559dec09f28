package vault

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// template is a certificate as the policy has it, without a key.
func (p CertificatePolicy) template(now time.Time) (*x509.Certificate, error) {
	subject, err := parseSubject(p.Subject)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{RawSubject: subject, NotBefore: now.Add(-clockSlack).UTC().Truncate(time.Second), BasicConstraintsValid: true}
	t.NotAfter = now.UTC().Truncate(time.Second).AddDate(0, p.Months, 0)
	t.IsCA = p.Authority != nil && *p.Authority
	for _, u := range p.KeyUsage {
		t.KeyUsage |= keyUsages[strings.ToLower(u)]
	}
	for _, s := range p.EKUs {
		oid, err := x509.ParseOID(s)
		if err != nil {
			return nil, badParameter("The enhanced key usage '%.64s' is not an object identifier.", s)
		}
		t.UnknownExtKeyUsage = append(t.UnknownExtKeyUsage, toASN1(oid))
	}
	return t, p.Names.into(t)
}

// clockSlack makes a certificate valid for those whose clock is a little behind.
const clockSlack = 10 * time.Minute

func toASN1(oid x509.OID) (out asn1.ObjectIdentifier) {
	for part := range strings.SplitSeq(oid.String(), ".") {
		n, _ := new(big.Int).SetString(part, 10)
		out = append(out, int(n.Int64()))
	}
	return out
}

// upnOID is a user principal name among the alternative names (other name).
var upnOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}

// into puts the names into a template. The standard library writes no other names, so all are written here.
func (n AlternativeNames) into(t *x509.Certificate) error {
	var names []asn1.RawValue
	add := func(tag int, value []byte) {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: value})
	}
	for _, x := range []struct {
		tag  int
		list []string
	}{{1, n.Emails}, {2, n.DNS}, {6, n.URIs}} {
		for _, s := range x.list {
			if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e || r < 0x20 }) {
				return badParameter("The subject alternative name '%.64s' is not valid.", s)
			}
			if _, err := url.Parse(s); x.tag == 6 && err != nil {
				return badParameter("The subject alternative name '%.64s' is not a URI.", s)
			}
			add(x.tag, []byte(s))
		}
	}
	for _, s := range n.IPs {
		ip := net.ParseIP(s)
		if ip == nil {
			return badParameter("The subject alternative name '%.64s' is not an IP address.", s)
		}
		if four := ip.To4(); four != nil {
			ip = four
		}
		add(7, ip)
	}
	for _, s := range n.UPNs {
		other, err := otherName(s)
		if err != nil {
			return badParameter("The subject alternative name '%.64s' is not valid.", s)
		}
		names = append(names, other)
	}
	switch {
	case len(names) == 0:
		return nil
	case len(names) > maxNames:
		return badParameter("A certificate can have up to %d subject alternative names.", maxNames)
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		return fmt.Errorf("vault: encode alternative names: %w", err)
	}
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der})
	return nil
}

// otherName is a user principal name as RFC 5280 section 4.2.1.6 has other names.
func otherName(upn string) (asn1.RawValue, error) {
	value, err := asn1.MarshalWithParams(upn, "utf8")
	if err != nil {
		return asn1.RawValue{}, err
	}
	oid, err := asn1.Marshal(upnOID)
	if err != nil {
		return asn1.RawValue{}, err
	}
	explicit, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value})
	if err != nil {
		return asn1.RawValue{}, err
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(oid, explicit...)}, nil
}

// attributeTypes are the short names of a subject's parts (RFC 4514, and what Windows writes).
var attributeTypes = map[string]asn1.ObjectIdentifier{
	"CN": {2, 5, 4, 3}, "SN": {2, 5, 4, 4}, "SERIALNUMBER": {2, 5, 4, 5}, "C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8}, "S": {2, 5, 4, 8},
	"STREET": {2, 5, 4, 9}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "T": {2, 5, 4, 12}, "POSTALCODE": {2, 5, 4, 17}, "G": {2, 5, 4, 42}, "GN": {2, 5, 4, 42},
	"DC": {0, 9, 2342, 19200300, 100, 1, 25}, "UID": {0, 9, 2342, 19200300, 100, 1, 1}, "E": {1, 2, 840, 113549, 1, 9, 1}, "EMAILADDRESS": {1, 2, 840, 113549, 1, 9, 1},
}

const maxSubject = 4 << 10

// parseSubject reads a distinguished name such as CN=example.com, O="A, B" into DER.
func parseSubject(s string) ([]byte, error) {
	invalid := badParameter("Property subject has invalid value '%.128s': it must be an X.500 distinguished name.", s)
	if len(s) > maxSubject {
		return nil, invalid
	}
	seq := pkix.RDNSequence{}
	for _, part := range splitNames(s) {
		name, value, ok := strings.Cut(part, "=")
		oid, known := attributeTypes[strings.ToUpper(strings.TrimSpace(name))]
		value = strings.TrimSpace(value)
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if !ok || !known || value == "" {
			return nil, invalid
		}
		seq = append(seq, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: strings.ReplaceAll(value, `\`, "")}})
	}
	der, err := asn1.Marshal(seq)
	if err != nil {
		return nil, invalid
	}
	return der, nil
}

// splitNames splits at commas and semicolons that are neither quoted nor escaped.
func splitNames(s string) (parts []string) {
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case (s[i] == ',' || s[i] == ';') && !quoted:
			parts, start = append(parts, s[start:i]), i+1
		}
	}
	if rest := strings.TrimSpace(s[min(start, len(s)):]); rest != "" {
		parts = append(parts, rest)
	}
	return parts
}

// signSelf makes a certificate that its own key signs.
func (p CertificatePolicy) signSelf(k crypto.Signer, now time.Time) ([]byte, error) {
	t, err := p.template(now)
	if err != nil {
		return nil, err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("vault: serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
	if err != nil {
		return nil, fmt.Errorf("vault: make a certificate: %w", err)
	}
	return der, nil
}

// request makes a certificate signing request.
func (p CertificatePolicy) request(k crypto.Signer) ([]byte, error) {
	t, err := p.template(time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: t.RawSubject, ExtraExtensions: t.ExtraExtensions}, k)
	if err != nil {
		return nil, fmt.Errorf("vault: make a signing request: %w", err)
	}
	return der, nil
}

// signer is a key as certificates are signed with it.
func signer(k material.Key) (crypto.Signer, error) {
	s, ok := k.(material.Signer)
	if !ok {
		return nil, badParameter("A certificate's key cannot live in a hardware security module here.")
	}
	return s.Signer()
}

// secretOf is the text of a certificate's secret: the chain, and the private key when it may leave.
func (p CertificatePolicy) secretOf(k material.Key, chain [][]byte) ([]byte, error) {
	certs, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	var native crypto.Signer
	if p.Exportable {
		if native, err = signer(k); err != nil {
			return nil, err
		}
	}
	if p.ContentType == ContentPEM {
		return pemOf(native, certs)
	}
	var pfx []byte
	if native == nil {
		pfx, err = pkcs12.Modern.EncodeTrustStore(certs, "")
	} else {
		pfx, err = pkcs12.Modern.Encode(native, certs[0], certs[1:], "")
	}
	if err != nil {
		return nil, fmt.Errorf("vault: encode a certificate: %w", err)
	}
	return []byte(base64.StdEncoding.EncodeToString(pfx)), nil
}

func pemOf(k crypto.Signer, certs []*x509.Certificate) ([]byte, error) {
	var out bytes.Buffer
	if k != nil {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			return nil, fmt.Errorf("vault: encode a private key: %w", err)
		}
		defer clear(der)
		if err := pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
			return nil, err
		}
	}
	for _, c := range certs {
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, badParameter("The certificate cannot be read.")
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, badParameter("There is no certificate.")
	}
	return out, nil
}

// imported is a certificate with its key as it was brought.
type imported struct {
	chain [][]byte
	key   material.Key
	kty   string
	form  string // ContentPFX or ContentPEM
}

const maxImportedCertificate = 256 << 10

func unreadable() error {
	return badParameter("The specified PKCS#12 or PEM content cannot be read: it is damaged, its password is wrong, or it has no private key.")
}

// parseImported reads a PFX (base64) or PEM text.
func parseImported(value, password string) (imported, error) {
	if len(value) > maxImportedCertificate {
		return imported{}, badParameter("The certificate exceeds the limit of %d bytes.", maxImportedCertificate)
	}
	if strings.Contains(value, "-----BEGIN") {
		return importPEM([]byte(value))
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil {
		return imported{}, unreadable()
	}
	if bytes.Contains(raw, []byte("-----BEGIN")) { // some clients encode PEM text as well
		return importPEM(raw)
	}
	return importPFX(raw, password)
}

func importPFX(raw []byte, password string) (imported, error) {
	key, leaf, more, err := pkcs12.DecodeChain(raw, password)
	if err != nil {
		return imported{}, unreadable()
	}
	return joined(key, append([]*x509.Certificate{leaf}, more...), ContentPFX)
}

func importPEM(text []byte) (imported, error) {
	var key any
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return imported{}, unreadable()
			}
			certs = append(certs, c)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if key = parsePrivate(block.Bytes); key == nil {
				return imported{}, unreadable()
			}
		}
	}
	if key == nil || len(certs) == 0 {
		return imported{}, unreadable()
	}
	return joined(key, certs, ContentPEM)
}

func parsePrivate(der []byte) any {
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return k
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k
	}
	return nil
}

// joined puts the certificate that the key belongs to first.
func joined(key any, certs []*x509.Certificate, form string) (imported, error) {
	native, ok := key.(crypto.Signer)
	if !ok {
		return imported{}, unreadable()
	}
	out := imported{form: form}
	for _, c := range certs {
		if samePublic(c.PublicKey, native.Public()) && out.chain == nil {
			out.chain = [][]byte{c.Raw}
		}
	}
	if out.chain == nil {
		return imported{}, badParameter("The private key does not belong to the certificate.")
	}
	for _, c := range certs {
		if !bytes.Equal(c.Raw, out.chain[0]) {
			out.chain = append(out.chain, c.Raw)
		}
	}
	params, err := paramsOf(native.Public())
	if err != nil {
		return imported{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(native)
	if err != nil {
		return imported{}, unreadable()
	}
	defer clear(der)
	out.kty = string(params.Type)
	if out.key, err = material.Decode(params, der); err != nil {
		return imported{}, unreadable()
	}
	return out, nil
}

func samePublic(a, b any) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && x.Equal(b)
}

// paramsOf is the kind of a public key; kinds that no vault has are refused.
func paramsOf(public any) (material.Params, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return material.Params{Type: material.RSA, Bits: k.N.BitLen()}.Normal()
	case *ecdsa.PublicKey:
		return material.Params{Type: material.EC, Curve: k.Curve.Params().Name}.Normal()
	}
	return material.Params{}, badParameter("The certificate's key is of a type that is not supported.")
}
