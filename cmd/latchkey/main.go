// Command latchkey is the whole product in one binary: the server, and the verbs that use it.
package main

import (
	"context"
	"os"

	"github.com/latchkey-db/latchkey/internal/app"
	"github.com/latchkey-db/latchkey/internal/cli"
	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/obs"
)

func main() { os.Exit(cli.Main(start)) }

// start is app.Start with a log on standard error. On an error it returns no server at all: a nil
// *app.Server in the interface would be one.
func start(ctx context.Context, cfg config.Config) (cli.Server, error) {
	s, err := app.Start(ctx, cfg, obs.NewLogger(os.Stderr, cfg.LogLevel, cfg.LogFormat))
	if err != nil {
		return nil, err
	}
	return s, nil
}
