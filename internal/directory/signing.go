package directory

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// signer holds the tenant's parsed keys, which never change after Open, and the tokens that were proven
// with them.
type signer struct {
	kid     string // also the x5t: base64url of the certificate's SHA-1
	public  *rsa.PublicKey
	cert    *x509.Certificate
	tokens  jose.Signer // RS256, access and id tokens
	refresh jose.Signer // HS256, refresh tokens
	secret  []byte      // of refresh
	proven  proven
}

// newSigningKey makes the tenant's key and a certificate of it, which clients never check: it is
// there because v1 tokens name their key by the certificate's thumbprint.
func newSigningKey(now time.Time) (key, cert []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Latchkey token signing"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(100, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	cert, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	return key, cert, err
}

func loadSigner(t *tenantRecord) (*signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(t.SigningKey)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the signing key is a %T", parsed)
	}
	cert, err := x509.ParseCertificate(t.Certificate)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(t.Certificate)
	s := &signer{kid: base64.RawURLEncoding.EncodeToString(sum[:]), public: &private.PublicKey, cert: cert, secret: t.RefreshKey}
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", s.kid).WithHeader("x5t", s.kid)
	var err1, err2 error
	s.tokens, err1 = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: private}, options)
	s.refresh, err2 = jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: t.RefreshKey}, nil)
	return s, errors.Join(err1, err2)
}

// sign returns claims as a compact JWT.
func sign(s jose.Signer, claims any) (string, error) { return jwt.Signed(s).Claims(claims).Serialize() }

// SigningKey is the public half of the tenant's signing key, as a JWKS entry shows it.
type SigningKey struct {
	KeyID       string
	Modulus     []byte // big endian
	Exponent    []byte // big endian, no leading zeros
	Certificate []byte // DER
}

// SigningKeys returns the keys that verify the tenant's tokens.
func (d *Directory) SigningKeys() []SigningKey {
	s := d.signer
	return []SigningKey{{
		KeyID: s.kid, Modulus: s.public.N.Bytes(), Exponent: big.NewInt(int64(s.public.E)).Bytes(), Certificate: s.cert.Raw,
	}}
}
