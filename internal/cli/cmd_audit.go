package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/app"
	"github.com/latchkey-db/latchkey/internal/audit"
)

func newAudit(sh *shell) *cobra.Command {
	var last int
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Print and verify the record of every use of a key",
		GroupID: groupUse,
		Long: `Print the audit log, oldest entry first, and verify its chain of hashes. The log is encrypted;
this command needs the root key in the data directory, and no server. The exit code is 0 only when
the whole chain is intact. With --output json each entry is one line.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return sh.audit(last) },
	}
	sh.cfg.BindData(c.Flags())
	c.Flags().IntVar(&last, "last", 0, "print the last `N` entries only; all are verified")
	return c
}

func (sh *shell) audit(last int) error {
	var entries []audit.Entry
	summary, err := app.ReadAudit(sh.cfg.DataDir, func(e audit.Entry) error {
		entries = append(entries, e)
		if last > 0 && len(entries) > last {
			entries = entries[1:]
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return &problem{exitNoData, "NoDataDir", fmt.Sprintf("there is no audit log in %q", sh.cfg.DataDir), sh.serveHint()}
	}
	if err != nil {
		return &problem{exitFailed, "AuditLogBroken", "the audit log is not intact: " + err.Error(), "keep a copy of the data directory before anything else"}
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
