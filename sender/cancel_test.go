package sender_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// Each recipient of a canceled campaign ends as Canceled, but those that were
// delivered; the other campaign does not notice.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, cfg := two(t)
		cfg.Policy = throttle.PolicyFunc(slow)
		s := start(t, cfg)
		msgs := kinds(30, streams, campaigns, "a.example", "b.example")
		results := sending(s, msgs)
		time.Sleep(60*time.Second + 100*time.Millisecond)
		require.NoError(t, s.Cancel(t.Context(), "may"))
		synctest.Wait()
		before := [2]map[string]int{arrived(a), arrived(b)}
		all := results()
		requireOnce(t, msgs, all)
		want := map[string]int{}
		for _, r := range all {
			if r.Message.Campaign == "april" {
				require.Equal(t, sender.Sent, r.Outcome)
				continue
			}
			want[r.Message.Stream+"-"+r.Outcome.String()]++
			if r.Outcome != sender.Sent {
				require.Equal(t, sender.Canceled, r.Outcome)
				require.ErrorIs(t, r.Err, sender.ErrCanceled)
			}
		}
		sent := 0
		for _, stream := range streams {
			n := arrived(a)[stream+"-may"] + arrived(b)[stream+"-may"]
			require.Equal(t, n, want[stream+"-sent"])
			require.Equal(t, 60-n, want[stream+"-canceled"])
			sent += n
		}
		require.InDelta(t, sent, before[0]["news-may"]+before[0]["promo-may"]+before[0]["receipt-may"]+
			before[1]["news-may"]+before[1]["promo-may"]+before[1]["receipt-may"], 2, "what was on the wire")
		require.Positive(t, sent)
		begin := time.Now()
		for _, r := range s.SendAll(t.Context(), kinds(3, streams, campaigns, "a.example")...) {
			require.Equal(t, r.Message.Campaign == "may", r.Outcome == sender.Canceled, "also what comes later")
		}
		require.Less(t, time.Since(begin), time.Minute)
		shutdown(t, s)
	})
}

// It reaches recipients wherever they wait: for a lookup, for their next try, for
// their scheduled start, or suspended; and what is on the wire is not tried again.
func TestCancelWherever(t *testing.T) {
	never := throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return throttle.Limits{Burst: -1} })
	for name, prepare := range map[string]func(sb *sendertest.Sandbox, cfg *sender.Config, m *sender.Message){
		"lookup that takes long": func(sb *sendertest.Sandbox, _ *sender.Config, _ *sender.Message) {
			sb.SetDomain("a.example", sendertest.Domain{Delay: 100 * time.Second})
		},
		"lookup that fails": func(sb *sendertest.Sandbox, _ *sender.Config, _ *sender.Message) {
			sb.SetDomain("a.example", sendertest.Domain{Fail: true})
		},
		"next try": func(sb *sendertest.Sandbox, _ *sender.Config, _ *sender.Message) {
			sb.Host("mx.a.example").SetBehavior(sendertest.Behavior{Greylist: time.Hour})
		},
		"no connection": func(sb *sendertest.Sandbox, _ *sender.Config, _ *sender.Message) {
			sb.Host("mx.a.example").SetBehavior(sendertest.Behavior{Refuse: true})
		},
		"blocked by policy": func(_ *sendertest.Sandbox, cfg *sender.Config, _ *sender.Message) { cfg.Policy = never },
		"scheduled": func(_ *sendertest.Sandbox, _ *sender.Config, m *sender.Message) {
			m.NotBefore = time.Now().Add(24 * time.Hour)
		},
		"on the wire": func(sb *sendertest.Sandbox, _ *sender.Config, _ *sender.Message) {
			sb.Host("mx.a.example").SetBehavior(sendertest.Behavior{Tarpit: 4 * time.Second, Message: func(*sendertest.Message) *sendertest.Reply {
				return sendertest.Answer("451 4.3.0 try again later")
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb, _, cfg := simple(t, sendertest.Behavior{})
				m := letter("u@a.example")
				m.Campaign = "may"
				prepare(sb, &cfg, m)
				s := start(t, cfg)
				results := sending(s, []*sender.Message{m})
				time.Sleep(10 * time.Second)
				require.NoError(t, s.Cancel(t.Context(), "may"))
				begin := time.Now()
				r := results()[0]
				require.Equal(t, sender.Canceled, r.Outcome)
				require.ErrorIs(t, r.Err, sender.ErrCanceled)
				require.Less(t, time.Since(begin), time.Minute)
				require.GreaterOrEqual(t, r.Elapsed, time.Duration(0))
				if name == "next try" {
					require.Equal(t, bounce.Greylisted, r.Class.Category, "the last reply stays")
					require.Equal(t, 1, r.Attempts)
				}
				shutdown(t, s)
			})
		})
	}
}

// A suspended campaign can be canceled, and a canceled Send is not.
func TestCancelSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := two(t)
		s := start(t, cfg)
		require.NoError(t, s.Suspend(t.Context(), sender.Selection{}, time.Time{}))
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan []sender.Result)
		go func() { done <- s.SendAll(ctx, kinds(10, streams, campaigns, "a.example")...) }()
		time.Sleep(time.Second)
		require.NoError(t, s.Cancel(t.Context(), "may"))
		synctest.Wait()
		require.Equal(t, 30, s.Snapshot().Destinations[0].Queued)
		stop := errors.New("enough")
		cancel(stop)
		for _, r := range <-done {
			if r.Message.Campaign == "may" {
				require.Equal(t, sender.Canceled, r.Outcome)
			} else {
				require.ErrorIs(t, r.Err, stop)
			}
		}
		shutdown(t, s)
	})
}
