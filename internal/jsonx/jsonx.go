// Package jsonx reads JSON text strictly and cuts objects into their members without changing a
// byte of them.
//
// A document database must give back what it was given: a number keeps its digits and a string its
// escapes. So documents are never decoded into Go values and encoded again. [Parse] splits an
// object into members that point into the original text; [Object.Join] puts members together again.
//
// Strict means: valid UTF-8 (also behind \u escapes), no name twice in one object, nesting of at
// most [MaxDepth], nothing after the value.
package jsonx

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is the deepest nesting of objects and arrays that is accepted (limit of the service).
const MaxDepth = 128

// Errors that Check and Parse wrap. Other errors are syntax errors of package jsontext.
var (
	ErrDepth     = fmt.Errorf("jsonx: nesting deeper than %d", MaxDepth)
	ErrNotObject = errors.New("jsonx: not an object")
)

// Member is one name and value of an object. RawName and Value are the original text.
type Member struct {
	Name    string // unescaped
	RawName jsontext.Value
	Value   jsontext.Value
}

// NewMember returns a member whose value is the JSON text value.
func NewMember(name string, value []byte) Member {
	return Member{Name: name, RawName: Quote(name), Value: value}
}

// Object is an object's members in their order.
type Object []Member

// Check reports whether src is exactly one strict JSON value.
func Check(src []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(src))
	for {
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		if dec.StackDepth() > MaxDepth {
			return ErrDepth
		}
		if dec.StackDepth() == 0 {
			return checkEnd(dec)
		}
	}
}

func checkEnd(dec *jsontext.Decoder) error {
	_, err := dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("jsonx: text after the value")
	}
	return err
}

// Parse checks src and splits the object that it must be. The members point into src.
func Parse(src []byte) (Object, error) {
	if err := Check(src); err != nil {
		return nil, err
	}
	return Split(src)
}

// Split is Parse for text that has been checked before, such as stored text.
func Split(src []byte) (Object, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(src))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.Join(ErrNotObject, err)
	}
	var o Object
	for dec.PeekKind() != '}' {
		name, err := readValue(dec, src)
		if err != nil {
			return nil, err
		}
		value, err := readValue(dec, src)
		if err != nil {
			return nil, err
		}
		o = append(o, Member{Name: Unquote(name), RawName: name, Value: value})
	}
	return o, nil
}

// readValue returns the next value as a part of src: the decoder's own buffer does not last.
func readValue(dec *jsontext.Decoder, src []byte) (jsontext.Value, error) {
	v, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(dec.InputOffset())
	return src[end-len(v) : end : end], nil
}

// Elements returns the elements of an array as parts of src.
func Elements(src []byte) ([]jsontext.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(src))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '[' {
		return nil, errors.Join(errors.New("jsonx: not an array"), err)
	}
	var out []jsontext.Value
	for dec.PeekKind() != ']' {
		v, err := readValue(dec, src)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Get returns the value of a member.
func (o Object) Get(name string) (jsontext.Value, bool) {
	for i := range o {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return nil, false
}

// Without returns the members whose names drop does not choose.
func (o Object) Without(drop func(name string) bool) Object {
	out := make(Object, 0, len(o))
	for _, m := range o {
		if !drop(m.Name) {
			out = append(out, m)
		}
	}
	return out
}

// Set returns o with the member name set to value, in its place when it was there, else at the end.
func (o Object) Set(name string, value []byte) Object {
	out := append(Object(nil), o...)
	for i := range out {
		if out[i].Name == name {
			out[i].Value = value
			return out
		}
	}
	return append(out, NewMember(name, value))
}

// Join returns the text of the object: its members' own bytes, with nothing between them but the
// punctuation.
func (o Object) Join() []byte {
	n := 2
	for _, m := range o {
		n += len(m.RawName) + len(m.Value) + 2
	}
	b := append(make([]byte, 0, n), '{')
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, m.RawName...)
		b = append(b, ':')
		b = append(b, m.Value...)
	}
	return append(b, '}')
}

// JoinArray returns the text of an array of values.
func JoinArray(values []jsontext.Value) []byte {
	b := []byte{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}

// Find returns the value at a path of member names below src, a checked object.
func Find(src []byte, path ...string) (jsontext.Value, bool) {
	v := jsontext.Value(src)
	for _, name := range path {
		if v.Kind() != '{' {
			return nil, false
		}
		o, err := Split(v)
		if err != nil {
			return nil, false
		}
		var ok bool
		if v, ok = o.Get(name); !ok {
			return nil, false
		}
	}
	return v, true
}

// Quote returns s as a JSON string. Invalid UTF-8 becomes the replacement character.
func Quote(s string) jsontext.Value {
	b, _ := jsontext.AppendQuote(nil, s) // the only error is invalid UTF-8, which is replaced
	return b
}

// Unquote returns the string that v, a valid JSON string, stands for; "" for anything else.
func Unquote(v jsontext.Value) string {
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(b)
}
