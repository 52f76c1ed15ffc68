package throttle

import (
	"cmp"
	"fmt"
	"slices"
)

// Flaw is what Check finds wrong with a profile or trigger.
type Flaw uint8

// The flaws.
const (
	Dead          Flaw = iota + 1 // it does nothing: its own sample does not match, or its limit never binds
	Shadowed                      // another one does it all, or decides for its sample
	Unmatchable                   // nothing can match: no destination is given, or what it names does not exist
	Contradictory                 // another one has the same match and says otherwise
	Unproven                      // it has no source, or no sample that shows what it matches
)

var flawNames = [...]string{"", "dead", "shadowed", "unmatchable", "contradictory", "unproven"}

// String returns the name, such as "shadowed".
func (f Flaw) String() string {
	if f > 0 && int(f) < len(flawNames) {
		return flawNames[f]
	}
	return "unknown flaw"
}

// Finding is one flaw of a pack.
type Finding struct {
	Flaw    Flaw
	Profile string // id
	Trigger string // id, "" if it is about the profile
	What    string // the match, sample or value that shows it
	By      string // id of the other profile or trigger, "" if there is none
}

// String says it on one line.
func (f Finding) String() string {
	s := fmt.Sprintf("profile %q", f.Profile)
	if f.Trigger != "" {
		s += fmt.Sprintf(", trigger %q", f.Trigger)
	}
	s += fmt.Sprintf(": %v: %s", f.Flaw, f.What)
	if f.By != "" {
		s += fmt.Sprintf(" (by %q)", f.By)
	}
	return s
}

// Check runs the samples of each profile through the pack and reports profiles
// and triggers that never count, or that contradict one another; none if all is
// well. below are the packs that p is laid over, the lowest first: what p leaves
// out may stand there. For a user's own profiles that is [DefaultProfiles].
func (p *ProfilePack) Check(below ...*ProfilePack) []Finding {
	c := &checker{pack: p}
	var layers []layer
	for _, pack := range below {
		layers = append(layers, layer{Builtin, pack})
	}
	c.view = newView(append(layers, layer{Own, p}), Clamp{})
	c.own = newMatcher([]*ProfilePack{p})
	for _, id := range p.IDs() {
		c.profile = p.profiles[id]
		if id != defaultID {
			c.matches()
			c.samples()
		}
		c.values()
		c.triggers()
	}
	return c.found
}

// checker is a run of Check.
type checker struct {
	pack    *ProfilePack
	view    *view    // of all packs
	own     *matcher // of this pack
	profile *profile // at hand
	found   []Finding
}

func (c *checker) report(flaw Flaw, trigger, what, by string) {
	c.found = append(c.found, Finding{flaw, c.profile.id, trigger, what, by})
}

// matches looks at what the profile is for.
func (c *checker) matches() {
	p, m := c.profile, c.view.matcher
	if len(p.Domains)+len(p.sites)+len(p.MX) == 0 {
		for _, ids := range []map[string][]string{m.domains, m.sites, m.suffixes} {
			for _, list := range ids {
				if slices.Contains(list, p.id) {
					return // a pack below says what it is for
				}
			}
		}
		c.report(Unmatchable, "", "no domains, sites or mx", "")
	}
	c.rivals(p.Domains, c.own.domains)
	c.rivals(p.sites, c.own.sites)
	c.rivals(p.MX, c.own.suffixes)
	for _, wide := range p.MX {
		for _, narrow := range p.MX {
			if len(narrow) > len(wide) && hasSuffix(narrow, wide) {
				c.report(Shadowed, "", narrow, wide)
			}
		}
	}
}

// rivals reports other profiles that match just the same.
func (c *checker) rivals(list []string, ids map[string][]string) {
	for i, value := range list {
		if slices.Contains(list[:i], value) {
			c.report(Shadowed, "", value+" stands twice", "")
			continue
		}
		for _, id := range ids[value] {
			if id != c.profile.id {
				c.report(Contradictory, "", value, id)
			}
		}
	}
}

// samples runs the sample destinations.
func (c *checker) samples() {
	p := c.profile
	shown := map[string]bool{}
	for _, s := range p.Samples {
		hosts := hostsOf(s.mx)
		found := c.view.matcher.find(s.domain, "", hosts)
		switch i := slices.IndexFunc(found, func(m match) bool { return m.id == p.id }); {
		case i < 0:
			c.report(Dead, "", s.String(), "")
		case i > 0:
			c.report(Shadowed, "", s.String(), found[0].id)
		}
		shown[s.domain], shown[siteKey(hosts)] = true, true
		for _, suffix := range p.MX {
			if slices.ContainsFunc(hosts, func(h string) bool { return hasSuffix(h, suffix) }) {
				shown[suffix] = true
			}
		}
	}
	if p.Source == "" {
		c.report(Unproven, "", "no source", "")
	}
	for _, value := range slices.Concat(p.sites, p.MX) {
		if !shown[value] {
			c.report(Unproven, "", "no sample for "+value, "")
		}
	}
	if len(p.Domains) > 0 && !slices.ContainsFunc(p.Domains, func(d string) bool { return shown[d] }) {
		c.report(Unproven, "", "no sample for any of the domains", "")
	}
}

// settings are those of a destination that the profile is for, of which it is
// the most specific profile if it can be.
func (c *checker) settings() *settings {
	p := c.profile
	if len(p.Samples) > 0 {
		return c.view.resolve(p.Samples[0].domain, "", hostsOf(p.Samples[0].mx))
	}
	var domain string
	var hosts []string
	switch {
	case len(p.Domains) > 0:
		domain = p.Domains[0]
	case len(p.sites) > 0:
		hosts = hostsOf(p.sites[0])
	case len(c.view.matcher.mx[p.id]) > 0:
		hosts = c.view.matcher.mx[p.id][:1]
	}
	return c.view.resolve(domain, "", hosts)
}

// values looks for rates that others make idle, and for names of nothing.
func (c *checker) values() {
	p := c.profile
	for _, rates := range [][]Rate{p.Rates, p.Shared.Rates} {
		for i, r := range rates {
			for j, other := range rates {
				if i != j && implies(other, r) && (!implies(r, other) || j < i) {
					c.report(Shadowed, "", r.String(), other.String())
					break
				}
			}
		}
	}
	for _, id := range p.Without {
		if !c.hasTrigger(id) {
			c.report(Unmatchable, "", "without "+id, "")
		}
	}
}

// implies reports whether keeping a keeps b: a fits as often into b's period as
// it must be begun.
func implies(a, b Rate) bool {
	if a == (Rate{}) || b == (Rate{}) {
		return b == (Rate{})
	}
	return float64(ceilDiv(b.Per, a.Per))*float64(a.N) <= float64(b.N)
}

func (c *checker) hasTrigger(id string) bool {
	for _, l := range c.view.layers {
		for _, p := range l.pack.profiles {
			if slices.ContainsFunc(p.Triggers, func(t Trigger) bool { return t.ID == id }) {
				return true
			}
		}
	}
	return false
}

// conditions is all that a trigger asks of what is observed.
func conditions(t Trigger) string {
	sorted := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	on := slices.Clone(t.On)
	if len(on) == 0 {
		on = []Event{SlowDown, Blocked, Refused}
	}
	slices.Sort(on)
	return fmt.Sprintf("%q %q %q %q %q %q", on, sorted(t.Categories), sorted(t.Rules), sorted(t.Scopes), sorted(t.Codes), t.Text)
}

// count is how many matches t takes, none of which is a word for one.
func (t Trigger) count() int { return cmp.Or(t.Count, 1) }
