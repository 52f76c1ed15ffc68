package throttle

import (
	queue "container/heap"
	"math/rand/v2"
	"time"
)

// This file has a mailbox provider and a sender with an endless queue, both in
// virtual time. sim_table_test.go compares Controllers with them.

// hidden is what a simulated provider allows and does not tell.
type hidden struct {
	rate  func(at time.Duration) Rate // messages in a period; nil = no limit
	fixed bool                        // periods begin at whole multiples of Per; else no period sees more, wherever it begins
	depth int                         // >0: a token bucket of this size, in place of windows
	conns func(at time.Duration) int  // open connections; nil = no limit
	noise float64                     // share of messages slowed down for no reason
	sway  float64                     // the limit of each minute is off by up to this share
	code  int                         // of a reply that slows down; 421 closes the connection

	patience int // slow-downs in a minute, or in the period if that is longer, after which it blocks for an hour
}

// provider keeps count.
type provider struct {
	hidden
	dice    *rand.Rand
	taken   []time.Duration // of the current period
	tokens  float64
	at      time.Duration // of the tokens
	refused []time.Duration
	blocked time.Duration // until then
	swayed  float64
	minute  time.Duration
}

func (p *provider) limit(at time.Duration) (n float64, per time.Duration) {
	r := p.rate(at)
	if p.sway > 0 && (p.swayed == 0 || at.Truncate(time.Minute) != p.minute) {
		p.minute = at.Truncate(time.Minute)
		p.swayed = 1 + p.sway*(2*p.dice.Float64()-1)
	}
	return float64(r.N) * max(p.swayed, 1-p.sway), r.Per
}

// mail answers a message.
func (p *provider) mail(at time.Duration) Event {
	switch {
	case at < p.blocked:
		return Blocked
	case p.rate == nil || p.admits(at):
		if p.noise == 0 || p.dice.Float64() >= p.noise {
			return Delivered
		}
	}
	return p.refuse(at)
}

func (p *provider) admits(at time.Duration) bool {
	n, per := p.limit(at)
	if p.depth > 0 {
		p.tokens = min(float64(p.depth), p.tokens+n*(at-p.at).Seconds()/per.Seconds())
		p.at = at
		if p.tokens < 1 {
			return false
		}
		p.tokens--
		return true
	}
	begin := at - per + 1
	if p.fixed {
		begin = at.Truncate(per)
	}
	for len(p.taken) > 0 && p.taken[0] < begin {
		p.taken = p.taken[1:]
	}
	if float64(len(p.taken)) >= n {
		return false
	}
	p.taken = append(p.taken, at)
	return true
}

func (p *provider) refuse(at time.Duration) Event {
	within := time.Minute
	if p.rate != nil {
		within = max(within, p.rate(at).Per)
	}
	p.refused = append(p.refused, at)
	for p.refused[0] <= at-within {
		p.refused = p.refused[1:]
	}
	if p.patience > 0 && len(p.refused) > p.patience {
		p.blocked = at + time.Hour
	}
	return SlowDown
}

// simulation is a sender with messages without end and one Controller.
type simulation struct {
	ctl     Controller
	to      *provider
	latency time.Duration
	dice    *rand.Rand

	now     time.Duration
	events  simEvents
	open    int   // connections, those being opened included
	free    []int // those without a message: how many each has carried
	opening int
	minutes []simMinute
}

// simMinute is what came of the messages that ended in a minute.
type simMinute struct{ delivered, slowed, blocked int }

type simEvent struct {
	at      time.Duration
	connect bool
	event   Event
	carried int // by the connection
}

type simEvents []simEvent

func (h simEvents) Len() int           { return len(h) }
func (h simEvents) Less(i, j int) bool { return h[i].at < h[j].at }
func (h simEvents) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *simEvents) Push(x any)        { *h = append(*h, x.(simEvent)) }
func (h *simEvents) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newSimulation(ctl Controller, h hidden, latency time.Duration, seed uint64) *simulation {
	dice := rand.New(rand.NewPCG(seed, 3))
	p := &provider{hidden: h, dice: rand.New(rand.NewPCG(seed, 4)), tokens: float64(h.depth)}
	return &simulation{ctl: ctl, to: p, latency: latency, dice: dice}
}

func (s *simulation) run(until time.Duration) {
	s.minutes = make([]simMinute, until/time.Minute+1)
	for s.now < until {
		wake := s.work()
		if len(s.events) > 0 {
			wake = min(wake, s.events[0].at)
		}
		s.now = max(s.now, min(wake, until))
		for len(s.events) > 0 && s.events[0].at <= s.now && s.now < until {
			s.settle(queue.Pop(&s.events).(simEvent))
		}
	}
}

// work starts what may start now, and returns when to look again.
func (s *simulation) work() time.Duration {
	for {
		now := noon.Add(s.now)
		if next := s.ctl.Next(now); next.After(now) {
			return next.Sub(noon)
		}
		conns := s.ctl.Conns(now)
		for n := len(s.free); n > 0 && s.open > conns.Max; n-- {
			s.free = s.free[:n-1]
			s.open--
		}
		switch n := len(s.free); {
		case n > 0:
			s.ctl.Take(now)
			s.after(simEvent{event: s.to.mail(s.now), carried: s.free[n-1] + 1})
			s.free = s.free[:n-1]
		case s.opening > 0 && s.opening >= s.open-s.opening: // slow start, as the engine does
			return 1 << 62
		case s.open < conns.Max && !conns.Next.After(now):
			s.connect(now)
		case conns.Next.After(now):
			return conns.Next.Sub(noon)
		default:
			return 1 << 62
		}
	}
}

func (s *simulation) connect(now time.Time) {
	s.open++
	s.opening++
	s.ctl.Observe(now, Feedback{Event: Opening, Conns: s.open})
	event := Delivered
	if s.to.conns != nil && s.open > s.to.conns(s.now) {
		event = s.to.refuse(s.now)
	}
	s.after(simEvent{event: event, connect: true})
}

// after lets e happen after the latency, more or less.
func (s *simulation) after(e simEvent) {
	e.at = s.now + s.latency*time.Duration(80+s.dice.IntN(41))/100
	queue.Push(&s.events, e)
}

func (s *simulation) settle(e simEvent) {
	f := Feedback{Event: e.event, Conns: s.open}
	if e.connect {
		s.opening--
		if e.event == Delivered {
			s.free = append(s.free, 0)
			return
		}
		f.Stage = "greeting"
	} else {
		m := &s.minutes[s.now/time.Minute]
		switch e.event {
		case Delivered:
			m.delivered++
		case SlowDown:
			m.slowed++
		case Blocked:
			m.blocked++
		}
	}
	switch e.event {
	case SlowDown:
		f.Code, f.Text = s.to.code, "4xx slow down"
	case Blocked:
		f.Code, f.Text, f.Scope = 550, "550 5.7.1 blocked", "source"
	}
	s.ctl.Observe(noon.Add(s.now), f)
	if most := s.ctl.Conns(noon.Add(s.now)).Messages; e.connect || f.Code == 421 || most > 0 && e.carried >= most {
		s.open--
	} else {
		s.free = append(s.free, e.carried)
	}
}

// sum adds up the minutes from a to before b.
func (s *simulation) sum(a, b time.Duration) (sum simMinute) {
	for _, m := range s.minutes[a/time.Minute : b/time.Minute] {
		sum.delivered += m.delivered
		sum.slowed += m.slowed
		sum.blocked += m.blocked
	}
	return sum
}

// slowedShare is the share of messages that were slowed down or blocked.
func (m simMinute) slowedShare() float64 {
	return float64(m.slowed+m.blocked) / float64(max(1, m.delivered+m.slowed+m.blocked))
}
