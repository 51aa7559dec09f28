package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newAccount(sh *shell) *cobra.Command {
	c := &cobra.Command{
		Use:     "account",
		Short:   "Show, lock, renew or destroy the keys of an account; split and merge ranges",
		GroupID: groupUse,
		Long: `What an operator does with the encryption of an account and the ranges of its containers, beyond what az has. Each verb is an
action of Resource Manager below the account, with a right of its own
(Microsoft.DocumentDB/databaseAccounts/latchkey/VERB/action), and leaves a record.`,
	}
	sh.cfg.BindData(c.PersistentFlags())
	c.AddCommand(
		sh.accountList(), sh.accountShow(),
		sh.accountVerb("lock", "Close an account and keep it closed until it is unlocked", "locked"),
		sh.accountVerb("unlock", "Let a locked account be opened again", "unlocked"),
		sh.accountVerb("retry", "Let a quarantined account be opened again, after a repair", "may be opened again"),
		sh.accountVerb("accept", "Take files as right that are not the ones that were left", "accepted as it is"),
		sh.accountRotate(), sh.accountShred(), sh.accountSplit(), sh.accountMerge(),
	)
	return c
}

// oneAccount demands the name of an account.
func oneAccount(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(c, "one account name is needed")
	}
	return nil
}

// overview is an account as the server shows it to operators.
type overview struct {
	State             string     `json:"state"`
	KeyURI            string     `json:"keyUri"`
	KeyVersion        string     `json:"keyVersion"`
	Identity          string     `json:"identity"`
	Substatus         int        `json:"substatus"`
	Reason            string     `json:"reason"`
	Detail            string     `json:"detail"`
	Since             time.Time  `json:"since"`
	LastKeyCheck      *time.Time `json:"lastKeyCheck"`
	LastKeySuccess    *time.Time `json:"lastKeySuccess"`
	GraceEnds         *time.Time `json:"graceEnds"`
	AccountKeyCreated time.Time  `json:"accountKeyCreated"`
	DataKeys          int        `json:"dataKeys"`
	KeyringCounter    uint64     `json:"keyringCounter"`
	Reencryption      struct {
		State    string `json:"state"`
		Percent  int    `json:"percentComplete"`
		Files    int    `json:"files"`
		FilesOld int    `json:"filesOld"`
		Failure  string `json:"failure"`
	} `json:"reencryption"`
}

// printJSON prints v as one line.
func (sh *shell) printJSON(v any) error { return json.NewEncoder(sh.out).Encode(v) }

func (sh *shell) accountList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the accounts with their state", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return sh.listAccounts(c.Context()) },
	}
}

func (sh *shell) listAccounts(ctx context.Context) error {
	m, err := sh.manager(ctx)
	if err != nil {
		return err
	}
	all, err := m.list(ctx, accountKind)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(sh.out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	if sh.output != outputJSON {
		fmt.Fprintln(w, "ACCOUNT\tSTATE\tKEY\tREASON")
	}
	for _, r := range all {
		var o overview
		if err := m.operate(ctx, r.ID, "show", nil, &o); err != nil {
			return err
		}
		if sh.output == outputJSON {
			if err := sh.printJSON(map[string]any{"account": r.Name, "id": r.ID, "state": o.State, "keyUri": o.KeyURI, "substatus": o.Substatus, "reason": o.Reason}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, o.State, orText(o.KeyURI, "the platform's key"), o.Reason)
	}
	return nil
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (sh *shell) accountShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show how an account stands towards its keys", Args: oneAccount,
		RunE: func(c *cobra.Command, args []string) error {
			return sh.onAccount(c.Context(), args[0], "show", nil, sh.printOverview)
		},
	}
}

// onAccount carries out an operation and prints its report; in JSON as the server gave it.
func (sh *shell) onAccount(ctx context.Context, name, verb string, body any, show func(name string, report json.RawMessage) error) error {
	m, err := sh.manager(ctx)
	if err != nil {
		return err
	}
	r, err := m.account(ctx, name)
	if err != nil {
		return err
	}
	var report json.RawMessage
	if err := m.operate(ctx, r.ID, verb, body, &report); err != nil {
		return err
	}
	if sh.output == outputJSON {
		return sh.printJSON(report)
	}
	return show(r.Name, report)
}

func (sh *shell) printOverview(name string, report json.RawMessage) error {
	var o overview
	if err := json.Unmarshal(report, &o); err != nil {
		return err
	}
	w := tabwriter.NewWriter(sh.out, 0, 8, 2, ' ', 0)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{label}, args...)...)
	}
	row("account", "%s", name)
	row("state", "%s since %s", o.State, o.Since.Format(time.RFC3339))
	if o.Reason != "" {
		row("reason", "%s (%d) %s", o.Reason, o.Substatus, o.Detail)
	}
	row("key", "%s", orText(o.KeyURI, "the platform's key"))
	if o.KeyURI != "" {
		row("key version", "%s", o.KeyVersion)
		row("identity", "%s", o.Identity)
		row("last check", "%s, last success %s", when(o.LastKeyCheck), when(o.LastKeySuccess))
	}
	if o.GraceEnds != nil {
		row("grace ends", "%s", when(o.GraceEnds))
	}
	row("account key", "of %s; the keyring was written %d times", o.AccountKeyCreated.Format(time.RFC3339), o.KeyringCounter)
	row("data keys", "%d", o.DataKeys)
	row("re-encryption", "%s, %d %% (%d of %d files to go) %s", o.Reencryption.State, o.Reencryption.Percent, o.Reencryption.FilesOld, o.Reencryption.Files, o.Reencryption.Failure)
	return w.Flush()
}

func when(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format(time.RFC3339)
}

// accountVerb is a command for an operation without arguments.
func (sh *shell) accountVerb(verb, short, past string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: oneAccount,
		RunE: func(c *cobra.Command, args []string) error {
			return sh.onAccount(c.Context(), args[0], verb, nil, func(name string, _ json.RawMessage) error {
				_, err := fmt.Fprintf(sh.out, "%s: %s\n", name, past)
				return err
			})
		},
	}
}

func (sh *shell) accountRotate() *cobra.Command {
	var accountKey, dataKeys, wait bool
	c := &cobra.Command{
		Use: "rotate NAME", Short: "Renew the account key and the data keys, and re-encrypt what is old", Args: oneAccount,
		Long: `Renew the keys below the customer's key: the account key, the data keys, or, without a flag, both.
New files are under the new data key at once; old ones are re-encrypted in the background, and then
the old data keys are destroyed. To rotate the customer's key itself make a new version of it in its
vault: the account follows by itself.`,
		RunE: func(c *cobra.Command, args []string) error {
			both := !accountKey && !dataKeys
			body := map[string]bool{"accountKey": accountKey || both, "dataKeys": dataKeys || both}
			if err := sh.onAccount(c.Context(), args[0], "rotate", body, sh.printOverview); err != nil || !wait {
				return err
			}
			return sh.awaitReencryption(c.Context(), args[0])
		},
	}
	c.Flags().BoolVar(&accountKey, "account-key", false, "renew the account key")
	c.Flags().BoolVar(&dataKeys, "data-keys", false, "renew the data keys")
	c.Flags().BoolVar(&wait, "wait", false, "return when no file is under an old data key")
	return c
}

// awaitReencryption returns when the old data keys are gone.
func (sh *shell) awaitReencryption(ctx context.Context, name string) error {
	m, err := sh.manager(ctx)
	if err != nil {
		return err
	}
	r, err := m.account(ctx, name)
	if err != nil {
		return err
	}
	for ticker := time.NewTicker(200 * time.Millisecond); ; {
		var o overview
		if err := m.call(ctx, http.MethodGet, r.ID+"/latchkey/show", nil, &o); err != nil {
			return err
		}
		if o.DataKeys == 1 {
			ticker.Stop()
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (sh *shell) accountShred() *cobra.Command {
	var yes string
	c := &cobra.Command{
		Use: "shred NAME", Short: "Destroy an account so that nobody can ever read it again", Args: oneAccount,
		Long: `Destroy the keyring of an account, by overwriting and removing it, and then everything else of the
account. Whoever holds the files, or the customer's key, or both, cannot read them any more. Backups
have keyrings of their own and are not reached. The proof that is printed is in the audit log too.`,
		RunE: func(c *cobra.Command, args []string) error {
			if yes != args[0] {
				return usage(c, "this cannot be undone: repeat the name with --yes %s", args[0])
			}
			return sh.onAccount(c.Context(), args[0], "shred", nil, sh.printProof)
		},
	}
	c.Flags().StringVar(&yes, "yes", "", "the `name` of the account again")
	return c
}

func (sh *shell) printProof(name string, report json.RawMessage) error {
	var p struct {
		Time          time.Time `json:"time"`
		KeyID         string    `json:"keyId"`
		KeyringSHA256 string    `json:"keyringSha256"`
		DataKeys      []string  `json:"dataKeys"`
		Files         int       `json:"files"`
		Bytes         int64     `json:"bytes"`
		KeyringsLeft  int       `json:"keyringsLeft"`
	}
	if err := json.Unmarshal(report, &p); err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%s was destroyed at %s\n  keyring %s is overwritten and removed; %d keyrings are left\n  data keys gone: %v\n  unreadable for good: %d files, %d bytes\n",
		name, p.Time.Format(time.RFC3339), p.KeyringSHA256, p.KeyringsLeft, p.DataKeys, p.Files, p.Bytes)
	if p.KeyID != "" {
		fmt.Fprintf(sh.out, "  the customer's key %s is not touched\n", p.KeyID)
	}
	return nil
}
