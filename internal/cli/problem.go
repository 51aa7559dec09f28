package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// The exit codes. They are part of the interface: see "latchkey help exit-codes".
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3
	exitNoData      = 10
	exitLocked      = 11
	exitKeyDenied   = 12
	exitPortInUse   = 13
	exitNotRunnable = 126 // exec: as shells do
	exitNotFound    = 127 // exec: as shells do
	exitInterrupted = 130
)

// exitCodes documents the codes, in the order of the help text.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitOK, "it worked"},
	{exitFailed, "it failed; also any failure without a code of its own"},
	{exitUsage, "wrong usage or an invalid configuration; nothing was done"},
	{exitPartly, "it worked in part; the messages say which"},
	{exitNoData, "there is no data directory"},
	{exitLocked, "another process has the data directory open"},
	{exitKeyDenied, "a key may not be used, so the data is inaccessible"},
	{exitPortInUse, "a listening address is in use"},
	{exitNotRunnable, "exec: the command cannot be run"},
	{exitNotFound, "exec: the command was not found"},
	{exitInterrupted, "interrupted before it was done"},
}

// problem is a failure as the user meets it. exec otherwise ends with the command's own code.
type problem struct {
	exit    int
	code    string // stable word for scripts
	message string
	hint    string // what to do about it; may be empty
}

// Error returns the message.
func (p *problem) Error() string { return p.message }

func (p *problem) print(w io.Writer) {
	fmt.Fprintf(w, "latchkey: error: %s\n", strings.ReplaceAll(p.message, "\n", "\n  "))
	if p.hint != "" {
		fmt.Fprintf(w, "latchkey: hint: %s\n", p.hint)
	}
}

func (p *problem) printJSON(w io.Writer) {
	line, _ := json.Marshal(struct { // strings and numbers always encode
		Type    string `json:"type"`
		Code    string `json:"code"`
		Exit    int    `json:"exit"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}{"exit_error", p.code, p.exit, p.message, p.hint})
	fmt.Fprintf(w, "%s\n", line)
}

// usage is the problem of a wrong command line.
func usage(c *cobra.Command, format string, args ...any) *problem {
	return &problem{exitUsage, "Usage", fmt.Sprintf(format, args...), c.CommandPath() + " --help"}
}

// classify decides what an error means to the user: the only place that does.
func (sh *shell) classify(err error) *problem {
	var p *problem
	var invalid *config.InvalidError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &invalid):
		return &problem{exitUsage, "InvalidConfiguration", invalid.Error(), "latchkey serve --help"}
	case fault.Is(err, "DataDirLocked"):
		return &problem{exitLocked, "DataDirLocked", message(err), "latchkey status" + sh.dataFlag()}
	case fault.KindOf(err) == fault.KeyDenied:
		return &problem{exitKeyDenied, fault.As(err).Reason, message(err), "give the account's identity access to its key again"}
	case errors.Is(err, syscall.EADDRINUSE):
		return &problem{exitPortInUse, "PortInUse", err.Error(), "choose other addresses with --listen, --proxy-listen and --emulator-listen, or port 0"}
	case errors.Is(err, context.Canceled):
		return &problem{exitInterrupted, "Interrupted", "interrupted", ""}
	}
	return &problem{exitFailed, reason(err), message(err), ""}
}

// message is the error's text for the user; the cause of a fault is kept, because here the user and
// the operator are one.
func message(err error) string {
	f := fault.As(err)
	if f == nil {
		return err.Error()
	}
	text := strings.TrimSuffix(f.Message, ".")
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

func reason(err error) string {
	if f := fault.As(err); f != nil {
		return f.Reason
	}
	return "Failed"
}

// newExitCodes is the help topic that documents the exit codes.
func newExitCodes(*shell) *cobra.Command {
	var b strings.Builder
	b.WriteString("The exit codes of latchkey. exec ends with the exit code of its command.\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "\n%5d  %s", e.code, e.meaning)
	}
	b.WriteString("\n\nWith --output json the last line on standard error is an object with the members type\n" +
		"(\"exit_error\"), code, exit, message and hint.")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: b.String()}
}
