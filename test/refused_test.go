package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// foreign is a client of another language in a program of its own.
type foreign struct {
	name    string
	install func(t *testing.T, s *scenario) []string // the command; skips where it cannot be had
	// The most requests that a read costs while the key is denied: by a client that knows the account
	// already, and by one that does not.
	warm, cold int
}

// TestClientsWhileRevoked: with each client the application gets one 403 with its sub-status, at once,
// and the server sees no storm of repetitions. There is no client for .NET: this project's machines
// cannot run it.
func TestClientsWhileRevoked(t *testing.T) {
	for _, f := range []foreign{
		{"Python", python, 6, 6}, // it asks for the account's properties now and then, several times
		{"JavaScript", javaScript, 1, 1},
		{"Java", java, 6, 6},
	} {
		t.Run(f.name, func(t *testing.T) {
			s := tutorial(t)
			command := f.install(t, s)
			c := s.newContainer("db1", "c1")
			docs := someDocs(20)
			s.putAll(c, docs)
			p := s.startForeign(append(command, fmt.Sprint(len(docs)), "7"))
			if got := p.line(); got != "ready" {
				t.Fatalf("before: %s", got)
			}
			if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			s.waitRevoked(c, docs[0], "4018")
			s.costs("the client that was there", f.warm, func() {
				p.proceed()
				if got := p.line(); got != "403/4018" {
					t.Errorf("revoked: %s", got)
				}
				p.wait()
			})
			s.costs("a new client", f.cold, func() {
				p := s.startForeign(append(command, fmt.Sprint(len(docs)), "7"))
				if got := p.line(); got != "403/4018" {
					t.Errorf("revoked, a new client: %s", got)
				}
				p.wait()
			})
		})
	}
}

// TestGoClientWhileRevoked is TestClientsWhileRevoked with the client for Go.
func TestGoClientWhileRevoked(t *testing.T) {
	s := tutorial(t)
	c := s.newContainer("db1", "c1")
	docs := someDocs(1)
	s.putAll(c, docs)
	if err := s.op.SetKeyEnabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.waitRevoked(c, docs[0], "4018")
	read := func(fresh bool) func() {
		return func() {
			if fresh {
				c = s.container("db1", "c1")
			}
			err := get(t.Context(), c, docs[0])
			if contains(err, "403", "4018") != nil {
				t.Errorf("read: %v", err)
			}
		}
	}
	s.costs("the client that was there", 1, read(false))
	s.costs("a new client", 2, read(true))
}

// costs fails the test when f makes more requests to the data plane than most, or none.
func (s *scenario) costs(what string, most int, f func()) {
	s.t.Helper()
	before := s.dataRequests()
	f()
	if n := s.dataRequests() - before; n < 1 || n > most {
		s.t.Errorf("%s made %d requests, want 1 to %d", what, n, most)
	} else {
		s.t.Logf("%s made %d requests", what, n)
	}
}

// dataRequests is how many requests to the data plane the server has answered.
func (s *scenario) dataRequests() int {
	s.t.Helper()
	resp, err := s.http.Get("https://" + s.run.Addresses.Front + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("metrics: %s, %v", resp.Status, err)
	}
	total := 0
	for line := range strings.Lines(string(raw)) {
		var n int
		if !strings.HasPrefix(line, `latchkey_http_request_seconds_count{service="documents"`) {
			continue
		}
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		total += n
	}
	return total
}

// process is a running foreign client.
type process struct {
	s    *scenario
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs lockedBuffer
}

// startForeign starts a client with the environment of `latchkey exec` and the account's key.
func (s *scenario) startForeign(command []string) *process {
	s.t.Helper()
	p := &process{s: s}
	p.cmd = exec.CommandContext(s.t.Context(), s.bin, append([]string{"exec", "--data", s.dir, "--"}, command...)...)
	p.cmd.Env = append(os.Environ(), "ENDPOINT=https://mycosmosdbaccount.documents.azure.com:443/", "KEY="+s.masterKey())
	p.cmd.Stderr = &p.errs
	in, errIn := p.cmd.StdinPipe()
	out, errOut := p.cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, p.cmd.Start()); err != nil {
		s.t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p
}

// line is the next line of the client's output.
func (p *process) line() string {
	p.s.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.s.t.Fatalf("%q, %v\n%s", line, err, p.errs.String())
	}
	return strings.TrimSpace(line)
}

// proceed lets the client go on.
func (p *process) proceed() {
	p.s.t.Helper()
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		p.s.t.Fatal(err)
	}
}

func (p *process) wait() {
	p.s.t.Helper()
	if err := p.cmd.Wait(); err != nil {
		p.s.t.Errorf("%v\n%s", err, p.errs.String())
	}
}

func python(t *testing.T, _ *scenario) []string {
	t.Helper()
	interpreter := pythonWith(t, "azure.cosmos")
	script, err := filepath.Abs("python/read.py")
	if err != nil {
		t.Fatal(err)
	}
	return []string{interpreter, script}
}

// pythonWith is an interpreter that has the modules of test/python/requirements.txt; without them the
// test is skipped.
func pythonWith(t *testing.T, modules ...string) string {
	t.Helper()
	interpreter, err := filepath.Abs("../.venv/sdk/bin/python")
	if err == nil {
		err = exec.Command(interpreter, "-c", "import "+strings.Join(modules, ", ")).Run()
	}
	if err != nil {
		t.Skipf("%s is not installed: `make venv` installs it from PyPI", strings.Join(modules, ", "))
	}
	return interpreter
}

func javaScript(t *testing.T, _ *scenario) []string {
	t.Helper()
	return []string{"node", filepath.Join(nodeModules(t), "warm.mjs")}
}

// java builds the client of test/java and gives it a trust store with the server's authority.
func java(t *testing.T, s *scenario) []string {
	t.Helper()
	program := javaProgram(t, s.server, "java")
	_, port, err := net.SplitHostPort(s.run.Addresses.Front)
	if err != nil {
		t.Fatal(err)
	}
	// This client resolves the names itself, also with a proxy: it gets the server's own.
	const host = "mycosmosdbaccount.documents.localhost"
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 "+host+"\n127.0.0.1 mycosmosdbaccount-eastus.documents.localhost\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := append([]string{"env", "ENDPOINT=https://" + host + ":" + port + "/", "java", "-Djdk.net.hosts.file=" + hosts}, program...)
	return append(command, "Read")
}

// javaProgram builds the programs of a directory, and returns the options of java that they need: the
// class path, and a trust store with the server's authority.
func javaProgram(t *testing.T, s *server, project string) []string {
	t.Helper()
	for _, tool := range []string{"java", "mvn", "keytool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(project)); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("mvn", "-q", "-B", "compile", "dependency:build-classpath")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "COMPILATION ERROR") {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Skipf("the packages of %s/pom.xml cannot be had: %v\n%s", project, err, out)
	}
	classpath, err := os.ReadFile(filepath.Join(dir, "target", "classpath"))
	if err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "trust.p12")
	trust := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "latchkey", "-file", filepath.Join(s.dir, "ca.pem"),
		"-keystore", store, "-storetype", "PKCS12", "-storepass", "changeit")
	if out, err := trust.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []string{"-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=changeit", "-XX:TieredStopAtLevel=1",
		"-cp", filepath.Join(dir, "target", "classes") + ":" + strings.TrimSpace(string(classpath))}
}
