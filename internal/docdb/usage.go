package docdb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/docdb/index"
	"github.com/latchkey-db/latchkey/internal/docdb/sql"
)

// IndexUsage is which indexes serve a query, and which ones that the policy does not have would. Single
// indexes are paths such as /a/?, composite ones lists such as /a ASC.
type IndexUsage struct {
	Single, PotentialSingle       []string
	Composite, PotentialComposite [][]string
}

// Explanation is how a query was run.
type Explanation struct {
	// Steps are from the last one to the first: what becomes of the rows, and how they are found.
	Steps []string `json:"steps"`
	// Estimated is how many documents the index said that there may be, AtLeast when it stopped counting; -1
	// when it was not asked.
	Estimated int        `json:"estimated"`
	AtLeast   bool       `json:"atLeast,omitempty"`
	Read      int        `json:"documentsRead"`
	Results   int        `json:"results"`
	Indexes   IndexUsage `json:"indexes"`
}

// usage works out which indexes serve the conditions and the order of a query.
func (a *access) usage(c *sql.Condition, order []sql.OrderBy) (u IndexUsage) {
	if a.gen == nil || !a.gen.Enabled() {
		return u
	}
	equal, ranges := map[string]bool{}, map[string]bool{}
	c.Each(func(x *sql.Condition) {
		path, ok := a.path(x.Path)
		if len(path) == 0 {
			return
		}
		spec := path.String()
		if x.Test == sql.In {
			equal[spec] = true
		} else {
			ranges[spec] = true
		}
		u.single(spec+"/?", ok || x.Test == sql.Near && a.gen.HasCells(path))
	})
	for _, o := range order {
		if path, ok := a.path(o.Path); len(order) == 1 && len(path) > 0 {
			u.single(path.String()+"/?", ok)
		}
	}
	a.composites(&u, equal, ranges, order)
	return u
}

func (u *IndexUsage) single(spec string, there bool) {
	list := &u.PotentialSingle
	if there {
		list = &u.Single
	}
	if !slices.Contains(*list, spec) {
		*list = append(*list, spec)
	}
}

// composites tells the composite index of an order, and the one that equalities with a single range would
// be served by.
func (a *access) composites(u *IndexUsage, equal, ranges map[string]bool, order []sql.OrderBy) {
	if len(order) > 1 {
		specs := make([]string, len(order))
		for i, o := range order {
			path, _ := a.path(o.Path)
			specs[i] = path.String() + map[bool]string{true: " DESC", false: " ASC"}[o.Desc]
		}
		u.Composite = append(u.Composite, specs)
		return
	}
	for p := range equal {
		delete(ranges, p)
	}
	if len(equal) == 0 || len(ranges) != 1 {
		return
	}
	var specs []string
	for _, set := range []map[string]bool{equal, ranges} {
		names := make([]string, 0, len(set))
		for p := range set {
			names = append(names, p+" ASC")
		}
		slices.Sort(names)
		specs = append(specs, names...)
	}
	if slices.ContainsFunc(a.gen.Composites(), func(c []index.CompositePath) bool {
		return slices.EqualFunc(c, specs, func(p index.CompositePath, s string) bool { return p.Path.String()+" ASC" == s })
	}) {
		u.Composite = append(u.Composite, specs)
		return
	}
	u.PotentialComposite = append(u.PotentialComposite, specs)
}

// describe tells the way to the rows.
func (s *rows) describe(c *sql.Condition) []string {
	switch {
	case s.order != nil:
		direction := "upwards"
		if s.order.desc {
			direction = "downwards"
		}
		what := "index in the order of " + s.order.path.String()
		if s.order.path == nil {
			what = "composite index"
		}
		if s.order.bounded {
			what += ", bounded"
		}
		return []string{what + ", read " + direction}
	case s.covered != nil:
		return []string{"index alone, without documents: " + describeCondition(c)}
	case s.constant != nil:
		return []string{"index alone, without documents: " + describeCondition(c)}
	case s.found != nil:
		return []string{"documents by number", "index: " + describeCondition(c)}
	}
	if s.anyOrder {
		return []string{"scan of all documents as they are stored"}
	}
	return []string{"scan of all documents"}
}

// describeCondition writes what the index was asked.
func describeCondition(c *sql.Condition) string {
	if c == nil {
		return "all"
	}
	switch c.Test {
	case sql.And, sql.Or:
		parts := make([]string, len(c.Of))
		for i, x := range c.Of {
			parts[i] = describeCondition(x)
		}
		return "(" + strings.Join(parts, map[bool]string{true: " and ", false: " or "}[c.Test == sql.And]) + ")"
	}
	path := index.Path{}
	for _, s := range c.Path {
		path = append(path, index.Step(s))
	}
	name := path.String()
	switch c.Test {
	case sql.In:
		if len(c.Values) == 1 {
			return fmt.Sprintf("%s = %.80s", name, c.Values[0])
		}
		return fmt.Sprintf("%s is one of %d values", name, len(c.Values))
	case sql.HasPrefix:
		return fmt.Sprintf("%s begins with %.80q", name, c.Prefix)
	case sql.HasType:
		return name + " has a type"
	case sql.Defined:
		return name + " is there"
	case sql.Undefined:
		return name + " is not there"
	case sql.Near:
		return fmt.Sprintf("%s within %v m", name, c.Metres)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", name, boundText(c.Low, c.LowOpen, ">"), boundText(c.High, c.HighOpen, "<")))
}

func boundText(v []byte, open bool, sign string) string {
	switch {
	case v == nil:
		return ""
	case open:
		return fmt.Sprintf("%s %.80s", sign, v)
	}
	return fmt.Sprintf("%s= %.80s", sign, v)
}

// estimate asks the index how many documents may fulfil a condition.
func (s *rows) estimate(c *sql.Condition) (n int, more bool, err error) {
	p, err := s.index.candidates(c)
	if err != nil || p == nil {
		return -1, false, err
	}
	list, all := take(p, maxEstimate)
	return len(list), !all, nil
}

// maxEstimate is how far an estimate counts.
const maxEstimate = 10_000

// explain tells how a page of a query came about.
func (s *rows) explain(plan *sql.Plan, results int) (*Explanation, error) {
	n, more, err := s.estimate(s.condition)
	if err != nil {
		return nil, err
	}
	return &Explanation{
		Steps:     append(plan.Steps(s.order != nil), s.describe(s.condition)...),
		Estimated: n, AtLeast: more, Read: s.read, Results: results, Indexes: s.index.usage(s.condition, plan.Order()),
	}, nil
}
