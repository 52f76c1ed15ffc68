package throttletest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/throttle"
)

// good is the plainest Controller: 10 messages a second, evenly.
type good struct{ next time.Time }

func (g *good) Next(time.Time) time.Time             { return g.next }
func (g *good) Take(now time.Time)                   { g.next = now.Add(100 * time.Millisecond) }
func (g *good) Conns(time.Time) throttle.Conns       { return throttle.Conns{Max: 1} }
func (g *good) Observe(time.Time, throttle.Feedback) {}

var tenASecond = throttle.Rate{N: 10, Per: time.Second}

func TestGoodController(t *testing.T) {
	Run(t, func() throttle.Controller { return new(good) }, tenASecond)
}

// The bad Controllers are good but for one mistake each.

type counting struct{ good }

func (c *counting) Next(time.Time) time.Time {
	c.next = c.next.Add(1)
	return c.next
}

type countingConns struct {
	good
	asked int
}

func (c *countingConns) Conns(time.Time) throttle.Conns {
	c.asked++
	return throttle.Conns{Max: c.asked}
}

type watching struct{ good }

func (w *watching) Take(time.Time) { w.next = time.Now().Add(time.Second) }

type moving struct{ good }

func (m *moving) Next(now time.Time) time.Time {
	if m.next.After(now) {
		return m.next
	}
	if m.next.IsZero() || now.Sub(m.next) > 0 {
		return now
	}
	return now.Add(1) // at the very time it gave
}

type creeping struct{ good }

func (c *creeping) Next(now time.Time) time.Time {
	if taken := c.next.Add(-100 * time.Millisecond); now.Before(c.next) {
		return c.next.Add(now.Sub(taken)) // the longer one waits, the longer one waits
	}
	return now
}

type endless struct{ good }

func (endless) Conns(time.Time) throttle.Conns { return throttle.Conns{} }

type negative struct{ good }

func (negative) Conns(time.Time) throttle.Conns { return throttle.Conns{Max: 1, Messages: -1} }

type spinning struct{ good }

func (spinning) Conns(now time.Time) throttle.Conns { return throttle.Conns{Next: now} }

type postponing struct{ good }

func (postponing) Conns(now time.Time) throttle.Conns {
	return throttle.Conns{Max: 1, Next: now.Add(time.Second)}
}

type hasty struct{ good }

func (h *hasty) Take(now time.Time) { h.next = now.Add(100*time.Millisecond - 1) }

type fullWindow struct {
	good
	window time.Time
	left   int
}

func (f *fullWindow) Next(now time.Time) time.Time {
	if f.left > 0 || !now.Truncate(time.Second).Equal(f.window) {
		return now
	}
	return f.window.Add(time.Second)
}

func (f *fullWindow) Take(now time.Time) {
	if w := now.Truncate(time.Second); !w.Equal(f.window) {
		f.window, f.left = w, 10
	}
	f.left--
}

func TestBadControllers(t *testing.T) {
	tests := map[string]struct {
		fresh  func() throttle.Controller
		broken string // the check that must see it
	}{
		"Next counts":                 {func() throttle.Controller { return new(counting) }, "looking changes nothing"},
		"Conns counts":                {func() throttle.Controller { return new(countingConns) }, "looking changes nothing"},
		"reads the clock":             {func() throttle.Controller { return new(watching) }, "no other clock"},
		"not enough when reached":     {func() throttle.Controller { return new(moving) }, "next is enough"},
		"later by waiting":            {func() throttle.Controller { return new(creeping) }, "next is enough"},
		"suspended without end":       {func() throttle.Controller { return new(endless) }, "connections make sense"},
		"negative":                    {func() throttle.Controller { return new(negative) }, "connections make sense"},
		"suspended until now":         {func() throttle.Controller { return new(spinning) }, "connections make sense"},
		"next connection never comes": {func() throttle.Controller { return new(postponing) }, "connections make sense"},
		"a nanosecond too fast":       {func() throttle.Controller { return new(hasty) }, "rates hold"},
		"fixed windows":               {func() throttle.Controller { return new(fullWindow) }, "rates hold"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, c := range checks {
				if c.name != test.broken {
					continue
				}
				var err error
				for seed := uint64(0); seed < rounds && err == nil; seed++ {
					err = c.check(newOwner(seed, []throttle.Rate{tenASecond}), test.fresh)
				}
				require.Error(t, err)
				return
			}
			t.Fatalf("no check %q", test.broken)
		})
	}
}
