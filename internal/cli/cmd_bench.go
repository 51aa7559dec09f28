package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/latchkey-db/latchkey/internal/load"
)

// stress is what the verb was asked.
type stress struct {
	cfg      load.Config
	workload string
	ca       string
	insecure bool
	keyFile  string
	noLoad   bool
}

func newBench(sh *shell) *cobra.Command {
	var s stress
	names := make([]string, len(load.Workloads))
	for i, w := range load.Workloads {
		names[i] = w.Name
	}
	c := &cobra.Command{
		Use:     "bench",
		Short:   "Measure a database that speaks the data plane of Cosmos DB",
		GroupID: groupUse,
		Long: `Measure any Cosmos-compatible endpoint over HTTPS with the mixes A to F of YCSB, or with plain loads:

  a  half reads, half writes        d  reads of the latest, 5 % inserts
  b  95 % reads, 5 % writes         e  95 % short scans, 5 % inserts
  c  reads                          f  half reads, half read-modify-write
  read, upsert, mixed (95/5): every document as often as another

The records are written first, into a database of their own that is removed at the end. Every answer is checked:
wrong answers and errors are told, and end the verb with an error. 429 is waited for and counted apart.

  latchkey bench --endpoint https://localhost:8081 --key KEY --ca ~/.latchkey/ca.pem --workload b
  latchkey bench --endpoint https://NAME.documents.azure.com --key-file key.txt --workload a --clients 64 --output json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			i := slices.Index(names, strings.ToLower(s.workload))
			if i < 0 {
				return usage(c, "there is no workload %q; there are %s", s.workload, strings.Join(names, ", "))
			}
			s.cfg.Workload = load.Workloads[i]
			if s.cfg.Target.Endpoint == "" {
				return usage(c, "--endpoint is needed")
			}
			return sh.bench(c.Context(), s)
		},
	}
	t := &s.cfg.Target
	f := c.Flags()
	f.StringVar(&t.Endpoint, "endpoint", "", "`address` of the account")
	f.StringVar(&t.Key, "key", "", "the account's `key`; others who use this machine can see it: prefer --key-file")
	f.StringVar(&s.keyFile, "key-file", "", "`file` that holds the account's key")
	f.StringVar(&s.ca, "ca", "", "`file` of the certificate authority to trust besides the system's")
	f.BoolVar(&s.insecure, "insecure", false, "trust any certificate")
	f.StringVar(&t.Database, "database", "latchkey-bench", "`name` of the database")
	f.StringVar(&t.Container, "container", "usertable", "`name` of the container")
	f.StringVar(&s.workload, "workload", "b", "`mix`: "+strings.Join(names, ", "))
	f.Uint64Var(&s.cfg.Records, "records", 10_000, "`number` of documents")
	f.IntVar(&s.cfg.Clients, "clients", 16, "`number` of requests at once")
	f.DurationVar(&s.cfg.Duration, "duration", 30*time.Second, "how `long` to measure")
	f.IntVar(&s.cfg.Size, "size", 1024, "size of a document in `bytes`, about")
	f.Uint64Var(&s.cfg.Seed, "seed", 1, "`number` that the choice of documents comes from")
	f.BoolVar(&s.noLoad, "no-load", false, "the records are there from an earlier run with --keep")
	f.BoolVar(&s.cfg.Keep, "keep", false, "leave the database at the end")
	return c
}

func (sh *shell) bench(ctx context.Context, s stress) error {
	s.cfg.Load = !s.noLoad
	if s.keyFile != "" {
		raw, err := os.ReadFile(s.keyFile)
		if err != nil {
			return err
		}
		s.cfg.Target.Key = strings.TrimSpace(string(raw))
	}
	s.cfg.Target.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.insecure}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return err
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM(pem)
		s.cfg.Target.TLS.RootCAs = roots
	}
	if terminal, ok := sh.err.(*os.File); ok && term.IsTerminal(int(terminal.Fd())) {
		s.cfg.Progress = sh.bar
	}
	r, err := load.Run(ctx, s.cfg)
	if err != nil {
		return &problem{exitFailed, "NotMeasured", err.Error(), ""}
	}
	if err := sh.printReport(r); err != nil {
		return err
	}
	if r.Failed() {
		return &problem{exitFailed, "WrongAnswers", fmt.Sprintf("%d answers were wrong, %d kinds of errors", r.WrongCount, len(r.Errors)), ""}
	}
	return nil
}

// bar shows how far it is, on one line.
func (sh *shell) bar(what string, share float64, operations uint64) {
	const width = 40
	full := int(share * width)
	end := ""
	if share >= 1 {
		end = "\n"
	}
	fmt.Fprintf(sh.err, "\r%-9s [%s%s] %3.0f %% %12d%s", what, strings.Repeat("#", full), strings.Repeat(" ", width-full), share*100, operations, end)
}

func (sh *shell) printReport(r load.Report) error {
	if sh.output == outputJSON {
		return sh.printJSON(r)
	}
	fmt.Fprintf(sh.out, "workload %s, %d records of about %d bytes, %d clients, %.1f s\n%.0f operations/s, %.1f RU an operation, %d throttled, %d conflicts\n\n",
		r.Workload, r.Records, r.Size, r.Clients, r.Seconds, r.Throughput, r.Charge/max(1, float64(r.Operations)), r.Throttled, r.Conflicts)
	w := tabwriter.NewWriter(sh.out, 2, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "operation\tcount\tmean ms\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, k := range r.Kinds() {
		l := r.Latencies[k]
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", k, l.Count, l.Mean, l.P50, l.P90, l.P99, l.P999, l.Max)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for e, n := range r.Errors {
		fmt.Fprintf(sh.out, "error   %s: %d\n", e, n)
	}
	for _, e := range r.Wrong {
		fmt.Fprintf(sh.out, "wrong   %s\n", e)
	}
	return nil
}
