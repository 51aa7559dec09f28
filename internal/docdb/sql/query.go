package sql

import "strconv"

// maxJoins is the service's limit for the joins of one FROM clause (maxJoinsPerSqlQuery).
const maxJoins = 10

// query compiles a query inside of a scope; the outermost one has none.
func (c *compiler) query(q *Query, scope *variable) (*pipeline, error) {
	if err := c.clauses(q, c.depth > 0); err != nil {
		return nil, err
	}
	c.depth++
	current := c.current
	c.current = nil
	defer func() {
		c.current = current
		c.depth--
	}()
	b := &block{query: q}
	p := &pipeline{distinct: q.distinct}
	scope, err := c.from(p, b, scope)
	if err != nil {
		return nil, err
	}
	if q.where != nil {
		if p.where, err = c.expr(q.where, scope); err != nil {
			return nil, err
		}
	}
	if err := c.selection(p, b, scope); err != nil {
		return nil, err
	}
	if err := c.bounds(p, q); err != nil {
		return nil, err
	}
	p.shape = resultShape(q, scope)
	return p, c.order(p, b, scope)
}

// clauses refuses what may not stand together or not in a subquery.
func (c *compiler) clauses(q *Query, sub bool) error {
	switch {
	case sub && q.rank:
		return failure(q.orderAt, codeSubRank, "The ORDER BY RANK clause is not supported in subqueries.")
	case sub && q.orderBy != nil:
		return failure(q.orderAt, codeSubOrder, "'ORDER BY' is not supported in subqueries.")
	case sub && q.top != nil:
		return failure(q.topAt, codeSubTop, "'TOP' is not supported in subqueries.")
	case sub && q.offset != nil:
		return failure(q.offsetAt, codeSubOffset, "'OFFSET LIMIT' clause is not supported in subqueries.")
	case q.star && len(q.groupBy) > 0:
		return failure(q.starAt, codeStarGroup, "'SELECT *' is not allowed with GROUP BY.")
	case q.star && len(q.from) == 0:
		return failure(q.starAt, "", "'SELECT *' is not valid if FROM clause is omitted.")
	case q.star && len(q.from) > 1:
		return failure(q.starAt, "", "'SELECT *' is only valid with a single input set.")
	case q.orderBy != nil && q.groupBy != nil:
		return failure(q.orderAt, "", "'ORDER BY' is not supported with 'GROUP BY'.")
	case q.top != nil && q.offset != nil:
		return failure(q.topAt, "", "'TOP' is not supported with 'OFFSET LIMIT'.")
	case len(q.from) > maxJoins+1:
		return failure(q.span, "", "The SQL query exceeded the maximum number of joins. The allowed limit is %d.", maxJoins)
	}
	return nil
}

// from compiles the sources, each in the scope of those before it.
func (c *compiler) from(p *pipeline, b *block, outer *variable) (*variable, error) {
	scope := outer
	for i, s := range b.query.from {
		v := &variable{name: s.alias, slot: c.slot(), owner: b, outer: scope}
		if s.alias != "" {
			for w := scope; w != outer; w = w.outer {
				if w.name == s.alias {
					return nil, failure(s.span, "", "The input alias '%s' is specified more than once in the FROM clause.", s.alias)
				}
			}
		}
		st, err := c.source(s, v, scope, i == 0 && outer == nil)
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, st)
		scope = v
	}
	return scope, nil
}

// source compiles one source. Only the first one of a query without a scope may read the container,
// which its first name then stands for.
func (c *compiler) source(s source, v *variable, scope *variable, first bool) (step, error) {
	if s.query != nil {
		q, err := c.query(s.query, scope)
		if err != nil {
			return nil, err
		}
		if !s.iterate {
			v.shape = q.shape
		}
		return queryStep(q, v.slot, s.iterate), nil
	}
	v.shape = &shape{path: true}
	if root := pathRoot(s.path); first && root != nil {
		hidden := &variable{name: root.name, slot: c.slot()}
		path, err := c.expr(s.path, hidden)
		return scanStep(hidden.slot, path, v.slot, s.iterate), err
	}
	path, err := c.expr(s.path, scope)
	return pathStep(path, v.slot, s.iterate), err
}

// selection compiles the select list, and the grouping when there is one.
func (c *compiler) selection(p *pipeline, b *block, scope *variable) (err error) {
	q := b.query
	if err := c.distinctNames(q); err != nil {
		return err
	}
	if len(q.groupBy) > 0 || hasAggregate(q.items) {
		if err := c.groupKeys(p, b, scope); err != nil {
			return err
		}
	}
	if q.star {
		p.project = func(r *run) (value, error) { return r.slots[scope.slot], nil }
		return nil
	}
	c.current = b
	defer func() { c.current, b.selecting = nil, false }()
	if p.project, err = c.projection(q, scope); err == nil && p.group != nil {
		p.group.aggregates = b.aggregates
	}
	return err
}

// projection compiles what a row becomes.
func (c *compiler) projection(q *Query, scope *variable) (evaluator, error) {
	compile := c.expr
	if c.depth == 1 {
		compile = c.output
	}
	if q.value {
		return compile(q.items[0].expr, scope)
	}
	names, items := make([]string, len(q.items)), make([]evaluator, len(q.items))
	unnamed := 0
	for i, item := range q.items {
		if names[i] = item.name(); names[i] == "" {
			unnamed++
			names[i] = "$" + strconv.Itoa(unnamed)
		}
		var err error
		if items[i], err = compile(item.expr, scope); err != nil {
			return nil, err
		}
	}
	return construct(names, items), nil
}

// distinctNames refuses two results with one name.
func (c *compiler) distinctNames(q *Query) error {
	seen := map[string]bool{}
	for _, item := range q.items {
		name := item.name()
		if name != "" && seen[name] {
			return failure(item.expr.at(), codeAlias, "The alias '%s' is specified more than once in the SELECT clause.", name)
		}
		seen[name] = true
	}
	return nil
}

// order compiles ORDER BY. Its items must lead to properties of documents.
func (c *compiler) order(p *pipeline, b *block, scope *variable) error {
	if b.query.rank {
		return failure(b.query.orderAt, "", "The ORDER BY RANK clause is not supported by this server yet.")
	}
	for _, o := range b.query.orderBy {
		by, err := c.expr(o.expr, scope)
		if err != nil {
			return err
		}
		if s := shapeOf(o.expr, scope); s == nil || !s.path {
			return &SyntaxError{Code: codeOrderPath, Message: "Unsupported ORDER BY clause. ORDER BY item expression could not be mapped to a document path."}
		}
		p.order = append(p.order, orderKey{by, o.desc})
	}
	return nil
}

// bounds compiles TOP, OFFSET and LIMIT.
func (c *compiler) bounds(p *pipeline, q *Query) (err error) {
	if p.top, err = c.bound(q.top, codeTop, "The count value provided for a TOP clause must be an integer."); err != nil {
		return err
	}
	if p.offset, err = c.bound(q.offset, codeOffset, "The OFFSET count value exceeds the maximum allowed value."); err != nil {
		return err
	}
	p.limit, err = c.bound(q.limit, codeLimit, "The LIMIT count value exceeds the maximum allowed value.")
	return err
}

// maxCount is the first count that the service refuses.
const maxCount = 1 << 32

// bound compiles a count; nil for none. A literal is checked now, a parameter when it has a value.
func (c *compiler) bound(e expr, code, message string) (*bound, error) {
	if e == nil {
		return nil, nil
	}
	refuse := failure(e.at(), code, "%s", message)
	if l, ok := e.(*literal); ok {
		if n, whole := l.value.int64(); !whole || n >= maxCount {
			return nil, refuse
		}
	}
	ev, err := c.expr(e, nil)
	return &bound{ev, refuse}, err
}

// shape tells what a variable or expression stands for, as far as ORDER BY asks: a path into the
// document, or an object whose members are known.
type shape struct {
	path   bool
	object *objectLiteral
	scope  *variable
}

// shapeOf follows an expression through subqueries and object literals; nil when it is computed.
func shapeOf(e expr, scope *variable) *shape {
	switch e := e.(type) {
	case *name:
		if v := lookup(scope, e.name); v != nil {
			return v.shape
		}
	case *member:
		base := shapeOf(e.base, scope)
		key, ok := e.index.(*literal)
		if base == nil || !ok || base.path {
			return base
		}
		for i, s := range base.object.names {
			if key.value.typ == stringType && s == key.value.s {
				return shapeOf(base.object.items[i], base.scope)
			}
		}
	case *objectLiteral:
		return &shape{object: e, scope: scope}
	}
	return nil
}

// resultShape is what a result of a query is.
func resultShape(q *Query, scope *variable) *shape {
	switch {
	case q.distinct || q.groupBy != nil || hasAggregate(q.items):
		return nil
	case q.star:
		return scope.shape
	case q.value:
		return shapeOf(q.items[0].expr, scope)
	}
	o := &objectLiteral{}
	for _, i := range q.items {
		o.names, o.items = append(o.names, i.name()), append(o.items, i.expr)
	}
	return &shape{object: o, scope: scope}
}
