package docdb

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Throughput is provisioned throughput: manual request units per second, or the maximum of
// autoscale. The zero value is none. It is enforced where [Config.Enforce] says so.
type Throughput struct {
	Manual    int
	Autoscale int
}

// Limits of throughput (the service's).
const (
	minManual     = 400
	stepManual    = 100
	stepAutoscale = 1000
	maxThroughput = 1_000_000
)

func (t Throughput) set() bool { return t != Throughput{} }

func (t Throughput) check() error {
	invalid := func(why string) error {
		return fault.New(fault.Invalid, "ThroughputInvalid", "The offer throughput is invalid: %s.", why)
	}
	switch {
	case t.Manual != 0 && t.Autoscale != 0:
		return invalid("manual and autoscale throughput exclude each other")
	case t.Manual < 0 || t.Manual > maxThroughput || t.Autoscale < 0 || t.Autoscale > maxThroughput:
		return invalid("out of range")
	case t.Manual != 0 && (t.Manual < minManual || t.Manual%stepManual != 0):
		return invalid("it must be at least 400 and a multiple of 100")
	case t.Autoscale%stepAutoscale != 0:
		return invalid("the autoscale maximum must be a multiple of 1000")
	}
	return nil
}

// Offer is the throughput of a database or a container.
type Offer struct {
	RID          string
	ResourceRID  string // of what has the throughput
	ResourceSelf string
	Throughput   Throughput
	ETag         string
	TS           int64
}

// Minimum is the lowest manual throughput that the offer can be set to.
func (o Offer) Minimum() int { return minManual }

type offerRecord struct {
	Number       uint32     `json:"number"`
	ResourceRID  string     `json:"resourceRid"`
	ResourceSelf string     `json:"resourceSelf"`
	Throughput   Throughput `json:"throughput"`
	ETag         string     `json:"etag"`
	TS           int64      `json:"ts"`
}

func (r offerRecord) view() Offer {
	return Offer{RID: offerRID(r.Number), ResourceRID: r.ResourceRID, ResourceSelf: r.ResourceSelf, Throughput: r.Throughput, ETag: r.ETag, TS: r.TS}
}

func offerKey(number uint32) []byte { return key(keyOffer, be32(number)[1:]) }

// putNewOffer adds a new offer to b. The caller holds the schema lock.
func (a *account) putNewOffer(b *store.Batch, rid, self string, t Throughput, now time.Time) error {
	n, err := a.next(b, 'o')
	if err != nil {
		return err
	}
	rec := offerRecord{Number: n, ResourceRID: rid, ResourceSelf: self, Throughput: t, ETag: newETag(), TS: now.Unix()}
	return putRecord(b, offerKey(n), rec)
}

func (a *account) deleteOffersOf(b *store.Batch, rid string) error {
	all, err := records[offerRecord](a.db, below(keyOffer))
	for _, o := range all {
		if o.ResourceRID == rid {
			b.Delete(offerKey(o.Number))
		}
	}
	return err
}

// offerOf returns the offer of a database or container, or a not-found error.
func (a *account) offerOf(rid string) (offerRecord, error) {
	all, err := records[offerRecord](a.db, below(keyOffer))
	for _, o := range all {
		if o.ResourceRID == rid {
			return o, nil
		}
	}
	if err == nil {
		err = errMissing
	}
	return offerRecord{}, err
}

// Offers returns the throughput of everything in the account that has its own.
func (s *Service) Offers(ctx context.Context, c principal.Caller, accountID string) ([]Offer, error) {
	r, err := s.guard(ctx, c, accountID, "readMetadata", "", "")
	if err != nil {
		return nil, err
	}
	defer r.release()
	recs, err := records[offerRecord](r.db, below(keyOffer))
	out := make([]Offer, len(recs))
	for i, rec := range recs {
		out[i] = rec.view()
	}
	return out, err
}

// Offer returns one offer by its resource id, without regard to case: clients sign it in lower case
// but send it as it is.
func (s *Service) Offer(ctx context.Context, c principal.Caller, accountID, rid string) (Offer, error) {
	r, err := s.guard(ctx, c, accountID, "readMetadata", "", "")
	if err != nil {
		return Offer{}, err
	}
	defer r.release()
	rec, err := r.offer(rid)
	return rec.view(), err
}

func (a *account) offer(rid string) (offerRecord, error) {
	b, ok := decodeRID(rid)
	if !ok || len(b) != 3 {
		return offerRecord{}, errMissing
	}
	return record[offerRecord](a.db, key(keyOffer, b))
}

// ReplaceOffer changes throughput. Changing between manual and autoscale is for Resource Manager.
func (s *Service) ReplaceOffer(ctx context.Context, c principal.Caller, accountID, rid string, t Throughput, ifMatch string) (Offer, error) {
	r, err := s.guard(ctx, c, accountID, "sqlDatabases/throughputSettings/write", "", "")
	if err != nil {
		return Offer{}, err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	rec, err := r.offer(rid)
	if err != nil {
		return Offer{}, err
	}
	if (rec.Throughput.Manual != 0) != (t.Manual != 0) {
		return Offer{}, fault.New(fault.Invalid, "ThroughputInvalid",
			"The offer cannot be changed between manual and autoscale throughput by a replacement.")
	}
	return r.replaceOffer(rec, t, ifMatch)
}

// replaceOffer stores new throughput. The caller holds the schema lock.
func (r *session) replaceOffer(rec offerRecord, t Throughput, ifMatch string) (Offer, error) {
	if !t.set() {
		return Offer{}, fault.New(fault.Invalid, "ThroughputInvalid", "The offer throughput is missing.")
	}
	if err := t.check(); err != nil {
		return Offer{}, err
	}
	if !matches(ifMatch, rec.ETag) {
		return Offer{}, precondition()
	}
	rec.Throughput, rec.ETag, rec.TS = t, newETag(), r.now.Unix()
	if err := r.commit(func(b *store.Batch) error { return putRecord(b, offerKey(rec.Number), rec) }); err != nil {
		return Offer{}, err
	}
	return rec.view(), r.widen(rec.ResourceRID, t)
}

// ThroughputOf returns the offer of a database, or of a container when its name is given. It is for
// management, which addresses throughput by its owner.
func (s *Service) ThroughputOf(ctx context.Context, c principal.Caller, accountID, database, containerName string) (Offer, error) {
	r, err := s.guard(ctx, c, accountID, "readMetadata", database, containerName)
	if err != nil {
		return Offer{}, err
	}
	defer r.release()
	rid, err := r.ridOf(database, containerName)
	if err != nil {
		return Offer{}, err
	}
	rec, err := r.offerOf(rid)
	return rec.view(), err
}

// SetThroughputOf changes the throughput of a database or container that has its own; management may
// also change between manual and autoscale.
func (s *Service) SetThroughputOf(ctx context.Context, c principal.Caller, accountID, database, containerName string, t Throughput) (Offer, error) {
	action := "sqlDatabases/throughputSettings/write"
	if containerName != "" {
		action = "sqlDatabases/containers/throughputSettings/write"
	}
	r, err := s.guard(ctx, c, accountID, action, database, containerName)
	if err != nil {
		return Offer{}, err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	rid, err := r.ridOf(database, containerName)
	if err != nil {
		return Offer{}, err
	}
	rec, err := r.offerOf(rid)
	if err != nil {
		return Offer{}, err
	}
	return r.replaceOffer(rec, t, "")
}

func (a *account) ridOf(database, containerName string) (string, error) {
	d, err := a.database(database)
	if err != nil || containerName == "" {
		return databaseRID(d.Number), err
	}
	rec, err := a.containerRecord(d, containerName)
	return rec.id().rid(), err
}

// offerBody is an offer on the wire. Extra members of clients are ignored.
type offerBody struct {
	Resource        string       `json:"resource"`
	OfferType       string       `json:"offerType"`
	OfferResourceID string       `json:"offerResourceId"`
	OfferVersion    string       `json:"offerVersion"`
	Content         offerContent `json:"content"`
	ID              string       `json:"id"`
	RID             string       `json:"_rid"`
	Self            string       `json:"_self"`
	ETag            string       `json:"_etag"`
	TS              int64        `json:"_ts"`
}

type offerContent struct {
	Throughput int                `json:"offerThroughput"`
	PerMinute  bool               `json:"offerIsRUPerMinuteThroughputEnabled"`
	Minimum    *offerMinimum      `json:"offerMinimumThroughputParameters,omitempty"`
	Autopilot  *AutoscaleSettings `json:"offerAutopilotSettings,omitempty"`
}

type offerMinimum struct {
	Ever    int `json:"maxThroughputEverProvisioned"`
	Storage int `json:"maxConsumedStorageEverInKB"`
}

// AutoscaleSettings is the wire form of autoscale throughput, in offers and in the header of the
// creating request.
type AutoscaleSettings struct {
	Max     int             `json:"maxThroughput"`
	Upgrade json.RawMessage `json:"autoUpgradePolicy,omitempty"`
}

// JSON returns the offer as clients see it.
func (o Offer) JSON() []byte {
	body := offerBody{
		Resource: o.ResourceSelf, OfferType: "Invalid", OfferResourceID: o.ResourceRID, OfferVersion: "V2",
		ID: o.RID, RID: o.RID, Self: "offers/" + o.RID + "/", ETag: o.ETag, TS: o.TS,
		Content: offerContent{Throughput: o.Throughput.Manual, Minimum: &offerMinimum{Ever: o.Throughput.Manual + o.Throughput.Autoscale}},
	}
	if max := o.Throughput.Autoscale; max > 0 {
		body.Content.Throughput = max / 10
		body.Content.Autopilot = &AutoscaleSettings{Max: max}
	}
	return mustJSON(body)
}

// ParseOffer reads the throughput from the body of a replacement.
func ParseOffer(body []byte) (Throughput, error) {
	var in offerBody
	if err := json.Unmarshal(body, &in); err != nil {
		return Throughput{}, badRequest("The offer is not valid JSON.")
	}
	if in.Content.Autopilot != nil {
		return Throughput{Autoscale: in.Content.Autopilot.Max}, nil
	}
	return Throughput{Manual: in.Content.Throughput}, nil
}

// mustJSON encodes a type of ours, without escaping HTML.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("docdb: cannot encode " + err.Error()) // a defect: the types are fixed and encodable
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
