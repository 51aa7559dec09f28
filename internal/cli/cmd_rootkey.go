package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/app"
	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/rootkey"
)

func newRootKey(sh *shell) *cobra.Command {
	c := &cobra.Command{
		Use:     "rootkey",
		Short:   "Show, renew or protect otherwise the key of the platform itself",
		GroupID: groupUse,
		Long: `The root key opens what the platform keeps for itself: the control store, the audit log, and the
accounts without a customer's key. It is protected by the permissions of a file (file, file:PATH), by
a passphrase, or by a key in a PKCS #11 token (pkcs11:…). Who loses it loses all of that.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRootKeyShow(sh), newRootKeyRotate(sh))
	return c
}

func newRootKeyShow(sh *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show how the root key is protected, and no secret",
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return sh.rootKeyShow() },
	}
	sh.cfg.BindData(c.Flags())
	return c
}

func newRootKeyRotate(sh *shell) *cobra.Command {
	var x app.RootKeyRotation
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new root key, or protect it otherwise; no server may be running",
		Long: `Make a new root key and new platform keys. Nothing that is written from then on can be opened with
the old root key. What was written before stays under the keys before, which the new root key opens;
with --reseal the control store and the audit log are encrypted again, and those keys are destroyed.
Accounts without a customer's key get new keys at the next start of the server.

An interrupted rotation leaves the old root key in force or the new one; the next start tidies up.

--to changes the protection, or the passphrase: passphrase asks for a new one, which also comes from
LATCHKEY_NEW_ROOT_PASSPHRASE or the file that --new-root-passphrase-file names. The present one comes
as it does for serve.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return sh.rootKeyRotate(c.Context(), x) },
	}
	sh.cfg.BindKeys(c.Flags())
	c.Flags().StringVar(&x.To, "to", "", "`protection` from now on: file, file:PATH, passphrase or a pkcs11: URI; default: as it is")
	c.Flags().StringVar(&x.PassphraseFile, "new-root-passphrase-file", "", "`file` whose first line is the new passphrase")
	c.Flags().BoolVar(&x.Reseal, "reseal", false, "encrypt the control store and the audit log again, and destroy the keys before; older backups of accounts without a customer's key become unreadable")
	return c
}

func (sh *shell) rootKeyShow() error {
	d, err := app.DescribeRootKey(sh.cfg)
	if err != nil {
		return sh.noRootKey(err)
	}
	return sh.printRootKey(d)
}

func (sh *shell) rootKeyRotate(ctx context.Context, x app.RootKeyRotation) error {
	x.Passphrase = config.Secret(sh.lookup, config.NewRootPassphraseVariable)
	x.Ask = sh.askNewPassphrase()
	before, err := app.DescribeRootKey(sh.cfg)
	if err != nil {
		return sh.noRootKey(err)
	}
	d, err := app.RotateRootKey(ctx, sh.cfg, x)
	if fault.Is(err, app.ReasonLocked) {
		return &problem{exitLocked, app.ReasonLocked, "a server is running on the data directory; the root key was not touched", "stop the server, and try again"}
	}
	if err != nil {
		return err
	}
	if err := sh.printRootKey(d); err != nil {
		return err
	}
	if before.Protection != d.Protection && before.Protection != "file" && before.Protection != "passphrase" {
		fmt.Fprintf(sh.err, "%s is not used any more; backups from before need it\n", before.Protection)
	}
	fmt.Fprintf(sh.err, "take a new backup of %s and %s; the one from before does not open what is written now\n", rootkey.KeyName, rootkey.RingName)
	return nil
}

// noRootKey is the problem of a directory that is not there.
func (sh *shell) noRootKey(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &problem{exitNoData, "NoDataDir", fmt.Sprintf("there is no root key in %q", sh.cfg.DataDir), sh.serveHint()}
	}
	return err
}

func (sh *shell) printRootKey(d *rootkey.Description) error {
	if sh.output == outputJSON {
		return sh.printJSON(d)
	}
	w := tabwriter.NewWriter(sh.out, 0, 8, 2, ' ', 0)
	created := "not known"
	if !d.Created.IsZero() {
		created = d.Created.Format(time.RFC3339)
	}
	for _, line := range [][2]string{{"protection", d.Protection}, {"created", created}, {"work factor", d.WorkFactor}, {"wrapped with", d.Wrapping}} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
		}
	}
	if !d.Ring {
		fmt.Fprintln(w, "ring\tnone: the directory is from before there was one; the first rotation makes it")
	}
	if d.Interrupted {
		fmt.Fprintln(w, "rotation\tinterrupted; the next start of the server tidies up")
	}
	return w.Flush()
}
