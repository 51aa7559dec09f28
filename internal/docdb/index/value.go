package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A value is encoded as a tag and, for numbers and strings, what follows:
//
//	number  8 bytes: the double, its bits changed so that they sort as it does; from 2^53 on, 2 more bytes:
//	        by how much the integer differs from that double, plus 32768
//	string  its UTF-8 with 00 as 00 FF, then 00 01; of one longer than maxString bytes the first maxString,
//	        then 00 02 and the first 16 bytes of the SHA-256 of all of it
//
// The tags are in the order of the types of the query language.
const (
	tagUndefined = 0x01 // only in composite terms
	tagNull      = 0x02
	tagFalse     = 0x03
	tagTrue      = 0x04
	tagNumber    = 0x05
	tagString    = 0x06
	tagComposite = 0x07 // an array or an object; only in composite terms, and inexact
)

const (
	maxString  = 256
	hashBytes  = 16
	endWhole   = 0x01
	endCut     = 0x02
	maxExact   = 1 << 53 // from here on not every integer is a double
	diffOffset = 1 << 15
)

// AppendValue appends the encoding of a JSON scalar. It appends nothing for an array or an object.
func AppendValue(b []byte, v jsontext.Value) []byte {
	switch v.Kind() {
	case 'n':
		return append(b, tagNull)
	case 'f':
		return append(b, tagFalse)
	case 't':
		return append(b, tagTrue)
	case '0':
		return appendNumber(append(b, tagNumber), v)
	case '"':
		return appendString(append(b, tagString), v)
	}
	return b
}

// appendNumber encodes a number by what it is, not by how it is written.
func appendNumber(b []byte, v jsontext.Value) []byte {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err == nil {
		return appendDouble(b, float64(n), n)
	}
	f, _ := strconv.ParseFloat(string(v), 64) // out of range is infinite
	if f == math.Trunc(f) && f >= -1<<63 && f < 1<<63 {
		return appendDouble(b, f, int64(f))
	}
	return appendDouble(b, f, 0)
}

// appendDouble encodes a double, and the integer that it is nearest to when it is one.
func appendDouble(b []byte, f float64, n int64) []byte {
	if f == 0 {
		f = 0 // -0 is 0
	}
	b = binary.BigEndian.AppendUint64(b, orderedBits(f))
	if math.Abs(f) < maxExact {
		return b
	}
	var diff int64
	switch {
	case f >= 1<<63: // the nearest double of the greatest integers lies outside of them
		diff = 0
		if f == 1<<63 && n > 0 {
			diff = n - math.MaxInt64 - 1
		}
	case f >= -1<<63:
		diff = n - int64(f)
	}
	return binary.BigEndian.AppendUint16(b, uint16(diff+diffOffset))
}

func appendString(b []byte, v jsontext.Value) []byte {
	s := []byte(v[1 : len(v)-1])
	if bytes.IndexByte(s, '\\') >= 0 {
		s, _ = jsontext.AppendUnquote(nil, v) // checked text
	}
	if len(s) <= maxString {
		return append(appendEscaped(b, s), 0x00, endWhole)
	}
	sum := sha256.Sum256(s)
	b = append(appendEscaped(b, s[:maxString]), 0x00, endCut)
	return append(b, sum[:hashBytes]...)
}

func appendEscaped(b, s []byte) []byte {
	for {
		i := bytes.IndexByte(s, 0x00)
		if i < 0 {
			return append(b, s...)
		}
		b = append(append(b, s[:i+1]...), 0xFF)
		s = s[i+1:]
	}
}

// AppendPrefix appends the beginning that the encodings of all strings with this prefix have, and of no
// other value, as far as strings are not cut: then it is shorter than the prefix.
func AppendPrefix(b []byte, prefix string) []byte {
	return appendEscaped(append(b, tagString), []byte(prefix[:min(len(prefix), maxString)]))
}

// Split returns the value that b begins with, and what follows; ok is false when b begins with none.
func Split(b []byte) (value, rest []byte, ok bool) {
	n := valueLen(b)
	if n <= 0 || n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

func valueLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case tagUndefined, tagNull, tagFalse, tagTrue, tagComposite:
		return 1
	case tagNumber:
		if len(b) < 9 || math.Abs(unorderedBits(binary.BigEndian.Uint64(b[1:]))) < maxExact {
			return 9
		}
		return 11
	case tagString:
		return stringLen(b)
	}
	return 0
}

func stringLen(b []byte) int {
	for i := 1; i+1 < len(b); i++ {
		if b[i] != 0x00 {
			continue
		}
		if i++; b[i] == endWhole {
			return i + 1
		} else if b[i] == endCut {
			return i + 1 + hashBytes
		}
	}
	return 0
}

// Exact reports whether an encoded value says all of what it stands for.
func Exact(value []byte) bool {
	switch value[0] {
	case tagComposite:
		return false
	case tagString:
		return bytes.HasSuffix(value, []byte{0x00, endWhole}) && stringLen(value) == len(value)
	}
	return true
}

// Stem returns the beginning that an inexact value has in common with those that it cannot be told apart
// from; of an exact value it is all of it.
func Stem(value []byte) []byte {
	if value[0] == tagString && !Exact(value) {
		return value[:len(value)-hashBytes]
	}
	return value
}

// maxPlain bounds the numbers that [Decode] gives back: larger ones may have been written in another way.
const maxPlain = 1e15

// Decode returns a JSON text of the value that the query language cannot tell from the one in the document;
// ok is false when there is none.
func Decode(value []byte) (v jsontext.Value, ok bool) {
	switch value[0] {
	case tagNull:
		return jsontext.Value("null"), true
	case tagFalse:
		return jsontext.Value("false"), true
	case tagTrue:
		return jsontext.Value("true"), true
	case tagNumber:
		f := unorderedBits(binary.BigEndian.Uint64(value[1:]))
		if f == math.Trunc(f) && math.Abs(f) < maxPlain {
			return strconv.AppendInt(nil, int64(f), 10), true
		}
		return strconv.AppendFloat(nil, f, 'g', -1, 64), math.Abs(f) < maxPlain
	case tagString:
		if !Exact(value) {
			return nil, false
		}
		v, err := jsontext.AppendQuote(nil, bytes.ReplaceAll(value[1:len(value)-2], []byte{0x00, 0xFF}, []byte{0x00}))
		return v, err == nil
	}
	return nil, false
}

// Type is a kind of scalar values.
type Type byte

// The types of scalar values.
const (
	Null    Type = tagNull
	Boolean Type = tagFalse
	Number  Type = tagNumber
	String  Type = tagString
)

// Bounds are the encodings between which all values of the type lie; the upper one is exclusive.
func (t Type) Bounds() (lower, upper []byte) {
	if t == Boolean {
		return []byte{tagFalse}, []byte{tagTrue + 1}
	}
	return []byte{byte(t)}, []byte{byte(t) + 1}
}

// TypeOf is the type of an encoded value.
func TypeOf(value []byte) Type {
	if value[0] == tagTrue {
		return Boolean
	}
	return Type(value[0])
}

// orderedBits maps a double to an integer that sorts as the double does.
func orderedBits(f float64) uint64 {
	bits := math.Float64bits(f)
	if bits>>63 == 0 {
		return bits ^ 1<<63
	}
	return ^bits
}

// unorderedBits is the double that orderedBits mapped.
func unorderedBits(v uint64) float64 {
	if v>>63 == 1 {
		return math.Float64frombits(v ^ 1<<63)
	}
	return math.Float64frombits(^v)
}
