package sender

import (
	"cmp"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/throttle"
)

// Snapshot is the state of a Sender at a moment.
type Snapshot struct {
	Time         time.Time
	Destinations []Destination // those with mail or connections, by Site and Source
}

// Destination is the state of one destination: a site as one source reaches it.
type Destination struct {
	Site   string
	Source string

	Queued   int // recipients that wait at the site, for whichever source
	Deferred int // of these, those that wait for their next try
	InFlight int // messages under way
	Conns    int // connections open or opening
	Idle     int // of these, those without work

	// Binding says what holds mail back now: a limit such as "20/s", "held",
	// "connections", or "" if nothing does.
	Binding string
	Until   time.Time    // when that ends, zero if it is not known
	Reply   bounce.Reply // what holds it
}

// What can bind besides the limits of the Policy.
const (
	BindingHeld  = "held"        // held after Reply
	BindingConns = "connections" // as many connections are open as are allowed
)

// Snapshot returns the state of every destination that has something to do.
// The destinations are asked one after the other: the whole is not of one moment.
func (s *Sender) Snapshot() Snapshot {
	out := Snapshot{Time: time.Now()}
	asked := make(chan (<-chan []Destination), 1)
	s.sched.box.put(schedMsg{kind: schedSnapshot, snap: asked})
	select {
	case answers := <-asked:
		for range cap(answers) {
			out.Destinations = append(out.Destinations, <-answers...)
		}
	case <-s.finished:
	}
	slices.SortFunc(out.Destinations, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// snapshot asks each site that has something to do. The answers' channel has
// room for one of each.
func (q *scheduler) snapshot(to chan<- (<-chan []Destination)) {
	var busy []*site
	for _, st := range q.sites {
		if st.awake || !st.wakeAt.IsZero() {
			busy = append(busy, st)
		}
	}
	answers := make(chan []Destination, len(busy))
	for _, st := range busy {
		q.tell(st, siteMsg{kind: siteSnapshot, snap: answers})
	}
	to <- answers
}

// snapshot describes the site's destinations.
func (st *site) snapshot(now time.Time) []Destination {
	var out []Destination
	for _, d := range st.dests {
		in := 0
		for _, c := range d.sessions {
			in += len(c.jobs)
		}
		if st.queue.len() == 0 && len(d.sessions) == 0 {
			continue
		}
		o := Destination{Site: st.name, Source: d.source.Name, Queued: st.queue.len(), Deferred: len(st.queue.later), InFlight: in,
			Conns: len(d.sessions), Idle: len(d.asking)}
		d.explain(&o, now)
		out = append(out, o)
	}
	return out
}

// explain says what holds mail back.
func (d *dest) explain(o *Destination, now time.Time) {
	next := d.next(now)
	switch {
	case d.open(now) == 0:
	case d.held(now):
		o.Binding, o.Until, o.Reply = BindingHeld, d.heldUntil, d.heldBy
	case next.After(now):
		o.Binding, o.Until = "rate", next
		if e, ok := d.ctl.(throttle.Explainer); ok {
			o.Binding = e.Binding(now)
		}
	case len(d.sessions) >= d.conns(now).Max:
		o.Binding = BindingConns
	}
}
