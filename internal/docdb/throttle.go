package docdb

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// Throughput is enforced when [Config.Enforce] says so. What has throughput has a budget that fills at its
// rate; a container's own is shared out evenly among its ranges, as in the service, so that a hot range
// is throttled while others rest. A request is let in while the budget is above zero and pays when it
// ends, so one large request can take the budget far below zero, and those after it wait.
//
// What was not used is saved for bursts, up to burstSavings; it is spent at up to burstRate, so it helps
// those with less. Autoscale counts as its maximum: a machine of one's own has nothing to bill.
const (
	burstSavings = 5 * time.Minute
	burstRate    = 3000 // request units a second
)

// budget is what may be spent by one range, or by a database that shares its throughput.
type budget struct {
	mu      sync.Mutex
	rate    float64 // request units a second
	balance float64 // at most one second's worth of rate, or of burstRate while there are savings
	saved   float64
	last    time.Time
}

// fill brings the budget up to now.
func (b *budget) fill(now time.Time, rate float64) {
	if b.rate != rate {
		b.rate, b.balance, b.saved = rate, rate, 0
	}
	passed := now.Sub(b.last).Seconds()
	if b.last.IsZero() {
		passed = 0
	}
	b.last = now
	if passed <= 0 {
		return
	}
	b.balance += rate * passed
	if over := b.balance - rate; over > 0 {
		b.balance = rate
		b.saved = min(b.saved+over, rate*burstSavings.Seconds())
	}
	if extra := min(b.saved, (burstRate-rate)*passed, burstRate-b.balance); extra > 0 {
		b.balance, b.saved = b.balance+extra, b.saved-extra
	}
}

// admit reports how long a request has to wait; zero lets it in.
func (b *budget) admit(now time.Time, rate float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now, rate)
	if b.balance > 0 {
		return 0
	}
	refill := rate
	if b.saved > 0 {
		refill = max(rate, burstRate)
	}
	return time.Duration(math.Ceil((1-b.balance)/refill*1000)) * time.Millisecond
}

func (b *budget) spend(charge float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.balance -= charge
}

// RetryAfter is the cause of a refusal by throughput: how long to wait.
type RetryAfter time.Duration

// Error names the time.
func (r RetryAfter) Error() string { return fmt.Sprintf("retry after %v", time.Duration(r)) }

// ReasonThrottled is the fault of a request that its throughput does not allow: the service's sub-status.
const ReasonThrottled = "3200"

func throttled(wait time.Duration) error {
	return fault.New(fault.Throttled, ReasonThrottled,
		"Request rate is large. More Request Units may be needed, so no changes were made. Please retry this request later. Learn more: http://aka.ms/cosmosdb-error-429").Because(RetryAfter(wait))
}

// wallet is the budget of one place with its rate as it was when the place was looked up; without rate
// nothing is enforced.
type wallet struct {
	*budget
	rate float64
}

// wallet finds what pays for operations on a partition.
func (r *session) wallet(c *container, p *partition) (wallet, error) {
	if !r.enforce {
		return wallet{}, nil
	}
	rid := c.id.rid()
	t, err := r.throughput(rid)
	if err != nil {
		return wallet{}, err
	}
	if t > 0 {
		return wallet{r.budget(rid + "/" + p.id()), t / float64(len(c.parts))}, nil
	}
	rid = databaseRID(c.id.database())
	if t, err = r.throughput(rid); err != nil || t == 0 {
		return wallet{}, err
	}
	return wallet{r.budget(rid), t}, nil
}

// admit refuses an operation on a partition that its throughput does not allow, and returns what is
// called with the charge at the end.
func (r *session) admit(c *container, p *partition) (pay func(charge float64), err error) {
	w, err := r.wallet(c, p)
	if err != nil || w.budget == nil {
		return func(float64) {}, err
	}
	if wait := w.admit(r.now, w.rate); wait > 0 {
		return nil, throttled(wait)
	}
	return w.spend, nil
}

// throughput is what a database or container may spend in a second; 0 when it has none of its own. It is
// remembered until an offer changes.
func (a *account) throughput(rid string) (float64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rates != nil {
		return a.rates[rid], nil
	}
	all, err := records[offerRecord](a.db, below(keyOffer))
	if err != nil {
		return 0, err
	}
	a.rates = map[string]float64{}
	for _, o := range all {
		a.rates[o.ResourceRID] = float64(max(o.Throughput.Manual, o.Throughput.Autoscale))
	}
	return a.rates[rid], nil
}

// forgetRates is called after every change of the schema.
func (a *account) forgetRates() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rates = nil
}

func (a *account) budget(name string) *budget {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.budgets == nil {
		a.budgets = map[string]*budget{}
	}
	b := a.budgets[name]
	if b == nil {
		b = &budget{}
		a.budgets[name] = b
	}
	return b
}

// forgetBudgets drops those of a container that is gone. The caller holds a.mu.
func (a *account) forgetBudgets(rid string) {
	for name := range a.budgets {
		if strings.HasPrefix(name, rid+"/") {
			delete(a.budgets, name)
		}
	}
}
