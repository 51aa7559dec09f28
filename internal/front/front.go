// Package front is where clients arrive: the listeners, TLS with a certificate authority of this
// server's own, the routing of requests by host name, and the proxy that leads Azure's host names
// here.
//
// # Names
//
// The server answers under two families of names (package naming). A request's Host header decides
// which service gets it and which family its answers use; a host that is not served gets 421. The
// TLS server name decides only which certificate is shown. So a rebound DNS name of somebody else
// reaches nothing.
//
// # Listeners
//
// The front speaks TLS 1.2 or newer with HTTP/1.1 and HTTP/2. The proxy speaks CONNECT and nothing
// else, for served host names and nothing else; a tunnel is not a second connection but the same
// one, handed to the front's HTTP server in this process, so TLS stays end to end and the peer's
// address stays the true one. The emulator's listener has one handler whatever the path, and
// accepts loopback host names only, because the emulator's key is public knowledge.
//
// # Keys
//
// The root's private key is kept by the [KeyStore] that the caller gives, which must encrypt it. It
// signs leaf certificates on demand. Its name constraints, which are critical, confine it to the
// names that this server serves and to loopback addresses: whoever stole it could not impersonate
// anybody else's host to a client that trusts it. The leaves share one key that lives in memory and
// is new with every start.
//
// # States
//
// Between Start and Stop the front serves. [Config.Ready] decides what /ready says; the other
// services are reached from the first moment and answer for themselves. Stop refuses new
// connections, lets requests finish, and cuts what is left when its context ends.
package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/netutil"

	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/supervise"
)

// Limits of every listener. The body limit is the faces' business; these bound what a peer can hold
// without sending a request.
const (
	headerTimeout   = 10 * time.Second // from the first byte to the end of the header
	requestTimeout  = 2 * time.Minute  // header and body; no operation runs longer
	responseTimeout = 3 * time.Minute  // from the end of the header to the last byte of the answer
	idleTimeout     = 2 * time.Minute  // between two requests
	maxHeaderBytes  = 64 << 10
	maxConnections  = 4096 // for each listener; further ones wait in the kernel's queue
)

// Config is what [Start] needs. Addresses are host:port; port 0 takes a free one.
type Config struct {
	Listen         string // the front
	ProxyListen    string // the proxy; "" for none
	EmulatorListen string // the emulator's endpoint; "" for none

	// AllowRemoteProxy permits a ProxyListen that is not loopback.
	AllowRemoteProxy bool

	CA *CA
	// Handlers serve the host names of each service. What is served under [naming.Home] gets the
	// paths that the front does not answer itself.
	Handlers map[naming.Service]http.Handler
	Emulator http.Handler

	// Ready says why the server is not ready; nil when it is. A nil Ready is always ready.
	Ready func(context.Context) error
	// Metrics answers /metrics, for loopback peers only. It may be nil.
	Metrics http.Handler
	// Observe is told of every finished request; the emulator's count as [naming.Documents]. It may
	// be nil.
	Observe func(service naming.Service, status int, elapsed time.Duration)

	Log *slog.Logger // nil discards
}

// Addresses are the host:port under which the listeners are reached from this machine; "" for a
// listener that is not there.
type Addresses struct {
	Front    string `json:"front"`
	Proxy    string `json:"proxy,omitempty"`
	Emulator string `json:"emulator,omitempty"`
}

// Server is a running front. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	addresses Addresses
	port      int // the front's
	group     *supervise.Group
	servers   []*http.Server // in the order of stopping
	transport *http.Transport
}

// listeners are the opened sockets; nil for one that is not wanted.
type listeners struct{ front, proxy, emulator net.Listener }

// Start listens and serves. On an error nothing is left listening; an address that is taken is a
// syscall.EADDRINUSE in the error's tree.
func Start(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l, err := listen(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, group: supervise.New()}
	s.addresses = Addresses{Front: reachable(l.front), Proxy: reachable(l.proxy), Emulator: reachable(l.emulator)}
	s.port = portOf(l.front)
	s.transport = NewTransport(cfg.CA, func() string { return s.addresses.Front })
	if err := s.serveAll(l); err != nil {
		return nil, errors.Join(err, s.Stop(context.Background()))
	}
	return s, nil
}

// listen opens all sockets or none.
func listen(cfg Config) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.front, err = open("front", cfg.Listen, true); err != nil {
		return l, err
	}
	if l.proxy, err = open("proxy", cfg.ProxyListen, cfg.AllowRemoteProxy); err != nil {
		return l, err
	}
	l.emulator, err = open("emulator", cfg.EmulatorListen, false)
	return l, err
}

func (l listeners) close() {
	for _, x := range []net.Listener{l.front, l.proxy, l.emulator} {
		if x != nil {
			_ = x.Close()
		}
	}
}

// open listens on address, or returns nil when there is none. Unless remote is set, an address that
// other machines can reach is refused.
func open(name, address string, remote bool) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open the %s's listener: %w", name, err)
	}
	if a, _ := l.Addr().(*net.TCPAddr); !remote && (a == nil || !a.IP.IsLoopback()) {
		_ = l.Close()
		return nil, fmt.Errorf("open the %s's listener: %s is not a loopback address", name, address)
	}
	return l, nil
}

// serveAll starts the HTTP servers. A tunnel through the proxy ends in the front's or the
// emulator's own server, by way of a handover.
func (s *Server) serveAll(l listeners) error {
	toFront, toEmulator := newHandover(l.front.Addr()), (*handover)(nil)
	front := s.newServer(s.routes())
	var emulator *http.Server
	if l.emulator != nil {
		toEmulator = newHandover(l.emulator.Addr())
		emulator = s.newServer(s.emulatorRoutes())
	}
	if l.proxy != nil {
		p := &proxy{front: toFront, frontPort: s.port, emulator: toEmulator, emulatorPort: portOf(l.emulator), log: s.cfg.Log}
		server := s.newServer(p)
		s.servers = append(s.servers, server)
		if err := s.serve("front/proxy", server.Serve, l.proxy); err != nil {
			return err
		}
	}
	if err := s.serveTLS(front, l.front, toFront); err != nil || emulator == nil {
		return err
	}
	return s.serveTLS(emulator, l.emulator, toEmulator)
}

// serveTLS serves a socket and the connections that the proxy hands over with one server.
func (s *Server) serveTLS(server *http.Server, socket net.Listener, tunnels *handover) error {
	s.servers = append(s.servers, server)
	serve := func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	if err := s.serve("front/tls", serve, socket); err != nil {
		return err
	}
	return s.serve("front/tunnels", serve, tunnels)
}

// serve runs serve on l, limited, until the server is stopped.
func (s *Server) serve(name string, serve func(net.Listener) error, l net.Listener) error {
	return s.group.Go(name, func(context.Context) {
		if err := serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("a listener failed", "listener", name, "error", err)
		}
	})
}

func (s *Server) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           recoverPanics(s.cfg.Log, h),
		TLSConfig:         s.cfg.CA.serverConfig(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      responseTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// Addresses returns where the server is reached.
func (s *Server) Addresses() Addresses { return s.addresses }

// Transport returns a client's transport for this process: see [NewTransport].
func (s *Server) Transport() http.RoundTripper { return s.transport }

// Stop refuses new connections, waits for requests in flight, or for ctx, and then closes
// everything. The error is ctx's when requests had to be cut. It is safe to call twice.
func (s *Server) Stop(ctx context.Context) error {
	s.transport.CloseIdleConnections()
	var cut error
	for _, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			cut = err
			_ = server.Close()
		}
	}
	return errors.Join(cut, s.group.Stop(context.WithoutCancel(ctx)))
}

// reachable is the address of l as a client on this machine dials it; "" for nil.
func reachable(l net.Listener) string {
	if l == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// portOf is l's port; 0 for nil.
func portOf(l net.Listener) int {
	if l == nil {
		return 0
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	return n
}
