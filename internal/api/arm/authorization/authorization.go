// Package authorization is the provider Microsoft.Authorization: role definitions and role
// assignments below any scope. The rules are in package rbac.
package authorization

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/rbac"
)

// Provider implements [arm.Provider].
type Provider struct {
	engine *rbac.Engine
	// principals returns the object ids under which grants to an object may stand: its own and its groups'.
	principals   func(objectID string) []string
	subscription string
}

var _ arm.Provider = (*Provider)(nil)

// New returns the provider. principals answers assignedTo filters.
func New(engine *rbac.Engine, subscription string, principals func(objectID string) []string) *Provider {
	return &Provider{engine: engine, subscription: subscription, principals: principals}
}

// Namespace is Microsoft.Authorization.
func (p *Provider) Namespace() string { return "Microsoft.Authorization" }

// ResourceTypes lists the types that az asks for.
func (p *Provider) ResourceTypes() []arm.ResourceType {
	v := []string{"2022-04-01", "2020-04-01-preview", "2018-01-01-preview"}
	return []arm.ResourceType{{Name: "roleAssignments", Versions: v}, {Name: "roleDefinitions", Versions: v}}
}

// Handle routes by type.
func (p *Provider) Handle(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch types := r.Types(); {
	case types == "roleassignments" && r.IsCollection():
		return p.listAssignments(ctx, r)
	case types == "roleassignments":
		return p.assignment(ctx, r)
	case types == "roledefinitions" && r.IsCollection():
		return p.listDefinitions(ctx, r)
	case types == "roledefinitions":
		return p.definition(ctx, r)
	case r.Method == http.MethodGet:
		// Deny assignments, locks, eligibility schedules, classic administrators: there are none.
		return arm.List[any](nil), nil
	}
	return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support this operation of Microsoft.Authorization.")
}

// guid is the last part of an id that may be given in full.
func guid(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

type assignmentBody struct {
	Properties struct {
		RoleDefinitionID string `json:"roleDefinitionId"`
		PrincipalID      string `json:"principalId"`
		Description      string `json:"description"`
	} `json:"properties"`
}

func (p *Provider) assignment(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch r.Method {
	case http.MethodPut:
		return p.putAssignment(ctx, r)
	case http.MethodGet:
		a, err := p.engine.Assignment(ctx, r.Caller, r.Scope, r.ID.Name())
		if err != nil {
			return nil, err
		}
		return arm.OK(p.renderAssignment(a)), nil
	case http.MethodDelete:
		a, ok, err := p.engine.DeleteAssignment(ctx, r.Caller, r.Scope, r.ID.Name())
		if err != nil {
			return nil, err
		}
		if !ok {
			return &arm.Response{Status: http.StatusNoContent}, nil
		}
		return arm.OK(p.renderAssignment(a)), nil
	}
	return nil, methodNotAllowed(r)
}

func methodNotAllowed(r *arm.Request) error {
	return fault.New(fault.NotImplemented, "MethodNotAllowed", "The method %s is not allowed here.", r.Method)
}

func (p *Provider) putAssignment(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b assignmentBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	a, created, err := p.engine.PutAssignment(ctx, r.Caller, rbac.Assignment{
		ID: r.ID.Name(), RoleID: guid(b.Properties.RoleDefinitionID), PrincipalID: b.Properties.PrincipalID,
		Scope: r.Scope, Description: b.Properties.Description,
	})
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return &arm.Response{Status: status, Body: p.renderAssignment(a)}, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

func (p *Provider) renderAssignment(a rbac.Assignment) any {
	prefix := a.Scope
	if prefix == "/" {
		prefix = ""
	}
	return map[string]any{
		"id": prefix + "/providers/Microsoft.Authorization/roleAssignments/" + a.ID, "name": a.ID, "type": "Microsoft.Authorization/roleAssignments",
		"properties": map[string]any{
			"roleDefinitionId": p.definitionID(a.RoleID), "principalId": a.PrincipalID, "principalType": string(a.PrincipalType), "scope": a.Scope,
			"createdOn": stamp(a.CreatedOn), "updatedOn": stamp(a.CreatedOn), "createdBy": a.CreatedBy, "updatedBy": a.CreatedBy,
			"description": nullable(a.Description), "condition": nil, "conditionVersion": nil, "delegatedManagedIdentityResourceId": nil,
		},
	}
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (p *Provider) definitionID(id string) string {
	return "/subscriptions/" + p.subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + id
}

// The clauses of $filter that clients send.
var (
	atScope     = regexp.MustCompile(`(?i)\batScope\(\)`)
	assignedTo  = regexp.MustCompile(`(?i)\bassignedTo\('([^']*)'\)`)
	principalEq = regexp.MustCompile(`(?i)\bprincipalId\s+eq\s+'([^']*)'`)
	roleNameEq  = regexp.MustCompile(`(?i)\broleName\s+eq\s+'((?:[^']|'')*)'`)
	typeEq      = regexp.MustCompile(`(?i)\btype\s+eq\s+'([^']*)'`)
)

func (p *Provider) listAssignments(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if r.Method != http.MethodGet {
		return nil, methodNotAllowed(r)
	}
	text := r.Query.Get("$filter")
	f := rbac.Filter{Scope: r.Scope, AtScope: atScope.MatchString(text)}
	if m := principalEq.FindStringSubmatch(text); m != nil {
		f.Principal = m[1]
	}
	if m := assignedTo.FindStringSubmatch(text); m != nil {
		f.Any = p.principals(m[1])
	}
	list, err := p.engine.Assignments(ctx, r.Caller, f)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, a := range list {
		out = append(out, p.renderAssignment(a))
	}
	return arm.List(out), nil
}

func (p *Provider) listDefinitions(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if r.Method != http.MethodGet {
		return nil, methodNotAllowed(r)
	}
	list, err := p.engine.Definitions(ctx, r.Caller, r.Scope)
	if err != nil {
		return nil, err
	}
	text := r.Query.Get("$filter")
	out := []any{}
	for _, d := range list {
		if selects(roleNameEq, text, d.Name) && selects(typeEq, text, kind(d)) {
			out = append(out, p.renderDefinition(d))
		}
	}
	return arm.List(out), nil
}

// selects reports whether a filter's clause, where it is there, names the value.
func selects(clause *regexp.Regexp, text, value string) bool {
	m := clause.FindStringSubmatch(text)
	return m == nil || strings.EqualFold(strings.ReplaceAll(m[1], "''", "'"), value)
}

func kind(d rbac.Definition) string {
	if d.BuiltIn {
		return "BuiltInRole"
	}
	return "CustomRole"
}

func (p *Provider) definition(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch r.Method {
	case http.MethodGet:
		d, err := p.engine.Definition(ctx, r.Caller, r.Scope, r.ID.Name())
		if err != nil {
			return nil, err
		}
		return arm.OK(p.renderDefinition(d)), nil
	case http.MethodPut:
		return p.putDefinition(ctx, r)
	case http.MethodDelete:
		d, ok, err := p.engine.DeleteDefinition(ctx, r.Caller, r.Scope, r.ID.Name())
		if err != nil {
			return nil, err
		}
		if !ok {
			return &arm.Response{Status: http.StatusNoContent}, nil
		}
		return arm.OK(p.renderDefinition(d)), nil
	}
	return nil, methodNotAllowed(r)
}

type definitionBody struct {
	Properties struct {
		RoleName         string       `json:"roleName"`
		Description      string       `json:"description"`
		AssignableScopes []string     `json:"assignableScopes"`
		Permissions      []permission `json:"permissions"`
	} `json:"properties"`
}

type permission struct {
	Actions        []string `json:"actions"`
	NotActions     []string `json:"notActions"`
	DataActions    []string `json:"dataActions"`
	NotDataActions []string `json:"notDataActions"`
}

func (p *Provider) putDefinition(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b definitionBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	d := rbac.Definition{ID: r.ID.Name(), Name: b.Properties.RoleName, Description: b.Properties.Description, AssignableScopes: b.Properties.AssignableScopes}
	for _, x := range b.Properties.Permissions {
		d.Permissions = append(d.Permissions, rbac.Permission(x))
	}
	d, created, err := p.engine.PutDefinition(ctx, r.Caller, r.Scope, d)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return &arm.Response{Status: status, Body: p.renderDefinition(d)}, nil
}

func (p *Provider) renderDefinition(d rbac.Definition) any {
	list := []permission{}
	for _, x := range d.Permissions {
		list = append(list, permission{orEmpty(x.Actions), orEmpty(x.NotActions), orEmpty(x.DataActions), orEmpty(x.NotDataActions)})
	}
	return map[string]any{
		"id": p.definitionID(d.ID), "name": d.ID, "type": "Microsoft.Authorization/roleDefinitions",
		"properties": map[string]any{"roleName": d.Name, "type": kind(d), "description": d.Description,
			"assignableScopes": d.AssignableScopes, "permissions": list},
	}
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
