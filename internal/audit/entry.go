package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of an event, in bytes. A longer string is cut.
const (
	maxString = 1 << 10
	maxDetail = 4 << 10
	// maxLine bounds one entry with room for escapes; a longer line is no entry.
	maxLine = 256 << 10
)

// Entry is one line of the log.
type Entry struct {
	Seq   uint64 `json:"seq"`  // from 1, without gaps
	Prev  string `json:"prev"` // Hash of the entry before, in hexadecimal; zeros in the first one
	Hash  string `json:"hash"`
	Event Event  `json:"event"`
}

// head is the end of a chain.
type head struct {
	seq  uint64
	hash [sha256.Size]byte
}

const hashDomain = "latchkey/audit/v1\n"

// next returns the head after an entry with the given event.
func (h head) next(event []byte) head {
	d := sha256.New()
	d.Write([]byte(hashDomain))
	d.Write(h.hash[:])
	d.Write(binary.BigEndian.AppendUint64(nil, h.seq+1))
	d.Write(event)
	n := head{seq: h.seq + 1}
	d.Sum(n.hash[:0])
	return n
}

// appendEntry appends the line of the next entry to dst and moves h on.
func (h *head) appendEntry(dst, event []byte) []byte {
	n := h.next(event)
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendUint(dst, n.seq, 10)
	dst = append(dst, `,"prev":"`...)
	dst = hex.AppendEncode(dst, h.hash[:])
	dst = append(dst, `","hash":"`...)
	dst = hex.AppendEncode(dst, n.hash[:])
	dst = append(dst, `","event":`...)
	dst = append(dst, event...)
	*h = n
	return append(dst, "}\n"...)
}

// accept checks that line, without its newline, is byte for byte the entry that follows h, and
// moves h on.
func (h *head) accept(line []byte) (Entry, error) {
	var l struct {
		Event json.RawMessage `json:"event"`
	}
	var e Entry
	if json.Unmarshal(line, &l) != nil || json.Unmarshal(line, &e) != nil {
		return e, fmt.Errorf("%w after entry %d: not an entry", ErrBroken, h.seq)
	}
	next := *h
	want := next.appendEntry(nil, l.Event)
	if !bytes.Equal(want[:len(want)-1], line) {
		return e, fmt.Errorf("%w after entry %d", ErrBroken, h.seq)
	}
	*h = next
	return e, nil
}

// before returns the head that the entry in line claims to follow; the empty one if line is none.
func before(line []byte) (h head) {
	var e Entry
	if json.Unmarshal(line, &e) != nil || e.Seq == 0 || len(e.Prev) != 2*len(h.hash) {
		return h
	}
	if _, err := hex.Decode(h.hash[:], []byte(e.Prev)); err != nil {
		return head{}
	}
	h.seq = e.Seq - 1
	return h
}

// encodeEvent cleans e and returns its canonical form: compact JSON, members in the order of the
// struct, nothing escaped that JSON does not require. The hash covers these bytes. Almost every event
// is of plain text, which is written as it is.
func encodeEvent(e Event) ([]byte, error) {
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	if e.plain() {
		return e.appendPlain(make([]byte, 0, plainEvent)), nil
	}
	return encodeAny(e)
}

// plainEvent is the usual size of an event, in bytes, with room.
const plainEvent = 1024

// plain reports whether encodeAny would change and escape nothing.
func (e *Event) plain() bool {
	year := e.Time.Year()
	return year >= 1 && year <= 9999 && len(e.Detail) <= maxDetail && plain(e.Detail) &&
		short(e.Operation) && short(e.Resource) && short(string(e.Outcome)) && short(e.Reason) && short(e.Principal) &&
		short(e.AppID) && short(e.Caller) && short(e.Address) && short(e.Request) && short(e.Version) &&
		short(e.Client) && short(e.URI) && short(e.Gate) && short(e.Scope) && (e.Key == nil || short(e.Key.Type) && short(e.Key.Curve))
}

func short(s string) bool { return len(s) <= maxString && plain(s) }

// plain reports whether s is of printable ASCII that JSON does not escape.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendPlain appends the canonical form of an event that is plain.
func (e *Event) appendPlain(dst []byte) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.Time.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","operation":"`...)
	dst = append(dst, e.Operation...)
	dst = append(dst, `","resource":"`...)
	dst = append(dst, e.Resource...)
	dst = append(dst, `","outcome":"`...)
	dst = append(dst, e.Outcome...)
	dst = append(dst, '"')
	for _, m := range [...]struct{ name, value string }{
		{`,"reason":"`, e.Reason}, {`,"principal":"`, e.Principal}, {`,"appId":"`, e.AppID}, {`,"caller":"`, e.Caller},
		{`,"address":"`, e.Address}, {`,"request":"`, e.Request}, {`,"version":"`, e.Version}, {`,"detail":"`, e.Detail},
	} {
		dst = appendMember(dst, m.name, m.value)
	}
	if e.Micros != 0 {
		dst = strconv.AppendInt(append(dst, `,"durationMicros":`...), e.Micros, 10)
	}
	if e.Kind != 0 {
		dst = strconv.AppendUint(append(dst, `,"kind":`...), uint64(e.Kind), 10)
	}
	for _, m := range [...]struct{ name, value string }{
		{`,"client":"`, e.Client}, {`,"uri":"`, e.URI}, {`,"gate":"`, e.Gate}, {`,"scope":"`, e.Scope},
	} {
		dst = appendMember(dst, m.name, m.value)
	}
	return append(e.Key.appendPlain(dst), '}')
}

// appendMember appends a member unless it is empty; name has all that stands before the value.
func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return append(append(append(dst, name...), value...), '"')
}

// appendPlain appends a key that is plain as the last member of an event.
func (k *Key) appendPlain(dst []byte) []byte {
	if k == nil {
		return dst
	}
	dst = append(append(append(dst, `,"key":{"type":"`...), k.Type...), '"')
	if k.Size != 0 {
		dst = strconv.AppendInt(append(dst, `,"size":`...), int64(k.Size), 10)
	}
	return append(appendMember(dst, `,"curve":"`, k.Curve), '}')
}

// encodeAny is encodeEvent for every event.
func encodeAny(e Event) ([]byte, error) {
	e.Outcome = Outcome(clean(string(e.Outcome), maxString))
	for _, s := range []*string{&e.Operation, &e.Resource, &e.Reason, &e.Principal, &e.AppID,
		&e.Caller, &e.Address, &e.Request, &e.Version, &e.Client, &e.URI, &e.Gate, &e.Scope} {
		*s = clean(*s, maxString)
	}
	if e.Key != nil {
		e.Key = &Key{clean(e.Key.Type, maxString), e.Key.Size, clean(e.Key.Curve, maxString)}
	}
	e.Detail = clean(e.Detail, maxDetail)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("audit: encode: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// clean replaces what could mislead the reader of a terminal (controls, direction marks, invalid
// UTF-8) and cuts s to at most limit bytes at the end of a character.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return utf8.RuneError
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	const more = "…"
	s = s[:limit-len(more)]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + more
}
