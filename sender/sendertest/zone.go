package sendertest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/volleymail/volley/mx"
	"golang.org/x/net/idna"
)

// Domain is what the DNS says of a recipient domain. The zero Domain exists
// and has neither mail servers nor an address.
type Domain struct {
	// MX lists the domain's mail servers. They need not exist.
	MX []MX
	// NullMX says that the domain takes no mail at all (RFC 7505).
	NullMX bool
	// Address names a host whose address the domain has itself. Without MX,
	// mail goes there (RFC 5321 §5.1).
	Address string
	// Fail answers every question with SERVFAIL: its name servers are broken.
	Fail bool
	// Delay is waited before each answer.
	Delay time.Duration
	// TTL is how long answers may be remembered, in whole seconds. 0 means 5 minutes.
	TTL time.Duration
}

// MX is a mail server of a domain; the lowest preference is tried first.
type MX struct {
	Preference uint16
	Host       string
}

// zone is all that the sandbox's DNS knows.
type zone struct {
	mu      sync.Mutex
	domains map[string]Domain     // guarded by mu
	addrs   map[string]netip.Addr // guarded by mu; of hosts
	texts   map[string][]string   // guarded by mu; TXT records
}

func newZone() *zone {
	return &zone{
		domains: make(map[string]Domain),
		addrs:   make(map[string]netip.Addr),
		texts:   make(map[string][]string),
	}
}

// AddDomain gives a domain the mail servers of these names with the preferences
// 10, 20 and so on. Domains that were never added do not exist (NXDOMAIN). The
// domain may be in Unicode.
func (s *Sandbox) AddDomain(domain string, hosts ...string) {
	var d Domain
	for i, host := range hosts {
		d.MX = append(d.MX, MX{Preference: uint16(10 * (i + 1)), Host: host})
	}
	s.SetDomain(domain, d)
}

// SetDomain adds or changes a domain in every detail.
func (s *Sandbox) SetDomain(domain string, d Domain) {
	d.MX = slices.Clone(d.MX)
	s.zone.mu.Lock()
	defer s.zone.mu.Unlock()
	s.zone.domains[zoneName(domain)] = d
}

// SetTXT publishes TXT records, such as a DKIM key; none removes them.
func (s *Sandbox) SetTXT(name string, texts ...string) {
	s.zone.mu.Lock()
	defer s.zone.mu.Unlock()
	s.zone.texts[zoneName(name)] = slices.Clone(texts)
}

// Resolver returns a resolver that knows the sandbox's domains only. Each call
// returns a new one, which remembers nothing yet.
func (s *Sandbox) Resolver() mx.Resolver {
	r, err := mx.New(mx.Config{
		Servers:  []string{"198.19.255.53"}, // never dialled
		MinTTL:   time.Second,
		Exchange: s.exchange,
	})
	if err != nil {
		panic("sendertest: " + err.Error()) // the configuration is constant
	}
	return r
}

// exchange answers a query from the zone.
func (s *Sandbox) exchange(ctx context.Context, _, _ string, query *dns.Msg) (*dns.Msg, error) {
	reply, delay := s.zone.reply(query)
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return reply, nil
}

func (z *zone) addAddress(name string, addr netip.Addr) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.addrs[zoneName(name)] = addr
}

// reply answers a query as a recursive server does.
func (z *zone) reply(query *dns.Msg) (*dns.Msg, time.Duration) {
	m := new(dns.Msg).SetReply(query)
	m.RecursionAvailable = true
	if len(query.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		return m, 0
	}
	if opt := query.IsEdns0(); opt != nil {
		m.SetEdns0(opt.UDPSize(), false)
	}
	q := query.Question[0]
	name := zoneName(q.Name)
	z.mu.Lock()
	defer z.mu.Unlock()
	d, isDomain := z.domains[name]
	addr, isHost := z.addrs[name]
	texts := z.texts[name]
	if d.Fail {
		m.Rcode = dns.RcodeServerFailure
		return m, d.Delay
	}
	ttl := d.ttl()
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
	switch q.Qtype {
	case dns.TypeMX:
		m.Answer = d.mailServers(header)
	case dns.TypeA:
		if !isHost && d.Address != "" {
			addr, isHost = z.addrs[zoneName(d.Address)]
		}
		if isHost {
			m.Answer = []dns.RR{&dns.A{Hdr: header, A: addr.AsSlice()}}
		}
	case dns.TypeTXT:
		for _, text := range texts {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: header, Txt: splitText(text)})
		}
	}
	if len(m.Answer) == 0 {
		if !isDomain && !isHost && len(texts) == 0 {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = []dns.RR{&dns.SOA{
			Hdr:    dns.RR_Header{Name: q.Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
			Ns:     "ns.invalid.",
			Mbox:   "hostmaster.invalid.",
			Minttl: ttl,
		}}
	}
	return m, d.Delay
}

func (d *Domain) ttl() uint32 {
	if d.TTL == 0 {
		return 300
	}
	return uint32(d.TTL / time.Second)
}

func (d *Domain) mailServers(header dns.RR_Header) []dns.RR {
	if d.NullMX {
		return []dns.RR{&dns.MX{Hdr: header, Mx: "."}}
	}
	var list []dns.RR
	for _, record := range d.MX {
		list = append(list, &dns.MX{Hdr: header, Preference: record.Preference, Mx: dns.Fqdn(zoneName(record.Host))})
	}
	return list
}

// splitText cuts a text into the strings of at most 255 octets that a TXT
// record is made of (RFC 1035 §3.3.14).
func splitText(text string) []string {
	var parts []string
	for len(text) > 255 {
		parts, text = append(parts, text[:255]), text[255:]
	}
	return append(parts, text)
}

// zoneName is a name as the zone knows it: lower case, A-labels, no final dot.
func zoneName(name string) string {
	if !isASCII(name) {
		if ascii, err := idna.Lookup.ToASCII(name); err == nil {
			name = ascii
		}
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
