package sender_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// A message goes out at its scheduled start and not before, tried from then on
// for its lifetime; what is not scheduled passes it.
func TestNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		cfg.Streams["news"] = sender.Stream{Lifetime: time.Hour}
		s := start(t, cfg)
		at := time.Now().Add(30 * 24 * time.Hour)
		scheduled := of("news", letters(10, "a.example", "b.example"))
		for _, m := range scheduled {
			m.NotBefore = at
		}
		results := sending(s, scheduled)
		require.NoError(t, s.SendAll(t.Context(), letter("u@a.example"))[0].Err)
		time.Sleep(time.Until(at) - time.Minute)
		require.Len(t, a.Messages(), 1)
		a.SetBehavior(sendertest.Behavior{Greylist: 20 * time.Minute})
		for _, r := range results() {
			require.Equal(t, sender.Sent, r.Outcome)
			require.Less(t, r.Elapsed, time.Hour)
		}
		require.Less(t, time.Since(at), time.Hour)
		for _, m := range a.Messages()[1:] {
			require.False(t, m.Time.Before(at.Add(20*time.Minute)))
		}
		shutdown(t, s)
	})
}

// A start in the past is no start; one in a thousand years can be canceled, and
// SendNow does not wait for it.
func TestNotBeforeFarOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := two(t)
		s := start(t, cfg)
		send := func(at time.Time) func() []sender.Result {
			m := letter("u@a.example")
			m.NotBefore, m.Campaign = at, "may"
			return sending(s, []*sender.Message{m})
		}
		past := send(time.Now().AddDate(-1000, 0, 0))()[0]
		require.NoError(t, past.Err)
		require.Less(t, past.Elapsed, time.Second)
		far := send(time.Now().AddDate(1000, 0, 0))
		time.Sleep(30 * 24 * time.Hour)
		require.Equal(t, 1, s.Snapshot().Destinations[0].Deferred)
		n, err := s.SendNow(t.Context(), sender.Selection{Campaigns: []string{"may"}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.NoError(t, far()[0].Err)
		far = send(time.Now().AddDate(1000, 0, 0))
		time.Sleep(time.Second)
		require.NoError(t, s.Cancel(t.Context(), "may"))
		require.Equal(t, sender.Canceled, far()[0].Outcome)
		shutdown(t, s)
	})
}

// within reports whether it is the hour of the day of a zone from, up to to.
func within(t *testing.T, at time.Time, zone string, from, to int) {
	loc, err := time.LoadLocation(zone)
	require.NoError(t, err)
	h := at.In(loc).Hour()
	in := from <= h && h < to
	if to < from {
		in = h >= from || h < to
	}
	require.True(t, in, "%s in %s", at.In(loc), zone)
}

// Mail goes out in the hours of each recipient's zone: what is ready when they end
// waits for the next opening, which may be over midnight, and other streams do not
// wait for it.
func TestHours(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Asia/Kolkata", ""}
	for _, tt := range []struct {
		name     string
		from, to int
	}{{"day", 9, 17}, {"over midnight", 22, 3}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _, cfg := two(t)
				cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
					return throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: 20 * time.Minute}}, Idle: 24 * time.Hour}
				})
				hours := &sender.Hours{From: time.Duration(tt.from) * time.Hour, To: time.Duration(tt.to) * time.Hour, Zone: "Asia/Tokyo"}
				cfg.Streams["news"] = sender.Stream{Hours: hours, Lifetime: 30 * 24 * time.Hour}
				cfg.Streams["promo"] = sender.Stream{}
				s := start(t, cfg)
				zone := map[string]string{}
				msgs := of("news", letters(120, "a.example"))
				for i, m := range msgs {
					m.Zone = zones[i%len(zones)]
					zone[m.To[0]] = m.Zone
				}
				results := sending(s, msgs)
				others := sending(s, of("promo", letters(120, "a.example")))
				for _, r := range append(results(), others()...) {
					require.Equal(t, sender.Sent, r.Outcome)
				}
				last := map[string]int{}
				for i, m := range a.Messages() {
					z, timed := zone[m.Rcpts[0]]
					if !timed {
						last["promo"] = i
						continue
					}
					last["news"] = i
					if z == "" {
						z = hours.Zone
					}
					within(t, m.Time, z, tt.from, tt.to)
				}
				require.Len(t, a.Messages(), 240)
				require.Greater(t, last["news"], 180)
				shutdown(t, s)
			})
		})
	}
}

// When hours end with much mail ready, its stream loses no share of the permits
// for it.
func TestHoursCostNoShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		cfg.Policy = throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 1, Per: 30 * time.Second}}, Idle: time.Hour}
		})
		cfg.Streams["news"] = sender.Stream{Hours: &sender.Hours{From: 0, To: time.Hour}} // it is midnight, UTC
		cfg.Streams["promo"] = sender.Stream{}
		s := start(t, cfg)
		time.Sleep(50 * time.Minute)
		news := sending(s, kinds(10_000, []string{"news"}, []string{"may"}, "a.example"))
		promo := sending(s, kinds(3000, []string{"promo"}, []string{"may"}, "a.example"))
		time.Sleep(23*time.Hour + 9*time.Minute)
		before := arrived(a)
		require.InDelta(t, 10, before["news-may"], 1)
		time.Sleep(20 * time.Minute)
		after := arrived(a)
		require.InDelta(t, 19, after["news-may"]-before["news-may"], 2)
		require.NoError(t, s.Cancel(t.Context(), "may"))
		news()
		promo()
		shutdown(t, s)
	})
}

// Retries keep to the hours too, and a life that ends before they begin ends now.
func TestHoursOfRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		a.SetBehavior(sendertest.Behavior{Greylist: 2 * time.Minute})
		cfg.Streams["news"] = sender.Stream{Hours: &sender.Hours{From: 9 * time.Hour, To: 10 * time.Hour}}
		cfg.Streams["promo"] = sender.Stream{Hours: &sender.Hours{From: 9 * time.Hour, To: 10 * time.Hour}, Lifetime: 2 * time.Hour}
		s := start(t, cfg)
		r := s.SendAll(t.Context(), of("promo", letters(1, "a.example"))...)[0]
		require.ErrorIs(t, r.Err, sender.ErrExpired)
		require.Zero(t, r.Attempts)
		require.Empty(t, a.Stats().Mails)
		time.Sleep(9*time.Hour + 58*time.Minute)
		r = s.SendAll(t.Context(), of("news", letters(1, "a.example"))...)[0]
		require.Equal(t, sender.Sent, r.Outcome)
		require.Equal(t, 2, r.Attempts)
		within(t, a.Messages()[0].Time, "UTC", 9, 10)
		require.Greater(t, r.Elapsed, 22*time.Hour)
		shutdown(t, s)
	})
}

func TestZoneThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, cfg := two(t)
		s := start(t, cfg)
		m := letter("u@a.example")
		m.Zone = "Europe/Nowhere"
		r := s.SendAll(t.Context(), m)[0]
		require.Equal(t, sender.Rejected, r.Outcome)
		require.ErrorContains(t, r.Err, "Message.Zone")
		require.ErrorContains(t, r.Err, "Europe/Nowhere")
		shutdown(t, s)
	})
}
