package throttle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// postfix is concurrency feedback as Postfix's SCHEDULER_README describes it,
// with its defaults: from 5 up to 20 deliveries at once, a window more for each
// window of successes, one less for each of failures, and dead after a cohort of
// failures, for five minutes.
type postfix struct {
	window float64
	failed int
	dead   time.Time
}

func (p *postfix) Next(time.Time) time.Time { return p.dead }
func (p *postfix) Take(time.Time)           {}

func (p *postfix) Conns(now time.Time) Conns {
	if p.dead.After(now) {
		return Conns{Next: p.dead}
	}
	return Conns{Max: int(p.window), Messages: 100, Idle: defaultIdle}
}

func (p *postfix) Observe(now time.Time, f Feedback) {
	switch f.Event {
	case Delivered:
		p.failed = 0
		p.window = min(20, p.window+1/p.window)
	case SlowDown, Blocked, ConnFailed:
		p.window = max(1, p.window-1/p.window)
		if p.failed++; p.failed >= int(p.window) {
			p.dead, p.failed, p.window = now.Add(5*time.Minute), 0, 5
		}
	}
}

type scenario struct {
	name    string
	hidden  hidden
	latency time.Duration
	steady  time.Duration // when all must have settled
	until   time.Duration
	changes []change
}

type change struct {
	at   time.Duration
	what string
}

func steady(n int, per time.Duration) func(time.Duration) Rate {
	return func(time.Duration) Rate { return Rate{n, per} }
}

func steps(per time.Duration, n ...int) func(time.Duration) Rate {
	return func(at time.Duration) Rate { return Rate{n[min(int(at/time.Hour), len(n)-1)], per} }
}

func (s scenario) limit(at time.Duration) float64 {
	if s.hidden.conns != nil {
		return float64(s.hidden.conns(at)) / s.latency.Seconds()
	}
	return s.hidden.rate(at).perSecond() * (1 - s.hidden.sway)
}

var upAndDown = []change{{time.Hour, "up"}, {2 * time.Hour, "down"}}

var scenarios = []scenario{
	{name: "20/s, 40/s, 20/s", hidden: hidden{rate: steps(time.Second, 20, 40, 20)}, changes: upAndDown},
	{name: "20/s 451", hidden: hidden{rate: steps(time.Second, 20, 40, 20), code: 451}, changes: upAndDown},
	{name: "3/s, 6/s, 2/s", hidden: hidden{rate: steps(time.Second, 3, 6, 2)}, changes: upAndDown},
	{name: "60/s, 90/s, 10/s", hidden: hidden{rate: steps(time.Second, 60, 90, 10)}, changes: upAndDown},
	{name: "1/s, 2/s, 1/s", hidden: hidden{rate: steps(time.Second, 1, 2, 1)}, changes: upAndDown},
	{name: "bucket 10/s of 300", hidden: hidden{rate: steps(time.Second, 10, 20, 10), depth: 300}, changes: upAndDown},
	{name: "200/min sliding", hidden: hidden{rate: steps(time.Minute, 200, 400, 200)}, changes: upAndDown},
	{name: "200/min fixed", hidden: hidden{rate: steps(time.Minute, 200, 400, 200), fixed: true}, changes: upAndDown},
	{name: "1200/min fixed", hidden: hidden{rate: steps(time.Minute, 1200, 2400, 1200), fixed: true}, changes: upAndDown},
	{name: "5000/h sliding", hidden: hidden{rate: steady(5000, time.Hour)}, steady: 3 * time.Hour, until: 10 * time.Hour},
	{name: "5000/h fixed", hidden: hidden{rate: steady(5000, time.Hour), fixed: true}, steady: 3 * time.Hour, until: 10 * time.Hour},
	{name: "noise 0.05 %", hidden: hidden{rate: steps(time.Second, 20, 40, 20), noise: 0.0005}, changes: upAndDown},
	{name: "sway 10 %", hidden: hidden{rate: steps(time.Second, 20, 40, 20), sway: 0.1}, changes: upAndDown},
	{name: "3 connections, 8, 3", hidden: hidden{conns: func(at time.Duration) int {
		if h := at / time.Hour; h == 1 {
			return 8
		}
		return 3
	}}, latency: 500 * time.Millisecond, changes: upAndDown},
}

// result is what a Controller made of a scenario.
type result struct {
	share    float64 // of the hidden limit, after all had settled
	slowed   float64 // share of messages
	followed []time.Duration
	blocked  bool
}

const judged = 5 * time.Minute // over which a limit counts as followed

func (s scenario) try(c Controller, seed uint64) result {
	if s.latency == 0 {
		s.latency = 200 * time.Millisecond
	}
	if s.steady == 0 {
		s.steady, s.until = 20*time.Minute, 3*time.Hour
	}
	if s.hidden.code == 0 {
		s.hidden.code = 421
	}
	s.hidden.patience = 30 + int(2*s.limit(0)*s.latency.Seconds())
	sim := newSimulation(c, s.hidden, s.latency, seed)
	sim.run(s.until)
	r := result{blocked: sim.sum(0, s.until).blocked > 0}
	r.settled(sim, s)
	for _, ch := range s.changes {
		r.followed = append(r.followed, s.follow(sim, ch.at))
	}
	return r
}

// settled measures the time in which nothing changes.
func (r *result) settled(sim *simulation, s scenario) {
	var sum simMinute
	var can float64
	for at := s.steady; at < s.until; at += time.Minute {
		if len(s.changes) > 0 && at%time.Hour < s.steady {
			continue
		}
		m := sim.sum(at, at+time.Minute)
		sum.delivered += m.delivered
		sum.slowed += m.slowed + m.blocked
		can += s.limit(at) * 60
	}
	r.share, r.slowed = float64(sum.delivered)/can, sum.slowedShare()
}

// follow returns how long after a change of the limit it is reached again: from
// then on, for five minutes, 90 % of it go through and less than 1 % are slowed.
func (s scenario) follow(sim *simulation, changed time.Duration) time.Duration {
	for at := changed; at < changed+time.Hour-judged; at += time.Minute {
		m := sim.sum(at, at+judged)
		if float64(m.delivered) >= 0.9*s.limit(at)*judged.Seconds() && m.slowedShare() < 0.01 {
			return at - changed
		}
	}
	return time.Hour
}

func (r result) String() string {
	follow := make([]string, len(r.followed))
	for i, d := range r.followed {
		follow[i] = fmt.Sprintf("%.0f", d.Minutes())
		if d >= time.Hour {
			follow[i] = "never"
		}
	}
	blocked := ""
	if r.blocked {
		blocked = "blocked"
	}
	return fmt.Sprintf("%5.1f %% %5.2f %% %-8s %-7s", 100*r.share, 100*r.slowed, strings.Join(follow, " "), blocked)
}

func adaptiveToTry() Controller {
	l := DefaultLimits()
	l.Conns = 40
	return Adaptive(MustNew(l), AdaptOptions{})
}

// TestClosedLoop compares ways to pace, run with -v to see the table: the share of
// the hidden limit that is reached and the share of messages slowed down after
// all had settled, the minutes to follow the limit up and down, and whether the
// provider blocked the sender.
func TestClosedLoop(t *testing.T) {
	skipUnderRace(t)
	rows := make([]string, len(scenarios))
	t.Run("scenarios", func(t *testing.T) {
		for i, s := range scenarios {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				ours := s.try(adaptiveToTry(), 1)
				rows[i] = fmt.Sprintf("%-20s | %v | %v | %v", s.name, s.try(MustNew(DefaultLimits()), 1), s.try(&postfix{window: 5}, 1), ours)
				ours.check(t)
			})
		}
	})
	t.Logf("\n%-20s | %-33s | %-33s | %s\n%s", "hidden limit", "fixed limits, 100/s", "concurrency feedback", "adaptive", strings.Join(rows, "\n"))
}

func (r result) check(t *testing.T) {
	require.GreaterOrEqual(t, r.share, 0.9, "share of the hidden limit")
	require.Less(t, r.slowed, 0.01, "share of messages slowed down")
	require.False(t, r.blocked)
	for _, f := range r.followed {
		require.LessOrEqual(t, f, 10*time.Minute)
	}
}

// The result must not hang on luck.
func TestClosedLoopOnAnotherSeed(t *testing.T) {
	skipUnderRace(t)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.try(adaptiveToTry(), 2).check(t)
		})
	}
}

// skipUnderRace skips what takes millions of messages in one goroutine.
func skipUnderRace(t *testing.T) {
	if underRace {
		t.Skip("one goroutine: the race detector only makes it slow")
	}
}
