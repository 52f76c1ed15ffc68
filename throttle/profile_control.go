package throttle

import (
	"reflect"
	"time"
)

// profiled is the Controller of a destination under a ProfilePolicy. Whenever it
// is called it looks whether the policy's layers have been replaced.
type profiled struct {
	policy *ProfilePolicy
	key    Key
	shared bool   // it keeps what all sources share
	split  string // settings.split when it was made

	view     *view // of the policy, when it was last looked at
	settings *settings
	limits   recorder
	react    *reactor // around limits
}

func newProfiled(p *ProfilePolicy, k Key, shared bool) *profiled {
	c := &profiled{policy: p, key: k, shared: shared, view: p.view.Load()}
	s := c.view.settings(k)
	c.split = s.split
	c.settings = s
	c.limits.limiter = *newLimiter(s.of(shared))
	c.react = &reactor{inner: &c.limits}
	if !shared {
		c.react.inner = Adaptive(&c.limits, AdaptOptions{})
	}
	c.react.adopt(s.triggersOf(shared))
	return c
}

// For returns a Controller that keeps the limits of a source, acts on the
// triggers, and within the limits finds out itself how fast mail is taken, see
// [Adaptive].
func (p *ProfilePolicy) For(k Key) Controller { return newProfiled(p, k, false) }

// Shared returns a Controller that keeps the limits of all sources together. It
// is never nil: limits may come with a later pack.
func (p *ProfilePolicy) Shared(k Key) Controller { return newProfiled(p, k, true) }

// of returns the limits of each source, or of all together.
func (s *settings) of(shared bool) Limits {
	if shared {
		return s.shared
	}
	return s.limits
}

// noTriggers is what all sources share of them.
var noTriggers = &Triggers{}

func (s *settings) triggersOf(shared bool) *Triggers {
	if shared {
		return noTriggers
	}
	return s.set
}

// follow adopts what has been replaced, and returns the Controller to ask.
func (c *profiled) follow() *reactor {
	if v := c.policy.view.Load(); v != c.view {
		c.view = v
		c.adopt()
	}
	return c.react
}

func (c *profiled) adopt() {
	s := c.view.settings(c.key)
	if c.split == "" && s.split != "" {
		// The domain has a profile of its own now, and with it another site; this
		// one goes on for the domains that are left.
		s = c.view.resolve("", c.key.Site, c.key.hosts())
	}
	if s == c.settings {
		return
	}
	if limits := s.of(c.shared); !limits.equal(c.settings.of(c.shared)) {
		c.limits.adopt(limits)
	}
	if !reflect.DeepEqual(s.triggers, c.settings.triggers) { // else they go on counting
		c.react.adopt(s.triggersOf(c.shared))
	}
	c.settings = s
}

func (c *profiled) Next(now time.Time) time.Time      { return c.follow().Next(now) }
func (c *profiled) Take(now time.Time)                { c.follow().Take(now) }
func (c *profiled) Conns(now time.Time) Conns         { return c.follow().Conns(now) }
func (c *profiled) Observe(now time.Time, f Feedback) { c.follow().Observe(now, f) }
func (c *profiled) Binding(now time.Time) string      { return c.follow().Binding(now) }
func (c *profiled) Advice(now time.Time) []Advice     { return c.follow().Advice(now) }
func (c *profiled) Adapts() bool                      { return c.follow().Adapts() }
func (c *profiled) Settled(now time.Time) time.Time   { return c.follow().Settled(now) }

// Detail names the profile where no trigger is behind the limit, and tells of the
// rate of new connections where nothing holds messages back.
func (c *profiled) Detail(now time.Time) Detail {
	d := c.follow().Detail(now)
	conns := c.react.Conns(now)
	switch {
	case d.Rule != "":
	case d.Limit != "":
		d.Rule = c.settings.profileOf("rates", c.shared)
	case conns.Max > 0 && conns.Next.After(now):
		d = Detail{Limit: c.settings.of(c.shared).ConnRate.String() + " connections", Rule: c.settings.profileOf("conn_rate", c.shared), Until: conns.Next}
	}
	return d
}

// profileOf returns the profile that a value is from.
func (s *settings) profileOf(field string, shared bool) string {
	if shared {
		field = "shared." + field
	}
	for _, r := range s.reasons {
		if r.Field == field {
			return r.Profile
		}
	}
	return ""
}

// recorder is a limiter whose limits can be replaced: it remembers what it let
// through.
type recorder struct {
	limiter
	starts, opened history
}

// adopt replaces the limits. The new ones know of the starts before them, so
// that no window of theirs sees too many either.
func (r *recorder) adopt(l Limits) {
	fresh := newLimiter(l)
	fresh.origin = r.origin
	fresh.messages.recall(l.Rates, &r.starts)
	fresh.openings.recall([]Rate{l.ConnRate}, &r.opened)
	r.limiter = *fresh
}

func (r *recorder) Take(now time.Time) {
	r.limiter.Take(now)
	r.starts.add(now.Sub(r.origin))
}

func (r *recorder) Observe(now time.Time, f Feedback) {
	r.limiter.Observe(now, f)
	if f.Event == Opening {
		r.opened.add(now.Sub(r.origin))
	}
}
