package resources

import (
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/api/arm"
)

// shown is what a filter of the lists looks at.
type shown struct {
	typ, name, group, location string
	tags                       map[string]string
}

// filter is the $filter of a list of groups or resources.
type filter struct{ parsed arm.Filter }

// parseFilter refuses what it could not evaluate on every item alike.
func parseFilter(r *arm.Request) (filter, error) {
	text := r.Query.Get("$filter")
	f, err := arm.ParseFilter(text)
	if err != nil {
		return filter{}, err
	}
	for i, all := range f {
		f[i] = pairTags(all)
	}
	if _, known := f.Match((shown{}).holds); !known {
		return filter{}, arm.BadFilter(text)
	}
	return filter{f}, nil
}

// opTag is the clause into which pairTags joins a tag's name and value.
const opTag = "tag pair" // no function has a blank in its name

// pairTags joins "tagName eq 'n' and tagValue eq 'v'": both speak of one tag.
func pairTags(all []arm.Clause) []arm.Clause {
	find := func(field string) int {
		return slices.IndexFunc(all, func(c arm.Clause) bool { return c.Op == "eq" && c.Args[0] == field })
	}
	name, value := find("tagname"), find("tagvalue")
	if name < 0 || value < 0 {
		return all
	}
	pair := arm.Clause{Op: opTag, Args: []string{all[name].Args[1], all[value].Args[1]}}
	return append(slices.Delete(slices.Clone(all), max(name, value), max(name, value)+1), pair)
}

func (f filter) selects(s shown) bool {
	ok, _ := f.parsed.Match(s.holds)
	return ok
}

func (s shown) field(name string) (value string, known bool) {
	switch name {
	case "resourcetype":
		return s.typ, true
	case "name":
		return s.name, true
	case "resourcegroup":
		return s.group, true
	case "location":
		return canonical(s.location), true
	}
	return "", false
}

// holds evaluates one clause: equality of a field or of a tag, substringof('x', name),
// startswith(tagname, 'x').
func (s shown) holds(c arm.Clause) (holds, known bool) {
	switch {
	case c.Op == opTag:
		return s.hasPair(c.Args[0], c.Args[1]), len(c.Args) == 2
	case c.IsComparison() && (c.Args[0] == "tagname" || c.Args[0] == "tagvalue"):
		return s.hasTag(c) == (c.Op == "eq"), true
	case c.IsComparison():
		want := c.Args[1]
		if c.Args[0] == "location" {
			want = canonical(want)
		}
		value, known := s.field(c.Args[0])
		return strings.EqualFold(value, want) == (c.Op == "eq"), known
	case c.Op == "substringof" && len(c.Args) == 2:
		value, known := s.field(strings.ToLower(c.Args[1]))
		return strings.Contains(strings.ToLower(value), strings.ToLower(c.Args[0])), known
	case c.Op == "startswith" && len(c.Args) == 2 && strings.EqualFold(c.Args[0], "tagname"):
		return s.tagStarts(c.Args[1]), true
	}
	return false, false
}

// hasTag reports whether some tag has the clause's name, or value. Names compare without case, values
// with it.
func (s shown) hasTag(c arm.Clause) bool {
	for name, value := range s.tags {
		if c.Args[0] == "tagname" && strings.EqualFold(name, c.Args[1]) || c.Args[0] == "tagvalue" && value == c.Args[1] {
			return true
		}
	}
	return false
}

func (s shown) hasPair(name, want string) bool {
	for n, value := range s.tags {
		if strings.EqualFold(n, name) && value == want {
			return true
		}
	}
	return false
}

func (s shown) tagStarts(prefix string) bool {
	for name := range s.tags {
		if strings.HasPrefix(strings.ToLower(name), strings.ToLower(prefix)) {
			return true
		}
	}
	return false
}
