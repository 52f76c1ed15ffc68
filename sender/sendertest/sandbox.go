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
	"net/netip"
	"sync"
	"sync/atomic"
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
	connID  atomic.Uint64 // the number of the newest connection
	dials   atomic.Uint64
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
	if s.dns, err = startDNS(s); err != nil {
		return nil, err
	}
	return s, nil
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
		s.serving.Wait()
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
	name = zoneName(name)
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
	return s.hosts[zoneName(name)]
}
