package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// poison remembers the first fatal error of one engine and keeps the engine from taking the process
// with it. Pebble reports such errors by calling Logger.Fatalf and expects it not to return; ours
// parks the goroutine that called it, for good, and marks the store. Callers that wait for the
// engine are released by guard.
type poison struct {
	fs     *severable
	notify func(error)

	gone chan struct{} // closed when the engine is severed from its files

	mu    sync.Mutex
	cause error
	done  chan struct{} // closed when cause is set; made on demand
}

func (p *poison) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

func (p *poison) poisoned() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.channel()
}

func (p *poison) channel() chan struct{} {
	if p.done == nil {
		p.done = make(chan struct{})
	}
	return p.done
}

func (p *poison) set(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause != nil {
		return
	}
	p.cause = fmt.Errorf("%w: %w", ErrPoisoned, cause)
	close(p.channel())
	go p.sever()
}

// sever takes the files away from the engine and then tells the owner, who may open the store again.
func (p *poison) sever() {
	p.fs.sever()
	close(p.gone)
	if p.notify != nil {
		p.notify(p.err())
	}
}

func (p *poison) corruption(info pebble.DataCorruptionInfo) {
	p.set(fmt.Errorf("%w: %s: %w", ErrCorrupt, info.Path, info.Details))
}

// background meets the failure of a flush or compaction. The engine would try again at once and for
// ever, while its memory fills; a full disk is met better by whoever owns the store.
func (p *poison) background(err error) {
	if errors.Is(err, pebble.ErrCancelledCompaction) {
		return
	}
	p.set(err)
	select {} // with the engine's locks held
}

// guard is guarded for what has no result.
func (p *poison) guard(f func() error) error {
	_, err := guarded(p, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// guarded runs f and returns its result, or the poison's cause as soon as there is one: f's goroutine
// may then be parked forever inside the engine, or come to its end when nobody waits for it.
func guarded[T any](p *poison, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				p.set(fmt.Errorf("engine panic: %v", v))
				done <- result{err: p.err()}
			}
		}()
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-p.poisoned():
		var none T
		return none, p.err()
	}
}

// engineLogger sends the engine's messages to slog and turns its fatal errors into poison.
type engineLogger struct {
	log    *slog.Logger
	poison *poison
}

// Infof drops the engine's chatter unless debug logging is on.
func (l engineLogger) Infof(format string, args ...any) { l.write(slog.LevelDebug, format, args) }

// Errorf logs an engine error that the engine itself survives.
func (l engineLogger) Errorf(format string, args ...any) { l.write(slog.LevelWarn, format, args) }

func (l engineLogger) write(level slog.Level, format string, args []any) {
	if l.log == nil || !l.log.Enabled(context.Background(), level) {
		return
	}
	l.log.Log(context.Background(), level, "engine message", "text", fmt.Sprintf(format, args...))
}

// Fatalf poisons the store and parks the calling goroutine.
func (l engineLogger) Fatalf(format string, args ...any) {
	l.poison.set(fmt.Errorf(format, args...))
	select {} // with the engine's locks held: nothing of this store may run on
}
