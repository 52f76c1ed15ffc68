package sender_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// slow is a policy of one message a second.
func slow(throttle.Key) throttle.Limits {
	return throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: time.Second}}}
}

// counted notes which messages were taken from it.
func counted(msgs []*sender.Message, taken *[]*sender.Message) iter.Seq[*sender.Message] {
	return func(yield func(*sender.Message) bool) {
		for _, m := range msgs {
			*taken = append(*taken, m)
			if !yield(m) {
				return
			}
		}
	}
}

func TestContextEndsSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddHost("mx.b.example", sendertest.Behavior{Refuse: true})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		sb.SetDomain("c.example", sendertest.Domain{Fail: true})
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		s := start(t, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		msgs := letters(100, "a.example", "b.example", "c.example")
		begin := time.Now()
		results := s.SendAll(ctx, msgs...)
		requireOnce(t, msgs, results)
		require.InDelta(t, 30, time.Since(begin).Seconds(), 1)
		require.InDelta(t, 30, count(results)[sender.Sent], 2)
		for _, r := range results {
			if r.Outcome != sender.Sent {
				require.Equal(t, sender.Deferred, r.Outcome)
				require.ErrorIs(t, r.Err, context.DeadlineExceeded)
				require.False(t, r.RetryAt.IsZero())
			}
		}
		// The Sender goes on.
		results = s.SendAll(context.Background(), letter("again@a.example"))
		require.Equal(t, sender.Sent, results[0].Outcome)
		shutdown(t, s)
		requireDelivered(t, sb, results)
	})
}

// A transaction on the wire is cut when ctx ends, or waited for shortly if the
// end of its message is out.
func TestContextCutsTransactions(t *testing.T) {
	for stage, want := range map[sendertest.Stage]sender.Outcome{
		sendertest.StageRcpt: sender.Deferred,
		sendertest.StageData: sender.Deferred,
		sendertest.StageDot:  sender.Unknown,
	} {
		synctest.Test(t, func(t *testing.T) {
			sb := sendertest.Start(t, sendertest.Options{Memory: true})
			sb.AddHost("mx.a.example", sendertest.Behavior{Without: sendertest.Chunking, Script: silent(stage)})
			sb.AddDomain("a.example", "mx.a.example")
			s := start(t, config(sb))
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			begin := time.Now()
			results := s.SendAll(ctx, letter("user@a.example"))
			require.Equal(t, want, results[0].Outcome, "%s %v", stage, results[0].Err)
			require.Less(t, time.Since(begin), 36*time.Second, stage)
			shutdown(t, s)
		})
	}
}

func TestShutdownInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{Latency: time.Second})
		sb.AddHost("mx.b.example", sendertest.Behavior{Refuse: true})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		s := start(t, config(sb))
		time.AfterFunc(30*time.Second, func() { s.Shutdown(context.Background()) })
		msgs := letters(1000, "a.example", "b.example")
		var taken []*sender.Message
		results := collect(s.Send(context.Background(), counted(msgs, &taken)))
		requireOnce(t, taken, results)
		n := count(results)
		require.GreaterOrEqual(t, n[sender.Sent], 50)
		require.Equal(t, len(results), n[sender.Sent]+n[sender.Deferred])
		for _, r := range results {
			if r.Err != nil {
				require.ErrorIs(t, r.Err, sender.ErrShutdown)
			}
		}
		require.NoError(t, s.Shutdown(context.Background()))
		requireDelivered(t, sb, results)
		requireClean(t, h)

		results = collect(s.Send(context.Background(), slices.Values(msgs[:3])))
		require.Len(t, results, 3, "a Send after Shutdown says so for each recipient")
		require.ErrorIs(t, results[0].Err, sender.ErrShutdown)
	})
}

// When Shutdown's ctx ends, connections are cut and nothing is left behind.
func TestShutdownCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Script: silent(sendertest.StageRcpt)})
		sb.AddHost("mx.b.example", sendertest.Behavior{Dead: true})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		sb.SetDomain("c.example", sendertest.Domain{Delay: time.Hour})
		s := start(t, config(sb))
		msgs := letters(10, "a.example", "b.example", "c.example")
		done := make(chan []sender.Result)
		go func() { done <- s.SendAll(context.Background(), msgs...) }()
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		requireOnce(t, msgs, <-done)
	})
}

func TestLeavingTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		s := start(t, cfg)
		n := 0
		for range s.Send(context.Background(), slices.Values(letters(100, "a.example"))) {
			if n++; n == 10 {
				break
			}
		}
		accepted := h.Stats().Accepted
		require.LessOrEqual(t, accepted, 11)
		time.Sleep(time.Hour)
		require.Equal(t, accepted, h.Stats().Accepted, "nothing is sent after the loop")
		require.Panics(t, func() {
			for range s.Send(context.Background(), slices.Values(letters(3, "a.example"))) {
				panic("in the loop")
			}
		})
		require.PanicsWithValue(t, "in src", func() {
			for range s.Send(context.Background(), func(yield func(*sender.Message) bool) { panic("in src") }) {
			}
		})
		shutdown(t, s)
	})
}

// The window bounds what is taken from src.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		cfg.Window = 7
		s := start(t, cfg)
		var taken []*sender.Message
		msgs := letters(50, "a.example")
		yielded := 0
		for range s.Send(context.Background(), counted(msgs, &taken)) {
			synctest.Wait()
			yielded++
			require.LessOrEqual(t, len(taken)-yielded, 7+1) // one more may stand at the door
		}
		require.Equal(t, 50, yielded)
		shutdown(t, s)
	})
}

func TestMalformedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		s := start(t, config(sb))
		mail := func(s string) *sender.Message {
			return &sender.Message{From: "a@sender.example", To: []string{"u@a.example"}, Content: text(s)}
		}
		ok := "From: a@sender.example\r\n"
		for want, m := range map[string]*sender.Message{
			"Message.Content is nil":      {From: "a@sender.example", To: []string{"u@a.example"}},
			"Message.From":                {From: "nobody", To: []string{"u@a.example"}, Content: text(ok)},
			"Message.Stream":              {From: "", Stream: "x", To: []string{"u@a.example"}, Content: text(ok)},
			"DSN.Notify":                  {From: "", To: []string{"u@a.example"}, Content: text(ok), DSN: &sender.DSN{Notify: "NEVER,FAILURE"}},
			"no @":                        {From: "", To: []string{"u"}, Content: text(ok)},
			"character that must not":     {From: "", To: []string{"u\r\nRCPT TO:<x@y.z>@a.example"}, Content: text(ok)},
			"wrote nothing":               mail(""),
			"no From":                     mail("Subject: x\r\n\r\nx"),
			"from is empty":               mail("From:\r\n\r\nx"),
			"from twice":                  mail(ok + "from: b@sender.example\r\n\r\nx"),
			"subject twice":               mail(ok + "subject: 1\r\nsubject: 2\r\n\r\nx"),
			"NUL":                         mail(ok + "\r\n\x00"),
			"CR without LF":               mail(ok + "\r\na\rb"),
			"line 3 of the mail has 999":  mail(ok + "\r\n" + strings.Repeat("x", 999)),
			"is no header field":          mail(ok + "hello world\r\n\r\n"),
			"octets that are not UTF-8":   mail(ok + "Subject: \xff\r\n\r\n"),
			"Message.Content: panic: oh!": {From: "", To: []string{"u@a.example"}, Content: panicking{}},
		} {
			r := s.SendAll(context.Background(), m)
			require.Len(t, r, 1, want)
			require.Equal(t, sender.Rejected, r[0].Outcome, want)
			require.ErrorContains(t, r[0].Err, want)
			require.NotEqual(t, bounce.ActionSuppress, r[0].Class.Action, want)
		}
		for _, m := range []*sender.Message{nil, {From: "a@sender.example", Content: text(ok)}} {
			r := s.SendAll(context.Background(), m)
			require.Len(t, r, 1)
			require.ErrorContains(t, r[0].Err, "Message.To is empty")
			require.Same(t, m, r[0].Message)
		}
		shutdown(t, s)
		require.Empty(t, sb.Messages())
	})
}

// Recipients of one message: one transaction for each domain, a reply for each
// recipient, too many split.
func TestManyRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		h := sb.AddHost("mx.a.example", sendertest.Behavior{MaxRcpts: 30, Recipient: func(a string) *sendertest.Reply {
			if strings.HasPrefix(a, "user7@") {
				return sendertest.Answer("550 5.1.1 Unknown user")
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.a.example")
		s := start(t, config(sb))
		m := letter("first@a.example")
		for _, l := range letters(150, "a.example", "b.example") {
			m.To = append(m.To, l.To...)
		}
		results := s.SendAll(context.Background(), m)
		requireOnce(t, []*sender.Message{m}, results)
		require.Equal(t, map[sender.Outcome]int{sender.Sent: 299, sender.Rejected: 2}, count(results))
		shutdown(t, s)
		requireDelivered(t, sb, results)
		requireClean(t, h)
		require.Less(t, h.Stats().Accepted, 30)
		for _, msg := range sb.Messages() {
			for _, r := range msg.Rcpts {
				require.Equal(t, msg.Rcpts[0][strings.IndexByte(msg.Rcpts[0], '@'):], r[strings.IndexByte(r, '@'):], "one domain in a transaction")
			}
		}
	})
}

type suppression map[string]string

func (l suppression) Suppressed(_ context.Context, recipient, _ string) (string, bool, error) {
	if recipient == "broken@a.example" {
		return "", false, errors.New("the database is away")
	}
	reason, ok := l[recipient]
	return reason, ok, nil
}

func TestSuppression(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := config(sb)
		cfg.Suppression = suppression{"user1@a.example": "complained"}
		cfg.Retry.MaxAttempts = 2
		s := start(t, cfg)
		msgs := append(letters(3, "a.example"), letter("broken@a.example"))
		results := s.SendAll(context.Background(), msgs...)
		requireOnce(t, msgs, results)
		require.Equal(t, sender.Suppressed, results[1].Outcome)
		require.ErrorIs(t, results[1].Err, sender.ErrSuppressed)
		require.Equal(t, "complained", results[1].Reply.Text)
		require.Equal(t, bounce.Suppressed, results[1].Class.Category)
		require.Equal(t, sender.Deferred, results[3].Outcome)
		require.ErrorContains(t, results[3].Err, "the database is away")
		shutdown(t, s)
		requireDelivered(t, sb, results)
	})
}

// One tarpit, one dead site and one with a broken DNS among 20: the others finish
// as if they were not there.
func TestTroubleCostsTheOthersNothing(t *testing.T) {
	campaign := func(t *testing.T, trouble bool) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			sb := sendertest.Start(t, sendertest.Options{Memory: true})
			var good, bad []string
			for _, c := range "abcdefghijklmnopqr" {
				d := string(c) + ".example"
				sb.AddHost("mx."+d, sendertest.Behavior{Latency: 20 * time.Millisecond})
				sb.AddDomain(d, "mx."+d)
				good = append(good, d)
			}
			if trouble {
				sb.AddHost("mx.tar.example", sendertest.Behavior{Tarpit: 4 * time.Minute})
				sb.AddHost("mx.dead.example", sendertest.Behavior{Dead: true})
				sb.AddDomain("tar.example", "mx.tar.example")
				sb.AddDomain("dead.example", "mx.dead.example")
				sb.SetDomain("dns.example", sendertest.Domain{Delay: time.Hour})
				bad = []string{"tar.example", "dead.example", "dns.example"}
			}
			cfg := config(sb)
			s := start(t, cfg)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			msgs := append(letters(100, bad...), letters(1000, good...)...)
			begin, left := time.Now(), 1000*len(good)
			for r := range s.Send(ctx, slices.Values(msgs)) {
				if r.Outcome == sender.Sent && !strings.Contains(r.Recipient, "tar.") {
					if left--; left == 0 {
						took = time.Since(begin)
						cancel()
					}
				}
			}
			shutdown(t, s)
		})
		return took
	}
	// The order of goroutines moves each by a few percent either way: the best of three.
	without, with := time.Hour, 2*time.Hour
	for i := 0; i < 3 && (with-without).Abs().Seconds() > 0.02*without.Seconds(); i++ {
		without, with = min(without, campaign(t, false)), min(with, campaign(t, true))
	}
	t.Logf("18 sites without trouble %v, with three bad ones %v", without, with)
	require.InEpsilon(t, without.Seconds(), with.Seconds(), 0.02)
}

func TestSnapshotTellsWhatBinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddHost("mx.b.example", sendertest.Behavior{Refuse: true})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("b.example", "mx.b.example")
		cfg := config(sb)
		cfg.Policy = throttle.PolicyFunc(slow)
		s := start(t, cfg)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan []sender.Result)
		go func() { done <- s.SendAll(ctx, letters(100, "a.example", "b.example")...) }()
		time.Sleep(10*time.Second + 500*time.Millisecond)
		snap := s.Snapshot()
		require.Len(t, snap.Destinations, 2)
		a, b := snap.Destinations[0], snap.Destinations[1]
		if strings.Contains(a.Site, "b.example") {
			a, b = b, a
		}
		require.InDelta(t, 89, a.Queued, 1)
		require.LessOrEqual(t, a.Conns, 2)
		require.Contains(t, a.Binding, "1/")
		require.InDelta(t, 0.5, a.Until.Sub(snap.Time).Seconds(), 0.05)
		require.Equal(t, 100, b.Queued)
		require.Equal(t, "held", b.Binding)
		require.Greater(t, b.Until.Sub(snap.Time), time.Minute)
		require.NotEmpty(t, b.Reply.Text)
		cancel()
		require.Len(t, <-done, 200)
		shutdown(t, s)
		require.Empty(t, s.Snapshot().Destinations)
	})
}
