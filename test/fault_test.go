package test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// state returns nil when the account is in a state, with a sub-status.
func (s *server) state(want string, substatus int) func() error {
	return func() error {
		var o struct {
			State     string
			Substatus int
		}
		s.report(&o, "account", "show", demo.Account)
		if o.State != want || o.Substatus != substatus {
			return errors.New("state " + o.State)
		}
		return nil
	}
}

// TestFaults rehearses a vault that is silent for less than the grace and for more, one that throttles, and
// shows that nobody can do so on a server that was not started for it.
func TestFaults(t *testing.T) {
	s := tutorial(t, "--allow-faults", "--key-check-interval", "100ms", "--key-grace", "6s")
	c := s.newContainer("db", "c")
	docs := someDocs(3)
	s.putAll(c, docs)
	get := func() (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.keyURI+"?api-version=7.4", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.http.Do(req)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	if status, _ := get(); status != http.StatusUnauthorized {
		t.Fatalf("before: status %d", status)
	}
	s.report(&struct{}{}, "fault", "vault", "--name", demo.Vault, "--outage", "--for", "1h")
	if status, _ := get(); status != 0 {
		t.Errorf("in the outage the vault answers %d", status)
	}
	s.waitFor("the grace", 10*time.Second, s.state("grace", 4004))
	s.compareAll(s.container("db", "c"), docs)
	s.waitFor("its end", 20*time.Second, s.state("revoked", 4004))
	var shown struct {
		Outage    string
		Disturbed int
	}
	if s.report(&shown, "fault", "vault", "--name", demo.Vault, "--show"); shown.Outage != "reset" || shown.Disturbed == 0 {
		t.Errorf("shown %+v", shown)
	}
	s.report(&struct{}{}, "fault", "vault", "--name", demo.Vault, "--clear")
	s.waitFor("the return", 20*time.Second, func() error {
		_, err := s.container("db", "c").Read(t.Context(), nil)
		return err
	})
	s.compareAll(s.container("db", "c"), docs)
	s.report(&struct{}{}, "fault", "vault", "--name", demo.Vault, "--throttle", "100%", "--for", "1s")
	if status, after := get(); status != http.StatusTooManyRequests || after == "" {
		t.Errorf("throttled: status %d, Retry-After %q", status, after)
	}
	s.waitFor("its end by itself", 10*time.Second, func() error {
		if status, _ := get(); status != http.StatusUnauthorized {
			return errors.New("still throttled")
		}
		return nil
	})
	s.args = nil
	s.restart(s.stop)
	if out, exit := s.try("fault", "vault", "--name", demo.Vault, "--latency", "1s"); exit != 1 {
		t.Errorf("on a server that does not allow faults: exit code %d\n%s", exit, out)
	}
	if out, exit := s.try("fault", "vault", "--name", demo.Vault, "--latency", "1s", "--clear"); exit != 2 {
		t.Errorf("two things at once: exit code %d\n%s", exit, out)
	}
}
