package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
)

// The vaults are swept after at most sweepInterval, and at least sweepPause after the last sweep.
const (
	sweepInterval = 10 * time.Minute
	sweepPause    = time.Second
)

// swept is what the sweeper keeps in order.
type swept interface {
	Sweep(ctx context.Context, now time.Time) error
	NextRotation() (at time.Time, ok bool)
	NextNotice() (at time.Time, ok bool)
}

// sweeper sweeps the vaults when a key is due for its rotation, and every so often besides.
type sweeper struct {
	vaults swept
	moved  chan struct{} // holds one token after a hint
	log    *slog.Logger
}

func newSweeper(vaults swept, log *slog.Logger) *sweeper {
	return &sweeper{vaults: vaults, moved: make(chan struct{}, 1), log: log}
}

// hint tells that a rotation may be due at another time than before. It does not block.
func (s *sweeper) hint() {
	select {
	case s.moved <- struct{}{}:
	default:
	}
}

// run sweeps until ctx ends. A hint can only bring the next sweep forward, so that no number of changes
// puts it off.
func (s *sweeper) run(ctx context.Context) {
	next := s.plan(time.Now())
	for {
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.moved:
			timer.Stop()
			if at := s.plan(time.Now()); at.Before(next) {
				next = at
			}
		case <-timer.C:
			next = s.once(ctx)
		}
	}
}

// once sweeps and returns when to sweep next. What failed is not tried at once: it would fail again,
// and fill the log.
func (s *sweeper) once(ctx context.Context) time.Time {
	if err := s.vaults.Sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
		s.log.Error("the sweep of the vaults failed: keys that are due were not rotated, or what is over was not erased", "error", err)
		return time.Now().Add(sweepInterval)
	}
	return s.plan(time.Now())
}

// plan is when to sweep, seen from now: at the first rotation or notice that is due, within the bounds.
func (s *sweeper) plan(now time.Time) time.Time {
	wait := sweepInterval
	for _, next := range []func() (time.Time, bool){s.vaults.NextRotation, s.vaults.NextNotice} {
		if at, ok := next(); ok {
			wait = min(max(at.Sub(now), sweepPause), wait)
		}
	}
	return now.Add(wait)
}

// expiryInterval is how often documents whose life is over are removed. Reads do not see them before that
// either.
const expiryInterval = 30 * time.Second

// expire removes documents whose life is over until ctx ends.
func (s *Server) expire(ctx context.Context) {
	tick := time.NewTicker(expiryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.mu.RLock()
			documents := s.documents
			s.mu.RUnlock()
			if err := documents.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("documents whose life is over were not removed", "error", err)
			}
		}
	}
}

// workInterval is how long work in the background waits to begin, or to go on where it has to wait.
const workInterval = time.Second

// buildIndexes completes the indexes of containers whose policy has changed, until ctx ends.
func (s *Server) buildIndexes(ctx context.Context) {
	s.work(ctx, "an index was not completed", (*docdb.Service).BuildIndexes)
}

// erase removes the documents of logical partitions that were erased, until ctx ends. Nobody sees them
// before that either.
func (s *Server) erase(ctx context.Context) {
	s.work(ctx, "documents that were erased were not removed", (*docdb.Service).Erase)
}

// work does steps until ctx ends, one after another while there is more to do. What failed waits.
func (s *Server) work(ctx context.Context, failure string, step func(*docdb.Service, context.Context) (more bool, err error)) {
	tick := time.NewTicker(workInterval)
	defer tick.Stop()
	for more := false; ; {
		if !more {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		s.mu.RLock()
		documents := s.documents
		s.mu.RUnlock()
		var err error
		if more, err = step(documents, ctx); err != nil && ctx.Err() == nil {
			s.log.Error(failure, "error", err)
			more = false
		}
		more = more && ctx.Err() == nil
	}
}
