package docdb

import (
	"encoding/binary"
	"math"

	"github.com/latchkey-db/latchkey/internal/store"
)

// First bytes of the store's keys; see the package comment.
const (
	keyLayout        = 0x00
	keySecret        = 0x01
	keyCounter       = 0x02
	keyTokenSecret   = 0x03
	keyDatabaseName  = 0x10
	keyDatabase      = 0x11
	keyContainerName = 0x12
	keyContainer     = 0x13
	keyOffer         = 0x14
	keyResourceName  = 0x15
	keyResource      = 0x16
	keyItem          = 0x20
	keyOrder         = 0x21
	keyPartition     = 0x22
	keyUnique        = 0x23
	keyChange        = 0x30
	keyLog           = 0x31
	keyVersion       = 0x32
	keyTrimmed       = 0x33
	keyErase         = 0x34
	keyTerm          = 0x40
	keyShape         = 0x41
	keyShaped        = 0x42
	keyComposite     = 0x43
	keyBuilt         = 0x44
	keyCell          = 0x45
)

// layoutVersion is the version of the key layout that this code writes. It also reads oldestLayout, which
// is the same without indexes.
const (
	layoutVersion = 2
	oldestLayout  = 1
)

// appendEscaped appends s so that the result sorts as s does, is no prefix of another result, and
// can be followed by anything: 00 becomes 00 FF, and 00 01 ends it.
func appendEscaped(b, s []byte) []byte {
	b = appendEscapedOpen(b, s)
	return append(b, 0x00, 0x01)
}

// appendEscapedOpen is appendEscaped without the end: a lower bound for everything that begins with s.
func appendEscapedOpen(b, s []byte) []byte {
	for _, c := range s {
		if b = append(b, c); c == 0x00 {
			b = append(b, 0xFF)
		}
	}
	return b
}

// skipEscaped returns what follows an escaped string in b, and the string; ok is false when b does
// not begin with one.
func skipEscaped(b []byte) (s, rest []byte, ok bool) {
	for i := 0; i < len(b); i++ {
		if b[i] != 0x00 {
			s = append(s, b[i])
			continue
		}
		if i++; i == len(b) {
			return nil, nil, false
		}
		if b[i] == 0x01 {
			return s, b[i+1:], true
		}
		s = append(s, 0x00)
	}
	return nil, nil, false
}

// orderedBits maps a double to an integer that sorts as the double does.
func orderedBits(f float64) uint64 {
	bits := math.Float64bits(f)
	if bits>>63 == 0 {
		return bits ^ 1<<63
	}
	return -bits
}

// unorderedBits is the double that orderedBits mapped.
func unorderedBits(v uint64) float64 {
	if v>>63 == 1 {
		return math.Float64frombits(v ^ 1<<63)
	}
	return math.Float64frombits(-v)
}

func key(kind byte, parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	b := append(make([]byte, 0, n), kind)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func fromBE64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// below is the range of all keys of a kind that begin with parts.
func below(kind byte, parts ...[]byte) store.Range { return store.Prefix(key(kind, parts...)) }
