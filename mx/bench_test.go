package mx

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// One Lookup for each message of a busy domain.
func BenchmarkLookupCached(b *testing.B) {
	d := newZone(b, world+`
google.example. MX 1 aspmx.l.google.com.
google.example. MX 5 alt1.aspmx.l.google.com.
google.example. MX 5 alt2.aspmx.l.google.com.
aspmx.l.google.com. A 192.0.2.1
alt1.aspmx.l.google.com. A 192.0.2.2
alt2.aspmx.l.google.com. A 192.0.2.3
`).resolver(b, nil)
	for _, domain := range []string{"example.com", "google.example", "Google.Example", "bücher.example", "[192.0.2.1]", "null.example"} {
		b.Run(domain, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = d.Lookup(b.Context(), domain)
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = d.Lookup(b.Context(), "google.example")
			}
		})
	})
}

// Domains seen for the first time, and what the cache holds for each: here
// with two equal hosts of one provider.
func BenchmarkLookupNew(b *testing.B) {
	z := newZone(b, "mx1.provider.example. A 192.0.2.1\nmx2.provider.example. A 192.0.2.2\n")
	d := z.resolver(b, &Config{CacheSize: 1 << 30, Exchange: provider(z)})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		_, err := d.Lookup(b.Context(), fmt.Sprintf("customer%d.example", n))
		require.NoError(b, err)
		n++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "heap-B/domain")
	runtime.KeepAlive(d)
}

// provider answers MX questions for any customer's domain without a record each.
func provider(z *zone) Exchange {
	return func(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
		name := q.Question[0].Name
		if !strings.HasPrefix(name, "customer") {
			return z.exchange(ctx, network, server, q)
		}
		r := new(dns.Msg).SetReply(q)
		for _, host := range []string{"mx1.provider.example.", "mx2.provider.example."} {
			hdr := dns.RR_Header{Name: name, Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 3600}
			r.Answer = append(r.Answer, &dns.MX{Hdr: hdr, Preference: 10, Mx: strings.Clone(host)})
		}
		return r, nil
	}
}
