package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// documents is a document service over one sealed store on disk, without a network.
type documents struct {
	*docdb.Service
	db *store.Store
}

var benchCaller = principal.Caller{Door: principal.AccountKey, Account: "bench"}

func newDocuments(b *testing.B) *documents {
	b.Helper()
	db, err := store.Open(filepath.Join(b.TempDir(), "db"), store.Options{FS: sealedFS(b), CacheBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	d := &documents{db: db}
	d.Service = docdb.New(docdb.Config{Stores: d, Authorizer: d, Audit: d, Now: time.Now})
	if _, err := d.CreateDatabase(b.Context(), benchCaller, "bench", docdb.DatabaseSpec{ID: "d"}); err != nil {
		b.Fatal(err)
	}
	return d
}

func (d *documents) Acquire(context.Context, string) (*store.Store, func(), error) {
	return d.db, func() {}, nil
}

func (d *documents) AuthorizeDocuments(context.Context, principal.Caller, string, string, string) error {
	return nil
}

func (d *documents) Record(context.Context, audit.Event) error { return nil }

// container makes a container with an indexing policy; "" for the default one.
func (d *documents) container(b *testing.B, name, policy string) docdb.ContainerPath {
	b.Helper()
	properties := `{"id":"` + name + `","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}`
	if policy != "" {
		properties += `,"indexingPolicy":` + policy
	}
	if _, err := d.CreateContainer(b.Context(), benchCaller, "bench", "d", docdb.ContainerSpec{Properties: []byte(properties + "}")}); err != nil {
		b.Fatal(err)
	}
	return docdb.ContainerPath{Account: "bench", Database: "d", Container: name}
}

// filler is text that no other document has; documents have about 1 KiB.
func filler(n int) string {
	const words = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore "
	return strings.Repeat(words, 8)[n%90:][:600]
}

// queryDocument is a document as applications have them: a dozen of values of about 1 KiB.
func queryDocument(n int) []byte {
	return fmt.Appendf(nil, `{"id":"item-%07d","pk":"tenant-%04d","number":%d,"email":"user%d@example.com","kind":"k%d","price":%d.25,"active":%t,"city":"City %d",`+
		`"address":{"street":"Street %d","zip":"%05d","country":"C%d"},"tags":["t%d","t%d","t%d"],"text":%q}`,
		n, n%1000, n*7919%1_000_003, n, n%10, n%5000, n%2 == 0, n%300, n%9000, n%99999, n%40, n%17, n%19, n%23, filler(n))
}

// load fills a container, a hundred documents of one partition a commit.
func (d *documents) load(b *testing.B, path docdb.ContainerPath, count int) {
	b.Helper()
	for from := 0; from < count; from += 100_000 {
		for tenant := range 1000 {
			var ops []docdb.BatchOperation
			for n := from + tenant; n < min(count, from+100_000); n += 1000 {
				ops = append(ops, docdb.BatchOperation{Kind: docdb.OpCreate, Body: queryDocument(n)})
			}
			if len(ops) == 0 {
				continue
			}
			if _, _, err := d.Batch(b.Context(), benchCaller, d.item(b, path, tenant), ops); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func (d *documents) item(b *testing.B, path docdb.ContainerPath, tenant int) docdb.ItemRequest {
	k, err := docdb.ParsePartitionKey(fmt.Sprintf(`["tenant-%04d"]`, tenant%1000))
	if err != nil {
		b.Fatal(err)
	}
	return docdb.ItemRequest{Path: path, PartitionKey: &k}
}

// queryOnce runs one query to the end of its first page.
func (d *documents) queryOnce(b *testing.B, path docdb.ContainerPath, text string, params ...string) docdb.Page {
	b.Helper()
	q := docdb.Query{Text: text, Parameters: map[string]json.RawMessage{}}
	for i := 0; i+1 < len(params); i += 2 {
		q.Parameters[params[i]] = []byte(params[i+1])
	}
	page, err := d.Query(b.Context(), benchCaller, docdb.FeedRequest{Path: path}, q)
	if err != nil {
		b.Fatal(err)
	}
	return page
}

// half is the median time of a number of calls.
func half(calls int, f func(i int)) time.Duration {
	times := make([]time.Duration, calls)
	for i := range times {
		start := time.Now()
		f(i)
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[calls/2]
}

// BenchmarkQuery measures queries over documents of about 1 KiB against point reads of them, all in this process: 100,000 of
// them, or with LATCHKEY_TORTURE=1 a million.
func BenchmarkQuery(b *testing.B) {
	count := 100_000
	if os.Getenv("LATCHKEY_TORTURE") != "" {
		count = 1_000_000
	}
	d := newDocuments(b)
	path := d.container(b, "c", "")
	start := time.Now()
	d.load(b, path, count)
	b.Logf("%d documents in %v", count, time.Since(start))
	if err := d.db.Flush(); err != nil {
		b.Fatal(err)
	}
	pick := func(i int) int { return (i*104_729 + 17) % count }
	read := half(2000, func(i int) {
		n := pick(i)
		if _, err := d.ReadItem(b.Context(), benchCaller, d.item(b, path, n), fmt.Sprintf("item-%07d", n)); err != nil {
			b.Fatal(err)
		}
	})
	b.Logf("point read: %v", read)
	for _, q := range []struct {
		name, text string
		calls      int
		params     func(i int) []string
		results    int
	}{
		{"equality", `SELECT * FROM c WHERE c.email = @e`, 1000, func(i int) []string { return []string{"@e", fmt.Sprintf(`"user%d@example.com"`, pick(i))} }, 1},
		{"two-equalities", `SELECT * FROM c WHERE c.city = @c AND c.number = @n`, 500, func(i int) []string {
			n := pick(i)
			return []string{"@c", fmt.Sprintf(`"City %d"`, n%300), "@n", strconv.Itoa(n * 7919 % 1_000_003)}
		}, 1},
		{"range", `SELECT * FROM c WHERE c.number >= @n AND c.number < @m`, 500, func(i int) []string {
			return []string{"@n", strconv.Itoa(pick(i)), "@m", strconv.Itoa(pick(i) + 1_000_003*10/count)}
		}, -1},
		{"order-limit", `SELECT * FROM c ORDER BY c.number OFFSET 0 LIMIT 10`, 500, func(int) []string { return nil }, 10},
		{"order-desc-filter", `SELECT * FROM c WHERE c.active = true ORDER BY c._ts DESC OFFSET 0 LIMIT 10`, 100, func(int) []string { return nil }, 10},
		{"array", `SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.tags, "t3") AND c.email = @e`, 500, func(i int) []string { return []string{"@e", fmt.Sprintf(`"user%d@example.com"`, pick(i))} }, -1},
		{"count-indexed", `SELECT VALUE COUNT(1) FROM c WHERE c.kind = "k3"`, 3, func(int) []string { return nil }, 1},
		{"count-all", `SELECT VALUE COUNT(1) FROM c`, 3, func(int) []string { return nil }, 1},
		{"scan", `SELECT VALUE COUNT(1) FROM c WHERE CONTAINS(c.text, "no such words")`, 2, func(int) []string { return nil }, 1},
		{"group", `SELECT c.kind, COUNT(1) AS n FROM c GROUP BY c.kind`, 2, func(int) []string { return nil }, 10},
	} {
		b.Run(q.name, func(b *testing.B) {
			for range b.N {
				var bytes, documents int
				took := half(q.calls, func(i int) {
					page := d.queryOnce(b, path, q.text, q.params(i)...)
					if q.results >= 0 && len(page.Items) != q.results {
						b.Fatalf("%d results, want %d", len(page.Items), q.results)
					}
					bytes, documents = page.RetrievedBytes, page.Retrieved
				})
				b.ReportMetric(float64(took.Microseconds()), "p50-µs")
				b.ReportMetric(float64(took)/float64(read), "point-reads")
				b.ReportMetric(float64(bytes)/took.Seconds()/1e6, "MB/s")
				b.ReportMetric(float64(documents), "documents-read")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkIndexedWrites measures writes under the default indexing policy against writes without an index,
// by turns.
func BenchmarkIndexedWrites(b *testing.B) {
	d := newDocuments(b)
	paths := [2]docdb.ContainerPath{d.container(b, "none", `{"indexingMode":"none","automatic":false}`), d.container(b, "all", "")}
	next := [2]int{}
	for range b.N {
		var ratios []float64
		for round := range 9 {
			var rate [2]float64
			for turn := range 2 {
				i := (round + turn) % 2
				start, n := time.Now(), 0
				for ; time.Since(start) < 500*time.Millisecond; n++ {
					tenant := next[i] % 1000
					var ops []docdb.BatchOperation
					for k := range 20 {
						ops = append(ops, docdb.BatchOperation{Kind: docdb.OpCreate, Body: queryDocument(tenant + 1000*(20*(next[i]/1000)+k))})
					}
					if _, _, err := d.Batch(b.Context(), benchCaller, d.item(b, paths[i], tenant), ops); err != nil {
						b.Fatal(err)
					}
					next[i]++
				}
				rate[i] = float64(n) / time.Since(start).Seconds()
			}
			ratios = append(ratios, rate[1]/rate[0])
		}
		b.ReportMetric(median(ratios), "ratio")
		b.ReportMetric(0, "ns/op")
	}
}
