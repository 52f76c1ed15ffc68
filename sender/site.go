package sender

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/internal/smtp"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/throttle"
)

// site is the set of servers that takes the mail of some domains: the unit of
// queueing. One goroutine runs it while it has something to do now; in between
// it is parked with the scheduler. The fields belong to that goroutine, but
// those that say otherwise.
type site struct {
	s    *Sender
	name string // never changes
	way  *route // never changes
	box  *inbox[siteMsg]

	awake   bool      // it has a goroutine; owned by the scheduler
	wakeAt  time.Time // parked with items until then; zero = without; owned by the scheduler
	alarmAt time.Time // when an alarm will ring for it; zero = none is set; owned by the scheduler

	backlog  backlog
	shared   throttle.Controller // limits that all sources share, nil = none
	dests    []*dest             // one for each source
	vnow     float64             // virtual time of the sources: that of the one that sent last
	scanAt   time.Time           // no ready item's lifetime ends before
	dead     map[string]*deadSet // servers that cannot be reached, by set; nil unless the Policy joins several
	owed     int                 // connections to give back when one has done something
	stopping bool
}

type siteKind uint8

const (
	siteItems     siteKind = iota // items
	siteGrant                     // dest may open a connection
	siteShed                      // give a connection back
	siteOpened                    // session is ready: open
	siteAsk                       // session wants a job; inFlight: at once or not at all
	siteDone                      // session hands job back
	siteClosed                    // session is gone: err
	siteStopRun                   // run
	siteShutdown                  //
	siteWake                      // look at the clock
	siteSnapshot                  // snap
	siteResume                    // sel
	siteSendNow                   // sel, hasten
	siteComplaint                 // stream
)

type siteMsg struct {
	kind     siteKind
	inFlight bool
	items    list
	dest     *dest
	session  *session
	job      *job
	run      *run
	open     *smtp.Session
	err      error
	snap     chan<- []Destination
	stream   string
	sel      *Selection
	hasten   chan<- int
}

func newSite(s *Sender, name string, d *domain, rt *mx.Route) *site {
	st := &site{s: s, name: name, way: d.route, box: newInbox[siteMsg](), backlog: backlog{s: s, site: name}}
	key := throttle.Key{Site: name, MX: hostNames(rt)}
	if rt != nil {
		key.Domain = d.name
		if joined := name != d.route.site(rt.Site) && name != d.route.site(d.name); joined {
			st.dead = map[string]*deadSet{}
		}
	} else {
		key.MX = st.way.relay
	}
	if p, ok := s.cfg.Policy.(throttle.Sharer); ok {
		st.shared = p.Shared(key)
	}
	for _, src := range s.cfg.sources {
		key.Source = src.Name
		st.dests = append(st.dests, &dest{site: st, source: src, key: key, ctl: s.cfg.Policy.For(key)})
	}
	return st
}

// hostNames of a route, as throttle.Key has them.
func hostNames(rt *mx.Route) string {
	if rt == nil {
		return ""
	}
	names := make([]string, len(rt.Hosts))
	for i, h := range rt.Hosts {
		names[i] = h.Name
	}
	return strings.Join(names, " ")
}

// parkAfter is how long nothing must be due for the goroutine to end.
const parkAfter = 5 * time.Second

// run serves the site until nothing is to do for a while.
func (st *site) run() {
	var timer *time.Timer
	var msgs []siteMsg
	for {
		msgs = st.box.take(msgs)
		for i := range msgs {
			st.handle(&msgs[i])
		}
		now := time.Now()
		wake := st.pump(now)
		if wake.IsZero() && st.idle() && st.backlog.len() > 0 {
			wake = now.Add(time.Minute) // suspended until the Controller changes its mind
		}
		if st.idle() && (wake.IsZero() || wake.Sub(now) > parkAfter) && st.box.empty() {
			st.s.sched.box.put(schedMsg{kind: schedParked, site: st, at: wake})
			return
		}
		if timer == nil {
			timer = time.NewTimer(time.Hour)
			defer timer.Stop()
		}
		if !wake.IsZero() {
			timer.Reset(wake.Sub(now))
		} else {
			timer.Reset(time.Hour)
		}
		select {
		case <-st.box.wake:
		case <-timer.C:
		}
	}
}

// idle reports whether no connection is open or asked for.
func (st *site) idle() bool {
	for _, d := range st.dests {
		if len(d.sessions)+d.wanted > 0 {
			return false
		}
	}
	return true
}

func (st *site) handle(m *siteMsg) {
	now := time.Now()
	st.heed(now)
	switch m.kind {
	case siteItems:
		st.add(m.items, now)
	case siteGrant:
		m.dest.granted(now)
	case siteShed:
		st.shed()
	case siteOpened:
		m.session.dest.opened(m.session, m.open, now)
	case siteAsk:
		m.session.dest.asked(m.session, m.inFlight, now)
	case siteDone:
		st.settle(m.session, m.job, now)
	case siteClosed:
		m.session.dest.closed(m.session, m.err, now)
	case siteStopRun:
		st.giveBack(now)
		st.interrupt(m.run)
	case siteShutdown:
		st.stopping = true
		st.giveBack(now)
	case siteSnapshot:
		m.snap <- st.snapshot(now)
	case siteResume:
		st.resume(m.sel)
	case siteSendNow:
		m.hasten <- st.sendNow(m.sel, now)
	case siteComplaint:
		st.count(m.stream, now, func(c *counts) { c.complaints++ })
	}
}

// add takes new items.
func (st *site) add(items list, now time.Time) {
	for it := items.pop(); it != nil; it = items.pop() {
		switch {
		case st.s.stopped(it, st.name, now):
		case !st.backlog.sourceKnown(it):
			st.s.refuse(it, localClass, errors.New("Config.Choose names no source of Config.Sources for it"), now)
		case it.run.queue && st.s.taker.crowded(it.msg.Stream, st.backlog.waiting(it.msg.Stream)):
			st.s.clerk.later(it, st.name, now, now) // to be taken when its turn comes
		case st.isDead(it, now):
			st.postpone(it, st.dead[it.set()].until, now)
		case st.inTime(it, now):
			st.queueUp(it, now)
		}
	}
}

// queueUp puts an item behind the others, or back into the Queue if nothing
// will go for long.
func (st *site) queueUp(it *item, now time.Time) {
	if until := st.shut(now); it.run.queue && !until.IsZero() {
		st.s.taker.hold(st.name, until)
		st.postpone(it, until, now)
		return
	}
	if source := st.sticky(it); source != "" {
		st.backlog.putFirst(it, source)
	} else {
		st.backlog.add(it)
	}
	st.watch(it)
}

// shut returns until when every destination of the site is held, if that is long.
func (st *site) shut(now time.Time) (until time.Time) {
	for _, d := range st.dests {
		until = sooner(until, d.heldUntil)
		if d.heldUntil.Sub(now) < minStay {
			return time.Time{}
		}
	}
	return until
}

// postpone keeps an item until it is due, or gives it back to the Queue.
func (st *site) postpone(it *item, due, now time.Time) {
	if it.kept(due, now) {
		it.due = due.UnixNano()
		st.s.clerk.later(it, st.name, due, now)
		return
	}
	st.backlog.postpone(it, due)
}

// shelve gives what waits back to the Queue if nothing will go for long.
func (st *site) shelve(now time.Time) {
	until := st.shut(now)
	if st.s.taker == nil || until.IsZero() {
		return
	}
	st.s.taker.hold(st.name, until)
	st.backlog.filterReady(func(it *item) bool {
		if it.run.queue {
			st.postpone(it, until, now)
		}
		return !it.run.queue
	})
}

// watch makes sure that the end of a ready item's lifetime is noticed.
func (st *site) watch(it *item) {
	if e := st.s.expiry(it); st.scanAt.IsZero() || e.Before(st.scanAt) {
		st.scanAt = e
	}
}

// giveBack ends the items of stopped runs and canceled campaigns.
func (st *site) giveBack(now time.Time) {
	st.backlog.filter(func(it *item) bool { return !st.s.stopped(it, st.name, now) })
}

// interruptGrace is how long the reply to the end of a message is waited for
// when its Send has ended: without it the fate stays unknown.
const interruptGrace = 5 * time.Second

// interrupt ends the transactions of a stopped run.
func (st *site) interrupt(r *run) {
	for _, d := range st.dests {
		for _, c := range d.sessions {
			// Behind another's message it goes on to that one's end, see settle.
			if len(c.jobs) > 0 && c.jobs[0].run == r {
				c.cut()
			}
		}
	}
}

// shed gives a connection back to the budget: an idle one, else the next that
// has had its turn or nothing to do.
func (st *site) shed() {
	for _, d := range st.dests {
		if len(d.asking) > 0 && d.open(time.Now()) == 0 {
			d.answer(d.asking[0], nil)
			return
		}
	}
	st.owed++
}

// shedTurn is how many messages a connection carries before it is given back
// to sites that have none: opening one costs several round trips.
const shedTurn = 20

// pump does what the clock and the queue allow now, and returns when to look
// again, the zero time for not before news.
func (st *site) pump(now time.Time) (wake time.Time) {
	st.heed(now)
	st.backlog.promote(now, func(it *item) (source string, ok bool) {
		if !st.inTime(it, now) {
			return "", false
		}
		st.watch(it)
		return st.sticky(it), true
	})
	st.expire(now)
	slices.SortStableFunc(st.dests, func(a, b *dest) int { return cmp.Compare(a.vtime, b.vtime) })
	for _, d := range st.dests {
		d.serve(now)
	}
	wake = sooner(st.backlog.nextDue(), st.backlog.release(now))
	for _, d := range st.dests {
		wake = sooner(wake, d.grow(now))
		wake = sooner(wake, d.rest(now))
	}
	if st.backlog.ready() > 0 {
		wake = sooner(wake, st.scanAt)
	}
	return wake
}

// sticky names the source that a greylisted item should come from again: the
// receiver knows the address that it was first sent from (RFC 6647 §2.2).
func (st *site) sticky(it *item) string {
	if it.last == nil || it.last.class.Category != bounce.Greylisted || len(st.dests) == 1 {
		return ""
	}
	for _, d := range st.dests {
		if d.source.Name == it.last.source && !d.held(time.Now()) {
			return it.last.source
		}
	}
	return ""
}

// expire ends the ready items whose lifetime is over.
func (st *site) expire(now time.Time) {
	if st.scanAt.IsZero() || now.Before(st.scanAt) {
		return
	}
	st.scanAt = time.Time{}
	st.backlog.filterReady(func(it *item) bool {
		if now.Before(st.s.expiry(it)) {
			st.watch(it)
			return true
		}
		if it.last == nil {
			it.last = st.reason()
		}
		st.s.giveUp(it, st.name, ErrExpired, now, now)
		return false
	})
}

// reason is why nothing goes to a site that is held, for an item that was never
// tried itself; nil if there is none.
func (st *site) reason() *failure {
	for _, d := range st.dests {
		if d.holds+d.failures > 0 { // nothing was delivered since
			return &failure{reply: d.heldBy, class: st.s.cfg.Classify(d.heldBy), source: d.source.Name}
		}
	}
	return nil
}

// sooner returns the earlier of two times, of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// fill takes the next items that the session may send in one transaction; false
// means that there are none. Items that ended meanwhile are passed over.
func (st *site) fill(j *job, c *session, now time.Time) bool {
	for {
		j.items = st.backlog.take(j.items[:0], c.dest.source.Name, c.set, c.maxRcpts(), now)
		if len(j.items) == 0 {
			return false
		}
		first := j.items[0]
		switch {
		case first.run.cause() != nil || st.s.canceled(first):
			for _, it := range j.items {
				st.s.stopped(it, st.name, now)
			}
		case st.s.start(first, now).After(now): // the hours of its stream are over
			st.backlog.putBack(j.items)
			st.backlog.filterReady(func(it *item) bool { return st.inTime(it, now) })
		default:
			j.run = first.run
			return true
		}
	}
}

// blocked reports whether every destination of the site is held.
func (st *site) blocked(now time.Time) bool {
	for _, d := range st.dests {
		if !d.held(now) {
			return false
		}
	}
	return true
}

// fail counts a failed attempt for all that waits.
func (st *site) fail(f *failure, due, now time.Time) {
	limit := st.s.cfg.Retry.MaxAttempts > 0
	mark := func(it *item) bool {
		it.last = f
		it.tries++
		return !limit || !st.s.over(it, st.name, due, now)
	}
	st.backlog.filterReady(mark)
}

// resume lets go on what was held: see Sender.Resume.
func (st *site) resume(sel *Selection) {
	if len(sel.Campaigns) > 0 {
		return
	}
	st.backlog.resume(sel.Streams)
	if len(sel.Streams) == 0 {
		clear(st.dead)
		for _, d := range st.dests {
			d.heldUntil = time.Time{}
		}
	}
}

// reject ends all that waits for a set of servers: they say that they take no
// mail at all.
func (st *site) reject(f *failure, set string, now time.Time) {
	st.backlog.filter(func(it *item) bool {
		if it.set() != set {
			return true
		}
		it.tries++
		st.s.finish(it, outcome{Outcome: Rejected, failure: f, site: st.name, source: f.source}, now)
		return false
	})
}

// forgettable reports whether a parked site without items remembers nothing
// that a new one would not know. The scheduler asks while it is parked.
func (st *site) forgettable(now time.Time) bool {
	if st.shared != nil && !settled(st.shared, now) {
		return false
	}
	for _, f := range st.backlog.flows {
		if !f.forgettable(now, st.s.cfg.Breaker.Period) {
			return false
		}
	}
	for _, d := range st.dests {
		if !d.forgettable(now) {
			return false
		}
	}
	return true
}

// localFailure is one that no server told of.
func localFailure(stage bounce.Stage, status bounce.Status, err error) *failure {
	reply := bounce.Reply{Stage: stage, Status: status, Text: err.Error()}
	return &failure{reply: reply, class: bounce.Classify(reply), err: err}
}
