package sender

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/throttle"
)

// scheduler finds the site of each recipient, starts and parks sites, and
// shares out the connection budget. One goroutine runs it, from New until the
// Sender is shut down and the last site is gone; it owns all fields that do
// not say otherwise, and nothing it does blocks.
type scheduler struct {
	s       *Sender
	submits chan submission // from the runs; unbuffered, so that nothing is in it when we end
	box     *inbox[schedMsg]

	domains  map[string]*domain
	sites    map[string]*site
	running  int // sites with a goroutine
	lookups  int // goroutines that look up a domain
	lookLine fifo[*domain]
	budget   budget
	alarms   alarms
	stopping bool
}

// submission is recipients of one message at one domain.
type submission struct {
	items  list
	domain string
}

type schedKind uint8

const (
	schedLooked    schedKind = iota // a lookup ended: domain, route, err
	schedParked                     // a site's goroutine ended: site, at
	schedWant                       // a destination wants a connection: dest
	schedRelease                    // a destination's connection is closed: dest
	schedStopRun                    // run
	schedShutdown                   //
	schedSnapshot                   // snap
	schedTell                       // the sites that tell.sel picks: tell
	schedOrders                     // there are others than before
	schedSendNow                    // sel, hasten
	schedComplaint                  // the site of the domain called name: tell
)

type schedMsg struct {
	kind   schedKind
	domain *domain
	route  *mx.Route
	err    error
	site   *site
	dest   *dest
	run    *run
	at     time.Time
	snap   chan<- overview
	name   string
	tell   siteMsg
	sel    *Selection
	hasten chan<- hastened
}

// domain is what stands after the @ of a recipient. Its name and route never
// change; the rest is owned by the scheduler, but for servers.
type domain struct {
	name    string
	route   *route
	servers atomic.Pointer[mx.Route] // the newest answer, nil for a relay; written by the scheduler
	site    *site                    // where its mail goes, nil until it is found
	expires time.Time                // when to look it up anew
	looking bool
	waiting list      // items, while site is nil
	fails   int       // temporary lookup failures in a row
	retryAt time.Time // no lookup before
}

const (
	maxLookups = 1000             // lookups at once: slow domains must not hold up the others
	lookupTime = 2 * time.Minute  // for one, over all servers and retries
	minRoute   = 30 * time.Second // a route is good for at least this
	sweepEvery = 10 * time.Minute // how often what is not used is dropped
)

func newScheduler(s *Sender) *scheduler {
	return &scheduler{s: s, submits: make(chan submission), box: newInbox[schedMsg](),
		domains: map[string]*domain{}, sites: map[string]*site{}, budget: budget{s: s, free: s.cfg.MaxConns, held: map[*site]int{}}}
}

// submit hands items over; false means that the Sender is shut down.
func (q *scheduler) submit(sub submission) bool {
	select {
	case q.submits <- sub:
		return true
	case <-q.s.finished:
		return false
	}
}

func (q *scheduler) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var msgs []schedMsg
	q.alarms.set(alarm{at: time.Now().Add(sweepEvery), sweep: true})
	for {
		select {
		case sub := <-q.submits:
			q.accept(sub, time.Now())
		case <-q.box.wake:
			msgs = q.box.take(msgs)
			now := time.Now()
			for i := range msgs {
				q.handle(&msgs[i], now)
			}
		case <-timer.C:
		}
		q.alarms.ring(time.Now(), q.wake)
		if q.stopping && q.running == 0 && q.lookups == 0 {
			break
		}
		timer.Reset(q.alarms.next(time.Now()))
	}
	close(q.s.finished)
}

func (q *scheduler) handle(m *schedMsg, now time.Time) {
	switch m.kind {
	case schedLooked:
		q.looked(m.domain, m.route, m.err, now)
	case schedParked:
		q.parked(m.site, m.at)
	case schedWant:
		q.budget.want(m.dest)
	case schedRelease:
		q.budget.release(m.dest)
	case schedStopRun:
		q.giveBack(now)
		q.tellAll(siteMsg{kind: siteStopRun, run: m.run})
	case schedShutdown:
		q.stopping = true
		q.giveBack(now)
		q.tellAll(siteMsg{kind: siteShutdown})
	case schedSnapshot:
		q.snapshot(m.snap)
	case schedTell:
		q.tellSelected(m.tell)
	case schedOrders:
		q.giveBack(now)
		q.tellAll(siteMsg{kind: siteWake})
	case schedSendNow:
		q.sendNow(m.sel, m.hasten, now)
	case schedComplaint:
		if d := q.domains[m.name]; d != nil && d.site != nil {
			q.tell(d.site, m.tell)
		}
	}
}

// accept takes new items.
func (q *scheduler) accept(sub submission, now time.Time) {
	d := q.domains[sub.domain]
	if d == nil {
		d = &domain{name: sub.domain, route: q.s.cfg.routeOf(sub.domain)}
		q.domains[sub.domain] = d
		if d.route.relay != "" {
			d.site = q.siteOf(d, nil)
			d.expires = now.AddDate(100, 0, 0) // a relay is not looked up
			q.locate(d)
		}
	}
	first := d.waiting.n == 0
	sub.items.filter(func(it *item) bool {
		it.domain = d
		if !it.run.queue { // that hands it out when it is time
			it.schedule(now)
		}
		return !q.s.stopped(it, "", now)
	})
	if d.site != nil {
		q.tell(d.site, siteMsg{kind: siteItems, items: sub.items})
	} else {
		d.waiting.append(sub.items)
	}
	switch {
	case d.looking || !now.After(d.expires):
	case !now.Before(d.retryAt):
		q.look(d)
	case first && d.waiting.n > 0: // wait for the next lookup
		q.alarms.set(alarm{at: d.retryAt, domain: d})
	}
}

// look starts a lookup of d, or puts it in line.
func (q *scheduler) look(d *domain) {
	d.looking = true
	if q.lookups >= maxLookups {
		q.lookLine.push(d)
		return
	}
	q.lookups++
	go func() {
		ctx, cancel := context.WithTimeout(q.s.seeking, lookupTime)
		defer cancel()
		rt, err := q.s.cfg.Resolver.Lookup(ctx, d.name)
		q.box.put(schedMsg{kind: schedLooked, domain: d, route: rt, err: err})
	}()
}

func (q *scheduler) looked(d *domain, rt *mx.Route, err error, now time.Time) {
	q.lookups--
	d.looking = false
	if next, ok := q.lookLine.pop(); ok {
		q.look(next)
	}
	switch f := lookupFailure(q.s.seeking, err); {
	case f == nil:
		q.found(d, rt, now)
	case f.class.Permanent:
		d.site = nil
		q.forget(d)
		d.waiting.filter(func(it *item) bool {
			it.tries++
			q.s.finish(it, outcome{Outcome: Rejected, failure: f}, now)
			return false
		})
	default:
		q.postpone(d, f, now)
	}
}

// found gives the waiting items to the domain's site.
func (q *scheduler) found(d *domain, rt *mx.Route, now time.Time) {
	d.fails = 0
	d.expires = rt.Expires
	if min := now.Add(minRoute); d.expires.Before(min) {
		d.expires = min
	}
	d.servers.Store(rt)
	before := d.site
	if d.site = q.siteOf(d, rt); d.site != before {
		q.locate(d)
	}
	q.tell(d.site, siteMsg{kind: siteItems, items: d.waiting})
	d.waiting = list{}
}

// locate tells the taker where the mail of a domain goes.
func (q *scheduler) locate(d *domain) {
	if t := q.s.taker; t != nil {
		t.box.put(takerMsg{kind: takerLocated, domain: d.name, place: d.site.name})
	}
}

// forget tells the taker that this is not known any more.
func (q *scheduler) forget(d *domain) {
	if t := q.s.taker; t != nil {
		t.box.put(takerMsg{kind: takerForget, domain: d.name})
	}
}

// postpone tries the lookup again later, for the domain as a whole. If its site
// is known, mail goes there meanwhile.
func (q *scheduler) postpone(d *domain, f *failure, now time.Time) {
	d.fails++
	d.retryAt = now.Add(q.s.cfg.Retry.wait(d.fails, 0, rand.Uint64()))
	kept := false // something went back to the Queue
	d.waiting.filter(func(it *item) bool {
		it.last = f
		it.tries++
		switch {
		case q.s.over(it, "", d.retryAt, now):
			return false
		case it.kept(d.retryAt, now):
			kept = true
			q.s.clerk.later(it, "", d.retryAt, now)
			return false
		}
		return true
	})
	if kept {
		q.s.taker.hold(d.name, d.retryAt)
	}
	if d.waiting.n > 0 {
		q.alarms.set(alarm{at: d.retryAt, domain: d})
	}
}

// lookupFailure puts a resolver's error in the words of package bounce.
func lookupFailure(ctx context.Context, err error) *failure {
	if err == nil {
		return nil
	}
	reply := bounce.Reply{Stage: bounce.StageDNS, Status: bounce.Status{4, 4, 3}, Text: err.Error()}
	if e, ok := errors.AsType[*mx.Error](err); ok && ctx.Err() == nil {
		switch e.Failure {
		case mx.NoDomain, mx.BadDomain, mx.NoHosts:
			reply.Status = bounce.Status{5, 1, 2} // RFC 3463 §3.2
		case mx.NullMX:
			reply.Status = bounce.Status{5, 1, 10} // RFC 7505 §4.2
		case mx.Loop:
			reply.Status = bounce.Status{5, 4, 6}
		}
	}
	f := &failure{reply: reply, class: bounce.Classify(reply), err: err}
	f.class.Permanent = reply.Status[0] == 5
	return f
}

// siteOf returns the site that serves d, made if it is new.
func (q *scheduler) siteOf(d *domain, rt *mx.Route) *site {
	name := d.route.site(q.siteName(d, rt))
	st := q.sites[name]
	if st == nil {
		st = newSite(q.s, name, d, rt)
		q.sites[name] = st
	}
	return st
}

// siteName names the site of d: its set of servers, or what the Policy makes of it.
func (q *scheduler) siteName(d *domain, rt *mx.Route) string {
	if rt == nil {
		return d.name
	}
	key := throttle.Key{Site: rt.Site, Domain: d.name, MX: hostNames(rt)}
	switch p := q.s.cfg.Policy.(type) {
	case throttle.Namer:
		if name := p.SiteOf(key); name != "" {
			return name
		}
	case throttle.Grouper:
		if p.PerDomain(key) {
			return d.name
		}
	}
	return rt.Site
}

// tell puts m into the site's inbox and starts its goroutine if it has none.
func (q *scheduler) tell(st *site, m siteMsg) {
	st.box.put(m)
	if !st.awake {
		st.awake = true
		q.running++
		go st.run()
	}
}

func (q *scheduler) tellAll(m siteMsg) {
	for _, st := range q.sites {
		if st.awake || !st.wakeAt.IsZero() { // a parked site without items need not know
			q.tell(st, m)
		}
	}
}

// tellSelected tells the sites that m.sel picks.
func (q *scheduler) tellSelected(m siteMsg) {
	for _, st := range q.sites {
		if picks(m.sel.Sites, st.name) {
			q.tell(st, m)
		}
	}
}

// parked notes that a site's goroutine has ended. The site may have got
// messages since; else it sleeps until at, if it has items, or until more come.
func (q *scheduler) parked(st *site, at time.Time) {
	st.awake = false
	q.running--
	st.wakeAt = at
	switch {
	case !st.box.empty():
		st.awake = true
		q.running++
		go st.run()
	case !at.IsZero() && (st.alarmAt.IsZero() || at.Before(st.alarmAt)):
		st.alarmAt = at
		q.alarms.set(alarm{at: at, site: st})
	}
}

// wake does what an alarm was set for.
func (q *scheduler) wake(a alarm, now time.Time) {
	switch {
	case a.sweep:
		q.sweep(now)
		q.alarms.set(alarm{at: now.Add(sweepEvery), sweep: true})
	case a.site != nil:
		st := a.site
		if a.at.Equal(st.alarmAt) {
			st.alarmAt = time.Time{}
		}
		switch {
		case st.awake || st.wakeAt.IsZero():
		case !st.wakeAt.After(now):
			q.tell(st, siteMsg{kind: siteWake})
		case st.alarmAt.IsZero(): // it was parked for longer since
			st.alarmAt = st.wakeAt
			q.alarms.set(alarm{at: st.wakeAt, site: st})
		}
	case a.domain.waiting.n > 0 && !a.domain.looking && !a.domain.retryAt.After(now):
		q.look(a.domain)
	}
}

// giveBack ends the items of stopped runs and canceled campaigns that wait for a lookup.
func (q *scheduler) giveBack(now time.Time) {
	for _, d := range q.domains {
		if d.waiting.n > 0 {
			d.waiting.filter(func(it *item) bool { return !q.s.stopped(it, "", now) })
		}
	}
}

// sweep forgets domains that are not used and sites whose limits have nothing
// to remember.
func (q *scheduler) sweep(now time.Time) {
	used := map[*site]bool{}
	for name, d := range q.domains {
		if d.waiting.n == 0 && !d.looking && (d.route.relay != "" || now.After(d.expires) && now.After(d.retryAt)) {
			delete(q.domains, name)
			q.forget(d)
		} else if d.site != nil {
			used[d.site] = true
		}
	}
	for name, st := range q.sites {
		if !used[st] && !st.awake && st.wakeAt.IsZero() && st.forgettable(now) {
			delete(q.sites, name)
		}
	}
}
