package mx

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

const ttls = `
example.com.     600 MX 10 mx1.example.com.
mx1.example.com. 200 A 192.0.2.1
short.example.   1 MX 10 short-mx.example.
short-mx.example. 1 A 192.0.2.2
far.example.     600 MX 10 long-mx.example.
long.example.    9999999 MX 10 long-mx.example.
long-mx.example. 9999999 A 192.0.2.3
top.example.     7200 SOA ns.top.example. root.top.example. 1 1 1 1 300
slow.example.    90 SOA ns.top.example. root.top.example. 1 1 1 1 99999
ever.example.    999999 SOA ns.top.example. root.top.example. 1 1 1 1 999999
null.example.    600 MX 0 .
`

// lookups looks a domain up and fails the test if the answer is not as wanted.
type lookups struct {
	t *testing.T
	d *DNS
}

func (l lookups) ok(domain string) *Route {
	l.t.Helper()
	r, err := l.d.Lookup(l.t.Context(), domain)
	require.NoError(l.t, err)
	return r
}

func (l lookups) fails(domain string, f Failure) *Error {
	l.t.Helper()
	_, err := l.d.Lookup(l.t.Context(), domain)
	return requireFailure(l.t, err, f)
}

func TestExpiry(t *testing.T) {
	for _, tc := range []struct {
		domain string
		cfg    Config
		want   time.Duration // until the MX question is asked again
	}{
		{"far.example", Config{}, 600 * time.Second},
		{"short.example", Config{}, time.Minute},
		{"short.example", Config{MinTTL: time.Second}, time.Second},
		{"long.example", Config{}, 24 * time.Hour},
		{"long.example", Config{MaxTTL: 2 * time.Hour}, 2 * time.Hour},
		{"null.example", Config{}, 600 * time.Second},
		{"no.top.example", Config{}, 300 * time.Second},                                // SOA minimum
		{"no.slow.example", Config{}, 90 * time.Second},                                // TTL of the SOA
		{"no.ever.example", Config{}, time.Hour},                                       // MaxNegativeTTL
		{"no.top.example", Config{MaxNegativeTTL: 10 * time.Second}, 10 * time.Second}, // prevails over MinTTL
		{"no.example", Config{}, time.Minute},                                          // no SOA
		{"servfail.example", Config{}, 30 * time.Second},                               // FailureTTL
		{"servfail.example", Config{FailureTTL: 5 * time.Second}, 5 * time.Second},
	} {
		t.Run(tc.domain, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZone(t, ttls)
				z.fail("servfail.example.", dns.RcodeServerFailure)
				d := z.resolver(t, &tc.cfg)
				question := tc.domain + ". MX"
				look := func() { _, _ = d.Lookup(t.Context(), tc.domain) }
				look()
				asked := z.count(question)
				time.Sleep(tc.want - time.Millisecond)
				look()
				require.Equal(t, asked, z.count(question), "before %v", tc.want)
				time.Sleep(time.Millisecond)
				look()
				require.Equal(t, 2*asked, z.count(question), "after %v", tc.want)
			})
		})
	}
}

// The Route expires with the first of its records; only that is asked for again.
func TestRouteExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, ttls)
		l := lookups{t, z.resolver(t, nil)}
		start := time.Now()
		require.Equal(t, start.Add(200*time.Second), l.ok("example.com").Expires)
		time.Sleep(200 * time.Second)
		require.Equal(t, start.Add(400*time.Second), l.ok("example.com").Expires)
		require.Equal(t, 1, z.count("example.com. MX"))
		require.Equal(t, 2, z.count("mx1.example.com. A"))
	})
}

// A host that fails is asked for again from time to time, while mail goes to
// the others.
func TestExpiryWithFailedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, world)
		l := lookups{t, z.resolver(t, nil)}
		z.fail("mx2.example.com.", dns.RcodeServerFailure)
		start := time.Now()
		require.Equal(t, start.Add(5*time.Minute), l.ok("example.com").Expires)
		z.fail("mx2.example.com.", dns.RcodeSuccess)
		time.Sleep(5 * time.Minute)
		require.Len(t, l.ok("example.com").Hosts, 2)

		z.fail("alias3.example. AAAA", dns.RcodeServerFailure) // half of a host
		require.Equal(t, time.Now().Add(5*time.Minute), l.ok("hostalias.example").Expires)
	})
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, ttls)
		l := lookups{t, z.resolver(t, nil)}
		fresh := l.ok("example.com")
		start := time.Now()
		z.fail("example.com. MX", dns.RcodeServerFailure)
		z.fail("mx1.example.com.", dns.RcodeServerFailure)
		time.Sleep(600 * time.Second)
		asked := z.count("example.com. MX")
		stale := l.ok("example.com")
		require.Equal(t, fresh.Hosts, stale.Hosts)
		require.Equal(t, time.Now().Add(30*time.Second), stale.Expires)
		require.Equal(t, asked+1, z.count("example.com. MX"), "one quick try")
		l.ok("example.com")
		require.Equal(t, asked+1, z.count("example.com. MX"), "not again for a while")

		time.Sleep(30 * time.Second)
		l.ok("example.com")
		require.Equal(t, asked+2, z.count("example.com. MX"))

		// The host, whose TTL is less, is the first to be stale for too long.
		time.Sleep(time.Until(start.Add(200*time.Second + 24*time.Hour + 30*time.Second)))
		l.fails("example.com", Temporary)

		z.fail("example.com. MX", dns.RcodeSuccess)
		z.fail("mx1.example.com.", dns.RcodeSuccess)
		time.Sleep(30 * time.Second)
		l.ok("example.com")
	})
}

func TestStaleIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, ttls)
		l := lookups{t, z.resolver(t, &Config{Servers: []string{"192.0.2.53", "192.0.2.54"}})}
		l.ok("example.com")
		time.Sleep(time.Hour)
		z.setDelay(time.Hour)
		start := time.Now()
		l.ok("example.com")
		require.Equal(t, 2*quickTimeout, time.Since(start), "once for the MX, once for the host")
		time.Sleep(48 * time.Hour)
		start = time.Now()
		l.fails("example.com", Temporary)
		require.Equal(t, 2*2*5*time.Second, time.Since(start), "two attempts at two servers")
	})
}

func TestStaleOnlyIfGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, ttls)
		l := lookups{t, z.resolver(t, nil)}
		l.fails("no.example", NoDomain)
		time.Sleep(time.Hour)
		z.fail("no.example.", dns.RcodeServerFailure)
		l.fails("no.example", Temporary)

		l.ok("example.com")
		z.set(t, "")
		time.Sleep(time.Hour)
		l.fails("example.com", NoDomain) // an answer is no failure
	})
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, ttls)
		l := lookups{t, z.resolver(t, &Config{StaleFor: -1})}
		l.ok("example.com")
		z.fail("example.com.", dns.RcodeServerFailure)
		time.Sleep(time.Hour)
		l.fails("example.com", Temporary)
	})
}

func TestOneQueryForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, ttls)
		z.setDelay(time.Second)
		d := z.resolver(t, nil)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				r, err := d.Lookup(t.Context(), "example.com")
				require.NoError(t, err)
				require.Equal(t, "mx1.example.com", r.Site)
			})
		}
		wg.Wait()
		require.Equal(t, 3, z.total())
	})
}

// When the caller that asks leaves, one of those that wait goes on. When one
// that waits leaves, nothing changes for the others.
func TestOneLeaves(t *testing.T) {
	for name, leader := range map[string]bool{"leader": true, "waiter": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newZone(t, ttls)
				z.setDelay(2 * time.Second)
				d := z.resolver(t, nil)
				start := time.Now()
				var wg sync.WaitGroup
				leave := func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_, err := d.Lookup(ctx, "example.com")
					requireFailure(t, err, Temporary)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.Equal(t, time.Second, time.Since(start), "leaves at once")
				}
				stay := func() {
					_, err := d.Lookup(t.Context(), "example.com")
					require.NoError(t, err)
				}
				want := 4 * time.Second // MX, then addresses
				if leader {
					wg.Go(leave)
					want += time.Second // begins anew
				}
				synctest.Wait()
				for range 9 {
					wg.Go(stay)
				}
				synctest.Wait()
				if !leader {
					wg.Go(leave)
				}
				wg.Wait()
				require.Equal(t, want, time.Since(start))
				require.Equal(t, 3, z.total())
			})
		})
	}
}

func TestCancelledIsNotRemembered(t *testing.T) {
	z := newZone(t, ttls)
	d := z.resolver(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Lookup(ctx, "example.com")
	require.ErrorIs(t, err, context.Canceled)
	r, err := d.Lookup(t.Context(), "example.com")
	require.NoError(t, err)
	again, err := d.Lookup(ctx, "example.com")
	require.NoError(t, err, "what is remembered costs no time")
	require.Same(t, r, again)
}

func TestLeaderPanics(t *testing.T) {
	z := newZone(t, ttls)
	panics := true
	d := z.resolver(t, &Config{Exchange: func(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
		if panics {
			panic("exchange")
		}
		return z.exchange(ctx, network, server, q)
	}})
	require.Panics(t, func() { _, _ = d.Lookup(t.Context(), "example.com") })
	panics = false
	_, err := d.Lookup(t.Context(), "example.com")
	require.NoError(t, err, "nobody waits for the one that panicked")
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, ttls)
		const size = 8 // no larger than the sample, so that the choice is exact
		l := lookups{t, z.resolver(t, &Config{CacheSize: size, MinTTL: 24 * time.Hour, MaxNegativeTTL: 24 * time.Hour})}
		l.ok("example.com")
		for i := range 100 {
			time.Sleep(time.Second)
			l.fails(fmt.Sprintf("n%d.top.example", i), NoDomain)
			time.Sleep(time.Second)
			l.ok("example.com")
		}
		require.Len(t, l.d.routes.entries, size)
		require.Len(t, l.d.sets.entries, size)
		require.Equal(t, 1, z.count("mx1.example.com. A"), "what is used stays")
		require.NotNil(t, l.d.routes.fresh("n99.top.example", time.Now()))
		require.Nil(t, l.d.routes.fresh("n0.top.example", time.Now()))
	})
}

func TestConcurrentLookups(t *testing.T) {
	z := newZone(t, ttls+world)
	d := z.resolver(t, &Config{CacheSize: 4, Self: []string{"192.0.2.3"}})
	domains := []string{"bare.example", "null.example", "gone.example", "self.example", "selfequal.example", "alias.example", "dead.example", "short.example"}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == g%7 {
					go cancel()
				}
				r, err := d.Lookup(ctx, domains[(g+i)%len(domains)])
				cancel()
				if err == nil {
					require.NotEmpty(t, r.Hosts)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, len(d.routes.entries), 4)
	require.LessOrEqual(t, len(d.hosts.entries), 4)
}
