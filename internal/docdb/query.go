package docdb

import (
	"github.com/latchkey-db/latchkey/internal/fault"
)

// patchCondition decides whether the condition of a patch holds for a document.
func (s *Service) patchCondition(condition string, doc []byte) error {
	if condition == "" {
		return nil
	}
	return fault.New(fault.NotImplemented, "NotImplemented", "Conditions of patches are not available.")
}
