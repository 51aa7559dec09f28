package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
)

// echo answers with the service's name, the label, the family, the peer and the protocol.
func echo(service naming.Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %v %s", service, r.Host, naming.From(r.Context()).IsLocal(), r.Proto)
	})
}

// start runs a front with an echo behind every service; change may adapt the configuration.
func start(t *testing.T, change func(*Config)) (*Server, *CA) {
	t.Helper()
	t.Parallel()
	ca := newCA(t)
	cfg := Config{
		Listen: "127.0.0.1:0", ProxyListen: "127.0.0.1:0", EmulatorListen: "127.0.0.1:0",
		CA: ca, Handlers: map[naming.Service]http.Handler{}, Emulator: echo("emulator"),
	}
	for _, s := range []naming.Service{naming.Login, naming.Management, naming.Graph, naming.Vault, naming.Documents} {
		cfg.Handlers[s] = echo(s)
	}
	if change != nil {
		change(&cfg)
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return s, ca
}

// proxied is a client that goes through the proxy, as the Azure SDKs do.
func proxied(t *testing.T, s *Server, ca *CA) *http.Client {
	t.Helper()
	proxyURL := &url.URL{Scheme: "http", Host: s.Addresses().Proxy}
	tr := &http.Transport{
		Proxy:             http.ProxyURL(proxyURL),
		TLSClientConfig:   &tls.Config{RootCAs: ca.Pool()},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	resp, err := c.Get(address)
	if err != nil {
		t.Fatalf("GET %s: %v", address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestBothFamiliesThroughProxyAndTransport(t *testing.T) {
	s, ca := start(t, nil)
	_, port, _ := net.SplitHostPort(s.Addresses().Front)
	clients := map[string]*http.Client{"proxy": proxied(t, s, ca), "transport": {Transport: s.Transport()}}
	for host, want := range map[string]string{
		"login.microsoftonline.com":              "login login.microsoftonline.com false",
		"management.azure.com":                   "management management.azure.com false",
		"graph.microsoft.com":                    "graph graph.microsoft.com false",
		"kv1.vault.azure.net":                    "vault kv1.vault.azure.net false",
		"acc.documents.azure.com:443":            "documents acc.documents.azure.com",
		"kv1.vault.localhost:" + port:            "vault kv1.vault.localhost:" + port + " true",
		"acc.documents.localhost:" + port:        "documents acc.documents.localhost:" + port + " true",
		"acc-region.documents.azure.com:" + port: "documents acc-region.documents.azure.com:" + port + " false",
	} {
		for name, c := range clients {
			status, body := get(t, c, "https://"+host+"/x")
			if status != 200 || !strings.HasPrefix(body, want) || !strings.HasSuffix(body, "HTTP/2.0") {
				t.Errorf("%s by %s: %d %q, want %q and HTTP/2.0", host, name, status, body, want)
			}
		}
	}
}

func TestHTTP1IsServed(t *testing.T) {
	s, ca := start(t, nil)
	c := proxied(t, s, ca)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	if _, body := get(t, c, "https://kv1.vault.azure.net/"); !strings.HasSuffix(body, "HTTP/1.1") {
		t.Errorf("body %q", body)
	}
}

func TestProxyRefusals(t *testing.T) {
	var log bytes.Buffer
	s, ca := start(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	c := proxied(t, s, ca)
	for _, tt := range []struct{ url, want string }{
		{"https://example.com/", "latchkey: example.com:443: this host is not served"},
		{"https://kv1.vault.azure.net:22/", "latchkey: kv1.vault.azure.net:22: this host is not served"},
		{"https://a.b.vault.azure.net/", "this host is not served"},
		{"https://10.0.0.1/", "latchkey: 10.0.0.1:443: this host is not served"},
	} {
		if _, err := c.Get(tt.url); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: err = %v, want %q", tt.url, err, tt.want)
		}
	}
	status, body := get(t, c, "http://kv1.vault.azure.net/")
	if status != 403 || !strings.Contains(body, "plain http is not served, use https") {
		t.Errorf("plain http: %d %q", status, body)
	}
	if err := s.Stop(t.Context()); err != nil { // the log is complete and free to read
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "host=example.com:443") {
		t.Errorf("the refused host is not in the debug log:\n%s", &log)
	}
}

func TestProxyRefusalCannotBeSplit(t *testing.T) {
	s, _ := start(t, nil)
	conn, err := net.Dial("tcp", s.Addresses().Proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT a\u0085b<x>:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !(strings.HasPrefix(line, "HTTP/1.1 403 latchkey: a?b?x?:443") || strings.HasPrefix(line, "HTTP/1.1 400 ")) {
		t.Errorf("status line %q, err %v", line, err)
	}
}

// TestTunnelKeepsEarlyBytes sends the handshake's first bytes together with the CONNECT request.
func TestTunnelKeepsEarlyBytes(t *testing.T) {
	s, ca := start(t, nil)
	conn, err := net.Dial("tcp", s.Addresses().Proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	early := &eager{Conn: conn, head: []byte("CONNECT kv1.vault.azure.net:443 HTTP/1.1\r\nHost: kv1.vault.azure.net:443\r\n\r\n"), in: bufio.NewReader(conn)}
	c := tls.Client(early, &tls.Config{ServerName: "kv1.vault.azure.net", RootCAs: ca.Pool()})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: kv1.vault.azure.net\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(c); err != nil || !strings.Contains(string(answer), "vault kv1.vault.azure.net") {
		t.Errorf("answer %q, err %v", answer, err)
	}
}

// eager sends head in the same write as the first bytes, and skips the proxy's answer.
type eager struct {
	net.Conn
	head []byte
	in   *bufio.Reader
	seen bool
}

func (e *eager) Write(b []byte) (int, error) {
	head := e.head
	e.head = nil
	_, err := e.Conn.Write(append(head, b...))
	return len(b), err
}

func (e *eager) Read(b []byte) (int, error) {
	for !e.seen {
		line, err := e.in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		e.seen = line == "\r\n"
	}
	return e.in.Read(b)
}

func TestTransportKnowsNoOtherHost(t *testing.T) {
	s, _ := start(t, nil)
	for _, address := range []string{"https://example.com/", "https://kv1.vault.azure.net:22/"} {
		_, err := (&http.Client{Transport: s.Transport()}).Get(address)
		var notFound *net.DNSError
		if !errors.As(err, &notFound) || !notFound.IsNotFound {
			t.Errorf("%s: err = %v, want a DNSError that is not found", address, err)
		}
	}
}

func TestHandshakeForForeignNameIsRefused(t *testing.T) {
	s, _ := start(t, nil)
	for name, good := range map[string]bool{"kv1.vault.azure.net": true, "": true, "example.com": false} {
		conn, err := tls.Dial("tcp", s.Addresses().Front, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if (err == nil) != good {
			t.Errorf("server name %q: err = %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	old := &tls.Config{ServerName: "localhost", InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if _, err := tls.Dial("tcp", s.Addresses().Front, old); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// direct is a client of the front's socket itself, whatever the URL says.
func direct(t *testing.T, address string, ca *CA) *http.Client {
	t.Helper()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestUnknownHostIsMisdirected(t *testing.T) {
	s, ca := start(t, nil)
	for _, address := range []string{s.Addresses().Front, s.Addresses().Emulator} {
		status, body := get(t, direct(t, address, ca), `https://example.com/`)
		var answer struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 421 || answer.Error.Code != "MisdirectedRequest" {
			t.Errorf("%d %q, err %v", status, body, err)
		}
	}
}

func TestEmulatorServesLoopbackNamesOnly(t *testing.T) {
	s, ca := start(t, nil)
	_, port, _ := net.SplitHostPort(s.Addresses().Emulator)
	c := direct(t, s.Addresses().Emulator, ca)
	for _, host := range []string{"localhost:" + port, "127.0.0.1:" + port} {
		if status, body := get(t, c, "https://"+host+"/dbs"); status != 200 || !strings.HasPrefix(body, "emulator") {
			t.Errorf("%s: %d %q", host, status, body)
		}
	}
	if status, _ := get(t, c, "https://acc.documents.azure.com/"); status != 421 {
		t.Errorf("an account's host: %d, want 421", status)
	}
	if status, body := get(t, tunnelled(t, s, ca, "localhost:"+port), "https://localhost:"+port+"/"); status != 200 || !strings.HasPrefix(body, "emulator") {
		t.Errorf("through the proxy: %d %q", status, body)
	}
}

// tunnelled is a client that asks the proxy for one target. Go's own transport never uses a proxy
// for localhost; Python and Node do.
func tunnelled(t *testing.T, s *Server, ca *CA, target string) *http.Client {
	t.Helper()
	tr := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			conn, err := net.Dial("tcp", s.Addresses().Proxy)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
			head := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
			if _, err := io.ReadFull(conn, head); err != nil || !bytes.Contains(head, []byte(" 200 ")) {
				return nil, fmt.Errorf("%q: %w", head, err)
			}
			return conn, nil
		},
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool()},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestHome(t *testing.T) {
	var ready atomic.Bool
	s, ca := start(t, func(c *Config) {
		c.Ready = func(context.Context) error {
			if !ready.Load() {
				return errors.New("secret reason")
			}
			return nil
		}
		c.Metrics = echo("metrics")
	})
	home := "https://" + s.Addresses().Front
	c := direct(t, s.Addresses().Front, ca)
	if status, body := get(t, c, home+"/ready"); status != 503 || body != "not ready\n" {
		t.Errorf("/ready before: %d %q", status, body)
	}
	ready.Store(true)
	for path, want := range map[string]string{"/ready": "ready", "/healthz": "ok", "/metrics": "metrics", "/": "Latchkey"} {
		if status, body := get(t, c, home+path); status != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, _ := get(t, c, home+"/nothing"); status != 404 {
		t.Errorf("unknown path: %d", status)
	}
	if status, body := get(t, c, "https://kv1.vault.azure.net/metrics"); status != 200 || !strings.HasPrefix(body, "vault") {
		t.Errorf("a vault's /metrics is the vault's: %d %q", status, body)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	s, ca := start(t, nil)
	c := proxied(t, s, ca)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	for size, want := range map[int]int{32 << 10: 200, 96 << 10: 431} {
		r, _ := http.NewRequest("GET", "https://kv1.vault.azure.net/", nil)
		r.Header.Set("X-Filler", strings.Repeat("x", size))
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d bytes of header: %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	s, _ := start(t, func(c *Config) {
		c.Handlers[naming.Vault] = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	})
	c := &http.Client{Transport: s.Transport()}
	if status, body := get(t, c, "https://kv1.vault.azure.net/"); status != 500 || strings.Contains(body, "boom") {
		t.Errorf("%d %q", status, body)
	}
}

func TestObserverSeesTheStatus(t *testing.T) {
	type seen struct {
		service naming.Service
		status  int
	}
	got := make(chan seen, 1)
	s, _ := start(t, func(c *Config) {
		c.Handlers[naming.Graph] = http.NotFoundHandler()
		c.Observe = func(service naming.Service, status int, _ time.Duration) { got <- seen{service, status} }
	})
	get(t, &http.Client{Transport: s.Transport()}, "https://graph.microsoft.com/")
	if g := <-got; g != (seen{naming.Graph, 404}) {
		t.Errorf("observed %+v", g)
	}
}

func TestStopLetsRequestsFinish(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, _ := start(t, func(c *Config) {
		c.Handlers[naming.Vault] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			fmt.Fprint(w, "done")
		})
	})
	answer := make(chan string, 1)
	go func() {
		resp, err := (&http.Client{Transport: s.Transport()}).Get("https://kv1.vault.azure.net/")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	for { // until the listener is gone
		conn, err := net.Dial("tcp", s.Addresses().Front)
		if err != nil {
			break
		}
		conn.Close()
	}
	close(leave)
	if got := <-answer; got != "done" {
		t.Errorf("answer %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestStopCutsWhenItsContextEnds(t *testing.T) {
	entered := make(chan struct{})
	s, _ := start(t, func(c *Config) {
		c.Handlers[naming.Vault] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		})
	})
	go func() {
		if resp, err := (&http.Client{Transport: s.Transport()}).Get("https://kv1.vault.azure.net/"); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v, want context.Canceled", err)
	}
}

func TestStartRefusesAddresses(t *testing.T) {
	s, ca := start(t, nil)
	if _, err := Start(Config{Listen: s.Addresses().Front, CA: ca}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("taken address: %v", err)
	}
	if _, err := Start(Config{Listen: "127.0.0.1:0", ProxyListen: "0.0.0.0:0", CA: ca}); err == nil {
		t.Error("a proxy for other machines was opened without being asked for")
	}
	if _, err := Start(Config{Listen: "127.0.0.1:0", EmulatorListen: "0.0.0.0:0", CA: ca}); err == nil {
		t.Error("an emulator for other machines was opened")
	}
	open, err := Start(Config{Listen: "0.0.0.0:0", ProxyListen: "0.0.0.0:0", AllowRemoteProxy: true, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Stop(context.Background())
	if a := open.Addresses(); !strings.HasPrefix(a.Front, "127.0.0.1:") || !strings.HasPrefix(a.Proxy, "127.0.0.1:") || a.Emulator != "" {
		t.Errorf("addresses %+v", a)
	}
}

// TestForeignClients runs the TLS stacks of Python and Node against the front, by way of the proxy
// and with the root as their only or added trust.
func TestForeignClients(t *testing.T) {
	s, ca := start(t, nil)
	_, port, _ := net.SplitHostPort(s.Addresses().Front)
	root := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, root, ca.Certificate())
	clients := map[string]struct{ program, script string }{
		"python urllib":   {"python3", pythonURLLib},
		"python requests": {"python3", pythonRequests},
		"node":            {"node", nodeTunnel},
	}
	for name, c := range clients {
		t.Run(name, func(t *testing.T) {
			program, err := exec.LookPath(c.program)
			if err != nil {
				t.Skipf("%s is not installed", c.program)
			}
			args := []string{"-c", c.script}
			if c.program == "node" {
				args = []string{"-e", c.script, "--"}
			}
			for host, good := range map[string]bool{"kv1.vault.azure.net:443": true, "kv1.vault.localhost:" + port: true, "example.com:443": false} {
				cmd := exec.CommandContext(t.Context(), program, append(args, host)...)
				cmd.Env = append(os.Environ(), "HTTPS_PROXY=http://"+s.Addresses().Proxy, "https_proxy=http://"+s.Addresses().Proxy, "NO_PROXY=", "no_proxy=",
					"REQUESTS_CA_BUNDLE="+root, "SSL_CERT_FILE="+root, "NODE_EXTRA_CA_CERTS="+root)
				out, err := cmd.CombinedOutput()
				if bytes.Contains(out, []byte("No module named 'requests'")) {
					t.Skip("the Python module requests is not installed")
				}
				switch {
				case good && (err != nil || !bytes.Contains(out, []byte("vault kv1.vault."))):
					t.Errorf("%s: %v\n%s", host, err, out)
				case !good && (err == nil || !bytes.Contains(out, []byte("403 latchkey: example.com:443"))):
					t.Errorf("%s: not refused as it should be: %v\n%s", host, err, out)
				}
			}
		})
	}
}

const pythonURLLib = `import sys, urllib.request
print(urllib.request.urlopen("https://" + sys.argv[1] + "/").read().decode())`

const pythonRequests = `import sys, requests
r = requests.get("https://" + sys.argv[1] + "/")
r.raise_for_status()
print(r.text)`

const nodeTunnel = `
const http = require('http'), https = require('https'), tls = require('tls');
const target = process.argv[process.argv.length - 1], proxy = new URL(process.env.HTTPS_PROXY);
http.request({host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: target})
  .on('connect', (res, socket) => {
    if (res.statusCode !== 200) throw new Error(res.statusCode + ' ' + res.statusMessage);
    const [servername] = target.split(':');
    https.get({host: servername, path: '/', headers: {Host: target},
      createConnection: () => tls.connect({socket, servername})}, r => r.pipe(process.stdout));
  }).end();`

// TestGoVerifiesTheServedChain makes sure that the leaf which a handshake shows verifies as any
// client would do it, for the name and not only for the root.
func TestGoVerifiesTheServedChain(t *testing.T) {
	s, ca := start(t, nil)
	for _, name := range []string{"kv1.vault.azure.net", "kv1.vault.localhost", "localhost", "127.0.0.1"} {
		conn, err := tls.Dial("tcp", s.Addresses().Front, &tls.Config{ServerName: name, RootCAs: ca.Pool()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		if leaf.KeyUsage != x509.KeyUsageDigitalSignature || leaf.IsCA {
			t.Errorf("%s: the leaf can do more than prove a server", name)
		}
		conn.Close()
	}
}
