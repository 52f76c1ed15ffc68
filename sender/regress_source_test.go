package sender_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// One of two weighted sources is tarpitted: the other must not wait for it.
func TestWeightedSourceTarpitted(t *testing.T) {
	for name, b := range map[string]sendertest.Behavior{
		"greeting": {Script: silent(sendertest.StageGreeting)},
		"mail":     {Script: silent(sendertest.StageMail)},
		"slow":     {Latency: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, cfg := simple(t, sendertest.Behavior{ForConn: func(n int) *sendertest.Behavior {
					if n == 1 {
						return &b
					}
					return nil
				}})
				cfg.Sources = []sender.Source{{Name: "one", Weight: 1}, {Name: "two", Weight: 1}}
				s := start(t, cfg)
				begin := time.Now()
				n := 0
				for r := range s.Send(context.Background(), slices.Values(letters(100, "a.example"))) {
					if r.Outcome == sender.Sent {
						if n++; n == 90 {
							t.Log("90 of 100 after", time.Since(begin))
							if time.Since(begin) > time.Minute {
								t.Error("the good source waited for the bad one")
							}
						}
					}
				}
				shutdown(t, s)
			})
		})
	}
}

// A source whose new connections are limited keeps the other waiting.
func TestWeightedSourceConnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		cfg.Sources = []sender.Source{{Name: "one", Weight: 1}, {Name: "two", Weight: 1}}
		cfg.Policy = throttle.PolicyFunc(func(k throttle.Key) throttle.Limits {
			l := throttle.Limits{}
			if k.Source == "one" {
				l = throttle.Limits{Conns: 1, Messages: 1, ConnRate: throttle.Rate{N: 1, Per: time.Hour}}
			}
			return l
		})
		s := start(t, cfg)
		begin := time.Now()
		res := s.SendAll(context.Background(), letters(50, "a.example")...)
		t.Log(time.Since(begin), count(res))
		require.Less(t, time.Since(begin), time.Hour)
		shutdown(t, s)
	})
}

func TestChooseUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		cfg.Choose = func(*sender.Message, string) []string { return []string{"nope"} }
		s := start(t, cfg)
		begin := time.Now()
		res := s.SendAll(context.Background(), letter("u@a.example"))
		t.Log(time.Since(begin), res[0].Outcome, res[0].Err)
		require.Less(t, time.Since(begin), time.Hour)
		shutdown(t, s)
	})
}

// A Controller that says it adapts, and a server that always says slow down.
type adapts struct{ throttle.Controller }

func (adapts) Adapts() bool { return true }

func TestAdapterHammers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{Rate: sendertest.Rate{N: 1, Per: 2 * time.Hour,
			Reply: sendertest.Answer("451 4.7.28 Unusual rate of mail from your IP address, rate limited"), Patience: 1000000}})
		cfg.Policy = polFunc(func(throttle.Key) throttle.Controller {
			return adapts{throttle.MustNew(throttle.Limits{Rates: []throttle.Rate{{N: 10, Per: time.Second}}})}
		})
		s := start(t, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		res := s.SendAll(ctx, letters(2, "a.example")...)
		shutdown(t, s)
		t.Log(h.Stats().SlowedDown, res[1].Attempts, res[1].Outcome)
		require.Less(t, h.Stats().SlowedDown, 100)
	})
}

// the profile policy against a server with a connection limit
func TestConnLimitWithProfiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{MaxConns: 2, Latency: 50 * time.Millisecond})
		cfg.Policy = nil
		s := start(t, cfg)
		begin := time.Now()
		res := s.SendAll(context.Background(), letters(1000, "a.example")...)
		t.Log(time.Since(begin), count(res), h.Stats().TotalConns)
		shutdown(t, s)
		require.Less(t, time.Since(begin), 10*time.Minute)
	})
}

// One tenant's sender domain in the same stream.
func TestGreylistedSourcesStick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{Greylist: time.Minute})
		n := 0
		cfg.Sources = []sender.Source{{Name: "one"}, {Name: "two"}}
		cfg.Choose = func(*sender.Message, string) []string { // a pool that changes over time
			if n++; n > 10 {
				return []string{"two"}
			}
			return []string{"one"}
		}
		s := start(t, cfg)
		begin := time.Now()
		res := s.SendAll(context.Background(), letters(5, "a.example")...)
		t.Log(time.Since(begin), count(res), fmt.Sprint(res[0].Err))
		require.Less(t, time.Since(begin), 24*time.Hour)
		shutdown(t, s)
	})
}
