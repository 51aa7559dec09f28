package vault

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Explain answers whether a caller has rights in a vault, and why, by the code that guards the objects:
// the gates of an operation, and then the state of the object. Nothing is done, and nothing is recorded
// in the caller's name. It is for who has authorised the question: see [Service.Operate].
func (s *Service) Explain(ctx context.Context, c principal.Caller, o access.Target, rights ...string) ([]access.Answer, error) {
	v, err := s.live(o.Vault)
	if err != nil {
		return nil, err
	}
	var needs []permission
	for _, right := range rights {
		need, err := permissionFor(right, o.Collection)
		if err != nil {
			return nil, err
		}
		needs = append(needs, need)
	}
	var out []access.Answer
	for _, need := range needs {
		r := &request{s: s, ctx: ctx, caller: c, need: need, vault: v, name: o.Name, version: o.Version, started: s.cfg.Now()}
		out = append(out, r.explain(needs))
	}
	return out, nil
}

// explain asks the gates of one request; together are the rights that one command is to give.
func (r *request) explain(together []permission) access.Answer {
	a := access.Answer{
		Vault: r.vault.Name, VaultID: r.vault.ResourceID, RBAC: r.vault.RBAC, Right: r.need.kind.plural + " " + r.need.policy,
		DataAction: r.need.dataAction(), Scope: r.vault.objectScope(r.need.kind, r.name),
		Gates: r.s.decide(r, []error{checkVersion(r.version)}),
	}
	last := &a.Gates[len(a.Gates)-1]
	if last.Allowed && r.name != "" {
		a.Gates = append(a.Gates, r.objectGate())
		last = &a.Gates[len(a.Gates)-1]
	}
	last.Code = codeOf(last.Refusal)
	if last.Remedy == "" {
		last.Remedy = r.remedy(*last, together)
	}
	other := *r
	other.vault.RBAC = !r.vault.RBAC
	a.Other = r.s.allowed(&other)
	return a
}

// codeOf is the word of a refusal; "" for none.
func codeOf(err error) string {
	if f := fault.As(err); f != nil {
		return f.Reason
	}
	return ""
}

// remedy is the command that would open a gate; roles are left to who knows them.
func (r *request) remedy(d access.Decision, together []permission) string {
	switch {
	case d.Allowed:
		return ""
	case d.Gate == access.Firewall && r.vault.closed():
		return "az keyvault update --name " + r.vault.Name + " --public-network-access Enabled"
	case d.Gate == access.Firewall:
		return "az keyvault network-rule add --name " + r.vault.Name + " --ip-address " + r.caller.Address
	case d.Gate == access.AccessPolicy:
		return r.vault.setPolicy(r.caller, r.need.kind, together)
	}
	return ""
}

// setPolicy is the command that gives a principal permissions beside those that it has: az replaces the
// list that it is given.
func (v Vault) setPolicy(c principal.Caller, k kind, needs []permission) string {
	var list []string
	for _, p := range v.Policies {
		if strings.EqualFold(p.ObjectID, c.ObjectID) && p.ApplicationID == "" {
			list = union(list, p.Permissions.of(k))
		}
	}
	for _, n := range needs {
		if n.kind == k {
			list = union(list, []string{n.policy})
		}
	}
	return "az keyvault set-policy --name " + v.Name + " --object-id " + c.ObjectID + " --" + k.singular + "-permissions " + strings.Join(list, " ")
}

// objectGate tells whether the state of the object lets the operation be done.
func (r *request) objectGate() access.Decision {
	switch r.need.policy {
	case mayCreate.policy, mayImport.policy, maySetSecret.policy, mayRestore.policy, mayList.policy:
		return access.Yes(access.Object, "the operation needs no object that is there")
	}
	switch r.need.kind {
	case ofKeys:
		return r.keyGate()
	case ofSecrets:
		return r.secretGate()
	}
	return r.certificateGate()
}

// ofDeleted reports whether a right is about objects that are deleted.
func (p permission) ofDeleted() bool {
	return p.policy == mayRecover.policy || p.policy == mayPurge.policy
}

func (r *request) keyGate() access.Decision {
	if r.need.ofDeleted() {
		return deletedGate(r, r.s.keys)
	}
	_, v, err := r.s.liveKey(r.vault.Name, r.name, r.version)
	if err != nil {
		return absentGate(r, r.s.keys, err)
	}
	now := r.s.cfg.Now()
	for op, right := range rights {
		if right.need.operation != r.need.operation {
			continue
		}
		if err := v.usable(op, right.protects, now.Unix()); err != nil {
			d := access.No(access.Object, fault.As(err).Message, err)
			d.Remedy = v.repair(r, string(op), now)
			return d
		}
	}
	return access.Yes(access.Object, "version "+v.ID+" "+v.describe(now))
}

// describe is the state of a version in words.
func (s state) describe(now time.Time) string {
	text := "is enabled"
	if !s.Enabled {
		text = "is disabled"
	}
	if s.NotBefore > now.Unix() {
		text += ", is not valid before " + instant(s.NotBefore).Format(time.RFC3339)
	}
	if s.Expires != 0 {
		text += ", expires " + instant(s.Expires).Format(time.RFC3339)
	}
	return text
}

// repair is the command that makes a version usable for an operation.
func (v keyVersion) repair(r *request, op string, now time.Time) string {
	text := "az keyvault key set-attributes --vault-name " + r.vault.Name + " --name " + r.name + " --version " + v.ID
	switch {
	case !v.Enabled:
		return text + " --enabled true"
	case now.Unix() < v.NotBefore:
		return text + " --not-before " + now.UTC().Format(time.RFC3339)
	case !slices.Contains(v.Ops, op):
		return text + " --ops " + strings.Join(append(slices.Clone(v.Ops), op), " ")
	}
	return text + " --expires " + now.UTC().AddDate(1, 0, 0).Format(time.RFC3339)
}

func (r *request) secretGate() access.Decision {
	if r.need.ofDeleted() {
		return deletedGate(r, r.s.secrets)
	}
	_, v, err := r.s.liveSecret(r.vault.Name, r.name, r.version)
	switch {
	case err != nil:
		return absentGate(r, r.s.secrets, err)
	case !v.Enabled && r.need.operation == mayGetSecret.operation:
		d := access.No(access.Object, "the version is disabled", ofSecrets.disabled("get"))
		d.Remedy = "az keyvault secret set-attributes --vault-name " + r.vault.Name + " --name " + r.name + " --version " + v.ID + " --enabled true"
		return d
	}
	return access.Yes(access.Object, "version "+v.ID+" "+v.describe(r.s.cfg.Now()))
}

func (r *request) certificateGate() access.Decision {
	if r.need.ofDeleted() {
		return deletedGate(r, r.s.certificates)
	}
	if !strings.HasPrefix(r.need.action, ofCertificates.plural+"/") {
		return access.Yes(access.Object, "its state is not looked at")
	}
	_, v, err := r.s.certificate(r.vault.Name, r.name, r.version)
	if err != nil {
		return absentGate(r, r.s.certificates, err)
	}
	return access.Yes(access.Object, "version "+v.ID+" "+v.describe(r.s.cfg.Now()))
}

func deletedGate[R record[R]](r *request, h *shelf[R]) access.Decision {
	if _, err := h.recoverable(r.vault.Name, r.name); err != nil {
		return access.No(access.Object, "there is no deleted "+h.kind.singular+" of this name", err)
	}
	return access.Yes(access.Object, "the "+h.kind.singular+" is deleted and can be recovered")
}

// absentGate tells a deleted object from one that never was.
func absentGate[R record[R]](r *request, h *shelf[R], missing error) access.Decision {
	rec, ok := h.find(r.vault.Name, r.name)
	d := access.No(access.Object, "there is no such "+h.kind.singular, missing)
	switch {
	case ok && rec.deleted() != nil:
		d.Reason = "the " + h.kind.singular + " is deleted; it can be recovered until " + rec.deleted().PurgeAt.Format(time.RFC3339)
		d.Remedy = "az keyvault " + h.kind.singular + " recover --vault-name " + r.vault.Name + " --name " + r.name
	case ok:
		d.Reason = "the " + h.kind.singular + " has no such version"
	}
	return d
}

// permissions are all rights on objects. Of several with the same name the first is meant.
var permissions = []permission{
	mayCreate, mayImport, mayGet, mayList, mayUpdate, mayDelete, mayRecover, mayPurge, mayBackUp, mayRestore, mayRotate, mayRelease,
	mayGetRotation, maySetRotation, mayEncrypt, mayDecrypt, mayWrap, mayUnwrap, maySign, mayVerify,
	maySetSecret, mayGetSecret, mayListSecrets, mayUpdateSecret, mayDeleteSecret, mayRecoverSecret, mayPurgeSecret, mayBackUpSecret, mayRestoreSecret,
	mayCreateCertificate, mayImportCertificate, mayGetCertificate, mayListCertificates, mayUpdateCertificate, mayDeleteCertificate,
	mayRecoverCertificate, mayPurgeCertificate, mayBackUpCertificate, mayRestoreCertificate, mayManageContacts, mayGetIssuers,
	mayListIssuers, maySetIssuers, mayDeleteIssuers,
}

// permissionFor finds a right by one of its names: "keys wrapKey", "wrapKey" beside a key's address,
// "keys/wrap/action", or the full name of the data action.
func permissionFor(right, collection string) (permission, error) {
	right = strings.Join(strings.Fields(right), " ")
	if k, name, ok := strings.Cut(right, " "); ok {
		return named(name, k)
	}
	if strings.Contains(right, "/") {
		short := right
		if prefix := Namespace + "/vaults/"; len(right) > len(prefix) && strings.EqualFold(right[:len(prefix)], prefix) {
			short = right[len(prefix):]
		}
		i := slices.IndexFunc(permissions, func(p permission) bool { return strings.EqualFold(p.action, short) })
		if i < 0 {
			return permission{}, unknownRight(right)
		}
		return permissions[i], nil
	}
	return named(right, collection)
}

// named finds a permission of access policies; without a collection it must be one of one kind only.
func named(name, collection string) (permission, error) {
	var found []permission
	for _, p := range permissions {
		if strings.EqualFold(p.policy, name) && (collection == "" || strings.EqualFold(p.kind.plural, collection)) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return permission{}, unknownRight(strings.TrimSpace(collection + " " + name))
	}
	if found[0].kind != found[len(found)-1].kind {
		return permission{}, badRequest("The permission '%.64s' is one of several kinds of objects: say which, as in 'keys %.64s'.", name, name)
	}
	return found[0], nil
}

func unknownRight(right string) error {
	return badRequest("'%.128s' is neither a permission of access policies nor a data action of vaults.", right)
}
