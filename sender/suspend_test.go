package sender_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// kinds makes n messages of each stream and campaign to each domain.
func kinds(n int, streams, campaigns []string, domains ...string) []*sender.Message {
	var all []*sender.Message
	for _, stream := range streams {
		for _, campaign := range campaigns {
			for _, m := range letters(n, domains...) {
				m.Stream, m.Campaign = stream, campaign
				m.To[0] = stream + "-" + campaign + "-" + m.To[0]
				all = append(all, m)
			}
		}
	}
	return all
}

// arrived counts what a host has by stream and campaign: "news-may".
func arrived(h *sendertest.Host) map[string]int {
	n := map[string]int{}
	for _, m := range h.Messages() {
		parts := strings.SplitN(m.Rcpts[0], "-", 3)
		n[parts[0]+"-"+parts[1]]++
	}
	return n
}

// two is a sandbox with two sites and a Config with three streams.
func two(t *testing.T) (a, b *sendertest.Host, cfg sender.Config) {
	sb := sendertest.Start(t, sendertest.Options{Memory: true})
	a = sb.AddHost("mx.a.example", sendertest.Behavior{})
	b = sb.AddHost("mx.b.example", sendertest.Behavior{})
	sb.AddDomain("a.example", "mx.a.example")
	sb.AddDomain("b.example", "mx.b.example")
	cfg = config(sb)
	cfg.Streams = map[string]sender.Stream{"news": {}, "promo": {Priority: 1}, "receipt": {Priority: 2}}
	return a, b, cfg
}

var (
	streams   = []string{"news", "promo", "receipt"}
	campaigns = []string{"april", "may"}
)

// sending starts SendAll and returns what waits for it.
func sending(s *sender.Sender, msgs []*sender.Message) func() []sender.Result {
	done := make(chan []sender.Result, 1)
	go func() { done <- s.SendAll(context.Background(), msgs...) }()
	return func() []sender.Result { return <-done }
}

func TestSuspend(t *testing.T) {
	everything := map[string]int{"news-april": 5, "news-may": 5, "promo-april": 5, "promo-may": 5, "receipt-april": 5, "receipt-may": 5}
	but := func(names ...string) map[string]int {
		left := map[string]int{}
		for k, n := range everything {
			left[k] = n
		}
		for _, k := range names {
			delete(left, k)
		}
		return left
	}
	for _, tt := range []struct {
		name string
		sel  sender.Selection
		a, b map[string]int // what arrives while it is suspended
	}{
		{"everything", sender.Selection{}, but("news-april", "news-may", "promo-april", "promo-may", "receipt-april", "receipt-may"),
			but("news-april", "news-may", "promo-april", "promo-may", "receipt-april", "receipt-may")},
		{"site", sender.Selection{Sites: []string{"mx.a.example"}}, map[string]int{}, everything},
		{"stream", sender.Selection{Streams: []string{"news"}}, but("news-april", "news-may"), but("news-april", "news-may")},
		{"streams", sender.Selection{Streams: []string{"news", "promo"}}, but("news-april", "news-may", "promo-april", "promo-may"),
			but("news-april", "news-may", "promo-april", "promo-may")},
		{"campaign", sender.Selection{Campaigns: []string{"may"}}, but("news-may", "promo-may", "receipt-may"), but("news-may", "promo-may", "receipt-may")},
		{"all three", sender.Selection{Sites: []string{"mx.b.example"}, Streams: []string{"promo", "receipt"}, Campaigns: []string{"april"}},
			everything, but("promo-april", "receipt-april")},
	} {
		for _, when := range []string{"before the first mail", "while it waits"} {
			t.Run(tt.name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b, cfg := two(t)
					s := start(t, cfg)
					msgs := kinds(5, streams, campaigns, "a.example", "b.example")
					if when == "while it waits" {
						require.NoError(t, s.Suspend(t.Context(), sender.Selection{}, time.Now().Add(time.Minute)))
						time.Sleep(time.Second)
					} else {
						require.NoError(t, s.Suspend(t.Context(), tt.sel, time.Time{}))
					}
					results := sending(s, msgs)
					time.Sleep(30 * time.Second)
					require.NoError(t, s.Suspend(t.Context(), tt.sel, time.Time{}))
					time.Sleep(time.Hour)
					require.Equal(t, tt.a, arrived(a))
					require.Equal(t, tt.b, arrived(b))
					require.Len(t, s.Suspensions(), 1)
					require.NoError(t, s.Resume(t.Context(), tt.sel))
					require.Empty(t, s.Suspensions())
					all := results()
					require.Equal(t, len(msgs), count(all)[sender.Sent])
					requireOnce(t, msgs, all)
					require.Equal(t, everything, arrived(a))
					require.Equal(t, everything, arrived(b))
					shutdown(t, s)
				})
			})
		}
	}
}

// Nothing more is begun, what is on the wire finishes, and what waited goes on
// where it was.
func TestSuspendMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		cfg.Policy = throttle.PolicyFunc(slow)
		s := start(t, cfg)
		sel := sender.Selection{Campaigns: []string{"may"}}
		msgs := kinds(20, []string{"news"}, []string{"may"}, "a.example")
		results := sending(s, msgs)
		time.Sleep(10*time.Second + 100*time.Millisecond)
		require.NoError(t, s.Suspend(t.Context(), sel, time.Time{}))
		synctest.Wait()
		before := len(a.Messages())
		time.Sleep(time.Hour)
		require.Len(t, a.Messages(), before)
		require.Greater(t, before, 3)
		require.Less(t, before, 20)
		d := s.Snapshot().Destinations[0]
		require.Equal(t, 20-before, d.Queued)
		require.Equal(t, []sender.StreamState{{Stream: "news", Queued: 20 - before, Suspended: 20 - before, Why: "suspended: campaign may"}}, d.Streams)
		require.NoError(t, s.Resume(t.Context(), sel))
		require.Equal(t, 20, count(results())[sender.Sent])
		for i, m := range a.Messages() {
			require.True(t, strings.HasPrefix(m.Rcpts[0], fmt.Sprintf("news-may-user%d@", i)), "%d: %s", i, m.Rcpts[0])
		}
		shutdown(t, s)
	})
}

func TestSuspensionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		s := start(t, cfg)
		begin := time.Now()
		until := begin.Add(24 * time.Hour)
		require.NoError(t, s.Suspend(t.Context(), sender.Selection{Streams: []string{""}}, until))
		require.NoError(t, s.Suspend(t.Context(), sender.Selection{Streams: []string{""}}, begin.Add(time.Minute)), "does not shorten")
		require.NoError(t, s.Suspend(t.Context(), sender.Selection{Sites: []string{"mx.a.example"}}, begin.Add(time.Hour)))
		results := sending(s, letters(10, "a.example"))
		time.Sleep(2 * time.Hour)
		require.Equal(t, []sender.Suspension{{Selection: sender.Selection{Streams: []string{""}}, Until: until, Since: begin}}, s.Suspensions())
		require.Empty(t, a.Messages())
		state := s.Snapshot().Destinations[0].Streams[0]
		require.Equal(t, sender.StreamState{Queued: 10, Suspended: 10, Held: until, Why: "suspended"}, state)
		require.Equal(t, 10, count(results())[sender.Sent])
		require.Equal(t, until, time.Now().Truncate(time.Second))
		shutdown(t, s)
	})
}

// A suspension does not lengthen lives, and ends with its Send.
func TestSuspendedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := two(t)
		cfg.Streams["news"] = sender.Stream{Lifetime: time.Hour}
		s := start(t, cfg)
		require.NoError(t, s.Suspend(t.Context(), sender.Selection{}, time.Time{}))
		begin := time.Now()
		for _, r := range s.SendAll(t.Context(), of("news", letters(10, "a.example"))...) {
			require.Equal(t, sender.Deferred, r.Outcome)
			require.ErrorIs(t, r.Err, sender.ErrExpired)
		}
		require.Equal(t, time.Hour, time.Since(begin))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, r := range s.SendAll(ctx, letters(10, "a.example", "b.example")...) {
			require.ErrorIs(t, r.Err, context.DeadlineExceeded)
		}
		results := sending(s, letters(10, "a.example"))
		time.Sleep(time.Second)
		shutdown(t, s)
		for _, r := range results() {
			require.ErrorIs(t, r.Err, sender.ErrShutdown)
		}
	})
}

// Resume takes a suspension back in part where its names say what is left.
func TestResumePart(t *testing.T) {
	sel := func(sites, streams, campaigns string) sender.Selection {
		return sender.Selection{Sites: strings.Fields(sites), Streams: strings.Fields(streams), Campaigns: strings.Fields(campaigns)}
	}
	for _, tt := range []struct {
		name               string
		suspended, resumed sender.Selection
		left               []sender.Selection
	}{
		{"same", sel("", "news", ""), sel("", "news", ""), nil},
		{"all", sel("x y", "news", "may"), sel("", "", ""), nil},
		{"more", sel("x", "news", "may"), sel("y x", "", ""), nil},
		{"one of two", sel("", "news promo", ""), sel("", "news", ""), []sender.Selection{sel("", "promo", "")}},
		{"one of two and more", sel("x", "news promo", ""), sel("x y", "news receipt", ""), []sender.Selection{sel("x", "promo", "")}},
		{"a corner", sel("x y", "news promo", ""), sel("x", "news", ""), []sender.Selection{sel("y", "news promo", ""), sel("x", "promo", "")}},
		{"one out of all", sel("", "", ""), sel("", "news", ""), []sender.Selection{sel("", "", "")}},
		{"a part that has no name", sel("", "news", ""), sel("x", "news", ""), []sender.Selection{sel("", "news", "")}},
		{"another", sel("x", "news", ""), sel("x", "promo", ""), []sender.Selection{sel("x", "news", "")}},
		{"other campaign", sel("", "news", "may"), sel("", "news", "april"), []sender.Selection{sel("", "news", "may")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, cfg := two(t)
				s := start(t, cfg)
				require.NoError(t, s.Suspend(t.Context(), tt.suspended, time.Time{}))
				require.NoError(t, s.Resume(t.Context(), tt.resumed))
				var left []sender.Selection
				for _, p := range s.Suspensions() {
					p.Selection.Sites = append([]string{}, p.Selection.Sites...)
					p.Selection.Streams = append([]string{}, p.Selection.Streams...)
					p.Selection.Campaigns = append([]string{}, p.Selection.Campaigns...)
					left = append(left, p.Selection)
				}
				require.Equal(t, tt.left, left)
				shutdown(t, s)
			})
		})
	}
}

// Resume also ends what a failed connection holds.
func TestResumeTriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		a.SetBehavior(sendertest.Behavior{Refuse: true})
		cfg.Retry.Jitter = -1
		s := start(t, cfg)
		results := sending(s, letters(10, "a.example"))
		time.Sleep(time.Minute)
		a.SetBehavior(sendertest.Behavior{})
		require.NoError(t, s.Resume(t.Context(), sender.Selection{Streams: []string{"news"}}))
		synctest.Wait()
		require.Empty(t, a.Messages())
		require.NoError(t, s.Resume(t.Context(), sender.Selection{Sites: []string{"mx.a.example"}}))
		require.Equal(t, 10, count(results())[sender.Sent])
		shutdown(t, s)
	})
}

func TestMistakenSelections(t *testing.T) {
	_, _, cfg := two(t)
	s := start(t, cfg)
	for want, err := range map[string]error{
		"Selection.Domains":                 s.Suspend(t.Context(), sender.Selection{Domains: []string{"a.example"}}, time.Time{}),
		"Selection.Messages":                s.Resume(t.Context(), sender.Selection{Messages: []string{"1"}}),
		"Selection.Recipients":              s.Move(t.Context(), sender.Selection{Recipients: []string{"u@a.example"}}, ""),
		`"nws" is not in Config.Streams`:    s.Suspend(t.Context(), sender.Selection{Streams: []string{"nws"}}, time.Time{}),
		"is over":                           s.Suspend(t.Context(), sender.Selection{}, time.Now().Add(-time.Second)),
		`"nowhere" is not in Config.Source`: s.Move(t.Context(), sender.Selection{}, "nowhere"),
		"the campaign is empty":             s.Cancel(t.Context(), ""),
	} {
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, sender.ErrArgument)
	}
	_, err := s.SendNow(t.Context(), sender.Selection{Streams: []string{"nws"}})
	require.ErrorContains(t, err, "Config.Streams")
	require.ErrorIs(t, err, sender.ErrArgument)
	require.Empty(t, s.Suspensions())
	require.Empty(t, s.Moves())
	shutdown(t, s)
}

// What can be called at once is, by many.
func TestOrdersFromManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := two(t)
		s := start(t, cfg)
		msgs := kinds(50, streams, campaigns, "a.example", "b.example")
		results := sending(s, msgs)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				sel := sender.Selection{Campaigns: campaigns[i%2 : i%2+1], Streams: streams[i%3 : i%3+1]}
				for range 20 {
					require.NoError(t, s.Suspend(t.Context(), sel, time.Time{}))
					time.Sleep(time.Duration(i) * time.Millisecond)
					_, err := s.SendNow(t.Context(), sel)
					require.NoError(t, err)
					s.Snapshot()
					require.NoError(t, s.Move(t.Context(), sel, "default"))
					require.NoError(t, s.Resume(t.Context(), sel))
				}
			})
		}
		all.Wait()
		require.Empty(t, s.Suspensions())
		require.Equal(t, len(msgs), count(results())[sender.Sent])
		shutdown(t, s)
	})
}
