package throttle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Namer is an optional method of a Policy, more general than [Grouper]: it can
// part a domain from its site or put several sites together. A Policy that has
// both is asked for SiteOf. Like For it may be called from several goroutines.
type Namer interface {
	// SiteOf returns the name of the site under which mail to k.Domain is queued
	// and paced, where k.Site is the set of its servers; "" = k.Site itself. Domains
	// under one name share queue and limits, whatever their servers.
	SiteOf(k Key) string
}

// TLSDemander is an optional method of a Policy: it can demand TLS. Like For it
// may be called from several goroutines.
type TLSDemander interface {
	// RequireTLS reports whether mail to k must not go in the clear, whether or
	// not the server's certificate can be verified.
	RequireTLS(k Key) bool
}

// ProfilePolicy is the Policy of profiles: what a destination is allowed is
// looked up by recipient domain and by the names of its servers. It is a
// [Policy], [Sharer], [Namer], [Grouper] and [TLSDemander], and may be used by
// several goroutines.
//
// Profiles come in layers: the built-in, the downloaded, and the user's own. Of
// all profiles that match a destination, each value counts that stands in the
// highest layer; within it the most specific profile decides:
//
//  1. by recipient domain,
//  2. by exact set of mail servers,
//  3. by suffix of all mail servers' names, the longest first,
//
// and where no profile has it the [default], again of the highest layer. A
// profile of the same id in two layers is one profile with the matches of both.
//
// The layers can be replaced at any time. Controllers in use go by the new
// limits from their next call on and remember what they have let through.
type ProfilePolicy struct {
	mu   sync.Mutex // serialises the setters
	view atomic.Pointer[view]
}

// Profiles returns the Policy of the built-in profiles and the user's own, of
// which the later go before the earlier.
func Profiles(own ...*ProfilePack) *ProfilePolicy {
	p := &ProfilePolicy{}
	p.view.Store(newView([]layer{{Builtin, DefaultProfiles()}}, Clamp{}))
	p.SetOwn(own...)
	return p
}

// SetOwn replaces the user's own profiles.
func (p *ProfilePolicy) SetOwn(own ...*ProfilePack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.view.Load()
	var layers []layer
	for _, l := range v.layers {
		if l.kind != Own {
			layers = append(layers, l)
		}
	}
	for _, pack := range own {
		layers = append(layers, layer{Own, pack})
	}
	p.view.Store(newView(layers, v.clamp))
}

// SetDownloaded replaces the downloaded profiles, of which c says how far they
// count; nil takes them away.
func (p *ProfilePolicy) SetDownloaded(pack *ProfilePack, c Clamp) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.view.Load()
	layers := []layer{v.layers[0]}
	if pack != nil {
		layers = append(layers, layer{Downloaded, pack})
	}
	for _, l := range v.layers {
		if l.kind == Own {
			layers = append(layers, l)
		}
	}
	p.view.Store(newView(layers, c))
}

// SiteOf returns the name of the profiles for a provider that is rolled up, the
// domain for one that stands by itself, a name of its own for domains that are
// picked from their site by a profile, else "": the site as it is.
func (p *ProfilePolicy) SiteOf(k Key) string {
	return p.view.Load().settings(k).siteOf(k)
}

func (s *settings) siteOf(k Key) string {
	switch {
	case s.perDomain:
		return k.Domain
	case s.rollup:
		return strings.Join(s.chain, "+")
	case s.split != "":
		return k.Site + " for " + s.split
	}
	return ""
}

// PerDomain reports whether k.Domain is kept apart from k.Site.
func (p *ProfilePolicy) PerDomain(k Key) bool { return p.view.Load().settings(k).perDomain }

// RequireTLS reports whether the profiles demand TLS.
func (p *ProfilePolicy) RequireTLS(k Key) bool { return p.view.Load().settings(k).tls }

// Setting is one value and where it comes from.
type Setting struct {
	Field   string // as in the pack: "conns", "shared.rates"
	Value   string // as it counts
	Clamped string // what the profile asked for, if the clamp did not let it; else ""
	Profile string // id
	Layer   Layer
	Version string // of the pack
	Source  string // of the profile
}

// String returns such as `conns = 5 (profile google, built-in 2026-11-21.1)`.
func (s Setting) String() string {
	text := fmt.Sprintf("%s = %s (profile %s, %v %s", s.Field, s.Value, s.Profile, s.Layer, s.Version)
	if s.Clamped != "" {
		text += ", clamped from " + s.Clamped
	}
	return text + ")"
}

// Explanation is what profiles come to for a destination.
type Explanation struct {
	Site     string   // the name under which it is queued
	Profiles []string // ids, the most specific first; "default" is always the last
	Limits   Limits   // of each source
	Shared   Limits   // of all sources together: Rates, Conns, negative = no limit, and ConnRate
	TLS      bool     // required
	Triggers []Trigger
	Settings []Setting // where each value comes from
}

// Explain says what holds for a destination and why.
func (p *ProfilePolicy) Explain(k Key) Explanation {
	s := p.view.Load().settings(k)
	e := Explanation{
		Site:     cmp.Or(s.siteOf(k), k.Site),
		Profiles: append(slices.Clone(s.chain), defaultID),
		Limits:   s.limits,
		Shared:   s.shared,
		TLS:      s.tls,
		Triggers: slices.Clone(s.triggers),
		Settings: slices.Clone(s.reasons),
	}
	e.Limits.Rates, e.Shared.Rates = slices.Clone(s.limits.Rates), slices.Clone(s.shared.Rates)
	return e
}

// String returns a line for the site and for each setting.
func (e Explanation) String() string {
	lines := []string{e.Site + ": " + strings.Join(e.Profiles, ", ")}
	for _, s := range e.Settings {
		lines = append(lines, s.String())
	}
	return strings.Join(lines, "\n")
}
