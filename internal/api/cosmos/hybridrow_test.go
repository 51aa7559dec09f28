package cosmos

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// rows makes bytes of groups of hexadecimal digits, and of records whose length and sum are filled in.
func fromHex(t testing.TB, groups ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(strings.Join(groups, "")), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func le32(n uint32) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }

// framed puts a record's header before a row: the format written out once more, apart from the code.
func framed(row []byte) []byte {
	return bytes.Join([][]byte{{0x81, 0xF1, 0xD8, 0xFF, 0x7F}, le32(uint32(len(row))), le32(crc32.ChecksumIEEE(row)), row}, nil)
}

var segment = []byte{0x81, 0xF0, 0xD8, 0xFF, 0x7F, 0x01, 0x0A, 0, 0, 0}

// operationRow is an upsert as .NET writes one: type 20, resource type 2, partition key ["c9"], body {}, with
// a condition and a field that the schema does not know.
func operationRow(t testing.TB) []byte {
	return fromHex(t,
		"81 7054E17F", "47", // presence: operationType, resourceType, partitionKey, resourceBody
		"14000000", "02000000",
		"06 5B226339225D",    // ["c9"]
		"02 7B7D",            // {}
		"14 09 03 226522",    // ifMatch "e"
		"14 10 787978 01 7A", // a path of three letters, xyx, with the value z
		"03 0C",              // minimalReturnPreference
	)
}

// TestReadRows reads a batch that was put together by hand.
func TestReadRows(t *testing.T) {
	read := fromHex(t, "81 7054E17F", "13", "02000000", "02000000", "02 6F33") // read o3
	ops, err := readRows(bytes.Join([][]byte{segment, framed(operationRow(t)), framed(read)}, nil))
	if err != nil || len(ops) != 2 {
		t.Fatal(ops, err)
	}
	if o := ops[0]; o.Operation != docdb.OpUpsert || o.PartitionKey != `["c9"]` || string(o.Body) != "{}" || o.IfMatch != `"e"` || !o.Minimal {
		t.Errorf("%+v", o)
	}
	if o := ops[1]; o.Operation != docdb.OpRead || o.ID != "o3" || o.Body != nil {
		t.Errorf("%+v", o)
	}
	for n, kind := range map[byte]docdb.OperationKind{0: docdb.OpCreate, 1: docdb.OpPatch, 4: docdb.OpDelete, 5: docdb.OpReplace} {
		row := bytes.Clone(read)
		row[6] = n
		if ops, err := readRows(append(bytes.Clone(segment), framed(row)...)); err != nil || ops[0].Operation != kind {
			t.Errorf("%d: %v %v", n, ops, err)
		}
	}
}

// TestDamagedRows: what is cut, or has another sum, or no end, is a bad request.
func TestDamagedRows(t *testing.T) {
	whole := append(bytes.Clone(segment), framed(operationRow(t))...)
	for n := range whole {
		if n == 0 || n == len(segment) {
			continue // nothing, which is no row; a segment without records, which is a batch without operations
		}
		if _, err := readRows(whole[:n]); fault.KindOf(err) != fault.Invalid {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for i := len(segment); i < len(whole); i++ {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x40
		if _, err := readRows(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	endless := framed(fromHex(t, "81 7054E17F", "04", "00000000", "02000000", "FFFFFFFF0F"))
	if _, err := readRows(append(bytes.Clone(segment), endless...)); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

// TestWriteRows compares the answer, byte by byte, with one that was put together by hand.
func TestWriteRows(t *testing.T) {
	got := writeRows([]batchAnswer{
		{Status: 201, Charge: 6.5, ETag: `"e"`, Body: []byte("{}")},
		{Status: 429, Substatus: 3200, Retry: 258, Message: "slow"},
	})
	if math.Float64bits(6.5) != 0x401A000000000000 {
		t.Fatal("the number below is another one")
	}
	first := fromHex(t, "81 7154E17F", "0F", "C9000000", "00000000", "03 226522", "02 7B7D", "10 06 0000000000001A40")
	second := fromHex(t, "81 7154E17F", "0B", "AD010000", "800C0000", "04 736C6F77", "0B 05 02010000", "10 06 0000000000000000")
	if want := bytes.Join([][]byte{segment, framed(first), framed(second)}, nil); !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nwant\n%x", got, want)
	}
}

// FuzzReadRows: no bytes do more than be refused; sums are made right, so that what is behind them is reached.
func FuzzReadRows(f *testing.F) {
	f.Add(operationRow(f), true)
	f.Add(append(bytes.Clone(segment), framed(operationRow(f))...), false)
	f.Fuzz(func(t *testing.T, b []byte, frame bool) {
		if frame {
			b = append(bytes.Clone(segment), framed(b)...)
		}
		ops, err := readRows(b)
		if err == nil {
			_, err = domainOperations(ops)
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Error(err)
		}
	})
}
