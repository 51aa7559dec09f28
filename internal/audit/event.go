package audit

import (
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

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

	// What entries of the first servers do not have.
	Kind   fault.Kind `json:"kind,omitempty"`   // of a refusal or failure that was expected
	Client string     `json:"client,omitempty"` // user agent
	URI    string     `json:"uri,omitempty"`    // of the request, of its query only the api-version
	Gate   string     `json:"gate,omitempty"`   // which gate decided; see package access
	Scope  string     `json:"scope,omitempty"`  // resource id of the vault or account that the resource is in
	Key    *Key       `json:"key,omitempty"`    // the key that was used or changed
}

// Key is the kind of a key.
type Key struct {
	Type  string `json:"type"`
	Size  int    `json:"size,omitempty"`
	Curve string `json:"curve,omitempty"`
}

// By returns the event of an operation that a caller asked for, without an outcome yet.
func By(c principal.Caller, now time.Time, operation, resource string) Event {
	return Event{
		Time: now, Operation: operation, Resource: resource, Principal: c.ObjectID, AppID: c.AppID,
		Caller: c.Label(), Address: c.Address, Request: c.Request, Client: c.Client, URI: c.URI,
	}
}

// Decided returns e with the outcome of a decision: denied with the fault's reason, or allowed when
// decision is nil.
func (e Event) Decided(decision error) Event {
	if decision == nil {
		e.Outcome = Allowed
		return e
	}
	e.Outcome, e.Reason, e.Kind = Denied, reasonOf(decision), fault.KindOf(decision)
	return e
}

// reasonOf is the domain's word for an error; errors that are no faults have a constant one.
func reasonOf(err error) string {
	if f := fault.As(err); f != nil {
		return f.Reason
	}
	return "InternalServerError"
}

// Done returns e with the outcome of an operation that was allowed.
func (e Event) Done(err error) Event {
	if err == nil {
		e.Outcome = Succeeded
		return e
	}
	e.Outcome, e.Reason, e.Kind = Failed, reasonOf(err), fault.KindOf(err)
	return e
}
