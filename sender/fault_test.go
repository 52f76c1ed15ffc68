package sender_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// The first connection is cut after each number of bytes, in each direction:
// every recipient has one result, and nothing is delivered twice or lost
// unless its result says Unknown.
func TestConnectionCutAtEveryByte(t *testing.T) {
	for name, b := range map[string]sendertest.Behavior{
		"bdat": {},
		"data": {Without: sendertest.Chunking},
	} {
		for _, read := range []bool{true, false} {
			for n := int64(1); n < 2200; n++ {
				cut := b
				cut.Without |= sendertest.StartTLS
				if read {
					cut.CutRead = n
				} else {
					cut.CutWrite = n
				}
				if !cutOnce(t, fmt.Sprintf("%s read=%v %d", name, read, n), cut) {
					break // the conversation is shorter than that
				}
			}
		}
	}
}

// cutOnce reports whether the cut came to pass.
func cutOnce(t *testing.T, name string, b sendertest.Behavior) (happened bool) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Without: b.Without, ForConn: func(n int) *sendertest.Behavior {
			if n == 1 {
				return &b
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return throttle.Limits{Conns: 1} })
		cfg.Retry.Schedule = []time.Duration{time.Minute}
		s := start(t, cfg)
		msgs := letters(4, "a.example")
		results := s.SendAll(context.Background(), msgs...)
		shutdown(t, s)
		requireOnce(t, msgs, results)
		requireDelivered(t, sb, results)
		for _, r := range results {
			require.Contains(t, []sender.Outcome{sender.Sent, sender.Unknown}, r.Outcome, name)
		}
		require.LessOrEqual(t, count(results)[sender.Unknown], 1, name)
		happened = h.Stats().TotalConns > 1
	})
	return happened
}

// Servers that break every rule: each recipient ends, in bounded time, and
// with bounded memory.
func TestHostileServers(t *testing.T) {
	raw := func(m map[sendertest.Stage]string) sendertest.Behavior {
		return sendertest.Behavior{Script: sendertest.Raw(m)}
	}
	endless := func(at sendertest.Stage, s string) sendertest.Behavior {
		return sendertest.Behavior{Script: func(st sendertest.Stage, _ string) io.Reader {
			if st == at {
				return sendertest.Endless(s)
			}
			return nil
		}}
	}
	for name, b := range map[string]sendertest.Behavior{
		"endless greeting":      endless(sendertest.StageGreeting, "220-hello\r\n"),
		"endless line":          endless(sendertest.StageHello, "x"),
		"endless reply":         endless(sendertest.StageRcpt, "250-more\r\n"),
		"no greeting":           raw(map[sendertest.Stage]string{sendertest.StageGreeting: "\r\n"}),
		"differing codes":       raw(map[sendertest.Stage]string{sendertest.StageMail: "250-a\r\n550 b\r\n"}),
		"talks before its turn": raw(map[sendertest.Stage]string{sendertest.StageGreeting: "220 a\r\n250 b\r\n250 c\r\n"}),
		"354 to RCPT":           raw(map[sendertest.Stage]string{sendertest.StageRcpt: "354 go\r\n"}),
		"250 to DATA":           raw(map[sendertest.Stage]string{sendertest.StageData: "250 fine\r\n"}),
		"two answers":           raw(map[sendertest.Stage]string{sendertest.StageMail: "250 a\r\n250 b\r\n"}),
		"silence at the dot":    {Script: silent(sendertest.StageDot)},
		"silence at MAIL":       {Script: silent(sendertest.StageMail)},
		"always drops":          {Drops: []sendertest.Drop{{At: sendertest.StageBody}}},
		"421 everywhere":        raw(map[sendertest.Stage]string{sendertest.StageMail: "421 4.3.0 bye\r\n"}),
		"garbage at the dot":    raw(map[sendertest.Stage]string{sendertest.StageDot: "\x00\xff\r\n"}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := sendertest.Start(t, sendertest.Options{Memory: true})
				sb.AddHost("mx.a.example", b)
				sb.AddDomain("a.example", "mx.a.example")
				cfg := config(sb)
				cfg.Retry.Lifetime = 4 * time.Hour
				s := start(t, cfg)
				begin := time.Now()
				msgs := letters(5, "a.example")
				results := s.SendAll(context.Background(), msgs...)
				requireOnce(t, msgs, results)
				require.Less(t, time.Since(begin), 10*time.Hour)
				for _, r := range results {
					require.NotEqual(t, sender.Rejected, r.Outcome, "%v", r.Err)
				}
				shutdown(t, s)
				requireDelivered(t, sb, results)
			})
		})
	}
}

// A campaign through servers that fail at random, with a context that ends and
// a Shutdown in the middle, in many variations.
func TestNothingLostNothingTwice(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			luck := rand.New(rand.NewPCG(seed, 1))
			sb := sendertest.Start(t, sendertest.Options{Memory: true, Seed: seed})
			stages := []sendertest.Stage{sendertest.StageConnect, sendertest.StageGreeting, sendertest.StageHello, sendertest.StageTLS,
				sendertest.StageMail, sendertest.StageRcpt, sendertest.StageData, sendertest.StageBody, sendertest.StageDot}
			var domains []string
			for i := range 6 {
				d := fmt.Sprintf("d%d.example", i)
				b := sendertest.Behavior{Latency: time.Duration(luck.IntN(100)) * time.Millisecond, NoChain: luck.IntN(3) == 0,
					MaxMessages: luck.IntN(2) * (1 + luck.IntN(5)), MaxRcpts: 10}
				if luck.IntN(2) == 0 {
					b.Without |= sendertest.Chunking
				}
				if luck.IntN(4) == 0 {
					b.Without |= sendertest.Pipelining
				}
				for range luck.IntN(3) {
					b.Drops = append(b.Drops, sendertest.Drop{At: stages[luck.IntN(len(stages))], P: 0.2 * luck.Float64()})
				}
				if luck.IntN(4) == 0 {
					b.Greylist = time.Minute
				}
				sb.AddHost("mx."+d, b)
				sb.AddDomain(d, "mx."+d)
				domains = append(domains, d)
			}
			cfg := config(sb)
			cfg.MaxConns = 1 + luck.IntN(20)
			cfg.Window = 1 + luck.IntN(300)
			s := start(t, cfg)
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(luck.IntN(600))*time.Minute)
			defer cancel()
			if seed%3 == 0 {
				time.AfterFunc(time.Duration(luck.IntN(60))*time.Second, func() { s.Shutdown(ctx) })
			}
			msgs := letters(30, domains...)
			for range 5 {
				m := letter("many@d0.example")
				for _, l := range letters(8, domains...) {
					m.To = append(m.To, fmt.Sprintf("m%d-%s", len(msgs), l.To[0]))
				}
				m.To = m.To[1:]
				msgs = append(msgs, m)
			}
			var taken []*sender.Message
			results := collect(s.Send(ctx, counted(msgs, &taken)))
			shutdown(t, s)
			requireOnce(t, taken, results)
			requireDelivered(t, sb, results)
			for _, d := range domains {
				requireClean(t, sb.Host("mx."+d))
			}
		})
	}
}

// No window sees more messages than the limit allows, at the server.
func TestNoWindowIsOvershot(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			luck := rand.New(rand.NewPCG(seed, 2))
			sb := sendertest.Start(t, sendertest.Options{Memory: true, Seed: seed})
			h := sb.AddHost("mx.a.example", sendertest.Behavior{NoChain: seed%2 == 0, MaxMessages: luck.IntN(10),
				Drops: []sendertest.Drop{{At: sendertest.StageMail, P: 0.02}}})
			sb.AddDomain("a.example", "mx.a.example")
			rates := []throttle.Rate{{N: 1 + luck.IntN(20), Per: time.Second}, {N: 50 + luck.IntN(500), Per: time.Minute}}
			cfg := config(sb)
			cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
				return throttle.Limits{Rates: rates, Conns: 1 + luck.IntN(10)}
			})
			cfg.Retry.Schedule = []time.Duration{time.Second}
			s := start(t, cfg)
			msgs := letters(800, "a.example")
			results := s.SendAll(context.Background(), msgs...)
			requireOnce(t, msgs, results)
			shutdown(t, s)
			mails := h.Stats().Mails
			for _, r := range rates {
				for i := r.N; i < len(mails); i++ {
					require.GreaterOrEqual(t, mails[i].Sub(mails[i-r.N]), r.Per, "%s, messages %d to %d", r, i-r.N, i)
				}
			}
		})
	}
}

// A caller's string cannot add a command.
func TestNoCommandCanBeSmuggled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true, Trace: nil})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Without: sendertest.Chunking})
		sb.AddDomain("a.example", "mx.a.example")
		s := start(t, config(sb))
		body := "From: a@sender.example\r\n\r\nfirst\r\n.\r\nMAIL FROM:<evil@sender.example>\r\n.\n..\n.two\r\n"
		m := &sender.Message{From: "a@sender.example", To: []string{"u@a.example"}, Content: text(body)}
		results := s.SendAll(context.Background(), m)
		require.Equal(t, sender.Sent, results[0].Outcome)
		shutdown(t, s)
		got := sb.Messages()
		require.Len(t, got, 1)
		require.Contains(t, string(got[0].Data), "\r\n\r\nfirst\r\n.\r\nMAIL FROM:<evil@sender.example>\r\n.\r\n..\r\n.two\r\n")
		requireClean(t, h)
	})
}
