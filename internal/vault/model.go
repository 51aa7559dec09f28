package vault

import (
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Vault is a key vault as it is stored. Values are immutable: slices and maps are replaced, never edited.
type Vault struct {
	ResourceID    string // canonical
	Subscription  string
	Group         string
	Name          string
	Location      string // lower case, no blanks
	Tags          map[string]string
	TenantID      string
	SKU           string // standard or premium
	Policies      []AccessPolicy
	Deployment    bool  // enabledForDeployment
	DiskEncrypt   *bool // enabledForDiskEncryption; nil was never set
	Template      *bool // enabledForTemplateDeployment; nil was never set
	RetentionDays int
	PurgeProtect  bool
	RBAC          bool          // role assignments decide, not the access policies
	Network       *NetworkRules // nil was never set: everything may come in
	PublicAccess  string        // Enabled or Disabled
	Created       Stamp
	Modified      Stamp
	Deletion      *Deletion // nil while the vault lives
}

// ID is the vault's resource id, parsed.
func (v Vault) ID() uri.ResourceID {
	return uri.ResourceID{Subscription: v.Subscription, ResourceGroup: v.Group, Provider: Namespace}.Child("vaults", v.Name)
}

// objectScope is the scope at which an object's data actions are granted.
func (v Vault) objectScope(k kind, name string) string {
	if name == "" {
		return v.ResourceID
	}
	return v.ResourceID + "/" + k.plural + "/" + name
}

// describe is how messages of the data plane name a vault.
func (v Vault) describe() string { return v.Name + ";location=" + v.Location }

// Namespace is the resource provider of vaults.
const Namespace = "Microsoft.KeyVault"

// AccessPolicy gives permissions to a principal or a group.
type AccessPolicy struct {
	TenantID      string
	ObjectID      string
	ApplicationID string // not empty: the grant is for a user who comes through this application
	Permissions   Permissions
}

// grantee tells policies apart: one entry per principal and application.
func (p AccessPolicy) grantee() string {
	return strings.ToLower(p.TenantID + "/" + p.ObjectID + "/" + p.ApplicationID)
}

// Permissions are lists of names as they were written; nil lists were not given.
type Permissions struct {
	Keys, Secrets, Certificates, Storage []string
}

// NetworkRules are the firewall of a vault.
type NetworkRules struct {
	Bypass          string   // AzureServices or None
	DefaultAction   string   // Allow or Deny
	IPRules         []string // addresses or prefixes
	VirtualNetworks []string // resource ids; kept and shown, they admit nobody here
}

// Stamp is who did something, and when.
type Stamp struct {
	At     time.Time
	By     string // name or application id
	ByType string // User or Application
}

func stampOf(c principal.Caller, now time.Time) Stamp {
	kind := "Application"
	if c.Kind == principal.User {
		kind = "User"
	}
	return Stamp{At: now.UTC(), By: c.Label(), ByType: kind}
}

// Deletion is the state of something that was deleted and can be recovered until PurgeAt.
type Deletion struct {
	At      time.Time
	PurgeAt time.Time
}

// over reports whether the retention has passed.
func (d *Deletion) over(now time.Time) bool { return d != nil && !now.Before(d.PurgeAt) }

func (v Vault) deletion(now time.Time) *Deletion {
	now = now.UTC().Truncate(time.Second)
	return &Deletion{At: now, PurgeAt: now.AddDate(0, 0, v.RetentionDays)}
}

// maxRetention and minRetention bound the days that something deleted can be recovered.
const (
	minRetention = 7
	maxRetention = 90
)

// RecoveryLevel is the word by which clients learn what deletion means in this vault.
func (v Vault) RecoveryLevel() string {
	level := "Recoverable"
	if v.RetentionDays < maxRetention {
		level = "CustomizedRecoverable"
	}
	if !v.PurgeProtect {
		level += "+Purgeable"
	}
	return level
}
