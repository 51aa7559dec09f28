package jsonx_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/jsonx"
)

func TestCheck(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct {
		name, src string
		ok        bool
	}{
		{"object", `{"a":[1,{"b":null}]}`, true},
		{"scalar", ` 12e400 `, true},
		{"white space around", " \n{}\t", true},
		{"deepest", deep(jsonx.MaxDepth), true},
		{"too deep", deep(jsonx.MaxDepth + 1), false},
		{"duplicate name", `{"a":1,"a":2}`, false},
		{"duplicate name, escaped", `{"a":1,"\u0061":2}`, false},
		{"duplicate name, nested", `[{"x":{"a":1,"a":2}}]`, false},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", false},
		{"lone surrogate", `{"a":"\ud800"}`, false},
		{"two values", `{} {}`, false},
		{"cut", `{"a":`, false},
		{"empty", ``, false},
		{"trailing comma", `[1,]`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := jsonx.Check([]byte(tt.src)); (err == nil) != tt.ok {
				t.Errorf("Check(%q) = %v, want ok=%v", tt.src, err, tt.ok)
			}
		})
	}
}

func TestDepthError(t *testing.T) {
	if err := jsonx.Check([]byte(strings.Repeat("[", 500))); !errors.Is(err, jsonx.ErrDepth) {
		t.Errorf("got %v, want ErrDepth", err)
	}
	if _, err := jsonx.Parse([]byte(`[1]`)); !errors.Is(err, jsonx.ErrNotObject) {
		t.Errorf("got %v, want ErrNotObject", err)
	}
}

// TestBytesKept: numbers, escapes and inner white space come back as they were.
func TestBytesKept(t *testing.T) {
	const src = `{ "n" : 1.0e+02, "big":123456789012345678901234567890 ,"e\u0301":"\u00e9\/", "_ts":5,"o":{ "k" : [ 1 ] } }`
	o, err := jsonx.Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	got := string(o.Without(func(n string) bool { return n == "_ts" }).Set("_ts", []byte("7")).Join())
	const want = `{"n":1.0e+02,"big":123456789012345678901234567890,"e\u0301":"\u00e9\/","o":{ "k" : [ 1 ] },"_ts":7}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFind(t *testing.T) {
	src := []byte(`{"a":{"b c":{"é":[1]}},"s":"x"}`)
	if v, ok := jsonx.Find(src, "a", "b c", "é"); !ok || string(v) != "[1]" {
		t.Errorf("got %s, %v", v, ok)
	}
	for _, path := range [][]string{{"s", "x"}, {"a", "z"}, {"a", "b c", "é", "0"}} {
		if v, ok := jsonx.Find(src, path...); ok {
			t.Errorf("Find(%q) = %s, want nothing", path, v)
		}
	}
}

// FuzzParse: what is accepted survives cutting and joining, and stays acceptable.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":{"b":[]},"c":"\n"}`, `{"\u0061":-0.0e1}`, `{}`, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		o, err := jsonx.Parse(src)
		if err != nil {
			return
		}
		joined := o.Join()
		again, err := jsonx.Parse(joined)
		if err != nil || len(again) != len(o) {
			t.Fatalf("%q -> %q: %v", src, joined, err)
		}
		for i := range o {
			if o[i].Name != again[i].Name || string(o[i].Value) != string(again[i].Value) {
				t.Fatalf("member %d of %q changed: %q", i, src, again[i].Value)
			}
		}
	})
}
