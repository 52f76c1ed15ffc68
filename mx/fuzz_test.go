package mx

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// FuzzReplies makes routes of arbitrary replies: one for questions of type MX,
// one for the addresses.
func FuzzReplies(f *testing.F) {
	z := newZone(f, world+ttls)
	reply := func(name string, qtype uint16, rcode int) []byte {
		m := z.reply(new(dns.Msg).SetQuestion(name, qtype))
		m.Rcode = max(m.Rcode, rcode)
		out, err := m.Pack()
		require.NoError(f, err)
		return out
	}
	a := reply("mx1.example.com.", dns.TypeA, 0)
	for _, name := range []string{"example.com.", "alias.example.", "null.example.", "mixed.example.", "loop1.example.", "gone.example.", "no.top.example.", "numbers.example.", "long.example.", "empty.example."} {
		f.Add(reply(name, dns.TypeMX, 0), a)
		f.Add(reply(name, dns.TypeMX, 0), reply("odd-mx.example.", dns.TypeAAAA, 0))
	}
	f.Add(reply("example.com.", dns.TypeMX, dns.RcodeServerFailure), a)
	f.Add(reply("empty.example.", dns.TypeMX, 0), reply("empty.example.", dns.TypeA, dns.RcodeRefused))

	f.Fuzz(func(t *testing.T, mxReply, addrReply []byte) {
		var published []string // exchangers in the MX reply
		rcode := dns.RcodeSuccess
		exchange := func(_ context.Context, network, _ string, q *dns.Msg) (*dns.Msg, error) {
			packet := addrReply
			if q.Question[0].Qtype == dns.TypeMX {
				packet = mxReply
			}
			m := new(dns.Msg)
			if err := m.Unpack(packet); err != nil {
				return nil, err
			}
			// Whatever is asked, the replies are about it.
			for _, rr := range m.Answer {
				if len(m.Question) == 1 && strings.EqualFold(rr.Header().Name, m.Question[0].Name) {
					rr.Header().Name = q.Question[0].Name
				}
			}
			m.Id, m.Question, m.Response, m.Opcode, m.Truncated = q.Id, q.Question, true, dns.OpcodeQuery, false
			if q.Question[0].Qtype == dns.TypeMX && q.Question[0].Name == "fuzz.example." {
				rcode = m.Rcode
				published = nil
				for _, rr := range recordsAt[*dns.MX](m, "fuzz.example.") {
					published = append(published, strings.ToLower(strings.TrimSuffix(rr.Mx, ".")))
				}
			}
			return m, nil
		}
		d, err := New(Config{Servers: []string{"192.0.2.53"}, Attempts: 1, Exchange: exchange})
		require.NoError(t, err)
		start := time.Now()
		r, err := d.Lookup(t.Context(), "fuzz.example")
		if err != nil {
			require.Nil(t, r)
			e, ok := err.(*Error)
			require.True(t, ok)
			require.Equal(t, "fuzz.example", e.Domain)
			require.NotEqual(t, BadDomain, e.Failure)
			require.NotEmpty(t, err.Error())
			return
		}
		checkRoute(t, r, start)
		require.Contains(t, []int{dns.RcodeSuccess, dns.RcodeNameError}, rcode)
		if len(published) > 0 {
			require.False(t, r.Implicit)
			for _, name := range hostNames(r) {
				require.Contains(t, published, name)
			}
		}
	})
}

// checkRoute checks what holds for every Route.
func checkRoute(t *testing.T, r *Route, start time.Time) {
	require.Equal(t, "fuzz.example", r.Domain)
	require.NotEmpty(t, r.Site)
	require.LessOrEqual(t, len(r.Site), maxName+30)
	require.Empty(t, strings.Trim(r.Site, "abcdefghijklmnopqrstuvwxyz0123456789-_.()|?+~"))
	require.True(t, r.Expires.After(start))
	require.False(t, r.Expires.After(time.Now().Add(24*time.Hour)))
	require.NotEmpty(t, r.Hosts)
	require.LessOrEqual(t, len(r.Hosts), maxHosts)
	require.True(t, slices.IsSortedFunc(r.Hosts, func(a, b Host) int { return cmp.Compare(a.Preference, b.Preference) }))
	if r.Implicit {
		require.Len(t, r.Hosts, 1)
		require.Equal(t, r.Hosts[0].Name, r.Site)
	}
	for _, h := range r.Hosts {
		name, err := normalize(h.Name)
		require.NoError(t, err)
		require.Equal(t, name, h.Name)
		require.NotEmpty(t, h.Addrs)
		require.LessOrEqual(t, len(h.Addrs), 2*maxAddrs)
		for _, addr := range h.Addrs {
			require.True(t, addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.Is4In6())
			require.NotEqual(t, netip.MustParseAddr("255.255.255.255"), addr)
		}
	}
}
