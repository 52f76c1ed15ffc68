package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// run takes count starts as early as c allows, and returns when they were, from
// noon on.
func run(c Controller, count int) []time.Duration {
	now := noon
	starts := make([]time.Duration, count)
	for i := range starts {
		now = c.Next(now)
		c.Take(now)
		starts[i] = now.Sub(noon)
	}
	return starts
}

const ms = time.Millisecond

func TestEvenPace(t *testing.T) {
	starts := run(MustNew(Limits{Rates: []Rate{{20, time.Second}}}), 5)
	require.Equal(t, []time.Duration{0, 50 * ms, 100 * ms, 150 * ms, 200 * ms}, starts)

	starts = run(MustNew(Limits{Rates: []Rate{{3, time.Second}}}), 3)
	require.Equal(t, []time.Duration{0, 333_333_334, 666_666_668}, starts, "rounded up")
}

func TestBurst(t *testing.T) {
	starts := run(MustNew(Limits{Rates: []Rate{{5, time.Second}}, Burst: 2}), 13)
	require.Equal(t, []time.Duration{
		0, 0, 200 * ms, 400 * ms, 600 * ms, // the fifth: no more in this second
		1000 * ms, 1000 * ms, 1200 * ms, 1400 * ms, 1600 * ms,
		2000 * ms, 2000 * ms, 2200 * ms,
	}, starts)

	starts = run(MustNew(Limits{Rates: []Rate{{3, time.Minute}}, Burst: 100}), 7)
	require.Equal(t, []time.Duration{
		0, 0, 0, time.Minute, time.Minute, time.Minute, 2 * time.Minute,
	}, starts, "a burst is at most the smallest N")

	c := MustNew(Limits{Rates: []Rate{{10, time.Second}}, Burst: 2})
	run(c, 2)
	now := noon.Add(150 * ms)
	c.Take(now)
	require.Equal(t, noon.Add(200*ms), c.Next(now), "half a token is kept")
}

func TestPaceAndBudgets(t *testing.T) {
	c := MustNew(Limits{Rates: []Rate{{5, time.Minute}, {2, time.Second}, {8, time.Hour}}})
	binding := c.(Explainer).Binding
	require.Equal(t, []time.Duration{0, 500 * ms, 1000 * ms, 1500 * ms}, run(c, 4))
	now := noon.Add(1500 * ms)
	require.Equal(t, "2/s", binding(now))
	now = c.Next(now)
	require.Empty(t, binding(now))

	c.Take(now)
	require.Equal(t, noon.Add(time.Minute), c.Next(now))
	require.Equal(t, "5/min", binding(now))
	now = now.Add(10 * time.Minute)
	require.Empty(t, binding(now))
	for range 3 {
		now = c.Next(now)
		c.Take(now)
	}
	require.Equal(t, noon.Add(time.Hour), c.Next(now))
	require.Equal(t, "8/h", binding(now))
}

func TestPaceOfSeveralRates(t *testing.T) {
	tests := map[string]struct {
		rates []Rate
		gap   time.Duration
		kept  int // rates that need a budget
	}{
		"the faster says nothing":   {[]Rate{{100, time.Second}, {20, time.Second}}, 50 * ms, 0},
		"even below a second":       {[]Rate{{5, 100 * ms}, {20, time.Second}}, 50 * ms, 0},
		"the shorter sets the pace": {[]Rate{{5000, time.Hour}, {20, time.Second}}, 50 * ms, 1},
		"the longer is kept anyway": {[]Rate{{1, time.Second}, {60, time.Minute}, {59, time.Minute}}, time.Second, 1},
		"one for the hour":          {[]Rate{{5000, time.Hour}}, 720 * ms, 0},
		"zero rates are none":       {[]Rate{{}, {10, time.Second}, {}}, 100 * ms, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSchedule(test.rates, 1)
			require.Equal(t, test.gap, s.pace.gap)
			require.Len(t, s.budgets, test.kept)
		})
	}
}

func TestNewConnections(t *testing.T) {
	c := MustNew(Limits{Conns: 3, ConnRate: Rate{10, time.Minute}})
	open := Feedback{Event: Opening}
	for range 3 {
		require.Zero(t, c.Conns(noon).Next, "as many as may be open, at once")
		c.Observe(noon, open)
	}
	require.Equal(t, noon.Add(6*time.Second), c.Conns(noon).Next)
	for _, e := range []Event{ConnFailed, Delivered, SlowDown, Blocked, Refused} {
		c.Observe(noon, Feedback{Event: e, Conns: 3, Wait: time.Hour})
	}
	require.Equal(t, noon.Add(6*time.Second), c.Conns(noon).Next, "plain limits ignore the rest")

	now := noon
	for range 7 {
		now = c.Conns(now).Next
		c.Observe(now, open)
	}
	require.Equal(t, noon.Add(42*time.Second), now)
	require.Equal(t, noon.Add(time.Minute), c.Conns(now).Next, "ten within the minute")
	require.Equal(t, now, c.Next(now), "messages are counted apart")
}

func TestTakeTooEarlyIsADebt(t *testing.T) {
	c := MustNew(Limits{Rates: []Rate{{10, time.Second}}})
	for range 4 {
		c.Take(noon)
	}
	require.Equal(t, noon.Add(400*ms), c.Next(noon))
}

func TestSettled(t *testing.T) {
	c := MustNew(Limits{Rates: []Rate{{20, time.Second}, {5000, time.Hour}}, ConnRate: Rate{1, time.Minute}})
	settled := c.(Settler).Settled
	require.Equal(t, noon, settled(noon))
	c.Observe(noon, Feedback{Event: Opening})
	require.Equal(t, noon.Add(time.Minute), settled(noon))
	now := noon.Add(time.Second)
	c.Take(now)
	require.Equal(t, now.Add(time.Hour), settled(now))
	require.Equal(t, now.Add(time.Hour), settled(now.Add(time.Hour)))

	c = MustNew(Limits{Rates: []Rate{{10, time.Second}}})
	c.Take(noon)
	require.Equal(t, noon.Add(100*ms), c.(Settler).Settled(noon))
}

// A settled Controller, and only that, must be as good as a new one.
func TestSettledIsAsNew(t *testing.T) {
	for _, l := range []Limits{
		{Rates: []Rate{{20, time.Second}}},
		{Rates: []Rate{{20, time.Second}}, Burst: 4},
		{Rates: []Rate{{20, time.Second}, {50, time.Minute}}},
		{Rates: []Rate{{20, time.Second}, {150, time.Minute}}, Burst: 3},
	} {
		old := MustNew(l)
		starts := run(old, 70)
		now := old.(Settler).Settled(noon.Add(starts[69]))
		fresh := MustNew(l)
		for range 200 {
			require.Equal(t, fresh.Next(now), old.Next(now))
			now = fresh.Next(now)
			fresh.Take(now)
			old.Take(now)
		}
	}
}
