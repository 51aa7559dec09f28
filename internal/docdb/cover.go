package docdb

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/docdb/index"
	"github.com/latchkey-db/latchkey/internal/docdb/sql"
	"github.com/latchkey-db/latchkey/internal/jsonx"
	"github.com/latchkey-db/latchkey/internal/store"
)

// A query that looks at nothing but what the index has need not read documents: it gets rows that hold the
// values of the terms. The query evaluates its condition on them as on documents. That needs
// an index that knows every document, and documents that are all alive.

// stub makes rows of one path: what stands before and behind its value.
type stub struct{ before, behind []byte }

func stubOf(p sql.Path) stub {
	var s stub
	for _, step := range p {
		s.before = append(append(append(s.before, '{'), jsonx.Quote(step.Name)...), ':')
		s.behind = append(s.behind, '}')
	}
	return s
}

func (s stub) row(v jsontext.Value) []byte { return slices.Concat(s.before, v, s.behind) }

// knowsAll reports whether the index can stand for the documents.
func (s *rows) knowsAll() bool {
	g := s.index.gen
	return g != nil && g.Enabled() && !g.overflow.Load() && s.state.rec.Spec.DefaultTTL == nil && s.part.prefix == nil && s.state.erasures.none()
}

// cover finds rows that stand for the documents; nothing changes when there are none.
func (s *rows) cover(plan *sql.Plan, c *sql.Condition) {
	reads, ok := plan.Reads()
	if !ok || !s.knowsAll() {
		return
	}
	if s.found != nil {
		s.constant = s.constants(reads, c)
	}
	switch {
	case s.constant != nil || !plan.Unordered():
	case c == nil && len(reads) == 0:
		s.covered = s.everyItem
	case c != nil && s.part.partition == "":
		s.covered = s.everyTerm(reads, c)
	}
}

// constants is the row that stands for each document that fulfils the condition, when that fixes everything
// that is read; nil when it does not.
func (s *rows) constants(reads []sql.Path, c *sql.Condition) []byte {
	list := []*sql.Condition{c}
	if c.Test == sql.And {
		list = c.Of
	}
	row := jsonx.Object{}
	for _, x := range list {
		path, ok := s.index.path(x.Path)
		if x.Test != sql.In || len(x.Values) != 1 || !ok || len(path) != 1 || !path.Single() {
			return nil
		}
		v, ok := index.Decode(index.AppendValue(nil, jsontext.Value(x.Values[0])))
		if _, twice := row.Get(path[0].Name); !ok || twice {
			return nil
		}
		row = append(row, jsonx.NewMember(path[0].Name, v))
	}
	for _, p := range reads {
		if _, ok := row.Get(p[0].Name); !ok || len(p) != 1 {
			return nil
		}
	}
	return row.Join()
}

// everyItem gives an empty row for each item.
func (s *rows) everyItem(ctx context.Context, yield func(sql.Row, error) bool) (err error) {
	r := below(keyOrder, s.state.id[:])
	if s.part.partition != "" {
		r = below(keyPartition, s.state.id[:], []byte(s.part.partition))
	}
	n := 0
	for _, at := range s.view.Scan(r, &err) {
		if s.part.partition == "" && !s.part.whole() && !s.part.holds(at) {
			continue
		}
		if n++; n%1024 == 0 && ctx.Err() != nil || !yield(sql.Row{JSON: []byte("{}")}, nil) {
			break
		}
	}
	return err
}

// everyTerm gives a row for each term that a condition of one path asks for; nil when it is of more.
func (s *rows) everyTerm(reads []sql.Path, c *sql.Condition) func(context.Context, func(sql.Row, error) bool) error {
	path, ok := s.index.path(c.Path)
	if !ok || !path.Single() || slices.ContainsFunc(reads, func(p sql.Path) bool { return !slices.Equal(p, c.Path) }) {
		return nil
	}
	if c.Test != sql.Between && c.Test != sql.HasPrefix { // most documents have the type that is asked for, many with texts that are cut
		return nil
	}
	lower, upper := bounds(c)
	prefix := s.index.termKey(path)
	r := store.Range{Lower: slices.Concat(prefix, lower), Upper: slices.Concat(prefix, upper)}
	if upper == nil {
		r.Upper = store.Prefix(prefix).Upper
	}
	row := stubOf(c.Path)
	return func(ctx context.Context, yield func(sql.Row, error) bool) (err error) {
		everywhere := s.part.whole()
		for k, epk := range s.view.Scan(r, &err) {
			if !everywhere && !s.part.covers(epk) {
				continue
			}
			if more, e := s.term(row, k[len(prefix):], tail(k), yield); e != nil || !more {
				return e
			}
		}
		return err
	}
}

// term gives the row of a term; where its value cannot be told, the document.
func (s *rows) term(row stub, encoded []byte, number uint64, yield func(sql.Row, error) bool) (more bool, err error) {
	value, _, _ := index.Split(encoded)
	if v, ok := index.Decode(value); ok {
		return yield(sql.Row{JSON: row.row(v)}, nil), nil
	}
	i, err := s.byNumber(number)
	if err != nil || i == nil {
		return true, err
	}
	return s.give(i, yield), nil
}
