package app

import (
	"context"
	"errors"
	"testing"
)

// TestReadyComesLast: a server whose start is not done, or whose stop has begun, says so.
func TestReadyComesLast(t *testing.T) {
	s := &Server{}
	if err := s.ready(context.Background()); !errors.Is(err, errStarting) {
		t.Errorf("before the start is done: %v", err)
	}
	s.started.Store(true)
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.ready(context.Background()); !errors.Is(err, errStarting) {
		t.Errorf("after the stop: %v", err)
	}
}
