package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"golang.org/x/sync/errgroup"
)

// The names of the demo's database and container. They are random, so that the search of the disk
// may look for them too.
type names struct{ Database, Container string }

// document is one document of the demo. Marker is random and stands nowhere else.
type document struct {
	ID     string `json:"id"`
	City   string `json:"city"`
	Marker string `json:"marker"`
}

// writers is how many documents are on their way at once.
const writers = 16

func newNames() names {
	return names{Database: "db-" + marker(), Container: "coll-" + marker()}
}

func marker() string {
	b := make([]byte, 12)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func newDocuments(n int) []document {
	docs := make([]document, n)
	for i := range docs {
		docs[i] = document{ID: "id-" + marker(), City: "city-" + marker(), Marker: marker()}
	}
	return docs
}

// Cosmos opens an account's data plane with a master key.
func Cosmos(c *http.Client, account, key string) (*azcosmos.Client, error) {
	cred, err := azcosmos.NewKeyCredential(key)
	if err != nil {
		return nil, err
	}
	o := &azcosmos.ClientOptions{}
	o.Transport = c
	o.Retry.MaxRetries = -1
	return azcosmos.NewClientWithKey("https://"+account+".documents.azure.com:443/", cred, o)
}

func makeContainer(ctx context.Context, c *azcosmos.Client, n names) (*azcosmos.ContainerClient, error) {
	if _, err := c.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: n.Database}, nil); err != nil {
		return nil, err
	}
	db, err := c.NewDatabase(n.Database)
	if err != nil {
		return nil, err
	}
	if _, err := db.CreateContainer(ctx, azcosmos.ContainerProperties{
		ID:                     n.Container,
		PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/city"}},
	}, nil); err != nil {
		return nil, err
	}
	return c.NewContainer(n.Database, n.Container)
}

func each(ctx context.Context, docs []document, f func(context.Context, document) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for _, d := range docs {
		g.Go(func() error { return f(ctx, d) })
	}
	return g.Wait()
}

func writeDocuments(ctx context.Context, c *azcosmos.ContainerClient, docs []document) error {
	return each(ctx, docs, func(ctx context.Context, d document) error {
		raw, err := json.Marshal(d)
		if err != nil {
			return err
		}
		_, err = c.CreateItem(ctx, azcosmos.NewPartitionKeyString(d.City), raw, nil)
		return err
	})
}

// compareDocuments reads every document and compares it with what was written.
func compareDocuments(ctx context.Context, c *azcosmos.ContainerClient, docs []document) error {
	return each(ctx, docs, func(ctx context.Context, d document) error {
		item, err := c.ReadItem(ctx, azcosmos.NewPartitionKeyString(d.City), d.ID, nil)
		if err != nil {
			return err
		}
		var got document
		if err := json.NewDecoder(bytes.NewReader(item.Value)).Decode(&got); err != nil {
			return err
		}
		if got != d {
			return fmt.Errorf("document %s came back different", d.ID)
		}
		return nil
	})
}

// refusal is the data plane's answer while the key is denied.
type refusal struct {
	Status    int
	Substatus string
	Text      string
}

// readOne tries to read one document; refused is nil when it was served.
func readOne(ctx context.Context, c *azcosmos.ContainerClient, d document) (refused *refusal, err error) {
	_, err = c.ReadItem(ctx, azcosmos.NewPartitionKeyString(d.City), d.ID, nil)
	var re *azcore.ResponseError
	if errors.As(err, &re) && re.StatusCode == http.StatusForbidden {
		return &refusal{Status: re.StatusCode, Substatus: re.RawResponse.Header.Get("x-ms-substatus"), Text: re.ErrorCode}, nil
	}
	return nil, err
}
