package test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKillDuringWrites kills the process in the midst of writes, several times on one directory:
// every write that was acknowledged before must be there after.
func TestKillDuringWrites(t *testing.T) {
	s := tutorial(t)
	s.newContainer("db1", "c1")
	var acknowledged []doc
	for round := range 3 {
		acknowledged = append(acknowledged, s.writeUntilKilled(round)...)
		s.start()
		s.connect()
		s.compareAll(s.container("db1", "c1"), acknowledged)
	}
	if len(acknowledged) < 100 {
		t.Fatalf("only %d writes were acknowledged: too few to say anything", len(acknowledged))
	}
	t.Logf("%d acknowledged writes survived", len(acknowledged))
}

// writeUntilKilled writes from several clients, kills the server after a while, and returns what was
// acknowledged.
func (s *scenario) writeUntilKilled(round int) []doc {
	s.t.Helper()
	c := s.container("db1", "c1")
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	var acknowledged []doc
	var count atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				d := doc{ID: fmt.Sprintf("r%d-w%d-%d", round, w, i), City: fmt.Sprint(w), Text: strings.Repeat("x", 500)}
				if put(ctx, c, d) != nil {
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, d)
				mu.Unlock()
				count.Add(1)
			}
		})
	}
	target := int64(60 + 40*round)
	s.waitFor("some writes", 25*time.Second, func() error {
		if n := count.Load(); n < target {
			return fmt.Errorf("%d of %d", n, target)
		}
		return nil
	})
	s.kill()
	wg.Wait()
	return acknowledged
}
