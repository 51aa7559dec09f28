package rbac

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Auditor keeps the record of decisions. When it fails, the operation is refused.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// Config says what an Engine works with. DB, Audit and Principals are required.
type Config struct {
	DB    *store.Store
	Audit Auditor
	// Principals reports what kind of principal an object id is; ok is false when there is none.
	Principals func(objectID string) (kind principal.Kind, ok bool)
	Tenant     string           // for messages
	Now        func() time.Time // nil means time.Now
	// OnChange is called after each change of assignments or definitions. It must not block.
	OnChange func()
	Log      *slog.Logger
}

// Engine is the evaluation and its state. It is safe for concurrent use.
type Engine struct {
	cfg         Config
	assignments *store.Table[Assignment]
	definitions *store.Table[Definition]

	mu    sync.Mutex // one change at a time
	state atomic.Pointer[state]
}

// state is an immutable snapshot.
type state struct {
	assignments map[string]Assignment   // by key(id)
	custom      map[string]Definition   // by lower-case id
	byPrincipal map[string][]Assignment // by lower-case object id
}

// Assignment gives a role to a principal on a scope and below it.
type Assignment struct {
	ID            string // a GUID, unique in the server
	RoleID        string // GUID of the definition
	PrincipalID   string
	PrincipalType principal.Kind
	Scope         string // resource id without trailing slash; "/" for the tenant root
	Description   string
	CreatedOn     time.Time
	CreatedBy     string // object id
}

// Open loads assignments and custom definitions.
func Open(cfg Config) (*Engine, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func() {}
	}
	e := &Engine{
		cfg:         cfg,
		assignments: store.NewTable[Assignment](cfg.DB, "rbac/assignments"),
		definitions: store.NewTable[Definition](cfg.DB, "rbac/definitions"),
	}
	assignments, err := e.assignments.All()
	if err != nil {
		return nil, err
	}
	custom, err := e.definitions.All()
	if err != nil {
		return nil, err
	}
	e.publish(&state{assignments: assignments, custom: custom})
	return e, nil
}

// publish indexes s and makes it the state.
func (e *Engine) publish(s *state) {
	s.byPrincipal = map[string][]Assignment{}
	for _, a := range s.assignments {
		key := strings.ToLower(a.PrincipalID)
		s.byPrincipal[key] = append(s.byPrincipal[key], a)
	}
	e.state.Store(s)
}

// Decide answers whether c may do action on scope, and which assignment says so; data selects the data
// actions.
func (e *Engine) Decide(c principal.Caller, action, scope string, data bool) access.Decision {
	return e.decide(c, action, scope, data, "")
}

// DecideData is [Engine.Decide] for a data action.
func (e *Engine) DecideData(_ context.Context, c principal.Caller, action, scope string) access.Decision {
	return e.Decide(c, action, scope, true)
}

// decide is [Engine.Decide]; role, when it is not "", is the role that the action gives or takes away.
func (e *Engine) decide(c principal.Caller, action, scope string, data bool, role string) access.Decision {
	if c.Door == principal.Platform {
		return access.Yes(access.PlatformsOwn, "the server itself")
	}
	gate := access.ControlRole
	if data {
		gate = access.DataRole
	}
	s := e.state.Load()
	above := 0
	for _, id := range c.IDs() {
		for _, a := range s.byPrincipal[strings.ToLower(id)] {
			if !uri.Within(scope, a.Scope) {
				continue
			}
			above++
			if d, ok := s.definition(a.RoleID); ok && d.allows(action, data) && d.delegates(role) {
				return access.Decision{Gate: gate, Allowed: true, Assignment: a.ID, Role: d.Name, Scope: a.Scope, Reason: "granted by role " + d.Name + " at " + a.Scope}
			}
		}
	}
	reason := "no assigned role at this scope or above it has the action"
	if above == 0 {
		reason = "no role assignment at this scope or above it"
	}
	return access.No(gate, reason, refusal(c, action, scope))
}

// Authorize returns nil when c may do action on scope, else a fault with the text of Resource Manager.
func (e *Engine) Authorize(_ context.Context, c principal.Caller, action, scope string) error {
	return e.Decide(c, action, scope, false).Refusal
}

func refusal(c principal.Caller, action, scope string) error {
	return fault.New(fault.Denied, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		c.Label(), c.ObjectID, action, scope)
}

// definition finds a built-in or custom role by its GUID.
func (s *state) definition(id string) (Definition, bool) {
	if d, ok := builtIn[strings.ToLower(id)]; ok {
		return d, true
	}
	d, ok := s.custom[strings.ToLower(id)]
	return d, ok
}
