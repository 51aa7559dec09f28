package docdb

import (
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb/sql"
)

func TestQueryErrorShape(t *testing.T) {
	for code, want := range map[string]string{
		"SC1001": `{"severity":"Error","location":{"start":1,"end":2},"code":"SC1001","message":"m"}`,
		"2206":   `{"severity":"Error","code":2206,"message":"m"}`,
		"":       `{"severity":"Error","location":{"start":1,"end":2},"message":"m"}`,
	} {
		if got := string(mustJSON(describe(&sql.SyntaxError{Code: code, Message: "m", Start: 1, End: 2}))); got != want {
			t.Errorf("code %q: %s, want %s", code, got, want)
		}
	}
}
