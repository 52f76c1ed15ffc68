package sender_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

func TestGreylistKeepsRecipientsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{Greylist: time.Minute})
		s := start(t, cfg)
		s.SendAll(context.Background(), many(50, "a.example"))
		shutdown(t, s)
		require.LessOrEqual(t, len(h.Stats().Mails), 5)
	})
}

// suspended while an idle connection waits for the rate
type pausing struct {
	until time.Time
	last  time.Time
	takes *[]time.Time
}

func (p *pausing) Next(now time.Time) time.Time {
	if n := p.last.Add(time.Second); n.After(now) {
		return n
	}
	return now
}
func (p *pausing) Take(now time.Time) { p.last = now; *p.takes = append(*p.takes, now) }
func (p *pausing) Conns(now time.Time) throttle.Conns {
	if now.Before(p.until) {
		return throttle.Conns{Max: 0, Next: p.until}
	}
	return throttle.Conns{Max: 5, Idle: 30 * time.Second}
}
func (p *pausing) Observe(now time.Time, f throttle.Feedback) {
	if f.Event == throttle.Refused && p.until.IsZero() {
		p.until = now.Add(time.Hour)
	}
}

func TestSuspensionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		_, _, cfg := simple(t, sendertest.Behavior{Latency: 700 * time.Millisecond, Recipient: func(string) *sendertest.Reply {
			if n.Add(1) == 6 {
				return sendertest.Answer("452 4.2.2 full")
			}
			return nil
		}})
		var takes []time.Time
		var pol *pausing
		cfg.Policy = polFunc(func(throttle.Key) throttle.Controller { pol = &pausing{takes: &takes}; return pol })
		s := start(t, cfg)
		s.SendAll(context.Background(), letters(30, "a.example")...)
		shutdown(t, s)
		for _, at := range takes {
			if at.After(pol.until.Add(-time.Hour)) && at.Before(pol.until) {
				t.Errorf("a message started %v into the suspension", at.Sub(pol.until.Add(-time.Hour)))
			}
		}
	})
}

func TestAttemptsAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{Dead: true})
		var held atomic.Int64
		cfg.Observe = func(e sender.Event) {
			if e.Kind == sender.EventHeld {
				held.Add(1)
			}
		}
		s := start(t, cfg)
		time.AfterFunc(5*time.Second, func() { s.Shutdown(context.Background()) })
		res := s.SendAll(context.Background(), letters(3, "a.example")...)
		shutdown(t, s)
		t.Log(res[0].Attempts, res[0].Err, res[0].Class)
		require.Zero(t, held.Load(), "our own Shutdown held the destination")
	})
}

// MX set of two hosts, first tarpits at greeting: how long until the second is tried for all.
func TestTarpitFirstHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx1.a.example", sendertest.Behavior{Script: silent(sendertest.StageGreeting)})
		sb.AddHost("mx2.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx1.a.example", "mx2.a.example")
		s := start(t, config(sb))
		begin := time.Now()
		res := s.SendAll(context.Background(), letters(10, "a.example")...)
		t.Log(time.Since(begin), count(res))
		shutdown(t, s)
	})
}

// a Send begun after Shutdown with an endless src
// duplicates and order of SendAll when the same message is passed twice
func TestSendAllOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		s := start(t, cfg)
		a, b := letter("a@a.example"), letter("b@a.example")
		res := s.SendAll(context.Background(), a, b, a)
		shutdown(t, s)
		got := []*sender.Message{res[0].Message, res[1].Message, res[2].Message}
		require.True(t, slices.Equal(got, []*sender.Message{a, b, a}))
	})
}
