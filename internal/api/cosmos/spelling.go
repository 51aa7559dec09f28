package cosmos

import (
	"net/http"
	"strings"
)

// speller writes the protocol's own headers as the service spells them, in lower case. Names of
// headers have no case, but the client for Java looks some of them up as they came.
type speller struct {
	http.ResponseWriter
	written bool
}

// WriteHeader implements [http.ResponseWriter].
func (s *speller) WriteHeader(status int) {
	s.spell()
	s.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (s *speller) Write(b []byte) (int, error) {
	s.spell()
	return s.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (s *speller) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *speller) spell() {
	if s.written {
		return
	}
	s.written = true
	h := s.Header()
	for name, values := range h {
		if strings.HasPrefix(name, "X-Ms-") {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}
