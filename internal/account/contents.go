package account

import (
	"context"
	"strings"

	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// DeleteNow deletes an account and waits for the end. mine is false for an id that is no account's.
func (s *Service) DeleteNow(ctx context.Context, c principal.Caller, id uri.ResourceID) (mine bool, err error) {
	if !strings.EqualFold(id.Type(), Type) {
		return false, nil
	}
	work, err := s.BeginDelete(ctx, c, id)
	if err != nil {
		return true, err
	}
	_, err = work(ctx)
	return true, err
}

// HasIdentity reports whether an object id is the managed identity of an account.
func (s *Service) HasIdentity(objectID string) bool {
	if objectID == "" {
		return false
	}
	for _, rec := range s.snapshot() {
		if rec.Identity.PrincipalID == objectID {
			return true
		}
	}
	return false
}
