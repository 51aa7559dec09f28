package sealfs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// The header's layout; see docs/FORMAT.md.
const (
	headerSize = 96
	version1   = 1
	version2   = 2 // as 1, but zeros may follow the records: see padding
	cipherGCM  = 1 // AES-256-GCM
	tagSize    = 16
	nonceSize  = 12
	macOffset  = headerSize - tagSize
	checkSize  = 8
	fileIDSize = 32
)

// Limits of the block size, as base-2 logarithms.
const (
	minBlockLog = 12
	maxBlockLog = 16
)

const magic = "LKSF"

// header is the first part of every sealed file.
type header struct {
	version  uint8
	role     role
	blockLog uint8 // 0 for record files
	keyID    KeyID
	fileID   [fileIDSize]byte
	check    [checkSize]byte
}

// encode returns the header without its MAC.
func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, h.version, byte(h.role.class), cipherGCM, h.blockLog, 0, 0, 0, 0)
	b = append(b, h.keyID[:]...)
	b = append(b, h.fileID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.role.kind))
	b = binary.BigEndian.AppendUint64(b, h.role.number)
	return append(b, h.check[:]...)
}

// parseHeader decodes b, of headerSize bytes, and returns a constant reason when it is no header.
// It authenticates nothing.
func parseHeader(b []byte) (h header, reason string) {
	switch {
	case len(b) < headerSize:
		return h, "file is shorter than its header"
	case string(b[:4]) != magic:
		return h, "not a sealed file"
	case b[4] != version1 && b[4] != version2:
		return h, "unknown format version"
	case b[6] != cipherGCM:
		return h, "unknown cipher"
	case binary.BigEndian.Uint32(b[8:]) != 0:
		return h, "reserved bytes are not zero"
	}
	h.version, h.role.class, h.blockLog = b[4], class(b[5]), b[7]
	copy(h.keyID[:], b[12:])
	copy(h.fileID[:], b[28:])
	h.role.kind = kind(binary.BigEndian.Uint32(b[60:]))
	h.role.number = binary.BigEndian.Uint64(b[64:])
	copy(h.check[:], b[72:])
	return h, h.badClass()
}

func (h *header) badClass() (reason string) {
	switch {
	case h.role.class == classBlock && (h.blockLog < minBlockLog || h.blockLog > maxBlockLog):
		return "block size out of range"
	case h.role.class == classRecord && h.blockLog != 0:
		return "record file with a block size"
	case h.role.class != classBlock && h.role.class != classRecord:
		return "unknown class"
	}
	return ""
}

// headerNonce is reserved for the header's MAC: block indexes never reach it and record nonces are
// drawn again if they equal it.
var headerNonce = [nonceSize]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}

// fileKey is what is derived for one file.
type fileKey struct {
	aead  cipher.AEAD
	check [checkSize]byte
}

// deriveKey is HKDF-SHA256 with the file id as salt. The two infos cannot collide: their first
// bytes differ and the class is the last byte.
func deriveKey(dataKey []byte, h *header, storeID string) (k fileKey, err error) {
	if len(dataKey) != KeySize {
		return k, fmt.Errorf("sealfs: data key %s has %d bytes", h.keyID, len(dataKey))
	}
	prk := extract(dataKey, h.fileID[:])
	defer clear(prk)
	suffix := storeID + string([]byte{byte(h.role.class)})
	check, err := hkdf.Expand(sha256.New, prk, "latchkey/kcv/v1"+suffix, checkSize)
	if err != nil {
		return k, err
	}
	copy(k.check[:], check)
	raw, err := hkdf.Expand(sha256.New, prk, "latchkey/file/v1"+suffix, KeySize)
	if err != nil {
		return k, err
	}
	defer clear(raw)
	k.aead, err = newGCM(raw)
	return k, err
}

// extract is HKDF-Extract with SHA-256 (RFC 5869): HMAC of the secret under the salt. It is written out,
// because the state of the hash holds the secret: it is overwritten before it is left to the collector.
func extract(key, salt []byte) []byte {
	h := hmac.New(sha256.New, salt)
	h.Write(key)
	prk := h.Sum(nil)
	h.Reset()
	h.Write(make([]byte, sha256.BlockSize-1))
	secret.ClearStack()
	return prk
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal returns the complete header. h.check must be set.
func (h *header) seal(k fileKey) []byte {
	b := h.encode()
	return k.aead.Seal(b, headerNonce[:], nil, b)
}

// verify checks that raw, which h was parsed from, was sealed under k.
func (h *header) verify(k fileKey, raw []byte) (reason string) {
	if subtle.ConstantTimeCompare(h.check[:], k.check[:]) != 1 {
		return "sealed under another key, or for another store"
	}
	if _, err := k.aead.Open(nil, headerNonce[:], raw[macOffset:headerSize], raw[:macOffset]); err != nil {
		return "header does not authenticate"
	}
	return ""
}
