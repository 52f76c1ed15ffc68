package sendertest

import (
	"net/netip"
	"slices"
	"time"
)

// Message is a message that a Host has taken responsibility for.
type Message struct {
	Host        string     // name of the host
	Conn        uint64     // number of the connection, from 1, in the whole sandbox
	Source      netip.Addr // address of the client
	RemoteHello string     // what the client called itself in EHLO or HELO
	User        string     // who authenticated, "" if nobody
	TLS         bool       // came over TLS
	Chunked     bool       // came by BDAT, not DATA
	Time        time.Time  // when the server decided to accept it
	From        string     // reverse-path without angle brackets, "" = null sender
	MailOptions []string   // parameters of MAIL, such as "SIZE=1234", as they were written
	Rcpts       []string   // accepted recipients, without angle brackets
	RcptOptions [][]string // parameters of each RCPT
	Data        []byte     // header and body as sent, dot-stuffing undone; nil if no longer kept
	Bytes       int        // length of Data
	// Dropped says that a Drop at StageDot took the place of the reply: the
	// message is here, and the client can't know it.
	Dropped bool
}

// Messages returns what the host has accepted, in order. The Data is shared
// and must not be changed.
func (h *Host) Messages() []Message { return h.sandbox.collect(h) }

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

// accept keeps a message.
func (h *Host) accept(m *Message) {
	h.mu.Lock()
	h.stats.Accepted++
	h.stats.AcceptedRcpts += len(m.Rcpts)
	h.mu.Unlock()
	h.sandbox.accept(m)
}
