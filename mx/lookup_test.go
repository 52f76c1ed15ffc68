package mx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

const world = `
example.com.       MX 10 mx1.example.com.
example.com.       MX 20 mx2.example.com.
mx1.example.com.   A 192.0.2.1
mx1.example.com.   A 192.0.2.2
mx1.example.com.   AAAA 2001:db8::1
mx2.example.com.   A 192.0.2.3

bare.example.      A 192.0.2.10
empty.example.     TXT "no mail, no address"
null.example.      MX 0 .
null.example.      A 192.0.2.11
null10.example.    MX 10 .
mixed.example.     MX 0 .
mixed.example.     MX 10 mx1.example.com.
dead.example.      MX 10 gone.example.
dead.example.      MX 20 empty.example.
dead.example.      A 192.0.2.12
partly.example.    MX 10 gone.example.
partly.example.    MX 20 mx1.example.com.
numbers.example.   MX 10 192.0.2.1.
numbers.example.   A 192.0.2.13
onenumber.example. MX 10 192.0.2.1.
onenumber.example. MX 20 mx2.example.com.
twice.example.     MX 30 mx2.example.com.
twice.example.     MX 10 mx2.example.com.
twice.example.     MX 20 mx1.example.com.

alias.example.     CNAME alias2.example.
alias2.example.    CNAME example.com.
nowhere.example.   CNAME gone.example.
web.example.       CNAME bare.example.
loop1.example.     CNAME loop2.example.
loop2.example.     CNAME loop1.example.
hostalias.example. MX 10 alias3.example.
alias3.example.    CNAME mx2.example.com.

xn--bcher-kva.example. MX 10 mx2.example.com.
under_score.example.   MX 10 mx_1.example.
mx_1.example.          A 192.0.2.20

only6.example.     AAAA 2001:db8::6
private.example.   MX 10 private-mx.example.
private-mx.example. A 10.0.0.1
odd.example.       MX 10 odd-mx.example.
odd-mx.example.    A 0.0.0.0
odd-mx.example.    A 224.0.0.1
odd-mx.example.    A 255.255.255.255
odd-mx.example.    AAAA fe80::1
odd-mx.example.    AAAA ::ffff:192.0.2.1

self.example.      MX 10 mx1.example.com.
self.example.      MX 20 mx2.example.com.
self.example.      MX 30 mx_1.example.
selfequal.example. MX 10 a.selfequal.example.
selfequal.example. MX 20 mx2.example.com.
selfequal.example. MX 20 mx_1.example.
a.selfequal.example. A 192.0.2.30
local.example.     MX 10 localhost.
`

func TestLookup(t *testing.T) {
	mx1 := Host{"mx1.example.com", 10, addrs("192.0.2.1", "192.0.2.2", "2001:db8::1")}
	mx2 := Host{"mx2.example.com", 20, addrs("192.0.2.3")}
	pref := func(h Host, p uint16) Host { h.Preference = p; return h }
	d := newZone(t, world).resolver(t, nil)
	for _, tc := range []struct {
		domain   string
		want     Route
		implicit bool
	}{
		{domain: "example.com", want: Route{Site: "(mx1|mx2).example.com", Hosts: []Host{mx1, mx2}}},
		{domain: "EXAMPLE.Com.", want: Route{Domain: "example.com", Site: "(mx1|mx2).example.com", Hosts: []Host{mx1, mx2}}},
		{domain: "bare.example", want: Route{Site: "bare.example", Implicit: true, Hosts: []Host{{"bare.example", 0, addrs("192.0.2.10")}}}},
		{domain: "only6.example", want: Route{Site: "only6.example", Implicit: true, Hosts: []Host{{"only6.example", 0, addrs("2001:db8::6")}}}},
		{domain: "mixed.example", want: Route{Site: "mx1.example.com", Hosts: []Host{mx1}}},
		{domain: "partly.example", want: Route{Site: "(gone.example|mx1.example.com)", Hosts: []Host{pref(mx1, 20)}}},
		{domain: "onenumber.example", want: Route{Site: "mx2.example.com", Hosts: []Host{mx2}}},
		{domain: "twice.example", want: Route{Site: "(mx1|mx2).example.com", Hosts: []Host{pref(mx2, 10), pref(mx1, 20)}}},
		{domain: "alias.example", want: Route{Site: "(mx1|mx2).example.com", Hosts: []Host{mx1, mx2}}},
		{domain: "web.example", want: Route{Site: "bare.example", Implicit: true, Hosts: []Host{{"bare.example", 0, addrs("192.0.2.10")}}}},
		{domain: "hostalias.example", want: Route{Site: "alias3.example", Hosts: []Host{{"alias3.example", 10, addrs("192.0.2.3")}}}},
		{domain: "Bücher.example", want: Route{Domain: "xn--bcher-kva.example", Site: "mx2.example.com", Hosts: []Host{pref(mx2, 10)}}},
		{domain: "bücher。example。", want: Route{Domain: "xn--bcher-kva.example", Site: "mx2.example.com", Hosts: []Host{pref(mx2, 10)}}},
		{domain: "under_score.example", want: Route{Site: "mx_1.example", Hosts: []Host{{"mx_1.example", 10, addrs("192.0.2.20")}}}},
		{domain: "[192.0.2.1]", want: Route{Site: "[192.0.2.1]", Hosts: []Host{{"192.0.2.1", 0, addrs("192.0.2.1")}}}},
		{domain: "[ipv6:2001:DB8::0:1]", want: Route{Domain: "[IPv6:2001:db8::1]", Site: "[IPv6:2001:db8::1]", Hosts: []Host{{"2001:db8::1", 0, addrs("2001:db8::1")}}}},
	} {
		t.Run(tc.domain, func(t *testing.T) {
			r, err := d.Lookup(t.Context(), tc.domain)
			require.NoError(t, err)
			got := *r
			require.False(t, got.Expires.IsZero())
			got.Expires = tc.want.Expires
			if tc.want.Domain == "" {
				tc.want.Domain = tc.domain
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestLookupFailure(t *testing.T) {
	z := newZone(t, world)
	z.fail("servfail.example.", dns.RcodeServerFailure)
	z.fail("refused.example.", dns.RcodeRefused)
	z.fail("bare.example. MX", dns.RcodeServerFailure)
	d := z.resolver(t, nil)
	for _, tc := range []struct {
		domain  string
		failure Failure
		text    string
	}{
		{"gone.example", NoDomain, "mx: gone.example does not exist (NXDOMAIN)"},
		{"nowhere.example", NoDomain, ""},
		{"null.example", NullMX, "mx: null.example takes no mail (null MX, RFC 7505)"},
		{"null10.example", NullMX, ""},
		{"empty.example", NoHosts, "mx: empty.example has no usable mail server: no address (A or AAAA)"},
		{"dead.example", NoHosts, "mx: dead.example has no usable mail server: mx: gone.example does not exist (NXDOMAIN)"},
		{"numbers.example", NoHosts, "numbers.example has no usable mail server: \"192.0.2.1.\" is not a host name"},
		{"odd.example", NoHosts, "0.0.0.0 cannot be the address of a mail server"},
		{"servfail.example", Temporary, "DNS server 192.0.2.53:53, question servfail.example. MX: SERVFAIL"},
		{"refused.example", Temporary, "REFUSED"},
		{"bare.example", Temporary, "SERVFAIL"}, // not the implicit MX
		{"loop1.example", Temporary, "aliases"},
		{"local.example", Loop, "mx: local.example: the best mail server is this system itself"},
		{"", BadDomain, `mx: "" is not a domain: it is empty`},
		{"a b.example", BadDomain, `' ' cannot be part of it`},
		{"192.0.2.1", BadDomain, "written [192.0.2.1]"},
		{"[192.0.2.1", BadDomain, "closing bracket"},
		{"[0.0.0.0]", NoHosts, "0.0.0.0 cannot be"},
	} {
		t.Run(tc.domain, func(t *testing.T) {
			r, err := d.Lookup(t.Context(), tc.domain)
			require.Nil(t, r)
			e := requireFailure(t, err, tc.failure)
			require.Equal(t, tc.domain, e.Domain)
			require.ErrorContains(t, err, tc.text)
		})
	}
}

func TestTemporaryHosts(t *testing.T) {
	z := newZone(t, world)
	d := z.resolver(t, nil)

	z.fail("mx1.example.com.", dns.RcodeServerFailure)
	r, err := d.Lookup(t.Context(), "example.com")
	require.NoError(t, err, "one host is enough")
	require.Equal(t, []string{"mx2.example.com"}, hostNames(r))
	require.Equal(t, "(mx1|mx2).example.com", r.Site, "the site does not depend on what fails")

	z.fail("mx2.example.com.", dns.RcodeServerFailure)
	d = z.resolver(t, nil)
	_, err = d.Lookup(t.Context(), "example.com")
	requireFailure(t, err, Temporary)

	_, err = d.Lookup(t.Context(), "partly.example")
	requireFailure(t, err, Temporary) // one host does not exist, of the other it is not known

	z.fail("only6.example. A", dns.RcodeServerFailure)
	r, err = d.Lookup(t.Context(), "only6.example")
	require.NoError(t, err, "one family is enough")
	require.Equal(t, addrs("2001:db8::6"), r.Hosts[0].Addrs)

	z.fail("empty.example. AAAA", dns.RcodeServerFailure)
	_, err = d.Lookup(t.Context(), "empty.example")
	requireFailure(t, err, Temporary) // perhaps it has an IPv6 address
}

func TestSelf(t *testing.T) {
	z := newZone(t, world)
	for _, tc := range []struct {
		self   []string
		domain string
		want   []string // nil: Loop
	}{
		{nil, "self.example", []string{"mx1.example.com", "mx2.example.com", "mx_1.example"}},
		{[]string{"MX2.example.com."}, "self.example", []string{"mx1.example.com"}},
		{[]string{"192.0.2.3"}, "self.example", []string{"mx1.example.com"}},
		{[]string{"::ffff:192.0.2.3"}, "self.example", []string{"mx1.example.com"}},
		{[]string{"mx_1.example"}, "self.example", []string{"mx1.example.com", "mx2.example.com"}},
		{[]string{"2001:db8::1"}, "self.example", nil},
		{[]string{"mx1.example.com"}, "self.example", nil},
		{[]string{"mx_1.example"}, "selfequal.example", []string{"a.selfequal.example"}},
		{[]string{"192.0.2.20"}, "selfequal.example", []string{"a.selfequal.example"}},
		{[]string{"192.0.2.3"}, "selfequal.example", []string{"a.selfequal.example"}},
		{[]string{"bare.example"}, "bare.example", nil},
		{[]string{"192.0.2.10"}, "bare.example", nil},
		{[]string{"192.0.2.1"}, "[192.0.2.1]", nil},
	} {
		t.Run(fmt.Sprint(tc.self, tc.domain), func(t *testing.T) {
			r, err := z.resolver(t, &Config{Self: tc.self}).Lookup(t.Context(), tc.domain)
			if tc.want == nil {
				requireFailure(t, err, Loop)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, hostNames(r))
		})
	}
	t.Run("better host unknown", func(t *testing.T) {
		z.fail("mx1.example.com.", dns.RcodeServerFailure)
		_, err := z.resolver(t, &Config{Self: []string{"192.0.2.3"}}).Lookup(t.Context(), "self.example")
		requireFailure(t, err, Temporary)
	})
}

func TestFamilyAndAllow(t *testing.T) {
	z := newZone(t, world)
	public := func(a netip.Addr) bool { return !a.IsPrivate() && !a.IsLoopback() }
	for _, tc := range []struct {
		cfg    Config
		domain string
		want   []netip.Addr // nil: NoHosts
	}{
		{Config{Family: IPv4First}, "example.com", addrs("192.0.2.1", "192.0.2.2", "2001:db8::1")},
		{Config{Family: IPv6First}, "example.com", addrs("2001:db8::1", "192.0.2.1", "192.0.2.2")},
		{Config{Family: IPv4Only}, "example.com", addrs("192.0.2.1", "192.0.2.2")},
		{Config{Family: IPv6Only}, "example.com", addrs("2001:db8::1")},
		{Config{Family: IPv4Only}, "only6.example", nil},
		{Config{Family: IPv6Only}, "bare.example", nil},
		{Config{Family: IPv4Only}, "[IPv6:2001:db8::1]", nil},
		{Config{Family: IPv6Only}, "[IPv6:2001:db8::1]", addrs("2001:db8::1")},
		{Config{}, "private.example", addrs("10.0.0.1")},
		{Config{Allow: public}, "private.example", nil},
		{Config{Allow: public}, "[127.0.0.1]", nil},
		{Config{Allow: public}, "bare.example", addrs("192.0.2.10")},
	} {
		t.Run(fmt.Sprint(tc.cfg.Family, tc.domain, tc.cfg.Allow != nil), func(t *testing.T) {
			r, err := z.resolver(t, &tc.cfg).Lookup(t.Context(), tc.domain)
			if tc.want == nil {
				requireFailure(t, err, NoHosts)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, r.Hosts[0].Addrs)
		})
	}
	fresh := newZone(t, world)
	_, err := fresh.resolver(t, &Config{Family: IPv4Only}).Lookup(t.Context(), "bare.example")
	require.NoError(t, err)
	require.Equal(t, 1, fresh.count("bare.example. A"))
	require.Zero(t, fresh.count("bare.example. AAAA"))
}

// A server that does not follow aliases itself is asked on.
func TestAliasesOneByOne(t *testing.T) {
	z := newZone(t, world)
	one := func(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
		r, err := z.exchange(ctx, network, server, q)
		if len(r.Answer) > 0 && r.Answer[0].Header().Rrtype == dns.TypeCNAME {
			r.Answer, r.Rcode = r.Answer[:1], dns.RcodeSuccess
		}
		return r, err
	}
	d := z.resolver(t, &Config{Exchange: one})
	r, err := d.Lookup(t.Context(), "alias.example")
	require.NoError(t, err)
	require.Equal(t, "(mx1|mx2).example.com", r.Site)
	_, err = d.Lookup(t.Context(), "nowhere.example")
	requireFailure(t, err, NoDomain)
	_, err = d.Lookup(t.Context(), "loop1.example")
	requireFailure(t, err, Temporary)
	require.LessOrEqual(t, z.count("loop1.example. MX")+z.count("loop2.example. MX"), maxAliases+1)
}

func TestLongAliases(t *testing.T) {
	chain := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "c%d.example. CNAME c%d.example.\n", i, i+1)
		}
		fmt.Fprintf(&b, "c%d.example. MX 10 mx.example.\nmx.example. A 192.0.2.1\n", n)
		return b.String()
	}
	_, err := newZone(t, chain(maxAliases)).resolver(t, nil).Lookup(t.Context(), "c0.example")
	require.NoError(t, err)
	_, err = newZone(t, chain(maxAliases+1)).resolver(t, nil).Lookup(t.Context(), "c0.example")
	requireFailure(t, err, Temporary)
}

func TestBounds(t *testing.T) {
	var b strings.Builder
	for i := range 50 {
		fmt.Fprintf(&b, "many.example. MX %d mx%02d.example.\nmx%02d.example. A 192.0.2.%d\n", 50-i, i, i, i+1)
		fmt.Fprintf(&b, "wide.example. A 192.0.2.%d\nwide.example. AAAA 2001:db8::%d\n", i+1, i+1)
	}
	d := newZone(t, b.String()).resolver(t, nil)
	r, err := d.Lookup(t.Context(), "many.example")
	require.NoError(t, err)
	require.Len(t, r.Hosts, maxHosts)
	require.Equal(t, "mx49.example", r.Hosts[0].Name, "the best are kept")
	require.Regexp(t, `^mx00\.example\+49~[0-9a-f]{16}$`, r.Site)
	r, err = d.Lookup(t.Context(), "wide.example")
	require.NoError(t, err)
	require.Len(t, r.Hosts[0].Addrs, 2*maxAddrs)
}

func TestEqualHostsShareTheLoad(t *testing.T) {
	z := newZone(t, `
a.example. MX 10 m1.example.
a.example. MX 10 m2.example.
a.example. MX 10 m3.example.
a.example. MX 20 b1.example.
a.example. MX 20 b2.example.
m1.example. A 192.0.2.1
m2.example. A 192.0.2.2
m3.example. A 192.0.2.3
b1.example. A 192.0.2.4
b2.example. A 192.0.2.5
`)
	d := z.resolver(t, nil)
	const n = 3000
	first := map[string]int{}
	for range n {
		r, err := d.Lookup(t.Context(), "a.example")
		require.NoError(t, err)
		require.Equal(t, []uint16{10, 10, 10, 20, 20}, preferences(r))
		first[r.Hosts[0].Name]++
	}
	for _, m := range []string{"m1.example", "m2.example", "m3.example"} {
		require.InDelta(t, n/3, first[m], n/10, "%v", first)
	}
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = d.Lookup(t.Context(), "a.example") }), 0.0)

	// The load of a host that is down falls on all the others.
	all := d.routes.fresh("a.example", time.Now()).val
	second, fourth := map[string]int{}, map[string]int{}
	for range 200 {
		r := all.order(1)
		require.Equal(t, all.route.Hosts[1], r.Hosts[0])
		second[r.Hosts[1].Name]++
		fourth[r.Hosts[3].Name]++
	}
	require.Len(t, second, 2)
	require.Len(t, fourth, 2)
}

func preferences(r *Route) []uint16 {
	list := make([]uint16, len(r.Hosts))
	for i, h := range r.Hosts {
		list[i] = h.Preference
	}
	return list
}

func TestGoogle(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "d%d.example. MX %d aspmx.l.google.com.\n", i, 1+i%3)
		for j := range 4 {
			fmt.Fprintf(&b, "d%d.example. MX %d ALT%d.aspmx.l.google.com.\n", i, 5+5*(j/2), j+1)
		}
	}
	b.WriteString("aspmx.l.google.com. A 192.0.2.1\n")
	for j := range 4 {
		fmt.Fprintf(&b, "alt%d.aspmx.l.google.com. A 192.0.2.%d\n", j+1, j+2)
	}
	z := newZone(t, b.String())
	d := z.resolver(t, nil)
	for i := range 200 {
		r, err := d.Lookup(t.Context(), fmt.Sprintf("d%d.example", i))
		require.NoError(t, err)
		require.Equal(t, "(alt1|alt2|alt3|alt4)?.aspmx.l.google.com", r.Site)
	}
	require.Equal(t, 200+5*2, z.total(), "the hosts are asked for once")
}

func TestErrorIs(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("wrapped: %w", &Error{Domain: "a.example", Failure: NoHosts, Err: cause})
	require.ErrorIs(t, err, cause)
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	require.Equal(t, "no hosts", e.Failure.String())
	require.Equal(t, "mx: a.example: unknown failure", (&Error{Domain: "a.example", Failure: 99}).Error())
	require.Equal(t, "failure 99", Failure(99).String())
}
