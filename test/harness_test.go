// Package test plays the real clients against the real binary: az, the Azure SDKs, a killed
// process, a flipped bit. Each test starts its own server on free ports in a temporary directory.
// What needs a client that this machine cannot have is skipped with the reason.
package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// binary builds the command once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-test-bin")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "latchkey")
	cmd := exec.Command("go", "build", "-o", path, "github.com/latchkey-db/latchkey/cmd/latchkey")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// binaryDir is where the binary was built; "" when no test needed it.
var binaryDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	os.Exit(code)
}

// server is a running latchkey process.
type server struct {
	t     *testing.T
	bin   string
	dir   string
	args  []string
	cmd   *exec.Cmd
	ended chan error // gets the process's end
	log   *lockedBuffer
	run   runFile
}

type runFile struct {
	PID       int  `json:"pid"`
	Ready     bool `json:"ready"`
	Addresses struct {
		Front    string `json:"front"`
		Proxy    string `json:"proxy"`
		Emulator string `json:"emulator"`
	} `json:"addresses"`
}

type adminFile struct {
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	ClientID       string `json:"clientId"`
	ObjectID       string `json:"objectId"`
	ClientSecret   string `json:"clientSecret"`
}

// lockedBuffer collects a process's output.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServer starts a server in a fresh directory and stops it with the test.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, bin: bin, dir: filepath.Join(t.TempDir(), "data"), args: args, log: &lockedBuffer{}}
	s.start()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("server log:\n%s", s.log.String())
		}
	})
	return s
}

// start starts the process and waits until run.json says that it is ready.
func (s *server) start() {
	s.t.Helper()
	if err := s.tryStart(); err != nil {
		s.t.Fatalf("%v\nserver log:\n%s", err, s.log.String())
	}
}

// tryStart is start for a server that may refuse.
func (s *server) tryStart() error {
	args := append([]string{"serve", "--data", s.dir, "--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0",
		"--emulator-listen", "127.0.0.1:0", "--log-level", "debug"}, s.args...)
	s.cmd = exec.Command(s.bin, args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	cmd := s.cmd
	go func() { ended <- cmd.Wait() }()
	s.ended = ended
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		select {
		case err := <-ended:
			s.cmd = nil
			return fmt.Errorf("the server ended before it was ready: %w", err)
		default:
		}
		if s.isReady() {
			return nil
		}
	}
	s.kill()
	return errors.New("the server did not become ready")
}

func (s *server) isReady() bool {
	raw, err := os.ReadFile(filepath.Join(s.dir, "run.json"))
	return err == nil && json.Unmarshal(raw, &s.run) == nil && s.run.PID == s.cmd.Process.Pid && s.run.Ready
}

// stop ends the process gracefully.
func (s *server) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
	s.cmd = nil
}

// kill ends the process as a power cut of the process would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// waitFor polls until f returns nil, and fails the test with f's last error after limit.
func (s *server) waitFor(what string, limit time.Duration, f func() error) time.Duration {
	s.t.Helper()
	start := time.Now()
	for {
		err := f()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			s.t.Fatalf("waiting for %s: %v\nserver log:\n%s", what, err, s.log.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *server) admin() adminFile {
	s.t.Helper()
	var a adminFile
	raw, err := os.ReadFile(filepath.Join(s.dir, "admin.json"))
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// client reaches the server under Azure's own names, through its proxy.
func (s *server) client() *http.Client {
	s.t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.dir, "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	proxy := &url.URL{Scheme: "http", Host: s.run.Addresses.Proxy}
	tr := &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64,
		ForceAttemptHTTP2: true, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// credential is the administrator's, with the defaults of the public cloud.
func (s *server) credential(c *http.Client) azcore.TokenCredential {
	s.t.Helper()
	a := s.admin()
	return credentialOf(s.t, c, a.TenantID, a.ClientID, a.ClientSecret)
}

func credentialOf(t *testing.T, c *http.Client, tenant, id, secret string) azcore.TokenCredential {
	t.Helper()
	o := &azidentity.ClientSecretCredentialOptions{DisableInstanceDiscovery: true}
	o.Transport = c
	cred, err := azidentity.NewClientSecretCredential(tenant, id, secret, o)
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

// exec runs a command with the environment that `latchkey exec` gives, az on its PATH, and returns
// its standard output.
func (s *server) exec(args ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, append([]string{"exec", "--data", s.dir, "--"}, args...)...)
	cmd.Env = os.Environ()
	if az := findAZ(); az != "" {
		cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(az)+":"+os.Getenv("PATH"))
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

func (s *server) mustExec(args ...string) string {
	s.t.Helper()
	out, err := s.exec(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// azPath is the real az; without one the test is skipped.
func azPath(t *testing.T) string {
	t.Helper()
	az := findAZ()
	if az == "" {
		t.Skip("azure-cli is not installed: `make venv` installs it from PyPI")
	}
	return az
}

// findAZ looks for az: LATCHKEY_TEST_AZ, the project's own virtual environment, or PATH.
func findAZ() string {
	for _, c := range []string{os.Getenv("LATCHKEY_TEST_AZ"), "../.venv/bin/az"} {
		if abs, err := filepath.Abs(c); c != "" && err == nil {
			if _, err := os.Stat(abs); err == nil {
				return abs
			}
		}
	}
	path, err := exec.LookPath("az")
	if err != nil {
		return ""
	}
	return path
}

func contains(err error, parts ...string) error {
	if err == nil {
		return errors.New("no error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			return fmt.Errorf("%q is not in: %w", p, err)
		}
	}
	return nil
}
