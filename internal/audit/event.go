package audit

import "time"

// Outcome is how a recorded event ended.
type Outcome string

// The outcomes.
const (
	Allowed   Outcome = "allowed"   // a decision in favour; the operation follows
	Denied    Outcome = "denied"    // a decision against
	Succeeded Outcome = "succeeded" // an operation that was carried out
	Failed    Outcome = "failed"    // an operation that failed after it was allowed
)

// Event is what a domain package reports. Strings are bounded and cleaned by the log; none may hold
// a secret.
type Event struct {
	Time      time.Time `json:"time"`
	Operation string    `json:"operation"` // KeyUnwrap, Microsoft.DocumentDB/databaseAccounts/write, AccountRevoked …
	Resource  string    `json:"resource"`  // resource id or key id with version
	Outcome   Outcome   `json:"outcome"`
	Reason    string    `json:"reason,omitempty"`    // why denied or failed: the domain's word
	Principal string    `json:"principal,omitempty"` // object id
	AppID     string    `json:"appId,omitempty"`
	Caller    string    `json:"caller,omitempty"` // label of the caller
	Address   string    `json:"address,omitempty"`
	Request   string    `json:"request,omitempty"`        // correlation id
	Version   string    `json:"version,omitempty"`        // key version used
	Detail    string    `json:"detail,omitempty"`         // free text
	Micros    int64     `json:"durationMicros,omitempty"` // time taken by the operation
}
