package docdb

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/latchkey-db/latchkey/internal/docdb/index"
	"github.com/latchkey-db/latchkey/internal/docdb/sql"
	"github.com/latchkey-db/latchkey/internal/store"
)

// ordered reads the documents of a span in the order of one path, from the terms of the path or of a composite index
// that begins with it. Of the terms of a path, the documents without a value come from the shapes that
// lack it, and those with an array or an object from the shapes that say so: they are read and sorted.
//
//	stages, upwards: lacking, terms, composites; downwards the other way round
//
// Documents with inexact terms that look alike are read and sorted too.
type ordered struct {
	*access
	rows   *rows
	by     []sql.OrderBy
	desc   bool // the terms are read downwards
	prefix []byte
	// path is the one of the terms; a composite index, where every document has a term, has none.
	path         index.Path
	paths        []index.CompositePath
	lower, upper []byte // bounds of the values, if the condition has any: then there is only the stage of terms
	bounded      bool
	at           rowPlace
	ctx          context.Context
	stop         bool
	err          error
	yield        func(sql.Row, error) bool
}

// rowPlace is where in an order a row stands.
type rowPlace struct {
	stage byte
	run   bool   // the row is one of a run of inexact terms
	term  []byte // value and number, or the stem that such a run has in common; nil before the first
	skip  uint64 // rows of the stage, or of that run, that were given already
}

// The stages of an order, upwards.
const (
	stageNone byte = iota // before the first
	stageLacking
	stageTerms
	stageComposites
)

// maxRun bounds the documents that are sorted because their terms look alike.
const maxRun = 1 << 16

// run gives the rows from where the order stands.
func (o *ordered) run(ctx context.Context, yield func(sql.Row, error) bool) {
	o.yield = yield
	o.ctx = ctx
	list := []byte{stageLacking, stageTerms, stageComposites}
	switch {
	case o.bounded || o.path == nil:
		list = []byte{stageTerms}
	case o.desc:
		slices.Reverse(list)
	}
	for i := max(slices.Index(list, o.at.stage), 0); i < len(list) && !o.stop; i++ {
		if o.at.stage != list[i] {
			o.at = rowPlace{stage: list[i]}
		}
		if err := o.stage(list[i]); err != nil {
			yield(sql.Row{}, err)
			return
		}
	}
}

func (o *ordered) stage(stage byte) error {
	if stage == stageTerms {
		return o.terms()
	}
	numbers, err := o.without(stage)
	if err != nil {
		return err
	}
	if stage == stageLacking && o.desc {
		slices.Reverse(numbers)
	}
	return o.sortedRun(numbers, nil)
}

// without are the numbers of documents that have no term: those that lack the path, or have an array or an
// object there. The documents of unknown shape are looked at.
func (o *ordered) without(stage byte) (out listed, err error) {
	id := o.gen.PathID(o.path)
	shapes := []index.ShapeID{}
	o.gen.each(func(s index.ShapeID, paths []byte) {
		kind, has := index.Has(paths, id)
		if stage == stageLacking && !has || stage == stageComposites && has && kind == index.Composite {
			shapes = append(shapes, s)
		}
	})
	for _, s := range append(shapes, index.Other) {
		p, err := o.stored(o.shapeKey(s), o.part)
		if err != nil {
			return nil, err
		}
		for n, ok := p.seek(0); ok; n, ok = p.seek(n + 1) {
			if s != index.Other || o.belongs(n, stage) {
				out = append(out, n)
			}
			if len(out) > maxRun {
				return nil, sql.ErrTooMuchMemory
			}
		}
	}
	slices.Sort(out)
	return out, o.err
}

// belongs looks at a document of unknown shape.
func (o *ordered) belongs(n uint64, stage byte) bool {
	i, err := o.rows.byNumber(n)
	if err != nil || i == nil {
		o.err = err
		return false
	}
	kind, has := index.KindAt(i.body, o.path)
	return stage == stageLacking && !has || stage == stageComposites && has && kind == index.Composite
}

// terms gives the rows of the stage that has terms.
func (o *ordered) terms() error {
	r := store.Range{Lower: slices.Concat(o.prefix, o.lower), Upper: store.Prefix(o.prefix).Upper}
	if o.upper != nil {
		r.Upper = slices.Concat(o.prefix, o.upper)
	}
	if bytes.Compare(r.Lower, r.Upper) >= 0 {
		return nil
	}
	c, err := o.view.Cursor(r)
	if err != nil {
		return err
	}
	err = o.walk(c)
	if e := c.Close(); err == nil {
		err = e
	}
	return err
}

func (o *ordered) walk(c *store.Cursor) error {
	next, ok := c.Next, false
	if o.desc {
		next = c.Prev
	}
	for ok = o.start(c); ok && !o.stop; {
		stem, exact, err := o.valueAt(c)
		if err != nil {
			return err
		}
		if !exact {
			if ok, err = o.alike(c, next, stem); err != nil {
				return err
			}
			continue
		}
		if o.part.whole() || o.part.covers(c.Value()) {
			o.at.term, o.at.run, o.at.skip = append(o.at.term[:0], c.Key()[len(o.prefix):]...), false, 0
			if err := o.row(tail(c.Key())); err != nil {
				return err
			}
		}
		ok = next()
	}
	return nil
}

// start moves to the first term, or behind the last one that was given.
func (o *ordered) start(c *store.Cursor) bool {
	if o.at.term == nil {
		if o.desc {
			return c.Last()
		}
		return c.First()
	}
	from := slices.Concat(o.prefix, o.at.term)
	switch {
	case o.at.run && o.desc:
		return c.SeekBelow(store.Prefix(from).Upper)
	case o.at.run:
		return c.Seek(from)
	case o.desc:
		return c.SeekBelow(from)
	}
	return c.Seek(append(from, 0))
}

// valueAt is the value of the term where the cursor stands, or what it has in common with those that it
// cannot be told apart from.
func (o *ordered) valueAt(c *store.Cursor) (stem []byte, exact bool, err error) {
	rest := c.Key()[len(o.prefix):]
	if o.path != nil {
		v, _, ok := index.Split(rest)
		if !ok {
			return nil, false, errors.New("docdb: a term of the index cannot be read")
		}
		return index.Stem(v), index.Exact(v), nil
	}
	return index.StemOfComposite(rest, o.paths)
}

// alike gives the rows of a run of terms that cannot be told apart, and moves behind it.
func (o *ordered) alike(c *store.Cursor, next func() bool, stem []byte) (ok bool, err error) {
	stem = slices.Clone(stem)
	var numbers listed
	for ok = true; ok && bytes.HasPrefix(c.Key()[len(o.prefix):], stem); ok = next() {
		if o.part.whole() || o.part.covers(c.Value()) {
			numbers = append(numbers, tail(c.Key()))
		}
		if len(numbers) > maxRun {
			return false, sql.ErrTooMuchMemory
		}
	}
	slices.Sort(numbers)
	if o.by[0].Desc {
		slices.Reverse(numbers)
	}
	if !o.at.run || !bytes.Equal(o.at.term, stem) {
		o.at.term, o.at.run, o.at.skip = stem, true, 0
	}
	return ok, o.sortedRun(numbers, o.by)
}

// sortedRun gives the rows of documents that have to be read first. Without an order only their numbers count.
func (o *ordered) sortedRun(numbers listed, by []sql.OrderBy) error {
	if by == nil && o.at.stage == stageComposites {
		by = o.by
		if o.desc {
			slices.Reverse(numbers)
		}
	}
	if by == nil {
		for _, n := range numbers[min(o.at.skip, uint64(len(numbers))):] {
			o.at.skip++
			if err := o.row(n); err != nil || o.stop {
				return err
			}
		}
		return nil
	}
	var items []*item
	for _, n := range numbers {
		i, err := o.rows.byNumber(n)
		if err != nil {
			return err
		}
		if i != nil {
			items = append(items, i)
		}
	}
	err := sql.SortDocuments(items, by, func(i *item) []byte { return i.json(o.id) })
	for _, i := range items[min(o.at.skip, uint64(len(items))):] {
		o.at.skip++
		if o.give(i); o.stop {
			break
		}
	}
	return err
}

// row gives the document with a number.
func (o *ordered) row(n uint64) error {
	i, err := o.rows.byNumber(n)
	if err == nil && i != nil {
		o.give(i)
	}
	return errors.Join(err, o.ctx.Err())
}

func (o *ordered) give(i *item) {
	if more := o.rows.give(i, o.yield); !more {
		o.stop = true
	}
}
