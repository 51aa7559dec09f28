// Package resources is the provider of everything in Resource Manager that belongs to no provider:
// tenants, subscriptions, resource groups, the list of all resources, the list of providers. The
// rules are in package resource.
package resources

import (
	"context"
	"net/http"
	"regexp"
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
	others   []arm.Provider
}

var _ arm.Provider = (*Provider)(nil)

// New returns the provider. others are the providers that az lists.
func New(svc *resource.Service, tenantID string, others []arm.Provider) *Provider {
	return &Provider{svc: svc, tenantID: tenantID, others: others}
}

// Namespace is Microsoft.Resources.
func (p *Provider) Namespace() string { return "Microsoft.Resources" }

// ResourceTypes lists the types that az asks for.
func (p *Provider) ResourceTypes() []arm.ResourceType {
	v := []string{"2024-11-01", "2021-04-01"}
	return []arm.ResourceType{{Name: "subscriptions", Versions: v}, {Name: "resourceGroups", Versions: v}, {Name: "deployments", Versions: v}}
}

// Handle routes by the chain of types.
func (p *Provider) Handle(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if r.ID.Provider != "" && !strings.EqualFold(r.ID.Provider, p.Namespace()) {
		return p.provider(ctx, r)
	}
	switch types := r.Types(); {
	case r.ID.ResourceGroup != "" && types == "":
		return p.group(ctx, r)
	case r.Method == http.MethodGet && types == "" && r.ID.Subscription != "":
		return arm.OK(p.subscription()), nil
	case r.Method == http.MethodGet && strings.HasPrefix(types, "deployments"):
		return arm.List[any](nil), nil
	case r.Method == http.MethodGet:
		return p.collection(ctx, r, types)
	}
	return nil, notHere(r)
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
	case "locations":
		return arm.List(p.locations()), nil
	case "resourcegroups":
		return p.groups(ctx, r)
	case "resources":
		return p.resources(ctx, r)
	case "providers":
		return p.providers(), nil
	case "tagnames":
		return arm.List[any](nil), nil
	}
	return nil, notHere(r)
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

func renderGroup(g resource.Group) any {
	m := map[string]any{"id": g.ID().String(), "name": g.Name, "type": "Microsoft.Resources/resourceGroups", "location": g.Location,
		"properties": map[string]string{"provisioningState": "Succeeded"}}
	if g.Tags != nil {
		m["tags"] = g.Tags
	}
	if g.ManagedBy != "" {
		m["managedBy"] = g.ManagedBy
	}
	return m
}

func (p *Provider) groups(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	keep, err := parseFilter(r.Query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, g := range p.svc.Groups(ctx, r.Caller) {
		if keep.tags(g.Tags) {
			list = append(list, renderGroup(g))
		}
	}
	return arm.List(list), nil
}

func (p *Provider) resources(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	keep, err := parseFilter(r.Query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	if r.ID.ResourceGroup != "" {
		if err := p.svc.RequireGroup(r.ID.ResourceGroup); err != nil {
			return nil, err
		}
	}
	all, err := p.svc.List(ctx, r.Caller, r.ID.ResourceGroup)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, g := range all {
		if keep.resource(g) {
			list = append(list, renderGeneric(g, r.Query.Get("$expand")))
		}
	}
	return arm.List(list), nil
}

func renderGeneric(g resource.Generic, expand string) any {
	m := map[string]any{"id": g.ID.String(), "name": g.ID.Name(), "type": g.ID.Type(), "location": g.Location}
	if g.Kind != "" {
		m["kind"] = g.Kind
	}
	if len(g.Tags) > 0 {
		m["tags"] = g.Tags
	}
	if strings.Contains(expand, "createdTime") {
		m["createdTime"] = g.Created.UTC().Format(time.RFC3339Nano)
	}
	if strings.Contains(expand, "changedTime") {
		m["changedTime"] = g.Created.UTC().Format(time.RFC3339Nano)
	}
	if strings.Contains(expand, "provisioningState") {
		m["provisioningState"] = g.State
	}
	return m
}

// filter is a parsed $filter of the lists: a conjunction of equalities.
type filter map[string]string

var clause = regexp.MustCompile(`(?i)^\s*(resourceType|name|resourceGroup|location|tagName|tagValue)\s+eq\s+'((?:[^']|'')*)'\s*$`)

func parseFilter(s string) (filter, error) {
	f := filter{}
	if strings.TrimSpace(s) == "" {
		return f, nil
	}
	for _, part := range regexp.MustCompile(`(?i)\s+and\s+`).Split(s, -1) {
		m := clause.FindStringSubmatch(part)
		if m == nil {
			return nil, fault.New(fault.Invalid, "InvalidFilterInQueryString", "Invalid $filter '%s' specified in the query string.", s)
		}
		f[strings.ToLower(m[1])] = strings.ReplaceAll(m[2], "''", "'")
	}
	return f, nil
}

func (f filter) is(name, value string) bool {
	want, ok := f[name]
	return !ok || strings.EqualFold(want, value)
}

func (f filter) tags(t map[string]string) bool {
	name, ok := f["tagname"]
	if !ok {
		return true
	}
	value, has := t[name]
	return has && f.is("tagvalue", value)
}

func (f filter) resource(g resource.Generic) bool {
	return f.is("resourcetype", g.ID.Type()) && f.is("name", g.ID.Name()) && f.is("resourcegroup", g.ID.ResourceGroup) &&
		f.is("location", canonical(g.Location)) && f.tags(g.Tags)
}

// provider serves one provider's description and its registration.
func (p *Provider) provider(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	for _, o := range append(p.others, p) {
		if !strings.EqualFold(o.Namespace(), r.ID.Provider) {
			continue
		}
		if strings.EqualFold(r.Action, "register") {
			if err := p.svc.Register(ctx, r.Caller, o.Namespace()); err != nil {
				return nil, err
			}
		}
		return arm.OK(p.renderProvider(o)), nil
	}
	return nil, fault.New(fault.NotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", r.ID.Provider)
}

func (p *Provider) providers() *arm.Response {
	list := []any{}
	for _, o := range append(p.others, p) {
		list = append(list, p.renderProvider(o))
	}
	return arm.List(list)
}

func (p *Provider) renderProvider(o arm.Provider) any {
	types := []any{}
	for _, t := range o.ResourceTypes() {
		types = append(types, map[string]any{"resourceType": t.Name, "apiVersions": t.Versions, "locations": p.locationNames(), "capabilities": "SupportsTags, SupportsLocation"})
	}
	return map[string]any{"id": "/subscriptions/" + p.svc.Subscription().ID + "/providers/" + o.Namespace(), "namespace": o.Namespace(),
		"registrationState": "Registered", "registrationPolicy": "RegistrationRequired", "resourceTypes": types}
}
