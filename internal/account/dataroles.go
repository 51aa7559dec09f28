package account

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// RoleDefinition is a data role of an account: a set of data actions.
type RoleDefinition struct {
	ID               string // a GUID
	Name             string
	BuiltIn          bool
	DataActions      []string
	AssignableScopes []string // data-plane scopes: "/", "/dbs/d", "/dbs/d/colls/c"
}

// RoleAssignment grants a data role to a principal on a scope of an account.
type RoleAssignment struct {
	ID          string // a GUID
	AccountID   string
	RoleID      string
	PrincipalID string
	Scope       string // data-plane scope
}

const dataPrefix = Type + "/"

// builtInRoles are the two data roles that every account has (ids and actions of the service).
var builtInRoles = []RoleDefinition{
	{
		ID: "00000000-0000-0000-0000-000000000001", Name: "Cosmos DB Built-in Data Reader", BuiltIn: true,
		AssignableScopes: []string{"/"},
		DataActions: []string{
			dataPrefix + "readMetadata",
			dataPrefix + "sqlDatabases/containers/executeQuery",
			dataPrefix + "sqlDatabases/containers/readChangeFeed",
			dataPrefix + "sqlDatabases/containers/items/read",
		},
	},
	{
		ID: "00000000-0000-0000-0000-000000000002", Name: "Cosmos DB Built-in Data Contributor", BuiltIn: true,
		AssignableScopes: []string{"/"},
		DataActions: []string{
			dataPrefix + "readMetadata",
			dataPrefix + "sqlDatabases/containers/*",
			dataPrefix + "sqlDatabases/containers/items/*",
		},
	},
}

// dataRoles keeps the role assignments and custom definitions of all accounts.
type dataRoles struct {
	assignments *store.Table[RoleAssignment]
	definitions *store.Table[customRole]

	mu     sync.RWMutex
	grants map[string]RoleAssignment // by account id + "/" + assignment id
	custom map[string]customRole     // by account id + "/" + role id
}

type customRole struct {
	AccountID string
	RoleDefinition
}

func openDataRoles(db *store.Store) (*dataRoles, error) {
	r := &dataRoles{
		assignments: store.NewTable[RoleAssignment](db, "account/data-role-assignments"),
		definitions: store.NewTable[customRole](db, "account/data-role-definitions"),
	}
	var err error
	if r.grants, err = r.assignments.All(); err != nil {
		return nil, err
	}
	r.custom, err = r.definitions.All()
	return r, err
}

// allow reports whether any assignment of the caller at scope or above grants the action.
func (r *dataRoles) allow(accountID string, c principal.Caller, action, scope string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, g := range r.grants {
		if g.AccountID != accountID || !c.Is(g.PrincipalID) || !within(scope, g.Scope) {
			continue
		}
		if def, ok := r.definition(accountID, g.RoleID); ok && def.grants(dataPrefix+action) {
			return true
		}
	}
	return false
}

// within reports whether a scope is granted or lies below it. Unlike resource ids, the names in it
// are told apart by case.
func within(scope, granted string) bool {
	granted = strings.TrimSuffix(granted, "/")
	rest, ok := strings.CutPrefix(scope, granted)
	return ok && (rest == "" || rest[0] == '/')
}

func (d RoleDefinition) grants(action string) bool {
	return slices.ContainsFunc(d.DataActions, func(pattern string) bool {
		prefix, wild := strings.CutSuffix(pattern, "*")
		if wild {
			return len(action) > len(prefix) && strings.EqualFold(action[:len(prefix)], prefix)
		}
		return strings.EqualFold(pattern, action)
	})
}

// definition finds a role; the caller holds mu.
func (r *dataRoles) definition(accountID, roleID string) (RoleDefinition, bool) {
	for _, d := range builtInRoles {
		if strings.EqualFold(d.ID, roleID) {
			return d, true
		}
	}
	c, ok := r.custom[roleKey(accountID, roleID)]
	return c.RoleDefinition, ok
}

func roleKey(accountID, id string) string { return accountID + "/" + strings.ToLower(id) }

func (r *dataRoles) deleteAccount(accountID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, g := range r.grants {
		if g.AccountID == accountID {
			if err := r.assignments.Delete(k); err != nil {
				return err
			}
			delete(r.grants, k)
		}
	}
	for k, d := range r.custom {
		if d.AccountID == accountID {
			if err := r.definitions.Delete(k); err != nil {
				return err
			}
			delete(r.custom, k)
		}
	}
	return nil
}

// RoleDefinitions returns the account's data roles, built-in ones first.
func (s *Service) RoleDefinitions(ctx context.Context, c principal.Caller, id uri.ResourceID) ([]RoleDefinition, error) {
	rec, err := s.guarded(ctx, c, "sqlRoleDefinitions/read", id)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(builtInRoles)
	s.roles.mu.RLock()
	defer s.roles.mu.RUnlock()
	for _, d := range s.roles.custom {
		if d.AccountID == rec.ID {
			out = append(out, d.RoleDefinition)
		}
	}
	slices.SortFunc(out, func(a, b RoleDefinition) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (s *Service) guarded(ctx context.Context, c principal.Caller, action string, id uri.ResourceID) (*record, error) {
	if err := s.guard(ctx, c, action, id); err != nil {
		return nil, err
	}
	return s.find(id)
}

// PutRoleDefinition creates or replaces a custom data role.
func (s *Service) PutRoleDefinition(ctx context.Context, c principal.Caller, id uri.ResourceID, def RoleDefinition) error {
	rec, err := s.guarded(ctx, c, "sqlRoleDefinitions/write", id)
	if err != nil {
		return err
	}
	if err := checkDefinition(def); err != nil {
		return err
	}
	r, key := s.roles, roleKey(rec.ID, def.ID)
	r.mu.Lock()
	defer r.mu.Unlock()
	role := customRole{AccountID: rec.ID, RoleDefinition: def}
	if err := r.definitions.Put(key, role); err != nil {
		return err
	}
	r.custom[key] = role
	return nil
}

func checkDefinition(def RoleDefinition) error {
	if uuid.Validate(def.ID) != nil {
		return badRequest("The role definition id '%s' is not a GUID.", def.ID)
	}
	for _, b := range builtInRoles {
		if strings.EqualFold(b.ID, def.ID) {
			return badRequest("Built-in role definitions cannot be changed.")
		}
	}
	for _, a := range def.DataActions {
		if !strings.HasPrefix(strings.ToLower(a), strings.ToLower(dataPrefix)) {
			return badRequest("The data action '%s' is not an action of %s.", a, Type)
		}
	}
	return nil
}

// DeleteRoleDefinition removes a custom data role that nobody has.
func (s *Service) DeleteRoleDefinition(ctx context.Context, c principal.Caller, id uri.ResourceID, roleID string) error {
	rec, err := s.guarded(ctx, c, "sqlRoleDefinitions/delete", id)
	if err != nil {
		return err
	}
	r, key := s.roles, roleKey(rec.ID, roleID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.custom[key]; !ok {
		return fault.New(fault.NotFound, "NotFound", "The role definition '%s' does not exist.", roleID)
	}
	for _, g := range r.grants {
		if g.AccountID == rec.ID && strings.EqualFold(g.RoleID, roleID) {
			return badRequest("The role definition '%s' is in use by a role assignment.", roleID)
		}
	}
	if err := r.definitions.Delete(key); err != nil {
		return err
	}
	delete(r.custom, key)
	return nil
}

// RoleAssignments returns the account's data-role assignments, ordered by id.
func (s *Service) RoleAssignments(ctx context.Context, c principal.Caller, id uri.ResourceID) ([]RoleAssignment, error) {
	rec, err := s.guarded(ctx, c, "sqlRoleAssignments/read", id)
	if err != nil {
		return nil, err
	}
	var out []RoleAssignment
	s.roles.mu.RLock()
	defer s.roles.mu.RUnlock()
	for _, g := range s.roles.grants {
		if g.AccountID == rec.ID {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b RoleAssignment) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// PutRoleAssignment grants a data role. AccountID of g is filled in.
func (s *Service) PutRoleAssignment(ctx context.Context, c principal.Caller, id uri.ResourceID, g RoleAssignment) error {
	rec, err := s.guarded(ctx, c, "sqlRoleAssignments/write", id)
	if err != nil {
		return err
	}
	g.AccountID = rec.ID
	r, key := s.roles, roleKey(rec.ID, g.ID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if uuid.Validate(g.ID) != nil || uuid.Validate(g.PrincipalID) != nil {
		return badRequest("A role assignment needs a GUID as its name and as its principal id.")
	}
	if _, ok := r.definition(rec.ID, g.RoleID); !ok {
		return badRequest("The role definition '%s' does not exist.", g.RoleID)
	}
	if err := r.assignments.Put(key, g); err != nil {
		return err
	}
	r.grants[key] = g
	return nil
}

// DeleteRoleAssignment takes a grant back.
func (s *Service) DeleteRoleAssignment(ctx context.Context, c principal.Caller, id uri.ResourceID, assignmentID string) error {
	rec, err := s.guarded(ctx, c, "sqlRoleAssignments/delete", id)
	if err != nil {
		return err
	}
	r, key := s.roles, roleKey(rec.ID, assignmentID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.grants[key]; !ok {
		return fault.New(fault.NotFound, "NotFound", "The role assignment '%s' does not exist.", assignmentID)
	}
	if err := r.assignments.Delete(key); err != nil {
		return err
	}
	delete(r.grants, key)
	return nil
}
