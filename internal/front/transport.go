package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
)

// NewTransport returns a transport for clients in this process that use the public names of the
// services: it leads every served host to the front, whose address the function front returns, over
// TCP and TLS like any other client, and trusts ca alone. Other hosts do not exist for it: the
// error is a [*net.DNSError] with IsNotFound. It uses no proxy.
func NewTransport(ca *CA, front func() string) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := front()
			if !leadsHere(address, to) {
				host, _, _ := net.SplitHostPort(address)
				return nil, &net.DNSError{Err: "no such host is served here", Name: host, IsNotFound: true}
			}
			return dialer.DialContext(ctx, network, to)
		},
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool()},
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   16,
	}
}

// leadsHere reports whether address is a served host on the https port or on the front's own.
func leadsHere(address, front string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, own, _ := net.SplitHostPort(front)
	_, served := naming.Resolve(address, 0)
	return served && (port == strconv.Itoa(httpsPort) || port == own)
}
