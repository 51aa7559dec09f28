package docdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Sizes of pages.
const (
	defaultPage  = 100
	largestPage  = 1000
	maxPageBytes = 4 << 20
)

// FeedRequest is what reading many documents has in common: a feed, a query, the change feed.
type FeedRequest struct {
	Path         ContainerPath
	PartitionKey *PartitionKey // nil for all; fewer components than the definition for a prefix
	RangeID      string        // partition key range; "" for all
	MinEPK       string        // hexadecimal bounds of effective partition keys, "" for none
	MaxEPK       string        // exclusive
	MaxItems     int           // 0: default, negative: the server decides
	Continuation string
	Consistency  Consistency
	// Of a query: whether the page tells which indexes serve it, and how it was run.
	Usage, Explain bool
}

// Page is a part of a feed or of the results of a query.
type Page struct {
	Receipt
	Items        []jsontext.Value
	Continuation string // "" at the end
	// Retrieved and RetrievedBytes count the documents that a query read.
	Retrieved      int
	RetrievedBytes int
	Usage          *IndexUsage  // when it was asked for
	Explanation    *Explanation // when it was asked for
}

// pageSize is the number of results on a page.
func (q *FeedRequest) pageSize() int {
	switch {
	case q.MaxItems == 0:
		return defaultPage
	case q.MaxItems < 0 || q.MaxItems > largestPage:
		return largestPage
	}
	return q.MaxItems
}

// span is the part of a container that a request looks at. Items come in the order of their numbers.
type span struct {
	partition string // E and P of one logical partition; "" for several
	prefix    PartitionKey
	epk       []byte // of that logical partition
	min, max  []byte // bounds of E; a nil max is none
	homes     []*partition
}

// first is the partition that stands for the request in its receipt.
func (s span) first() *partition { return s.homes[0] }

// span works out what a request looks at, if the session may read all of it.
func (r *session) span(q *FeedRequest, state *container) (span, error) {
	if err := r.coversAll(q); err != nil {
		return span{}, err
	}
	return q.span(state)
}

// span works out what a request looks at.
func (q *FeedRequest) span(state *container) (span, error) {
	d := *state.rec.Spec.PartitionKey
	s, err := q.bounds(state)
	if err != nil {
		return s, err
	}
	if q.PartitionKey == nil {
		return s, nil
	}
	if k := *q.PartitionKey; len(k) > 0 && len(k) < len(d.Paths) && !(len(k) == 1 && k[0] == Undefined) {
		s.prefix = k
		s.below(effective(d, k))
		return s, nil
	}
	k, err := d.complete(q.PartitionKey)
	if err != nil {
		return s, err
	}
	s.partition = partitionPrefix(d, k)
	s.epk = effective(d, k)
	s.homes = []*partition{state.at(s.epk)}
	return s, nil
}

// bounds are those of the effective partition keys: what the request names within its range.
func (q *FeedRequest) bounds(state *container) (s span, err error) {
	var errMin, errMax error
	s.min, errMin = hex.DecodeString(q.MinEPK)
	if q.MaxEPK != "" {
		s.max, errMax = hex.DecodeString(q.MaxEPK)
	}
	if errors.Join(errMin, errMax) != nil {
		return s, badRequest("The range of effective partition keys is invalid.")
	}
	if q.RangeID != "" {
		home, err := state.partition(q.RangeID)
		if err != nil {
			return s, err
		}
		s.narrow(home.rangeRecord)
		s.homes = []*partition{home}
		return s, nil
	}
	for _, p := range state.parts {
		if (s.max == nil || bytes.Compare(bound(p.Min), s.max) < 0) && bytes.Compare(s.min, bound(p.Max)) < 0 {
			s.homes = append(s.homes, p)
		}
	}
	if len(s.homes) == 0 {
		return s, badRequest("The range of effective partition keys is empty.")
	}
	return s, nil
}

// narrow keeps the part of the span that lies in a range.
func (s *span) narrow(r rangeRecord) {
	if lower := bound(r.Min); bytes.Compare(s.min, lower) < 0 {
		s.min = lower
	}
	if upper := bound(r.Max); s.max == nil || bytes.Compare(upper, s.max) < 0 {
		s.max = upper
	}
}

// below keeps the part of the span whose effective partition keys begin with those of a prefix.
func (s *span) below(prefix []byte) {
	if bytes.Compare(s.min, prefix) < 0 {
		s.min = prefix
	}
	if upper := store.Prefix(prefix).Upper; upper != nil && (s.max == nil || bytes.Compare(upper, s.max) < 0) {
		s.max = upper
	}
}

// holds reports whether the item at a key below the container lies in the span.
func (s span) holds(at []byte) bool {
	if s.partition != "" {
		return strings.HasPrefix(string(at), s.partition)
	}
	epk, _, ok := skipEscaped(at)
	if !ok || bytes.Compare(epk, s.min) < 0 || s.max != nil && bytes.Compare(epk, s.max) >= 0 {
		return false
	}
	if s.prefix == nil {
		return true
	}
	_, rest, _ := skipEscaped(at)
	return bytes.HasPrefix(rest, s.prefix.encode(nil))
}

// items yields the items of a span whose numbers are above after, in their order. After the loop,
// *errp tells whether it ended early.
func (s span) items(view *store.Snapshot, c *container, after uint64, errp *error) iter.Seq[*item] {
	id := c.id
	kind, prefix := byte(keyOrder), id[:]
	if s.partition != "" {
		kind, prefix = keyPartition, append(prefix, s.partition...)
	}
	r := below(kind, prefix)
	r.Lower = key(kind, prefix, be64(after+1))
	return func(yield func(*item) bool) {
		var err error
		for _, v := range view.Scan(r, &err) {
			at := v
			if s.partition != "" {
				at = append([]byte(s.partition), v...)
			} else if !s.holds(at) {
				continue
			}
			i, e := itemAt(view, id, at)
			if e != nil {
				err = e
				break
			}
			if !c.hidden(at, i) && !yield(i) {
				break
			}
		}
		*errp = errors.Join(*errp, err)
	}
}

// itemAt reads the item that an index leads to, which must be there.
func itemAt(view *store.Snapshot, id containerID, at []byte) (*item, error) {
	raw, err := view.Get(key(keyItem, id[:], at))
	if err != nil {
		return nil, err
	}
	return decodeItem(raw)
}

// ReadFeed returns a page of the documents of a container, in the order of their resource ids.
func (s *Service) ReadFeed(ctx context.Context, c principal.Caller, q FeedRequest) (page Page, err error) {
	r, state, end, err := s.begin(ctx, c, actionQuery, q.Path, q.Consistency)
	if err != nil {
		return Page{}, err
	}
	defer end()
	part, err := r.span(&q, state)
	if err != nil {
		return Page{}, err
	}
	pay, err := r.admit(state, part.first())
	if err != nil {
		return Page{}, err
	}
	digest := q.digest("feed", state, nil)
	at, err := r.position(q.Continuation, digest)
	if err != nil {
		return Page{}, err
	}
	lsn := part.first().log.Visible()
	view, err := r.view(part, state.id)
	if err != nil {
		return Page{}, err
	}
	defer closeView(view, &err)
	defer part.settle()()
	more, size := false, 0
	for i := range part.items(view, state, at.after, &err) {
		if i.expired(r.now.Unix(), state.rec.Spec.DefaultTTL) {
			continue
		}
		if len(page.Items) == q.pageSize() || size > maxPageBytes-maxDocument && len(page.Items) > 0 {
			more = true
			break
		}
		page.Items = append(page.Items, i.json(state.id))
		at.after, size = i.number, size+len(i.body)
		page.Retrieved, page.RetrievedBytes = page.Retrieved+1, size
	}
	if err != nil {
		return Page{}, err
	}
	page, err = r.page(state, part.first(), page, lsn, more, at, digest)
	pay(page.Charge)
	return page, err
}

// page completes a page with its continuation and receipt.
func (r *session) page(state *container, home *partition, page Page, lsn uint64, more bool, next position, digest []byte) (Page, error) {
	var err error
	if more {
		if page.Continuation, err = r.token(next, digest); err != nil {
			return Page{}, err
		}
	}
	page.Receipt, err = r.receipt(state, home, lsn, pageCharge(page.Retrieved, page.RetrievedBytes, sizeOf(page.Items)))
	return page, err
}

// digest identifies a request for its continuation tokens.
func (q *FeedRequest) digest(kind string, state *container, query []byte) []byte {
	k := ""
	if q.PartitionKey != nil {
		k = string(q.PartitionKey.encode([]byte{1}))
	}
	return requestDigest([]byte(kind), state.id[:], []byte(k), []byte(strings.ToUpper(q.MinEPK)), []byte(strings.ToUpper(q.MaxEPK)), query)
}

func sizeOf(items []jsontext.Value) (n int) {
	for _, i := range items {
		n += len(i)
	}
	return n
}

// view is the state of the store at one point of the log of each range of the span. Commits that are under way
// at the same time reach the store in any order, so a snapshot may have one and not the one before it: such
// a one is given up, and another is taken when the missing commit has ended.
func (r *session) view(s span, id containerID) (*store.Snapshot, error) {
	for {
		behind, seen := (*partition)(nil), s.visible()
		view, err := r.db.Snapshot()
		if err != nil {
			return nil, err
		}
		missing := uint64(0)
		for i, p := range s.homes {
			if missing, err = gap(view, id, p.Number, seen[i]); err != nil || missing > 0 {
				behind = p
				break
			}
		}
		if err == nil && missing == 0 {
			return view, nil
		}
		if err = errors.Join(err, view.Close(), r.ctx.Err()); err != nil {
			return nil, err
		}
		behind.log.Wait(missing)
	}
}

// visible are the sequence numbers up to which everything is there.
func (s span) visible() []uint64 {
	out := make([]uint64, len(s.homes))
	for i, p := range s.homes {
		out[i] = p.log.Visible()
	}
	return out
}

// gap is the first sequence number behind seen that a snapshot does not have although it has a later one; 0 for
// none.
func gap(view *store.Snapshot, id containerID, rangeNumber uint32, seen uint64) (missing uint64, err error) {
	r := below(keyLog, id[:], be32(rangeNumber))
	r.Lower = logKey(id, rangeNumber, seen+1)
	for k := range view.Scan(r, &err) {
		if seen++; binary.BigEndian.Uint64(k[len(k)-8:]) != seen {
			return seen, err
		}
	}
	return 0, err
}

// settle returns what waits until everything that a view taken now shows is durable: see [store.Log].
func (s span) settle() (wait func()) {
	reserved := make([]uint64, len(s.homes))
	for i, p := range s.homes {
		reserved[i] = p.log.Reserved()
	}
	return func() {
		for i, p := range s.homes {
			p.log.Wait(reserved[i])
		}
	}
}

// closeView closes a snapshot at the end of a request.
func closeView(v *store.Snapshot, errp *error) { *errp = errors.Join(*errp, v.Close()) }
