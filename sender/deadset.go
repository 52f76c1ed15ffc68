package sender

import (
	"math/rand/v2"
	"time"
)

// deadSet is a set of servers that cannot be reached, of a site that has others.
type deadSet struct {
	failures int
	until    time.Time
}

// isDead reports whether the servers of the item cannot be reached. It notes
// when the site turns out to have several sets.
func (st *site) isDead(it *item, now time.Time) bool {
	set := it.set()
	switch {
	case st.set == "":
		st.set = set
	case st.dead == nil && set != st.set:
		st.dead = map[string]*deadSet{}
	}
	d := st.dead[set]
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
	d.until = now.Add(st.s.cfg.Retry.wait(d.failures, f.class.RetryAfter, rand.Uint64()))
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
