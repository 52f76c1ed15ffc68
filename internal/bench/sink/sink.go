// Package sink is a fast SMTP receiver to measure senders against: it takes
// every message, counts it and throws it away. It answers each group of
// commands in one write (RFC 2920 §3.2), and can stand behind a delay line
// that simulates a round trip time.
//
// It is a tool for loopback and believes its peer: it bounds the length of a
// line and nothing else.
package sink

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a Sink. The zero Options announce all extensions and add no delay.
type Options struct {
	Without []string      // EHLO keywords to leave out: PIPELINING, CHUNKING, 8BITMIME, SMTPUTF8, SIZE
	RTT     time.Duration // round trip time to simulate
	Track   bool          // count duplicates, by recipient and Message-ID; costs time and memory
	Keep    int           // how many messages to keep for Kept
}

// extensions that the sink announces.
var extensions = []string{"PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 104857600"}

// Stats is what a Sink has counted since the last Reset.
type Stats struct {
	Messages   int64
	Recipients int64
	Bytes      int64         // of messages, as sent: dots of DATA included
	Conns      int64         // opened
	MaxOpen    int64         // open at once
	Bad        int64         // commands refused: out of order, unknown, malformed
	Duplicates int64         // only with Options.Track: deliveries beyond the first of a message to a recipient
	Span       time.Duration // from the first MAIL to the end of the last message
	CPU        time.Duration // processor time of the process
}

// Rate is the messages per second of Span.
func (s Stats) Rate() float64 {
	if s.Span <= 0 {
		return 0
	}
	return float64(s.Messages) / s.Span.Seconds()
}

// Sink is a running receiver.
type Sink struct {
	Addr string // host:port

	opts     Options
	greeting []byte // the reply to EHLO
	listener net.Listener
	conns    sync.WaitGroup
	count    counters

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{} // guarded by mu
	seen   map[string]int64      // guarded by mu: deliveries by recipient and Message-ID
	kept   [][]byte              // guarded by mu
}

// Listen starts a Sink at addr, such as "127.0.0.1:0".
func Listen(addr string, o Options) (*Sink, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		Addr:     l.Addr().String(),
		opts:     o,
		greeting: ehlo(o.Without),
		listener: l,
		open:     map[net.Conn]struct{}{},
		seen:     map[string]int64{},
	}
	s.Reset()
	s.conns.Go(s.accept)
	return s, nil
}

// ehlo is the reply to EHLO.
func ehlo(without []string) []byte {
	lines := []string{"sink"}
	for _, e := range extensions {
		keyword, _, _ := strings.Cut(e, " ")
		if !slices.ContainsFunc(without, func(w string) bool { return strings.EqualFold(w, keyword) }) {
			lines = append(lines, e)
		}
	}
	var b []byte
	for i, l := range lines {
		sep := '-'
		if i == len(lines)-1 {
			sep = ' '
		}
		b = fmt.Appendf(b, "250%c%s\r\n", sep, l)
	}
	return b
}

// accept serves connections until Close.
func (s *Sink) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.add(nc) {
			nc.Close()
			return
		}
		s.conns.Go(func() {
			defer s.remove(nc)
			s.serve(nc)
		})
	}
}

// add registers a connection; false if the Sink is closed.
func (s *Sink) add(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.open[nc] = struct{}{}
	s.count.opened(int64(len(s.open)))
	return true
}

func (s *Sink) remove(nc net.Conn) {
	nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, nc)
}

// Close ends all connections and waits for them.
func (s *Sink) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for nc := range s.open {
		nc.Close()
	}
	s.mu.Unlock()
	s.conns.Wait()
	return err
}

// Stats returns the counts.
func (s *Sink) Stats() Stats {
	st := s.count.stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.seen {
		st.Duplicates += n - 1
	}
	return st
}

// Reset sets the counts to zero and forgets what is kept.
func (s *Sink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.seen)
	s.kept = nil
	s.count.reset()
}

// Kept returns the first Options.Keep messages, without the dots that DATA adds.
func (s *Sink) Kept() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept)
}

// wants reports whether the content of the next message has to be stored.
func (s *Sink) wants() bool {
	if s.opts.Track {
		return true
	}
	if s.opts.Keep == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept) < s.opts.Keep
}

// store keeps and tracks a message that wants asked for. It takes content over.
func (s *Sink) store(rcpts []string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) < s.opts.Keep {
		s.kept = append(s.kept, slices.Clone(content))
	}
	if s.opts.Track {
		id := messageID(content)
		for _, r := range rcpts {
			s.seen[r+" "+id]++
		}
	}
}
