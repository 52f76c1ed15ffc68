package throttletest

import (
	"math/rand/v2"
	"time"

	"github.com/volleymail/volley/throttle"
)

// owner plays the owner of a Controller: it has the time and the dice.
type owner struct {
	rates []throttle.Rate
	dice  *rand.Rand
	now   time.Time
	next  time.Time // what Next said last
}

func newOwner(seed uint64, rates []throttle.Rate) *owner {
	return &owner{rates: rates, dice: rand.New(rand.NewPCG(seed, 0)), now: start, next: start}
}

// step is one visit to the Controller: what it was asked, said and told.
type step struct {
	now   time.Time
	next  time.Time
	conns throttle.Conns
	took  bool
	told  []throttle.Feedback
}

// visit lets some time pass, asks c and tells it something.
func (o *owner) visit(c throttle.Controller) step {
	o.pass()
	s := step{now: o.now, next: c.Next(o.now), conns: c.Conns(o.now)}
	o.next = s.next
	if !s.next.After(o.now) && o.dice.IntN(8) > 0 {
		s.took = true
	}
	if s.conns.Max > 0 && !s.conns.Next.After(o.now) && o.dice.IntN(4) == 0 {
		s.told = append(s.told, throttle.Feedback{Event: throttle.Opening, Conns: 1})
	}
	if o.dice.IntN(3) == 0 {
		s.told = append(s.told, o.feedback())
	}
	s.tell(c)
	return s
}

// tell does to c what the step did.
func (s step) tell(c throttle.Controller) {
	if s.took {
		c.Take(s.now)
	}
	for _, f := range s.told {
		c.Observe(s.now, f)
	}
}

func (o *owner) feedback() throttle.Feedback {
	events := []throttle.Event{
		throttle.ConnFailed, throttle.Delivered, throttle.Delivered, throttle.Delivered,
		throttle.SlowDown, throttle.Blocked, throttle.Refused,
	}
	f := throttle.Feedback{Event: events[o.dice.IntN(len(events))], Conns: 1 + o.dice.IntN(20)}
	if f.Event == throttle.SlowDown || f.Event == throttle.Blocked {
		f.Wait = o.upTo(time.Hour)
	}
	return f
}

// pass lets time pass, with a liking for the moments at which a Controller may
// be wrong.
func (o *owner) pass() {
	switch o.dice.IntN(9) {
	case 0:
	case 1:
		o.now = o.now.Add(time.Nanosecond)
	case 2, 3, 4:
		o.until(o.next)
	case 5:
		o.until(o.next.Add(-time.Nanosecond))
	case 6:
		o.until(o.next.Add(o.upTo(time.Second)))
	case 7:
		o.rest()
	case 8:
		o.now = o.now.Add(o.upTo(30 * time.Hour))
	}
}

// rest lets about the period of one of the rates pass.
func (o *owner) rest() {
	if len(o.rates) == 0 {
		o.now = o.now.Add(o.upTo(time.Minute))
		return
	}
	per := o.rates[o.dice.IntN(len(o.rates))].Per
	o.until(o.now.Add(per + time.Duration(o.dice.IntN(3)-1)))
}

func (o *owner) until(t time.Time) {
	if t.After(o.now) {
		o.now = t
	}
}

func (o *owner) upTo(d time.Duration) time.Duration {
	return time.Duration(o.dice.Int64N(int64(d) + 1))
}
