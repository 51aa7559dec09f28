package docdb_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// tokenQueries are queries with all kinds of continuation tokens.
var tokenQueries = []string{
	`SELECT VALUE c.id FROM c`, `SELECT VALUE c.id FROM c WHERE c.a >= 0`, `SELECT VALUE c.id FROM c ORDER BY c.a`, `SELECT VALUE c.id FROM c ORDER BY c.a DESC`,
	`SELECT VALUE c.id FROM c WHERE c.a > 0 ORDER BY c.a`, `SELECT VALUE c.id FROM c WHERE c.a >= "" ORDER BY c.a DESC`, `SELECT VALUE c.id FROM c ORDER BY c.a, c.b DESC`,
	`SELECT VALUE c.id FROM c ORDER BY c.a DESC, c.b`, `SELECT VALUE c.id FROM c ORDER BY c._ts DESC`, `SELECT DISTINCT VALUE c.a FROM c ORDER BY c.a`, `SELECT VALUE t FROM c JOIN t IN c.tags`,
	`SELECT VALUE c.id FROM c ORDER BY c.a OFFSET 3 LIMIT 20`, `SELECT c.a, COUNT(1) AS n FROM c GROUP BY c.a`, `SELECT VALUE c.id FROM c WHERE IS_DEFINED(c.a) ORDER BY c.o.x`,
}

// tokenWorld is a container with documents whose values are of all types and whose terms look alike.
func tokenWorld(f *testing.F) (*world, docdb.ContainerPath) {
	f.Helper()
	w, d := newWorld(f), dice(1)
	path := w.container(`{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"indexingPolicy":{"includedPaths":[{"path":"/*"}],
		"compositeIndexes":[[{"path":"/a"},{"path":"/b","order":"descending"}]]}}`)
	for n := range 40 {
		doc := d.document(fmt.Sprint(n))
		if _, err := w.CreateItem(context.Background(), key, at(path, fmt.Sprintf(`[%q]`, doc["pk"])), mustMarshal(doc)); err != nil {
			f.Fatal(err)
		}
	}
	return w, path
}

// token is what a token is made of.
func token(text string) string {
	b, _ := base64.URLEncoding.DecodeString(text)
	return string(b)
}

// FuzzQueryToken: a token that nobody was given is refused; and one that is sealed right but says anything, as
// after a change of what is stored, ends a query in good time with documents of the container, or is refused.
func FuzzQueryToken(f *testing.F) {
	w, path := tokenWorld(f)
	f.Cleanup(docdb.BoundIndex(0, 1<<17, 2048, 4096))
	ctx := context.Background()
	whole, given := map[string][]string{}, map[string]bool{}
	for n, text := range tokenQueries {
		q, query := docdb.FeedRequest{Path: path, MaxItems: 3}, docdb.Query{Text: text}
		all, _, _ := strings.Cut(text, " OFFSET") // a place in an order says nothing of the results before it
		whole[text], _ = w.run(docdb.FeedRequest{Path: path, MaxItems: -1}, docdb.Query{Text: all})
		f.Add(byte(n), "x", []byte{})
		for {
			page, err := w.Query(ctx, key, q, query)
			if err != nil {
				f.Fatal(err)
			}
			if q.Continuation = page.Continuation; q.Continuation == "" {
				break
			}
			plain, err := w.OpenContinuation(ctx, key, q, query)
			if err != nil {
				f.Fatal(err)
			}
			given[text+token(q.Continuation)] = true
			f.Add(byte(n), "", plain)
			f.Add(byte(n+1), q.Continuation, plain)
		}
	}
	f.Fuzz(func(t *testing.T, n byte, made string, plain []byte) {
		text := tokenQueries[int(n)%len(tokenQueries)]
		q, query := docdb.FeedRequest{Path: path, MaxItems: 3, Continuation: made}, docdb.Query{Text: text}
		if made != "" {
			if _, err := w.Query(ctx, key, q, query); err != nil || !given[text+token(made)] {
				wantFault(t, err, fault.Invalid, "InvalidContinuation")
			}
			return
		}
		var err error
		if q.Continuation, err = w.SealContinuation(ctx, key, q, query, plain); err != nil {
			t.Fatal(err)
		}
		for range 2 * (2 + len(whole[text])/3) {
			page, err := w.Query(ctx, key, q, query)
			if err != nil {
				wantFault(t, err, fault.Invalid, "InvalidContinuation")
				return
			}
			for _, i := range page.Items {
				if !slices.Contains(whole[text], string(i)) && !strings.Contains(text, "GROUP") { // a group of the documents behind a place
					t.Fatalf("%s with %x gives %s", text, plain, i)
				}
			}
			if q.Continuation = page.Continuation; q.Continuation == "" {
				return
			}
		}
		t.Fatalf("%s with %x does not end", text, plain)
	})
}
