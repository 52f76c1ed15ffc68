package throttle

import (
	"math"
	"slices"
)

// Clamp says how far downloaded profiles may go beyond the built-in ones. What
// holds for a destination is compared, however the packs come to it, so that
// new or more specific profiles get round it no more than changed ones. Slower
// is always allowed. Triggers are not clamped, since they only take away, nor are
// the user's own profiles. A download cannot split what is rolled up.
type Clamp struct {
	// Times is how often the built-in limit a downloaded one may be. 0 = 2;
	// negative = downloads are not clamped at all. Where the built-in profiles set
	// no limit there is none to compare with.
	Times float64

	// LooseTLS lets a download drop the demand of TLS.
	LooseTLS bool
}

func (c Clamp) times() float64 {
	if c.Times == 0 {
		return 2
	}
	return c.Times
}

// scale returns the most that a limit of base may become.
func (c Clamp) scale(base int) int {
	return int(max(1, min(math.Floor(float64(base)*c.times()), maxN)))
}

// count holds n to base; values below 1 are no limit.
func (c Clamp) count(n, base int) int {
	if base < 1 {
		return n
	}
	if most := c.scale(base); n < 1 || n > most {
		return most
	}
	return n
}

// rates holds rates to base: each rate of base, times as much, comes to them
// unless one of the same period is slower.
func (c Clamp) rates(rates, base []Rate) []Rate {
	held := slices.Clone(rates)
	for _, b := range base {
		if b == (Rate{}) {
			continue
		}
		b.N = c.scale(b.N)
		if i := slices.IndexFunc(held, func(r Rate) bool { return r.Per == b.Per }); i >= 0 {
			held[i].N = min(held[i].N, b.N)
		} else {
			held = append(held, b)
		}
	}
	return held
}

// rate holds r to base, over time.
func (c Clamp) rate(r, base Rate) Rate {
	if base == (Rate{}) {
		return r
	}
	perTime := func(r Rate) float64 { return float64(r.N) / float64(r.Per) }
	if most := (Rate{N: c.scale(base.N), Per: base.Per}); r == (Rate{}) || perTime(r) > perTime(most) {
		return most
	}
	return r
}
