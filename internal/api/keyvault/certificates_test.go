package keyvault_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"software.sslmate.com/src/go-pkcs12"
)

// certificates are the official clients of certificates and secrets against one vault.
func certificates(t *testing.T) (*azcertificates.Client, *azsecrets.Client) {
	w := newWorld(t)
	w.put(everything())
	o := azcore.ClientOptions{Transport: w.client}
	c, err := azcertificates.NewClient("https://kv1.vault.azure.net", w, &azcertificates.ClientOptions{ClientOptions: o})
	if err != nil {
		t.Fatal(err)
	}
	s, err := azsecrets.NewClient("https://kv1.vault.azure.net", w, &azsecrets.ClientOptions{ClientOptions: o})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func policyOf(issuer, content string) *azcertificates.CertificatePolicy {
	return &azcertificates.CertificatePolicy{
		IssuerParameters: &azcertificates.IssuerParameters{Name: &issuer},
		KeyProperties:    &azcertificates.KeyProperties{KeyType: ptr(azcertificates.KeyTypeEC), Curve: ptr(azcertificates.CurveNameP256), Exportable: ptr(true)},
		SecretProperties: &azcertificates.SecretProperties{ContentType: &content},
		X509CertificateProperties: &azcertificates.X509CertificateProperties{Subject: ptr(`CN=shop.example, O="A, B"`), ValidityInMonths: ptr(int32(3)),
			SubjectAlternativeNames: &azcertificates.SubjectAlternativeNames{DNSNames: []*string{ptr("shop.example")}, Emails: []*string{ptr("a@shop.example")}, UserPrincipalNames: []*string{ptr("a@shop")}}},
	}
}

// TestCertificateClient walks the life of a certificate with the official client: its key and its secret are
// a pair that works.
func TestCertificateClient(t *testing.T) {
	c, s := certificates(t)
	ctx := t.Context()
	op, err := c.CreateCertificate(ctx, "Shop", azcertificates.CreateCertificateParameters{CertificatePolicy: policyOf("Self", "application/x-pkcs12"), Tags: map[string]*string{"a": ptr("b")}}, nil)
	if err != nil || *op.Status != "inProgress" {
		t.Fatalf("%+v %v", op, err)
	}
	if done, err := c.GetCertificateOperation(ctx, "shop", nil); err != nil || *done.Status != "completed" || done.Target == nil {
		t.Fatalf("%+v %v", done, err)
	}
	got, err := c.GetCertificate(ctx, "shop", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(got.CER)
	if err != nil || leaf.Subject.CommonName != "shop.example" || leaf.Subject.Organization[0] != "A, B" || leaf.DNSNames[0] != "shop.example" || leaf.EmailAddresses[0] != "a@shop.example" {
		t.Errorf("%v %v", leaf.Subject, err)
	}
	if got.ID.Version() != got.KID.Version() || got.SID.Version() != got.ID.Version() || len(got.X509Thumbprint) != 20 || *got.Tags["a"] != "b" || !got.Attributes.Expires.Equal(leaf.NotAfter) {
		t.Errorf("%+v", got)
	}
	secret, err := s.GetSecret(ctx, "shop", "", nil)
	if err != nil || *secret.ContentType != "application/x-pkcs12" || !*secret.Managed {
		t.Fatalf("%+v %v", secret, err)
	}
	pfx, err := base64.StdEncoding.DecodeString(*secret.Value)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := pkcs12.Decode(pfx, "")
	if err != nil || !cert.PublicKey.(*ecdsa.PublicKey).Equal(key.(*ecdsa.PrivateKey).Public()) {
		t.Errorf("the secret is no pair: %v", err)
	}
	_, err = s.SetSecret(ctx, "shop", azsecrets.SetSecretParameters{Value: ptr("x")}, nil)
	refused(t, err, 403, "Forbidden")
	_, err = s.SetSecret(ctx, "plain", azsecrets.SetSecretParameters{Value: ptr("x")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateCertificate(ctx, "plain", azcertificates.CreateCertificateParameters{CertificatePolicy: policyOf("Self", "application/x-pkcs12")}, nil)
	refused(t, err, 409, "Conflict")

	blob, err := c.BackupCertificate(ctx, "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.DeleteCertificate(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	_, err = s.GetSecret(ctx, "shop", "", nil)
	refused(t, err, 404, "SecretNotFound")
	if _, err = c.RecoverDeletedCertificate(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	if _, err = c.DeleteCertificate(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	if _, err = c.PurgeDeletedCertificate(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	back, err := c.RestoreCertificate(ctx, azcertificates.RestoreCertificateParameters{CertificateBackup: blob.Value}, nil)
	if err != nil || *back.ID != *got.ID {
		t.Errorf("%v %v", back.ID, err)
	}
	if secret, err = s.GetSecret(ctx, "shop", got.ID.Version(), nil); err != nil || *secret.Value != base64.StdEncoding.EncodeToString(pfx) {
		t.Errorf("the secret did not come back: %v", err)
	}
}

// authority signs requests.
func authority(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return root, k
}

// TestMerge: a request, signed by an authority outside, becomes a certificate with its chain.
func TestMerge(t *testing.T) {
	c, s := certificates(t)
	ctx := t.Context()
	create := func(name string) azcertificates.CertificateOperation {
		op, err := c.CreateCertificate(ctx, name, azcertificates.CreateCertificateParameters{CertificatePolicy: policyOf("Unknown", "application/x-pem-file")}, nil)
		if err != nil || *op.Status != "inProgress" {
			t.Fatalf("%+v %v", op, err)
		}
		return op.CertificateOperation
	}
	op := create("shop")
	csr, err := x509.ParseCertificateRequest(op.CSR)
	if err != nil || csr.CheckSignature() != nil || csr.DNSNames[0] != "shop.example" {
		t.Fatalf("%v", err)
	}
	root, signer := authority(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), RawSubject: csr.RawSubject, NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 1, 0), DNSNames: csr.DNSNames}
	der, err := x509.CreateCertificate(rand.Reader, template, root, csr.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateCertificate(ctx, "shop", azcertificates.CreateCertificateParameters{CertificatePolicy: policyOf("Unknown", "application/x-pem-file")}, nil)
	refused(t, err, 409, "Conflict")
	_, err = c.MergeCertificate(ctx, "shop", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{root.Raw}}, nil)
	refused(t, err, 400, "BadParameter")
	merged, err := c.MergeCertificate(ctx, "shop", azcertificates.MergeCertificateParameters{X509Certificates: [][]byte{root.Raw, der}}, nil)
	if err != nil || string(merged.CER) != string(der) {
		t.Fatalf("%v", err)
	}
	secret, err := s.GetSecret(ctx, "shop", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(pemOnly(*secret.Value, "CERTIFICATE"), pemOnly(*secret.Value, "PRIVATE KEY"))
	if err != nil || len(pair.Certificate) != 2 {
		t.Errorf("the secret is no chain with its key: %v", err)
	}
	if done, err := c.GetCertificateOperation(ctx, "shop", nil); err != nil || *done.Status != "completed" {
		t.Errorf("%+v %v", done, err)
	}
	create("other")
	if x, err := c.UpdateCertificateOperation(ctx, "other", azcertificates.UpdateCertificateOperationParameter{CancellationRequested: ptr(true)}, nil); err != nil || *x.Status != "cancelled" {
		t.Errorf("%+v %v", x, err)
	}
	if _, err = c.DeleteCertificateOperation(ctx, "other", nil); err != nil {
		t.Error(err)
	}
	_, err = c.GetCertificateOperation(ctx, "other", nil)
	refused(t, err, 404, "PendingCertificateNotFound")
}

func pemOnly(text, kind string) (out []byte) {
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out
		}
		if b.Type == kind {
			out = append(out, pem.EncodeToMemory(b)...)
		}
	}
}

// TestImportCertificate: PFX with a password and PEM, whose key then works in the vault; what does not fit is
// refused.
func TestImportCertificate(t *testing.T) {
	c, _ := certificates(t)
	ctx := t.Context()
	root, k := authority(t)
	for name, encode := range map[string]func(string) ([]byte, error){
		"modern": func(p string) ([]byte, error) { return pkcs12.Modern.Encode(k, root, nil, p) },
		"legacy": func(p string) ([]byte, error) { return pkcs12.LegacyRC2.Encode(k, root, nil, p) },
	} {
		pfx, err := encode("pässword")
		if err != nil {
			t.Fatal(err)
		}
		value := base64.StdEncoding.EncodeToString(pfx)
		made, err := c.ImportCertificate(ctx, name, azcertificates.ImportCertificateParameters{Base64EncodedCertificate: &value, Password: ptr("pässword")}, nil)
		if err != nil || string(made.CER) != string(root.Raw) || *made.Policy.KeyProperties.KeyType != "EC" {
			t.Errorf("%s: %+v %v", name, made.Policy, err)
		}
		_, err = c.ImportCertificate(ctx, name, azcertificates.ImportCertificateParameters{Base64EncodedCertificate: &value, Password: ptr("wrong")}, nil)
		refused(t, err, 400, "BadParameter")
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	other, _ := authority(t)
	foreign := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Raw}))
	for value, ok := range map[string]bool{key + cert: true, cert + key: true, foreign + cert + key: true, key: false, cert: false, foreign + key: false, "": false} {
		_, err := c.ImportCertificate(ctx, "pem", azcertificates.ImportCertificateParameters{Base64EncodedCertificate: &value}, nil)
		if ok && err != nil {
			t.Error(err)
		} else if !ok {
			refused(t, err, 400, "BadParameter")
		}
	}
}

// TestIssuersAndContacts: kept and shown; a named issuer cannot make certificates here and says so.
func TestIssuersAndContacts(t *testing.T) {
	c, _ := certificates(t)
	ctx := t.Context()
	if _, err := c.SetIssuer(ctx, "ca1", azcertificates.SetIssuerParameters{Provider: ptr("DigiCert"), Credentials: &azcertificates.IssuerCredentials{AccountID: ptr("a"), Password: ptr("secret")},
		OrganizationDetails: &azcertificates.OrganizationDetails{AdminContacts: []*azcertificates.AdministratorContact{{Email: ptr("x@y")}}}}, nil); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetIssuer(ctx, "CA1", nil)
	if err != nil || *got.Provider != "DigiCert" || got.Credentials.Password != nil || *got.OrganizationDetails.AdminContacts[0].Email != "x@y" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err = c.UpdateIssuer(ctx, "ca1", azcertificates.UpdateIssuerParameters{Provider: ptr("GlobalSign")}, nil); err != nil {
		t.Error(err)
	}
	_, err = c.CreateCertificate(ctx, "x", azcertificates.CreateCertificateParameters{CertificatePolicy: policyOf("ca1", "application/x-pkcs12")}, nil)
	refused(t, err, 400, "BadParameter")
	if _, err = c.DeleteIssuer(ctx, "ca1", nil); err != nil {
		t.Error(err)
	}
	if _, err = c.SetContacts(ctx, azcertificates.Contacts{ContactList: []*azcertificates.Contact{{Email: ptr("ops@example")}}}, nil); err != nil {
		t.Error(err)
	}
	contacts, err := c.GetContacts(ctx, nil)
	if err != nil || *contacts.ContactList[0].Email != "ops@example" {
		t.Errorf("%+v %v", contacts, err)
	}
	if _, err = c.DeleteContacts(ctx, nil); err != nil {
		t.Error(err)
	}
	_, err = c.GetContacts(context.Background(), nil)
	refused(t, err, 404, "ContactsNotFound")
}
