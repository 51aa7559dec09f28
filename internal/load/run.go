package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is a kind of operation.
type Kind string

// The operations.
const (
	Read   Kind = "read"
	Write  Kind = "write"
	Insert Kind = "insert"
	Scan   Kind = "scan"
	Modify Kind = "read-modify-write"
)

// Workload is a mix of operations in percent; what is left to 100 are reads.
type Workload struct {
	Name                        string
	Write, Insert, Scan, Modify int
	Uniform                     bool // all documents alike; otherwise some come much more often
	Latest                      bool // reads prefer what was inserted last
}

// Workloads are the mixes A to F of YCSB, and plain loads.
var Workloads = []Workload{
	{Name: "a", Write: 50}, {Name: "b", Write: 5}, {Name: "c"}, {Name: "d", Insert: 5, Latest: true}, {Name: "e", Insert: 5, Scan: 95}, {Name: "f", Modify: 50},
	{Name: "read", Uniform: true}, {Name: "upsert", Write: 100, Uniform: true}, {Name: "mixed", Write: 5, Uniform: true},
}

// Config is a run.
type Config struct {
	Target   Target
	Workload Workload
	Records  uint64
	Clients  int
	Duration time.Duration
	Size     int    // of a document in bytes, about
	Load     bool   // write the records first
	Keep     bool   // leave what was made
	Seed     uint64 // of the choice of documents
	// Unchecked is for a server that answers with anything, to measure the client and the way there.
	Unchecked bool
	// Progress is told now and then how far the loading and the run are, from 0 to 1.
	Progress func(what string, share float64, operations uint64)
}

// Latency is how long the operations of one kind took, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// Report is the result of a run.
type Report struct {
	Workload   string            `json:"workload"`
	Records    uint64            `json:"records"`
	Clients    int               `json:"clients"`
	Size       int               `json:"size"`
	Seconds    float64           `json:"seconds"`
	Operations uint64            `json:"operations"`
	Throughput float64           `json:"operationsPerSecond"`
	Charge     float64           `json:"requestUnits"`
	Latencies  map[Kind]Latency  `json:"latenciesMs"`
	Throttled  uint64            `json:"throttled"`
	Conflicts  uint64            `json:"conflicts"` // of read-modify-write, which were tried again
	Errors     map[string]uint64 `json:"errors"`
	Wrong      []string          `json:"wrongAnswers"`
	WrongCount uint64            `json:"wrongAnswerCount"`
}

// worker is one client.
type worker struct {
	*client
	cfg       *Config
	ledger    *ledger
	zipf      zipf
	rng       *source
	latencies map[Kind]*Histogram
	charge    float64
	throttled uint64
	conflicts uint64
	errors    map[string]uint64
	wrong     []string
	wrongs    uint64
	done      *atomic.Uint64
}

// Run loads and measures. The report is whole also when answers were wrong; the error tells what kept the
// run from being made.
func Run(ctx context.Context, cfg Config) (r Report, err error) {
	if cfg.Records == 0 || cfg.Clients < 1 {
		return r, errNothing
	}
	c, err := newClient(cfg.Target, cfg.Clients)
	if err != nil {
		return r, err
	}
	made, err := c.prepare(ctx, cfg.Target)
	if err != nil {
		return r, err
	}
	if !cfg.Keep {
		defer func() { err = errors.Join(err, c.remove(context.WithoutCancel(ctx), made)) }()
	}
	if cfg.Load {
		if err := fill(ctx, c, &cfg); err != nil {
			return r, err
		}
	}
	return measure(ctx, c, &cfg)
}

// progress tells how far it is until the returned function is called.
func (cfg *Config) progress(what string, share func() float64, count *atomic.Uint64) (stop func()) {
	if cfg.Progress == nil {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				cfg.Progress(what, 1, count.Load())
				return
			case <-tick.C:
				cfg.Progress(what, share(), count.Load())
			}
		}
	}()
	return func() { close(end); <-ended }
}

// fill writes the records.
func fill(ctx context.Context, c *client, cfg *Config) error {
	var next, done atomic.Uint64
	defer cfg.progress("loading", func() float64 { return float64(done.Load()) / float64(cfg.Records) }, &done)()
	var failed error
	var once sync.Once
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i := range cfg.Clients {
		w := newWorker(c, cfg, newLedger(0), zipf{}, uint64(i), &done)
		wg.Go(func() {
			for n := next.Add(1) - 1; n < cfg.Records && ctx.Err() == nil; n = next.Add(1) - 1 {
				if err := w.put(ctx, n, 0, ""); err != nil {
					once.Do(func() { failed = fmt.Errorf("load: %w", err) })
					cancel()
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed, context.Cause(ctx))
}

func newWorker(c *client, cfg *Config, l *ledger, z zipf, seed uint64, done *atomic.Uint64) *worker {
	return &worker{client: c, cfg: cfg, ledger: l, zipf: z, rng: newSource(cfg.Seed<<20 + seed), latencies: map[Kind]*Histogram{}, errors: map[string]uint64{}, done: done}
}

// measure runs the mix.
func measure(ctx context.Context, c *client, cfg *Config) (Report, error) {
	l, z := newLedger(cfg.Records), newZipf(cfg.Records)
	var done atomic.Uint64
	workers := make([]*worker, cfg.Clients)
	for i := range workers {
		workers[i] = newWorker(c, cfg, l, z, uint64(i+1), &done)
	}
	begin := time.Now()
	stop := cfg.progress("measuring", func() float64 { return min(1, float64(time.Since(begin))/float64(cfg.Duration)) }, &done)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for time.Since(begin) < cfg.Duration && ctx.Err() == nil {
				w.step(ctx)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	stop()
	return report(cfg, workers, took), ctx.Err()
}

// step does one operation and counts it.
func (w *worker) step(ctx context.Context) {
	kind, do := w.choose()
	begin := time.Now()
	err := do(ctx)
	took := time.Since(begin)
	var wrong *WrongError
	var refused *refusedError
	switch {
	case err == nil:
		if w.latencies[kind] == nil {
			w.latencies[kind] = &Histogram{}
		}
		w.latencies[kind].Add(took)
		w.done.Add(1)
	case ctx.Err() != nil:
	case errors.As(err, &wrong):
		if w.wrongs++; len(w.wrong) < 10 {
			w.wrong = append(w.wrong, wrong.Error())
		}
	case errors.As(err, &refused):
		w.errors[fmt.Sprintf("%s %d/%s", kind, refused.status, refused.substatus)]++
	default:
		w.errors[fmt.Sprintf("%s %.80v", kind, err)]++
	}
}

func (w *worker) choose() (Kind, func(context.Context) error) {
	x, m := int(w.rng.below(100)), w.cfg.Workload
	switch {
	case x < m.Write:
		n := w.pick()
		return Write, func(ctx context.Context) error { return w.put(ctx, n, w.ledger.given.Add(1), "") }
	case x < m.Write+m.Insert:
		n := w.ledger.next.Add(1) - 1
		return Insert, func(ctx context.Context) error { return w.insert(ctx, n) }
	case x < m.Write+m.Insert+m.Scan:
		n, length := w.pick(), 1+w.rng.below(100)
		return Scan, func(ctx context.Context) error { return w.scan(ctx, n, length) }
	case x < m.Write+m.Insert+m.Scan+m.Modify:
		n := w.pick()
		return Modify, func(ctx context.Context) error { return w.modify(ctx, n) }
	}
	n := w.pick()
	return Read, func(ctx context.Context) error {
		_, err := w.get(ctx, n)
		return err
	}
}

// pick chooses a document that is there.
func (w *worker) pick() uint64 {
	there := w.ledger.inserted.Load()
	switch {
	case w.cfg.Workload.Uniform:
		return w.rng.below(there)
	case w.cfg.Workload.Latest:
		return there - 1 - min(w.zipf.rank(w.rng), there-1)
	}
	return scattered(w.zipf.rank(w.rng), there)
}

// send sends a request, again when the server lacks throughput.
func (w *worker) send(ctx context.Context, r request, statuses ...int) (answer, error) {
	for {
		a, err := w.do(ctx, r)
		if err == nil && a.status == http.StatusTooManyRequests {
			w.throttled++
			select {
			case <-ctx.Done():
				return a, ctx.Err()
			case <-time.After(pause(a)):
			}
			continue
		}
		if err == nil {
			charge, _ := strconv.ParseFloat(a.header.Get("x-ms-request-charge"), 64) // a server that tells none charges nothing
			w.charge += charge
		}
		return a, wanted(a, err, statuses...)
	}
}

func partitionHeader(n uint64) [2]string {
	return [2]string{"x-ms-documentdb-partitionkey", `["` + nameOf(n) + `"]`}
}

// get reads a document and returns its etag.
func (w *worker) get(ctx context.Context, n uint64) (etag string, err error) {
	least := w.ledger.version(n)
	link := w.container + "/docs/" + nameOf(n)
	a, err := w.send(ctx, request{method: http.MethodGet, path: link, kind: "docs", link: link, header: [][2]string{partitionHeader(n)}}, http.StatusOK)
	var refused *refusedError
	if errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return "", &WrongError{nameOf(n) + " is not there"}
	}
	if err != nil || w.cfg.Unchecked {
		return "", err
	}
	return a.header.Get("etag"), check(a.body, n, least)
}

// put writes a version of a document, which it replaces only when it has the etag, if one is given.
func (w *worker) put(ctx context.Context, n, version uint64, etag string) error {
	r := request{method: http.MethodPost, path: w.container + "/docs", kind: "docs", link: w.container, body: newDocument(n, version, w.cfg.Size, w.rng),
		header: [][2]string{partitionHeader(n), {"x-ms-documentdb-is-upsert", "True"}}}
	if etag != "" {
		r.header = append(r.header, [2]string{"If-Match", etag})
	}
	_, err := w.send(ctx, r, http.StatusOK, http.StatusCreated)
	if err == nil && etag != "" { // of writes without a condition the last one may be any
		w.ledger.acknowledge(n, version)
	}
	return err
}

func (w *worker) insert(ctx context.Context, n uint64) error {
	err := w.put(ctx, n, 0, "")
	if err == nil {
		w.ledger.insert(n)
	}
	return err
}

// modify reads a document and replaces it by its next version, again when somebody else was faster.
func (w *worker) modify(ctx context.Context, n uint64) error {
	for {
		etag, err := w.get(ctx, n)
		if err != nil {
			return err
		}
		err = w.put(ctx, n, w.ledger.given.Add(1), etag)
		var refused *refusedError
		if !errors.As(err, &refused) || refused.status != http.StatusPreconditionFailed {
			return err
		}
		w.conflicts++
	}
}

// scan reads documents in the order of their ids.
func (w *worker) scan(ctx context.Context, n, length uint64) error {
	body, err := json.Marshal(map[string]any{
		"query":      fmt.Sprintf("SELECT TOP %d * FROM c WHERE c.id >= @id ORDER BY c.id", length),
		"parameters": []map[string]string{{"name": "@id", "value": nameOf(n)}},
	})
	if err != nil {
		return err
	}
	a, err := w.send(ctx, request{method: http.MethodPost, path: w.container + "/docs", kind: "docs", link: w.container, body: body, header: [][2]string{
		{"Content-Type", "application/query+json"}, {"x-ms-documentdb-isquery", "True"}, {"x-ms-documentdb-query-enablecrosspartition", "True"}, {"x-ms-max-item-count", "100"},
	}}, http.StatusOK)
	if err != nil {
		return err
	}
	var page struct{ Documents []document }
	if err := json.Unmarshal(a.body, &page); err != nil {
		return &WrongError{"the answer of a query is not JSON"}
	}
	return checkScan(page.Documents, nameOf(n))
}

func checkScan(docs []document, first string) error {
	if len(docs) == 0 || docs[0].ID != first {
		return &WrongError{"a scan does not begin with " + first}
	}
	for i, d := range docs {
		if d.Sum != d.checksum() || i > 0 && docs[i-1].ID >= d.ID {
			return &WrongError{"a scan is damaged or out of order at " + d.ID}
		}
	}
	return nil
}

// report adds up what the workers counted.
func report(cfg *Config, workers []*worker, took time.Duration) Report {
	r := Report{Workload: cfg.Workload.Name, Records: cfg.Records, Clients: cfg.Clients, Size: cfg.Size, Seconds: took.Seconds(),
		Latencies: map[Kind]Latency{}, Errors: map[string]uint64{}, Wrong: []string{}}
	all := map[Kind]*Histogram{}
	for _, w := range workers {
		for kind, h := range w.latencies {
			if all[kind] == nil {
				all[kind] = &Histogram{}
			}
			all[kind].Merge(h)
		}
		for e, n := range w.errors {
			r.Errors[e] += n
		}
		r.Charge, r.Throttled, r.Conflicts, r.WrongCount = r.Charge+w.charge, r.Throttled+w.throttled, r.Conflicts+w.conflicts, r.WrongCount+w.wrongs
		r.Wrong = append(r.Wrong, w.wrong...)
	}
	r.Wrong = r.Wrong[:min(len(r.Wrong), 10)]
	for kind, h := range all {
		r.Operations += h.total
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		r.Latencies[kind] = Latency{h.total, ms(h.Mean()), ms(h.Quantile(0.5)), ms(h.Quantile(0.9)), ms(h.Quantile(0.99)), ms(h.Quantile(0.999)), ms(h.max)}
	}
	r.Throughput = float64(r.Operations) / took.Seconds()
	return r
}

// Failed reports whether anything went wrong.
func (r Report) Failed() bool { return r.WrongCount > 0 || len(r.Errors) > 0 }

// Kinds are the operations that were done, in a fixed order.
func (r Report) Kinds() []Kind {
	return slices.DeleteFunc([]Kind{Read, Write, Insert, Modify, Scan}, func(k Kind) bool { return r.Latencies[k].Count == 0 })
}
