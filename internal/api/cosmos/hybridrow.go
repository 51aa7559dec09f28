package cosmos

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"

	"github.com/latchkey-db/latchkey/internal/docdb"
)

// Batches in binary: .NET sends and reads nothing else, whatever its mode of connection. A body is a
// RecordIO stream of HybridRow rows (microsoft/HybridRow, Docs/Grammar.md and Docs/RecordIO.md). All
// numbers are little-endian.
//
//	row             81, schema id int32, one byte of presence bits, fixed columns, variable columns that
//	                are present (length as varuint, bytes), sparse fields (type, path token, value)
//	segment header  a row whose column length counts it: 10 bytes here
//	record          a row with the length and the CRC-32 (ISO 3309) of a body: 13 bytes; then the body
//
// Of an operation the columns are operationType and resourceType, int32 each, which take their room also
// when they are absent, and then partitionKey, effectivePartitionKey, id, binaryId, resourceBody.
const (
	rowMark         = 0x81
	schemaSegment   = 0x7FFFD8F0
	schemaRecord    = 0x7FFFD8F1
	schemaOperation = 0x7FE15470
	schemaResult    = 0x7FE15471
)

// Tokens of the paths of sparse fields, and how many paths the two schemas know.
const (
	tokenIfMatch       = 9
	tokenIfNoneMatch   = 10
	tokenMinimalReturn = 12
	operationTokens    = 13

	tokenRetryAfter = 5
	tokenCharge     = 6
)

// Types of sparse values.
const (
	rowFalse   = 2
	rowTrue    = 3
	rowUint32  = 11
	rowFloat64 = 16
	rowUTF8    = 20
	rowBinary  = 21
)

// rowSizes are the sizes of sparse values of fixed length, by type.
var rowSizes = map[byte]int{1: 0, rowFalse: 0, rowTrue: 0, 5: 1, 6: 2, 7: 4, 8: 8, 9: 1, 10: 2, rowUint32: 4, 12: 8, 15: 4, rowFloat64: 8,
	17: 16, 18: 8, 19: 16, 22: 16, 23: 8, 24: 12}

// rowOperations are the numbers of operations.
var rowOperations = map[uint32]docdb.OperationKind{0: docdb.OpCreate, 1: docdb.OpPatch, 2: docdb.OpRead, 4: docdb.OpDelete, 5: docdb.OpReplace, 20: docdb.OpUpsert}

// isRow reports whether a body is binary.
func isRow(body []byte) bool { return len(body) > 0 && body[0] == rowMark }

// rowReader takes a row apart. After the first thing that is not there, ok is false and all else is zero.
type rowReader struct {
	b  []byte
	ok bool
}

func (r *rowReader) take(n int) []byte {
	if !r.ok || n < 0 || n > len(r.b) {
		r.ok = false
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *rowReader) byte() byte {
	if b := r.take(1); r.ok {
		return b[0]
	}
	return 0
}

func (r *rowReader) uint32() uint32 {
	if b := r.take(4); r.ok {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *rowReader) varuint() int {
	if !r.ok {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt32 {
		r.ok = false
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *rowReader) bytes() []byte { return r.take(r.varuint()) }

// header reads the beginning of a row of a schema.
func (r *rowReader) header(schema uint32) {
	if r.byte() != rowMark || r.uint32() != schema {
		r.ok = false
	}
}

// readRows reads the operations of a batch.
func readRows(body []byte) ([]batchOperation, error) {
	r := rowReader{b: body, ok: true}
	r.header(schemaSegment)
	if present := r.byte(); present&1 != 0 {
		r.take(int(r.uint32()) - (len(body) - len(r.b)))
	}
	var ops []batchOperation
	for r.ok && len(r.b) > 0 {
		r.header(schemaRecord)
		length, sum := r.uint32(), r.uint32()
		row := r.take(int(min(length, math.MaxInt32)))
		if !r.ok || crc32.ChecksumIEEE(row) != sum {
			return nil, badBody()
		}
		op, ok := readOperation(row)
		if !ok {
			return nil, badBody()
		}
		ops = append(ops, op)
	}
	if !r.ok {
		return nil, badBody()
	}
	return ops, nil
}

func readOperation(row []byte) (op batchOperation, ok bool) {
	r := rowReader{b: row, ok: true}
	r.header(schemaOperation)
	present := r.byte()
	kind := r.uint32()
	r.uint32() // the type of resource: documents
	if present&1 != 0 {
		op.Operation = rowOperations[kind]
	}
	var columns [5][]byte
	for i := range columns {
		if present&(4<<i) != 0 {
			columns[i] = r.bytes()
		}
	}
	op.PartitionKey, op.ID, op.Body = string(columns[0]), string(columns[2]), columns[4]
	for r.ok && len(r.b) > 0 {
		op.sparse(&r)
	}
	return op, r.ok
}

// sparse reads one field; those that are not known are passed over.
func (o *batchOperation) sparse(r *rowReader) {
	typ, token := r.byte(), r.varuint()
	if token >= operationTokens {
		r.take(token - operationTokens) // a path that the schema does not know, spelled out
	}
	if size, fixed := rowSizes[typ]; fixed {
		r.take(size)
		o.Minimal = o.Minimal || token == tokenMinimalReturn && typ == rowTrue
		return
	}
	switch typ {
	case rowUTF8, rowBinary:
		value := r.bytes()
		switch token {
		case tokenIfMatch:
			o.IfMatch = string(value)
		case tokenIfNoneMatch:
			o.IfNoneMatch = string(value)
		}
	case 13, 14: // numbers of variable length
		r.varuint()
	default:
		r.ok = false
	}
}

// writeRows is the answer to a batch in binary.
func writeRows(answers []batchAnswer) []byte {
	out := appendRowHeader(nil, schemaSegment)
	out = append(out, 1)
	out = binary.LittleEndian.AppendUint32(out, 10)
	for _, a := range answers {
		row := a.row()
		out = appendRowHeader(out, schemaRecord)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(row)))
		out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(row))
		out = append(out, row...)
	}
	return out
}

func appendRowHeader(b []byte, schema uint32) []byte {
	return binary.LittleEndian.AppendUint32(append(b, rowMark), schema)
}

// row is the answer to one operation. Where it failed the body is the message.
func (a batchAnswer) row() []byte {
	body := []byte(a.Body)
	if body == nil && a.Message != "" {
		body = []byte(a.Message)
	}
	present := byte(1 | 2)
	if a.ETag != "" {
		present |= 4
	}
	if body != nil {
		present |= 8
	}
	b := append(appendRowHeader(nil, schemaResult), present)
	b = binary.LittleEndian.AppendUint32(b, uint32(a.Status))
	b = binary.LittleEndian.AppendUint32(b, uint32(a.Substatus))
	if a.ETag != "" {
		b = append(binary.AppendUvarint(b, uint64(len(a.ETag))), a.ETag...)
	}
	if body != nil {
		b = append(binary.AppendUvarint(b, uint64(len(body))), body...)
	}
	if a.Retry > 0 {
		b = binary.LittleEndian.AppendUint32(append(b, rowUint32, tokenRetryAfter), uint32(min(a.Retry, math.MaxUint32)))
	}
	return binary.LittleEndian.AppendUint64(append(b, rowFloat64, tokenCharge), math.Float64bits(a.Charge))
}

// minimal reports whether the caller wants no documents back.
func (x *exchange) minimal() bool {
	return strings.EqualFold(strings.ReplaceAll(x.r.Header.Get("Prefer"), " ", ""), "return=minimal")
}
