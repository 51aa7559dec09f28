package material

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"slices"
)

// The integrity check values of RFC 3394 section 2.2.3.1 and RFC 5649 section 3.
var (
	icv3394 = [8]byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6}
	icv5649 = [4]byte{0xa6, 0x59, 0x59, 0xa6}
)

const (
	half       = 8 // bytes of a semiblock
	maxWrapped = 1 << 16
	rounds     = 6
)

// wrapRFC3394 wraps a key of at least two semiblocks.
func wrapRFC3394(b cipher.Block, key []byte) ([]byte, bool) {
	if len(key) < 2*half || len(key)%half != 0 || len(key) > maxWrapped {
		return nil, false
	}
	return wrapBlocks(b, icv3394, key), true
}

func unwrapRFC3394(b cipher.Block, wrapped []byte) ([]byte, bool) {
	if len(wrapped) < 3*half || len(wrapped)%half != 0 || len(wrapped) > maxWrapped+half {
		return nil, false
	}
	check, key := unwrapBlocks(b, wrapped)
	if subtle.ConstantTimeCompare(check[:], icv3394[:]) != 1 {
		clear(key)
		return nil, false
	}
	return key, true
}

// wrapRFC5649 wraps a key of any length from one byte.
func wrapRFC5649(b cipher.Block, key []byte) ([]byte, bool) {
	if len(key) == 0 || len(key) > maxWrapped {
		return nil, false
	}
	var check [half]byte
	copy(check[:4], icv5649[:])
	binary.BigEndian.PutUint32(check[4:], uint32(len(key)))
	text := slices.Clone(key)
	for len(text)%half != 0 {
		text = append(text, 0)
	}
	if len(text) > half {
		return wrapBlocks(b, check, text), true
	}
	out := append(check[:], text...)
	b.Encrypt(out, out)
	return out, true
}

func unwrapRFC5649(b cipher.Block, wrapped []byte) ([]byte, bool) {
	if len(wrapped) < 2*half || len(wrapped)%half != 0 || len(wrapped) > maxWrapped+half {
		return nil, false
	}
	var check [half]byte
	var text []byte
	if len(wrapped) == 2*half {
		out := make([]byte, 2*half)
		b.Decrypt(out, wrapped)
		copy(check[:], out)
		text = out[half:]
	} else {
		check, text = unwrapBlocks(b, wrapped)
	}
	n := int(binary.BigEndian.Uint32(check[4:]))
	good := subtle.ConstantTimeCompare(check[:4], icv5649[:])
	if n > len(text) || n <= len(text)-half {
		clear(text)
		return nil, false
	}
	good &= subtle.ConstantTimeCompare(text[n:], make([]byte, len(text)-n))
	if good != 1 {
		clear(text)
		return nil, false
	}
	return text[:n], true
}

// wrapBlocks is the wrapping process W of RFC 3394 section 2.2.1.
func wrapBlocks(b cipher.Block, check [half]byte, key []byte) []byte {
	out := append(check[:], key...)
	n := len(key) / half
	var block [2 * half]byte
	copy(block[:half], out)
	for j := range rounds {
		for i := 1; i <= n; i++ {
			copy(block[half:], out[i*half:])
			b.Encrypt(block[:], block[:])
			stir(block[:half], uint64(n*j+i))
			copy(out[i*half:], block[half:])
		}
	}
	copy(out, block[:half])
	return out
}

// unwrapBlocks undoes wrapBlocks.
func unwrapBlocks(b cipher.Block, wrapped []byte) (check [half]byte, key []byte) {
	out := slices.Clone(wrapped)
	n := len(wrapped)/half - 1
	var block [2 * half]byte
	copy(block[:half], out)
	for j := rounds - 1; j >= 0; j-- {
		for i := n; i >= 1; i-- {
			stir(block[:half], uint64(n*j+i))
			copy(block[half:], out[i*half:])
			b.Decrypt(block[:], block[:])
			copy(out[i*half:], block[half:])
		}
	}
	copy(check[:], block[:half])
	return check, out[half:]
}

// stir mixes the counter into the check value.
func stir(a []byte, t uint64) {
	binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(a)^t)
}
