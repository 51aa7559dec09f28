package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
	"github.com/latchkey-db/latchkey/internal/front"
)

// The names below the data directory that the verbs read. The server writes all of them but the
// Azure CLI's profile.
const (
	runFile   = "run.json"   // the running server, while it is ready
	caFile    = "ca.pem"     // the local root certificate
	adminFile = "admin.json" // the administrator's credentials
	azureDir  = "azure"      // profile of the Azure CLI
)

// instance is a running server's note of itself.
type instance struct {
	PID       int             `json:"pid"`
	Ready     bool            `json:"ready"`
	Version   string          `json:"version"`
	Addresses front.Addresses `json:"addresses"`

	dir string
}

// credentials are the administrator's, as the server writes them.
type credentials struct {
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	ClientID       string `json:"clientId"`
	ObjectID       string `json:"objectId"`
	ClientSecret   string `json:"clientSecret"`
}

// note is this process's note of itself.
func note(a front.Addresses) instance {
	return instance{PID: os.Getpid(), Ready: true, Version: version(), Addresses: a}
}

// announce writes the note of this process.
func announce(dir string, a front.Addresses) error {
	content, err := json.MarshalIndent(note(a), "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, runFile), append(content, '\n'), 0o600)
}

// withdraw removes the note.
func withdraw(dir string) error { return os.Remove(filepath.Join(dir, runFile)) }

// find returns the server that runs on the data directory, or a problem that says what is missing.
func (sh *shell) find() (*instance, error) {
	dir := sh.cfg.DataDir
	if _, err := os.Stat(dir); dir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, &problem{exitNoData, "NoDataDir", fmt.Sprintf("there is no data directory %q", dir), sh.serveHint()}
	}
	raw, err := os.ReadFile(filepath.Join(dir, runFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sh.notRunning()
	}
	if err != nil {
		return nil, fmt.Errorf("look for the server: %w", err)
	}
	i := &instance{dir: dir}
	if err := json.Unmarshal(raw, i); err != nil {
		return nil, fmt.Errorf("read %s: %w", runFile, err)
	}
	if !alive(i.PID) {
		return nil, sh.notRunning()
	}
	return i, nil
}

func (sh *shell) notRunning() *problem {
	return &problem{exitFailed, "NotRunning", fmt.Sprintf("no server is running on %s", sh.cfg.DataDir), sh.serveHint()}
}

// serveHint is the command that starts a server on the data directory.
func (sh *shell) serveHint() string { return "latchkey serve" + sh.dataFlag() }

// dataFlag repeats the data directory where a shown command needs it.
func (sh *shell) dataFlag() string {
	if sh.isDefaultData() {
		return ""
	}
	return " --data " + quotePOSIX(sh.cfg.DataDir)
}

// alive reports whether the process is there; one that is not ours to signal is.
func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// checkReady asks the server itself. The root certificate in the data directory proves that the
// answer is this server's, whatever process has its port by now.
func (i *instance) checkReady(ctx context.Context) error {
	roots, err := i.roots()
	if err != nil {
		return err
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, i.Addresses.Front)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	defer t.CloseIdleConnections()
	resp, err := (&http.Client{Transport: t, Timeout: 10 * time.Second}).Do(readyRequest(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("the server runs but is not ready")
	}
	return nil
}

// roots is the trust in the server's own authority, and in no other.
func (i *instance) roots() (*x509.CertPool, error) {
	root, err := os.ReadFile(filepath.Join(i.dir, caFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return pool, nil
}

func readyRequest(ctx context.Context) *http.Request {
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://localhost/ready", nil) // constants always parse
	return r
}

// admin reads the administrator's credentials.
func (i *instance) admin() (c credentials, err error) {
	raw, err := os.ReadFile(filepath.Join(i.dir, adminFile))
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read the administrator's credentials: %w", err)
	}
	return c, nil
}
