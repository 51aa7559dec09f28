package docdb

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
)

// The kinds of partition key. The legacy kind Range is not offered.
const (
	KindHash      = "Hash"
	KindMultiHash = "MultiHash"
)

// Limits of partition key values in bytes, by hash version.
const (
	maxPartitionKeyV1 = 101
	maxPartitionKeyV2 = 2048
)

// PartitionKeyDefinition says which properties of an item make its logical partition. It cannot
// change in a container's life.
type PartitionKeyDefinition struct {
	Paths   []string `json:"paths"`
	Kind    string   `json:"kind"`
	Version int      `json:"version"`
	// SystemKey marks the key of a container that was created without one.
	SystemKey bool `json:"systemKey,omitzero"`
}

// Component is one value of a partition key: undefined, null, a boolean, a number or a string. The
// zero value is undefined.
type Component struct {
	typ    byte
	number float64
	text   string
}

// PartitionKey is the value of all components, or of the first few for a prefix.
type PartitionKey []Component

// Constructors of components for callers that do not have a header.
var (
	Undefined = Component{typ: typeUndefined}
	Null      = Component{typ: typeNull}
)

// String returns the component for a string.
func String(s string) Component { return Component{typ: typeString, text: s} }

// Number returns the component for a number. Negative zero is zero.
func Number(f float64) Component {
	if f == 0 {
		f = 0 // drops the sign: both zeros are one value
	}
	return Component{typ: typeNumber, number: f}
}

// Bool returns the component for a boolean.
func Bool(b bool) Component {
	if b {
		return Component{typ: typeTrue}
	}
	return Component{typ: typeFalse}
}

// ParsePartitionKey reads the header x-ms-documentdb-partitionkey: a JSON array of scalars, in which
// {} is undefined. Because a widely used client writes strings with the escapes of Go source text,
// those are understood too.
func ParsePartitionKey(header string) (PartitionKey, error) {
	invalid := fault.New(fault.Invalid, "PartitionKeyInvalid", "Partition key %s is invalid.", header)
	src := []byte(header)
	if jsonx.Check(src) != nil {
		src = goEscapes(src)
	}
	if err := jsonx.Check(src); err != nil {
		return nil, invalid.Because(err)
	}
	elements, err := jsonx.Elements(src)
	if err != nil {
		return nil, invalid.Because(err)
	}
	k := make(PartitionKey, 0, len(elements))
	for _, e := range elements {
		if e.Kind() == '[' || e.Kind() == '{' && !isEmptyObject(e) {
			return nil, invalid
		}
		c := component(e)
		if math.IsInf(c.number, 0) {
			return nil, invalid // beyond the doubles, it could not be told from others
		}
		k = append(k, c)
	}
	return k, nil
}

func isEmptyObject(v jsontext.Value) bool {
	return len(bytes.TrimSpace(v[1:len(v)-1])) == 0
}

// goEscapes rewrites the string escapes that Go has and JSON has not: \a \v \x00 \U00000000.
func goEscapes(src []byte) []byte {
	var out []byte
	for i := 0; i < len(src); i++ {
		if src[i] != '"' {
			out = append(out, src[i])
			continue
		}
		end := closingQuote(src, i)
		s, err := strconv.Unquote(string(src[i:end]))
		if err != nil {
			return src
		}
		out = append(out, jsonx.Quote(s)...)
		i = end - 1
	}
	return out
}

// closingQuote returns the index after the quote that ends the string at start, or the end of src.
func closingQuote(src []byte, start int) int {
	for i := start + 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(src)
}

// component returns the component for a JSON value; objects and arrays count as undefined.
func component(v jsontext.Value) Component {
	switch v.Kind() {
	case 'n':
		return Null
	case 't', 'f':
		return Bool(v.Kind() == 't')
	case '"':
		return String(jsonx.Unquote(v))
	case '0':
		f, _ := strconv.ParseFloat(string(v), 64) // out of range becomes an infinity, which no request can name
		return Number(f)
	}
	return Undefined
}

// value returns the JSON form of c for the change feed and messages.
func (c Component) value() any {
	switch c.typ {
	case typeNull:
		return nil
	case typeFalse, typeTrue:
		return c.typ == typeTrue
	case typeNumber:
		return c.number
	case typeString:
		return c.text
	}
	return struct{}{}
}

// String returns k as a header.
func (k PartitionKey) String() string {
	values := make([]any, len(k))
	for i, c := range k {
		values[i] = c.value()
	}
	b, err := json.Marshal(values)
	if err != nil { // an infinity
		return "[]"
	}
	return string(b)
}

// encode appends the components so that different keys give different, self-delimiting bytes.
func (k PartitionKey) encode(b []byte) []byte {
	for _, c := range k {
		b = append(b, c.typ)
		switch c.typ {
		case typeNumber:
			b = append(b, be64(orderedBits(c.number))...)
		case typeString:
			b = appendEscaped(b, []byte(c.text))
		}
	}
	return b
}

// size is the number of bytes that the limits count.
func (k PartitionKey) size() int {
	n := 0
	for _, c := range k {
		n += len(c.text)
	}
	return n
}

// parsePath splits a path such as /a/"b c" into property names.
func parsePath(path string) (names []string, ok bool) {
	for rest := path; rest != ""; {
		if rest[0] != '/' {
			return nil, false
		}
		var name string
		if name, rest, ok = nextName(rest[1:]); !ok {
			return nil, false
		}
		names = append(names, name)
	}
	return names, len(names) > 0
}

func nextName(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, '/')
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], i > 0 && !strings.ContainsAny(s[:i], `"*?[]`)
	}
	end := closingQuote([]byte(s), 0)
	name, err := strconv.Unquote(s[:end])
	return name, s[end:], err == nil && name != ""
}

// normalize checks d and fills in what is left out.
func (d *PartitionKeyDefinition) normalize() error {
	if d.Kind == "" {
		d.Kind = KindHash
	}
	if d.Version == 0 {
		d.Version = 1
		if d.Kind == KindMultiHash {
			d.Version = 2
		}
	}
	bad := func(why string) error {
		return fault.New(fault.Invalid, "PartitionKeyDefinitionInvalid", "The partition key definition is invalid: %s.", why)
	}
	switch {
	case d.Kind != KindHash && d.Kind != KindMultiHash:
		return bad("kind must be Hash or MultiHash")
	case d.Version != 1 && d.Version != 2:
		return bad("version must be 1 or 2")
	case d.Kind == KindHash && len(d.Paths) != 1:
		return bad("kind Hash takes exactly one path")
	case d.Kind == KindMultiHash && (len(d.Paths) < 1 || len(d.Paths) > 3):
		return bad("kind MultiHash takes one to three paths")
	case d.Kind == KindMultiHash && d.Version != 2:
		return bad("kind MultiHash needs version 2")
	}
	for i, p := range d.Paths {
		if _, ok := parsePath(p); !ok || slices.Contains(d.Paths[:i], p) {
			return bad("path " + p)
		}
	}
	return nil
}

// extract returns the partition key that a document has under d.
func (d PartitionKeyDefinition) extract(doc []byte) PartitionKey {
	k := make(PartitionKey, len(d.Paths))
	for i, path := range d.Paths {
		names, _ := parsePath(path)
		if v, ok := jsonx.Find(doc, names...); ok {
			k[i] = component(v)
		}
	}
	return k
}

// Texts of the service about partition keys; clients match on them.
const (
	textKeyMismatch = "PartitionKey extracted from document doesn't match the one specified in the header. Learn more: https://aka.ms/CosmosDB/sql/errors/wrong-pk-value"
	textKeyPartial  = "Partition key provided either doesn't correspond to definition in the collection or doesn't match partition key field values specified in the document."
	textKeyMissing  = "PartitionKey value must be supplied for this operation."
)

// complete returns the key that a point operation names: k itself, or all undefined for "none". It
// fails when k is missing, is only a prefix, or is too long.
func (d PartitionKeyDefinition) complete(k *PartitionKey) (PartitionKey, error) {
	if k == nil {
		if !d.SystemKey {
			return nil, fault.New(fault.Invalid, "PartitionKeyMissing", textKeyMissing)
		}
		k = &PartitionKey{}
	}
	if len(*k) == 0 || len(*k) == 1 && (*k)[0] == Undefined {
		return make(PartitionKey, len(d.Paths)), nil
	}
	if len(*k) != len(d.Paths) {
		return nil, fault.New(fault.Invalid, reasonKeyMismatch, textKeyPartial)
	}
	limit := maxPartitionKeyV1
	if d.Version >= 2 {
		limit = maxPartitionKeyV2
	}
	if k.size() > limit {
		return nil, fault.New(fault.Invalid, "PartitionKeyTooLarge", "The partition key value exceeds the limit of %d bytes.", limit)
	}
	return *k, nil
}
