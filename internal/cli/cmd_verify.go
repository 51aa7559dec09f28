package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/app"
)

func newVerify(sh *shell) *cobra.Command {
	var only string
	c := &cobra.Command{
		Use:     "verify",
		Short:   "Authenticate every byte on the disk and print the chain of trust",
		GroupID: groupUse,
		Long: `Authenticate every block of every file of every account, the control store and the audit log; check
that nothing else is in the data directory, so that no plaintext is left; and print, for an auditor,
which key in which vault leads to which files. The accounts' keys are used as always: by asking their
vaults. A running server does the work; where none is running, this process starts one for itself on
free local ports. The exit code is 0 only when all is well, and 12 when all that is wrong is that an
account's key may not be used.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return sh.verify(c.Context(), only) },
	}
	sh.cfg.BindKeys(c.Flags())
	c.Flags().StringVar(&only, "account", "", "verify this `account` only, and not the platform's own files")
	return c
}

// chain is what the server found of one account.
type chain struct {
	Name string `json:"name"`
	// Denied is why the account's files could not be read; "" when they were.
	Denied        string    `json:"denied,omitempty"`
	State         string    `json:"state"`
	KeyURI        string    `json:"keyUri,omitempty"`
	KeyID         string    `json:"keyId,omitempty"`
	WrapAlgorithm string    `json:"wrapAlgorithm,omitempty"`
	Created       time.Time `json:"accountKeyCreated"`
	KeyringSHA256 string    `json:"keyringSha256,omitempty"`
	DataKeys      []struct {
		ID      string    `json:"id"`
		Created time.Time `json:"created"`
		State   string    `json:"state"`
		Files   int       `json:"files"`
		Bytes   int64     `json:"bytes"`
	} `json:"dataKeys"`
	Files []struct {
		Name    string `json:"name"`
		Kind    string `json:"kind"`
		DataKey string `json:"dataKey"`
		Bytes   int64  `json:"bytes"`
		State   string `json:"state"`
	} `json:"files"`
	Bytes    int64    `json:"bytes"`
	Content  string   `json:"content,omitempty"`
	Problems []string `json:"problems"`
}

// findings are the result of a verification.
type findings struct {
	OK       bool              `json:"ok"`
	Accounts []*chain          `json:"accounts"`
	Platform *app.Verification `json:"platform,omitempty"`
}

func (sh *shell) verify(ctx context.Context, only string) error {
	m, stop, err := sh.managerOrOwn(ctx)
	if err != nil {
		return err
	}
	defer stop()
	f := &findings{OK: true, Accounts: []*chain{}}
	all, err := m.list(ctx, accountKind)
	if err != nil {
		return err
	}
	for _, r := range all {
		if only != "" && !strings.EqualFold(r.Name, only) {
			continue
		}
		c, err := m.verify(ctx, r)
		if err != nil {
			return err
		}
		f.Accounts = append(f.Accounts, c)
	}
	if only == "" {
		if f.Platform, err = app.Verify(sh.cfg); err != nil {
			return err
		}
	} else if len(f.Accounts) == 0 {
		_, err := m.account(ctx, only)
		return err
	}
	return sh.conclude(f)
}

// managerOrOwn is the manager of the running server, or of one that is started for the purpose.
func (sh *shell) managerOrOwn(ctx context.Context) (*manager, func(), error) {
	m, err := sh.manager(ctx)
	var p *problem
	if !errors.As(err, &p) || p.code != "NotRunning" {
		return m, func() {}, err
	}
	cfg := sh.cfg
	cfg.Listen, cfg.ProxyListen, cfg.Emulator = "127.0.0.1:0", "127.0.0.1:0", false
	server, err := sh.start(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	stop := func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = server.Stop(stopping)
	}
	m, err = (&instance{dir: sh.cfg.DataDir, Addresses: server.Addresses()}).manager(ctx)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return m, stop, nil
}

// verify asks for one account. That its key may not be used is a finding.
func (m *manager) verify(ctx context.Context, r resource) (*chain, error) {
	c := &chain{Name: r.Name}
	err := m.operate(ctx, r.ID, "verify", nil, c)
	var denied *refusedError
	if errors.As(err, &denied) {
		c.Denied = denied.message
		var o overview
		if err := m.operate(ctx, r.ID, "show", nil, &o); err != nil {
			return nil, err
		}
		c.State, c.KeyURI = o.State, o.KeyURI
		return c, nil
	}
	return c, err
}

// conclude prints the findings and says with its error whether all is well.
func (sh *shell) conclude(f *findings) error {
	bad, denied := 0, 0
	for _, c := range f.Accounts {
		bad += len(c.Problems)
		if c.Denied != "" {
			denied++
		}
	}
	if f.Platform != nil {
		bad += len(f.Platform.Problems)
	}
	f.OK = bad == 0 && denied == 0
	if err := sh.printFindings(f); err != nil {
		return err
	}
	switch {
	case bad > 0:
		return &problem{exitFailed, "VerificationFailed", fmt.Sprintf("%d problems were found", bad), "keep a copy of the data directory before anything else"}
	case denied > 0:
		return &problem{exitKeyDenied, "KeyDenied", fmt.Sprintf("the files of %d accounts could not be read", denied), "latchkey account list"}
	}
	return nil
}

func (sh *shell) printFindings(f *findings) error {
	if sh.output == outputJSON {
		return sh.printJSON(f)
	}
	w := tabwriter.NewWriter(sh.out, 0, 8, 2, ' ', 0)
	for _, c := range f.Accounts {
		c.print(w)
	}
	if p := f.Platform; p != nil {
		fmt.Fprintf(w, "platform\n  control store\t%d files, %d bytes, every block authentic\n  audit log\t%d entries, chain intact, last hash %s\n",
			p.ControlFiles, p.ControlBytes, p.AuditEntries, p.AuditHash)
		printProblems(w, p.Problems)
	}
	return w.Flush()
}

func (c *chain) print(w *tabwriter.Writer) {
	fmt.Fprintf(w, "account %s (%s)\n", c.Name, c.State)
	fmt.Fprintf(w, "  key\t%s\n", orText(c.KeyID, orText(c.KeyURI, "the platform's root key")))
	if c.Denied != "" {
		fmt.Fprintf(w, "  LOCKED\t%s\n", c.Denied)
		return
	}
	fmt.Fprintf(w, "  -> account key\tof %s, wrapped with %s; keyring %s\n", c.Created.Format(time.RFC3339), c.WrapAlgorithm, c.KeyringSHA256)
	for _, d := range c.DataKeys {
		fmt.Fprintf(w, "     -> data key %s\tof %s, %s: %d files, %d bytes\n", d.ID, d.Created.Format(time.RFC3339), d.State, d.Files, d.Bytes)
		for _, f := range c.Files {
			if f.DataKey == d.ID {
				fmt.Fprintf(w, "        -> %s\t%s, %d bytes, %s\n", f.Name, f.Kind, f.Bytes, f.State)
			}
		}
	}
	fmt.Fprintf(w, "  content\t%s\n", c.Content)
	printProblems(w, c.Problems)
}

func printProblems(w *tabwriter.Writer, problems []string) {
	for _, p := range problems {
		fmt.Fprintf(w, "  PROBLEM\t%s\n", p)
	}
}
