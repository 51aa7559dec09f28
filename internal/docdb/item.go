package docdb

import (
	"context"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Item is one version of a document as clients see it.
type Item struct {
	ID   string
	JSON []byte // with the system's members; nil after a deletion
	ETag string // with quotes; "" after a deletion
	RID  string
}

// Result is the answer to an operation on one item.
type Result struct {
	Item
	Receipt
	Created     bool
	NotModified bool // a read whose If-None-Match is the item's etag: Item has no JSON
}

// Conditions are the preconditions of an operation, as the headers of those names.
type Conditions struct {
	IfMatch     string
	IfNoneMatch string
}

// ItemRequest is the part of a request that all operations on items share.
type ItemRequest struct {
	Path         ContainerPath
	PartitionKey *PartitionKey // nil when the request did not name one
	RangeID      string        // of a bulk request: the range that the client believes its operations belong to
	Conditions   Conditions
	Consistency  Consistency
}

// Actions on items, as suffixes for the authorizer.
const (
	actionCreate     = "sqlDatabases/containers/items/create"
	actionRead       = "sqlDatabases/containers/items/read"
	actionReplace    = "sqlDatabases/containers/items/replace"
	actionUpsert     = "sqlDatabases/containers/items/upsert"
	actionDelete     = "sqlDatabases/containers/items/delete"
	actionQuery      = "sqlDatabases/containers/executeQuery"
	actionChangeFeed = "sqlDatabases/containers/readChangeFeed"
)

// begin authorises an operation on items and opens its container. end must be called when err is nil.
func (s *Service) begin(ctx context.Context, c principal.Caller, action string, path ContainerPath, q Consistency) (r *session, state *container, end func(), err error) {
	r, err = s.guard(ctx, c, path.Account, action, path.Database, path.Container)
	if err != nil {
		return nil, nil, nil, err
	}
	state, err = owner(r.open(path.Database, path.Container))
	if err != nil {
		r.release()
		return nil, nil, nil, err
	}
	end = func() { state.life.RUnlock(); r.release() }
	if err := q.check(state); err != nil {
		end()
		return nil, nil, nil, err
	}
	return r, state, end, nil
}

// CreateItem stores a new document. It fails with a conflict when the logical partition has that id.
func (s *Service) CreateItem(ctx context.Context, c principal.Caller, q ItemRequest, body []byte) (Result, error) {
	return s.write(ctx, c, q, operation{kind: OpCreate, body: body})
}

// UpsertItem stores a document, whether its id is there or not. If-Match counts only when it is.
func (s *Service) UpsertItem(ctx context.Context, c principal.Caller, q ItemRequest, body []byte) (Result, error) {
	return s.write(ctx, c, q, operation{kind: OpUpsert, body: body})
}

// ReplaceItem stores the next version of a document that must be there.
func (s *Service) ReplaceItem(ctx context.Context, c principal.Caller, q ItemRequest, id string, body []byte) (Result, error) {
	return s.write(ctx, c, q, operation{kind: OpReplace, id: id, body: body})
}

// PatchItem changes a document by a list of operations.
func (s *Service) PatchItem(ctx context.Context, c principal.Caller, q ItemRequest, id string, body []byte) (Result, error) {
	return s.write(ctx, c, q, operation{kind: OpPatch, id: id, body: body})
}

// DeleteItem removes a document.
func (s *Service) DeleteItem(ctx context.Context, c principal.Caller, q ItemRequest, id string) (Result, error) {
	return s.write(ctx, c, q, operation{kind: OpDelete, id: id})
}

// write carries out one changing operation.
func (s *Service) write(ctx context.Context, c principal.Caller, q ItemRequest, op operation) (Result, error) {
	r, state, end, err := s.begin(ctx, c, op.kind.action(), q.Path, q.Consistency)
	if err != nil {
		return Result{}, err
	}
	defer end()
	op.conditions = q.Conditions
	named, err := state.rec.Spec.PartitionKey.complete(q.PartitionKey)
	if err != nil {
		return Result{}, err
	}
	if err := op.parse(&state.rec.Spec, state.id); err != nil {
		return Result{}, err
	}
	if op.id, err = r.idOf(state, op.id); err != nil {
		return Result{}, err
	}
	pay, err := r.admit(state, state.at(effective(*state.rec.Spec.PartitionKey, named)))
	if err != nil {
		return Result{}, err
	}
	var out outcome
	home, lsn, err := r.transact(state, named, []string{op.id}, func(t *transaction) (err error) {
		out, err = t.run(op)
		return err
	})
	if err != nil {
		pay(readBase)
		return Result{}, err
	}
	pay(out.charge())
	return r.result(state, home, out, lsn)
}

// result renders the outcome of an operation after its commit.
func (r *session) result(state *container, home *partition, out outcome, lsn uint64) (Result, error) {
	receipt, err := r.receipt(state, home, lsn, out.charge())
	return Result{Item: out.item(state.id), Receipt: receipt, Created: out.created}, err
}

// ReadItem returns one document.
func (s *Service) ReadItem(ctx context.Context, c principal.Caller, q ItemRequest, id string) (Result, error) {
	r, state, end, err := s.begin(ctx, c, actionRead, q.Path, q.Consistency)
	if err != nil {
		return Result{}, err
	}
	defer end()
	named, err := state.rec.Spec.PartitionKey.complete(q.PartitionKey)
	if err != nil {
		return Result{}, err
	}
	if id, err = r.idOf(state, id); err != nil {
		return Result{}, err
	}
	if err := r.covers(named, id); err != nil {
		return Result{}, err
	}
	home := state.at(effective(*state.rec.Spec.PartitionKey, named))
	pay, err := r.admit(state, home)
	if err != nil {
		return Result{}, err
	}
	found, err := r.durable(state, home, named, id)
	if err != nil {
		return Result{}, err
	}
	if found == nil || state.erased(named, found) || found.expired(r.now.Unix(), state.rec.Spec.DefaultTTL) {
		pay(readBase)
		return Result{}, notFound()
	}
	out := outcome{id: id, version: found}
	pay(out.charge())
	result, err := r.result(state, home, out, home.log.Visible())
	if n := q.Conditions.IfNoneMatch; n != "" && (n == "*" || sameETag(n, result.ETag)) {
		result.NotModified, result.JSON = true, nil
	}
	return result, err
}

// durable reads an item as no cut of the power can take it back. The store shows versions, and deletions,
// before they are on disk; who commits one holds the lock of the item until it is.
func (r *session) durable(c *container, home *partition, k PartitionKey, id string) (*item, error) {
	prefix := partitionPrefix(*c.rec.Spec.PartitionKey, k)
	found, err := r.item(c, prefix, id)
	if err != nil || found != nil && found.lsn <= home.log.Visible() {
		return found, err
	}
	t := &transaction{container: c, partition: prefix}
	defer c.lock.lock(t.lockKeys([]string{id})...)()
	return r.item(c, prefix, id)
}

// idOf returns the id of the item that a path segment names: an id, or a resource id of this
// container.
func (r *session) idOf(state *container, segment string) (string, error) {
	number, ok := state.id.number(segment)
	if !ok {
		return segment, nil
	}
	at, err := r.db.Get(key(keyOrder, state.id[:], be64(number)))
	if err != nil {
		return segment, nil // then it is an id that looks like a resource id
	}
	_, id, ok := state.rec.Spec.PartitionKey.split(at)
	if !ok {
		return "", fault.New(fault.Internal, "Corrupt", "docdb: order record of item %d cannot be read", number)
	}
	return id, nil
}
