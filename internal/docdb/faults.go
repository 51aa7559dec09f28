package docdb

import "github.com/latchkey-db/latchkey/internal/fault"

// Reasons that a face turns into sub-statuses of the protocol.
const (
	reasonNotFound          = "NotFound"
	reasonOwnerNotFound     = "OwnerResourceNotFound"   // 404/1003: the container or database is missing
	reasonSessionAhead      = "ReadSessionNotAvailable" // 404/1002: the session token is ahead of the data
	reasonKeyMismatch       = "PartitionKeyMismatch"    // 400/1001
	reasonContainerMismatch = "CollectionRidMismatch"   // 400/1024: the name leads to another container than the caller means
	reasonRangeGone         = "PartitionKeyRangeGone"   // 410/1002
	reasonRoleByName        = "5302"                    // 403: data roles do not allow it, for names and for resource ids
	reasonRoleByRID         = "5303"
	reasonMalformedToken    = "5001"                 // 401
	reasonCondition         = "PatchConditionNotMet" // 412/1110
)

// Texts of the service; clients match on them.
const (
	textNotFound     = "Entity with the specified id does not exist in the system. More info: https://aka.ms/cosmosdb-tsg-not-found"
	textConflict     = "Entity with the specified id already exists in the system."
	textUnique       = "Unique index constraint violation."
	textPrecondition = "One of the specified pre-condition is not met. Learn more: https://aka.ms/CosmosDB/sql/errors/precondition-failed"
	textNoID         = "The input content is invalid because the required properties - 'id; ' - are missing"
	textTooLarge     = "Request size is too large"
)

func notFound() error      { return fault.New(fault.NotFound, reasonNotFound, textNotFound) }
func ownerNotFound() error { return fault.New(fault.NotFound, reasonOwnerNotFound, textNotFound) }
func conflict() error      { return fault.New(fault.Conflict, "Conflict", textConflict) }
func precondition() error {
	return fault.New(fault.Precondition, "PreconditionFailed", textPrecondition)
}
func badRequest(format string, args ...any) error {
	return fault.New(fault.Invalid, "BadRequest", format, args...)
}
