package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/front"
	"github.com/latchkey-db/latchkey/internal/naming"
)

// adminSecret is the administrator's secret in all scripts; quotes and a dollar sign make sure that
// shells get it right.
const adminSecret = `s3cr~'et"$HOME`

// memoryKeys keeps a root certificate in memory.
type memoryKeys struct{ content []byte }

func (m *memoryKeys) Load(context.Context) ([]byte, error)   { return m.content, nil }
func (m *memoryKeys) Save(_ context.Context, c []byte) error { m.content = c; return nil }

// fakeStart starts a server that is nothing but a front: the contract between the verbs and a real
// server. START makes it fail.
func fakeStart(ctx context.Context, cfg config.Config) (Server, error) {
	switch os.Getenv("START") {
	case "locked":
		return nil, fault.New(fault.Conflict, "DataDirLocked", "Another process has the data directory open.")
	case "keydenied":
		return nil, fault.New(fault.KeyDenied, "4002", "The key is disabled.")
	case "broken":
		return nil, errors.New("open the store: file damaged")
	case "hangs":
		if err := atomicfile.Write("pid", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ca, err := front.OpenCA(&memoryKeys{})
	if err != nil {
		return nil, err
	}
	if err := writeServerFiles(cfg.DataDir, ca.Certificate()); err != nil {
		return nil, err
	}
	fc := front.Config{Listen: cfg.Listen, ProxyListen: cfg.ProxyListen, CA: ca, Handlers: map[naming.Service]http.Handler{
		naming.Vault: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("vault " + r.Host + "\n")) }),
	}}
	if cfg.Emulator {
		fc.EmulatorListen = cfg.EmulatorListen
	}
	if os.Getenv("START") == "notready" {
		fc.Ready = func(context.Context) error { return errors.New("not yet") }
	}
	server, err := front.Start(fc)
	if err == nil && os.Getenv("START") == "stuck" {
		return stuck{server}, nil
	}
	return server, err
}

// stuck is a server whose requests never end.
type stuck struct{ *front.Server }

func (stuck) Stop(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func writeServerFiles(dir string, root []byte) error {
	admin, err := json.Marshal(credentials{TenantID: "11111111-1111-1111-1111-111111111111", SubscriptionID: "22222222-2222-2222-2222-222222222222",
		ClientID: "33333333-3333-3333-3333-333333333333", ClientSecret: adminSecret})
	return errors.Join(err, os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, caFile), root, 0o644), os.WriteFile(filepath.Join(dir, adminFile), admin, 0o600))
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"latchkey": func() { os.Exit(Main(fakeStart)) },
		"printenv": func() { printEnvironment(os.Args[1:]) },
		"az":       fakeAzureCLI,
		"goget":    func() { goGet(os.Args[1]) },
	})
}

// printEnvironment prints variables as JSON strings, or "unset".
func printEnvironment(names []string) {
	for _, name := range names {
		line := name + " unset"
		if value, ok := os.LookupEnv(name); ok {
			quoted, _ := json.Marshal(value)
			line = name + " " + string(quoted)
		}
		_, _ = os.Stdout.WriteString(line + "\n")
	}
}

// goGet prints what Go's default client gets, which knows the environment only.
func goGet(address string) {
	resp, err := http.Get(address)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(os.Stdout, resp.Body)
}

// fakeAzureCLI stands for az: it appends its arguments to az.log in its profile, and takes a login's
// secret as the real one does. AZ_FAIL makes a login fail.
func fakeAzureCLI() {
	args := strings.Join(os.Args[1:], " ")
	log, err := os.OpenFile(filepath.Join(os.Getenv("AZURE_CONFIG_DIR"), "az.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(9)
	}
	if slices.Contains(os.Args, "@-") {
		secret := make([]byte, 100)
		n, _ := os.Stdin.Read(secret)
		args += " stdin=" + string(secret[:n])
	}
	_, _ = log.WriteString(args + "\n")
	if os.Args[1] == "login" && os.Getenv("AZ_FAIL") != "" {
		_, _ = os.Stderr.WriteString("AADSTS7000215: Invalid client secret provided.\n")
		os.Exit(1)
	}
}

// TestScripts runs the files of testdata/script: each is a session at the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else every command takes a second with the race detector
			e.Setenv("LATCHKEY_LISTEN", "127.0.0.1:0")
			e.Setenv("LATCHKEY_PROXY_LISTEN", "127.0.0.1:0")
			e.Setenv("LATCHKEY_EMULATOR_LISTEN", "127.0.0.1:0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor":  waitFor,
			"exitcode": exitCode,
			"hassecret": func(ts *testscript.TestScript, neg bool, args []string) {
				if found := strings.Contains(ts.ReadFile(args[0]), adminSecret); found == neg {
					ts.Fatalf("the secret in %s: %v", args[0], found)
				}
			},
		},
	})
}

// waitFor waits until a file exists, or, negated, until it does not.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not come or go in time", args[0])
		}
	}
}

// exitCode runs a command and compares its exit code.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		b, _ := json.Marshal(exit.ExitCode())
		code = string(b)
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}
