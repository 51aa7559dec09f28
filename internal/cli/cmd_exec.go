package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newExec(sh *shell) *cobra.Command {
	var noLogin bool
	c := &cobra.Command{
		Use:     "exec [flags] -- COMMAND [ARGUMENT...]",
		Short:   "Run a command whose Azure is this server",
		GroupID: groupUse,
		Long: `Run a command in an environment in which everything written for Azure uses this server:

  latchkey exec -- az keyvault list
  latchkey exec -- ./deploy.sh

The command reaches Azure's host names at this server and no other host over https. It gets
the administrator's credentials in the environment and an Azure CLI profile of its own, into
which the Azure CLI, when it is installed, is logged in once. It replaces this process, so
signals and the exit code are its own.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(c, "no command is given")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return sh.exec(c, args, noLogin) },
	}
	sh.cfg.BindData(c.Flags())
	c.Flags().SetInterspersed(false) // what follows the command is the command's
	c.Flags().BoolVar(&noLogin, "no-login", false, "do not log the Azure CLI in")
	return c
}

// exec replaces this process by the command; it returns only when it cannot.
func (sh *shell) exec(c *cobra.Command, args []string, noLogin bool) error {
	set, err := sh.clientVariables()
	if err != nil {
		return err
	}
	program, err := exec.LookPath(args[0])
	if errors.Is(err, fs.ErrPermission) {
		return notRunnable(args[0], err)
	}
	if err != nil {
		return &problem{exitNotFound, "CommandNotFound", fmt.Sprintf("the command %q was not found", args[0]), notFoundHint(args[0])}
	}
	environ := clientEnvironment(sh.environ, set)
	if !noLogin {
		if err := sh.login(c.Context(), environ, set); err != nil {
			if isAzureCLI(program) {
				return err
			}
			fmt.Fprintf(sh.err, "latchkey: warning: %v\n", err)
		}
	}
	return notRunnable(args[0], unix.Exec(program, args, environ))
}

func isAzureCLI(program string) bool {
	name := filepath.Base(program)
	return strings.TrimSuffix(name, filepath.Ext(name)) == "az"
}

func notFoundHint(command string) string {
	if isAzureCLI(command) {
		return "install the Azure CLI, for example with: python3 -m pip install azure-cli"
	}
	return ""
}

func notRunnable(command string, err error) *problem {
	p := &problem{exitNotRunnable, "CommandNotRunnable", fmt.Sprintf("run %q: %v", command, err), ""}
	if errors.Is(err, unix.ENOEXEC) {
		p.hint = "a script needs a first line such as #!/bin/sh"
	}
	return p
}
