// Package account owns the database accounts: their settings, their master keys, the identity that
// they use towards the customer's vault, and who may do what with them.
//
// It does not hold documents (package docdb) and no data keys (package envelope): an account's
// record stands in the control store, under the platform's root key, so that the account can be
// shown, repaired and deleted while its data is locked.
//
// # Two gates
//
// Changing an account needs a right on the account ([Authorizer], RBAC), whatever the vault's policy
// says. Using the customer's key needs a right in the vault, whatever RBAC says about the account.
// This package asks the first gate in the first line of every method; the second is asked by the
// vault itself when the envelope reaches for the key as the account's identity.
//
// # States
//
//	Creating  -> Succeeded     the envelope was made: keyring and store exist
//	Creating  -> (gone)        the envelope refused: nothing is left
//	Succeeded -> Updating      a change is being carried out
//	Updating  -> Succeeded     with the change, or exactly as before when it failed
//	any       -> Deleting -> (gone)
//
// While the customer's key is denied ("revoked") an account can still be read, listed, deleted, have
// its identities changed and its keys listed. Every other change is refused with the service's text.
//
// # Invariants
//
//   - Account names are unique in the server and compare without regard to case.
//   - A change of encryption is committed in the envelope first, in the record second. When the
//     second step is lost in a crash, the next start takes the envelope's word (see reconcile).
//   - An unrelated update never changes the default identity or the key.
package account

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/uri"
)

// FirstPartyIdentity and SystemAssignedIdentity are the two default identities that need no id.
const (
	FirstPartyIdentity     = "FirstPartyIdentity"
	SystemAssignedIdentity = "SystemAssignedIdentity"
)

// Type is the resource type of accounts.
const Type = "Microsoft.DocumentDB/databaseAccounts"

// State is where an account stands in its life, in the words of Resource Manager.
type State string

// The states.
const (
	Creating  State = "Creating"
	Updating  State = "Updating"
	Succeeded State = "Succeeded"
	Deleting  State = "Deleting"
)

// Account is a database account as its operators see it. Values are copies; changing one changes
// nothing.
type Account struct {
	ID            string // storage id: names files and keys, never shown to clients
	InstanceID    string
	Name          string
	Subscription  string
	ResourceGroup string
	Location      string // canonical, such as "eastus"
	Kind          string
	Tags          map[string]string
	Identity      Identity
	// DefaultIdentity says as whom the account goes to the vault.
	DefaultIdentity string
	// KeyURI is the customer's key as it was given; "" for an account under the platform's key.
	KeyURI    string
	Settings  Settings
	CreatedAt time.Time
	State     State
}

// Identity is the account's managed identity.
type Identity struct {
	Type        string // None or SystemAssigned
	TenantID    string
	PrincipalID string
	ClientID    string
}

// Settings are the properties that the account keeps and echoes. Members that have a meaning here
// are read through methods.
type Settings map[string]json.RawMessage

// ResourceID is the account's Resource Manager id.
func (a Account) ResourceID() uri.ResourceID {
	return uri.ResourceID{Subscription: a.Subscription, ResourceGroup: a.ResourceGroup, Provider: "Microsoft.DocumentDB"}.
		Child("databaseAccounts", a.Name)
}

// LocalAuthDisabled reports whether master keys are refused.
func (s Settings) LocalAuthDisabled() bool {
	var v bool
	_ = json.Unmarshal(s["disableLocalAuth"], &v)
	return v
}

// Consistency is the account's default consistency level.
func (s Settings) Consistency() string {
	var v struct {
		Level string `json:"defaultConsistencyLevel"`
	}
	_ = json.Unmarshal(s["consistencyPolicy"], &v)
	if v.Level == "" {
		return "Session"
	}
	return v.Level
}

// with returns a copy of s with the members of change replaced.
func (s Settings) with(change Settings) Settings {
	out := maps.Clone(s)
	if out == nil {
		out = Settings{}
	}
	maps.Copy(out, change)
	return out
}

// record is what the control store keeps of one account.
type record struct {
	Account
	Keys masterKeys
}

// nameKey is the form in which account names are compared.
func nameKey(name string) string { return strings.ToLower(name) }

func (r *record) clone() *record {
	c := *r
	c.Tags = maps.Clone(r.Tags)
	c.Settings = maps.Clone(r.Settings)
	c.Keys.Slots = slices.Clone(r.Keys.Slots)
	return &c
}
