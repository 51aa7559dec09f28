package arm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/fault"
)

func TestParseFilter(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "[]",
		"  ":                                   "[]",
		"name eq 'a'":                          "[[{eq [name a]}]]",
		"resourceType EQ 'A/b' and Name ne ''": "[[{eq [resourcetype A/b]} {ne [name ]}]]",
		"a eq 'x' or b eq 'y' and c eq 'z'":    "[[{eq [a x]}] [{eq [b y]} {eq [c z]}]]",
		"name eq 'it''s and or ('":             "[[{eq [name it's and or (]}]]",
		"atScope()":                            "[[{atscope []}]]",
		"atScope() and assignedTo('x')":        "[[{atscope []} {assignedto [x]}]]",
		"substringof('x', name)":               "[[{substringof [x name]}]]",
		"startswith(tagname,'x')":              "[[{startswith [tagname x]}]]",
		"properties/roleName eq 'a'":           "[[{eq [properties/rolename a]}]]",
	} {
		if f, err := arm.ParseFilter(text); err != nil || fmt.Sprint(f) != want {
			t.Errorf("%q: %v, %v, want %s", text, f, err, want)
		}
	}
	for _, text := range []string{"nonsense", "name eq", "name eq a", "name gt 'a'", "name eq 'a", "name eq 'a' and", "and", "or name eq 'a'",
		"(name eq 'a')", "f(", "f('a'", "f('a',)", "name eq 'a' b", "not name eq 'a'", "'a' eq name", "eq()", "NE('a','b')", strings.Repeat("name eq 'a' or ", 1000) + "name eq 'a'"} {
		if f, err := arm.ParseFilter(text); !fault.Is(err, "InvalidFilterInQueryString") {
			t.Errorf("%.40q: %v, %v", text, f, err)
		}
	}
}

// FuzzParseFilter checks that what is accepted keeps its meaning when it is written out again.
func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{"name eq 'a'", "a eq 'it''s' or f('x', y) and b ne ''", "atScope()", "((", "'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := arm.ParseFilter(text)
		if err != nil {
			return
		}
		again, err := arm.ParseFilter(write(parsed))
		if err != nil || fmt.Sprintf("%q", again) != fmt.Sprintf("%q", parsed) {
			t.Errorf("%q became %q, then %q: %v", text, parsed, again, err)
		}
	})
}

func write(f arm.Filter) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var either []string
	for _, all := range f {
		var every []string
		for _, c := range all {
			if c.IsComparison() {
				every = append(every, c.Args[0]+" "+c.Op+" "+quote(c.Args[1]))
				continue
			}
			var args []string
			for _, a := range c.Args {
				args = append(args, quote(a))
			}
			every = append(every, c.Op+"("+strings.Join(args, ",")+")")
		}
		either = append(either, strings.Join(every, " and "))
	}
	return strings.Join(either, " or ")
}
