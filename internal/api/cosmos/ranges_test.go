package cosmos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// TestSeveralRanges: a container of three partition key ranges looks to the official client as one of one;
// what would have other clients put together a wrong answer is refused.
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
