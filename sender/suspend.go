package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Suspension keeps mail back.
type Suspension struct {
	Selection Selection `json:"selection"`
	Until     time.Time `json:"until,omitzero"` // zero = until Resume
	Since     time.Time `json:"since"`
}

// Suspend keeps mail back until then, or, with the zero time, until Resume: that
// of the sites (as Result.Site and Snapshot name them), streams and campaigns of
// sel, whether there is mail for them yet or not; the other fields of sel must be
// empty. The zero Selection suspends everything. No more of it is begun;
// transactions on the wire finish. What is suspended ends as Deferred when its
// lifetime is over; what waits in Config.Queue, when the suspension is over too.
// Each of several suspensions lasts for its own time.
//
// With a Config.Queue suspensions outlast the Sender. An error of the Queue says
// that this one does not; it is in force all the same.
func (s *Sender) Suspend(ctx context.Context, sel Selection, until time.Time) error {
	now := time.Now()
	if err := s.check("Suspend", sel); err != nil {
		return err
	}
	if !until.IsZero() && !until.After(now) {
		return fmt.Errorf("sender: Suspend: %w: until, %v, is over: give a later time, or the zero time for until Resume", ErrArgument, until)
	}
	p := Suspension{Selection: sel.clone(), Until: until, Since: now}
	return s.suspend(ctx, "Suspend", func(list []Suspension) []Suspension {
		for _, old := range list {
			if old.Selection.equal(p.Selection) && !p.end().After(old.end()) {
				return list
			}
		}
		return append(slices.DeleteFunc(list, func(old Suspension) bool { return old.Selection.equal(p.Selection) }), p)
	})
}

// Resume takes suspensions back for the sites, streams and campaigns of sel. One
// that holds more is reduced by these, if it names them: what was suspended as
// everything is not resumed for a stream alone.
//
// It also lets streams go on, all if sel names none, that a reply or the Breaker
// holds at these sites, all if sel names none; not if it names campaigns. If it
// names neither streams nor campaigns, destinations that are held after a reply or
// a failed connection are tried at once.
func (s *Sender) Resume(ctx context.Context, sel Selection) error {
	if err := s.check("Resume", sel); err != nil {
		return err
	}
	sel = sel.clone()
	err := s.suspend(ctx, "Resume", func(list []Suspension) []Suspension {
		var left []Suspension
		for _, p := range list {
			for _, part := range p.Selection.without(sel) {
				left = append(left, Suspension{Selection: part, Until: p.Until, Since: p.Since})
			}
		}
		return left
	})
	s.sched.box.put(schedMsg{kind: schedTell, tell: siteMsg{kind: siteResume, sel: &sel}})
	if len(sel.Streams)+len(sel.Campaigns) == 0 {
		err = errors.Join(err, s.freeQueued(ctx, sel.Sites))
	}
	return err
}

// suspend replaces the suspensions.
func (s *Sender) suspend(ctx context.Context, verb string, change func([]Suspension) []Suspension) error {
	s.admin.mu.Lock()
	defer s.admin.mu.Unlock()
	list := change(s.Suspensions())
	s.order(func(o *orders) { o.suspensions = list })
	return save(ctx, s, verb, savedSuspensions, list)
}

// Suspensions returns those in force, the oldest first.
func (s *Sender) Suspensions() []Suspension {
	now := time.Now()
	return slices.DeleteFunc(slices.Clone(s.admin.orders.Load().suspensions), func(p Suspension) bool { return p.over(now) })
}

// end is when it is over.
func (p *Suspension) end() time.Time {
	if p.Until.IsZero() {
		return forever
	}
	return p.Until
}

func (p *Suspension) over(now time.Time) bool { return !now.Before(p.end()) }

// why says what is suspended besides the site.
func (p *Suspension) why() string {
	if len(p.Selection.Campaigns) > 0 {
		return "suspended: campaign " + strings.Join(p.Selection.Campaigns, ", ")
	}
	return "suspended"
}

// returned gives a suspended item back to the Queue, if it comes from there: it
// would take the room of others.
func (b *backlog) returned(it *item) bool {
	if it.run.queue {
		now := time.Now()
		b.s.clerk.later(it, b.site, now, now)
	}
	return it.run.queue
}

// suspension returns one that holds the item, nil if there is none.
func (b *backlog) suspension(it *item) *Suspension {
	for i := range b.suspends {
		if p := &b.suspends[i]; picks(p.Selection.Streams, it.msg.Stream) && picks(p.Selection.Campaigns, it.msg.Campaign) {
			return p
		}
	}
	return nil
}

// lapse returns when the first suspension ends, zero for never.
func (s *Sender) lapse() (t time.Time) {
	for _, p := range s.Suspensions() {
		t = sooner(t, p.Until)
	}
	return t
}

// suspended reports whether mail of a line to a site is suspended.
func (s *Sender) suspended(l Line, site string, now time.Time) bool {
	list := s.admin.orders.Load().suspensions
	return slices.ContainsFunc(list, func(p Suspension) bool {
		return !p.over(now) && picks(p.Selection.Sites, site) && picks(p.Selection.Streams, l.Stream) && picks(p.Selection.Campaigns, l.Campaign)
	})
}

// sortSuspended drops suspensions that are over, sets aside the ready items that
// are suspended, and gives back to their lanes those that are no more, before the
// others.
func (b *backlog) sortSuspended(now time.Time) {
	b.suspends = slices.DeleteFunc(b.suspends, func(p Suspension) bool { return p.over(now) })
	b.lapse = time.Time{}
	for i := range b.suspends {
		b.lapse = sooner(b.lapse, b.suspends[i].end())
	}
	var free []*item
	b.suspended.filter(func(it *item) bool {
		keep := b.suspension(it) != nil
		if !keep {
			free = append(free, it)
		}
		return keep
	})
	if len(b.suspends) > 0 {
		var taken list
		b.filterLanes(func(it *item) bool {
			keep := b.suspension(it) == nil
			if !keep && !b.returned(it) {
				taken.pushBack(it)
			}
			return keep
		})
		b.suspended.append(taken)
	}
	b.putBack(free)
}
