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
)

// The default Policy against a provider with a limit that nobody told it: the
// closed loop, through the engine and the wire.
func TestClosedLoopFindsAHiddenLimit(t *testing.T) {
	const phase = 30 * time.Minute
	hidden := []int{10, 20, 10} // messages a second, one after the other
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true, CountOnly: true})
		limit := func(n int) sendertest.Behavior {
			return sendertest.Behavior{Latency: 20 * time.Millisecond, Rate: sendertest.Rate{N: n, Patience: 30, Block: 24 * time.Hour,
				Reply: sendertest.Answer("421 4.7.0 Too many messages, slow down")}}
		}
		h := sb.AddHost("mx.a.example", limit(hidden[0]))
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = nil
		cfg.Window = 2000
		s := start(t, cfg)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan map[sender.Outcome]int)
		go func() {
			n := map[sender.Outcome]int{}
			for r := range s.Send(ctx, func(yield func(*sender.Message) bool) {
				for i := 0; yield(letter(fmt.Sprintf("user%d@a.example", i))); i++ {
				}
			}) {
				n[r.Outcome]++
			}
			done <- n
		}()
		for i, n := range hidden {
			h.SetBehavior(limit(n))
			time.Sleep(10 * time.Minute) // to settle
			before := h.Stats()
			time.Sleep(phase - 10*time.Minute)
			after := h.Stats()
			took := after.Accepted - before.Accepted
			slowed := after.SlowedDown - before.SlowedDown
			share := float64(took) / (float64(n) * (phase - 10*time.Minute).Seconds())
			t.Logf("phase %d: hidden limit %d/s: %.1f%% of it used, %d of %d slowed down, refused for good %d", i, n, 100*share, slowed, took, after.Refused)
			require.GreaterOrEqual(t, share, 0.9)
			require.Less(t, float64(slowed), 0.01*float64(took))
			require.Zero(t, after.Refused, "never blocked")
		}
		cancel()
		n := <-done
		require.Zero(t, n[sender.Rejected]+n[sender.Unknown])
		shutdown(t, s)
		requireClean(t, h)
	})
}
