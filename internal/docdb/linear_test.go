package docdb_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// Histories of one logical partition with three items, which clients at the same time read, create, upsert,
// replace and delete, with etags and in batches, while ranges are split and the power is cut. Porcupine
// decides whether there is an order of the operations, each between its call and its return, that
// explains all answers.

const registers = 3

// registersState are the values of the items; "" is absent. Values are never written twice, so a value
// stands for an etag.
type registersState [registers]string

// step is what a client asked for.
type step struct {
	kind   string // read, create, upsert, replace, delete, swap, snapshot
	item   int
	value  string // that is written
	expect string // of a replacement: the value whose etag was given; "" for none
}

// outcomeOf is what it was told.
type told struct {
	unknown bool   // the power was cut: it may have happened
	result  string // ok, conflict, missing, precondition
	read    registersState
}

// apply is one step on a state: what happens and what the client is told.
func (s step) apply(state registersState) (next registersState, result string) {
	have := state[s.item]
	next = state
	switch s.kind {
	case "read", "snapshot":
		if s.kind == "read" && have == "" {
			return state, "missing"
		}
		return state, "ok"
	case "create":
		if have != "" {
			return state, "conflict"
		}
	case "replace":
		if have == "" {
			return state, "missing"
		}
		if s.expect != "" && s.expect != have {
			return state, "precondition"
		}
	case "delete":
		if have == "" {
			return state, "missing"
		}
		next[s.item] = ""
		return next, "ok"
	case "swap": // a batch: the item and its neighbour
		next[(s.item+1)%registers] = s.value + "'"
	}
	next[s.item] = s.value
	return next, "ok"
}

// explains reports the states that a step may have led to, given what the client was told.
func (s step) explains(state registersState, t told) []any {
	next, result := s.apply(state)
	switch {
	case t.unknown:
		return []any{state, next}
	case result != t.result:
		return nil
	case result != "ok":
		return []any{state}
	case s.kind == "read" && t.read[s.item] != state[s.item], s.kind == "snapshot" && t.read != state:
		return nil
	}
	return []any{next}
}

var registersModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{registersState{}} },
	Step: func(state, input, output any) []any {
		return input.(step).explains(state.(registersState), output.(told))
	},
	Equal: func(a, b any) bool { return a == b },
}

// machine is a service that loses its power now and then.
type machine struct {
	t    *testing.T
	path docdb.ContainerPath

	mu    sync.Mutex
	life  *world // since the last cut
	disk  *vfs.MemFS
	epoch int
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, disk: vfs.NewCrashableMem()}
	m.life = m.boot(m.disk)
	m.path = m.life.container(simple)
	return m
}

func (m *machine) boot(disk *vfs.MemFS) *world {
	w := &world{t: m.t, now: time.Unix(1_795_424_400, 0)}
	w.open(disk)
	m.t.Cleanup(func() {
		if err := w.db.Close(); err != nil {
			m.t.Error(err)
		}
	})
	w.Service = docdb.New(docdb.Config{Stores: w, Authorizer: w, Audit: w, Now: func() time.Time { return w.now }})
	return w
}

func (m *machine) now() (*world, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life, m.epoch
}

// cut takes the power away: what was not synced is lost in part. Whoever waits for an answer gets none.
func (m *machine) cut(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	m.disk = m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
	m.life = m.boot(m.disk)
}

// client is one of those who ask.
type client struct {
	*machine
	id    int
	rng   *rand.Rand
	etags map[string]string // by value
	seen  map[string]string // of the step that is being carried out
	n     int
}

func (c *client) request() docdb.ItemRequest { return at(c.path, `["a"]`) }

// next makes up a step.
func (c *client) next() step {
	c.n++
	s := step{kind: []string{"read", "read", "create", "upsert", "replace", "replace", "delete", "swap", "snapshot"}[c.rng.IntN(9)], item: c.rng.IntN(registers), value: fmt.Sprintf("%d.%d", c.id, c.n)}
	if s.kind == "replace" && c.rng.IntN(2) == 0 && len(c.etags) > 0 {
		for v := range c.etags {
			s.expect = v
			break
		}
	}
	return s
}

// do carries a step out.
func (c *client) do(s step) told {
	w, epoch := c.now()
	c.seen = map[string]string{}
	result, read, err := c.ask(w, s)
	if _, after := c.now(); after != epoch {
		return told{unknown: true} // nor is an etag known that came with the answer
	}
	maps.Copy(c.etags, c.seen)
	if err != nil {
		c.t.Errorf("%+v: %v", s, err)
	}
	return told{result: result, read: read}
}

func (c *client) ask(w *world, s step) (result string, read registersState, err error) {
	ctx, q, name := context.Background(), c.request(), fmt.Sprint(s.item)
	body := fmt.Appendf(nil, `{"id":%q,"pk":"a","v":%q}`, name, s.value)
	var r docdb.Result
	switch s.kind {
	case "read":
		r, err = w.ReadItem(ctx, key, q, name)
		read[s.item] = c.learn(r)
	case "create":
		r, err = w.CreateItem(ctx, key, q, body)
	case "upsert":
		r, err = w.UpsertItem(ctx, key, q, body)
	case "replace":
		q.Conditions.IfMatch = c.etags[s.expect]
		r, err = w.ReplaceItem(ctx, key, q, name, body)
	case "delete":
		r, err = w.DeleteItem(ctx, key, q, name)
	case "swap":
		other := (s.item + 1) % registers
		_, _, err = w.Batch(ctx, key, q, []docdb.BatchOperation{{Kind: docdb.OpUpsert, Body: body},
			{Kind: docdb.OpUpsert, Body: fmt.Appendf(nil, `{"id":"%d","pk":"a","v":%q}`, other, s.value+"'")}})
	case "snapshot":
		read, err = c.snapshot(w)
	}
	c.learn(r)
	switch fault.KindOf(err) {
	case fault.NotFound:
		return "missing", read, nil
	case fault.Conflict:
		return "conflict", read, nil
	case fault.Precondition:
		return "precondition", read, nil
	}
	return "ok", read, err
}

// learn keeps the etag of a version that was seen.
func (c *client) learn(r docdb.Result) string {
	_, rest, ok := strings.Cut(string(r.JSON), `"v":"`)
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, `"`)
	c.seen[v] = r.ETag
	return v
}

// snapshot reads the whole partition in one query.
func (c *client) snapshot(w *world) (read registersState, err error) {
	page, err := w.Query(context.Background(), key, docdb.FeedRequest{Path: c.path, PartitionKey: c.request().PartitionKey}, docdb.Query{Text: "SELECT VALUE CONCAT(c.id, ' ', c.v) FROM c"})
	for _, item := range page.Items {
		var i int
		var v string
		if _, err := fmt.Sscanf(strings.Trim(string(item), `"`), "%d %s", &i, &v); err != nil {
			return read, err
		}
		read[i] = v
	}
	return read, err
}

// TestLinearizable: four clients, cuts of the power, splits.
func TestLinearizable(t *testing.T) {
	for round := range seeds(4, 200) {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed, " round ", round), func(t *testing.T) {
			m := newMachine(t)
			var mu sync.Mutex
			var history []porcupine.Operation
			var clients sync.WaitGroup
			began := time.Now()
			ticks, unknown := make(chan bool, 1<<16), 0
			for id := range 4 {
				clients.Go(func() {
					c := &client{machine: m, id: id, rng: rand.New(rand.NewPCG(seed, uint64(id))), etags: map[string]string{}}
					for range 120 {
						s := c.next()
						op := porcupine.Operation{ClientId: id, Input: s, Call: time.Since(began).Nanoseconds()}
						answer := c.do(s)
						op.Output, op.Return = answer, time.Since(began).Nanoseconds()
						if answer.unknown {
							op.Return = 1 << 62 // it may still happen: never, or any time later
						}
						mu.Lock()
						history = append(history, op)
						if answer.unknown {
							unknown++
							id += 4 // a client whose request has no end makes no other: porcupine takes one at a time
						}
						mu.Unlock()
						ticks <- true
					}
				})
			}
			rng := rand.New(rand.NewPCG(seed, 99))
			for range 3 {
				for range 40 + rng.IntN(80) { // when so many requests more have ended
					<-ticks
				}
				w, _ := m.now()
				if list, _, _, err := w.PartitionKeyRanges(context.Background(), key, m.path); err == nil {
					_, _ = w.Split(context.Background(), key, m.path, list[rng.IntN(len(list))].ID, "")
				}
				m.cut(rng)
			}
			clients.Wait()
			t.Logf("%d of %d operations lost their answer", unknown, len(history))
			if porcupine.CheckOperationsTimeout(registersModel.ToModel(), history, time.Minute) != porcupine.Ok {
				t.Errorf("no order explains the history of %d operations, or it took too long to find", len(history))
			}
		})
	}
}
