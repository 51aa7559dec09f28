package docdb

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/docdb/geo"
	"github.com/latchkey-db/latchkey/internal/docdb/index"
	"github.com/latchkey-db/latchkey/internal/docdb/sql"
	"github.com/latchkey-db/latchkey/internal/store"
)

// How much of the index a query looks at before it does something else instead.
const (
	// fewItems that fulfil a condition are read, and sorted, whatever else there is.
	fewItems = 256
	// maxCollected bounds the numbers that one condition may bring into memory. A condition that more
	// documents fulfil finds the next of them as fast by looking at the documents in turn.
	maxCollected = 1 << 17
	// maxWeak is the same for conditions that most documents fulfil.
	maxWeak = 2048
	// maxMerged is how many postings are merged as they are; more are brought into memory.
	maxMerged = 8
)

// indexBounds are the figures that tests make small, so that few documents are many.
type indexBounds struct {
	few, collected, weak, shapes int
	off                          bool // queries do without the index
}

var boundsOfIndex atomic.Pointer[indexBounds]

func init() {
	boundsOfIndex.Store(&indexBounds{few: fewItems, collected: maxCollected, weak: maxWeak, shapes: index.MaxShapes})
}

// access finds the documents of a span that fulfil a condition, in one view of the store.
type access struct {
	view *store.Snapshot
	id   containerID
	gen  *generation
	part *span
	open []postings
}

// use keeps postings to be closed at the end.
func (a *access) use(p postings) postings {
	a.open = append(a.open, p)
	return p
}

func (a *access) close() error { return closeAll(a.open) }

// candidates are numbers of items among which are all that fulfil a condition; nil when the index cannot
// tell, or not cheaply.
func (a *access) candidates(c *sql.Condition) (postings, error) {
	if a.gen == nil || !a.gen.Enabled() || c == nil {
		return nil, nil
	}
	p, err := a.condition(c)
	if err != nil || p == nil {
		return nil, err
	}
	if a.part.partition != "" {
		items, err := a.stored(key(keyPartition, a.id[:], []byte(a.part.partition)), nil)
		if err != nil {
			return nil, err
		}
		p = common{p, items}
	}
	if a.gen.overflow.Load() {
		others, err := a.stored(a.shapeKey(index.Overflow), a.part)
		if err != nil {
			return nil, err
		}
		p = either{p, others}
	}
	return p, nil
}

func (a *access) stored(prefix []byte, part *span) (postings, error) {
	if part != nil && part.whole() {
		part = nil
	}
	s, err := storedPostings(a.view, prefix, part)
	if err != nil {
		return nil, err
	}
	return a.use(s), nil
}

// whole reports whether every item lies in the span.
func (s *span) whole() bool {
	return s.partition == "" && s.prefix == nil && len(s.min) == 0 && s.max == nil
}

func (a *access) shapeKey(s index.ShapeID) []byte {
	return key(keyShaped, a.id[:], be32(a.gen.number), be64(uint64(s)))
}

func (a *access) termKey(p index.Path) []byte {
	return key(keyTerm, a.id[:], be32(a.gen.number), be64(uint64(a.gen.PathID(p))))
}

// path is the path of the index; ok is false when it has no terms.
func (a *access) path(p sql.Path) (path index.Path, ok bool) {
	for _, s := range p {
		path = append(path, index.Step(s))
	}
	if len(path) == 0 || path[0].Name != "_ts" && isSystemMember(path[0].Name) {
		return nil, false
	}
	return path, a.gen.Includes(path)
}

func (a *access) condition(c *sql.Condition) (postings, error) {
	switch c.Test {
	case sql.And:
		return a.all(c.Of)
	case sql.Or:
		return a.any(c.Of)
	}
	if c.Test == sql.In && len(c.Values) == 0 {
		return &listed{}, nil
	}
	path, ok := a.path(c.Path)
	if c.Test == sql.Near {
		return a.near(path, c)
	}
	if !ok {
		return nil, nil
	}
	switch c.Test {
	case sql.In:
		return a.oneOf(path, c.Values)
	case sql.Defined, sql.Undefined:
		return a.defined(path, c.Test == sql.Defined)
	}
	lower, upper := bounds(c)
	most := boundsOfIndex.Load().collected
	if c.Test == sql.HasType {
		most = boundsOfIndex.Load().weak
	}
	return a.between(a.termKey(path), lower, upper, most)
}

// bounds are the encodings between which the values lie that fulfil a condition; the upper one is
// exclusive, nil for no bound.
func bounds(c *sql.Condition) (lower, upper []byte) {
	switch c.Test {
	case sql.HasPrefix:
		lower = index.AppendPrefix(nil, c.Prefix)
		return lower, store.Prefix(lower).Upper
	case sql.HasType:
		return index.TypeOf(index.AppendValue(nil, jsontext.Value(c.Values[0]))).Bounds()
	}
	if c.Low != nil {
		lower = index.AppendValue(nil, jsontext.Value(c.Low))
		_, upper = index.TypeOf(lower).Bounds()
		if c.LowOpen && index.Exact(lower) {
			lower = store.Prefix(lower).Upper
		} else {
			lower = index.Stem(lower)
		}
	}
	if c.High != nil {
		high := index.AppendValue(nil, jsontext.Value(c.High))
		least, _ := index.TypeOf(high).Bounds()
		if c.Low == nil {
			lower = least
		}
		if upper = high; !c.HighOpen || !index.Exact(high) {
			upper = store.Prefix(index.Stem(high)).Upper
		}
	}
	return lower, upper
}

// oneOf are the documents with one of some values.
func (a *access) oneOf(path index.Path, values []json.RawMessage) (postings, error) {
	prefix := a.termKey(path)
	var list either
	for _, v := range values {
		p, err := a.stored(index.AppendValue(slices.Clip(prefix), jsontext.Value(v)), a.part)
		if err != nil {
			return nil, err
		}
		if list = append(list, p); len(list) > maxMerged {
			if list, err = a.shorten(list); err != nil || list == nil {
				return nil, err
			}
		}
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return list, nil
}

// shorten brings postings into memory; nil when there are too many.
func (a *access) shorten(list either) (either, error) {
	var all listed
	for _, p := range list {
		most := boundsOfIndex.Load().collected
		some, complete := take(p, most)
		if all = append(all, some...); !complete || len(all) > most {
			return nil, nil
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return either{&all}, nil
}

// between are the documents with a value in a range of encodings, brought into memory; nil when there are
// too many.
func (a *access) between(prefix, lower, upper []byte, most int) (postings, error) {
	r := store.Range{Lower: append(slices.Clip(prefix), lower...), Upper: store.Prefix(prefix).Upper}
	if upper != nil {
		r.Upper = append(slices.Clip(prefix), upper...)
	}
	if bytes.Compare(r.Lower, r.Upper) >= 0 {
		return &listed{}, nil
	}
	var err error
	out := listed{}
	everywhere := a.part.whole()
	for k, epk := range a.view.Scan(r, &err) {
		if !everywhere && !a.part.covers(epk) {
			continue
		}
		if out = append(out, tail(k)); len(out) > most {
			return nil, err
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return &out, err
}

// defined are the documents that have a value at a path, or those that have none.
func (a *access) defined(path index.Path, want bool) (postings, error) {
	id := a.gen.PathID(path)
	shapes := []index.ShapeID{index.Other}
	a.gen.each(func(s index.ShapeID, paths []byte) {
		if _, has := index.Has(paths, id); has == want {
			shapes = append(shapes, s)
		}
	})
	var list either
	for _, s := range shapes {
		p, err := a.stored(a.shapeKey(s), a.part)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	if len(list) > maxMerged {
		return nil, nil
	}
	return list, nil
}

// all are the documents that fulfil several conditions. Conditions of equality come first: when few
// documents fulfil them, nothing else is asked.
func (a *access) all(list []*sql.Condition) (postings, error) {
	equal, other := split(list)
	found, err := a.each(equal)
	if err != nil || len(other) == 0 {
		return joined(found), err
	}
	if len(found) > 0 {
		if few, complete := take(found, boundsOfIndex.Load().few); complete {
			return &few, nil
		}
		if found, err = a.each(equal); err != nil {
			return nil, err
		}
	}
	ranges, err := a.each(merged(other))
	return joined(append(found, ranges...)), err
}

// each are the postings of conditions, without those for which there are none.
func (a *access) each(list []*sql.Condition) (out common, err error) {
	for _, c := range list {
		p, err := a.condition(c)
		if err != nil {
			return nil, err
		}
		if p != nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func joined(list common) postings {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return list
}

// any are the documents that fulfil one of several conditions.
func (a *access) any(list []*sql.Condition) (postings, error) {
	found, err := a.each(list)
	if err != nil || len(found) < len(list) {
		return nil, err
	}
	out := either(found)
	if len(out) > maxMerged {
		if out, err = a.shorten(out); err != nil || out == nil {
			return nil, err
		}
	}
	return out, nil
}

// split separates conditions of equality, whose postings are in the order of numbers, from others.
func split(list []*sql.Condition) (equal, other []*sql.Condition) {
	for _, c := range list {
		if isEquality(c) {
			equal = append(equal, c)
		} else {
			other = append(other, c)
		}
	}
	return equal, other
}

func isEquality(c *sql.Condition) bool {
	if c.Test == sql.And || c.Test == sql.Or {
		return !slices.ContainsFunc(c.Of, func(x *sql.Condition) bool { return !isEquality(x) })
	}
	return c.Test == sql.In
}

// merged makes one range of a lower and an upper bound of the same path, where a document has one value.
func merged(list []*sql.Condition) (out []*sql.Condition) {
	for _, c := range list {
		i := slices.IndexFunc(out, func(x *sql.Condition) bool { return complements(x, c) })
		if i < 0 {
			out = append(out, c)
			continue
		}
		both := *out[i]
		if both.Low == nil {
			both.Low, both.LowOpen = c.Low, c.LowOpen
		} else {
			both.High, both.HighOpen = c.High, c.HighOpen
		}
		out[i] = &both
	}
	return out
}

func complements(a, b *sql.Condition) bool {
	if a.Test != sql.Between || b.Test != sql.Between || !slices.Equal(a.Path, b.Path) || slices.Contains(a.Path, sql.Step{Element: true}) {
		return false
	}
	low, high := a.Low, b.High
	if low == nil {
		low, high = b.Low, a.High
	}
	return low != nil && high != nil && (a.Low == nil) != (b.Low == nil) && (a.High == nil) != (b.High == nil) &&
		jsontext.Value(low).Kind() == jsontext.Value(high).Kind()
}

// maxQueryCells bounds the cells that a query looks into.
const maxQueryCells = 16

// near are the documents whose geometry at a path may come so near to another: those with a cell in one of
// its cells, or around one.
func (a *access) near(path index.Path, c *sql.Condition) (postings, error) {
	if !a.gen.HasCells(path) {
		return nil, nil
	}
	shape, err := geo.Parse(c.Shape)
	if err != nil {
		return &listed{}, nil // nothing is near to what is no geometry
	}
	cells := shape.Cells(maxQueryCells)
	if c.Metres > 0 {
		cells = shape.Around(c.Metres, maxQueryCells)
	}
	prefix := key(keyCell, a.id[:], be32(a.gen.number), be64(uint64(a.gen.PathID(path))))
	ranges := map[[2]uint64]bool{}
	for _, cell := range cells {
		low, high := geo.Span(cell)
		ranges[[2]uint64{low, high}] = true
		for _, around := range geo.Ancestors(cell) {
			ranges[[2]uint64{around, around}] = true
		}
	}
	var out listed
	for r := range ranges {
		some, err := a.between(prefix, be64(r[0]), be64(r[1]+1), boundsOfIndex.Load().collected)
		if err != nil || some == nil {
			return nil, err
		}
		out = append(out, *some.(*listed)...)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return &out, nil
}
