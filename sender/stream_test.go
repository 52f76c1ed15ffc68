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
	"github.com/volleymail/volley/throttle"
)

// of puts messages into a stream.
func of(stream string, msgs []*sender.Message) []*sender.Message {
	for _, m := range msgs {
		m.Stream = stream
		m.To[0] = stream + "-" + m.To[0]
	}
	return msgs
}

// order returns the streams of the messages in the order in which they came.
func order(sb *sendertest.Sandbox) (streams []string) {
	for _, m := range sb.Messages() {
		s, _, _ := strings.Cut(m.Rcpts[0], "-")
		streams = append(streams, s)
	}
	return streams
}

func countOf(list []string, s string) (n int) {
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// A receipt behind 100,000 newsletters of the same destination starts with the
// next permit but at most one.
func TestUrgentOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		cfg.Streams = map[string]sender.Stream{"news": {}, "receipt": {Priority: 1}}
		s := start(t, cfg)
		ctx, cancel := context.WithCancel(context.Background())
		var bulk sync.WaitGroup
		bulk.Go(func() { s.SendAll(ctx, of("news", letters(100_000, "a.example"))...) })
		for i := range 30 {
			time.Sleep(10*time.Second + 300*time.Millisecond)
			before := h.Stats().Accepted
			r := s.SendAll(ctx, of("receipt", []*sender.Message{letter(fmt.Sprintf("r%d@a.example", i))})...)
			require.NoError(t, r[0].Err)
			require.LessOrEqual(t, r[0].Elapsed, 2*time.Second+10*time.Millisecond)
			require.LessOrEqual(t, h.Stats().Accepted-before, 2)
		}
		cancel()
		bulk.Wait()
		shutdown(t, s)
	})
}

func TestStreamsShare(t *testing.T) {
	for name, tt := range map[string]struct {
		streams map[string]sender.Stream
		a, b    float64 // of the first 400
	}{
		"equal":    {map[string]sender.Stream{"a": {}, "b": {}}, 0.5, 0.5},
		"weighted": {map[string]sender.Stream{"a": {Share: 3}, "b": {Share: 1}}, 0.75, 0.25},
		"priority": {map[string]sender.Stream{"a": {Priority: 5}, "b": {Priority: 1}}, 10. / 11, 1. / 11},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := sendertest.Start(t, sendertest.Options{Memory: true})
				sb.AddHost("mx.x.example", sendertest.Behavior{})
				sb.AddDomain("x.example", "mx.x.example")
				cfg := config(sb)
				cfg.Policy = throttle.PolicyFunc(slow)
				cfg.Streams = tt.streams
				s := start(t, cfg)
				var both sync.WaitGroup
				for _, name := range []string{"a", "b"} {
					both.Go(func() { s.SendAll(context.Background(), of(name, letters(400, "x.example"))...) })
				}
				both.Wait()
				first := order(sb)[:400]
				require.InDelta(t, tt.a*400, countOf(first, "a"), 4)
				require.InDelta(t, tt.b*400, countOf(first, "b"), 4)
				shutdown(t, s)
			})
		})
	}
}

func TestEngagedGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		s := start(t, cfg)
		msgs := letters(60, "a.example")
		for i, m := range msgs {
			m.Engaged = i%3 == 0
			m.To[0] = fmt.Sprintf("%v-%s", m.Engaged, m.To[0])
		}
		s.SendAll(context.Background(), msgs...)
		require.GreaterOrEqual(t, countOf(order(sb)[:21], "true"), 20)
		shutdown(t, s)
	})
}

// A reply that blocks a sender domain holds its stream and no other.
func TestSenderDomainBlockHoldsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Sender: func(from string) *sendertest.Reply {
			if strings.HasPrefix(from, "promo@") {
				return sendertest.Answer("550 5.7.26 This mail is unauthenticated: neither SPF nor DKIM of promo.example passed")
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Streams = map[string]sender.Stream{"promo": {Lifetime: 10 * time.Hour}, "receipt": {}}
		s := start(t, cfg)
		begin := time.Now()
		var both sync.WaitGroup
		var promo, receipt []sender.Result
		both.Go(func() {
			msgs := of("promo", letters(1000, "a.example"))
			for _, m := range msgs {
				m.From = "promo@promo.example"
			}
			promo = s.SendAll(context.Background(), msgs...)
		})
		both.Go(func() {
			receipt = s.SendAll(context.Background(), of("receipt", letters(100, "a.example"))...)
			require.Less(t, time.Since(begin), time.Minute)
		})
		both.Wait()
		require.Equal(t, 100, count(receipt)[sender.Sent])
		require.Equal(t, 1000, count(promo)[sender.Deferred], "nobody is held to be dead for it")
		require.Less(t, h.Stats().Refused, 50)
		shutdown(t, s)
	})
}

// What a source was greylisted with goes out of the same source again.
func TestGreylistedStaysWithItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: nil})
		first := map[string]string{} // by recipient, the EHLO name of the first attempt
		var mu sync.Mutex
		sb.Host("mx.a.example").SetBehavior(sendertest.Behavior{Message: func(m *sendertest.Message) *sendertest.Reply {
			mu.Lock()
			defer mu.Unlock()
			if was, again := first[m.Rcpts[0]]; again {
				require.Equal(t, was, m.RemoteHello)
				return nil
			}
			first[m.Rcpts[0]] = m.RemoteHello
			return sendertest.Answer("451 4.7.1 Greylisted, try again later")
		}})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Sources = []sender.Source{{Name: "1", Hostname: "one.sender.example"}, {Name: "2", Hostname: "two.sender.example"}}
		s := start(t, cfg)
		results := s.SendAll(context.Background(), letters(200, "a.example")...)
		require.Equal(t, 200, count(results)[sender.Sent])
		shutdown(t, s)
	})
}

// A source that the destination blocks is set aside there and only there.
func TestBlockedSourceIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		a := sb.AddHost("mx.a.example", sendertest.Behavior{})
		b := sb.AddHost("mx.b.example", sendertest.Behavior{})
		a.SetBehavior(sendertest.Behavior{Script: nil, Message: func(m *sendertest.Message) *sendertest.Reply {
			if m.RemoteHello == "one.sender.example" {
				return sendertest.Answer("554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org")
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		cfg := config(sb)
		cfg.Sources = []sender.Source{{Name: "1", Hostname: "one.sender.example"}, {Name: "2", Hostname: "two.sender.example"}}
		s := start(t, cfg)
		begin := time.Now()
		results := s.SendAll(context.Background(), letters(500, "a.example", "b.example")...)
		require.Equal(t, 1000, count(results)[sender.Sent])
		require.Less(t, time.Since(begin), time.Minute)
		hellos := map[string]int{}
		for _, m := range b.Messages() {
			hellos[m.RemoteHello]++
		}
		require.Len(t, hellos, 2)
		shutdown(t, s)
	})
}

func TestSourceWeightsAndPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		cfg.Sources = []sender.Source{{Name: "big", Hostname: "big.sender.example", Weight: 3}, {Name: "small", Hostname: "small.sender.example", Weight: 1},
			{Name: "other", Hostname: "other.sender.example", Weight: 1}}
		cfg.Streams = map[string]sender.Stream{"news": {Sources: []string{"big", "small"}}}
		s := start(t, cfg)
		results := s.SendAll(context.Background(), of("news", letters(400, "a.example"))...)
		require.Equal(t, 400, count(results)[sender.Sent])
		hellos := map[string]int{}
		for _, m := range h.Messages() {
			hellos[m.RemoteHello]++
		}
		require.InDelta(t, 300, hellos["big.sender.example"], 5)
		require.InDelta(t, 100, hellos["small.sender.example"], 5)
		require.Zero(t, hellos["other.sender.example"])
		shutdown(t, s)
	})
}

// sharing is a policy with a limit that all sources share.
type sharing struct{ throttle.PolicyFunc }

func (sharing) Shared(throttle.Key) throttle.Controller {
	return throttle.MustNew(throttle.Limits{Rates: []throttle.Rate{{N: 2, Per: time.Second}}, Conns: 2})
}

func TestSharedLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Latency: 100 * time.Millisecond})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = sharing{fast}
		for i := range 5 {
			cfg.Sources = append(cfg.Sources, sender.Source{Name: fmt.Sprint(i)})
		}
		s := start(t, cfg)
		begin := time.Now()
		results := s.SendAll(context.Background(), letters(100, "a.example")...)
		require.Equal(t, 100, count(results)[sender.Sent])
		require.GreaterOrEqual(t, time.Since(begin), 49*time.Second)
		require.LessOrEqual(t, h.Stats().MaxConns, 2)
		mails := h.Stats().Mails
		for i := 2; i < len(mails); i++ {
			require.GreaterOrEqual(t, mails[i].Sub(mails[i-2]), time.Second-10*time.Millisecond)
		}
		shutdown(t, s)
	})
}

// A stream has one share, whether its mail is of one campaign and pool of sources
// or of many, and these take turns in it.
func TestOneShareForAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.x.example", sendertest.Behavior{})
		sb.AddDomain("x.example", "mx.x.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		cfg.Streams = map[string]sender.Stream{"a": {}, "b": {}}
		cfg.Sources = []sender.Source{{Name: "1"}}
		pools := [][]string{{"1"}, {"1", "other"}, {"other", "1"}, nil}
		cfg.Choose = func(m *sender.Message, _ string) []string { return pools[len(m.Campaign)] }
		s := start(t, cfg)
		var msgs []*sender.Message
		for _, campaign := range []string{"", "x", "xx"} {
			list := of("a", letters(100, "x.example"))
			for _, m := range list {
				m.Campaign = campaign
				m.To[0] = strings.Replace(m.To[0], "user", fmt.Sprintf("pool%d-", len(campaign)), 1)
			}
			msgs = append(msgs, list...)
		}
		others := of("b", letters(300, "x.example"))
		for _, m := range others {
			m.Campaign = "xxx"
		}
		results := sending(s, append(msgs, others...))
		require.Equal(t, 600, count(results())[sender.Sent])
		require.InDelta(t, 100, countOf(order(sb)[:200], "a"), 3)
		pool := map[string]int{}
		for _, m := range sb.Messages()[:200] {
			if rest, ok := strings.CutPrefix(m.Rcpts[0], "a-pool"); ok {
				pool[rest[:1]]++
			}
		}
		require.Len(t, pool, 3)
		for _, n := range pool {
			require.InDelta(t, 33, n, 3)
		}
		shutdown(t, s)
	})
}
