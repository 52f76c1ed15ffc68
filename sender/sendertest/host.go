package sendertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Host is a mail server of a Sandbox.
type Host struct {
	sandbox  *Sandbox
	name     string
	addr     netip.Addr
	listener net.Listener // guarded by sandbox.mu; nil until needed
	behavior atomic.Pointer[Behavior]

	mu      sync.Mutex
	stats   Stats                  // guarded by mu
	sources map[netip.Addr]*source // guarded by mu
	grey    map[triplet]time.Time  // guarded by mu; first contacts
}

// source is what a host remembers of one client address. Guarded by Host.mu.
type source struct {
	conns   int
	taken   []time.Time // the last Rate.N messages begun
	ignored []time.Time // MAIL commands over the rate in the last period
	blocked time.Time   // no mail before this
}

// triplet is what greylisting goes by.
type triplet struct {
	source   netip.Addr
	from, to string
}

// Stats is what a Host has seen since it was added.
type Stats struct {
	Conns         int         // connections open now, of all sources
	MaxConns      int         // the most that were open at once
	TotalConns    int         // all connections ever, also those greeted with 421
	Mails         []time.Time // when each MAIL command came, accepted or not; nil with CountOnly
	Accepted      int         // messages
	AcceptedRcpts int         // recipients of these messages
	Deferred      int         // 4yz replies to a greeting, MAIL, RCPT, DATA, BDAT or message
	Refused       int         // 5yz replies likewise, without "bad sequence" and such (50z)
	SlowedDown    int         // those of them that came from Rate, MaxConns or MaxMessages
	// Violations are what clients did against the protocol, the first 100.
	Violations []string
}

// maxViolations bounds Stats.Violations.
const maxViolations = 100

// Name returns the name of the host.
func (h *Host) Name() string { return h.name }

// Addr returns the address of the host, for Sandbox.Dial.
func (h *Host) Addr() netip.Addr { return h.addr }

// SetBehavior changes how the host behaves. Open connections follow from their
// next command on, except for CutRead and CutWrite.
func (h *Host) SetBehavior(b Behavior) { h.behavior.Store(&b) }

// Stats returns a copy of what was counted so far.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Mails = slices.Clone(s.Mails)
	s.Violations = slices.Clone(s.Violations)
	return s
}

// connect counts a new connection. It returns its number at this host, and how
// many its source has now.
func (h *Host) connect(from netip.Addr) (number, crowd int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Conns++
	h.stats.TotalConns++
	h.stats.MaxConns = max(h.stats.MaxConns, h.stats.Conns)
	src := h.source(from)
	src.conns++
	return h.stats.TotalConns, src.conns
}

func (h *Host) disconnect(from netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Conns--
	h.source(from).conns--
}

// source finds or makes what is known of an address. Call with mu held.
func (h *Host) source(addr netip.Addr) *source {
	src := h.sources[addr]
	if src == nil {
		src = new(source)
		h.sources[addr] = src
	}
	return src
}

// noteMail keeps the time of a MAIL command.
func (h *Host) noteMail(now time.Time) {
	if h.sandbox.options.CountOnly {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Mails = append(h.stats.Mails, now)
}

// pace applies the rate to a message that may begin otherwise: nil lets it pass.
func (h *Host) pace(rate Rate, from netip.Addr, now time.Time) *Reply {
	if rate.N <= 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	src := h.source(from)
	if now.Before(src.blocked) {
		return blockedReply
	}
	// A message leaves the window when it is exactly Per old: the window is half open.
	src.taken = since(src.taken, now.Add(-rate.per()))
	if len(src.taken) < rate.N {
		src.taken = append(src.taken, now)
		return nil
	}
	src.ignored = append(since(src.ignored, now.Add(-rate.per())), now)
	if rate.Patience > 0 && len(src.ignored) > rate.Patience {
		src.ignored = nil
		block := rate.Block
		if block == 0 {
			block = time.Hour
		}
		src.blocked = now.Add(block)
		return blockedReply
	}
	if rate.Reply != nil {
		return rate.Reply
	}
	return slowDownReply
}

// since drops the times up to and including t from the front.
func since(times []time.Time, t time.Time) []time.Time {
	i := 0
	for i < len(times) && !times[i].After(t) {
		i++
	}
	return times[i:]
}

// greylisted reports whether it is too early for this triplet.
func (h *Host) greylisted(wait time.Duration, key triplet, now time.Time) bool {
	if wait <= 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	first, seen := h.grey[key]
	if !seen {
		h.grey[key] = now
		return true
	}
	return now.Sub(first) < wait
}

// countRefusal counts a reply of 400 or more.
func (h *Host) countRefusal(code int, slow bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case code/100 == 4:
		h.stats.Deferred++
	case code/100 == 5 && code/10 != 50:
		h.stats.Refused++
	}
	if slow {
		h.stats.SlowedDown++
	}
}

// violation notes what the client of a connection did wrong.
func (h *Host) violation(conn uint64, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.stats.Violations) < maxViolations {
		h.stats.Violations = append(h.stats.Violations, fmt.Sprintf("connection %d: %s", conn, what))
	}
}

// drop draws whether a connection is dropped at a stage; nil if it is not.
func (b *Behavior) drop(at Stage, luck *rand.Rand) *Drop {
	for i := range b.Drops {
		if d := &b.Drops[i]; d.At == at && (d.P == 0 || luck.Float64() < d.P) {
			return d
		}
	}
	return nil
}
