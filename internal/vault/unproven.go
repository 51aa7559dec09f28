package vault

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// unprovenRate is how many refused tokens are recorded in a second. A record is durable, and who has no
// token must not be able to fill the disk with them: beyond the rate they are counted, and the next
// record tells how many there were.
const unprovenRate = 10

// flood counts the refused tokens of a second.
type flood struct {
	mu      sync.Mutex
	second  int64
	seen    int // recorded in this second
	skipped int // since the last record
}

// record reports whether one more is recorded, and how many were not since the last that was.
func (f *flood) record(now time.Time) (skipped int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := now.Unix(); s != f.second {
		f.second, f.seen = s, 0
	}
	if f.seen++; f.seen > unprovenRate {
		f.skipped++
		return 0, false
	}
	skipped, f.skipped = f.skipped, 0
	return skipped, true
}

// Unproven records that a caller came to a vault with a token that proves nothing, and returns why. Of
// the caller only the address and the request are known.
func (s *Service) Unproven(ctx context.Context, c principal.Caller, vault string, why error) error {
	v, err := s.live(vault)
	if err != nil {
		return why
	}
	skipped, ok := s.unproven.record(s.cfg.Now())
	if !ok {
		return why
	}
	e := audit.By(c, s.cfg.Now(), "Authentication", naming.From(ctx).VaultURI(v.Name)).Decided(why)
	e.Scope = v.ResourceID
	if skipped > 0 {
		e.Detail = strconv.Itoa(skipped) + " more were refused since the record before"
	}
	if err := s.cfg.Audit.Record(ctx, e); err != nil {
		return err
	}
	return why
}
