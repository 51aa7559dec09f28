package vault

import (
	"context"
	"fmt"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Operation is one of our own actions on a vault, beyond what the service has: POST {vault}/latchkey/VERB.
type Operation struct {
	Verb string `json:"-"`
	access.Question
	Disturbance
}

// verbs are the operations on a vault that is there.
var verbs = map[string]func(s *Service, ctx context.Context, c principal.Caller, v Vault, o Operation) (any, error){
	"why": (*Service).why, "fault": (*Service).disturb,
}

// note is what the record tells of an operation.
func (o Operation) note() string {
	switch o.Verb {
	case "fault":
		return o.Disturbance.note()
	case "why":
		return fmt.Sprintf("principal %.128s, action %.128s, resource %.512s", o.Principal, o.Action, o.Resource)
	}
	return ""
}

// Operate carries out an operation on the vault id. Its right is named like the verb:
// Microsoft.KeyVault/vaults/latchkey/VERB/action. Every one is recorded, whatever the decision.
func (s *Service) Operate(ctx context.Context, c principal.Caller, id uri.ResourceID, o Operation) (any, error) {
	action := Namespace + "/vaults/latchkey/" + o.Verb + "/action"
	decision := s.cfg.Authorizer.Authorize(ctx, c, action, id.String())
	e := audit.By(c, s.cfg.Now(), action, id.String()).Decided(decision)
	e.Detail = o.note()
	if err := s.cfg.Audit.Record(ctx, e); err != nil {
		return nil, err
	}
	if decision != nil {
		return nil, decision
	}
	v, err := s.at(id)
	if err != nil {
		return nil, err
	}
	f := verbs[o.Verb]
	if f == nil {
		return nil, fault.New(fault.NotFound, "UnknownVerb", "There is no operation '%.32s' on vaults.", o.Verb)
	}
	return f(s, ctx, c, v, o)
}

// why answers why a principal may or may not do something with the vault.
func (s *Service) why(ctx context.Context, c principal.Caller, v Vault, o Operation) (any, error) {
	return s.cfg.Why(ctx, c, v.ID(), o.Question)
}
