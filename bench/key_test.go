package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/demo"
	"github.com/latchkey-db/latchkey/internal/envelope"
	"github.com/latchkey-db/latchkey/internal/kek"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/latchkeytest"
)

// operator has a vault and a key in a fresh server.
func operator(b *testing.B) (*latchkey.Server, *demo.SDK) {
	b.Helper()
	srv := latchkeytest.Start(b)
	admin := srv.Administrator()
	o := &demo.SDK{HTTP: srv.HTTPClient(), Credential: latchkeytest.Credential(b, srv), Subscription: admin.SubscriptionID, Tenant: admin.TenantID}
	steps(b, o.CreateGroup, o.CreateVault, o.CreateKey)
	return srv, o
}

func steps(b *testing.B, all ...func(context.Context) error) {
	b.Helper()
	for i, f := range all {
		if err := f(context.Background()); err != nil {
			b.Fatalf("step %d: %v", i+1, err)
		}
	}
}

const keyURI = "https://" + demo.Vault + ".vault.azure.net/keys/" + demo.Key

// revocations is how often a key is taken away and given back.
const revocations = 50

// BenchmarkRevocation measures, with real clients over HTTPS, the time from the moment at which the
// vault's "disabled" has arrived to the first refused read, and from "enabled" to the first read that
// is served: vault and database in one server, and an account whose vault is another server that
// tells the database nothing.
func BenchmarkRevocation(b *testing.B) {
	b.Run("own vault", func(b *testing.B) {
		_, o := operator(b)
		steps(b, o.CreateAccount, func(ctx context.Context) error {
			id, err := o.FindDatabase(ctx)
			if err != nil {
				return err
			}
			return o.Grant(ctx, id)
		}, func(ctx context.Context) error { return o.PointAccount(ctx, keyURI) })
		read := reader(b, o)
		for range b.N {
			revokeOften(b, o, revocations, read)
		}
	})
	b.Run("external vault", func(b *testing.B) {
		srv, o := operator(b)
		const interval = time.Second
		k := keeper(b, srv, interval)
		if err := k.Create(context.Background(), "a", envelope.Protection{KeyURI: keyURI, Identity: "external"}); err != nil {
			b.Fatal(err)
		}
		for range b.N {
			revokeOften(b, o, 10, func() error { return touch(k) })
		}
		b.ReportMetric(interval.Seconds()*1e3, "interval-ms")
	})
}

// reader returns a read of one document over HTTPS.
func reader(b *testing.B, o *demo.SDK) func() error {
	b.Helper()
	ctx := context.Background()
	key, err := o.MasterKey(ctx)
	if err != nil {
		b.Fatal(err)
	}
	client, err := demo.Cosmos(o.HTTP, demo.Account, key)
	if err != nil {
		b.Fatal(err)
	}
	c, err := client.NewContainer("db", "c")
	if err != nil {
		b.Fatal(err)
	}
	db, err := client.NewDatabase("db")
	if err != nil {
		b.Fatal(err)
	}
	pk := azcosmos.NewPartitionKeyString("1")
	steps(b, func(ctx context.Context) error {
		_, err := client.CreateDatabase(ctx, azcosmos.DatabaseProperties{ID: "db"}, nil)
		return err
	}, func(ctx context.Context) error {
		_, err := db.CreateContainer(ctx, azcosmos.ContainerProperties{ID: "c",
			PartitionKeyDefinition: azcosmos.PartitionKeyDefinition{Paths: []string{"/id"}}}, nil)
		return err
	}, func(ctx context.Context) error {
		_, err := c.CreateItem(ctx, pk, []byte(`{"id":"1"}`), nil)
		return err
	})
	return func() error {
		_, err := c.ReadItem(ctx, pk, "1", nil)
		var re *azcore.ResponseError
		if errors.As(err, &re) && re.StatusCode == http.StatusForbidden && re.RawResponse.Header.Get("x-ms-substatus") == "4018" {
			return errRefused
		}
		return err
	}
}

var errRefused = errors.New("refused: the key is disabled")

// touch borrows the store for a moment.
func touch(k *envelope.Keeper) error {
	_, release, err := k.Acquire(context.Background(), "a")
	if err != nil {
		return errRefused
	}
	release()
	return nil
}

// revokeOften takes the key away and gives it back n times and reports how soon that was felt.
func revokeOften(b *testing.B, o *demo.SDK, n int, read func() error) {
	b.Helper()
	var gone, back []time.Duration
	for range n {
		for _, enabled := range []bool{false, true} {
			if err := o.SetKeyEnabled(context.Background(), enabled); err != nil {
				b.Fatal(err)
			}
			took := until(b, enabled, read)
			if enabled {
				back = append(back, took)
			} else {
				gone = append(gone, took)
			}
		}
	}
	for name, d := range map[string][]time.Duration{"refused": gone, "served": back} {
		b.ReportMetric(milliseconds(percentile(d, 50)), name+"-p50-ms")
		b.ReportMetric(milliseconds(percentile(d, 99)), name+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// until reads until reads are served, or refused.
func until(b *testing.B, served bool, read func() error) time.Duration {
	b.Helper()
	for begin := time.Now(); ; {
		err := read()
		if err != nil && !errors.Is(err, errRefused) {
			b.Fatal(err)
		}
		if (err == nil) == served {
			return time.Since(begin)
		}
		if time.Since(begin) > time.Minute {
			b.Fatal("nothing changed for a minute")
		}
	}
}

func percentile(d []time.Duration, p int) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, len(d)*p/100)]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// keeper is an envelope of its own whose vault and token service are the server's, reached over
// HTTPS like any other.
func keeper(b *testing.B, srv *latchkey.Server, interval time.Duration) *envelope.Keeper {
	b.Helper()
	admin := srv.Administrator()
	client := kek.New(kek.Config{
		Transport: srv.HTTPClient().Transport, TenantID: func() string { return admin.TenantID },
		Credential: func(string) (string, *secret.Bytes, error) {
			return admin.ClientID, secret.From([]byte(admin.ClientSecret)), nil
		},
	})
	k, err := envelope.Open(envelope.Config{
		Dir: filepath.Join(b.TempDir(), "accounts"), FS: vfs.Default, KEK: client, RootKey: secret.Random(32),
		Anchors: &anchors{all: map[string]envelope.Anchor{}}, Audit: silent{}, Interval: interval,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = k.Close(context.Background()) })
	return k
}

// anchors keeps anchors in memory.
type anchors struct {
	mu  sync.Mutex
	all map[string]envelope.Anchor
}

// Load implements [envelope.Anchors].
func (a *anchors) Load(id string) (envelope.Anchor, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x, ok := a.all[id]
	return x, ok, nil
}

// Save implements [envelope.Anchors].
func (a *anchors) Save(id string, x envelope.Anchor) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[id] = x
	return nil
}

// Delete implements [envelope.Anchors].
func (a *anchors) Delete(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, id)
	return nil
}

// silent keeps no record.
type silent struct{}

// Record implements [envelope.Auditor].
func (silent) Record(context.Context, audit.Event) error { return nil }

// BenchmarkKeyRotation measures how long an account takes to come under a new version of its key, from
// the question whether there is one to the durable keyring, with a small and with a large store.
func BenchmarkKeyRotation(b *testing.B) {
	srv, o := operator(b)
	k := keeper(b, srv, time.Hour)
	var medians []time.Duration
	for _, documents := range []int{10_000, 1_000_000} {
		id := fmt.Sprint("docs", documents)
		if err := k.Create(context.Background(), id, envelope.Protection{KeyURI: keyURI, Identity: "external"}); err != nil {
			b.Fatal(err)
		}
		fill(b, k, id, documents)
		b.Run(fmt.Sprintf("documents=%d", documents), func(b *testing.B) {
			var took []time.Duration
			for range max(b.N, 20) {
				took = append(took, rotateOnce(b, k, o, id))
			}
			medians = append(medians, percentile(took, 50))
			b.ReportMetric(milliseconds(percentile(took, 50)), "p50-ms")
			b.ReportMetric(milliseconds(percentile(took, 99)), "p99-ms")
			b.ReportMetric(0, "ns/op")
			if documents > 10_000 {
				b.ReportMetric(float64(medians[len(medians)-1])/float64(medians[0]), "ratio")
			}
		})
	}
}

func fill(b *testing.B, k *envelope.Keeper, id string, documents int) {
	b.Helper()
	db, release, err := k.Acquire(context.Background(), id)
	if err != nil {
		b.Fatal(err)
	}
	defer release()
	const batch = 10_000
	for i := 0; i < documents; i += batch {
		w := db.NewBatch()
		for j := range batch {
			w.Set(fmt.Appendf(nil, "doc%08d", i+j), fmt.Appendf(nil, `{"id":"%d","text":"a small document"}`, i+j))
		}
		if err := db.Commit(w); err != nil {
			b.Fatal(err)
		}
	}
}

func rotateOnce(b *testing.B, k *envelope.Keeper, o *demo.SDK, id string) time.Duration {
	b.Helper()
	before, _ := k.Status(id)
	if err := o.CreateKey(context.Background()); err != nil { // one more version
		b.Fatal(err)
	}
	begin := time.Now()
	after, err := k.Check(context.Background(), id)
	took := time.Since(begin)
	if err != nil || after.KeyVersion == before.KeyVersion {
		b.Fatalf("version %s, before %s: %v", after.KeyVersion, before.KeyVersion, err)
	}
	return took
}
