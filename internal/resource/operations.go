package resource

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/supervise"
)

// OperationState is where a long-running operation stands.
type OperationState string

// The states of an operation.
const (
	Running   OperationState = "Dequeued"
	Succeeded OperationState = "Succeeded"
	Failed    OperationState = "Failed"
)

const (
	// keepFor is how long a finished operation can still be polled.
	keepFor = 30 * time.Minute
	// operationTimeout bounds one operation.
	operationTimeout = 5 * time.Minute
)

// Operation is a long-running operation. Result is what its end shows: a resource, or nil.
type Operation struct {
	ID       string
	Owner    string // object id of the caller who started it
	State    OperationState
	Result   any
	Err      error
	Started  time.Time
	Finished time.Time
}

// Operations runs and remembers operations. It is safe for concurrent use.
type Operations struct {
	now   func() time.Time
	group *supervise.Group

	mu  sync.Mutex
	all map[string]*running
}

type running struct {
	Operation
	done chan struct{}
}

func newOperations(now func() time.Time) *Operations {
	return &Operations{now: now, group: supervise.New(), all: map[string]*running{}}
}

// Start runs work in the background, detached from the request, and waits up to patience for its
// end: most operations of one machine end before anybody would poll.
func (o *Operations) Start(owner string, patience time.Duration, work func(context.Context) (any, error)) (Operation, error) {
	r := &running{Operation: Operation{ID: uuid.NewString(), Owner: owner, State: Running, Started: o.now()}, done: make(chan struct{})}
	o.mu.Lock()
	o.forgetOld()
	o.all[r.ID] = r
	o.mu.Unlock()
	err := o.group.Go("operation", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, operationTimeout)
		defer cancel()
		result, err := work(ctx)
		o.finish(r, result, err)
	})
	if err != nil {
		return Operation{}, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
	}
	op, _ := o.Get(r.ID)
	return op, nil
}

func (o *Operations) finish(r *running, result any, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.State, r.Result, r.Err, r.Finished = Succeeded, result, err, o.now()
	if err != nil {
		r.State = Failed
	}
	close(r.done)
}

// forgetOld drops operations that ended long ago; the caller holds mu.
func (o *Operations) forgetOld() {
	maps.DeleteFunc(o.all, func(_ string, r *running) bool {
		return r.State != Running && o.now().Sub(r.Finished) > keepFor
	})
}

// Get returns an operation as it stands now.
func (o *Operations) Get(id string) (Operation, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.all[id]
	if !ok {
		return Operation{}, false
	}
	return r.Operation, true
}

// Stop cancels what runs and waits for its end, or for ctx.
func (o *Operations) Stop(ctx context.Context) error { return o.group.Stop(ctx) }
