package docdb

import (
	"context"
	"slices"
	"sync"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Limits of batches (the service's).
const (
	maxBatch      = 100
	bulkWorkers   = 16
	reasonFailDep = "FailedDependency"
)

// BatchOperation is one operation of a batch.
type BatchOperation struct {
	Kind         OperationKind
	ID           string
	Body         []byte
	PartitionKey *PartitionKey // bulk only: each operation has its own
	Conditions   Conditions
}

// BatchResult is the answer to one operation of a batch: an item or a failure.
type BatchResult struct {
	Item    Item
	Created bool
	Charge  float64
	Err     error // a [*fault.Error]
}

// FailedDependency reports whether the operation failed only because another one of its batch did.
func (r BatchResult) FailedDependency() bool { return fault.Is(r.Err, reasonFailDep) }

var errDependency = fault.New(fault.Conflict, reasonFailDep, "The operation was not carried out because another operation of its batch failed.")

// beginBatch authorises every kind of operation that a batch has.
func (s *Service) beginBatch(ctx context.Context, c principal.Caller, q ItemRequest, ops []BatchOperation) (*session, *container, func(), error) {
	if len(ops) == 0 || len(ops) > maxBatch {
		return nil, nil, nil, badRequest("A batch must have 1 to %d operations.", maxBatch)
	}
	r, state, end, err := s.begin(ctx, c, ops[0].Kind.action(), q.Path, q.Consistency)
	if err != nil {
		return nil, nil, nil, err
	}
	database, name := r.names(q.Path.Database, q.Path.Container)
	seen := []string{ops[0].Kind.action()}
	for _, op := range ops[1:] {
		action := op.Kind.action()
		if slices.Contains(seen, action) {
			continue
		}
		seen = append(seen, action)
		if err := s.decide(ctx, c, q.Path.Account, action, database, name); err != nil {
			end()
			return nil, nil, nil, err
		}
	}
	return r, state, end, nil
}

// Batch carries out operations on one logical partition as one commit: all of them or none. When one
// fails, its result has the failure and all others are failed dependencies; the error is for requests
// that fail as a whole.
func (s *Service) Batch(ctx context.Context, c principal.Caller, q ItemRequest, ops []BatchOperation) ([]BatchResult, Receipt, error) {
	r, state, end, err := s.beginBatch(ctx, c, q, ops)
	if err != nil {
		return nil, Receipt{}, err
	}
	defer end()
	named, err := state.rec.Spec.PartitionKey.complete(q.PartitionKey)
	if err != nil {
		return nil, Receipt{}, err
	}
	if err := r.covers(named); err != nil {
		return nil, Receipt{}, err
	}
	parsed, ids, failed, err := r.parseBatch(state, ops)
	outcomes := make([]outcome, len(ops))
	home := state.at(effective(*state.rec.Spec.PartitionKey, named))
	pay, errThroughput := r.admit(state, home)
	if errThroughput != nil {
		return nil, Receipt{}, errThroughput
	}
	lsn := home.log.Visible()
	if err == nil {
		home, lsn, err = r.transact(state, named, ids, func(t *transaction) error {
			for i, op := range parsed {
				failed = i
				if outcomes[i], err = t.run(op); err != nil {
					return err
				}
			}
			failed = -1
			return nil
		})
	}
	if err != nil && !errIsFault(err) {
		return nil, Receipt{}, err
	}
	results, charge := r.batchResults(state, outcomes, failed, err)
	pay(charge)
	receipt, err := r.receipt(state, home, lsn, charge)
	return results, receipt, err
}

// parseBatch checks all bodies; failed is the first operation that is wrong.
func (r *session) parseBatch(state *container, ops []BatchOperation) (parsed []operation, ids []string, failed int, err error) {
	for i, op := range ops {
		o := operation{kind: op.Kind, id: op.ID, body: op.Body, conditions: op.Conditions}
		if err := o.parse(&state.rec.Spec, state.id); err != nil {
			return nil, nil, i, err
		}
		if o.id, err = r.idOf(state, o.id); err != nil {
			return nil, nil, i, err
		}
		parsed, ids = append(parsed, o), append(ids, o.id)
	}
	return parsed, ids, -1, nil
}

// batchResults renders a batch. When it failed without a culprit (a unique key at the commit), the
// first changing operation is named.
func (r *session) batchResults(state *container, outcomes []outcome, failed int, err error) (results []BatchResult, charge float64) {
	results = make([]BatchResult, len(outcomes))
	for i, o := range outcomes {
		switch {
		case err == nil:
			results[i] = BatchResult{Item: o.item(state.id), Created: o.created, Charge: o.charge()}
			charge += o.charge()
		case i == max(failed, 0):
			results[i] = BatchResult{Err: err, Charge: 1}
			charge++
		default:
			results[i] = BatchResult{Err: errDependency}
		}
	}
	return results, charge
}

// Bulk carries out operations one by one, each its own commit with its own result. Unless ordered,
// they run at the same time.
func (s *Service) Bulk(ctx context.Context, c principal.Caller, q ItemRequest, ops []BatchOperation, ordered bool) ([]BatchResult, Receipt, error) {
	r, state, end, err := s.beginBatch(ctx, c, q, ops)
	if err != nil {
		return nil, Receipt{}, err
	}
	defer end()
	home := state.parts[0]
	if q.RangeID != "" {
		if home, err = state.partition(q.RangeID); err != nil {
			return nil, Receipt{}, err
		}
	}
	results := make([]BatchResult, len(ops))
	workers := make(chan struct{}, bulkWorkers)
	if ordered {
		workers = make(chan struct{}, 1)
	}
	var running sync.WaitGroup
	for i, op := range ops {
		workers <- struct{}{}
		running.Go(func() {
			results[i] = r.bulkOne(state, q, op)
			<-workers
		})
	}
	running.Wait()
	charge := 0.0
	for _, result := range results {
		if result.Err != nil && !errIsFault(result.Err) {
			return nil, Receipt{}, result.Err
		}
		charge += result.Charge
	}
	receipt, err := r.receipt(state, home, home.log.Visible(), charge)
	return results, receipt, err
}

func (r *session) bulkOne(state *container, q ItemRequest, op BatchOperation) BatchResult {
	if op.PartitionKey == nil {
		op.PartitionKey = q.PartitionKey
	}
	named, err := state.rec.Spec.PartitionKey.complete(op.PartitionKey)
	if err != nil {
		return BatchResult{Err: err, Charge: 1}
	}
	home := state.at(effective(*state.rec.Spec.PartitionKey, named))
	if q.RangeID != "" && q.RangeID != home.id() {
		return BatchResult{Err: rangeGone(), Charge: 1} // the client's map of ranges is old
	}
	pay, err := r.admit(state, home)
	if err != nil {
		return BatchResult{Err: err}
	}
	parsed, ids, _, err := r.parseBatch(state, []BatchOperation{op})
	if err != nil {
		return BatchResult{Err: err, Charge: 1}
	}
	var out outcome
	if _, _, err = r.transact(state, named, ids, func(t *transaction) (err error) {
		out, err = t.run(parsed[0])
		return err
	}); err != nil {
		pay(readBase)
		return BatchResult{Err: err, Charge: readBase}
	}
	pay(out.charge())
	return BatchResult{Item: out.item(state.id), Created: out.created, Charge: out.charge()}
}
