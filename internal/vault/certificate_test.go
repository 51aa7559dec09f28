package vault_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

func selfSigned() *vault.CertificatePolicy {
	return &vault.CertificatePolicy{KTY: "EC", Subject: "CN=shop", Issuer: vault.IssuerSelf, Exportable: true}
}

func certificateWorld(t *testing.T) *world {
	w := newWorld(t)
	p := policy(alice, "all", "purge", "rotate")
	p.Permissions.Secrets, p.Permissions.Certificates = []string{"all", "purge"}, []string{"all", "purge"}
	w.put("kv1", spec(p))
	return w
}

// TestCertificateOwnsItsKeyAndSecret: the three change, go and come together, through restarts; neither of the
// two can be changed alone, and the key works.
func TestCertificateOwnsItsKeyAndSecret(t *testing.T) {
	w := certificateWorld(t)
	op, err := w.svc.CreateCertificate(ctx, user, "kv1", "Shop", vault.CertificateSpec{Policy: selfSigned(), Change: vault.Change{Tags: map[string]string{"a": "b"}}})
	if want(t, err, ""); op.Status != vault.StatusInProgress || op.Version != "" {
		t.Errorf("%+v", op)
	}
	if op, err = w.svc.CertificateOperation(ctx, user, "kv1", "shop"); err != nil || op.Status != vault.StatusCompleted || op.Version == "" {
		t.Fatalf("%+v %v", op, err)
	}
	w.restart()
	cert, err := w.svc.Certificate(ctx, user, "kv1", "shop", op.Version)
	want(t, err, "")
	key, err := w.svc.Key(ctx, user, "kv1", "shop", op.Version)
	want(t, err, "")
	text, err := w.svc.Secret(ctx, user, "kv1", "shop", op.Version)
	want(t, err, "")
	if !key.Managed || !text.Managed || key.Tags["a"] != "b" || !key.Attributes.Expires.Equal(*cert.Attributes.Expires) || key.KTY != "EC" {
		t.Errorf("%+v %+v", key, text)
	}
	digest := material.Input{Algorithm: "ES256", Value: make([]byte, 32)}
	_, err = w.svc.Crypt(ctx, user, "kv1", "shop", "", material.Sign, digest)
	want(t, err, "")
	for name, err := range map[string]error{
		"create": second(w.svc.CreateKey(ctx, user, "kv1", "shop", vault.KeySpec{KTY: "EC"})),
		"rotate": second(w.svc.RotateKey(ctx, user, "kv1", "shop")),
		"delete": second(w.svc.DeleteKey(ctx, user, "kv1", "shop")),
		"set":    second(w.svc.SetSecret(ctx, user, "kv1", "shop", vault.SecretSpec{Value: ptr("x")})),
		"update": second(w.svc.UpdateSecret(ctx, user, "kv1", "shop", "", vault.SecretSpec{})),
		"remove": second(w.svc.DeleteSecret(ctx, user, "kv1", "shop")),
	} {
		t.Run(name, func(t *testing.T) { want(t, err, "ObjectIsManaged") })
	}
	_, err = w.svc.UpdateCertificate(ctx, user, "kv1", "shop", "", vault.CertificateSpec{Change: vault.Change{Enabled: ptr(false)}})
	want(t, err, "")
	_, err = w.svc.Secret(ctx, user, "kv1", "shop", "")
	want(t, err, "SecretDisabled")
	_, err = w.svc.Crypt(ctx, user, "kv1", "shop", "", material.Sign, digest)
	want(t, err, "KeyDisabled")
	_, err = w.svc.DeleteCertificate(ctx, user, "kv1", "shop")
	want(t, err, "")
	_, err = w.svc.Key(ctx, user, "kv1", "shop", "")
	want(t, err, "KeyNotFound")
	want(t, second(w.svc.RecoverKey(ctx, user, "kv1", "shop")), "ObjectIsManaged")
	want(t, w.svc.PurgeSecret(ctx, user, "kv1", "shop"), "ObjectIsManaged")
	w.restart()
	_, err = w.svc.RecoverCertificate(ctx, user, "kv1", "shop")
	want(t, err, "")
	_, err = w.svc.Key(ctx, user, "kv1", "shop", op.Version)
	want(t, err, "")
	_, err = w.svc.DeleteCertificate(ctx, user, "kv1", "shop")
	want(t, err, "")
	w.now = w.now.AddDate(0, 0, 91)
	want(t, w.svc.Sweep(ctx, w.now), "")
	_, err = w.svc.SetSecret(ctx, user, "kv1", "shop", vault.SecretSpec{Value: ptr("the name is free")})
	want(t, err, "")
}

func second[T any](_ T, err error) error { return err }

// TestCertificateRenewsItself: once, when it is due, with the key that its policy says; the server knows when.
func TestCertificateRenewsItself(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		w := certificateWorld(t)
		p := selfSigned()
		p.ReuseKey, p.Actions = reuse, []vault.CertificateAction{{Type: vault.ActionAutoRenew, DaysBefore: 30}}
		first, err := w.svc.CreateCertificate(ctx, user, "kv1", "c", vault.CertificateSpec{Policy: p})
		want(t, err, "")
		first, err = w.svc.CertificateOperation(ctx, user, "kv1", "c")
		want(t, err, "")
		due, ok := w.svc.NextRotation()
		if days := due.Sub(w.now).Hours() / 24; !ok || days < 330 || days > 340 {
			t.Errorf("due in %v days", days)
		}
		w.now = due.Add(-1e9)
		want(t, w.svc.Sweep(ctx, w.now), "")
		w.now = due
		for range 2 {
			want(t, w.svc.Sweep(ctx, w.now), "")
		}
		all, _, err := w.svc.CertificateVersions(ctx, user, "kv1", "c", vault.Page{})
		if want(t, err, ""); len(all) != 2 {
			t.Errorf("%d versions", len(all))
		}
		before, err := w.svc.Key(ctx, user, "kv1", "c", first.Version)
		want(t, err, "")
		after, err := w.svc.Key(ctx, user, "kv1", "c", "")
		if want(t, err, ""); bytes.Equal(before.Public.X, after.Public.X) != reuse {
			t.Errorf("reuse_key %v was not honoured", reuse)
		}
	}
}

// TestRefusedCertificates: policies that no certificate can have.
func TestRefusedCertificates(t *testing.T) {
	w := certificateWorld(t)
	for name, edit := range map[string]func(*vault.CertificatePolicy){
		"kty": func(p *vault.CertificatePolicy) { p.KTY = "oct" }, "curve": func(p *vault.CertificatePolicy) { p.Curve = "P-256K" },
		"size": func(p *vault.CertificatePolicy) { p.KTY, p.Size = "RSA", 1024 }, "content": func(p *vault.CertificatePolicy) { p.ContentType = "text/plain" },
		"subject": func(p *vault.CertificatePolicy) { p.Subject = "shop" }, "subject part": func(p *vault.CertificatePolicy) { p.Subject = "CN=a, XX=b" },
		"usage": func(p *vault.CertificatePolicy) { p.KeyUsage = []string{"fly"} }, "eku": func(p *vault.CertificatePolicy) { p.EKUs = []string{"x.y"} },
		"ip": func(p *vault.CertificatePolicy) { p.Names.IPs = []string{"1.2.3"} }, "dns": func(p *vault.CertificatePolicy) { p.Names.DNS = []string{"ä"} },
		"months": func(p *vault.CertificatePolicy) { p.Months = 1201 }, "issuer": func(p *vault.CertificatePolicy) { p.Issuer = "nobody" },
		"trigger": func(p *vault.CertificatePolicy) { p.Actions = []vault.CertificateAction{{Type: vault.ActionAutoRenew}} },
		"action":  func(p *vault.CertificatePolicy) { p.Actions = []vault.CertificateAction{{Type: "Sing", DaysBefore: 1}} },
	} {
		p := selfSigned()
		edit(p)
		_, err := w.svc.CreateCertificate(ctx, user, "kv1", "c", vault.CertificateSpec{Policy: p})
		if err == nil || !strings.HasPrefix(err.Error(), "BadParameter") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.svc.CreateCertificate(ctx, user, "kv1", "c", vault.CertificateSpec{})
	want(t, err, "BadParameter")
}

// TestNotExportable: the secret of a certificate whose key may not leave has the certificate only.
func TestNotExportable(t *testing.T) {
	w := certificateWorld(t)
	for _, content := range []string{vault.ContentPEM, vault.ContentPFX} {
		p := selfSigned()
		p.Exportable, p.ContentType = false, content
		_, err := w.svc.CreateCertificate(ctx, user, "kv1", "c", vault.CertificateSpec{Policy: p})
		want(t, err, "")
		s, err := w.svc.Secret(ctx, user, "kv1", "c", "")
		if want(t, err, ""); bytes.Contains(s.Value, []byte("PRIVATE")) || s.ContentType != content {
			t.Errorf("%s: %.60q", content, s.Value)
		}
	}
}

// TestOpenSSLReadsCertificates: what the vault gives out OpenSSL reads, and the vault takes in what OpenSSL made.
func TestOpenSSLReadsCertificates(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	w := certificateWorld(t)
	p := selfSigned()
	p.Names = vault.AlternativeNames{DNS: []string{"shop.example"}, UPNs: []string{"a@shop"}, IPs: []string{"10.0.0.1", "::1"}, URIs: []string{"https://shop.example/"}}
	_, err := w.svc.CreateCertificate(ctx, user, "kv1", "c", vault.CertificateSpec{Policy: p})
	want(t, err, "")
	s, err := w.svc.Secret(ctx, user, "kv1", "c", "")
	want(t, err, "")
	pfx, err := base64.StdEncoding.DecodeString(string(s.Value))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "c.pfx")
	if err := os.WriteFile(path, pfx, 0o600); err != nil {
		t.Fatal(err)
	}
	openssl := func(args ...string) string {
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	openssl("pkcs12", "-in", path, "-passin", "pass:", "-nodes", "-out", "all.pem")
	shown := openssl("x509", "-in", "all.pem", "-noout", "-text")
	for _, want := range []string{"CN = shop", "DNS:shop.example", "IP Address:10.0.0.1", "UPN::a@shop", "URI:https://shop.example/", "TLS Web Server Authentication"} {
		if !strings.Contains(shown, want) {
			t.Errorf("openssl does not see %q in %s", want, shown)
		}
	}
	openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-subj", "/CN=theirs/O=x", "-days", "30")
	openssl("pkcs12", "-export", "-in", "c.pem", "-inkey", "k.pem", "-passout", "pass:secret", "-out", "theirs.pfx")
	raw, err := os.ReadFile(filepath.Join(dir, "theirs.pfx"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := w.svc.ImportCertificate(ctx, user, "kv1", "theirs", vault.CertificateSpec{}, base64.StdEncoding.EncodeToString(raw), "secret")
	if want(t, err, ""); made.Policy.Size != 2048 || !strings.Contains(made.Policy.Subject, "CN=theirs") {
		t.Errorf("%+v", made.Policy)
	}
}

// FuzzImportCertificate: no content makes the vault fail in another way than by refusing it.
func FuzzImportCertificate(f *testing.F) {
	w := newWorld(f)
	p := policy(alice)
	p.Permissions.Certificates = []string{"all"}
	w.put("kv1", spec(p))
	for _, name := range []string{"a", "b"} {
		policy := selfSigned()
		if name == "b" {
			policy.ContentType = vault.ContentPEM
		}
		if _, err := w.svc.CreateCertificate(ctx, user, "kv1", name, vault.CertificateSpec{Policy: policy}); err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "", false)
	f.Add([]byte{0x30, 0x82, 1, 0, 2, 1, 3}, "x", true)
	f.Fuzz(func(t *testing.T, content []byte, password string, encode bool) {
		value := string(content)
		if encode {
			value = base64.StdEncoding.EncodeToString(content)
		}
		_, err := w.svc.ImportCertificate(ctx, user, "kv1", "fuzzed", vault.CertificateSpec{}, value, password)
		if err != nil && !strings.HasPrefix(err.Error(), "BadParameter") {
			t.Error(err)
		}
	})
}
