package throttle

import "time"

// PolicyFunc is the easy way to write a Policy: limits for each destination. It
// is a [Policy] and a [Grouper], may be called from several goroutines at once,
// and must give the same PerDomain for the same Key every time.
type PolicyFunc func(Key) Limits

// For returns a Controller that keeps f's limits for k. If Limits.Validate
// refuses them the Controller is suspended and its Binding is the error:
// nothing is sent under limits that nobody understands.
func (f PolicyFunc) For(k Key) Controller {
	c, err := New(f(k))
	if err != nil {
		return suspended{err}
	}
	return c
}

// PerDomain reports whether f sets PerDomain for k.
func (f PolicyFunc) PerDomain(k Key) bool { return f(k).PerDomain }

// Default returns the Policy for senders that know nothing of a destination:
// [DefaultLimits] for each.
func Default() Policy {
	return PolicyFunc(func(Key) Limits { return DefaultLimits() })
}

// Unlimited returns a Policy without limits, for benchmarks and for relays of
// one's own. Idle connections are kept for 30 s.
func Unlimited() Policy {
	return PolicyFunc(func(Key) Limits { return Limits{Conns: -1, Messages: -1} })
}

// suspended is the Controller of limits with mistakes.
type suspended struct{ err error }

func (s suspended) Next(now time.Time) time.Time { return now }
func (s suspended) Take(time.Time)               {}
func (s suspended) Conns(time.Time) Conns        { return Conns{} }
func (s suspended) Observe(time.Time, Feedback)  {}
func (s suspended) Binding(time.Time) string     { return s.err.Error() }
