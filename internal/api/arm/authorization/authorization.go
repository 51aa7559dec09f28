// Package authorization is the provider Microsoft.Authorization: role definitions and role
// assignments below any scope. The rules are in package rbac.
package authorization

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
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
	var types []arm.ResourceType
	for _, name := range []string{"roleAssignments", "roleDefinitions", "permissions", "denyAssignments", "locks", "classicAdministrators", "providerOperations"} {
		types = append(types, arm.ResourceType{Name: name, Versions: v})
	}
	return types
}

// absent are the types of which this server has none: their lists are empty. az and Terraform read
// them beside role assignments.
var absent = map[string]bool{
	"denyassignments": true, "locks": true, "classicadministrators": true, "provideroperations": true,
	"roleeligibilityschedules": true, "roleeligibilityscheduleinstances": true, "roleeligibilityschedulerequests": true,
	"roleassignmentschedules": true, "roleassignmentscheduleinstances": true, "roleassignmentschedulerequests": true,
	"rolemanagementpolicies": true, "rolemanagementpolicyassignments": true,
	"policyassignments": true, "policydefinitions": true, "policysetdefinitions": true, "policyexemptions": true,
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
	case types == "permissions" && r.IsCollection() && r.Method == http.MethodGet:
		return arm.List(renderPermissions(rbac.Definition{Permissions: p.engine.Permissions(r.Caller, r.Scope)})), nil
	case absent[types] && r.Method == http.MethodGet:
		return p.none(r)
	case absent[types]:
		return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support this operation of Microsoft.Authorization.")
	}
	return nil, fault.New(fault.NotFound, "InvalidResourceType", "The resource type could not be found in the namespace 'Microsoft.Authorization'.")
}

func (p *Provider) none(r *arm.Request) (*arm.Response, error) {
	if r.IsCollection() {
		return arm.List[any](nil), nil
	}
	return nil, fault.New(fault.NotFound, "ResourceNotFound", "The resource '%s' of Microsoft.Authorization was not found.", r.ID.Name())
}

// guid is the last part of an id that may be given in full.
func guid(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

type assignmentBody struct {
	Properties struct {
		RoleDefinitionID string `json:"roleDefinitionId"`
		PrincipalID      string `json:"principalId"`
		PrincipalType    string `json:"principalType"`
		Description      string `json:"description"`
		Condition        string `json:"condition"`
		Delegated        string `json:"delegatedManagedIdentityResourceId"`
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
	if b.Properties.Condition != "" || b.Properties.Delegated != "" {
		// A grant without its condition would be wider than what was asked for.
		return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support conditions or delegated identities on role assignments.")
	}
	a, created, err := p.engine.PutAssignment(ctx, r.Caller, rbac.Assignment{
		ID: r.ID.Name(), RoleID: guid(b.Properties.RoleDefinitionID), PrincipalID: b.Properties.PrincipalID,
		PrincipalType: principal.Kind(b.Properties.PrincipalType), Scope: r.Scope, Description: b.Properties.Description,
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

func (p *Provider) listAssignments(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if r.Method != http.MethodGet {
		return nil, methodNotAllowed(r)
	}
	f, err := p.assignmentFilter(r)
	if err != nil {
		return nil, err
	}
	list, err := p.engine.Assignments(ctx, r.Caller, f)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, a := range list {
		out = append(out, p.renderAssignment(a))
	}
	return arm.Page(r, out)
}

// assignmentFilter reads the filters of role assignments: atScope(), assignedTo('id') and principalId
// eq 'id', joined by "and".
func (p *Provider) assignmentFilter(r *arm.Request) (rbac.Filter, error) {
	text := r.Query.Get("$filter")
	f := rbac.Filter{Scope: r.Scope}
	parsed, err := arm.ParseFilter(text)
	if err != nil || len(parsed) == 0 {
		return f, err
	}
	for _, c := range parsed[0] {
		switch {
		case c.Op == "atscope" && len(c.Args) == 0:
			f.AtScope = true
		case c.Op == "assignedto" && len(c.Args) == 1 && f.Any == nil:
			f.Any = append([]string{c.Args[0]}, p.principals(c.Args[0])...)
		case c.Op == "eq" && c.Args[0] == "principalid" && f.Principal == "" && c.Args[1] != "":
			f.Principal = c.Args[1]
		default:
			return f, arm.BadFilter(text)
		}
	}
	if len(parsed) > 1 {
		return f, arm.BadFilter(text)
	}
	return f, nil
}

func (p *Provider) listDefinitions(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if r.Method != http.MethodGet {
		return nil, methodNotAllowed(r)
	}
	text := r.Query.Get("$filter")
	f, err := arm.ParseFilter(text)
	if err != nil {
		return nil, err
	}
	if _, known := f.Match(holds(rbac.Definition{})); !known {
		return nil, arm.BadFilter(text)
	}
	list, err := p.engine.Definitions(ctx, r.Caller, r.Scope)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, d := range list {
		if ok, _ := f.Match(holds(d)); ok {
			out = append(out, p.renderDefinition(d))
		}
	}
	return arm.Page(r, out)
}

// holds evaluates the clauses that clients use on role definitions. A list is always at the scope and
// below it.
func holds(d rbac.Definition) func(arm.Clause) (bool, bool) {
	return func(c arm.Clause) (holds, known bool) {
		switch {
		case c.Op == "atscopeandbelow" || c.Op == "atscope":
			return true, len(c.Args) == 0
		case c.Op == "eq" && c.Args[0] == "rolename":
			return strings.EqualFold(d.Name, c.Args[1]), true
		case c.Op == "eq" && c.Args[0] == "type":
			return strings.EqualFold(kind(d), c.Args[1]), true
		}
		return false, false
	}
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

	Condition        string `json:"condition,omitzero"`
	ConditionVersion string `json:"conditionVersion,omitzero"`
}

func (p *Provider) putDefinition(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b definitionBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	d := rbac.Definition{ID: r.ID.Name(), Name: b.Properties.RoleName, Description: b.Properties.Description, AssignableScopes: b.Properties.AssignableScopes}
	for _, x := range b.Properties.Permissions {
		if x.Condition != "" {
			return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support conditions in role definitions.")
		}
		d.Permissions = append(d.Permissions, rbac.Permission{Actions: x.Actions, NotActions: x.NotActions, DataActions: x.DataActions, NotDataActions: x.NotDataActions})
	}
	d, _, err := p.engine.PutDefinition(ctx, r.Caller, r.Scope, d)
	if err != nil {
		return nil, err
	}
	// 201 for a replacement too: az takes no other status for success here.
	return &arm.Response{Status: http.StatusCreated, Body: p.renderDefinition(d)}, nil
}

func (p *Provider) renderDefinition(d rbac.Definition) any {
	return map[string]any{
		"id": p.definitionID(d.ID), "name": d.ID, "type": "Microsoft.Authorization/roleDefinitions",
		"properties": map[string]any{"roleName": d.Name, "type": kind(d), "description": d.Description,
			"assignableScopes": d.AssignableScopes, "permissions": renderPermissions(d)},
	}
}

// renderPermissions shows a role's blocks, and what its holders may delegate as the condition by which
// the service says it.
func renderPermissions(d rbac.Definition) []permission {
	list := []permission{}
	for _, x := range d.Permissions {
		shown := permission{Actions: orEmpty(x.Actions), NotActions: orEmpty(x.NotActions), DataActions: orEmpty(x.DataActions), NotDataActions: orEmpty(x.NotDataActions)}
		if len(d.Delegable) > 0 {
			shown.Condition, shown.ConditionVersion = condition(d.Delegable), "2.0"
		}
		list = append(list, shown)
	}
	return list
}

func condition(roles []string) string {
	limit := func(verb, source string) string {
		const of = "Microsoft.Authorization/roleAssignments"
		return "((!(ActionMatches{'" + of + "/" + verb + "'})) OR (@" + source + "[" + of + ":RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {" + strings.Join(roles, ", ") + "}))"
	}
	return limit("write", "Request") + " AND " + limit("delete", "Resource")
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
