package front

import (
	"errors"
	"net"
	"sync"
	"time"
)

// errBusy is returned when a server does not take a delivered connection in time.
var errBusy = errors.New("front: the server takes no more connections")

// handover is a listener whose connections are delivered by this process itself.
type handover struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

var _ net.Listener = (*handover)(nil)

func newHandover(address net.Addr) *handover {
	return &handover{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// deliver gives c to whoever accepts. On an error c is still the caller's.
func (h *handover) deliver(c net.Conn, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case h.conns <- c:
		return nil
	case <-h.closed:
		return net.ErrClosed
	case <-timer.C:
		return errBusy
	}
}

// Accept waits for a delivered connection.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and deliver. It is safe to call twice.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr is the address of the socket for which the handover stands in.
func (h *handover) Addr() net.Addr { return h.address }
