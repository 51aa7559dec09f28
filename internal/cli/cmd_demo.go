package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/spf13/cobra"

	"github.com/latchkey-db/latchkey/internal/demo"
)

func newDemo(sh *shell) *cobra.Command {
	var keep, noAZ bool
	c := &cobra.Command{
		Use:     "demo",
		Short:   "Play the tutorial: grant, lock, revoke, restore, rotate",
		GroupID: groupRun,
		Long: `Start a server in a temporary directory and play the tutorial on it, step by step: create a
vault, an account and a key, point the account at the key, write documents, show that none of them
is on the disk in clear, take the key away in three ways and give it back, rotate it.

The operator's part is played by the real az where it is on the PATH, otherwise by the official Go
clients; the documents always go through azcosmos.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return sh.demo(c.Context(), keep, noAZ) },
	}
	c.Flags().BoolVar(&keep, "keep", false, "leave the server running at the end, until interrupted")
	c.Flags().BoolVar(&noAZ, "no-az", false, "use the Go clients although az is there")
	return c
}

func (sh *shell) demo(parent context.Context, keep, noAZ bool) (err error) {
	ctx, release := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	defer release()
	dir, err := os.MkdirTemp("", "latchkey-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sh.cfg.DataDir = dir
	sh.cfg.Listen, sh.cfg.ProxyListen, sh.cfg.EmulatorListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	started := time.Now()
	server, err := sh.start(ctx, sh.cfg)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(parent), stopTimeout)
		defer cancel()
		err = errors.Join(err, server.Stop(stopping))
	}()
	if err := announce(dir, server.Addresses()); err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "Latchkey %s: a server in %s, ready after %s.\n", version(), dir, time.Since(started).Round(time.Millisecond))
	stage, err := sh.stage(ctx, noAZ)
	if err != nil {
		return err
	}
	if err := demo.Play(ctx, stage); err != nil {
		return err
	}
	if !keep {
		return nil
	}
	sh.welcome(server.Addresses())
	<-ctx.Done()
	return nil
}

// stage sets the demo up on the running server: the Go clients through its proxy, and az when it is
// there.
func (sh *shell) stage(ctx context.Context, noAZ bool) (demo.Stage, error) {
	i, err := sh.find()
	if err != nil {
		return demo.Stage{}, err
	}
	admin, err := i.admin()
	if err != nil {
		return demo.Stage{}, err
	}
	client, err := i.proxiedClient()
	if err != nil {
		return demo.Stage{}, err
	}
	o := &azidentity.ClientSecretCredentialOptions{DisableInstanceDiscovery: true}
	o.Transport = client
	credential, err := azidentity.NewClientSecretCredential(admin.TenantID, admin.ClientID, admin.ClientSecret, o)
	if err != nil {
		return demo.Stage{}, err
	}
	sdk := &demo.SDK{HTTP: client, Credential: credential, Subscription: admin.SubscriptionID, Tenant: admin.TenantID}
	stage := demo.Stage{Operator: sdk, Client: sdk, DataDir: i.dir, Out: sh.out}
	az, err := exec.LookPath("az")
	if err != nil || noAZ {
		fmt.Fprintln(sh.out, "The operator is played by the official Go clients of Azure; the az commands shown say what they do.")
		return stage, nil
	}
	fmt.Fprintf(sh.out, "The operator is played by the real az (%s). Logging it in …\n", az)
	set, err := sh.clientVariables()
	if err != nil {
		return stage, err
	}
	environ := clientEnvironment(sh.environ, set)
	stage.Operator = &demo.AZ{Path: az, Environ: environ}
	return stage, sh.login(ctx, environ, set)
}

// proxiedClient reaches the server under Azure's names, as any other client does: through its proxy,
// trusting its certificate.
func (i *instance) proxiedClient() (*http.Client, error) {
	roots, err := i.roots()
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyURL(&url.URL{Scheme: "http", Host: i.Addresses.Proxy}),
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 64,
	}}, nil
}
