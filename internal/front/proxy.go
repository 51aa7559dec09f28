package front

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
)

// httpsPort is the port of Azure's own addresses.
const httpsPort = 443

// handoverTimeout is how long a tunnel waits for a server that has all its connections in use.
const handoverTimeout = 10 * time.Second

// proxy answers CONNECT for served hosts by handing the connection over, and refuses everything
// else. The refusal stands in the status line too, because that is the one part of it that clients
// show to their users.
type proxy struct {
	front        *handover
	frontPort    int
	emulator     *handover // nil when there is no emulator
	emulatorPort int
	log          *slog.Logger
}

// ServeHTTP opens a tunnel or refuses.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		writeError(w, http.StatusInternalServerError, "InternalServerError", "The server met an unexpected condition.")
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if r.Method != http.MethodConnect {
		p.refuse(conn, r.Host, "plain http is not served, use https")
		return
	}
	to := p.destination(r.Host)
	if to == nil {
		p.refuse(conn, r.Host, "this host is not served")
		return
	}
	p.connect(conn, buffered.Reader, to)
}

// destination returns the server that serves hostport; nil for none.
func (p *proxy) destination(hostport string) *handover {
	host, portText, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil
	}
	port, err := strconv.Atoi(portText)
	target, served := naming.Resolve(host, p.frontPort)
	switch {
	case err != nil || !served:
		return nil
	case port == httpsPort || port == p.frontPort:
		return p.front
	case p.emulator != nil && port == p.emulatorPort && target.Service == naming.Home:
		return p.emulator
	}
	return nil
}

// connect confirms the tunnel and gives the connection away.
func (p *proxy) connect(conn net.Conn, early *bufio.Reader, to *handover) {
	_ = conn.SetWriteDeadline(time.Now().Add(headerTimeout))
	_, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	_ = conn.SetWriteDeadline(time.Time{})
	if err == nil {
		err = to.deliver(&tunnel{Conn: conn, early: early}, handoverTimeout)
	}
	if err != nil {
		p.log.Debug("a tunnel was not opened", "error", err)
		_ = conn.Close()
	}
}

// refuse answers 403 with one line that names the host, and closes the connection.
func (p *proxy) refuse(conn net.Conn, host, reason string) {
	defer conn.Close()
	host = printable(host)
	p.log.Debug("the proxy refused a host", "host", host, "reason", reason)
	line := fmt.Sprintf("latchkey: %s: %s", host, reason)
	_ = conn.SetWriteDeadline(time.Now().Add(headerTimeout))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 403 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n",
		line, len(line)+1, line)
}

// printable is a host as it may stand in a status line or a log: what no host name contains is
// replaced, and the rest is cut.
func printable(host string) string {
	const longest = 120
	host = strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]", r) {
			return r
		}
		return '?'
	}, host)
	return host[:min(len(host), longest)]
}

// tunnel is a proxied connection from the first byte after the CONNECT request on.
type tunnel struct {
	net.Conn
	early *bufio.Reader // may hold bytes that the client sent before the confirmation
}

// Read drains the early bytes first; an empty buffer reads from the connection directly.
func (t *tunnel) Read(b []byte) (int, error) {
	if t.early.Buffered() > 0 {
		return t.early.Read(b)
	}
	return t.Conn.Read(b)
}
