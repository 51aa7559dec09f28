// Package principal says who is asking.
//
// A [Caller] is made at the edge of the system, by the code that proved the identity (a verified
// token, a master-key signature), and passed down to every domain method, whose first line decides
// about it. Nothing in here grants anything.
package principal

import "slices"

// Kind is the sort of directory object that a principal is.
type Kind string

// The kinds of principal, in the words of role assignments.
const (
	User             Kind = "User"
	Group            Kind = "Group"
	ServicePrincipal Kind = "ServicePrincipal"
)

// Door says through which door, and so by which proof, a caller came in. One identity can have
// different rights behind different doors.
type Door string

// The doors.
const (
	// Management is Resource Manager: an Entra token for its audience; RBAC decides.
	Management Door = "management"
	// VaultData is a vault's data plane: an Entra token for the vault; the vault's policy decides.
	VaultData Door = "vault"
	// AccountToken is an account's data plane with an Entra token; the account's own data roles decide.
	AccountToken Door = "account-token"
	// AccountKey is an account's data plane signed with a read-write master key.
	AccountKey Door = "account-key"
	// AccountReadOnlyKey is an account's data plane signed with a read-only master key.
	AccountReadOnlyKey Door = "account-readonly-key"
	// AccountResourceToken is an account's data plane with a resource token, which opens what its Grant says.
	AccountResourceToken Door = "account-resource-token"
	// Directory is Microsoft Graph.
	Directory Door = "directory"
	// Platform is the server itself (background work, first start). Never made from a request.
	Platform Door = "platform"
)

// Caller is an identity that has been proven, for the length of one request.
type Caller struct {
	Door     Door
	Kind     Kind
	TenantID string
	ObjectID string   // empty for key doors
	AppID    string   // empty for users that came without an application
	Name     string   // user principal name or display name; for messages only
	Groups   []string // object ids of the groups that the principal is in
	Account  string   // account doors: the id of the account that the proof is good for
	Address  string   // remote IP address without port; "" for Platform
	Request  string   // correlation id of the request
	Client   string   // what the client says it is; for records only
	URI      string   // what was asked for, of the query only the api-version; for records only
	Grant    *Grant   // of a resource token: what it opens; nil behind all other doors
}

// Grant is what a resource token opens: a place in the account that its caller names. It was looked up
// when the token was proven, and is good for one request.
type Grant struct {
	Permission   string // resource id of the permission
	Container    string // resource id
	Kind         string // docs, sprocs, triggers, udfs; "" for all that is in the container
	Child        string // id of the item or resource id of the script; "" for all
	PartitionKey string // JSON array of the logical partition, or of a prefix; "" for all
	Write        bool   // the mode is All, not Read
}

// IDs returns the object ids under which a grant to the caller may stand: its own and its groups'.
func (c Caller) IDs() []string {
	if c.ObjectID == "" {
		return nil
	}
	return append([]string{c.ObjectID}, c.Groups...)
}

// Is reports whether a grant to objectID covers the caller.
func (c Caller) Is(objectID string) bool {
	return objectID != "" && (c.ObjectID == objectID || slices.Contains(c.Groups, objectID))
}

// Label is a short name of the caller for audit records and messages: never a secret.
func (c Caller) Label() string {
	switch {
	case c.Door == Platform:
		return "platform"
	case c.Door == AccountKey || c.Door == AccountReadOnlyKey:
		return string(c.Door)
	case c.Grant != nil:
		return string(c.Door) + "/" + c.Grant.Permission
	case c.Name != "" && c.Kind == User:
		return c.Name
	default:
		return c.AppID
	}
}

// Server is the caller that stands for the server itself. why becomes part of the audit record.
func Server(why string) Caller { return Caller{Door: Platform, Name: why} }
