package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// crossQuery is a query whose answer must not depend on the number of partitions.
type crossQuery struct {
	Query   string
	Ordered bool
	Only    []string // members to compare: documents of two containers differ in what the system adds
	// Not are the clients that do not get the answer, whatever the server does, with the reason.
	Not map[string]string
}

// TestQueriesAcrossPartitions runs queries over a container of eight partition key ranges with the clients for Go,
// JavaScript, Python and Java, as they are and by their plans, and compares the answers with those of a container
// that has one range and the same documents.
func TestQueriesAcrossPartitions(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "queries.json"))
	if err != nil {
		t.Fatal(err)
	}
	var queries []crossQuery
	if err := json.Unmarshal(raw, &queries); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "--emulator")
	client := s.emulatorClient()
	one, eight := crossContainer(t, client, "one", 400), crossContainer(t, client, "eight", 80_000)
	ranges, err := eight.ReadFeedRanges(t.Context(), nil)
	if err != nil || len(ranges) != 8 {
		t.Fatalf("%d ranges, %v", len(ranges), err)
	}
	want := map[string][]string{}
	for _, q := range queries {
		want[q.Query] = q.normal(t, goResults(t, one, q.Query, 1000))
		for _, size := range []int32{3, 100} {
			q.compare(t, fmt.Sprintf("go, pages of %d", size), goResults(t, eight, q.Query, size), want[q.Query])
		}
	}
	file, err := filepath.Abs(filepath.Join("testdata", "queries.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]func(t *testing.T) []string{
		"javascript": func(t *testing.T) []string { return []string{"node", filepath.Join(nodeModules(t), "queries.mjs")} },
		"python": func(t *testing.T) []string {
			return []string{pythonWith(t, "azure.cosmos"), filepath.Join("python", "queries.py")}
		},
		"java": func(t *testing.T) []string {
			return append(append([]string{"java"}, javaProgram(t, s, "java")...), "Queries")
		},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(command(t), file, "one", "eight")
			ca := filepath.Join(s.dir, "ca.pem")
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = append(os.Environ(), "ENDPOINT=https://"+s.run.Addresses.Emulator+"/", "KEY="+emulatorKey, "NODE_EXTRA_CA_CERTS="+ca, "CA="+ca)
			compareLines(t, name, cmd, queries, want)
		})
	}
}

// compareLines runs a client and compares each line that it prints.
func compareLines(t *testing.T, client string, cmd *exec.Cmd, queries []crossQuery, want map[string][]string) {
	t.Helper()
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errors.String())
	}
	seen := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var answer struct {
			Query, How, Error string
			Results           []json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			continue // what a client logs
		}
		seen[answer.Query] = true
		q := queries[slices.IndexFunc(queries, func(q crossQuery) bool { return q.Query == answer.Query })]
		switch reason := q.Not[client]; {
		case reason != "" && answer.Error == "" && slices.Equal(q.normal(t, answer.Results), want[q.Query]):
			t.Errorf("%s (%s) is answered: it is no exception any more (%s)", q.Query, answer.How, reason)
		case reason != "":
		case answer.Error != "":
			t.Errorf("%s (%s): %s", q.Query, answer.How, answer.Error)
		default:
			q.compare(t, answer.How, answer.Results, want[q.Query])
		}
	}
	if len(seen) != len(queries) {
		t.Errorf("%d of %d queries were run\n%s", len(seen), len(queries), errors.String())
	}
}

func (q crossQuery) compare(t *testing.T, how string, results []json.RawMessage, want []string) {
	t.Helper()
	if got := q.normal(t, results); !slices.Equal(got, want) {
		t.Errorf("%s (%s)\n got  %.1500v\n want %.1500v", q.Query, how, got, want)
	}
}

// normal writes results so that equal ones are equal texts, in a normal order when they have none.
func (q crossQuery) normal(t *testing.T, results []json.RawMessage) []string {
	t.Helper()
	out := []string{}
	for _, r := range results {
		var v any
		if err := json.Unmarshal(r, &v); err != nil {
			t.Fatal(err)
		}
		if o, ok := v.(map[string]any); ok && q.Only != nil {
			kept := map[string]any{}
			for _, name := range q.Only {
				kept[name] = o[name]
			}
			v = kept
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	if !q.Ordered {
		slices.Sort(out)
	}
	return out
}

func goResults(t *testing.T, c *azcosmos.ContainerClient, query string, size int32) (out []json.RawMessage) {
	t.Helper()
	for pager := c.NewQueryItemsPager(query, azcosmos.NewPartitionKey(), &azcosmos.QueryOptions{PageSizeHint: size}); pager.More(); {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		for _, i := range page.Items {
			out = append(out, i)
		}
	}
	return out
}

// emulatorClient is the client for Go of the emulator's account.
func (s *server) emulatorClient() *azcosmos.Client {
	s.t.Helper()
	cred, err := azcosmos.NewKeyCredential(emulatorKey)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := azcosmos.NewClientWithKey("https://"+s.run.Addresses.Emulator+"/", cred, &azcosmos.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: s.client()}})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// crossContainer makes a container with 120 documents of all kinds.
func crossContainer(t *testing.T, client *azcosmos.Client, name string, throughput int32) *azcosmos.ContainerClient {
	t.Helper()
	ctx := t.Context()
	if _, err := client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "d"}, nil); err != nil && !strings.Contains(err.Error(), "409") {
		t.Fatal(err)
	}
	db, err := client.NewDatabase("d")
	if err != nil {
		t.Fatal(err)
	}
	manual := azcosmos.NewManualThroughputProperties(throughput)
	composite := func(order azcosmos.CompositeIndexOrder) []azcosmos.CompositeIndex {
		other := azcosmos.CompositeIndexDescending
		return []azcosmos.CompositeIndex{{Path: "/kind", Order: order}, {Path: "/n", Order: other}}
	}
	_, err = db.CreateContainer(ctx, azcosmos.ContainerProperties{
		ID: name, PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/pk"}, Version: 2},
		IndexingPolicy: &azcosmos.IndexingPolicy{Automatic: true, IndexingMode: azcosmos.IndexingModeConsistent,
			IncludedPaths: []azcosmos.IncludedPath{{Path: "/*"}}, CompositeIndexes: [][]azcosmos.CompositeIndex{composite(azcosmos.CompositeIndexAscending)}},
	}, &azcosmos.CreateContainerOptions{ThroughputProperties: &manual})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewContainer("d", name)
	if err != nil {
		t.Fatal(err)
	}
	mixed := []string{`null`, `true`, `false`, `7`, `-1.5`, `"text"`, `"Text"`, `12`}
	for i := range 120 {
		pk := fmt.Sprintf("p%d", i%17)
		doc := fmt.Sprintf(`{"id":"%03d","pk":%q,"n":%d,"kind":%q,"flag":%t,"tags":["x","t%d"]`, i, pk, (i*37)%120, string(rune('a'+i%5)), i%3 == 0, i%4)
		if i%9 < len(mixed) {
			doc += `,"mixed":` + mixed[i%9]
		}
		if _, err := c.CreateItem(ctx, azcosmos.NewPartitionKeyString(pk), []byte(doc+"}"), nil); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
