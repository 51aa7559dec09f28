package app

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// The names below the data directory. docs/FORMAT.md describes each.
const (
	lockFile    = "lock"
	adminFile   = "admin.json"
	caFile      = "ca.pem"
	controlDir  = "control"
	auditDir    = "audit"
	accountsDir = "accounts"
)

// dataDir is a data directory that this process holds the lock of.
type dataDir struct {
	path string
	lock *os.File
}

// ReasonLocked is the fault reason when another process has the data directory open.
const ReasonLocked = "DataDirLocked"

// openDataDir makes the directory when needed and locks it.
func openDataDir(path string) (*dataDir, error) {
	for _, dir := range []string{path, filepath.Join(path, controlDir), filepath.Join(path, auditDir), filepath.Join(path, accountsDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.New(fault.Conflict, ReasonLocked, "Another process has the data directory open.").Because(err)
	}
	if err := atomicfile.RemoveLeftovers(path); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("tidy data directory: %w", err)
	}
	return &dataDir{path: path, lock: f}, nil
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// close gives the lock up.
func (d *dataDir) close() error { return d.lock.Close() }

func notEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	return len(entries) > 0, err
}

// Credentials are the administrator's, as they stand in the data directory (mode 0600) for the
// command line's own use.
type Credentials struct {
	TenantID       string `json:"tenantId"`
	SubscriptionID string `json:"subscriptionId"`
	ClientID       string `json:"clientId"`
	ObjectID       string `json:"objectId"`
	ClientSecret   string `json:"clientSecret"`
}

func (d *dataDir) saveAdmin(c Credentials) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(d.file(adminFile), append(raw, '\n'), 0o600)
}

func (d *dataDir) loadAdmin() (c Credentials, err error) {
	raw, err := os.ReadFile(d.file(adminFile))
	if err != nil {
		return c, fmt.Errorf("read the administrator's credentials: %w", err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("read the administrator's credentials: %w", err)
	}
	return c, nil
}
