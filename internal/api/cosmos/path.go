package cosmos

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// path is a request path cut into segments: types at even places, decoded names at odd ones.
type path []string

// parsePath cuts an escaped path. One slash at the end is allowed, because a client sends it.
func parsePath(escaped string) (path, error) {
	if strings.HasPrefix(escaped, "//addresses") {
		return nil, fault.New(fault.Invalid, "BadRequest",
			"This server does not offer Direct mode (addresses of replicas). Configure the client for Gateway mode.")
	}
	trimmed := strings.TrimSuffix(strings.TrimPrefix(escaped, "/"), "/")
	if trimmed == "" {
		return nil, nil
	}
	var p path
	for s := range strings.SplitSeq(trimmed, "/") {
		name, err := url.PathUnescape(s)
		if err != nil || name == "" {
			return nil, fault.New(fault.Invalid, "BadRequest", "The request path is not valid.")
		}
		p = append(p, name)
	}
	return p, nil
}

// shape is the path with an asterisk for each name.
func (p path) shape() string {
	s := append(path(nil), p...)
	for i := 1; i < len(s); i += 2 {
		s[i] = "*"
	}
	return strings.Join(s, "/")
}

// name returns the i-th name, "" when the path has fewer.
func (p path) name(i int) string {
	if n := 2*i + 1; n < len(p) {
		return p[n]
	}
	return ""
}

// operationTypes are what clients sign for operations on a container, each with the container's link.
var operationTypes = []string{"colls", "partitionkey", "partitionkeys"}

// isOperation reports whether the path leads to an operation on a container.
func (p path) isOperation() bool { return p.shape() == "dbs/*/colls/*/operations/*" }

// signed returns what a signature says about the path: the type of the resource and its link. A feed
// is signed with the link of its parent. A link of names is taken as it is; of a link of resource
// ids only the last one counts, in lower case.
func (p path) signed() (resourceType, link string) {
	if len(p) == 0 {
		return "", ""
	}
	owner := p
	if len(p)%2 == 1 {
		resourceType, owner = p[len(p)-1], p[:len(p)-1]
	} else {
		resourceType = p[len(p)-2]
	}
	if len(owner) == 0 {
		return resourceType, ""
	}
	return resourceType, strings.Join(owner, "/")
}

// signedByRID is the link of a path of resource ids; ok is false when the path does not end with one.
func (p path) signedByRID() (link string, ok bool) {
	n := len(p) - len(p)%2
	if n == 0 {
		return "", false
	}
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(p[n-1], "-", "/"))
	switch len(b) {
	case 3, 4, 8, 16: // an offer, a database, a container, what is in one
		return strings.ToLower(p[n-1]), err == nil
	}
	return "", false
}

// signature is what a signature may say about a path: the type of the resource and its link.
type signature struct{ kind, link string }

// signatures are the forms in which clients sign the path, the usual one first.
func (p path) signatures() (out []signature) {
	if p.isOperation() {
		for _, kind := range operationTypes {
			out = append(out, signature{kind, strings.Join(p[:4], "/")}, signature{kind, strings.ToLower(p[3])})
		}
		return out
	}
	kind, link := p.signed()
	out = append(out, signature{kind, link})
	if byRID, ok := p.signedByRID(); ok {
		out = append(out, signature{kind, byRID})
	}
	return out
}
