package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/cosmos/armcosmos/v3"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// bound is how soon a revocation must bite and a return must show.
const bound = 2 * time.Second

// scenario is the tutorial's world on one server, made with the Go SDK.
type scenario struct {
	*server
	http      *http.Client
	op        *demo.SDK
	principal string // object id of the database's service principal
	keyURI    string
}

// tutorial starts a server and plays the tutorial up to the point where the account has its key.
func tutorial(t *testing.T, args ...string) *scenario {
	t.Helper()
	s := prepared(t, args...)
	ctx := t.Context()
	steps := []func() error{
		func() error { return s.op.Grant(ctx, s.principal) },
		func() error { return s.op.CreateKey(ctx) },
		func() error { return s.op.PointAccount(ctx, s.keyURI) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	return s
}

// prepared starts a server and makes group, vault and account.
func prepared(t *testing.T, args ...string) *scenario {
	t.Helper()
	s := &scenario{server: startServer(t, args...)}
	s.connect()
	ctx := t.Context()
	for i, step := range []func(context.Context) error{s.op.CreateGroup, s.op.CreateVault, s.op.CreateAccount} {
		if err := step(ctx); err != nil {
			t.Fatalf("preparation %d: %v", i, err)
		}
	}
	var err error
	if s.principal, err = s.op.FindDatabase(ctx); err != nil {
		t.Fatal(err)
	}
	vault, err := s.op.VaultURI(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.keyURI = vault + "keys/" + demo.Key
	return s
}

// connect makes the clients anew; the addresses change when a server starts again.
func (s *scenario) connect() {
	s.http = s.client()
	a := s.admin()
	s.op = &demo.SDK{HTTP: s.http, Credential: s.credential(s.http), Subscription: a.SubscriptionID, Tenant: a.TenantID}
}

// restart stops the server, with or without grace, and starts it again.
func (s *scenario) restart(end func()) {
	s.t.Helper()
	end()
	s.start()
	s.connect()
}

type doc struct {
	ID   string `json:"id"`
	City string `json:"city"`
	Text string `json:"text"`
}

func (s *scenario) masterKey() string {
	s.t.Helper()
	key, err := s.op.MasterKey(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// cosmos opens the account's data plane.
func (s *scenario) cosmos() *azcosmos.Client {
	s.t.Helper()
	c, err := demo.Cosmos(s.http, demo.Account, s.masterKey())
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// newContainer makes a database and a container partitioned by /city.
func (s *scenario) newContainer(database, name string) *azcosmos.ContainerClient {
	s.t.Helper()
	c := s.cosmos()
	if _, err := c.CreateDatabase(s.t.Context(), azcosmos.DatabaseProperties{ID: database}, nil); err != nil {
		s.t.Fatal(err)
	}
	db, err := c.NewDatabase(database)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := db.CreateContainer(s.t.Context(), azcosmos.ContainerProperties{
		ID: name, PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/city"}},
	}, nil); err != nil {
		s.t.Fatal(err)
	}
	return s.container(database, name)
}

func (s *scenario) container(database, name string) *azcosmos.ContainerClient {
	s.t.Helper()
	c, err := s.cosmos().NewContainer(database, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func someDocs(n int) []doc {
	docs := make([]doc, n)
	for i := range docs {
		docs[i] = doc{ID: fmt.Sprintf("doc-%04d", i), City: fmt.Sprintf("city-%d", i%7), Text: strings.Repeat(fmt.Sprint(i), 50)}
	}
	return docs
}

func put(ctx context.Context, c *azcosmos.ContainerClient, d doc) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = c.UpsertItem(ctx, azcosmos.NewPartitionKeyString(d.City), raw, nil)
	return err
}

func get(ctx context.Context, c *azcosmos.ContainerClient, want doc) error {
	item, err := c.ReadItem(ctx, azcosmos.NewPartitionKeyString(want.City), want.ID, nil)
	if err != nil {
		return err
	}
	var got doc
	if err := json.Unmarshal(item.Value, &got); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("document %s came back as %+v", want.ID, got)
	}
	return nil
}

func (s *scenario) putAll(c *azcosmos.ContainerClient, docs []doc) {
	s.t.Helper()
	for _, d := range docs {
		if err := put(s.t.Context(), c, d); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *scenario) compareAll(c *azcosmos.ContainerClient, docs []doc) {
	s.t.Helper()
	for _, d := range docs {
		if err := get(s.t.Context(), c, d); err != nil {
			s.t.Fatal(err)
		}
	}
}

// refusedWith returns nil when err is a 403 with the sub-status.
func refusedWith(err error, substatus string) error {
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		return fmt.Errorf("not a refusal: %v", err)
	}
	if got := re.RawResponse.Header.Get("x-ms-substatus"); re.StatusCode != http.StatusForbidden || got != substatus {
		return fmt.Errorf("got %d/%s, want 403/%s", re.StatusCode, got, substatus)
	}
	return nil
}

// waitRevoked waits until a read answers 403 with the sub-status.
func (s *scenario) waitRevoked(c *azcosmos.ContainerClient, d doc, substatus string) {
	s.t.Helper()
	s.waitFor("403/"+substatus, bound, func() error { return refusedWith(get(s.t.Context(), c, d), substatus) })
}

func (s *scenario) waitServed(c *azcosmos.ContainerClient, d doc) {
	s.t.Helper()
	s.waitFor("the data to be back", bound, func() error { return get(s.t.Context(), c, d) })
}

func (s *scenario) status() demo.Status {
	s.t.Helper()
	st, err := s.op.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func identity(kind string) armcosmos.DatabaseAccountUpdateParameters {
	t := armcosmos.ResourceIdentityType(kind)
	return armcosmos.DatabaseAccountUpdateParameters{Identity: &armcosmos.ManagedServiceIdentity{Type: &t}}
}

func ptr[T any](v T) *T { return &v }
