package sender_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

func TestGreylistingIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Greylist: 4 * time.Minute})
		sb.AddDomain("a.example", "mx.a.example")
		s := start(t, config(sb))
		begin := time.Now()
		msgs := letters(20, "a.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, 20, count(results)[sender.Sent])
		require.Less(t, time.Since(begin), 12*time.Minute)
		for _, r := range results {
			require.Equal(t, 2, r.Attempts)
		}
		shutdown(t, s)
		requireClean(t, h)
	})
}

func TestSiteThatComesBackOnDayFour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Refuse: true})
		sb.AddDomain("a.example", "mx.a.example")
		dials := 0
		cfg := config(sb)
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			dials++
			return dial(ctx, network, addr)
		}
		s := start(t, cfg)
		time.AfterFunc(4*24*time.Hour, func() { h.SetBehavior(sendertest.Behavior{}) })
		msgs := letters(1000, "a.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, 1000, count(results)[sender.Sent])
		require.Less(t, dials, 100, "one probe goes out for all")
		shutdown(t, s)
	})
}

func TestLifetimeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Refuse: true})
		sb.AddHost("mx.b.example", sendertest.Behavior{Sender: func(string) *sendertest.Reply {
			return sendertest.Answer("451 4.3.0 Try later")
		}})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		sb.SetDomain("c.example", sendertest.Domain{Fail: true})
		cfg := config(sb)
		cfg.Retry.Lifetime = 24 * time.Hour
		s := start(t, cfg)
		begin := time.Now()
		msgs := letters(10, "a.example", "b.example", "c.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, map[sender.Outcome]int{sender.Deferred: 30}, count(results))
		require.InDelta(t, 24, time.Since(begin).Hours(), 6)
		for _, r := range results {
			require.ErrorIs(t, r.Err, sender.ErrExpired)
			require.Greater(t, r.Attempts, 5)
			require.True(t, r.RetryAt.After(begin))
			e, ok := errors.AsType[*sender.Error](r.Err)
			require.True(t, ok)
			require.Equal(t, r.Recipient, e.Recipient)
		}
		require.Equal(t, bounce.ConnectionFailure, results[0].Class.Category)
		require.Equal(t, 451, results[1].Reply.Code)
		require.Equal(t, bounce.DNSFailure, results[2].Class.Category)
		shutdown(t, s)
	})
}

func TestMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Refuse: true})
		sb.AddHost("mx.b.example", sendertest.Behavior{Recipient: func(string) *sendertest.Reply {
			return sendertest.Answer("452 4.2.2 Mailbox full")
		}})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		sb.SetDomain("c.example", sendertest.Domain{Fail: true})
		cfg := config(sb)
		cfg.Retry.MaxAttempts = 1
		s := start(t, cfg)
		begin := time.Now()
		msgs := letters(10, "a.example", "b.example", "c.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Less(t, time.Since(begin), 10*time.Minute)
		for _, r := range results {
			require.Equal(t, sender.Deferred, r.Outcome)
			require.ErrorIs(t, r.Err, sender.ErrAttempts)
			require.Equal(t, 1, r.Attempts, r.Recipient)
		}
		require.Equal(t, bounce.MailboxFull, results[1].Class.Category)
		shutdown(t, s)
	})
}

func TestPermanentFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{
			Recipient: func(addr string) *sendertest.Reply {
				if strings.HasPrefix(addr, "user1") {
					return sendertest.Answer("550 5.1.1 No such user")
				}
				return nil
			},
			Message: func(m *sendertest.Message) *sendertest.Reply {
				if m.Rcpts[0] == "user2@a.example" {
					return sendertest.Answer("554 5.7.1 This looks like spam")
				}
				return nil
			},
		})
		sb.AddDomain("a.example", "mx.a.example")
		sb.SetDomain("null.example", sendertest.Domain{NullMX: true})
		sb.AddHost("mx.521.example", sendertest.Behavior{Greeting: sendertest.Answer("521 5.3.2 Host does not accept mail")})
		sb.AddDomain("521.example", "mx.521.example")
		s := start(t, config(sb))
		msgs := letters(5, "a.example", "null.example", "gone.example", "521.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		for _, r := range results {
			switch {
			case r.Recipient == "user1@a.example":
				require.Equal(t, bounce.InvalidMailbox, r.Class.Category)
				require.Equal(t, bounce.ActionSuppress, r.Class.Action)
				require.Equal(t, "mx.a.example", r.Reply.Host)
				require.Equal(t, bounce.StageRcpt, r.Reply.Stage)
			case r.Recipient == "user2@a.example":
				require.Equal(t, bounce.SpamContent, r.Class.Category)
				require.Equal(t, bounce.StageBody, r.Reply.Stage)
			case strings.HasSuffix(r.Recipient, "@a.example"):
				require.Equal(t, sender.Sent, r.Outcome, r.Err)
				continue
			default:
				require.Equal(t, bounce.InvalidDomain, r.Class.Category, r.Recipient)
			}
			require.Equal(t, sender.Rejected, r.Outcome, r.Recipient)
		}
		shutdown(t, s)
		requireClean(t, h)
	})
}

// A server that says "slow down" is left alone, and its mail is not lost.
func TestSlowDownHoldsTheDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Rate: sendertest.Rate{N: 100, Per: time.Minute,
			Reply: sendertest.Answer("421 4.7.28 Unusual rate of mail from your IP address, rate limited"), Patience: 100}})
		sb.AddDomain("a.example", "mx.a.example")
		var paused []sender.Event
		cfg := config(sb)
		cfg.Observe = func(e sender.Event) {
			if e.Kind == sender.EventHeld {
				paused = append(paused, e) // one site: one goroutine
			}
		}
		s := start(t, cfg)
		msgs := letters(500, "a.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, 500, count(results)[sender.Sent])
		require.NotEmpty(t, paused)
		require.Equal(t, 421, paused[0].Reply.Code)
		require.Less(t, h.Stats().SlowedDown, 100)
		shutdown(t, s)
		requireClean(t, h)
	})
}

func TestLostAfterTheDotIsUnknown(t *testing.T) {
	for _, retry := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sb := sendertest.Start(t, sendertest.Options{Memory: true})
			sb.AddHost("mx.a.example", sendertest.Behavior{ForConn: func(n int) *sendertest.Behavior {
				if n == 1 {
					return &sendertest.Behavior{Drops: []sendertest.Drop{{At: sendertest.StageDot}}}
				}
				return nil
			}})
			sb.AddDomain("a.example", "mx.a.example")
			cfg := config(sb)
			cfg.Streams = map[string]sender.Stream{"s": {RetryUnknown: retry}}
			s := start(t, cfg)
			m := letter("user@a.example")
			m.Stream = "s"
			results := s.SendAll(context.Background(), m)
			requireOnce(t, []*sender.Message{m}, results)
			if retry {
				require.Equal(t, sender.Sent, results[0].Outcome)
				require.Len(t, sb.Messages(), 2, "it is delivered twice: the stream asked for that")
			} else {
				require.Equal(t, sender.Unknown, results[0].Outcome)
				e, _ := errors.AsType[*sender.Error](results[0].Err)
				require.True(t, e.Dot)
				require.Len(t, sb.Messages(), 1)
			}
			shutdown(t, s)
		})
	}
}

// A message at which a server hangs up must not stop the others.
func TestPoisonMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Script: func(st sendertest.Stage, line string) io.Reader {
			if st == sendertest.StageRcpt && strings.Contains(line, "user0@") {
				return strings.NewReader("421 4.3.0 crash\r\n")
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Retry.Lifetime = 10 * time.Hour
		s := start(t, cfg)
		msgs := letters(100, "a.example")
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, map[sender.Outcome]int{sender.Sent: 99, sender.Deferred: 1}, count(results))
		require.Equal(t, sender.Deferred, results[0].Outcome)
		shutdown(t, s)
		requireDelivered(t, sb, results)
	})
}
