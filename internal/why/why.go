package why

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Providers, as they begin resource types and actions.
const (
	vaultProvider = "Microsoft.KeyVault"
	vaultPrefix   = vaultProvider + "/vaults/"
	accountPrefix = "Microsoft.DocumentDB/databaseAccounts/"
)

func badRequest(format string, args ...any) error {
	return fault.New(fault.Invalid, "BadRequest", format, args...)
}

// Vault answers a question about the vault id, or something in it. asker lends its address when the
// question names none.
func (e *Explainer) Vault(ctx context.Context, asker principal.Caller, id uri.ResourceID, q access.Question) (*Report, error) {
	target, err := targetOf(q.Resource)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(target.Vault, id.Name()) {
		return nil, badRequest("The resource '%.256s' is not in the vault %s.", q.Resource, id.Name())
	}
	r, c, err := e.begin(asker, q)
	if err != nil || r == nil || !r.Allowed {
		return r, err
	}
	if isControl(q.Action) {
		r.add("Resource Manager", e.control(c, q.Action, id.String()))
		return r, nil
	}
	answers, err := e.Vaults.Explain(ctx, c, target, q.Action)
	if err != nil {
		return nil, err
	}
	e.addAnswer(r, c, answers[0])
	return r, nil
}

// Account answers a question about an action of Resource Manager on an account.
func (e *Explainer) Account(asker principal.Caller, acc Encryption, q access.Question) (*Report, error) {
	const management = "Microsoft."
	switch {
	case !strings.HasPrefix(strings.ToLower(q.Action), strings.ToLower(management)):
		return nil, badRequest("'%.128s' is no action of Resource Manager: name a vault or a key as the resource to ask about rights in a vault.", q.Action)
	case isDocumentData(q.Action):
		return nil, badRequest("'%.128s' is a data action of the account's own roles (az cosmosdb sql role assignment list); the two gates of its key do not decide it.", q.Action)
	}
	r, c, err := e.begin(asker, q)
	if err != nil || !r.Allowed {
		return r, err
	}
	r.Account = &acc
	r.add("Resource Manager", e.control(c, q.Action, acc.ResourceID))
	if acc.KeyURI != "" {
		r.note("This gate does not decide about the account's key: %s goes to %s for that (latchkey why --account %s).", e.named(acc.Identity), acc.KeyURI, acc.Name)
	}
	return r, nil
}

// begin finds the principal and asks the first gate.
func (e *Explainer) begin(asker principal.Caller, q access.Question) (*Report, principal.Caller, error) {
	r := &Report{Allowed: true, Action: q.Action, Resource: q.Resource, Notes: []string{}, Steps: []Step{}}
	c, err := e.identify(r, q.Principal)
	if err != nil {
		return nil, c, err
	}
	c.Address, c.Request = q.Address, asker.Request
	if c.Address == "" {
		c.Address = asker.Address
	}
	return r, c, nil
}

// identify finds a principal and adds what the directory says of it.
func (e *Explainer) identify(r *Report, name string) (principal.Caller, error) {
	c, active, err := e.Directory.Who(name)
	if err != nil {
		return c, err
	}
	c.Door = principal.VaultData
	r.Principal = &Principal{ObjectID: c.ObjectID, AppID: c.AppID, Name: c.Name, Kind: string(c.Kind), Groups: c.Groups}
	if active {
		r.add("identity", access.Yes(access.Identity, "the principal is enabled: it gets tokens"))
		return c, nil
	}
	d := access.No(access.Identity, "the principal is disabled: it gets no token, and tokens that it has are refused", nil)
	d.Code, d.Remedy = "TokenPrincipal", "az ad sp update --id "+c.ObjectID+" --set accountEnabled=true"
	if c.Kind == principal.User {
		d.Remedy = "az ad user update --id " + c.ObjectID + " --account-enabled true"
	}
	r.add("identity", d)
	return c, nil
}

// add appends a step; one gate against makes the whole answer no.
func (r *Report) add(title string, gates ...access.Decision) {
	s := Step{Title: title, Allowed: true, Gates: gates}
	for _, g := range gates {
		s.Allowed = s.Allowed && g.Allowed
	}
	r.Allowed = r.Allowed && s.Allowed
	r.Steps = append(r.Steps, s)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// control asks the gate of Resource Manager.
func (e *Explainer) control(c principal.Caller, action, scope string) access.Decision {
	c.Door = principal.Management
	d := e.Roles.Decide(c, action, scope, false)
	if !d.Allowed {
		d.Code, d.Remedy = "AuthorizationFailed", e.assign(c, action, scope, false)
	}
	return d
}

// assign is the command that gives the narrowest role with an action; "" when no built-in role has it.
func (e *Explainer) assign(c principal.Caller, action, scope string, data bool) string {
	role := e.Roles.Narrowest(action, data)
	if role == "" {
		return ""
	}
	return fmt.Sprintf("az role assignment create --assignee-object-id %s --assignee-principal-type %s --role \"%s\" --scope %s", c.ObjectID, c.Kind, role, scope)
}

// addAnswer adds what a vault says, and notes the grants that look as if they helped.
func (e *Explainer) addAnswer(r *Report, c principal.Caller, a access.Answer) {
	last := &a.Gates[len(a.Gates)-1]
	if last.Gate == access.DataRole && !last.Allowed {
		last.Remedy = e.assign(c, a.DataAction, a.Scope, true)
	}
	r.add("vault "+a.Vault+": "+a.Right, a.Gates...)
	switch {
	case last.Gate == access.DataRole && !last.Allowed && a.Other.Allowed:
		r.note("An access policy of %s would grant this, but the vault uses Azure RBAC (enableRbacAuthorization): its access policies are ignored.", a.Vault)
	case last.Gate == access.AccessPolicy && !last.Allowed && a.Other.Allowed:
		r.note("The role %s at %s would grant this, but %s uses access policies: data roles are ignored.", a.Other.Role, a.Other.Scope, a.Vault)
	}
	if d := e.control(c, vaultPrefix+"write", a.VaultID); !last.Allowed && last.Gate != access.Object && d.Allowed {
		r.note("The role %s at %s lets the principal change the vault at Resource Manager, and so give itself the right; it does not open what is in the vault.", d.Role, d.Scope)
	}
}

// isControl reports whether an action on a vault is one of Resource Manager.
func isControl(action string) bool {
	a := strings.ToLower(action)
	rest, ok := strings.CutPrefix(a, strings.ToLower(vaultPrefix))
	if !ok {
		return strings.HasPrefix(a, "microsoft.")
	}
	switch collection, _, _ := strings.Cut(rest, "/"); collection {
	case "keys", "keyrotationpolicies", "secrets", "certificates", "certificatecas", "certificatecontacts", "storageaccounts":
		return false
	}
	return true
}

// isDocumentData reports whether an action is one of an account's own data roles.
func isDocumentData(action string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(action), strings.ToLower(accountPrefix))
	return ok && (rest == "readmetadata" || strings.Contains(rest, "/items/") || strings.HasSuffix(rest, "/executequery") || strings.HasSuffix(rest, "/readchangefeed"))
}

// targetOf reads the address of a vault or of an object in it, or the resource id of either.
func targetOf(resource string) (access.Target, error) {
	if !strings.Contains(resource, "://") {
		id, err := uri.ParseResourceID(resource)
		if err != nil || !strings.EqualFold(id.Provider, vaultProvider) || len(id.Segments) == 0 || !strings.EqualFold(id.Segments[0].Type, "vaults") {
			return access.Target{}, badRequest("'%.256s' is neither a vault's address nor its resource id.", resource)
		}
		t := access.Target{Vault: id.Segments[0].Name}
		if len(id.Segments) > 1 {
			t.Collection, t.Name = strings.ToLower(id.Segments[1].Type), id.Segments[1].Name
		}
		return t, nil
	}
	u, err := url.Parse(resource)
	if err != nil {
		return access.Target{}, badRequest("'%.256s' is no address.", resource)
	}
	host, ok := naming.Resolve(u.Host, 0)
	if !ok || host.Service != naming.Vault {
		return access.Target{}, badRequest("'%.256s' is not the address of a vault here.", resource)
	}
	parts := append(strings.Split(strings.Trim(u.Path, "/"), "/"), "", "")
	return access.Target{Vault: host.Label, Collection: strings.ToLower(parts[0]), Name: parts[1], Version: parts[2]}, nil
}
