package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The official emulator's port, at which its clients' own tests expect it.
const emulatorPort = "127.0.0.1:8081"

// otherwise are the tests of the official client for Go that end in another way here, with the reason
// (docs/COMPAT.md). Each must fail: when one passes, it is to be taken out.
var otherwise = map[string]string{
	"TestAAD": "tokens that are signed with the emulator's public key prove nothing",
	"TestAAD_Emulator_UsesAccountScope_WhenNoAudienceProvided":  "the same",
	"TestContainerFullTextSearch":                               "there is no full-text index yet",
	"TestGlobalEndpointManagerEmulator":                         "the account names the address that the caller used, not 127.0.0.1",
	"TestItemIdEncodingRoutingGW":                               "an id that ends with a blank can be read",
	"TestCrossPartitionQuery":                                   "the last page has no continuation, so there is no empty one behind it",
	"TestCrossPartitionQueryFailsIfGatewayCannotSatisfyRequest": "every query is answered over all partitions",
}

// notTried is the test of a second gateway, which is another product.
const notTried = "TestItemIdEncodingComputeGW"

// TestOfficialEmulatorTests runs the emulator tests of the official client for Go, which travel with its
// module, unmodified, against `latchkey serve --emulator`.
func TestOfficialEmulatorTests(t *testing.T) {
	l, err := net.Listen("tcp", emulatorPort)
	if err != nil {
		t.Skip("the emulator's port is taken: ", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir, names := officialTests(t)
	s := startServer(t, "--emulator", "--emulator-listen", emulatorPort)
	program := filepath.Join(dir, "emulator.test")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the client's tests need modules that the module proxy does not give: %v\n%s", err, out)
	}
	ask := func(names ...string) string {
		run := exec.Command(program, "-test.v", "-test.run", "^("+strings.Join(names, "|")+")$")
		run.Dir, run.Env = dir, append(os.Environ(), "EMULATOR=true", "SSL_CERT_FILE="+filepath.Join(s.dir, "ca.pem"))
		out, _ := run.CombinedOutput()
		return string(out)
	}
	out := ask(slices.DeleteFunc(slices.Clone(names), func(name string) bool { return otherwise[name] != "" })...)
	for _, name := range names {
		if otherwise[name] == "" && !strings.Contains(out, "--- PASS: "+name+" ") {
			t.Errorf("%s does not pass:\n%s", name, section(out, name))
		}
	}
	for name, reason := range otherwise { // by itself: one of them ends the process
		if strings.Contains(ask(name), "--- PASS: "+name+" ") {
			t.Errorf("%s passes: it is no exception any more (%s)", name, reason)
		}
	}
	t.Logf("%d of %d tests pass", len(names)-len(otherwise), len(names)+1)
}

// officialTests copies the client's module and lists its emulator tests.
func officialTests(t *testing.T) (dir string, names []string) {
	t.Helper()
	where, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "azcosmos")
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(where)))); err != nil {
		t.Fatal(err)
	}
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error { // the module cache is read-only
		if err == nil {
			err = os.Chmod(path, info.Mode()|0o200)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "emulator_*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatal("the module has no emulator tests: ", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			if name := string(m[1]); name != notTried {
				names = append(names, name)
			}
		}
	}
	return dir, names
}

// section is what a test printed.
func section(out, name string) string {
	_, rest, _ := strings.Cut(out, fmt.Sprintf("=== RUN   %s\n", name))
	part, _, _ := strings.Cut(rest, "\n=== RUN   Test")
	return part
}
