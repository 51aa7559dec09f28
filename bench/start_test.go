// Package bench measures the binary as its users meet it. `make bench` runs it. Figures of one
// machine are not those of another: what counts are ratios within one run.
package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-bench")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "latchkey")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/latchkey-db/latchkey/cmd/latchkey")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// binaryDir is where the binary was built; "" when no test needed it.
var binaryDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	os.Exit(code)
}

// start starts a server and returns when run.json says that it is ready.
func start(b *testing.B, dir string, args ...string) (cmd *exec.Cmd, ready time.Duration) {
	b.Helper()
	path, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	cmd = exec.Command(path, append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0", "--log-level", "error"}, args...)...)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for {
		if err := isReady(dir, cmd.Process.Pid); err == nil {
			return cmd, time.Since(begin)
		}
		if time.Since(begin) > 20*time.Second {
			b.Fatal("the server does not become ready")
		}
		time.Sleep(500 * time.Microsecond)
	}
}

func isReady(dir string, pid int) error {
	raw, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		return err
	}
	var run struct {
		PID   int  `json:"pid"`
		Ready bool `json:"ready"`
	}
	if err := json.Unmarshal(raw, &run); err != nil {
		return err
	}
	if !run.Ready || run.PID != pid {
		return errors.New("not ready")
	}
	return nil
}

func stop(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

// resident is a process's resident memory in MiB.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("this system has no /proc")
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// report prints the median and the worst of some durations.
func report(b *testing.B, d []time.Duration) {
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Milliseconds()), "ms-median")
	b.ReportMetric(float64(d[len(d)-1].Milliseconds()), "ms-worst")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFirstStart starts in an empty directory: tenant, signing key, authority and stores are made.
func BenchmarkFirstStart(b *testing.B) {
	var times []time.Duration
	var memory float64
	for b.Loop() {
		cmd, ready := start(b, filepath.Join(b.TempDir(), fmt.Sprint(len(times))))
		times = append(times, ready)
		memory = max(memory, resident(b, cmd.Process.Pid))
		stop(b, cmd)
	}
	report(b, times)
	b.ReportMetric(memory, "MiB-resident")
}

// BenchmarkStart starts in a directory that a server was stopped in.
func BenchmarkStart(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "data")
	cmd, _ := start(b, dir)
	stop(b, cmd)
	var times []time.Duration
	var memory float64
	for b.Loop() {
		cmd, ready := start(b, dir)
		times = append(times, ready)
		memory = max(memory, resident(b, cmd.Process.Pid))
		stop(b, cmd)
	}
	report(b, times)
	b.ReportMetric(memory, "MiB-resident")
}
