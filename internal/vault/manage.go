package vault

import (
	"context"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// The actions of Resource Manager on vaults.
const (
	actionRead       = Namespace + "/vaults/read"
	actionWrite      = Namespace + "/vaults/write"
	actionDelete     = Namespace + "/vaults/delete"
	actionPolicies   = Namespace + "/vaults/accessPolicies/write"
	actionDeleted    = Namespace + "/locations/deletedVaults/read"
	actionPurge      = Namespace + "/locations/deletedVaults/purge/action"
	actionListGone   = Namespace + "/deletedVaults/read"
	actionName       = Namespace + "/checkNameAvailability/read"
	actionRolesWrite = "Microsoft.Authorization/roleAssignments/write"
)

// operationOf are the audit log's names of the actions that change something.
var operationOf = map[string]string{
	actionWrite: "VaultPut", actionDelete: "VaultDelete", actionPolicies: "VaultAccessPolicyChange",
	actionPurge: "VaultPurge", actionRolesWrite: "VaultPermissionModelChange",
}

// authorize is the first line of every method on vaults. Refusals and permissions to change are
// recorded; permitted reads are not.
func (s *Service) authorize(ctx context.Context, c principal.Caller, action, scope string) error {
	decision := s.cfg.Authorizer.Authorize(ctx, c, action, scope)
	operation, isChange := operationOf[action]
	if decision == nil && !isChange {
		return nil
	}
	if !isChange {
		operation = action
	}
	if err := s.cfg.Audit.Record(ctx, audit.By(c, s.cfg.Now(), operation, scope).Decided(decision)); err != nil {
		return err
	}
	return decision
}

func resourceNotFound(id uri.ResourceID) error {
	return fault.New(fault.NotFound, "ResourceNotFound",
		"The Resource 'Microsoft.KeyVault/vaults/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", id.Name(), id.ResourceGroup)
}

// at returns the live vault with a resource id.
func (s *Service) at(id uri.ResourceID) (Vault, error) {
	v, ok := s.find(id.Name())
	if !ok || v.Deletion != nil || v.ID().Key() != id.Key() {
		if err := s.cfg.RequireGroup(id.ResourceGroup); err != nil {
			return Vault{}, err
		}
		return Vault{}, resourceNotFound(id)
	}
	return v, nil
}

// Vault returns one vault.
func (s *Service) Vault(ctx context.Context, c principal.Caller, id uri.ResourceID) (Vault, error) {
	if err := s.authorize(ctx, c, actionRead, id.String()); err != nil {
		return Vault{}, err
	}
	return s.at(id)
}

// Vaults lists the live vaults of a subscription, or of one group when group is not "", that the
// caller may read, by name.
func (s *Service) Vaults(ctx context.Context, c principal.Caller, subscription, group string) []Vault {
	return s.list(func(v Vault) bool {
		return v.Deletion == nil && strings.EqualFold(v.Subscription, subscription) && (group == "" || strings.EqualFold(v.Group, group)) &&
			s.cfg.Authorizer.Authorize(ctx, c, actionRead, v.ResourceID) == nil
	})
}

func (s *Service) list(keep func(Vault) bool) []Vault {
	s.mu.RLock()
	all := []Vault{}
	for _, v := range s.byName {
		if !v.Deletion.over(s.cfg.Now()) {
			all = append(all, *v)
		}
	}
	s.mu.RUnlock()
	all = slices.DeleteFunc(all, func(v Vault) bool { return !keep(v) })
	slices.SortFunc(all, func(a, b Vault) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return all
}

// PutVault makes a vault, changes one, or recovers a deleted one (Spec.Recover). Tags that are not
// given are removed; every other member that is not given stays.
func (s *Service) PutVault(ctx context.Context, c principal.Caller, id uri.ResourceID, spec Spec) (v Vault, created bool, err error) {
	spec.Location = canonicalLocation(spec.Location)
	if err := s.authorize(ctx, c, actionWrite, id.String()); err != nil {
		return Vault{}, false, err
	}
	if err := s.cfg.RequireGroup(id.ResourceGroup); err != nil {
		return Vault{}, false, err
	}
	err = s.change(ctx, func() error {
		v, created, err = s.put(ctx, c, id, spec)
		return err
	})
	if err == nil {
		s.cfg.OnChange(v.Name, "")
	}
	return v, created, err
}

// put decides what a PUT means. The caller holds changing.
func (s *Service) put(ctx context.Context, c principal.Caller, id uri.ResourceID, spec Spec) (Vault, bool, error) {
	old, exists := s.find(id.Name())
	switch {
	case exists && old.Deletion != nil && spec.Recover:
		return s.recover(c, old, id)
	case exists && old.Deletion != nil:
		return Vault{}, false, fault.New(fault.Conflict, "ConflictError",
			"A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete.")
	case exists && old.ID().Key() != id.Key():
		return Vault{}, false, nameTaken(id.Name())
	case !exists && spec.Recover:
		return Vault{}, false, fault.New(fault.NotFound, "SoftDeletedVaultDoesNotExist", "A soft deleted vault with the name '%s' does not exist.", id.Name())
	}
	if err := spec.complete(exists); err != nil {
		return Vault{}, false, err
	}
	if !exists {
		v, err := s.create(c, id, spec)
		return v, true, err
	}
	if spec.Tags == nil {
		spec.Tags = map[string]string{}
	}
	v, err := s.edit(ctx, c, old, spec)
	return v, false, err
}

func nameTaken(name string) error {
	return fault.New(fault.Conflict, "VaultAlreadyExists",
		"The vault name '%s' is already in use. Vault names are globaly unique so it is possible that the name is already taken. If you are sure that the vault name was not taken then it is possible that a vault with the same name was recently deleted but not purged after being placed in a recoverable state. If the vault is in a recoverable state then the vault will need to be purged before reusing the name. For more information about VaultAlreadyExists, follow this link https://go.microsoft.com/fwlink/?linkid=2147740", name)
}

// recover brings a deleted vault back as it was. Its role assignments are gone.
func (s *Service) recover(c principal.Caller, v Vault, id uri.ResourceID) (Vault, bool, error) {
	if v.ID().Key() != id.Key() {
		return v, false, nameTaken(id.Name())
	}
	v.Deletion = nil
	v.Modified = stampOf(c, s.cfg.Now())
	return v, false, s.saveVault(v)
}

func (s *Service) create(c principal.Caller, id uri.ResourceID, spec Spec) (Vault, error) {
	if err := checkVaultName(id.Name()); err != nil {
		return Vault{}, err
	}
	now := stampOf(c, s.cfg.Now())
	v := Vault{
		ResourceID: id.String(), Subscription: id.Subscription, Group: id.ResourceGroup, Name: id.Name(), Location: spec.Location,
		Tags: map[string]string{}, RetentionDays: maxRetention, RBAC: spec.RBACDefault, PublicAccess: "Enabled", Created: now,
	}
	v.ResourceID = v.ID().String()
	if spec.RetentionDays != nil {
		v.RetentionDays = *spec.RetentionDays
	}
	v, err := spec.apply(v)
	if err != nil {
		return v, err
	}
	v.Modified = now
	return v, s.saveVault(v)
}

// edit applies a specification to a vault that exists. The caller holds changing.
func (s *Service) edit(ctx context.Context, c principal.Caller, old Vault, spec Spec) (Vault, error) {
	if spec.RBAC != nil && *spec.RBAC != old.RBAC {
		if err := s.authorize(ctx, c, actionRolesWrite, old.ResourceID); err != nil {
			return old, err
		}
	}
	if spec.Location != "" && spec.Location != old.Location {
		return old, fault.New(fault.Conflict, "InvalidResourceLocation",
			"The resource '%s' already exists in location '%s' in resource group '%s'. A resource with the same name cannot be created in location '%s'. Please select a new resource name.",
			old.Name, old.Location, old.Group, spec.Location)
	}
	if spec.RetentionDays != nil && *spec.RetentionDays != old.RetentionDays {
		return old, badRequest("The property \"softDeleteRetentionInDays\" has been set already and it can't be modified.")
	}
	v, err := spec.apply(old)
	if err != nil {
		return old, err
	}
	v.Modified = stampOf(c, s.cfg.Now())
	return v, s.saveVault(v)
}

// UpdateVault changes what the specification names.
func (s *Service) UpdateVault(ctx context.Context, c principal.Caller, id uri.ResourceID, spec Spec) (v Vault, err error) {
	spec.Location = canonicalLocation(spec.Location)
	if err := s.authorize(ctx, c, actionWrite, id.String()); err != nil {
		return Vault{}, err
	}
	return s.editAt(ctx, id, func(old Vault) (Vault, error) { return s.edit(ctx, c, old, spec) })
}

// editAt runs edit on a live vault as the only change.
func (s *Service) editAt(ctx context.Context, id uri.ResourceID, edit func(Vault) (Vault, error)) (v Vault, err error) {
	err = s.change(ctx, func() error {
		if v, err = s.at(id); err != nil {
			return err
		}
		v, err = edit(v)
		return err
	})
	if err == nil {
		s.cfg.OnChange(v.Name, "")
	}
	return v, err
}

// PolicyChange is a kind of change of access policies.
type PolicyChange string

// The kinds: permissions are added to an entry, replace an entry, or are taken from an entry.
const (
	AddPolicies     PolicyChange = "add"
	ReplacePolicies PolicyChange = "replace"
	RemovePolicies  PolicyChange = "remove"
)

// ChangePolicies adds, replaces or removes access policies, entry by entry.
func (s *Service) ChangePolicies(ctx context.Context, c principal.Caller, id uri.ResourceID, kind PolicyChange, list []AccessPolicy) (Vault, error) {
	if err := s.authorize(ctx, c, actionPolicies, id.String()); err != nil {
		return Vault{}, err
	}
	return s.editAt(ctx, id, func(v Vault) (Vault, error) {
		policies, err := merged(v.Policies, kind, list)
		if err != nil {
			return v, err
		}
		return s.edit(ctx, c, v, Spec{Policies: policies})
	})
}

// merged applies a change entry by entry. Removing takes the named permissions away, and the entry
// with the last of them or when none are named.
func merged(old []AccessPolicy, kind PolicyChange, list []AccessPolicy) ([]AccessPolicy, error) {
	out := append([]AccessPolicy{}, old...)
	for _, p := range list {
		i := slices.IndexFunc(out, func(o AccessPolicy) bool { return o.grantee() == p.grantee() })
		switch {
		case kind == AddPolicies && i >= 0:
			out[i].Permissions = out[i].Permissions.plus(p.Permissions)
		case kind == ReplacePolicies && i >= 0:
			out[i] = p
		case kind == AddPolicies || kind == ReplacePolicies:
			out = append(out, p)
		case kind == RemovePolicies && i >= 0:
			left := out[i].Permissions.minus(p.Permissions)
			if out[i].Permissions = left; p.Permissions.empty() || left.empty() {
				out = slices.Delete(out, i, i+1)
			}
		case kind != RemovePolicies:
			return nil, badRequest("The access policy operation '%s' is not known.", kind)
		}
	}
	return out, nil
}

func (p Permissions) empty() bool {
	return len(p.Keys)+len(p.Secrets)+len(p.Certificates)+len(p.Storage) == 0
}

func (p Permissions) plus(q Permissions) Permissions { return p.with(q, union) }

func (p Permissions) minus(q Permissions) Permissions { return p.with(q, without) }

func (p Permissions) with(q Permissions, join func(a, b []string) []string) Permissions {
	return Permissions{join(p.Keys, q.Keys), join(p.Secrets, q.Secrets), join(p.Certificates, q.Certificates), join(p.Storage, q.Storage)}
}

func contains(list []string, name string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, name) })
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, name := range b {
		if !contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(name string) bool { return contains(b, name) })
}

// DeleteVault deletes a vault; it can be recovered until its retention is over. It reports false when
// there is none.
func (s *Service) DeleteVault(ctx context.Context, c principal.Caller, id uri.ResourceID) (bool, error) {
	if err := s.authorize(ctx, c, actionDelete, id.String()); err != nil {
		return false, err
	}
	v, err := s.editAt(ctx, id, func(v Vault) (Vault, error) {
		v.Deletion = v.deletion(s.cfg.Now())
		return v, s.saveVault(v)
	})
	if fault.Is(err, "ResourceNotFound") {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.cfg.OnDelete(v.ResourceID)
}

// DeletedVault returns a deleted vault.
func (s *Service) DeletedVault(ctx context.Context, c principal.Caller, subscription, location, name string) (Vault, error) {
	if err := s.authorize(ctx, c, actionDeleted, deletedScope(subscription, location, name)); err != nil {
		return Vault{}, err
	}
	return s.deletedAt(subscription, location, name)
}

func deletedScope(subscription, location, name string) string {
	return uri.ResourceID{Subscription: subscription, Provider: Namespace}.Child("locations", location).Child("deletedVaults", name).String()
}

func (s *Service) deletedAt(subscription, location, name string) (Vault, error) {
	v, ok := s.find(name)
	if !ok || v.Deletion == nil || !strings.EqualFold(v.Subscription, subscription) || v.Location != canonicalLocation(location) {
		return Vault{}, fault.New(fault.NotFound, "DeletedVaultNotFound", "The specified deleted vault '%s' does not exist.", name)
	}
	return v, nil
}

// DeletedVaults lists the deleted vaults of a subscription by name.
func (s *Service) DeletedVaults(ctx context.Context, c principal.Caller, subscription string) ([]Vault, error) {
	if err := s.authorize(ctx, c, actionListGone, uri.ResourceID{Subscription: subscription}.String()); err != nil {
		return nil, err
	}
	return s.list(func(v Vault) bool { return v.Deletion != nil && strings.EqualFold(v.Subscription, subscription) }), nil
}

// PurgeVault destroys a deleted vault and its keys for good, unless purge protection forbids it.
func (s *Service) PurgeVault(ctx context.Context, c principal.Caller, subscription, location, name string) error {
	if err := s.authorize(ctx, c, actionPurge, deletedScope(subscription, location, name)); err != nil {
		return err
	}
	err := s.change(ctx, func() error {
		v, err := s.deletedAt(subscription, location, name)
		if err != nil {
			return err
		}
		if v.PurgeProtect {
			return fault.New(fault.Conflict, "MethodNotAllowed", "Operation 'DeletedVaultPurge' is not allowed.")
		}
		if err := s.emptyToken(v.Name); err != nil {
			return err
		}
		return s.eraseVault(v.Name)
	})
	if err == nil {
		s.cfg.OnChange(name, "")
	}
	return err
}

// NameAvailable tells whether a vault can be made with a name. reason and message are "" when it can.
func (s *Service) NameAvailable(ctx context.Context, c principal.Caller, subscription, name string) (reason, message string, err error) {
	if err := s.authorize(ctx, c, actionName, uri.ResourceID{Subscription: subscription}.String()); err != nil {
		return "", "", err
	}
	if err := checkVaultName(name); err != nil {
		return "AccountNameInvalid", fault.As(err).Message, nil
	}
	if _, taken := s.find(name); taken {
		return "AlreadyExists", fault.As(nameTaken(name)).Message, nil
	}
	return "", "", nil
}

func badRequest(format string, args ...any) error {
	return fault.New(fault.Invalid, "BadRequest", format, args...)
}
