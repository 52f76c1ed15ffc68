package throttle

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of this file hold Limits against a model that remembers every
// start, on random limits and arrivals. A failure names its seed.

// model says what Limits promise, with no regard to memory.
type model struct {
	rates  []Rate
	gap    time.Duration
	burst  int
	starts []time.Duration
	empty  time.Duration // when the bucket would be full, were no more taken (GCRA's arrival time)
}

func newModel(rates []Rate, burst int) *model {
	m := &model{rates: rates, burst: max(burst, 1)}
	shortest := rates[0].Per
	for _, r := range rates {
		shortest = min(shortest, r.Per)
		m.burst = min(m.burst, r.N)
	}
	for _, r := range rates {
		if r.Per <= shortest || r.Per <= time.Second {
			m.gap = max(m.gap, r.gap())
		}
	}
	return m
}

func (m *model) take(at time.Duration) {
	m.starts = append(m.starts, at)
	m.empty = max(m.empty, at) + m.gap
}

// next returns the earliest next start that the limits allow, and the latest at
// which it must be allowed: these differ if the budget of a rate is counted in
// chunks.
func (m *model) next() (earliest, latest time.Duration) {
	if len(m.starts) == 0 {
		return 0, 0
	}
	earliest = m.empty - time.Duration(m.burst-1)*m.gap
	latest = earliest
	for _, r := range m.rates {
		if old := len(m.starts) - r.N; old >= 0 {
			chunk := (r.N + maxMarks - 1) / maxMarks
			earliest = max(earliest, m.starts[old]+r.Per)
			latest = max(latest, m.starts[old+chunk-1]+r.Per)
		}
	}
	return earliest, latest
}

// overshoot returns an error if a half-open interval of length r.Per saw more
// than r.N starts.
func overshoot(starts []time.Duration, r Rate) error {
	for i := r.N; i < len(starts); i++ {
		if span := starts[i] - starts[i-r.N]; span < r.Per {
			return fmt.Errorf("%d starts within %v, beginning at %v: more than %v", r.N+1, span, starts[i-r.N], r)
		}
	}
	return nil
}

// visit asks c at the time at, compares it with m, and starts a message if that
// is allowed.
func visit(c Controller, m *model, at time.Duration) error {
	now := noon.Add(at)
	got := c.Next(now).Sub(noon)
	earliest, latest := m.next()
	switch {
	case got < max(at, earliest):
		return fmt.Errorf("at %v: Next = %v, before %v", at, got, earliest)
	case got > max(at, latest):
		return fmt.Errorf("at %v: Next = %v, after %v", at, got, latest)
	case got == at:
		c.Take(now)
		m.take(at)
	}
	binding := c.(Explainer).Binding(now)
	if next := c.Next(now); next.After(now) == (binding == "") {
		return fmt.Errorf("at %v: Next = %v, but Binding = %q", at, next, binding)
	}
	return nil
}

func randomRates(dice *rand.Rand) []Rate {
	pers := []time.Duration{
		1, 7, time.Microsecond, 100 * ms, 333_333_333, time.Second, time.Second, time.Second + 1, 10 * time.Second,
		time.Minute, time.Hour, time.Hour, 24 * time.Hour, 366 * 24 * time.Hour,
	}
	rates := make([]Rate, 1+dice.IntN(4))
	for i := range rates {
		most := []int{1, 3, 64, 65, 300, 5000}[dice.IntN(6)]
		rates[i] = Rate{N: 1 + dice.IntN(most), Per: pers[dice.IntN(len(pers))]}
	}
	return rates
}

func randomBurst(dice *rand.Rand) int {
	return []int{0, 1, 2, 3, 10, 1000}[dice.IntN(6)]
}

// randomWait returns how long an owner may stay away whose next start is wait
// ahead.
func randomWait(dice *rand.Rand, wait time.Duration, rates []Rate) time.Duration {
	per := rates[dice.IntN(len(rates))].Per
	switch dice.IntN(10) {
	case 0:
		return 0
	case 1:
		return 1
	case 2:
		return max(0, wait-1)
	case 3:
		return wait + time.Duration(dice.Int64N(int64(2*ms)))
	case 4:
		return time.Duration(dice.Int64N(int64(per) + 1))
	case 5:
		if dice.IntN(20) == 0 {
			return per + time.Duration(dice.IntN(3)) - 1
		}
	}
	return wait
}

func TestLimitsHoldOnRandomArrivals(t *testing.T) {
	for seed := range uint64(120) {
		dice := rand.New(rand.NewPCG(seed, 1))
		rates, burst := randomRates(dice), randomBurst(dice)
		c := MustNew(Limits{Rates: rates, Burst: burst})
		m := newModel(rates, burst)
		var at time.Duration
		for range 1000 {
			if err := visit(c, m, at); err != nil {
				t.Fatalf("seed %d, rates %v, burst %d: %v", seed, rates, burst, err)
			}
			wait := c.Next(noon.Add(at)).Sub(noon.Add(at))
			if at > 50*maxPer {
				break
			}
			at += randomWait(dice, wait, rates)
		}
		for _, r := range rates {
			require.NoError(t, overshoot(m.starts, r), "seed %d, rates %v, burst %d", seed, rates, burst)
		}
	}
}

// Days without a rest, in which an error of rounding would add up.
func TestNoDriftOverDays(t *testing.T) {
	for _, l := range []Limits{
		{Rates: []Rate{{20, time.Second}, {5000, time.Hour}, {50_000, 24 * time.Hour}}},
		{Rates: []Rate{{7, time.Second}}, Burst: 3},
		{Rates: []Rate{{3, time.Second}}},
		{Rates: []Rate{{1_000_003, 24 * time.Hour}}},
	} {
		c, count := MustNew(l), 60_000
		starts := run(c, count)
		for _, r := range l.Rates {
			require.NoError(t, overshoot(starts, r), "%+v", l)
		}
		// And no slower than promised: a budget's starts come within its period and
		// the time of one chunk, at the pace.
		span := starts[count-1]
		slowest := time.Duration(0)
		for _, r := range l.Rates {
			slowest = max(slowest, time.Duration(float64(r.Per)/float64(r.N)*float64(count)))
		}
		require.Less(t, span, slowest+slowest/50+time.Second, "%+v", l)
	}
}

// After a rest nothing more than the burst may come at once, whenever the rest
// ends.
func TestRestThenRush(t *testing.T) {
	rates := []Rate{{20, time.Second}, {100, time.Minute}, {1000, time.Hour}}
	for _, burst := range []int{1, 2, 20} {
		for _, rest := range []time.Duration{1, 49 * ms, 50 * ms, 50*ms + 1, time.Second - 1, time.Second, time.Minute, time.Hour, 100 * time.Hour} {
			c := MustNew(Limits{Rates: rates, Burst: burst})
			m := newModel(rates, burst)
			var at time.Duration
			for rush := range 40 {
				for range 1 + rush%27 {
					at = c.Next(noon.Add(at)).Sub(noon)
					if err := visit(c, m, at); err != nil {
						t.Fatalf("burst %d, rest %v: %v", burst, rest, err)
					}
				}
				at += rest
			}
			for _, r := range rates {
				require.NoError(t, overshoot(m.starts, r), "burst %d, rest %v", burst, rest)
			}
		}
	}
}

func TestGapsAreEven(t *testing.T) {
	for _, r := range []Rate{
		{20, time.Second}, {3, time.Second}, {7, time.Minute}, {5000, time.Hour}, {999_983, 24 * time.Hour}, {1_000_000, time.Second},
	} {
		starts := run(MustNew(Limits{Rates: []Rate{r}}), 20_000)
		smallest, largest := maxPer, time.Duration(0)
		for i := 1; i < len(starts); i++ {
			gap := starts[i] - starts[i-1]
			smallest, largest = min(smallest, gap), max(largest, gap)
		}
		ideal := float64(r.Per) / float64(r.N)
		require.Equal(t, smallest, largest, "%v", r)
		require.GreaterOrEqual(t, float64(smallest), ideal, "%v", r)
		require.Less(t, float64(largest), ideal+1, "%v", r)
	}
}

func FuzzLimits(f *testing.F) {
	f.Add(uint64(1), 20, int64(time.Second), 5000, int64(time.Hour), 1, []byte{0, 3, 3, 5, 0, 0, 9})
	f.Add(uint64(2), 1, int64(1), 65, int64(7), 3, []byte{3, 3, 3, 3, 3, 3, 4, 5})
	f.Fuzz(func(t *testing.T, seed uint64, n1 int, per1 int64, n2 int, per2 int64, burst int, waits []byte) {
		rates := []Rate{{n1, time.Duration(per1)}, {n2, time.Duration(per2)}}
		c, err := New(Limits{Rates: rates, Burst: burst})
		if err != nil || rates[0] == (Rate{}) || rates[1] == (Rate{}) || len(waits) > 1000 {
			return
		}
		m := newModel(rates, burst)
		dice := rand.New(rand.NewPCG(seed, 2))
		var at time.Duration
		for _, b := range waits {
			for range 1 + b/8 { // a run at full speed
				if err := visit(c, m, at); err != nil {
					t.Fatal(err)
				}
				at = c.Next(noon.Add(at)).Sub(noon)
			}
			at += randomWait(dice, 0, rates) / 8 * time.Duration(b%8)
			if at > 50*maxPer {
				break
			}
		}
		for _, r := range rates {
			require.NoError(t, overshoot(m.starts, r))
		}
	})
}
