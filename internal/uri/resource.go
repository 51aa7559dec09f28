// Package uri parses the identifiers that cross the protocols: Resource Manager ids and key URIs.
//
// Resource ids compare without regard to case and keep the case that they were written in. A key
// URI names a key in a vault, with or without a version.
package uri

import (
	"fmt"
	"strings"
)

// ResourceID is a Resource Manager id. The zero value is the tenant root "/".
//
//	/subscriptions/{s}/resourceGroups/{rg}/providers/{ns}/{type}/{name}[/{type}/{name}…]
type ResourceID struct {
	Subscription  string
	ResourceGroup string
	Provider      string // namespace, such as Microsoft.KeyVault; "" for groups and above
	Segments      []Segment
}

// Segment is one type and name pair below a provider. Name is empty in the id of a collection or
// of an action.
type Segment struct{ Type, Name string }

// Child returns the id of a resource below id.
func (id ResourceID) Child(typ, name string) ResourceID {
	id.Segments = append(append([]Segment(nil), id.Segments...), Segment{typ, name})
	return id
}

// Type is the full resource type, such as Microsoft.DocumentDB/databaseAccounts/sqlDatabases.
func (id ResourceID) Type() string {
	parts := []string{id.Provider}
	for _, s := range id.Segments {
		parts = append(parts, s.Type)
	}
	return strings.Join(parts, "/")
}

// Name is the name of the innermost resource.
func (id ResourceID) Name() string {
	if n := len(id.Segments); n > 0 {
		return id.Segments[n-1].Name
	}
	return id.ResourceGroup
}

// String returns the id in its canonical spelling.
func (id ResourceID) String() string {
	var b strings.Builder
	write := func(parts ...string) {
		for _, p := range parts {
			if p != "" {
				b.WriteString("/" + p)
			}
		}
	}
	if id.Subscription != "" {
		write("subscriptions", id.Subscription)
	}
	if id.ResourceGroup != "" {
		write("resourceGroups", id.ResourceGroup)
	}
	if id.Provider != "" {
		write("providers", id.Provider)
	}
	for _, s := range id.Segments {
		write(s.Type, s.Name)
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// Key is a form for maps and comparisons: two ids are the same resource when their keys are equal.
func (id ResourceID) Key() string { return strings.ToLower(id.String()) }

// ParseResourceID parses an id or a path that has the form of one. A trailing type without a name
// is a segment with an empty name. An extension resource (a second "providers") ends the parse with
// an error: split it off first with [SplitExtension].
func ParseResourceID(s string) (ResourceID, error) {
	var id ResourceID
	parts := strings.Split(strings.Trim(s, "/"), "/")
	if parts[0] == "" {
		return id, nil
	}
	for _, p := range parts {
		if p == "" {
			return id, fmt.Errorf("uri: empty segment in resource id")
		}
	}
	parts = take(parts, "subscriptions", &id.Subscription)
	parts = take(parts, "resourceGroups", &id.ResourceGroup)
	parts = take(parts, "providers", &id.Provider)
	if len(parts) > 0 && id.Provider == "" {
		return id, fmt.Errorf("uri: unexpected segment in resource id")
	}
	for len(parts) > 0 {
		if strings.EqualFold(parts[0], "providers") {
			return id, fmt.Errorf("uri: extension resource where a resource id was expected")
		}
		seg := Segment{Type: parts[0]}
		if len(parts) > 1 {
			seg.Name = parts[1]
		}
		id.Segments = append(id.Segments, seg)
		parts = parts[min(2, len(parts)):]
	}
	return id, nil
}

func take(parts []string, keyword string, into *string) []string {
	if len(parts) < 2 || !strings.EqualFold(parts[0], keyword) {
		return parts
	}
	*into = parts[1]
	return parts[2:]
}

// SplitExtension cuts a path at its last "/providers/": what stands before is the scope, what
// follows (the namespace first) is the extension resource. ok is false when there is none.
func SplitExtension(path string) (scope, extension string, ok bool) {
	const mark = "/providers/"
	for i := len(path) - len(mark); i >= 0; i-- {
		if strings.EqualFold(path[i:i+len(mark)], mark) {
			return path[:i], strings.Trim(path[i+len(mark):], "/"), true
		}
	}
	return path, "", false
}

// Within reports whether child is scope or lies below it. Both are resource ids or scopes; "/" holds
// everything. Case does not matter.
func Within(child, scope string) bool {
	_, ok := Below(child, scope)
	return ok
}

// Below returns what of child is left below scope, without a leading slash. ok is as in [Within].
func Below(child, scope string) (rest string, ok bool) {
	rest = strings.Trim(child, "/")
	scope = strings.Trim(scope, "/")
	if scope == "" {
		return rest, true
	}
	for want := range strings.SplitSeq(scope, "/") {
		var have string
		if have, rest, _ = strings.Cut(rest, "/"); !strings.EqualFold(have, want) {
			return "", false
		}
	}
	return rest, true
}
