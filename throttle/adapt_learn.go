package throttle

import (
	"math"
	"slices"
	"time"
)

const (
	cautious = 0.95             // of the pace that was refused
	safely   = 0.97             // of what went through in a window
	soon     = 30 * time.Second // after a slow-down the next one is of the same cause

	// A slow-down may be noise where the level will be held for plenty of messages:
	// one alone among a few, and not one in 200 among many.
	few, many    = 40, 1000
	noiseLately  = 0.035
	noiseOverall = 0.005
	plenty       = 1000
	doubtful     = 200 // messages after one, at the same pace; on the rise another one among them is none
)

// isNoise reports whether a slow-down was one alone among many messages.
func (p *adaptivePace) isNoise() bool {
	return p.tries == 0 && p.hit.slowed == 1 && p.lately < noiseLately && p.overall < noiseOverall &&
		p.level > 0 && p.rate*p.hold.Seconds() > plenty && (p.doubt == 0 || !p.rising(p.grown))
}

// learn begins a new curve after a slow-down. Its level comes from one of two
// measures. If messages were refused for a moment only, the limit looks at a
// second or so, and the pace at the slow-down tells it. If for longer, it looks
// at a minute, an hour or a day, and what started within such a time tells it.
//
// A level that was held to the end stays: the limit cannot be below it, unless it
// has changed, and then the next slow-down comes at once.
func (p *adaptivePace) learn() {
	p.cost += (float64(p.hit.slowed) - p.cost) / 4
	if p.streak++; p.hit.grown > soon {
		p.streak = 0
	}
	target := cautious * p.hit.rate
	if through := p.throughput(); p.window > 0 {
		if p.told++; p.told > 1 && p.window == time.Minute { // does it still look at a minute?
			p.told = 0
		} else {
			target = min(target, through)
		}
	}
	if p.window > 0 || p.hit.passed < 2 { // it does not show how far above the limit the pace was
		target = min(target, p.hit.rate*(cautious-0.1*float64(min(p.streak, 4))))
	}
	p.level = max(p.proven(target), p.floor)
	p.from = p.level
	if excess := p.excess(); excess > 0.25 {
		p.from = min(p.level, max(p.floor, p.hit.rate*(1-excess)))
	}
	needed := seconds(holdFor * p.cost / p.level)
	p.hold = min(max(leastHold, p.window, needed), maxHold)
	p.unit = max(leastUnit, p.window/3)
	p.grown, p.doubt, p.lately, p.overall = 0, 0, 0, 0
}

// short returns for how long messages are refused at most, as far as the replies
// show, if the limit looks at a second or so.
func (p *adaptivePace) short() time.Duration {
	return 3 * max(firstPause, p.latency)
}

// excess estimates from the messages that were under way at a slow-down which
// share of them was too much. Where a longer window was full at the end of a rise
// they tell nothing: all are refused then.
func (p *adaptivePace) excess() float64 {
	if p.rising(p.hit.grown) && p.hit.last.Sub(p.hit.at) > p.short() {
		return 0
	}
	slowed, passed := float64(p.hit.burst-1), float64(p.hit.passed) // the first one told of it
	return (slowed + 0.1) / (slowed + passed + 2)
}

// proven returns the level, or the one before if that was held to the end.
func (p *adaptivePace) proven(level float64) float64 {
	if p.rising(p.hit.grown) {
		return max(level, p.level)
	}
	return level
}

// throughput finds out how long a time the limit looks at, sets window, and
// returns what went through in such a time. If tries failed, the time for which
// messages were refused tells; else what two slow-downs have in common: the pace,
// or the messages in the time before.
func (p *adaptivePace) throughput() float64 {
	if refused := p.hit.last.Sub(p.hit.at); refused > p.short() {
		i := slices.IndexFunc(windows[:], func(w time.Duration) bool { return w >= max(refused, p.window) || w == day })
		p.window = windows[i]
	} else {
		p.window = p.common()
	}
	p.last.rate, p.last.counts = p.hit.rate, p.hit.counts
	for i, w := range windows {
		if w == p.window {
			return safely * (p.hit.counts[i] - float64(p.hit.slowed)) / w.Seconds()
		}
	}
	return 0
}

// common returns the window in which as many messages went through before this
// slow-down as before the last one, if their paces differ.
func (p *adaptivePace) common() time.Duration {
	if p.last.rate == 0 || p.hit.grown < soon { // they have the time in common
		return p.window
	}
	pace := differ(p.hit.rate, p.last.rate)
	for i, w := range windows {
		count := differ(p.hit.counts[i], p.last.counts[i])
		switch {
		case w <= time.Minute && p.window <= w && pace > 0.08 && count < pace/4:
			return w
		case w == p.window && count > 0.04 && pace < count/3:
			return 0
		}
	}
	return p.window
}

// differ returns by which share a and b differ.
func differ(a, b float64) float64 {
	return math.Abs(a-b) / max(a, b, 1e-9)
}
