package sender_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

func TestNextHostWhenTheFirstIsDown(t *testing.T) {
	for name, b := range map[string]sendertest.Behavior{
		"refused":  {Refuse: true},
		"dead":     {Dead: true},
		"greeting": {Greeting: sendertest.Answer("554 5.7.1 Go away")},
		"busy":     {Greeting: sendertest.Answer("421 4.3.2 Busy")},
		"drops":    {Drops: []sendertest.Drop{{At: sendertest.StageHello}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := sendertest.Start(t, sendertest.Options{Memory: true})
				sb.AddHost("mx1.a.example", b)
				h := sb.AddHost("mx2.a.example", sendertest.Behavior{})
				sb.AddDomain("a.example", "mx1.a.example", "mx2.a.example")
				s := start(t, config(sb))
				msgs := letters(20, "a.example")
				results := s.SendAll(context.Background(), msgs...)
				requireOnce(t, msgs, results)
				require.Equal(t, 20, count(results)[sender.Sent])
				require.Equal(t, 20, h.Stats().Accepted)
				shutdown(t, s)
			})
		})
	}
}

func TestBrokenTLSFallsBackToClear(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{})
	broken := sb.AddHost("mx.a.example", sendertest.Behavior{BreakTLS: true})
	good := sb.AddHost("mx.b.example", sendertest.Behavior{})
	sb.AddDomain("a.example", "mx.a.example")
	sb.AddDomain("b.example", "mx.b.example")
	sb.AddDomain("strict.example", "mx.a.example")
	cfg := config(sb)
	cfg.Routes = []sender.Route{{Domain: "strict.example", TLS: sender.TLSRequired}}
	cfg.Retry.MaxAttempts = 1
	s := start(t, cfg)
	msgs := letters(3, "a.example", "b.example", "strict.example")
	results := s.SendAll(context.Background(), msgs...)
	requireOnce(t, msgs, results)
	require.Equal(t, map[sender.Outcome]int{sender.Sent: 6, sender.Deferred: 3}, count(results))
	require.Equal(t, 3, broken.Stats().Accepted, "the route that demands TLS got none in clear")
	for _, m := range good.Messages() {
		require.True(t, m.TLS)
	}
	for _, m := range broken.Messages() {
		require.False(t, m.TLS)
	}
	shutdown(t, s)
}

func TestRelay(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{})
	relay := sb.AddHost("relay.sender.example", sendertest.Behavior{Auth: func(u, p string) bool { return u == "me" && p == "secret" }})
	direct := sb.AddHost("mx.b.example", sendertest.Behavior{})
	sb.AddDomain("b.example", "mx.b.example")
	pool, err := sb.CertPool()
	require.NoError(t, err)
	cfg := config(sb)
	cfg.TLS = &tls.Config{RootCAs: pool}
	cfg.Retry.MaxAttempts = 1
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == "relay.sender.example:587" {
			addr = net.JoinHostPort(relay.Addr().String(), "587")
		}
		return sb.Dial(ctx, network, addr)
	}
	cfg.Routes = []sender.Route{{Domain: "*.a.example", Relay: "relay.sender.example", Username: "me", Password: "secret"}}
	s := start(t, cfg)
	msgs := letters(5, "x.a.example", "y.a.example", "b.example")
	results := s.SendAll(context.Background(), msgs...)
	requireOnce(t, msgs, results)
	for _, r := range results {
		require.NoError(t, r.Err)
	}
	require.Equal(t, 10, relay.Stats().Accepted)
	require.Equal(t, 5, direct.Stats().Accepted)
	for _, m := range relay.Messages() {
		require.True(t, m.TLS)
		require.Equal(t, "me", m.User)
	}
	shutdown(t, s)

	cfg.Routes[0].Password = "wrong"
	s = start(t, cfg)
	results = s.SendAll(context.Background(), letter("u@x.a.example"))
	require.Equal(t, sender.Deferred, results[0].Outcome)
	require.Equal(t, 535, results[0].Reply.Code, "%v", results[0].Err)
	shutdown(t, s)
}

func TestSourcesHaveLimitsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Sources = []sender.Source{{Name: "one", Hostname: "one.sender.example"}, {Name: "two", Hostname: "two.sender.example"}}
		cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: time.Second}}}
		})
		s := start(t, cfg)
		begin := time.Now()
		results := s.SendAll(context.Background(), letters(100, "a.example")...)
		require.Equal(t, 100, count(results)[sender.Sent])
		require.InDelta(t, 50, time.Since(begin).Seconds(), 2)
		hello := map[string]int{}
		for _, m := range h.Messages() {
			hello[m.RemoteHello]++
		}
		require.InDelta(t, 50, hello["one.sender.example"], 2)
		require.Len(t, hello, 2)
		shutdown(t, s)
	})
}

// Ten sites want more connections than there are.
func TestConnectionBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		var domains []string
		for _, c := range "abcdefghij" {
			d := string(c) + ".example"
			sb.AddHost("mx."+d, sendertest.Behavior{Latency: 10 * time.Millisecond})
			sb.AddDomain(d, "mx."+d)
			domains = append(domains, d)
		}
		cfg := config(sb)
		cfg.MaxConns = 4
		var open, most atomic.Int64
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := sb.Dial(ctx, network, addr)
			if err == nil {
				n := open.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				c = &countedConn{Conn: c, open: &open}
			}
			return c, err
		}
		s := start(t, cfg)
		msgs := letters(50, domains...)
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, 500, count(results)[sender.Sent])
		require.LessOrEqual(t, most.Load(), int64(4))
		shutdown(t, s)
		require.Zero(t, open.Load())
	})
}

type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

func TestConfigNamesEachMistake(t *testing.T) {
	_, err := sender.New(sender.Config{
		Hostname: "localhost", MaxConns: -1, Window: -1,
		Sources: []sender.Source{{Name: "a"}, {Name: "a", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Hostname: "bad host"}},
		Routes: []sender.Route{{Domain: "a b"}, {Domain: "*", Username: "u"}, {Domain: "*", Relay: "host:port"},
			{Domain: "*", Relay: "relay.example", Password: "p"}, {Domain: "*", Relay: "relay.example", Username: "u", Mechanism: "MAGIC"}},
		Retry:    sender.Retry{Schedule: []time.Duration{0}, Jitter: 2, Lifetime: -1},
		Timeouts: sender.Timeouts{Dot: -1},
		Streams:  map[string]sender.Stream{"x": {Lifetime: -1}},
	})
	for _, want := range []string{"Config.Hostname", "MaxConns", "Window", "Sources[1].Name", "Sources[1].Hostname", "Routes[0].Domain", "Routes[1].Username",
		"Routes[2].Relay", "Routes[3].Username", "Routes[4].Mechanism", "Retry.Schedule[0]", "Retry.Jitter", "Lifetime", "Timeouts.Dot", `Streams["x"]`} {
		require.ErrorContains(t, err, want)
	}
}
