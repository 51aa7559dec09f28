package kek

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/secret"
)

const (
	tenant   = "11111111-2222-3333-4444-555555555555"
	identity = "99999999-8888-7777-6666-555555555555"
	version  = "0123456789abcdef0123456789abcdef"
	keyURI   = "https://kv1.vault.azure.net/keys/cmk"
	keyID    = keyURI + "/" + version
)

// answer is one scripted response. The zero value is the good answer.
type answer struct {
	status int
	body   string
	header map[string]string
	drop   bool // close the connection without an answer
}

func vaultError(status int, code, inner string) answer {
	body := fmt.Sprintf(`{"error":{"code":%q,"message":"text of the vault","innererror":{"code":%q}}}`, code, inner)
	return answer{status: status, body: body}
}

// peer plays the vault and the token service on one TLS listener; the transport leads every host there.
type peer struct {
	t         *testing.T
	server    *httptest.Server
	challenge string

	mu     sync.Mutex
	vault  func(operation string) answer // for authorised requests
	login  func() answer
	valid  string // the token that the vault accepts; "" for any
	tokens int
	dialed func(host string) error
}

func newPeer(t *testing.T) *peer {
	p := &peer{t: t, challenge: `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`}
	p.server = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	return p
}

func (p *peer) client(change func(*Config)) *Client {
	pool := x509.NewCertPool()
	pool.AddCert(p.server.Certificate())
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(addr)
			if p.dialed != nil {
				if err := p.dialed(host); err != nil {
					return nil, err
				}
			}
			return (&net.Dialer{}).DialContext(ctx, network, p.server.Listener.Addr().String())
		},
	}
	p.t.Cleanup(tr.CloseIdleConnections)
	cfg := Config{
		Transport: tr,
		TenantID:  func() string { return tenant },
		Credential: func(id string) (string, *secret.Bytes, error) {
			if id != identity {
				return "", nil, errors.New("no such identity")
			}
			return "client-id", secret.From([]byte("client-secret")), nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

func (p *peer) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(r.Host, "login.") {
		p.serveLogin(w, r)
		return
	}
	auth := r.Header.Get("Authorization")
	if auth == "" || p.valid != "" && auth != "Bearer "+p.valid {
		w.Header().Set("WWW-Authenticate", p.challenge)
		w.WriteHeader(401)
		_, _ = io.WriteString(w, `{"error":{"code":"Unauthorized","message":"AKV10000"}}`)
		return
	}
	op := "get"
	if r.Method == http.MethodPost {
		op = strings.ToLower(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	}
	var a answer
	if p.vault != nil {
		a = p.vault(op)
	}
	if a.status == 0 && !a.drop {
		a = p.good(op, r)
	}
	p.write(w, a)
}

// good does what a vault does, with a cipher that flips every bit.
func (p *peer) good(op string, r *http.Request) answer {
	if op == "get" {
		return answer{status: 200, body: `{"key":{"kid":"` + keyID + `","kty":"RSA"},"attributes":{"enabled":true,"recoveryLevel":"Recoverable"}}`}
	}
	var in struct{ Alg, Value string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Alg != "RSA-OAEP-256" {
		return answer{status: 400, body: `{"error":{"code":"BadParameter","message":"alg"}}`}
	}
	b, _ := base64.RawURLEncoding.DecodeString(in.Value)
	for i := range b {
		b[i] ^= 0xff
	}
	return answer{status: 200, body: `{"kid":"` + keyID + `","value":"` + base64.RawURLEncoding.EncodeToString(b) + `"}`}
}

func (p *peer) serveLogin(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
		base := "https://login.microsoftonline.com/" + tenant
		p.write(w, answer{status: 200, body: `{"issuer":"` + base + `/v2.0","authorization_endpoint":"` + base + `/a","token_endpoint":"` + base + `/oauth2/v2.0/token"}`})
		return
	}
	if p.login != nil {
		if a := p.login(); a.status != 0 || a.drop {
			p.write(w, a)
			return
		}
	}
	p.tokens++
	p.write(w, answer{status: 200, body: fmt.Sprintf(`{"token_type":"Bearer","expires_in":3600,"access_token":"token-%d"}`, p.tokens)})
}

func (p *peer) write(w http.ResponseWriter, a answer) {
	if a.drop {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func TestRoundTrip(t *testing.T) {
	p := newPeer(t)
	c := p.client(nil)
	ctx := context.Background()
	v, level, kty, err := c.Describe(ctx, keyURI, identity)
	if err != nil || v != version || level != "Recoverable" || kty != "RSA" {
		t.Fatalf("Describe = %q %q %q %v", v, level, kty, err)
	}
	plain := bytes.Repeat([]byte{7}, 32)
	wrapped, kid, err := c.Wrap(ctx, keyURI, identity, plain)
	if err != nil || kid != keyID || bytes.Equal(wrapped, plain) {
		t.Fatalf("Wrap = %x %q %v", wrapped, kid, err)
	}
	got, err := c.Unwrap(ctx, kid, identity, wrapped)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Unwrap = %x %v", got, err)
	}
	if p.tokens != 1 {
		t.Errorf("%d tokens for three calls, want 1", p.tokens)
	}
}

// call runs the operation whose answers a row scripts.
func call(c *Client, op string) error {
	ctx := context.Background()
	var err error
	switch op {
	case "get":
		_, _, _, err = c.Describe(ctx, keyURI, identity)
	case "wrapkey":
		_, _, err = c.Wrap(ctx, keyURI, identity, make([]byte, 32))
	default:
		_, err = c.Unwrap(ctx, keyID, identity, make([]byte, 256))
	}
	return err
}

func check(t *testing.T, err error, substatus int, definite bool) *AccessError {
	t.Helper()
	var e *AccessError
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want an AccessError", err)
	}
	if e.Substatus() != substatus || e.Definite() != definite {
		t.Fatalf("error = %v (definite %v), want %d (definite %v)", e, e.Definite(), substatus, definite)
	}
	return e
}

func TestVaultAnswers(t *testing.T) {
	const all = "get wrapkey unwrapkey"
	rows := []struct {
		name      string
		ops       string
		answer    answer
		substatus int
		definite  bool
	}{
		{"policy", all, vaultError(403, "Forbidden", "ForbiddenByPolicy"), 4002, true},
		{"rbac", all, vaultError(403, "Forbidden", "ForbiddenByRbac"), 4002, true},
		{"access denied", all, vaultError(403, "Forbidden", "AccessDenied"), 4002, true},
		{"no inner code", all, vaultError(403, "Forbidden", ""), 4002, true},
		{"firewall", all, vaultError(403, "Forbidden", "ForbiddenByFirewall"), 4016, true},
		{"disabled", all, vaultError(403, "Forbidden", "KeyDisabled"), 4018, true},
		{"expired", all, vaultError(403, "Forbidden", "KeyExpired"), 4018, true},
		{"not yet valid", all, vaultError(403, "Forbidden", "KeyNotYetValid"), 4018, true},
		{"key_ops", all, vaultError(403, "Forbidden", "KeyOperationForbidden"), 4005, true},
		{"key gone", all, vaultError(404, "KeyNotFound", ""), 4003, true},
		{"vault gone", all, vaultError(404, "VaultNotFound", ""), 4017, true},
		{"bad ciphertext", "wrapkey unwrapkey", vaultError(400, "BadParameter", ""), 4005, true},
		{"bad read", "get", vaultError(400, "BadParameter", ""), 4008, false},
		{"throttled", all, vaultError(429, "Throttled", ""), 4004, false},
		{"failing", all, vaultError(500, "InternalServerError", ""), 4004, false},
		{"down", all, answer{status: 503}, 4004, false},
		{"silent", all, answer{drop: true}, 4004, false},
		{"proxy 403", all, answer{status: 403, body: "<html>"}, 4008, false},
		{"proxy 404", all, answer{status: 404, body: "<html>"}, 4008, false},
		{"teapot", all, vaultError(418, "Teapot", ""), 4008, false},
		{"redirect", all, answer{status: 302, header: map[string]string{"Location": "https://evil.example/"}}, 4008, false},
		{"empty", all, answer{status: 200, body: `{}`}, 4008, false},
		{"no json", all, answer{status: 200, body: `<html>`}, 4008, false},
		{"another key", all, answer{status: 200, body: `{"kid":"https://kv1.vault.azure.net/keys/other/` + version + `","value":"AAAA","key":{"kid":"https://kv1.vault.azure.net/keys/other/` + version + `","kty":"RSA"},"attributes":{}}`}, 4008, false},
	}
	for _, row := range rows {
		for _, op := range strings.Fields(row.ops) {
			if row.name == "another key" && op == "unwrapkey" {
				continue // an unwrapped value is checked by who asked for it
			}
			t.Run(row.name+"/"+op, func(t *testing.T) {
				p := newPeer(t)
				p.vault = func(string) answer { return row.answer }
				e := check(t, call(p.client(nil), op), row.substatus, row.definite)
				if status, code, _, text := e.VaultAnswer(); row.definite && (status != row.answer.status || code == "" || text != "text of the vault") {
					t.Errorf("VaultAnswer = %d %q %q", status, code, text)
				}
			})
		}
	}
}

func TestKeyAttributes(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	rows := []struct{ name, attributes, want string }{
		{"disabled", `"enabled":false`, "The key is disabled."},
		{"expired", fmt.Sprintf(`"enabled":true,"exp":%d`, now.Unix()), "The key has expired."},
		{"early", fmt.Sprintf(`"enabled":true,"nbf":%d`, now.Unix()+1), "The key is not yet valid."},
		{"valid", fmt.Sprintf(`"enabled":true,"nbf":%d,"exp":%d`, now.Unix(), now.Unix()+1), ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPeer(t)
			p.vault = func(string) answer {
				return answer{status: 200, body: `{"key":{"kid":"` + keyID + `","kty":"RSA"},"attributes":{` + row.attributes + `}}`}
			}
			err := call(p.client(func(c *Config) { c.Now = func() time.Time { return now } }), "get")
			if row.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if e := check(t, err, 4018, true); e.Detail() != row.want {
				t.Errorf("Detail = %q, want %q", e.Detail(), row.want)
			}
		})
	}
}

func TestTokenAnswers(t *testing.T) {
	rows := []struct {
		name      string
		answer    answer
		substatus int
		definite  bool
	}{
		{"invalid client", answer{status: 401, body: `{"error":"invalid_client","error_description":"AADSTS7000215"}`}, 4000, true},
		{"unknown application", answer{status: 400, body: `{"error":"unauthorized_client","error_description":"AADSTS700016"}`}, 4000, true},
		{"failing", answer{status: 500, body: `{}`}, 4001, false},
		{"throttled", answer{status: 429, body: `{}`}, 4001, false},
		{"silent", answer{drop: true}, 4001, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPeer(t)
			p.login = func() answer { return row.answer }
			e := check(t, call(p.client(nil), "get"), row.substatus, row.definite)
			if s := e.Error(); strings.Contains(s, "client-secret") || strings.Contains(s, "AADSTS") {
				t.Errorf("error quotes the token service: %s", s)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	p := newPeer(t)
	c := p.client(nil)
	_, _, _, err := c.Describe(context.Background(), keyURI, "")
	check(t, err, 4015, true)
	_, _, _, err = c.Describe(context.Background(), keyURI, "somebody else")
	check(t, err, 4000, true)
}

func TestMalformedURI(t *testing.T) {
	c := newPeer(t).client(nil)
	for _, u := range []string{"", "http://kv1.vault.azure.net/keys/k", "https://kv1.vault.azure.net/secrets/s"} {
		_, _, _, err := c.Describe(context.Background(), u, identity)
		check(t, err, 4006, true)
	}
	_, err := c.Unwrap(context.Background(), keyURI, identity, []byte{1})
	check(t, err, 4006, true)
}

func TestHosts(t *testing.T) {
	rows := []struct {
		name      string
		host      string
		err       error
		substatus int
	}{
		{"unknown vault", "kv1.", &net.DNSError{Err: "no such host", IsNotFound: true}, 4009},
		{"resolver down", "kv1.", &net.DNSError{Err: "server misbehaving", IsTemporary: true}, 4004},
		{"vault refused", "kv1.", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, 4004},
		{"unknown token service", "login.", &net.DNSError{Err: "no such host", IsNotFound: true}, 4001},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPeer(t)
			p.dialed = func(host string) error {
				if strings.HasPrefix(host, row.host) {
					return row.err
				}
				return nil
			}
			check(t, call(p.client(nil), "wrapkey"), row.substatus, false)
		})
	}
}

func TestUntrustedCertificate(t *testing.T) {
	p := newPeer(t)
	c := p.client(func(cfg *Config) {
		tr := cfg.Transport.(*http.Transport).Clone()
		tr.TLSClientConfig.RootCAs = x509.NewCertPool()
		cfg.Transport = tr
	})
	check(t, call(c, "get"), 4004, false)
}

func TestTimeout(t *testing.T) {
	p := newPeer(t)
	release := make(chan struct{})
	p.vault = func(string) answer { <-release; return answer{} }
	defer close(release)
	start := time.Now()
	check(t, call(p.client(func(c *Config) { c.Timeout = 50 * time.Millisecond }), "get"), 4004, false)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestStaleToken: a vault that no longer accepts the cached token gets one more with a new token.
func TestStaleToken(t *testing.T) {
	p := newPeer(t)
	c := p.client(nil)
	if err := call(c, "get"); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.valid = "token-2"
	p.mu.Unlock()
	if err := call(c, "wrapkey"); err != nil {
		t.Fatalf("after the token went stale: %v", err)
	}
	p.mu.Lock()
	p.valid = "none that is issued"
	p.mu.Unlock()
	check(t, call(c, "unwrapkey"), 4002, true)
}

// TestNewSecret: a credential that changes takes effect at the next call.
func TestNewSecret(t *testing.T) {
	p := newPeer(t)
	password, gone := "one", false
	c := p.client(func(cfg *Config) {
		cfg.Credential = func(string) (string, *secret.Bytes, error) {
			if gone {
				return "", nil, errors.New("disabled")
			}
			return "client-id", secret.From([]byte(password)), nil
		}
	})
	for want, pw := range []string{"one", "two", "two"} {
		password = pw
		if err := call(c, "get"); err != nil {
			t.Fatal(err)
		}
		if p.tokens != min(want+1, 2) {
			t.Errorf("call %d: %d tokens", want, p.tokens)
		}
	}
	gone = true
	check(t, call(c, "get"), 4000, true)
}

func TestChallenges(t *testing.T) {
	rows := []struct {
		name, challenge string
		substatus       int
		definite        bool
	}{
		{"foreign tenant", `Bearer authorization="https://login.microsoftonline.com/99999999-0000-0000-0000-000000000000", resource="https://vault.azure.net"`, 4000, true},
		{"foreign resource", `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://management.azure.com"`, 4008, false},
		{"no tenant", `Bearer authorization="https://login.microsoftonline.com", resource="https://vault.azure.net"`, 4008, false},
		{"no url", `Bearer authorization="x", resource="https://vault.azure.net"`, 4008, false},
		{"other scheme", `Basic realm="x"`, 4008, false},
		{"none", ``, 4008, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := newPeer(t)
			p.challenge = row.challenge
			err := call(p.client(nil), "get")
			check(t, err, row.substatus, row.definite)
			if p.tokens != 0 {
				t.Error("a token was asked for")
			}
		})
	}
}

func TestConcurrentCalls(t *testing.T) {
	p := newPeer(t)
	c := p.client(nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for _, op := range []string{"get", "wrapkey", "unwrapkey"} {
				if err := call(c, op); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
