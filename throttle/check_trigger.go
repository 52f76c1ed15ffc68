package throttle

import (
	"reflect"
	"slices"
	"strconv"
)

// triggers looks at the profile's triggers.
func (c *checker) triggers() {
	if len(c.profile.Triggers) == 0 {
		return
	}
	s := c.settings()
	for _, t := range c.profile.Triggers {
		c.triggerSamples(t)
		if t.Action == Limit && !t.binds(s) {
			c.report(Dead, t.ID, "its limits are no lower than those of the profile", "")
		}
		if slices.Contains(c.profile.Without, t.ID) {
			c.report(Contradictory, t.ID, "the profile does without it", "")
		}
		for _, other := range s.triggers {
			if other.ID != t.ID {
				c.compare(t, other)
			} else if !reflect.DeepEqual(t, other) {
				c.report(Shadowed, t.ID, "a more specific profile has a trigger of that id", "")
			}
		}
	}
}

// triggerSamples lets the trigger match its samples, with the first of each of
// its other conditions.
func (c *checker) triggerSamples(t Trigger) {
	compiled, err := t.compile()
	if err != nil {
		return // LoadProfiles has refused it
	}
	for _, name := range t.Categories {
		if !slices.Contains(categories, name) {
			c.report(Unmatchable, t.ID, "no category is called "+name, "")
		}
	}
	for _, name := range t.Scopes {
		if !slices.Contains(scopes, name) {
			c.report(Unmatchable, t.ID, "no scope is called "+name, "")
		}
	}
	replies := len(t.On) == 0 || slices.ContainsFunc(t.On, func(e Event) bool { return e != ConnFailed })
	if t.Source == "" {
		c.report(Unproven, t.ID, "no source", "")
	}
	if len(t.Samples) == 0 && replies {
		c.report(Unproven, t.ID, "no sample", "")
	}
	for _, sample := range t.Samples {
		if !compiled.matches(t.sample(sample)) {
			c.report(Dead, t.ID, sample, "")
		}
	}
}

// sample is what is observed when a sample reply comes.
func (t Trigger) sample(reply string) Feedback {
	f := Feedback{Event: SlowDown, Category: first(t.Categories), Scope: first(t.Scopes), Rule: first(t.Rules), Text: reply}
	if len(t.On) > 0 {
		f.Event = t.On[0]
	}
	if len(reply) >= 3 {
		f.Code, _ = strconv.Atoi(reply[:3]) // 0 where there is none
	}
	return f
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// compare reports other if t and it come to the same.
func (c *checker) compare(t, other Trigger) {
	if conditions(t) != conditions(other) || t.Action != other.Action {
		return
	}
	fires := func(t Trigger) Trigger {
		return Trigger{Count: t.count(), Within: t.Within, Action: t.Action, For: t.For, Rate: t.Rate, Conns: t.Conns, Messages: t.Messages}
	}
	switch a, b := fires(t), fires(other); {
	case reflect.DeepEqual(a, b):
		if t.ID > other.ID { // once for both
			c.report(Shadowed, t.ID, "the same as another", other.ID)
		}
	case a.Count == b.Count && a.Within == b.Within:
		c.report(Contradictory, t.ID, "the same matches, and another effect", other.ID)
	case b.Count <= a.Count && (b.Count == 1 || b.Within >= a.Within) && b.For >= a.For && t.Action != Limit:
		c.report(Shadowed, t.ID, "another fires before it and for as long", other.ID)
	}
}

// binds reports whether one of the limits that t sets is below those of s.
func (t Trigger) binds(s *settings) bool {
	least := func(a, b int) int {
		if a < 1 || b >= 1 && b < a {
			return b
		}
		return a
	}
	conns := least(s.limits.Conns, s.shared.Conns)
	below := func(n, limit int) bool { return n > 0 && (limit < 1 || n < limit) }
	if below(t.Conns, conns) || below(t.Messages, s.limits.Messages) {
		return true
	}
	return t.Rate != (Rate{}) && !slices.ContainsFunc(slices.Concat(s.limits.Rates, s.shared.Rates), func(r Rate) bool {
		return implies(r, t.Rate)
	})
}

// The words of package bounce, which this one does not import; a test of package
// livepack compares them.
var (
	categories = []string{
		"unknown", "invalid-mailbox", "invalid-domain", "mailbox-disabled", "suppressed", "mailbox-full",
		"message-too-large", "rate-limited", "greylisted", "dns-failure", "connection-failure", "remote-system-error",
		"expired", "spam-content", "content-rejected", "virus", "reputation-block", "policy-block", "sender-rejected",
		"auth-failure", "relay-denied", "tls-failure", "protocol-error",
	}
	scopes = []string{"unknown", "recipient", "message", "source", "sender-domain", "site"}
)
