package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
)

const (
	maxQueued = 10_000         // events of one receiver
	maxAge    = 24 * time.Hour // of an event that could not be delivered
	patience  = 30 * time.Second
	firstWait = time.Second // before the second attempt; doubled up to maxWait
	maxWait   = 5 * time.Minute
	maxAnswer = 64 << 10 // bytes of an answer that are read
)

// Config says what a Hub works with. DB and Secret are required.
type Config struct {
	DB        *store.Store
	Targets   []Target
	Secret    *secret.Bytes     // signs what is sent
	Origin    string            // who we are, to receivers: a DNS name
	Transport http.RoundTripper // nil means the standard one
	Now       func() time.Time  // nil means time.Now
	Log       *slog.Logger
	// MaxQueued bounds the events of one receiver; 0 means 10,000.
	MaxQueued int
}

// Hub queues events and sends them. It is safe for concurrent use.
type Hub struct {
	cfg    Config
	client *http.Client

	mu    sync.Mutex
	next  uint64 // place of the next event
	lanes []*lane
}

// lane is the way to one receiver.
type lane struct {
	target Target
	id     string
	wake   chan struct{} // holds one token after a new event
	count  int           // of queued events; guarded by the hub's mu
}

// queued is an event in the store.
type queued struct {
	Place uint64
	Since time.Time
	Event Event
}

// Open loads the queues. What was queued for a receiver that is not named any more is dropped.
func Open(cfg Config) (*Hub, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxQueued == 0 {
		cfg.MaxQueued = maxQueued
	}
	h := &Hub{cfg: cfg, next: 1, client: &http.Client{Transport: cfg.Transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for _, t := range cfg.Targets {
		h.lanes = append(h.lanes, &lane{target: t, id: t.id(), wake: make(chan struct{}, 1)})
	}
	return h, h.load()
}

const queueTable = "webhook/queue\x00"

func (l *lane) prefix() []byte { return []byte(queueTable + l.id + "/") }

func (l *lane) key(place uint64) []byte { return fmt.Appendf(l.prefix(), "%020d", place) }

// load counts what is queued and drops what nobody waits for.
func (h *Hub) load() (err error) {
	byID := map[string]*lane{}
	for _, l := range h.lanes {
		byID[l.id] = l
	}
	var orphans [][]byte
	for k, v := range h.cfg.DB.Scan(store.Prefix([]byte(queueTable)), &err) {
		id, _, _ := bytes.Cut(k[len(queueTable):], []byte("/"))
		var q queued
		if e := json.Unmarshal(v, &q); e != nil {
			return fmt.Errorf("webhook: stored event: %w", e)
		}
		h.next = max(h.next, q.Place+1)
		if l := byID[string(id)]; l != nil {
			l.count++
			continue
		}
		orphans = append(orphans, bytes.Clone(k))
	}
	if err != nil {
		return err
	}
	for _, k := range orphans {
		if err := h.cfg.DB.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Queue adds an event to b, once for every receiver that wants it. Call [Hub.Wake] after the commit.
func (h *Hub) Queue(b *store.Batch, vault string, e Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		if !l.target.wants(vault) {
			continue
		}
		raw, err := json.Marshal(queued{h.next, h.cfg.Now().UTC(), e})
		if err != nil {
			return err
		}
		if l.count >= h.cfg.MaxQueued {
			if err := h.dropOldest(b, l); err != nil {
				return err
			}
		}
		b.Set(l.key(h.next), raw)
		l.count++
		h.next++
	}
	return nil
}

// dropOldest makes room. The caller holds mu.
func (h *Hub) dropOldest(b *store.Batch, l *lane) error {
	q, ok, err := h.first(l)
	if err != nil || !ok {
		return err
	}
	b.Delete(l.key(q.Place))
	l.count--
	h.cfg.Log.Error("a webhook's queue is full: its oldest event was dropped", "receiver", l.target.host(), "type", q.Event.Type, "id", q.Event.ID)
	return nil
}

// Wake makes the senders look for events. It does not block.
func (h *Hub) Wake() {
	for _, l := range h.lanes {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Waiting is how many events are queued.
func (h *Hub) Waiting() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		n += l.count
	}
	return n
}

// first returns the oldest event of a receiver.
func (h *Hub) first(l *lane) (q queued, ok bool, err error) {
	for _, v := range h.cfg.DB.Scan(store.Prefix(l.prefix()), &err) {
		if e := json.Unmarshal(v, &q); e != nil {
			return q, false, e
		}
		ok = true
		break
	}
	return q, ok, err
}

// forget removes an event that is done with.
func (h *Hub) forget(l *lane, q queued) error {
	if err := h.cfg.DB.Delete(l.key(q.Place)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l.count = max(l.count-1, 0)
	return nil
}

// Senders are the jobs that send, one for each receiver. They end with their context.
func (h *Hub) Senders() []func(context.Context) {
	var out []func(context.Context)
	for _, l := range h.lanes {
		out = append(out, func(ctx context.Context) { (&sender{Hub: h, lane: l}).run(ctx) })
	}
	return out
}

// errStop is wrapped by what ends a sender for good.
var errStop = errors.New("webhook: stopped")

// errGone ends a receiver that does not want to hear any more.
func errGone() error { return fmt.Errorf("%w: the receiver is gone (410)", errStop) }

// jitter is between 0 and d.
func jitter(d time.Duration) time.Duration {
	var b [2]byte
	rand.Read(b[:])
	return d * time.Duration(uint16(b[0])<<8|uint16(b[1])) / (1 << 16)
}

// drain reads the rest of an answer, so that its connection can be used again.
func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
}
