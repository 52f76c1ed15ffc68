package sender_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// stuckDomains are many recipients at some domains where little or nothing goes,
// and one at a domain that is well.
func stuckDomains(sb *sendertest.Sandbox, n int, b sendertest.Behavior) (stuck []*sender.Message, well *sender.Message) {
	var domains []string
	for i := range n {
		d := fmt.Sprintf("stuck%d.example", i)
		domains = append(domains, d)
		sb.AddHost("mx."+d, b)
		sb.AddDomain(d, "mx."+d)
	}
	sb.AddHost("mx.well.example", sendertest.Behavior{})
	sb.AddDomain("well.example", "mx.well.example")
	return letters(500, domains...), letter("well@well.example")
}

// resultOf waits for the result of a message.
func resultOf(t *testing.T, s *sender.Sender, m *sender.Message, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for r := range s.Results(ctx) {
		if r.Message.ID == m.ID {
			require.Equal(t, sender.Sent, r.Outcome)
			return
		}
	}
	require.Fail(t, "no result in time", m.ID)
}

// Sites that take little leave room in the window for others, however much waits.
func TestSlowSitesLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		stuck, well := stuckDomains(sb, 5, sendertest.Behavior{})
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.QueueWindow = 1000
		cfg.Policy = throttle.PolicyFunc(func(k throttle.Key) throttle.Limits {
			if k.Domain == "well.example" {
				return fast(k)
			}
			return throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: time.Minute}}, Conns: 1}
		})
		s := start(t, cfg)
		defer shutdown(t, s)
		require.NoError(t, s.Submit(context.Background(), stuck...))
		time.Sleep(time.Minute)
		require.NoError(t, s.Submit(context.Background(), well))
		resultOf(t, s, well, time.Minute)
	})
}

// A stream that the Breaker has stopped at some sites goes on at the others.
func TestStoppedStreamLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		stuck, well := stuckDomains(sb, 10, sendertest.Behavior{Recipient: func(string) *sendertest.Reply {
			return sendertest.Answer("550 5.1.1 no such user")
		}})
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.QueueWindow = 1000
		cfg.Breaker = sender.Breaker{Sample: 5}
		s := start(t, cfg)
		defer shutdown(t, s)
		require.NoError(t, s.Submit(context.Background(), stuck...))
		time.Sleep(time.Minute)
		require.NoError(t, s.Submit(context.Background(), well))
		resultOf(t, s, well, time.Minute)
	})
}

// Results ends when the Sender is shut down, also if its Queue is closed by then.
func TestResultsEndWithAClosedQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		q := sendertest.NewQueue()
		s := start(t, queueConfig(sb, q))
		shutdown(t, s)
		q.Reopen()
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			defer close(ended)
			collect(s.Results(ctx))
		}()
		select {
		case <-ended:
		case <-time.After(time.Hour):
			cancel()
			<-ended
			require.Fail(t, "Results goes on for ever")
		}
	})
}

// What is acknowledged after Shutdown does not come again.
func TestAckAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		s := start(t, queueConfig(sb, q))
		require.NoError(t, s.Submit(context.Background(), letters(10, "a.example")...))
		time.Sleep(time.Second)
		shutdown(t, s)
		for r := range s.Results(context.Background()) {
			s.Ack(r)
		}
		left, err := q.Results(context.Background(), 0, 100)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// Resume does not wait for a Queue that hangs for longer than its ctx.
func TestResumeHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		q := sendertest.NewQueue()
		q.Delay(sendertest.QueueTake, time.Hour)
		s := start(t, queueConfig(sb, q))
		defer shutdown(t, s)
		time.Sleep(time.Second)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Resume(ctx, sender.Selection{}), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))
	})
}

// wrapped is a Content that looks as if it could be compared.
type wrapped struct{ v any }

func (w wrapped) WriteTo(to io.Writer) (int64, error) { return text(w.v.([]byte)).WriteTo(to) }

func TestSubmitContentThatCannotBeCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		s := start(t, queueConfig(sb, sendertest.NewQueue()))
		defer shutdown(t, s)
		m := letter("ann@a.example")
		m.Content = wrapped{[]byte(m.Content.(text))}
		require.NoError(t, s.Submit(context.Background(), m))
		resultOf(t, s, m, time.Minute)
	})
}

// What goes back to the Queue while its campaign is canceled is canceled at once,
// not when it would be due.
func TestCancelMeetsWhatGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: func(string) *sendertest.Reply {
			return sendertest.Answer("451 4.3.0 try again")
		}})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		failed := make(chan struct{}, 1)
		q.OnWrite(func(changes []sender.Change) error {
			for _, c := range changes {
				if c.Kind == sender.Later {
					select {
					case failed <- struct{}{}:
					default:
					}
					return errors.New("disk full")
				}
			}
			return nil
		})
		s := start(t, queueConfig(sb, q))
		defer shutdown(t, s)
		m := letter("ann@a.example")
		m.Campaign = "spring"
		require.NoError(t, s.Submit(context.Background(), m))
		<-failed
		require.NoError(t, s.Cancel(context.Background(), "spring"))
		q.OnWrite(nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		got := collect(s.Results(ctx))
		require.Len(t, got, 1)
		require.Equal(t, sender.Canceled, got[0].Outcome)
	})
}

// A slow site of many domains leaves room too: that they are its own is found only
// when they are in memory.
func TestSlowHosterLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.hoster.example", sendertest.Behavior{})
		sb.AddHost("mx.well.example", sendertest.Behavior{})
		sb.AddDomain("well.example", "mx.well.example")
		var stuck []*sender.Message
		for i := range 3000 {
			d := fmt.Sprintf("c%d.example", i)
			sb.AddDomain(d, "mx.hoster.example")
			stuck = append(stuck, letter("a@"+d))
		}
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.QueueWindow = 1000
		cfg.Policy = throttle.PolicyFunc(func(k throttle.Key) throttle.Limits {
			if k.Domain == "well.example" {
				return fast(k)
			}
			return throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: time.Minute}}, Conns: 1}
		})
		s := start(t, cfg)
		defer shutdown(t, s)
		require.NoError(t, s.Submit(context.Background(), stuck...))
		time.Sleep(time.Minute)
		well := letter("well@well.example")
		require.NoError(t, s.Submit(context.Background(), well))
		resultOf(t, s, well, time.Minute)
	})
}

// Whatever is under way at Shutdown, and though the Queue fails now and then, the
// next Sender ends each recipient, and nothing is sent twice.
func TestShutdownAmidAll(t *testing.T) {
	for _, i := range []int{0, 7, 14, 20} {
		synctest.Test(t, func(t *testing.T) {
			sb := sendertest.Start(t, sendertest.Options{Memory: true})
			for d := range 5 {
				var n atomic.Int64
				name := fmt.Sprintf("d%d.example", d)
				sb.AddHost("mx."+name, sendertest.Behavior{Latency: time.Duration(d) * 3 * time.Millisecond, Recipient: func(string) *sendertest.Reply {
					if n.Add(1)%4 == 0 {
						return sendertest.Answer("451 4.3.0 try again")
					}
					return nil
				}})
				sb.AddDomain(name, "mx."+name)
			}
			q := sendertest.NewQueue()
			k := 0
			q.OnWrite(func([]sender.Change) error {
				if k++; k%5 == 0 {
					return errors.New("no")
				}
				return nil
			})
			s := start(t, queueConfig(sb, q))
			done := make(chan struct{}, 10)
			go func() {
				for r := range s.Results(context.Background()) {
					s.Ack(r)
				}
				done <- struct{}{}
			}()
			go func() {
				for j := range 200 {
					m := letter(fmt.Sprintf("u%d@d%d.example", j, j%5), fmt.Sprintf("v%d@d%d.example", j, j%5), fmt.Sprintf("w%d@d%d.example", j, (j+1)%5), "bad address")
					m.Campaign = fmt.Sprint("c", j%3)
					if err := s.Submit(context.Background(), m); err != nil && !errors.Is(err, sender.ErrCanceled) {
						require.ErrorIs(t, err, sender.ErrShutdown)
					}
					time.Sleep(time.Millisecond)
				}
				done <- struct{}{}
			}()
			go func() {
				for j := range 50 {
					time.Sleep(3 * time.Millisecond)
					_ = s.Suspend(context.Background(), sender.Selection{Campaigns: []string{"c1"}}, time.Time{})
					time.Sleep(3 * time.Millisecond)
					_ = s.Resume(context.Background(), sender.Selection{})
					_, _ = s.SendNow(context.Background(), sender.Selection{})
					if j == 20 {
						_ = s.Cancel(context.Background(), "c2")
					}
				}
				done <- struct{}{}
			}()
			time.Sleep(time.Duration(i*17) * time.Millisecond)
			for range 2 {
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%3)*10*time.Millisecond)
					defer cancel()
					_ = s.Shutdown(ctx)
					done <- struct{}{}
				}()
			}
			for range 5 {
				<-done
			}
			require.Empty(t, q.Violations())
			q = q.Reopen()
			s = start(t, queueConfig(sb, q))
			require.NoError(t, s.Resume(context.Background(), sender.Selection{}))
			ctx, cancel := context.WithTimeout(context.Background(), 6*24*time.Hour)
			for r := range s.Results(ctx) {
				s.Ack(r)
			}
			cancel()
			shutdown(t, s)
			left, err := q.List(context.Background(), sender.Selection{}, 0, 10)
			require.NoError(t, err)
			require.Empty(t, left)
			require.Empty(t, q.Violations())
			got := map[string]int{}
			for _, m := range sb.Messages() {
				for _, to := range m.Rcpts {
					got[to]++
				}
			}
			for to, n := range got {
				require.Equal(t, 1, n, to)
			}
		})
	}
}

// A write that fails at the very end is tried again: what was delivered last would
// else be Unknown.
func TestLastWriteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Latency: time.Second})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		fails := 0
		q.OnWrite(func(changes []sender.Change) error {
			for _, c := range changes {
				if c.Kind == sender.EndedNow && fails < 2 {
					fails++
					return errors.New("disk full")
				}
			}
			return nil
		})
		s := start(t, queueConfig(sb, q))
		require.NoError(t, s.Submit(context.Background(), letter("ann@a.example")))
		for len(sb.Messages()) == 0 {
			time.Sleep(time.Millisecond)
		}
		shutdown(t, s)
		require.Equal(t, 2, fails)
		got := collect(s.Results(context.Background()))
		require.Len(t, got, 1)
		require.Equal(t, sender.Sent, got[0].Outcome)
	})
}
