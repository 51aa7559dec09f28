package test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
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

// TestAZOperations: throughput and network rules with az.
func TestAZOperations(t *testing.T) {
	s := startServer(t, "--emulator")
	az := func(args string) string {
		t.Helper()
		return strings.TrimSpace(s.mustExec(append([]string{"az"}, strings.Fields(args)...)...))
	}
	az("group create -n rg1 -l westeurope -o none")
	az("cosmosdb create -n acct1 -g rg1 -o none")
	az("cosmosdb sql database create -a acct1 -g rg1 -n db1 --throughput 500 -o none")
	az("cosmosdb sql container create -a acct1 -g rg1 -d db1 -n c1 -p /pk --max-throughput 4000 -o none")
	const database, container = "cosmosdb sql database throughput %s -a acct1 -g rg1 -n db1", "cosmosdb sql container throughput %s -a acct1 -g rg1 -d db1 -n c1"
	const manual, autoscale = " --query [resource.throughput,resource.minimumThroughput] -o tsv", " --query [resource.autoscaleSettings.maxThroughput,resource.minimumThroughput] -o tsv"
	for _, c := range []struct{ command, want string }{
		{fmt.Sprintf(database, "show") + manual, "500\n400"},
		{fmt.Sprintf(container, "show") + autoscale, "4000\n1000"},
		{fmt.Sprintf(database, "update") + " --throughput 1200 -o none", ""},
		{fmt.Sprintf(database, "migrate") + " -t autoscale -o none", ""},
		{fmt.Sprintf(database, "show") + autoscale, "2000\n1000"},
		{fmt.Sprintf(container, "update") + " --max-throughput 20000 -o none", ""},
		{fmt.Sprintf(container, "migrate") + " -t manual -o none", ""},
		{fmt.Sprintf(container, "show") + manual, "20000\n400"},
		{"cosmosdb update -n acct1 -g rg1 --ip-range-filter 10.1.2.3,10.2.0.0/16 --query ipRules[].ipAddressOrRange -o tsv", "10.1.2.3\n10.2.0.0/16"},
	} {
		if got := az(c.command); got != c.want {
			t.Errorf("az %s: %q", c.command, got)
		}
	}
	if out, err := s.exec(strings.Fields("az " + fmt.Sprintf(container, "update") + " --max-throughput 5000")...); err == nil || !strings.Contains(out+err.Error(), "migrateToAutoscale") {
		t.Errorf("%v: %s", err, out)
	}
	id := az("cosmosdb show -n acct1 -g rg1 --query id -o tsv") + "/sqlDatabases/db1/containers/c1"
	const version = "?api-version=2025-10-15"
	ranges := func(verb string, args ...string) int {
		t.Helper()
		return strings.Count(s.latchkey(append([]string{"account", verb, "--account", "acct1", "--database", "db1", "--container", "c1"}, args...)...), "\n") - 1
	}
	if n := ranges("split"); n != 3 { // two of its throughput
		t.Errorf("%d ranges after the split", n)
	}
	if n := ranges("merge"); n != 2 {
		t.Errorf("%d ranges after the merge", n)
	}
	if out := az("rest --method post --url " + id + "/partitionMerge" + version + ` --body {"isDryRun":true}`); out != "" && !strings.Contains(out, "Enqueued") && !strings.Contains(out, "storageInKB") {
		t.Errorf("rehearsal: %s", out)
	}
	if out, err := s.exec("az", "rest", "--method", "post", "--url", id+"/throughputSettings/default/redistributeThroughput"+version, "--body", "{}"); err == nil || !strings.Contains(out+err.Error(), "evenly") {
		t.Errorf("%v: %s", err, out)
	}
	read := s.accountReader("acct1", az("cosmosdb keys list -n acct1 -g rg1 --query primaryMasterKey -o tsv"))
	wantBlocked := func(when string, blocked bool) {
		t.Helper()
		err := read()
		var refused *azcore.ResponseError
		if is := errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden && strings.Contains(err.Error(), "firewall settings"); is != blocked || !blocked && err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	wantBlocked("rules for others", true)
	az("cosmosdb update -n acct1 -g rg1 --ip-range-filter 127.0.0.1 -o none")
	wantBlocked("a rule for this machine", false)
	az("cosmosdb update -n acct1 -g rg1 --public-network-access DISABLED -o none")
	wantBlocked("closed", true)
	az("cosmosdb update -n acct1 -g rg1 --public-network-access ENABLED -o none")
	wantBlocked("open", false)
}

// accountReader reads the container of the test above through its account's own name, each time with another
// client: one that was refused once stays so.
func (s *server) accountReader(account, key string) func() error {
	s.t.Helper()
	credential, err := azcosmos.NewKeyCredential(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return func() error {
		client, err := azcosmos.NewClientWithKey("https://"+account+".documents.azure.com:443/", credential, &azcosmos.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: s.client()}})
		if err != nil {
			s.t.Fatal(err)
		}
		container, err := client.NewContainer("db1", "c1")
		if err != nil {
			s.t.Fatal(err)
		}
		_, err = container.Read(s.t.Context(), nil)
		return err
	}
}
