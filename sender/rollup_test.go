package sender_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// oneSite is a policy that makes all sets of servers one site.
type oneSite struct{ throttle.PolicyFunc }

func (oneSite) SiteOf(throttle.Key) string { return "provider" }

// A provider's customers have servers of their own: they share limits, and
// connections only where the servers are the same. A dead customer costs the
// others nothing.
func TestRollup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		var domains []string
		for i := range 20 {
			d := fmt.Sprintf("d%d.example", i)
			host := fmt.Sprintf("d%d-example.mail.provider.example", i)
			sb.AddHost(host, sendertest.Behavior{Refuse: i == 3, Recipient: func(addr string) *sendertest.Reply {
				if addr[len(addr)-len(d):] != d {
					return sendertest.Answer("550 5.7.64 Relay access denied")
				}
				return nil
			}})
			sb.AddDomain(d, host)
			domains = append(domains, d)
		}
		cfg := config(sb)
		cfg.Policy = oneSite{func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 10, Per: time.Second}}, Conns: 4, Idle: time.Second}
		}}
		cfg.Retry.Lifetime = 10 * time.Hour
		s := start(t, cfg)
		begin := time.Now()
		var took time.Duration
		msgs := letters(20, domains...)
		sent := 0
		var results []sender.Result
		for r := range s.Send(context.Background(), func(yield func(*sender.Message) bool) {
			for _, m := range msgs {
				if !yield(m) {
					return
				}
			}
		}) {
			results = append(results, r)
			if r.Outcome == sender.Sent {
				require.Equal(t, "provider", r.Site)
				if sent++; sent == 380 {
					took = time.Since(begin)
				}
			}
		}
		requireOnce(t, msgs, results)
		require.Equal(t, map[sender.Outcome]int{sender.Sent: 380, sender.Deferred: 20}, count(results))
		require.InDelta(t, 38, took.Seconds(), 8)
		shutdown(t, s)
		requireDelivered(t, sb, results)
	})
}

// rolledUp is a sandbox of n customers of one provider, each with servers of its
// own, and a Sender for them.
func rolledUp(t testing.TB, n int, behave func(i int) sendertest.Behavior) (sb *sendertest.Sandbox, cfg sender.Config, domains []string) {
	sb = sendertest.Start(t, sendertest.Options{Memory: true})
	for i := range n {
		d := fmt.Sprintf("d%d.example", i)
		sb.AddHost("mx."+d, behave(i))
		sb.AddDomain(d, "mx."+d)
		domains = append(domains, d)
	}
	cfg = config(sb)
	cfg.Policy = oneSite{fast}
	return sb, cfg, domains
}

// It costs them nothing either if it is the first that the provider is tried with.
func TestRollupBeginsWithADeadCustomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cfg, domains := rolledUp(t, 5, func(i int) sendertest.Behavior { return sendertest.Behavior{Refuse: i == 0} })
		cfg.Retry.Lifetime = time.Hour
		held := 0
		cfg.Observe = func(e sender.Event) {
			if e.Kind == sender.EventHeld {
				held++
				require.Equal(t, "mx.d0.example", e.Host)
			}
		}
		s := start(t, cfg)
		dead := make(chan []sender.Result)
		go func() { dead <- s.SendAll(context.Background(), letters(3, domains[0])...) }()
		time.Sleep(time.Second)
		at := s.Snapshot().Destinations[0]
		require.Equal(t, sender.BindingHeld, at.Binding)
		require.Contains(t, at.Reply.Text, "refused")
		require.True(t, at.Until.After(time.Now()))
		begin := time.Now()
		require.Equal(t, 80, count(s.SendAll(context.Background(), letters(20, domains[1:]...)...))[sender.Sent])
		require.Less(t, time.Since(begin), time.Minute)
		require.Equal(t, 3, count(<-dead)[sender.Deferred])
		require.Positive(t, held)
		shutdown(t, s)
	})
}

// firstFails dials into the sandbox, but for the first time.
func firstFails(sb *sendertest.Sandbox) func(ctx context.Context, network, addr string) (net.Conn, error) {
	var n atomic.Int64
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if n.Add(1) == 1 {
			return nil, fmt.Errorf("cannot bind")
		}
		return sb.Dial(ctx, network, addr)
	}
}

// A source that reaches none of a provider's servers is not taken for customers
// that are dead: the other source carries the mail.
func TestRollupDeadSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, cfg, domains := rolledUp(t, 10, func(int) sendertest.Behavior { return sendertest.Behavior{Latency: 50 * time.Millisecond} })
		cfg.Sources = []sender.Source{{Name: "a"}, {Name: "b"}}
		cfg.Retry.MaxAttempts = 1
		cfg.Dial = firstFails(sb)
		s := start(t, cfg)
		results := s.SendAll(context.Background(), letters(5, domains...)...)
		shutdown(t, s)
		require.Equal(t, 50, count(results)[sender.Sent], "%v", count(results))
	})
}
