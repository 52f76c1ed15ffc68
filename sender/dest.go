package sender

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/internal/smtp"
	"github.com/volleymail/volley/throttle"
)

// dest is a destination: a site as one source reaches it. It has the limits and
// the connections. All fields belong to the site's goroutine.
type dest struct {
	site   *site
	source *source
	key    throttle.Key
	ctl    throttle.Controller
	vtime  float64 // grows by 1/weight with each message: sources take turns by it

	sessions []*session // open or opening
	asking   []*session // those of sessions that wait for a job, the last one waits least
	opening  int        // those of sessions that have not asked yet: each will soon
	probed   *session   // idle for long: it looks whether its connection lives, then asks again
	wanted   int        // connections asked of the budget and not granted yet
	free     []*job     // for reuse

	heldUntil time.Time
	heldBy    bounce.Reply
	holds     int       // by replies, in a row, nothing delivered in between
	failures  int       // failed connections in a row
	worked    bool      // it has delivered something
	growAt    time.Time // no more connections before: one failed while others worked
	crowd     int       // how many those were
	moved     time.Time // it began a message or a connection
	recent    tally     // deliveries, for the rate that Snapshot tells
	load      load      // how much a connection carries here
	suspended bool      // its Controller allows no connection, without saying until when: it was told
}

// maxRcpts is how many recipients every server must take in a transaction
// (RFC 5321 §4.5.3.1.8).
const maxRcpts = 100

// lostLimit is how many connections in a row may be lost before anything was
// delivered until the destination counts as failing.
const lostLimit = 3

// open counts the items that the destination may take now.
func (d *dest) open(now time.Time) int { return d.site.backlog.open(d.source.Name, now) }

func (d *dest) held(now time.Time) bool { return now.Before(d.heldUntil) }

// mayStart reports whether a message may start now.
func (d *dest) mayStart(now time.Time) bool {
	return !d.held(now) && !d.site.stopping && !d.site.s.paused.Load() && !d.next(now).After(now) && d.inTurn(now)
}

// serve gives jobs to sessions that wait for one.
func (d *dest) serve(now time.Time) {
	for len(d.asking) > 0 && d.probed == nil && d.open(now) > 0 && d.mayStart(now) {
		c := d.asking[len(d.asking)-1]
		if now.Sub(c.idleSince) > idleCheck {
			d.probed = c
			d.answer(c, probe)
			return
		}
		if c.full(d.conns(now).Messages, now) {
			c.leaving = true
			d.answer(c, nil)
			continue
		}
		j := d.job()
		if d.site.fill(j, c, now) {
			d.give(c, j, now)
			continue
		}
		d.free = append(d.free, j)
		if d.open(now) > 0 { // of other servers: make room for a connection to these
			c.leaving = true
			d.answer(c, nil)
		}
	}
}

// asked answers a session that wants a job: at once if there is one, or if it
// must not wait.
func (d *dest) asked(c *session, inFlight bool, now time.Time) {
	if d.site.owed > 0 && (c.taken >= shedTurn || c.taken > 0 && d.open(now) == 0) {
		d.site.owed--
		c.leaving = true
	}
	if d.probed == c {
		d.probed = nil
	}
	if !c.asked {
		c.asked = true
		d.opening--
	}
	conns := d.conns(now)
	if c.leaving || d.site.stopping || c.full(conns.Messages, now) || len(d.sessions)-d.leavingCount() > conns.Max {
		c.leaving = true
		d.answer(c, nil)
		return
	}
	if d.open(now) > 0 && d.mayStart(now) {
		j := d.job()
		if d.site.fill(j, c, now) {
			d.give(c, j, now)
			return
		}
		d.free = append(d.free, j)
	}
	if inFlight {
		d.answer(c, nil)
		return
	}
	c.idleSince = now
	d.asking = append(d.asking, c)
}

// pending counts the connections, of all sources, that will soon ask for mail.
func (st *site) pending() (n int) {
	for _, d := range st.dests {
		n += d.opening + d.wanted
	}
	return n
}

func (d *dest) leavingCount() (n int) {
	for _, c := range d.sessions {
		if c.leaving {
			n++
		}
	}
	return n
}

// give starts a transaction: this is the moment that the limits count.
func (d *dest) give(c *session, j *job, now time.Time) {
	d.take(now)
	c.jobs = append(c.jobs, j)
	c.taken++
	d.answer(c, j)
}

// answer replies to a session that asked; nil means none, or, to one that
// waits, that it should close.
func (d *dest) answer(c *session, j *job) {
	if i := slices.Index(d.asking, c); i >= 0 {
		d.asking = slices.Delete(d.asking, i, i+1)
	}
	c.reply <- j // has room: there is one answer for each question
}

func (d *dest) job() *job {
	if n := len(d.free); n > 0 {
		j := d.free[n-1]
		d.free = d.free[:n-1]
		return j
	}
	return new(job)
}

// recycle keeps a settled job for the next transaction.
func (d *dest) recycle(j *job) {
	clear(j.items)
	clear(j.tx.Rcpts)
	*j = job{items: j.items[:0], tx: smtp.Transaction{Rcpts: j.tx.Rcpts[:0]}}
	if len(d.free) < 8 && cap(j.items) <= maxRcpts {
		d.free = append(d.free, j)
	}
}

// grow asks for another connection where mail may start now and nobody is free
// to take it. While nothing is known of the destination it opens one, then as
// many as are open already (slow start), so a dead one costs one connection.
func (d *dest) grow(now time.Time) (wake time.Time) {
	open := d.open(now)
	if open == 0 || d.site.stopping || d.site.s.paused.Load() {
		return time.Time{}
	}
	if d.held(now) {
		return d.heldUntil
	}
	if next := d.next(now); next.After(now) {
		return next
	}
	if !d.inTurn(now) {
		return now.Add(turnWait)
	}
	if now.Before(d.growAt) && len(d.sessions)+d.wanted >= d.crowd {
		return d.growAt
	}
	conns := d.conns(now)
	for {
		pending := d.opening + d.wanted
		if d.probed != nil {
			pending++
		}
		switch {
		case len(d.asking) > 0 || pending >= max(1, len(d.sessions)-d.opening):
			return time.Time{} // there is or will be somebody to serve it
		case len(d.sessions)+d.wanted >= conns.Max || d.site.pending() >= open:
			return conns.Next // a suspension ends by then, if the Controller says so
		case conns.Next.After(now):
			return conns.Next
		}
		d.wanted++
		d.site.s.sched.box.put(schedMsg{kind: schedWant, dest: d})
	}
}

// granted opens a connection out of the budget, if it is still of use.
func (d *dest) granted(now time.Time) {
	d.wanted--
	conns := d.conns(now)
	if d.open(now) == 0 || d.site.stopping || d.held(now) || len(d.sessions) >= conns.Max || conns.Next.After(now) {
		d.site.s.sched.box.put(schedMsg{kind: schedRelease, dest: d})
		return
	}
	it := d.site.backlog.wanting(d.source.Name, d.underWay(), now)
	if it == nil {
		d.site.s.sched.box.put(schedMsg{kind: schedRelease, dest: d})
		return
	}
	c := newSession(d)
	c.set = it.set()
	d.sessions = append(d.sessions, c)
	d.observe(now, throttle.Feedback{Event: throttle.Opening})
	d.opening++
	d.moved = now
	go c.run(it.domain.servers.Load())
}

// underWay counts the connections that have not asked yet, by set of servers.
func (d *dest) underWay() map[string]int {
	n := map[string]int{}
	for _, c := range d.sessions {
		if !c.asked {
			n[c.set]++
		}
	}
	return n
}

// opened notes that a session is ready.
func (d *dest) opened(c *session, open *smtp.Session, now time.Time) {
	c.open = open
	d.site.s.cfg.Observe(Event{Kind: EventConnOpened, Time: now, Site: d.site.name, Source: d.source.Name, Host: c.host, TLS: open.TLS() != nil})
}

// rest closes sessions that have been idle for long enough, and returns when to
// look again.
func (d *dest) rest(now time.Time) (wake time.Time) {
	if len(d.asking) == 0 {
		return time.Time{}
	}
	conns := d.conns(now)
	for _, c := range slices.Clone(d.asking) {
		until := c.idleSince.Add(conns.Idle)
		if d.site.stopping || !now.Before(until) || len(d.sessions) > conns.Max || d.site.s.scarce.Load() && d.open(now) == 0 {
			c.leaving = true
			d.answer(c, nil)
		} else {
			wake = sooner(wake, until)
		}
	}
	return wake
}

// closed notes that a session is gone.
func (d *dest) closed(c *session, err error, now time.Time) {
	d.sessions = slices.DeleteFunc(d.sessions, func(x *session) bool { return x == c })
	if d.site.owed--; d.site.owed < 0 || len(d.sessions) == 0 {
		d.site.owed = 0
	}
	if d.probed == c {
		d.probed = nil
	}
	d.site.s.sched.box.put(schedMsg{kind: schedRelease, dest: d})
	if !c.asked {
		d.opening--
	}
	kind := EventConnClosed
	if c.open == nil {
		kind = EventConnFailed
	}
	d.site.s.cfg.Observe(Event{Kind: kind, Time: now, Site: d.site.name, Source: d.source.Name, Host: c.host, Err: err})
	if err == nil || d.site.s.closing.Load() || c.sent > 0 || errors.Is(err, smtp.ErrCut) || errors.Is(err, errUnmarked) {
		return
	}
	f := d.failureOf(err)
	d.observe(now, feedback(throttle.ConnFailed, f, ""))
	if event := eventOf(f.class); f.reply.Code != 0 && event != throttle.Refused {
		d.observe(now, feedback(event, f, ""))
	}
	d.failures++
	if c.open == nil && d.reaches(c.set) {
		// The others work: it is one too many. What waits goes through them.
		d.crowd = len(d.sessions)
		d.growAt = now.Add(d.site.s.cfg.Retry.pause(d.failures, f.class.RetryAfter))
		return
	}
	if c.open == nil || d.failures >= lostLimit {
		d.unreachable(f, c.set, now)
	}
}

// failureOf puts a connection's error in the words of package bounce.
func (d *dest) failureOf(err error) *failure {
	f := localFailure(bounce.StageConnect, bounce.Status{4, 4, 1}, err) // RFC 3463 §3.5
	if e := sessionError(err); e != nil {
		if e.Reply.Code != 0 || e.Reply.Text != "" {
			f.reply = e.Reply
			f.class = d.site.s.cfg.Classify(e.Reply)
		} else {
			f.reply.Stage = e.Stage
			f.class = d.site.s.cfg.Classify(f.reply)
		}
	}
	f.source = d.source.Name
	return f
}

// unreachable holds the destination after no connection came about, or none
// that carried anything. The wait grows with each failure: one probe goes out
// for all that waits.
func (d *dest) unreachable(f *failure, set string, now time.Time) {
	switch {
	case f.class.Category == bounce.InvalidDomain && f.class.Permanent:
		d.site.reject(f, set, now) // 521 or 556 from all hosts, RFC 7504
		return
	case d.site.dead != nil && !d.isTheOneToBlame(now):
		d.site.bury(set, f, now)
		return
	}
	d.holdUntil(now.Add(d.site.s.cfg.Retry.wait(d.failures, f.class.RetryAfter, rand.Uint64())), f.reply, now)
	if d.site.blocked(now) {
		d.site.fail(f, d.heldUntil, now)
	}
	d.site.shelve(now)
}

// hold stops the destination for a while after a reply that asks for less, or
// that blocks us, where no Controller sees to that itself: then what waits is tried one by one, at growing intervals,
// until somebody has put things right. A reply that blocks a sender domain holds
// only the stream that it came to. Replies to what was under way when it was
// held do not count again. It returns when mail may go on.
func (d *dest) hold(event throttle.Event, f *failure, stream string, now time.Time) time.Time {
	if d.held(now) {
		return d.heldUntil
	}
	d.holds++
	retry := &d.site.s.cfg.Retry
	if event == throttle.SlowDown {
		d.holdUntil(now.Add(retry.pause(d.holds, f.class.RetryAfter)), f.reply, now)
		d.site.shelve(now)
		return d.heldUntil
	}
	until := now.Add(max(retry.pause(d.holds, f.class.RetryAfter), retry.wait(d.holds, 0, rand.Uint64())))
	d.site.s.cfg.log.Error("we are blocked", "site", d.site.name, "source", d.source.Name, "stream", stream,
		"scope", f.class.Scope.String(), "category", f.class.Category.String(), "reply", f.reply.String())
	if f.class.Scope == bounce.ScopeSenderDomain {
		d.site.backlog.hold(stream, until, f.reply.String())
		return until
	}
	d.holdUntil(until, f.reply, now)
	if d.site.blocked(now) {
		d.site.fail(f, until, now) // what waits would have been refused as well
	}
	d.site.shelve(now)
	return until
}

func (d *dest) holdUntil(until time.Time, why bounce.Reply, now time.Time) {
	d.heldUntil, d.heldBy = until, why
	d.site.backlog.unstick(d.source.Name)
	d.site.tellHeld(d.source.Name, why, until, now)
}

func (st *site) tellHeld(source string, why bounce.Reply, until, now time.Time) {
	st.s.cfg.log.Warn("destination held", "site", st.name, "source", source, "until", until, "reply", why.String())
	st.s.cfg.Observe(Event{Kind: EventHeld, Time: now, Site: st.name, Source: source, Host: why.Host, Reply: why, At: until})
}

// forgettable reports whether a new destination would know as much.
func (d *dest) forgettable(now time.Time) bool {
	return !now.Before(d.heldUntil) && settled(d.ctl, now)
}

// settled reports whether a Controller may be dropped: see throttle.Settler.
func settled(c throttle.Controller, now time.Time) bool {
	s, ok := c.(throttle.Settler)
	return ok && !s.Settled(now).After(now)
}
