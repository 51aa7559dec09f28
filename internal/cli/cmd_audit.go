package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/api/azurelog"
	"github.com/latchkey-db/latchkey/internal/app"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
)

func newAudit(sh *shell) *cobra.Command {
	var last int
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Print and verify the record of every use of a key",
		GroupID: groupUse,
		Long: `Print the audit log, oldest entry first, and verify its chain of hashes. The log is encrypted;
this command needs the root key (see --root-key), and no server. The exit code is 0 only when
the whole chain is intact. With --output json each entry is one line.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return sh.audit(last) },
	}
	sh.cfg.BindKeys(c.Flags())
	c.Flags().IntVar(&last, "last", 0, "print the last `N` entries only; all are verified")
	c.AddCommand(sh.auditExport())
	return c
}

func (sh *shell) auditExport() *cobra.Command {
	var format, vault, since string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write what was done with vaults as Azure's own log records",
		Long: `Write the operations on vaults and what is in them as AuditEvent records of Key Vault, one JSON object a
line, oldest first. The whole chain is verified, as latchkey audit does; needs no server.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "azure" {
				return usage(c, "--format %q: the only format is azure", format)
			}
			f := azurelog.Filter{Vault: vault}
			var err error
			if f.Since, err = moment(since, time.Now()); err != nil {
				return usage(c, "--since: %v", err)
			}
			return sh.exportAudit(f)
		},
	}
	sh.cfg.BindKeys(c.Flags())
	c.Flags().StringVar(&format, "format", "azure", "`form` of the records: azure")
	c.Flags().StringVar(&vault, "vault", "", "`name` of the only vault that matters")
	c.Flags().StringVar(&since, "since", "", "`time` of the oldest entry: 2026-01-31T00:00:00Z, or 24h for a day ago")
	return c
}

// moment reads a time, or how long ago it was; "" is the beginning.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is neither a time (2026-01-31T00:00:00Z) nor a duration (24h)", s)
	}
	return t, nil
}

func (sh *shell) exportAudit(f azurelog.Filter) error {
	out := bufio.NewWriter(sh.out)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	x := azurelog.New(f, func(r azurelog.Record) error { return enc.Encode(r) })
	_, err := app.ReadAudit(sh.cfg, func(e audit.Entry) error { return x.Add(e.Event) })
	if err := errors.Join(sh.auditProblem(err), x.Flush(), out.Flush()); err != nil {
		return err
	}
	return nil
}

// auditProblem says what a failure to read the log means.
func (sh *shell) auditProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &problem{exitNoData, "NoDataDir", fmt.Sprintf("there is no audit log in %q", sh.cfg.DataDir), sh.serveHint()}
	case fault.As(err) != nil:
		return err // the root key does not open
	}
	return &problem{exitFailed, "AuditLogBroken", "the audit log is not intact: " + err.Error(), "keep a copy of the data directory before anything else"}
}

func (sh *shell) audit(last int) error {
	var entries []audit.Entry
	summary, err := app.ReadAudit(sh.cfg, func(e audit.Entry) error {
		entries = append(entries, e)
		if last > 0 && len(entries) > last {
			entries = entries[1:]
		}
		return nil
	})
	if err := sh.auditProblem(err); err != nil {
		return err
	}
	if err := sh.printAudit(entries); err != nil {
		return err
	}
	fmt.Fprintf(sh.err, "%d entries in %d segments, chain intact, last hash %s\n", summary.Entries, summary.Segments, summary.LastHash)
	return nil
}

func (sh *shell) printAudit(entries []audit.Entry) error {
	if sh.output == outputJSON {
		enc := json.NewEncoder(sh.out)
		for _, e := range entries {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(sh.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tOPERATION\tOUTCOME\tCALLER\tVERSION\tRESOURCE")
	for _, e := range entries {
		v := e.Event
		outcome := string(v.Outcome)
		if v.Reason != "" {
			outcome += " (" + v.Reason + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.Time.UTC().Format(time.RFC3339), v.Operation, outcome, v.Caller, v.Version, v.Resource)
	}
	return w.Flush()
}
