package app

import (
	"path/filepath"

	"github.com/latchkey-db/latchkey/internal/audit"
)

// ReadAudit calls f with every entry of a data directory's audit log, oldest first, and then
// verifies the chain. It needs the directory's root key and no server; it may run beside one.
func ReadAudit(dir string, f func(audit.Entry) error) (audit.Summary, error) {
	root, err := readRootKey(dir)
	if err != nil {
		return audit.Summary{}, err
	}
	defer root.Wipe()
	fs, err := sealed(root, auditDir)
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
