package docdb_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// Histories of clients with session tokens, and a checker of what the consistency levels promise about them.
// No write is ever lost in these histories, so the sequence numbers that writers were told put all versions
// of a logical partition in order, and every answer can be compared with it.

// observation is one operation of one client. read has the values of the items that it saw, "" of one that is
// not there; of a write it is the value that was written, "" for a deletion.
type observation struct {
	began, ended int64 // of one clock for all clients
	partition    string
	write        bool
	read         map[string]string
	lsn          uint64 // that the answer reflects; of a write, its own
}

// sessionAPI is the server as the clients of these histories use it.
type sessionAPI interface {
	put(partition, id, value, token string) (docdb.Receipt, error) // deletes when the value is ""
	get(partition, id, token string) (value string, r docdb.Receipt, err error)
	list(partition, token string) (values map[string]string, r docdb.Receipt, err error)
}

// direct is the service itself.
type direct struct {
	w    *world
	path docdb.ContainerPath
}

func (s direct) request(partition, token string) docdb.ItemRequest {
	q := at(s.path, `["`+partition+`"]`)
	q.Consistency.SessionToken = token
	return q
}

func (s direct) put(partition, id, value, token string) (docdb.Receipt, error) {
	q := s.request(partition, token)
	if value == "" {
		r, err := s.w.DeleteItem(context.Background(), key, q, id)
		return r.Receipt, err
	}
	r, err := s.w.UpsertItem(context.Background(), key, q, fmt.Appendf(nil, `{"id":%q,"pk":%q,"v":%q}`, id, partition, value))
	return r.Receipt, err
}

func (s direct) get(partition, id, token string) (string, docdb.Receipt, error) {
	r, err := s.w.ReadItem(context.Background(), key, s.request(partition, token), id)
	if fault.KindOf(err) == fault.NotFound && !fault.Is(err, "ReadSessionNotAvailable") {
		return "", docdb.Receipt{}, nil
	}
	return valueOf(r.JSON), r.Receipt, err
}

func (s direct) list(partition, token string) (map[string]string, docdb.Receipt, error) {
	q := s.request(partition, token)
	page, err := s.w.Query(context.Background(), key, docdb.FeedRequest{Path: s.path, PartitionKey: q.PartitionKey, Consistency: q.Consistency}, docdb.Query{Text: "SELECT c.id, c.v FROM c"})
	out := map[string]string{}
	for _, raw := range page.Items {
		var x struct{ ID, V string }
		if err := json.Unmarshal(raw, &x); err != nil {
			return nil, page.Receipt, err
		}
		out[x.ID] = x.V
	}
	return out, page.Receipt, err
}

func valueOf(raw []byte) string {
	var x struct{ V string }
	_ = json.Unmarshal(raw, &x) // nothing is a deletion
	return x.V
}

// recording is a history that is being made.
type recording struct {
	clock    atomic.Int64
	sessions [][]observation // by client
}

var sessionItems = []string{"a", "b", "c"}

// sessionClient is one of those who ask.
type sessionClient struct {
	*recording
	api    sessionAPI
	n      int
	d      dice
	serial int
	held   map[string]uint64 // session token by range
}

func (c *sessionClient) token() string {
	var parts []string
	for id, lsn := range c.held {
		parts = append(parts, fmt.Sprintf("%s:-1#%d", id, lsn))
	}
	return strings.Join(parts, ",")
}

// step carries one operation out and records it.
func (c *sessionClient) step() error {
	c.serial++
	o := observation{partition: fmt.Sprint("p", c.d.roll(4)), began: c.clock.Add(1), read: map[string]string{}}
	id, token := sessionItems[c.d.roll(len(sessionItems))], c.token()
	var r docdb.Receipt
	var err error
	switch c.d.roll(5) {
	case 0, 1:
		o.write = true
		if o.read[id] = fmt.Sprintf("%d.%d", c.n, c.serial); c.d.roll(6) == 0 {
			o.read[id] = ""
		}
		if r, err = c.api.put(o.partition, id, o.read[id], token); o.read[id] == "" && fault.KindOf(err) == fault.NotFound {
			return nil // there was nothing to delete
		}
	case 2:
		var values map[string]string
		values, r, err = c.api.list(o.partition, token)
		for _, id := range sessionItems {
			o.read[id] = values[id]
		}
	default:
		o.read[id], r, err = c.api.get(o.partition, id, token)
	}
	o.ended, o.lsn = c.clock.Add(1), r.LSN
	if r.RangeID != "" {
		c.held[r.RangeID] = max(c.held[r.RangeID], r.LSN)
	}
	c.sessions[c.n] = append(c.sessions[c.n], o)
	return err
}

// writtenVersion is one version of an item.
type writtenVersion struct {
	lsn          uint64
	value        string
	began, ended int64
}

// checker knows all versions, in order, by "partition/id".
type checker struct {
	versions map[string][]writtenVersion
	lsns     map[string][]uint64 // of a partition
}

func newChecker(sessions [][]observation) *checker {
	c := &checker{versions: map[string][]writtenVersion{}, lsns: map[string][]uint64{}}
	for _, s := range sessions {
		for _, o := range s {
			for id, v := range o.read {
				if o.write {
					at := o.partition + "/" + id
					c.versions[at] = append(c.versions[at], writtenVersion{o.lsn, v, o.began, o.ended})
					c.lsns[o.partition] = append(c.lsns[o.partition], o.lsn)
				}
			}
		}
	}
	for at, list := range c.versions {
		slices.SortFunc(list, func(a, b writtenVersion) int { return cmp.Compare(a.lsn, b.lsn) })
		c.versions[at] = append([]writtenVersion{{}}, list...) // absent at first
	}
	for _, list := range c.lsns {
		slices.Sort(list)
	}
	return c
}

// state is the value of an item once the change lsn of its partition was made.
func (c *checker) state(at string, lsn uint64) string {
	value := ""
	for _, v := range c.versions[at] {
		if v.lsn <= lsn {
			value = v.value
		}
	}
	return value
}

// explains reports the first point of a partition's history, from floor on, at which all that was read was so;
// only changes whose request had begun before limit count.
func (c *checker) explains(o observation, floor uint64) (lsn uint64, ok bool) {
	for _, n := range append([]uint64{floor}, c.lsns[o.partition]...) {
		if n < floor || c.started(o.partition, n) > o.ended {
			continue
		}
		all := true
		for id, v := range o.read {
			all = all && c.state(o.partition+"/"+id, n) == v
		}
		if all {
			return n, true
		}
	}
	return 0, false
}

func (c *checker) started(partition string, lsn uint64) int64 {
	for _, id := range sessionItems {
		for _, v := range c.versions[partition+"/"+id] {
			if v.lsn == lsn {
				return v.began
			}
		}
	}
	return 0
}

// acknowledged is the last change of a partition whose writer had its answer before a moment.
func (c *checker) acknowledged(partition string, before int64) (lsn uint64) {
	for _, id := range sessionItems {
		for _, v := range c.versions[partition+"/"+id] {
			if v.ended < before {
				lsn = max(lsn, v.lsn)
			}
		}
	}
	return lsn
}

// broken are the levels whose promise a history does not keep.
//
//	Eventual           what is read was written
//	ConsistentPrefix   what one answer shows together was so together
//	Session            a session reads its writes, and goes neither back in what it read nor in what it wrote
//	BoundedStaleness   an answer lacks at most so many changes that were acknowledged before the request
//	Strong             it lacks none
func (c *checker) broken(sessions [][]observation, staleness int) map[string]string {
	out := map[string]string{}
	for n, s := range sessions {
		floor, wrote := map[string]uint64{}, map[string]uint64{}
		for _, o := range s {
			say := func(level string) {
				out[level] = fmt.Sprintf("client %d: %+v, session at %d", n, o, floor[o.partition])
			}
			if o.write {
				if o.lsn <= wrote[o.partition] || o.lsn <= floor[o.partition] {
					say("Session")
				}
				wrote[o.partition], floor[o.partition] = o.lsn, max(floor[o.partition], o.lsn)
				continue
			}
			c.checkRead(o, floor, staleness, say)
		}
	}
	return out
}

func (c *checker) checkRead(o observation, floor map[string]uint64, staleness int, say func(level string)) {
	for id, v := range o.read {
		if !slices.ContainsFunc(c.versions[o.partition+"/"+id], func(w writtenVersion) bool { return w.value == v }) && v != "" {
			say("Eventual")
		}
	}
	if _, ok := c.explains(o, 0); !ok {
		say("ConsistentPrefix")
	}
	if at, ok := c.explains(o, floor[o.partition]); ok {
		floor[o.partition] = at
	} else {
		say("Session")
	}
	known := c.acknowledged(o.partition, o.began)
	if _, ok := c.explains(o, known); !ok {
		say("Strong")
	}
	i, _ := slices.BinarySearch(c.lsns[o.partition], known)
	if i -= staleness; known > 0 && i >= 0 && i < len(c.lsns[o.partition]) {
		if _, ok := c.explains(o, c.lsns[o.partition][i]); !ok {
			say("BoundedStaleness")
		}
	}
}

// record lets clients work on a server, while its ranges are split and it is started anew, and returns the
// history.
func record(t *testing.T, seed int, wrap func(sessionAPI, *dice) sessionAPI) [][]observation {
	t.Helper()
	const clients, rounds, steps = 4, 6, 25
	w := newWorld(t)
	m := &model{t: t, w: w, path: w.container(simple)}
	h, d := &recording{sessions: make([][]observation, clients)}, dice(seed)
	all := make([]*sessionClient, clients)
	for n := range all {
		own := dice(seed*100 + n)
		all[n] = &sessionClient{recording: h, n: n, d: own, held: map[string]uint64{}}
		all[n].api = wrap(direct{w, m.path}, &all[n].d)
	}
	for range rounds {
		var running sync.WaitGroup
		for _, c := range all {
			running.Go(func() {
				for range steps {
					if err := c.step(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if d.roll(2) == 0 {
			m.reshape(&d)
		}
		running.Wait()
		if d.roll(2) == 0 {
			w.restart()
		}
	}
	return h.sessions
}

func honest(s sessionAPI, _ *dice) sessionAPI { return s }

// TestSessionGuarantees: one node keeps the promises of all levels.
func TestSessionGuarantees(t *testing.T) {
	for seed := range seeds(3, 300) {
		sessions := record(t, seed, honest)
		for level, why := range newChecker(sessions).broken(sessions, 0) {
			t.Errorf("seed %d: %s: %s", seed, level, why)
		}
	}
}

// Servers that are wrong in one way each.

// staleReader gives an item as it was a while ago, now and then.
type staleReader struct {
	sessionAPI
	d    *dice
	past map[string][]string
}

func (s *staleReader) get(partition, id, token string) (string, docdb.Receipt, error) {
	v, r, err := s.sessionAPI.get(partition, id, token)
	at := partition + "/" + id
	s.past[at] = append(s.past[at], v)
	if n := len(s.past[at]); n > 2 && s.d.roll(2) == 0 {
		v = s.past[at][n-3]
	}
	return v, r, err
}

// tornReader shows, in one answer, one item as it is and the others as they were.
type tornReader struct {
	staleReader
}

func (s *tornReader) list(partition, token string) (map[string]string, docdb.Receipt, error) {
	values, r, err := s.sessionAPI.list(partition, token)
	for _, id := range sessionItems[1:] {
		at := partition + "/" + id
		s.past[at] = append(s.past[at], values[id])
		values[id] = s.past[at][max(0, len(s.past[at])-3)]
	}
	return values, r, err
}

func (s *tornReader) get(partition, id, token string) (string, docdb.Receipt, error) {
	return s.sessionAPI.get(partition, id, token)
}

// inventor makes a value up.
type inventor struct {
	sessionAPI
	d *dice
}

func (s *inventor) get(partition, id, token string) (string, docdb.Receipt, error) {
	v, r, err := s.sessionAPI.get(partition, id, token)
	if s.d.roll(20) == 0 {
		v = "made up"
	}
	return v, r, err
}

// forgetter acknowledges writes that it does not make.
type forgetter struct {
	sessionAPI
	d *dice
}

func (s *forgetter) put(partition, id, value, token string) (docdb.Receipt, error) {
	r, err := s.sessionAPI.put(partition, id, value, token)
	if err == nil && s.d.roll(10) == 0 {
		_, err = s.sessionAPI.put(partition, id, "lost", token)
		if err == nil {
			_, err = s.sessionAPI.put(partition, id, "", token)
		}
	}
	return r, err
}

// TestSessionCheckerFindsWrongServers: the checker tells which promises a wrong server breaks, and no others.
func TestSessionCheckerFindsWrongServers(t *testing.T) {
	tests := []struct {
		name          string
		wrap          func(sessionAPI, *dice) sessionAPI
		breaks, keeps string
	}{
		{"stale reader", func(s sessionAPI, d *dice) sessionAPI {
			return &staleReader{sessionAPI: s, d: d, past: map[string][]string{}}
		}, "Session Strong BoundedStaleness", "Eventual ConsistentPrefix"},
		{"torn reader", func(s sessionAPI, d *dice) sessionAPI {
			return &tornReader{staleReader{sessionAPI: s, d: d, past: map[string][]string{}}}
		}, "ConsistentPrefix Session Strong", "Eventual"},
		{"inventor", func(s sessionAPI, d *dice) sessionAPI { return &inventor{s, d} }, "Eventual ConsistentPrefix Session Strong BoundedStaleness", ""},
		{"forgetter", func(s sessionAPI, d *dice) sessionAPI { return &forgetter{s, d} }, "Session Strong", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sessions := record(t, 1, tt.wrap)
			broken := newChecker(sessions).broken(sessions, 0)
			for _, level := range strings.Fields(tt.breaks) {
				if broken[level] == "" {
					t.Errorf("%s was not found broken", level)
				}
			}
			for _, level := range strings.Fields(tt.keeps) {
				if broken[level] != "" {
					t.Errorf("%s is kept, but: %s", level, broken[level])
				}
			}
		})
	}
}
