// Package sendertest is an internet of your own for tests: domains, DNS and
// mail servers that behave as you say, in the process of the test, as
// net/http/httptest is for web servers. No mail leaves the machine.
//
//	sandbox := sendertest.Start(t, sendertest.Options{})
//	mx := sandbox.AddHost("mx.example.com", sendertest.Behavior{
//		Greylist: time.Minute,
//		Recipient: func(addr string) *sendertest.Reply {
//			if addr == "nobody@example.com" {
//				return sendertest.Answer("550 5.1.1 No such user")
//			}
//			return nil
//		},
//	})
//	sandbox.AddDomain("example.com", "mx.example.com")
//
// Give sandbox.Resolver() and sandbox.Dial to the program under test; then
// look at mx.Messages() and mx.Stats().
//
// Hosts have addresses out of 198.18.0.0/15, a block set aside for benchmarks
// (RFC 2544) that no real host has. They exist for Sandbox.Dial only.
//
// With Options.Memory there are no sockets at all, and the sandbox works in a
// testing/synctest bubble: hours of greylisting pass in no time. Make, use and
// close it within the bubble.
//
// The servers speak SMTP (RFC 5321) with the extensions listed at Extension.
// They are strict: what a client does against the rules is answered as a
// careful server would, and noted in Stats.Violations.
package sendertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options of a Sandbox. The zero Options are good for most tests.
type Options struct {
	// Memory makes connections in memory in place of loopback sockets, and no
	// DNS server. It is needed in a testing/synctest bubble.
	Memory bool
	// Seed decides the outcome of each Drop with a probability. The same seed
	// gives the nth connection of the sandbox the same luck.
	Seed uint64
	// KeepBodies is how many of the last messages are kept with their Data;
	// older ones keep everything else. 0 means 1000, less than 0 none.
	KeepBodies int
	// CountOnly keeps no message and no time of a MAIL command, only counts; for
	// benchmarks. What a message looks like is then not checked either.
	CountOnly bool
	// Trace, if not nil, is called with each line of the conversations, without
	// CRLF: "C: " and a command or "S: " and a reply; messages are left out.
	// It is called from many goroutines.
	Trace func(host string, conn uint64, line string)
}

// Sandbox is a small internet of its own. Its methods may be called at any
// time from any goroutine.
type Sandbox struct {
	options Options
	zone    *zone
	dns     *dnsServer // nil in Memory mode
	certs   *certs
	done    chan struct{} // closed by Close
	serving sync.WaitGroup
	connID  atomic.Uint64
	port    atomic.Uint32 // the last client port given out in Memory mode

	mu       sync.Mutex
	closed   bool                 // guarded by mu
	hosts    map[string]*Host     // guarded by mu; by name
	byAddr   map[netip.Addr]*Host // guarded by mu
	last     netip.Addr           // guarded by mu; address of the newest host
	conns    map[*wire]struct{}   // guarded by mu
	messages []*Message           // guarded by mu; in the order of acceptance
	bodies   []*Message           // guarded by mu; a ring of those with Data
	accepted int                  // guarded by mu
}

// TB is what Start needs of *testing.T and *testing.B.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

var (
	beforeFirstHost = netip.MustParseAddr("198.18.0.0")
	afterLastHost   = netip.MustParseAddr("198.19.255.0")
	memoryClient    = netip.MustParseAddr("198.19.255.1")
)

// connectTimeout is how long Linux tries to connect by default.
const connectTimeout = 127 * time.Second

// New starts a Sandbox. It must be closed.
func New(o Options) (*Sandbox, error) {
	if o.KeepBodies == 0 {
		o.KeepBodies = 1000
	}
	s := &Sandbox{
		options: o,
		zone:    newZone(),
		certs:   new(certs),
		done:    make(chan struct{}),
		hosts:   make(map[string]*Host),
		byAddr:  make(map[netip.Addr]*Host),
		conns:   make(map[*wire]struct{}),
		last:    beforeFirstHost,
	}
	if o.Memory {
		return s, nil
	}
	var err error
	s.dns, err = startDNS(s)
	return s, err
}

// Start starts a Sandbox that is closed at the end of the test.
func Start(tb TB, o Options) *Sandbox {
	tb.Helper()
	s, err := New(o)
	if err != nil {
		tb.Fatalf("sendertest: %v", err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// Close cuts every connection, ends the servers and waits for their
// goroutines. What was accepted can still be read.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	for w := range s.conns {
		w.Close()
	}
	for _, h := range s.hosts {
		if h.listener != nil {
			h.listener.Close()
		}
	}
	s.mu.Unlock()
	var err error
	if s.dns != nil {
		err = s.dns.close()
	}
	s.serving.Wait()
	return err
}

// AddHost adds a mail server with an address of its own. A name that exists
// already gets the new Behavior.
func (s *Sandbox) AddHost(name string, b Behavior) *Host {
	name = canonical(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hosts[name]; h != nil {
		h.SetBehavior(b)
		return h
	}
	if s.last = s.last.Next(); !s.last.Less(afterLastHost) {
		panic("sendertest: too many hosts")
	}
	h := &Host{
		sandbox: s,
		name:    name,
		addr:    s.last,
		sources: make(map[netip.Addr]*source),
		grey:    make(map[triplet]time.Time),
	}
	h.SetBehavior(b)
	s.hosts[name], s.byAddr[h.addr] = h, h
	s.zone.addAddress(name, h.addr)
	return h
}

// Host returns the host of that name, nil if there is none.
func (s *Sandbox) Host(name string) *Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts[canonical(name)]
}

// Messages returns all that the hosts have accepted, in the order of
// acceptance. The Data is shared and must not be changed.
func (s *Sandbox) Messages() []Message {
	return s.collect(nil)
}

// collect copies the messages of h, or of all hosts.
func (s *Sandbox) collect(h *Host) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Message
	for _, m := range s.messages {
		if h == nil || m.Host == h.name {
			list = append(list, *m)
		}
	}
	return list
}

// accept keeps m and takes m.Data over if it is to be kept.
func (s *Sandbox) accept(m *Message) {
	if s.options.CountOnly {
		return
	}
	data := m.Data
	m.Data = nil
	if s.options.KeepBodies > 0 {
		m.Data = slices.Clone(data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	switch keep := s.options.KeepBodies; {
	case keep < 0:
	case len(s.bodies) < keep:
		s.bodies = append(s.bodies, m)
	default:
		oldest := s.accepted % keep
		s.bodies[oldest].Data = nil
		s.bodies[oldest] = m
	}
	s.accepted++
}

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
	id, luck := s.nextConn()
	b := h.behavior.Load()
	if b.Dead {
		return fail(s.waitDead(ctx))
	}
	if b.Refuse || b.drops(StageConnect, luck) {
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
	c := s.serve(h, server, id, luck)
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

// nextConn numbers a connection and gives it its luck.
func (s *Sandbox) nextConn() (uint64, *rand.Rand) {
	id := s.connID.Add(1)
	return id, rand.New(rand.NewPCG(s.options.Seed, id))
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
func (s *Sandbox) serve(h *Host, nc net.Conn, id uint64, luck *rand.Rand) *conn {
	w := &wire{Conn: nc}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		return nil
	}
	s.conns[w] = struct{}{}
	c := newConn(h, w, id, luck)
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
		id, luck := h.sandbox.nextConn()
		h.sandbox.serve(h, nc, id, luck)
	}
}

// Listen returns a loopback address, such as "127.0.0.1:40123", at which
// programs that can't use Dial reach the host: another process, or a relay
// route of the Sender. They see everything but StageConnect, Dead and Refuse.
// In Memory mode it fails.
func (h *Host) Listen() (string, error) {
	s := h.sandbox
	if s.options.Memory {
		return "", fmt.Errorf("sendertest: no sockets in Memory mode")
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

// canonical is the form in which names are compared.
func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
