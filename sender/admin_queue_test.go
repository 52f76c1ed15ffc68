package sender_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// A site that does not answer is probed by one; what waits is in the Queue, and
// Resume tries it at once.
func TestHeldSiteWaitsInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		host := sb.AddHost("mx.a.example", sendertest.Behavior{Refuse: true})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := queueConfig(sb, sendertest.NewQueue())
		failed := 0
		cfg.Observe = func(e sender.Event) {
			if e.Kind == sender.EventConnFailed {
				failed++
			}
		}
		s := start(t, cfg)
		require.NoError(t, s.Submit(context.Background(), letters(3000, "a.example")...))
		time.Sleep(4 * time.Minute) // the first wait is five
		synctest.Wait()
		require.Equal(t, 1, failed, "one probe for all")
		require.Empty(t, s.Snapshot().Destinations, "nothing of it is in memory")
		host.SetBehavior(sendertest.Behavior{})
		require.NoError(t, s.Resume(context.Background(), sender.Selection{}))
		begin := time.Now()
		ends(t, s, 3000)
		require.Less(t, time.Since(begin), 10*time.Second)
		shutdown(t, s)
	})
}

// Cancel ends what is in memory, in the Queue and scheduled; what is on the wire
// ends as it would.
func TestCancelQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Latency: 100 * time.Millisecond})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		cfg := queueConfig(sb, q)
		cfg.QueueWindow = 500
		s := start(t, cfg)
		msgs := letters(3000, "a.example")
		for i, m := range msgs {
			m.Campaign = []string{"spring", "summer"}[i%2]
			if i%10 == 0 {
				m.NotBefore = time.Now().Add(24 * time.Hour)
			}
		}
		require.NoError(t, s.Submit(context.Background(), msgs...))
		time.Sleep(2 * time.Second)
		require.NoError(t, s.Cancel(context.Background(), "spring"))
		require.ErrorIs(t, s.Submit(context.Background(), msgs[0]), sender.ErrCanceled)
		outcomes := map[string]map[sender.Outcome]int{"spring": {}, "summer": {}}
		for _, r := range ends(t, s, 3000) {
			outcomes[r.Message.Campaign][r.Outcome]++
			if r.Outcome == sender.Canceled {
				require.ErrorIs(t, r.Err, sender.ErrCanceled)
			}
		}
		shutdown(t, s)
		require.Equal(t, 1500, outcomes["summer"][sender.Sent])
		require.Equal(t, 1500, outcomes["spring"][sender.Sent]+outcomes["spring"][sender.Canceled])
		require.Greater(t, outcomes["spring"][sender.Canceled], 1000)
		require.Len(t, sb.Messages(), 1500+outcomes["spring"][sender.Sent])
		require.Empty(t, q.Violations())
	})
}

// A suspended campaign stays in the Queue, over a restart too.
func TestSuspendQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Latency: 10 * time.Millisecond})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		cfg := queueConfig(sb, q)
		s := start(t, cfg)
		require.NoError(t, s.Suspend(context.Background(), sender.Selection{Campaigns: []string{"spring"}}, time.Time{}))
		msgs := letters(1000, "a.example")
		for i, m := range msgs {
			m.Campaign = []string{"spring", "summer"}[i%2]
		}
		require.NoError(t, s.Submit(context.Background(), msgs...))
		for _, r := range ends(t, s, 500) {
			require.Equal(t, "summer", r.Message.Campaign)
		}
		time.Sleep(time.Hour)
		shutdown(t, s)
		cfg.Queue = q.Reopen()
		s = start(t, cfg)
		time.Sleep(time.Hour)
		require.Len(t, sb.Messages(), 500)
		require.NoError(t, s.Resume(context.Background(), sender.Selection{Campaigns: []string{"spring"}}))
		ends(t, s, 500)
		shutdown(t, s)
	})
}

func TestSendNowQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		s := start(t, queueConfig(sb, sendertest.NewQueue()))
		msgs := letters(10, "a.example")
		for _, m := range msgs {
			m.NotBefore = time.Now().Add(100 * time.Hour)
		}
		require.NoError(t, s.Submit(context.Background(), msgs...))
		time.Sleep(time.Hour)
		require.Empty(t, sb.Messages())
		n, err := s.SendNow(context.Background(), sender.Selection{Messages: []string{msgs[3].ID, msgs[4].ID}})
		require.NoError(t, err)
		require.Equal(t, 2, n)
		ends(t, s, 2)
		n, err = s.SendNow(context.Background(), sender.Selection{Domains: []string{"a.example"}})
		require.NoError(t, err)
		require.Equal(t, 8, n)
		ends(t, s, 8)
		shutdown(t, s)
	})
}

// A greylisted recipient comes back from the source that it was tried from, also
// after it was in the Queue.
func TestGreylistedComesBackFromItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Greylist: 4 * time.Minute})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.Sources = []sender.Source{{Name: "one"}, {Name: "two"}, {Name: "three"}}
		tried := map[string]string{}
		cfg.Observe = func(e sender.Event) {
			if e.Kind == sender.EventRetry {
				tried[e.Recipient] = e.Source
			}
		}
		s := start(t, cfg)
		require.NoError(t, s.Submit(context.Background(), letters(30, "a.example")...))
		got := ends(t, s, 30)
		shutdown(t, s)
		sources := map[string]int{}
		for _, r := range got {
			require.Equal(t, sender.Sent, r.Outcome)
			require.Equal(t, 2, r.Attempts)
			require.Equal(t, tried[r.Recipient], r.Source)
			sources[r.Source]++
		}
		require.Len(t, sources, 3, sources)
	})
}

// A failure and a delay are told to the return path, once, and not about the
// notice itself.
func TestNoticesThroughTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: func(to string) *sendertest.Reply {
			if strings.HasPrefix(to, "user0@") {
				return sendertest.Answer("550 5.1.1 no such user")
			}
			return sendertest.Answer("451 4.3.0 later")
		}})
		sb.AddHost("mx.sender.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		sb.AddDomain("sender.example", "mx.sender.example")
		q := sendertest.NewQueue()
		cfg := queueConfig(sb, q)
		cfg.Streams = map[string]sender.Stream{"receipt": {Notices: &sender.Notices{}, Lifetime: 24 * time.Hour}}
		s := start(t, cfg)
		msgs := letters(3, "a.example")
		msgs[0].Stream, msgs[1].Stream = "receipt", "receipt" // the third one has no notices
		require.NoError(t, s.Submit(context.Background(), msgs...))
		got := ends(t, s, 3+3)
		shutdown(t, s)
		require.Equal(t, sender.Rejected, got["user0@a.example user0@a.example"].Outcome)
		require.ErrorIs(t, got["user1@a.example user1@a.example"].Err, sender.ErrExpired)
		var classes []bounce.ReportClass
		for _, m := range sb.Messages() {
			require.Empty(t, m.From)
			require.Equal(t, []string{"news@sender.example"}, m.Rcpts)
			r, err := bounce.Parse(strings.NewReader(string(m.Data)))
			require.NoError(t, err)
			require.Len(t, r.Recipients, 1)
			classes = append(classes, r.Class)
		}
		require.Equal(t, []bounce.ReportClass{bounce.Bounce, bounce.Delayed, bounce.Bounce}, classes)
	})
}
