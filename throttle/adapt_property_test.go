package throttle

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever is heard and whatever triggers set meanwhile, the limits of the
// profile hold in any window, and those of a trigger in any window while they
// last.
func TestNoOvershootWithLiveLimits(t *testing.T) {
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 6))
		base, warm := randomRates(dice), 1+dice.IntN(500)
		own := Rate{N: 1 + dice.IntN(20), Per: []time.Duration{time.Second, time.Minute, time.Hour}[dice.IntN(3)]}
		set, err := NewTriggers([]Trigger{
			{ID: "limit", Text: "limit", Action: Limit, For: own.Per * time.Duration(1+dice.IntN(20)), Rate: own},
			{ID: "stop", Text: "stop", Action: Suspend, For: time.Minute},
			{ID: "recover", Text: "recover", Action: Recover, For: 10 * time.Minute},
		})
		require.NoError(t, err)
		w, err := NewWarmup(PolicyFunc(func(Key) Limits {
			return Limits{Rates: base, Burst: randomBurst(dice)}
		}), WarmupOptions{Curve: slices.Repeat(Curve{warm}, 1000), Spread: time.Hour})
		require.NoError(t, err)
		r := React(Adaptive(w.For(Key{}), AdaptOptions{}), set).(*reactor)

		var starts, limited []time.Duration // of all, and since the trigger fired
		var limitedUntil time.Duration
		for at := time.Duration(0); len(starts) < 700 && at < 20*maxPer; {
			now := noon.Add(at)
			if !r.Next(now).After(now) {
				r.Take(now)
				starts = append(starts, at)
				if at < limitedUntil {
					limited = append(limited, at)
				}
			}
			if dice.IntN(30) == 0 {
				text := []string{"limit", "stop", "recover", "", ""}[dice.IntN(5)]
				event := []Event{SlowDown, Refused, Delivered, ConnFailed}[dice.IntN(4)]
				f := Feedback{Event: event, Conns: 1, Text: text}
				r.Observe(now, f)
				if len(set.Matching(f)) > 0 && text == "limit" {
					if at >= limitedUntil {
						require.NoError(t, overshoot(limited, own), "seed %d", seed)
						limited = limited[:0]
					}
					limitedUntil = at + set.all[0].For
				}
			}
			at += randomWait(dice, r.Next(now).Sub(now), base)
		}
		require.NoError(t, overshoot(limited, own), "seed %d", seed)
		for _, b := range base {
			require.NoError(t, overshoot(starts, b), "seed %d", seed)
		}
		require.NoError(t, overshoot(starts, Rate{warm, day}), "seed %d", seed)
	}
}

// At the level that was found, starts are evenly spaced: an owner that is always
// in time sees one gap, and one that is late up to 5 ms never more than those
// away from it.
func TestAdaptivePaceIsEven(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	now := deliver(c, noon, 500)
	c.Observe(now, Feedback{Event: SlowDown, Conns: 1})
	now = deliver(c, now, 2)
	gap := seconds(1 / c.pace.level)
	dice := rand.New(rand.NewPCG(1, 7))
	var sum, slept time.Duration
	for i := range 2000 {
		next := c.Next(now)
		late := time.Duration(0)
		if i >= 1000 {
			late = time.Duration(dice.Int64N(int64(5 * ms)))
		}
		started := next.Add(late)
		between := started.Sub(now)
		sum, slept = sum+between, slept+late
		if i < 1000 {
			require.Equal(t, gap, between)
		} else {
			require.InDelta(t, gap, between, float64(5*ms))
		}
		now = started
		c.Take(now)
		c.Observe(now, Feedback{Event: Delivered, Conns: 1})
	}
	require.Positive(t, slept)
	require.InDelta(t, 2000*gap, sum, float64(10*ms), "what is late is made up for")
}
