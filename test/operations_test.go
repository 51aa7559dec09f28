package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPythonOperations: operations on containers with the official client for Python.
func TestPythonOperations(t *testing.T) {
	s := startServer(t, "--emulator")
	cmd := exec.Command(pythonWith(t, "azure.cosmos"), filepath.Join("python", "operations.py"))
	cmd.Env = append(os.Environ(), "ENDPOINT=https://"+s.run.Addresses.Emulator+"/", "KEY="+emulatorKey, "PYTHONWARNINGS=ignore", "CA="+filepath.Join(s.dir, "ca.pem"))
	var complaints strings.Builder
	cmd.Stderr = &complaints // which has what the client's threads say at the end
	if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v\n%s\n%s", err, out, complaints.String())
	}
}
