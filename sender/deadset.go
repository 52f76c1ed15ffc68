package sender

import (
	"math/rand/v2"
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
