package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBenchVerb measures the server for a moment with each kind of load, and finds nothing wrong.
func TestBenchVerb(t *testing.T) {
	s := startServer(t, "--emulator")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(emulatorKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, workload := range []string{"a", "d", "e", "f", "mixed"} {
		out, err := exec.Command(s.bin, "bench", "--endpoint", "https://"+s.run.Addresses.Emulator, "--key-file", key, "--ca", filepath.Join(s.dir, "ca.pem"),
			"--workload", workload, "--records", "100", "--clients", "8", "--duration", "500ms", "--output", "json").CombinedOutput()
		var r struct {
			Operations  uint64
			WrongAnswer uint64 `json:"wrongAnswerCount"`
			Errors      map[string]uint64
			Latencies   map[string]struct{ Count uint64 } `json:"latenciesMs"`
		}
		if err != nil || json.Unmarshal(out, &r) != nil || r.Operations == 0 || r.WrongAnswer != 0 || len(r.Errors) != 0 {
			t.Errorf("%s: %v\n%s", workload, err, out)
		}
	}
}
