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

// "*" holds every stream of a site, one that is new there too, until Resume.
func TestHoldEveryStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		cfg.Streams = map[string]sender.Stream{"news": {}, "receipt": {}}
		s := start(t, cfg)
		send := func(stream string) sender.Result {
			return s.SendAll(context.Background(), of(stream, []*sender.Message{letter("u@a.example")})...)[0]
		}
		first := send("news")
		require.NoError(t, first.Err)
		s.Hold("*", first.Site, time.Now().Add(time.Hour))
		s.Hold("*", first.Site, time.Now().Add(time.Minute)) // does not shorten
		require.GreaterOrEqual(t, send("receipt").Elapsed, time.Hour-time.Second)
		s.Hold("*", first.Site, time.Now().Add(time.Hour))
		s.Resume("*", first.Site)
		require.Less(t, send("").Elapsed, time.Second)
		shutdown(t, s)
	})
}
