package rbac

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Definitions lists the roles that can be assigned at scope or below it, built-in ones first, by name.
func (e *Engine) Definitions(ctx context.Context, c principal.Caller, scope string) ([]Definition, error) {
	if err := e.guard(ctx, c, actionDefinitions+"read", cleanScope(scope)); err != nil {
		return nil, err
	}
	out := slices.Collect(maps.Values(builtIn))
	for _, d := range e.state.Load().custom {
		if d.visibleAt(scope) {
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
	if err := e.guard(ctx, c, actionDefinitions+"read", below(scope, actionDefinitions, id)); err != nil {
		return Definition{}, err
	}
	d, ok := e.state.Load().definition(id)
	if !ok || !d.visibleAt(scope) {
		return Definition{}, noDefinition(id)
	}
	return d, nil
}

func noDefinition(id string) error {
	return fault.New(fault.NotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", id)
}

// guardDefinition asks for action at scope and at every place where one of the definitions is
// assignable.
func (e *Engine) guardDefinition(ctx context.Context, c principal.Caller, action, scope, id string, all ...Definition) error {
	scopes := []string{cleanScope(scope)}
	for _, d := range all {
		scopes = append(scopes, d.AssignableScopes...)
	}
	slices.Sort(scopes)
	for _, s := range slices.Compact(scopes) {
		if err := e.guard(ctx, c, actionDefinitions+action, below(s, actionDefinitions, id)); err != nil {
			return err
		}
	}
	return nil
}

// PutDefinition creates or replaces a custom role; scope is where the request addressed it. stored is
// the role as it is kept.
func (e *Engine) PutDefinition(ctx context.Context, c principal.Caller, scope string, d Definition) (stored Definition, created bool, err error) {
	key := strings.ToLower(d.ID)
	d.AssignableScopes = slices.Clone(d.AssignableScopes)
	for i, s := range d.AssignableScopes {
		d.AssignableScopes[i] = cleanScope(s)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	old, existed := s.custom[key]
	if err := e.guardDefinition(ctx, c, "write", scope, d.ID, d, old); err != nil {
		return d, false, err
	}
	if err := s.checkDefinition(d); err != nil {
		return d, false, err
	}
	d.ID, d.BuiltIn, d.Delegable = key, false, nil
	if err := e.definitions.Put(key, d); err != nil {
		return d, false, err
	}
	next := &state{assignments: s.assignments, custom: maps.Clone(s.custom)}
	next.custom[key] = d
	e.publish(next)
	e.cfg.OnChange()
	return d, !existed, nil
}

// checkDefinition refuses a custom role that is not well-formed, that takes another one's place, or
// that would leave an assignment where it can no longer be assigned.
func (s *state) checkDefinition(d Definition) error {
	if _, ok := builtIn[strings.ToLower(d.ID)]; ok || uuid.Validate(d.ID) != nil {
		return fault.New(fault.Invalid, "InvalidRoleDefinition", "The role definition needs a GUID that no built-in role has.")
	}
	if err := d.check(); err != nil {
		return err
	}
	if s.nameTaken(d) {
		return fault.New(fault.Conflict, "RoleDefinitionWithSameNameExists", "A role definition with the same name already exists in this directory. Use a different name.")
	}
	for _, a := range s.assignments {
		if strings.EqualFold(a.RoleID, d.ID) && !d.assignableAt(a.Scope) {
			return fault.New(fault.Invalid, "RoleDefinitionHasAssignments", "There are existing role assignments referencing role '%s' outside of its assignable scopes.", d.ID)
		}
	}
	return nil
}

func (s *state) nameTaken(d Definition) bool {
	for _, all := range []map[string]Definition{builtIn, s.custom} {
		for id, other := range all {
			if strings.EqualFold(other.Name, d.Name) && !strings.EqualFold(id, d.ID) {
				return true
			}
		}
	}
	return false
}

// DeleteDefinition removes a custom role that nobody has; ok is false when there was none.
func (e *Engine) DeleteDefinition(ctx context.Context, c principal.Caller, scope, id string) (d Definition, ok bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	key := strings.ToLower(id)
	d, ok = s.custom[key]
	if err := e.guardDefinition(ctx, c, "delete", scope, id, d); err != nil {
		return Definition{}, false, err
	}
	if !ok {
		return d, false, s.refuseBuiltIn(id)
	}
	if s.inUse(id) {
		return d, true, fault.New(fault.Invalid, "RoleDefinitionHasAssignments", "There are existing role assignments referencing role '%s'.", id)
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

func (s *state) refuseBuiltIn(id string) error {
	if d, ok := s.definition(id); ok {
		return fault.New(fault.Invalid, "InvalidRoleDefinition", "The built-in role '%s' cannot be deleted.", d.Name)
	}
	return nil
}

func (s *state) inUse(role string) bool {
	for _, a := range s.assignments {
		if strings.EqualFold(a.RoleID, role) {
			return true
		}
	}
	return false
}
