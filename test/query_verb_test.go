package test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestQueryVerb asks from the shell: tables, JSON, explanations, and errors with their place.
func TestQueryVerb(t *testing.T) {
	s := startServer(t, "--emulator")
	crossContainer(t, s.emulatorClient(), "c", 400)
	query := func(args ...string) string {
		args = append([]string{"query", "--data", s.dir, "--account", "localhost", "--database", "d", "--container", "c"}, args...)
		out, _ := exec.Command(s.bin, args...).CombinedOutput()
		return string(out)
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{`SELECT c.id, c.n, c.tags FROM c WHERE c.n < @most ORDER BY c.n`, "--param", "most=2"},
			[]string{"id   n  tags\n000  0  [\"x\",\"t0\"]\n", "2 results"}},
		{[]string{`SELECT VALUE c.id FROM c WHERE c.kind = @k AND c.n > 110`, "--param", "k=b", "--output", "json"}, []string{"\"", "\n"}},
		{[]string{`SELECT VALUE COUNT(1) FROM c`, "--partition-key", `"p3"`}, []string{"value\n7\n"}},
		{[]string{`SELECT * FROM c WHERE c.kind = 'b' AND c.n > 10 ORDER BY c.n`, "--explain"},
			[]string{"select *", "keep where", "/kind = \"b\"", "estimated", "indexes", "/kind/?", "(/kind ASC, /n ASC)", " RU\n"}},
		{[]string{`SELECT * FRM c`}, []string{"SC1001", "  SELECT * FRM c\n", "^^^"}},
		{[]string{`SELECT * FROM c ORDER BY c.n, c.flag`}, []string{"composite index"}},
	} {
		got := query(tt.args...)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q: %q is not in\n%s", tt.args, want, got)
			}
		}
	}
}
