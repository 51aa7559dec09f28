package documentdb

import (
	"context"
	"net/http"
	"strings"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// dataScope turns a scope below an account's resource id, or one that is written from the account
// on, into the form that the data plane uses: "/", "/dbs/d", "/dbs/d/colls/c".
func dataScope(account uri.ResourceID, scope string) (string, error) {
	if rest, ok := uri.Below(scope, account.String()); ok {
		return "/" + rest, nil
	}
	if strings.HasPrefix(strings.ToLower(scope), "/subscriptions/") {
		return "", fault.New(fault.Invalid, "BadRequest", "The scope '%s' is not below the database account.", scope)
	}
	return "/" + strings.Trim(scope, "/"), nil
}

// fullScope is the form that Resource Manager shows.
func fullScope(account uri.ResourceID, scope string) string {
	if scope == "/" {
		return account.String()
	}
	return account.String() + scope
}

func guid(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

type roleDefinitionBody struct {
	Properties struct {
		RoleName         string   `json:"roleName"`
		AssignableScopes []string `json:"assignableScopes"`
		Permissions      []struct {
			DataActions    []string `json:"dataActions"`
			NotDataActions []string `json:"notDataActions"`
		} `json:"permissions"`
	} `json:"properties"`
}

func (b roleDefinitionBody) definition(below uri.ResourceID, id string) (account.RoleDefinition, error) {
	def := account.RoleDefinition{ID: id, Name: b.Properties.RoleName}
	for _, s := range b.Properties.AssignableScopes {
		scope, err := dataScope(below, s)
		if err != nil {
			return def, err
		}
		def.AssignableScopes = append(def.AssignableScopes, scope)
	}
	for _, p := range b.Properties.Permissions {
		if len(p.NotDataActions) > 0 {
			return def, fault.New(fault.Invalid, "BadRequest", "NotDataActions are not supported.")
		}
		def.DataActions = append(def.DataActions, p.DataActions...)
	}
	return def, nil
}

func (p *Provider) roleDefinitions(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	id := accountID(r)
	switch {
	case r.Method == http.MethodPut:
		var b roleDefinitionBody
		if err := r.Decode(&b); err != nil {
			return nil, err
		}
		def, err := b.definition(id, r.ID.Name())
		if err != nil {
			return nil, err
		}
		if err := p.accounts.PutRoleDefinition(ctx, r.Caller, id, def); err != nil {
			return nil, err
		}
		return p.done(r, renderRoleDefinition(id, def))
	case r.Method == http.MethodDelete:
		if err := p.accounts.DeleteRoleDefinition(ctx, r.Caller, id, r.ID.Name()); err != nil {
			return nil, err
		}
		return &arm.Response{Status: http.StatusNoContent}, nil
	case r.Method != http.MethodGet:
		return nil, methodNotAllowed(r)
	}
	list, err := p.accounts.RoleDefinitions(ctx, r.Caller, id)
	if err != nil {
		return nil, err
	}
	return listOrOne(r, list, func(d account.RoleDefinition) string { return d.ID }, func(d account.RoleDefinition) any { return renderRoleDefinition(id, d) })
}

// listOrOne answers a collection, or the one of its items that the request names.
func listOrOne[T any](r *arm.Request, list []T, id func(T) string, render func(T) any) (*arm.Response, error) {
	out := []any{}
	for _, x := range list {
		if r.IsCollection() {
			out = append(out, render(x))
		} else if strings.EqualFold(id(x), r.ID.Name()) {
			return arm.OK(render(x)), nil
		}
	}
	if r.IsCollection() {
		return arm.List(out), nil
	}
	return nil, fault.New(fault.NotFound, "NotFound", "The resource '%s' does not exist.", r.ID.Name())
}

// done answers a change that is done already, in the form of the service: 202 with an operation that
// has succeeded.
func (p *Provider) done(r *arm.Request, shown any) (*arm.Response, error) {
	op, err := p.resources.Operations.Start(r.Caller.ObjectID, patience, func(context.Context) (any, error) { return shown, nil })
	if err != nil {
		return nil, err
	}
	return &arm.Response{Status: http.StatusAccepted, Body: map[string]string{"status": "Enqueued"}, Operation: op.ID}, nil
}

func renderRoleDefinition(id uri.ResourceID, d account.RoleDefinition) any {
	kind := "CustomRole"
	if d.BuiltIn {
		kind = "BuiltInRole"
	}
	scopes := []string{}
	for _, s := range d.AssignableScopes {
		scopes = append(scopes, fullScope(id, s))
	}
	return map[string]any{"id": id.Child("sqlRoleDefinitions", d.ID).String(), "name": d.ID, "type": account.Type + "/sqlRoleDefinitions",
		"properties": map[string]any{"roleName": d.Name, "type": kind, "assignableScopes": scopes,
			"permissions": []any{map[string]any{"dataActions": d.DataActions, "notDataActions": []string{}}}}}
}

func (p *Provider) roleAssignments(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	id := accountID(r)
	switch {
	case r.Method == http.MethodPut:
		return p.putRoleAssignment(ctx, r, id)
	case r.Method == http.MethodDelete:
		if err := p.accounts.DeleteRoleAssignment(ctx, r.Caller, id, r.ID.Name()); err != nil {
			return nil, err
		}
		return &arm.Response{Status: http.StatusNoContent}, nil
	case r.Method != http.MethodGet:
		return nil, methodNotAllowed(r)
	}
	list, err := p.accounts.RoleAssignments(ctx, r.Caller, id)
	if err != nil {
		return nil, err
	}
	return listOrOne(r, list, func(g account.RoleAssignment) string { return g.ID }, func(g account.RoleAssignment) any { return renderRoleAssignment(id, g) })
}

func (p *Provider) putRoleAssignment(ctx context.Context, r *arm.Request, id uri.ResourceID) (*arm.Response, error) {
	var b struct {
		Properties struct {
			RoleDefinitionID string `json:"roleDefinitionId"`
			Scope            string `json:"scope"`
			PrincipalID      string `json:"principalId"`
		} `json:"properties"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	scope, err := dataScope(id, b.Properties.Scope)
	if err != nil {
		return nil, err
	}
	g := account.RoleAssignment{ID: r.ID.Name(), RoleID: guid(b.Properties.RoleDefinitionID), PrincipalID: b.Properties.PrincipalID, Scope: scope}
	if err := p.accounts.PutRoleAssignment(ctx, r.Caller, id, g); err != nil {
		return nil, err
	}
	return p.done(r, renderRoleAssignment(id, g))
}

func renderRoleAssignment(id uri.ResourceID, g account.RoleAssignment) any {
	return map[string]any{"id": id.Child("sqlRoleAssignments", g.ID).String(), "name": g.ID, "type": account.Type + "/sqlRoleAssignments",
		"properties": map[string]any{"roleDefinitionId": id.Child("sqlRoleDefinitions", g.RoleID).String(), "principalId": g.PrincipalID, "scope": fullScope(id, g.Scope)}}
}
