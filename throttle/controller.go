package throttle

import (
	"fmt"
	"time"
)

// New returns a Controller that keeps l. It is an [Explainer] and a [Settler],
// starts rested, and counts Opening against ConnRate; plain limits ignore other
// feedback. The error is that of Limits.Validate.
func New(l Limits) (Controller, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return newLimiter(l), nil
}

// newLimiter is New for limits that have been validated.
func newLimiter(l Limits) *limiter {
	allowed := l.conns()
	return &limiter{
		messages: newSchedule(l.Rates, max(l.Burst, 1)),
		openings: newSchedule([]Rate{l.ConnRate}, allowed.Max),
		allowed:  allowed,
	}
}

// MustNew is New for limits known to be right. It panics on an error.
func MustNew(l Limits) Controller {
	c, err := New(l)
	if err != nil {
		panic(fmt.Sprintf("throttle.MustNew: %v", err))
	}
	return c
}

// limiter is the Controller of plain Limits.
type limiter struct {
	messages schedule
	openings schedule
	allowed  Conns     // Next is not used
	origin   time.Time // the first start or opening: the schedules count from it
}

func (l *limiter) Next(now time.Time) time.Time {
	return later(now, l.time(l.messages.next()))
}

func (l *limiter) Take(now time.Time) {
	l.messages.take(l.begin(now))
}

func (l *limiter) Conns(now time.Time) Conns {
	c := l.allowed
	if next := l.time(l.openings.next()); next.After(now) {
		c.Next = next
	}
	return c
}

func (l *limiter) Observe(now time.Time, f Feedback) {
	if f.Event == Opening {
		l.openings.take(l.begin(now))
	}
}

func (l *limiter) Binding(now time.Time) string {
	return l.messages.binding(now.Sub(l.origin)) // before the first start Sub saturates
}

func (l *limiter) Settled(now time.Time) time.Time {
	return later(now, l.time(max(l.messages.settled(), l.openings.settled())))
}

// begin returns the time since the first start or opening, which now may be.
func (l *limiter) begin(now time.Time) time.Duration {
	if l.origin.IsZero() {
		l.origin = now
	}
	return now.Sub(l.origin)
}

// time turns a time of the schedules into one of the owner's. Until the first
// start it is the zero time, which is long past.
func (l *limiter) time(at time.Duration) time.Time { return l.origin.Add(at) }
