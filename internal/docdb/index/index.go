package index

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/docdb/geo"
)

// PathID identifies a path in keys.
type PathID uint64

// ShapeID identifies a shape in keys.
type ShapeID uint64

// Shapes of documents whose paths are not known.
const (
	Overflow ShapeID = 0 // the document has no terms, though its paths are indexed
	Other    ShapeID = 1 // the document has terms
)

// Bounds of the index; see the package comment.
const (
	MaxTerms  = 8192
	MaxShapes = 4096
	maxNodes  = 1 << 16 // paths that are remembered
)

// Kind is what a path of a shape leads to.
type Kind byte

// The kinds of values at a path.
const (
	Scalar    Kind = 0
	Composite Kind = 1 // an array or an object
)

// Index is one indexing policy of one container, ready to read documents. It may be used by many at once.
type Index struct {
	policy *Policy
	secret []byte

	mu    sync.RWMutex
	root  *node
	nodes int
}

// node is a path that was met.
type node struct {
	path     Path
	id       PathID
	included bool
	members  map[string]*node
	element  *node
}

// New returns the index of a policy. The secret keys the identities of paths and shapes.
func New(p *Policy, secret []byte) *Index {
	return &Index{policy: p, secret: secret, root: &node{}}
}

// Enabled reports whether anything is indexed.
func (x *Index) Enabled() bool { return !x.policy.none }

// Composites are the composite indexes of the policy.
func (x *Index) Composites() [][]CompositePath { return x.policy.Composites }

// PathID is the identity of a path.
func (x *Index) PathID(p Path) PathID {
	m := hmac.New(sha256.New, x.secret)
	for _, s := range p {
		if s.Element {
			m.Write([]byte{1})
			continue
		}
		m.Write(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(s.Name))))
		m.Write([]byte(s.Name))
	}
	return PathID(binary.BigEndian.Uint64(m.Sum(nil)))
}

// Includes reports whether scalars at the path have terms.
func (x *Index) Includes(p Path) bool { return x.policy.includes(p) }

// member returns the node below n of a name. The name need not outlive the call.
func (x *Index) member(n *node, name string) *node {
	x.mu.RLock()
	m := n.members[name]
	x.mu.RUnlock()
	if m != nil {
		return m
	}
	return x.remember(n, Step{Name: strings.Clone(name)})
}

func (x *Index) elementOf(n *node) *node {
	x.mu.RLock()
	m := n.element
	x.mu.RUnlock()
	if m != nil {
		return m
	}
	return x.remember(n, Step{Element: true})
}

// remember makes the node of a step. Beyond maxNodes nothing more is remembered, so that documents with
// ever new names do not fill the memory.
func (x *Index) remember(n *node, s Step) *node {
	path := append(slices.Clip(n.path), s)
	m := &node{path: path, id: x.PathID(path), included: x.policy.includes(path)}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.nodes >= maxNodes {
		return m
	}
	x.nodes++
	if s.Element {
		n.element = m
		return m
	}
	if n.members == nil {
		n.members = map[string]*node{}
	}
	n.members[s.Name] = m
	return m
}

// Terms are what an index keeps of one document.
type Terms struct {
	// Keys are path and value of each term, in their order, none twice.
	Keys [][]byte
	// Shape is the shape as bytes, see [ShapeOf]; nil when there are too many terms.
	Shape []byte
	// Composites are the values of each composite index.
	Composites [][]byte
	// Cells are path and cell of each geometry at a path of the spatial index, in their order.
	Cells [][]byte
}

// Terms reads a document: checked JSON of an object, and the time of its change, which has the path _ts.
func (x *Index) Terms(doc []byte, ts int64) *Terms {
	if x.policy.none {
		return &Terms{}
	}
	w := walker{index: x, text: doc, buf: make([]byte, 0, 2*len(doc)+64)}
	w.value(x.root, 0)
	at := x.member(x.root, "_ts")
	w.defined(at, Scalar)
	w.term(at, jsontext.Value(appendInt(nil, ts)))
	t := &Terms{Composites: x.composites(doc, ts), Cells: x.cells(doc)}
	if len(w.ends) > MaxTerms {
		return t
	}
	t.Keys, t.Shape = w.keys(), w.shape()
	return t
}

// maxCells bounds the cells of one geometry.
const maxCells = 8

// cells are those of the geometries at the paths of the spatial index. What is no valid geometry has none,
// as no spatial condition is true for it.
func (x *Index) cells(doc []byte) (out [][]byte) {
	for _, p := range x.policy.Spatial {
		v := find(doc, p, 0)
		if v == nil || v.Kind() != '{' {
			continue
		}
		g, err := geo.Parse(v)
		if err != nil {
			continue
		}
		id := binary.BigEndian.AppendUint64(nil, uint64(x.PathID(p)))
		for _, c := range g.Cells(maxCells) {
			out = append(out, binary.BigEndian.AppendUint64(slices.Clip(id), c))
		}
	}
	return sorted(out)
}

// HasCells reports whether the geometries at a path are indexed.
func (x *Index) HasCells(p Path) bool {
	return slices.ContainsFunc(x.policy.Spatial, func(q Path) bool { return slices.Equal(p, q) })
}

// composites are the values of the composite indexes.
func (x *Index) composites(doc []byte, ts int64) [][]byte {
	var out [][]byte
	for _, c := range x.policy.Composites {
		var b []byte
		for _, p := range c {
			b = appendComposite(b, find(doc, p.Path, ts), p.Desc)
		}
		out = append(out, b)
	}
	return out
}

// appendComposite appends a value as it stands in a composite term: every value has an encoding, and those
// that sort downwards have all bits changed.
func appendComposite(b []byte, v jsontext.Value, desc bool) []byte {
	n := len(b)
	switch {
	case v == nil:
		b = append(b, tagUndefined)
	case v.Kind() == '{' || v.Kind() == '[':
		b = append(b, tagComposite)
	default:
		b = AppendValue(b, v)
	}
	if desc {
		invert(b[n:])
	}
	return b
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// SplitComposite takes the values of a composite term apart, each as [AppendValue] wrote it, the undefined
// and the inexact ones too. rest is what follows them.
func SplitComposite(b []byte, paths []CompositePath) (values [][]byte, rest []byte, ok bool) {
	rest = slices.Clone(b)
	for _, p := range paths {
		if p.Desc {
			invert(rest)
		}
		v, more, ok := Split(rest)
		if !ok {
			return nil, nil, false
		}
		values = append(values, v)
		rest = more
		if p.Desc {
			rest = slices.Clone(more)
			invert(rest)
		}
	}
	return values, rest, true
}

// StemOfComposite returns what a composite term has in common with those that it cannot be told apart from;
// exact when that is all of its values.
func StemOfComposite(b []byte, paths []CompositePath) (stem []byte, exact bool, err error) {
	values, rest, ok := SplitComposite(b, paths)
	if !ok {
		return nil, false, errors.New("index: a composite term cannot be read")
	}
	n := 0
	for _, v := range values {
		if !Exact(v) {
			return b[:n+len(Stem(v))], false, nil
		}
		n += len(v)
	}
	return b[:len(b)-len(rest)], true, nil
}

// KindAt is what a document has at a path of members.
func KindAt(doc []byte, p Path) (k Kind, has bool) {
	v := find(doc, p, 0)
	if v == nil {
		return 0, false
	}
	if v.Kind() == '{' || v.Kind() == '[' {
		return Composite, true
	}
	return Scalar, true
}

// ShapeOf is the identity of a shape given as bytes; [Overflow] for nil.
func (x *Index) ShapeOf(shape []byte) ShapeID {
	if shape == nil {
		return Overflow
	}
	m := hmac.New(sha256.New, x.secret)
	m.Write([]byte{2})
	m.Write(shape)
	return max(ShapeID(binary.BigEndian.Uint64(m.Sum(nil))), Other+1)
}

// shapeStep is how many bytes of a shape stand for one path: its identity and its kind.
const shapeStep = 9

// Has reports whether documents of a shape have a value at a path, and of which kind.
func Has(shape []byte, p PathID) (Kind, bool) {
	for ; len(shape) >= shapeStep; shape = shape[shapeStep:] {
		if PathID(binary.BigEndian.Uint64(shape)) == p {
			return Kind(shape[8]), true
		}
	}
	return 0, false
}

// sorted puts slices of bytes in order and drops what is there twice.
func sorted(list [][]byte) [][]byte {
	slices.SortFunc(list, bytes.Compare)
	return slices.CompactFunc(list, bytes.Equal)
}
