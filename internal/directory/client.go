package directory

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// client is an application that signs in, with everything that can prove it.
type client struct {
	principal *ServicePrincipal
	passwords []PasswordCredential
	keys      []KeyCredential
	platform  *platformRecord
}

// findClient collects the credentials of an application and of its service principal.
func (d *Directory) findClient(clientID string) (client, error) {
	s, id := d.now(), strings.ToLower(clientID)
	app := s.appOf[id]
	p := s.principalOf[id]
	switch {
	case app == nil && p == nil:
		return client{}, fault.New(fault.Invalid, "ApplicationUnknown",
			"Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.",
			printable(clientID), s.tenant.DisplayName)
	case p == nil || p.AppID != id:
		return client{}, fault.New(fault.Denied, "PrincipalMissing", "The client application %s is missing service principal in the tenant %s.", printable(clientID), s.tenant.ID)
	}
	c := client{principal: p, passwords: p.Passwords, keys: p.Keys, platform: s.platform[p.ID]}
	if app != nil {
		c.passwords = slices.Concat(app.Passwords, p.Passwords)
		c.keys = slices.Concat(app.Keys, p.Keys)
	}
	return c, nil
}

// proveClient proves an application by its secret or by an assertion that it signed.
func (d *Directory) proveClient(_ context.Context, r TokenRequest) (subject, error) {
	c, err := d.findClient(r.ClientID)
	if err != nil {
		return subject{}, err
	}
	acr := "1"
	switch {
	case r.ClientAssertion != "":
		acr, err = "2", d.checkAssertion(c, r)
	case r.ClientSecret != "":
		err = d.checkSecret(c, r.ClientSecret)
	default:
		err = fault.New(fault.Unauthenticated, "ClientCredentialMissing",
			"The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	}
	if err != nil {
		return subject{}, err
	}
	if c.principal.Disabled {
		return subject{}, fault.New(fault.Denied, "ApplicationDisabled", "Application '%s'(%s) is disabled.", c.principal.AppID, c.principal.DisplayName)
	}
	return subject{id: c.principal.ID, app: c.principal.AppID, acr: acr}, nil
}

func (d *Directory) checkSecret(c client, secret string) error {
	if c.platform != nil && hashSecret(string(c.platform.Secret)).matches(secret) {
		return nil
	}
	now, expired := d.cfg.Now(), false
	for _, p := range c.passwords {
		if !p.Hash.matches(secret) {
			continue
		}
		if !now.Before(p.Start.Add(-clockSkew)) && now.Before(p.End) {
			return nil
		}
		expired = true
	}
	if expired {
		return fault.New(fault.Unauthenticated, "ClientSecretExpired", "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app, or consider using certificate credentials for added security.", c.principal.AppID)
	}
	return fault.New(fault.Unauthenticated, "ClientSecretInvalid",
		"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", c.principal.AppID)
}

// checkAssertion proves a client by a JWT that one of its registered certificates signed (RFC 7523).
// Clients write exp as an integer or as a fraction.
func (d *Directory) checkAssertion(c client, r TokenRequest) error {
	bad := fault.New(fault.Unauthenticated, "AssertionInvalid", "Client assertion failed signature validation.")
	if len(r.ClientAssertion) > maxToken {
		return bad
	}
	parsed, err := jwt.ParseSigned(r.ClientAssertion, []jose.SignatureAlgorithm{jose.RS256, jose.PS256})
	if err != nil {
		return bad.Because(err)
	}
	claims, err := d.assertionClaims(parsed, c.keys)
	if err != nil {
		return bad.Because(err)
	}
	return checkAssertionClaims(claims, c.principal.AppID, r.AssertionAudiences, d.cfg.Now())
}

// assertionClaims returns the claims when one of the certificates that are valid now signed them.
func (d *Directory) assertionClaims(parsed *jwt.JSONWebToken, keys []KeyCredential) (*jwt.Claims, error) {
	now := d.cfg.Now()
	for _, k := range keys {
		cert, err := x509.ParseCertificate(k.Certificate)
		if err != nil || now.Before(k.Start.Add(-clockSkew)) || !now.Before(k.End) {
			continue
		}
		var claims jwt.Claims
		if parsed.Claims(cert.PublicKey, &claims) == nil {
			return &claims, nil
		}
	}
	return nil, errors.New("no registered certificate that is valid now verifies it")
}

func checkAssertionClaims(c *jwt.Claims, appID string, audiences []string, now time.Time) error {
	named := slices.ContainsFunc(c.Audience, func(a string) bool {
		return slices.ContainsFunc(audiences, func(b string) bool { return sameAudience(a, b) })
	})
	switch {
	case !strings.EqualFold(c.Issuer, appID) || !strings.EqualFold(c.Subject, appID):
		return fault.New(fault.Unauthenticated, "AssertionIssuer", "Client assertion contains an invalid signature: its issuer and subject must be the client id '%s'.", appID)
	case !named:
		return fault.New(fault.Unauthenticated, "AssertionAudience", "Client assertion audience claim does not match Realm issuer.")
	case c.Expiry == nil || now.After(c.Expiry.Time().Add(clockSkew)) || (c.NotBefore != nil && now.Before(c.NotBefore.Time().Add(-clockSkew))):
		return fault.New(fault.Unauthenticated, "AssertionTime", "Client assertion is not within its valid time range.")
	}
	return nil
}

// proveRefresh proves a user by a refresh token. The token is good for the client that got it, and
// for the other public clients of the tools' family.
func (d *Directory) proveRefresh(_ context.Context, r TokenRequest) (subject, error) {
	if r.RefreshToken == "" {
		return subject{}, missing("refresh_token")
	}
	acr, err := d.userClient(r)
	if err != nil {
		return subject{}, err
	}
	claims, err := d.openRefresh(r.RefreshToken)
	if err != nil {
		return subject{}, err
	}
	app := strings.ToLower(r.ClientID)
	if claims.AppID != app && (!publicClients[claims.AppID] || !publicClients[app]) {
		return subject{}, fault.New(fault.Denied, "RefreshTokenClient", "Provided grant is invalid or malformed: the refresh token was issued to another client.")
	}
	u := d.now().users[claims.UserID]
	if u == nil || claims.IssuedAt < u.SessionsFrom.UnixNano() {
		return subject{}, fault.New(fault.Denied, "RefreshTokenRevoked", "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.")
	}
	return activeUser(u, r.ClientID, acr)
}

func (d *Directory) openRefresh(token string) (*refreshClaims, error) {
	bad := fault.New(fault.Denied, "RefreshTokenInvalid", "The refresh token is malformed or was not issued by this directory.")
	if len(token) > maxToken {
		return nil, bad
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return nil, bad.Because(err)
	}
	var claims refreshClaims
	if err := parsed.Claims(d.signer.secret, &claims); err != nil {
		return nil, bad.Because(err)
	}
	if d.cfg.Now().Unix() > claims.Expires {
		return nil, fault.New(fault.Denied, "RefreshTokenExpired", "The refresh token has expired due to inactivity.")
	}
	return &claims, nil
}
