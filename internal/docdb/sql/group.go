package sql

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// grouping is GROUP BY with the aggregates of the select list; without keys all rows are one group.
// While groups are given out, the slots hold their keys and aggregates instead of a row.
type grouping struct {
	keys       []evaluator
	keySlots   []int
	aggregates []aggregateCall
}

// aggregateCall is an aggregate of the select list.
type aggregateCall struct {
	make func() accumulator
	arg  evaluator
	slot int
}

// group is what is known about the rows with the same keys.
type group struct {
	keys         []value
	accumulators []accumulator
}

// groupSize is what a group takes in memory beside its keys and accumulators.
const groupSize = 160

// run collects all rows, then gives one result for each group in the order of their first rows.
func (g *grouping) run(r *run, h *holder, p *pipeline, out emit) error {
	groups := map[string]*group{}
	var order []*group
	err := p.rows(r, func() (bool, error) {
		keys, id, err := g.identify(r)
		if err != nil {
			return false, err
		}
		found := groups[id]
		if found == nil {
			found = g.open(keys)
			if err := h.hold(groupSize + len(id) + sizeOf(keys) + 2*valueSize*len(g.aggregates)); err != nil {
				return false, err
			}
			groups[id] = found
			order = append(order, found)
		}
		return true, g.add(r, h, found)
	})
	if err != nil {
		return err
	}
	if len(g.keys) == 0 && len(order) == 0 {
		order = append(order, g.open(nil))
	}
	return g.emit(r, p, order, out)
}

// identify computes the keys of the row that is bound, and a string that stands for them.
func (g *grouping) identify(r *run) ([]value, string, error) {
	var id []byte
	keys := make([]value, len(g.keys))
	for i, k := range g.keys {
		v, err := k(r)
		if err != nil {
			return nil, "", err
		}
		keys[i] = v
		id = appendKey(id, v)
	}
	return keys, string(id), r.spend(1 + len(id)>>10)
}

// open begins a group; its keys must not keep their document.
func (g *grouping) open(keys []value) *group {
	n := &group{keys: keys}
	for i, k := range keys {
		keys[i] = detach(k)
	}
	for _, a := range g.aggregates {
		n.accumulators = append(n.accumulators, a.make())
	}
	return n
}

// add gives the row that is bound to the aggregates of its group.
func (g *grouping) add(r *run, h *holder, to *group) error {
	for i, a := range g.aggregates {
		v, err := a.arg(r)
		if err != nil {
			return err
		}
		if err := r.spend(1 + v.size()>>10); err != nil {
			return err
		}
		if err := h.hold(to.accumulators[i].add(v)); err != nil {
			return err
		}
	}
	return nil
}

// emit projects the groups.
func (g *grouping) emit(r *run, p *pipeline, order []*group, out emit) error {
	for _, x := range order {
		for i, k := range x.keys {
			r.slots[g.keySlots[i]] = k
		}
		for i, a := range g.aggregates {
			v, err := bounded(x.accumulators[i].result())
			if err != nil {
				return err
			}
			r.slots[a.slot] = v
		}
		if more, err := p.emit(r, out); err != nil || !more {
			return err
		}
	}
	return nil
}

// groupKeys compiles GROUP BY. From here on the select list may use its keys and aggregates only.
func (c *compiler) groupKeys(p *pipeline, b *block, scope *variable) error {
	p.group = &grouping{}
	for _, e := range b.query.groupBy {
		k, err := c.expr(e, scope)
		if err != nil {
			return err
		}
		p.group.keys = append(p.group.keys, k)
		p.group.keySlots = append(p.group.keySlots, c.slot())
		b.keys = append(b.keys, c.hash(e))
	}
	b.keySlots, b.selecting = p.group.keySlots, true
	return nil
}

// grouped compiles an expression of a grouped select list that is a key; ok is false for others. A path
// that is neither a key nor a part of one or of an aggregate has no one value.
func (c *compiler) grouped(e expr, scope *variable) (_ evaluator, ok bool, err error) {
	b := c.current
	if b != nil && b.selecting {
		h := c.hash(e)
		for i, k := range b.keys {
			if k == h && same(b.query.groupBy[i], e) {
				slot := b.keySlots[i]
				return func(r *run) (value, error) { return r.slots[slot], nil }, true, nil
			}
		}
	}
	root := pathRoot(e)
	if root == nil {
		return nil, false, nil
	}
	if v := lookup(scope, root.name); v != nil && v.owner != nil && v.owner.selecting {
		return nil, false, failure(e.at(), codeUngrouped, "Property reference '%s' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.", format(e))
	}
	return nil, false, nil
}

// hasAggregate reports whether an aggregate stands in a select list; those of subqueries are theirs.
func hasAggregate(items []selectItem) bool {
	var inside func(e expr) bool
	inside = func(e expr) bool {
		if f, ok := e.(*call); ok && !f.udf && aggregates[strings.ToUpper(f.name)] != nil {
			return true
		}
		return slices.ContainsFunc(children(e), inside)
	}
	return slices.ContainsFunc(items, func(i selectItem) bool { return inside(i.expr) })
}

// aggregateCall compiles an aggregate. Its argument is computed for each row; its result is in a slot.
func (c *compiler) aggregateCall(e *call, scope *variable) (evaluator, error) {
	switch {
	case c.aggregate != nil:
		return nil, nested(c.aggregate)
	case len(e.args) != 1:
		return nil, arity(e, 1, 1)
	case c.current == nil || !c.current.selecting:
		return nil, failure(e.span, "", "The aggregate function '%s' is not allowed here.", e.name)
	}
	b := c.current
	c.current, c.aggregate, b.selecting = nil, e, false
	arg, err := c.expr(e.args[0], scope)
	c.current, c.aggregate, b.selecting = b, nil, true
	if err != nil {
		return nil, err
	}
	slot := c.slot()
	b.aggregates = append(b.aggregates, aggregateCall{aggregates[strings.ToUpper(e.name)], arg, slot})
	return func(r *run) (value, error) { return r.slots[slot], nil }, nil
}

// nested is the error of an aggregate that has another one or a subquery inside.
func nested(e *call) error {
	return failure(e.span, codeNested, "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.")
}

// hashSeed is of this process: hashes are never stored.
var hashSeed = maphash.MakeSeed()

// hash is a number that expressions share that mean the same. It is computed once for each.
func (c *compiler) hash(e expr) uint64 {
	if h, ok := c.hashes[e]; ok {
		return h
	}
	var m maphash.Hash
	m.SetSeed(hashSeed)
	m.WriteString(head(e))
	for _, x := range children(e) {
		fmt.Fprintf(&m, "%x,", c.hash(x))
	}
	if c.hashes == nil {
		c.hashes = map[expr]uint64{}
	}
	c.hashes[e] = m.Sum64()
	return c.hashes[e]
}

// head is what distinguishes an expression beside its children.
func head(e expr) string {
	switch e := e.(type) {
	case *literal:
		return "literal " + key(e.value)
	case *name:
		return "name " + e.name
	case *parameter:
		return "name " + e.name
	case *unary:
		return "unary " + e.op
	case *binary:
		return "binary " + e.op
	case *in:
		return fmt.Sprint("in ", e.not)
	case *between:
		return fmt.Sprint("between ", e.not)
	case *like:
		return fmt.Sprint("like ", e.not, e.escape)
	case *call:
		return fmt.Sprint("call ", e.udf, strings.ToUpper(e.name))
	case *objectLiteral:
		return fmt.Sprintf("object %q", e.names)
	case *subquery:
		return "query " + format(e)
	}
	return fmt.Sprintf("%T", e)
}

// same reports whether two expressions mean the same, however they are written.
func same(a, b expr) bool {
	return head(a) == head(b) && slices.EqualFunc(children(a), children(b), same)
}
