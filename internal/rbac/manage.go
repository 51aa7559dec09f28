package rbac

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// The actions of this package's own domain.
const (
	actionAssignments = "Microsoft.Authorization/roleAssignments/"
	actionDefinitions = "Microsoft.Authorization/roleDefinitions/"
)

// guard is the first line of every method that changes something.
func (e *Engine) guard(ctx context.Context, c principal.Caller, action, scope string) error {
	decision := e.Authorize(ctx, c, action, scope)
	if decision == nil && strings.HasSuffix(action, "/read") {
		return nil
	}
	ev := audit.Event{Time: e.cfg.Now(), Operation: action, Resource: scope, Outcome: audit.Allowed,
		Principal: c.ObjectID, AppID: c.AppID, Caller: c.Label(), Address: c.Address, Request: c.Request}
	if decision != nil {
		ev.Outcome, ev.Reason = audit.Denied, "AuthorizationFailed"
	}
	if err := e.cfg.Audit.Record(ctx, ev); err != nil {
		return err
	}
	return decision
}

// cleanScope is a scope in the form in which it is kept.
func cleanScope(scope string) string { return "/" + strings.Trim(scope, "/") }

func assignmentKey(id string) string { return strings.ToLower(id) }

// PutAssignment makes an assignment. created is false when the same one stood there already.
func (e *Engine) PutAssignment(ctx context.Context, c principal.Caller, a Assignment) (made Assignment, created bool, err error) {
	a.Scope = cleanScope(a.Scope)
	if err := e.guard(ctx, c, actionAssignments+"write", a.Scope); err != nil {
		return a, false, err
	}
	if uuid.Validate(a.ID) != nil {
		return a, false, fault.New(fault.Invalid, "InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", a.ID)
	}
	if a.PrincipalType, err = e.principalType(a.PrincipalID); err != nil {
		return a, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	if _, ok := s.definition(a.RoleID); !ok {
		return a, false, fault.New(fault.NotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", a.RoleID)
	}
	if old, exists, err := s.clash(a); exists || err != nil {
		return old, false, err
	}
	a.CreatedOn, a.CreatedBy = e.cfg.Now().UTC(), c.ObjectID
	if err := e.assignments.Put(assignmentKey(a.ID), a); err != nil {
		return a, false, err
	}
	next := &state{assignments: maps.Clone(s.assignments), custom: s.custom}
	next.assignments[assignmentKey(a.ID)] = a
	e.publish(next)
	e.cfg.OnChange()
	return a, true, nil
}

func (e *Engine) principalType(id string) (principal.Kind, error) {
	if uuid.Validate(id) != nil {
		return "", fault.New(fault.Invalid, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
	}
	kind, ok := e.cfg.Principals(id)
	if !ok {
		return "", fault.New(fault.Invalid, "PrincipalNotFound",
			"Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.",
			strings.ReplaceAll(id, "-", ""), e.cfg.Tenant)
	}
	return kind, nil
}

// clash finds an assignment that a would repeat (exists) or contradict (an error).
func (s *state) clash(a Assignment) (old Assignment, exists bool, err error) {
	for _, b := range s.assignments {
		same := strings.EqualFold(b.RoleID, a.RoleID) && b.PrincipalID == a.PrincipalID && strings.EqualFold(b.Scope, a.Scope)
		switch {
		case strings.EqualFold(b.ID, a.ID) && same:
			return b, true, nil
		case strings.EqualFold(b.ID, a.ID):
			return b, false, fault.New(fault.Conflict, "RoleAssignmentUpdateNotPermitted", "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
		case same:
			return b, false, fault.New(fault.Conflict, "RoleAssignmentExists", "The role assignment already exists. The ID of the existing role assignment is %s.", strings.ReplaceAll(b.ID, "-", ""))
		}
	}
	return a, false, nil
}

// Assignment returns one assignment by its id.
func (e *Engine) Assignment(ctx context.Context, c principal.Caller, scope, id string) (Assignment, error) {
	if err := e.guard(ctx, c, actionAssignments+"read", cleanScope(scope)); err != nil {
		return Assignment{}, err
	}
	a, ok := e.state.Load().assignments[assignmentKey(id)]
	if !ok || !strings.EqualFold(a.Scope, cleanScope(scope)) {
		return Assignment{}, fault.New(fault.NotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", id)
	}
	return a, nil
}

// DeleteAssignment removes an assignment and returns it; ok is false when there was none.
func (e *Engine) DeleteAssignment(ctx context.Context, c principal.Caller, scope, id string) (a Assignment, ok bool, err error) {
	if err := e.guard(ctx, c, actionAssignments+"delete", cleanScope(scope)); err != nil {
		return a, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	a, ok = s.assignments[assignmentKey(id)]
	if !ok || !strings.EqualFold(a.Scope, cleanScope(scope)) {
		return a, false, nil
	}
	if err := e.assignments.Delete(assignmentKey(id)); err != nil {
		return a, false, err
	}
	next := &state{assignments: maps.Clone(s.assignments), custom: s.custom}
	delete(next.assignments, assignmentKey(id))
	e.publish(next)
	e.cfg.OnChange()
	return a, true, nil
}

// Forget removes what stands at scope and below it, when the resource there is gone for good.
func (e *Engine) Forget(scope string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	next := &state{assignments: maps.Clone(s.assignments), custom: s.custom}
	for key, a := range s.assignments {
		if !uri.Within(a.Scope, scope) {
			continue
		}
		if err := e.assignments.Delete(key); err != nil {
			return err
		}
		delete(next.assignments, key)
	}
	if len(next.assignments) != len(s.assignments) {
		e.publish(next)
		e.cfg.OnChange()
	}
	return nil
}

// Filter selects assignments of a list.
type Filter struct {
	Scope     string
	AtScope   bool     // only at Scope and above; else below it too
	Principal string   // "" for all
	Any       []string // any of these principals; nil for all
}

// Assignments lists what the filter selects, oldest first.
func (e *Engine) Assignments(ctx context.Context, c principal.Caller, f Filter) ([]Assignment, error) {
	if err := e.guard(ctx, c, actionAssignments+"read", cleanScope(f.Scope)); err != nil {
		return nil, err
	}
	var out []Assignment
	for _, a := range e.state.Load().assignments {
		in := uri.Within(f.Scope, a.Scope) || !f.AtScope && uri.Within(a.Scope, f.Scope)
		if in && (f.Principal == "" || strings.EqualFold(f.Principal, a.PrincipalID)) && (f.Any == nil || slices.Contains(f.Any, a.PrincipalID)) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Assignment) int {
		if d := a.CreatedOn.Compare(b.CreatedOn); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// Definitions lists the roles that can be assigned at scope, built-in ones first, by name.
func (e *Engine) Definitions(ctx context.Context, c principal.Caller, scope string) ([]Definition, error) {
	if err := e.guard(ctx, c, actionDefinitions+"read", cleanScope(scope)); err != nil {
		return nil, err
	}
	out := slices.Collect(maps.Values(builtIn))
	for _, d := range e.state.Load().custom {
		if slices.ContainsFunc(d.AssignableScopes, func(s string) bool { return uri.Within(scope, s) || uri.Within(s, scope) }) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Definition) int {
		if a.BuiltIn != b.BuiltIn {
			return map[bool]int{true: -1, false: 1}[a.BuiltIn]
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}

// Definition returns one role by its GUID.
func (e *Engine) Definition(ctx context.Context, c principal.Caller, scope, id string) (Definition, error) {
	if err := e.guard(ctx, c, actionDefinitions+"read", cleanScope(scope)); err != nil {
		return Definition{}, err
	}
	d, ok := e.state.Load().definition(id)
	if !ok {
		return Definition{}, noDefinition(id)
	}
	return d, nil
}

func noDefinition(id string) error {
	return fault.New(fault.NotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", id)
}

// PutDefinition creates or replaces a custom role.
func (e *Engine) PutDefinition(ctx context.Context, c principal.Caller, d Definition) (created bool, err error) {
	if len(d.AssignableScopes) == 0 {
		return false, fault.New(fault.Invalid, "MissingAssignableScopes", "A role definition needs at least one assignable scope.")
	}
	for _, scope := range d.AssignableScopes {
		if err := e.guard(ctx, c, actionDefinitions+"write", cleanScope(scope)); err != nil {
			return false, err
		}
	}
	if _, ok := builtIn[strings.ToLower(d.ID)]; ok || uuid.Validate(d.ID) != nil || d.Name == "" {
		return false, fault.New(fault.Invalid, "InvalidRoleDefinition", "The role definition needs a GUID that no built-in role has, and a name.")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	key := strings.ToLower(d.ID)
	_, existed := s.custom[key]
	if err := e.definitions.Put(key, d); err != nil {
		return false, err
	}
	next := &state{assignments: s.assignments, custom: maps.Clone(s.custom)}
	next.custom[key] = d
	e.publish(next)
	e.cfg.OnChange()
	return !existed, nil
}

// DeleteDefinition removes a custom role that nobody has; ok is false when there was none.
func (e *Engine) DeleteDefinition(ctx context.Context, c principal.Caller, scope, id string) (d Definition, ok bool, err error) {
	if err := e.guard(ctx, c, actionDefinitions+"delete", cleanScope(scope)); err != nil {
		return d, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	key := strings.ToLower(id)
	if d, ok = s.custom[key]; !ok {
		return d, false, nil
	}
	for _, a := range s.assignments {
		if strings.EqualFold(a.RoleID, id) {
			return d, true, fault.New(fault.Invalid, "RoleDefinitionHasAssignments", "There are existing role assignments referencing role '%s'.", id)
		}
	}
	if err := e.definitions.Delete(key); err != nil {
		return d, true, err
	}
	next := &state{assignments: s.assignments, custom: maps.Clone(s.custom)}
	delete(next.custom, key)
	e.publish(next)
	e.cfg.OnChange()
	return d, true, nil
}

// Bootstrap makes objectID the owner of everything, once.
func (e *Engine) Bootstrap(ctx context.Context, objectID string) error {
	for _, a := range e.state.Load().assignments {
		if a.PrincipalID == objectID && a.Scope == "/" && a.RoleID == RoleOwner {
			return nil
		}
	}
	_, _, err := e.PutAssignment(ctx, principal.Server("first start"), Assignment{
		ID: uuid.NewString(), RoleID: RoleOwner, PrincipalID: objectID, Scope: "/",
	})
	return err
}
