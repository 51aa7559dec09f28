package cosmos_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// TestSeveralRanges: a container of three partition key ranges looks to the official client as one of one,
// and tells other clients how to put the parts of a query together.
func TestSeveralRanges(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container()
	db := must(w.client().NewDatabase("d"))
	must(db.CreateContainer(ctx, azcosmos.ContainerProperties{ID: "wide", PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/pk"}, Version: 2}},
		&azcosmos.CreateContainerOptions{ThroughputProperties: to.Ptr(azcosmos.NewManualThroughputProperties(25_000))}))
	c := must(db.NewContainer("wide"))
	ranges := must(c.ReadFeedRanges(ctx, nil))
	if len(ranges) != 3 {
		t.Fatalf("%d ranges", len(ranges))
	}
	sessions := map[string]bool{}
	for i := range 60 {
		pk := fmt.Sprint("p", i)
		r := must(c.CreateItem(ctx, azcosmos.NewPartitionKeyString(pk), fmt.Appendf(nil, `{"id":"%02d","pk":%q}`, i, pk), nil))
		id, _, _ := strings.Cut(*r.SessionToken, ":")
		sessions[id] = true
	}
	if len(sessions) != 3 {
		t.Errorf("items in %d ranges", len(sessions))
	}
	var ordered []string
	for pager := c.NewQueryItemsPager("SELECT VALUE c.id FROM c ORDER BY c.id", azcosmos.NewPartitionKey(), &azcosmos.QueryOptions{PageSizeHint: 7}); pager.More(); {
		for _, item := range must(pager.NextPage(ctx)).Items {
			ordered = append(ordered, strings.Trim(string(item), `"`))
		}
	}
	if len(ordered) != 60 || ordered[0] != "00" || ordered[59] != "59" {
		t.Errorf("%v", ordered)
	}
	changed := 0
	for _, r := range ranges {
		changed += len(must(c.ReadChangeFeed(ctx, &azcosmos.ChangeFeedOptions{FeedRange: &r, MaxItemCount: 100})).Items)
	}
	if changed != 60 {
		t.Errorf("%d changes in all ranges", changed)
	}
	plan := func(query string) answer {
		body, err := json.Marshal(map[string]string{"query": query})
		if err != nil {
			t.Fatal(err)
		}
		return w.do("POST", "/dbs/d/colls/wide/docs", "docs dbs/d/colls/wide", string(body), map[string]string{"x-ms-cosmos-is-query-plan-request": "True"})
	}
	if a := plan("SELECT * FROM c WHERE c.pk = 'p1'"); a.status != http.StatusOK || !strings.Contains(a.body, `"isMaxInclusive":true`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := plan("SELECT MIN(c.n) / 2 FROM c"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "Compositions of aggregates") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestIndexMetrics: a query tells which indexes serve it, and which ones would.
func TestIndexMetrics(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/dbs", "dbs ", `{"id":"d"}`, nil)
	w.do("POST", "/dbs/d/colls", "colls dbs/d", `{"id":"c","partitionKey":{"paths":["/pk"],"kind":"Hash","version":2},"indexingPolicy":{"includedPaths":[{"path":"/*"}],"excludedPaths":[{"path":"/b/?"}]}}`, nil)
	ask := func(header, query string) string {
		body, err := json.Marshal(map[string]string{"query": query})
		if err != nil {
			t.Fatal(err)
		}
		a := w.do("POST", "/dbs/d/colls/c/docs", "docs dbs/d/colls/c", string(body),
			map[string]string{header: "True", "x-ms-documentdb-isquery": "True", "x-ms-documentdb-query-enablecrosspartition": "True"})
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a.header.Get("x-ms-cosmos-index-utilization")
	}
	v2, err := url.PathUnescape(ask("x-ms-cosmos-populateindexmetrics-V2", `SELECT * FROM c WHERE c.a = 1 AND c.n > 2 AND c.b = 3`))
	const want = `{"Potential":{"SingleIndexes":[{"FilterExpression":"","IndexSpec":"/b/?","FilterPreciseSet":true,"IndexPreciseSet":true,"IndexImpactScore":"High"}],"CompositeIndexes":[{"IndexSpecs":["/a ASC","/b ASC","/n ASC"],"IndexPreciseSet":true,"IndexImpactScore":"High"}]},` +
		`"Utilized":{"SingleIndexes":[{"FilterExpression":"","IndexSpec":"/a/?","FilterPreciseSet":true,"IndexPreciseSet":true,"IndexImpactScore":"High"},{"FilterExpression":"","IndexSpec":"/n/?","FilterPreciseSet":true,"IndexPreciseSet":true,"IndexImpactScore":"High"}],"CompositeIndexes":[]}}`
	if err != nil || v2 != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, v2, want)
	}
	v1, err := base64.StdEncoding.DecodeString(ask("x-ms-cosmos-populateindexmetrics", `SELECT * FROM c ORDER BY c.a`))
	if err != nil || !strings.Contains(string(v1), `"UtilizedSingleIndexes":[{"FilterExpression":"","IndexSpec":"/a/?"`) {
		t.Errorf("%v %s", err, v1)
	}
}
