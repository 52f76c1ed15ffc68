package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func adaptiveWith(o AdaptOptions) *adaptive {
	return Adaptive(MustNew(Limits{Rates: []Rate{{100, time.Second}}, Conns: 20}), o).(*adaptive)
}

// deliver takes messages as early as c allows and has each delivered at once.
func deliver(c Controller, now time.Time, count int) time.Time {
	for range count {
		now = c.Next(now)
		c.Take(now)
		c.Observe(now, Feedback{Event: Delivered, Conns: 1})
	}
	return now
}

func TestStartsSlowlyAndDoubles(t *testing.T) {
	c := adaptiveWith(AdaptOptions{Start: Rate{2, time.Second}})
	now := deliver(c, noon, 29) // (2^(t/10 s) - 1) · 2 · 10 s / ln 2 messages by t
	require.InDelta(t, 10, now.Sub(noon).Seconds(), 0.6)
	require.InDelta(t, 4, c.pace.rate, 0.3)
	require.Regexp(t, `^[34][.0-9]*/s$`, c.Binding(now))
	require.Equal(t, ruleAdaptive, c.Detail(now).Rule)
	now = deliver(c, now, 5000)
	require.Equal(t, "100/s", c.Binding(now), "the profile binds")
	require.Less(t, c.pace.rate, 150.0, "and the pace does not grow beyond what is used")
}

func TestOneBurstCountsOnce(t *testing.T) {
	one, many := adaptiveWith(AdaptOptions{}), adaptiveWith(AdaptOptions{})
	now := deliver(one, noon, 500)
	deliver(many, noon, 500)
	one.Observe(now, Feedback{Event: SlowDown, Conns: 5, Text: "421 slow"})
	for i := range 4 {
		many.Observe(now.Add(time.Duration(i)*ms), Feedback{Event: SlowDown, Conns: 5})
		many.Observe(now.Add(time.Duration(i)*ms), Feedback{Event: Delivered, Conns: 5})
	}
	require.Equal(t, now.Add(time.Second), one.Next(now))
	require.Equal(t, now.Add(time.Second), many.Next(now))
	require.Equal(t, Detail{"paused", ruleAdaptive, now.Add(time.Second), "421 slow"}, one.Detail(now))
	deliver(one, now, 1)
	deliver(many, now, 1)
	require.Positive(t, one.pace.level)
	require.GreaterOrEqual(t, many.pace.from, one.pace.from*0.6)
}

func TestPausesGrowUntilATryPasses(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	now := deliver(c, noon, 500)
	wait := time.Second
	for range 9 {
		c.Observe(now, Feedback{Event: SlowDown, Conns: 1})
		require.Equal(t, now.Add(wait), c.Next(now))
		now = c.Next(now)
		c.Take(now)
		require.Greater(t, c.Next(now).Sub(now), 5*time.Second, "one message tries")
		wait = min(3*wait, maxPause)
	}
	c.Observe(now, Feedback{Event: Delivered, Conns: 1})
	require.Less(t, c.Next(now).Sub(now), time.Minute)
	require.Equal(t, time.Hour, c.pace.window, "what was refused for so long looks at an hour")
	require.InDelta(t, 0.97*500/3600, c.pace.level, 0.01)
}

func TestHeedsTheWaitAskedFor(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	c.Take(noon)
	c.Observe(noon, Feedback{Event: SlowDown, Conns: 1, Wait: 10 * time.Minute})
	require.Equal(t, noon.Add(10*time.Minute), c.Next(noon))
	c = adaptiveWith(AdaptOptions{})
	c.Observe(noon, Feedback{Event: SlowDown, Conns: 1, Wait: 100 * time.Hour})
	require.Equal(t, noon.Add(maxAsked), c.Next(noon), "within reason")
}

func TestNeverBelowTheFloor(t *testing.T) {
	c := adaptiveWith(AdaptOptions{Floor: Rate{6, time.Minute}})
	now := noon
	for range 200 {
		now = c.Next(now)
		c.Take(now)
		c.Observe(now, Feedback{Event: SlowDown, Conns: 1})
		now = deliver(c, now, 1)
		require.LessOrEqual(t, c.Next(now).Sub(now), 10*time.Second)
	}
}

func TestRefusedConnectionsLowerTheirNumber(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	now := deliver(c, noon, 200)
	rate := c.pace.rate
	require.Equal(t, 5, c.Conns(now).Max)
	c.Observe(now, Feedback{Event: SlowDown, Stage: "greeting", Conns: 4, Text: "421 too many"})
	require.Equal(t, 3, c.Conns(now).Max)
	require.Equal(t, now.Add(time.Second), c.Conns(now).Next)
	require.InDelta(t, rate, c.pace.rate, 0, "not the pace")
	require.Equal(t, going, c.pace.mode)

	for i := range 2 {
		c.Observe(now, Feedback{Event: SlowDown, Stage: "hello", Conns: 3 - i})
	}
	require.Equal(t, 1, c.Conns(now).Max)
	c.Observe(now, Feedback{Event: SlowDown, Stage: "greeting", Conns: 1})
	require.Equal(t, paused, c.pace.mode, "the only connection: it must be the pace")
}

func TestOneMoreConnectionWhereItHelps(t *testing.T) {
	c := adaptiveWith(AdaptOptions{Conns: 2})
	now := noon
	busy := func(d time.Duration, open int) { // connections bind: starts come late
		for end := now.Add(d); now.Before(end); now = now.Add(time.Second) {
			c.Take(now)
			c.Observe(now, Feedback{Event: Delivered, Conns: open})
		}
	}
	busy(30*time.Second, 1)
	require.Equal(t, 2, c.Conns(now).Max, "not all are in use")
	busy(25*time.Second, 2)
	require.Equal(t, 3, c.Conns(now).Max)
	c.Observe(now, Feedback{Event: SlowDown, Stage: "greeting", Conns: 3, Text: "421 no"})
	require.Equal(t, 2, c.Conns(now).Max)
	require.Equal(t, "2 connections", c.Detail(now).Limit)
	busy(4*time.Minute, 2)
	require.Equal(t, 2, c.Conns(now).Max, "it is known to be too many")
	busy(2*time.Minute, 2)
	require.Equal(t, 3, c.Conns(now).Max, "but it may have changed")
	busy(15*time.Second, 3)
	require.Equal(t, 4, c.Conns(now).Max, "and more follow soon")
}

func TestDeadHost(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	failed := Feedback{Event: ConnFailed, Conns: 1}
	now := deliver(c, noon, 200)
	rate := c.pace.rate
	for range 4 {
		c.Observe(now, failed)
	}
	require.Equal(t, Conns{Max: 5, Messages: 50, Idle: defaultIdle}, c.Conns(now), "fewer than are allowed at once")
	c.Observe(now, Feedback{Event: Delivered, Conns: 2})
	for range 4 {
		c.Observe(now, failed)
	}
	require.Equal(t, 5, c.Conns(now).Max, "not in a row")
	c.Observe(now, failed)
	wait := 30 * time.Second
	for range 8 {
		require.Equal(t, 1, c.Conns(now).Max)
		require.Equal(t, now.Add(wait), c.Conns(now).Next)
		c.Observe(now, failed) // of the same cohort
		require.Equal(t, now.Add(wait), c.Conns(now).Next)
		now = now.Add(wait)
		c.Observe(now, failed)
		wait = min(2*wait, longestWait)
	}
	require.Equal(t, "1 connection", c.Detail(now).Limit)
	require.InDelta(t, rate, c.pace.rate, 0, "the pace has nothing to do with it")

	now = now.Add(wait)
	for replies, conns := range []int{1: 2, 2: 2, 3: 3, 4: 3, 5: 3, 6: 4} {
		if replies > 0 {
			c.Observe(now, Feedback{Event: Delivered, Conns: conns})
			require.Equal(t, conns, c.Conns(now).Max, "%d replies", replies)
		}
	}
	require.Zero(t, c.Conns(now).Next)
}

func TestBlockSuspends(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	now := deliver(c, noon, 200)
	rate := c.pace.rate
	blocked := Feedback{Event: Blocked, Scope: "source", Conns: 3, Text: "550 blocked"}
	for _, wait := range []time.Duration{15, 30, 60, 120, 240, 240} {
		wait *= time.Minute
		c.Observe(now, blocked)
		c.Observe(now.Add(time.Second), blocked) // of the same burst
		require.Equal(t, now.Add(wait), c.Next(now))
		require.Zero(t, c.Conns(now).Max)
		require.Equal(t, now.Add(wait), c.Conns(now).Next)
		require.Equal(t, "suspended", c.Binding(now))
		now = now.Add(wait)
		require.Equal(t, now, c.Next(now))
		c.Take(now)
		require.True(t, c.Next(now).After(now), "one message tries")
	}
	c.Observe(now, Feedback{Event: Delivered, Conns: 1})
	require.InDelta(t, rate, c.pace.rate, 0, "a block does not change the pace")
	now = deliver(c, now.Add(time.Second), blockOver)
	c.Observe(now, blocked)
	require.Equal(t, now.Add(15*time.Minute), c.Next(now), "the block before is forgotten")
}

func TestBlockOfTheDomainHoldsTheStream(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	f := Feedback{Event: Blocked, Scope: "sender-domain", Stream: "news", Text: "550 bad domain", Conns: 1}
	c.Observe(noon, f)
	c.Observe(noon, f)
	require.Equal(t, []Advice{{Hold: "news", Until: noon.Add(15 * time.Minute), Why: "550 bad domain", Rule: ruleAdaptive}}, c.Advice(noon))
	require.Equal(t, noon, c.Next(noon))
	now := noon.Add(15 * time.Minute)
	require.Empty(t, c.Advice(now))
	c.Observe(now, f)
	require.Equal(t, now.Add(30*time.Minute), c.Advice(now)[0].Until)
}

func TestForgetsAfterADay(t *testing.T) {
	c := adaptiveWith(AdaptOptions{})
	now := deliver(c, noon, 500)
	c.Observe(now, Feedback{Event: SlowDown, Conns: 1})
	now = deliver(c, now, 10)
	require.Positive(t, c.pace.level)
	settled := c.Settled(now)
	require.Equal(t, now.Add(memory), settled)
	deliver(c, settled.Add(1), 1)
	require.Equal(t, newAdaptivePace(5, 1.0/60).rate, c.pace.rate)
	require.Zero(t, c.pace.level)
}

func TestAdaptiveDoesNotAllocate(t *testing.T) {
	set, err := NewTriggers([]Trigger{{ID: "x", Action: Recover, For: 10 * time.Minute}})
	require.NoError(t, err)
	w, err := NewWarmup(PolicyFunc(func(Key) Limits { return Limits{} }), WarmupOptions{Curve: Curve{1e9}})
	require.NoError(t, err)
	c := All(React(adaptiveWith(AdaptOptions{}), set), w.For(Key{Site: "x"}))
	now := noon
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now = c.Next(now)
		c.Take(now)
		c.Conns(now)
		c.Observe(now, Feedback{Event: Opening, Conns: 1})
		c.Observe(now, Feedback{Event: Delivered, Conns: 1})
		c.(Settler).Settled(now)
	}))
}

func BenchmarkAdaptive(b *testing.B) {
	b.ReportAllocs()
	c, now := adaptiveWith(AdaptOptions{}), noon
	for b.Loop() {
		now = deliver(c, now, 1)
	}
}
