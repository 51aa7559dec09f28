package docdb_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// kinds are all kinds of resources with a body, another body, and the part of their link.
var kinds = []struct {
	kind       docdb.ResourceKind
	segment    string
	body, next string // without the id
	want       string // what is shown of body
}{
	{docdb.Users, "users", `"x":1`, ``, ``},
	{docdb.ClientEncryptionKeys, "clientencryptionkeys", `"wrappedDataEncryptionKey":"AAEC","keyWrapMetadata":{"type":"akv"}`,
		`"wrappedDataEncryptionKey":"AwQF","keyWrapMetadata":{}`, `"wrappedDataEncryptionKey":"AAEC","keyWrapMetadata":{"type":"akv"}`},
	{docdb.Permissions, "permissions", `"permissionMode":"All","resource":"dbs/d/colls/c"`, `"permissionMode":"read","resource":"dbs/d/colls/c"`,
		`"permissionMode":"All","resource":"dbs/d/colls/c"`},
	{docdb.StoredProcedures, "sprocs", `"body":"function(){}"`, `"body":"f"`, `"body":"function(){}"`},
	{docdb.Triggers, "triggers", `"body":"f","triggerType":"pre","triggerOperation":"all"`, `"body":"g","triggerType":"Post","triggerOperation":"Create"`,
		`"body":"f","triggerType":"Pre","triggerOperation":"All"`},
	{docdb.Functions, "udfs", `"body":"f"`, `"body":"g"`, `"body":"f"`},
}

func withID(id, members string) []byte {
	return []byte(strings.TrimSuffix(`{"id":"`+id+`",`+members, ",") + "}")
}

func place(kind docdb.ResourceKind) docdb.ResourcePath {
	return docdb.ResourcePath{Account: accountID, Database: "d", Container: "c", User: "u", Kind: kind}
}

// people makes database d with container c and user u.
func (w *world) people() {
	w.t.Helper()
	w.container(simple)
	if _, _, err := w.CreateResource(context.Background(), key, place(docdb.Users), []byte(`{"id":"u"}`), docdb.ResourceRequest{}); err != nil {
		w.t.Fatal(err)
	}
}

// TestResourceLife walks through the life of a resource of every kind.
func TestResourceLife(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.segment, func(t *testing.T) {
			w, ctx, none := newWorld(t), context.Background(), docdb.ResourceRequest{}
			w.people()
			p := place(k.kind)
			made, created, err := w.CreateResource(ctx, key, p, withID("a", k.body), none)
			if err != nil || !created {
				t.Fatal(created, err)
			}
			if want := strings.TrimSuffix(`{"id":"a",`+k.want, ",") + `,"_rid":"` + made.RID + `","_self":"dbs/AAAAAQ==/`; !strings.HasPrefix(string(made.JSON), want) {
				t.Errorf("got  %s\nwant %s", made.JSON, want)
			}
			if self, _ := jsonx.Find(made.JSON, "_self"); !strings.HasSuffix(jsonx.Unquote(self), "/"+k.segment+"/"+made.RID+"/") {
				t.Errorf("link %s", self)
			}
			if _, _, err := w.CreateResource(ctx, key, p, withID("a", k.body), none); fault.KindOf(err) != fault.Conflict {
				t.Errorf("made twice: %v", err)
			}
			for _, name := range []string{"a", made.RID} {
				if got, err := w.Resource(ctx, key, p, name, none); err != nil || got.ETag != made.ETag || got.ID != "a" {
					t.Errorf("read %s: %s, %v", name, got.JSON, err)
				}
			}
			w.now = w.now.Add(time.Second)
			stale := docdb.ResourceRequest{IfMatch: `"old"`}
			_, err = w.ReplaceResource(ctx, key, p, "a", withID("a", k.next), stale)
			wantFault(t, err, fault.Precondition, "PreconditionFailed")
			replaced, err := w.ReplaceResource(ctx, key, p, made.RID, withID("b", k.next), docdb.ResourceRequest{IfMatch: made.ETag})
			if err != nil || replaced.RID != made.RID || replaced.ETag == made.ETag || replaced.ID != "b" {
				t.Errorf("replaced: %s, %v", replaced.JSON, err)
			}
			_, err = w.Resource(ctx, key, p, "a", none)
			wantFault(t, err, fault.NotFound, "NotFound")
			up, created, err := w.CreateResource(ctx, key, p, withID("b", k.body), docdb.ResourceRequest{Upsert: true})
			if err != nil || created || up.RID != made.RID {
				t.Errorf("upsert: %v, %v", created, err)
			}
			other, _, err := w.CreateResource(ctx, key, p, withID("z", k.body), none)
			if err != nil || other.RID == made.RID {
				t.Errorf("second: %v", err)
			}
			_, err = w.ReplaceResource(ctx, key, p, "z", withID("b", k.next), none)
			wantFault(t, err, fault.Conflict, "Conflict")
			list, parent, err := w.Resources(ctx, key, p, none)
			if n := len(list); err != nil || parent == "" || list[n-2].ID != "b" || list[n-1].ID != "z" {
				t.Errorf("list of %d below %s: %v", n, parent, err)
			}
			wantFault(t, w.DeleteResource(ctx, key, p, "b", stale), fault.Precondition, "PreconditionFailed")
			if err := w.DeleteResource(ctx, key, p, "b", none); err != nil {
				t.Error(err)
			}
			wantFault(t, w.DeleteResource(ctx, key, p, "b", none), fault.NotFound, "NotFound")
			w.reopen()
			if got, err := w.Resource(ctx, key, p, "z", none); err != nil || got.RID != other.RID {
				t.Errorf("after a restart: %s, %v", got.JSON, err)
			}
			if err := w.DeleteDatabase(ctx, key, accountID, "d"); err != nil {
				t.Fatal(err)
			}
			if n := count(t, w, 0x15) + count(t, w, 0x16); n != 0 {
				t.Errorf("%d keys are left behind", n)
			}
		})
	}
}

// reopen closes the store and opens it again, as a restart does.
func (w *world) reopen() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open(w.fs)
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return w.now }})
}

func TestResourceRefusals(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.people()
	missing := func(names string) string {
		return "The input content is invalid because the required properties - '" + names + "' - are missing"
	}
	for _, tt := range []struct {
		kind docdb.ResourceKind
		body string
		want string // part of the message
	}{
		{docdb.Users, `{}`, missing("id; ")},
		{docdb.Users, `{"id":""}`, missing("id; ")},
		{docdb.Users, `{"id":"a/b"}`, "characters that are not allowed"},
		{docdb.Users, `[]`, "not a JSON object"},
		{docdb.Users, `{"id":"a","id":"b"}`, "not valid JSON"},
		{docdb.StoredProcedures, `{}`, missing("id; body; ")},
		{docdb.StoredProcedures, `{"id":"a","body":1}`, "'body' must be a string"},
		{docdb.StoredProcedures, `{"id":"a","body":"` + strings.Repeat("x", 2<<20) + `"}`, "Request size is too large"},
		{docdb.Triggers, `{"id":"a","body":"f"}`, missing("triggerType; triggerOperation; ")},
		{docdb.Triggers, `{"id":"a","body":"f","triggerType":"Around","triggerOperation":"All"}`, "'triggerType' must be one of Pre, Post"},
		{docdb.Permissions, `{"id":"a"}`, missing("permissionMode; resource; ")},
		{docdb.Permissions, `{"id":"a","permissionMode":"none","resource":"dbs/d/colls/c"}`, "must be Read or All"},
		{docdb.Permissions, `{"id":"a","permissionMode":"All","resource":"dbs/d"}`, "must be the link of"},
		{docdb.Permissions, `{"id":"a","permissionMode":"All","resource":"dbs/d/colls/c/pkranges/0"}`, "must be the link of"},
		{docdb.Permissions, `{"id":"a","permissionMode":"All","resource":"dbs/d/colls/none"}`, "does not exist"},
		{docdb.Permissions, `{"id":"a","permissionMode":"All","resource":"dbs/d/colls/c/sprocs/none"}`, "does not exist"},
		{docdb.Permissions, `{"id":"a","permissionMode":"All","resource":"dbs/other/colls/c"}`, "in the database of its user"},
		{docdb.Permissions, `{"id":"a","permissionMode":"All","resource":"dbs/d/colls/c","resourcePartitionKey":"a"}`, "is invalid"},
		{docdb.ClientEncryptionKeys, `{"id":"a"}`, missing("wrappedDataEncryptionKey; keyWrapMetadata; ")},
		{docdb.ClientEncryptionKeys, `{"id":"a","wrappedDataEncryptionKey":"!","keyWrapMetadata":{}}`, "must be base64"},
		{docdb.ClientEncryptionKeys, `{"id":"a","wrappedDataEncryptionKey":"AAEC","keyWrapMetadata":1}`, "must be an object"},
	} {
		if strings.Contains(tt.body, "other") {
			must(w.CreateDatabase(ctx, key, accountID, docdb.DatabaseSpec{ID: "other"}))
		}
		_, _, err := w.CreateResource(ctx, key, place(tt.kind), []byte(tt.body), docdb.ResourceRequest{})
		if f := fault.As(err); f == nil || !strings.Contains(f.Message, tt.want) {
			t.Errorf("%c %.80s: %v, want %q", tt.kind, tt.body, err, tt.want)
		}
	}
	lost := place(docdb.Users)
	lost.Database = "none"
	_, _, err := w.Resources(ctx, key, lost, docdb.ResourceRequest{})
	wantFault(t, err, fault.NotFound, "OwnerResourceNotFound")
	err = w.ExecuteStoredProcedure(ctx, key, place(docdb.StoredProcedures), "none")
	wantFault(t, err, fault.NotFound, "NotFound")
	must2(w.CreateResource(ctx, key, place(docdb.StoredProcedures), []byte(`{"id":"s","body":"f"}`), docdb.ResourceRequest{}))
	err = w.ExecuteStoredProcedure(ctx, key, place(docdb.StoredProcedures), "s")
	wantFault(t, err, fault.NotImplemented, "ScriptsNotSupported")
}

// must2 is must for what tells two things.
func must2(r docdb.Resource, _ bool, err error) docdb.Resource { return must(r, err) }

// permit gives user u a permission and returns the signature of its token.
func (w *world) permit(id, mode, link, pk string) string {
	w.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"permissionMode":%q,"resource":%q`, id, mode, link)
	if pk != "" {
		body += `,"resourcePartitionKey":` + pk
	}
	res := must2(w.CreateResource(context.Background(), key, place(docdb.Permissions), []byte(body+"}"), docdb.ResourceRequest{}))
	return signature(res)
}

func signature(res docdb.Resource) string {
	token, _ := jsonx.Find(res.JSON, "_token")
	return strings.TrimPrefix(jsonx.Unquote(token), "type=resource&ver=1&sig=")
}

// TestTokenOpens holds what each permission opens and what not.
func TestTokenOpens(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.people()
	path := docdb.ContainerPath{Account: accountID, Database: "d", Container: "c"}
	w.container(`{"id":"other","partitionKey":{"paths":["/pk"]}}`)
	w.container(`{"id":"tree","partitionKey":{"paths":["/t","/u"],"kind":"MultiHash","version":2}}`)
	for _, body := range []string{`{"id":"1","pk":"a"}`, `{"id":"2","pk":"a"}`, `{"id":"1","pk":"b"}`} {
		pk, _ := jsonx.Find([]byte(body), "pk")
		must(w.CreateItem(ctx, key, at(path, "["+string(pk)+"]"), []byte(body)))
	}
	sproc := must2(w.CreateResource(ctx, key, place(docdb.StoredProcedures), []byte(`{"id":"s","body":"f"}`), docdb.ResourceRequest{}))
	must2(w.CreateResource(ctx, key, place(docdb.StoredProcedures), []byte(`{"id":"r","body":"f"}`), docdb.ResourceRequest{}))
	container := must(w.Container(ctx, key, accountID, "d", "c"))

	tokens := map[string]string{
		"container":   w.permit("container", "All", "dbs/d/colls/c", ""),
		"by rid":      w.permit("rid", "All", container.Self, ""),
		"partition":   w.permit("partition", "All", "dbs/d/colls/c", `["a"]`),
		"item":        w.permit("item", "All", "dbs/d/colls/c/docs/1", ""),
		"item in a":   w.permit("item in a", "All", "dbs/d/colls/c/docs/1", `["a"]`),
		"sproc":       w.permit("sproc", "All", "dbs/d/colls/c/sprocs/s", ""),
		"tree":        w.permit("tree", "All", "dbs/d/colls/tree", ""),
		"tree prefix": w.permit("tree prefix", "All", "dbs/d/colls/tree", `["x"]`),
	}
	feed := func(pk string) docdb.FeedRequest {
		q := docdb.FeedRequest{Path: path}
		if pk != "" {
			q.PartitionKey = at(path, pk).PartitionKey
		}
		return q
	}
	tree := docdb.ContainerPath{Account: accountID, Database: "d", Container: "tree"}
	operations := []struct {
		name    string
		run     func(c principal.Caller) error
		allowed string // names of the tokens
	}{
		{"account", func(c principal.Caller) error { return w.AdmitAccount(ctx, c, accountID) }, "container,by rid,partition,item,item in a,sproc,tree,tree prefix"},
		{"databases", func(c principal.Caller) error { _, err := w.Databases(ctx, c, accountID); return err }, ""},
		{"database", func(c principal.Caller) error { _, err := w.Database(ctx, c, accountID, "d"); return err }, ""},
		{"containers", func(c principal.Caller) error { _, err := w.Containers(ctx, c, accountID, "d"); return err }, ""},
		{"offers", func(c principal.Caller) error { _, err := w.Offers(ctx, c, accountID); return err }, ""},
		{"users", func(c principal.Caller) error {
			_, _, err := w.Resources(ctx, c, place(docdb.Users), docdb.ResourceRequest{})
			return err
		}, ""},
		{"permissions", func(c principal.Caller) error {
			_, _, err := w.Resources(ctx, c, place(docdb.Permissions), docdb.ResourceRequest{})
			return err
		}, ""},
		{"container", func(c principal.Caller) error { _, err := w.Container(ctx, c, accountID, "d", "c"); return err }, "container,by rid,partition,item,item in a,sproc"},
		{"other container", func(c principal.Caller) error { _, err := w.Container(ctx, c, accountID, "d", "other"); return err }, ""},
		{"missing container", func(c principal.Caller) error { _, err := w.Container(ctx, c, accountID, "d", "none"); return err }, ""},
		{"ranges", func(c principal.Caller) error { _, _, _, err := w.PartitionKeyRanges(ctx, c, path); return err }, "container,by rid,partition,item,item in a,sproc"},
		{"read 1 in a", func(c principal.Caller) error { _, err := w.ReadItem(ctx, c, at(path, `["a"]`), "1"); return err }, "container,by rid,partition,item,item in a"},
		{"read 2 in a", func(c principal.Caller) error { _, err := w.ReadItem(ctx, c, at(path, `["a"]`), "2"); return err }, "container,by rid,partition"},
		{"read 1 in b", func(c principal.Caller) error { _, err := w.ReadItem(ctx, c, at(path, `["b"]`), "1"); return err }, "container,by rid,item"},
		{"upsert 2 in a", func(c principal.Caller) error {
			_, err := w.UpsertItem(ctx, c, at(path, `["a"]`), []byte(`{"id":"2","pk":"a"}`))
			return err
		}, "container,by rid,partition"},
		{"patch 1 in a", func(c principal.Caller) error {
			_, err := w.PatchItem(ctx, c, at(path, `["a"]`), "1", []byte(`[{"op":"set","path":"/x","value":1}]`))
			return err
		}, "container,by rid,partition,item,item in a"},
		{"batch in a", func(c principal.Caller) error {
			_, _, err := w.Batch(ctx, c, at(path, `["a"]`), []docdb.BatchOperation{{Kind: docdb.OpRead, ID: "1"}})
			return err
		}, "container,by rid,partition,item,item in a"},
		{"batch in b", func(c principal.Caller) error {
			_, _, err := w.Batch(ctx, c, at(path, `["b"]`), []docdb.BatchOperation{{Kind: docdb.OpRead, ID: "1"}})
			return err
		}, "container,by rid,item"},
		{"bulk in b", func(c principal.Caller) error {
			r, _, err := w.Bulk(ctx, c, at(path, `["b"]`), []docdb.BatchOperation{{Kind: docdb.OpRead, ID: "1"}}, false)
			if err == nil {
				err = r[0].Err
			}
			return err
		}, "container,by rid,item"},
		{"feed", func(c principal.Caller) error { _, err := w.ReadFeed(ctx, c, feed("")); return err }, "container,by rid"},
		{"feed of a", func(c principal.Caller) error { _, err := w.ReadFeed(ctx, c, feed(`["a"]`)); return err }, "container,by rid,partition"},
		{"feed of b", func(c principal.Caller) error { _, err := w.ReadFeed(ctx, c, feed(`["b"]`)); return err }, "container,by rid"},
		{"query", func(c principal.Caller) error {
			_, err := w.Query(ctx, c, feed(""), docdb.Query{Text: "SELECT VALUE 1 FROM c"})
			return err
		}, "container,by rid"},
		{"query in a", func(c principal.Caller) error {
			_, err := w.Query(ctx, c, feed(`["a"]`), docdb.Query{Text: "SELECT VALUE 1 FROM c"})
			return err
		}, "container,by rid,partition"},
		{"changes", func(c principal.Caller) error {
			_, err := w.ChangeFeed(ctx, c, docdb.ChangeFeedRequest{FeedRequest: feed("")})
			return err
		}, "container,by rid"},
		{"changes of a", func(c principal.Caller) error {
			_, err := w.ChangeFeed(ctx, c, docdb.ChangeFeedRequest{FeedRequest: feed(`["a"]`)})
			return err
		}, "container,by rid,partition"},
		{"read s", func(c principal.Caller) error {
			_, err := w.Resource(ctx, c, place(docdb.StoredProcedures), "s", docdb.ResourceRequest{})
			return err
		}, "container,by rid,sproc"},
		{"read s by rid", func(c principal.Caller) error {
			_, err := w.Resource(ctx, c, place(docdb.StoredProcedures), sproc.RID, docdb.ResourceRequest{})
			return err
		}, "container,by rid,sproc"},
		{"read r", func(c principal.Caller) error {
			_, err := w.Resource(ctx, c, place(docdb.StoredProcedures), "r", docdb.ResourceRequest{})
			return err
		}, "container,by rid"},
		{"list scripts", func(c principal.Caller) error {
			_, _, err := w.Resources(ctx, c, place(docdb.StoredProcedures), docdb.ResourceRequest{})
			return err
		}, "container,by rid"},
		{"tree x", func(c principal.Caller) error {
			_, err := w.UpsertItem(ctx, c, at(tree, `["x","y"]`), []byte(`{"id":"1","t":"x","u":"y"}`))
			return err
		}, "tree,tree prefix"},
		{"tree y", func(c principal.Caller) error {
			_, err := w.UpsertItem(ctx, c, at(tree, `["y","x"]`), []byte(`{"id":"1","t":"y","u":"x"}`))
			return err
		}, "tree"},
		{"tree feed of x", func(c principal.Caller) error {
			q := feed(`["x"]`)
			q.Path = tree
			_, err := w.ReadFeed(ctx, c, q)
			return err
		}, "tree,tree prefix"},
	}
	for name, sig := range tokens {
		c := must(w.VerifyResourceToken(ctx, accountID, sig))
		if c.Account != accountID || c.Door != principal.AccountResourceToken || c.Grant == nil || !c.Grant.Write {
			t.Fatalf("%s: %+v", name, c)
		}
		for _, op := range operations {
			wanted := strings.Contains(","+op.allowed+",", ","+name+",")
			switch err := op.run(c); {
			case wanted && err != nil:
				t.Errorf("%s: %s: %v", name, op.name, err)
			case !wanted && !fault.Is(err, "InsufficientPermissions"):
				t.Errorf("%s: %s: let in: %v", name, op.name, err)
			}
		}
	}
}

// TestTokenEnds: what makes a token worthless, and that nothing else does.
func TestTokenEnds(t *testing.T) {
	none := docdb.ResourceRequest{}
	ctx := context.Background()
	users, permissions := place(docdb.Users), place(docdb.Permissions)
	tests := []struct {
		name string
		do   func(w *world) error
		want string // reason of the refusal; "" for none
	}{
		{"nothing", func(*world) error { return nil }, ""},
		{"a restart", func(w *world) error { w.reopen(); return nil }, ""},
		{"59 minutes", func(w *world) error { w.now = w.now.Add(59 * time.Minute); return nil }, ""},
		{"an hour", func(w *world) error { w.now = w.now.Add(time.Hour); return nil }, "ResourceTokenExpired"},
		{"a clock far behind", func(w *world) error { w.now = w.now.Add(-time.Hour); return nil }, "ResourceTokenExpired"},
		{"another permission", func(w *world) error { w.permit("q", "All", "dbs/d/colls/c", ""); return nil }, ""},
		{"replaced", func(w *world) error {
			_, err := w.ReplaceResource(ctx, key, permissions, "p", []byte(`{"id":"p","permissionMode":"All","resource":"dbs/d/colls/c"}`), none)
			return err
		}, "InsufficientPermissions"},
		{"deleted", func(w *world) error { return w.DeleteResource(ctx, key, permissions, "p", none) }, "InsufficientPermissions"},
		{"made again", func(w *world) error {
			if err := w.DeleteResource(ctx, key, permissions, "p", none); err != nil {
				return err
			}
			w.permit("p", "All", "dbs/d/colls/c", "")
			return nil
		}, "InsufficientPermissions"},
		{"user replaced", func(w *world) error {
			_, err := w.ReplaceResource(ctx, key, users, "u", []byte(`{"id":"u2"}`), none)
			return err
		}, "InsufficientPermissions"},
		{"user deleted", func(w *world) error { return w.DeleteResource(ctx, key, users, "u", none) }, "InsufficientPermissions"},
		{"database deleted", func(w *world) error { return w.DeleteDatabase(ctx, key, accountID, "d") }, "InsufficientPermissions"},
		{"container made again", func(w *world) error {
			if err := w.DeleteContainer(ctx, key, accountID, "d", "c"); err != nil {
				return err
			}
			w.container(simple)
			return nil
		}, "InsufficientPermissions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.people()
			sig := w.permit("p", "Read", "dbs/d/colls/c", "")
			if err := tt.do(w); err != nil {
				t.Fatal(err)
			}
			c, err := w.VerifyResourceToken(ctx, accountID, sig)
			if err == nil {
				_, err = w.Container(ctx, c, accountID, "d", "c")
			}
			if tt.want == "" && err != nil || tt.want != "" && !fault.Is(err, tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestTokenLife holds the bounds of the life that a reader may ask for.
func TestTokenLife(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.people()
	w.permit("p", "All", "dbs/d/colls/c", "")
	for life, ok := range map[time.Duration]bool{
		599 * time.Second: false, 600 * time.Second: true, 24 * time.Hour: true, 24*time.Hour + time.Second: false,
	} {
		res, err := w.Resource(ctx, key, place(docdb.Permissions), "p", docdb.ResourceRequest{Expiry: life})
		if ok != (err == nil) {
			t.Fatalf("%v: %v", life, err)
		}
		if !ok {
			continue
		}
		began := w.now
		for wait, want := range map[time.Duration]bool{life - time.Second: true, life: false} {
			w.now = began.Add(wait)
			if _, err := w.VerifyResourceToken(ctx, accountID, signature(res)); want != (err == nil) {
				t.Errorf("%v of %v: %v", wait, life, err)
			}
		}
		w.now = began
	}
}

// TestTokenForged: a token with any byte changed, or of another account, proves nothing.
func TestTokenForged(t *testing.T) {
	w, other, ctx := newWorld(t), newWorld(t), context.Background()
	w.people()
	other.people()
	sig := w.permit("p", "All", "dbs/d/colls/c", "")
	other.permit("p", "All", "dbs/d/colls/c", "")
	if _, err := other.VerifyResourceToken(ctx, accountID, sig); !fault.Is(err, "ResourceTokenSignature") {
		t.Errorf("of another account: %v", err)
	}
	for i := range sig {
		forged := []byte(sig)
		forged[i] ^= 1
		if c, err := w.VerifyResourceToken(ctx, accountID, string(forged)); fault.KindOf(err) != fault.Unauthenticated {
			t.Fatalf("byte %d changed: %+v, %v", i, c, err)
		}
	}
	for _, bad := range []string{"", ";", ";;", sig + ";", sig[:len(sig)-1], strings.ReplaceAll(sig, ";", "")} {
		if _, err := w.VerifyResourceToken(ctx, accountID, bad); !fault.Is(err, "5001") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestGivingTokensIsAudited: reading a permission gives a token out, and refusals to its bearer are told.
func TestGivingTokensIsAudited(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.people()
	sig := w.permit("p", "All", "dbs/d/colls/c", `["a"]`)
	before := len(w.events)
	must(w.Resource(ctx, key, place(docdb.Permissions), "p", docdb.ResourceRequest{}))
	c := must(w.VerifyResourceToken(ctx, accountID, sig))
	_, _ = w.Databases(ctx, c, accountID)
	_, _ = w.ReadItem(ctx, c, at(docdb.ContainerPath{Account: accountID, Database: "d", Container: "c"}, `["b"]`), "1")
	var got []string
	for _, e := range w.events[before:] {
		got = append(got, strings.TrimPrefix(e.Operation, "Microsoft.DocumentDB/databaseAccounts/")+" "+string(e.Outcome)+" "+e.Caller)
		if strings.Contains(fmt.Sprintf("%+v", e), sig[:20]) {
			t.Errorf("the token is in the audit log: %+v", e)
		}
	}
	bearer := "account-resource-token/" + c.Grant.Permission
	want := []string{"sqlDatabases/users/permissions/read allowed account-key", "readMetadata denied " + bearer, "sqlDatabases/containers/items/read denied " + bearer}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
