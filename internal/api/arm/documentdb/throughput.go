package documentdb

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// What one range can have, and what can be asked for at all: the service's figures.
const (
	instantPerRange = 10_000
	softMaximum     = 1_000_000
)

// throughputBody is the body of an update of throughput settings.
type throughputBody struct {
	Properties struct {
		Resource struct {
			unitsBody
		} `json:"resource"`
	} `json:"properties"`
}

// unitsBody is throughput as clients send it.
type unitsBody struct {
	Throughput units `json:"throughput"`
	Autoscale  struct {
		Max units `json:"maxThroughput"`
	} `json:"autoscaleSettings"`
}

// units are request units a second: a number, which az sends as a string.
type units int

// UnmarshalJSON reads both forms.
func (u *units) UnmarshalJSON(b []byte) error {
	n, err := strconv.Atoi(strings.Trim(string(b), `"`))
	if string(b) == "null" {
		return nil
	}
	*u = units(n)
	return err
}

// throughput serves throughputSettings/default of a database or container: the offer that the data plane
// has too.
func (s *sql) throughput() (*arm.Response, error) {
	if !strings.EqualFold(s.r.ID.Name(), "default") {
		return nil, fault.New(fault.NotFound, "NotFound", "Throughput settings have the name 'default'.")
	}
	switch s.r.Method {
	case http.MethodGet:
		o, err := s.documents.ThroughputOf(s.ctx, s.r.Caller, s.account, s.db, s.container)
		if err != nil {
			return nil, s.wireFault(err)
		}
		return arm.OK(s.renderThroughput(o)), nil
	case http.MethodPut:
		var b throughputBody
		if err := s.r.Decode(&b); err != nil {
			return nil, err
		}
		t := docdb.Throughput{Manual: int(b.Properties.Resource.Throughput), Autoscale: int(b.Properties.Resource.Autoscale.Max)}
		return s.changed(s.documents.SetThroughputOf(s.ctx, s.r.Caller, s.account, s.db, s.container, t))
	case http.MethodPost:
		return s.throughputAction()
	}
	return nil, methodNotAllowed(s.r)
}

func (s *sql) throughputAction() (*arm.Response, error) {
	switch action := strings.ToLower(s.r.Action); action {
	case "migratetoautoscale", "migratetomanualthroughput":
		return s.changed(s.documents.MigrateThroughputOf(s.ctx, s.r.Caller, s.account, s.db, s.container, action == "migratetoautoscale"))
	case "retrievethroughputdistribution":
		return s.distribution()
	case "redistributethroughput":
		return nil, fault.New(fault.NotImplemented, "NotSupported", "This server shares a container's throughput out evenly among its physical partitions; it cannot be redistributed.")
	}
	return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support the action '%s' on throughput settings.", s.r.Action)
}

func (s *sql) changed(o docdb.Offer, err error) (*arm.Response, error) {
	if err != nil {
		return nil, s.wireFault(err)
	}
	return s.done(s.r, s.renderThroughput(o))
}

func (s *sql) renderThroughput(o docdb.Offer) any {
	soft := strconv.Itoa(softMaximum)
	resource := map[string]any{
		"minimumThroughput": strconv.Itoa(o.Minimum()), "offerReplacePending": "false", "softAllowedMaximumThroughput": soft,
		"instantMaximumThroughput": strconv.Itoa(max(o.Ranges*instantPerRange, o.Throughput.Manual, o.Throughput.Autoscale)),
		"_rid":                     o.RID, "_etag": o.ETag, "_ts": o.TS,
	}
	if m := o.Throughput.Autoscale; m > 0 {
		resource["throughput"] = m / 10
		resource["autoscaleSettings"] = map[string]any{"maxThroughput": m, "targetMaxThroughput": 0}
	} else {
		resource["throughput"] = o.Throughput.Manual
	}
	kind := "/sqlDatabases/throughputSettings"
	if s.container != "" {
		kind = "/sqlDatabases/containers/throughputSettings"
	}
	return map[string]any{"id": s.r.ID.String(), "name": "default", "type": account.Type + kind, "properties": map[string]any{"resource": resource}}
}

// distribution tells how throughput is shared out: evenly.
func (s *sql) distribution() (*arm.Response, error) {
	if s.container == "" {
		return nil, fault.New(fault.NotImplemented, "NotSupported", "This server tells the distribution of throughput of containers only.")
	}
	o, err := s.documents.ThroughputOf(s.ctx, s.r.Caller, s.account, s.db, s.container)
	if err != nil {
		return nil, s.wireFault(err)
	}
	ranges, _, _, err := s.documents.PartitionKeyRanges(s.ctx, s.r.Caller, docdb.ContainerPath{Account: s.account, Database: s.db, Container: s.container})
	if err != nil {
		return nil, s.wireFault(err)
	}
	out := []any{}
	for _, r := range ranges {
		out = append(out, map[string]any{"id": r.ID, "throughput": float64(max(o.Throughput.Manual, o.Throughput.Autoscale)) / float64(len(ranges))})
	}
	return s.done(s.r, map[string]any{"id": s.r.ID.String(), "name": "default", "properties": map[string]any{"resource": map[string]any{"physicalPartitionThroughputInfo": out}}})
}
