package cosmos

import (
	"encoding/json"
	"net/http"
	"strconv"

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
	Minimal      bool                `json:"-"`            // wants no document back
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
	body, err := x.body()
	if err != nil {
		return err
	}
	sent, err := parseBatch(body)
	if err != nil {
		return err
	}
	ops, err := domainOperations(sent)
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
	status, answers := x.batchAnswers(sent, results)
	if isRow(body) {
		x.answer(status, writeRows(answers))
		return nil
	}
	x.answer(status, mustJSON(answers))
	return nil
}

// parseBatch reads the body, JSON or binary.
func parseBatch(body []byte) (in []batchOperation, err error) {
	if isRow(body) {
		return readRows(body)
	}
	if jsonx.Check(body) != nil || json.Unmarshal(body, &in) != nil {
		return nil, badBody()
	}
	return in, nil
}

func domainOperations(in []batchOperation) ([]docdb.BatchOperation, error) {
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

// batchAnswers are the answers in the order of the operations; 207 says that one failed.
func (x *exchange) batchAnswers(ops []batchOperation, results []docdb.BatchResult) (status int, answers []batchAnswer) {
	status = http.StatusOK
	answers = make([]batchAnswer, len(results))
	for i, r := range results {
		if r.Err != nil {
			status = http.StatusMultiStatus
			answers[i] = x.batchFailure(r)
			continue
		}
		answers[i] = batchAnswer{Status: batchStatus(ops[i].Operation, r.Created), Charge: r.Charge, ETag: r.Item.ETag}
		if !x.minimal() && !ops[i].Minimal || ops[i].Operation == docdb.OpRead {
			answers[i].Body = json.RawMessage(r.Item.JSON)
		}
	}
	return status, answers
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
