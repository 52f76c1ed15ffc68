package throttle

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Layer says where a profile comes from. A value of a higher layer wins.
type Layer uint8

// The layers.
const (
	Builtin    Layer = iota // [DefaultProfiles]
	Downloaded              // [ProfilePolicy.SetDownloaded]
	Own                     // the user's
)

// String returns "built-in", "downloaded" or "own".
func (l Layer) String() string {
	switch l {
	case Builtin:
		return "built-in"
	case Downloaded:
		return "downloaded"
	case Own:
		return "own"
	}
	return "unknown layer"
}

// view is the layers as they are at one time. It does not change but for its
// cache.
type view struct {
	layers  []layer // the user's last
	matcher *matcher
	clamp   Clamp
	base    *view // the built-in layer alone, which clamps what is downloaded; nil = nothing does

	mu    sync.Mutex
	cache map[string]*settings // by profiles; guarded by mu
}

type layer struct {
	kind Layer
	pack *ProfilePack
}

func newView(layers []layer, clamp Clamp) *view {
	v := &view{layers: layers, clamp: clamp, cache: map[string]*settings{}}
	packs := make([]*ProfilePack, len(layers))
	for i, l := range layers {
		packs[i] = l.pack
		if l.kind == Downloaded && clamp.Times >= 0 {
			v.base = newView(layers[:1], clamp)
		}
	}
	v.matcher = newMatcher(packs)
	return v
}

// settings is what profiles come to for a destination. It does not change.
type settings struct {
	chain     []string // ids, the most specific first, without the default
	split     string   // ids of those chosen by domain, "+" between: the domain is not one with its site
	limits    Limits
	shared    Limits
	tls       bool
	rollup    bool
	perDomain bool
	triggers  []Trigger
	set       *Triggers // the triggers, ready for use
	reasons   []Setting
}

// settings returns what holds for a destination.
func (v *view) settings(k Key) *settings {
	return v.resolve(k.Domain, k.Site, k.hosts())
}

func (v *view) resolve(domain, site string, hosts []string) *settings {
	matches := v.matcher.find(domain, site, hosts)
	var base *settings
	if v.base != nil {
		base = v.base.resolve(domain, site, hosts)
		if base.rollup { // a download may change a provider, not split it
			matches = slices.DeleteFunc(matches, func(m match) bool {
				return !slices.Contains(base.chain, m.id) && !v.owns(m.id)
			})
		}
	}
	key := cacheKey(matches, base)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.cache[key]
	if s == nil {
		s = v.settle(matches, base)
		v.cache[key] = s
	}
	return s
}

func cacheKey(matches []match, base *settings) string {
	if len(matches) == 0 && base == nil {
		return ""
	}
	var b strings.Builder
	for _, m := range matches {
		b.WriteString(m.id)
		if m.rank == rankDomain {
			b.WriteByte('@')
		}
		b.WriteByte(' ')
	}
	if base != nil {
		b.WriteString("/" + strings.Join(base.chain, " "))
	}
	return b.String()
}

// owns reports whether the user has a profile of that name.
func (v *view) owns(id string) bool {
	return slices.ContainsFunc(v.layers, func(l layer) bool { return l.kind == Own && l.pack.profiles[id] != nil })
}

// settler makes settings.
type settler struct {
	view *view
	base *settings // nil = nothing is clamped
	out  *settings
}

func (v *view) settle(matches []match, base *settings) *settings {
	st := &settler{view: v, base: base, out: &settings{}}
	s := st.out
	var split []string
	for _, m := range matches {
		s.chain = append(s.chain, m.id)
		if m.rank == rankDomain {
			split = append(split, m.id)
		}
	}
	s.split = strings.Join(split, "+")

	b := deref(base)
	s.limits.Conns = st.count("conns", b.limits.Conns, func(p *profile) *int { return p.Conns })
	s.limits.Messages = st.count("messages", b.limits.Messages, func(p *profile) *int { return p.Messages })
	s.limits.Rates = st.rates("rates", b.limits.Rates, func(p *profile) []Rate { return p.Rates })
	s.limits.Burst = st.count("burst", max(b.limits.Burst, 1), func(p *profile) *int { return p.Burst })
	s.limits.ConnRate = st.rate("conn_rate", b.limits.ConnRate, func(p *profile) *Rate { return p.ConnRate })
	s.limits.Idle = st.idle()
	s.shared.Conns = st.count("shared.conns", b.shared.Conns, func(p *profile) *int { return p.Shared.Conns })
	s.shared.Rates = st.rates("shared.rates", b.shared.Rates, func(p *profile) []Rate { return p.Shared.Rates })
	s.shared.ConnRate = st.rate("shared.conn_rate", b.shared.ConnRate, func(p *profile) *Rate { return p.Shared.ConnRate })
	if s.shared.Conns == 0 {
		s.shared.Conns = -1
	}
	s.shared.Messages, s.shared.Idle = -1, math.MaxInt64 // each source's own

	loose := v.clamp.LooseTLS
	s.tls = st.flag("tls", b.tls && !loose, true, func(p *profile) *bool { return (*bool)(p.TLS) })
	s.rollup = st.flag("rollup", b.rollup, true, func(p *profile) *bool { return p.Rollup })
	s.perDomain = st.flag("per_domain", !b.perDomain, false, func(p *profile) *bool { return p.PerDomain })
	s.limits.PerDomain = s.perDomain
	st.triggers()
	return s
}

// found is a value and where it stands.
type found[T any] struct {
	value T
	ok    bool
	id    string
	layer layer
}

// find returns the value that counts: of the highest layer that has one, in the
// most specific of its profiles that does. The defaults come after them all.
func find[T any](st *settler, get func(*profile) (T, bool)) found[T] {
	for _, ids := range [][]string{st.out.chain, {defaultID}} {
		for _, l := range slices.Backward(st.view.layers) {
			for _, id := range ids {
				if p := l.pack.profiles[id]; p != nil {
					if value, ok := get(p); ok {
						return found[T]{value, true, id, l}
					}
				}
			}
		}
	}
	return found[T]{}
}

func findPointer[T any](st *settler, get func(*profile) *T) found[T] {
	return find(st, func(p *profile) (value T, ok bool) {
		if v := get(p); v != nil {
			return *v, true
		}
		return value, false
	})
}

// note records a value for Explain. was is what the profile says, before the clamp.
func note[T any](st *settler, field string, f found[T], value, was string) {
	if !f.ok {
		return
	}
	s := Setting{Field: field, Value: value, Profile: f.id, Layer: f.layer.kind, Version: f.layer.pack.version,
		Source: f.layer.pack.profiles[f.id].Source}
	if was != value {
		s.Clamped = was
	}
	st.out.reasons = append(st.out.reasons, s)
}

// clamps reports whether a value is held to the built-in one.
func (st *settler) clamps(l layer) bool { return st.base != nil && l.kind != Own }

// count finds a number, of which -1 is no limit; base is the built-in one.
func (st *settler) count(field string, base int, get func(*profile) *int) int {
	f := findPointer(st, get)
	n := f.value
	if f.ok && st.clamps(f.layer) {
		n = st.view.clamp.count(n, base)
	}
	note(st, field, f, strconv.Itoa(n), strconv.Itoa(f.value))
	return n
}

func (st *settler) rates(field string, base []Rate, get func(*profile) []Rate) []Rate {
	f := find(st, func(p *profile) ([]Rate, bool) { r := get(p); return r, r != nil })
	rates := f.value
	if f.ok && st.clamps(f.layer) {
		rates = st.view.clamp.rates(rates, base)
	}
	note(st, field, f, ratesText(rates), ratesText(f.value))
	return rates
}

func (st *settler) rate(field string, base Rate, get func(*profile) *Rate) Rate {
	f := findPointer(st, get)
	r := f.value
	if f.ok && st.clamps(f.layer) {
		r = st.view.clamp.rate(r, base)
	}
	note(st, field, f, r.String(), f.value.String())
	return r
}

func (st *settler) idle() time.Duration {
	f := findPointer(st, func(p *profile) *periodValue { return p.Idle })
	d := time.Duration(f.value)
	note(st, "idle", f, d.String(), d.String())
	if f.ok && d == 0 {
		return -1 // of Limits: close at once
	}
	return d
}

// flag finds a switch. If it is held a download cannot turn it away from strict.
func (st *settler) flag(field string, held, strict bool, get func(*profile) *bool) bool {
	f := findPointer(st, get)
	on := f.value
	if f.ok && held && st.clamps(f.layer) {
		on = strict
	}
	text := strconv.FormatBool
	if field == "tls" {
		text = func(on bool) string { return tlsDemand(on).String() }
	}
	note(st, field, f, text(on), text(f.value))
	return on
}

func ratesText(rates []Rate) string {
	if len(rates) == 0 {
		return unlimited
	}
	texts := make([]string, len(rates))
	for i, r := range rates {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}

// triggers puts together the triggers of all profiles; of several with one id
// the one that counts as a value would.
func (st *settler) triggers() {
	s := st.out
	var without []string
	seen := map[string]bool{}
	for _, ids := range [][]string{s.chain, {defaultID}} {
		for _, l := range slices.Backward(st.view.layers) {
			for _, id := range ids {
				p := l.pack.profiles[id]
				if p == nil {
					continue
				}
				for _, t := range p.Triggers {
					if !seen[t.ID] && !slices.Contains(without, t.ID) {
						s.triggers = append(s.triggers, t)
					}
					seen[t.ID] = true
				}
				without = append(without, p.Without...)
			}
		}
	}
	set, err := NewTriggers(s.triggers)
	if err != nil {
		panic(err) // each was checked when its pack was loaded, and no id is there twice
	}
	s.set = set
}
