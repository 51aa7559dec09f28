package supervise_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-db/latchkey/internal/supervise"
)

func TestStopEndsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := supervise.New()
		var ended atomic.Int32
		for range 3 {
			err := g.Go("worker", func(ctx context.Context) {
				<-ctx.Done()
				time.Sleep(time.Second) // Stop must wait for this
				ended.Add(1)
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if err := g.Stop(context.Background()); err != nil || ended.Load() != 3 {
			t.Errorf("Stop: %v with %d ended", err, ended.Load())
		}
		if err := g.Stop(context.Background()); err != nil {
			t.Errorf("second Stop: %v", err)
		}
		if err := g.Go("late", func(context.Context) { t.Error("started after Stop") }); !errors.Is(err, supervise.ErrStopped) {
			t.Errorf("Go after Stop: %v", err)
		}
		if g.Context().Err() == nil {
			t.Error("the context lives on")
		}
	})
}

func TestStopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := supervise.New()
		release := make(chan struct{})
		if err := g.Go("stubborn", func(context.Context) { <-release }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := g.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v", err)
		}
		close(release)
		if err := g.Stop(context.Background()); err != nil {
			t.Errorf("Stop after the end: %v", err)
		}
	})
}
