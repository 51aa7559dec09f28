package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// guard is the first line of every method that callers reach. Reads are for every principal of the
// tenant and leave no record; changes are for administrators and owners of the object with the id
// resource, and without a record there is no change.
func (d *Directory) guard(ctx context.Context, c principal.Caller, operation, resource string) error {
	decision := d.decide(c, operation, resource)
	if decision == nil && strings.HasSuffix(operation, "/read") {
		return nil
	}
	e := audit.By(c, d.cfg.Now(), "Microsoft.Directory/"+operation, resource)
	if err := d.cfg.Audit.Record(ctx, e.Decided(decision)); err != nil {
		return err
	}
	return decision
}

func (d *Directory) decide(c principal.Caller, operation, resource string) error {
	if c.Door == principal.Platform {
		return nil
	}
	s := d.now()
	denied := fault.New(fault.Denied, "AuthorizationDenied", "Insufficient privileges to complete the operation.")
	if c.Door != principal.Directory || c.TenantID != s.tenant.ID {
		return denied
	}
	if strings.HasSuffix(operation, "/read") || slices.ContainsFunc(s.tenant.Administrators, c.Is) {
		return nil
	}
	if slices.ContainsFunc(s.owners(resource), c.Is) {
		return nil
	}
	return denied
}

// notFound is Graph's text for an object that is not there.
func notFound(id string) *fault.Error {
	return fault.New(fault.NotFound, "ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

func badRequest(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "BadRequest", format, args...)
}

func duplicate(property string) *fault.Error {
	return fault.New(fault.Conflict, "DuplicateKey", "Another object with the same value for property %s already exists.", property)
}

func platformObject(id string) *fault.Error {
	return fault.New(fault.Denied, "AuthorizationDenied", "The object '%s' belongs to the platform: it can be disabled, but not given credentials and not deleted.", id)
}
