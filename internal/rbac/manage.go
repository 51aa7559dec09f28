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

// guard is the first line of every method that callers reach.
func (e *Engine) guard(ctx context.Context, c principal.Caller, action, scope string) error {
	return e.guardRole(ctx, c, action, scope, "")
}

// guardRole is guard for an action that gives or takes away role.
func (e *Engine) guardRole(ctx context.Context, c principal.Caller, action, scope, role string) error {
	decision := e.decide(c, action, scope, false, role).Refusal
	if decision == nil && strings.HasSuffix(action, "/read") {
		return nil
	}
	if err := e.cfg.Audit.Record(ctx, audit.By(c, e.cfg.Now(), action, scope).Decided(decision)); err != nil {
		return err
	}
	return decision
}

// cleanScope is a scope in the form in which it is kept: no trailing slash, the keywords of resource
// ids in their usual case, names as they were written.
func cleanScope(scope string) string {
	if id, err := uri.ParseResourceID(scope); err == nil {
		return id.String()
	}
	return "/" + strings.Trim(scope, "/")
}

// below is the id of an assignment or definition of this domain at scope, in action's words.
func below(scope, action, id string) string {
	return strings.TrimSuffix(cleanScope(scope), "/") + "/providers/" + action + id
}

func assignmentKey(id string) string { return strings.ToLower(id) }

// PutAssignment makes an assignment. created is false when the same one stood there already. A
// PrincipalType that is not "" must be the principal's.
func (e *Engine) PutAssignment(ctx context.Context, c principal.Caller, a Assignment) (made Assignment, created bool, err error) {
	a.Scope, a.RoleID, a.PrincipalID = cleanScope(a.Scope), strings.ToLower(a.RoleID), strings.ToLower(a.PrincipalID)
	if err := e.guardRole(ctx, c, actionAssignments+"write", below(a.Scope, actionAssignments, a.ID), a.RoleID); err != nil {
		return a, false, err
	}
	if uuid.Validate(a.ID) != nil {
		return a, false, fault.New(fault.Invalid, "InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", a.ID)
	}
	if a.PrincipalType, err = e.principalType(a); err != nil {
		return a, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	if err := s.assignable(a); err != nil {
		return a, false, err
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

// principalType is the kind of an assignment's principal, which the request may state and not bend.
func (e *Engine) principalType(a Assignment) (principal.Kind, error) {
	if uuid.Validate(a.PrincipalID) != nil {
		return "", fault.New(fault.Invalid, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
	}
	kind, ok := e.cfg.Principals(a.PrincipalID)
	if !ok {
		return "", fault.New(fault.Invalid, "PrincipalNotFound",
			"Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.",
			strings.ReplaceAll(a.PrincipalID, "-", ""), e.cfg.Tenant)
	}
	if a.PrincipalType != "" && !strings.EqualFold(string(a.PrincipalType), string(kind)) {
		return "", fault.New(fault.Invalid, "UnmatchedPrincipalType",
			"The PrincipalId '%s' has type '%s', which is different from the specified PrincipalType '%s'.", strings.ReplaceAll(a.PrincipalID, "-", ""), kind, a.PrincipalType)
	}
	return kind, nil
}

// assignable refuses a role that does not exist, or not for the assignment's scope.
func (s *state) assignable(a Assignment) error {
	d, ok := s.definition(a.RoleID)
	if !ok {
		return noDefinition(a.RoleID)
	}
	if !d.assignableAt(a.Scope) {
		return fault.New(fault.Invalid, "RoleAssignmentScopeNotAssignableToRoleDefinition",
			"The role assignment scope '%s' is not assignable to role definition '%s'.", a.Scope, d.ID)
	}
	return nil
}

// clash finds an assignment that a would repeat (exists) or contradict (an error).
func (s *state) clash(a Assignment) (old Assignment, exists bool, err error) {
	for _, b := range s.assignments {
		same := strings.EqualFold(b.RoleID, a.RoleID) && strings.EqualFold(b.PrincipalID, a.PrincipalID) && strings.EqualFold(b.Scope, a.Scope)
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

// at finds an assignment that stands exactly at scope.
func (s *state) at(scope, id string) (Assignment, bool) {
	a, ok := s.assignments[assignmentKey(id)]
	if !ok || !strings.EqualFold(a.Scope, cleanScope(scope)) {
		return Assignment{}, false
	}
	return a, true
}

// Assignment returns one assignment by its id.
func (e *Engine) Assignment(ctx context.Context, c principal.Caller, scope, id string) (Assignment, error) {
	if err := e.guard(ctx, c, actionAssignments+"read", below(scope, actionAssignments, id)); err != nil {
		return Assignment{}, err
	}
	a, ok := e.state.Load().at(scope, id)
	if !ok {
		return Assignment{}, fault.New(fault.NotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", id)
	}
	return a, nil
}

// DeleteAssignment removes an assignment and returns it; ok is false when there was none.
func (e *Engine) DeleteAssignment(ctx context.Context, c principal.Caller, scope, id string) (a Assignment, ok bool, err error) {
	seen, _ := e.state.Load().at(scope, id)
	if err := e.guardRole(ctx, c, actionAssignments+"delete", below(scope, actionAssignments, id), seen.RoleID); err != nil {
		return a, false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	if a, ok = s.at(scope, id); !ok || a.RoleID != seen.RoleID { // gone, or another one than was authorised
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

// Forget removes what stands at scope and below it, all of it or nothing, when the resource there is
// gone for good.
func (e *Engine) Forget(scope string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	next := &state{assignments: maps.Clone(s.assignments), custom: s.custom}
	batch := e.cfg.DB.NewBatch()
	for key, a := range s.assignments {
		if uri.Within(a.Scope, scope) {
			e.assignments.DeleteIn(batch, key)
			delete(next.assignments, key)
		}
	}
	if len(next.assignments) == len(s.assignments) {
		batch.Discard()
		return nil
	}
	if err := e.cfg.DB.Commit(batch); err != nil {
		return err
	}
	e.publish(next)
	e.cfg.OnChange()
	return nil
}

// Filter selects assignments of a list.
type Filter struct {
	Scope     string
	AtScope   bool     // only at Scope and above; else below it too
	Principal string   // "" for all
	Any       []string // any of these principals; nil for all
}

func (f Filter) selects(a Assignment) bool {
	is := func(id string) bool { return strings.EqualFold(id, a.PrincipalID) }
	in := uri.Within(f.Scope, a.Scope) || !f.AtScope && uri.Within(a.Scope, f.Scope)
	return in && (f.Principal == "" || is(f.Principal)) && (f.Any == nil || slices.ContainsFunc(f.Any, is))
}

// Assignments lists what the filter selects, oldest first.
func (e *Engine) Assignments(ctx context.Context, c principal.Caller, f Filter) ([]Assignment, error) {
	if err := e.guard(ctx, c, actionAssignments+"read", cleanScope(f.Scope)); err != nil {
		return nil, err
	}
	var out []Assignment
	for _, a := range e.state.Load().assignments {
		if f.selects(a) {
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

// Permissions are what the caller's own roles grant at scope. It asks for no right: everybody may
// know what they may do.
func (e *Engine) Permissions(c principal.Caller, scope string) []Permission {
	s := e.state.Load()
	var out []Permission
	for _, id := range c.IDs() {
		for _, a := range s.byPrincipal[strings.ToLower(id)] {
			if d, ok := s.definition(a.RoleID); ok && uri.Within(scope, a.Scope) {
				out = append(out, d.Permissions...)
			}
		}
	}
	return out
}

// HasGrant reports whether the caller has any role at scope, above it or below it.
func (e *Engine) HasGrant(c principal.Caller, scope string) bool {
	s := e.state.Load()
	for _, id := range c.IDs() {
		for _, a := range s.byPrincipal[strings.ToLower(id)] {
			if uri.Within(a.Scope, scope) || uri.Within(scope, a.Scope) {
				return true
			}
		}
	}
	return false
}

// Bootstrap makes objectID the owner of everything, once.
func (e *Engine) Bootstrap(ctx context.Context, objectID string) error {
	for _, a := range e.state.Load().byPrincipal[strings.ToLower(objectID)] {
		if a.Scope == "/" && a.RoleID == RoleOwner {
			return nil
		}
	}
	_, _, err := e.PutAssignment(ctx, principal.Server("first start"), Assignment{
		ID: uuid.NewString(), RoleID: RoleOwner, PrincipalID: objectID, Scope: "/",
	})
	return err
}
