package front

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
)

// memory is a KeyStore in memory.
type memory struct {
	content []byte
	saves   int
	err     error // of Save
}

func (m *memory) Load(context.Context) ([]byte, error) { return m.content, nil }

func (m *memory) Save(_ context.Context, content []byte) error {
	if m.err != nil {
		return m.err
	}
	m.content, m.saves = content, m.saves+1
	return nil
}

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := OpenCA(&memory{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestRootIsKept(t *testing.T) {
	keys := &memory{}
	first, err := OpenCA(keys)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenCA(keys)
	if err != nil {
		t.Fatal(err)
	}
	if !first.root.Equal(second.root) || keys.saves != 1 {
		t.Errorf("a second start made another root (%d saves)", keys.saves)
	}
}

func TestRootIsRenewedWithTheSameKey(t *testing.T) {
	keys := &memory{}
	now := time.Now()
	first, err := openCA(keys, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(rootLife - leafLife)
	second, err := openCA(keys, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if first.root.Equal(second.root) || !first.key.Equal(second.key) {
		t.Error("want another certificate for the same key")
	}
	if leaf, err := second.leaf("kv1.vault.azure.net"); err != nil || leaf.Leaf.NotAfter.After(second.root.NotAfter) {
		t.Errorf("the leaf outlives the root, err %v", err)
	}
}

func TestDamagedRootIsAnErrorAndStays(t *testing.T) {
	other := &memory{}
	if _, err := OpenCA(other); err != nil {
		t.Fatal(err)
	}
	good := &memory{}
	if _, err := OpenCA(good); err != nil {
		t.Fatal(err)
	}
	_, otherKey, _ := strings.Cut(string(other.content), "-----END CERTIFICATE-----\n")
	certificate, _, _ := strings.Cut(string(good.content), "-----BEGIN PRIVATE KEY")
	for name, content := range map[string]string{
		"empty": "", "no PEM": "x", "no key": certificate, "another root's key": certificate + otherKey,
	} {
		keys := &memory{content: []byte(content)}
		if _, err := OpenCA(keys); err == nil || keys.saves != 0 {
			t.Errorf("%s: err = %v, %d saves", name, err, keys.saves)
		}
	}
}

func TestRootThatIsNotSavedIsNotUsed(t *testing.T) {
	full := errors.New("disk full")
	if _, err := OpenCA(&memory{err: full}); !errors.Is(err, full) {
		t.Errorf("err = %v", err)
	}
}

// forge signs a leaf as whoever stole the root key would: for any name.
func forge(t *testing.T, ca *CA, names []string, ips []net.IP) *x509.Certificate {
	t.Helper()
	leaf, err := ca.issue("kv1.vault.azure.net")
	if err != nil {
		t.Fatal(err)
	}
	template := *leaf.Leaf
	template.DNSNames, template.IPAddresses = names, ips
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.root, &ca.leafKey.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConstraintsConfineTheRoot(t *testing.T) {
	ca := newCA(t)
	tests := []struct {
		name string
		dns  []string
		ip   []net.IP
		good bool
	}{
		{"vault", []string{"kv1.vault.azure.net"}, nil, true},
		{"account", []string{"acc.documents.azure.com"}, nil, true},
		{"login", []string{"login.microsoftonline.com"}, nil, true},
		{"local", []string{"kv1.vault.localhost"}, nil, true},
		{"loopback", nil, []net.IP{net.IPv4(127, 0, 0, 2)}, true},
		{"somebody else", []string{"example.com"}, nil, false},
		{"sibling", []string{"portal.azure.com"}, nil, false},
		{"one good, one not", []string{"kv1.vault.azure.net", "example.com"}, nil, false},
		{"look-alike", []string{"notvault.azure.net"}, nil, false},
		{"private address", nil, []net.IP{net.IPv4(10, 0, 0, 1)}, false},
		{"IPv6 address", nil, []net.IP{net.ParseIP("2001:db8::1")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := forge(t, ca, tt.dns, tt.ip).Verify(x509.VerifyOptions{Roots: ca.Pool()})
			if (err == nil) != tt.good {
				t.Errorf("verification: %v, want success %v", err, tt.good)
			}
		})
	}
}

func TestCertifiable(t *testing.T) {
	for host, want := range map[string]string{
		"KV1.vault.azure.net":      "kv1.vault.azure.net",
		"acc.documents.localhost.": "acc.documents.localhost",
		"management.azure.com":     "management.azure.com",
		"127.0.0.9":                naming.Domain,
		"::1":                      naming.Domain,
		"localhost":                naming.Domain,
		"example.com":              "",
		"10.0.0.1":                 "",
		"a.b.vault.azure.net":      "",
		"a_b.vault.azure.net":      "",
		"-a.vault.azure.net":       "",
		"*.vault.azure.net":        "",
		"é.vault.azure.net":        "",
		".vault.azure.net":         "",
		strings.Repeat("a", 64) + ".vault.azure.net": "",
	} {
		got, ok := certifiable(host)
		if ok != (want != "") || ok && got != want {
			t.Errorf("certifiable(%q) = %q, %v; want %q", host, got, ok, want)
		}
	}
}

func TestLeafIsCachedUntilItEnds(t *testing.T) {
	ca := newCA(t)
	now := time.Now()
	ca.now = func() time.Time { return now }
	first, _ := ca.leaf("localhost")
	again, _ := ca.leaf("localhost")
	now = now.Add(leafLife - renewBefore)
	later, err := ca.leaf("localhost")
	if err != nil || first != again || later == first {
		t.Errorf("err %v, cached %v, renewed %v", err, first == again, later != first)
	}
	if life := first.Leaf.NotAfter.Sub(first.Leaf.NotBefore); life > 397*24*time.Hour {
		t.Errorf("a leaf lives for %v", life)
	}
}

// TestOpenSSLAgrees checks the chain and the constraints with the library that Python, Node and
// curl stand on, in its strictest mode.
func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	ca := newCA(t)
	for name, tt := range map[string]struct {
		dns  []string
		ip   []net.IP
		good bool
	}{
		"vault":         {[]string{"kv1.vault.azure.net"}, nil, true},
		"localhost":     {[]string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, true},
		"somebody else": {[]string{"example.com"}, nil, false},
		"address":       {nil, []net.IP{net.IPv4(10, 0, 0, 1)}, false},
	} {
		dir := t.TempDir()
		root, leaf := filepath.Join(dir, "root.pem"), filepath.Join(dir, "leaf.der")
		writeFile(t, root, ca.Certificate())
		writeFile(t, leaf, forge(t, ca, tt.dns, tt.ip).Raw)
		out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, leaf).CombinedOutput()
		if (err == nil) != tt.good {
			t.Errorf("%s: openssl verify: %v, want success %v\n%s", name, err, tt.good, out)
		}
		if !tt.good && !strings.Contains(string(out), "permitted subtree violation") {
			t.Errorf("%s: openssl refused for another reason:\n%s", name, out)
		}
	}
}

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseRoot(f *testing.F) {
	keys := &memory{}
	if _, err := OpenCA(keys); err != nil {
		f.Fatal(err)
	}
	f.Add(keys.content)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		ca := &CA{now: time.Now}
		if err := ca.parse(content); err == nil && (ca.root == nil || ca.key == nil) {
			t.Error("no error and no root")
		}
	})
}

// FuzzHosts gives arbitrary host names to everything that decides by one: whatever is certifiable
// gets a leaf that verifies for it under the root's constraints, and nothing printed can end a line.
func FuzzHosts(f *testing.F) {
	for _, seed := range []string{"kv1.vault.azure.net", "acc.documents.azure.com:443", "[::1]:8443", "LOCALHOST.", "a..vault.azure.net", "\r\n.vault.azure.net", "é:443"} {
		f.Add(seed)
	}
	ca, err := OpenCA(&memory{})
	if err != nil {
		f.Fatal(err)
	}
	p := &proxy{front: newHandover(nil), frontPort: 8443}
	f.Fuzz(func(t *testing.T, host string) {
		if s := printable(host); strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) || len(s) > 120 {
			t.Errorf("printable(%q) = %q", host, s)
		}
		_ = p.destination(host)
		name, ok := certifiable(host)
		if !ok {
			return
		}
		leaf, err := ca.leaf(name)
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: name}); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	})
}
