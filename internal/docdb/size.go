package docdb

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// A range whose documents take more than [Config.RangeBytes] is split by the sweep where about half of them
// lie on either side. Sizes are those of the store's tables: compressed, and without what is still in memory,
// so a split comes a little late and never too often. What has one effective partition key cannot be divided.

// defaultRangeBytes is the most that a range holds: the service's figure.
const defaultRangeBytes = 50 << 30

// Bounds of looking for the place of a split.
const (
	halvingSteps = 40 // enough to tell hashes apart that lie as close as those of 2^40 keys
	leastShare   = 8  // neither side gets less than 1/leastShare
	hashBits     = 8 * epkBytes
)

// storedBytes is what the documents with effective partition keys in [low, high) take.
func (a *account) storedBytes(id containerID, low, high string) (uint64, error) {
	edge := func(b string) []byte { return appendEscapedOpen(key(keyItem, id[:]), bound(b)) }
	r := store.Range{Lower: edge(low), Upper: edge(high)}
	if bytes.Compare(r.Lower, r.Upper) >= 0 {
		return 0, nil
	}
	return a.db.Usage(r)
}

// halving is the bound that has about half of a range's documents before it; "" when there is none with
// enough on both sides.
func (a *account) halving(c *container, r rangeRecord) (string, error) {
	total, err := a.storedBytes(c.id, r.Min, r.Max)
	if err != nil || total == 0 {
		return "", err
	}
	low, high, d := r.Min, r.Max, *c.rec.Spec.PartitionKey
	for range halvingSteps + hashBits*(len(d.Paths)-1) {
		at := halfway(low, high, d)
		if at <= low || at >= high {
			break
		}
		before, err := a.storedBytes(c.id, r.Min, at)
		if err != nil {
			return "", err
		}
		switch {
		case before < total/16*7:
			low = at
		case before > total/16*9:
			high = at
		default:
			return at, nil
		}
	}
	return a.fair(c, r, total, low, high)
}

// halfway is the bound that halves a range of hashes. Of a hierarchical key all levels count, so that what has
// one value at the first level can be divided too.
func halfway(low, high string, d PartitionKeyDefinition) string {
	if d.Kind != KindMultiHash {
		return middle(low, high, d)
	}
	size := epkBytes * len(d.Paths)
	number := func(s string) *big.Int {
		if s == highestEPK {
			return new(big.Int).Lsh(big.NewInt(1), uint(8*size-2))
		}
		b := make([]byte, size)
		copy(b, bound(s))
		return new(big.Int).SetBytes(b)
	}
	sum := new(big.Int).Add(number(low), number(high))
	return strings.ToUpper(hex.EncodeToString(sum.Rsh(sum, 1).FillBytes(make([]byte, size))))
}

// fair chooses of two bounds the one that leaves enough on both sides.
func (a *account) fair(c *container, r rangeRecord, total uint64, bounds ...string) (string, error) {
	for _, at := range bounds {
		before, err := a.storedBytes(c.id, r.Min, at)
		if err != nil {
			return "", err
		}
		if at > r.Min && at < r.Max && before >= total/leastShare && before <= total-total/leastShare {
			return at, nil
		}
	}
	return "", nil
}

// splitLarge splits the first range of a container that has become too large.
func (s *Service) splitLarge(r *session, c *container) error {
	at, large, err := r.tooLarge(c, uint64(s.cfg.RangeBytes))
	if err != nil || at == "" {
		return err
	}
	r.schema.Lock()
	defer r.schema.Unlock()
	c.life.Lock()
	defer c.life.Unlock()
	if c.gone {
		return nil
	}
	p, err := c.partition(large.id())
	if err != nil {
		return nil // it was split, or merged, in the meantime
	}
	if err := s.auditSplit(r, c); err != nil {
		return err
	}
	rec, err := c.rec.split(p, at, r.now.Unix())
	if err != nil {
		return err
	}
	return r.reshaped(c, rec)
}

func (s *Service) auditSplit(r *session, c *container) error {
	d, err := record[databaseRecord](r.db, key(keyDatabase, be32(c.id.database())))
	if err != nil {
		return err
	}
	e := audit.By(principal.Server("split of a large range"), r.now, "Microsoft.DocumentDB/databaseAccounts/"+actionSplit, r.id+scope(d.Name, c.rec.Spec.ID))
	e.Detail = "the range had become too large"
	return s.cfg.Audit.Record(r.ctx, e.Decided(nil))
}

// tooLarge finds a range that is larger than a bound and can be divided; at is "" when there is none.
func (r *session) tooLarge(c *container, most uint64) (at string, large *partition, err error) {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.gone {
		return "", nil, nil
	}
	for _, p := range c.parts {
		size, err := r.storedBytes(c.id, p.Min, p.Max)
		if err != nil || size <= most {
			if err != nil {
				return "", nil, err
			}
			continue
		}
		if at, err = r.halving(c, p.rangeRecord); err != nil || at != "" {
			return at, p, err
		}
	}
	return "", nil, nil
}

// Actions on the ranges of a container.
const (
	actionSplit      = "latchkey/split/action"
	actionMerge      = "latchkey/merge/action"
	actionMergeSmall = "sqlDatabases/containers/partitionMerge/action"
)

// Split divides a range of a container in two and returns the ranges that are there then. rangeID "" is the
// largest range; at is the bound between the two, "" for one that halves what is stored, or else the hashes.
// Requests for the old range are told that it is gone, which makes clients look for the new ones; nothing is moved.
func (s *Service) Split(ctx context.Context, c principal.Caller, path ContainerPath, rangeID, at string) ([]PartitionKeyRange, error) {
	return s.reshape(ctx, c, actionSplit, path, func(r *session, state *container) (containerRecord, error) {
		p, err := r.chosen(state, rangeID)
		if err != nil {
			return state.rec, err
		}
		if at == "" {
			if at, err = r.halving(state, p.rangeRecord); err != nil {
				return state.rec, err
			}
		}
		return state.rec.split(p, strings.ToUpper(at), r.now.Unix())
	})
}

// chosen is the range that an operator names, or the one with the most stored.
func (r *session) chosen(c *container, rangeID string) (*partition, error) {
	if rangeID != "" {
		return c.partition(rangeID)
	}
	sizes, err := r.sizes(c)
	if err != nil {
		return nil, err
	}
	largest := slices.MaxFunc(sizes, func(a, b sized) int { return cmp.Compare(a.bytes, b.bytes) })
	return largest.parts[0], nil
}

// Merge joins two neighbouring ranges of a container and returns the ranges that are there then. right is
// "" for the neighbour behind.
func (s *Service) Merge(ctx context.Context, c principal.Caller, path ContainerPath, left, right string) ([]PartitionKeyRange, error) {
	return s.reshape(ctx, c, actionMerge, path, func(r *session, state *container) (containerRecord, error) {
		a, errA := state.partition(left)
		b, errB := state.behind(a, right)
		if err := errors.Join(errA, errB); err != nil {
			return state.rec, rangeGone()
		}
		return state.rec.merge(a, b, r.now.Unix())
	})
}

// behind is a range by its id, or the one behind another.
func (c *container) behind(p *partition, id string) (*partition, error) {
	if id != "" || p == nil {
		return c.partition(id)
	}
	for _, other := range c.parts {
		if other.Min == p.Max {
			return other, nil
		}
	}
	return nil, rangeGone()
}

// sized is one range, or several neighbours that may become one, with what they have stored.
type sized struct {
	parts []*partition
	bytes uint64
}

func (r *session) sizes(c *container) (out []sized, err error) {
	for _, p := range c.parts {
		n, err := r.storedBytes(c.id, p.Min, p.Max)
		if err != nil {
			return nil, err
		}
		out = append(out, sized{[]*partition{p}, n})
	}
	return out, nil
}

// RangeSize is a range with what it has stored.
type RangeSize struct {
	ID    string
	Bytes uint64
}

// MergeSmall merges neighbouring ranges of a container as long as its throughput does not need them and they
// are half as large as a range may be at most, the smallest first. It returns the ranges that are there then; in
// a rehearsal, those that there would be, which keep the id of their first.
func (s *Service) MergeSmall(ctx context.Context, c principal.Caller, path ContainerPath, rehearsal bool) (out []RangeSize, err error) {
	_, err = s.reshape(ctx, c, actionMergeSmall, path, func(r *session, state *container) (containerRecord, error) {
		groups, err := r.mergeable(state, uint64(s.cfg.RangeBytes)/2)
		if err != nil {
			return state.rec, err
		}
		rec := state.rec
		for _, g := range groups {
			first, last := g.parts[0], g.parts[len(g.parts)-1]
			id := first.id()
			if len(g.parts) > 1 && !rehearsal {
				if rec, err = rec.succeed(g.parts, r.now.Unix(), [2]string{first.Min, last.Max}); err != nil {
					return state.rec, err
				}
				id = rec.Ranges[len(rec.Ranges)-1].id()
			}
			out = append(out, RangeSize{id, g.bytes})
		}
		return rec, nil
	})
	return out, err
}

// mergeable puts the ranges of a container into the groups that become one range each.
func (r *session) mergeable(c *container, most uint64) ([]sized, error) {
	groups, err := r.sizes(c)
	if err != nil {
		return nil, err
	}
	t, err := r.ownThroughput(c)
	if err != nil {
		return nil, err
	}
	for len(groups) > rangesFor(t) {
		best := -1
		for i := range groups[:len(groups)-1] {
			if sum := groups[i].bytes + groups[i+1].bytes; sum <= most && (best < 0 || sum < groups[best].bytes+groups[best+1].bytes) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		groups[best].parts = append(groups[best].parts, groups[best+1].parts...)
		groups[best].bytes += groups[best+1].bytes
		groups = slices.Delete(groups, best+1, best+2)
	}
	return groups, nil
}

// ownThroughput is what the container itself was given; none when it shares its database's.
func (r *session) ownThroughput(c *container) (Throughput, error) {
	o, err := r.offerOf(c.id.rid())
	if errors.Is(err, errMissing) {
		err = nil
	}
	return o.Throughput, err
}

// rangesFor is how many ranges throughput needs.
func rangesFor(t Throughput) int {
	return max(1, (max(t.Manual, t.Autoscale)+rangeThroughput-1)/rangeThroughput)
}

// reshape changes the ranges of a container while nobody uses it.
func (s *Service) reshape(ctx context.Context, c principal.Caller, action string, path ContainerPath, change func(*session, *container) (containerRecord, error)) ([]PartitionKeyRange, error) {
	r, err := s.guard(ctx, c, path.Account, action, path.Database, path.Container)
	if err != nil {
		return nil, err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	state, err := owner(r.open(path.Database, path.Container))
	if err != nil {
		return nil, err
	}
	state.life.RUnlock() // the schema lock keeps it from going away
	state.life.Lock()
	defer state.life.Unlock()
	rec, err := change(r, state)
	if err != nil {
		return nil, err
	}
	if len(rec.Ranges) != len(state.rec.Ranges) {
		if err := r.reshaped(state, rec); err != nil {
			return nil, err
		}
	}
	return state.shownAll(), nil
}
