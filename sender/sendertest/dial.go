package sendertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// connectTimeout is how long Linux tries to connect by default.
const connectTimeout = 127 * time.Second

// Dial connects to the host that has the IP address of addr, whatever the
// port. It has the form of net.Dialer.DialContext. An address that no host has
// refuses the connection.
func (s *Sandbox) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.dial(ctx, netip.Addr{}, network, addr)
}

// DialFrom is Dial for a program that sends from several addresses: hosts count
// their limits for each source. In Memory mode the source may be any address,
// otherwise one of this machine, such as 127.0.0.2 on Linux.
func (s *Sandbox) DialFrom(source netip.Addr) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return s.dial(ctx, source, network, addr)
	}
}

func (s *Sandbox) dial(ctx context.Context, source netip.Addr, network, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: textAddr{network, addr}, Err: err}
	}
	target, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	s.mu.Lock()
	h := s.byAddr[target.Addr().Unmap()]
	if s.closed {
		h = nil
	}
	s.mu.Unlock()
	if h == nil {
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	luck := s.luck(connectLuck, s.dials.Add(1))
	b := h.behavior.Load()
	drop := b.drop(StageConnect, luck)
	if b.Dead || drop != nil && drop.Silent {
		return fail(s.waitDead(ctx))
	}
	if b.Refuse || drop != nil {
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	if !s.options.Memory {
		return h.dialSocket(ctx, source, network)
	}
	if !source.IsValid() {
		source = memoryClient
	}
	local := netip.AddrPortFrom(source, s.clientPort())
	client, server := pipe(net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(target))
	c := s.serve(h, server)
	if c == nil {
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return &leaver{client, c.leave}, nil
}

// waitDead waits as one does for a host that never answers.
func (s *Sandbox) waitDead(ctx context.Context) error {
	timer := time.NewTimer(connectTimeout)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return net.ErrClosed
	case <-timer.C:
		return os.NewSyscallError("connect", syscall.ETIMEDOUT)
	}
}

// connectLuck sets the luck of the nth Dial apart from that of the nth connection.
const connectLuck = 1 << 63

// luck decides what happens to the nth connection.
func (s *Sandbox) luck(kind, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.options.Seed^kind, n))
}

func (s *Sandbox) clientPort() uint16 {
	return uint16(32768 + s.port.Add(1)%28232)
}

// leaver is the client's end in Memory mode: a connection no longer counts from
// the moment on at which the client closes it.
type leaver struct {
	net.Conn
	leave func()
}

func (l *leaver) Close() error {
	l.leave()
	return l.Conn.Close()
}

// serve starts the goroutine of a connection; nil if the sandbox is closed.
func (s *Sandbox) serve(h *Host, nc net.Conn) *conn {
	w := &wire{Conn: nc}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		return nil
	}
	s.conns[w] = struct{}{}
	id := s.connID.Add(1)
	c := newConn(h, w, id, s.luck(0, id))
	s.serving.Go(func() {
		defer func() {
			w.Close()
			s.mu.Lock()
			delete(s.conns, w)
			s.mu.Unlock()
		}()
		c.serve()
	})
	return c
}

// sleep waits, and reports whether it was not ended by Close.
func (s *Sandbox) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}

// acceptLoop serves what connects to the loopback listener of h.
func (h *Host) acceptLoop(l net.Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if !h.sandbox.sleep(10 * time.Millisecond) { // such as: too many open files
				return
			}
			continue
		}
		h.sandbox.serve(h, nc)
	}
}

// Listen returns a loopback address, such as "127.0.0.1:40123", at which
// programs that can't use Dial reach the host: another process, or a relay
// route of the Sender. They see everything but StageConnect, Dead and Refuse.
// In Memory mode it fails.
func (h *Host) Listen() (string, error) {
	s := h.sandbox
	if s.options.Memory {
		return "", errors.New("sendertest: no sockets in Memory mode")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", net.ErrClosed
	}
	if h.listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		h.listener = l
		s.serving.Go(func() { h.acceptLoop(l) })
	}
	return h.listener.Addr().String(), nil
}

func (h *Host) dialSocket(ctx context.Context, source netip.Addr, network string) (net.Conn, error) {
	addr, err := h.Listen()
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var d net.Dialer
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return d.DialContext(ctx, "tcp", addr)
}

// textAddr is the address of a connection that was not made.
type textAddr struct{ network, addr string }

func (a textAddr) Network() string { return a.network }
func (a textAddr) String() string  { return a.addr }
