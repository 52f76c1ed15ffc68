package sender_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

var _ = bounce.Classify
var _ io.Reader
var _ net.Conn
var _ = strings.Repeat
var _ atomic.Int64

func many(n int, domain string) *sender.Message {
	m := letter("x@" + domain)
	m.To = nil
	for i := range n {
		m.To = append(m.To, fmt.Sprintf("r%d@%s", i, domain))
	}
	return m
}

func simple(t testing.TB, b sendertest.Behavior) (*sendertest.Sandbox, *sendertest.Host, sender.Config) {
	sb := sendertest.Start(t, sendertest.Options{Memory: true})
	h := sb.AddHost("mx.a.example", b)
	sb.AddDomain("a.example", "mx.a.example")
	return sb, h, config(sb)
}

// 1 window smaller than a message's recipients
func TestWindowSmallerThanMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		cfg.Window = 5
		s := start(t, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
		defer cancel()
		begin := time.Now()
		res := s.SendAll(ctx, many(6, "a.example"))
		require.Equal(t, 6, count(res)[sender.Sent], "%v after %v", count(res), time.Since(begin))
		shutdown(t, s)
	})
}

// 2 From before Bcc
func TestBccAfterFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		s := start(t, cfg)
		m := letter("u@a.example")
		m.Content = text("Subject: hello hello hello\r\nFrom: a@sender.example\r\nBcc: b@c.example\r\n\r\nhi\r\n")
		res := s.SendAll(context.Background(), m)
		require.NoError(t, res[0].Err)
		shutdown(t, s)
	})
}

// 3 more recipients than the server takes
func TestTooManyRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{MaxRcpts: 10})
		s := start(t, cfg)
		begin := time.Now()
		res := s.SendAll(context.Background(), many(100, "a.example"))
		shutdown(t, s)
		require.Equal(t, 100, count(res)[sender.Sent])
		require.Less(t, time.Since(begin), time.Minute, "mails %d", len(h.Stats().Mails))
	})
}
func TestTooManyRecipientsMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{MaxRcpts: 10})
		cfg.Retry.MaxAttempts = 1
		s := start(t, cfg)
		res := s.SendAll(context.Background(), many(100, "a.example"))
		shutdown(t, s)
		require.Equal(t, 100, count(res)[sender.Sent], "%v", count(res))
	})
}

// 4 custom Controller whose Conns.Next is in the past (contract allows)
type pastNext struct {
	calls  *atomic.Int64
	opened time.Time
}

func (p *pastNext) Next(now time.Time) time.Time { return now }
func (p *pastNext) Take(time.Time)               {}
func (p *pastNext) Conns(now time.Time) throttle.Conns {
	if p.calls.Add(1) > 100000 {
		panic("hot loop")
	}
	return throttle.Conns{Max: 1, Next: p.opened.Add(100 * time.Millisecond), Idle: time.Second}
}
func (p *pastNext) Observe(now time.Time, f throttle.Feedback) {
	if f.Event == throttle.Opening {
		p.opened = now
	}
}

type polFunc func(throttle.Key) throttle.Controller

func (p polFunc) For(k throttle.Key) throttle.Controller { return p(k) }

func TestHotLoopOnPastNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{Latency: time.Second})
		var calls atomic.Int64
		cfg.Policy = polFunc(func(throttle.Key) throttle.Controller { return &pastNext{calls: &calls} })
		s := start(t, cfg)
		res := s.SendAll(context.Background(), letters(5, "a.example")...)
		shutdown(t, s)
		require.Equal(t, 5, count(res)[sender.Sent])
		t.Log(calls.Load())
	})
}

// 5 server allows fewer connections than our default
func TestConnectionLimitOfServer(t *testing.T) {
	for _, max := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			_, h, cfg := simple(t, sendertest.Behavior{MaxConns: 2, Latency: 50 * time.Millisecond})
			cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits { return throttle.Limits{} })
			cfg.Retry.MaxAttempts = max
			s := start(t, cfg)
			begin := time.Now()
			res := s.SendAll(context.Background(), letters(1000, "a.example")...)
			shutdown(t, s)
			t.Log("MaxAttempts", max, time.Since(begin), count(res), h.Stats().TotalConns)
			if count(res)[sender.Sent] != 1000 || time.Since(begin) > 5*time.Minute {
				t.Errorf("MaxAttempts=%d: %v after %v", max, count(res), time.Since(begin))
			}
		})
	}
}

// 6 one blocked sender domain stops all
// 7 a cancelled Send's cut counts against the destination
func TestCancelledSendsDoNotHoldTheDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{ForConn: func(n int) *sendertest.Behavior {
			if n <= 3 {
				return &sendertest.Behavior{Script: silent(sendertest.StageRcpt)}
			}
			return nil
		}})
		s := start(t, cfg)
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			res := s.SendAll(ctx, letter("slow@a.example"))
			cancel()
			t.Log(res[0].Outcome, res[0].Err)
			time.Sleep(time.Second)
		}
		begin := time.Now()
		res := s.SendAll(context.Background(), letter("u@a.example"))
		shutdown(t, s)
		require.Equal(t, sender.Sent, res[0].Outcome)
		require.Less(t, time.Since(begin), time.Minute)
	})
}

type lazy struct{ text }

func (l lazy) WriteTo(w io.Writer) (int64, error) {
	time.Sleep(time.Second)
	return l.text.WriteTo(w)
}

// 8 cancelled run chained behind another's dot
func TestCancelDoesNotCutAnothersMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slowDot atomic.Bool
		_, _, cfg := simple(t, sendertest.Behavior{Without: sendertest.StartTLS, Script: func(st sendertest.Stage, line string) io.Reader {
			if st == sendertest.StageDot && slowDot.Load() {
				time.Sleep(60 * time.Second)
			}
			return nil
		}})
		cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 1000000, Per: time.Second}}, Conns: 1, Messages: -1}
		})
		s := start(t, cfg)
		res := s.SendAll(context.Background(), letters(10, "a.example")...) // the form is raised to chained
		require.Equal(t, 10, count(res)[sender.Sent])
		slowDot.Store(true)
		done := make(chan []sender.Result)
		go func() {
			m := letter("patient@a.example")
			m.Content = lazy{m.Content.(text)}
			done <- s.SendAll(context.Background(), m)
		}()
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		gone := make(chan []sender.Result)
		go func() { gone <- s.SendAll(ctx, letters(6, "a.example")...) }()
		t.Log(count(<-gone))
		res = <-done
		shutdown(t, s)
		require.Equal(t, sender.Sent, res[0].Outcome, "%v", res[0].Err)
	})
}

// 9 521 from one host, the other is down
func Test521OfOneHostOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx1.a.example", sendertest.Behavior{Greeting: sendertest.Answer("521 5.3.2 Host does not accept mail")})
		h2 := sb.AddHost("mx2.a.example", sendertest.Behavior{Refuse: true})
		sb.AddDomain("a.example", "mx1.a.example", "mx2.a.example")
		s := start(t, config(sb))
		time.AfterFunc(time.Minute, func() { h2.SetBehavior(sendertest.Behavior{}) })
		res := s.SendAll(context.Background(), letters(3, "a.example")...)
		require.Equal(t, 3, count(res)[sender.Sent], "%v %v", res[0].Outcome, res[0].Err)
		shutdown(t, s)
	})
}

// 10 one UTF8 recipient spoils the others
func TestUTF8RecipientSpoilsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{Without: sendertest.SMTPUTF8})
		s := start(t, cfg)
		m := letter("anna@a.example")
		m.To = []string{"anna@a.example", "jörg@a.example"}
		res := s.SendAll(context.Background(), m)
		for _, r := range res {
			t.Log(r.Recipient, r.Outcome, r.Err)
		}
		require.Equal(t, sender.Sent, res[0].Outcome)
		shutdown(t, s)
	})
}

// 11 SendAll yields nothing for messages not taken
func TestSendAllIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{})
		cfg.Window = 10
		s := start(t, cfg)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		msgs := letters(50, "a.example")
		res := s.SendAll(ctx, msgs...)
		shutdown(t, s)
		t.Log(len(res), count(res), h.Stats().Accepted)
		require.Len(t, res, 50)
	})
}

// 12 the moved domain takes the other domains' mail along
func TestMovedDomainTakesOthersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		shared := sb.AddHost("mx.shared.example", sendertest.Behavior{Recipient: func(string) *sendertest.Reply {
			return sendertest.Answer("451 4.3.0 Try again later")
		}})
		other := sb.AddHost("mx.other.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.shared.example")
		sb.AddDomain("b.example", "mx.shared.example")
		s := start(t, config(sb))
		time.AfterFunc(time.Minute, func() {
			sb.AddDomain("b.example", "mx.other.example") // b moves
			shared.SetBehavior(sendertest.Behavior{})
		})
		msgs := []*sender.Message{letter("u@a.example"), letter("u@b.example")}
		res := s.SendAll(context.Background(), msgs...)
		require.Equal(t, 2, count(res)[sender.Sent])
		shutdown(t, s)
		for _, m := range other.Messages() {
			require.NotContains(t, m.Rcpts, "u@a.example", "mail of a.example went to the server of b.example")
		}
	})
}

// 13 shed lost while the holder is opening
func TestBudgetIdleWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		var domains []string
		for i := range 10 {
			d := fmt.Sprintf("d%d.example", i)
			sb.AddHost("mx."+d, sendertest.Behavior{Latency: 20 * time.Millisecond})
			sb.AddDomain(d, "mx."+d)
			domains = append(domains, d)
		}
		cfg := config(sb)
		cfg.Policy = nil
		cfg.MaxConns = 1
		s := start(t, cfg)
		begin := time.Now()
		res := s.SendAll(context.Background(), letters(1, domains...)...)
		t.Log(time.Since(begin))
		require.Equal(t, 10, count(res)[sender.Sent])
		require.Less(t, time.Since(begin), 20*time.Second)
		shutdown(t, s)
	})
}

// 14 thrash: twice as many busy sites as connections, each paced at 10/s
func TestBudgetThrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		var domains []string
		for i := range 20 {
			d := fmt.Sprintf("d%d.example", i)
			sb.AddHost("mx."+d, sendertest.Behavior{Latency: 20 * time.Millisecond})
			sb.AddDomain(d, "mx."+d)
			domains = append(domains, d)
		}
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 10, Per: time.Second}}, Messages: -1}
		})
		cfg.MaxConns = 10
		s := start(t, cfg)
		begin := time.Now()
		res := s.SendAll(context.Background(), letters(200, domains...)...)
		n := 0
		for _, d := range domains {
			n += sb.Host("mx." + d).Stats().TotalConns
		}
		t.Log(time.Since(begin), count(res), "connections", n)
		shutdown(t, s)
		require.Less(t, n, 1000)
	})
}

// 14b one site with unlimited Messages keeps the only connection
func TestBudgetStarvation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Latency: 20 * time.Millisecond})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddHost("mx.b.example", sendertest.Behavior{Latency: 20 * time.Millisecond})
		sb.AddDomain("b.example", "mx.b.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 10, Per: time.Second}}, Messages: -1}
		})
		cfg.MaxConns = 1
		s := start(t, cfg)
		begin := time.Now()
		msgs := append(letters(5000, "a.example"), letter("u@b.example"))
		for r := range s.Send(context.Background(), slices.Values(msgs)) {
			if r.Recipient == "u@b.example" {
				t.Log("b after", time.Since(begin))
				if time.Since(begin) > time.Minute {
					t.Error("starved")
				}
			}
		}
		shutdown(t, s)
	})
}

// 15 slow DNS of others
func TestSlowDNSCostsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, _, cfg := simple(t, sendertest.Behavior{})
		var msgs []*sender.Message
		for i := range 640 {
			d := fmt.Sprintf("slow%d.example", i)
			sb.SetDomain(d, sendertest.Domain{Delay: time.Hour})
			msgs = append(msgs, letter("u@"+d))
		}
		msgs = append(msgs, letter("u@a.example"))
		cfg.Retry.MaxAttempts = 1
		s := start(t, cfg)
		begin := time.Now()
		for r := range s.Send(context.Background(), slices.Values(msgs)) {
			if r.Recipient == "u@a.example" {
				t.Log("good one after", time.Since(begin))
				require.Less(t, time.Since(begin), time.Minute)
			}
		}
		shutdown(t, s)
	})
}

// 16 RetryAt when ctx ends
func TestRetryAtKnowsTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{Greylist: 5 * time.Minute})
		s := start(t, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		begin := time.Now()
		res := s.SendAll(ctx, letter("u@a.example"))
		require.Equal(t, sender.Deferred, res[0].Outcome)
		require.Greater(t, res[0].RetryAt.Sub(begin), 3*time.Minute, "RetryAt is %v after the start", res[0].RetryAt.Sub(begin))
		shutdown(t, s)
	})
}

// 17 several sources, one message
func TestSourcesOpenOneConnectionForOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{Latency: 50 * time.Millisecond})
		for i := range 10 {
			cfg.Sources = append(cfg.Sources, sender.Source{Name: fmt.Sprint(i), Hostname: fmt.Sprintf("s%d.sender.example", i)})
		}
		s := start(t, cfg)
		s.SendAll(context.Background(), letter("u@a.example"))
		shutdown(t, s)
		require.Equal(t, 1, h.Stats().TotalConns)
	})
}

// 18 one source dead, MaxAttempts 1
func TestOneDeadSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, _, cfg := simple(t, sendertest.Behavior{Latency: 50 * time.Millisecond})
		cfg.Sources = []sender.Source{{Name: "a"}, {Name: "b"}}
		cfg.Retry.MaxAttempts = 1
		cfg.Dial = firstFails(sb)
		s := start(t, cfg)
		res := s.SendAll(context.Background(), letters(20, "a.example")...)
		shutdown(t, s)
		require.Equal(t, 20, count(res)[sender.Sent], "%v", count(res))
	})
}

// 19 lifetime of an item that was not watched
func TestLifetimeAfterSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{Recipient: func(string) *sendertest.Reply { return sendertest.Answer("451 4.3.0 later") }})
		cfg.Retry.Lifetime = time.Hour
		cfg.Retry.Jitter = -1
		cfg.Streams = map[string]sender.Stream{"short": {Lifetime: 10 * time.Minute}}
		s := start(t, cfg)
		a, b := letter("a@a.example"), letter("b@a.example")
		a.Stream = "short"
		time.AfterFunc(12*time.Minute, func() {
			s.Snapshot()
			h.SetBehavior(sendertest.Behavior{Refuse: true})
		})
		ctx, cancel := context.WithTimeout(context.Background(), 30*24*time.Hour)
		defer cancel()
		begin := time.Now()
		res := s.SendAll(ctx, a, b)
		for _, r := range res {
			t.Log(r.Recipient, r.Outcome, r.Elapsed, r.Err)
		}
		require.Less(t, time.Since(begin), 6*time.Hour)
		shutdown(t, s)
	})
}

// 20 suspended for good: parked with zero wake
type suspends struct{ on *atomic.Bool }

func (p *suspends) Next(now time.Time) time.Time { return now }
func (p *suspends) Take(time.Time)               {}
func (p *suspends) Conns(now time.Time) throttle.Conns {
	if p.on.Load() {
		return throttle.Conns{}
	}
	return throttle.Conns{Max: 5, Idle: time.Second}
}
func (p *suspends) Observe(now time.Time, f throttle.Feedback) {}

func TestSuspendedThenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{Recipient: func(string) *sendertest.Reply { return sendertest.Answer("451 4.3.0 later") }})
		var on atomic.Bool
		cfg.Policy = polFunc(func(throttle.Key) throttle.Controller { return &suspends{&on} })
		cfg.Retry.Lifetime = time.Hour
		cfg.Retry.Jitter = -1
		cfg.Streams = map[string]sender.Stream{"short": {Lifetime: 10 * time.Minute}}
		s := start(t, cfg)
		a, b := letter("a@a.example"), letter("b@a.example")
		a.Stream = "short"
		time.AfterFunc(12*time.Minute, func() { s.Snapshot(); on.Store(true) })
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Hour)
		defer cancel()
		res := s.SendAll(ctx, a, b) // hangs: the site is parked "without items"
		require.Len(t, res, 2)
		shutdown(t, s)
	})
}
func TestSuspensionLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{})
		var on atomic.Bool
		on.Store(true)
		cfg.Policy = polFunc(func(throttle.Key) throttle.Controller { return &suspends{&on} })
		s := start(t, cfg)
		time.AfterFunc(10*time.Minute, func() { on.Store(false) })
		begin := time.Now()
		res := s.SendAll(context.Background(), letter("a@a.example"))
		require.Equal(t, sender.Sent, res[0].Outcome, "%v", res[0].Err)
		require.Less(t, time.Since(begin), time.Hour)
		shutdown(t, s)
	})
}

// 21 Hostname in Unicode
func TestHostnameIsSentAsALabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, cfg := simple(t, sendertest.Behavior{})
		cfg.Hostname = "Bücher.example."
		s := start(t, cfg)
		m := letter("u@a.example")
		m.From = ""
		m.Content = text("From: nobody <@>\r\n\r\nx\r\n")
		res := s.SendAll(context.Background(), m)
		shutdown(t, s)
		t.Log(res[0].Outcome, res[0].Err)
		require.Equal(t, "xn--bcher-kva.example", h.Messages()[0].RemoteHello)
		t.Log(field(string(h.Messages()[0].Data), "Message-ID"))
	})
}

// 22 a session opened while suspended / serve ignores Max 0
func TestPoisonHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := simple(t, sendertest.Behavior{Message: func(m *sendertest.Message) *sendertest.Reply {
			if m.Rcpts[0] == "u0@a.example" {
				return sendertest.Answer("550 5.7.1 Message contains a link to a domain on Spamhaus DBL, rejected by reputation")
			}
			return nil
		}})
		s := start(t, cfg)
		var msgs []*sender.Message
		for i := range 100 {
			msgs = append(msgs, letter(fmt.Sprintf("u%d@a.example", i)))
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
		defer cancel()
		res := s.SendAll(ctx, msgs...)
		t.Log(count(res), time.Since(begin), res[0].Outcome, res[0].Class, res[0].Err)
		require.Equal(t, 99, count(res)[sender.Sent])
		shutdown(t, s)
	})
}
