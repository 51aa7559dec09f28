package docdb

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf16"
)

// Effective partition keys: the hash that decides where a logical partition lives. Clients compute
// it too, to find the range of an item, so every bit is part of the protocol.

// Component types as they are hashed and as they stand in version 1 hashes.
const (
	typeUndefined = 0x00
	typeNull      = 0x01
	typeFalse     = 0x02
	typeTrue      = 0x03
	typeNumber    = 0x05
	typeString    = 0x08
)

// v1MaxString is where version 1 cuts strings, in UTF-16 units.
const v1MaxString = 100

// effective returns the effective partition key of k under definition d, as bytes.
func effective(d PartitionKeyDefinition, k PartitionKey) []byte {
	switch {
	case d.Kind == KindMultiHash:
		var out []byte
		for _, c := range k {
			out = append(out, hashV2(PartitionKey{c})...)
		}
		return out
	case d.Version >= 2:
		return hashV2(k)
	}
	return hashV1(k)
}

// hashV2 is MurmurHash3 x64-128 of the components, byte-reversed, with the two top bits clear.
func hashV2(k PartitionKey) []byte {
	var in []byte
	for _, c := range k {
		in = c.appendHashed(in, 0xFF)
	}
	h1, h2 := murmur128(in)
	out := binary.BigEndian.AppendUint64(nil, h2)
	out = binary.BigEndian.AppendUint64(out, h1)
	out[0] &= 0x3F
	return out
}

// hashV1 is MurmurHash3 x86-32 of the components as a number, followed by the components themselves.
func hashV1(k PartitionKey) []byte {
	var in []byte
	cut := make(PartitionKey, len(k))
	for i, c := range k {
		c.text = cutUnits(c.text, v1MaxString)
		cut[i] = c
		in = c.appendHashed(in, 0x00)
	}
	out := appendV1Number(nil, float64(murmur32(in)))
	for _, c := range cut {
		out = c.appendV1(out)
	}
	return out
}

// cutUnits cuts s after n UTF-16 units; half a surrogate pair becomes the replacement character.
func cutUnits(s string, n int) string {
	units := utf16.Encode([]rune(s))
	if len(units) <= n {
		return s
	}
	return string(utf16.Decode(units[:n]))
}

// appendHashed appends the form of c that is hashed.
func (c Component) appendHashed(b []byte, suffix byte) []byte {
	b = append(b, c.typ)
	switch c.typ {
	case typeNumber:
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(c.number))
	case typeString:
		b = append(append(b, c.text...), suffix)
	}
	return b
}

// appendV1 appends the readable form that follows the hash in version 1.
func (c Component) appendV1(b []byte) []byte {
	switch c.typ {
	case typeNumber:
		return appendV1Number(b, c.number)
	case typeString:
		return appendV1String(b, c.text)
	}
	return append(b, c.typ)
}

// appendV1Number appends 05, the 8 top bits of the ordered double, then 7 bits a byte with a 1
// below them, the last byte with a 0.
func appendV1Number(b []byte, f float64) []byte {
	v := orderedBits(f)
	b = append(b, typeNumber, byte(v>>56))
	for v <<= 8; v != 0; {
		group := byte(v>>56) & 0xFE
		if v <<= 7; v != 0 {
			group |= 1
		}
		b = append(b, group)
	}
	return b
}

// appendV1String appends 08, every byte plus one, and 00.
func appendV1String(b []byte, s string) []byte {
	b = append(b, typeString)
	for i := range len(s) {
		c := s[i]
		if c < 0xFF {
			c++
		}
		b = append(b, c)
	}
	return append(b, 0x00)
}

// murmur32 is MurmurHash3 x86-32 with seed 0 (public domain algorithm of Austin Appleby).
func murmur32(data []byte) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*c1, 15) * c2 }
	var h uint32
	rest := data
	for ; len(rest) >= 4; rest = rest[4:] {
		h ^= mix(binary.LittleEndian.Uint32(rest))
		h = bits.RotateLeft32(h, 13)*5 + 0xe6546b64
	}
	var tail [4]byte
	copy(tail[:], rest)
	h ^= mix(binary.LittleEndian.Uint32(tail[:])) // mix(0) is 0: nothing when there is no tail
	h ^= uint32(len(data))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

const murmurC1, murmurC2 = 0x87c37b91114253d5, 0x4cf5ad432745937f

// murmur128 is MurmurHash3 x64-128 with seed 0 (public domain algorithm of Austin Appleby).
func murmur128(data []byte) (h1, h2 uint64) {
	mix1 := func(k uint64) uint64 { return bits.RotateLeft64(k*murmurC1, 31) * murmurC2 }
	mix2 := func(k uint64) uint64 { return bits.RotateLeft64(k*murmurC2, 33) * murmurC1 }
	rest := data
	for ; len(rest) >= 16; rest = rest[16:] {
		h1 ^= mix1(binary.LittleEndian.Uint64(rest))
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= mix2(binary.LittleEndian.Uint64(rest[8:]))
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	var tail [16]byte
	copy(tail[:], rest)
	h2 ^= mix2(binary.LittleEndian.Uint64(tail[8:]))
	h1 ^= mix1(binary.LittleEndian.Uint64(tail[:]))
	h1 ^= uint64(len(data))
	h2 ^= uint64(len(data))
	h1 += h2
	h2 += h1
	h1, h2 = finalMix(h1), finalMix(h2)
	h1 += h2
	h2 += h1
	return h1, h2
}

func finalMix(v uint64) uint64 {
	v = (v ^ v>>33) * 0xff51afd7ed558ccd
	v = (v ^ v>>33) * 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}
