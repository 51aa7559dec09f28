package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/front"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// stopTimeout is how long requests in flight may take after the first signal.
const stopTimeout = 20 * time.Second

func newServe(sh *shell) *cobra.Command {
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run the server in the foreground",
		GroupID: groupRun,
		Long: `Run the server in the foreground. It makes the data directory when there is none.

Every flag has a name in the environment too: --key-grace is LATCHKEY_KEY_GRACE.
The first interrupt or termination signal lets requests finish, the second ends at once.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if key := sh.getenv(config.Prefix + "WEBHOOK_SECRET"); key != "" {
				sh.cfg.WebhookKey = secret.From([]byte(key))
			}
			return sh.serve(c.Context())
		},
	}
	sh.cfg.Bind(c.Flags())
	return c
}

// serve runs a server until a signal comes.
func (sh *shell) serve(parent context.Context) (err error) {
	if err := sh.cfg.Validate(); err != nil {
		return err
	}
	ctx, release := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	defer release()
	server, err := sh.start(ctx, sh.cfg)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(parent), stopTimeout)
		defer cancel()
		err = errors.Join(err, server.Stop(stopping))
	}()
	if err := announce(sh.cfg.DataDir, server.Addresses()); err != nil {
		return err
	}
	sh.welcome(server.Addresses())
	<-ctx.Done()
	release() // from here on a signal has its usual effect: the end
	return withdraw(sh.cfg.DataDir)
}

// welcome prints where the server is and what to do with it.
func (sh *shell) welcome(a front.Addresses) {
	if sh.output == outputJSON {
		_ = json.NewEncoder(sh.out).Encode(note(a))
		return
	}
	fmt.Fprintf(sh.out, "Latchkey %s is ready.\n\n", version())
	for _, line := range [][2]string{
		{"front", localURL(a.Front)}, {"proxy", proxyURL(a.Proxy)}, {"emulator", localURL(a.Emulator)}, {"data", sh.cfg.DataDir},
	} {
		if line[1] != "" {
			fmt.Fprintf(sh.out, "  %-9s %s\n", line[0], line[1])
		}
	}
	fmt.Fprintf(sh.out, `
What is written for Azure runs against it unchanged, from another terminal:

  latchkey exec%[1]s -- az group create --name rg1 --location westeurope
  eval "$(latchkey env%[1]s)"

Interrupt to stop.
`, sh.dataFlag())
}

func proxyURL(address string) string {
	if address == "" {
		return ""
	}
	return "http://" + address
}

// isDefaultData reports whether commands without --data find the data directory.
func (sh *shell) isDefaultData() bool {
	if dir, ok := sh.lookup(config.Variable("data")); ok && dir != "" {
		return dir == sh.cfg.DataDir
	}
	return config.Default(sh.getenv).DataDir == sh.cfg.DataDir
}
