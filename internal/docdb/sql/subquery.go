package sql

// subquery compiles a query that stands in an expression. It sees the variables around it.
func (c *compiler) subquery(e *subquery, scope *variable) (evaluator, error) {
	if c.aggregate != nil {
		return nil, nested(c.aggregate)
	}
	if e.kind == "ALL" && e.query.where != nil {
		return c.all(e, scope)
	}
	q, err := c.query(e.query, correlated(scope))
	if err != nil {
		return nil, err
	}
	switch e.kind {
	case "EXISTS":
		return anyResult(q, true), nil
	case "ALL": // no condition that a row could fail
		return func(*run) (value, error) { return boolean(true), nil }, nil
	case "ARRAY":
		return allResults(q), nil
	case "FIRST":
		return oneResult(q, true, false), nil
	case "LAST":
		return oneResult(q, false, false), nil
	}
	return oneResult(q, true, true), nil
}

// correlated is the scope of a subquery. It is never empty, so that no subquery of an expression reads
// the container.
func correlated(scope *variable) *variable {
	if scope == nil {
		return &variable{name: "\x00"}
	}
	return scope
}

// all compiles ALL: no row may fail the condition. A condition that is undefined does not fail, as
// NOT of it is not true.
func (c *compiler) all(e *subquery, scope *variable) (evaluator, error) {
	failing := *e.query
	failing.where = &unary{e.query.where.at(), "NOT", e.query.where}
	q, err := c.query(&failing, correlated(scope))
	return anyResult(q, false), err
}

// anyResult answers whether there is a result.
func anyResult(q *pipeline, answer bool) evaluator {
	return func(r *run) (value, error) {
		found := false
		err := q.run(r, func(value) (bool, error) {
			found = true
			return false, nil
		})
		return boolean(found == answer), err
	}
}

// allResults makes an array of the results.
func allResults(q *pipeline) evaluator {
	return func(r *run) (value, error) {
		items, size := []value{}, 0
		err := q.run(r, func(v value) (bool, error) {
			items = append(items, v)
			if size += v.size(); size > maxValueSize {
				return false, ErrTooMuchMemory
			}
			return true, r.spend(1)
		})
		return array(items), err
	}
}

// oneResult is the first or the last result, undefined when there is none. A scalar subquery may have
// no second one.
func oneResult(q *pipeline, first, scalar bool) evaluator {
	return func(r *run) (value, error) {
		var result value
		n := 0
		err := q.run(r, func(v value) (bool, error) {
			if n++; n == 2 && scalar {
				return false, &SyntaxError{Message: "The cardinality of a scalar subquery result set cannot be greater than one."}
			}
			result = v
			return !first || scalar, nil
		})
		return result, err
	}
}
