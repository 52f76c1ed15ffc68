package sender_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

const day = 24 * time.Hour

// dials notes when connections to hosts are tried.
type dials struct {
	sb    *sendertest.Sandbox
	mu    sync.Mutex
	names map[string]string      // by address
	at    map[string][]time.Time // by host
	open  map[string]int         // being opened, by host
	most  map[string]int         // at once, by host
}

func watchDials(sb *sendertest.Sandbox, hosts ...*sendertest.Host) *dials {
	d := &dials{sb: sb, names: map[string]string{}, at: map[string][]time.Time{}, open: map[string]int{}, most: map[string]int{}}
	for _, h := range hosts {
		d.names[h.Addr().String()] = h.Name()
	}
	return d
}

func (d *dials) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	name := d.names[host]
	d.mu.Lock()
	d.at[name] = append(d.at[name], time.Now())
	d.open[name]++
	d.most[name] = max(d.most[name], d.open[name])
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.open[name]--
		d.mu.Unlock()
	}()
	return d.sb.Dial(ctx, network, address)
}

// opening is the most connections to a host that were being opened at once.
func (d *dials) opening(host string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most[host]
}

// within counts the times between two.
func during(times []time.Time, from, to time.Time) (n int) {
	for _, t := range times {
		if !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n
}

// allEnds is the results of n recipients, in the order of their ends.
func allEnds(t *testing.T, s *sender.Sender, n int) (got []sender.Result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*day)
	defer cancel()
	seen := map[string]bool{}
	for r := range s.Results(ctx) {
		require.False(t, seen[r.Message.ID+" "+r.Recipient], "%s ends twice", r.Recipient)
		seen[r.Message.ID+" "+r.Recipient] = true
		got = append(got, r)
		s.Ack(r)
		if len(got) == n {
			break
		}
	}
	require.Len(t, got, n)
	return got
}

// A site that is down is probed, by one connection at a time and no more often
// than the schedule says, however much waits for it. What comes back on day four
// gets all of its mail; what never does ends after five days. Nobody else waits.
func TestFiveDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many, few = 10_000, 300
		sb := sendertest.Start(t, sendertest.Options{Memory: true, KeepBodies: -1})
		back := sb.AddHost("mx.back.example", sendertest.Behavior{Dead: true})
		never := sb.AddHost("mx.never.example", sendertest.Behavior{Dead: true})
		fine := sb.AddHost("mx.fine.example", sendertest.Behavior{Latency: 10 * time.Millisecond})
		for _, name := range []string{"back.example", "never.example", "fine.example"} {
			sb.AddDomain(name, "mx."+name)
		}
		d := watchDials(sb, back, never, fine)
		q := sendertest.NewQueue()
		cfg := queueConfig(sb, q)
		cfg.Dial = d.Dial
		cfg.QueueWindow = 1000 // a part of what waits
		s := start(t, cfg)
		begin := time.Now()
		require.NoError(t, s.Submit(context.Background(), letters(many, "back.example")...))
		require.NoError(t, s.Submit(context.Background(), letters(few, "never.example", "fine.example")...))

		time.AfterFunc(4*day, func() {
			require.Equal(t, 1, d.opening("mx.back.example"), "connections opened at once")
			back.SetBehavior(sendertest.Behavior{Latency: 10 * time.Millisecond})
		})

		for _, r := range allEnds(t, s, many+2*few) {
			switch domain := r.Recipient[strings.IndexByte(r.Recipient, '@')+1:]; domain {
			case "fine.example":
				require.Equal(t, sender.Sent, r.Outcome)
				require.Less(t, r.Elapsed, time.Minute, "it waits for no other site")
			case "back.example":
				require.Equal(t, sender.Sent, r.Outcome, "%s after %v and %d attempts: %v", r.Recipient, r.Elapsed, r.Attempts, r.Err)
				require.GreaterOrEqual(t, r.Elapsed, 4*day)
				require.Less(t, r.Elapsed, 4*day+6*time.Hour)
			default:
				require.Equal(t, sender.Deferred, r.Outcome)
				require.ErrorIs(t, r.Err, sender.ErrExpired)
				if r.Attempts > 0 {
					require.Equal(t, bounce.StageConnect, r.Reply.Stage, "the last failure stays the reason")
				}
				require.Greater(t, r.Elapsed, 5*day-5*time.Hour)
				require.Less(t, r.Elapsed, 5*day+5*time.Hour, "at the next probe at the latest")
			}
		}
		require.Equal(t, many, back.Stats().Accepted)
		time.Sleep(day)
		shutdown(t, s)
		require.Empty(t, q.Violations())
		requireClean(t, back, never, fine)

		require.Equal(t, 1, d.opening("mx.never.example"), "connections opened at once")
		for _, name := range []string{"mx.back.example", "mx.never.example"} {
			n := during(d.at[name], begin.Add(time.Hour), begin.Add(4*day))
			require.GreaterOrEqual(t, n, 19, "probes of %s", name) // every 4 hours and 48 minutes, at the least
			require.LessOrEqual(t, n, 40, "probes of %s", name)
		}
	})
}

// What comes back a minute or more later goes over the Queue, and keeps its
// source, its hinted time and its reason.
func TestQueueRetriesByCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		grey := sb.AddHost("mx.grey.example", sendertest.Behavior{Recipient: greylist(20 * time.Minute)})
		slow := sb.AddHost("mx.slow.example", sendertest.Behavior{})
		begin := time.Now()
		slow.SetBehavior(sendertest.Behavior{Sender: func(string) *sendertest.Reply {
			if time.Since(begin) < 10*time.Minute {
				return sendertest.Answer("451 4.7.650 The mail server has been temporarily rate limited")
			}
			return nil
		}})
		sb.AddDomain("grey.example", "mx.grey.example")
		sb.AddDomain("slow.example", "mx.slow.example")
		for _, d := range []string{"lost.example", "other.lost.example"} {
			sb.SetDomain(d, sendertest.Domain{Fail: true})
		}
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.Sources = []sender.Source{{Name: "one"}, {Name: "two"}}
		var mu sync.Mutex
		refusedBy := map[string]string{} // sources by recipient
		cfg.Observe = func(e sender.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == sender.EventRetry {
				refusedBy[e.Recipient] = e.Source
			}
		}
		s := start(t, cfg)
		require.NoError(t, s.Submit(context.Background(), letters(40, "grey.example", "slow.example", "lost.example")...))
		time.AfterFunc(2*day, func() { sb.AddDomain("lost.example", "mx.slow.example") })
		lost, sources := map[time.Duration]int{}, map[string]int{}
		for _, r := range allEnds(t, s, 120) {
			require.Equal(t, sender.Sent, r.Outcome, "%s: %v", r.Recipient, r.Err)
			switch _, domain, _ := strings.Cut(r.Recipient, "@"); domain {
			case "grey.example":
				require.Equal(t, 2, r.Attempts)
				mu.Lock()
				require.Equal(t, refusedBy[r.Recipient], r.Source, "the receiver knows that one")
				mu.Unlock()
				sources[r.Source]++
				require.GreaterOrEqual(t, r.Elapsed, 20*time.Minute, "the hinted time")
				require.Less(t, r.Elapsed, 22*time.Minute)
			case "slow.example":
				require.GreaterOrEqual(t, r.Elapsed, 10*time.Minute)
				require.Less(t, r.Elapsed, time.Hour)
			default:
				require.GreaterOrEqual(t, r.Elapsed, 2*day)
				require.Less(t, r.Elapsed, 2*day+5*time.Hour)
				lost[r.Elapsed.Round(time.Minute)]++
			}
		}
		require.Len(t, sources, 2)
		require.Len(t, lost, 1, "the domain comes back as one")
		shutdown(t, s)
		requireClean(t, grey, slow)
		require.Less(t, len(slow.Stats().Mails), 40+40+15, "refused are probes, not all")
	})
}

// greylist refuses each recipient that is new with a hint, and until it is over.
func greylist(wait time.Duration) func(string) *sendertest.Reply {
	var mu sync.Mutex
	first := map[string]time.Time{}
	return func(to string) *sendertest.Reply {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := first[to]; !ok {
			first[to] = time.Now()
		}
		if time.Since(first[to]) < wait {
			return sendertest.Answer("450 4.2.0 <" + to + ">: Recipient address rejected: Greylisted, retry in 20 minutes")
		}
		return nil
	}
}
