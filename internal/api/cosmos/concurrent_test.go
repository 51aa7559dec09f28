package cosmos_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-db/latchkey/internal/store"
)

// manyClients is how many ask at once.
const manyClients = 32

// together lets all clients do something at the same time and returns what they were told.
func together(do func(n int) answer) []answer {
	out := make([]answer, manyClients)
	var running sync.WaitGroup
	start := make(chan struct{})
	for n := range out {
		running.Go(func() {
			<-start
			out[n] = do(n)
		})
	}
	close(start)
	running.Wait()
	return out
}

// restart opens the store anew.
func (x *target) restart() {
	x.t.Helper()
	if err := x.db.Close(); err != nil {
		x.t.Fatal(err)
	}
	db, err := store.Open("db", store.Options{FS: x.disk})
	if err != nil {
		x.t.Fatal(err)
	}
	x.mu.Lock()
	x.db = db
	x.mu.Unlock()
}

// TestManyMakeTheSame: of many clients that make the same database, container and item at once one does, and all
// others are told that it is there; it is there for all of them, also after a start.
func TestManyMakeTheSame(t *testing.T) {
	x := newTarget(t)
	headers := map[string]string{"x-ms-documentdb-partitionkey": `["a"]`}
	for round := range 5 {
		db := fmt.Sprintf("/dbs/many%d", round)
		steps := []struct{ feed, one, body string }{
			{"/dbs", db, fmt.Sprintf(`{"id":"many%d"}`, round)},
			{db + "/colls", db + "/colls/c", `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}`},
			{db + "/colls/c/docs", db + "/colls/c/docs/i", `{"id":"i","pk":"a"}`},
			{db + "/users", db + "/users/u", `{"id":"u"}`},
		}
		for _, s := range steps {
			made := 0
			for _, a := range together(func(int) answer { return x.ask("POST", s.feed, []byte(s.body), headers) }) {
				switch a.status {
				case 201:
					made++
				case 409:
				default:
					t.Errorf("%s: %d %s", s.feed, a.status, a.body)
				}
			}
			if made != 1 {
				t.Errorf("%s: made %d times", s.feed, made)
			}
			first := x.must("GET", s.one, "", 200, headers).body
			for _, a := range together(func(int) answer { return x.ask("GET", s.one, nil, headers) }) {
				if a.status != 200 || a.body != first {
					t.Errorf("%s: %d %s", s.one, a.status, a.body)
				}
			}
		}
		x.restart()
		for _, s := range steps {
			x.must("GET", s.one, "", 200, headers)
		}
	}
}

// counter is the item that all clients change.
type counter struct {
	N    int
	ETag string `json:"_etag"`
	By   map[string]int
}

func (x *target) counter(t *testing.T, headers map[string]string) (c counter) {
	t.Helper()
	if err := json.Unmarshal([]byte(x.must("GET", "/dbs/d/colls/c/docs/n", "", 200, headers).body), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNoLostUpdate: many clients change one item, by its etag and by increments; every change that was
// acknowledged counts once, and who came too late is told.
func TestNoLostUpdate(t *testing.T) {
	x := newTarget(t)
	headers := func(more ...string) map[string]string {
		h := map[string]string{"x-ms-documentdb-partitionkey": `["a"]`}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	x.must("POST", "/dbs/d/colls/c/docs", `{"id":"n","pk":"a","n":0,"by":{}}`, 201, headers())
	late := make([]int, manyClients)
	replace := func(n int) answer {
		for {
			var c counter
			a := x.ask("GET", "/dbs/d/colls/c/docs/n", nil, headers())
			if err := json.Unmarshal([]byte(a.body), &c); err != nil || a.status != 200 {
				return a
			}
			c.By[fmt.Sprint(n)]++
			by, err := json.Marshal(c.By)
			if err != nil {
				return answer{}
			}
			a = x.ask("PUT", "/dbs/d/colls/c/docs/n", fmt.Appendf(nil, `{"id":"n","pk":"a","n":%d,"by":%s}`, c.N+1, by), headers("If-Match", c.ETag))
			if a.status != 412 {
				return a
			}
			late[n]++
		}
	}
	patch := func(n int) answer {
		return x.ask("PATCH", "/dbs/d/colls/c/docs/n", fmt.Appendf(nil, `[{"op":"incr","path":"/n","value":1},{"op":"incr","path":"/by/%d","value":1}]`, n), headers())
	}
	const rounds = 1
	for range rounds {
		for _, do := range []func(int) answer{replace, patch, func(n int) answer {
			if n%2 == 0 {
				return patch(n)
			}
			return replace(n)
		}} {
			for n, a := range together(do) {
				if a.status != 200 {
					t.Errorf("client %d: %d %s", n, a.status, a.body)
				}
			}
		}
	}
	x.restart()
	c := x.counter(t, headers())
	if c.N != 3*rounds*manyClients || len(c.By) != manyClients {
		t.Errorf("%d changes by %d clients, want %d", c.N, len(c.By), 3*rounds*manyClients)
	}
	for n, times := range c.By {
		if times != 3*rounds {
			t.Errorf("client %s changed it %d times", n, times)
		}
	}
	if slices.Max(late) == 0 {
		t.Error("nobody ever came too late: nothing was tried")
	}
}

// TestDeletedAndMadeAnew: while a container is deleted and made anew, clients that hold tokens of one that is gone
// are told so, in a way that makes them look again; nothing of what was in it comes back.
func TestDeletedAndMadeAnew(t *testing.T) {
	x := newTarget(t)
	const colls, coll, docs = "/dbs/d/colls", "/dbs/d/colls/again", "/dbs/d/colls/again/docs"
	definition := []byte(`{"id":"again","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}`)
	var mu sync.Mutex
	var seen []string
	check := func(what string, a answer, allowed ...string) {
		got := fmt.Sprintf("%d/%s", a.status, a.header.Get("x-ms-substatus"))
		mu.Lock()
		seen = append(seen, what+" "+got)
		mu.Unlock()
		if !slices.Contains(allowed, got) {
			t.Errorf("%s: %s %s", what, got, a.body)
		}
	}
	const rounds = 12
	var clients sync.WaitGroup
	done := make(chan struct{})
	for n := range 6 {
		clients.Go(func() {
			session, rid, more, query := "", "", "", ""
			pk := fmt.Sprintf(`["p%d"]`, n)
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				a := x.ask("POST", docs, fmt.Appendf(nil, `{"id":"%d","pk":"p%d"}`, i, n), map[string]string{"x-ms-documentdb-partitionkey": pk})
				check("create", a, "201/", "404/1003", "404/")
				if a.status == 201 && (session == "" || i%9 == 0) {
					session, rid = a.header.Get("x-ms-session-token"), a.header.Get("x-ms-content-path")
				}
				check("session", x.ask("GET", docs+"/0", nil, map[string]string{"x-ms-documentdb-partitionkey": pk, "x-ms-session-token": session}), "200/", "404/", "404/1002", "404/1003")
				check("rid", x.ask("GET", docs+"/0", nil, map[string]string{"x-ms-documentdb-partitionkey": pk, "x-ms-cosmos-intended-collection-rid": rid}), "200/", "404/", "400/1024", "404/1003")
				page := x.ask("GET", docs, nil, map[string]string{"x-ms-max-item-count": "1", "x-ms-continuation": more})
				check("feed", page, "200/", "400/", "404/1003")
				if more = page.header.Get("x-ms-continuation"); page.status != 200 {
					more = ""
				}
				page = x.ask("POST", docs, []byte(`{"query":"SELECT * FROM c WHERE c.id >= '0'"}`), map[string]string{"x-ms-max-item-count": "1", "x-ms-continuation": query, "x-ms-documentdb-isquery": "true", "x-ms-documentdb-query-enablecrosspartition": "true"})
				check("query", page, "200/", "400/", "404/1003")
				if query = page.header.Get("x-ms-continuation"); page.status != 200 {
					query = ""
				}
				check("changes", x.ask("GET", docs, nil, map[string]string{"A-IM": "Incremental Feed", "If-None-Match": `"3"`}), "200/", "304/", "404/1003")
			}
		})
	}
	for round := range rounds {
		check("make", x.ask("POST", colls, definition, nil), "201/")
		if body := x.must("GET", coll, "", 200, nil).body; !strings.Contains(body, `"id":"again"`) {
			t.Error(body)
		}
		for i := range 10 {
			check("write", x.ask("POST", docs, fmt.Appendf(nil, `{"id":"r%d-%d","pk":"r"}`, round, i), map[string]string{"x-ms-documentdb-partitionkey": `["r"]`}), "201/")
		}
		page := x.must("GET", docs, "", 200, map[string]string{"x-ms-documentdb-partitionkey": `["r"]`})
		if strings.Count(page.body, `"id":"r`) != 10 || strings.Count(page.body, fmt.Sprintf(`"id":"r%d-`, round)) != 10 {
			t.Errorf("round %d holds %s", round, page.body)
		}
		check("delete", x.ask("DELETE", coll, nil, nil), "204/")
	}
	close(done)
	clients.Wait()
	x.restart()
	check("after all", x.ask("GET", coll, nil, nil), "404/", "404/1003")
	if !slices.Contains(seen, "create 201/") {
		t.Error("no client ever met the container")
	}
	x.checkStale(t, definition)
}

// checkStale holds tokens of a container against the one that has its name now, with nobody else about.
func (x *target) checkStale(t *testing.T, definition []byte) {
	t.Helper()
	const colls, docs = "/dbs/d/colls", "/dbs/d/colls/again/docs"
	fill := func(n int) (last answer) {
		x.must("POST", colls, string(definition), 201, nil)
		for i := range n {
			last = x.must("POST", docs, fmt.Sprintf(`{"id":"%d","pk":"a"}`, i), 201, map[string]string{"x-ms-documentdb-partitionkey": `["a"]`})
		}
		return last
	}
	old := fill(5)
	more := x.must("GET", docs, "", 200, map[string]string{"x-ms-max-item-count": "2"}).header.Get("x-ms-continuation")
	x.must("DELETE", colls+"/again", "", 204, nil)
	fill(3)
	for name, tt := range map[string]struct{ header, value, want string }{
		"session token": {"x-ms-session-token", old.header.Get("x-ms-session-token"), "404/1002"},
		"resource id":   {"x-ms-cosmos-intended-collection-rid", old.header.Get("x-ms-content-path"), "400/1024"},
		"continuation":  {"x-ms-continuation", more, "400/"},
		"range":         {"x-ms-documentdb-partitionkeyrangeid", "7", "410/1002"},
	} {
		a := x.ask("GET", docs, nil, map[string]string{tt.header: tt.value})
		if got := fmt.Sprintf("%d/%s", a.status, a.header.Get("x-ms-substatus")); got != tt.want {
			t.Errorf("%s of a container that is gone: %s %s", name, got, a.body)
		}
	}
}
