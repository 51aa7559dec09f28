package front

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
)

// Lifetimes. A leaf stays below the 398 days that browsers accept; the root is renewed while it can
// still cover a whole leaf.
const (
	rootLife  = 10 * 365 * 24 * time.Hour
	leafLife  = 397 * 24 * time.Hour
	clockSkew = time.Hour // how far a client's clock may be behind
)

// KeyStore keeps the root certificate and its private key. The content is secret: an implementation
// must encrypt what it stores.
type KeyStore interface {
	// Load returns what Save stored last, or nil when nothing was.
	Load(ctx context.Context) ([]byte, error)
	// Save stores the content durably before it returns.
	Save(ctx context.Context, content []byte) error
}

// CA is the local certificate authority. Its methods are safe for concurrent use.
type CA struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
	leafIssuer
}

// OpenCA loads the root from keys, or makes and saves one. A root that ends too soon, or whose
// constraints are not those of [naming.CertificateDomains], is renewed with the same key. A stored
// root that cannot be read is an error and stays as it is.
func OpenCA(keys KeyStore) (*CA, error) { return openCA(keys, time.Now) }

func openCA(keys KeyStore, now func() time.Time) (*CA, error) {
	ctx := context.Background()
	stored, err := keys.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the local root certificate: %w", err)
	}
	ca := &CA{now: now}
	if stored != nil {
		if err := ca.parse(stored); err != nil {
			return nil, fmt.Errorf("read the local root certificate: %w", err)
		}
	}
	if !ca.current() {
		if err := ca.renew(ctx, keys); err != nil {
			return nil, fmt.Errorf("make the local root certificate: %w", err)
		}
	}
	return ca, ca.leafIssuer.init()
}

// Certificate returns the root certificate as PEM: what a client has to trust.
func (ca *CA) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.root.Raw})
}

// Pool returns a pool that trusts the root alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.root)
	return pool
}

// parse reads the stored form: a CERTIFICATE and a PRIVATE KEY (PKCS #8) in PEM, which belong
// together.
func (ca *CA) parse(stored []byte) error {
	certificate, rest := pem.Decode(stored)
	private, _ := pem.Decode(rest)
	if certificate == nil || private == nil {
		return errors.New("the stored content is not a certificate and a key")
	}
	root, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(private.Bytes)
	if err != nil {
		return errors.New("the stored private key is damaged") // the cause could show parts of it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(root.PublicKey) {
		return errors.New("the stored private key is not the certificate's")
	}
	ca.root, ca.key = root, key
	return nil
}

// current reports whether the root can be used as it is.
func (ca *CA) current() bool {
	return ca.root != nil &&
		ca.root.NotAfter.After(ca.now().Add(leafLife+clockSkew)) &&
		slices.Equal(ca.root.PermittedDNSDomains, permittedDomains())
}

// renew makes a root certificate, for the present key or a new one, and saves it before it is used.
func (ca *CA) renew(ctx context.Context, keys KeyStore) (err error) {
	key := ca.key
	if key == nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
	}
	root, err := newRoot(key, ca.now())
	if err != nil {
		return err
	}
	content, err := encode(root, key)
	if err != nil {
		return err
	}
	if err := keys.Save(ctx, content); err != nil {
		return err
	}
	ca.root, ca.key = root, key
	return nil
}

func encode(root *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: root.Raw}, {Type: "PRIVATE KEY", Bytes: private}} {
		if err := pem.Encode(&b, block); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// newRoot signs a root certificate. The subject names the key, so that the roots of several servers
// can stand in one trust store.
func newRoot(key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	id, err := subjectKeyID(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	name := pkix.Name{Organization: []string{"Latchkey"}, CommonName: "Latchkey local root " + hex.EncodeToString(id[:4])}
	t := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     name,
		NotBefore:                   now.Add(-clockSkew),
		NotAfter:                    now.Add(rootLife),
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		SubjectKeyId:                id,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         permittedDomains(),
		PermittedIPRanges:           permittedAddresses(),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// permittedDomains are the DNS name constraints, in a stable order.
func permittedDomains() []string {
	domains := naming.CertificateDomains()
	slices.Sort(domains)
	return domains
}

// permittedAddresses are the IP name constraints: loopback, both versions.
func permittedAddresses() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
}

// subjectKeyID is method 1 of RFC 7093: the first 160 bits of the SHA-256 of the public key.
func subjectKeyID(public *ecdsa.PublicKey) ([]byte, error) {
	point, err := public.Bytes()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(point)
	return sum[:20], nil
}

// serial returns 127 random bits: positive, and more than the 64 bits of entropy that the baseline
// requirements ask for.
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}
