package docdb

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
	"github.com/latchkey-db/latchkey/internal/store"
)

// version is one change of one item in the log, with the time of its commit.
type version struct {
	logChange
	rangeNumber uint32
	ts          int64
	expiry      bool
}

// checkVersions refuses the feed of all versions where there is none, and starts that it does not have.
func (q *ChangeFeedRequest) checkVersions(state *container) error {
	switch {
	case !q.AllVersions:
		return nil
	case state.rec.Spec.retention() == 0:
		return badRequest("The change feed of all versions and deletes is not enabled: the container has no changeFeedPolicy with a retentionDuration.")
	case q.Since == "" || !q.Start.IsZero():
		return badRequest("The change feed of all versions and deletes can be read from now or from a continuation only.")
	}
	return nil
}

// checkTrimmed refuses a continuation that is older than what is kept.
func (f *feedReader) checkTrimmed(all []segment) error {
	for _, s := range all {
		raw, err := f.view.Get(key(keyTrimmed, f.state.id[:], be32(s.number)))
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		case len(raw) == 8 && s.from < binary.BigEndian.Uint64(raw):
			return fault.New(fault.Invalid, "RetentionExceeded", "The continuation is older than the retention of the container's change feed.")
		}
	}
	return nil
}

// versions yields what the log has of one stretch. Changes of before the container kept versions are not
// in it.
func (s segment) versions(view *store.Snapshot, id containerID, errp *error) iter.Seq[changed] {
	return func(yield func(changed) bool) {
		var err error
		defer func() { *errp = errors.Join(*errp, err) }()
		r := store.Range{Lower: logKey(id, s.number, s.from+1), Upper: logKey(id, s.number, s.to+1)}
		for k, raw := range view.Scan(r, &err) {
			var rec logRecord
			if e := json.Unmarshal(raw, &rec); e != nil {
				err = e
				return
			}
			lsn := binary.BigEndian.Uint64(k[len(k)-8:])
			for _, c := range rec.Changes {
				if c.At == nil {
					continue
				}
				v := version{logChange: c, rangeNumber: s.number, ts: rec.TS, expiry: rec.Expiry || c.Expired}
				if !yield(changed{lsn: lsn, at: c.At, version: &v}) {
					return
				}
			}
		}
	}
}

// metadata is what the feed tells of a change.
type metadata struct {
	Operation string          `json:"operationType"`
	LSN       uint64          `json:"lsn"`
	Time      int64           `json:"crts"`
	Previous  uint64          `json:"previousImageLSN,omitempty"`
	Expired   bool            `json:"timeToLiveExpired,omitempty"`
	ID        string          `json:"id,omitempty"`           // of a deletion
	Key       json.RawMessage `json:"partitionKey,omitempty"` // of a deletion
}

// addVersion puts one change on the page.
func (f *feedReader) addVersion(x changed) error {
	m := metadata{Operation: x.version.Operation, LSN: x.lsn, Time: x.version.ts, Previous: x.version.Previous}
	out := jsonx.Object{}
	if m.Operation == loggedDelete {
		m.ID, m.Expired = x.version.ID, x.version.expiry
		m.Key = f.state.rec.Spec.PartitionKey.object(x.at)
	} else {
		i, err := f.versionOf(x)
		if err != nil {
			return err
		}
		body := i.json(f.state.id)
		out = append(out, jsonx.NewMember("current", body))
		f.size += len(body)
	}
	out = append(out, jsonx.NewMember("metadata", mustJSON(m)))
	f.page.Items = append(f.page.Items, out.Join())
	return nil
}

// versionOf reads the version that a change made: the item as it is, or what is kept of it.
func (f *feedReader) versionOf(x changed) (*item, error) {
	raw, err := f.view.Get(key(keyItem, f.state.id[:], x.at))
	if err == nil {
		i, e := decodeItem(raw)
		if e != nil || i.lsn == x.lsn && i.place == x.version.Place {
			return i, e
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if raw, err = f.view.Get(versionKey(f.state.id, x.version.rangeNumber, x.lsn, x.version.Place)); err != nil {
		return nil, err
	}
	return decodeItem(raw)
}

// object is the partition key in an item's key as an object, by the names at the ends of the paths.
func (d *PartitionKeyDefinition) object(at []byte) json.RawMessage {
	_, rest, _ := skipEscaped(at)
	out := jsonx.Object{}
	for _, path := range d.Paths {
		var c Component
		var ok bool
		if c, rest, ok = decodeComponent(rest); !ok {
			break
		}
		names, _ := parsePath(path)
		if len(names) > 0 && c.typ != typeUndefined {
			out = append(out, jsonx.NewMember(names[len(names)-1], c.json()))
		}
	}
	return json.RawMessage(out.Join())
}

// decodeComponent reads a component that encode wrote.
func decodeComponent(b []byte) (c Component, rest []byte, ok bool) {
	if len(b) == 0 {
		return c, nil, false
	}
	c.typ, rest = b[0], b[1:]
	switch c.typ {
	case typeString:
		var s []byte
		s, rest, ok = skipEscaped(rest)
		c.text = string(s)
		return c, rest, ok
	case typeNumber:
		if len(rest) < 8 {
			return c, nil, false
		}
		c.number = unorderedBits(binary.BigEndian.Uint64(rest))
		return c, rest[8:], true
	}
	return c, rest, true
}

// json is the component as JSON text.
func (c Component) json() []byte {
	switch c.typ {
	case typeFalse:
		return []byte("false")
	case typeTrue:
		return []byte("true")
	case typeNumber:
		if math.IsInf(c.number, 0) { // of an item that was stored when such keys were taken
			return map[bool][]byte{true: []byte("-1e999"), false: []byte("1e999")}[c.number < 0]
		}
		return strconv.AppendFloat(nil, c.number, 'g', -1, 64)
	case typeString:
		return bytes.Clone(jsonx.Quote(c.text))
	}
	return []byte("null")
}
