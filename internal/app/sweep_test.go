package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeVaults notes when it was swept, in seconds since the start of the test.
type fakeVaults struct {
	mu    sync.Mutex
	start time.Time
	due   time.Duration // since start; 0 for never
	fail  bool
	swept []int
}

func (f *fakeVaults) Sweep(_ context.Context, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.swept = append(f.swept, int(now.Sub(f.start)/time.Second))
	if f.fail {
		return errors.New("no")
	}
	if f.due != 0 && !now.Before(f.start.Add(f.due)) {
		f.due = 0
	}
	return nil
}

func (f *fakeVaults) NextRotation() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.start.Add(f.due), f.due != 0
}

func (f *fakeVaults) NextNotice() (time.Time, bool) { return time.Time{}, false }

// set makes a rotation due at d after the start.
func (f *fakeVaults) set(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due = d
}

// TestSweeper: when the sweep runs, on a clock that the test moves.
func TestSweeper(t *testing.T) {
	for _, row := range []struct {
		name string
		due  time.Duration
		fail bool
		hint time.Duration // between hints; 0 for none
		now  time.Duration // when due becomes known; 0 for from the start
		want []int         // the sweeps of the first 21 minutes
	}{
		{name: "nothing is due", want: []int{600, 1200}},
		{name: "due soon", due: 90 * time.Second, want: []int{90, 690}},
		{name: "due long ago", due: -time.Hour, want: []int{1, 601, 1201}},
		{name: "due between two intervals", due: 700 * time.Second, want: []int{600, 700}},
		{name: "a failure waits", due: 90 * time.Second, fail: true, want: []int{90, 690}},
		{name: "hints put nothing off", hint: 700 * time.Millisecond, want: []int{600, 1200}},
		{name: "a hint brings it forward", due: time.Second, now: 100 * time.Second, hint: 100 * time.Second, want: []int{101, 701}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeVaults{start: time.Now(), fail: row.fail}
				if row.now == 0 {
					f.due = row.due
				} else {
					time.AfterFunc(row.now-time.Millisecond, func() { f.set(row.due) })
				}
				s := newSweeper(f, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithTimeout(t.Context(), 21*time.Minute)
				defer cancel()
				go hints(ctx, s, row.hint)
				s.run(ctx)
				if !slices.Equal(f.swept, row.want) {
					t.Errorf("swept at %v, want %v", f.swept, row.want)
				}
			})
		})
	}
}

// hints gives a hint at every interval.
func hints(ctx context.Context, s *sweeper, every time.Duration) {
	if every == 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.hint()
		}
	}
}
