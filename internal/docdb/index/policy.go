package index

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Step is one step of a path: a member of an object, or with Element any element of an array.
type Step struct {
	Name    string
	Element bool
}

// Path leads from a document to a value.
type Path []Step

// Of is the path of nested members.
func Of(names ...string) Path {
	p := make(Path, len(names))
	for i, n := range names {
		p[i] = Step{Name: n}
	}
	return p
}

// Single reports whether a document has one value at the path at most.
func (p Path) Single() bool { return !slices.ContainsFunc(p, func(s Step) bool { return s.Element }) }

// String writes the path as policies do, names that need it in quotes.
func (p Path) String() string {
	var b strings.Builder
	for _, s := range p {
		switch {
		case s.Element:
			b.WriteString("/[]")
		case plain(s.Name):
			b.WriteString("/" + s.Name)
		default:
			q, _ := jsontext.AppendQuote(nil, s.Name)
			b.WriteString("/" + string(q))
		}
	}
	return b.String()
}

func plain(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// Limits of indexing policies (the service's).
const (
	maxPaths          = 1500
	maxComposites     = 100
	maxCompositePaths = 8
)

// Policy says which paths of documents have terms.
type Policy struct {
	none       bool
	rules      []rule
	Composites [][]CompositePath
	Spatial    []Path // where geometries are indexed
}

// CompositePath is one path of a composite index.
type CompositePath struct {
	Path Path
	Desc bool
}

// rule includes or excludes a path: exactly it, or everything from it on.
type rule struct {
	path    Path
	below   bool
	include bool
}

// PolicyError is what is wrong with a policy.
type PolicyError struct{ Message string }

// Error returns the message.
func (e *PolicyError) Error() string { return e.Message }

func wrong(format string, args ...any) error { return &PolicyError{fmt.Sprintf(format, args...)} }

// policyText is a policy as it is written.
type policyText struct {
	Mode       string     `json:"indexingMode"`
	Included   []pathText `json:"includedPaths"`
	Excluded   []pathText `json:"excludedPaths"`
	Composites [][]struct {
		pathText
		Order string `json:"order"`
	} `json:"compositeIndexes"`
	Spatial []pathText `json:"spatialIndexes"`
}

type pathText struct {
	Path string `json:"path"`
}

// ParsePolicy reads an indexing policy with all defaults filled in. Its errors are [*PolicyError] values.
func ParsePolicy(text []byte) (*Policy, error) {
	var in policyText
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, wrong("The indexing policy cannot be read.")
	}
	p := &Policy{none: strings.EqualFold(in.Mode, "none")}
	if p.none {
		return p, nil
	}
	if len(in.Included) > maxPaths || len(in.Excluded) > maxPaths || len(in.Composites) > maxComposites {
		return nil, wrong("The indexing policy has too many paths.")
	}
	for include, list := range map[bool][]pathText{true: in.Included, false: in.Excluded} {
		for _, t := range list {
			if err := p.add(t.Path, include); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range in.Composites {
		paths := make([]CompositePath, len(c))
		for i, t := range c {
			path, err := parseComposite(t.Path, t.Order)
			if err != nil {
				return nil, err
			}
			paths[i] = path
		}
		if len(paths) < 2 || len(paths) > maxCompositePaths {
			return nil, wrong("A composite index must have 2 to %d paths.", maxCompositePaths)
		}
		p.Composites = append(p.Composites, paths)
	}
	for _, t := range in.Spatial {
		path, at := ParsePath(strings.TrimSuffix(strings.TrimSuffix(t.Path, "/*"), "/?"))
		if at >= 0 {
			return nil, badPath(t.Path, at)
		}
		if len(path) > 0 && path.Single() {
			p.Spatial = append(p.Spatial, path)
		}
	}
	return p, p.check()
}

// check refuses a policy that says nothing, or two things, of the root.
func (p *Policy) check() error {
	n := 0
	for _, r := range p.rules {
		if len(r.path) == 0 && r.below {
			n++
		}
	}
	switch {
	case n == 0:
		return wrong(`The special mandatory indexing path "/" is not provided in any of the path type sets. Please provide this path in one of the sets.`)
	case n > 1:
		return wrong(`The special mandatory indexing path "/" is provided in more than one of the path type sets.`)
	}
	return nil
}

// add reads an included or excluded path, which ends in "/?" or "/*".
func (p *Policy) add(text string, include bool) error {
	if path, names, ok := parseTuple(text); ok && include {
		for _, n := range names {
			p.rules = append(p.rules, rule{append(slices.Clone(path), n...), false, true})
		}
		return nil
	}
	body, below := strings.CutSuffix(text, "/*")
	if !below {
		var exact bool
		if body, exact = strings.CutSuffix(text, "/?"); !exact && text != "/" {
			return badPath(text, len(text))
		}
		below = !exact // "/" is everything
	}
	path, at := ParsePath(strings.TrimSuffix(body, "/"))
	if at >= 0 {
		return badPath(text, at)
	}
	p.rules = append(p.rules, rule{path, below, include})
	return nil
}

// parseTuple reads a path of the form prefix/[]/{a,b/c}/?.
func parseTuple(text string) (prefix Path, names []Path, ok bool) {
	head, rest, ok := strings.Cut(text, "/{")
	list, end, closed := strings.Cut(rest, "}")
	if !ok || !closed || end != "/?" {
		return nil, nil, false
	}
	prefix, at := ParsePath(head)
	if at >= 0 {
		return nil, nil, false
	}
	for name := range strings.SplitSeq(list, ",") {
		n, at := ParsePath("/" + strings.TrimSpace(name))
		if at >= 0 {
			return nil, nil, false
		}
		names = append(names, n)
	}
	return prefix, names, true
}

func parseComposite(text, order string) (CompositePath, error) {
	path, at := ParsePath(strings.TrimSuffix(text, "/?"))
	if at >= 0 || len(path) == 0 || !path.Single() {
		return CompositePath{}, badPath(text, max(at, 0))
	}
	switch strings.ToLower(order) {
	case "", "ascending":
		return CompositePath{path, false}, nil
	case "descending":
		return CompositePath{path, true}, nil
	}
	return CompositePath{}, wrong("The order '%s' of a composite index must be ascending or descending.", order)
}

func badPath(text string, at int) error {
	return wrong(`The indexing path '%s' could not be accepted, failed near position '%d'. Please ensure that the path is a valid path. Common errors include invalid characters or absence of quotes around labels.`, text, at)
}

// ParsePath reads a path of the form /a/"b c"/[]. at is the place that is wrong, negative for none.
func ParsePath(text string) (p Path, at int) {
	for rest := text; rest != ""; {
		here := len(text) - len(rest)
		if rest[0] != '/' || len(rest) == 1 {
			return nil, here
		}
		rest = rest[1:]
		if rest[0] == '"' {
			n := quotedLen(rest)
			name, err := jsontext.AppendUnquote(nil, rest[:n])
			if err != nil {
				return nil, here + 1
			}
			p, rest = append(p, Step{Name: string(name)}), rest[n:]
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		switch {
		case name == "[]":
			p = append(p, Step{Element: true})
		case plain(name):
			p = append(p, Step{Name: name})
		default:
			return nil, here + 1
		}
		rest = rest[len(name):]
	}
	return p, -1
}

// quotedLen is the length of the quoted string that s begins with, or of all of s when it has no end.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// includes reports whether scalars at a path have terms: what the most precise rule says. Of the same
// length, a rule for exactly the path is more precise than one for everything from it on.
func (p *Policy) includes(path Path) bool {
	if p.none {
		return false
	}
	if len(path) == 1 && (path[0].Name == "id" || path[0].Name == "_ts") {
		return true // always
	}
	best, include := -1, false
	for _, r := range p.rules {
		if len(r.path) > len(path) || !slices.Equal(r.path, path[:len(r.path)]) || !r.below && len(r.path) < len(path) {
			continue
		}
		precision := 2 * len(r.path)
		if !r.below {
			precision++
		}
		if precision > best || precision == best && r.include {
			best, include = precision, r.include
		}
	}
	return include
}
