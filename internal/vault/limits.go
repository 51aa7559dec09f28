package vault

import (
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// The service's limits: so many operations of one sort fill a vault's share of a period; different ones
// add up. A subscription has the shares of five vaults.
const (
	limitPeriod       = 10 * time.Second
	secretsInPeriod   = 4000 // and everything else that is no operation on a key
	subscriptionShare = 5
	limitScale        = 4000 * 250 // parts of a share: every limit divides it
)

// keyLimit is how many operations with a key, or creations of one, fill a share.
func keyLimit(p material.Params, hardware, create bool) int {
	switch {
	case create && hardware:
		return 10
	case create:
		return 20
	}
	n := 4000
	if p.Type == material.RSA && p.Bits > 2048 {
		n = map[int]int{3072: 1000, 4096: 500}[p.Bits]
	}
	if hardware {
		n /= 2
	}
	return max(n, 1)
}

// pool is what counts together.
type pool struct {
	id   string // a vault or a subscription
	what string // keys, creations, rest
}

// meter counts operations by pool for the running period.
type meter struct {
	mu     sync.Mutex
	period int64
	used   map[pool]int // in parts of a share
}

// take counts an operation that fills one of limit parts, or returns how long to wait. What is refused
// does not count.
func (m *meter) take(now time.Time, vault, subscription, what string, limit int) (wait time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := now.UnixNano() / int64(limitPeriod); p != m.period || m.used == nil {
		m.period, m.used = p, map[pool]int{}
	}
	cost := limitScale / limit
	mine, all := pool{vault, what}, pool{"/" + subscription, what}
	if m.used[mine]+cost > limitScale || m.used[all]+cost > subscriptionShare*limitScale {
		return limitPeriod - time.Duration(now.UnixNano()%int64(limitPeriod)), false
	}
	m.used[mine] += cost
	m.used[all] += cost
	return 0, true
}

// RetryAfter is the cause of a refusal that time heals; a face tells the caller how long to wait.
type RetryAfter struct{ Wait time.Duration }

// Error tells the time.
func (e *RetryAfter) Error() string { return "retry after " + e.Wait.String() }

// throttled refuses because there were too many.
func throttled(wait time.Duration) error {
	return fault.New(fault.Throttled, "Throttled", "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached").
		Because(&RetryAfter{wait})
}

// limit counts a request against the service's limits. It is asked before the gates, and a refusal leaves
// no record: a flood must not fill the log.
func (r *request) limit() error {
	s := r.s
	if !s.cfg.Limits || r.caller.Door == principal.Platform {
		return nil
	}
	what, n := "rest", secretsInPeriod
	if r.need.kind == ofKeys {
		what, n = "keys", keyLimit(material.Params{}, false, false)
		if r.need.operation == mayCreate.operation || r.need.operation == mayRotate.operation || r.need.operation == mayImport.operation {
			what, n = "creations", keyLimit(material.Params{}, false, true)
		}
		if k, ok := s.keys.find(r.vault.Name, r.name); ok {
			v, _ := k.version("")
			n = keyLimit(v.params(), strings.HasSuffix(v.KTY, hsm), what == "creations")
		}
	}
	if wait, ok := s.meter.take(s.cfg.Now(), strings.ToLower(r.vault.Name), strings.ToLower(r.vault.Subscription), what, n); !ok {
		return throttled(wait)
	}
	return nil
}
