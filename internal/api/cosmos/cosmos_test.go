package cosmos_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/api/cosmos"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Keys of the account under test: any bytes do.
var (
	masterKey   = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 64)))
	readOnlyKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("r", 64)))
)

// world is a server with one account in memory, and everything that the face asks for.
type world struct {
	t      testing.TB
	server *httptest.Server
	view   docdb.AccountView

	mu     sync.Mutex
	locked error // what Acquire answers
	db     *store.Store
}

func newWorld(t testing.TB) *world {
	db, err := store.Open("db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: db, view: docdb.AccountView{ID: "id-1", Name: "acct1", Location: "East US", DefaultConsistency: "Session"}}
	service := docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w})
	cfg := cosmos.Config{Service: service, Accounts: w, Verifier: w}
	mux := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Host, "documents") {
			cosmos.New(cfg).ServeHTTP(rw, r)
			return
		}
		cosmos.NewEmulator(cfg, "acct1").ServeHTTP(rw, r)
	})
	w.server = httptest.NewTLSServer(mux)
	t.Cleanup(func() { w.server.Close(); _ = db.Close() })
	return w
}

func (w *world) Acquire(context.Context, string) (*store.Store, func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.db, func() {}, w.locked
}

func (w *world) lock(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locked = err
}

func (w *world) Record(context.Context, audit.Event) error { return nil }

func (w *world) AuthorizeDocuments(_ context.Context, c principal.Caller, account, action, _ string) error {
	if c.Door == principal.AccountToken && action != "readMetadata" {
		return fault.New(fault.Denied, "5302", "Request blocked by Auth acct1 : no.")
	}
	if c.Account != account {
		return fault.New(fault.Denied, "", "wrong account")
	}
	reads := action == "readMetadata" || strings.HasSuffix(action, "/items/read") || strings.HasSuffix(action, "/executeQuery")
	if c.Grant != nil && !reads && !(c.Grant.Write && strings.Contains(action, "/items/")) {
		return fault.New(fault.Denied, "InsufficientPermissions", "Insufficient permissions")
	}
	return nil
}

func (w *world) Resolve(_ context.Context, label string) (docdb.AccountView, error) {
	if label != "acct1" {
		return docdb.AccountView{}, fault.New(fault.NotFound, "AccountNotFound", "The database account does not exist.")
	}
	return w.view, nil
}

func (w *world) VerifyKey(_ context.Context, _, text string, sig []byte) (principal.Door, error) {
	for key, door := range map[string]principal.Door{masterKey: principal.AccountKey, readOnlyKey: principal.AccountReadOnlyKey} {
		if hmac.Equal(sig, sign(key, text)) {
			return door, nil
		}
	}
	return "", fault.New(fault.Unauthenticated, "MACSignature", "The input authorization token can't serve the request.")
}

func (w *world) VerifyToken(_ context.Context, token string, audiences []string) (principal.Caller, error) {
	if token != "good" {
		return principal.Caller{}, fault.New(fault.Unauthenticated, "TokenExpired", "expired")
	}
	if len(audiences) != 4 || audiences[0] != "https://cosmos.azure.com" {
		return principal.Caller{}, errors.New("audiences")
	}
	return principal.Caller{Kind: principal.User, ObjectID: "o"}, nil
}

func sign(key, text string) []byte {
	raw, _ := base64.StdEncoding.DecodeString(key)
	m := hmac.New(sha256.New, raw)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// client is the real client for Go.
func (w *world) client() *azcosmos.Client {
	w.t.Helper()
	cred, err := azcosmos.NewKeyCredential(masterKey)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := azcosmos.NewClientWithKey(w.server.URL, cred, &azcosmos.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: w.server.Client()}})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// answer is what a raw request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request that is signed with the master key unless the headers have an authorization.
// signed is type and link, separated by a space.
func (w *world) do(method, path, signed, body string, headers map[string]string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	kind, link, _ := strings.Cut(signed, " ")
	req.Header.Set("x-ms-date", date)
	text := strings.ToLower(method) + "\n" + kind + "\n" + link + "\n" + strings.ToLower(date) + "\n\n"
	req.Header.Set("Authorization", url.QueryEscape("type=master&ver=1.0&sig="+base64.StdEncoding.EncodeToString(sign(masterKey, text))))
	for k, v := range headers {
		if k == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	resp, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// wantStatus fails the test unless err is an answer with that status.
func wantStatus(t *testing.T, err error, status int) *azcore.ResponseError {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status {
		t.Fatalf("got %v, want status %d", err, status)
	}
	return e
}

// container makes database d with container c, keyed by /pk.
func (w *world) container() *azcosmos.ContainerClient {
	w.t.Helper()
	ctx, c := context.Background(), w.client()
	if _, err := c.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "d"}, nil); err != nil {
		w.t.Fatal(err)
	}
	db := must(c.NewDatabase("d"))
	_, err := db.CreateContainer(ctx, azcosmos.ContainerProperties{ID: "c", PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/pk"}}},
		&azcosmos.CreateContainerOptions{ThroughputProperties: to.Ptr(azcosmos.NewManualThroughputProperties(400))})
	if err != nil {
		w.t.Fatal(err)
	}
	return must(db.NewContainer("c"))
}

// must is for steps that only a broken test setting or a broken server fails.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestGoClient walks through the life of items with the real client.
func TestGoClient(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	c := w.container()
	pk := azcosmos.NewPartitionKeyString("a")
	made := must(c.CreateItem(ctx, pk, []byte(`{"id":"1","pk":"a","n":1.50}`), nil))
	if made.RawResponse.StatusCode != 201 || len(made.Value) != 0 || made.ETag == "" {
		t.Fatalf("create: %d %s", made.RawResponse.StatusCode, made.Value)
	}
	read := must(c.ReadItem(ctx, pk, "1", nil))
	if !strings.HasPrefix(string(read.Value), `{"id":"1","pk":"a","n":1.50,"_rid":`) {
		t.Errorf("read: %s", read.Value)
	}
	_, err := c.CreateItem(ctx, pk, []byte(`{"id":"1","pk":"a"}`), nil)
	wantStatus(t, err, 409)
	_, err = c.ReadItem(ctx, azcosmos.NewPartitionKeyString("b"), "1", nil)
	wantStatus(t, err, 404)
	_, err = c.CreateItem(ctx, pk, []byte(`{"id":"2","pk":"b"}`), nil)
	if e := wantStatus(t, err, 400); e.RawResponse.Header.Get("x-ms-substatus") != "1001" {
		t.Errorf("mismatch: sub-status %q", e.RawResponse.Header.Get("x-ms-substatus"))
	}
	replaced := must(c.ReplaceItem(ctx, pk, "1", []byte(`{"id":"1","pk":"a","n":2}`), &azcosmos.ItemOptions{IfMatchEtag: &made.ETag, EnableContentResponseOnWrite: true}))
	if !strings.Contains(string(replaced.Value), `"n":2`) {
		t.Errorf("replace: %s", replaced.Value)
	}
	_, err = c.ReplaceItem(ctx, pk, "1", []byte(`{"id":"1","pk":"a"}`), &azcosmos.ItemOptions{IfMatchEtag: &made.ETag})
	wantStatus(t, err, 412)
	for _, want := range []int{201, 200} {
		if r := must(c.UpsertItem(ctx, pk, []byte(`{"id":"3","pk":"a"}`), nil)); r.RawResponse.StatusCode != want {
			t.Errorf("upsert: %d, want %d", r.RawResponse.StatusCode, want)
		}
	}
	patch := azcosmos.PatchOperations{}
	patch.AppendIncrement("/n", 5)
	must(c.PatchItem(ctx, pk, "1", patch, nil))
	if r := must(c.ReadItem(ctx, pk, "1", nil)); !strings.Contains(string(r.Value), `"n":7`) {
		t.Errorf("patched: %s", r.Value)
	}
	must(c.DeleteItem(ctx, pk, "3", nil))
	_, err = c.DeleteItem(ctx, pk, "3", nil)
	wantStatus(t, err, 404)
}

func TestGoClientFeeds(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	c := w.container()
	for i := range 5 {
		pk := string(rune('a' + i))
		must(c.CreateItem(ctx, azcosmos.NewPartitionKeyString(pk), []byte(`{"id":"x","pk":"`+pk+`"}`), nil))
	}
	for _, tt := range []struct {
		pk   azcosmos.PartitionKey
		want int
	}{{azcosmos.NewPartitionKey(), 5}, {azcosmos.NewPartitionKeyString("b"), 1}} {
		pager, n, pages := c.NewQueryItemsPager("SELECT * FROM c", tt.pk, &azcosmos.QueryOptions{PageSizeHint: 2}), 0, 0
		for pager.More() {
			page := must(pager.NextPage(ctx))
			n, pages = n+len(page.Items), pages+1
		}
		if n != tt.want || pages != (tt.want+1)/2 {
			t.Errorf("%d items on %d pages, want %d", n, pages, tt.want)
		}
	}
	offer := must(c.ReadThroughput(ctx, nil))
	if v, _ := offer.ThroughputProperties.ManualThroughput(); v != 400 {
		t.Errorf("throughput %d", v)
	}
	must(c.ReplaceThroughput(ctx, azcosmos.NewManualThroughputProperties(600), nil))
	if v, _ := must(c.ReadThroughput(ctx, nil)).ThroughputProperties.ManualThroughput(); v != 600 {
		t.Errorf("throughput %d after the change", v)
	}
}

func TestGoClientBatch(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	c := w.container()
	batch := c.NewTransactionalBatch(azcosmos.NewPartitionKeyString("a"))
	batch.CreateItem([]byte(`{"id":"1","pk":"a"}`), nil)
	batch.UpsertItem([]byte(`{"id":"2","pk":"a"}`), nil)
	if r := must(c.ExecuteTransactionalBatch(ctx, batch, nil)); !r.Success {
		t.Fatalf("batch failed: %+v", r.OperationResults)
	}
	bad := c.NewTransactionalBatch(azcosmos.NewPartitionKeyString("a"))
	bad.CreateItem([]byte(`{"id":"3","pk":"a"}`), nil)
	bad.CreateItem([]byte(`{"id":"1","pk":"a"}`), nil)
	r := must(c.ExecuteTransactionalBatch(ctx, bad, nil))
	if r.Success || r.OperationResults[0].StatusCode != 424 || r.OperationResults[1].StatusCode != 409 {
		t.Errorf("got %+v", r.OperationResults)
	}
	_, err := c.ReadItem(ctx, azcosmos.NewPartitionKeyString("a"), "3", nil)
	wantStatus(t, err, 404)
}

// TestBinaryBatch sends what .NET sends, in its binary form, and gets the same form back: all of it, and
// nothing of it when one operation fails.
func TestBinaryBatch(t *testing.T) {
	w := newWorld(t)
	w.container()
	record := func(kind byte, body string) string {
		row := "\x81\x70\x54\xE1\x7F\x43" + string([]byte{kind, 0, 0, 0}) + "\x02\x00\x00\x00" + string([]byte{byte(len(body))}) + body
		head := binary.LittleEndian.AppendUint32([]byte("\x81\xF1\xD8\xFF\x7F"), uint32(len(row)))
		return string(binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE([]byte(row)))) + row
	}
	const segment = "\x81\xF0\xD8\xFF\x7F\x01\x0A\x00\x00\x00"
	send := func(records ...string) answer {
		return w.do("POST", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", segment+strings.Join(records, ""), map[string]string{
			"x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True", "x-ms-documentdb-partitionkey": `["a"]`})
	}
	good := send(record(0, `{"id":"1","pk":"a"}`), record(20, `{"id":"2","pk":"a"}`))
	if good.status != 200 || !strings.HasPrefix(good.body, segment) || strings.Count(good.body, "\x81\x71\x54\xE1\x7F\x0F\xC9\x00\x00\x00") != 2 || !strings.Contains(good.body, `"id":"2"`) {
		t.Errorf("%d %q", good.status, good.body)
	}
	bad := send(record(0, `{"id":"3","pk":"a"}`), record(0, `{"id":"1","pk":"a"}`))
	if bad.status != 207 || !strings.Contains(bad.body, "\xA8\x01\x00\x00") || !strings.Contains(bad.body, "\x99\x01\x00\x00") { // 424, 409
		t.Errorf("%d %q", bad.status, bad.body)
	}
	if broken := send("\x81"); broken.status != 400 || !json.Valid([]byte(broken.body)) {
		t.Errorf("%d %q", broken.status, broken.body)
	}
}

// TestErrors holds the bodies and headers that clients act upon.
func TestErrors(t *testing.T) {
	w := newWorld(t)
	w.container()
	nested := func(code, text string) string {
		return `{"code":"` + code + `","message":"Message: {\"Errors\":[\"` + text + `\"]}\r\nActivityId: ID"}`
	}
	const activity = "3f0c0000-0000-4000-8000-000000000001"
	tests := []struct {
		name, method, path, signed string
		headers                    map[string]string
		status                     int
		substatus, body            string
	}{
		{"no authorization", "GET", "/", " ", map[string]string{"Authorization": ""}, 401, "5000",
			`{"code":"Unauthorized","message":"Required Header authorization is missing. Ensure a valid Authorization token is passed.\r\nActivityId: ID"}`},
		{"wrong signature", "GET", "/dbs", "dbs x", nil, 401, "",
			`{"code":"Unauthorized","message":"The input authorization token can't serve the request.\r\nActivityId: ID"}`},
		{"old date", "GET", "/dbs", "dbs ", map[string]string{"x-ms-date": "Mon, 01 Jan 2001 00:00:00 GMT"}, 401, "", ""},
		{"method", "PATCH", "/dbs/d", "dbs dbs/d", nil, 405, "", nested("MethodNotAllowed", "The requested verb is not supported for this resource.")},
		{"no database", "GET", "/dbs/none", "dbs dbs/none", nil, 404, "", ""},
		{"no container", "GET", "/dbs/d/colls/none/docs/1", "docs dbs/d/colls/none/docs/1", map[string]string{"x-ms-documentdb-partitionkey": `["a"]`}, 404, "1003", ""},
		{"no item", "GET", "/dbs/d/colls/c/docs/1/", "docs dbs/d/colls/c/docs/1", map[string]string{"x-ms-documentdb-partitionkey": `["a"]`}, 404, "",
			nested("NotFound", "Entity with the specified id does not exist in the system. More info: https://aka.ms/cosmosdb-tsg-not-found")},
		{"no key", "GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1", nil, 400, "", nested("BadRequest", "PartitionKey value must be supplied for this operation.")},
		{"session ahead", "GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1",
			map[string]string{"x-ms-documentdb-partitionkey": `["a"]`, "x-ms-session-token": "0:-1#999"}, 404, "1002", ""},
		{"range gone", "GET", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", map[string]string{"x-ms-documentdb-partitionkeyrangeid": "7"}, 410, "1002", ""},
		{"direct mode", "GET", "//addresses/?$filter=protocol", " ", nil, 400, "",
			nested("BadRequest", "This server does not offer Direct mode (addresses of replicas). Configure the client for Gateway mode.")},
		{"unknown account", "GET", "/", " ", map[string]string{"Host": "other.documents.azure.com"}, 404, "", nested("NotFound", "The database account does not exist.")},
		{"token expired", "GET", "/dbs", "", map[string]string{"Authorization": "type=aad&ver=1.0&sig=old"}, 401, "5006", ""},
		{"token without right", "GET", "/dbs/d/colls/c/docs/1", "", map[string]string{"Authorization": "type=aad&ver=1.0&sig=good"}, 403, "5302",
			`{"code":"Forbidden","message":"Request blocked by Auth acct1 : no.\r\nActivityId: ID"}`},
		{"stronger consistency", "GET", "/dbs", "dbs ", map[string]string{"x-ms-consistency-level": "Strong"}, 400, "",
			nested("BadRequest", "ConsistencyLevel Strong specified in the request is invalid when service is configured with consistency level Session. Ensure the request consistency level is not stronger than the service consistency level.")},
		{"resource token", "GET", "/dbs", "", map[string]string{"Authorization": "type=resource&ver=1&sig=a"}, 401, "5001", ""},
		{"bad key header", "GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1", map[string]string{"x-ms-documentdb-partitionkey": `["a"`}, 400, "", ""},
		{"sproc without body", "POST", "/dbs/d/colls/c/sprocs", "sprocs dbs/d/colls/c", nil, 400, "", ""},
		{"long resource token", "GET", "/dbs", "", map[string]string{"Authorization": "type=resource&ver=1&sig=" + strings.Repeat("a", 8<<10)}, 401, "5001", ""},
		{"long key", "GET", "/dbs", "", map[string]string{"Authorization": "type=master&ver=1.0&sig=" + strings.Repeat("a", 1<<10)}, 401, "5001", ""},
		{"long token", "GET", "/dbs", "", map[string]string{"Authorization": "type=aad&ver=1.0&sig=" + strings.Repeat("a", 16<<10)}, 401, "5001", ""},
		{"life of a token", "POST", "/dbs/d/users/u/permissions", "permissions dbs/d/users/u", map[string]string{"x-ms-documentdb-expiry-seconds": "an hour"}, 400, "",
			nested("BadRequest", "The header x-ms-documentdb-expiry-seconds is not a number of seconds.")},
		{"no user", "GET", "/dbs/d/users/none/permissions", "permissions dbs/d/users/none", nil, 404, "1003", ""},
		{"no data explorer", "GET", "/_explorer/index.html", " ", map[string]string{"Authorization": ""}, 404, "",
			nested("NotFound", "This server has no data explorer at this address.")},
		{"date tomorrow", "GET", "/dbs", "dbs ", map[string]string{"x-ms-date": "Mon, 01 Jan 2101 00:00:00 GMT"}, 401, "", ""},
		{"long headers", "GET", "/dbs", "dbs ", map[string]string{"x-ms-session-token": strings.Repeat("0:-1#1,", 10_000)}, 400, "",
			nested("BadRequest", "The size of the request headers is too long.")},
		{"long continuation", "GET", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", map[string]string{"x-ms-continuation": strings.Repeat("A", 32<<10)}, 400, "",
			nested("BadRequest", "Invalid Continuation Token")},
		{"bad session token", "GET", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", map[string]string{"x-ms-session-token": "0:x"}, 400, "", ""},
		{"long partition key", "GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1",
			map[string]string{"x-ms-documentdb-partitionkey": `["` + strings.Repeat("a", 2049) + `"]`}, 400, "", nested("BadRequest", "The partition key value exceeds the limit of 101 bytes.")},
		{"longest partition key header", "GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1",
			map[string]string{"x-ms-documentdb-partitionkey": `["` + strings.Repeat("a", 37<<10) + `"]`}, 400, "", ""},
		{"no conflict", "GET", "/dbs/d/colls/c/conflicts/x", "conflicts dbs/d/colls/c/conflicts/x", nil, 404, "", ""},
		{"no conflict to delete", "DELETE", "/dbs/d/colls/c/conflicts/x", "conflicts dbs/d/colls/c/conflicts/x", nil, 404, "", ""},
		{"conflict is not written", "PUT", "/dbs/d/colls/c/conflicts/x", "conflicts dbs/d/colls/c/conflicts/x", nil, 405, "", ""},
		{"erase without a key", "POST", "/dbs/d/colls/c/operations/partitionkeydelete", "colls dbs/d/colls/c", nil, 400, "",
			nested("BadRequest", "PartitionKey value must be supplied for this operation.")},
		{"erase with the wrong method", "DELETE", "/dbs/d/colls/c/operations/partitionkeydelete", "colls dbs/d/colls/c", nil, 405, "", ""},
		{"unknown operation", "POST", "/dbs/d/colls/c/operations/x", "partitionkey dbs/d/colls/c", nil, 404, "", ""},
		{"operation signed for another container", "POST", "/dbs/d/colls/c/operations/partitionkeydelete", "colls dbs/d/colls/b", nil, 401, "", ""},
		{"unknown path", "GET", "/dbs/d/colls/c/docs/1/x", "x dbs/d/colls/c/docs/1", nil, 404, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.headers == nil {
				tt.headers = map[string]string{}
			}
			tt.headers["x-ms-activity-id"] = activity
			got := w.do(tt.method, tt.path, tt.signed, "", tt.headers)
			body := strings.ReplaceAll(got.body, activity, "ID")
			if got.status != tt.status || got.header.Get("x-ms-substatus") != tt.substatus {
				t.Errorf("got %d/%s %s", got.status, got.header.Get("x-ms-substatus"), body)
			}
			if tt.body != "" && body != tt.body {
				t.Errorf("got  %s\nwant %s", body, tt.body)
			}
			if !json.Valid([]byte(got.body)) || got.header.Get("x-ms-activity-id") != activity {
				t.Errorf("body %q, activity %q", got.body, got.header.Get("x-ms-activity-id"))
			}
		})
	}
}

// TestKeyDenied: while the customer's key is denied, every data route says so.
func TestKeyDenied(t *testing.T) {
	w := newWorld(t)
	w.container()
	w.lock(fault.New(fault.KeyDenied, "4003", "Access to your account is currently revoked."))
	const want = `{"code":"Forbidden","message":"Message: {\"Errors\":[\"Access to your account is currently revoked.\"]}\r\nActivityId: `
	for path, signed := range map[string]string{
		"/": " ", "/dbs": "dbs ", "/dbs/d/colls/c": "colls dbs/d/colls/c", "/dbs/d/colls/c/docs": "docs dbs/d/colls/c",
		"/dbs/d/colls/c/pkranges": "pkranges dbs/d/colls/c", "/offers": "offers ",
	} {
		got := w.do("GET", path, signed, "", nil)
		if got.status != 403 || got.header.Get("x-ms-substatus") != "4003" || !strings.HasPrefix(got.body, want) {
			t.Errorf("%s: %d/%s %s", path, got.status, got.header.Get("x-ms-substatus"), got.body)
		}
	}
}

// TestEverySubstatus: clients see each cause as a plain 403 with the cause's number in the header and
// the text in the body, and nothing that asks them to try again or elsewhere.
func TestEverySubstatus(t *testing.T) {
	w := newWorld(t)
	w.container()
	for _, substatus := range []string{"4000", "4001", "4002", "4003", "4004", "4005", "4006", "4008", "4009", "4015", "4016", "4017", "4018"} {
		t.Run(substatus, func(t *testing.T) {
			w.lock(fault.New(fault.KeyDenied, substatus, "Access to your account is currently revoked because of %s.", substatus))
			got := w.do("GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1", "", map[string]string{"x-ms-documentdb-partitionkey": `["a"]`})
			var body struct{ Code, Message string }
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				t.Fatalf("%s: %v", got.body, err)
			}
			want := `Message: {"Errors":["Access to your account is currently revoked because of ` + substatus + `."]}` + "\r\nActivityId: " + got.header.Get("x-ms-activity-id")
			if got.status != 403 || got.header.Get("x-ms-substatus") != substatus || body.Code != "Forbidden" || body.Message != want {
				t.Errorf("%d/%s %s", got.status, got.header.Get("x-ms-substatus"), got.body)
			}
			for _, name := range []string{"Retry-After", "x-ms-retry-after-ms", "Location", "WWW-Authenticate"} {
				if v := got.header.Get(name); v != "" {
					t.Errorf("%s: %s", name, v)
				}
			}
		})
	}
}

// TestAccountRoot: the addresses are those that the caller used.
func TestAccountRoot(t *testing.T) {
	w := newWorld(t)
	for host, want := range map[string]string{
		"": strings.TrimPrefix(w.server.URL, "https://"), "acct1.documents.azure.com": "acct1.documents.azure.com:443",
		"acct1.documents.localhost:8443": "acct1.documents.localhost:8443",
	} {
		headers := map[string]string{}
		if host != "" {
			headers["Host"] = host
		}
		got := w.do("GET", "/", " ", "", headers)
		if got.status != 200 || strings.Count(got.body, `"databaseAccountEndpoint":"https://`+want+`/"`) != 2 {
			t.Errorf("%q: %d %s", host, got.status, got.body)
		}
	}
}

// TestChangeFeedLoop: the etag of one answer leads to the next, and to 304 at the end.
func TestChangeFeedLoop(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	c := w.container()
	must(c.CreateItem(ctx, azcosmos.NewPartitionKeyString("a"), []byte(`{"id":"1","pk":"a"}`), nil))
	for path, signed := range map[string]string{"/dbs/d/colls/c/docs": "docs dbs/d/colls/c", "/dbs/d/colls/c/pkranges": "pkranges dbs/d/colls/c"} {
		headers := map[string]string{"A-IM": "Incremental Feed"}
		first := w.do("GET", path, signed, "", headers)
		if first.status != 200 || !strings.Contains(first.body, `"_count":1`) {
			t.Fatalf("%s: %d %s", path, first.status, first.body)
		}
		headers["If-None-Match"] = first.header.Get("Etag")
		if second := w.do("GET", path, signed, "", headers); second.status != 304 || second.body != "" {
			t.Errorf("%s: then %d %s", path, second.status, second.body)
		}
	}
}

// TestResourceIDs: links by resource id lead to the same things, and are signed by the last id.
func TestResourceIDs(t *testing.T) {
	w := newWorld(t)
	w.container()
	var c struct {
		RID  string `json:"_rid"`
		Self string `json:"_self"`
	}
	byName := w.do("GET", "/dbs/d/colls/c", "colls dbs/d/colls/c", "", nil)
	if err := json.Unmarshal([]byte(byName.body), &c); err != nil {
		t.Fatal(err)
	}
	byRID := w.do("GET", "/"+c.Self, "colls "+strings.ToLower(c.RID), "", nil)
	if byRID.status != 200 || byRID.body != byName.body {
		t.Errorf("got %d %s", byRID.status, byRID.body)
	}
}

// TestLocalAuthDisabled: keys open nothing, tokens still do.
func TestLocalAuthDisabled(t *testing.T) {
	w := newWorld(t)
	w.view.LocalAuthDisabled = true
	if got := w.do("GET", "/dbs", "dbs ", "", nil); got.status != 401 || got.header.Get("x-ms-substatus") != "5202" {
		t.Errorf("key: %d %s", got.status, got.body)
	}
	if got := w.do("GET", "/dbs", "", "", map[string]string{"Authorization": "type=aad&ver=1.0&sig=good"}); got.status != 200 {
		t.Errorf("token: %d %s", got.status, got.body)
	}
}

// TestTooLarge: a body beyond the limit is refused before it is kept.
func TestTooLarge(t *testing.T) {
	w := newWorld(t)
	w.container()
	body := `{"id":"1","pk":"a","x":"` + strings.Repeat("x", 3<<20) + `"}`
	got := w.do("POST", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", body, map[string]string{"x-ms-documentdb-partitionkey": `["a"]`})
	if got.status != 413 || !strings.Contains(got.body, "Request size is too large") {
		t.Errorf("%d %.200s", got.status, got.body)
	}
}

// TestRecreated: a container that was deleted and made again is another one, and empty.
func TestRecreated(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	c := w.container()
	must(c.CreateItem(ctx, azcosmos.NewPartitionKeyString("a"), []byte(`{"id":"1","pk":"a"}`), nil))
	first := w.do("GET", "/dbs/d/colls/c", "colls dbs/d/colls/c", "", nil).header.Get("x-ms-content-path")
	if got := w.do("DELETE", "/dbs/d/colls/c", "colls dbs/d/colls/c", "", nil); got.status != 204 || got.body != "" {
		t.Fatalf("delete: %d %s", got.status, got.body)
	}
	again := w.do("POST", "/dbs/d/colls", "colls dbs/d", `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}`, nil)
	if again.status != 201 || again.header.Get("x-ms-content-path") == first {
		t.Errorf("again: %d, %q then %q", again.status, first, again.header.Get("x-ms-content-path"))
	}
	headers := map[string]string{"x-ms-documentdb-partitionkey": `["a"]`, "x-ms-cosmos-intended-collection-rid": first}
	if got := w.do("GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1", "", headers); got.status != 400 || got.header.Get("x-ms-substatus") != "1024" {
		t.Errorf("old container: %d/%s", got.status, got.header.Get("x-ms-substatus"))
	}
	delete(headers, "x-ms-cosmos-intended-collection-rid")
	if got := w.do("GET", "/dbs/d/colls/c/docs/1", "docs dbs/d/colls/c/docs/1", "", headers); got.status != 404 {
		t.Errorf("old item: %d", got.status)
	}
}

// TestQueries: whatever a query is, one range gives the final answer, page by page.
func TestQueries(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	c := w.container()
	for i, pk := range []string{"a", "b", "a", "c"} {
		body := `{"id":"` + string(rune('1'+i)) + `","pk":"` + pk + `","n":` + string(rune('4'-i)) + `}`
		must(c.CreateItem(ctx, azcosmos.NewPartitionKeyString(pk), []byte(body), nil))
	}
	tests := []struct{ query, want string }{
		{"SELECT VALUE c.id FROM c WHERE c.n >= @n", `"1" "2" "3"`},
		{"SELECT VALUE c.n FROM c ORDER BY c.n", `1 2 3 4`},
		{"SELECT VALUE COUNT(1) FROM c", `4`},
		{"SELECT c.pk, COUNT(1) AS n FROM c GROUP BY c.pk", `{"pk":"a","n":2} {"pk":"b","n":1} {"pk":"c","n":1}`},
		{"SELECT TOP 3 VALUE c.id FROM c", `"1" "2" "3"`},
		{"SELECT VALUE c.id FROM c OFFSET 1 LIMIT 2", `"2" "3"`},
		{"SELECT DISTINCT VALUE c.pk FROM c", `"a" "b" "c"`},
	}
	for _, tt := range tests {
		for _, size := range []int32{1, 2, 100} {
			o := &azcosmos.QueryOptions{PageSizeHint: size, QueryParameters: []azcosmos.QueryParameter{{Name: "@n", Value: 2}}}
			pager := c.NewQueryItemsPager(tt.query, azcosmos.NewPartitionKey(), o)
			var got []string
			for pager.More() {
				for _, item := range must(pager.NextPage(ctx)).Items {
					got = append(got, string(item))
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%s, pages of %d:\ngot  %s\nwant %s", tt.query, size, s, tt.want)
			}
		}
	}
	_, err := c.NewQueryItemsPager("SELECT FROM WHERE", azcosmos.NewPartitionKey(), nil).NextPage(ctx)
	if e := wantStatus(t, err, 400); !strings.Contains(e.Error(), `{\"errors\":[{`) {
		t.Errorf("syntax error: %v", e)
	}
	measured := w.do("POST", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", `{"query":"SELECT VALUE c.id FROM c WHERE c.pk = 'a'"}`,
		map[string]string{"x-ms-documentdb-isquery": "True", "x-ms-documentdb-populatequerymetrics": "True", "x-ms-documentdb-query-enablecrosspartition": "True"})
	if m := measured.header.Get("x-ms-documentdb-query-metrics"); !strings.Contains(m, ";retrievedDocumentCount=2;") || !strings.Contains(m, ";outputDocumentCount=2;") {
		t.Errorf("metrics %q", m)
	}
	plan := w.do("POST", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", `{"query":"SELECT VALUE COUNT(1) FROM c"}`,
		map[string]string{"x-ms-cosmos-is-query-plan-request": "True", "Content-Type": "application/json"})
	const want = `{"partitionedQueryExecutionInfoVersion":2,"queryInfo":{"distinctType":"None","top":null,"offset":null,"limit":null,"orderBy":[],"orderByExpressions":[],"groupByExpressions":[],"groupByAliases":[],"aggregates":["Count"],"groupByAliasToAggregateType":{},"rewrittenQuery":"SELECT VALUE [{\"item\": COUNT(1)}] FROM c","hasSelectValue":true,"dCountInfo":null,"hasNonStreamingOrderBy":false},"queryRanges":[{"min":"","max":"FF","isMinInclusive":true,"isMaxInclusive":false}]}`
	if plan.status != 200 || plan.body != want {
		t.Errorf("plan: %d %s", plan.status, plan.body)
	}
}
