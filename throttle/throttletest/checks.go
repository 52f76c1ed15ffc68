package throttletest

import (
	"fmt"
	"time"

	"github.com/volleymail/volley/throttle"
)

const visits = 300

func lookingChangesNothing(o *owner, fresh func() throttle.Controller) error {
	return replay(o, fresh, look)
}

func noOtherClock(o *owner, fresh func() throttle.Controller) error {
	return replay(o, fresh, func(throttle.Controller, time.Time) {})
}

// replay visits one Controller and then makes the same calls to another, which
// must answer alike whatever between does.
func replay(o *owner, fresh func() throttle.Controller, between func(throttle.Controller, time.Time)) error {
	c := fresh()
	steps := make([]step, visits)
	for i := range steps {
		steps[i] = o.visit(c)
	}
	c = fresh()
	for _, s := range steps {
		o.now = s.now
		between(c, s.now)
		if next := c.Next(s.now); !next.Equal(s.next) {
			return fmt.Errorf("got Next = %v, and in a second run with the same times %v", s.next, next)
		}
		if conns := c.Conns(s.now); !equal(conns, s.conns) {
			return fmt.Errorf("got Conns = %+v, and in a second run with the same times %+v", s.conns, conns)
		}
		s.tell(c)
		between(c, s.now)
	}
	return nil
}

func look(c throttle.Controller, now time.Time) {
	c.Next(now)
	c.Conns(now)
	if e, ok := c.(throttle.Explainer); ok {
		e.Binding(now)
	}
	if s, ok := c.(throttle.Settler); ok {
		s.Settled(now)
	}
}

func equal(a, b throttle.Conns) bool {
	same := a.Next.Equal(b.Next)
	a.Next, b.Next = time.Time{}, time.Time{}
	return same && a == b
}

// nextIsEnough waits as Next says, sometimes woken before, and must be let go.
func nextIsEnough(o *owner, fresh func() throttle.Controller) error {
	c := fresh()
	for range visits {
		o.visit(c)
		next := c.Next(o.now)
		if !next.After(o.now) {
			continue
		}
		early := o.now.Add(o.upTo(next.Sub(o.now)))
		if again := c.Next(early); again.After(next) {
			return fmt.Errorf("at first Next was %v, and by %v it is %v", next, early, again)
		}
		o.now = next
		if again := c.Next(o.now); again.After(o.now) {
			return fmt.Errorf("at first Next was %v, and when reached it is %v", next, again)
		}
	}
	return nil
}

func connectionsMakeSense(o *owner, fresh func() throttle.Controller) error {
	c := fresh()
	if conns := c.Conns(o.now); conns.Max == 0 && conns.Next.IsZero() {
		return fmt.Errorf("suspended from the start and without end: %+v", conns)
	}
	for range visits {
		o.visit(c)
		conns := c.Conns(o.now)
		switch {
		case conns.Max < 0 || conns.Messages < 0 || conns.Idle < 0:
			return fmt.Errorf("negative: %+v", conns)
		case conns.Max == 0 && !conns.Next.IsZero() && !conns.Next.After(o.now):
			return fmt.Errorf("suspended until %v, which is past", conns.Next)
		case conns.Next.After(o.now):
			if later := c.Conns(conns.Next); later.Next.After(conns.Next) && later.Max > 0 && conns.Max > 0 {
				return fmt.Errorf("the next connection was allowed at %v, and then at %v", conns.Next, later.Next)
			}
		}
	}
	return nil
}

// ratesHold starts whatever Next allows, in runs without pause, with late
// awakenings, and after rests of about a period.
func ratesHold(o *owner, fresh func() throttle.Controller) error {
	c := fresh()
	var starts []time.Time
	for enough := startsFor(o.rates); len(starts) < enough; {
		late := o.upTo(50 * time.Millisecond)
		if o.dice.IntN(2) == 0 {
			late = 0
		}
		for range 1 + o.dice.IntN(enough/4) {
			o.until(c.Next(o.now))
			o.now = o.now.Add(o.upTo(late))
			if c.Next(o.now).After(o.now) {
				return fmt.Errorf("at a time after the one it gave, Next says no")
			}
			c.Take(o.now)
			starts = append(starts, o.now)
			c.Observe(o.now, throttle.Feedback{Event: throttle.Delivered, Conns: 1})
		}
		o.rest()
	}
	for _, r := range o.rates {
		if err := overshoot(starts, r); err != nil {
			return err
		}
	}
	return nil
}

// startsFor returns how many starts show that rates hold: some windows full.
func startsFor(rates []throttle.Rate) int {
	most := 1000
	for _, r := range rates {
		most = max(most, 3*min(r.N, 5000))
	}
	return most
}

func overshoot(starts []time.Time, r throttle.Rate) error {
	for i := r.N; i < len(starts); i++ {
		first := starts[i-r.N]
		if span := starts[i].Sub(first); span < r.Per {
			return fmt.Errorf("%d starts within %v from %v: more than %v", r.N+1, span, first, r)
		}
	}
	return nil
}
