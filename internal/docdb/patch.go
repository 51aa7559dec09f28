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

// maxPatchOperations is the limit of operations in one patch (the service's).
const maxPatchOperations = 10

// patch is a list of changes to a document with an optional condition, a query tail such as
// "from c where c.n = 3".
type patch struct {
	Condition  string           `json:"condition"`
	Operations []patchOperation `json:"operations"`
}

// patchOperation is one change. A missing value counts as null: a widely used client leaves it out.
type patchOperation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	From  string          `json:"from"`
	Value json.RawMessage `json:"value"`

	to, from []string // the pointers, taken apart
}

// parsePatch reads a patch: an object, or just the array of its operations.
func parsePatch(body []byte) (*patch, error) {
	if len(body) > maxDocument {
		return nil, fault.New(fault.TooLarge, "RequestEntityTooLarge", textTooLarge)
	}
	if err := jsonx.Check(body); err != nil {
		return nil, invalidPatch("it is not valid JSON")
	}
	p := new(patch)
	var target any = p
	if jsontext.Value(bytes.TrimSpace(body)).Kind() == '[' {
		target = &p.Operations
	}
	if err := json.Unmarshal(body, target); err != nil {
		return nil, invalidPatch("it does not have the form of a patch")
	}
	if len(p.Operations) == 0 || len(p.Operations) > maxPatchOperations {
		return nil, invalidPatch("it must have 1 to 10 operations")
	}
	for i := range p.Operations {
		if err := p.Operations[i].parse(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func invalidPatch(why string) error {
	return badRequest("The patch request body is invalid: %s.", why)
}

func (o *patchOperation) parse() error {
	o.Op = strings.ToLower(o.Op)
	if !slices.Contains([]string{"add", "set", "replace", "remove", "incr", "move"}, o.Op) {
		return invalidPatch("unknown operation")
	}
	if len(o.Value) == 0 {
		o.Value = json.RawMessage("null")
	}
	var ok bool
	if o.to, ok = parsePointer(o.Path); !ok {
		return invalidPatch("a path must begin with / and name a property")
	}
	if o.Op == "move" {
		if o.from, ok = parsePointer(o.From); !ok {
			return invalidPatch("from must begin with / and name a property")
		}
		if len(o.to) > len(o.from) && slices.Equal(o.to[:len(o.from)], o.from) {
			return invalidPatch("the target of a move lies below its source")
		}
	}
	return nil
}

// parsePointer takes a JSON pointer apart (RFC 6901).
func parsePointer(p string) (tokens []string, ok bool) {
	rest, ok := strings.CutPrefix(p, "/")
	if !ok || rest == "" {
		return nil, false
	}
	for t := range strings.SplitSeq(rest, "/") {
		tokens = append(tokens, strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~"))
	}
	return tokens, true
}

// patched returns the document that a patch makes of an item.
func (t *transaction) patched(p *patch, cur *item) (*document, error) {
	spec := &t.container.rec.Spec
	if err := patchCondition(t.session.ctx, p.Condition, cur.json(t.container.id)); err != nil {
		return nil, err
	}
	body := jsontext.Value(cur.body)
	var err error
	for _, o := range p.Operations {
		if o.forbidden(spec) {
			return nil, invalidPatch("the id, the partition key and the system's properties cannot be patched")
		}
		if body, err = o.apply(body); err != nil {
			return nil, err
		}
	}
	return parseDocument(body, spec)
}

// forbidden reports whether the operation touches what no patch may touch.
func (o *patchOperation) forbidden(spec *definition) bool {
	for _, tokens := range [][]string{o.to, o.from} {
		if len(tokens) > 0 && (isSystemMember(tokens[0]) || tokens[0] == "id") {
			return true
		}
		for _, path := range spec.PartitionKey.Paths {
			if names, _ := parsePath(path); slices.Equal(names, tokens) {
				return true
			}
		}
	}
	return false
}

func (o *patchOperation) apply(doc jsontext.Value) (jsontext.Value, error) {
	if o.Op != "move" {
		return edit(doc, o.to, func(v jsontext.Value, name string) (jsontext.Value, error) { return o.change(v, name) })
	}
	var moved jsontext.Value
	doc, err := edit(doc, o.from, func(v jsontext.Value, name string) (jsontext.Value, error) {
		var err error
		moved, err = child(v, name)
		if err != nil {
			return nil, err
		}
		return remove(v, name)
	})
	if err != nil {
		return nil, err
	}
	set := patchOperation{Op: "add", Value: json.RawMessage(moved)}
	return edit(doc, o.to, func(v jsontext.Value, name string) (jsontext.Value, error) { return set.change(v, name) })
}

// edit returns v with the object or array that holds the end of the pointer replaced by what leaf
// makes of it.
func edit(v jsontext.Value, pointer []string, leaf func(v jsontext.Value, name string) (jsontext.Value, error)) (jsontext.Value, error) {
	if len(pointer) == 1 {
		return leaf(v, pointer[0])
	}
	inner, err := child(v, pointer[0])
	if err != nil {
		return nil, err
	}
	if inner, err = edit(inner, pointer[1:], leaf); err != nil {
		return nil, err
	}
	return assign(v, pointer[0], inner)
}

// noTarget is the failure of an operation whose target is not there.
func noTarget(name string) error {
	return invalidPatch("the property or element '" + name + "' does not exist")
}

// child returns a member of an object or an element of an array.
func child(v jsontext.Value, name string) (jsontext.Value, error) {
	switch v.Kind() {
	case '{':
		if c, ok := jsonx.Find(v, name); ok {
			return c, nil
		}
	case '[':
		elements, i, err := element(v, name)
		if err == nil && i < len(elements) {
			return elements[i], nil
		}
	}
	return nil, noTarget(name)
}

// element returns the elements of an array and the index that name stands for, which may be one past
// the end ("-").
func element(v jsontext.Value, name string) ([]jsontext.Value, int, error) {
	elements, err := jsonx.Elements(v)
	if err != nil {
		return nil, 0, err
	}
	if name == "-" {
		return elements, len(elements), nil
	}
	i, err := strconv.Atoi(name)
	if err != nil || i < 0 || i > len(elements) || len(name) > 1 && name[0] == '0' {
		return nil, 0, noTarget(name)
	}
	return elements, i, nil
}

// assign sets an existing member or element.
func assign(v jsontext.Value, name string, value jsontext.Value) (jsontext.Value, error) {
	if v.Kind() == '{' {
		o, err := jsonx.Split(v)
		return jsontext.Value(o.Set(name, value).Join()), err
	}
	elements, i, err := element(v, name)
	if err != nil || i == len(elements) {
		return nil, noTarget(name)
	}
	elements[i] = value
	return jsonx.JoinArray(elements), nil
}

func remove(v jsontext.Value, name string) (jsontext.Value, error) {
	if _, err := child(v, name); err != nil {
		return nil, err
	}
	if v.Kind() == '{' {
		o, err := jsonx.Split(v)
		return o.Without(func(n string) bool { return n == name }).Join(), err
	}
	elements, i, err := element(v, name)
	if err != nil {
		return nil, err
	}
	return jsonx.JoinArray(slices.Delete(elements, i, i+1)), nil
}

// change carries the operation out on the member or element name of v.
func (o *patchOperation) change(v jsontext.Value, name string) (jsontext.Value, error) {
	switch o.Op {
	case "remove":
		return remove(v, name)
	case "replace":
		if _, err := child(v, name); err != nil {
			return nil, err
		}
		return assign(v, name, jsontext.Value(o.Value))
	case "incr":
		return o.increment(v, name)
	}
	return o.put(v, name)
}

// put is add and set: they differ for an existing element of an array, before which add inserts.
func (o *patchOperation) put(v jsontext.Value, name string) (jsontext.Value, error) {
	if v.Kind() == '{' {
		return assign(v, name, jsontext.Value(o.Value))
	}
	if v.Kind() != '[' {
		return nil, noTarget(name)
	}
	elements, i, err := element(v, name)
	if err != nil {
		return nil, err
	}
	if o.Op == "set" && i < len(elements) {
		elements[i] = jsontext.Value(o.Value)
		return jsonx.JoinArray(elements), nil
	}
	return jsonx.JoinArray(slices.Insert(elements, i, jsontext.Value(o.Value))), nil
}

func (o *patchOperation) increment(v jsontext.Value, name string) (jsontext.Value, error) {
	by := jsontext.Value(o.Value)
	if by.Kind() != '0' {
		return nil, invalidPatch("the value of an increment must be a number")
	}
	cur, err := child(v, name)
	if err != nil {
		return o.put(v, name)
	}
	if cur.Kind() != '0' {
		return nil, invalidPatch("the target of an increment is not a number")
	}
	sum, err := add(string(cur), string(by))
	if err != nil {
		return nil, err
	}
	return assign(v, name, sum)
}

// add adds two JSON numbers: as integers while both are and the sum fits, else as doubles.
func add(a, b string) (jsontext.Value, error) {
	i, errI := strconv.ParseInt(a, 10, 64)
	j, errJ := strconv.ParseInt(b, 10, 64)
	if sum := i + j; errI == nil && errJ == nil && (sum > i) == (j > 0) {
		return jsontext.Value(strconv.FormatInt(sum, 10)), nil
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	sum := x + y
	if errX != nil || errY != nil || math.IsInf(sum, 0) {
		return nil, invalidPatch("the result of an increment is out of range")
	}
	return jsontext.Value(mustJSON(sum)), nil
}
