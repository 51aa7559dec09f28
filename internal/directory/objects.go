package directory

import (
	"encoding/json"
	"time"
)

// Tenant is what callers may know about the tenant.
type Tenant struct {
	ID            string
	DisplayName   string
	DefaultDomain string
	Created       time.Time
}

// Properties are members of an object that the directory keeps for its clients and does not
// interpret, as JSON by member name. Faces decide which names are kept.
type Properties map[string]json.RawMessage

// Application is the definition of a client. Records are immutable once published.
type Application struct {
	ID             string               `json:"id"`
	AppID          string               `json:"appId"` // the client id
	DisplayName    string               `json:"displayName"`
	IdentifierURIs []string             `json:"identifierUris,omitempty"`
	PublicClient   bool                 `json:"publicClient,omitempty"` // users may sign in with it without a secret
	Passwords      []PasswordCredential `json:"passwords,omitempty"`
	Keys           []KeyCredential      `json:"keys,omitempty"`
	Owners         []string             `json:"owners,omitempty"`
	Properties     Properties           `json:"properties,omitempty"`
	Created        time.Time            `json:"created"`
}

// The types of service principal.
const (
	TypeApplication     = "Application"
	TypeManagedIdentity = "ManagedIdentity"
)

// ServicePrincipal is an application's identity in the tenant, to which rights are given.
type ServicePrincipal struct {
	ID               string               `json:"id"`
	AppID            string               `json:"appId"`
	DisplayName      string               `json:"displayName"`
	Aliases          []string             `json:"aliases,omitempty"` // further names under which searches find it
	Type             string               `json:"type"`
	AlternativeNames []string             `json:"alternativeNames,omitempty"`
	Names            []string             `json:"names"`       // servicePrincipalNames: the client id and the identifier URIs
	OwnerTenant      string               `json:"ownerTenant"` // tenant that defines the application
	FirstParty       bool                 `json:"firstParty,omitempty"`
	Disabled         bool                 `json:"disabled,omitempty"`
	Passwords        []PasswordCredential `json:"passwords,omitempty"`
	Keys             []KeyCredential      `json:"keys,omitempty"`
	Owners           []string             `json:"owners,omitempty"`
	Properties       Properties           `json:"properties,omitempty"`
	Created          time.Time            `json:"created"`
}

// Platform reports whether the server itself owns the principal and signs in as it.
func (p *ServicePrincipal) Platform() bool { return p.FirstParty || p.Type == TypeManagedIdentity }

// User is a person who signs in with a password.
type User struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"` // user principal name
	DisplayName string       `json:"displayName"`
	Disabled    bool         `json:"disabled,omitempty"`
	Password    passwordHash `json:"password"`
	// SessionsFrom ends every refresh token that is older.
	SessionsFrom time.Time  `json:"sessionsFrom"`
	Properties   Properties `json:"properties,omitempty"`
	Created      time.Time  `json:"created"`
}

// Group is a set of principals. Groups may contain groups; membership is transitive.
type Group struct {
	ID          string     `json:"id"`
	DisplayName string     `json:"displayName"`
	Members     []string   `json:"members,omitempty"`
	Owners      []string   `json:"owners,omitempty"`
	Properties  Properties `json:"properties,omitempty"`
	Created     time.Time  `json:"created"`
}

// PasswordCredential is a client secret, of which only the salted hash is kept.
type PasswordCredential struct {
	KeyID       string     `json:"keyId"`
	DisplayName string     `json:"displayName,omitempty"`
	Hint        string     `json:"hint"` // the first three characters, as the service shows
	Start       time.Time  `json:"start"`
	End         time.Time  `json:"end"`
	Hash        secretHash `json:"hash"`
}

// KeyCredential is a registered certificate, with which a client signs its assertions.
type KeyCredential struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName,omitempty"`
	Type        string    `json:"type"`
	Usage       string    `json:"usage"`
	Thumbprint  string    `json:"thumbprint"` // SHA-1 of the certificate, upper-case hexadecimal
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Certificate []byte    `json:"certificate"` // DER
}
