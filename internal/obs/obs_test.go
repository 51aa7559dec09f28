package obs_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey/internal/obs"
	"github.com/latchkey-db/latchkey/internal/secret"
)

func TestSecretsAreNotLogged(t *testing.T) {
	const password = "correct-horse-battery"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log := obs.NewLogger(&out, slog.LevelDebug, format)
		log.With("client_secret", password).Info("a message",
			"Authorization", "Bearer "+password,
			"key", secret.From([]byte(password)),
			slog.Group("login", "password", []byte(password)),
			"user", "ada")
		if strings.Contains(out.String(), password) || strings.Contains(out.String(), "Y29ycmVjd") {
			t.Errorf("%s: a secret is in the log: %s", format, &out)
		}
		if !strings.Contains(out.String(), "ada") || strings.Count(out.String(), "[secret]") != 4 {
			t.Errorf("%s: got %s", format, &out)
		}
	}
}

func TestLogFormatAndLevel(t *testing.T) {
	var out bytes.Buffer
	log := obs.NewLogger(&out, slog.LevelWarn, "json")
	log.Info("too quiet")
	log.Warn("loud enough", "n", 1)
	var line struct {
		Msg string
		N   int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "loud enough" || line.N != 1 {
		t.Errorf("line %q, err %v", &out, err)
	}
}

func TestMetrics(t *testing.T) {
	m, other := obs.NewMetrics("v1", "x"), obs.NewMetrics("v1", "x") // two servers in one process
	m.ObserveRequest("vault", 403, 3*time.Millisecond)
	page := func(m *obs.Metrics) string {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	const want = `latchkey_http_request_seconds_count{service="vault",status="403"} 1`
	for _, line := range []string{want, `latchkey_info{rsa="x",version="v1"} 1`, "go_goroutines"} {
		if !strings.Contains(page(m), line) {
			t.Errorf("metrics lack %s", line)
		}
	}
	if strings.Contains(page(other), want) {
		t.Error("two servers share a registry")
	}
}
