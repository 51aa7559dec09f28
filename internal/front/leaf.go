package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
)

// maxLeaves bounds the cache; a full one is dropped, because a leaf costs one signature only.
const maxLeaves = 1024

// renewBefore is how long before its end a cached leaf is replaced.
const renewBefore = 30 * 24 * time.Hour

// errNotServed refuses a handshake for a server name that is not ours.
var errNotServed = errors.New("front: no certificate for this server name")

// leafIssuer is the CA's cache of leaf certificates, by host name.
type leafIssuer struct {
	leafKey *ecdsa.PrivateKey // of all leaves; in memory only

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

func (l *leafIssuer) init() (err error) {
	l.leaves = map[string]*tls.Certificate{}
	l.leafKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return err
}

// serverConfig is the TLS configuration of the listeners.
func (ca *CA) serverConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: ca.certificate}
}

// certificate finds the leaf for a handshake: by server name, or by the local address when the
// client sent none.
func (ca *CA) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hello.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(hello.Conn.LocalAddr().String())
	}
	host, ok := certifiable(name)
	if !ok {
		return nil, errNotServed
	}
	return ca.leaf(host)
}

// certifiable returns the name under which a leaf is issued for host, and whether one is. All
// loopback addresses and localhost share one leaf.
func certifiable(host string) (string, bool) {
	if ip := net.ParseIP(host); ip != nil {
		return naming.Domain, ip.IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, served := naming.Resolve(host, 0)
	return host, served && isHostName(host)
}

// isHostName reports whether every label of host is one that DNS permits for hosts (RFC 1123).
func isHostName(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return len(host) <= 253
}

// leaf returns the certificate of host, from the cache or new.
func (ca *CA) leaf(host string) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if c, ok := ca.leaves[host]; ok && c.Leaf.NotAfter.After(ca.now().Add(renewBefore)) {
		return c, nil
	}
	c, err := ca.issue(host)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	if len(ca.leaves) >= maxLeaves {
		clear(ca.leaves)
	}
	ca.leaves[host] = c
	return c, nil
}

// issue signs a leaf. The subject has no common name: OpenSSL would hold it against the name
// constraints.
func (ca *CA) issue(host string) (*tls.Certificate, error) {
	now := ca.now()
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"Latchkey"}},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(leafLife - clockSkew),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              []string{host},
	}
	if host == naming.Domain {
		t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.root, &ca.leafKey.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ca.leafKey, Leaf: leaf}, nil
}
