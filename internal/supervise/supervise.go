// Package supervise runs the goroutines of a component: who starts one through a [Group] can stop
// all of them and wait.
package supervise

import (
	"context"
	"errors"
	"runtime/pprof"
	"sync"
)

// ErrStopped is returned by Go after Stop began.
var ErrStopped = errors.New("supervise: stopped")

// Group is a set of named goroutines with one lifetime. Use [New].
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	stopped bool
	wg      sync.WaitGroup
}

// New returns an empty group. Its goroutines get a context that ends at Stop.
func New() *Group {
	ctx, cancel := context.WithCancel(context.Background())
	return &Group{ctx: ctx, cancel: cancel}
}

// Context is the context that the goroutines get.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs f in a goroutine labelled name. It refuses with [ErrStopped] once Stop began.
func (g *Group) Go(name string, f func(ctx context.Context)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return ErrStopped
	}
	g.wg.Go(func() {
		pprof.Do(g.ctx, pprof.Labels("latchkey", name), f)
	})
	return nil
}

// Stop cancels the context and waits for all goroutines, or for ctx. It is safe to call twice.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.cancel()
	done := make(chan struct{})
	go func() { g.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
