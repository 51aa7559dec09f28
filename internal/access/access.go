// Package access has the answer that the gates of the server give: may this caller do that here, who
// says so, and why. A gate makes a [Decision]; the operation that it guards turns one that is against
// into its refusal; whoever asks why is shown the same value. So an explanation cannot differ from what
// is done.
//
// A Decision never holds a secret: its texts are shown to operators.
package access

// The gates.
const (
	Identity      = "identity"        // the directory: is there such a principal, and is it enabled
	Firewall      = "vault firewall"  // from where
	Form          = "request"         // the form of the request
	AccessPolicy  = "access policy"   // a vault's access policies
	DataRole      = "RBAC data"       // role assignments, data actions
	ControlRole   = "RBAC management" // role assignments, actions of Resource Manager
	Object        = "object"          // the state of the object itself
	PlatformsOwn  = "platform"        // the server itself is asking
	KeyProtection = "encryption"      // how an account is encrypted
)

// Decision is the answer of one gate to one question.
type Decision struct {
	Gate    string `json:"gate"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`         // a sentence for an operator
	Code    string `json:"code,omitempty"` // the refusal's word; "" when allowed
	// What granted by a role, when that decided in favour.
	Role       string `json:"role,omitempty"`
	Assignment string `json:"assignment,omitempty"`
	Scope      string `json:"scope,omitempty"`
	// Remedy is the command that would change the answer; "" when there is none, or none was asked for.
	Remedy string `json:"remedy,omitempty"`
	// Refusal is what the caller is told; nil when allowed.
	Refusal error `json:"-"`
}

// Yes is a decision in favour.
func Yes(gate, reason string) Decision { return Decision{Gate: gate, Allowed: true, Reason: reason} }

// No is a decision against, with what the caller is told.
func No(gate, reason string, refusal error) Decision {
	return Decision{Gate: gate, Reason: reason, Refusal: refusal}
}

// Question is what an operator asks.
type Question struct {
	Principal string `json:"principal"` // object id, application id, or name
	Action    string `json:"action"`    // a policy permission, a data action or an action of Resource Manager
	Resource  string `json:"resource"`  // address of a vault or of an object in it, or a resource id
	Address   string `json:"address"`   // from where the principal comes; "" means from where the question comes
}

// Answer is what a vault says about a right of a principal in it.
type Answer struct {
	Vault      string     // name
	VaultID    string     // resource id
	RBAC       bool       // role assignments decide, not access policies
	Right      string     // in the words of access policies, such as "keys wrapKey"
	DataAction string     // full name
	Scope      string     // resource id at which the data action is asked for
	Gates      []Decision // in the order in which they are asked; the first against decides
	// Other is how the permission model that is not in use would decide.
	Other Decision
}

// Holder is a principal that may do something by one of its role assignments.
type Holder struct {
	PrincipalID string `json:"principalId"`
	Kind        string `json:"principalType"`
	Name        string `json:"name,omitempty"`
	Role        string `json:"role"`
	Scope       string `json:"scope"`
}

// Target names what a right is asked for: an object of a vault or, with an empty name, the vault.
type Target struct {
	Vault      string
	Collection string // keys, secrets, certificates; "" when only the vault is named
	Name       string
	Version    string // "" is the current one
}
