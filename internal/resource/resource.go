package resource

import (
	"context"
	"log/slog"
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
	// HasGrant reports whether a caller has any role at or below a scope, whatever the role allows. With
	// it the subscription is listed for whoever works in it with rights to data alone; nil means no.
	HasGrant func(c principal.Caller, scope string) bool
	// OnDelete is called with the id of an emptied group before its record goes: when it fails, the
	// group stays. Nothing that stood there may outlive the group and meet a later one of its name.
	OnDelete func(scope string) error
	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger
}

// Subscription is the one subscription of the server.
type Subscription struct {
	ID   string
	Name string
}

// Service is the set of groups. It is safe for concurrent use. change is held by one change from its
// check to its record; mu guards the maps only and is never held across the store.
type Service struct {
	cfg           Config
	subscriptions *store.Table[Subscription]
	groupTable    *store.Table[Group]
	registered    *store.Table[bool]
	Operations    *Operations

	change        sync.Mutex
	mu            sync.RWMutex
	subscription  Subscription     // never changes after Open
	groups        map[string]Group // by lower-case name
	deleting      map[string]bool  // by lower-case name
	registrations map[string]bool  // by lower-case namespace
}

// Open loads the groups and makes the subscription on the first start.
func Open(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.HasGrant == nil {
		cfg.HasGrant = func(principal.Caller, string) bool { return false }
	}
	if cfg.OnDelete == nil {
		cfg.OnDelete = func(string) error { return nil }
	}
	s := &Service{
		cfg:           cfg,
		subscriptions: store.NewTable[Subscription](cfg.DB, "resource/subscriptions"),
		groupTable:    store.NewTable[Group](cfg.DB, "resource/groups"),
		registered:    store.NewTable[bool](cfg.DB, "resource/registrations"),
		Operations:    newOperations(cfg.Now),
		deleting:      map[string]bool{},
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
	if err := s.cfg.Audit.Record(ctx, audit.By(c, s.cfg.Now(), action, scope).Decided(decision)); err != nil {
		return err
	}
	return decision
}

// scope is the subscription's id.
func (s *Service) scope() string { return uri.ResourceID{Subscription: s.subscription.ID}.String() }

// ReadSubscription authorises action, a read of something that the whole subscription shares. It is
// allowed to everybody who sees any part of the subscription: who may work in one group has to find
// locations and providers.
func (s *Service) ReadSubscription(ctx context.Context, c principal.Caller, action string) error {
	if s.MayList(ctx, c) {
		return nil
	}
	return s.guard(ctx, c, action, s.scope())
}

// MayList reports whether the caller sees anything of the subscription.
func (s *Service) MayList(ctx context.Context, c principal.Caller) bool {
	if s.cfg.Authorizer.Authorize(ctx, c, "Microsoft.Resources/subscriptions/read", s.scope()) == nil ||
		s.cfg.HasGrant(c, s.scope()) || len(s.Groups(ctx, c)) > 0 {
		return true
	}
	list, err := s.List(ctx, c, "")
	return err == nil && len(list) > 0
}

// Read authorises the read of something at id of which this server has none, such as deployments.
func (s *Service) Read(ctx context.Context, c principal.Caller, action string, id uri.ResourceID) error {
	at := uri.ResourceID{Subscription: id.Subscription, ResourceGroup: id.ResourceGroup}
	if err := s.guard(ctx, c, action, at.String()); err != nil || id.ResourceGroup == "" {
		return err
	}
	_, err := s.group(id.ResourceGroup)
	return err
}

// GroupContents lists the resources of one group that the caller may read. Who may read neither the
// group nor anything in it does not learn whether it exists.
func (s *Service) GroupContents(ctx context.Context, c principal.Caller, id uri.ResourceID) ([]Generic, error) {
	list, err := s.List(ctx, c, id.ResourceGroup)
	if err != nil || len(list) > 0 {
		return list, err
	}
	if err := s.guard(ctx, c, groupAction+"resources/read", s.groupID(id)); err != nil {
		return nil, err
	}
	_, err = s.group(id.ResourceGroup)
	return nil, err
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

// Registration states of a provider.
const (
	Registered   = "Registered"
	Unregistered = "Unregistered"
)

// SetRegistered records that a provider is registered in the subscription, or is not. The record is
// shown and nothing more: every provider serves every subscription.
func (s *Service) SetRegistered(ctx context.Context, c principal.Caller, namespace string, on bool) error {
	action := namespace + "/unregister/action"
	if on {
		action = namespace + "/register/action"
	}
	if err := s.guard(ctx, c, action, s.scope()); err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	key := strings.ToLower(namespace)
	if err := s.registered.Put(key, on); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registrations[key] = on
	return nil
}

// Registration is the state of a provider: registered until somebody says otherwise.
func (s *Service) Registration(namespace string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if on, said := s.registrations[strings.ToLower(namespace)]; said && !on {
		return Unregistered
	}
	return Registered
}
