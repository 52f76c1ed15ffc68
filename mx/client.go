package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Exchange sends query to server ("host:port") over network, "udp" or "tcp",
// and returns the reply, whatever its Rcode. It returns when ctx, which has a
// deadline, ends. It must be safe for concurrent use and keep neither message.
type Exchange func(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error)

const (
	// udpSize is what fits any path without IP fragments.
	udpSize = 1232
	// quickTimeout is how long a question may take for which there is a stale
	// answer: the client response timer of RFC 8767 §5.
	quickTimeout = 1800 * time.Millisecond
)

// client puts questions to recursive servers.
type client struct {
	servers  []string
	timeout  time.Duration
	attempts int
	exchange Exchange
	first    atomic.Uint32 // where in servers a question begins, modulo their number
}

// ask puts one question to the servers until one answers it with NOERROR or
// NXDOMAIN. Quick allows all of them together quickTimeout.
func (c *client) ask(ctx context.Context, name string, qtype uint16, quick bool) (*dns.Msg, error) {
	rounds, limited := c.attempts, ctx
	if quick {
		var cancel context.CancelFunc
		rounds = 1
		limited, cancel = context.WithTimeout(ctx, quickTimeout)
		defer cancel()
	}
	var last error
	n := uint32(len(c.servers))
	start := c.first.Load()
	for i := range uint32(rounds) * n {
		if limited.Err() != nil {
			break
		}
		server := (start + i) % n
		reply, err := c.askServer(limited, c.servers[server], name, qtype)
		if err == nil {
			return reply, nil
		}
		if ctx.Err() != nil {
			break // says nothing about the server
		}
		last = fmt.Errorf("DNS server %s, question %s %s: %w", c.servers[server], name, dns.TypeToString[qtype], err)
		if _, replied := errors.AsType[*rcodeError](err); !replied {
			c.demote(server)
		}
	}
	return nil, cmp.Or(ctx.Err(), last)
}

// demote makes the next questions begin with another server than one that did
// not reply, so that a dead server costs one timeout, not one for each question.
func (c *client) demote(server uint32) {
	if first := c.first.Load(); first%uint32(len(c.servers)) == server {
		c.first.CompareAndSwap(first, first+1)
	}
}

// rcodeError is a reply that answers nothing.
type rcodeError struct {
	rcode int
	lame  bool
	extra string // from the extended error (RFC 8914), if any
}

func (e *rcodeError) Error() string {
	text := dns.RcodeToString[e.rcode]
	switch {
	case e.lame:
		text = "it refers to other servers; a server that does recursion is needed"
	case text == "":
		text = fmt.Sprintf("RCODE %d", e.rcode)
	}
	if e.extra != "" {
		text += " (" + e.extra + ")"
	}
	return text
}

// askServer gets an answer from one server, whatever it takes: TCP if the
// answer is too long for UDP, no EDNS0 if the server does not know it.
func (c *client) askServer(ctx context.Context, server, name string, qtype uint16) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), qtype)
	query.SetEdns0(udpSize, false)
	reply, err := c.send(ctx, server, query)
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented || reply.Rcode == dns.RcodeBadVers) {
		query.Id, query.Extra = dns.Id(), nil // RFC 6891 §6.2.2
		reply, err = c.send(ctx, server, query)
	}
	if err != nil {
		return nil, err
	}
	switch reply.Rcode {
	case dns.RcodeNameError:
		return reply, nil
	case dns.RcodeSuccess:
		if !isReferral(reply) {
			return reply, nil
		}
		return nil, &rcodeError{lame: true}
	}
	return nil, &rcodeError{rcode: reply.Rcode, extra: extendedError(reply)}
}

// send exchanges one message over UDP, and over TCP if the reply is truncated
// (RFC 7766 §5).
func (c *client) send(ctx context.Context, server string, query *dns.Msg) (*dns.Msg, error) {
	reply, err := c.sendOver(ctx, "udp", server, query)
	if err == nil && reply.Truncated {
		reply, err = c.sendOver(ctx, "tcp", server, query)
		if err == nil && reply.Truncated {
			err = errors.New("the reply is cut off or malformed, also over TCP")
		}
	}
	return reply, err
}

func (c *client) sendOver(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	start := time.Now()
	reply, err := c.exchange(limited, network, server, query)
	switch {
	case err != nil && limited.Err() != nil:
		return nil, fmt.Errorf("no reply over %s within %v", network, time.Since(start).Round(time.Millisecond))
	case err != nil:
		return nil, err
	case !isReplyTo(query, reply):
		return nil, errors.New("the reply is not to this question")
	}
	return reply, nil
}

// isReplyTo reports whether m has the id and the question of query. A server
// that refuses a query may leave the question out.
func isReplyTo(query, m *dns.Msg) bool {
	if m == nil || !m.Response || m.Id != query.Id || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	}
	got, want := m.Question[0], query.Question[0]
	return len(m.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass &&
		strings.EqualFold(got.Name, want.Name)
}

// isReferral tells a referral from an empty answer (RFC 2308 §2.2).
func isReferral(m *dns.Msg) bool {
	ns := false
	for _, rr := range m.Ns {
		switch rr.(type) {
		case *dns.SOA:
			return false
		case *dns.NS:
			ns = true
		}
	}
	return ns && !m.Authoritative && len(m.Answer) == 0
}

// extendedError returns the server's reason in words (RFC 8914), such as
// "DNSSEC Bogus".
func extendedError(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok {
				return dns.ExtendedErrorCodeToString[ede.InfoCode]
			}
		}
	}
	return ""
}

// exchange is the Exchange over the net. Each query has a socket, and so a
// random port, of its own (RFC 5452 §9.2).
func exchange(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = conn.SetDeadline(time.Unix(1, 0)) // ends Read and Write at once
	})
	defer func() {
		if !stop() {
			<-cut
		}
	}()
	c := &dns.Conn{Conn: conn, UDPSize: udpSize}
	if err := c.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		reply, err := readReply(c)
		if err != nil || network == "tcp" || isReplyTo(query, reply) {
			return reply, err
		}
		// A datagram from elsewhere or for an earlier question (RFC 5452 §9.1).
	}
}

// readReply reads one message. One that cannot be parsed is returned as
// truncated, with what was parsed of it: TCP may bring it whole.
func readReply(c *dns.Conn) (*dns.Msg, error) {
	packet, err := c.ReadMsgHeader(nil)
	if errors.Is(err, dns.ErrShortRead) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(packet); err != nil {
		reply.Truncated = true
	}
	return reply, nil
}
