package docdb

import (
	"errors"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
)

// Limits of documents (the service's).
const (
	maxDocument = 2 << 20
	maxID       = 1023
)

// document is a body that a client sent, checked.
type document struct {
	id   string
	body []byte // without the system's members
	key  PartitionKey
	ttl  int32
}

// parseDocument checks what a client sent as an item of a container with that definition.
func parseDocument(body []byte, spec *definition) (*document, error) {
	if len(body) > maxDocument {
		return nil, fault.New(fault.TooLarge, "RequestEntityTooLarge", textTooLarge)
	}
	o, err := jsonx.Parse(body)
	if err != nil {
		return nil, invalidJSON(err)
	}
	id, err := documentID(o)
	if err != nil {
		return nil, err
	}
	d := &document{id: id, body: o.Without(isSystemMember).Join()}
	if d.ttl, err = documentTTL(o, spec.DefaultTTL != nil); err != nil {
		return nil, err
	}
	d.key = spec.PartitionKey.extract(d.body)
	return d, nil
}

func invalidJSON(err error) error {
	switch {
	case errors.Is(err, jsonx.ErrDepth):
		return badRequest("The document is nested deeper than %d levels.", jsonx.MaxDepth)
	case errors.Is(err, jsonx.ErrNotObject):
		return badRequest("The input content is invalid because it is not a JSON object.")
	}
	return fault.New(fault.Invalid, "BadRequest",
		"The input content is not valid JSON: it must be well-formed UTF-8 without duplicate names.").Because(err)
}

func documentID(o jsonx.Object) (string, error) {
	v, ok := o.Get("id")
	if !ok {
		return "", badRequest(textNoID)
	}
	id := jsonx.Unquote(v)
	if v.Kind() != '"' || id == "" {
		return "", badRequest("The input content is invalid because the property 'id' must be a string that is not empty.")
	}
	return id, checkID(id)
}

func checkID(id string) error {
	switch {
	case len(id) > maxID:
		return badRequest("The id exceeds the limit of %d bytes.", maxID)
	case strings.ContainsAny(id, `/\`):
		return badRequest("The id contains characters that are not allowed: / and \\.")
	}
	return nil
}

// documentTTL returns the item's own time to live; it counts only when the container's is on.
func documentTTL(o jsonx.Object, on bool) (int32, error) {
	v, ok := o.Get("ttl")
	if !ok || !on {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n != -1 && n <= 0 || n > maxTTL {
		return 0, badRequest("The value of ttl must be -1 or a positive number of seconds up to %d.", maxTTL)
	}
	return int32(n), nil
}

// checkKey compares the key that the request names with the one that the document has.
func (d *document) checkKey(named PartitionKey) error {
	for i := range named {
		if named[i] != d.key[i] {
			return fault.New(fault.Invalid, reasonKeyMismatch, textKeyMismatch)
		}
	}
	return nil
}
