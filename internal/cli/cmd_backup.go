package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newBackup(sh *shell) *cobra.Command {
	var account, to string
	c := &cobra.Command{
		Use:     "backup",
		Short:   "Copy an account, encrypted as it is, to a directory",
		GroupID: groupUse,
		Long: `Copy an account to a new directory while it serves: its files as they are on the disk, its keyring,
still wrapped by the customer's key, and a manifest that is authenticated under the account key. The
directory can be kept anywhere; it can be read only where the customer's key may be used.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if account == "" || to == "" {
				return usage(c, "--account and --to are needed")
			}
			dir, err := filepath.Abs(to)
			if err != nil {
				return err
			}
			return sh.onAccount(c.Context(), account, "backup", map[string]string{"directory": dir}, func(name string, report json.RawMessage) error {
				return sh.printBackup("%s was copied to "+dir+": %d files, %d bytes, under %s\n", name, report)
			})
		},
	}
	sh.cfg.BindData(c.Flags())
	c.Flags().StringVar(&account, "account", "", "`name` of the account")
	c.Flags().StringVar(&to, "to", "", "`directory` that does not exist yet")
	return c
}

func (sh *shell) printBackup(format, name string, report json.RawMessage) error {
	var b struct {
		KeyID string `json:"keyId"`
		Files []struct {
			Bytes int64 `json:"bytes"`
		} `json:"files"`
	}
	if err := json.Unmarshal(report, &b); err != nil {
		return err
	}
	total := int64(0)
	for _, f := range b.Files {
		total += f.Bytes
	}
	_, err := fmt.Fprintf(sh.out, format, name, len(b.Files), total, orText(b.KeyID, "the platform's root key"))
	return err
}

func newRestore(sh *shell) *cobra.Command {
	var account, group, from, keyURI string
	c := &cobra.Command{
		Use:     "restore",
		Short:   "Make a new account out of a backup",
		GroupID: groupUse,
		Long: `Make a new account with the content of a backup. The key that the backup is under must be usable, in
the version of that time, by the database's own principal. The new account has new keys of its own
below the same customer's key, or below another one with --key-uri; its master keys are new.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if account == "" || group == "" || from == "" {
				return usage(c, "--account, --resource-group and --from are needed")
			}
			return sh.restore(c.Context(), account, group, from, keyURI)
		},
	}
	sh.cfg.BindData(c.Flags())
	c.Flags().StringVar(&account, "account", "", "`name` of the new account")
	c.Flags().StringVar(&group, "resource-group", "", "its resource `group`")
	c.Flags().StringVar(&from, "from", "", "`directory` of the backup")
	c.Flags().StringVar(&keyURI, "key-uri", "", "another customer's key, as `URI`")
	return c
}

func (sh *shell) restore(ctx context.Context, account, group, from, keyURI string) error {
	dir, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	m, err := sh.manager(ctx)
	if err != nil {
		return err
	}
	var report json.RawMessage
	body := map[string]string{"directory": dir, "keyUri": keyURI}
	if err := m.operate(ctx, m.newAccountID(group, account), "restore", body, &report); err != nil {
		return err
	}
	if sh.output == outputJSON {
		return sh.printJSON(report)
	}
	return sh.printBackup("%s was made from "+dir+": %d files, %d bytes, that were under %s\n", account, report)
}
