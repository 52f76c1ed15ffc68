package throttle

import "time"

// The optional methods of Controllers, for those that wrap others.

// settledOf returns when c is settled: one that is no Settler never is.
func settledOf(c Controller, now time.Time) time.Time {
	if s, ok := c.(Settler); ok {
		return s.Settled(now)
	}
	return now.Add(never)
}

func adapts(c Controller) bool {
	a, ok := c.(Adapter)
	return ok && a.Adapts()
}

func adviceOf(c Controller, now time.Time) []Advice {
	if a, ok := c.(Advisor); ok {
		return a.Advice(now)
	}
	return nil
}

// detailOf returns c's Detail, or what Binding tells of it.
func detailOf(c Controller, now time.Time) Detail {
	switch c := c.(type) {
	case Detailer:
		return c.Detail(now)
	case Explainer:
		return Detail{Limit: c.Binding(now)}
	}
	return Detail{}
}

// maxReply bounds what is kept of a reply to explain a limit, in bytes.
const maxReply = 200

// shorten cuts a reply that is too long to show.
func shorten(text string) string {
	if len(text) <= maxReply {
		return text
	}
	end := maxReply
	for end > 0 && text[end]&0xC0 == 0x80 { // not within a character
		end--
	}
	return text[:end] + "..."
}

// The optional methods of All.

// Adapts reports whether one of the controllers does.
func (a all) Adapts() bool {
	for _, c := range a {
		if adapts(c) {
			return true
		}
	}
	return false
}

// Advice returns that of all controllers.
func (a all) Advice(now time.Time) []Advice {
	var list []Advice
	for _, c := range a {
		list = append(list, adviceOf(c, now)...)
	}
	return list
}

// Detail asks the controller with the latest Next, else the one with the fewest
// connections that has something to say.
func (a all) Detail(now time.Time) Detail {
	var binding Detail
	latest, least := now, 0
	for _, c := range a {
		if next := c.Next(now); next.After(latest) {
			latest, binding = next, detailOf(c, now)
			continue
		}
		if conns := c.Conns(now).Max; latest.Equal(now) && (binding == Detail{} || conns < least) {
			if d := detailOf(c, now); d != (Detail{}) {
				binding, least = d, conns
			}
		}
	}
	return binding
}
