package sender

import (
	"cmp"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/throttle"
)

// Snapshot is the state of a Sender at a moment. Of submitted mail it counts what
// is in memory, Config.QueueWindow at most for each stream: what Config.Queue has
// beside, such as the mail of a destination that is down, is for Sender.Queued.
type Snapshot struct {
	Time         time.Time
	Destinations []Destination // those with mail or connections, by Site and Source
	Looking      int           // recipients whose destination is being looked up
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

	// Binding says what holds mail back now: a limit such as "20/s", "rate" where
	// the Controller does not name it, "held", "connections", or "" if nothing
	// does. Streams that are held or suspended are in Streams.
	Binding string
	Rule    string       // what set that limit: id of a trigger or profile, "" = plain limits
	Until   time.Time    // when that ends, zero if it is not known
	Reply   bounce.Reply // the reply behind it

	Rate float64   // recipients delivered in a second, over the last minute or two
	Ends time.Time // when what is queued will be done at that rate, zero if nothing moves

	Streams []StreamState // those with mail here, or held here
}

// StreamState is a stream's part of a site.
type StreamState struct {
	Stream    string
	Queued    int       // of those that can go, but for holds and suspensions
	Suspended int       // of these, those of a suspended site, stream or campaign
	Held      time.Time // the whole stream is held until then, zero = it is not
	Why       string    // why it is held, or which of its campaigns are suspended
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
	asked := make(chan overview, 1)
	s.sched.box.put(schedMsg{kind: schedSnapshot, snap: asked})
	select {
	case o := <-asked:
		out.Looking = o.looking
		for range cap(o.answers) {
			out.Destinations = append(out.Destinations, <-o.answers...)
		}
	case <-s.finished:
	}
	slices.SortFunc(out.Destinations, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// overview is the scheduler's part of a Snapshot: the rest comes on answers, as
// many as it has room for.
type overview struct {
	looking int
	answers <-chan []Destination
}

// snapshot asks each site that has something to do.
func (q *scheduler) snapshot(to chan<- overview) {
	looking := 0
	for _, d := range q.domains {
		looking += d.waiting.n
	}
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
	to <- overview{looking, answers}
}

// snapshot describes the site's destinations.
func (st *site) snapshot(now time.Time) []Destination {
	var out []Destination
	for _, d := range st.dests {
		in := 0
		for _, c := range d.sessions {
			in += len(c.jobs)
		}
		if st.backlog.len() == 0 && len(d.sessions) == 0 {
			continue
		}
		o := Destination{Site: st.name, Source: d.source.Name, Queued: st.backlog.len(), Deferred: len(st.backlog.later), InFlight: in,
			Conns: len(d.sessions), Idle: len(d.asking)}
		d.explain(&o, now)
		o.Rate = d.rate(now)
		if o.Rate > 0 && o.Queued > 0 {
			o.Ends = now.Add(time.Duration(float64(o.Queued) / o.Rate * float64(time.Second)))
		}
		o.Streams = st.backlog.streams(now)
		out = append(out, o)
	}
	return out
}

// streams describes each stream's part.
func (b *backlog) streams(now time.Time) []StreamState {
	suspended := map[*flow]int{}
	for it := b.suspended.head; it != nil; it = it.next {
		suspended[b.flow(it.msg.Stream)]++
	}
	var out []StreamState
	for _, f := range b.flows {
		s := StreamState{Stream: f.stream, Queued: suspended[f], Suspended: suspended[f]}
		for _, l := range b.lanes {
			if l.flow == f {
				s.Queued += l.len()
			}
		}
		b.explain(&s, f, now)
		if s.Queued > 0 || !s.Held.IsZero() {
			out = append(out, s)
		}
	}
	return out
}

// explain says what holds a stream back: the suspension or hold that lasts longest.
func (b *backlog) explain(s *StreamState, f *flow, now time.Time) {
	if now.Before(f.until) {
		s.Held, s.Why = f.until, f.why
	}
	for i := range b.suspends {
		p := &b.suspends[i]
		if !picks(p.Selection.Streams, f.stream) {
			continue
		}
		if len(p.Selection.Campaigns) > 0 {
			if s.Suspended > 0 && s.Held.IsZero() {
				s.Why = p.why()
			}
		} else if p.end().After(s.Held) {
			s.Held, s.Why = p.end(), p.why()
		}
	}
}

// rateOver is the time over which deliveries are counted for a rate.
const rateOver = 2 * time.Minute

// rate of deliveries in a second.
func (d *dest) rate(now time.Time) float64 {
	d.recent.at(now, rateOver)
	over := now.Sub(d.recent.since)
	if d.recent.before != (counts{}) {
		over += rateOver / 2
	}
	return float64(d.recent.sum().delivered) / max(over.Seconds(), 1)
}

// explain says what holds mail back.
func (d *dest) explain(o *Destination, now time.Time) {
	next := d.next(now)
	switch {
	case d.open(now) == 0:
		o.Until, o.Reply = d.site.firstDead(now)
		if !o.Until.IsZero() {
			o.Binding = BindingHeld
		}
		return
	case d.held(now):
		o.Binding, o.Until, o.Reply = BindingHeld, d.heldUntil, d.heldBy
		return
	case next.After(now):
		o.Binding, o.Until = "rate", next
	case len(d.sessions) >= d.conns(now).Max:
		o.Binding = BindingConns
	}
	for _, c := range []throttle.Controller{d.ctl, d.site.shared} {
		if detail := detailOf(c, now); detail.Limit != "" {
			o.Binding, o.Rule = detail.Limit, detail.Rule
			if !detail.Until.IsZero() {
				o.Until = detail.Until
			}
			if detail.Reply != "" {
				o.Reply = bounce.ParseReply(detail.Reply)
			}
			return
		}
	}
}

// detailOf asks a Controller, which may be nil, what limits it.
func detailOf(c throttle.Controller, now time.Time) throttle.Detail {
	switch c := c.(type) {
	case throttle.Detailer:
		return c.Detail(now)
	case throttle.Explainer:
		return throttle.Detail{Limit: c.Binding(now)}
	}
	return throttle.Detail{}
}
