package cosmos

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/jsonx"
)

// batchOperation is one operation of a batch on the wire.
type batchOperation struct {
	Operation    docdb.OperationKind `json:"operationType"`
	ID           string              `json:"id"`
	Body         json.RawMessage     `json:"resourceBody"`
	IfMatch      string              `json:"ifMatch"`
	IfNoneMatch  string              `json:"ifNoneMatch"`
	PartitionKey string              `json:"partitionKey"` // JSON text
}

// batchAnswer is the answer to one operation.
type batchAnswer struct {
	Status    int             `json:"statusCode"`
	Substatus int             `json:"subStatusCode,omitempty"`
	Charge    float64         `json:"requestCharge"`
	Retry     int64           `json:"retryAfterMilliseconds,omitempty"`
	ETag      string          `json:"eTag,omitempty"`
	Body      json.RawMessage `json:"resourceBody,omitempty"`
	Message   string          `json:"message,omitempty"`
}

// batch serves batches, which succeed or fail as one, and bulks, which do not.
func (x *exchange) batch() error {
	q, err := x.itemRequest()
	if err != nil {
		return err
	}
	q.RangeID = x.r.Header.Get("x-ms-documentdb-partitionkeyrangeid")
	ops, err := x.batchOperations()
	if err != nil {
		return err
	}
	var results []docdb.BatchResult
	var receipt docdb.Receipt
	if x.flag("x-ms-cosmos-batch-atomic") {
		results, receipt, err = x.Service.Batch(x.r.Context(), x.caller, q, ops)
	} else {
		results, receipt, err = x.Service.Bulk(x.r.Context(), x.caller, q, ops, x.flag("x-ms-cosmos-batch-ordered"))
	}
	if err != nil {
		return err
	}
	x.receipt(receipt)
	x.batchAnswers(ops, results)
	return nil
}

// batchOperations reads the body. The binary form is not understood.
func (x *exchange) batchOperations() ([]docdb.BatchOperation, error) {
	body, err := x.body()
	if err != nil {
		return nil, err
	}
	if len(body) > 0 && body[0] == 0x81 {
		return nil, unsupported("batches in the binary form HybridRow")
	}
	var in []batchOperation
	if jsonx.Check(body) != nil || json.Unmarshal(body, &in) != nil {
		return nil, badBody()
	}
	ops := make([]docdb.BatchOperation, len(in))
	for i, o := range in {
		ops[i] = docdb.BatchOperation{Kind: o.Operation, ID: o.ID, Body: o.Body,
			Conditions: docdb.Conditions{IfMatch: o.IfMatch, IfNoneMatch: o.IfNoneMatch}}
		if !knownOperation(o.Operation) {
			return nil, badBody()
		}
		if o.PartitionKey != "" {
			k, err := docdb.ParsePartitionKey(o.PartitionKey)
			if err != nil {
				return nil, err
			}
			ops[i].PartitionKey = &k
		}
	}
	return ops, nil
}

func knownOperation(k docdb.OperationKind) bool {
	switch k {
	case docdb.OpCreate, docdb.OpUpsert, docdb.OpReplace, docdb.OpPatch, docdb.OpDelete, docdb.OpRead:
		return true
	}
	return false
}

// batchAnswers answers in the order of the operations; 207 says that one failed.
func (x *exchange) batchAnswers(ops []docdb.BatchOperation, results []docdb.BatchResult) {
	status := http.StatusOK
	minimal := strings.EqualFold(x.r.Header.Get("Prefer"), "return=minimal")
	answers := make([]batchAnswer, len(results))
	for i, r := range results {
		if r.Err != nil {
			status = http.StatusMultiStatus
			answers[i] = x.batchFailure(r)
			continue
		}
		answers[i] = batchAnswer{Status: batchStatus(ops[i].Kind, r.Created), Charge: r.Charge, ETag: r.Item.ETag}
		if !minimal || ops[i].Kind == docdb.OpRead {
			answers[i].Body = json.RawMessage(r.Item.JSON)
		}
	}
	x.answer(status, mustJSON(answers))
}

func (x *exchange) batchFailure(r docdb.BatchResult) batchAnswer {
	if r.FailedDependency() {
		return batchAnswer{Status: http.StatusFailedDependency}
	}
	f := x.failure(r.Err)
	substatus, _ := strconv.Atoi(f.substatus) // "" is none
	return batchAnswer{Status: f.status, Substatus: substatus, Charge: r.Charge, Retry: f.retryAfter, Message: f.message}
}

func batchStatus(k docdb.OperationKind, created bool) int {
	switch {
	case k == docdb.OpDelete:
		return http.StatusNoContent
	case created:
		return http.StatusCreated
	}
	return http.StatusOK
}
