package docdb

import (
	"github.com/latchkey-db/latchkey/internal/fault"
)

// OperationKind is what an operation does to an item, in the words of the batch protocol.
type OperationKind string

// The kinds of operation.
const (
	OpCreate  OperationKind = "Create"
	OpUpsert  OperationKind = "Upsert"
	OpReplace OperationKind = "Replace"
	OpPatch   OperationKind = "Patch"
	OpDelete  OperationKind = "Delete"
	OpRead    OperationKind = "Read"
)

func (k OperationKind) action() string {
	switch k {
	case OpCreate:
		return actionCreate
	case OpUpsert:
		return actionUpsert
	case OpDelete:
		return actionDelete
	case OpRead:
		return actionRead
	}
	return actionReplace // also of a patch
}

// operation is one operation on one item, before (kind, id, body, conditions) and after parse.
type operation struct {
	kind       OperationKind
	id         string
	body       []byte
	conditions Conditions

	document *document // create, upsert, replace
	patch    *patch    // patch
}

// parse checks the body and fixes the id.
func (o *operation) parse(spec *definition, _ containerID) (err error) {
	switch o.kind {
	case OpCreate, OpUpsert:
		if o.document, err = parseDocument(o.body, spec); err == nil {
			o.id = o.document.id
		}
	case OpReplace:
		o.document, err = parseDocument(o.body, spec)
	case OpPatch:
		o.patch, err = parsePatch(o.body)
	}
	return err
}

// outcome is what an operation made or found.
type outcome struct {
	id      string
	version *item // nil after a deletion
	created bool
	wrote   bool
	indexed bool
	size    int // of what was removed
}

// item renders the outcome. It is called after the commit, when numbers are fixed.
func (o outcome) item(id containerID) Item {
	if o.version == nil {
		return Item{ID: o.id}
	}
	return Item{ID: o.id, JSON: o.version.json(id), ETag: o.version.etag(id), RID: id.child(o.version.number, 0)}
}

// charge is the cost of the operation in request units.
func (o outcome) charge() float64 {
	size := o.size
	if o.version != nil {
		size = len(o.version.body)
	}
	if o.wrote {
		return writeCharge(size, o.indexed)
	}
	return readCharge(size)
}

// run carries out one operation within the transaction.
func (t *transaction) run(op operation) (outcome, error) {
	p, err := t.get(op.id)
	if err != nil {
		return outcome{}, err
	}
	if err := t.precondition(op, p); err != nil {
		return outcome{}, err
	}
	indexed := t.container.rec.Spec.indexed()
	switch op.kind {
	case OpRead:
		return outcome{id: p.id, version: p.cur}, nil
	case OpDelete:
		out := outcome{id: p.id, wrote: true, indexed: indexed, size: len(p.cur.body)}
		t.remove(p)
		return out, nil
	case OpPatch:
		if op.document, err = t.patched(op.patch, p.cur); err != nil {
			return outcome{}, err
		}
	}
	if err := op.document.checkKey(t.key); err != nil {
		return outcome{}, err
	}
	if op.document.id != p.id {
		return outcome{}, badRequest("The id of the document does not match the id of the request.")
	}
	created := p.cur == nil
	return outcome{id: p.id, version: t.put(p, op.document), created: created, wrote: true, indexed: indexed}, nil
}

// precondition decides whether the operation may go on, given the item as it stands.
func (t *transaction) precondition(op operation, p *pending) error {
	exists := p.cur != nil
	switch {
	case op.kind == OpCreate && exists:
		return conflict()
	case op.kind == OpCreate || op.kind == OpUpsert && !exists:
		return nil
	case !exists:
		return notFound()
	}
	etag := p.cur.etag(t.container.id)
	if !matches(op.conditions.IfMatch, etag) {
		return precondition()
	}
	if n := op.conditions.IfNoneMatch; n != "" && op.kind != OpRead && (n == "*" || sameETag(n, etag)) {
		return precondition()
	}
	return nil
}

// errIsFault reports whether err is an expected failure, which a batch answers per operation.
func errIsFault(err error) bool { return fault.KindOf(err) != fault.Internal }
