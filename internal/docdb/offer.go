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
	switch {
	case t.Manual != 0 && t.Autoscale != 0:
		return invalidThroughput("The offer throughput is invalid: manual and autoscale throughput exclude each other.")
	case t.Manual != 0:
		return t.within(minManual)
	case t.Autoscale != 0:
		return t.within(stepAutoscale)
	}
	return nil
}

// within checks throughput against its least value, in the service's words.
func (t Throughput) within(least int) error {
	what, value, step := "throughput", t.Manual, stepManual
	if t.Autoscale != 0 {
		what, value, step = "autoscale max throughput", t.Autoscale, stepAutoscale
	}
	if value < least || value > maxThroughput || value%step != 0 {
		return invalidThroughput("The offer should have valid %s values between %d and %d inclusive in increments of %d.", what, least, maxThroughput, step)
	}
	return nil
}

func invalidThroughput(format string, args ...any) error {
	return fault.New(fault.Invalid, "ThroughputInvalid", format, args...)
}

// Offer is the throughput of a database or a container.
type Offer struct {
	RID          string
	ResourceRID  string // of what has the throughput
	ResourceSelf string
	Throughput   Throughput
	Ever         int // the most that was ever set
	ETag         string
	TS           int64
	// Ranges is how many partition key ranges share it; only [Service.ThroughputOf] and its like tell.
	Ranges int
}

// Minimum is the least that the offer can be set to: a hundredth of the most that it ever had, or of
// autoscale a tenth, and never below what a new one can have.
func (o Offer) Minimum() int {
	if o.Throughput.Autoscale > 0 {
		return max(stepAutoscale, upTo(o.Ever/10, stepAutoscale))
	}
	return max(minManual, upTo(o.Ever/100, stepManual))
}

// upTo rounds up to a multiple of step.
func upTo(n, step int) int { return (n + step - 1) / step * step }

type offerRecord struct {
	Number       uint32     `json:"number"`
	ResourceRID  string     `json:"resourceRid"`
	ResourceSelf string     `json:"resourceSelf"`
	Throughput   Throughput `json:"throughput"`
	Ever         int        `json:"ever,omitempty"` // the most that was ever set; 0 in old records
	ETag         string     `json:"etag"`
	TS           int64      `json:"ts"`
}

func (r offerRecord) view() Offer {
	return Offer{RID: offerRID(r.Number), ResourceRID: r.ResourceRID, ResourceSelf: r.ResourceSelf, Throughput: r.Throughput, Ever: r.ever(), ETag: r.ETag, TS: r.TS}
}

func (r offerRecord) ever() int { return max(r.Ever, r.Throughput.Manual, r.Throughput.Autoscale) }

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
	return r.replaceOffer(rec, t, ifMatch)
}

// replaceOffer stores new throughput. The caller holds the schema lock.
func (r *session) replaceOffer(rec offerRecord, t Throughput, ifMatch string) (Offer, error) {
	if !t.set() {
		return Offer{}, invalidThroughput("The offer throughput is missing.")
	}
	if err := t.check(); err != nil {
		return Offer{}, err
	}
	if (rec.Throughput.Manual != 0) != (t.Manual != 0) {
		return Offer{}, invalidThroughput("The offer cannot be changed between manual and autoscale throughput by a replacement. Use migrateToAutoscale or migrateToManualThroughput.")
	}
	if err := t.within(rec.view().Minimum()); err != nil {
		return Offer{}, err
	}
	if !matches(ifMatch, rec.ETag) {
		return Offer{}, precondition()
	}
	return r.storeOffer(rec, t)
}

// storeOffer stores throughput that was checked. The caller holds the schema lock.
func (r *session) storeOffer(rec offerRecord, t Throughput) (Offer, error) {
	rec.Ever = max(rec.ever(), t.Manual, t.Autoscale)
	rec.Throughput, rec.ETag, rec.TS = t, newETag(), r.now.Unix()
	if err := r.commit(func(b *store.Batch) error { return putRecord(b, offerKey(rec.Number), rec) }); err != nil {
		return Offer{}, err
	}
	return rec.view(), r.widen(rec.ResourceRID, t)
}

// ThroughputOf returns the offer of a database, or of a container when its name is given. It is for
// management, which addresses throughput by its owner.
func (s *Service) ThroughputOf(ctx context.Context, c principal.Caller, accountID, database, containerName string) (Offer, error) {
	r, err := s.guard(ctx, c, accountID, throughputAction(containerName, "read"), database, containerName)
	if err != nil {
		return Offer{}, err
	}
	defer r.release()
	rec, err := r.offerAt(database, containerName)
	return r.counted(rec.view(), err)
}

// throughputAction is an action on the throughput of a database, or of a container when its name is given.
func throughputAction(containerName, verb string) string {
	if containerName == "" {
		return "sqlDatabases/throughputSettings/" + verb
	}
	return "sqlDatabases/containers/throughputSettings/" + verb
}

// offerAt is the offer of a database, or of a container when its name is given.
func (a *account) offerAt(database, containerName string) (offerRecord, error) {
	rid, err := a.ridOf(database, containerName)
	if err != nil {
		return offerRecord{}, err
	}
	return a.offerOf(rid)
}

// counted adds how many ranges share an offer.
func (a *account) counted(o Offer, err error) (Offer, error) {
	o.Ranges = 1
	raw, ok := decodeRID(o.ResourceRID)
	if err != nil || !ok || len(raw) != len(containerID{}) {
		return o, err
	}
	c, err := a.load(containerID(raw))
	if err != nil {
		return o, err
	}
	c.life.RLock()
	defer c.life.RUnlock()
	o.Ranges = len(c.parts)
	return o, nil
}

// MigrateThroughputOf changes between manual and autoscale. Autoscale begins with a maximum of what there
// was, rounded up to what it can have; manual throughput begins with that maximum. What is there already stays.
func (s *Service) MigrateThroughputOf(ctx context.Context, c principal.Caller, accountID, database, containerName string, autoscale bool) (Offer, error) {
	verb := map[bool]string{true: "migrateToAutoscale/action", false: "migrateToManualThroughput/action"}[autoscale]
	r, err := s.guard(ctx, c, accountID, throughputAction(containerName, verb), database, containerName)
	if err != nil {
		return Offer{}, err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	rec, err := r.offerAt(database, containerName)
	if err != nil {
		return Offer{}, err
	}
	t := Throughput{Manual: rec.Throughput.Autoscale}
	if autoscale {
		t = Throughput{Autoscale: upTo(rec.Throughput.Manual, stepAutoscale)}
	}
	if (rec.Throughput.Autoscale != 0) == autoscale {
		return r.counted(rec.view(), nil)
	}
	return r.counted(r.storeOffer(rec, t))
}

// SetThroughputOf changes the throughput of a database or container that has its own.
func (s *Service) SetThroughputOf(ctx context.Context, c principal.Caller, accountID, database, containerName string, t Throughput) (Offer, error) {
	r, err := s.guard(ctx, c, accountID, throughputAction(containerName, "write"), database, containerName)
	if err != nil {
		return Offer{}, err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	rec, err := r.offerAt(database, containerName)
	if err != nil {
		return Offer{}, err
	}
	return r.counted(r.replaceOffer(rec, t, ""))
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
		Content: offerContent{Throughput: o.Throughput.Manual, Minimum: &offerMinimum{Ever: o.Ever}},
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
