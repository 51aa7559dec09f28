package docdb_test

import (
	"context"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// TestMigrateThroughput: between manual and autoscale and back, what each begins with, and how low either
// may go afterwards.
func TestMigrateThroughput(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	w.container(simple)
	check := func(what string, o docdb.Offer, err error, want docdb.Throughput, minimum, ranges int) {
		t.Helper()
		if err != nil || o.Throughput != want || o.Minimum() != minimum || o.Ranges != ranges {
			t.Errorf("%s: %+v, minimum %d, %v", what, o, o.Minimum(), err)
		}
	}
	set := func(x docdb.Throughput) (docdb.Offer, error) {
		return w.SetThroughputOf(ctx, key, accountID, "d", "c", x)
	}
	migrate := func(autoscale bool) (docdb.Offer, error) {
		return w.MigrateThroughputOf(ctx, key, accountID, "d", "c", autoscale)
	}
	o, err := migrate(false)
	check("manual already", o, err, docdb.Throughput{Manual: 400}, 400, 1)
	o, err = migrate(true)
	check("to autoscale", o, err, docdb.Throughput{Autoscale: 1000}, 1000, 1)
	o, err = set(docdb.Throughput{Autoscale: 45_000})
	check("raised", o, err, docdb.Throughput{Autoscale: 45_000}, 5000, 5)
	o, err = migrate(false)
	check("to manual", o, err, docdb.Throughput{Manual: 45_000}, 500, 5)
	for _, bad := range []docdb.Throughput{{Manual: 400}, {Manual: 550}, {Manual: 1_000_100}, {Autoscale: 1000}, {}} {
		_, err := set(bad)
		wantFault(t, err, fault.Invalid, "ThroughputInvalid")
	}
	if _, err = set(docdb.Throughput{Manual: 400}); !strings.Contains(fault.As(err).Message, "between 500 and 1000000 inclusive in increments of 100") {
		t.Error(err)
	}
	o, err = set(docdb.Throughput{Manual: 500})
	check("lowered", o, err, docdb.Throughput{Manual: 500}, 500, 5)
	w.restart()
	o, err = w.ThroughputOf(ctx, key, accountID, "d", "c")
	check("after a restart", o, err, docdb.Throughput{Manual: 500}, 500, 5)
	w.deny = "sqlDatabases/containers/throughputSettings/migrateToAutoscale/action"
	_, err = migrate(true)
	wantFault(t, err, fault.Denied, "5302")
	if e := w.events[len(w.events)-1]; !strings.HasSuffix(e.Operation, "migrateToAutoscale/action") {
		t.Errorf("%+v", e)
	}
}
