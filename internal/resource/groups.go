package resource

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Group is a resource group.
type Group struct {
	Subscription string
	Name         string
	Location     string
	Tags         map[string]string
	ManagedBy    string
	// Deleting says that the group's deletion runs. It is not kept: a deletion that a restart cut
	// leaves a group with less in it.
	Deleting bool `json:"-"`
}

// ID is the group's resource id.
func (g Group) ID() uri.ResourceID {
	return uri.ResourceID{Subscription: g.Subscription, ResourceGroup: g.Name}
}

const groupAction = "Microsoft.Resources/subscriptions/resourceGroups/"

var groupName = regexp.MustCompile(`^[\p{L}\p{N}._()-]{1,90}$`)

// groupID is the id of the group that id lies in, and nothing else of id: decisions about a group
// are made at the group.
func (s *Service) groupID(id uri.ResourceID) string {
	return Group{Subscription: s.subscription.ID, Name: id.ResourceGroup}.ID().String()
}

// Group returns one group.
func (s *Service) Group(ctx context.Context, c principal.Caller, id uri.ResourceID) (Group, error) {
	if err := s.guard(ctx, c, groupAction+"read", s.groupID(id)); err != nil {
		return Group{}, err
	}
	return s.group(id.ResourceGroup)
}

func (s *Service) group(name string) (Group, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key := strings.ToLower(name)
	g, ok := s.groups[key]
	if !ok {
		return Group{}, fault.New(fault.NotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
	}
	g.Deleting = s.deleting[key]
	return g, nil
}

// live is group for what a group that is being deleted must refuse.
func (s *Service) live(name string) (Group, error) {
	g, err := s.group(name)
	if err == nil && g.Deleting {
		err = fault.New(fault.Conflict, "ResourceGroupBeingDeleted", "The resource group '%s' is in deprovisioning state and cannot perform this operation.", g.Name)
	}
	return g, err
}

// RequireGroup returns a fault when there is no group of that name, or when it is being deleted. It
// asks for no right: callers have authorised what they do in the group.
func (s *Service) RequireGroup(name string) error {
	_, err := s.live(name)
	return err
}

// Groups lists the groups that the caller may read, by name.
func (s *Service) Groups(ctx context.Context, c principal.Caller) []Group {
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.groups))
	for i := range all {
		all[i].Deleting = s.deleting[strings.ToLower(all[i].Name)]
	}
	s.mu.RUnlock()
	all = slices.DeleteFunc(all, func(g Group) bool {
		return s.cfg.Authorizer.Authorize(ctx, c, groupAction+"read", g.ID().String()) != nil
	})
	slices.SortFunc(all, func(a, b Group) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return all
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
	s.change.Lock()
	defer s.change.Unlock()
	old, err := s.live(g.Name)
	switch {
	case fault.Is(err, "ResourceGroupNotFound"):
		return g, true, s.keep(g)
	case err != nil:
		return old, false, err
	case old.Location != g.Location:
		return old, false, fault.New(fault.Conflict, "InvalidResourceGroupLocation",
			"Invalid resource group location '%s'. The Resource group already exists in location '%s'.", g.Location, old.Location)
	}
	g.Name = old.Name
	return g, false, s.keep(g)
}

// keep stores a group, then shows it; the caller holds change.
func (s *Service) keep(g Group) error {
	key := strings.ToLower(g.Name)
	if err := s.groupTable.Put(key, g); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[key] = g
	return nil
}

// TagGroup replaces the tags of a group; nil leaves them.
func (s *Service) TagGroup(ctx context.Context, c principal.Caller, id uri.ResourceID, tags map[string]string) (Group, error) {
	if err := s.guard(ctx, c, groupAction+"write", s.groupID(id)); err != nil {
		return Group{}, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	g, err := s.live(id.ResourceGroup)
	if err != nil {
		return Group{}, err
	}
	if tags != nil {
		g.Tags = tags
	}
	return g, s.keep(g)
}

// BeginDeleteGroup checks the deletion of a group; the returned function carries it out.
func (s *Service) BeginDeleteGroup(ctx context.Context, c principal.Caller, id uri.ResourceID) (func(context.Context) error, error) {
	if err := s.guard(ctx, c, groupAction+"delete", s.groupID(id)); err != nil {
		return nil, err
	}
	g, err := s.live(id.ResourceGroup)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return s.deleteGroup(ctx, c, g) }, nil
}

// deleteGroup empties the group and removes it. While it runs nothing new is made in the group.
func (s *Service) deleteGroup(ctx context.Context, c principal.Caller, g Group) error {
	key := strings.ToLower(g.Name)
	if err := s.markDeleting(g.Name); err != nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.deleting, key)
	}()
	if err := s.emptyGroup(ctx, c, g); err != nil {
		return err
	}
	if err := s.cfg.OnDelete(g.ID().String()); err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	if err := s.groupTable.Delete(key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, key)
	return nil
}

func (s *Service) markDeleting(name string) error {
	s.change.Lock()
	defer s.change.Unlock()
	if _, err := s.live(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleting[strings.ToLower(name)] = true
	return nil
}

// emptyPasses is how often a deletion looks for what was being made when it began.
const emptyPasses = 3

// emptyGroup deletes what is in the group until nothing is found.
func (s *Service) emptyGroup(ctx context.Context, c principal.Caller, g Group) error {
	for range emptyPasses {
		found, err := s.deleteContents(ctx, c, g)
		if err != nil || !found {
			return err
		}
	}
	return fault.New(fault.Conflict, "ResourceGroupDeletionBlocked", "Deletion of resource group '%s' failed as resources in it could not be deleted.", g.Name)
}

// deleteContents deletes what is in the group now, each thing under the caller's own rights.
func (s *Service) deleteContents(ctx context.Context, c principal.Caller, g Group) (found bool, err error) {
	for _, contents := range s.cfg.Contents {
		list, err := contents.Resources(ctx, principal.Server("group deletion"), g.Subscription, g.Name)
		if err != nil {
			return found, err
		}
		for _, r := range list {
			found = true
			if _, err := contents.Delete(ctx, c, r.ID); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}
