package docdb

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/latchkey-db/latchkey/internal/docdb/index"
	"github.com/latchkey-db/latchkey/internal/store"
)

// indexRecord is what a container's record says about its index. The terms of each indexing policy that a
// container has had are a generation of their own: queries use the one that is complete, while the next one
// is built beside it, and every commit writes both.
type indexRecord struct {
	Last     uint32          `json:"last"`               // number given out last
	Serving  uint32          `json:"serving,omitempty"`  // 0 for none
	Policy   json.RawMessage `json:"policy,omitempty"`   // of the serving one, unless it is the container's
	Building uint32          `json:"building,omitempty"` // 0 for none; its policy is the container's
}

// generation is one generation of a container's index in memory.
type generation struct {
	*index.Index
	number uint32
	// overflow tells that there may be documents without terms.
	overflow atomic.Bool

	mu     sync.RWMutex
	shapes map[index.ShapeID][]byte // that are in the store
}

// generations are those of one container. A nil one is not there.
type generations struct {
	serving, building *generation
}

// all are the generations that a commit writes.
func (g generations) all() []*generation {
	return slices.DeleteFunc([]*generation{g.serving, g.building}, func(x *generation) bool { return x == nil })
}

// pathSecret keys the identities of paths in the account's indexes.
func (a *account) pathSecret() ([]byte, error) {
	secret, err := a.continuationSecret()
	return derived(secret, "paths of indexes"), err
}

// openIndexes makes what a container's record says ready for use. A container of a time before indexes
// gets its first one built.
func (a *account) openIndexes(rec *containerRecord, secret []byte) (g generations, err error) {
	if rec.Index == nil {
		rec.Index = &indexRecord{Last: 1, Building: 1}
	}
	policy := rec.Spec.IndexingPolicy
	if rec.Index.Building != 0 {
		if g.building, err = a.openIndex(rec.id(), rec.Index.Building, policy, secret); err != nil {
			return g, err
		}
		policy = rec.Index.Policy
	}
	if rec.Index.Serving != 0 {
		g.serving, err = a.openIndex(rec.id(), rec.Index.Serving, policy, secret)
	}
	return g, err
}

func (a *account) openIndex(id containerID, number uint32, policy []byte, secret []byte) (*generation, error) {
	p, err := index.ParsePolicy(policy)
	if err != nil {
		return nil, err
	}
	g := &generation{Index: index.New(p, secret), number: number, shapes: map[index.ShapeID][]byte{}}
	for k, v := range a.db.Scan(below(keyShape, id[:], be32(number)), &err) {
		g.shapes[index.ShapeID(tail(k))] = bytes.Clone(v)
	}
	for range a.db.Scan(below(keyShaped, id[:], be32(number), be64(uint64(index.Overflow))), &err) {
		g.overflow.Store(true)
		break
	}
	return g, err
}

// tail is the number that a key ends in.
func tail(key []byte) uint64 { return fromBE64(key[len(key)-8:]) }

// known returns the paths of a shape that is in the store.
func (g *generation) known(s index.ShapeID) (paths []byte, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	paths, ok = g.shapes[s]
	return paths, ok
}

// learn remembers shapes that a commit has put into the store.
func (g *generation) learn(shapes map[index.ShapeID][]byte) {
	if len(shapes) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for s, paths := range shapes {
		g.shapes[s] = paths
	}
}

// each calls f with every shape that is in the store.
func (g *generation) each(f func(s index.ShapeID, paths []byte)) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for s, paths := range g.shapes {
		f(s, paths)
	}
}

// full reports whether there is no room for another shape.
func (g *generation) full() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.shapes) >= boundsOfIndex.Load().shapes
}

// terms are the store's keys of one version of an item in a generation, in their order.
type terms struct {
	keys  [][]byte
	shape index.ShapeID
	paths []byte
}

// termsOf reads an item. A shape that is new stays new until its commit is there, so several commits may
// bring it.
func (g *generation) termsOf(id containerID, i *item, stored bool) terms {
	doc := g.Terms(i.body, i.ts)
	if !g.Enabled() {
		return terms{}
	}
	t := terms{shape: g.ShapeOf(doc.Shape), paths: doc.Shape}
	if t.shape == index.Overflow {
		g.overflow.Store(true)
	} else if _, known := g.known(t.shape); !known && (stored || g.full()) {
		t.shape, t.paths = index.Other, nil
	}
	w := termWriter{prefix: key(keyTerm, id[:], be32(g.number)), suffix: be64(i.number)}
	for _, k := range doc.Keys {
		w.add(keyTerm, k)
	}
	w.add(keyShaped, be64(uint64(t.shape)))
	for n, values := range doc.Composites {
		w.add(keyComposite, []byte{byte(n)}, values)
	}
	for _, c := range doc.Cells {
		w.add(keyCell, c)
	}
	t.keys = w.keys
	return t
}

// termWriter makes keys that begin and end alike.
type termWriter struct {
	prefix, suffix, buf []byte
	keys                [][]byte
}

func (w *termWriter) add(kind byte, parts ...[]byte) {
	n := len(w.prefix) + len(w.suffix)
	for _, p := range parts {
		n += len(p)
	}
	if n > cap(w.buf)-len(w.buf) {
		w.buf = make([]byte, 0, max(n, 1<<11))
	}
	start := len(w.buf)
	w.buf = append(w.buf, w.prefix...)
	w.buf[start] = kind
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
	w.buf = append(w.buf, w.suffix...)
	w.keys = append(w.keys, w.buf[start:len(w.buf):len(w.buf)])
}

// indexChange is what a change of one item does to one generation.
type indexChange struct {
	gone, come [][]byte
	shape      []byte // key of a shape that is new; nil for none
	paths      []byte
}

// reindex works out what a change does to a container's indexes. learned tells the shapes that are in the
// store once the change is.
func (c *container) reindex(old, next *item) (changes []indexChange, learned func()) {
	learned = func() {}
	for _, g := range c.indexes.all() {
		var before, after terms
		if old != nil {
			before = g.termsOf(c.id, old, true)
		}
		if next != nil {
			after = g.termsOf(c.id, next, false)
		}
		x := indexChange{}
		x.gone, x.come = difference(before.keys, after.keys)
		if _, known := g.known(after.shape); after.shape > index.Other && !known {
			x.shape, x.paths = key(keyShape, c.id[:], be32(g.number), be64(uint64(after.shape))), after.paths
			also := learned
			learned = func() { also(); g.learn(map[index.ShapeID][]byte{after.shape: after.paths}) }
		}
		changes = append(changes, x)
	}
	return changes, learned
}

// difference takes two lists of keys in order apart: what is only in the first and only in the second.
func difference(before, after [][]byte) (gone, come [][]byte) {
	for len(before) > 0 && len(after) > 0 {
		switch c := bytes.Compare(before[0], after[0]); {
		case c < 0:
			gone, before = append(gone, before[0]), before[1:]
		case c > 0:
			come, after = append(come, after[0]), after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
	return append(gone, before...), append(come, after...)
}

// apply puts the change into a batch. epk is the item's effective partition key, which stands with every term.
func (x indexChange) apply(b *store.Batch, epk []byte) {
	for _, k := range x.gone {
		b.Delete(k)
	}
	for _, k := range x.come {
		b.Set(k, epk)
	}
	if x.shape != nil {
		b.Set(x.shape, x.paths)
	}
}

// deleteGeneration removes all that one generation of an index has in the store.
func deleteGeneration(b *store.Batch, id containerID, number uint32) {
	for _, kind := range []byte{keyTerm, keyShape, keyShaped, keyComposite, keyBuilt, keyCell} {
		r := below(kind, id[:], be32(number))
		b.DeleteRange(r.Lower, r.Upper)
	}
}

// policyFault tells a caller what is wrong with an indexing policy.
func policyFault(err error) error {
	var p *index.PolicyError
	if errors.As(err, &p) {
		return badRequest("%s", p.Message)
	}
	return err
}
