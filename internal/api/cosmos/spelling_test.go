package cosmos

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// TestSpelling: the protocol's headers leave in lower case, others as they are.
func TestSpelling(t *testing.T) {
	for name, answer := range map[string]func(*speller){
		"status": func(s *speller) { s.WriteHeader(403) },
		"body":   func(s *speller) { _, _ = s.Write([]byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			s := &speller{ResponseWriter: rec}
			s.Header().Set(headerSubstatus, "4018")
			s.Header().Set("Content-Type", "application/json")
			answer(s)
			h := rec.Result().Header
			name := strings.ToLower("X-Ms-Substatus")
			if got := h[name]; len(got) != 1 || got[0] != "4018" || len(h) != 2 || h.Get("Content-Type") == "" {
				t.Errorf("%v", h)
			}
		})
	}
}
