package docdb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

func withPolicy(name, policy string) docdb.ContainerSpec {
	return docdb.ContainerSpec{Properties: fmt.Appendf(nil, `{"id":%q,"partitionKey":{"paths":["/pk"],"kind":"Hash"},"conflictResolutionPolicy":%s}`, name, policy)}
}

func policyOf(t *testing.T, c docdb.Container) string {
	t.Helper()
	var shown struct {
		Policy json.RawMessage `json:"conflictResolutionPolicy"`
	}
	if err := json.Unmarshal(c.Properties, &shown); err != nil {
		t.Fatal(err)
	}
	return string(shown.Policy)
}

// TestConflictPolicy: what is kept of a policy, and what is refused.
func TestConflictPolicy(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container(simple)
	const standard = `{"mode":"LastWriterWins","conflictResolutionPath":"/_ts","conflictResolutionProcedure":""}`
	for i, c := range []struct{ policy, want string }{
		{`null`, standard},
		{`{}`, standard},
		{`{"mode":"lastWriterWins"}`, standard},
		{`{"mode":"LastWriterWins","conflictResolutionPath":"/a/b"}`, `{"mode":"LastWriterWins","conflictResolutionPath":"/a/b","conflictResolutionProcedure":""}`},
		{`{"mode":"custom"}`, `{"mode":"Custom","conflictResolutionPath":"","conflictResolutionProcedure":""}`},
		{`{"mode":"Custom","conflictResolutionProcedure":"dbs/d/colls/c/sprocs/s"}`, `{"mode":"Custom","conflictResolutionPath":"","conflictResolutionProcedure":"dbs/d/colls/c/sprocs/s"}`},
		{`{"mode":"Loudest"}`, ""},
		{`{"mode":7}`, ""},
		{`[]`, ""},
		{`{"conflictResolutionPath":"a"}`, ""},
		{`{"mode":"LastWriterWins","conflictResolutionProcedure":"dbs/d/colls/c/sprocs/s"}`, ""},
		{`{"mode":"Custom","conflictResolutionPath":"/a"}`, ""},
		{`{"mode":"Custom","conflictResolutionProcedure":"s"}`, ""},
	} {
		made, err := w.CreateContainer(ctx, key, accountID, "d", withPolicy(fmt.Sprint("p", i), c.policy))
		switch {
		case c.want == "":
			wantFault(t, err, fault.Invalid, "BadRequest")
		case err != nil:
			t.Errorf("%s: %v", c.policy, err)
		case policyOf(t, made) != c.want:
			t.Errorf("%s: %s", c.policy, policyOf(t, made))
		}
	}
}

// TestConflictPolicyStays: a replacement without a policy keeps it, one with another is refused.
func TestConflictPolicyStays(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container(simple)
	made, err := w.CreateContainer(ctx, key, accountID, "d", withPolicy("x", `{"mode":"Custom"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{`null`, `{"mode":"Custom"}`} {
		if c, err := w.ReplaceContainer(ctx, key, accountID, "d", "x", withPolicy("x", policy)); err != nil || policyOf(t, c) != policyOf(t, made) {
			t.Errorf("%s: %s, %v", policy, policyOf(t, c), err)
		}
	}
	_, err = w.ReplaceContainer(ctx, key, accountID, "d", "x", withPolicy("x", `{"mode":"LastWriterWins"}`))
	wantFault(t, err, fault.Invalid, "ContainerImmutable")
}

// TestNoConflicts: the feed is empty and no conflict is there, for who may ask.
func TestNoConflicts(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	path := w.container(simple)
	if r, err := w.Conflicts(ctx, key, path, docdb.Consistency{}); err != nil || r.ContainerRID == "" {
		t.Error(r, err)
	}
	wantFault(t, w.Conflict(ctx, key, path, docdb.Consistency{}), fault.NotFound, "NotFound")
	wantFault(t, w.DeleteConflict(ctx, key, path, docdb.Consistency{}), fault.NotFound, "NotFound")
	missing := path
	missing.Container = "none"
	_, err := w.Conflicts(ctx, key, missing, docdb.Consistency{})
	wantFault(t, err, fault.NotFound, "OwnerResourceNotFound")
	w.deny = "sqlDatabases/containers/conflicts/read"
	wantFault(t, w.Conflict(ctx, key, path, docdb.Consistency{}), fault.Denied, "5302")
	w.deny = "sqlDatabases/containers/manageConflicts"
	wantFault(t, w.DeleteConflict(ctx, key, path, docdb.Consistency{}), fault.Denied, "5302")
}

// TestAnalyticalStore: there is none; only who asks for none is served.
func TestAnalyticalStore(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container(simple)
	for i, ttl := range []string{"0", "null", "-1", "60", `"x"`} {
		_, err := w.CreateContainer(ctx, key, accountID, "d", docdb.ContainerSpec{
			Properties: fmt.Appendf(nil, `{"id":"a%d","partitionKey":{"paths":["/pk"]},"analyticalStorageTtl":%s}`, i, ttl)})
		if i < 2 && err != nil || i >= 2 && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", ttl, err)
		}
	}
}
