package vault

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Disturbance is a fault that an operator makes a vault's data plane have, to rehearse what clients do. It
// lives in memory only: a restart ends it, and so does its time.
type Disturbance struct {
	Throttle  int       `json:"throttlePercent,omitempty"` // so many of a hundred requests are answered 429
	Outage    string    `json:"outage,omitempty"`          // OutageReset or OutageBusy; "" for none
	Latency   int64     `json:"latencyMs,omitempty"`       // before every answer
	For       int64     `json:"forSeconds,omitempty"`      // 0 means ten minutes
	Until     time.Time `json:"until,omitzero"`
	Clear     bool      `json:"clear,omitempty"`
	Disturbed int64     `json:"disturbed"` // requests so far
	due       int       // percent that have added up
}

// The ways to be out.
const (
	OutageReset = "reset" // the connection is cut without an answer
	OutageBusy  = "503"
)

// The bounds of a disturbance.
const (
	usualDisturbance = 600    // seconds
	maxDisturbance   = 86_400 // seconds
	maxLatency       = 60_000 // milliseconds
)

// disturbances are the vaults that are disturbed, by lower-case name.
type disturbances struct {
	mu sync.Mutex
	by map[string]*Disturbance
}

func (d Disturbance) check() error {
	switch {
	case d.Throttle < 0 || d.Throttle > 100:
		return badRequest("throttlePercent must be between 0 and 100.")
	case d.Outage != "" && d.Outage != OutageReset && d.Outage != OutageBusy:
		return badRequest("outage must be %s or %s.", OutageReset, OutageBusy)
	case d.Latency < 0 || d.Latency > maxLatency:
		return badRequest("latencyMs must be between 0 and %d.", maxLatency)
	case d.For < 0 || d.For > maxDisturbance:
		return badRequest("forSeconds must be between 0 and %d.", maxDisturbance)
	}
	return nil
}

func (d Disturbance) note() string {
	switch {
	case d.Clear:
		return "clear"
	case !d.any():
		return "show"
	}
	return fmt.Sprintf("throttle %d%%, outage %q, latency %d ms, for %d s", d.Throttle, d.Outage, d.Latency, d.For)
}

func (d Disturbance) any() bool { return d.Throttle > 0 || d.Outage != "" || d.Latency > 0 }

// disturb sets, clears or shows the disturbance of a vault.
func (s *Service) disturb(_ context.Context, _ principal.Caller, v Vault, o Operation) (any, error) {
	if !s.cfg.AllowFaults {
		return nil, fault.New(fault.Denied, "FaultsNotAllowed", "This server was not started with --allow-faults.")
	}
	want := o.Disturbance
	if err := want.check(); err != nil {
		return nil, err
	}
	s.disturbed.mu.Lock()
	defer s.disturbed.mu.Unlock()
	name := strings.ToLower(v.Name)
	switch {
	case want.Clear:
		delete(s.disturbed.by, name)
	case want.any():
		if want.For == 0 {
			want.For = usualDisturbance
		}
		want.Until, want.Disturbed = s.cfg.Now().Add(time.Duration(want.For)*time.Second).UTC(), 0
		if s.disturbed.by == nil {
			s.disturbed.by = map[string]*Disturbance{}
		}
		s.disturbed.by[name] = &want
		s.cfg.Log.Warn("a vault is disturbed by its operator", "vault", v.Name, "disturbance", want.note(), "until", want.Until)
	}
	if d := s.disturbed.by[name]; d != nil && s.cfg.Now().Before(d.Until) {
		return *d, nil
	}
	return Disturbance{}, nil
}

// Disturb tells a face what the next request to a vault meets: a time to wait first, a cut connection, or a
// fault to answer with. All are zero while nobody disturbs the vault.
func (s *Service) Disturb(vault string) (wait time.Duration, cut bool, err error) {
	if !s.cfg.AllowFaults {
		return 0, false, nil
	}
	s.disturbed.mu.Lock()
	defer s.disturbed.mu.Unlock()
	d := s.disturbed.by[strings.ToLower(vault)]
	if d == nil {
		return 0, false, nil
	}
	if !s.cfg.Now().Before(d.Until) {
		delete(s.disturbed.by, strings.ToLower(vault))
		return 0, false, nil
	}
	d.Disturbed++
	latency := time.Duration(d.Latency) * time.Millisecond
	switch d.Outage {
	case OutageReset:
		return latency, true, nil
	case OutageBusy:
		return latency, false, fault.New(fault.Unavailable, "ServiceUnavailable", "The service is unavailable (an operator's rehearsal).").Because(&RetryAfter{time.Second})
	}
	if d.due += d.Throttle; d.due >= 100 { // of any hundred requests exactly so many
		d.due -= 100
		return latency, false, throttled(time.Second)
	}
	return latency, false, nil
}
