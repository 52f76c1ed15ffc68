package throttle

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func unlimitedBase() Policy {
	return PolicyFunc(func(Key) Limits { return Limits{Conns: 100} })
}

func warmup(t *testing.T, o WarmupOptions) *Warmup {
	t.Helper()
	w, err := NewWarmup(unlimitedBase(), o)
	require.NoError(t, err)
	return w
}

func TestCurves(t *testing.T) {
	want := map[string]struct{ days, first, last int }{
		"cautious": {30, 50, 100_000}, "standard": {19, 200, 295_000}, "fast": {12, 500, 321_000},
	}
	for name, w := range want {
		c, ok := Curves(name)
		require.True(t, ok)
		require.Len(t, c, w.days, name)
		require.Equal(t, w.first, c[0], name)
		require.Equal(t, w.last, c[len(c)-1], name)
		for i := 1; i < len(c); i++ {
			require.Greater(t, c[i], c[i-1])
			require.Less(t, c[i], 2*c[i-1], "%s: no day doubles", name)
		}
	}
	_, ok := Curves("hot")
	require.False(t, ok)
}

func TestWarmupMistakes(t *testing.T) {
	for field, o := range map[string]WarmupOptions{
		"Curve":    {Curve: Curve{}},
		"Curve[0]": {Curve: Curve{0}},
		"Curve[1]": {Curve: Curve{5, 4}},
		"Spread":   {Spread: 25 * time.Hour},
	} {
		_, err := NewWarmup(unlimitedBase(), o)
		e, ok := err.(*Error)
		require.True(t, ok, field)
		require.Equal(t, field, e.Field)
	}
}

// Two weeks of a campaign without end: the cap of the day is reached each day,
// and never passed in any 24 hours.
func TestTwoWeeksOfWarmup(t *testing.T) {
	curve, _ := Curves("standard")
	c := warmup(t, WarmupOptions{}).For(Key{Site: "mx.example", Source: "new"})
	var starts []time.Duration
	days := make([]int, 14)
	for now := noon; ; {
		now = c.Next(now)
		d := int(now.Sub(noon) / (day + slotTime))
		if d >= len(days) {
			break
		}
		c.Take(now)
		starts = append(starts, now.Sub(noon))
		days[d]++
	}
	require.Len(t, starts, sumOf(days))
	for d, n := range days {
		require.GreaterOrEqual(t, n, curve[d]*9/10, "day %d", d+1)
	}
	requireCaps(t, curve[:15], starts)
	first := starts[:curve[0]]
	require.Equal(t, 12*time.Hour/200, first[1]-first[0], "evenly spread")
	require.Equal(t, first[199]-first[198], first[1]-first[0])
}

func sumOf(list []int) (sum int) {
	for _, n := range list {
		sum += n
	}
	return sum
}

// requireCaps checks that no 24 hours see more than the cap of the day in which
// they end, if no day of the curve took less than 24 h.
func requireCaps(t *testing.T, curve Curve, starts []time.Duration) {
	t.Helper()
	first := 0
	for i, at := range starts {
		for at-starts[first] >= day {
			first++
		}
		most := curve[min(int(at/day), len(curve)-1)]
		if n := i - first + 1; n > most {
			t.Fatalf("%d starts in the 24 h before %v: more than %d", n, at, most)
		}
	}
}

// Whatever arrives when and whatever is heard, the cap of the curve's day holds.
func TestCapHoldsOnRandomArrivals(t *testing.T) {
	curve := Curve{20, 30, 50, 90}
	for seed := range uint64(30) {
		dice := rand.New(rand.NewPCG(seed, 5))
		w := warmup(t, WarmupOptions{Curve: curve, Spread: time.Duration(1 + dice.Int64N(int64(day)))})
		c := w.For(Key{Site: "x"})
		r := w.ramp(rampKey{"default", "x"})
		var starts []time.Duration
		first := 0
		now := noon
		for range 2000 {
			next := c.Next(now)
			if next.After(now) == (c.(Explainer).Binding(now) == "") || c.Next(next).After(next) {
				t.Fatalf("seed %d: Next = %v at %v, and Binding = %q", seed, next, now, c.(Explainer).Binding(now))
			}
			now = next
			if dice.IntN(4) == 0 {
				now = now.Add(time.Duration(dice.Int64N(int64(8 * time.Hour))))
			}
			if dice.IntN(40) == 0 {
				c.Observe(now, Feedback{Event: []Event{Blocked, SlowDown, Refused}[dice.IntN(3)], Category: "spam-content"})
			}
			if c.Next(now).After(now) {
				continue
			}
			c.Take(now)
			starts = append(starts, now.Sub(noon))
			for starts[len(starts)-1]-starts[first] >= day {
				first++
			}
			if r.stage == len(curve) {
				break
			}
			if n := len(starts) - first; n > curve[r.stage] {
				t.Fatalf("seed %d: %d starts in 24 h on day %d", seed, n, r.stage+1)
			}
		}
	}
}

func TestDaysAdvanceOnlyWhenUsedAndGood(t *testing.T) {
	w := warmup(t, WarmupOptions{Curve: Curve{100, 200, 400}, Spread: time.Hour})
	c := w.For(Key{Site: "x", Source: "s"})
	send := func(now time.Time, count int) time.Time {
		for range count {
			now = c.Next(now)
			c.Take(now)
		}
		return now
	}
	dayOf := func(now time.Time) int { return w.Progress(now)[0].Day }
	send(noon, 49)
	require.Equal(t, 1, dayOf(noon.Add(day)), "half of the cap was not used")
	send(noon.Add(day), 50)
	require.Equal(t, 2, dayOf(noon.Add(2*day)))
	now := send(noon.Add(2*day), 150)
	for range 5 {
		c.Observe(now, Feedback{Event: SlowDown, Text: "421 slow"})
	}
	require.Equal(t, WarmupProgress{Unit: "s", Site: "x", Day: 1, Cap: 100, Sent: 150,
		Paused: now.Add(2 * time.Hour), Reply: "421 slow"}, w.Progress(now)[0])
	require.Zero(t, c.Conns(now).Max)
	require.Equal(t, c.Next(now), c.Conns(now).Next)
	require.True(t, c.Next(now).After(now.Add(2*time.Hour)), "and now there were more than the smaller cap")
	require.Equal(t, 1, dayOf(noon.Add(3*day)), "stays")
	now = send(noon.Add(4*day), 60)
	c.Observe(now, Feedback{Event: Blocked, Text: "550 blocked"})
	require.Equal(t, now.Add(24*time.Hour), c.Next(now))
	require.Zero(t, c.Conns(now).Max)

	for now, d := noon.Add(6*day), 1; d <= 3; d++ {
		require.Equal(t, d, dayOf(now))
		send(now, 50*d*d)
		now = now.Add(day)
		if d == 3 {
			require.Equal(t, WarmupProgress{Unit: "s", Site: "x", Sent: 450, Reply: "550 blocked"}, w.Progress(now.Add(-1))[0], "warm")
		}
	}
}

func TestUsedUpCapSuspends(t *testing.T) {
	w := warmup(t, WarmupOptions{Curve: Curve{10, 20}, Spread: time.Hour})
	c := w.For(Key{Site: "x"})
	now := noon
	for range 10 {
		now = c.Next(now)
		require.Positive(t, c.Conns(now).Max)
		c.Take(now)
	}
	next := c.Next(now)
	require.Equal(t, noon.Add(day), next, "the next day")
	require.Equal(t, Conns{Next: next, Messages: 50, Idle: defaultIdle}, c.Conns(now))
	require.Equal(t, Detail{"10/d", "warm-up", next, ""}, c.(Detailer).Detail(now))
	require.Equal(t, noon, w.For(Key{Site: "y"}).Next(noon), "each site has its own")
	require.Equal(t, noon, w.For(Key{Site: "x", Source: "b"}).Next(noon), "and each source")
}

func TestUnits(t *testing.T) {
	w := warmup(t, WarmupOptions{Curve: Curve{10}, Unit: func(k Key) string {
		if k.Source == "warm" {
			return ""
		}
		return "news.example"
	}})
	a, b, warm := w.For(Key{Site: "x", Source: "a"}), w.For(Key{Site: "x", Source: "b"}), w.For(Key{Site: "x", Source: "warm"})
	a.Take(noon)
	require.True(t, b.Next(noon).After(noon), "one cap for both")
	require.Equal(t, noon, warm.Next(noon))
	require.Len(t, w.Progress(noon), 1)
}

func TestColdAgainAfterAMonth(t *testing.T) {
	w := warmup(t, WarmupOptions{Curve: Curve{2, 4}, Spread: time.Hour})
	c := w.For(Key{Site: "x"})
	c.Take(noon)
	c.Take(noon.Add(day))
	require.Equal(t, 2, w.Progress(noon.Add(day))[0].Day)
	require.Equal(t, 2, w.Progress(noon.Add(30 * day))[0].Day)
	require.Equal(t, 1, w.Progress(noon.Add(31 * day))[0].Day)
	c.Take(noon.Add(31 * day))
	require.Equal(t, 1, w.Progress(noon.Add(31 * day))[0].Day)
}

// What is loaded goes on exactly as what was saved.
func TestSaveAndLoad(t *testing.T) {
	o := WarmupOptions{Curve: Curve{50, 100, 200}, Spread: 3 * time.Hour}
	old := warmup(t, o)
	c := old.For(Key{Site: "x", Source: "s"})
	old.For(Key{Site: "unused"})
	now := noon
	step := func() time.Time {
		now = c.Next(now)
		c.Take(now)
		return now
	}
	for range 120 {
		step()
	}
	c.Observe(now, Feedback{Event: Blocked, Text: "550 no"})
	var saved bytes.Buffer
	require.NoError(t, old.Save(&saved))
	loaded := warmup(t, o)
	require.NoError(t, loaded.Load(bytes.NewReader(saved.Bytes())))
	require.Equal(t, old.Progress(now), loaded.Progress(now))
	other := loaded.For(Key{Site: "x", Source: "s"})
	clone := old.Clone().For(Key{Site: "x", Source: "s"})
	at := now
	for range 300 {
		at = other.Next(at)
		other.Take(at)
		clone.Take(clone.Next(now))
		require.Equal(t, step(), at)
		require.Equal(t, clone.Next(now), c.Next(now))
	}
}

func TestLoadRefuses(t *testing.T) {
	w := warmup(t, WarmupOptions{})
	w.For(Key{Site: "x"}).Take(noon)
	for _, text := range []string{
		``, `{}`, `{"version":2}`, `[]`, `{"version":1,"ramps":[{"stage":-1}]}`,
		`{"version":1,"ramps":[{"sent":-1}]}`,
		`{"version":1,"ramps":[{"last":"2026-03-02T12:00:00Z"}]}`,
		`{"version":1,"ramps":[{"slots":[[5,1]]}]}`,
		`{"version":1,"ramps":[{"last":"2026-03-02T12:00:00Z","began":"2026-03-02T12:00:00Z","slots":[[5,-1]]}]}`,
		`{"version":1,"ramps":[{"last":"2026-03-02T12:00:00Z","began":"2026-03-02T12:00:00Z","slots":[[6,1],[5,1]]}]}`,
		`{"version":1,"ramps":[{"last":"2026-03-02T12:00:00Z","began":"2026-03-02T12:00:00Z","slots":[[6,1],[600,1]]}]}`,
	} {
		require.Error(t, w.Load(strings.NewReader(text)), text)
	}
	require.Equal(t, 1, w.Progress(noon)[0].Sent, "unchanged")
}

func FuzzLoadWarmup(f *testing.F) {
	f.Add(`{"version":1,"ramps":[{"unit":"a","site":"b","stage":1,"sent":2,"began":"2026-03-02T12:00:00Z","last":"2026-03-02T12:00:00Z","slots":[[1969680,2]]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		w := warmup(t, WarmupOptions{Curve: Curve{5, 10}})
		if w.Load(strings.NewReader(text)) != nil {
			return
		}
		var saved bytes.Buffer
		if w.Save(&saved) != nil {
			return // a time beyond what JSON can say
		}
		again := warmup(t, WarmupOptions{Curve: Curve{5, 10}})
		require.NoError(t, again.Load(&saved))
		require.Equal(t, w.Progress(noon), again.Progress(noon))
		for k := range w.ramps {
			c := warming{w.ramps[k]}
			next := c.Next(noon)
			require.False(t, c.Next(next).After(next))
		}
	})
}

// Destinations take and observe while the state is saved; run with -race.
func TestWarmupFromManyGoroutines(t *testing.T) {
	w := warmup(t, WarmupOptions{})
	done := make(chan struct{})
	for i := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			c := w.For(Key{Site: "x", Source: string(rune('a' + i%2))})
			for now := noon; now.Before(noon.Add(time.Hour)); now = now.Add(time.Minute) {
				if !c.Next(now).After(now) {
					c.Take(now)
				}
				c.Conns(now)
				c.Observe(now, Feedback{Event: SlowDown})
			}
		}()
	}
	for range 20 {
		require.NoError(t, w.Save(new(bytes.Buffer)))
		w.Progress(noon)
		w.Clone()
	}
	for range 4 {
		<-done
	}
}

// A warm-up passes on what else the Policy below says.
func TestWarmupPassesOn(t *testing.T) {
	perDomain := func(k Key) Limits { return Limits{PerDomain: k.Domain == "apart.example"} }
	w, err := NewWarmup(PolicyFunc(perDomain), WarmupOptions{})
	require.NoError(t, err)
	require.Equal(t, "apart.example", w.SiteOf(Key{Site: "x", Domain: "apart.example"}))
	require.Empty(t, w.SiteOf(Key{Site: "x", Domain: "other.example"}))
	require.Nil(t, w.Shared(Key{Site: "x"}))
	require.False(t, w.RequireTLS(Key{Site: "x"}))

	base := Profiles()
	w, err = NewWarmup(base, WarmupOptions{})
	require.NoError(t, err)
	k := Key{Site: "x", Domain: "gmail.com", MX: "gmail-smtp-in.l.google.com alt1.gmail-smtp-in.l.google.com"}
	require.Equal(t, base.SiteOf(k), w.SiteOf(k))
	require.Equal(t, base.RequireTLS(k), w.RequireTLS(k))
	require.True(t, w.RequireTLS(k))
	require.NotNil(t, w.Shared(k))
	require.True(t, w.For(k).(Adapter).Adapts())
}
