package docdb

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestEffectivePartitionKey uses vectors computed with the JavaScript client's code.
func TestEffectivePartitionKey(t *testing.T) {
	tests := []struct{ header, v1, v2 string }{
		{`[""]`, `05C1CF33970FF80800`, `32E9366E637A71B4E710384B2F4970A0`},
		{`["redmond"]`, `05C1EFE313830C087366656E706F6500`, `22E342F38A486A088463DFF7838A5963`},
		{`["partitionKey"]`, `05C1E1B3D9CD2608716273756A756A706F4C667A00`, `013AEFCF77FA271571CF665A58C933F1`},
		{`[0]`, `05C1BF6DA115600580`, `155B95BEDAC4B1E9EC1CDC9BB0DDDE58`},
		{`[5]`, `05C1D9C1C5517C05C014`, `19C08621B135968252FB34B4CF66F811`},
		{`[5.5]`, `05C1D7A771716C05C016`, `0E2EE47829D1AF775EEFB6540FD1D0ED`},
		{`[-1]`, `05C1D1A5BDDF9C054010`, `19938E7A936C1C5B9E3AE842BBC16839`},
		{`[true]`, `05C1D7C5A903D803`, `0E711127C5B5A8E4726AC6DD306A3E59`},
		{`[false]`, `05C1DB857D857C02`, `2FE1BE91E90A3439635E0E9E37361EF2`},
		{`[null]`, `05C1ED45D7475601`, `378867E4430E67857ACE5C908374FE16`},
		{`[{}]`, `05C1D529E345DC00`, `11622DAA78F835834610ABE56EFF5CB5`},
		{`["` + strings.Repeat("é", 150) + `"]`, `05C1D9C91DF1D808` + strings.Repeat("C4AA", 100) + `00`, `102FBCB236911B97566BAC475D6F76B8`},
		{`["` + strings.Repeat("a", 99) + `😀b"]`, `05C1E153DB455808` + strings.Repeat("62", 99) + `F0C0BE00`, `18E872C69B329B19F5208C09D23C0959`},
		{`[1e300]`, `05C1AB5FCFAF8005FE37F30F918103D738`, `1234CB21048B20039B22F11DBB13CD7B`},
		{`[-2.5e-7]`, `05C1EBF3D37BE005416F9D430BF55149E6`, `1AFBD455AFD76FE99D8B330617B6D7CF`},
	}
	for _, tt := range tests {
		k, err := ParsePartitionKey(tt.header)
		if err != nil {
			t.Fatal(err)
		}
		for version, want := range map[int]string{1: tt.v1, 2: tt.v2} {
			got := hexEPK(effective(PartitionKeyDefinition{Kind: KindHash, Version: version}, k))
			if got != want {
				t.Errorf("version %d of %s: got %s, want %s", version, tt.header, got, want)
			}
		}
	}
}

func TestMultiHash(t *testing.T) {
	d := PartitionKeyDefinition{Kind: KindMultiHash, Version: 2}
	if got := hexEPK(effective(d, PartitionKey{String("tenant1"), String("user1")})); got != "0DAE0B8467B011E957BC0B8B0DEB5ACA236A5BE3329A7AD57D4B998E8602BD7B" {
		t.Errorf("two levels: %s", got)
	}
	if got := hexEPK(effective(d, PartitionKey{String("tenant1")})); got != "0DAE0B8467B011E957BC0B8B0DEB5ACA" {
		t.Errorf("prefix: %s", got)
	}
}

func hexEPK(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

func TestParsePartitionKey(t *testing.T) {
	tests := []struct {
		header string
		want   PartitionKey
		ok     bool
	}{
		{`["a"]`, PartitionKey{String("a")}, true},
		{` [ 5 , true,null , { } ] `, PartitionKey{Number(5), Bool(true), Null, Undefined}, true},
		{`[-0]`, PartitionKey{Number(0)}, true},
		{`[]`, PartitionKey{}, true},
		{`["\u00e9"]`, PartitionKey{String("é")}, true},
		{`["\x07\U0001F600\a"]`, PartitionKey{String("\x07😀\x07")}, true},
		{`["a\"\x01",1]`, PartitionKey{String("a\"\x01"), Number(1)}, true},
		{`[{"a":1}]`, nil, false},
		{`[[1]]`, nil, false},
		{`[1.7976931348623157e308]`, PartitionKey{Number(math.MaxFloat64)}, true},
		{`[1e999]`, nil, false}, {`[-1e999]`, nil, false},
		{`"a"`, nil, false},
		{`["a"`, nil, false},
		{``, nil, false},
	}
	for _, tt := range tests {
		got, err := ParsePartitionKey(tt.header)
		if (err == nil) != tt.ok || tt.ok && string(got.encode(nil)) != string(tt.want.encode(nil)) {
			t.Errorf("ParsePartitionKey(%s) = %v, %v", tt.header, got, err)
		}
	}
}

func TestExtract(t *testing.T) {
	tests := []struct {
		doc  string
		path string
		want Component
	}{
		{`{"a":{"b":1}}`, `/a/b`, Number(1)},
		{`{"my prop":"x"}`, `/"my prop"`, String("x")},
		{`{"a/b":true}`, `/"a/b"`, Bool(true)},
		{`{"a":null}`, `/a`, Null},
		{`{}`, `/a`, Undefined},
		{`{"a":[]}`, `/a`, Undefined},
		{`{"a":{}}`, `/a`, Undefined},
		{`{"a":5}`, `/a/b`, Undefined},
	}
	for _, tt := range tests {
		got := PartitionKeyDefinition{Paths: []string{tt.path}}.extract([]byte(tt.doc))
		if got[0] != tt.want {
			t.Errorf("%s of %s = %v, want %v", tt.path, tt.doc, got[0], tt.want)
		}
	}
}

func TestParsePath(t *testing.T) {
	for _, bad := range []string{"", "a", "/", "//a", "/a/", `/"a`, `/""`, "/a/*", "/a/[]", "/a/?"} {
		if names, ok := parsePath(bad); ok {
			t.Errorf("parsePath(%q) = %q", bad, names)
		}
	}
}

func TestRID(t *testing.T) {
	id := newContainerID(7, 9)
	for _, n := range []uint64{0, 1, 255, 1 << 20, 1<<56 - 1, 1 << 59} {
		rid := id.child(n, 0)
		if got, ok := id.number(rid); !ok || got != n || len(rid) != 24 {
			t.Errorf("number %d -> %s -> %d, %v", n, rid, got, ok)
		}
	}
	if _, ok := newContainerID(7, 8).number(id.child(1, 0)); ok {
		t.Error("a document of another container was accepted")
	}
	if len(id.rid()) != 12 || len(databaseRID(7)) != 8 || len(offerRID(3)) != 4 {
		t.Errorf("lengths: %q %q %q", id.rid(), databaseRID(7), offerRID(3))
	}
}

// FuzzPartitionKey: what is accepted has one canonical encoding that survives a round trip.
func FuzzPartitionKey(f *testing.F) {
	for _, s := range []string{`["a"]`, `[1,null,true,{}]`, `["\x07"]`, `[]`, `["\ud83d\ude00"]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		k, err := ParsePartitionKey(header)
		if err != nil {
			return
		}
		for _, c := range k {
			if !utf8.ValidString(c.text) {
				t.Fatalf("invalid text from %q", header)
			}
		}
		again, err := ParsePartitionKey(k.String())
		if err != nil {
			t.Fatalf("%q -> %q: %v", header, k.String(), err)
		}
		if len(k) > 0 && string(k.encode(nil)) != string(again.encode(nil)) {
			t.Fatalf("%q -> %q changed", header, k.String())
		}
	})
}

// TestComponentJSON: what the feed of all versions shows of a key is JSON, also of items that were stored under
// a number beyond the doubles.
func TestComponentJSON(t *testing.T) {
	for want, c := range map[string]Component{"1e999": Number(math.Inf(1)), "-1e999": Number(math.Inf(-1)), "-2.5": Number(-2.5), "1e+300": Number(1e300), "null": Null} {
		if got := c.json(); string(got) != want || !json.Valid(got) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzEscaped: escaping keeps the order and comes back.
func FuzzEscaped(f *testing.F) {
	f.Add([]byte("a\x00b"), []byte("a\x00"))
	f.Add([]byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ea, eb := appendEscaped(nil, a), appendEscaped(nil, b)
		if sign(string(a), string(b)) != sign(string(ea), string(eb)) {
			t.Fatalf("order of %q and %q", a, b)
		}
		got, rest, ok := skipEscaped(append(ea, 'x'))
		if !ok || string(got) != string(a) || string(rest) != "x" {
			t.Fatalf("%q came back as %q, %q", a, got, rest)
		}
	})
}

func sign(a, b string) int { return strings.Compare(a, b) }
