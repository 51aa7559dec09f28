package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
)

const origin = "vault.azure.net"

// receiver is a server that takes events as it is told.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	origin  string        // what it allows
	answers []int         // statuses of the next posts; 204 after them
	got     []Event       // taken
	asked   int           // OPTIONS
	posts   int           // all
	bodies  [][]byte      // of the posts
	headers http.Header   // of the last post
	arrived chan struct{} // one token for each request
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{origin: origin, arrived: make(chan struct{}, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.arrived <- struct{}{} }()
	if req.Method == http.MethodOptions {
		r.asked++
		if req.Header.Get("WebHook-Request-Origin") != origin {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("WebHook-Allowed-Origin", r.origin)
		return
	}
	r.posts++
	body, _ := io.ReadAll(req.Body)
	r.bodies, r.headers = append(r.bodies, body), req.Header.Clone()
	status := http.StatusNoContent
	if len(r.answers) > 0 {
		status, r.answers = r.answers[0], r.answers[1:]
	}
	if status < 300 {
		var e Event
		if err := json.Unmarshal(body, &e); err != nil {
			status = http.StatusBadRequest
		}
		r.got = append(r.got, e)
	}
	w.WriteHeader(status)
}

// names are the subjects of the events that were taken.
func (r *receiver) names() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.got {
		out = append(out, e.Subject)
	}
	return strings.Join(out, " ")
}

type world struct {
	t   *testing.T
	db  *store.Store
	hub *Hub
	now time.Time
}

func newWorld(t *testing.T, max int, targets ...Target) *world {
	t.Helper()
	db, err := store.Open("db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: db, now: time.Unix(1_800_000_000, 0)}
	w.open(max, targets...)
	return w
}

// open opens the hub on the store, as a start of the server does.
func (w *world) open(max int, targets ...Target) {
	w.t.Helper()
	var err error
	w.hub, err = Open(Config{DB: w.db, Targets: targets, Secret: secret.From([]byte("key")), Origin: origin, Now: func() time.Time { return w.now }, MaxQueued: max})
	if err != nil {
		w.t.Fatal(err)
	}
}

// queue makes one event for each name durable.
func (w *world) queue(vault string, names ...string) {
	w.t.Helper()
	for _, n := range names {
		b := w.db.NewBatch()
		if err := w.hub.Queue(b, vault, New("id-"+n, "/vaults/"+vault, "NewVersionCreated", w.now, Data{VaultName: vault, ObjectType: "Key", ObjectName: n})); err != nil {
			w.t.Fatal(err)
		}
		if err := w.db.Commit(b); err != nil {
			w.t.Fatal(err)
		}
	}
	w.hub.Wake()
}

// send runs the senders until nothing waits, or until enough requests came to r.
func (w *world) send(r *receiver, enough int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range w.hub.Senders() {
		wg.Go(func() { s(ctx) })
	}
	for n := 0; w.hub.Waiting() > 0 && (enough == 0 || n < enough) && ctx.Err() == nil; {
		select {
		case <-r.arrived:
			n++
		case <-time.After(time.Millisecond): // the last answer is on its way
		}
	}
	if ctx.Err() != nil {
		w.t.Error("the senders did not come to an end")
	}
	cancel()
	wg.Wait()
}

func TestInOrderSignedAndOnce(t *testing.T) {
	r, other := newReceiver(t), newReceiver(t)
	w := newWorld(t, 0, Target{URL: r.URL}, Target{URL: other.URL, Vault: "KV2"})
	w.queue("kv1", "a", "b")
	w.queue("kv2", "c")
	w.send(r, 0)
	if r.names() != "a b c" || other.names() != "c" || r.asked != 1 {
		t.Errorf("received %q and %q, asked %d times", r.names(), other.names(), r.asked)
	}
	last := r.bodies[len(r.bodies)-1]
	sum := hmac.New(sha256.New, []byte("key"))
	fmt.Fprintf(sum, "%d.%s", w.now.Unix(), last)
	if want := fmt.Sprintf("t=%d,v1=%s", w.now.Unix(), hex.EncodeToString(sum.Sum(nil))); r.headers.Get("Latchkey-Signature") != want {
		t.Errorf("signature %q, want %q", r.headers.Get("Latchkey-Signature"), want)
	}
	want := `{"specversion":"1.0","id":"id-c","source":"/vaults/kv2","type":"Microsoft.KeyVault.KeyNewVersionCreated","subject":"c","time":"2027-01-15T08:00:00Z","datacontenttype":"application/json",` +
		`"data":{"Id":"","VaultName":"kv2","ObjectType":"Key","ObjectName":"c","Version":"","NBF":null,"EXP":null}}`
	if string(last) != want || r.headers.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("sent %s\nwant %s", last, want)
	}
}

// TestRetriedInOrder: what fails is tried again before the next, and what the receiver calls wrong is
// given up.
func TestRetriedInOrder(t *testing.T) {
	r := newReceiver(t)
	r.answers = []int{503, 204, 400}
	w := newWorld(t, 0, Target{URL: r.URL})
	w.queue("kv1", "a", "b", "c")
	w.send(r, 0)
	if r.names() != "a c" || r.posts != 4 {
		t.Errorf("received %q in %d posts", r.names(), r.posts)
	}
}

// TestSurvivesARestart: what was not delivered is delivered by the next process, after what came before.
func TestSurvivesARestart(t *testing.T) {
	r := newReceiver(t)
	r.answers = []int{500, 500, 500, 500, 500}
	w := newWorld(t, 0, Target{URL: r.URL})
	w.queue("kv1", "a", "b")
	w.send(r, 2) // the handshake and one attempt
	if r.names() != "" {
		t.Fatalf("received %q", r.names())
	}
	r.mu.Lock()
	r.answers = nil
	r.mu.Unlock()
	w.open(0, Target{URL: r.URL})
	w.queue("kv1", "c")
	w.send(r, 0)
	if r.names() != "a b c" {
		t.Errorf("after the restart received %q", r.names())
	}
	w.open(0, Target{URL: r.URL})
	if w.hub.Waiting() != 0 {
		t.Error("what was delivered still waits")
	}
}

func TestBounds(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, 3, Target{URL: r.URL})
	w.queue("kv1", "a", "b", "c", "d", "e")
	if w.hub.Waiting() != 3 {
		t.Errorf("%d events wait", w.hub.Waiting())
	}
	w.send(r, 0)
	if r.names() != "c d e" {
		t.Errorf("received %q: the oldest give way", r.names())
	}
	r.mu.Lock()
	r.answers = []int{500}
	r.mu.Unlock()
	w.queue("kv1", "f")
	w.now = w.now.Add(maxAge + time.Second)
	w.send(r, 0)
	if r.names() != "c d e" || w.hub.Waiting() != 0 {
		t.Errorf("an event of yesterday: received %q, %d wait", r.names(), w.hub.Waiting())
	}
	w.queue("kv1", "g")
	w.open(3) // the receiver is not named any more
	n, err := 0, error(nil)
	for range w.db.Scan(store.Prefix([]byte(queueTable)), &err) {
		n++
	}
	if n != 0 || err != nil {
		t.Errorf("%d events wait for nobody, %v", n, err)
	}
}

// TestHandshake: nothing is sent to who did not agree, and no more to who is gone.
func TestHandshake(t *testing.T) {
	for name, tc := range map[string]struct {
		allows  string
		answers []int
		posts   int
	}{
		"another origin": {allows: "example.org"},
		"silent":         {},
		"everybody":      {allows: "*", posts: 1},
		"gone":           {allows: origin, answers: []int{410}, posts: 1},
	} {
		r := newReceiver(t)
		r.origin, r.answers = tc.allows, tc.answers
		w := newWorld(t, 0, Target{URL: r.URL})
		w.queue("kv1", "a")
		w.send(r, 1+tc.posts)
		if r.posts != tc.posts {
			t.Errorf("%s: %d posts", name, r.posts)
		}
	}
}

func TestTargets(t *testing.T) {
	for s, ok := range map[string]bool{
		"https://hooks.example.org/x": true, "https://hooks.example.org/x,vault=kv1": true, "https://hooks.example.org/x,y?z=1,2": true, "http://127.0.0.1:9/x": true, "http://localhost/x": true,
		"http://[::1]:9": true, "http://hooks.example.org/x": false, "http://127.0.0.1.example.org/": false, "ftp://x": false, "hooks": false, "": false,
		"https://u:p@hooks.example.org": false, "https://x,vault=": false, "https://x,other=1": false,
	} {
		if _, err := ParseTarget(s, false); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
	if x, err := ParseTarget("http://hooks.example.org,vault=kv1", true); err != nil || x.Vault != "kv1" || x.wants("kv2") || !x.wants("KV1") {
		t.Errorf("insecure: %+v, %v", x, err)
	}
}

// refusing is a transport that fails as the standard one does, with the address in its error.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }

// TestErrorsHideTheAddress: it may hold a secret.
func TestErrorsHideTheAddress(t *testing.T) {
	w := newWorld(t, 0, Target{URL: "https://hooks.example.org/?code=hush"})
	w.hub.client.Transport = refusing{}
	s := &sender{Hub: w.hub, lane: w.hub.lanes[0]}
	if _, err := s.attempt(t.Context(), queued{}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
	s.lane.target.URL = "https://bad host/?code=hush"
	if _, err := s.attempt(t.Context(), queued{}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
}
