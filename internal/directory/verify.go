package directory

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// accessClaims are the claims of a v1 access token. The names are Entra's (access token claims
// reference); only aud, iss, tid, nbf, exp and oid decide anything here.
type accessClaims struct {
	Audience   string   `json:"aud"`
	Issuer     string   `json:"iss"`
	IssuedAt   int64    `json:"iat"`
	NotBefore  int64    `json:"nbf"`
	Expires    int64    `json:"exp"`
	AppID      string   `json:"appid"`
	AppIDACR   string   `json:"appidacr"` // how the client proved itself: 0 not, 1 secret, 2 certificate
	Methods    []string `json:"amr,omitempty"`
	Provider   string   `json:"idp"`
	Type       string   `json:"idtyp"` // app or user
	Address    string   `json:"ipaddr,omitempty"`
	Name       string   `json:"name,omitempty"`
	ObjectID   string   `json:"oid"`
	Scope      string   `json:"scp,omitempty"`
	Subject    string   `json:"sub"`
	TenantID   string   `json:"tid"`
	UniqueName string   `json:"unique_name,omitempty"`
	UPN        string   `json:"upn,omitempty"`
	TokenID    string   `json:"uti"`
	Version    string   `json:"ver"`
	Roles      []string `json:"wids,omitempty"`
}

// clockSkew is how far a caller's clock may be ahead or behind: Entra's libraries allow five minutes.
const clockSkew = 5 * time.Minute

// maxToken bounds what is parsed at all, in bytes.
const maxToken = 16 << 10

func issuerOf(tenantID string) string { return "https://sts.windows.net/" + tenantID + "/" }

// VerifyToken proves an access token: signature, issuer and tenant, time, audience, and that its
// principal still exists and is enabled. audiences are compared without regard to case and to one
// trailing slash. Faults are Unauthenticated with one of the reasons TokenMissing, TokenMalformed,
// TokenSignature, TokenIssuer, TokenExpired, TokenNotYetValid, TokenAudience, TokenPrincipal.
// The face adds the door, the address and the request.
func (d *Directory) VerifyToken(_ context.Context, token string, audiences []string) (principal.Caller, error) {
	claims, err := d.provenToken(token)
	if err != nil {
		return principal.Caller{}, err
	}
	if err := d.checkClaims(claims, audiences); err != nil {
		return principal.Caller{}, err
	}
	return d.callerOf(claims)
}

// provenToken is proveToken, once for every token.
func (d *Directory) provenToken(token string) (*accessClaims, error) {
	if len(token) > maxToken {
		return d.proveToken(token)
	}
	var stack [4 << 10]byte // enough for most tokens
	sum := sha256.Sum256(append(stack[:0], token...))
	if c := d.signer.proven.get(sum); c != nil {
		return c, nil
	}
	c, err := d.proveToken(token)
	if err == nil {
		d.signer.proven.put(sum, c)
	}
	return c, err
}

// proveToken checks the form and the signature.
func (d *Directory) proveToken(token string) (*accessClaims, error) {
	if token == "" {
		return nil, refused("TokenMissing", "The access token is missing.")
	}
	malformed := refused("TokenMalformed", "The access token is not a well-formed JWT signed with RS256.")
	if len(token) > maxToken {
		return nil, malformed
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, malformed.Because(err)
	}
	if parsed.Headers[0].KeyID != d.signer.kid {
		return nil, refused("TokenSignature", "The access token is signed with an unknown key.")
	}
	var claims accessClaims
	err = parsed.Claims(d.signer.public, &claims)
	switch {
	case errors.Is(err, jose.ErrCryptoFailure):
		return nil, refused("TokenSignature", "The signature of the access token is not valid.").Because(err)
	case err != nil:
		return nil, malformed.Because(err)
	}
	return &claims, nil
}

func (d *Directory) checkClaims(c *accessClaims, audiences []string) error {
	tenant, now := d.TenantID(), d.cfg.Now()
	switch {
	case c.Issuer != issuerOf(tenant) || c.TenantID != tenant:
		return refused("TokenIssuer", "The access token is from the wrong issuer '%s'. It must match the tenant '%s'.", c.Issuer, issuerOf(tenant))
	case now.After(time.Unix(c.Expires, 0).Add(clockSkew)):
		return refused("TokenExpired", "The access token has expired. Current time: %s, expiry: %s.", stamp(now), stamp(time.Unix(c.Expires, 0)))
	case now.Before(time.Unix(c.NotBefore, 0).Add(-clockSkew)):
		return refused("TokenNotYetValid", "The access token is not valid before %s.", stamp(time.Unix(c.NotBefore, 0)))
	case !slices.ContainsFunc(audiences, func(a string) bool { return sameAudience(a, c.Audience) }):
		return refused("TokenAudience", "The access token has been obtained for the wrong audience or resource '%s'. It should exactly match one of the allowed audiences '%s'.",
			c.Audience, strings.Join(audiences, "','"))
	}
	return nil
}

// callerOf asks the directory of this moment about the principal of a proven token.
func (d *Directory) callerOf(c *accessClaims) (principal.Caller, error) {
	s := d.now()
	caller := principal.Caller{TenantID: s.tenant.ID, ObjectID: c.ObjectID, AppID: c.AppID, Groups: s.memberOf[c.ObjectID]}
	switch p, u := s.principals[c.ObjectID], s.users[c.ObjectID]; {
	case p != nil && !p.Disabled:
		caller.Kind, caller.Name = principal.ServicePrincipal, p.DisplayName
	case u != nil && !u.Disabled:
		caller.Kind, caller.Name = principal.User, u.Name
	default:
		return principal.Caller{}, refused("TokenPrincipal", "The principal '%s' of the access token does not exist or is disabled.", c.ObjectID)
	}
	return caller, nil
}

func sameAudience(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
}

func refused(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.Unauthenticated, reason, format, args...)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
