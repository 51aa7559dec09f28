package cosmos_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/api/cosmos"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/store"
)

// The fuzz targets below send what was made up through the whole face to a real store. Whatever is sent, the
// answer is success or a refusal in the service's form, never a failure of the server; it takes bounded
// memory; and the store still gives back what it held before.

// Items that were there before, in a logical partition whose name no input guesses.
const (
	keptPartition = `["kept-5f0c2d3b9a"]`
	keptDocument  = `{"id":"kept","pk":"kept-5f0c2d3b9a","u":"kept","n":-1.50e3,"text":"\u00e9\ud83d\ude00","deep":[[{"a":[]}]]}`
)

// Bounds of one request.
const (
	mostMemory  = 512 << 20 // allocated, not kept
	freshWorlds = 256       // inputs that one store is used for
)

// target is a server without a network.
type target struct {
	*world
	disk    *vfs.MemFS
	handler http.Handler
	kept    string
	n       int
}

func newTarget(t testing.TB) *target {
	disk := vfs.NewMem()
	db, err := store.Open("db", store.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: db, view: docdb.AccountView{ID: "id-1", Name: "acct1", Location: "East US", DefaultConsistency: "Strong"}}
	now := time.Now() // for good: nothing expires between two requests
	service := docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return now }})
	x := &target{world: w, disk: disk, handler: cosmos.NewEmulator(cosmos.Config{Service: service, Accounts: w, Verifier: w}, "acct1")}
	x.must("POST", "/dbs", `{"id":"d"}`, 201, nil)
	for name, more := range map[string]string{
		"c": `"changeFeedPolicy":{"retentionDuration":60},"defaultTtl":-1`,
		"u": `"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/u","/a/b"]}]}`,
		"h": `"conflictResolutionPolicy":{"mode":"LastWriterWins"}`,
	} {
		paths := map[string]string{"h": `["/pk","/b","/c"],"kind":"MultiHash"`}[name]
		if paths == "" {
			paths = `["/pk"],"kind":"Hash"`
		}
		x.must("POST", "/dbs/d/colls", fmt.Sprintf(`{"id":%q,"partitionKey":{"paths":%s,"version":2},%s}`, name, paths, more), 201,
			map[string]string{"x-ms-offer-throughput": "20000"}) // two ranges
	}
	for i := range 7 {
		pk := fmt.Sprintf("p%d", i%3)
		x.must("POST", "/dbs/d/colls/c/docs", fmt.Sprintf(`{"id":"%d","pk":%q,"n":%d,"a":[1,{"b":2}]}`, i, pk, i), 201, map[string]string{"x-ms-documentdb-partitionkey": `["` + pk + `"]`})
	}
	x.kept = x.must("POST", "/dbs/d/colls/c/docs", keptDocument, 201, map[string]string{"x-ms-documentdb-partitionkey": keptPartition}).body
	return x
}

// must is a request that has to succeed; with that status unless it is 0.
func (x *target) must(method, path, body string, status int, headers map[string]string) answer {
	x.t.Helper()
	a := x.ask(method, path, []byte(body), headers)
	if a.status != status && (status != 0 || a.status >= 300) {
		x.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

// ask sends a request that is signed with the master key.
func (x *target) ask(method, path string, body []byte, headers map[string]string) answer {
	r := httptest.NewRequest(method, "https://localhost:8081/", bytes.NewReader(body))
	r.URL = &url.URL{Scheme: "https", Host: "localhost:8081", Path: path}
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	r.Header.Set("x-ms-date", date)
	kind, link := signedPath(path)
	text := strings.ToLower(method) + "\n" + kind + "\n" + link + "\n" + strings.ToLower(date) + "\n\n"
	r.Header.Set("Authorization", url.QueryEscape("type=master&ver=1.0&sig="+base64.StdEncoding.EncodeToString(sign(masterKey, text))))
	w := httptest.NewRecorder()
	x.handler.ServeHTTP(w, r)
	header := http.Header{}
	for name, values := range w.Header() { // as a client reads it
		header[http.CanonicalHeaderKey(name)] = values
	}
	return answer{w.Code, header, w.Body.String()}
}

// signedPath is what a signature says about the path of a feed or of one resource.
func signedPath(path string) (kind, link string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts)%2 == 1 {
		return parts[len(parts)-1], strings.Join(parts[:len(parts)-1], "/")
	}
	return parts[len(parts)-2], strings.Join(parts, "/")
}

// begin is for one input: a new store takes the place of one that was used for long.
func (x *target) begin(t *testing.T) {
	x.t = t
	if x.n++; x.n%freshWorlds == 0 {
		_ = x.db.Close()
		*x = *newTarget(t)
	}
}

// fuzzed sends what was made up and checks all of the property.
func (x *target) fuzzed(t *testing.T, method, path string, body []byte, headers map[string]string) answer {
	t.Helper()
	before, started := allocated(), time.Now()
	a := x.ask(method, path, body, headers)
	if grown := allocated() - before; grown > mostMemory {
		t.Errorf("%d bytes were allocated for a request of %d", grown, len(body))
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("the request took %v", took)
	}
	if checkStatus(t, a); method != http.MethodHead {
		checkBody(t, a)
	}
	x.checkKept(t)
	return a
}

// allocated is how much memory was ever asked for.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// checkStatus: success or a refusal.
func checkStatus(t *testing.T, a answer) {
	t.Helper()
	if a.status < 200 || a.status >= 300 && a.status != 304 && a.status < 400 || a.status >= 500 {
		t.Fatalf("%d %.500s", a.status, a.body)
	}
}

// checkBody: JSON or a batch in binary of a success, code and message of a refusal.
func checkBody(t *testing.T, a answer) {
	t.Helper()
	if a.status < 400 {
		if a.body != "" && !strings.HasPrefix(a.body, "\x81") && !json.Valid([]byte(a.body)) {
			t.Fatalf("%d with a body that is not JSON: %.200q", a.status, a.body)
		}
		return
	}
	var e struct{ Code, Message string }
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Code == "" || e.Message == "" {
		t.Fatalf("%d without code and message: %.200q", a.status, a.body)
	}
}

// checkKept reads what was there before: by itself, and among all the others, which must be readable too.
func (x *target) checkKept(t *testing.T) {
	t.Helper()
	kept := x.ask("GET", "/dbs/d/colls/c/docs/kept", nil, map[string]string{"x-ms-documentdb-partitionkey": keptPartition})
	if kept.status != 200 || kept.body != x.kept {
		t.Fatalf("what was there before is now %d %s", kept.status, kept.body)
	}
	for _, container := range []string{"c", "u", "h"} {
		headers := map[string]string{"x-ms-max-item-count": "-1"}
		found := x.feed(t, container, headers)
		headers["A-IM"] = "Incremental Feed"
		changes := x.feed(t, container, headers)
		if found != changes || container == "c" && found < 1 {
			t.Fatalf("%d documents of %s, %d in the change feed", found, container, changes)
		}
	}
}

// feed reads all of a feed and counts.
func (x *target) feed(t *testing.T, container string, headers map[string]string) (n int) {
	t.Helper()
	for {
		a := x.ask("GET", "/dbs/d/colls/"+container+"/docs", nil, headers)
		if a.status == 304 {
			break
		}
		var page struct {
			Documents []struct{ ID string }
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != 200 {
			t.Fatalf("the feed of %s: %d %v %.200q", container, a.status, err, a.body)
		}
		n += len(page.Documents)
		if headers["A-IM"] != "" {
			headers["If-None-Match"] = a.header.Get("Etag")
		} else if headers["x-ms-continuation"] = a.header.Get("x-ms-continuation"); headers["x-ms-continuation"] == "" {
			break
		}
	}
	delete(headers, "x-ms-continuation")
	delete(headers, "If-None-Match")
	return n
}

// fuzzHeaders are all headers that the server reads, but those of the signature.
var fuzzHeaders = []string{
	"x-ms-activity-id", "x-ms-consistency-level", "Prefer", "Content-Type", "x-ms-documentdb-isquery", "x-ms-documentdb-query",
	"x-ms-documentdb-partitionkey", "x-ms-session-token", "x-ms-cosmos-intended-collection-rid", "If-Match", "If-None-Match", "A-IM",
	"x-ms-cosmos-is-batch-request", "x-ms-cosmos-is-query-plan-request", "x-ms-documentdb-is-upsert",
	"x-ms-documentdb-pre-trigger-include", "x-ms-documentdb-post-trigger-include", "x-ms-documentdb-partitionkeyrangeid",
	"x-ms-continuation", "x-ms-start-epk", "x-ms-end-epk", "x-ms-max-item-count", "If-Modified-Since", "x-ms-cosmos-batch-atomic",
	"x-ms-cosmos-batch-ordered", "x-ms-documentdb-query-enablecrosspartition", "x-ms-documentdb-populatequerymetrics",
	"x-ms-cosmos-populateindexmetrics", "x-ms-cosmos-populateindexmetrics-V2", "x-ms-offer-throughput",
	"x-ms-cosmos-offer-autopilot-settings", "x-ms-documentdb-expiry-seconds", "x-ms-version", "Date",
}

// asHeader is a value as it can come over the wire.
func asHeader(v string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7F {
			return -1
		}
		return r
	}, v)
}

var fuzzMethods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}

var fuzzPaths = []string{"/dbs/d/colls/c/docs", "/dbs/d/colls/c/docs/1", "/dbs/d/colls/h/docs", "/dbs/d/colls/u/docs/x",
	"/dbs/d/colls/c/pkranges", "/dbs/d/colls/c/conflicts", "/dbs/d/colls/c/sprocs"}

// FuzzHeaders sends up to three headers with any values, with any method, to any feed or document.
func FuzzHeaders(f *testing.F) {
	add := func(method, path int, pairs ...string) {
		var at [3]byte
		var values [3]string
		for i := 0; i+1 < len(pairs); i += 2 {
			for n, name := range fuzzHeaders {
				if name == pairs[i] {
					at[i/2], values[i/2] = byte(n), pairs[i+1]
				}
			}
		}
		f.Add(byte(method), byte(path), at[0], values[0], at[1], values[1], at[2], values[2])
	}
	add(0, 0, "A-IM", "Incremental Feed", "If-None-Match", `"0:3,1:9"`, "x-ms-max-item-count", "2")
	add(0, 0, "A-IM", "Full-Fidelity Feed", "If-None-Match", `*`, "x-ms-documentdb-partitionkeyrangeid", "0")
	add(0, 0, "A-IM", "Incremental Feed", "If-Modified-Since", "Mon, 23 Nov 2026 10:00:00 GMT")
	add(0, 0, "x-ms-start-epk", "00", "x-ms-end-epk", "1F", "x-ms-max-item-count", "-1")
	add(0, 2, "x-ms-documentdb-partitionkey", `["a"]`, "x-ms-session-token", "0:-1#3,1:4", "x-ms-consistency-level", "Eventual")
	add(1, 0, "x-ms-documentdb-isquery", "true", "x-ms-documentdb-query-enablecrosspartition", "True", "Content-Type", "application/query+json")
	add(1, 0, "x-ms-cosmos-is-batch-request", "True", "x-ms-documentdb-partitionkey", `["p1"]`, "x-ms-cosmos-batch-atomic", "true")
	add(1, 0, "x-ms-documentdb-partitionkey", `["q"]`, "x-ms-documentdb-is-upsert", "true", "If-Match", `"1"`)
	add(2, 1, "x-ms-documentdb-partitionkey", `["p1"]`, "If-Match", "*", "Prefer", "return=minimal")
	add(4, 1, "x-ms-documentdb-partitionkey", `["p1"]`, "If-None-Match", "*", "x-ms-cosmos-intended-collection-rid", "AAAA")
	add(1, 0, "x-ms-cosmos-is-query-plan-request", "True", "x-ms-activity-id", "3f0c5f0c-0000-0000-0000-5f0c5f0c5f0c")
	add(0, 1, "x-ms-documentdb-partitionkey", `["p1"]`, "If-None-Match", `W/"x"`, "x-ms-session-token", "0:-1#99999999999999999999")
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, method, path, n1 byte, v1 string, n2 byte, v2 string, n3 byte, v3 string) {
		x.begin(t)
		headers := map[string]string{}
		for _, h := range []struct {
			n byte
			v string
		}{{n1, v1}, {n2, v2}, {n3, v3}} {
			if h.v != "" {
				headers[fuzzHeaders[int(h.n)%len(fuzzHeaders)]] = asHeader(h.v)
			}
		}
		m, body := fuzzMethods[int(method)%len(fuzzMethods)], []byte(nil)
		switch {
		case headers["x-ms-cosmos-is-batch-request"] != "":
			body = []byte(`[{"operationType":"Upsert","resourceBody":{"id":"b","pk":"p1"}},{"operationType":"Read","id":"1"}]`)
		case m == "POST" && (headers["x-ms-documentdb-isquery"] != "" || headers["x-ms-cosmos-is-query-plan-request"] != ""):
			body = []byte(`{"query":"SELECT VALUE c.n FROM c WHERE c.n > @n ORDER BY c.n","parameters":[{"name":"@n","value":1}]}`)
		case m == "POST":
			body = []byte(`{"id":"q","pk":"q"}`)
		case m == "PATCH":
			body = []byte(`{"operations":[{"op":"incr","path":"/n","value":1}]}`)
		case m == "PUT":
			body = []byte(`{"id":"1","pk":"p1","n":5}`)
		}
		x.fuzzed(t, m, fuzzPaths[int(path)%len(fuzzPaths)], body, headers)
	})
}

// FuzzPartitionKey writes, reads and queries under any partition key; what was written can be read again and
// is found by its key.
func FuzzPartitionKey(f *testing.F) {
	for _, s := range []string{`["a"]`, `[]`, `[{}]`, `[null]`, `[true]`, `[1.5]`, `[-0]`, `[1e999]`, `["a","b","c"]`, `["a",2]`, `[[]]`, `{}`, `["\x00\u00e9"]`,
		`["\ud800"]`, `["` + strings.Repeat("k", 2049) + `"]`, `[9007199254740993]`, `[1e-400]`, "[\"\xff\"]", `["\U0001F600"]`, `[ { } ]`, `["a"`, `["é"]`} {
		f.Add(s, byte(0))
		f.Add(s, byte(2))
	}
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, pk string, which byte) {
		x.begin(t)
		pk = asHeader(pk)
		headers := map[string]string{"x-ms-documentdb-partitionkey": pk}
		container := "/dbs/d/colls/" + []string{"c", "u", "h"}[int(which)%3] + "/docs"
		var parts []json.RawMessage
		names := []string{"pk", "b", "c"}
		document := `{"id":"k"`
		if json.Unmarshal([]byte(pk), &parts) == nil && len(parts) <= len(names) {
			for i, p := range parts {
				if string(bytes.TrimSpace(p)) != "{}" {
					document += `,"` + names[i] + `":` + string(p)
				}
			}
		}
		headers["x-ms-documentdb-is-upsert"] = "true"
		made := x.fuzzed(t, "POST", container, []byte(document+"}"), headers)
		delete(headers, "x-ms-documentdb-is-upsert")
		read := x.fuzzed(t, "GET", container+"/k", nil, headers)
		if made.status < 300 && (read.status != 200 || read.body != made.body) {
			t.Fatalf("made %d %s, read %d %s", made.status, made.body, read.status, read.body)
		}
		headers["x-ms-documentdb-isquery"], headers["x-ms-documentdb-query-enablecrosspartition"] = "true", "true"
		found := x.fuzzed(t, "POST", container, []byte(`{"query":"SELECT * FROM x WHERE x.id = 'k'"}`), headers)
		if made.status < 300 && (found.status != 200 || !strings.Contains(found.body, `"id":"k"`)) {
			t.Fatalf("made, but the query found %d %s", found.status, found.body)
		}
		headers["A-IM"] = "Incremental Feed"
		x.fuzzed(t, "GET", container, nil, headers)
		if headers = map[string]string{"x-ms-documentdb-partitionkey": pk}; made.status < 300 {
			if gone := x.fuzzed(t, "DELETE", container+"/k", nil, headers); gone.status != 204 {
				t.Fatalf("made, but not deleted: %d %s", gone.status, gone.body)
			}
		}
		headers = map[string]string{"A-IM": "Full-Fidelity Feed", "If-None-Match": `"1"`}
		x.fuzzed(t, "GET", "/dbs/d/colls/c/docs", nil, headers)
	})
}

// FuzzContinuation flips bits of a real continuation token, or sends any text instead. Only the token itself is
// honoured, with the request that it came from.
func FuzzContinuation(f *testing.F) {
	for _, s := range []string{"", "AQ==", strings.Repeat("A", 44), `{"token":"x"}`, "+/=="} {
		f.Add(s, uint16(0), byte(1), byte(0))
		f.Add(s, uint16(9), byte(3), byte(1))
	}
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, text string, at uint16, flip, kind byte) {
		x.begin(t)
		headers, method, body := map[string]string{"x-ms-max-item-count": "3"}, "GET", []byte(nil)
		if kind%2 == 1 {
			method, body = "POST", []byte(`{"query":"SELECT * FROM c WHERE c.n >= 0"}`)
			headers["x-ms-documentdb-isquery"], headers["x-ms-documentdb-query-enablecrosspartition"] = "true", "true"
		}
		real := x.fuzzed(t, method, "/dbs/d/colls/c/docs", body, headers).header.Get("x-ms-continuation")
		if real == "" {
			t.Fatal("the first page is the last")
		}
		sent := asHeader(text)
		if sent == "" {
			b := []byte(real)
			b[int(at)%len(b)] ^= flip
			sent = asHeader(string(b))
		}
		headers["x-ms-continuation"] = sent
		a := x.fuzzed(t, method, "/dbs/d/colls/c/docs", body, headers)
		if sent != "" && (a.status == 200) != (sent == real) {
			t.Fatalf("%q for %q: %d %s", sent, real, a.status, a.body)
		}
		headers["x-ms-continuation"], headers["x-ms-documentdb-partitionkey"] = real, `["p1"]`
		if a := x.fuzzed(t, method, "/dbs/d/colls/c/docs", body, headers); a.status != 400 {
			t.Fatalf("a token of another request was honoured: %d %s", a.status, a.body)
		}
		headers = map[string]string{"A-IM": "Incremental Feed", "If-None-Match": sent}
		x.fuzzed(t, "GET", "/dbs/d/colls/c/docs", nil, headers)
		headers = map[string]string{"A-IM": "Full-Fidelity Feed", "If-None-Match": sent, "x-ms-documentdb-partitionkeyrangeid": "0"}
		x.fuzzed(t, "GET", "/dbs/d/colls/c/docs", nil, headers)
	})
}

// FuzzSessionToken reads and writes with any session token.
func FuzzSessionToken(f *testing.F) {
	for _, s := range []string{"", "0:1", "0:-1#5", "0:-1#5#1=3#2=9", "0:-1#1,1:-1#1", "7:-1#99", "0:-2#-1", ":#", "0:#", ",,", "0:18446744073709551615", "0:-1#18446744073709551616", "x", "0:0:0"} {
		f.Add(s)
	}
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, token string) {
		x.begin(t)
		headers := map[string]string{"x-ms-session-token": asHeader(token), "x-ms-documentdb-partitionkey": `["p1"]`}
		x.fuzzed(t, "GET", "/dbs/d/colls/c/docs/1", nil, headers)
		headers["x-ms-documentdb-is-upsert"] = "true"
		made := x.fuzzed(t, "POST", "/dbs/d/colls/c/docs", []byte(`{"id":"1","pk":"p1"}`), headers)
		if made.status < 300 {
			headers["x-ms-session-token"] = made.header.Get("x-ms-session-token")
			if read := x.fuzzed(t, "GET", "/dbs/d/colls/c/docs/1", nil, headers); read.status != 200 || read.body != made.body {
				t.Fatalf("with the token of the write: %d %s", read.status, read.body)
			}
		}
	})
}

// record is one operation of a batch in binary: kind, partition key, id and body; "" is absent.
func record(kind byte, pk, id, body string) string {
	present, columns := byte(3), ""
	for i, c := range []string{pk, "", id, "", body} {
		if c != "" {
			present |= 4 << i
			columns += string(binary.AppendUvarint(nil, uint64(len(c)))) + c
		}
	}
	row := "\x81\x70\x54\xE1\x7F" + string([]byte{present, kind, 0, 0, 0}) + "\x02\x00\x00\x00" + columns
	return framed(row)
}

// framed is a row with its length and checksum.
func framed(row string) string {
	head := binary.LittleEndian.AppendUint32([]byte("\x81\xF1\xD8\xFF\x7F"), uint32(len(row)))
	return string(binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE([]byte(row)))) + row
}

const segmentHead = "\x81\xF0\xD8\xFF\x7F\x01\x0A\x00\x00\x00"

// FuzzBatch sends any body as a batch or bulk: whole, or, in binary, as the row of a record whose length and
// checksum are right, so that what is behind them is reached.
func FuzzBatch(f *testing.F) {
	for _, s := range []string{
		`[{"operationType":"Create","resourceBody":{"id":"b","pk":"p1"}},{"operationType":"Read","id":"b"}]`,
		`[{"operationType":"Patch","id":"1","resourceBody":{"operations":[{"op":"add","path":"/x","value":1}]}},{"operationType":"Delete","id":"1","ifMatch":"*"}]`,
		`[{"operationType":"Upsert","resourceBody":{"id":"1","pk":"p1","ttl":5},"partitionKey":"[\"p1\"]","ifNoneMatch":"x"}]`,
		`[{"operationType":"Replace","id":"1","resourceBody":null}]`, `[{"operationType":"Read"}]`, `[{}]`, `[]`, `{}`, `null`, `[null]`, ``,
		`[{"operationType":"Create","resourceBody":"text"}]`, `[{"operationType":"Delete","id":""}]`,
		segmentHead + record(0, "", "", `{"id":"b","pk":"p1"}`) + record(2, "", "b", ""), segmentHead, segmentHead[:7],
		segmentHead + record(4, `["p1"]`, "1", "") + record(1, `["p1"]`, "1", `[{"op":"set","path":"/n","value":2}]`),
	} {
		for mode := range byte(4) {
			f.Add([]byte(s), mode)
		}
	}
	f.Add([]byte(record(20, `["p1"]`, "1", `{"id":"1","pk":"p1"}`)[13:]), byte(4))
	f.Add([]byte(record(0, `["p1"]`, "", `{"id":"2","pk":"p1"}`)[13:]+"\x14\x09\x03abc\x03\x0C"), byte(5))
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, body []byte, mode byte) {
		x.begin(t)
		headers := map[string]string{"x-ms-cosmos-is-batch-request": "True", "x-ms-documentdb-partitionkey": `["p1"]`}
		if mode&1 == 0 {
			headers["x-ms-cosmos-batch-atomic"] = "True"
		}
		if mode&2 != 0 {
			headers["x-ms-cosmos-batch-ordered"], headers["Prefer"] = "true", "return=minimal"
		}
		if mode&4 != 0 {
			body = []byte(segmentHead + framed(string(body)))
		}
		x.fuzzed(t, "POST", "/dbs/d/colls/c/docs", body, headers)
	})
}

// FuzzPatch sends any body as a patch of a document that has something of everything.
func FuzzPatch(f *testing.F) {
	for _, s := range []string{
		`{"operations":[{"op":"add","path":"/a/0","value":{"x":[]}},{"op":"remove","path":"/s"},{"op":"incr","path":"/n","value":-1.5}]}`,
		`{"condition":"from c where c.n > 0","operations":[{"op":"set","path":"/o/p/q","value":null},{"op":"move","from":"/o/p","path":"/a/-"}]}`,
		`[{"op":"replace","path":"/a/1/b","value":"\u0000"}]`, `{"operations":[{"op":"incr","path":"/big","value":1e308}]}`,
		`{"operations":[{"op":"incr","path":"/int","value":9223372036854775807}]}`, `{"operations":[{"op":"add","path":"/a~1b~0","value":1}]}`,
		`{"operations":[{"op":"set","path":"/id","value":1}]}`, `{"operations":[{"op":"add","path":"/pk/x"}]}`, `{"operations":[{"op":"set","path":"/ttl","value":0}]}`,
		`{"condition":"","operations":[{"op":"move","from":"/a","path":"/b"}]}`, `{"operations":null}`, `[[]]`, `{"condition":"from c where","operations":[{"op":"add","path":"/-","value":1}]}`,
		`{"operations":[{"op":"add","path":"/a/-","value":` + strings.Repeat("[", 126) + strings.Repeat("]", 126) + `}]}`,
	} {
		f.Add([]byte(s))
	}
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		x.begin(t)
		headers := map[string]string{"x-ms-documentdb-partitionkey": `["patch"]`, "x-ms-documentdb-is-upsert": "true"}
		x.must("POST", "/dbs/d/colls/c/docs", `{"id":"x","pk":"patch","n":1,"s":"t","a":[1,{"b":2},[3]],"o":{"p":{"q":true}},"big":1e308,"int":9223372036854775807}`, 0, headers)
		patched := x.fuzzed(t, "PATCH", "/dbs/d/colls/c/docs/x", body, headers)
		read := x.fuzzed(t, "GET", "/dbs/d/colls/c/docs/x", nil, headers)
		if read.status != 200 || patched.status == 200 && read.body != patched.body {
			t.Fatalf("patched %d %s, read %d %s", patched.status, patched.body, read.status, read.body)
		}
	})
}

// FuzzItem writes any body, repeated as often as is asked for inside an array, and reads back the very bytes.
func FuzzItem(f *testing.F) {
	for _, s := range []string{
		`{"id":"i","pk":"i"}`, `{"id":"i","pk":"i","id":"j"}`, `{"id":"i","pk":"i","s":"\ud800"}`, "{\"id\":\"i\",\"pk\":\"i\",\"s\":\"\xff\"}", `{"id":"i","pk":"i","n":[1e400,-0,1E-999,0.10,123456789012345678901234567890]}`,
		`{"id":"i","pk":"i","d":` + strings.Repeat(`{"a":`, 127) + "1" + strings.Repeat("}", 127) + "}", `{"id":"","pk":"i"}`, `{"id":1}`, `{"id":"a/b","pk":"i"}`,
		`{"id":"i","pk":"i","_rid":"x","_ts":-1,"_etag":null,"_self":[],"_lsn":9}`, `{"id":"i","pk":"i","ttl":1e9}`, `{"id":"i","pk":"i","ttl":2147483648}`, `{}`, `[]`, `"x"`, ``, "\xef\xbb\xbf{\"id\":\"i\",\"pk\":\"i\"}",
		`{"id":"i ","pk":"i","\u0000":"\u0000"}`, `{"id":"i","pk":"i","":""}`, ` { "id" : "i" , "pk" : "i" } `, `{"id":"` + strings.Repeat("i", 1024) + `","pk":"i"}`, `{"id":"ÿ","pk":"i","u":{"b":1},"a":{"b":[]}}`,
	} {
		f.Add([]byte(s), uint32(0), false)
		f.Add([]byte(s), uint32(3), true)
	}
	f.Add([]byte(`"x"`), uint32(1<<19), false)
	f.Add([]byte(`0`), uint32(2<<20), true)
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, body []byte, times uint32, unique bool) {
		x.begin(t)
		if times > 0 && len(body) > 0 {
			inner := bytes.Repeat(append([]byte(","), body...), int(times)%(1+(5<<19)/len(body))+1)
			body = append(append([]byte(`{"id":"i","pk":"i","v":[`), inner[1:]...), "]}"...)
		}
		headers := map[string]string{"x-ms-documentdb-partitionkey": `["i"]`, "x-ms-documentdb-is-upsert": "true"}
		container := "/dbs/d/colls/" + map[bool]string{false: "c", true: "u"}[unique] + "/docs"
		made := x.fuzzed(t, "POST", container, body, headers)
		if made.status >= 300 {
			return
		}
		var d struct{ ID string }
		if err := json.Unmarshal([]byte(made.body), &d); err != nil || !json.Valid(body) {
			t.Fatalf("stored %.200q: %v", body, err)
		}
		if read := x.fuzzed(t, "GET", container+"/"+d.ID, nil, headers); read.status != 200 || read.body != made.body {
			t.Fatalf("%q: made %.300s, read %d %.300s", d.ID, made.body, read.status, read.body)
		}
		if gone := x.fuzzed(t, "DELETE", container+"/"+d.ID, nil, headers); gone.status != 204 {
			t.Fatalf("%q: %d %s", d.ID, gone.status, gone.body)
		}
	})
}

// FuzzQuery sends any body as a query, with and without a partition key, for results and for a plan.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		`{"query":"SELECT * FROM c"}`, `{"query":"SELECT TOP 2 c.n, COUNT(1) AS k FROM c JOIN a IN c.a WHERE c.n > @n GROUP BY c.n","parameters":[{"name":"@n","value":1}]}`,
		`{"query":"SELECT VALUE x FROM x IN c.a ORDER BY x.b DESC OFFSET 1 LIMIT 3"}`, `{"query":"SELECT * FROM c WHERE c.id=@id","parameters":[{"name":"@id"}]}`,
		`{"query":"SELECT DISTINCT VALUE c.pk FROM c WHERE ARRAY_CONTAINS(@a, c.n)","parameters":[{"name":"@a","value":[1,2,{"x":null}]}]}`,
		`{"query":null}`, `{"query":1}`, `{}`, ``, `null`, `"SELECT 1"`, `{"query":""}`, `{"query":"SELECT"}`, `{"query":"SELECT VALUE REPLICATE('x', 100000)","parameters":null}`,
		`{"query":"SELECT VALUE RegexMatch(c.pk, '(a+)+$') FROM c"}`, `{"query":"SELECT * FROM c WHERE c.s = '\ud800'"}`, `{"query":"SELECT c['\\ud800'] FROM c"}`,
		`{"query":"SELECT VALUE {'a': [1e400, -0, udf.f()]}"}`, `{"query":"` + strings.Repeat("(", 500) + `"}`, `{"query":"SELECT * FROM c WHERE c.id=@id","parameters":[{"name":"@id","value":{}},{"value":2},{"name":"@id","value":"1"}]}`,
		`{"query":"SELECT VALUE EXISTS(SELECT VALUE a FROM a IN c.a WHERE a = c.n) FROM c WHERE c.n BETWEEN 0 AND 5 AND c.pk LIKE 'p%' ESCAPE '!'"}`,
	} {
		for mode := range byte(4) {
			f.Add([]byte(s), mode)
		}
	}
	x := newTarget(f)
	f.Fuzz(func(t *testing.T, body []byte, mode byte) {
		x.begin(t)
		headers := map[string]string{"x-ms-documentdb-isquery": "true", "x-ms-documentdb-query-enablecrosspartition": "true", "x-ms-documentdb-populatequerymetrics": "true", "x-ms-cosmos-populateindexmetrics": "true"}
		if mode&1 != 0 {
			headers["x-ms-documentdb-partitionkey"] = `["p1"]`
		}
		path := "/dbs/d/colls/c/docs"
		switch {
		case mode&4 != 0:
			path = "/dbs/d/colls"
		case mode&2 != 0:
			headers["x-ms-cosmos-is-query-plan-request"] = "true"
		}
		headers["x-ms-max-item-count"] = "2"
		for range 8 { // pages
			a := x.fuzzed(t, "POST", path, body, headers)
			if headers["x-ms-continuation"] = a.header.Get("x-ms-continuation"); headers["x-ms-continuation"] == "" {
				break
			}
		}
	})
}
