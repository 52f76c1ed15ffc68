package main

import (
	"strings"
	"time"

	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// provider is a mailbox provider of the demonstration's internet. The names are
// invented; the sizes and limits are in the manner of real ones.
type provider struct {
	domains []string // the first one gets the larger part of the recipients
	share   int      // recipients of 10,000
	mx      []string // its mail servers; nil = "mx." and the first domain
	server  sendertest.Behavior
	limits  throttle.Limits    // what our policy keeps to there
	zone    *sendertest.Domain // what the DNS says in place of the mail servers
}

const ms = time.Millisecond

// second is a rate.
func second(n int) []throttle.Rate { return []throttle.Rate{{N: n, Per: time.Second}} }

// limits are connections at once and messages for each, the two figures that are
// known of most providers.
func limits(conns, messages int, rates ...throttle.Rate) throttle.Limits {
	return throttle.Limits{Conns: conns, Messages: messages, Rates: rates}
}

// host is a server that insists on the same.
func host(latency time.Duration, conns, messages int) sendertest.Behavior {
	return sendertest.Behavior{Latency: latency, MaxConns: conns, MaxMessages: messages}
}

// healthy are the providers with whom all is well, as long as their limits are
// kept.
var healthy = []provider{
	{domains: []string{"bigmail.example", "wren-works.example", "hillside-school.example"}, share: 2474, mx: []string{"mx1.bigmail.example", "mx2.bigmail.example"}, server: host(10*ms, 5, 50), limits: limits(5, 50, second(170)...)},
	{domains: []string{"outpost.example"}, share: 1500, server: host(15*ms, 5, 50), limits: limits(5, 50, second(100)...)},
	{domains: []string{"yonder.example", "oldtown-net.example"}, share: 1200, server: host(20*ms, 0, 20), limits: limits(8, 20, second(90)...)},
	{domains: []string{"orchard.example"}, share: 900, server: host(10*ms, 10, 5), limits: limits(10, 5, second(80)...)},
	{domains: []string{"cablecast.example"}, share: 600, server: host(15*ms, 25, 1000), limits: limits(5, 200, second(50)...)},
	{domains: []string{"gimx.example", "webby.example"}, share: 500, server: host(20*ms, 4, 20), limits: limits(4, 20, second(50)...)},
	{domains: []string{"clementine.example"}, share: 400, server: host(25*ms, 2, 100), limits: limits(2, 100)},
	{domains: []string{"penguin-im.example"}, share: 360, server: host(60*ms, 4, 8), limits: limits(4, 8)},
	{domains: []string{"river163.example"}, share: 300, server: host(60*ms, 4, 7), limits: limits(4, 7)},
	{domains: []string{"mimeguard.example"}, share: 250, server: host(20*ms, 10, 100), limits: limits(10, 100, second(30)...)},
	{domains: []string{"moatworks.example"}, share: 230, server: host(20*ms, 10, 15), limits: limits(10, 15, second(30)...)},
	{domains: []string{"polder.example"}, share: 200, server: host(15*ms, 10, 10), limits: limits(5, 10, second(25)...)},
	{domains: []string{"vieux-carre.example"}, share: 180, server: sendertest.Behavior{Latency: 30 * ms, Without: sendertest.Chunking | sendertest.Pipelining}, limits: limits(2, 50)},
}

// troubled are those with whom something is wrong.
var troubled = []provider{
	// Defers the first contact.
	{domains: []string{"cautious.example"}, share: 200, server: sendertest.Behavior{Latency: 15 * ms, Greylist: 2 * time.Second}, limits: limits(5, 50)},
	// Allows less than our policy thinks, and says 421 above that.
	{domains: []string{"strict.example"}, share: 220, server: sendertest.Behavior{Latency: 15 * ms, Rate: sendertest.Rate{N: 40, Reply: sendertest.Answer("421 4.7.0 Too many messages from your address, slow down")}}, limits: limits(4, 50, second(60)...)},
	// Loses connections.
	{domains: []string{"flaky.example"}, share: 180, server: sendertest.Behavior{Latency: 20 * ms, Drops: []sendertest.Drop{
		{At: sendertest.StageMail, P: 0.03}, {At: sendertest.StageBody, P: 0.03}, {At: sendertest.StageDot, P: 0.01}}}, limits: limits(3, 20)},
	// Breaks the TLS handshake.
	{domains: []string{"rusty-tls.example"}, share: 120, server: sendertest.Behavior{Latency: 15 * ms, BreakTLS: true}, limits: limits(3, 50)},
	// Blocks our address.
	{domains: []string{"fortress.example"}, share: 6, server: sendertest.Behavior{Latency: 15 * ms,
		Sender: always("550 5.7.1 Service unavailable, client host blocked using the example blocklist")}, limits: limits(3, 50)},
	// Answers slowly on purpose.
	{domains: []string{"molasses.example"}, share: 30, server: sendertest.Behavior{Tarpit: 600 * ms}, limits: limits(5, 50)},
	// Does not answer at all.
	{domains: []string{"deadletter.example"}, share: 50, server: sendertest.Behavior{Dead: true}, limits: limits(5, 50)},
	// Has two servers, of which the first one is dead.
	{domains: []string{"onelegged.example"}, share: 60, mx: []string{"dead.onelegged.example", "mx.onelegged.example"}, server: sendertest.Behavior{Latency: 15 * ms}, limits: limits(5, 50)},
	// Does not exist: typing errors.
	{domains: []string{"bigmial.example", "outpots.example"}, share: 25, zone: nil},
	// Takes no mail at all (RFC 7505).
	{domains: []string{"no-mail.example"}, share: 10, zone: &sendertest.Domain{NullMX: true}},
	// Has broken name servers.
	{domains: []string{"lame-dns.example"}, share: 5, zone: &sendertest.Domain{Fail: true}},
}

// always gives the same answer to every sender.
func always(line string) func(string) *sendertest.Reply {
	reply := sendertest.Answer(line)
	return func(string) *sendertest.Reply { return reply }
}

// Recipients whose addresses begin so are gone, or full.
const (
	goneMark = "gone-"
	fullMark = "full-"
)

// mailbox is Behavior.Recipient of all providers.
func mailbox(addr string) *sendertest.Reply {
	switch {
	case strings.HasPrefix(addr, goneMark):
		return noUser
	case strings.HasPrefix(addr, fullMark):
		return overQuota
	default:
		return nil
	}
}

var (
	noUser    = sendertest.Answer("550 5.1.1 No such user here")
	overQuota = sendertest.Answer("452 4.2.2 Mailbox full")
)

// servers are the provider's mail servers.
func (p *provider) servers() []string {
	if p.mx != nil {
		return p.mx
	}
	return []string{"mx." + p.domains[0]}
}

// settle gives the provider its place in the sandbox.
func (p *provider) settle(s *sendertest.Sandbox) {
	switch {
	case p.zone != nil:
		for _, domain := range p.domains {
			s.SetDomain(domain, *p.zone)
		}
		return
	case p.limits.Conns == 0: // the domains do not exist
		return
	}
	p.server.Recipient = mailbox
	for _, name := range p.servers() {
		b := p.server
		b.Dead = b.Dead || strings.HasPrefix(name, "dead.")
		s.AddHost(name, b)
	}
	for _, domain := range p.domains {
		s.AddDomain(domain, p.servers()...)
	}
}

// policy is our knowledge of the providers' limits: a throttle.Policy in a few
// lines.
func policy(providers []provider) throttle.PolicyFunc {
	known := map[string]throttle.Limits{}
	for _, p := range providers {
		for _, domain := range p.domains {
			known[domain] = p.limits
		}
	}
	return func(k throttle.Key) throttle.Limits {
		if l, ok := known[k.Domain]; ok {
			return l
		}
		return throttle.DefaultLimits()
	}
}
