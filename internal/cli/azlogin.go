package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/latchkey-db/latchkey/internal/atomicfile"
)

// loginTimeout bounds the Azure CLI's login; its first run builds an index of its commands.
const loginTimeout = 3 * time.Minute

// The files in the profile directory by which logins are told apart and kept in order.
const (
	loginMarker = ".latchkey-login"
	loginLock   = ".latchkey-lock"
)

// login logs the Azure CLI in to the profile in environ, once for each administrator's credential.
// Without an Azure CLI on the path it does nothing. Of several processes one logs in and the others
// wait for it.
func (sh *shell) login(ctx context.Context, environ []string, set []variable) error {
	az, err := exec.LookPath("az")
	if err != nil {
		return nil
	}
	value := map[string]string{}
	for _, v := range set {
		value[v.name] = v.value
	}
	dir := value["AZURE_CONFIG_DIR"]
	release, err := lockFile(filepath.Join(dir, loginLock))
	if err != nil {
		return fmt.Errorf("log the Azure CLI in: %w", err)
	}
	defer release()
	marker, mark := filepath.Join(dir, loginMarker), loginMark(value)
	if done, err := os.ReadFile(marker); err == nil && string(done) == mark {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("log the Azure CLI in: %w", err)
	}
	if err := runLogin(ctx, az, environ, value); err != nil {
		return err
	}
	return atomicfile.Write(marker, []byte(mark), 0o600)
}

// loginMark stands for a credential, so that a new secret or tenant means a new login. The secret is
// random and long: its hash gives nothing away.
func loginMark(value map[string]string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		"latchkey login v1", value["AZURE_TENANT_ID"], value["AZURE_CLIENT_ID"], value["AZURE_SUBSCRIPTION_ID"], value["AZURE_CLIENT_SECRET"],
	}, "\n")))
	return hex.EncodeToString(sum[:]) + "\n"
}

// runLogin runs "az login". The secret goes through standard input ("@-" reads an argument from
// there), so that no list of processes shows it.
func runLogin(ctx context.Context, az string, environ []string, value map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, az, "login", "--service-principal", "--username", value["AZURE_CLIENT_ID"],
		"--password", "@-", "--tenant", value["AZURE_TENANT_ID"], "--only-show-errors", "--output", "none")
	cmd.Env = environ
	cmd.Stdin = strings.NewReader(value["AZURE_CLIENT_SECRET"])
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return &problem{exitFailed, "LoginFailed",
		fmt.Sprintf("the Azure CLI could not log in: %v\n%s", err, strings.TrimSpace(string(out))),
		"latchkey exec --no-login runs the command without"}
}

// lockFile waits for the exclusive lock of name, which it makes. The lock ends with the process, and
// the descriptor is not passed to other programs.
func lockFile(name string) (release func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
