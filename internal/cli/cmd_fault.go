package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// disturbance is what the server is asked for, and what it shows.
type disturbance struct {
	Throttle  int       `json:"throttlePercent,omitempty"`
	Outage    string    `json:"outage,omitempty"`
	Latency   int64     `json:"latencyMs,omitempty"`
	For       int64     `json:"forSeconds,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Clear     bool      `json:"clear,omitempty"`
	Disturbed int64     `json:"disturbed,omitempty"`
}

func newFault(sh *shell) *cobra.Command {
	c := &cobra.Command{Use: "fault", Short: "Make a vault fail, to rehearse", GroupID: groupUse}
	sh.cfg.BindData(c.PersistentFlags())
	c.AddCommand(sh.faultVault())
	return c
}

func (sh *shell) faultVault() *cobra.Command {
	var name, throttle string
	var want disturbance
	var show bool
	var latency, lasts time.Duration
	c := &cobra.Command{
		Use:   "vault",
		Short: "Throttle, delay or cut off a vault's data plane for a while",
		Long: `Make the data plane of a vault answer 429 to some requests, answer late, or not answer at all, for every
client: applications, and the accounts whose key is in it. It ends by itself (--for), with --clear, or when
the server stops. The server must have been started with --allow-faults; the right is
Microsoft.KeyVault/vaults/latchkey/fault/action, and every use leaves a record.

With --outage an account goes on for --key-grace and is then closed until the vault answers again:

  latchkey fault vault --name kv1 --outage --for 5m; latchkey account show NAME`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if throttle != "" {
				if want.Throttle, err = strconv.Atoi(strings.TrimSuffix(throttle, "%")); err != nil {
					return usage(c, "--throttle %q is no percentage", throttle)
				}
			}
			want.Latency, want.For = latency.Milliseconds(), int64(lasts/time.Second)
			wants := want.Throttle > 0 || want.Outage != "" || want.Latency > 0
			if name == "" || countTrue(wants, want.Clear, show) != 1 {
				return usage(c, "--name is needed, and one of: faults (--throttle, --outage, --latency), --clear, --show")
			}
			return sh.disturbVault(c.Context(), name, want)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "`name` of the vault")
	f.StringVar(&throttle, "throttle", "", "answer so many `percent` of the requests with 429")
	f.StringVar(&want.Outage, "outage", "", "cut connections without an answer (reset), or answer `503`")
	f.Lookup("outage").NoOptDefVal = "reset"
	f.DurationVar(&latency, "latency", 0, "`time` to wait before each answer")
	f.DurationVar(&lasts, "for", 0, "`time` after which it ends; default 10m")
	f.BoolVar(&want.Clear, "clear", false, "end it now")
	f.BoolVar(&show, "show", false, "show what is set")
	return c
}

func countTrue(list ...bool) (n int) {
	for _, x := range list {
		if x {
			n++
		}
	}
	return n
}

func (sh *shell) disturbVault(ctx context.Context, name string, want disturbance) error {
	m, err := sh.manager(ctx)
	if err != nil {
		return err
	}
	id, err := m.vaultID(ctx, name)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := m.operate(ctx, id, "fault", want, &raw); err != nil {
		return err
	}
	if sh.output == outputJSON {
		return sh.printJSON(raw)
	}
	var d disturbance
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	if d.Until.IsZero() {
		_, err = fmt.Fprintf(sh.out, "%s: not disturbed\n", name)
		return err
	}
	_, err = fmt.Fprintf(sh.out, "%s: throttle %d %%, outage %s, latency %d ms, until %s; %d requests met it\n",
		name, d.Throttle, orText(d.Outage, "none"), d.Latency, d.Until.Format(time.RFC3339), d.Disturbed)
	return err
}
