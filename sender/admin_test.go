package sender_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// named gives the messages IDs of their own.
func named(msgs []*sender.Message) []*sender.Message {
	for _, m := range msgs {
		m.ID = m.To[0]
	}
	return msgs
}

// Suspended mail of a Queue waits there, so that the other campaigns of its stream
// find room in memory.
func TestSuspendedInQueue(t *testing.T) {
	for name, sel := range map[string]sender.Selection{
		"campaign": {Campaigns: []string{"may"}},
		"site":     {Sites: []string{"mx.b.example"}},
	} {
		for _, until := range []time.Duration{0, 63 * time.Minute} {
			for _, early := range []bool{true, false} {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						a, b, cfg := two(t)
						q := sendertest.NewQueue()
						cfg.Queue, cfg.QueueWindow = q, 60
						s := start(t, cfg)
						var end time.Time
						if until > 0 {
							end = time.Now().Add(until)
						}
						suspend := func() { require.NoError(t, s.Suspend(t.Context(), sel, end)) }
						if early {
							suspend()
						} else {
							require.NoError(t, s.Suspend(t.Context(), sender.Selection{}, time.Time{}))
						}
						require.NoError(t, s.Submit(t.Context(), named(kinds(100, []string{"news"}, []string{"may"}, "b.example"))...))
						require.NoError(t, s.Submit(t.Context(), named(kinds(100, []string{"news"}, []string{"april"}, "a.example"))...))
						time.Sleep(time.Minute)
						if !early {
							suspend()
							require.NoError(t, s.Resume(t.Context(), sender.Selection{}))
							suspend()
						}
						time.Sleep(10 * time.Minute)
						require.Len(t, a.Messages(), 100)
						if early {
							require.Empty(t, b.Messages())
						}
						if until == 0 {
							time.Sleep(time.Hour)
							require.NoError(t, s.Resume(t.Context(), sel))
						} else {
							time.Sleep(time.Until(end))
						}
						time.Sleep(time.Minute)
						require.Len(t, b.Messages(), 100)
						ends(t, s, 200)
						shutdown(t, s)
						require.Empty(t, q.Violations())
					})
				})
			}
		}
	}
}

// Orders are in force for the next Sender with the Queue.
func TestOrdersOutlastTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, cfg := two(t)
		cfg.Sources = []sender.Source{{Name: "1", Hostname: "one.sender.example"}, {Name: "2", Hostname: "two.sender.example"}}
		q := sendertest.NewQueue()
		cfg.Queue = q
		s := start(t, cfg)
		suspended := sender.Selection{Streams: []string{"promo"}, Sites: []string{"mx.a.example"}}
		until := time.Now().Add(time.Hour)
		require.NoError(t, s.Suspend(t.Context(), suspended, until))
		require.NoError(t, s.Suspend(t.Context(), sender.Selection{Campaigns: []string{"x"}}, time.Time{}))
		require.NoError(t, s.Move(t.Context(), sender.Selection{Campaigns: []string{"may"}}, "2"))
		require.NoError(t, s.Move(t.Context(), sender.Selection{Campaigns: []string{"april"}}, "1"))
		require.NoError(t, s.Cancel(t.Context(), "june"))
		suspensions, moves := s.Suspensions(), s.Moves()
		shutdown(t, s)

		q = q.Reopen()
		cfg.Queue = q
		s = start(t, cfg)
		require.Len(t, s.Suspensions(), 2)
		for i, p := range s.Suspensions() {
			require.Equal(t, suspensions[i].Selection, p.Selection)
			require.True(t, suspensions[i].Until.Equal(p.Until))
		}
		require.Len(t, s.Moves(), 2)
		for i, m := range s.Moves() {
			require.Equal(t, moves[i].Selection, m.Selection)
			require.Equal(t, moves[i].Source, m.Source)
		}
		require.ErrorIs(t, s.Submit(t.Context(), named(kinds(1, []string{"news"}, []string{"june"}, "a.example"))...), sender.ErrCanceled)
		require.NoError(t, s.Submit(t.Context(), named(kinds(10, []string{"promo"}, []string{"may", "april"}, "a.example", "b.example"))...))
		time.Sleep(time.Minute)
		require.Empty(t, a.Messages())
		require.Len(t, b.Messages(), 20)
		for _, r := range ends(t, s, 20) {
			require.Equal(t, map[string]string{"may": "2", "april": "1"}[r.Message.Campaign], r.Source)
		}
		time.Sleep(time.Until(until.Add(time.Minute)))
		require.Len(t, a.Messages(), 20)
		require.Len(t, s.Suspensions(), 1)
		shutdown(t, s)

		cfg.Queue, cfg.Sources = q.Reopen(), cfg.Sources[:1]
		s = start(t, cfg)
		require.Len(t, s.Moves(), 1, "there is no source 2 any more")
		shutdown(t, s)
	})
}

// An order is in force though it cannot be kept, and the caller is told.
func TestOrdersThatCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := two(t)
		q := sendertest.NewQueue()
		cfg.Queue = q
		s := start(t, cfg)
		full := errors.New("disk full")
		q.Fail(sendertest.QueueOther, 2, full)
		require.ErrorIs(t, s.Suspend(t.Context(), sender.Selection{}, time.Time{}), full)
		require.Len(t, s.Suspensions(), 1)
		require.ErrorIs(t, s.Move(t.Context(), sender.Selection{}, "default"), full)
		require.Len(t, s.Moves(), 1)
		shutdown(t, s)
		require.NoError(t, q.Save(context.Background(), "suspensions", []byte("{")))
		_, err := sender.New(cfg)
		require.ErrorContains(t, err, "suspensions")
	})
}

// SendNow makes due what is scheduled, or waits for its next try, in the Queue.
func TestSendNowOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, cfg := two(t)
		b.SetBehavior(sendertest.Behavior{Greylist: time.Second})
		cfg.Queue = sendertest.NewQueue()
		s := start(t, cfg)
		scheduled := named(kinds(10, []string{"news"}, []string{"may"}, "a.example"))
		for _, m := range scheduled {
			m.NotBefore = time.Now().Add(24 * time.Hour)
		}
		require.NoError(t, s.Submit(t.Context(), append(scheduled, named(kinds(10, []string{"news"}, []string{"april"}, "b.example"))...)...))
		time.Sleep(time.Minute)
		require.Empty(t, a.Messages())
		require.Empty(t, b.Messages())
		n, err := s.SendNow(t.Context(), sender.Selection{Campaigns: []string{"may"}})
		require.NoError(t, err)
		require.Equal(t, 10, n)
		n, err = s.SendNow(t.Context(), sender.Selection{Sites: []string{"mx.b.example"}})
		require.NoError(t, err)
		require.Equal(t, 10, n)
		begin := time.Now()
		for _, r := range ends(t, s, 20) {
			require.Equal(t, sender.Sent, r.Outcome)
		}
		require.Less(t, time.Since(begin), 10*time.Second)
		shutdown(t, s)
	})
}

// What the Queue has handed out is canceled as well as what it has not.
func TestCancelWhatIsHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, cfg := two(t)
		b.SetBehavior(sendertest.Behavior{Greylist: time.Hour})
		q := sendertest.NewQueue()
		cfg.Queue, cfg.QueueWindow = q, 100
		cfg.Policy = nil
		s := start(t, cfg)
		require.NoError(t, s.Submit(t.Context(), named(kinds(300, []string{"news"}, campaigns, "a.example", "b.example"))...))
		time.Sleep(2 * time.Second)
		require.NoError(t, s.Cancel(t.Context(), "may"))
		got := map[string]int{}
		for _, r := range ends(t, s, 1200) {
			got[r.Message.Campaign+"-"+r.Outcome.String()]++
		}
		sent := arrived(a)["news-may"] + arrived(b)["news-may"]
		want := map[string]int{"april-sent": 600, "may-canceled": 600 - sent}
		if sent > 0 {
			want["may-sent"] = sent
		}
		require.Equal(t, want, got)
		shutdown(t, s)
		require.Empty(t, q.Violations())
	})
}

// What goes back to the Queue for a short time is tried again in time.
func TestShortWaitInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		a.SetBehavior(sendertest.Behavior{Greylist: time.Minute})
		cfg.Queue = sendertest.NewQueue()
		cfg.Retry.Schedule, cfg.Retry.Jitter = []time.Duration{90 * time.Second}, -1
		s := start(t, cfg)
		require.NoError(t, s.Submit(t.Context(), letter("u@a.example")))
		for _, r := range ends(t, s, 1) {
			require.Equal(t, 2, r.Attempts)
			require.InDelta(t, 90, r.Elapsed.Seconds(), 5)
		}
		shutdown(t, s)
	})
}
