package docdb

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/jsonx"
)

// Stored items, version 1. Big-endian:
//
//	0     version, 1
//	1-8   number of the item in its container (V)
//	9-16  LSN of its last change
//	17    place of that change in its commit
//	18-25 time of the last change, Unix seconds
//	26-29 time to live in seconds: 0 not set, -1 never
//	30-   the user's JSON object, without the system's members
const (
	recordVersion = 1
	recordHeader  = 30
)

// maxTTL is the longest time to live in seconds.
const maxTTL = 1<<31 - 1

// item is one version of a document.
type item struct {
	number uint64
	lsn    uint64
	place  uint8
	ts     int64
	ttl    int32
	body   []byte // the user's JSON; the members that the system adds are not in it
}

// itemNumber is the number of an item that is created by a place of a commit of a range: 16 bits of the
// range's number, 36 of the sequence number, 8 of the place. A range has a greater number than those that
// it comes from, so the numbers of a logical partition grow.
func itemNumber(rangeNumber uint32, lsn uint64, place uint8) uint64 {
	return uint64(rangeNumber)<<44 | lsn<<8 | uint64(place)
}

func (i *item) encode() []byte {
	b := make([]byte, 0, recordHeader+len(i.body))
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, i.number)
	b = binary.BigEndian.AppendUint64(b, i.lsn)
	b = append(b, i.place)
	b = binary.BigEndian.AppendUint64(b, uint64(i.ts))
	b = binary.BigEndian.AppendUint32(b, uint32(i.ttl))
	return append(b, i.body...)
}

// decodeItem reads a stored item; its body is a part of b.
func decodeItem(b []byte) (*item, error) {
	if len(b) < recordHeader+2 || b[0] != recordVersion {
		return nil, fmt.Errorf("docdb: stored item of %d bytes cannot be read", len(b))
	}
	return &item{
		number: binary.BigEndian.Uint64(b[1:]),
		lsn:    binary.BigEndian.Uint64(b[9:]),
		place:  b[17],
		ts:     int64(binary.BigEndian.Uint64(b[18:])),
		ttl:    int32(binary.BigEndian.Uint32(b[26:])),
		body:   b[recordHeader:],
	}, nil
}

// expired reports whether the item's life is over at now (Unix seconds), given the container's
// default; nil means that nothing ever expires.
func (i *item) expired(now int64, defaultTTL *int64) bool {
	if defaultTTL == nil {
		return false
	}
	ttl := int64(i.ttl)
	if ttl == 0 {
		ttl = *defaultTTL
	}
	return ttl > 0 && i.ts+ttl <= now
}

// etag identifies this version of the item, with quotes.
func (i *item) etag(id containerID) string {
	number := binary.BigEndian.Uint32(id[4:])
	return fmt.Sprintf(`"%08x-%04x-%04x-%04x-%08x%04x"`,
		uint32(i.lsn), uint16(i.lsn>>32), uint16(i.place), uint16(number), uint32(i.ts), uint16(number>>16))
}

// systemMembers are the members of a document that belong to the system: dropped from what a client
// sends, added to what it gets.
var systemMembers = map[string]bool{"_rid": true, "_self": true, "_etag": true, "_attachments": true, "_ts": true, "_lsn": true}

func isSystemMember(name string) bool { return systemMembers[name] }

// json returns the document as clients see it.
func (i *item) json(id containerID) []byte { return i.closed(id, nil) }

// jsonInFeed returns the document as the change feed shows it, with its sequence number.
func (i *item) jsonInFeed(id containerID) []byte {
	return i.closed(id, strconv.AppendUint([]byte(`,"_lsn":`), i.lsn, 10))
}

func (i *item) closed(id containerID, extra []byte) []byte {
	rid := id.child(i.number, 0)
	b := make([]byte, 0, len(i.body)+len(extra)+256)
	b = append(b, i.body[:len(i.body)-1]...) // an object with at least an id, without its brace
	b = append(b, `,"_rid":"`...)
	b = append(b, rid...)
	b = append(b, `","_self":"`...)
	b = append(b, id.self()...)
	b = append(b, `docs/`...)
	b = append(b, rid...)
	b = append(b, `/","_etag":`...)
	b = append(b, jsonx.Quote(i.etag(id))...)
	b = append(b, `,"_attachments":"attachments/","_ts":`...)
	b = strconv.AppendInt(b, i.ts, 10)
	b = append(b, extra...)
	return append(b, '}')
}
