// Package latchkey runs a whole Latchkey server inside a Go process: the document database, the key
// vault, the directory, the resource manager, and the names under which clients of Azure find them.
//
//	srv, err := latchkey.Start(ctx, latchkey.Options{DataDir: dir})
//	…
//	defer srv.Close(context.Background())
//	client := srv.HTTPClient() // reaches https://management.azure.com, https://{vault}.vault.azure.net, …
//
// It is the same server that the latchkey command runs. For tests, package latchkeytest starts one
// in a line. All data is below DataDir; a directory can be open in one process only.
package latchkey

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/latchkey-db/latchkey/internal/app"
	"github.com/latchkey-db/latchkey/internal/config"
)

// Options say how to start a server. The zero value of every field but DataDir is the default.
type Options struct {
	// DataDir is the data directory; required. It is made when it does not exist.
	DataDir string
	// Listen is the address of the front (default 127.0.0.1:0: a free port of this machine).
	Listen string
	// ProxyListen is the address of the proxy for Azure's host names (default 127.0.0.1:0).
	ProxyListen string
	// Emulator adds a document endpoint with the Cosmos DB emulator's well-known key.
	Emulator bool
	// EmulatorListen is its address (default 127.0.0.1:0); loopback only.
	EmulatorListen string
	// KeyCheckInterval is how often each account's key is probed (default one minute).
	KeyCheckInterval time.Duration
	// KeyGrace is how long an account stays open while its vault is silent (default one hour; to
	// have none, set a negative value).
	KeyGrace time.Duration
	// Log receives the server's log; nil discards it.
	Log *slog.Logger
}

// Addresses are the host:port pairs that a server listens on.
type Addresses struct {
	Front    string // all services over TLS
	Proxy    string // CONNECT proxy for Azure's host names
	Emulator string // "" without an emulator
}

// Credentials are those of the administrator, who owns the subscription.
type Credentials struct {
	TenantID       string
	SubscriptionID string
	ClientID       string
	ObjectID       string
	ClientSecret   string
}

// Server is a running server.
type Server struct{ app *app.Server }

// Start starts a server and returns when it is ready. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := app.Start(ctx, o.config(), o.Log)
	if err != nil {
		return nil, err
	}
	return &Server{app: s}, nil
}

func (o Options) config() config.Config {
	or := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	c := config.Default(func(string) string { return "" })
	c.DataDir, c.Emulator = o.DataDir, o.Emulator
	c.Listen = or(o.Listen, "127.0.0.1:0")
	c.ProxyListen = or(o.ProxyListen, "127.0.0.1:0")
	c.EmulatorListen = or(o.EmulatorListen, "127.0.0.1:0")
	c.KeyGrace, c.KeyCheckInterval = max(o.KeyGrace, 0), o.KeyCheckInterval
	if o.KeyGrace == 0 {
		c.KeyGrace = time.Hour
	}
	if c.KeyCheckInterval == 0 {
		c.KeyCheckInterval = time.Minute
	}
	return c
}

// Addresses returns where the server listens.
func (s *Server) Addresses() Addresses {
	a := s.app.Addresses()
	return Addresses{Front: a.Front, Proxy: a.Proxy, Emulator: a.Emulator}
}

// Administrator returns the credentials that were made on the first start.
func (s *Server) Administrator() Credentials { return Credentials(s.app.Administrator()) }

// RootCertificate returns the certificate of the local authority in PEM.
func (s *Server) RootCertificate() []byte { return s.app.RootCertificate() }

// HTTPClient returns a client that leads every host name which the server serves to it, and knows
// no other hosts. It is meant to be the transport of Azure SDK clients, which then run with their
// defaults.
func (s *Server) HTTPClient() *http.Client { return &http.Client{Transport: s.app.Transport()} }

// Close stops the server: new connections are refused, running requests finish or are cut when ctx
// ends, and the stores are closed. It is safe to call twice.
func (s *Server) Close(ctx context.Context) error { return s.app.Stop(ctx) }
