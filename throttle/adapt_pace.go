package throttle

import (
	"math"
	"strconv"
	"time"
)

// adaptivePace is the pace of Adaptive.
//
// It is a curve over the time for which the pace was what held mail back: idle
// time teaches nothing. Until the first slow-down it is exponential. After one it
// goes from where it is safe (from) to just below the level that was refused
// (level), stays there (hold), and then rises ever faster. The shape is that of
// cubic congestion control (RFC 9438 §4.1): long at the known level, so that few
// messages find out that it still holds, and quick when it no longer does.
//
// After a slow-down nothing starts until all that was under way has its reply;
// then one message tries. What the curve is from then on, learn decides.
type adaptivePace struct {
	start, floor float64 // messages/s

	rate    float64 // now
	next    time.Time
	taken   time.Time     // the last start
	spacing float64       // s: the usual distance of starts, at most four times what the pace asks for
	binding bool          // the last start came as soon as the pace allowed
	grown   time.Duration // how far along the curve

	from, level float64       // messages/s; level 0 = not known: before the first slow-down
	hold        time.Duration // how long the level is kept
	unit        time.Duration // how fast the curve rises then

	asked   time.Time     // when a message began whose reply is known to be the next one
	latency time.Duration // how long a reply takes

	mode     paceMode
	pause    time.Duration // before the next try
	tries    int           // that failed
	innocent bool          // the tries are not for a slow-down: nothing is learned
	hit      struct {
		at     time.Time // of its first reply
		last   time.Time // of its last one
		rate   float64
		slowed int                   // replies of this slow-down
		passed int                   // and those that came among them, of messages under way
		burst  int                   // slowed down before the first try
		counts [len(windows)]float64 // starts in the time of each window, at the last reply
		grown  time.Duration
	}
	reply string // the last slow-down

	lately, overall float64                 // share of slowed messages: means over a few and over many
	cost            float64                 // messages that a slow-down takes: a mean that forgets
	counts          [len(windows)]lastCount // starts
	window          time.Duration           // one of windows: the limit looks at it; 0 = a shorter time
	doubt           int                     // messages to go at the same pace after a slow-down that may be noise
	told            int                     // slow-downs since window was put to the test
	last            struct {                // the slow-down before
		rate   float64
		counts [len(windows)]float64
	}
	streak int // slow-downs one soon after another
}

type paceMode uint8

const (
	going  paceMode = iota
	paused          // until next; then one message tries
	trying          // it is under way
)

const (
	doubling   = 10 * time.Second // of the pace, until something is known
	firstPause = time.Second
	pauseGrows = 3
	maxPause   = 20 * time.Minute
	maxAsked   = time.Hour        // what a reply may ask for
	tryWaits   = 10 * time.Second // for the reply to a try, before the next one

	climb     = time.Minute       // from safe to the level
	leastHold = 150 * time.Second // at the level; with the rise, a limit twice as high is reached within 7 min
	maxHold   = 2 * time.Hour
	holdFor   = 180         // messages at least for each that the next slow-down will take: to stay below 1 in 100
	leastUnit = time.Minute // of the rise: 6 % above the level after one, 30 % after two, twice after three

	fastest = 1e6   // messages/s
	catchUp = 0.005 // s: what an owner that woke late may make up for
)

func newAdaptivePace(start, floor float64) adaptivePace {
	return adaptivePace{start: start, floor: min(floor, start), rate: start, cost: 1, spacing: 1 / start}
}

func (p *adaptivePace) forget() {
	*p = newAdaptivePace(p.start, p.floor)
}

// take counts a start, and moves along the curve by the time since the last one.
func (p *adaptivePace) take(now time.Time) {
	gap := 1 / p.rate
	since := now.Sub(p.taken)
	if p.taken.IsZero() {
		since, p.asked = 0, now
	}
	p.taken = now
	for i, w := range windows {
		p.counts[i].add(now, w, 1)
	}
	if p.mode != going {
		p.mode, p.asked = trying, now
		p.next = now.Add(max(p.pause, tryWaits))
		return
	}
	late := now.Sub(p.next).Seconds()
	p.binding = late <= gap/4
	if s := since.Seconds(); s <= 4*gap {
		p.spacing += (s - p.spacing) / 16
	} else {
		p.spacing += (4*gap - p.spacing) / 16
	}
	if p.binding && p.doubt == 0 {
		p.grown += since
		p.rate = max(p.floor, p.curve())
		gap = 1 / p.rate
	}
	p.next = now.Add(seconds(gap - max(0, min(late, gap/2, catchUp)))) // an owner that woke late catches up
}

// curve returns the pace at the point that grown says.
func (p *adaptivePace) curve() float64 {
	if p.level == 0 {
		return min(fastest, p.start*math.Exp2(float64(p.grown)/float64(doubling)))
	}
	at := p.grown
	if p.from < p.level {
		if at < climb {
			left := 1 - float64(at)/float64(climb)
			return p.level - (p.level-p.from)*left*left*left
		}
		at -= climb
	}
	if at < p.hold {
		return p.level
	}
	x := float64(at-p.hold) / float64(p.unit)
	return min(fastest, p.level*(1+0.03*x+0.03*x*x*x))
}

// rising reports whether the curve was above the level at grown.
func (p *adaptivePace) rising(grown time.Duration) bool {
	if p.from < p.level {
		grown -= climb
	}
	return p.level > 0 && grown > p.hold
}

// passed notes a reply that does not ask for less.
func (p *adaptivePace) passed(now time.Time) {
	p.replied(now)
	p.lately -= p.lately / few
	p.overall -= p.overall / many
	switch p.mode {
	case going:
		p.doubt = max(0, p.doubt-1)
	case paused:
		p.hit.passed++
	case trying:
		p.resume(now)
	}
}

// replied measures how long a reply takes, where it is known to which message
// it is: the first one, and one that tries.
func (p *adaptivePace) replied(now time.Time) {
	if !p.asked.IsZero() {
		p.latency = min(max(p.latency*7/8, now.Sub(p.asked)), tryWaits)
		p.asked = time.Time{}
	}
}

// flight returns the first pause: until all that was under way has its reply.
func (p *adaptivePace) flight() time.Duration { return max(firstPause, p.latency*3/2) }

// slowed notes a reply that asks for less.
func (p *adaptivePace) slowed(now time.Time, f Feedback) {
	p.lately += (1 - p.lately) / few
	p.overall += (1 - p.overall) / many
	p.reply = shorten(f.Text)
	for i, w := range windows {
		p.counts[i].add(now, w, 0)
		p.hit.counts[i] = p.counts[i].sum(now, w)
	}
	p.hit.last = now
	p.replied(now)
	asked := now.Add(min(f.Wait, maxAsked))
	switch p.mode {
	case going:
		p.hit.rate = p.rate
		if used := 1 / p.spacing; used < 0.8*p.rate { // something else held mail back
			p.hit.rate = max(p.floor, used)
		}
		p.hit.at, p.hit.grown = now, p.grown
		p.hit.slowed, p.hit.passed, p.hit.burst = 1, 0, 1
		p.mode, p.tries, p.innocent = paused, 0, false
		p.pause = p.flight()
		if p.isNoise() {
			p.pause = max(p.pause/2, p.latency)
		}
		p.next = later(asked, now.Add(p.pause))
	case paused: // it was under way
		p.hit.slowed++
		if p.tries == 0 {
			p.hit.burst++
			p.pause = p.flight()
			p.next = later(p.next, p.hit.at.Add(p.pause))
		}
		p.next = later(p.next, asked)
	case trying:
		p.hit.slowed++
		p.tries++
		p.mode = paused
		p.pause = min(pauseGrows*p.pause, maxPause)
		p.next = later(asked, now.Add(p.pause))
	}
}

// tryAfter lets one message try at the time at, and goes on as before when it
// goes through.
func (p *adaptivePace) tryAfter(at time.Time) {
	if p.mode == going {
		p.innocent = true
		p.tries = 0
	}
	p.mode, p.pause = paused, firstPause
	p.next = later(p.next, at)
}

// resume goes on after a try that went through.
func (p *adaptivePace) resume(now time.Time) {
	p.mode = going
	switch {
	case p.innocent:
	case p.isNoise():
		p.doubt = doubtful
	default:
		p.learn()
	}
	p.rate = max(p.floor, p.curve())
	p.next = now.Add(seconds(1 / p.rate))
	p.spacing = 1 / p.rate
}

func (p *adaptivePace) detail() Detail {
	d := Detail{Limit: strconv.FormatFloat(p.rate, 'g', 3, 64) + "/s", Rule: ruleAdaptive, Reply: p.reply}
	if p.mode != going {
		d.Limit, d.Until = "paused", p.next
	}
	return d
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
