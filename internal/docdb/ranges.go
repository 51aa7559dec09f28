package docdb

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/store"
)

// rangeRecord is a partition key range as it stands in its container's record. A range that was split or
// merged stays there, closed: the changes of its time are under its number.
type rangeRecord struct {
	Number  uint32   `json:"number"`
	Min     string   `json:"min"` // hexadecimal, upper case
	Max     string   `json:"max"` // exclusive
	Parents []uint32 `json:"parents,omitempty"`
	// Start is the last sequence number of its parents: its own come behind.
	Start  uint64 `json:"start,omitempty"`
	Closed bool   `json:"closed,omitempty"`
	TS     int64  `json:"ts,omitempty"` // Unix seconds of its beginning; 0 with the container
}

// The bounds of all effective partition keys, and the most ranges that a container ever has.
const (
	lowestEPK  = ""
	highestEPK = "FF"
	maxRanges  = 1 << 16
)

// whole is the range of a container that was never split. Its record has none.
var whole = rangeRecord{Min: lowestEPK, Max: highestEPK}

func (r rangeRecord) id() string { return strconv.FormatUint(uint64(r.Number), 10) }

// holds reports whether an effective partition key lies in the range.
func (r rangeRecord) holds(epk []byte) bool {
	lower, upper := bound(r.Min), bound(r.Max)
	return bytes.Compare(epk, lower) >= 0 && bytes.Compare(epk, upper) < 0
}

// bound is a bound of a range as bytes. It was checked when the range was made.
func bound(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("docdb: range bound " + s)
	}
	return b
}

// ranges are all ranges that the container ever had, in the order of their numbers.
func (r containerRecord) ranges() []rangeRecord {
	if len(r.Ranges) == 0 {
		return []rangeRecord{whole}
	}
	return r.Ranges
}

// partition is a range that takes writes: a state machine with its own log.
type partition struct {
	rangeRecord
	log   store.Log
	swept uint64 // where the next sweep goes on; of the sweeper alone
}

// openPartitions gives each range of a container that is not closed its log.
func openPartitions(db *store.Store, rec containerRecord) ([]*partition, error) {
	var out []*partition
	for _, r := range rec.ranges() {
		if r.Closed {
			continue
		}
		last, err := lastLSN(db, rec.id(), r.Number)
		if err != nil {
			return nil, err
		}
		out = append(out, &partition{rangeRecord: r, log: store.NewLocalLog(db, max(last, r.Start))})
	}
	slices.SortFunc(out, func(a, b *partition) int { return strings.Compare(a.Min, b.Min) })
	return out, nil
}

// at is the partition that an effective partition key belongs to.
func (c *container) at(epk []byte) *partition {
	i := slices.IndexFunc(c.parts, func(p *partition) bool { return p.holds(epk) })
	return c.parts[max(i, 0)] // they cover everything
}

// partition finds a range by the id that a request gives, also in the old form {container},{range}.
func (c *container) partition(id string) (*partition, error) {
	if rid, rest, ok := strings.Cut(id, ","); ok && rid == c.id.rid() {
		id = rest
	}
	for _, p := range c.parts {
		if p.id() == id {
			return p, nil
		}
	}
	return nil, rangeGone()
}

func rangeGone() error {
	return fault.New(fault.Gone, reasonRangeGone, "The requested partition key range is gone.")
}

// made is the number of the range in whose time a change of an item was made: the changes of a
// partition's items go back to the ranges that it comes from.
func (c *container) made(p rangeRecord, epk []byte, lsn uint64) uint32 {
	for lsn <= p.Start {
		i := slices.IndexFunc(p.Parents, func(n uint32) bool { return c.rec.ranges()[n].holds(epk) })
		if i < 0 {
			break
		}
		p = c.rec.ranges()[p.Parents[i]]
	}
	return p.Number
}

// ancestors are the numbers of all ranges that a range comes from, the oldest first.
func (c *container) ancestors(p rangeRecord) []uint32 {
	var out []uint32
	for _, n := range p.Parents {
		out = append(out, c.ancestors(c.rec.ranges()[n])...)
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// visible is the sequence number that a session token may ask of a range, also of one that is closed: its
// children have seen all of it.
func (c *container) visible(id string) (lsn uint64, ok bool) {
	for _, p := range c.parts {
		if p.id() == id {
			return p.log.Visible(), true
		}
	}
	for _, r := range c.rec.ranges() {
		if r.id() != id {
			continue
		}
		for _, child := range c.rec.ranges() {
			if slices.Contains(child.Parents, r.Number) {
				return child.Start, true
			}
		}
	}
	return 0, false
}

// split returns the record with a range in two. at is the bound between them; "" takes the middle.
func (r containerRecord) split(p *partition, at string, now int64) (containerRecord, error) {
	if at == "" {
		at = middle(p.Min, p.Max, *r.Spec.PartitionKey)
	}
	if _, err := hex.DecodeString(at); err != nil || at <= p.Min || at >= p.Max {
		return r, badRequest("The range %s cannot be split at '%.64s'.", p.id(), at)
	}
	return r.succeed([]*partition{p}, now, [2]string{p.Min, at}, [2]string{at, p.Max})
}

// merge returns the record with two neighbours in one.
func (r containerRecord) merge(a, b *partition, now int64) (containerRecord, error) {
	if a.Max != b.Min {
		return r, badRequest("The ranges %s and %s are not neighbours.", a.id(), b.id())
	}
	return r.succeed([]*partition{a, b}, now, [2]string{a.Min, b.Max})
}

// succeed closes ranges and opens others in their place. Nobody writes meanwhile.
func (r containerRecord) succeed(parents []*partition, now int64, bounds ...[2]string) (containerRecord, error) {
	all := slices.Clone(r.ranges())
	if len(all)+len(bounds) > maxRanges {
		return r, badRequest("The container has had too many partition key ranges.")
	}
	var numbers []uint32
	var start uint64
	for _, p := range parents {
		all[p.Number].Closed = true
		numbers = append(numbers, p.Number)
		start = max(start, p.log.Visible())
	}
	for _, b := range bounds {
		all = append(all, rangeRecord{Number: uint32(len(all)), Min: b[0], Max: b[1], Parents: numbers, Start: start, TS: now})
	}
	r.Ranges = all
	return r, nil
}

// epkBytes is the length of a hash of version 2; its two top bits are clear.
const epkBytes = 16

// middle is the bound that halves a range of hashes.
func middle(low, high string, d PartitionKeyDefinition) string {
	if d.Kind != KindMultiHash && d.Version < 2 {
		return middleV1(low, high)
	}
	sum := new(big.Int).Add(hashNumber(low), hashNumber(high))
	half := sum.Rsh(sum, 1).FillBytes(make([]byte, epkBytes))
	return strings.ToUpper(hex.EncodeToString(half))
}

// hashNumber is a bound as the number that its first 16 bytes are.
func hashNumber(s string) *big.Int {
	if s == highestEPK {
		return new(big.Int).Lsh(big.NewInt(1), 8*epkBytes-2)
	}
	b := make([]byte, epkBytes)
	copy(b, bound(s))
	return new(big.Int).SetBytes(b)
}

// middleV1 halves a range of hashes of version 1, whose keys begin with a 32 bit number.
func middleV1(low, high string) string {
	from := v1Number(low)
	return v1Bound(from + (v1Number(high)-from)/2)
}

// v1Number is the largest number whose form is not above a bound, found bit by bit.
func v1Number(s string) (n uint64) {
	if s == highestEPK {
		return 1 << 32
	}
	for bit := uint64(1) << 31; bit > 0; bit >>= 1 {
		if v1Bound(n+bit) <= s {
			n += bit
		}
	}
	return n
}

func v1Bound(n uint64) string {
	return strings.ToUpper(hex.EncodeToString(appendV1Number(nil, float64(n))))
}

// segment is a stretch of the changes of one range: (from, to].
type segment struct {
	number   uint32
	from, to uint64
}

// segments are the stretches in which the changes of a partition's items lie, behind from.
func (c *container) segments(r rangeRecord, from, to uint64) []segment {
	var out []segment
	if from < r.Start {
		for _, n := range r.Parents {
			out = append(out, c.segments(c.rec.ranges()[n], from, min(to, r.Start))...)
		}
	}
	if from = max(from, r.Start); from < to {
		out = append(out, segment{r.Number, from, to})
	}
	slices.SortFunc(out, func(a, b segment) int { return cmp.Compare(a.number, b.number) })
	return slices.CompactFunc(out, func(a, b segment) bool { return a.number == b.number }) // parents of one origin
}

// shownAll are the ranges as clients see them.
func (c *container) shownAll() []PartitionKeyRange {
	out := make([]PartitionKeyRange, len(c.parts))
	for i, p := range c.parts {
		out[i] = c.shown(p)
	}
	return out
}

// reopen takes a new record over. The logs of ranges that go on are kept. The caller holds life.
func (c *container) reopen(db *store.Store, rec containerRecord) error {
	parts, err := openPartitions(db, rec)
	if err != nil {
		return err
	}
	for i, p := range parts {
		if old, err := c.partition(p.id()); err == nil {
			parts[i] = old
		}
	}
	c.rec, c.parts = rec, parts
	return nil
}

// rangeThroughput is what one range can have, in request units a second: a container that is made with
// more has several from the beginning (the service's published figure).
const rangeThroughput = 10_000

// widen splits ranges of a container until there are enough for its throughput. A database, which shares
// its throughput, is left alone; so are ranges when throughput goes down, as in the service. The caller
// holds the schema lock.
func (r *session) widen(rid string, t Throughput) error {
	raw, ok := decodeRID(rid)
	if !ok || len(raw) != len(containerID{}) {
		return nil
	}
	state, err := r.load(containerID(raw))
	if err != nil {
		return err
	}
	state.life.Lock()
	defer state.life.Unlock()
	for len(state.parts) < rangesFor(t) {
		rec, err := state.rec.split(state.widest(), "", r.now.Unix())
		if err != nil {
			return err
		}
		if err := r.reshaped(state, rec); err != nil {
			return err
		}
	}
	return nil
}

// reshaped stores other ranges and takes them over. The caller holds the schema lock and life.
func (r *session) reshaped(state *container, rec containerRecord) error {
	if err := r.commit(func(b *store.Batch) error { return putRecord(b, key(keyContainer, state.id[:]), rec) }); err != nil {
		return err
	}
	return state.reopen(r.db, rec)
}

// widest is the partition with the most hashes.
func (c *container) widest() *partition {
	return slices.MaxFunc(c.parts, func(a, b *partition) int {
		return a.width(*c.rec.Spec.PartitionKey).Cmp(b.width(*c.rec.Spec.PartitionKey))
	})
}

func (r rangeRecord) width(d PartitionKeyDefinition) *big.Int {
	if d.Kind != KindMultiHash && d.Version < 2 {
		return new(big.Int).SetUint64(v1Number(r.Max) - v1Number(r.Min))
	}
	return new(big.Int).Sub(hashNumber(r.Max), hashNumber(r.Min))
}

// divided are the ranges of a new container with that throughput; nil when one is enough.
func divided(t Throughput, d PartitionKeyDefinition) []rangeRecord {
	n := rangesFor(t)
	if n < 2 {
		return nil
	}
	out := []rangeRecord{whole}
	for len(out) < n { // the widest comes first
		r := out[0]
		at := middle(r.Min, r.Max, d)
		out = append(out[1:], rangeRecord{Min: r.Min, Max: at}, rangeRecord{Min: at, Max: r.Max})
	}
	slices.SortFunc(out, func(a, b rangeRecord) int { return strings.Compare(a.Min, b.Min) })
	for i := range out {
		out[i].Number = uint32(i)
	}
	return out
}
