package arm

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Provider serves one namespace.
type Provider interface {
	// Namespace is the provider's name, such as Microsoft.KeyVault.
	Namespace() string
	// ResourceTypes lists what az's provider commands show.
	ResourceTypes() []ResourceType
	// Handle serves a request. An error is a [*fault.Error], or unexpected.
	Handle(ctx context.Context, r *Request) (*Response, error)
}

// ResourceType is one type of a provider.
type ResourceType struct {
	Name     string // such as vaults
	Versions []string
}

// Request is a request to Resource Manager, parsed.
type Request struct {
	Method string // upper case
	Path   string // decoded, without empty segments
	// ID is what the request is about. In the id of a collection the last segment has no name. For an
	// extension resource it is the extension's own namespace and segments in the group of its scope.
	ID uri.ResourceID
	// Scope is, for an extension resource, the id that it hangs below ("" for the tenant root).
	Scope string
	// Action is the last segment of a POST to a resource (listKeys); "" otherwise.
	Action     string
	APIVersion string
	Query      url.Values
	Caller     principal.Caller
	Names      naming.Names
	Body       []byte
}

// Decode decodes the body into v, ignoring the case of member names.
func (r *Request) Decode(v any) error { return wire.Decode(r.Body, v) }

// Types is the chain of type names in lower case, such as "databaseaccounts/sqldatabases".
func (r *Request) Types() string { return lowerTypes(r.ID) }

// IsCollection reports whether the request addresses a collection.
func (r *Request) IsCollection() bool {
	n := len(r.ID.Segments)
	return n > 0 && r.ID.Segments[n-1].Name == ""
}

// Response is what a provider answers.
type Response struct {
	Status int
	Body   any // nil for none
	// Operation is the id of a long-running operation that has not ended yet (or has failed), "" for none.
	Operation string
	// LocationOnly leaves Azure-AsyncOperation out: the client polls Location alone.
	LocationOnly bool
}

// OK answers 200 with a body.
func OK(body any) *Response { return &Response{Status: 200, Body: body} }

// List answers 200 with {"value": items}.
func List[T any](items []T) *Response {
	if items == nil {
		items = []T{}
	}
	return OK(map[string]any{"value": items})
}

// Raw is JSON that is passed through as it is.
type Raw = json.RawMessage
