package app

import (
	"path/filepath"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/rootkey"
)

// ReadAudit calls f with every entry of a data directory's audit log, oldest first, and then
// verifies the chain. It needs the directory's root key and no server; it may run beside one.
func ReadAudit(cfg config.Config, f func(audit.Entry) error) (audit.Summary, error) {
	ring, err := openKeys(cfg)
	if err != nil {
		return audit.Summary{}, err
	}
	defer ring.Wipe()
	return readAudit(cfg.DataDir, ring, f)
}

func readAudit(dir string, ring *rootkey.Ring, f func(audit.Entry) error) (audit.Summary, error) {
	fs, err := sealed(ring, rootkey.Audit)
	if err != nil {
		return audit.Summary{}, err
	}
	path, err := filepath.Abs(filepath.Join(dir, auditDir))
	if err != nil {
		return audit.Summary{}, err
	}
	if err := audit.Read(fs, path, f); err != nil {
		return audit.Summary{}, err
	}
	return audit.Verify(fs, path)
}
