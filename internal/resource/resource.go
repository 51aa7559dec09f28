package resource

import (
	"context"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Authorizer decides whether a caller may do action on scope.
type Authorizer interface {
	Authorize(ctx context.Context, c principal.Caller, action, scope string) error
}

// Auditor keeps the record of decisions. When it fails, the operation is refused.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// Generic is a resource as the list of everything shows it.
type Generic struct {
	ID       uri.ResourceID
	Location string
	Kind     string
	Tags     map[string]string
	Created  time.Time
	State    string // provisioning state
}

// Contents is a domain's resources.
type Contents interface {
	// Resources returns the domain's resources in a subscription, or in one group when group is not
	// "", that the caller may read.
	Resources(ctx context.Context, c principal.Caller, subscription, group string) ([]Generic, error)
	// Delete removes one of them. It reports false for an id that is not of this domain.
	Delete(ctx context.Context, c principal.Caller, id uri.ResourceID) (mine bool, err error)
}

// Config says what a Service works with. DB, Authorizer and Audit are required.
type Config struct {
	DB         *store.Store
	Authorizer Authorizer
	Audit      Auditor
	Contents   []Contents
	// OnDelete is called with the id of a group that is gone.
	OnDelete func(scope string) error
	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger
}

// Subscription is the one subscription of the server.
type Subscription struct {
	ID   string
	Name string
}

// Group is a resource group.
type Group struct {
	Subscription string
	Name         string
	Location     string
	Tags         map[string]string
	ManagedBy    string
}

// ID is the group's resource id.
func (g Group) ID() uri.ResourceID {
	return uri.ResourceID{Subscription: g.Subscription, ResourceGroup: g.Name}
}

// Service is the set of groups. It is safe for concurrent use. mu guards the maps only.
type Service struct {
	cfg           Config
	subscriptions *store.Table[Subscription]
	groupTable    *store.Table[Group]
	registered    *store.Table[bool]
	Operations    *Operations

	mu            sync.RWMutex
	subscription  Subscription
	groups        map[string]Group // by lower-case name
	registrations map[string]bool  // by lower-case namespace
}

// Open loads the groups and makes the subscription on the first start.
func Open(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{
		cfg:           cfg,
		subscriptions: store.NewTable[Subscription](cfg.DB, "resource/subscriptions"),
		groupTable:    store.NewTable[Group](cfg.DB, "resource/groups"),
		registered:    store.NewTable[bool](cfg.DB, "resource/registrations"),
		Operations:    newOperations(cfg.Now),
	}
	var err error
	if s.groups, err = s.groupTable.All(); err != nil {
		return nil, err
	}
	if s.registrations, err = s.registered.All(); err != nil {
		return nil, err
	}
	return s, s.openSubscription()
}

func (s *Service) openSubscription() error {
	all, err := s.subscriptions.All()
	if err != nil {
		return err
	}
	for _, sub := range all {
		s.subscription = sub
		return nil
	}
	s.subscription = Subscription{ID: uuid.NewString(), Name: "Latchkey"}
	return s.subscriptions.Put(s.subscription.ID, s.subscription)
}

// Subscription returns the server's subscription.
func (s *Service) Subscription() Subscription { return s.subscription }

// CheckSubscription returns a fault for any id but the server's subscription.
func (s *Service) CheckSubscription(id string) error {
	if id == "" || strings.EqualFold(id, s.subscription.ID) {
		return nil
	}
	return fault.New(fault.NotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", id)
}

// guard is the first line of every method that callers reach.
func (s *Service) guard(ctx context.Context, c principal.Caller, action, scope string) error {
	decision := s.cfg.Authorizer.Authorize(ctx, c, action, scope)
	if decision == nil && strings.HasSuffix(action, "/read") {
		return nil
	}
	e := audit.Event{Time: s.cfg.Now(), Operation: action, Resource: scope, Outcome: audit.Allowed,
		Principal: c.ObjectID, AppID: c.AppID, Caller: c.Label(), Address: c.Address, Request: c.Request}
	if decision != nil {
		e.Outcome, e.Reason = audit.Denied, "AuthorizationFailed"
	}
	if err := s.cfg.Audit.Record(ctx, e); err != nil {
		return err
	}
	return decision
}

const groupAction = "Microsoft.Resources/subscriptions/resourceGroups/"

var groupName = regexp.MustCompile(`^[\p{L}\p{N}._()-]{1,90}$`)

// Group returns one group.
func (s *Service) Group(ctx context.Context, c principal.Caller, id uri.ResourceID) (Group, error) {
	if err := s.guard(ctx, c, groupAction+"read", id.String()); err != nil {
		return Group{}, err
	}
	return s.group(id.ResourceGroup)
}

func (s *Service) group(name string) (Group, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	g, ok := s.groups[strings.ToLower(name)]
	if !ok {
		return Group{}, fault.New(fault.NotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
	}
	return g, nil
}

// RequireGroup returns a fault when there is no group of that name. It asks for no right: callers
// have authorised what they do in the group.
func (s *Service) RequireGroup(name string) error {
	_, err := s.group(name)
	return err
}

// Groups lists the groups that the caller may read, by name.
func (s *Service) Groups(ctx context.Context, c principal.Caller) []Group {
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.groups))
	s.mu.RUnlock()
	all = slices.DeleteFunc(all, func(g Group) bool {
		return s.cfg.Authorizer.Authorize(ctx, c, groupAction+"read", g.ID().String()) != nil
	})
	slices.SortFunc(all, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// MayList reports whether the caller sees anything of the subscription.
func (s *Service) MayList(ctx context.Context, c principal.Caller) bool {
	scope := uri.ResourceID{Subscription: s.subscription.ID}.String()
	if s.cfg.Authorizer.Authorize(ctx, c, "Microsoft.Resources/subscriptions/read", scope) == nil || len(s.Groups(ctx, c)) > 0 {
		return true
	}
	list, err := s.List(ctx, c, "")
	return err == nil && len(list) > 0
}

// PutGroup makes a group or replaces its tags. Its location cannot change.
func (s *Service) PutGroup(ctx context.Context, c principal.Caller, g Group) (stored Group, created bool, err error) {
	if err := s.guard(ctx, c, groupAction+"write", g.ID().String()); err != nil {
		return g, false, err
	}
	if !groupName.MatchString(g.Name) || strings.HasSuffix(g.Name, ".") {
		return g, false, fault.New(fault.Invalid, "InvalidResourceGroup", "The provided resource group name '%s' is invalid.", g.Name)
	}
	if g.Location == "" {
		return g, false, fault.New(fault.Invalid, "LocationRequired", "The location property is required for this definition.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(g.Name)
	old, exists := s.groups[key]
	if exists {
		if old.Location != g.Location {
			return old, false, fault.New(fault.Conflict, "InvalidResourceGroupLocation",
				"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", g.Location, old.Location)
		}
		g.Name = old.Name
	}
	if err := s.groupTable.Put(key, g); err != nil {
		return g, false, err
	}
	s.groups[key] = g
	return g, !exists, nil
}

// TagGroup replaces the tags of a group.
func (s *Service) TagGroup(ctx context.Context, c principal.Caller, id uri.ResourceID, tags map[string]string) (Group, error) {
	if err := s.guard(ctx, c, groupAction+"write", id.String()); err != nil {
		return Group{}, err
	}
	g, err := s.group(id.ResourceGroup)
	if err != nil {
		return Group{}, err
	}
	g.Tags = tags
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.groupTable.Put(strings.ToLower(g.Name), g); err != nil {
		return Group{}, err
	}
	s.groups[strings.ToLower(g.Name)] = g
	return g, nil
}

// BeginDeleteGroup checks the deletion of a group; the returned function carries it out.
func (s *Service) BeginDeleteGroup(ctx context.Context, c principal.Caller, id uri.ResourceID) (func(context.Context) error, error) {
	if err := s.guard(ctx, c, groupAction+"delete", id.String()); err != nil {
		return nil, err
	}
	g, err := s.group(id.ResourceGroup)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return s.deleteGroup(ctx, c, g) }, nil
}

func (s *Service) deleteGroup(ctx context.Context, c principal.Caller, g Group) error {
	for _, contents := range s.cfg.Contents {
		list, err := contents.Resources(ctx, principal.Server("group deletion"), g.Subscription, g.Name)
		if err != nil {
			return err
		}
		for _, r := range list {
			if _, err := contents.Delete(ctx, c, r.ID); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.groupTable.Delete(strings.ToLower(g.Name)); err != nil {
		return err
	}
	delete(s.groups, strings.ToLower(g.Name))
	if s.cfg.OnDelete != nil {
		return s.cfg.OnDelete(g.ID().String())
	}
	return nil
}

// List returns all resources that the caller may read, in a group when group is not "".
func (s *Service) List(ctx context.Context, c principal.Caller, group string) ([]Generic, error) {
	var out []Generic
	for _, contents := range s.cfg.Contents {
		list, err := contents.Resources(ctx, c, s.subscription.ID, group)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	slices.SortFunc(out, func(a, b Generic) int { return strings.Compare(a.ID.Key(), b.ID.Key()) })
	return out, nil
}

// Register records that a provider is registered in the subscription.
func (s *Service) Register(ctx context.Context, c principal.Caller, namespace string) error {
	scope := uri.ResourceID{Subscription: s.subscription.ID}.String()
	if err := s.guard(ctx, c, namespace+"/register/action", scope); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(namespace)
	if err := s.registered.Put(key, true); err != nil {
		return err
	}
	s.registrations[key] = true
	return nil
}
