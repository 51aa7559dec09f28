package docdb

import (
	"context"

	"github.com/latchkey-db/latchkey/internal/principal"
)

// BoundIndex makes the bounds of the index small until the returned function is called.
func BoundIndex(few, collected, weak, shapes int) (restore func()) {
	old := boundsOfIndex.Swap(&indexBounds{few: few, collected: collected, weak: weak, shapes: shapes})
	return func() { boundsOfIndex.Store(old) }
}

// WithoutIndex makes queries look at every document until the returned function is called.
func WithoutIndex() (restore func()) {
	old := boundsOfIndex.Load()
	off := *old
	off.off = true
	boundsOfIndex.Store(&off)
	return func() { boundsOfIndex.Store(old) }
}

// SealContinuation makes a continuation token of a query that says anything.
func (s *Service) SealContinuation(ctx context.Context, c principal.Caller, q FeedRequest, query Query, plain []byte) (string, error) {
	r, state, end, err := s.begin(ctx, c, actionQuery, q.Path, q.Consistency)
	if err != nil {
		return "", err
	}
	defer end()
	return r.seal(plain, q.digest("query", state, query.digest()))
}

// OpenContinuation is what a token of a query says.
func (s *Service) OpenContinuation(ctx context.Context, c principal.Caller, q FeedRequest, query Query) ([]byte, error) {
	r, state, end, err := s.begin(ctx, c, actionQuery, q.Path, q.Consistency)
	if err != nil {
		return nil, err
	}
	defer end()
	p, err := r.position(q.Continuation, q.digest("query", state, query.digest()))
	return p.encode(), err
}
