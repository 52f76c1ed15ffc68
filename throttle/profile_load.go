package throttle

import (
	"slices"
	"strconv"
	"strings"
)

// profileLoader finishes the profiles of a pack and collects mistakes.
type profileLoader struct{ mistakes []ProfileMistake }

func (l *profileLoader) mistake(profile, trigger string, err error) {
	l.mistakes = append(l.mistakes, ProfileMistake{Profile: profile, Trigger: trigger, Err: err})
}

func (l *profileLoader) load(pack *ProfilePack, byDefault *profile) {
	if _, ok := pack.profiles[defaultID]; ok {
		l.mistake(defaultID, "", &Error{Field: "profile", Value: defaultID, Reason: "goes under [default]"})
	}
	for _, id := range pack.IDs() {
		p := pack.profiles[id]
		p.id = id
		if !isID(id) {
			l.mistake(id, "", &Error{Field: "profile", Value: id, Reason: "want lower-case letters, digits and hyphens"})
		}
		l.loadMatch(p)
		l.loadValues(p)
		l.loadTriggers(p)
	}
	if byDefault == nil {
		return
	}
	byDefault.id = defaultID
	pack.profiles[defaultID] = byDefault
	if len(byDefault.Domains)+len(byDefault.Sites)+len(byDefault.MX)+len(byDefault.Samples) > 0 {
		l.mistake(defaultID, "", &Error{Field: "mx", Reason: "the default is for all that no profile matches"})
	}
	if byDefault.Rollup != nil {
		l.mistake(defaultID, "", &Error{Field: "rollup", Reason: "the default cannot make one site of the world"})
	}
	l.loadValues(byDefault)
	l.loadTriggers(byDefault)
}

func (l *profileLoader) loadMatch(p *profile) {
	for _, d := range p.Domains {
		if !isName(d) {
			l.mistake(p.id, "", &Error{Field: "domains", Value: d, Reason: notName})
		}
	}
	for _, m := range p.MX {
		if !isName(m) {
			l.mistake(p.id, "", &Error{Field: "mx", Value: m, Reason: notName})
		}
	}
	for _, s := range p.Sites {
		hosts := hostsOf(s)
		if hosts == nil {
			l.mistake(p.id, "", &Error{Field: "sites", Value: s, Reason: "want host names with a space between, or (mx1|mx2).example.com"})
			continue
		}
		p.sites = append(p.sites, siteKey(hosts))
	}
}

const notName = "want a lower-case name in A-labels, without outer dots"

func (l *profileLoader) loadValues(p *profile) {
	check := func(field string, n *int, limits Limits) {
		if n != nil && (*n == 0 || *n < -1) {
			l.mistake(p.id, "", &Error{Field: field, Value: strconv.Itoa(*n), Reason: "want at least 1, or -1 for no limit"})
		}
		if err := limits.Validate(); err != nil {
			l.mistake(p.id, "", err)
		}
	}
	burst := deref(p.Burst)
	check("conns", p.Conns, Limits{Rates: p.Rates, ConnRate: deref(p.ConnRate), Burst: burst})
	check("messages", p.Messages, Limits{})
	check("shared.conns", p.Shared.Conns, Limits{Rates: p.Shared.Rates, ConnRate: deref(p.Shared.ConnRate)})
	if p.Burst != nil && burst == 0 {
		l.mistake(p.id, "", &Error{Field: "burst", Value: "0", Reason: "want at least 1"})
	}
	if p.Rollup != nil && *p.Rollup && p.PerDomain != nil && *p.PerDomain {
		l.mistake(p.id, "", &Error{Field: "rollup", Value: "true", Reason: "contradicts per_domain"})
	}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (l *profileLoader) loadTriggers(p *profile) {
	var seen []string
	for i := range p.Triggers {
		t := &p.Triggers[i]
		if slices.Contains(seen, t.ID) {
			l.mistake(p.id, t.ID, &Error{Field: "id", Value: t.ID, Reason: "stands twice in the profile"})
		}
		seen = append(seen, t.ID)
		if err := t.Validate(); err != nil {
			l.mistake(p.id, t.ID, err)
		}
	}
}

// isID reports whether s can name a profile: names of sites are made of it.
func isID(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
