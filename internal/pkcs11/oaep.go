package pkcs11

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash"
)

// isUnable reports whether the token said that it cannot do what it was asked for.
func isUnable(err error) bool { return errors.Is(err, ErrMechanism) }

// leftPad returns b with zeros before it, size bytes long: some tokens leave leading zeros out.
func leftPad(b []byte, size int) []byte {
	out := make([]byte, size)
	if len(b) <= size {
		copy(out[size-len(b):], b)
	}
	return out
}

// removeOAEP is EME-OAEP decoding (RFC 8017, section 7.1.2, step 3) with an empty label. It overwrites em.
// Its time depends on the lengths only, until it is known that everything is well: an attacker who
// could tell at which place a block is wrong would read every message that was sent to the key.
func removeOAEP(h hash.Hash, em []byte) ([]byte, error) {
	size := h.Size()
	if len(em) < 2*size+2 {
		return nil, ErrInput
	}
	seed, db := em[1:1+size], em[1+size:]
	xorMask(h, seed, db)
	xorMask(h, db, seed)
	h.Reset()
	good := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeCompare(h.Sum(nil), db[:size])
	looking, index, bad := 1, 0, 0 // for the byte 1, after zeros only
	for i, b := range db[size:] {
		zero, one := subtle.ConstantTimeByteEq(b, 0), subtle.ConstantTimeByteEq(b, 1)
		index = subtle.ConstantTimeSelect(looking&one, i, index)
		bad |= looking & (1 ^ zero) & (1 ^ one)
		looking &= 1 ^ one
	}
	if good&(1^bad)&(1^looking) != 1 {
		return nil, ErrInput
	}
	return append([]byte{}, db[size+index+1:]...), nil
}

// xorMask is out = out XOR MGF1(seed).
func xorMask(h hash.Hash, out, seed []byte) {
	var counter [4]byte
	for n := uint32(0); len(out) > 0; n++ {
		binary.BigEndian.PutUint32(counter[:], n)
		h.Reset()
		h.Write(seed)
		h.Write(counter[:])
		out = out[subtle.XORBytes(out, out, h.Sum(nil)):]
	}
}
