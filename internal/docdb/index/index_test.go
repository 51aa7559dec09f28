package index

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

const everything = `{"indexingMode":"consistent","includedPaths":[{"path":"/*"}],"excludedPaths":[{"path":"/\"_etag\"/?"}]}`

func mustPolicy(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// TestValuesSort: the encodings of values are in the order of the query language.
func TestValuesSort(t *testing.T) {
	long := strings.Repeat("x", maxString)
	inOrder := []string{
		`null`, `false`, `true`,
		`-1e400`, `-1e300`, `-9223372036854775808`, `-9007199254740993`, `-9007199254740992`, `-1.5`, `-1`, `-1e-300`, `0`, `5e-324`, `0.1`, `1`, `2`, `10`,
		`9007199254740991`, `9007199254740992`, `9007199254740993`, `9007199254740994`, `9223372036854775806`, `9223372036854775807`, `9223372036854775808`, `1e19`, `1e300`, `1e400`,
		`""`, `"\u0000"`, `"\u0000a"`, `"\u0001"`, `"1"`, `"10"`, `"2"`, `"A"`, `"a"`, `"a\u0000"`, `"a\u0000b"`, `"ab"`, `"a\u00ff"`, `"` + long + `"`, `"` + long + `a"`, `"é"`, `"\uFFFF"`, `"😀"`,
	}
	var last []byte
	for i, v := range inOrder {
		enc := AppendValue(nil, jsontext.Value(v))
		if i > 0 && bytes.Compare(last, enc) >= 0 {
			t.Errorf("%.40s is not above %.40s: %x, %x", v, inOrder[i-1], enc, last)
		}
		last = enc
		got, rest, ok := Split(append(slices.Clone(enc), 7, 7))
		if !ok || !bytes.Equal(got, enc) || !bytes.Equal(rest, []byte{7, 7}) {
			t.Errorf("Split of %.40s gives %x, %x, %v", v, got, rest, ok)
		}
	}
}

func TestEqualNumbers(t *testing.T) {
	for _, same := range [][]string{{"1", "1.0", "1e0", "10e-1"}, {"0", "-0", "-0.0", "0e7"}, {"9007199254740994", "9007199254740994.0", "9.007199254740994e15"}, {"1e400", "1e500"}} {
		want := AppendValue(nil, jsontext.Value(same[0]))
		for _, v := range same[1:] {
			if got := AppendValue(nil, jsontext.Value(v)); !bytes.Equal(got, want) {
				t.Errorf("%s is %x, %s is %x", v, got, same[0], want)
			}
		}
	}
}

func TestDecode(t *testing.T) {
	for _, v := range []string{`null`, `true`, `false`, `0`, `-7`, `12.5`, `1e-7`, `"a\u0000b"`, `"\"é"`, `""`} {
		got, ok := Decode(AppendValue(nil, jsontext.Value(v)))
		if again := AppendValue(nil, got); !ok || !bytes.Equal(again, AppendValue(nil, jsontext.Value(v))) {
			t.Errorf("Decode of %s is %s, %v", v, got, ok)
		}
	}
	for _, v := range []string{`1e15`, `"` + strings.Repeat("y", maxString+1) + `"`} {
		if got, ok := Decode(AppendValue(nil, jsontext.Value(v))); ok {
			t.Errorf("Decode of %.20s is %.20s, want nothing", v, got)
		}
	}
}

func TestLongStrings(t *testing.T) {
	a := AppendValue(nil, jsontext.Value(`"`+strings.Repeat("z", maxString)+`a"`))
	b := AppendValue(nil, jsontext.Value(`"`+strings.Repeat("z", maxString)+`b"`))
	if bytes.Equal(a, b) || Exact(a) || !bytes.Equal(Stem(a), Stem(b)) {
		t.Errorf("terms of long strings: %x and %x", a, b)
	}
	if p := AppendPrefix(nil, strings.Repeat("z", 2*maxString)); !bytes.HasPrefix(a, p) {
		t.Error("a long string does not begin as its prefix does")
	}
}

// terms renders what an index keeps of a document: path=value, then the paths of the shape.
func terms(x *Index, doc string) string {
	names := map[PathID]string{}
	var visit func(n *node)
	got := x.Terms([]byte(doc), 1700000000)
	visit = func(n *node) {
		names[n.id] = n.path.String()
		for _, m := range n.members {
			visit(m)
		}
		if n.element != nil {
			visit(n.element)
		}
	}
	visit(x.root)
	var out []string
	for _, k := range got.Keys {
		id, v := PathID(be(k)), k[8:]
		text, ok := Decode(v)
		if !ok {
			text = jsontext.Value(hex.EncodeToString(v[:1]) + "…")
		}
		out = append(out, names[id]+"="+string(text))
	}
	slices.Sort(out)
	var shape []string
	for s := got.Shape; len(s) > 0; s = s[shapeStep:] {
		shape = append(shape, names[PathID(be(s))]+[]string{"", "*"}[s[8]])
	}
	slices.Sort(shape)
	return strings.Join(out, " ") + " | " + strings.Join(shape, " ")
}

func be(b []byte) (n uint64) {
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}

func TestTerms(t *testing.T) {
	exclude := `{"includedPaths":[{"path":"/a/?"},{"path":"/b/*"},{"path":"/c/[]/d/?"},{"path":"/e/[]/{x,y/z}/?"},{"path":"/b/secret/open/?"}],"excludedPaths":[{"path":"/*"},{"path":"/b/secret/*"}]}`
	for _, tt := range []struct{ policy, doc, want string }{
		{everything, `{"id":"1"}`, `/_ts=1700000000 /id="1" | /_ts /id`},
		{everything, ` { "id" : "1" , "a" : [ 1 , 1 , "x" , { "b" : null } , [ true ] ] , "o" : { } } `,
			`/_ts=1700000000 /a/[]/[]=true /a/[]/b=null /a/[]="x" /a/[]=1 /id="1" | /_ts /a* /a/[] /a/[]* /a/[]/[] /a/[]/b /id /o*`},
		{everything, `{"a b":{"\u00e9\"":1.50}}`, `/"a b"/"é\""=1.5 /_ts=1700000000 | /"a b"* /"a b"/"é\"" /_ts`},
		{everything, `{"s":"` + strings.Repeat("q", 300) + `"}`, `/_ts=1700000000 /s=06… | /_ts /s`},
		{exclude, `{"id":"1","a":1,"z":2,"b":{"x":3,"secret":{"x":4,"open":5}},"c":[{"d":6,"f":7}],"e":[{"x":1,"y":{"z":2,"w":3}}]}`,
			`/_ts=1700000000 /a=1 /b/secret/open=5 /b/x=3 /c/[]/d=6 /e/[]/x=1 /e/[]/y/z=2 /id="1" | /_ts /a /b* /b/secret/open /b/x /c/[]/d /e/[]/x /e/[]/y/z /id`},
		{`{"indexingMode":"none"}`, `{"id":"1"}`, ` | `},
	} {
		x := New(mustPolicy(t, tt.policy), []byte("k"))
		for range 2 { // the second time from memory
			if got := terms(x, tt.doc); got != tt.want {
				t.Errorf("%s\n of %s\n got  %s\n want %s", tt.doc, tt.policy, got, tt.want)
			}
		}
	}
}

func TestTooManyTerms(t *testing.T) {
	var b strings.Builder
	for i := range MaxTerms + 1 {
		fmt.Fprintf(&b, ",%d", i)
	}
	x := New(mustPolicy(t, everything), []byte("k"))
	got := x.Terms([]byte(`{"id":"1","v":[0`+b.String()+`]}`), 1)
	if got.Keys != nil || x.ShapeOf(got.Shape) != Overflow {
		t.Errorf("%d terms, shape %d", len(got.Keys), x.ShapeOf(got.Shape))
	}
}

// TestMemoryIsBounded: documents with ever new names are not remembered for ever.
func TestMemoryIsBounded(t *testing.T) {
	x := New(mustPolicy(t, everything), []byte("k"))
	for i := range 5 * maxNodes / 4 {
		x.member(x.root, fmt.Sprint(i))
	}
	if x.nodes > maxNodes || len(x.root.members) > maxNodes {
		t.Errorf("%d nodes", x.nodes)
	}
}

func TestComposites(t *testing.T) {
	x := New(mustPolicy(t, `{"includedPaths":[{"path":"/*"}],"compositeIndexes":[[{"path":"/n","order":"ascending"},{"path":"/o/s","order":"descending"}]]}`), []byte("k"))
	inOrder := []string{`{}`, `{"n":null}`, `{"n":1,"o":{"s":{}}}`, `{"n":1,"o":{"s":"b"}}`, `{"n":1,"o":{"s":"aa"}}`, `{"n":1,"o":{"s":"a"}}`, `{"n":1,"o":{"s":7}}`, `{"n":1,"o":7}`, `{"n":2}`, `{"n":"x"}`, `{"n":[1]}`}
	var last []byte
	for i, doc := range inOrder {
		got := x.Terms([]byte(doc), 1).Composites[0]
		if i > 0 && bytes.Compare(last, got) >= 0 {
			t.Errorf("%s is not above %s", doc, inOrder[i-1])
		}
		last = got
		values, rest, ok := SplitComposite(append(slices.Clone(got), 9), x.Composites()[0])
		if !ok || len(values) != 2 || !bytes.Equal(rest, []byte{9}) {
			t.Errorf("%s: %x, rest %x, %v", doc, values, rest, ok)
		}
	}
}

func TestPolicyErrors(t *testing.T) {
	for _, tt := range []struct{ policy, want string }{
		{`{"includedPaths":[{"path":"/a/?"}]}`, "special mandatory"},
		{`{"includedPaths":[{"path":"/*"}],"excludedPaths":[{"path":"/*"}]}`, "more than one"},
		{`{"includedPaths":[{"path":"/*"},{"path":"/a b/?"}]}`, "could not be accepted, failed near position '1'"},
		{`{"includedPaths":[{"path":"/*"},{"path":"/a"}]}`, "could not be accepted"},
		{`{"includedPaths":[{"path":"/*"},{"path":"/\"a/?"}]}`, "could not be accepted"},
		{`{"includedPaths":[{"path":"/*"}],"compositeIndexes":[[{"path":"/a"}]]}`, "2 to 8"},
		{`{"includedPaths":[{"path":"/*"}],"compositeIndexes":[[{"path":"/a","order":"up"},{"path":"/b"}]]}`, "must be ascending"},
		{`[]`, "cannot be read"},
	} {
		_, err := ParsePolicy([]byte(tt.policy))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.policy, err, tt.want)
		}
	}
}

// FuzzTerms: no checked document makes the walker fall, and terms come in order.
func FuzzTerms(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"\u0000"}]}`, `{"":{"":[[]]}}`, `{"x":-0.0e+1,"y":"😀\\"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if v := jsontext.Value(doc); !v.IsValid() || v.Kind() != '{' {
			return
		}
		x := New(mustPolicy(t, everything), []byte("k"))
		got := x.Terms(doc, 1)
		for i := 1; i < len(got.Keys); i++ {
			if bytes.Compare(got.Keys[i-1], got.Keys[i]) >= 0 {
				t.Fatalf("terms out of order: %x, %x", got.Keys[i-1], got.Keys[i])
			}
		}
	})
}
