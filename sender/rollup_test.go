package sender_test

import (
	"context"
	"fmt"
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
