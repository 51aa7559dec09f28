package docdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// ChangeFeedRequest asks for the latest versions of what changed.
type ChangeFeedRequest struct {
	FeedRequest
	// Since is the If-None-Match header: "" from the beginning, "*" from now, else the etag of the
	// last page.
	Since string
	// Start leaves out what changed before; it counts only from the beginning.
	Start time.Time
	// AllVersions asks for every version and every deletion, in the form of the service's
	// {"current":…,"metadata":…}. The container must keep versions; only "*" and etags are starts.
	AllVersions bool
}

// ChangeFeedPage is a part of a change feed. Without items there is nothing new.
type ChangeFeedPage struct {
	Page
	ETag string // where the next page begins
}

// ChangeFeed returns the latest version of the items that changed, in the order of their changes within
// each range. Items that were deleted are not in it. All changes of one commit are on the same page.
func (s *Service) ChangeFeed(ctx context.Context, c principal.Caller, q ChangeFeedRequest) (page ChangeFeedPage, err error) {
	r, state, end, err := s.begin(ctx, c, actionChangeFeed, q.Path, q.Consistency)
	if err != nil {
		return ChangeFeedPage{}, err
	}
	defer end()
	part, err := r.span(&q.FeedRequest, state)
	if err != nil {
		return ChangeFeedPage{}, err
	}
	if err := q.checkVersions(state); err != nil {
		return ChangeFeedPage{}, err
	}
	pay, err := r.admit(state, part.first())
	if err != nil {
		return ChangeFeedPage{}, err
	}
	reader := feedReader{q: &q, r: r, state: state, part: part, page: &page}
	if err := reader.start(); err != nil {
		return ChangeFeedPage{}, err
	}
	if reader.view, err = r.db.Snapshot(); err != nil {
		return ChangeFeedPage{}, err
	}
	defer closeView(reader.view, &err)
	for i := range part.homes {
		if err := reader.read(i); err != nil {
			return ChangeFeedPage{}, err
		}
	}
	page.ETag = reader.etag()
	page.Receipt, err = r.receipt(state, part.first(), reader.visible[0], pageCharge(len(page.Items), reader.size, sizeOf(page.Items)))
	pay(page.Charge)
	return page, err
}

// feedReader fills one page. from and visible are, for each partition of the span, behind what it begins
// and what may be seen. listed is what the etag says of ranges, also of such that are closed.
type feedReader struct {
	q       *ChangeFeedRequest
	r       *session
	state   *container
	part    span
	view    *store.Snapshot
	page    *ChangeFeedPage
	from    []uint64
	visible []uint64
	listed  map[string]uint64
	size    int
}

// start works out where each partition begins. An etag is a number; for a page of several partitions it
// is a list {range}:{number},…, in which a range stands for all that come from it. Of two ranges that were
// merged one may have been read further: its entry stays in the list until the merged range is as far.
func (f *feedReader) start() error {
	plain := uint64(0)
	if s := unquoted(f.q.Since); s != "" && s != "*" {
		var err error
		if plain, f.listed, err = parseSince(s); err != nil {
			return err
		}
	}
	for _, p := range f.part.homes {
		seen := p.log.Visible()
		f.visible = append(f.visible, seen)
		switch {
		case f.q.Since == "*":
			f.from = append(f.from, seen)
		case len(f.listed) > 0:
			f.from = append(f.from, f.state.since(p, f.listed))
		default:
			f.from = append(f.from, plain)
		}
	}
	return nil
}

func parseSince(s string) (plain uint64, listed map[string]uint64, err error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil, nil
	}
	listed = map[string]uint64{}
	for part := range strings.SplitSeq(s, ",") {
		id, number, ok := strings.Cut(part, ":")
		n, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil {
			return 0, nil, badRequest("The etag of the change feed is invalid.")
		}
		listed[id] = n
	}
	return 0, listed, nil
}

// since is where a partition goes on, by its own entry or by those of the ranges that it comes from: of
// two that were merged the one that is behind, so that nothing is left out.
func (c *container) since(p *partition, listed map[string]uint64) uint64 {
	if n, ok := listed[p.id()]; ok {
		return n
	}
	var least uint64
	for i, parent := range p.Parents {
		n := c.since(&partition{rangeRecord: c.rec.ranges()[parent]}, listed)
		if i == 0 || n < least {
			least = n
		}
	}
	return least
}

// ahead are the ranges that a partition comes from and that were read further than it.
func (f *feedReader) ahead(i int) (out []rangeRecord) {
	if len(f.listed) == 0 {
		return nil
	}
	for _, n := range f.state.ancestors(f.part.homes[i].rangeRecord) {
		if r := f.state.rec.ranges()[n]; f.listed[r.id()] > f.from[i] {
			out = append(out, r)
		}
	}
	return out
}

// given reports whether a change was on an earlier page, because its range was read further.
func (f *feedReader) given(x changed, ahead []rangeRecord) bool {
	epk, _, _ := skipEscaped(x.at)
	return slices.ContainsFunc(ahead, func(r rangeRecord) bool { return x.lsn <= f.listed[r.id()] && r.holds(epk) })
}

func (f *feedReader) etag() string {
	var parts []string
	for i, n := range f.from {
		parts = append(parts, f.part.homes[i].id()+":"+strconv.FormatUint(n, 10))
		for _, r := range f.ahead(i) {
			parts = append(parts, r.id()+":"+strconv.FormatUint(f.listed[r.id()], 10))
		}
	}
	if len(parts) == 1 {
		return `"` + strconv.FormatUint(f.from[0], 10) + `"`
	}
	slices.Sort(parts) // two partitions may come from one range
	return `"` + strings.Join(slices.Compact(parts), ",") + `"`
}

// full reports whether the page takes no further commit.
func (f *feedReader) full() bool {
	return len(f.page.Items) >= f.q.pageSize() || f.size > maxPageBytes-maxDocument
}

// read adds the changes of one partition and moves its from on.
func (f *feedReader) read(i int) (err error) {
	if f.full() {
		return nil
	}
	home, from, to := f.part.homes[i], f.from[i], f.visible[i]
	part := f.part
	part.narrow(home.rangeRecord)
	last, ahead := from, f.ahead(i)
	segments := f.state.segments(home.rangeRecord, from, to)
	if f.q.AllVersions {
		if err := f.checkTrimmed(segments); err != nil {
			return err
		}
	}
	for x := range f.changesOf(segments, &err) {
		if x.lsn != last && f.full() {
			f.from[i] = last
			return err
		}
		last = x.lsn
		if part.holds(x.at) && !f.given(x, ahead) {
			if err := f.add(x); err != nil {
				return err
			}
		}
	}
	f.from[i] = max(from, to)
	return err
}

// add puts an item on the page, unless its life is over or it changed before the start.
func (f *feedReader) add(x changed) error {
	if x.version != nil {
		return f.addVersion(x)
	}
	i, err := itemAt(f.view, f.state.id, x.at)
	if err != nil {
		return err
	}
	if f.state.hidden(x.at, i) || i.expired(f.r.now.Unix(), f.state.rec.Spec.DefaultTTL) || f.q.Since == "" && i.ts < f.q.Start.Unix() {
		return nil
	}
	f.page.Items = append(f.page.Items, i.jsonInFeed(f.state.id))
	f.size += len(i.body)
	return nil
}

// changed is an entry of the index of changes, or one of the log.
type changed struct {
	lsn     uint64
	at      []byte   // the item's key below its container
	version *version // of the log
}

// changesOf yields the changes in segments in the order of their sequence numbers.
func (f *feedReader) changesOf(all []segment, errp *error) iter.Seq[changed] {
	return func(yield func(changed) bool) {
		var nexts []func() (changed, bool)
		var heads []changed
		for _, s := range all {
			changes := s.changes(f.view, f.state.id, errp)
			if f.q.AllVersions {
				changes = s.versions(f.view, f.state.id, errp)
			}
			next, stop := iter.Pull(changes)
			defer stop()
			if head, ok := next(); ok {
				nexts, heads = append(nexts, next), append(heads, head)
			}
		}
		for len(heads) > 0 {
			least := 0
			for i := range heads {
				if heads[i].lsn < heads[least].lsn {
					least = i
				}
			}
			if !yield(heads[least]) {
				return
			}
			var ok bool
			if heads[least], ok = nexts[least](); !ok {
				heads, nexts = slices.Delete(heads, least, least+1), slices.Delete(nexts, least, least+1)
			}
		}
	}
}

// changes yields the changes of one stretch.
func (s segment) changes(view *store.Snapshot, id containerID, errp *error) iter.Seq[changed] {
	return func(yield func(changed) bool) {
		prefix := key(keyChange, id[:], be32(s.number))
		r := store.Range{Lower: append(bytes.Clone(prefix), be64(s.from+1)...), Upper: append(bytes.Clone(prefix), be64(s.to+1)...)}
		var err error
		for k, at := range view.Scan(r, &err) {
			if !yield(changed{lsn: binary.BigEndian.Uint64(k[len(prefix):]), at: bytes.Clone(at)}) {
				break
			}
		}
		*errp = errors.Join(*errp, err)
	}
}

// PartitionKeyRange is a range of effective partition keys that is served as one.
type PartitionKeyRange struct {
	ID, RID, Self string
	Min, Max      string   // hexadecimal, "" to "FF" for everything
	Parents       []string // ids of all ranges that it comes from
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
	ranges = state.shownAll()
	receipt, err = r.receipt(state, state.parts[0], ranges[0].LSN, 1)
	generation := uint64(state.rec.Number)<<16 | uint64(len(state.rec.ranges())-1)
	return ranges, `"` + strconv.FormatUint(generation, 10) + `"`, receipt, err
}

// shown is a range as clients see it.
func (c *container) shown(p *partition) PartitionKeyRange {
	rid := c.id.child(uint64(p.Number)+2, kindRange)
	out := PartitionKeyRange{
		ID: p.id(), RID: rid, Self: c.id.self() + "pkranges/" + rid + "/", Min: p.Min, Max: p.Max, Parents: []string{},
		LSN: p.log.Visible(), TS: max(p.TS, c.rec.TS),
	}
	for _, n := range c.ancestors(p.rangeRecord) {
		out.Parents = append(out.Parents, strconv.FormatUint(uint64(n), 10))
	}
	return out
}
