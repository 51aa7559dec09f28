package kv

import (
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// vaultBody is the body of PUT and PATCH. Read-only members that clients send back are ignored.
type vaultBody struct {
	Location   string            `json:"location"`
	Tags       map[string]string `json:"tags"`
	Properties *propertiesIn     `json:"properties"`
}

type propertiesIn struct {
	TenantID string `json:"tenantId"`
	SKU      *struct {
		Name string `json:"name"`
	} `json:"sku"`
	Policies      *[]policyJSON `json:"accessPolicies"`
	Deployment    *bool         `json:"enabledForDeployment"`
	DiskEncrypt   *bool         `json:"enabledForDiskEncryption"`
	Template      *bool         `json:"enabledForTemplateDeployment"`
	SoftDelete    *bool         `json:"enableSoftDelete"`
	RetentionDays *int          `json:"softDeleteRetentionInDays"`
	PurgeProtect  *bool         `json:"enablePurgeProtection"`
	RBAC          *bool         `json:"enableRbacAuthorization"`
	Network       *networkJSON  `json:"networkAcls"`
	PublicAccess  string        `json:"publicNetworkAccess"`
	CreateMode    string        `json:"createMode"`
}

// policyJSON is an access policy. Permission lists that were not given are left out.
type policyJSON struct {
	TenantID      string          `json:"tenantId"`
	ObjectID      string          `json:"objectId"`
	ApplicationID string          `json:"applicationId,omitzero"`
	Permissions   permissionsJSON `json:"permissions"`
}

type permissionsJSON struct {
	Keys         []string `json:"keys,omitzero"`
	Secrets      []string `json:"secrets,omitzero"`
	Certificates []string `json:"certificates,omitzero"`
	Storage      []string `json:"storage,omitzero"`
}

type networkJSON struct {
	Bypass        string   `json:"bypass"`
	DefaultAction string   `json:"defaultAction"`
	IPRules       []ipRule `json:"ipRules"`
	Networks      []idRule `json:"virtualNetworkRules"`
}

type ipRule struct {
	Value string `json:"value"`
}

type idRule struct {
	ID string `json:"id"`
}

// spec turns a body into what the domain understands.
func (b vaultBody) spec(version string) vault.Spec {
	s := vault.Spec{Location: b.Location, Tags: b.Tags, RBACDefault: defaultsToRBAC(version)}
	p := b.Properties
	if p == nil {
		return s
	}
	s.TenantID, s.PublicAccess, s.Recover = p.TenantID, p.PublicAccess, strings.EqualFold(p.CreateMode, "recover")
	if p.SKU != nil {
		s.SKU = p.SKU.Name
	}
	s.Policies = policiesOf(p.Policies)
	s.Deployment, s.DiskEncrypt, s.Template = p.Deployment, p.DiskEncrypt, p.Template
	s.SoftDelete, s.RetentionDays, s.PurgeProtect, s.RBAC = p.SoftDelete, p.RetentionDays, p.PurgeProtect, p.RBAC
	s.Network = p.Network.rules()
	return s
}

func (n *networkJSON) rules() *vault.NetworkRules {
	if n == nil {
		return nil
	}
	out := &vault.NetworkRules{Bypass: n.Bypass, DefaultAction: n.DefaultAction}
	for _, r := range n.IPRules {
		out.IPRules = append(out.IPRules, r.Value)
	}
	for _, r := range n.Networks {
		out.VirtualNetworks = append(out.VirtualNetworks, r.ID)
	}
	return out
}

// policiesOf keeps the difference between no list and an empty one.
func policiesOf(list *[]policyJSON) []vault.AccessPolicy {
	if list == nil {
		return nil
	}
	out := []vault.AccessPolicy{}
	for _, p := range *list {
		out = append(out, vault.AccessPolicy{TenantID: p.TenantID, ObjectID: p.ObjectID, ApplicationID: p.ApplicationID,
			Permissions: vault.Permissions{Keys: p.Permissions.Keys, Secrets: p.Permissions.Secrets,
				Certificates: p.Permissions.Certificates, Storage: p.Permissions.Storage}})
	}
	return out
}

func renderPolicies(list []vault.AccessPolicy) []policyJSON {
	out := []policyJSON{}
	for _, p := range list {
		out = append(out, policyJSON{TenantID: p.TenantID, ObjectID: p.ObjectID, ApplicationID: p.ApplicationID,
			Permissions: permissionsJSON{Keys: p.Permissions.Keys, Secrets: p.Permissions.Secrets,
				Certificates: p.Permissions.Certificates, Storage: p.Permissions.Storage}})
	}
	return out
}

// render is the vault as Resource Manager shows it to a caller that uses the given names.
func render(v vault.Vault, n naming.Names) map[string]any {
	p := map[string]any{
		"sku": map[string]string{"family": "A", "name": v.SKU}, "tenantId": v.TenantID, "accessPolicies": renderPolicies(v.Policies),
		"enabledForDeployment": v.Deployment, "enableSoftDelete": true, "softDeleteRetentionInDays": v.RetentionDays,
		"enableRbacAuthorization": v.RBAC, "vaultUri": n.VaultURI(strings.ToLower(v.Name)), "provisioningState": "Succeeded",
		"publicNetworkAccess": v.PublicAccess,
	}
	if v.DiskEncrypt != nil {
		p["enabledForDiskEncryption"] = *v.DiskEncrypt
	}
	if v.Template != nil {
		p["enabledForTemplateDeployment"] = *v.Template
	}
	if v.PurgeProtect {
		p["enablePurgeProtection"] = true
	}
	if v.Network != nil {
		p["networkAcls"] = renderNetwork(v.Network)
	}
	return map[string]any{
		"id": v.ResourceID, "name": v.Name, "type": vault.Namespace + "/vaults", "location": v.Location, "tags": tags(v.Tags),
		"systemData": map[string]any{
			"createdBy": v.Created.By, "createdByType": v.Created.ByType, "createdAt": v.Created.At.Format(time.RFC3339Nano),
			"lastModifiedBy": v.Modified.By, "lastModifiedByType": v.Modified.ByType, "lastModifiedAt": v.Modified.At.Format(time.RFC3339Nano),
		},
		"properties": p,
	}
}

func renderNetwork(n *vault.NetworkRules) networkJSON {
	out := networkJSON{Bypass: n.Bypass, DefaultAction: n.DefaultAction, IPRules: []ipRule{}, Networks: []idRule{}}
	for _, r := range n.IPRules {
		out.IPRules = append(out.IPRules, ipRule{r})
	}
	for _, id := range n.VirtualNetworks {
		out.Networks = append(out.Networks, idRule{id})
	}
	return out
}

func tags(t map[string]string) map[string]string {
	if t == nil {
		return map[string]string{}
	}
	return t
}

func renderDeleted(v vault.Vault) map[string]any {
	p := map[string]any{
		"vaultId": v.ResourceID, "location": v.Location, "tags": tags(v.Tags),
		"deletionDate": v.Deletion.At.Format(time.RFC3339), "scheduledPurgeDate": v.Deletion.PurgeAt.Format(time.RFC3339),
	}
	if v.PurgeProtect {
		p["purgeProtectionEnabled"] = true
	}
	return map[string]any{
		"id":   "/subscriptions/" + v.Subscription + "/providers/" + vault.Namespace + "/locations/" + v.Location + "/deletedVaults/" + v.Name,
		"name": v.Name, "type": vault.Namespace + "/deletedVaults", "properties": p,
	}
}
