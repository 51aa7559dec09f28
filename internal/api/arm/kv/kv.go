// Package kv is the provider Microsoft.KeyVault of Resource Manager: vaults, deleted vaults, access
// policies, names. The rules are in package vault.
//
// Every change is finished when it is answered, so a vault is always in the state Succeeded and
// nothing has to be polled. Managed HSMs do not exist here; their lists are empty, because az asks for
// them beside every list of vaults.
package kv

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// Groups knows the resource groups.
type Groups interface {
	RequireGroup(name string) error
}

// Provider implements [arm.Provider].
type Provider struct {
	vaults *vault.Service
	groups Groups
}

var _ arm.Provider = (*Provider)(nil)

// New returns the provider.
func New(vaults *vault.Service, groups Groups) *Provider {
	return &Provider{vaults: vaults, groups: groups}
}

// Namespace is Microsoft.KeyVault.
func (p *Provider) Namespace() string { return vault.Namespace }

// ResourceTypes lists what az's provider commands show.
func (p *Provider) ResourceTypes() []arm.ResourceType {
	v := []string{"2026-02-01", "2024-11-01", "2023-07-01", "2023-02-01", "2022-07-01", "2021-10-01"}
	var types []arm.ResourceType
	for _, name := range []string{"vaults", "vaults/accessPolicies", "deletedVaults", "locations", "locations/deletedVaults", "checkNameAvailability", "operations"} {
		types = append(types, arm.ResourceType{Name: name, Versions: v})
	}
	return types
}

type handler func(*Provider, context.Context, *arm.Request) (*arm.Response, error)

// handlers are the routes, by the method and the chain of types; a trailing slash stands for a
// collection, a third word for an action.
var handlers = map[string]handler{
	"GET vaults": (*Provider).get, "PUT vaults": (*Provider).put, "PATCH vaults": (*Provider).patch, "DELETE vaults": (*Provider).delete,
	"GET vaults/":                                        (*Provider).list,
	"PUT vaults/accesspolicies":                          (*Provider).policies,
	"POST vaults/latchkey":                               (*Provider).operate,
	"GET vaults/privateendpointconnections/":             (*Provider).empty,
	"GET deletedvaults/":                                 (*Provider).listDeleted,
	"GET locations/deletedvaults":                        (*Provider).getDeleted,
	"POST locations/deletedvaults purge":                 (*Provider).purge,
	"POST  checknameavailability":                        (*Provider).nameAvailable,
	"GET managedhsms/":                                   (*Provider).empty,
	"GET deletedmanagedhsms/":                            (*Provider).empty,
	"GET operations/":                                    (*Provider).empty,
	"GET vaults/keys":                                    (*Provider).notOffered,
	"GET vaults/keys/":                                   (*Provider).notOffered,
	"PUT vaults/keys":                                    (*Provider).notOffered,
	"GET vaults/secrets":                                 (*Provider).notOffered,
	"GET vaults/secrets/":                                (*Provider).notOffered,
	"PUT vaults/secrets":                                 (*Provider).notOffered,
	"PUT vaults/privateendpointconnections":              (*Provider).notOffered,
	"PUT managedhsms":                                    (*Provider).notOffered,
	"GET vaults/privatelinkresources/":                   (*Provider).empty,
	"GET locations/deletedmanagedhsms":                   (*Provider).notOffered,
	"GET vaults/keys/versions":                           (*Provider).notOffered,
	"GET vaults/keys/versions/":                          (*Provider).notOffered,
	"POST  checkmhsmnameavailability":                    (*Provider).notOffered,
	"POST locations/deletedmanagedhsms purge":            (*Provider).notOffered,
	"DELETE vaults/privateendpointconnections":           (*Provider).notOffered,
	"GET vaults/networksecurityperimeterconfigurations/": (*Provider).empty,
}

// Handle routes a request.
func (p *Provider) Handle(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	route := r.Method + " " + r.Types()
	if r.IsCollection() {
		route += "/"
	}
	if r.Action != "" {
		route += " " + strings.ToLower(r.Action)
	}
	h, ok := handlers[route]
	if !ok {
		return nil, fault.New(fault.NotFound, "InvalidResourceType", "The resource type could not be found in the namespace '%s' for the request %s.", vault.Namespace, r.Method)
	}
	return h(p, ctx, r)
}

func (p *Provider) get(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	v, err := p.vaults.Vault(ctx, r.Caller, r.ID)
	if err != nil {
		return nil, err
	}
	return arm.OK(render(v, r.Names)), nil
}

func (p *Provider) list(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if r.ID.ResourceGroup != "" {
		if err := p.groups.RequireGroup(r.ID.ResourceGroup); err != nil {
			return nil, err
		}
	}
	items := []any{}
	for _, v := range p.vaults.Vaults(ctx, r.Caller, r.ID.Subscription, r.ID.ResourceGroup) {
		items = append(items, render(v, r.Names))
	}
	return arm.List(items), nil
}

// put answers 200 for a new vault too, as the service does: with the resource's state in the body
// there is nothing to poll.
func (p *Provider) put(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b vaultBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	v, _, err := p.vaults.PutVault(ctx, r.Caller, r.ID, b.spec(r.APIVersion))
	if err != nil {
		return nil, err
	}
	return arm.OK(render(v, r.Names)), nil
}

func (p *Provider) patch(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b vaultBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	v, err := p.vaults.UpdateVault(ctx, r.Caller, r.ID, b.spec(r.APIVersion))
	if err != nil {
		return nil, err
	}
	return arm.OK(render(v, r.Names)), nil
}

func (p *Provider) delete(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	existed, err := p.vaults.DeleteVault(ctx, r.Caller, r.ID)
	switch {
	case err != nil:
		return nil, err
	case !existed:
		return &arm.Response{Status: http.StatusNoContent}, nil
	}
	return &arm.Response{Status: http.StatusOK}, nil
}

// policies serves PUT …/accessPolicies/{add|replace|remove}.
func (p *Provider) policies(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b vaultBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	id, kind := r.ID, strings.ToLower(r.ID.Name())
	id.Segments = id.Segments[:1]
	var list []vault.AccessPolicy
	if b.Properties != nil {
		list = policiesOf(b.Properties.Policies)
	}
	v, err := p.vaults.ChangePolicies(ctx, r.Caller, id, vault.PolicyChange(kind), list)
	if err != nil {
		return nil, err
	}
	return arm.OK(map[string]any{"id": v.ResourceID + "/accessPolicies/", "type": vault.Namespace + "/vaults/accessPolicies",
		"properties": map[string]any{"accessPolicies": renderPolicies(v.Policies)}}), nil
}

func (p *Provider) listDeleted(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	all, err := p.vaults.DeletedVaults(ctx, r.Caller, r.ID.Subscription)
	if err != nil {
		return nil, err
	}
	items := []any{}
	for _, v := range all {
		items = append(items, renderDeleted(v))
	}
	return arm.List(items), nil
}

// place is the location in the id of a deleted vault.
func place(r *arm.Request) string { return r.ID.Segments[0].Name }

func (p *Provider) getDeleted(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	v, err := p.vaults.DeletedVault(ctx, r.Caller, r.ID.Subscription, place(r), r.ID.Name())
	if err != nil {
		return nil, err
	}
	return arm.OK(renderDeleted(v)), nil
}

func (p *Provider) purge(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if err := p.vaults.PurgeVault(ctx, r.Caller, r.ID.Subscription, place(r), r.ID.Name()); err != nil {
		return nil, err
	}
	return &arm.Response{Status: http.StatusOK}, nil
}

func (p *Provider) nameAvailable(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	reason, message, err := p.vaults.NameAvailable(ctx, r.Caller, r.ID.Subscription, b.Name)
	switch {
	case err != nil:
		return nil, err
	case reason == "":
		return arm.OK(map[string]any{"nameAvailable": true}), nil
	}
	return arm.OK(map[string]any{"nameAvailable": false, "reason": reason, "message": message}), nil
}

// operate serves our own operations, POST {vault}/latchkey/{verb}: the service has none such.
func (p *Provider) operate(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	o := vault.Operation{Verb: strings.ToLower(r.ID.Name())}
	if err := r.Decode(&o); err != nil {
		return nil, err
	}
	id := r.ID
	id.Segments = id.Segments[:1]
	report, err := p.vaults.Operate(ctx, r.Caller, id, o)
	if err != nil {
		return nil, err
	}
	return arm.OK(report), nil
}

func (p *Provider) empty(context.Context, *arm.Request) (*arm.Response, error) {
	return arm.List[any](nil), nil
}

func (p *Provider) notOffered(context.Context, *arm.Request) (*arm.Response, error) {
	return nil, fault.New(fault.NotImplemented, "NotImplemented", "This server does not offer this operation of %s.", vault.Namespace)
}

// rbacByDefault is the api-version from which on a new vault uses role assignments unless it says otherwise.
const rbacByDefault = "2026-02-01"

var dateOf = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}`)

func defaultsToRBAC(version string) bool { return dateOf.FindString(version) >= rbacByDefault }
