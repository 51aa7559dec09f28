// Package cli is the command line: one file for each verb (cmd_*.go), and what verbs share.
//
// # The server and the verbs
//
// "serve" is the server; it runs in the foreground and, while it is ready, keeps a note of itself
// (run.json) in the data directory. The other verbs find it by that note: there is no daemon, no
// registry and no default port to guess. A note whose process is gone counts for nothing. What makes
// a verb believe the address in the note is the root certificate in the same directory.
//
// # The environment of a client
//
// "exec" runs a command, and "env" prints the shell's words, with an environment in which everything
// written for Azure reaches this server: the proxy for Azure's host names, trust in the local root,
// the administrator's credentials, and an Azure CLI profile of its own. Variables of any other Azure
// login are taken out: a script that is believed to run here can never reach a real subscription.
//
// # Talking
//
// Results go to standard output, everything else to standard error. A failure is one line
// "latchkey: error: …", then "latchkey: hint: …" where something can be done about it; with
// --output json it is one JSON object. Exit codes are in [exitCodes]; the process exits in one
// place, which is main. Verbs return errors, and [shell.classify] alone decides what they mean.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/front"
)

// Server is a running server.
type Server interface {
	Addresses() front.Addresses
	Stop(ctx context.Context) error
}

// Starter starts a server; it returns when the server is ready.
type Starter func(ctx context.Context, cfg config.Config) (Server, error)

// The values of --output.
const (
	outputText = "text"
	outputJSON = "json"
)

// The groups of verbs in the help text.
const (
	groupRun = "run"
	groupUse = "use"
)

// shell is one invocation of the program: what it was given and what its flags say.
type shell struct {
	start   Starter
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ []string

	cfg    config.Config
	output string
}

// commands lists the verbs in the order of the help text.
var commands = []func(*shell) *cobra.Command{
	newServe, newDemo, newStatus, newExec, newEnv, newAccount, newVerify, newBackup, newRestore, newDrill, newFault, newWhy, newQuery, newBench, newAudit, newRootKey, newVersion, newExitCodes,
}

// Main runs the program with the process's own arguments, environment and streams, and returns the
// exit code.
func Main(start Starter) int {
	sh := &shell{start: start, in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}
	return sh.run(context.Background(), os.Args[1:])
}

// run executes args and reports a failure; it returns the exit code.
func (sh *shell) run(ctx context.Context, args []string) int {
	root := sh.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	p := sh.classify(err)
	if sh.output == outputJSON || wantsJSON(args) {
		p.printJSON(sh.err)
	} else {
		p.print(sh.err)
	}
	return p.exit
}

func (sh *shell) root() *cobra.Command {
	sh.cfg = config.Default(sh.getenv)
	root := &cobra.Command{
		Use:               "latchkey",
		Short:             "A document database whose data its customers lock with keys of their own",
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.ArbitraryArgs, // so that RunE can answer an unknown verb
		RunE:              unknownVerb,
		PersistentPreRunE: sh.prepare,
	}
	root.SetIn(sh.in)
	root.SetOut(sh.out)
	root.SetErr(sh.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%v", err) })
	root.PersistentFlags().StringVarP(&sh.output, "output", "o", outputText, "`form` of results and errors: text or json")
	root.AddGroup(&cobra.Group{ID: groupRun, Title: "Run a server:"}, &cobra.Group{ID: groupUse, Title: "Use it:"})
	for _, command := range commands {
		root.AddCommand(command(sh))
	}
	return root
}

// prepare completes the flags of the chosen verb from the environment and checks what all verbs
// share.
func (sh *shell) prepare(c *cobra.Command, _ []string) error {
	if err := config.Overlay(c.Flags(), sh.lookup); err != nil {
		return err
	}
	sh.cfg.ReadSecrets(sh.lookup)
	sh.askPassphrases()
	if sh.output != outputText && sh.output != outputJSON {
		return usage(c, "--output %q is neither text nor json", sh.output)
	}
	if sh.cfg.DataDir == "" {
		return nil // config.Validate and find report it where it matters
	}
	dir, err := filepath.Abs(sh.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	sh.cfg.DataDir = dir
	return nil
}

// unknownVerb is what the program does without a known verb.
func unknownVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	p := usage(c, "unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		p.hint = "latchkey " + near[0]
	}
	return p
}

// noArguments refuses arguments as wrong usage.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(c, "unexpected argument %q", args[0])
	}
	return nil
}

// lookup finds a variable in the environment; of several with one name the last counts.
func (sh *shell) lookup(name string) (string, bool) {
	for i := len(sh.environ) - 1; i >= 0; i-- {
		if n, value, _ := strings.Cut(sh.environ[i], "="); n == name {
			return value, true
		}
	}
	return "", false
}

func (sh *shell) getenv(name string) string {
	value, _ := sh.lookup(name)
	return value
}

// wantsJSON finds --output json in arguments that could not be parsed.
func wantsJSON(args []string) bool {
	for i, a := range args {
		switch {
		case a == "--":
			return false
		case a == "--output=json", a == "-o=json", a == "-ojson":
			return true
		case (a == "--output" || a == "-o") && i+1 < len(args):
			return args[i+1] == outputJSON
		}
	}
	return false
}
