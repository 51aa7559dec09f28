package keyvault

import (
	"net/http"

	"github.com/latchkey-db/latchkey/internal/vault"
)

// policyJSON is a rotation policy in both directions. The id and the two times are in answers only, and
// are missing there for a key that was never given a policy.
type policyJSON struct {
	ID         string            `json:"id,omitzero"`
	Actions    []actionJSON      `json:"lifetimeActions"`
	Attributes *policyAttributes `json:"attributes"`
}

type policyAttributes struct {
	Expiry  string `json:"expiryTime,omitzero"`
	Created int64  `json:"created,omitzero"`
	Updated int64  `json:"updated,omitzero"`
}

type actionJSON struct {
	Trigger triggerJSON `json:"trigger"`
	Action  struct {
		Type string `json:"type"`
	} `json:"action"`
}

type triggerJSON struct {
	AfterCreate  string `json:"timeAfterCreate,omitzero"`
	BeforeExpiry string `json:"timeBeforeExpiry,omitzero"`
}

// maxActions bounds what is parsed; how many make sense is the domain's business.
const maxActions = 16

func (p policyJSON) policy() (out vault.RotationPolicy, err error) {
	if len(p.Actions) > maxActions {
		return out, badParameter("The property 'lifetimeActions' has too many items.")
	}
	if p.Attributes != nil {
		if out.Expiry, err = vault.ParseDuration(p.Attributes.Expiry); err != nil {
			return out, err
		}
	}
	for _, a := range p.Actions {
		x := vault.LifetimeAction{Action: vault.Action(a.Action.Type)}
		if x.AfterCreate, err = vault.ParseDuration(a.Trigger.AfterCreate); err != nil {
			return out, err
		}
		if x.BeforeExpiry, err = vault.ParseDuration(a.Trigger.BeforeExpiry); err != nil {
			return out, err
		}
		out.Actions = append(out.Actions, x)
	}
	return out, nil
}

// rotationPolicy answers with a policy.
func (x *exchange) rotationPolicy(p vault.RotationPolicy, err error) (int, any, error) {
	if err != nil {
		return 0, nil, err
	}
	out := policyJSON{Actions: []actionJSON{}}
	for _, a := range p.Actions {
		shown := actionJSON{Trigger: triggerJSON{a.AfterCreate.String(), a.BeforeExpiry.String()}}
		shown.Action.Type = string(a.Action)
		out.Actions = append(out.Actions, shown)
	}
	if p.Created != 0 {
		out.ID = x.id("keys", x.route.name, "rotationpolicy")
		out.Attributes = &policyAttributes{p.Expiry.String(), p.Created, p.Updated}
	}
	return http.StatusOK, out, nil
}

func getRotationPolicy(s *vault.Service, x *exchange) (int, any, error) {
	return x.rotationPolicy(s.RotationPolicy(x.ctx, x.caller, x.vault, x.route.name))
}

func setRotationPolicy(s *vault.Service, x *exchange) (int, any, error) {
	var in policyJSON
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	p, err := in.policy()
	if err != nil {
		return 0, nil, err
	}
	return x.rotationPolicy(s.SetRotationPolicy(x.ctx, x.caller, x.vault, x.route.name, p))
}
