package load

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a small database: it knows documents by their ids, and may lie.
type fake struct {
	mu     sync.Mutex
	docs   map[string]string
	etags  map[string]int
	lie    func(body string) string
	status int // of reads, when it is not 0
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("x-ms-request-charge", "1.5")
	id := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(r.URL.Path, "/docs") && r.Header.Get("x-ms-documentdb-isquery") != "":
		f.query(w, body)
	case strings.HasSuffix(r.URL.Path, "/docs"):
		f.put(w, r, body)
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusCreated)
	case f.status != 0:
		w.WriteHeader(f.status)
	case f.docs[id] == "":
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("etag", fmt.Sprint(f.etags[id]))
		_, _ = io.WriteString(w, f.lie(f.docs[id]))
	}
}

func (f *fake) put(w http.ResponseWriter, r *http.Request, body []byte) {
	var d document
	_ = json.Unmarshal(body, &d)
	if m := r.Header.Get("If-Match"); m != "" && m != fmt.Sprint(f.etags[d.ID]) {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	f.docs[d.ID] = string(body)
	f.etags[d.ID]++
	w.WriteHeader(http.StatusCreated)
}

func (f *fake) query(w http.ResponseWriter, body []byte) {
	var q struct{ Parameters []struct{ Value string } }
	_ = json.Unmarshal(body, &q)
	var ids []string
	for id := range f.docs {
		if id >= q.Parameters[0].Value {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = f.lie(f.docs[id])
	}
	fmt.Fprintf(w, `{"Documents":[%s]}`, strings.Join(parts, ","))
}

func run(t *testing.T, workload string, lie func(string) string, status int) Report {
	t.Helper()
	f := &fake{docs: map[string]string{}, etags: map[string]int{}, lie: lie, status: status}
	s := httptest.NewTLSServer(f)
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	i := slices.IndexFunc(Workloads, func(w Workload) bool { return w.Name == workload })
	told := 0.0
	r, err := Run(t.Context(), Config{
		Target:   Target{Endpoint: s.URL, Key: base64.StdEncoding.EncodeToString([]byte("key")), TLS: &tls.Config{RootCAs: roots}, Database: "d", Container: "c"},
		Workload: Workloads[i], Records: 50, Clients: 4, Duration: 150 * time.Millisecond, Size: 300, Load: true, Seed: 1,
		Progress: func(_ string, share float64, _ uint64) { told = share },
	})
	if err != nil {
		t.Fatal(err)
	}
	if told != 1 {
		t.Errorf("the progress ended at %v", told)
	}
	return r
}

func honest(body string) string { return body }

func TestWorkloads(t *testing.T) {
	for _, w := range Workloads {
		r := run(t, w.Name, honest, 0)
		if r.Failed() || r.Operations == 0 || r.Charge < 1.5 {
			t.Errorf("%s: %+v", w.Name, r)
		}
	}
}

// TestLiesAreFound: an answer that a right database would not give is told.
func TestLiesAreFound(t *testing.T) {
	for name, lie := range map[string]func(string) string{
		"another document": func(b string) string { return strings.Replace(b, `"id":"user`, `"id":"usar`, 1) },
		"damaged":          func(b string) string { return strings.Replace(b, `"pad":"`, `"pad":"?`, 1) },
		"cut":              func(b string) string { return b[:len(b)/2] },
	} {
		if r := run(t, "read", lie, 0); r.WrongCount == 0 || len(r.Wrong) == 0 || !r.Failed() {
			t.Errorf("%s: %+v", name, r)
		}
	}
	stale := map[string]string{}
	r := run(t, "f", func(b string) string { // always the first version that was read
		var d document
		_ = json.Unmarshal([]byte(b), &d)
		if stale[d.ID] == "" {
			stale[d.ID] = b
		}
		return stale[d.ID]
	}, 0)
	if r.WrongCount == 0 || !strings.Contains(strings.Join(r.Wrong, " "), "was acknowledged before") {
		t.Errorf("stale: %+v", r)
	}
}

func TestErrorsAreTold(t *testing.T) {
	if r := run(t, "read", honest, http.StatusInternalServerError); !r.Failed() || r.Errors["read 500/"] == 0 {
		t.Errorf("%+v", r)
	}
	if r := run(t, "read", honest, http.StatusNotFound); r.WrongCount == 0 {
		t.Errorf("%+v", r)
	}
}

func TestHistogram(t *testing.T) {
	var h, other Histogram
	for i := 1; i <= 10_000; i++ {
		into := &h
		if i%2 == 0 {
			into = &other
		}
		into.Add(time.Duration(i) * 100 * time.Microsecond)
	}
	h.Merge(&other)
	for share, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.Quantile(share); got < want || got > want+want/50 {
			t.Errorf("%v: %v, want %v", share, got, want)
		}
	}
	for _, d := range []time.Duration{0, time.Microsecond, 127 * time.Microsecond, 128 * time.Microsecond, 999 * time.Microsecond, time.Hour} {
		if u := upper(class(d)); u < d || u > d+d/60+time.Microsecond {
			t.Errorf("%v is counted as up to %v", d, u)
		}
	}
}

// TestZipf: what comes first comes most often, and everything comes.
func TestZipf(t *testing.T) {
	z, rng := newZipf(1000), newSource(1)
	counts := make([]int, 1000)
	for range 200_000 {
		counts[z.rank(rng)]++
	}
	if counts[0] < 3*counts[9] || counts[0] < 10_000 || counts[999] > 100 {
		t.Errorf("%d, %d, %d", counts[0], counts[9], counts[999])
	}
}
