package sender

import (
	"time"

	"github.com/volleymail/volley/throttle"
)

// What a destination is allowed: by its own Controller, and by the one that all
// sources share.

// next returns the earliest start of the next message.
func (d *dest) next(now time.Time) time.Time {
	next := d.ctl.Next(now)
	if sh := d.site.shared; sh != nil {
		if t := sh.Next(now); t.After(next) {
			next = t
		}
	}
	return next
}

// suspendedLook is how often a Controller that suspends without an end is asked
// again: what changes its mind need not be mail.
const suspendedLook = time.Minute

// take commits one message.
func (d *dest) take(now time.Time) {
	d.ctl.Take(now)
	if d.site.shared != nil {
		d.site.shared.Take(now)
	}
	d.moved = now
	start := d.claim()
	d.vtime = start + 1/d.weight()
	d.site.vnow = max(d.site.vnow, start)
}

// claim is the virtual time at which the destination would send now. One that
// could not send for a while does not make up for more than a message.
func (d *dest) claim() float64 { return max(d.vtime, d.site.vnow-1) }

// conns returns what is allowed of connections. Max counts those of this
// destination.
func (d *dest) conns(now time.Time) throttle.Conns {
	c := d.ctl.Conns(now)
	if !c.Next.After(now) {
		c.Next = time.Time{} // a past one means go, not look again at once
	}
	if suspended := c.Max == 0 && c.Next.IsZero(); suspended {
		c.Next = now.Add(suspendedLook)
		if !d.suspended {
			d.site.s.cfg.log.Warn("destination suspended by its Policy", "site", d.site.name, "source", d.source.Name, "why", detailOf(d.ctl, now).Limit)
		}
		d.suspended = true
	} else {
		d.suspended = false
	}
	sh := d.site.shared
	if sh == nil {
		return c
	}
	all := sh.Conns(now)
	c.Max = min(c.Max, all.Max-d.site.open()+len(d.sessions))
	if all.Next.After(now) && all.Next.After(c.Next) {
		c.Next = all.Next
	}
	if all.Messages > 0 && (c.Messages == 0 || all.Messages < c.Messages) {
		c.Messages = all.Messages
	}
	c.Idle = min(c.Idle, all.Idle)
	return c
}

// open counts the connections of all sources.
func (st *site) open() (n int) {
	for _, d := range st.dests {
		n += len(d.sessions)
	}
	return n
}

// observe tells the Controllers what happened.
func (d *dest) observe(now time.Time, f throttle.Feedback) {
	f.Conns = len(d.sessions)
	if f.Event == throttle.ConnFailed {
		f.Conns++ // it is gone already
	}
	d.ctl.Observe(now, f)
	if sh := d.site.shared; sh != nil {
		f.Conns += d.site.open() - len(d.sessions)
		sh.Observe(now, f)
	}
	if f.Event != throttle.Opening && f.Event != throttle.Delivered {
		d.heed(d.ctl, now)
		d.heed(d.site.shared, now)
	}
}

// heed does what a Controller cannot do itself.
func (d *dest) heed(ctl throttle.Controller, now time.Time) {
	if a, ok := ctl.(throttle.Advisor); ok {
		for _, advice := range a.Advice(now) {
			d.site.backlog.hold(advice.Hold, advice.Until, advice.Why)
		}
	}
}

// adapts reports whether a Controller slows down by itself.
func (d *dest) adapts() bool {
	for _, c := range []throttle.Controller{d.ctl, d.site.shared} {
		if a, ok := c.(throttle.Adapter); ok && a.Adapts() {
			return true
		}
	}
	return false
}

// feedback puts a failure in the words of package throttle.
func feedback(event throttle.Event, f *failure, stream string) throttle.Feedback {
	return throttle.Feedback{Event: event, Wait: f.class.RetryAfter, Stage: f.reply.Stage.String(), Code: f.reply.Code,
		Category: f.class.Category.String(), Scope: f.class.Scope.String(), Rule: f.class.Rule, Text: f.reply.String(), Stream: stream}
}

func (d *dest) weight() float64 { return float64(max(d.source.Weight, 1)) }

// turnPatience is how long a source may keep the others from running ahead of
// their weights: one that cannot send within it is passed over.
const turnPatience = time.Minute

// turnWait is how long a source that does nothing is waited for.
const turnWait = 5 * time.Second

// inTurn reports whether the weights of the sources let this one send: it is
// not a message ahead of another that could send as well.
func (d *dest) inTurn(now time.Time) bool {
	mine := d.claim()
	for _, o := range d.site.dests {
		if o == d || o.source.Weight == 0 && d.source.Weight == 0 {
			continue // without weights nobody waits for anybody
		}
		if o.claim()+1/o.weight() < mine && o.able(now) {
			return false
		}
	}
	return true
}

// able reports whether the destination could send soon.
func (d *dest) able(now time.Time) bool {
	if !d.moved.IsZero() && now.Sub(d.moved) > turnWait {
		return false // its connections hang, or it may not open one
	}
	return !d.held(now) && d.open(now) > 0 && d.conns(now).Max > 0 && d.next(now).Before(now.Add(turnPatience))
}
