// Package kek wraps and unwraps account keys with customers' keys in Azure Key Vault, or in anything
// that speaks its protocol.
//
// It owns the way to the vault and nothing else: one azkeys client per vault and identity, and the
// translation of every failure into a cause that the envelope can act on ([AccessError]). It holds no
// account key, keeps no wrapped key and decides nothing about an account. The customer's key never
// comes here; what passes through is the account key, for the time of one call.
//
// # Proof of identity
//
// Each call asks Config.Credential for the identity's present client id and secret, so that an
// identity that was deleted or disabled stops working at the next call, whatever tokens are cached.
// Tokens live in the client's memory. A vault's 401 is believed only after it was repeated for a token
// that was issued for this very call; so is a refusal of the token service.
//
// # What a vault cannot do to us
//
// A vault is a foreign host. Its challenge must name our own tenant and a resource that is a parent of
// its own host, otherwise no token is asked for. Redirects are not followed. A key id in an answer
// must be one of the key that was asked for. Answers are bounded.
//
// # When the vault or the token service is down
//
// A call fails within Config.Timeout with an AccessError that is not definite. There are no retries
// here: the envelope probes again, and knows how long it may.
package kek

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Defaults and limits.
const (
	defaultTimeout   = 5 * time.Second
	defaultAuthority = "https://login.microsoftonline.com/"
	maxAnswer        = 256 << 10
	maxSessions      = 1024
)

// Config says what a Client works with. TenantID and Credential are required.
type Config struct {
	// Transport carries the requests to vaults and to the token service; nil means
	// http.DefaultTransport.
	Transport http.RoundTripper
	// Authority is the address of the token service; "" means the public cloud's.
	Authority string
	// TenantID returns the tenant in which identities ask for tokens.
	TenantID func() string
	// Credential returns the present client id and secret of an identity, an object id. An error means
	// that there is no such identity (any more). The Client wipes the secret.
	Credential func(identity string) (clientID string, s *secret.Bytes, err error)
	// Timeout bounds one call, tokens included; 0 means 5 s.
	Timeout time.Duration
	// Now is the clock for a key's validity; nil means time.Now.
	Now func() time.Time
	// Log receives operational messages; nil discards them.
	Log *slog.Logger
}

// Client reaches customers' keys. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client

	mu    sync.Mutex
	cache map[cacheKey]*session
}

// cacheKey names a session: tokens of two identities must never mix.
type cacheKey struct{ host, identity string }

// session is a client of one vault with the tokens of one identity.
type session struct {
	credential [sha256.Size]byte // of client id and secret: another one makes another session
	keys       *azkeys.Client
}

// New returns a client. It reaches nothing yet.
func New(cfg Config) *Client {
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Authority == "" {
		cfg.Authority = defaultAuthority
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{
		cfg:   cfg,
		cache: map[cacheKey]*session{},
		http: &http.Client{
			Transport:     guarded{cfg.Transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Describe reads a key: the version that keyURI names, or the newest. A key that is disabled or
// outside its validity is an error. Errors are [*AccessError].
func (c *Client) Describe(ctx context.Context, keyURI, identity string) (version, recoveryLevel, kty string, err error) {
	id, aerr := parse(keyURI)
	if aerr != nil {
		return "", "", "", aerr
	}
	var got azkeys.GetKeyResponse
	aerr = c.call(ctx, opGet, id, identity, func(ctx context.Context, k *azkeys.Client) (err error) {
		got, err = k.GetKey(ctx, id.Name, id.Version, nil)
		return err
	})
	if aerr != nil {
		return "", "", "", aerr
	}
	if got.Attributes == nil || got.Key == nil || got.Key.KID == nil || got.Key.Kty == nil {
		return "", "", "", garbage("the answer has no key")
	}
	used, aerr := sameKey(id, string(*got.Key.KID))
	if aerr != nil {
		return "", "", "", aerr
	}
	if why := unusable(got.Attributes, c.cfg.Now()); why != "" {
		return "", "", "", &AccessError{substatus: DisabledOrExpired, definite: true, text: why}
	}
	if got.Attributes.RecoveryLevel != nil {
		recoveryLevel = *got.Attributes.RecoveryLevel
	}
	return used.Version, recoveryLevel, string(*got.Key.Kty), nil
}

// unusable says why a key may not be used now; "" when it may.
func unusable(a *azkeys.KeyAttributes, now time.Time) string {
	switch {
	case a.Enabled != nil && !*a.Enabled:
		return "The key is disabled."
	case a.NotBefore != nil && now.Before(*a.NotBefore):
		return "The key is not yet valid."
	case a.Expires != nil && !now.Before(*a.Expires):
		return "The key has expired."
	default:
		return ""
	}
}

// Wrap encrypts plain with RSA-OAEP-256 under the version that keyURI names, or the newest. keyID is
// the key's URI with the version used. Errors are [*AccessError].
func (c *Client) Wrap(ctx context.Context, keyURI, identity string, plain []byte) (wrapped []byte, keyID string, err error) {
	id, aerr := parse(keyURI)
	if aerr != nil {
		return nil, "", aerr
	}
	var got azkeys.WrapKeyResponse
	aerr = c.call(ctx, opWrap, id, identity, func(ctx context.Context, k *azkeys.Client) (err error) {
		got, err = k.WrapKey(ctx, id.Name, id.Version, parameters(plain), nil)
		return err
	})
	if aerr != nil {
		return nil, "", aerr
	}
	if got.KID == nil || len(got.Result) == 0 {
		return nil, "", garbage("the answer has no wrapped key")
	}
	used, aerr := sameKey(id, string(*got.KID))
	if aerr != nil {
		return nil, "", aerr
	}
	return got.Result, used.String(), nil
}

// Unwrap reverses Wrap; keyID must carry a version. The caller wipes the result. Errors are
// [*AccessError].
func (c *Client) Unwrap(ctx context.Context, keyID, identity string, wrapped []byte) (plain []byte, err error) {
	id, aerr := parse(keyID)
	if aerr == nil && id.Version == "" {
		aerr = &AccessError{substatus: MalformedURI, definite: true, text: "The key id has no version."}
	}
	if aerr != nil {
		return nil, aerr
	}
	var got azkeys.UnwrapKeyResponse
	aerr = c.call(ctx, opUnwrap, id, identity, func(ctx context.Context, k *azkeys.Client) (err error) {
		got, err = k.UnwrapKey(ctx, id.Name, id.Version, parameters(wrapped), nil)
		return err
	})
	if aerr != nil {
		return nil, aerr
	}
	if len(got.Result) == 0 {
		return nil, garbage("the answer has no key")
	}
	return got.Result, nil
}

func parameters(value []byte) azkeys.KeyOperationParameters {
	alg := azkeys.EncryptionAlgorithmRSAOAEP256
	return azkeys.KeyOperationParameters{Algorithm: &alg, Value: value}
}

func parse(keyURI string) (uri.KeyID, *AccessError) {
	id, err := uri.ParseKeyID(keyURI)
	if err != nil {
		return id, &AccessError{substatus: MalformedURI, definite: true, text: "The key URI is malformed.", err: err}
	}
	return id, nil
}

// sameKey parses the key id of an answer and demands that it is one of the key that was asked for.
func sameKey(asked uri.KeyID, kid string) (uri.KeyID, *AccessError) {
	got, err := uri.ParseKeyID(kid)
	if err != nil || got.Version == "" || !strings.EqualFold(got.Name, asked.Name) || asked.Version != "" && got.Version != asked.Version {
		return got, garbage("the answer names another key than asked")
	}
	got.Host, got.Name = asked.Host, asked.Name // a vault behind another name says its own
	return got, nil
}

// operation is one of the three calls; the meaning of some answers depends on it.
type operation string

// The operations.
const (
	opGet    operation = "get"
	opWrap   operation = "wrapKey"
	opUnwrap operation = "unwrapKey"
)

// call runs f with a session for the identity. A 401 is answered once with a fresh session.
func (c *Client) call(ctx context.Context, op operation, id uri.KeyID, identity string, f func(context.Context, *azkeys.Client) error) *AccessError {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	for fresh := false; ; fresh = true {
		s, aerr := c.session(id, identity, fresh)
		if aerr != nil {
			return aerr
		}
		err := protect(func() error { return f(ctx, s.keys) })
		if err == nil {
			return nil
		}
		aerr = classify(op, err)
		if !fresh && (unauthorized(err) || aerr.substatus == TokenRefused) {
			continue // perhaps only because of a token or a secret from before
		}
		c.cfg.Log.Debug("vault refused or failed", "operation", string(op), "vault", id.Host, "substatus", aerr.substatus)
		return aerr
	}
}

// errPanicked stands for a defect of the client library that an answer brought out.
var errPanicked = errors.New("kek: the client library panicked")

// protect keeps a panic of the client library over an odd answer from ending the process.
func protect(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	return f()
}

// session returns the cached session, or a new one when the credential changed or fresh is asked for.
func (c *Client) session(id uri.KeyID, identity string, fresh bool) (*session, *AccessError) {
	if identity == "" {
		return nil, &AccessError{substatus: IdentityUndefined, definite: true, text: "The account has no identity."}
	}
	clientID, password, err := c.cfg.Credential(identity)
	if err != nil {
		return nil, &AccessError{substatus: TokenRefused, definite: true, text: "The identity does not exist or is disabled.", err: err}
	}
	defer password.Wipe()
	sum := sha256.Sum256(append([]byte(clientID+"\x00"), password.Reveal()...))
	key := cacheKey{id.Host, identity}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.cache[key]; s != nil && !fresh && s.credential == sum {
		return s, nil
	}
	s, err := c.connect(id, clientID, password)
	if err != nil {
		return nil, &AccessError{substatus: TokenRefused, definite: true, text: "The identity's credential is malformed.", err: err}
	}
	s.credential = sum
	if len(c.cache) >= maxSessions {
		clear(c.cache)
	}
	c.cache[key] = s
	return s, nil
}

func (c *Client) connect(id uri.KeyID, clientID string, password *secret.Bytes) (*session, error) {
	options := policy.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: c.cfg.Authority},
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "latchkey"},
		Transport: c.http,
	}
	tenant := c.cfg.TenantID()
	cred, err := azidentity.NewClientSecretCredential(tenant, clientID, string(password.Reveal()),
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	if err != nil {
		return nil, err
	}
	tokens := &tokenSource{inner: cred, tenant: tenant}
	keys, err := azkeys.NewClient(id.VaultURL(), tokens, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	return &session{keys: keys}, nil
}

// tokenSource marks the errors of the token service, so that they are not taken for the vault's.
type tokenSource struct {
	inner  azcore.TokenCredential
	tenant string
}

// GetToken implements [azcore.TokenCredential]. It refuses to go to another tenant than ours.
func (t *tokenSource) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if o.TenantID != "" && !strings.EqualFold(o.TenantID, t.tenant) {
		return azcore.AccessToken{}, &tokenError{err: errForeignTenant}
	}
	o.TenantID = t.tenant
	token, err := t.inner.GetToken(ctx, o)
	if err != nil {
		return token, &tokenError{err: err}
	}
	return token, nil
}

// guarded bounds answers and drops challenges that the client library cannot digest.
type guarded struct{ base http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = bounded{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	if h := resp.Header.Get("WWW-Authenticate"); h != "" && !digestible(h) {
		resp.Header.Del("WWW-Authenticate")
	}
	return resp, nil
}

type bounded struct {
	io.Reader
	io.Closer
}

// digestible reports whether the challenge's authorization is a URL with a path: the client library
// takes the tenant from there without looking.
func digestible(challenge string) bool {
	for _, part := range strings.Fields(challenge) {
		value, ok := strings.CutPrefix(part, "authorization=")
		if !ok {
			continue
		}
		u, err := url.Parse(strings.Trim(value, `",`))
		return err == nil && u.Scheme == "https" && len(u.Path) > 1
	}
	return false
}
