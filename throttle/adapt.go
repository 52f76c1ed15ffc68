package throttle

import (
	"time"
)

// AdaptOptions says where [Adaptive] begins and what it never goes below. The
// zero value is right for a destination that nothing is known of.
type AdaptOptions struct {
	// Start is the pace to begin with. It doubles every 10 s until a reply asks
	// for less or the inner Controller binds. Zero = 5/s.
	Start Rate

	// Floor is the slowest pace that slow-downs alone lead to; pauses come on top.
	// Zero = 1/min.
	Floor Rate

	// Conns is how many connections to begin with; more are added one by one
	// where they help. 0 = 5.
	Conns int
}

// Adaptive returns a Controller that finds out how fast a destination takes mail,
// within what inner allows, from its replies alone:
//
//   - The pace rises while all goes well: first it doubles every 10 s; once a
//     reply has asked for less, it stays just below the level that did, for
//     minutes, and then feels its way up, gently at first.
//   - After a SlowDown nothing is sent for a second, or what the reply asks for;
//     then one message tries. If it is slowed down too, the pause is three times
//     as long. Replies to what was under way count once.
//   - A slow-down now and then, less than one in a few hundred messages, is noise.
//   - A refusal before any message (greeting, EHLO) lowers the number of
//     connections instead, while there is more than one.
//   - Failed connections say that a host is dead, and nothing of its limits: when
//     as many in a row fail as are allowed, one connection tries, less and less often.
//   - A Blocked suspends the destination, for longer each time. One for the
//     sender's domain holds the stream instead, see [Advisor]. Neither changes the pace.
//
// What was learned is forgotten a day after the last message. The Controller is
// an [Explainer], [Detailer], [Advisor], [Adapter] and [Settler].
func Adaptive(inner Controller, options AdaptOptions) Controller {
	start, floor, conns := options.Start, options.Floor, options.Conns
	if start.N <= 0 || start.Per <= 0 {
		start = Rate{N: 5, Per: time.Second}
	}
	if floor.N <= 0 || floor.Per <= 0 {
		floor = Rate{N: 1, Per: time.Minute}
	}
	if conns <= 0 {
		conns = defaultConns
	}
	return &adaptive{
		inner: inner,
		pace:  newAdaptivePace(start.perSecond(), floor.perSecond()),
		conns: newAdaptiveConns(conns),
	}
}

func (r Rate) perSecond() float64 { return float64(r.N) / r.Per.Seconds() }

// memory is how long Adaptive remembers after the last message.
const memory = 24 * time.Hour

// adaptive is the Controller of Adaptive. It asks its parts, each of which looks
// at its own kind of feedback.
type adaptive struct {
	inner Controller
	pace  adaptivePace
	conns adaptiveConns
	alive liveness
	block blocks
	used  time.Time // the last start
}

func (a *adaptive) Next(now time.Time) time.Time {
	return later(later(a.inner.Next(now), a.pace.next), a.block.until)
}

func (a *adaptive) Take(now time.Time) {
	if !a.used.IsZero() && now.Sub(a.used) > memory {
		a.pace.forget()
		a.conns.forget()
	}
	a.used = now
	a.inner.Take(now)
	a.pace.take(now)
}

func (a *adaptive) Conns(now time.Time) Conns {
	c := a.inner.Conns(now)
	if now.Before(a.block.until) {
		return c.and(Conns{Next: a.block.until, Idle: maxFor})
	}
	return c.and(a.conns.allowed(now)).and(a.alive.allowed(now))
}

func (a *adaptive) Observe(now time.Time, f Feedback) {
	a.inner.Observe(now, f)
	switch f.Event {
	case Opening:
		return
	case ConnFailed:
		a.alive.failed(now, max(f.Conns, a.conns.most))
		return
	}
	a.alive.replied(f.Event == Delivered)
	switch f.Event {
	case Delivered, Refused:
		a.block.passed(now)
		a.pace.passed(now)
		a.conns.passed(now, f.Conns, a.inner.Conns(now).Max, !a.pace.binding)
	case SlowDown:
		if !beforeMessages(f.Stage) || !a.conns.refused(now, f) {
			a.pace.slowed(now, f)
		}
	case Blocked:
		if a.block.blocked(now, f) {
			a.pace.tryAfter(a.block.until)
		}
	}
}

// beforeMessages reports whether a reply at the stage is about the connection.
func beforeMessages(stage string) bool {
	return stage == "connect" || stage == "greeting" || stage == "hello"
}

func (a *adaptive) Adapts() bool { return true }

func (a *adaptive) Advice(now time.Time) []Advice {
	return append(adviceOf(a.inner, now), a.block.advice(now)...)
}

func (a *adaptive) Binding(now time.Time) string {
	if !a.Next(now).After(now) {
		return ""
	}
	return a.Detail(now).Limit
}

func (a *adaptive) Detail(now time.Time) Detail {
	inner := a.inner.Next(now)
	switch until := a.block.until; {
	case until.After(now) && !until.Before(inner) && !until.Before(a.pace.next):
		return Detail{Limit: "suspended", Rule: ruleAdaptive, Until: a.block.until, Reply: a.block.reply}
	case a.pace.next.After(inner):
		return a.pace.detail()
	case inner.After(now):
		return detailOf(a.inner, now)
	case a.alive.dead:
		return Detail{Limit: "1 connection", Rule: ruleAdaptive, Until: a.alive.next}
	case a.conns.reply != "" && a.conns.most < a.inner.Conns(now).Max:
		return Detail{Limit: plural(a.conns.most, "connection"), Rule: ruleAdaptive, Reply: a.conns.reply}
	}
	return detailOf(a.inner, now)
}

// ruleAdaptive is Detail.Rule of what no rule has set.
const ruleAdaptive = "adaptive"

func (a *adaptive) Settled(now time.Time) time.Time {
	at := later(settledOf(a.inner, now), later(a.block.until, a.alive.next))
	if a.used.IsZero() {
		return at
	}
	return later(at, a.used.Add(memory))
}
