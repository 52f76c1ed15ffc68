package sender

import (
	"errors"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/internal/smtp"
	"github.com/volleymail/volley/throttle"
)

// againLimit is how often an item is put back undecided before that counts as
// a failed attempt.
const againLimit = 5

// settle decides about each item of a job that a session hands back.
func (st *site) settle(c *session, j *job, now time.Time) {
	d := c.dest
	c.jobs = c.jobs[1:] // jobs come back in the order in which they were given
	var undecided []*item
	delivered := 0
	// A part of the recipients is decided: the others are no nearer to being given up.
	progress := slices.ContainsFunc(j.tx.Rcpts, func(r smtp.Rcpt) bool { return r.Fate == smtp.Sent || r.Fate == smtp.Refused })
	for i, it := range j.items {
		rc := &j.tx.Rcpts[i]
		if it.run.queue && rc.Fate != smtp.Sent && rc.Fate != smtp.Unknown {
			st.s.clerk.unmark(it)
		}
		switch rc.Fate {
		case smtp.Sent:
			delivered++
			st.s.finish(it, outcome{Outcome: Sent, failure: &failure{reply: rc.Reply}, site: st.name, source: d.source.Name, dsn: c.open.DSN()}, now)
		case smtp.Refused:
			if !st.refused(c, j, it, rc.Reply, now) {
				undecided = append(undecided, it)
			}
		case smtp.Unknown:
			st.unknown(c, j, it, rc.Reply, now)
		default:
			if progress {
				it.again = 0
			}
			if !st.notSent(c, j, it, rc.Reply, now) {
				undecided = append(undecided, it)
			}
		}
	}
	if delivered > 0 {
		c.sent++
		st.count(j.items[0].msg.Stream, now, func(c *counts) { c.ended += delivered; c.delivered += delivered })
		d.recovered(c.set)
		d.recent.at(now, rateOver).delivered += delivered
		d.observe(now, throttle.Feedback{Event: throttle.Delivered, Stream: j.items[0].msg.Stream})
	}
	st.backlog.putBack(undecided)
	for _, it := range undecided {
		st.watch(it)
	}
	if len(c.jobs) > 0 && c.jobs[0].run.cause() != nil {
		c.cut() // another's message was before it
	}
	d.recycle(j)
}

// refused decides about an item that a reply refuses. It returns false for one
// that goes out again as soon as the destination takes mail: the reply was about
// us or the connection and not about the item.
func (st *site) refused(c *session, j *job, it *item, reply bounce.Reply, now time.Time) bool {
	f := c.failure(j, reply)
	d := c.dest
	event := eventOf(f.class)
	d.observe(now, feedback(event, f, it.msg.Stream))
	st.count(it.msg.Stream, now, func(n *counts) {
		n.ended++
		switch {
		case event == throttle.Blocked:
			n.blocked++
		case f.class.Outcome() == bounce.Hard:
			n.hard++
		}
	})
	hard := reply.Code/100 == 5 || reply.Code == 0 && reply.Status[0] == 5
	switch {
	case event == throttle.SlowDown && d.adapts(): // the Controller has seen to it
		st.retryAt(it, f, now.Add(st.s.cfg.Retry.pause(1, f.class.RetryAfter)), now)
	case event != throttle.Refused:
		until := d.hold(event, f, it.msg.Stream, now)
		it.last = f
		it.tries++
		if !st.s.over(it, st.name, until, now) {
			st.queueUp(it, now) // behind the others: the next probe is another message
		}
	case reply.Code == 421 && c.sent > 0 && st.undecided(it, now):
		d.load.learn(f.class, c.sent, now)
		return false // the server closes this connection, nothing more
	case hard && f.class.Permanent:
		it.tries++
		st.s.finish(it, outcome{Outcome: Rejected, failure: f, site: st.name, source: d.source.Name}, now)
	case f.class.Permanent: // 4yz that trying again does not mend
		it.tries++
		it.last = f
		st.s.giveUp(it, st.name, nil, now.Add(st.s.cfg.Retry.wait(int(it.tries), f.class.RetryAfter, it.id)), now)
	default:
		st.retry(it, f, now)
	}
	return true
}

// eventOf says what a refusal means for the destination.
func eventOf(c bounce.Class) throttle.Event {
	switch {
	case c.Action == bounce.ActionPause:
		return throttle.SlowDown
	case c.Outcome() == bounce.Block && (c.Scope == bounce.ScopeSource || c.Scope == bounce.ScopeSenderDomain):
		return throttle.Blocked
	default:
		return throttle.Refused
	}
}

// retry postpones an item that failed for now.
func (st *site) retry(it *item, f *failure, now time.Time) {
	st.retryAt(it, f, now.Add(st.s.cfg.Retry.wait(int(it.tries)+1, f.class.RetryAfter, it.id)), now)
}

func (st *site) retryAt(it *item, f *failure, due, now time.Time) {
	it.last = f
	it.tries++
	it.again = 0
	if st.s.over(it, st.name, due, now) {
		return
	}
	st.postpone(it, due, now)
	st.s.cfg.Observe(Event{Kind: EventRetry, Time: now, Site: st.name, Source: f.source, Host: f.reply.Host, Message: it.msg,
		Recipient: it.recipient(), Reply: f.reply, Class: f.class, Attempts: int(it.tries), At: due, TLS: f.tls, Err: f.err})
}

// unknown decides about an item whose fate nobody knows: the connection was
// lost after the end of the message was out (RFC 5321 §3.8 says retry, which
// may deliver twice).
func (st *site) unknown(c *session, j *job, it *item, reply bounce.Reply, now time.Time) {
	f := c.failure(j, reply)
	if st.s.stream(it.msg).RetryUnknown {
		st.retry(it, f, now)
		return
	}
	it.tries++
	st.s.finish(it, outcome{Outcome: Unknown, failure: f, site: st.name, source: f.source}, now)
}

// notSent decides about an item that certainly was not delivered. It returns
// false if the item had no part in that: it goes out again at once.
func (st *site) notSent(c *session, j *job, it *item, reply bounce.Reply, now time.Time) bool {
	if errors.Is(j.tx.Err, errUnmarked) && it.run.cause() == nil && !st.stopping {
		return false // no server's fault: it goes when the Queue can be written
	}
	lost := j.tx.Err != nil && !errors.Is(j.tx.Err, smtp.ErrCut) && (j.tx.Wire >= smtp.WireBody || c.sent == 0)
	if !lost && st.undecided(it, now) {
		return false
	}
	if !st.s.stopped(it, st.name, now) {
		f := c.failure(j, reply)
		if f.reply.Code == 0 && f.reply.Text == "" {
			f = localFailure(bounce.StageConnect, bounce.Status{4, 4, 2}, errLost) // RFC 3463 §3.5
			f.source, f.tls, f.err = c.dest.source.Name, c.tls(), j.tx.Err
		}
		st.retry(it, f, now)
	}
	return true
}

// undecided reports whether an item may be put back once more.
func (st *site) undecided(it *item, now time.Time) bool {
	it.again++
	return it.again <= againLimit && it.run.cause() == nil && !st.s.canceled(it) && !st.stopping
}
