package throttle

import (
	"slices"
	"strconv"
	"time"
)

// React returns a Controller that keeps what inner allows and lets triggers act
// on what is observed. Replies of one burst count once: while a suspension or the
// stop of a recovery lasts its trigger does not fire again, and a limit that
// fires again is prolonged. It is an [Explainer], [Detailer], [Advisor],
// [Adapter] and [Settler]. Nil triggers are none.
func React(inner Controller, triggers *Triggers) Controller {
	r := &reactor{inner: inner}
	r.adopt(triggers)
	return r
}

// reactor is the Controller that triggers act in.
type reactor struct {
	inner   Controller
	set     *Triggers
	matched [][]time.Time // by trigger: its last matches, the oldest first
	effects []*effect
	settled time.Time // when the last match and the last effect are forgotten
}

// adopt replaces the triggers. What those before have set goes on until it ends.
func (r *reactor) adopt(triggers *Triggers) {
	if triggers == nil {
		triggers = &Triggers{}
	}
	if r.set != triggers {
		r.set, r.matched = triggers, make([][]time.Time, len(triggers.all))
	}
}

func (r *reactor) Next(now time.Time) time.Time {
	next := r.inner.Next(now)
	for _, e := range r.effects {
		next = later(next, e.next(now))
	}
	return next
}

func (r *reactor) Take(now time.Time) {
	r.inner.Take(now)
	for _, e := range r.effects {
		e.take(now)
	}
}

func (r *reactor) Conns(now time.Time) Conns {
	c := r.inner.Conns(now)
	for _, e := range r.effects {
		if allowed, ok := e.conns(now); ok {
			c = c.and(allowed)
		}
	}
	return c
}

func (r *reactor) Observe(now time.Time, f Feedback) {
	r.inner.Observe(now, f)
	r.effects = slices.DeleteFunc(r.effects, func(e *effect) bool { return e.over(now) })
	switch f.Event {
	case Opening:
	case Delivered:
		for _, e := range r.effects {
			if e.rule.Action == Recover {
				e.delivered(now, r.inner.Conns(now).Max)
			}
		}
	default:
		for i, t := range r.set.all {
			if t.matches(f) && r.count(i, now) {
				r.fire(t, now, f)
			}
		}
	}
}

// count notes a match of trigger i and reports whether it fires.
func (r *reactor) count(i int, now time.Time) bool {
	t := r.set.all[i]
	if t.Count <= 1 || r.recovering(t, now) {
		return true
	}
	times := r.matched[i]
	if len(times) < t.Count-1 {
		r.matched[i] = append(times, now)
		r.settled = later(r.settled, now.Add(t.Within))
		return false
	}
	oldest := times[0]
	if now.Sub(oldest) < t.Within {
		r.matched[i] = times[:0]
		return true
	}
	copy(times, times[1:])
	times[len(times)-1] = now
	r.settled = later(r.settled, now.Add(t.Within))
	return false
}

// recovering reports whether t is trying again, when one match is a failure.
func (r *reactor) recovering(t *trigger, now time.Time) bool {
	return t.Action == Recover && slices.ContainsFunc(r.effects, func(e *effect) bool {
		return e.rule.ID == t.ID && !e.over(now)
	})
}

// fire lets t act.
func (r *reactor) fire(t *trigger, now time.Time, f Feedback) {
	stream := ""
	if t.Action == Hold {
		if stream = f.Stream; stream == "" {
			stream = "*"
		}
	}
	i := slices.IndexFunc(r.effects, func(e *effect) bool { return e.rule.ID == t.ID && e.stream == stream })
	if i < 0 {
		i = len(r.effects)
		r.effects = append(r.effects, &effect{rule: t, stream: stream})
	}
	r.effects[i].begin(t, now, f)
	r.settled = later(r.settled, r.effects[i].until)
}

// Advice returns the streams that triggers hold.
func (r *reactor) Advice(now time.Time) []Advice {
	list := adviceOf(r.inner, now)
	for _, e := range r.effects {
		if e.stream != "" && !e.over(now) {
			list = append(list, Advice{Hold: e.stream, Until: e.until, Why: e.reply, Rule: e.rule.ID})
		}
	}
	return list
}

// Adapts reports whether the inner Controller adapts: a trigger answers only the
// replies that it knows.
func (r *reactor) Adapts() bool { return adapts(r.inner) }

func (r *reactor) Binding(now time.Time) string {
	if !r.Next(now).After(now) {
		return ""
	}
	return r.Detail(now).Limit
}

func (r *reactor) Detail(now time.Time) Detail {
	d, next, conns := detailOf(r.inner, now), r.inner.Next(now), r.inner.Conns(now).Max
	for _, e := range r.effects {
		at := e.next(now)
		allowed, ok := e.conns(now)
		if at.After(next) || !next.After(now) && ok && allowed.Max < conns {
			next, d = later(next, at), e.detail(now)
			if ok {
				conns = min(conns, allowed.Max)
			}
		}
	}
	return d
}

func (r *reactor) Settled(now time.Time) time.Time {
	return later(settledOf(r.inner, now), r.settled)
}

// effect is what a trigger has set.
type effect struct {
	rule   *trigger
	stream string    // held, of Hold
	since  time.Time // of Recover: from when on connections are tried
	until  time.Time // the end, at the latest
	reply  string

	limiter Controller // of Limit, else nil
	open    int        // of Recover: connections allowed
	more    time.Time  // of Recover: when one more may be allowed
}

// recoverSteps is how many more connections a recovery allows in the time that it
// stopped before; recoverWithin is when it is over at the latest.
const (
	recoverSteps  = 10
	recoverWithin = 24 * time.Hour
)

func (e *effect) begin(t *trigger, now time.Time, f Feedback) {
	stopped := now.Before(e.until) && (t.Action == Suspend || t.Action == Recover && now.Before(e.since))
	if stopped {
		return // of the same burst
	}
	changed := e.rule != t
	e.rule, e.reply = t, shorten(f.Text)
	e.until = now.Add(t.For)
	switch t.Action {
	case Suspend:
		e.until = now.Add(max(t.For, min(f.Wait, maxFor)))
	case Recover:
		e.since = now.Add(max(t.For, min(f.Wait, maxFor)))
		e.until = e.since.Add(recoverWithin)
		e.open, e.more = 1, e.since
	case Limit:
		if e.limiter == nil || changed {
			e.limiter = MustNew(t.limits())
			e.limiter.Take(now) // what was just refused
		}
	}
}

// limits are those that a trigger sets; the rest is left to others.
func (t *trigger) limits() Limits {
	l := Limits{Conns: t.Conns, Messages: t.Messages, Idle: maxFor}
	if t.Rate != (Rate{}) {
		l.Rates = []Rate{t.Rate}
	}
	if l.Conns == 0 {
		l.Conns = -1
	}
	if l.Messages == 0 {
		l.Messages = -1
	}
	return l
}

func (e *effect) over(now time.Time) bool { return !now.Before(e.until) }

// next returns the earliest start that e allows; what is past means now.
func (e *effect) next(now time.Time) time.Time {
	switch {
	case e.over(now):
	case e.rule.Action == Suspend:
		return e.until
	case e.rule.Action == Recover:
		return e.since
	case e.limiter != nil:
		if next := e.limiter.Next(now); next.Before(e.until) {
			return next
		}
		return e.until
	}
	return now
}

func (e *effect) take(now time.Time) {
	if e.limiter != nil {
		e.limiter.Take(now)
	}
}

// conns returns what e allows of connections, false if it has no say.
func (e *effect) conns(now time.Time) (Conns, bool) {
	switch {
	case e.over(now) || e.rule.Action == Hold:
		return Conns{}, false
	case e.rule.Action == Suspend:
		return Conns{Next: e.until, Idle: maxFor}, true
	case e.rule.Action == Recover && now.Before(e.since):
		return Conns{Next: e.since, Idle: maxFor}, true
	case e.rule.Action == Recover:
		return Conns{Max: e.open, Idle: maxFor}, true
	}
	return e.limiter.Conns(now), true
}

// delivered lets a recovery go on: one more connection, and the end of it when
// there are as many as the others allow.
func (e *effect) delivered(now time.Time, allowed int) {
	if now.Before(e.since) || now.Before(e.more) {
		return
	}
	e.open++
	e.more = now.Add(e.rule.For / recoverSteps)
	if e.open >= allowed && allowed > 0 {
		e.until = now
	}
}

func (e *effect) detail(now time.Time) Detail {
	d := Detail{Rule: e.rule.ID, Until: e.until, Reply: e.reply}
	switch {
	case e.rule.Action == Suspend:
		d.Limit = "suspended"
	case e.rule.Action == Recover && now.Before(e.since):
		d.Limit, d.Until = "suspended", e.since
	case e.rule.Action == Recover:
		d.Limit, d.Until = plural(e.open, "connection"), time.Time{}
	case e.limiter.Next(now).After(now):
		d.Limit = e.rule.Rate.String()
	case e.rule.Conns > 0:
		d.Limit = plural(e.rule.Conns, "connection")
	default:
		d.Limit = plural(e.rule.Messages, "message") + " for each connection"
	}
	return d
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
