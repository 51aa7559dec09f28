// Package why answers why a principal may or may not do something, over all gates that the operation
// would meet. It decides nothing: every line of a report is a decision of the code that guards the
// operation itself (package access), with the command that would change it.
//
// # Two gates
//
// What is confused most: a right on a resource (role assignments at Resource Manager) is no right to use
// what is inside. Who may change a database account need not be allowed to use its key, and whoever owns
// a vault may not be able to read from it. A report therefore says which gate the action meets, and notes
// the grants that look as if they helped and do not.
//
// # The chain of a customer's key
//
//	account -> its identity in the directory -> the vault's firewall -> get, wrapKey, unwrapKey
//	        -> the key: deleted, enabled, nbf and exp, key_ops
//
// and beside it who may change the account's encryption, and who may change the vault.
package why

import (
	"context"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Directory knows the principals.
type Directory interface {
	// Who finds a principal by an id or a name; active is false when it is disabled.
	Who(name string) (c principal.Caller, active bool, err error)
	NameOf(objectID string) string
}

// Roles decides by role assignments.
type Roles interface {
	Decide(c principal.Caller, action, scope string, data bool) access.Decision
	// Narrowest names the role that has an action and the least besides.
	Narrowest(action string, data bool) string
	Holders(action, scope string) []access.Holder
}

// Vaults answers about rights in vaults.
type Vaults interface {
	Explain(ctx context.Context, c principal.Caller, t access.Target, rights ...string) ([]access.Answer, error)
}

// Explainer answers questions. All fields are required.
type Explainer struct {
	Directory Directory
	Roles     Roles
	Vaults    Vaults
}

// Report is an answer. Allowed is true when every gate that decides is in favour.
type Report struct {
	Allowed   bool            `json:"allowed"`
	Principal *Principal      `json:"principal,omitempty"`
	Action    string          `json:"action,omitempty"`
	Resource  string          `json:"resource,omitempty"`
	Account   *Encryption     `json:"account,omitempty"`
	Steps     []Step          `json:"steps"`
	Notes     []string        `json:"notes"`
	MayChange []access.Holder `json:"mayChangeEncryption,omitempty"`
	MayOpen   []access.Holder `json:"mayChangeVault,omitempty"`
}

// Principal is who is asked about.
type Principal struct {
	ObjectID string   `json:"objectId"`
	AppID    string   `json:"applicationId,omitempty"`
	Name     string   `json:"name"`
	Kind     string   `json:"type"`
	Groups   []string `json:"groups,omitempty"`
}

// Step is one question with the gates that it meets.
type Step struct {
	Title   string            `json:"step"`
	Allowed bool              `json:"allowed"`
	Gates   []access.Decision `json:"gates"`
}

// Encryption is how an account is encrypted.
type Encryption struct {
	Name       string `json:"name"`
	ResourceID string `json:"id"`
	KeyURI     string `json:"keyUri,omitempty"`
	Identity   string `json:"identity,omitempty"` // object id of the principal that goes to the vault
	State      string `json:"state"`
	Reason     string `json:"reason,omitempty"`
}
