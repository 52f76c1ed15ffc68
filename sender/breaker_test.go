package sender_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// A list full of dead addresses stops its own stream at that site, and goes on
// when somebody says so.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: func(addr string) *sendertest.Reply {
			if strings.HasPrefix(addr, "news-") && strings.Contains(addr, "3") {
				return sendertest.Answer("550 5.1.1 User unknown")
			}
			return nil
		}})
		sb.AddHost("mx.b.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		var mu sync.Mutex
		var stopped []sender.Event
		cfg := config(sb)
		cfg.Streams = map[string]sender.Stream{"news": {}, "receipt": {}}
		cfg.Observe = func(e sender.Event) {
			if e.Kind == sender.EventStopped {
				mu.Lock()
				stopped = append(stopped, e)
				mu.Unlock()
			}
		}
		s := start(t, cfg)
		var news []sender.Result
		var bulk sync.WaitGroup
		bulk.Go(func() {
			news = s.SendAll(context.Background(), of("news", letters(1000, "a.example", "b.example"))...)
		})
		time.Sleep(time.Minute)
		mu.Lock()
		require.Len(t, stopped, 1)
		require.Equal(t, "mx.a.example", stopped[0].Site)
		require.Equal(t, "news", stopped[0].Stream)
		require.Contains(t, stopped[0].Reply.Text, "dead addresses")
		mu.Unlock()
		require.Less(t, len(h.Stats().Mails), 300)
		require.Len(t, sb.Host("mx.b.example").Messages(), 1000)
		snap := s.Snapshot()
		require.Len(t, snap.Destinations, 1)
		require.Equal(t, "news", snap.Destinations[0].Streams[0].Stream)
		require.Contains(t, snap.Destinations[0].Streams[0].Why, "dead addresses")
		results := s.SendAll(context.Background(), of("receipt", letters(50, "a.example"))...)
		require.Equal(t, 50, count(results)[sender.Sent], "another stream goes on")
		for range 10 { // it stops again, with more of the same
			require.NoError(t, s.Resume(t.Context(), sender.Selection{Streams: []string{"news"}, Sites: []string{"mx.a.example"}}))
			time.Sleep(time.Minute)
		}
		bulk.Wait()
		require.Equal(t, 2000-271, count(news)[sender.Sent])
		require.Equal(t, 271, count(news)[sender.Rejected])
		shutdown(t, s)
		mu.Lock()
		require.Greater(t, len(stopped), 2)
		mu.Unlock()
	})
}

func TestComplaintsStopAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Streams = map[string]sender.Stream{"news": {Lifetime: 2 * time.Hour}}
		cfg.Breaker.Hold = time.Hour
		s := start(t, cfg)
		require.Equal(t, 1000, count(s.SendAll(context.Background(), of("news", letters(1000, "a.example"))...))[sender.Sent])
		for i := range 4 {
			s.Complained("news", fmt.Sprintf("user%d@a.example", i))
		}
		begin := time.Now()
		require.Equal(t, 1, count(s.SendAll(context.Background(), of("news", letters(1, "a.example"))...))[sender.Sent])
		require.InDelta(t, time.Hour, time.Since(begin), float64(time.Minute))
		shutdown(t, s)
	})
}
