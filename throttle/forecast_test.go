package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func waitOf(s SiteReport, limit string) time.Duration {
	for _, w := range s.Waiting {
		if w.Limit == limit {
			return w.For
		}
	}
	return 0
}

func TestForecast(t *testing.T) {
	policy := PolicyFunc(func(k Key) Limits {
		if k.Site == "slow.example" {
			return Limits{Rates: []Rate{{20, time.Second}, {5000, time.Hour}}, Messages: -1}
		}
		return Limits{Conns: 2, Messages: -1}
	})
	r := Forecast(policy, noon,
		Load{Site: "slow.example", Messages: 12_000, Takes: 100 * ms},
		Load{Site: "narrow.example", Messages: 2000},
		Load{Site: "narrow.example", Messages: 1000},
	)
	require.Len(t, r.Sites, 2)

	slow, narrow := r.Sites[0], r.Sites[1]
	// 5000 in 250 s, the next 5000 from an hour on, the last 2000 in 100 s.
	require.WithinDuration(t, noon.Add(2*time.Hour+100*time.Second), slow.Ends, 15*time.Second)
	require.Equal(t, slow.Ends, r.Ends)
	require.InDelta(t, 110, waitOf(slow, "5000/h").Minutes(), 3)
	require.InDelta(t, 10, waitOf(slow, "20/s").Minutes(), 1)
	require.Equal(t, "5000/h", slow.Waiting[0].Limit, "the longest first")

	require.Equal(t, 3000, narrow.Messages)
	require.WithinDuration(t, noon.Add(1500*300*ms), narrow.Ends, time.Second)
	require.InDelta(t, 450, waitOf(narrow, "connections").Seconds(), 2)
	require.Zero(t, narrow.Unsent)
}

func TestForecastOfManyMessages(t *testing.T) {
	skipUnderRace(t)
	policy := adaptivePolicy{}
	r := Forecast(policy, noon, Load{Site: "a", Messages: 100_000}, Load{Site: "b", Messages: 100_000, Sources: []string{"1", "2"}})
	a, b := r.Sites[0], r.Sites[1]
	require.InDelta(t, 1000, a.Ends.Sub(noon).Seconds(), 100)
	require.InDelta(t, 500, b.Ends.Sub(noon).Seconds(), 100, "two sources")
	require.Equal(t, "100/s", a.Waiting[0].Limit)
	require.Positive(t, waitOf(a, "connections")+a.Waiting[1].For, "and the start")
}

type adaptivePolicy struct{}

func (adaptivePolicy) For(Key) Controller {
	return Adaptive(MustNew(Limits{Rates: []Rate{{100, time.Second}}, Conns: 60, Burst: 2}), AdaptOptions{})
}

// sharing lets all sources of a site share a limit.
type sharing struct{ Policy }

func (sharing) Shared(Key) Controller {
	return MustNew(Limits{Rates: []Rate{{10, time.Second}}, Conns: 3})
}

func TestForecastOfASharedLimit(t *testing.T) {
	r := Forecast(sharing{unlimitedBase()}, noon, Load{Site: "a", Messages: 1000, Sources: []string{"1", "2"}, Takes: 10 * ms})
	require.InDelta(t, 100, r.Ends.Sub(noon).Seconds(), 1)
	require.Equal(t, "10/s", r.Sites[0].Waiting[0].Limit)
	r = Forecast(sharing{unlimitedBase()}, noon, Load{Site: "a", Messages: 999, Sources: []string{"1", "2"}, Takes: time.Second})
	require.InDelta(t, 333, r.Ends.Sub(noon).Seconds(), 10, "three connections together")
}

// A forecast of a warm-up changes nothing of it.
func TestForecastOfAWarmup(t *testing.T) {
	w := warmup(t, WarmupOptions{Curve: Curve{100, 200, 300}, Spread: 10 * time.Hour})
	w.For(Key{Site: "x", Source: "new"}).Take(noon)
	load := Load{Site: "x", Sources: []string{"new"}, Messages: 550}
	r := Forecast(w, noon, load)
	require.WithinDuration(t, noon.Add(2*day+8*time.Hour+20*time.Minute), r.Ends, time.Hour)
	require.Equal(t, "warm-up", r.Sites[0].Waiting[0].Rule)
	require.Equal(t, 1, w.Progress(noon)[0].Sent)
	require.Equal(t, r, Forecast(w, noon, load))

	load.Sources = append(load.Sources, "old")
	w.options.Unit = func(k Key) string { return map[string]string{"new": "new"}[k.Source] }
	require.Less(t, Forecast(w, noon, load).Ends.Sub(noon), time.Hour, "the warm source takes over")
}

func TestForecastOfNever(t *testing.T) {
	bad := PolicyFunc(func(k Key) Limits { return Limits{Burst: -1} })
	r := Forecast(bad, noon, Load{Site: "x", Messages: 5}, Load{Site: "y"})
	require.True(t, r.Ends.IsZero())
	require.Equal(t, 5, r.Sites[0].Unsent)
	require.True(t, r.Sites[0].Ends.IsZero())
	require.Equal(t, noon, r.Sites[1].Ends, "nothing to do")

	r = Forecast(PolicyFunc(func(Key) Limits { return Limits{Rates: []Rate{{1, 300 * day}}} }), noon, Load{Site: "x", Messages: 5})
	require.Equal(t, 3, r.Sites[0].Unsent, "a year is enough for two")
}

func BenchmarkForecast(b *testing.B) {
	for b.Loop() {
		Forecast(adaptivePolicy{}, noon, Load{Site: "a", Messages: 1_000_000})
	}
}
