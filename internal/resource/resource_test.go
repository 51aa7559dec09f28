package resource

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/uri"
)

var (
	admin    = principal.Caller{Door: principal.Management, ObjectID: "admin"}
	stranger = principal.Caller{Door: principal.Management, ObjectID: "stranger"}
)

// policy allows everything to the server and the administrator, and records what was asked of others.
type policy struct{ asked []string }

func (p *policy) Authorize(_ context.Context, c principal.Caller, action, scope string) error {
	if c.Door == principal.Platform || c.ObjectID == admin.ObjectID {
		return nil
	}
	p.asked = append(p.asked, action+" on "+scope)
	return fault.New(fault.Denied, "AuthorizationFailed", "no")
}

type trail struct {
	events []audit.Event
	fail   error
}

func (l *trail) Record(_ context.Context, e audit.Event) error {
	l.events = append(l.events, e)
	return l.fail
}

// shelf is a domain with resources in one group.
type shelf struct {
	names  []string
	refuse error
	during func() // called while something is deleted
	order  *[]string
}

func thing(name string) uri.ResourceID {
	return uri.ResourceID{Subscription: "s", ResourceGroup: "rg", Provider: "Test.Shelf"}.Child("things", name)
}

func (s *shelf) Resources(_ context.Context, c principal.Caller, _, group string) ([]Generic, error) {
	var out []Generic
	for _, n := range s.names {
		if c.ObjectID != stranger.ObjectID && (group == "" || strings.EqualFold(group, "rg")) {
			out = append(out, Generic{ID: thing(n)})
		}
	}
	return out, nil
}

func (s *shelf) Delete(_ context.Context, c principal.Caller, id uri.ResourceID) (bool, error) {
	if s.during != nil {
		s.during()
	}
	if s.refuse != nil {
		return true, s.refuse
	}
	if c.Door == principal.Platform {
		return true, errors.New("deleted under the server's rights, not the caller's")
	}
	s.names = s.names[1:]
	*s.order = append(*s.order, id.Name())
	return true, nil
}

type world struct {
	*Service
	db     *store.Store
	policy *policy
	trail  *trail
	shelf  *shelf
	order  []string
	forget error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := store.Open("/db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{db: db, policy: &policy{}, trail: &trail{}}
	w.shelf = &shelf{order: &w.order}
	w.open(t)
	return w
}

// open loads the service from its store, as a start does.
func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	w.Service, err = Open(Config{DB: w.db, Authorizer: w.policy, Audit: w.trail, Contents: []Contents{w.shelf},
		OnDelete: func(scope string) error {
			w.order = append(w.order, "grants at "+scope)
			return w.forget
		}})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) rg(name string) uri.ResourceID {
	return uri.ResourceID{Subscription: w.Subscription().ID, ResourceGroup: name}
}

func (w *world) make(t *testing.T, name string) Group {
	t.Helper()
	g, _, err := w.PutGroup(t.Context(), admin, Group{Subscription: w.Subscription().ID, Name: name, Location: "eastus"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (w *world) remove(t *testing.T, name string) error {
	t.Helper()
	work, err := w.BeginDeleteGroup(t.Context(), admin, w.rg(name))
	if err != nil {
		return err
	}
	return work(t.Context())
}

func TestGroups(t *testing.T) {
	w := newWorld(t)
	w.make(t, "RG")
	for _, tc := range []struct {
		name, group, location, reason string
	}{
		{"again", "rg", "eastus", ""}, {"elsewhere", "rg", "westus", "InvalidResourceGroupLocation"}, {"nowhere", "x", "", "LocationRequired"},
		{"a slash", "a/b", "eastus", "InvalidResourceGroup"}, {"a last dot", "a.", "eastus", "InvalidResourceGroup"},
		{"too long", strings.Repeat("a", 91), "eastus", "InvalidResourceGroup"}, {"letters of the world", "größe_(1)", "eastus", ""},
	} {
		g, _, err := w.PutGroup(t.Context(), admin, Group{Subscription: w.Subscription().ID, Name: tc.group, Location: tc.location})
		if tc.reason == "" && err != nil || tc.reason != "" && !fault.Is(err, tc.reason) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.name == "again" && g.Name != "RG" {
			t.Errorf("the name is now %q", g.Name)
		}
	}
	if g, err := w.TagGroup(t.Context(), admin, w.rg("rg"), map[string]string{"a": "b"}); err != nil || g.Tags["a"] != "b" {
		t.Fatal(g, err)
	}
	sub := w.Subscription()
	w.open(t)
	if g, err := w.Group(t.Context(), admin, w.rg("rG")); err != nil || g.Name != "RG" || g.Tags["a"] != "b" || w.Subscription() != sub {
		t.Fatalf("after a restart: %+v %v", g, err)
	}
	if err := w.RequireGroup("nothing"); !fault.Is(err, "ResourceGroupNotFound") {
		t.Fatal(err)
	}
}

func TestGroupIsEmptiedThenForgottenThenRemoved(t *testing.T) {
	w := newWorld(t)
	w.make(t, "rg")
	w.shelf.names = []string{"one", "two"}
	w.shelf.during = func() {
		if err := w.RequireGroup("rg"); !fault.Is(err, "ResourceGroupBeingDeleted") {
			t.Errorf("something new in a group that goes: %v", err)
		}
		if _, err := w.TagGroup(t.Context(), admin, w.rg("rg"), nil); !fault.Is(err, "ResourceGroupBeingDeleted") {
			t.Errorf("tagging a group that goes: %v", err)
		}
		if g, err := w.Group(t.Context(), admin, w.rg("rg")); err != nil || !g.Deleting {
			t.Errorf("the group shows %+v, %v", g, err)
		}
		if err := w.remove(t, "rg"); !fault.Is(err, "ResourceGroupBeingDeleted") {
			t.Errorf("twice: %v", err)
		}
	}
	if err := w.remove(t, "RG"); err != nil {
		t.Fatal(err)
	}
	want := "one, two, grants at " + w.rg("rg").String()
	if got := strings.Join(w.order, ", "); got != want {
		t.Errorf("order: %s, want %s", got, want)
	}
	w.open(t)
	if err := w.RequireGroup("rg"); !fault.Is(err, "ResourceGroupNotFound") {
		t.Errorf("after a restart: %v", err)
	}
}

// TestGroupStays: a refusal, or grants that cannot be removed, leave the group, which works again.
func TestGroupStays(t *testing.T) {
	w := newWorld(t)
	w.make(t, "rg")
	w.shelf.names, w.shelf.refuse = []string{"one"}, fault.New(fault.Denied, "AuthorizationFailed", "not this one")
	if err := w.remove(t, "rg"); !fault.Is(err, "AuthorizationFailed") {
		t.Fatal(err)
	}
	if err := w.RequireGroup("rg"); err != nil {
		t.Fatalf("after a refusal: %v", err)
	}
	w.shelf.refuse, w.forget = nil, errors.New("disk full")
	if err := w.remove(t, "rg"); !errors.Is(err, w.forget) {
		t.Fatal(err)
	}
	w.open(t)
	if err := w.RequireGroup("rg"); err != nil {
		t.Fatalf("the group is gone and its grants are not: %v", err)
	}
}

func TestGroupThatCannotBeEmptied(t *testing.T) {
	w := newWorld(t)
	w.make(t, "rg")
	w.shelf.names = []string{"one"}
	w.shelf.during = func() { w.shelf.names = append(w.shelf.names, "more") }
	if err := w.remove(t, "rg"); !fault.Is(err, "ResourceGroupDeletionBlocked") {
		t.Fatal(err)
	}
}

// TestEveryMethodAsks calls everything as a stranger: each call is refused, recorded, and about the
// group or the subscription itself, wherever the id points.
func TestEveryMethodAsks(t *testing.T) {
	w := newWorld(t)
	w.make(t, "rg")
	w.shelf.names = []string{"one"}
	deep := w.rg("rg")
	deep.Provider = "Microsoft.Other"
	group, sub, ctx := w.rg("rg").String(), "/subscriptions/"+w.Subscription().ID, t.Context()
	for name, tc := range map[string]struct {
		call func() error
		want string
	}{
		"show":     {func() error { _, err := w.Group(ctx, stranger, deep); return err }, groupAction + "read on " + group},
		"tag":      {func() error { _, err := w.TagGroup(ctx, stranger, deep, nil); return err }, groupAction + "write on " + group},
		"delete":   {func() error { _, err := w.BeginDeleteGroup(ctx, stranger, deep); return err }, groupAction + "delete on " + group},
		"contents": {func() error { _, err := w.GroupContents(ctx, stranger, deep); return err }, groupAction + "resources/read on " + group},
		"make": {func() error {
			_, _, err := w.PutGroup(ctx, stranger, Group{Subscription: w.Subscription().ID, Name: "rg"})
			return err
		}, groupAction + "write on " + group},
		"register":   {func() error { return w.SetRegistered(ctx, stranger, "A.B", true) }, "A.B/register/action on " + sub},
		"unregister": {func() error { return w.SetRegistered(ctx, stranger, "A.B", false) }, "A.B/unregister/action on " + sub},
		"shared":     {func() error { return w.ReadSubscription(ctx, stranger, "x/read") }, "x/read on " + sub},
		"none":       {func() error { return w.Read(ctx, stranger, "x/read", deep) }, "x/read on " + group},
	} {
		before := len(w.trail.events)
		if err := tc.call(); !fault.Is(err, "AuthorizationFailed") {
			t.Errorf("%s: %v", name, err)
		}
		if got := w.policy.asked[len(w.policy.asked)-1]; got != tc.want {
			t.Errorf("%s: asked for %s, want %s", name, got, tc.want)
		}
		if len(w.trail.events) != before+1 || w.trail.events[before].Outcome != audit.Denied {
			t.Errorf("%s: records %+v", name, w.trail.events[before:])
		}
	}
	w.trail.fail = errors.New("disk full")
	if _, _, err := w.PutGroup(ctx, admin, Group{Subscription: w.Subscription().ID, Name: "new", Location: "eastus"}); err == nil || w.RequireGroup("new") == nil {
		t.Errorf("an unrecorded change went through: %v", err)
	}
}

func TestSubscriptionIsSeenByWhoHasAnyGrant(t *testing.T) {
	w := newWorld(t)
	if w.MayList(t.Context(), stranger) || !w.MayList(t.Context(), admin) {
		t.Error("who reads it does not decide")
	}
	w.cfg.HasGrant = func(c principal.Caller, scope string) bool {
		return c.ObjectID == stranger.ObjectID && scope == "/subscriptions/"+w.Subscription().ID
	}
	if !w.MayList(t.Context(), stranger) {
		t.Error("a grant does not count")
	}
}

func TestRegistration(t *testing.T) {
	w := newWorld(t)
	if got := w.Registration("A.B"); got != Registered {
		t.Errorf("at first %s", got)
	}
	for _, on := range []bool{false, true, false} {
		if err := w.SetRegistered(t.Context(), admin, "a.b", on); err != nil {
			t.Fatal(err)
		}
		w.open(t)
		if got := w.Registration("A.B"); (got == Registered) != on {
			t.Errorf("%v: %s", on, got)
		}
	}
}

func TestOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := newOperations(time.Now)
		quick, err := ops.Start("o", time.Second, func(context.Context) (any, error) { return "done", nil })
		if err != nil || quick.State != Succeeded || quick.Result != "done" {
			t.Fatalf("%+v %v", quick, err)
		}
		slow, err := ops.Start("o", time.Second, func(ctx context.Context) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if err != nil || slow.State != Running {
			t.Fatalf("%+v %v", slow, err)
		}
		time.Sleep(operationTimeout)
		synctest.Wait()
		if op, ok := ops.Get(slow.ID); !ok || op.State != Failed || !errors.Is(op.Err, context.DeadlineExceeded) {
			t.Fatalf("without an end: %+v", op)
		}
		time.Sleep(keepFor - operationTimeout + time.Minute) // quick is old now, slow is not
		if _, err := ops.Start("o", time.Second, func(context.Context) (any, error) { return nil, nil }); err != nil {
			t.Fatal(err)
		}
		if _, ok := ops.Get(quick.ID); ok {
			t.Error("an old operation is remembered")
		}
		if _, ok := ops.Get(slow.ID); !ok {
			t.Error("a recent operation is forgotten")
		}
		if err := ops.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := ops.Start("o", 0, func(context.Context) (any, error) { return nil, nil }); err == nil {
			t.Error("an operation starts after the stop")
		}
	})
}
