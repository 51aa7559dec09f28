package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(sh *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if sh.output == outputJSON {
				return json.NewEncoder(sh.out).Encode(map[string]string{"version": version(), "go": runtime.Version(), "platform": platform})
			}
			_, err := fmt.Fprintf(sh.out, "latchkey %s (%s, %s)\n", version(), runtime.Version(), platform)
			return err
		},
	}
}

// version is the module's version as the toolchain stamps it: the tag, or a pseudo-version with the
// commit, and +dirty for a changed work tree.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
