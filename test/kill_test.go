package test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// A process that is killed in the midst of writes, again and again on one directory. Each writer knows what
// its items must be, because nobody else writes them, and which one request had no answer. A follower reads
// the feed of all versions meanwhile, and goes on from its etags after each start: what it saw, ever, must
// be the history, no change left out, twice, or of a write that is gone.

// splitmix is a small generator whose seed is all of its state.
type splitmix uint64

func (s *splitmix) n(limit int) int {
	*s += 0x9E3779B97F4A7C15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return int((z ^ z>>31) % uint64(limit))
}

// newSeed is a fresh seed, printed so that it can be used again.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	seed := n.Uint64()
	t.Logf("seed %d", seed)
	return seed
}

// plane speaks the protocol of documents without any retries.
type plane struct {
	http *http.Client
	base string
	key  []byte
}

// reply is the answer to one request.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// lsn is the sequence number that the answer reflects.
func (r reply) lsn() uint64 {
	n, _ := strconv.ParseUint(r.header.Get("lsn"), 10, 64)
	return n
}

func (p *plane) do(method, path string, body []byte, headers ...string) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	p.sign(req, path)
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, raw}, err
}

// sign adds the signature with the account's key.
func (p *plane) sign(req *http.Request, path string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	kind, link := parts[len(parts)-1], strings.Join(parts[:len(parts)-1], "/")
	if len(parts)%2 == 0 {
		kind, link = parts[len(parts)-2], strings.Join(parts, "/")
	}
	if kind == "offers" && link != "" {
		link = strings.ToLower(parts[len(parts)-1])
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	m := hmac.New(sha256.New, p.key)
	fmt.Fprintf(m, "%s\n%s\n%s\n%s\n\n", strings.ToLower(req.Method), kind, link, strings.ToLower(date))
	req.Header.Set("x-ms-date", date)
	req.Header.Set("x-ms-version", "2020-07-15")
	req.Header.Set("Authorization", url.QueryEscape("type=master&ver=1.0&sig="+base64.StdEncoding.EncodeToString(m.Sum(nil))))
}

// must is a request that has to succeed, with its answer decoded into v unless that is nil.
func (p *plane) must(t *testing.T, v any, method, path string, body []byte, headers ...string) reply {
	t.Helper()
	r, err := p.do(method, path, body, headers...)
	if err == nil && (r.status < 200 || r.status >= 400) {
		err = fmt.Errorf("%d %s %s", r.status, r.header.Get("x-ms-substatus"), r.body)
	}
	if err == nil && v != nil && r.status != http.StatusNotModified {
		err = json.Unmarshal(r.body, v)
	}
	if err != nil {
		t.Fatalf("%s %s %q: %v", method, path, headers, err)
	}
	return r
}

const (
	killColl = "/dbs/kill/colls/c"
	killDocs = killColl + "/docs"
)

// version is what a writer knows of an item. u must be unique in its logical partition.
type version struct{ V, U string }

// changeOf is one step of the history of an item.
type changeOf struct {
	op, value string
	lsn       uint64 // 0 when the answer was lost
}

// killWriter writes items that nobody else writes: all of one logical partition, and some of one that all share.
type killWriter struct {
	n       int
	d       splitmix
	serial  int
	items   map[string]version // by "partition/id"
	history map[string][]changeOf
	lost    *attempt // the request that had no answer
	session map[string]string
	last    map[string]uint64 // LSN by range
	acked   int
	refused int
}

// attempt is one request: what is sent, and what the writer's items are if it is carried out.
type attempt struct {
	method, path, partition, batch string
	body                           []byte
	upsert                         bool
	possible                       bool // the writer's own items do not forbid it
	certain                        bool // nor can anybody else's
	after                          map[string]version
	changed                        []string
}

func newKillWriter(n int, seed uint64) *killWriter {
	return &killWriter{n: n, d: splitmix(seed + uint64(n)), items: map[string]version{}, history: map[string][]changeOf{}, session: map[string]string{}, last: map[string]uint64{}}
}

func (w *killWriter) own() string { return fmt.Sprint("w", w.n) }

// next makes up a request.
func (w *killWriter) next() *attempt {
	w.serial++
	a := &attempt{partition: w.own(), certain: true, after: maps.Clone(w.items), path: killDocs, method: "POST"}
	if w.d.n(4) == 0 {
		a.partition, a.certain = "shared", false
	}
	id := fmt.Sprintf("%d-%d", w.n, w.d.n(6))
	v := version{V: fmt.Sprintf("%d.%d", w.n, w.serial), U: fmt.Sprint(w.d.n(12))}
	_, exists := w.items[a.partition+"/"+id]
	switch w.d.n(6) {
	case 0:
		a.put(id, v)
		a.possible = !exists && a.unique()
	case 1, 2:
		a.upsert = true
		a.put(id, v)
		a.possible = a.unique()
	case 3:
		a.patch(id, w.items[a.partition+"/"+id].U, v)
		a.possible = exists
	case 4:
		a.method, a.path = "DELETE", killDocs+"/"+id
		delete(a.after, a.partition+"/"+id)
		a.changed = []string{a.partition + "/" + id}
		a.possible = exists
	case 5:
		w.swap(a, id, v)
	}
	return a
}

func (a *attempt) put(id string, v version) {
	a.after[a.partition+"/"+id] = v
	a.changed = append(a.changed, a.partition+"/"+id)
	a.body = fmt.Appendf(nil, `{"id":%q,"pk":%q,"v":%q,"u":%q}`, id, a.partition, v.V, v.U)
}

func (a *attempt) patch(id, u string, v version) {
	a.put(id, version{V: v.V, U: u})
	a.method, a.path, a.certain = "PATCH", killDocs+"/"+id, true
	a.body = fmt.Appendf(nil, `{"operations":[{"op":"set","path":"/v","value":%q}]}`, v.V)
}

// swap is a batch of two items: each gets the value that the other had.
func (w *killWriter) swap(a *attempt, id string, v version) {
	other := fmt.Sprintf("%d-%d", w.n, 6+w.d.n(2))
	u := w.items[a.partition+"/"+id].U
	if u == "" {
		u = fmt.Sprint("fresh ", w.n, w.serial)
	}
	a.put(id, v)
	first := a.body
	a.put(other, version{V: v.V, U: u})
	a.body = fmt.Appendf(nil, `[{"operationType":"Upsert","resourceBody":%s},{"operationType":"Upsert","resourceBody":%s}]`, first, a.body)
	a.batch, a.possible = "true", a.unique()
}

// unique reports whether no two of the writer's items in the partition would have the same u.
func (a *attempt) unique() bool {
	seen := map[string]bool{}
	for at, v := range a.after {
		if strings.HasPrefix(at, a.partition+"/") {
			if seen[v.U] {
				return false
			}
			seen[v.U] = true
		}
	}
	return true
}

// write carries an attempt out. The error is for an answer that is wrong; ok is false when none came.
func (w *killWriter) write(p *plane, a *attempt) (ok bool, err error) {
	upsert := ""
	if a.upsert {
		upsert = "true"
	}
	r, err := p.do(a.method, a.path, a.body, "x-ms-documentdb-partitionkey", `["`+a.partition+`"]`, "x-ms-documentdb-is-upsert", upsert,
		"x-ms-cosmos-is-batch-request", a.batch, "x-ms-cosmos-batch-atomic", a.batch, "x-ms-session-token", w.session[a.partition])
	if err != nil {
		w.lost = a
		return false, nil
	}
	switch done := r.status < 207; {
	case r.status >= 500 || r.status == 429 || r.header.Get("x-ms-substatus") == "1002":
		return true, fmt.Errorf("%s %s: %d %s", a.method, a.body, r.status, r.body)
	case done && !a.possible || !done && a.possible && a.certain:
		return true, fmt.Errorf("%s %s: %d %s with %v", a.method, a.body, r.status, r.body, w.items)
	case !done:
		w.refused++
		return true, nil
	}
	token := r.header.Get("x-ms-session-token")
	id, _, _ := strings.Cut(token, ":")
	if r.lsn() <= w.last[id] {
		return true, fmt.Errorf("LSN %d of range %s after %d", r.lsn(), id, w.last[id])
	}
	w.session[a.partition], w.last[id] = token, r.lsn()
	w.acked++
	w.take(a, r.lsn())
	return true, nil
}

// take notes that an attempt was carried out.
func (w *killWriter) take(a *attempt, lsn uint64) {
	for _, at := range a.changed {
		_, existed := w.items[at]
		now, exists := a.after[at]
		switch {
		case !exists:
			w.history[at] = append(w.history[at], changeOf{"delete", "", lsn})
		case existed:
			w.history[at] = append(w.history[at], changeOf{"replace", now.V, lsn})
		default:
			w.history[at] = append(w.history[at], changeOf{"create", now.V, lsn})
		}
	}
	w.items = a.after
}

// settle decides, from what is stored, whether the request that had no answer was carried out: whole or
// not at all.
func (w *killWriter) settle(stored map[string]version) error {
	mine := map[string]version{}
	for at, v := range stored {
		if strings.HasPrefix(at, w.own()+"/") || strings.HasPrefix(at, fmt.Sprintf("shared/%d-", w.n)) {
			mine[at] = v
		}
	}
	lost := w.lost
	w.lost = nil
	switch {
	case maps.Equal(mine, w.items):
		return nil
	case lost != nil && lost.possible && maps.Equal(mine, lost.after):
		w.take(lost, 0)
		return nil
	}
	return fmt.Errorf("writer %d: stored %v\nacknowledged %v\nin flight %+v", w.n, mine, w.items, lost)
}

// killFollower reads the feed of all versions, range by range.
type killFollower struct {
	etags   map[string]string
	history map[string][]changeOf
}

type killEvent struct {
	Current  struct{ ID, PK, V string }
	Metadata struct {
		OperationType, ID string
		LSN               uint64
		PartitionKey      struct{ PK string }
	}
}

// pass reads all ranges to their ends. It gives up without a word when the server is gone.
func (f *killFollower) pass(p *plane) error {
	r, err := p.do("GET", killColl+"/pkranges", nil)
	if err != nil {
		return nil
	}
	var list struct {
		PartitionKeyRanges []struct {
			ID      string
			Parents []string
		}
	}
	if err := json.Unmarshal(r.body, &list); err != nil {
		return fmt.Errorf("%d %s: %w", r.status, r.body, err)
	}
	for _, x := range list.PartitionKeyRanges {
		if _, known := f.etags[x.ID]; !known {
			f.etags[x.ID] = `"0"`
			for _, parent := range x.Parents {
				if e, ok := f.etags[parent]; ok {
					f.etags[x.ID] = e // of the youngest
				}
			}
		}
		for more := true; more; {
			if more, err = f.page(p, x.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *killFollower) page(p *plane, id string) (more bool, err error) {
	r, err := p.do("GET", killDocs, nil, "A-IM", "Full-Fidelity Feed", "If-None-Match", f.etags[id], "x-ms-documentdb-partitionkeyrangeid", id, "x-ms-max-item-count", "17")
	if err != nil || r.status == http.StatusNotModified || r.status == http.StatusGone {
		return false, nil
	}
	var page struct{ Documents []killEvent }
	if err := json.Unmarshal(r.body, &page); err != nil || r.status != http.StatusOK {
		return false, fmt.Errorf("%d %s: %w", r.status, r.body, err)
	}
	for _, e := range page.Documents {
		at := e.Current.PK + "/" + e.Current.ID
		if e.Metadata.OperationType == "delete" {
			at = e.Metadata.PartitionKey.PK + "/" + e.Metadata.ID
		}
		f.history[at] = append(f.history[at], changeOf{e.Metadata.OperationType, e.Current.V, e.Metadata.LSN})
	}
	f.etags[id] = r.header.Get("Etag")
	return true, nil
}

// same compares what the feed showed of an item with what its writer knows.
func same(feed, history []changeOf) bool {
	return slices.EqualFunc(feed, history, func(a, b changeOf) bool {
		return a.op == b.op && a.value == b.value && (b.lsn == 0 || a.lsn == b.lsn)
	})
}

// killing is one run on one directory.
type killing struct {
	*server
	t        *testing.T
	connect  func() *plane
	plane    *plane
	writers  []*killWriter
	follower *killFollower
	splits   int
}

// prepare makes the container: two ranges, a unique key, all versions kept.
func (k *killing) prepare() {
	k.t.Helper()
	k.plane = k.connect()
	k.plane.must(k.t, nil, "POST", "/dbs", []byte(`{"id":"kill"}`))
	k.plane.must(k.t, nil, "POST", "/dbs/kill/colls", []byte(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},
		"uniqueKeyPolicy":{"uniqueKeys":[{"paths":["/u"]}]},"changeFeedPolicy":{"retentionDuration":1440}}`), "x-ms-offer-throughput", "20000")
}

// round writes until so many requests were answered, kills the process, and starts it again.
func (k *killing) round(answers int, split bool) {
	k.t.Helper()
	var answered atomic.Int64
	enough := make(chan struct{})
	var once sync.Once
	var running sync.WaitGroup
	fail := func(err error) {
		k.t.Error(err)
		once.Do(func() { close(enough) })
	}
	var dead atomic.Bool
	for _, w := range k.writers {
		running.Go(func() {
			for {
				ok, err := w.write(k.plane, w.next())
				if err != nil {
					fail(err)
				}
				if err != nil || !ok {
					return
				}
				if answered.Add(1) == int64(answers) {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	running.Go(func() {
		for !dead.Load() {
			if err := k.follower.pass(k.plane); err != nil && !dead.Load() {
				fail(err)
				return
			}
		}
	})
	if split {
		k.split()
	}
	select {
	case <-enough:
	case <-time.After(30 * time.Second):
		k.t.Error("too few answers")
	}
	dead.Store(true)
	k.kill()
	running.Wait()
	k.start()
	k.plane = k.connect()
}

// split raises the throughput, which divides a range.
func (k *killing) split() {
	k.t.Helper()
	k.splits++
	var list struct{ Offers []map[string]any }
	k.plane.must(k.t, &list, "GET", "/offers", nil)
	offer := list.Offers[0]
	offer["content"] = map[string]any{"offerThroughput": 20_000 + 10_000*k.splits}
	raw, err := json.Marshal(offer)
	if err != nil {
		k.t.Fatal(err)
	}
	k.plane.must(k.t, nil, "PUT", "/offers/"+offer["id"].(string), raw)
}

// check compares everything that the server tells after a start with what it told before.
func (k *killing) check() {
	k.t.Helper()
	var tokens []string
	for _, w := range k.writers {
		tokens = append(tokens, slices.Collect(maps.Values(w.session))...)
	}
	stored := k.read("x-ms-session-token", strings.Join(tokens, ","))
	for _, w := range k.writers {
		if err := w.settle(stored); err != nil {
			k.t.Fatal(err)
		}
		own := k.read("x-ms-session-token", w.session[w.own()], "x-ms-documentdb-partitionkey", `["`+w.own()+`"]`)
		if len(own) != countPrefix(stored, w.own()+"/") {
			k.t.Fatalf("%d items of %s in its partition, %d in the container", len(own), w.own(), countPrefix(stored, w.own()+"/"))
		}
	}
	if latest := k.read("A-IM", "Incremental Feed"); !maps.Equal(latest, stored) {
		k.t.Fatalf("the change feed from the beginning is %v, stored is %v", latest, stored)
	}
	k.checkUnique(stored)
	if err := k.follower.pass(k.plane); err != nil {
		k.t.Fatal(err)
	}
	for _, w := range k.writers {
		for at, history := range w.history {
			if !same(k.follower.history[at], history) {
				k.t.Fatalf("%s: the feed showed %v\nthe history is %v", at, k.follower.history[at], history)
			}
		}
	}
}

func countPrefix(m map[string]version, prefix string) (n int) {
	for at := range m {
		if strings.HasPrefix(at, prefix) {
			n++
		}
	}
	return n
}

// checkUnique: no two items of a partition have the same u.
func (k *killing) checkUnique(stored map[string]version) {
	k.t.Helper()
	holder := map[string]string{}
	for at, v := range stored {
		pk, _, _ := strings.Cut(at, "/")
		if other, taken := holder[pk+"/"+v.U]; taken {
			k.t.Fatalf("%s and %s both have %q", at, other, v.U)
		}
		holder[pk+"/"+v.U] = at
	}
}

// read collects a whole feed, page by page.
func (k *killing) read(headers ...string) map[string]version {
	k.t.Helper()
	into, more := map[string]version{}, ""
	for {
		var page struct {
			Documents []struct{ ID, PK, V, U string }
		}
		key := "x-ms-continuation"
		if slices.Contains(headers, "A-IM") {
			key = "If-None-Match"
		}
		r := k.plane.must(k.t, &page, "GET", killDocs, nil, append(slices.Clone(headers), key, more, "x-ms-max-item-count", "11")...)
		for _, d := range page.Documents {
			if _, twice := into[d.PK+"/"+d.ID]; twice {
				k.t.Fatalf("%s/%s came twice", d.PK, d.ID)
			}
			into[d.PK+"/"+d.ID] = version{d.V, d.U}
		}
		if more = r.header.Get("x-ms-continuation"); key == "If-None-Match" {
			more = r.header.Get("Etag")
		}
		if r.status == http.StatusNotModified || more == "" {
			return into
		}
	}
}

// TestKill: under the platform's key, and under a customer's key in the vault of the same process.
func TestKill(t *testing.T) {
	rounds := 3
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		rounds = 100
	}
	worlds := map[string]func(t *testing.T) *killing{"platform's key": emulatorWorld, "customer's key": tutorialWorld}
	for name, world := range worlds {
		t.Run(name, func(t *testing.T) {
			k, seed := world(t), newSeed(t)
			d := splitmix(seed)
			k.t, k.follower = t, &killFollower{etags: map[string]string{}, history: map[string][]changeOf{}}
			for n := range 8 {
				k.writers = append(k.writers, newKillWriter(n, seed))
			}
			k.prepare()
			for round := range rounds {
				k.round(20+d.n(300), round%10 == 1)
				k.check()
				if t.Failed() {
					break
				}
			}
			k.summary(rounds)
		})
	}
}

func (k *killing) summary(rounds int) {
	acked, refused, changes, ranges := 0, 0, 0, map[string]bool{}
	for _, w := range k.writers {
		acked, refused = acked+w.acked, refused+w.refused
		for _, h := range w.history {
			changes += len(h)
		}
		for id := range w.last {
			ranges[id] = true
		}
	}
	if acked < 20*rounds || len(ranges) < 2 {
		k.t.Errorf("%d writes to %d ranges say little", acked, len(ranges))
	}
	k.t.Logf("%d kills, %d writes acknowledged, %d refused, %d changes in the feed, %d ranges written to", rounds, acked, refused, changes, len(ranges))
}

func emulatorWorld(t *testing.T) *killing {
	k := &killing{server: startServer(t, "--emulator")}
	k.connect = func() *plane {
		c := k.client()
		c.Transport.(*http.Transport).Proxy = nil
		key, _ := base64.StdEncoding.DecodeString(emulatorKey)
		return &plane{http: c, base: "https://" + k.run.Addresses.Emulator, key: key}
	}
	return k
}

func tutorialWorld(t *testing.T) *killing {
	s := tutorial(t)
	key, err := base64.StdEncoding.DecodeString(s.masterKey())
	if err != nil {
		t.Fatal(err)
	}
	return &killing{server: s.server, connect: func() *plane {
		return &plane{http: s.client(), base: "https://" + demo.Account + ".documents.azure.com:443", key: key}
	}}
}
