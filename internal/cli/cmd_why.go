package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// question is what the verb was asked.
type question struct {
	Principal string `json:"principal"`
	Action    string `json:"action"`
	Resource  string `json:"resource"`
	Address   string `json:"address,omitempty"`
	account   string
}

func newWhy(sh *shell) *cobra.Command {
	var q question
	c := &cobra.Command{
		Use:     "why",
		Short:   "Explain why a principal may do something, or may not",
		GroupID: groupUse,
		Long: `Explain a decision over both gates: the vault's own (firewall, access policies or data roles, the state
of the key) and Resource Manager's (roles on the vault or the account). The code that would decide about
the operation answers; what is missing is shown with the command that would give it.

  latchkey why --principal app1 --action wrapKey --resource https://kv1.vault.azure.net/keys/k1
  latchkey why --principal alice@latchkey.localhost --action Microsoft.DocumentDB/databaseAccounts/write --resource ACCOUNT-ID
  latchkey why --account NAME

With --account alone it is the account's own way to its key. The exit code is 0 when the answer is yes and
1 when it is no. Each question leaves a record; the rights to ask are
Microsoft.KeyVault/vaults/latchkey/why/action and Microsoft.DocumentDB/databaseAccounts/latchkey/why/action.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := q.check(c); err != nil {
				return err
			}
			return sh.why(c.Context(), q)
		},
	}
	sh.cfg.BindData(c.Flags())
	c.Flags().StringVar(&q.Principal, "principal", "", "object id, application id, or `name` of a service principal or user")
	c.Flags().StringVar(&q.Action, "action", "", "`right`: wrapKey, \"secrets get\", a data action, or an action of Resource Manager")
	c.Flags().StringVar(&q.Resource, "resource", "", "`address` of a vault or of something in it, or the resource id of a vault or an account")
	c.Flags().StringVar(&q.Address, "address", "", "`IP` address that the principal comes from; default is this machine's")
	c.Flags().StringVar(&q.account, "account", "", "`name` of an account: can it use its key")
	return c
}

func (q question) check(c *cobra.Command) *problem {
	asked := q.Principal != "" && q.Action != "" && q.Resource != ""
	switch {
	case q.account != "" && q.Principal+q.Action+q.Resource == "":
		return nil
	case q.account != "":
		return usage(c, "--account stands alone")
	case !asked:
		return usage(c, "--principal, --action and --resource are needed, or --account")
	}
	return nil
}

// decision, holder and reportOfWhy are what the server answers.
type decision struct {
	Gate    string `json:"gate"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
	Code    string `json:"code"`
	Remedy  string `json:"remedy"`
}

type holder struct {
	ID    string `json:"principalId"`
	Kind  string `json:"principalType"`
	Name  string `json:"name"`
	Role  string `json:"role"`
	Scope string `json:"scope"`
}

type reportOfWhy struct {
	Allowed   bool `json:"allowed"`
	Principal *struct {
		ObjectID string `json:"objectId"`
		Name     string `json:"name"`
		Kind     string `json:"type"`
	} `json:"principal"`
	Account *struct {
		Name   string `json:"name"`
		KeyURI string `json:"keyUri"`
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"account"`
	Steps []struct {
		Title   string     `json:"step"`
		Allowed bool       `json:"allowed"`
		Gates   []decision `json:"gates"`
	} `json:"steps"`
	Notes     []string `json:"notes"`
	MayChange []holder `json:"mayChangeEncryption"`
	MayOpen   []holder `json:"mayChangeVault"`
}

func (sh *shell) why(ctx context.Context, q question) error {
	m, err := sh.manager(ctx)
	if err != nil {
		return err
	}
	id, err := m.asked(ctx, q)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := m.operate(ctx, id, "why", q, &raw); err != nil {
		return err
	}
	var r reportOfWhy
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if sh.output == outputJSON {
		if err := sh.printJSON(raw); err != nil {
			return err
		}
	} else {
		sh.printWhy(&r)
	}
	if !r.Allowed {
		return &problem{exitFailed, "NotAllowed", "the answer is no", r.firstRemedy()}
	}
	return nil
}

// asked is the resource that answers a question: the vault or the account.
func (m *manager) asked(ctx context.Context, q question) (string, error) {
	if q.account != "" {
		r, err := m.account(ctx, q.account)
		return r.ID, err
	}
	if u, err := url.Parse(q.Resource); err == nil && u.Host != "" {
		name, _, _ := strings.Cut(u.Hostname(), ".")
		return m.vaultID(ctx, name)
	}
	for _, kind := range []string{accountKind, vaultKind} {
		if id, ok := above(q.Resource, kind); ok {
			return id, nil
		}
	}
	return "", &problem{exitUsage, "Usage", fmt.Sprintf("%q is neither in a vault nor an account", q.Resource), "latchkey why --help"}
}

const vaultKind = "Microsoft.KeyVault/vaults"

// above is the id of the resource of a kind that an id is below.
func above(id, kind string) (string, bool) {
	mark := "/providers/" + kind + "/"
	i := strings.Index(strings.ToLower(id), strings.ToLower(mark))
	if i < 0 {
		return "", false
	}
	name, _, _ := strings.Cut(id[i+len(mark):], "/")
	return id[:i+len(mark)] + name, name != ""
}

// vaultID finds a vault by its name.
func (m *manager) vaultID(ctx context.Context, name string) (string, error) {
	all, err := m.list(ctx, vaultKind)
	if err != nil {
		return "", err
	}
	for _, r := range all {
		if strings.EqualFold(r.Name, name) {
			return r.ID, nil
		}
	}
	return "", &problem{exitFailed, "VaultNotFound", fmt.Sprintf("there is no vault %q", name), "az keyvault list; az keyvault list-deleted"}
}

func (r *reportOfWhy) firstRemedy() string {
	for _, s := range r.Steps {
		for _, g := range s.Gates {
			if g.Remedy != "" {
				return g.Remedy
			}
		}
	}
	return ""
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "NO"
}

func (sh *shell) printWhy(r *reportOfWhy) {
	fmt.Fprintf(sh.out, "allowed: %s\n", yesNo(r.Allowed))
	if p := r.Principal; p != nil {
		fmt.Fprintf(sh.out, "principal: %s %s (%s)\n", p.Kind, p.Name, p.ObjectID)
	}
	if a := r.Account; a != nil {
		fmt.Fprintf(sh.out, "account: %s, %s, key %s\n", a.Name, strings.TrimSpace(a.State+" "+a.Reason), orText(a.KeyURI, "of the platform"))
	}
	for _, s := range r.Steps {
		fmt.Fprintf(sh.out, "\n%s: %s\n", s.Title, yesNo(s.Allowed))
		for _, g := range s.Gates {
			fmt.Fprintf(sh.out, "  %-3s %s: %s\n", yesNo(g.Allowed), g.Gate, g.Reason)
			if g.Remedy != "" {
				fmt.Fprintf(sh.out, "      to grant it: %s\n", g.Remedy)
			}
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(sh.out, "\nnote: %s\n", n)
	}
	sh.printHolders("may change the account's encryption", r.MayChange)
	sh.printHolders("may change the vault, and so who uses the key", r.MayOpen)
}

func (sh *shell) printHolders(title string, list []holder) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(sh.out, "\n%s:\n", title)
	for _, h := range list {
		fmt.Fprintf(sh.out, "  %s %s: %s at %s\n", h.Kind, orText(h.Name, h.ID), h.Role, h.Scope)
	}
}
