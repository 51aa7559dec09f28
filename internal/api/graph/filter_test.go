package graph

import (
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/fault"
)

var sample = map[string][]string{"name": {"Ada", "Countess"}, "on": {"true"}, "list": {"x", "y'z"}}

var sampleNames = map[string]bool{"name": true, "on": true, "list": true, "none": true}

func TestFilter(t *testing.T) {
	for text, want := range map[string]bool{
		"name eq 'ada'":                                    true,
		"name eq 'countess' and on eq true":                true,
		"name ne 'ada'":                                    false,
		"not name eq 'x'":                                  true,
		"startswith(name,'Count')":                         true,
		"startswith( NAME , 'x' ) or list/any(s:s eq 'x')": true,
		"list/any(c:c eq 'y''z')":                          true,
		"list/any(c:startswith(c,'y'))":                    true,
		"none eq null":                                     true,
		"none eq 'null'":                                   false,
		"name in ('b','ada')":                              true,
		"name eq 'x' or name eq 'ada' and on eq false":     false,
		"(name eq 'x' or name eq 'ada') and on eq true":    true,
	} {
		f, err := parseFilter(text, sampleNames)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f(func(n string) []string { return sample[n] }); got != want {
			t.Errorf("%s = %v", text, got)
		}
	}
	for _, text := range []string{
		"", "name", "name eq", "name eq 'x", "name eq x", "name lt 'x'", "other eq 'x'", "name eq 'x' and", "(name eq 'x'", "name eq 'x') ",
		"list/any(a:b eq 'x')", "list/all(a:a eq 'x')", "startswith(name)", strings.Repeat("(", 100), strings.Repeat("not ", 100) + "on eq true",
	} {
		if _, err := parseFilter(text, sampleNames); !fault.Is(err, "FilterInvalid") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"name eq 'a''b'", "startswith(name,'x') and not (on eq true)", "list/any(c:c eq 'x') or name in ('a','b')"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseFilter(text, sampleNames)
		if err != nil {
			if !fault.Is(err, "FilterInvalid") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		p(func(n string) []string { return sample[n] })
	})
}
