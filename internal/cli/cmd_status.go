package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

// The states of a server as its clients see them.
const (
	stateReady    = "ready"
	stateNotReady = "not-ready"
	stateStopped  = "stopped"
)

func newStatus(sh *shell) *cobra.Command {
	c := &cobra.Command{
		Use:     "status",
		Short:   "Say whether the server is ready; exit code 0 only when it is",
		GroupID: groupRun,
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return sh.status(c.Context()) },
	}
	sh.cfg.BindData(c.Flags())
	return c
}

func (sh *shell) status(ctx context.Context) error {
	i, err := sh.find()
	if err != nil {
		sh.printStatus(stateStopped, &instance{dir: sh.cfg.DataDir})
		return err
	}
	if err := i.checkReady(ctx); err != nil {
		sh.printStatus(stateNotReady, i)
		return &problem{exitFailed, "NotReady", "the server is not ready: " + err.Error(), ""}
	}
	sh.printStatus(stateReady, i)
	return nil
}

// printStatus prints the result; of a stopped server there is one in JSON only.
func (sh *shell) printStatus(state string, i *instance) {
	if sh.output == outputJSON {
		result := map[string]any{"state": state, "dataDir": i.dir}
		if state != stateStopped {
			result["pid"], result["version"], result["addresses"] = i.PID, i.Version, i.Addresses
		}
		_ = json.NewEncoder(sh.out).Encode(result)
		return
	}
	if state != stateReady {
		return
	}
	fmt.Fprintf(sh.out, "ready: Latchkey %s, process %d\n", i.Version, i.PID)
	fmt.Fprintf(sh.out, "front  %s\nproxy  %s\n", localURL(i.Addresses.Front), proxyURL(i.Addresses.Proxy))
	if i.Addresses.Emulator != "" {
		fmt.Fprintf(sh.out, "emulator  %s\n", localURL(i.Addresses.Emulator))
	}
}
