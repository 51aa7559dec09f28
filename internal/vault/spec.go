package vault

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// Spec is what a caller asks a vault to be. Members that are nil stay as they are, or take their
// defaults in a new vault.
type Spec struct {
	Location      string
	Tags          map[string]string
	TenantID      string
	SKU           string
	Policies      []AccessPolicy // nil: not given
	Deployment    *bool
	DiskEncrypt   *bool
	Template      *bool
	SoftDelete    *bool
	RetentionDays *int
	PurgeProtect  *bool
	RBAC          *bool
	RBACDefault   bool // of a new vault when RBAC is nil
	Network       *NetworkRules
	PublicAccess  string
	Recover       bool
}

var (
	vaultName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]$`)
	guid      = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

func checkVaultName(name string) error {
	if vaultName.MatchString(name) && !strings.Contains(name, "--") {
		return nil
	}
	return fault.New(fault.Invalid, "VaultNameNotValid",
		"The vault name '%s' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens. Follow this link for more information: https://go.microsoft.com/fwlink/?linkid=2147742", name)
}

// complete refuses a PUT without the members that it must have.
func (s Spec) complete(exists bool) error {
	switch {
	case s.Location == "":
		return fault.New(fault.Invalid, "LocationRequired", "The location property is required for this definition.")
	case s.TenantID == "":
		return badRequest("An invalid value was provided for 'tenantId'.")
	case s.SKU == "":
		return badRequest("The property \"sku\" is required.")
	case s.Policies == nil && !exists && !s.rbac():
		return badRequest("The parameter accessPolicies is not specified.")
	}
	return nil
}

func (s Spec) rbac() bool { return s.RBAC == nil && s.RBACDefault || s.RBAC != nil && *s.RBAC }

// check refuses values that no vault can have.
func (s Spec) check() error {
	switch {
	case s.SKU != "" && !strings.EqualFold(s.SKU, "standard") && !strings.EqualFold(s.SKU, "premium"):
		return badRequest("The sku name '%s' is not valid; use standard or premium.", s.SKU)
	case s.TenantID != "" && !guid.MatchString(s.TenantID):
		return badRequest("An invalid value was provided for 'tenantId'.")
	case s.SoftDelete != nil && !*s.SoftDelete:
		return badRequest("The property \"enableSoftDelete\" cannot be set to false. Soft delete is enabled for every vault, and that is an irreversible action.")
	case s.PurgeProtect != nil && !*s.PurgeProtect:
		return badRequest("The property \"enablePurgeProtection\" cannot be set to false. Enabling the purge protection for a vault is an irreversible action.")
	case s.RetentionDays != nil && (*s.RetentionDays < minRetention || *s.RetentionDays > maxRetention):
		return badRequest("The property \"softDeleteRetentionInDays\" must be between %d and %d.", minRetention, maxRetention)
	case s.PublicAccess != "" && !strings.EqualFold(s.PublicAccess, "Enabled") && !strings.EqualFold(s.PublicAccess, "Disabled"):
		return badRequest("The property \"publicNetworkAccess\" must be Enabled or Disabled.")
	}
	if err := checkPolicies(s.Policies); err != nil {
		return err
	}
	return s.Network.check()
}

// maxPolicies is the service's limit for one vault.
const maxPolicies = 1024

func checkPolicies(list []AccessPolicy) error {
	if len(list) > maxPolicies {
		return badRequest("A vault can have up to %d access policies.", maxPolicies)
	}
	for _, p := range list {
		if !guid.MatchString(p.ObjectID) || !guid.MatchString(p.TenantID) {
			return badRequest("An invalid value was provided for 'accessPolicies'.")
		}
		if p.ApplicationID != "" && !guid.MatchString(p.ApplicationID) {
			return badRequest("An invalid value was provided for 'accessPolicies'.")
		}
		if name, ok := p.Permissions.unknown(); ok {
			return badRequest("The permission '%s' in 'accessPolicies' is not known.", name)
		}
	}
	return nil
}

func (n *NetworkRules) check() error {
	if n == nil {
		return nil
	}
	if !slices.Contains([]string{"", "AzureServices", "None"}, n.Bypass) || !slices.Contains([]string{"", "Allow", "Deny"}, n.DefaultAction) {
		return badRequest("The property \"networkAcls\" is not valid: bypass is AzureServices or None, defaultAction is Allow or Deny.")
	}
	for _, rule := range n.IPRules {
		if p, err := parsePrefix(rule); err != nil || p.Addr().Zone() != "" {
			return badRequest("The IP rule '%s' is not an address or a range in CIDR notation.", rule)
		}
	}
	return nil
}

// normal fills what was left open and shows single addresses as ranges, as the service does.
func (n NetworkRules) normal() *NetworkRules {
	if n.Bypass == "" {
		n.Bypass = "AzureServices"
	}
	if n.DefaultAction == "" {
		n.DefaultAction = "Allow"
	}
	var rules []string
	for _, rule := range n.IPRules {
		if a, err := netip.ParseAddr(rule); err == nil {
			rule = netip.PrefixFrom(a, a.BitLen()).String()
		}
		rules = append(rules, rule)
	}
	n.IPRules = rules
	return &n
}

// apply returns v with what s names changed.
func (s Spec) apply(v Vault) (Vault, error) {
	if err := s.check(); err != nil {
		return v, err
	}
	if s.Tags != nil {
		v.Tags = maps.Clone(s.Tags)
	}
	if s.Policies != nil {
		v.Policies = normalPolicies(s.Policies)
	}
	if s.Network != nil {
		v.Network = s.Network.normal()
	}
	if s.PublicAccess != "" {
		v.PublicAccess = strings.ToUpper(s.PublicAccess[:1]) + strings.ToLower(s.PublicAccess[1:])
	}
	if s.TenantID != "" {
		v.TenantID = strings.ToLower(s.TenantID)
	}
	if s.SKU != "" {
		v.SKU = strings.ToLower(s.SKU)
	}
	s.applyFlags(&v)
	return v, nil
}

func (s Spec) applyFlags(v *Vault) {
	if s.Deployment != nil {
		v.Deployment = *s.Deployment
	}
	if s.DiskEncrypt != nil {
		v.DiskEncrypt = s.DiskEncrypt
	}
	if s.Template != nil {
		v.Template = s.Template
	}
	if s.PurgeProtect != nil {
		v.PurgeProtect = true
	}
	if s.RBAC != nil {
		v.RBAC = *s.RBAC
	}
}

// canonicalLocation is a location in the form that is stored and compared.
func canonicalLocation(location string) string {
	return strings.ToLower(strings.ReplaceAll(location, " ", ""))
}

// normalPolicies copies policies with their ids in lower case: object ids are compared as they are.
func normalPolicies(list []AccessPolicy) []AccessPolicy {
	out := []AccessPolicy{}
	for _, p := range list {
		p.TenantID, p.ObjectID, p.ApplicationID = strings.ToLower(p.TenantID), strings.ToLower(p.ObjectID), strings.ToLower(p.ApplicationID)
		out = append(out, p)
	}
	return out
}
