package why

import (
	"context"
	"slices"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// keyRights are what an account's identity needs at the customer's vault.
var keyRights = []string{"keys get", "keys wrapKey", "keys unwrapKey"}

// loopback is from where the server itself goes to its vaults.
const loopback = "127.0.0.1"

// Chain answers whether an account can use its key: the whole way from its identity to the key's state.
func (e *Explainer) Chain(ctx context.Context, acc Encryption) (*Report, error) {
	r := &Report{Allowed: true, Account: &acc, Resource: acc.KeyURI, Notes: []string{}, Steps: []Step{}}
	r.MayChange = e.holders(accountPrefix+"write", acc.ResourceID)
	if acc.KeyURI == "" {
		r.add("encryption", access.Yes(access.KeyProtection, "the account is under the platform's key: no vault is asked"))
		return r, nil
	}
	c, err := e.identify(r, acc.Identity)
	if fault.Is(err, "PrincipalNotFound") {
		r.add("identity", access.No(access.Identity, "the account's identity "+acc.Identity+" is not in the directory any more", err))
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	target, err := targetOf(acc.KeyURI)
	if err != nil {
		r.add("vault", access.No(access.Object, "the key is in a vault of another server: its gates cannot be seen from here", err))
		return r, nil
	}
	c.Address = loopback
	return r, e.useKey(ctx, r, c, target)
}

// useKey asks for the three rights at the vault; unwrapping is what keeps an account open.
func (e *Explainer) useKey(ctx context.Context, r *Report, c principal.Caller, target access.Target) error {
	answers, err := e.Vaults.Explain(ctx, c, target, keyRights...)
	if fault.KindOf(err) == fault.NotFound {
		d := access.No(access.Object, fault.As(err).Message, err)
		d.Code, d.Remedy = fault.As(err).Reason, "az keyvault recover --name "+target.Vault
		r.add("vault "+target.Vault, d)
		return nil
	}
	if err != nil {
		return err
	}
	for _, a := range answers {
		e.addAnswer(r, c, a)
	}
	slices.Sort(r.Notes)
	r.Notes = slices.Compact(r.Notes)
	r.MayOpen = e.holders(vaultPrefix+"write", answers[0].VaultID)
	return nil
}

// holders are the principals that may do an action, with their names.
func (e *Explainer) holders(action, scope string) []access.Holder {
	all := e.Roles.Holders(action, scope)
	for i := range all {
		all[i].Name = e.Directory.NameOf(all[i].PrincipalID)
	}
	return all
}

// named is a principal for a sentence.
func (e *Explainer) named(objectID string) string {
	if name := e.Directory.NameOf(objectID); name != "" {
		return name + " (" + objectID + ")"
	}
	return objectID
}
