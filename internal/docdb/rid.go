package docdb

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// Resource ids are base64 with '-' for '/'. Layout (bytes): 0-3 the database; 4-7 a container when
// the top bit is set; 8-15 a child of the container, whose kind stands in the high half of byte 15.
// An offer has 3 bytes and nothing else.

const (
	containerBit = 1 << 31
	kindRange    = 0x50 // partition key range, in byte 15
)

func encodeRID(b []byte) string {
	return strings.ReplaceAll(base64.StdEncoding.EncodeToString(b), "/", "-")
}

// decodeRID returns the bytes of a resource id; ok is false when s cannot be one.
func decodeRID(s string) (b []byte, ok bool) {
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(s, "-", "/"))
	return b, err == nil
}

// looksLikeRID reports whether s has the form of a resource id of n bytes.
func looksLikeRID(s string, n int) bool {
	b, ok := decodeRID(s)
	return ok && len(b) == n
}

func databaseRID(number uint32) string { return encodeRID(be32(number)) }

// containerID is the 8 bytes that stand for a container in keys and in resource ids.
type containerID [8]byte

func newContainerID(database, number uint32) containerID {
	var id containerID
	binary.BigEndian.PutUint32(id[:4], database)
	binary.BigEndian.PutUint32(id[4:], number|containerBit)
	return id
}

func (id containerID) database() uint32 { return binary.BigEndian.Uint32(id[:4]) }
func (id containerID) rid() string      { return encodeRID(id[:]) }

// self is the container's link by resource ids, with the trailing slash of the service.
func (id containerID) self() string {
	return "dbs/" + databaseRID(id.database()) + "/colls/" + id.rid() + "/"
}

// child is the resource id of a child: 60 bits of number around the kind in byte 15. Numbers that
// grow give ids that grow.
func (id containerID) child(number uint64, kind byte) string {
	b := append(id[:], be64(number<<8)...)
	b[15] = kind | byte(number>>56)&0x0F
	return encodeRID(b)
}

// number returns the number in a document's resource id; ok is false when the id is not one of a
// document in this container.
func (id containerID) number(rid string) (n uint64, ok bool) {
	b, ok := decodeRID(rid)
	if !ok || len(b) != 16 || containerID(b[:8]) != id || b[15]&0xF0 != 0 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[8:])>>8 | uint64(b[15]&0x0F)<<56, true
}

func offerRID(number uint32) string { return encodeRID(be32(number)[1:]) }
