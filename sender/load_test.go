package sender_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// A server that takes seven messages on a connection, and does not say so
// before: that is learnt, costs no pace, and no attempt of any recipient.
func TestConnectionLimitIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{MaxMessages: 7, Latency: 10 * time.Millisecond})
		cfg.Policy = nil
		s := start(t, cfg)
		begin := time.Now()
		results := s.SendAll(context.Background(), letters(700, "a.example")...)
		require.Equal(t, 700, count(results)[sender.Sent])
		require.Less(t, time.Since(begin), 2*time.Minute)
		for _, r := range results {
			require.Equal(t, 1, r.Attempts)
		}
		require.Less(t, h.Stats().SlowedDown, 20, "we end connections before the server does")
		shutdown(t, s)
		requireClean(t, h)
	})
}
