package test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// hook is a receiver of events.
type hook struct {
	mu     sync.Mutex
	down   bool
	types  []string
	ids    map[string]int
	signed bool
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodOptions:
		w.Header().Set("WebHook-Allowed-Origin", r.Header.Get("WebHook-Request-Origin"))
	default:
		var e struct {
			ID, Type string
			Data     struct{ ObjectName, Version, VaultName string }
		}
		body, _ := io.ReadAll(r.Body)
		if json.Unmarshal(body, &e) != nil || len(e.Data.Version) != 32 || e.Data.VaultName != demo.Vault {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h.signed = strings.HasPrefix(r.Header.Get("Latchkey-Signature"), "t=")
		if h.ids[e.ID]++; h.ids[e.ID] == 1 {
			h.types = append(h.types, strings.TrimPrefix(strings.TrimPrefix(e.Type, "Microsoft.KeyVault."), "Latchkey.KeyVault."))
		}
	}
}

func (h *hook) set(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// heard returns nil when exactly these types came, in this order.
func (h *hook) heard(want ...string) func() error {
	return func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !slices.Equal(h.types, want) || !h.signed {
			return errors.New("heard " + strings.Join(h.types, ", "))
		}
		return nil
	}
}

// TestWebhooks: what happens to a key is told, in order, also what happened while the receiver was away
// and the server was killed.
func TestWebhooks(t *testing.T) {
	h := &hook{ids: map[string]int{}}
	receiver := httptest.NewServer(h)
	defer receiver.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := tutorial(t, "--webhook", receiver.URL+"/hook,vault="+demo.Vault, "--webhook", receiver.URL+"/hook?other,vault=elsewhere", "--webhook-secret-file", secret)
	s.waitFor("the new key", 20*time.Second, h.heard("KeyNewVersionCreated"))
	if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := s.op.SetKeyEnabled(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	s.waitFor("the key off and on", 20*time.Second, h.heard("KeyNewVersionCreated", "KeyDisabled", "KeyEnabled"))
	h.set(true)
	if err := s.op.CreateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.restart(s.kill)
	h.set(false)
	keys, err := s.op.Keys()
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(10 * 24 * time.Hour)
	if _, err := keys.UpdateKey(t.Context(), demo.Key, "", azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Expires: &soon}}, nil); err != nil {
		t.Fatal(err)
	}
	s.waitFor("what happened meanwhile, and the notice", 30*time.Second,
		h.heard("KeyNewVersionCreated", "KeyDisabled", "KeyEnabled", "KeyNewVersionCreated", "KeyNearExpiry"))
	if log := s.log.String(); strings.Contains(log, "hush") || strings.Contains(log, "?other") {
		t.Error("the log holds a secret or an address")
	}
}
