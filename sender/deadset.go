package sender

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
)

// deadSet is a set of servers that cannot be reached, of a site that has others.
type deadSet struct {
	failures int
	until    time.Time
	why      bounce.Reply
}

// isDead reports whether the servers of the item cannot be reached.
func (st *site) isDead(it *item, now time.Time) bool {
	d := st.dead[it.set()]
	return d != nil && now.Before(d.until)
}

// bury postpones all mail to a set of servers that cannot be reached, and leaves
// the rest of the site alone.
func (st *site) bury(set string, f *failure, now time.Time) {
	d := st.dead[set]
	if d == nil {
		d = &deadSet{}
		st.dead[set] = d
	}
	d.failures++
	d.until, d.why = now.Add(st.s.cfg.Retry.wait(d.failures, f.class.RetryAfter, rand.Uint64())), f.reply
	st.tellHeld(f.source, d.why, d.until, now)
	st.backlog.filterReady(func(it *item) bool {
		if it.set() != set {
			return true
		}
		it.last = f
		it.tries++
		if it.kept(d.until, now) {
			st.s.taker.hold(it.domain.name, d.until) // what it has in the Queue stays there
		}
		if !st.s.over(it, st.name, d.until, now) {
			st.postpone(it, d.until, now)
		}
		return false
	})
}

// firstDead returns which of the sets that cannot be reached is tried first, zero
// if there is none.
func (st *site) firstDead(now time.Time) (until time.Time, why bounce.Reply) {
	for _, d := range st.dead {
		if now.Before(d.until) && (until.IsZero() || d.until.Before(until)) {
			until, why = d.until, d.why
		}
	}
	return until, why
}

// reaches reports whether a connection to a set of servers is open.
func (d *dest) reaches(set string) bool {
	return slices.ContainsFunc(d.sessions, func(c *session) bool {
		return c.open != nil && (c.set == set || d.site.dead == nil)
	})
}

// isTheOneToBlame reports whether it is rather this source than the servers that
// fails: it reaches none of them, and another source is there to take over.
func (d *dest) isTheOneToBlame(now time.Time) bool {
	return (!d.worked || d.failures >= lostLimit) &&
		slices.ContainsFunc(d.site.dests, func(o *dest) bool { return o.failures == 0 && !o.held(now) })
}

// recovered notes a delivery to a set of servers.
func (d *dest) recovered(set string) {
	d.holds, d.failures, d.worked = 0, 0, true
	delete(d.site.dead, set)
}
