package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peerQuery is a query as the document databases and as PostgreSQL take it. It has as many results as it says,
// of which one may be a count.
type peerQuery struct {
	name, text, sql string
	param           func(n int) string // of document n, as JSON; nil for none
	calls           int
	results         int
	goal            float64 // times faster than the other document server
}

// peerQueries are what is measured. The filler of each document is its own, so nothing is found by the scan.
var peerQueries = []peerQuery{
	{"equality", `SELECT * FROM c WHERE c.email = @p`, `SELECT body FROM docs WHERE body @> jsonb_build_object('email', $1::jsonb)`,
		func(n int) string { return fmt.Sprintf(`"user%d@example.com"`, n) }, 60, 1, 100},
	{"order-limit", `SELECT TOP 10 * FROM c ORDER BY c.number`, `SELECT body FROM docs ORDER BY body->'number' LIMIT 10`, nil, 30, 10, 100},
	{"count", `SELECT VALUE COUNT(1) FROM c WHERE c.kind = "k3"`, `SELECT to_jsonb(COUNT(*)) FROM docs WHERE body @> '{"kind":"k3"}'`, nil, 12, 1, 5},
	{"scan", `SELECT VALUE c.id FROM c WHERE CONTAINS(c.text, "no such words")`, `SELECT body->'id' FROM docs WHERE body->>'text' LIKE '%no such words%'`, nil, 6, 0, 5},
	{"scan-count", `SELECT VALUE COUNT(1) FROM c WHERE CONTAINS(c.text, "no such words")`, `SELECT to_jsonb(COUNT(*)) FROM docs WHERE body->>'text' LIKE '%no such words%'`, nil, 6, 1, 5},
}

// answer is what one call of a query gave, and what it took the server by its own account; 0 when it has none.
type answer struct {
	results [][]byte
	server  time.Duration
}

// asker runs queries.
type asker interface {
	ask(ctx context.Context, q peerQuery, param string) (answer, error)
}

// BenchmarkPeers runs the same queries over the same documents of about 1 KiB on the built binary over HTTPS and on
// others, by turns. The ratios say how many times longer the other takes: wall-ratio by the clock of the
// client, server-ratio by those of the servers. PostgreSQL has the documents as JSONB under a GIN index, and is
// asked over a socket of the system without encryption.
func BenchmarkPeers(b *testing.B) {
	large := 100_000
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		large = 1_000_000
	}
	b.Run("cosmosdb-server", func(b *testing.B) {
		peer := startCosmosServer(b)
		against(b, 10_000, peer, func(ctx context.Context, count int) error { return peer.load(ctx, count, peer.one) })
	})
	b.Run("postgresql", func(b *testing.B) {
		peer := startPostgres(b)
		against(b, large, peer, peer.load)
	})
}

// against loads both servers, and measures each query on both.
func against(b *testing.B, count int, peer asker, load func(ctx context.Context, count int) error) {
	own := startOwn(b)
	for _, l := range []struct {
		name string
		f    func(ctx context.Context, count int) error
	}{{"latchkey", func(ctx context.Context, count int) error { return own.load(ctx, count, own.batch) }}, {"peer", load}} {
		began := time.Now()
		if err := l.f(b.Context(), count); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %d documents in %v", l.name, count, time.Since(began).Round(time.Millisecond))
	}
	for _, q := range peerQueries {
		b.Run(q.name, func(b *testing.B) {
			for range b.N {
				q.compare(b, count, [2]asker{own, peer})
			}
		})
	}
}

// compare asks both by turns, checks that they agree, and reports medians and their ratios.
func (q peerQuery) compare(b *testing.B, count int, askers [2]asker) {
	var wall, server [2]durations
	for i := range q.calls {
		var results [2][]string
		param := ""
		if q.param != nil {
			param = q.param((i*104_729 + 17) % count)
		}
		for turn := range askers {
			n := (i + turn) % 2 // who begins changes
			began := time.Now()
			a, err := askers[n].ask(b.Context(), q, param)
			if err != nil {
				b.Fatal(err)
			}
			wall[n] = append(wall[n], time.Since(began))
			server[n] = append(server[n], a.server)
			results[n] = identities(b, a.results)
		}
		if len(results[0]) != q.results || strings.Join(results[0], " ") != strings.Join(results[1], " ") {
			b.Fatalf("%s with %s: %d results, want %d\n%.500s\n%.500s", q.name, param, len(results[0]), q.results, results[0], results[1])
		}
	}
	own, other := wall[0].median(), wall[1].median()
	b.ReportMetric(float64(own.Microseconds()), "p50-µs")
	b.ReportMetric(float64(other.Microseconds()), "peer-p50-µs")
	b.ReportMetric(float64(other)/float64(own), "wall-ratio")
	ownServer, otherServer := server[0].median(), server[1].median()
	if otherServer == 0 {
		otherServer = other
	}
	ratio := float64(otherServer) / float64(ownServer)
	b.ReportMetric(float64(ownServer.Microseconds()), "server-p50-µs")
	b.ReportMetric(ratio, "server-ratio")
	b.ReportMetric(0, "ns/op")
	if _, isDocuments := askers[1].(*documentServer); isDocuments && ratio < q.goal {
		b.Logf("%s: %.1f times is below the goal of %.0f", q.name, ratio, q.goal)
	}
}

// identities are the ids of documents, and other results as they are.
func identities(b *testing.B, results [][]byte) (out []string) {
	for _, r := range results {
		var d struct{ ID string }
		if r[0] == '{' {
			if err := json.Unmarshal(r, &d); err != nil {
				b.Fatal(err)
			}
			r = []byte(d.ID)
		}
		out = append(out, string(r))
	}
	return out
}

// documentServer is a server with the document protocol.
type documentServer struct {
	client *http.Client
	base   string
	key    []byte
	took   func(http.Header) time.Duration
}

// startOwn starts the binary with its emulator endpoint.
func startOwn(b *testing.B) *documentServer {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "data")
	cmd, _ := start(b, dir, "--emulator", "--emulator-listen", "127.0.0.1:0")
	b.Cleanup(func() { stop(b, cmd) })
	var run struct {
		Addresses struct {
			Emulator string `json:"emulator"`
		} `json:"addresses"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err == nil {
		err = json.Unmarshal(raw, &run)
	}
	if err != nil {
		b.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return newDocumentServer(b, "https://"+run.Addresses.Emulator, &tls.Config{RootCAs: roots}, metricsTime)
}

func newDocumentServer(b *testing.B, base string, config *tls.Config, took func(http.Header) time.Duration) *documentServer {
	key, err := base64.StdEncoding.DecodeString(emulatorKey)
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 8}
	b.Cleanup(transport.CloseIdleConnections)
	return &documentServer{&http.Client{Transport: transport, Timeout: 5 * time.Minute}, base, key, took}
}

// metricsTime is the time of a query as its metrics tell.
func metricsTime(h http.Header) time.Duration {
	for part := range strings.SplitSeq(h.Get("x-ms-documentdb-query-metrics"), ";") {
		if text, ok := strings.CutPrefix(part, "totalExecutionTimeInMs="); ok {
			ms, _ := strconv.ParseFloat(text, 64)
			return time.Duration(ms * float64(time.Millisecond))
		}
	}
	return 0
}

// startCosmosServer starts the npm package @vercel/cosmosdb-server, which keeps its documents in memory. Its times are
// from when it has the request until it has the text of the answer.
func startCosmosServer(b *testing.B) *documentServer {
	b.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skipf("%s is not installed", tool)
		}
	}
	dir := b.TempDir()
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", dir, "@vercel/cosmosdb-server@1.0.1")
	if out, err := install.CombinedOutput(); err != nil {
		b.Skipf("the package cannot be installed: %v\n%s", err, out)
	}
	cmd := exec.Command("node", "-e", `
		const server = require("@vercel/cosmosdb-server").default({ keepAlive: true });
		server.prependListener("request", (req, res) => {
			const began = process.hrtime.bigint(), end = res.end;
			res.end = function (...args) {
				res.setHeader("x-took-ns", String(process.hrtime.bigint() - began));
				return end.apply(this, args);
			};
		});
		server.listen(0, "127.0.0.1", () => console.log(server.address().port));`)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var port int
	if _, err := fmt.Fscan(out, &port); err != nil {
		b.Fatalf("the server does not start: %v", err)
	}
	// Its certificate is of its package, and has expired.
	return newDocumentServer(b, fmt.Sprintf("https://127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true}, func(h http.Header) time.Duration {
		ns, _ := strconv.ParseInt(h.Get("x-took-ns"), 10, 64)
		return time.Duration(ns)
	})
}

// load makes a container, and its documents in groups of one partition.
func (s *documentServer) load(ctx context.Context, count int, write func(ctx context.Context, tenant int, docs [][]byte) error) error {
	if _, _, err := s.send(ctx, "/dbs", nil, []byte(`{"id":"d"}`)); err != nil {
		return err
	}
	if _, _, err := s.send(ctx, "/dbs/d/colls", nil, []byte(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}`)); err != nil {
		return err
	}
	for from := 0; from < count; from += 100_000 {
		for tenant := range 1000 {
			var docs [][]byte
			for n := from + tenant; n < min(count, from+100_000); n += 1000 {
				docs = append(docs, queryDocument(n))
			}
			if err := write(ctx, tenant, docs); err != nil {
				return err
			}
		}
	}
	return nil
}

func partitionKey(tenant int) map[string]string {
	return map[string]string{"x-ms-documentdb-partitionkey": fmt.Sprintf(`["tenant-%04d"]`, tenant)}
}

// batch writes documents of one partition as one commit.
func (s *documentServer) batch(ctx context.Context, tenant int, docs [][]byte) error {
	type operation struct {
		Type string          `json:"operationType"`
		Body json.RawMessage `json:"resourceBody"`
	}
	var list []operation
	for _, d := range docs {
		list = append(list, operation{"Create", d})
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	headers := partitionKey(tenant)
	headers["x-ms-cosmos-is-batch-request"], headers["x-ms-cosmos-batch-atomic"] = "true", "true"
	_, _, err = s.send(ctx, "/dbs/d/colls/c/docs", headers, body)
	return err
}

// one writes documents one by one.
func (s *documentServer) one(ctx context.Context, tenant int, docs [][]byte) error {
	for _, d := range docs {
		if _, _, err := s.send(ctx, "/dbs/d/colls/c/docs", partitionKey(tenant), d); err != nil {
			return err
		}
	}
	return nil
}

// ask runs a query to the end of its last page.
func (s *documentServer) ask(ctx context.Context, q peerQuery, param string) (a answer, err error) {
	type parameter struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
	}
	query := struct {
		Query      string      `json:"query"`
		Parameters []parameter `json:"parameters"`
	}{q.text, []parameter{}}
	if param != "" {
		query.Parameters = append(query.Parameters, parameter{"@p", json.RawMessage(param)})
	}
	body, err := json.Marshal(query)
	if err != nil {
		return a, err
	}
	headers := map[string]string{"x-ms-documentdb-isquery": "true", "Content-Type": "application/query+json", "x-ms-documentdb-query-enablecrosspartition": "true",
		"x-ms-max-item-count": "-1", "x-ms-documentdb-populatequerymetrics": "true"}
	for {
		got, raw, err := s.send(ctx, "/dbs/d/colls/c/docs", headers, body)
		if err != nil {
			return a, err
		}
		var page struct{ Documents []json.RawMessage }
		if err := json.Unmarshal(raw, &page); err != nil {
			return a, err
		}
		for _, d := range page.Documents {
			a.results = append(a.results, d)
		}
		a.server += s.took(got)
		if headers["x-ms-continuation"] = got.Get("x-ms-continuation"); headers["x-ms-continuation"] == "" {
			return a, nil
		}
	}
}

// send posts to a feed of resources and signs with the account's key.
func (s *documentServer) send(ctx context.Context, path string, headers map[string]string, body []byte) (http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	date := strings.ToLower(time.Now().UTC().Format(http.TimeFormat))
	mac := hmac.New(sha256.New, s.key)
	fmt.Fprintf(mac, "post\n%s\n%s\n%s\n\n", parts[len(parts)-1], strings.Join(parts[:len(parts)-1], "/"), date)
	r.Header.Set("Authorization", url.QueryEscape("type=master&ver=1.0&sig="+base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	r.Header.Set("x-ms-date", date)
	r.Header.Set("x-ms-version", "2018-12-31")
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode > 201 {
		err = fmt.Errorf("POST %s: %s %.500s", path, resp.Status, raw)
	}
	return resp.Header, raw, err
}
