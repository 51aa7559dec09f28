package index

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// walker goes through the text of one document, which was checked when it was written.
type walker struct {
	index *Index
	text  []byte
	buf   []byte // the terms, one behind the other
	ends  []int
	paths [][shapeStep]byte
}

// value reads the value at pos, whose path is n, and returns where it ends.
func (w *walker) value(n *node, pos int) int {
	pos = w.blank(pos)
	switch w.text[pos] {
	case '{':
		w.defined(n, Composite)
		return w.object(n, pos+1)
	case '[':
		w.defined(n, Composite)
		return w.array(n, pos+1)
	}
	end := scalarEnd(w.text, pos)
	w.defined(n, Scalar)
	w.term(n, w.text[pos:end])
	return end
}

func (w *walker) object(n *node, pos int) int {
	for {
		switch pos = w.blank(pos); w.text[pos] {
		case '}':
			return pos + 1
		case ',':
			pos++
			continue
		}
		end := scalarEnd(w.text, pos)
		name := w.text[pos+1 : end-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name, _ = jsontext.AppendUnquote(nil, w.text[pos:end])
		}
		pos = w.value(w.index.member(n, string(name)), w.blank(end)+1)
	}
}

func (w *walker) array(n *node, pos int) int {
	e := w.index.elementOf(n)
	for {
		switch pos = w.blank(pos); w.text[pos] {
		case ']':
			return pos + 1
		case ',':
			pos++
		default:
			pos = w.value(e, pos)
		}
	}
}

// blank returns the first place from pos on that is no white space.
func (w *walker) blank(pos int) int {
	for w.text[pos] == ' ' || w.text[pos] == '\n' || w.text[pos] == '\r' || w.text[pos] == '\t' {
		pos++
	}
	return pos
}

// scalarEnd returns the end of the string, number or word at pos.
func scalarEnd(text []byte, pos int) int {
	if text[pos] != '"' {
		for pos < len(text) && bytes.IndexByte([]byte(",]} \n\r\t"), text[pos]) < 0 {
			pos++
		}
		return pos
	}
	for pos++; text[pos] != '"'; pos++ {
		if text[pos] == '\\' {
			pos++
		}
	}
	return pos + 1
}

// term adds the term of a scalar.
func (w *walker) term(n *node, v jsontext.Value) {
	if !n.included || len(w.ends) > MaxTerms {
		return
	}
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(n.id))
	w.buf = AppendValue(w.buf, v)
	w.ends = append(w.ends, len(w.buf))
}

// defined adds a path to the shape.
func (w *walker) defined(n *node, k Kind) {
	if !n.included || len(w.paths) > MaxTerms {
		return
	}
	var p [shapeStep]byte
	binary.BigEndian.PutUint64(p[:], uint64(n.id))
	p[8] = byte(k)
	w.paths = append(w.paths, p)
}

func (w *walker) keys() [][]byte {
	out := make([][]byte, len(w.ends))
	start := 0
	for i, end := range w.ends {
		out[i] = w.buf[start:end:end]
		start = end
	}
	return sorted(out)
}

func (w *walker) shape() []byte {
	list := make([][]byte, len(w.paths))
	for i := range w.paths {
		list[i] = w.paths[i][:]
	}
	return append([]byte{}, bytes.Join(sorted(list), nil)...)
}

// find returns the value at a path of members; nil for none.
func find(doc []byte, path Path, ts int64) jsontext.Value {
	if len(path) == 1 && path[0].Name == "_ts" {
		return appendInt(nil, ts)
	}
	w := walker{text: doc}
	pos := 0
	for _, s := range path {
		if pos = w.blank(pos); w.text[pos] != '{' {
			return nil
		}
		if pos = w.member(pos+1, s.Name); pos < 0 {
			return nil
		}
	}
	pos = w.blank(pos)
	return w.text[pos:w.skip(pos)]
}

// member returns the place of a member's value in the object behind pos, negative when there is none.
func (w *walker) member(pos int, name string) int {
	for {
		switch pos = w.blank(pos); w.text[pos] {
		case '}':
			return -1
		case ',':
			pos++
			continue
		}
		end := scalarEnd(w.text, pos)
		value := w.blank(w.blank(end) + 1)
		if s, _ := jsontext.AppendUnquote(nil, w.text[pos:end]); string(s) == name {
			return value
		}
		pos = w.skip(value)
	}
}

// skip returns the end of the value at pos.
func (w *walker) skip(pos int) int {
	if w.text[pos] != '{' && w.text[pos] != '[' {
		return scalarEnd(w.text, pos)
	}
	for depth := 0; ; {
		switch w.text[pos] {
		case '"':
			pos = scalarEnd(w.text, pos)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return pos + 1
			}
		}
		pos++
	}
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }
