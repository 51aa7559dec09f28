package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/rootkey"
	"github.com/latchkey-db/latchkey/internal/sealfs"
)

// Verification is what was found of the platform's own files.
type Verification struct {
	ControlFiles int      `json:"controlFiles"`
	ControlBytes int64    `json:"controlBytes"`
	AuditEntries uint64   `json:"auditEntries"`
	AuditHash    string   `json:"auditHash"` // of the last entry
	Problems     []string `json:"problems"`
}

func (v *Verification) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// known are the names that belong in a data directory. The command line adds the last two.
var known = []string{lockFile, rootkey.KeyName, rootkey.RingName, adminFile, caFile, controlDir, auditDir, accountsDir, "run.json", "azure"}

// Verify authenticates every block of the control store and the audit log's chain, and reports what
// does not belong in the data directory. It needs the root key, and no server; one may be running.
func Verify(cfg config.Config) (*Verification, error) {
	v := &Verification{Problems: []string{}}
	ring, err := openKeys(cfg)
	if err != nil {
		return nil, err
	}
	defer ring.Wipe()
	dir := cfg.DataDir
	control, err := sealed(ring, rootkey.Control)
	if err != nil {
		return nil, err
	}
	if err := v.names(dir); err != nil {
		return nil, err
	}
	if err := v.control(control, filepath.Join(dir, controlDir)); err != nil {
		return nil, err
	}
	summary, err := readAudit(dir, ring, func(audit.Entry) error { v.AuditEntries++; return nil })
	if err != nil {
		v.problem("audit log: %v", err)
	}
	v.AuditHash = summary.LastHash
	return v, nil
}

func (v *Verification) names(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			v.problem("%s does not belong in the data directory", e.Name())
		}
	}
	accounts, err := os.ReadDir(filepath.Join(dir, accountsDir))
	if err != nil {
		return err
	}
	for _, e := range accounts {
		if _, err := os.Stat(filepath.Join(dir, accountsDir, e.Name(), "keyring")); err != nil {
			v.problem("%s/%s is no account: it has no keyring", accountsDir, e.Name())
		}
	}
	return nil
}

// A running server writes new tables: one that is not complete is looked at again.
const (
	looks     = 25
	lookPause = 200 * time.Millisecond
)

func (v *Verification) control(control *sealfs.FS, dir string) error {
	names, err := control.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		report, err := verifyPatiently(control, filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			v.problem("%s/%s: %v", controlDir, name, err)
		}
		v.ControlFiles, v.ControlBytes = v.ControlFiles+1, v.ControlBytes+report.Size
	}
	return nil
}

func verifyPatiently(control *sealfs.FS, name string) (r sealfs.Report, err error) {
	for range looks {
		if r, err = control.Verify(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
		time.Sleep(lookPause)
	}
	return r, err
}
