package app

import (
	"context"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
	"github.com/latchkey-db/latchkey/internal/why"
)

func (s *Server) explainer() *why.Explainer {
	return &why.Explainer{Directory: s.directory, Roles: s.rbac, Vaults: s.vaults}
}

// whyVault answers questions about a vault.
func (s *Server) whyVault(ctx context.Context, asker principal.Caller, id uri.ResourceID, q access.Question) (any, error) {
	return report(s.explainer().Vault(ctx, asker, id, q))
}

// whyAccount answers questions about an account: about a principal, or about the account's way to its key.
func (s *Server) whyAccount(ctx context.Context, asker principal.Caller, a account.Account, q access.Question) (any, error) {
	st, _ := s.keeper.Status(a.ID)
	enc := why.Encryption{Name: a.Name, ResourceID: a.ResourceID().String(), KeyURI: st.Protection.KeyURI, Identity: st.Protection.Identity,
		State: string(st.State), Reason: st.Reason}
	if q.Principal == "" {
		return report(s.explainer().Chain(ctx, enc))
	}
	return report(s.explainer().Account(asker, enc, q))
}
