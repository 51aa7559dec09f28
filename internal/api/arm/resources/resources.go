// Package resources is the provider of everything in Resource Manager that belongs to no provider:
// tenants, subscriptions, resource groups, the list of all resources, the list of providers. The
// rules are in package resource.
package resources

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/resource"
)

// patience is how long a deletion of a group may take before the client is asked to poll.
const patience = 300 * time.Millisecond

// Provider implements [arm.Provider].
type Provider struct {
	svc      *resource.Service
	tenantID string
	all      []arm.Provider // itself last
}

var _ arm.Provider = (*Provider)(nil)

// New returns the provider. others are the providers that az lists.
func New(svc *resource.Service, tenantID string, others []arm.Provider) *Provider {
	p := &Provider{svc: svc, tenantID: tenantID}
	p.all = append(slices.Clone(others), p)
	return p
}

// Namespace is Microsoft.Resources.
func (p *Provider) Namespace() string { return "Microsoft.Resources" }

// ResourceTypes lists the types that az asks for.
func (p *Provider) ResourceTypes() []arm.ResourceType {
	v := []string{"2024-11-01", "2021-04-01"}
	return []arm.ResourceType{{Name: "subscriptions", Versions: v}, {Name: "resourceGroups", Versions: v}, {Name: "deployments", Versions: v}}
}

// Handle routes by the chain of types. What concerns a group is served only at the group's own path:
// below a provider the same segments name something else.
func (p *Provider) Handle(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch types := r.Types(); {
	case r.ID.Provider != "" && len(r.ID.Segments) == 0:
		return p.provider(ctx, r)
	case r.ID.Provider != "":
		return p.own(ctx, r, types)
	case r.ID.ResourceGroup != "" && types == "":
		return p.group(ctx, r)
	case r.Method == http.MethodGet && types == "" && r.ID.Subscription != "":
		if err := p.svc.ReadSubscription(ctx, r.Caller, "Microsoft.Resources/subscriptions/read"); err != nil {
			return nil, err
		}
		return arm.OK(p.subscription()), nil
	case r.Method == http.MethodGet && r.IsCollection():
		return p.collection(ctx, r, types)
	}
	return nil, notHere(r)
}

// own serves the types below Microsoft.Resources itself. There are no deployments here.
func (p *Provider) own(ctx context.Context, r *arm.Request, types string) (*arm.Response, error) {
	switch {
	case types == "operations" && r.Method == http.MethodGet:
		return arm.List[any](nil), nil
	case types != "deployments":
		return nil, notHere(r)
	case r.Method != http.MethodGet:
		return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support template deployments. Create the resources directly.")
	}
	if err := p.svc.Read(ctx, r.Caller, "Microsoft.Resources/deployments/read", r.ID); err != nil {
		return nil, err
	}
	if !r.IsCollection() {
		return nil, fault.New(fault.NotFound, "DeploymentNotFound", "Deployment '%s' could not be found.", r.ID.Name())
	}
	return arm.List[any](nil), nil
}

func notHere(r *arm.Request) error {
	return fault.New(fault.NotFound, "InvalidResourceType", "The resource type could not be found for the request %s.", r.Method)
}

func (p *Provider) collection(ctx context.Context, r *arm.Request, types string) (*arm.Response, error) {
	switch types {
	case "tenants":
		return arm.List([]any{p.tenant()}), nil
	case "subscriptions":
		if p.svc.MayList(ctx, r.Caller) {
			return p.subscriptions([]any{p.subscription()}), nil
		}
		return p.subscriptions([]any{}), nil
	case "resourcegroups":
		return p.groups(ctx, r)
	case "resources":
		return p.everything(ctx, r)
	case "tagnames":
		return p.tagNames(ctx, r)
	case "locations":
		return p.shared(ctx, r, "Microsoft.Resources/subscriptions/locations/read", p.locations())
	case "providers":
		return p.shared(ctx, r, "Microsoft.Resources/subscriptions/providers/read", p.providers())
	}
	return nil, notHere(r)
}

func (p *Provider) shared(ctx context.Context, r *arm.Request, action string, list []any) (*arm.Response, error) {
	if err := p.readShared(ctx, r, action); err != nil {
		return nil, err
	}
	return arm.Page(r, list)
}

func (p *Provider) tenant() any {
	return map[string]any{"id": "/tenants/" + p.tenantID, "tenantId": p.tenantID, "displayName": "Latchkey",
		"defaultDomain": "latchkey.localhost", "tenantType": "AAD", "tenantCategory": "Home", "countryCode": "US",
		"domains": []string{"latchkey.localhost"}}
}

func (p *Provider) subscriptions(list []any) *arm.Response {
	return arm.OK(map[string]any{"value": list, "count": map[string]any{"type": "Total", "value": len(list)}})
}

func (p *Provider) subscription() any {
	s := p.svc.Subscription()
	return map[string]any{"id": "/subscriptions/" + s.ID, "subscriptionId": s.ID, "tenantId": p.tenantID, "displayName": s.Name,
		"state": "Enabled", "authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": map[string]string{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"}}
}

func (p *Provider) group(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		g, err := p.svc.Group(ctx, r.Caller, r.ID)
		if err != nil {
			return nil, err
		}
		if r.Method == http.MethodHead {
			return &arm.Response{Status: http.StatusNoContent}, nil
		}
		return arm.OK(renderGroup(g)), nil
	case http.MethodPut:
		return p.putGroup(ctx, r)
	case http.MethodPatch:
		return p.patchGroup(ctx, r)
	case http.MethodDelete:
		return p.deleteGroup(ctx, r)
	}
	return nil, notHere(r)
}

type groupBody struct {
	Location  string            `json:"location"`
	ManagedBy string            `json:"managedBy"`
	Tags      map[string]string `json:"tags"`
}

func (p *Provider) putGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b groupBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	g, created, err := p.svc.PutGroup(ctx, r.Caller, resource.Group{
		Subscription: p.svc.Subscription().ID, Name: r.ID.ResourceGroup,
		Location: canonical(b.Location), Tags: b.Tags, ManagedBy: b.ManagedBy,
	})
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return &arm.Response{Status: status, Body: renderGroup(g)}, nil
}

func (p *Provider) patchGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b groupBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	g, err := p.svc.TagGroup(ctx, r.Caller, r.ID, b.Tags)
	if err != nil {
		return nil, err
	}
	return arm.OK(renderGroup(g)), nil
}

func (p *Provider) deleteGroup(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	work, err := p.svc.BeginDeleteGroup(ctx, r.Caller, r.ID)
	if err != nil {
		return nil, err
	}
	op, err := p.svc.Operations.Start(r.Caller.ObjectID, patience, func(ctx context.Context) (any, error) { return nil, work(ctx) })
	switch {
	case err != nil:
		return nil, err
	case op.State == resource.Succeeded:
		return &arm.Response{Status: http.StatusOK}, nil
	}
	return &arm.Response{Status: http.StatusAccepted, Operation: op.ID, LocationOnly: true}, nil
}

func canonical(location string) string {
	return strings.ToLower(strings.ReplaceAll(location, " ", ""))
}

func provisioningState(g resource.Group) string {
	if g.Deleting {
		return "Deleting"
	}
	return "Succeeded"
}

func renderGroup(g resource.Group) any {
	m := map[string]any{"id": g.ID().String(), "name": g.Name, "type": "Microsoft.Resources/resourceGroups", "location": g.Location,
		"properties": map[string]string{"provisioningState": provisioningState(g)}}
	if g.Tags != nil {
		m["tags"] = g.Tags
	}
	if g.ManagedBy != "" {
		m["managedBy"] = g.ManagedBy
	}
	return m
}

// provider serves one provider's description and its registration.
func (p *Provider) provider(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	i := slices.IndexFunc(p.all, func(o arm.Provider) bool { return strings.EqualFold(o.Namespace(), r.ID.Provider) })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", r.ID.Provider)
	}
	o := p.all[i]
	if err := p.onProvider(ctx, r, o); err != nil {
		return nil, err
	}
	return arm.OK(p.renderProvider(o)), nil
}

// onProvider does what a request asks of a provider: to be shown, registered or unregistered.
func (p *Provider) onProvider(ctx context.Context, r *arm.Request, o arm.Provider) error {
	action := strings.ToLower(r.Action)
	switch {
	case r.Method == http.MethodGet:
		return p.readShared(ctx, r, "Microsoft.Resources/subscriptions/providers/read")
	case r.Method == http.MethodPost && (action == "register" || action == "unregister"):
		return p.svc.SetRegistered(ctx, r.Caller, o.Namespace(), action == "register")
	}
	return notHere(r)
}

// readShared authorises the read of what a subscription shares. Without a subscription in the
// path it is the tenant's, which everybody of the tenant may read.
func (p *Provider) readShared(ctx context.Context, r *arm.Request, action string) error {
	if r.ID.Subscription == "" {
		return nil
	}
	return p.svc.ReadSubscription(ctx, r.Caller, action)
}

func (p *Provider) providers() []any {
	list := []any{}
	for _, o := range p.all {
		list = append(list, p.renderProvider(o))
	}
	return list
}

func (p *Provider) renderProvider(o arm.Provider) any {
	types := []any{}
	for _, t := range o.ResourceTypes() {
		types = append(types, map[string]any{"resourceType": t.Name, "apiVersions": t.Versions, "locations": p.locationNames(), "capabilities": "SupportsTags, SupportsLocation"})
	}
	return map[string]any{"id": "/subscriptions/" + p.svc.Subscription().ID + "/providers/" + o.Namespace(), "namespace": o.Namespace(),
		"registrationState": p.svc.Registration(o.Namespace()), "registrationPolicy": "RegistrationRequired", "resourceTypes": types}
}
