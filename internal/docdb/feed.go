package docdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/fault"
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
}

// Page is a part of a feed or of the results of a query.
type Page struct {
	Receipt
	Items        []jsontext.Value
	Continuation string // "" at the end
	// Retrieved and RetrievedBytes count the documents that a query read.
	Retrieved      int
	RetrievedBytes int
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
	first     PartitionKey
	min, max  []byte // bounds of E; a nil max is none
	paths     int
}

// span works out what a request looks at.
func (q *FeedRequest) span(state *container) (span, error) {
	d := *state.rec.Spec.PartitionKey
	s := span{paths: len(d.Paths)}
	if err := checkRange(q.RangeID, state); err != nil {
		return s, err
	}
	var errMin, errMax error
	s.min, errMin = hex.DecodeString(q.MinEPK)
	if q.MaxEPK != "" {
		s.max, errMax = hex.DecodeString(q.MaxEPK)
	}
	if errors.Join(errMin, errMax) != nil {
		return s, badRequest("The range of effective partition keys is invalid.")
	}
	if q.PartitionKey == nil {
		return s, nil
	}
	if k := *q.PartitionKey; len(k) > 0 && len(k) < len(d.Paths) && !(len(k) == 1 && k[0] == Undefined) {
		s.first = k
		return s, nil
	}
	k, err := d.complete(q.PartitionKey)
	s.partition = partitionPrefix(d, k)
	return s, err
}

// checkRange accepts the id of the container's one range, also in the old form {container},{range}.
func checkRange(id string, state *container) error {
	if rid, rest, ok := strings.Cut(id, ","); ok && rid == state.id.rid() {
		id = rest
	}
	if id != "" && id != "0" {
		return fault.New(fault.Gone, reasonRangeGone, "The requested partition key range is gone.")
	}
	return nil
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
	if s.first == nil {
		return true
	}
	_, rest, _ := skipEscaped(at)
	return bytes.HasPrefix(rest, s.first.encode(nil))
}

// items yields the items of a span whose numbers are above after, in their order. After the loop,
// *errp tells whether it ended early.
func (s span) items(view *store.Snapshot, id containerID, after uint64, errp *error) iter.Seq[*item] {
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
			if !yield(i) {
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
	part, err := q.span(state)
	if err != nil {
		return Page{}, err
	}
	digest := q.digest("feed", state, nil)
	at, err := r.position(q.Continuation, digest)
	if err != nil {
		return Page{}, err
	}
	lsn := state.log.Visible()
	view, err := r.db.Snapshot()
	if err != nil {
		return Page{}, err
	}
	defer closeView(view, &err)
	more, size := false, 0
	for i := range part.items(view, state.id, at.after, &err) {
		if i.expired(r.now.Unix(), state.rec.Spec.DefaultTTL) {
			continue
		}
		if len(page.Items) == q.pageSize() || size > maxPageBytes-maxDocument && len(page.Items) > 0 {
			more = true
			break
		}
		page.Items = append(page.Items, i.json(state.id))
		at.after, size = i.number, size+len(i.body)
	}
	if err != nil {
		return Page{}, err
	}
	return r.page(state, page, lsn, more, at, digest)
}

// page completes a page with its continuation and receipt.
func (r *session) page(state *container, page Page, lsn uint64, more bool, next position, digest []byte) (Page, error) {
	var err error
	if more {
		if page.Continuation, err = r.token(next, digest); err != nil {
			return Page{}, err
		}
	}
	page.Receipt, err = r.receipt(state, lsn, pageCharge(page.Items))
	return page, err
}

// pageCharge is the cost of a page in request units: a base, and one for each started KiB of 8 items.
func pageCharge(items []jsontext.Value) float64 {
	size := 0
	for _, i := range items {
		size += len(i)
	}
	return 2.3 + float64(len(items)/8) + float64(size/8192)
}

// digest identifies a request for its continuation tokens.
func (q *FeedRequest) digest(kind string, state *container, query []byte) []byte {
	k := ""
	if q.PartitionKey != nil {
		k = string(q.PartitionKey.encode([]byte{1}))
	}
	return requestDigest([]byte(kind), state.id[:], []byte(k), []byte(strings.ToUpper(q.MinEPK)), []byte(strings.ToUpper(q.MaxEPK)), query)
}

// closeView closes a snapshot at the end of a request.
func closeView(v *store.Snapshot, errp *error) { *errp = errors.Join(*errp, v.Close()) }

// ChangeFeedRequest asks for the latest versions of what changed.
type ChangeFeedRequest struct {
	FeedRequest
	// Since is the If-None-Match header: "" from the beginning, "*" from now, else the etag of the
	// last page.
	Since string
	// Start leaves out what changed before; it counts only from the beginning.
	Start time.Time
}

// ChangeFeedPage is a part of a change feed. Without items there is nothing new.
type ChangeFeedPage struct {
	Page
	ETag string // where the next page begins
}

// ChangeFeed returns the latest version of the items that changed, in the order of their changes.
// Items that were deleted are not in it. All changes of one commit are on the same page.
func (s *Service) ChangeFeed(ctx context.Context, c principal.Caller, q ChangeFeedRequest) (page ChangeFeedPage, err error) {
	r, state, end, err := s.begin(ctx, c, actionChangeFeed, q.Path, q.Consistency)
	if err != nil {
		return ChangeFeedPage{}, err
	}
	defer end()
	part, err := q.span(state)
	if err != nil {
		return ChangeFeedPage{}, err
	}
	visible := state.log.Visible()
	from, err := q.from(visible)
	if err != nil {
		return ChangeFeedPage{}, err
	}
	view, err := r.db.Snapshot()
	if err != nil {
		return ChangeFeedPage{}, err
	}
	defer closeView(view, &err)
	next, err := q.collect(r, state, part, view, from, visible, &page)
	if err != nil {
		return ChangeFeedPage{}, err
	}
	page.ETag = `"` + strconv.FormatUint(next, 10) + `"`
	page.Receipt, err = r.receipt(state, visible, pageCharge(page.Items))
	return page, err
}

// from is the sequence number behind which the page begins.
func (q *ChangeFeedRequest) from(visible uint64) (uint64, error) {
	switch q.Since {
	case "":
		return 0, nil
	case "*":
		return visible, nil
	}
	n, err := strconv.ParseUint(unquoted(q.Since), 10, 64)
	if err != nil {
		return 0, badRequest("The etag of the change feed is invalid.")
	}
	return n, nil
}

// collect fills a page with the changes in (from, visible] and returns where the next one begins.
func (q *ChangeFeedRequest) collect(r *session, state *container, part span, view *store.Snapshot, from, visible uint64, page *ChangeFeedPage) (next uint64, err error) {
	rangeKey := key(keyChange, state.id[:], be32(0))
	changes := store.Range{Lower: append(bytes.Clone(rangeKey), be64(from+1)...), Upper: append(bytes.Clone(rangeKey), be64(visible+1)...)}
	size, last := 0, from
	for k, at := range view.Scan(changes, &err) {
		lsn := binary.BigEndian.Uint64(k[len(rangeKey):])
		if full := len(page.Items) >= q.pageSize() || size > maxPageBytes-maxDocument; full && lsn != last {
			return last, nil
		}
		last = lsn
		if !part.holds(at) {
			continue
		}
		i, e := itemAt(view, state.id, bytes.Clone(at))
		if e != nil {
			return 0, e
		}
		if i.expired(r.now.Unix(), state.rec.Spec.DefaultTTL) || q.Since == "" && i.ts < q.Start.Unix() {
			continue
		}
		page.Items = append(page.Items, i.jsonInFeed(state.id))
		size += len(i.body)
	}
	return max(visible, from), err
}

// PartitionKeyRange is a range of effective partition keys that is served as one.
type PartitionKeyRange struct {
	ID, RID, Self string
	Min, Max      string // hexadecimal, "" to "FF" for everything
	LSN           uint64
	TS            int64
}

// PartitionKeyRanges returns the ranges of a container and the etag of the set.
func (s *Service) PartitionKeyRanges(ctx context.Context, c principal.Caller, path ContainerPath) (ranges []PartitionKeyRange, etag string, receipt Receipt, err error) {
	r, state, end, err := s.begin(ctx, c, "readMetadata", path, Consistency{})
	if err != nil {
		return nil, "", Receipt{}, err
	}
	defer end()
	rid := state.id.child(2, kindRange)
	only := PartitionKeyRange{
		ID: "0", RID: rid, Self: state.id.self() + "pkranges/" + rid + "/", Min: "", Max: "FF",
		LSN: state.log.Visible(), TS: state.rec.TS,
	}
	receipt, err = r.receipt(state, only.LSN, 1)
	return []PartitionKeyRange{only}, `"` + strconv.FormatUint(uint64(state.rec.Number), 10) + `"`, receipt, err
}
