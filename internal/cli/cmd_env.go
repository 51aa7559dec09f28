package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// dialect is how a shell's language sets and removes a variable.
type dialect struct {
	set   func(name, value string) string
	unset func(name string) string
}

var posix = dialect{
	set:   func(name, value string) string { return "export " + name + "=" + quotePOSIX(value) },
	unset: func(name string) string { return "unset " + name },
}

// dialects are the languages that env can write.
var dialects = map[string]dialect{
	"bash": posix, "sh": posix, "zsh": posix,
	"fish": {
		set: func(name, value string) string {
			return "set -gx " + name + " '" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
		},
		unset: func(name string) string { return "set -e " + name },
	},
	"powershell": {
		set: func(name, value string) string {
			return "$env:" + name + " = '" + strings.ReplaceAll(value, "'", "''") + "'"
		},
		unset: func(name string) string { return "Remove-Item Env:" + name },
	},
}

// quotePOSIX quotes s for a POSIX shell; what needs no quotes stays as it is.
func quotePOSIX(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func newEnv(sh *shell) *cobra.Command {
	var language string
	var noSecrets bool
	c := &cobra.Command{
		Use:     "env",
		Short:   "Print the environment in which Azure's tools use the server",
		GroupID: groupUse,
		Long: `Print the environment in which Azure's tools use the server, in a shell's language:

  eval "$(latchkey env)"
  latchkey env --shell fish | source

Variables of another Azure login are unset. The output holds the administrator's secret,
because Azure's SDKs expect it in the environment: do not print it where others look on,
or leave it out with --no-secrets. Nothing is hidden from a terminal.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			d, ok := dialects[language]
			if !ok {
				return usage(c, "--shell %q is none of bash, sh, zsh, fish, powershell", language)
			}
			return sh.printEnv(d, noSecrets)
		},
	}
	sh.cfg.BindData(c.Flags())
	c.Flags().StringVar(&language, "shell", "bash", "`language`: bash, sh, zsh, fish or powershell")
	c.Flags().BoolVar(&noSecrets, "no-secrets", false, "leave secrets out")
	return c
}

func (sh *shell) printEnv(d dialect, noSecrets bool) error {
	set, err := sh.clientVariables()
	if err != nil {
		return err
	}
	names := foreign(sh.environ, set)
	if noSecrets {
		set = slices.DeleteFunc(set, func(v variable) bool { return v.secret })
		names = foreign(sh.environ, set)
	}
	if sh.output == outputJSON {
		return writeEnvJSON(sh.out, names, set)
	}
	return writeEnv(sh.out, d, names, set)
}

// writeEnvJSON writes {"set": {name: value}, "unset": [name]}.
func writeEnvJSON(w io.Writer, remove []string, set []variable) error {
	values := map[string]string{}
	for _, v := range set {
		values[v.name] = v.value
	}
	return json.NewEncoder(w).Encode(map[string]any{"set": values, "unset": append([]string{}, remove...)})
}

func writeEnv(w io.Writer, d dialect, remove []string, set []variable) error {
	var b strings.Builder
	for _, name := range remove {
		b.WriteString(d.unset(name) + "\n")
	}
	for _, v := range set {
		b.WriteString(d.set(v.name, v.value) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// clientVariables finds the server and returns the variables for its clients. The Azure CLI's
// profile directory exists afterwards, for this user only.
func (sh *shell) clientVariables() ([]variable, error) {
	i, err := sh.find()
	if err != nil {
		return nil, err
	}
	c, err := i.admin()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(i.dir, azureDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the Azure CLI's profile directory: %w", err)
	}
	return i.environment(c), nil
}
