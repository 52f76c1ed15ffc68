package throttle

import "time"

// All returns a Controller that allows what all of controllers allow: the
// latest Next, and of connections the smallest Max, Messages and Idle and the
// latest Next. Take and Observe go to each of them, so that a message is counted
// by all or by none. It is an [Explainer], and a [Settler] that is settled when
// all are; one that is no Settler never is. Without controllers it allows
// everything.
//
// A limit that several destinations share is a Controller given to the All of
// each; they must then have the same owner.
func All(controllers ...Controller) Controller {
	return all(append([]Controller(nil), controllers...))
}

type all []Controller

func (a all) Next(now time.Time) time.Time {
	latest := now
	for _, c := range a {
		latest = later(latest, c.Next(now))
	}
	return latest
}

func (a all) Take(now time.Time) {
	for _, c := range a {
		c.Take(now)
	}
}

func (a all) Conns(now time.Time) Conns {
	if len(a) == 0 {
		return Conns{Max: noLimit, Idle: defaultIdle}
	}
	least := a[0].Conns(now)
	for _, c := range a[1:] {
		least = least.and(c.Conns(now))
	}
	return least
}

// and returns what both c and d allow.
func (c Conns) and(d Conns) Conns {
	both := Conns{
		Max:      min(c.Max, d.Max),
		Messages: min(c.Messages, d.Messages),
		Idle:     min(c.Idle, d.Idle),
	}
	if both.Messages == 0 { // 0 = no limit
		both.Messages = max(c.Messages, d.Messages)
	}
	switch {
	case c.Max == 0 && d.Max == 0 && (c.Next.IsZero() || d.Next.IsZero()):
		// One of the suspensions has no end.
	case c.Max == 0 && d.Max > 0:
		both.Next = c.Next // of a suspension, its end
	case d.Max == 0 && c.Max > 0:
		both.Next = d.Next
	default:
		both.Next = later(c.Next, d.Next)
	}
	return both
}

func (a all) Observe(now time.Time, f Feedback) {
	for _, c := range a {
		c.Observe(now, f)
	}
}

// Binding asks the controller with the latest Next.
func (a all) Binding(now time.Time) string {
	var binding Controller
	latest := now
	for _, c := range a {
		if next := c.Next(now); next.After(latest) {
			latest, binding = next, c
		}
	}
	if e, ok := binding.(Explainer); ok {
		return e.Binding(now)
	}
	return ""
}

// never is when a Controller is settled that cannot say: further away than any
// period, near enough for arithmetic.
const never = 100 * maxPer

func (a all) Settled(now time.Time) time.Time {
	latest := now
	for _, c := range a {
		latest = later(latest, settledOf(c, now))
	}
	return latest
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
