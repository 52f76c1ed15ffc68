package throttle

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Curve is the most messages that may start on each day of a warm-up, from the
// first day on. After the last one there is no limit.
type Curve []int

// Curves returns the curve of a name, and false for a name that there is none of.
//
//   - "cautious": 50 on the first day, then 30 % more each day, 110,000 on day 30;
//     for cold-start domains and for lists of unknown quality.
//   - "standard": 200, then half as many again each day, 295,000 on day 19. 200 on
//     the first day is where SparkPost's automated warm-up begins.
//   - "fast": 500, then 80 % more each day, 321,000 on day 12; for a source that
//     was warm before.
//
// None doubles from one day to the next, which Google's guidelines warn against.
func Curves(name string) (Curve, bool) {
	switch name {
	case "cautious":
		return grow(50, 1.3, 30), true
	case "standard":
		return grow(200, 1.5, 19), true
	case "fast":
		return grow(500, 1.8, 12), true
	}
	return nil, false
}

// grow returns a curve of days whose caps are rounded down to three digits.
func grow(first, factor float64, days int) Curve {
	c := make(Curve, days)
	for i := range c {
		unit := 1.0
		for first/unit >= 1000 {
			unit *= 10
		}
		c[i] = int(float64(int(first/unit)) * unit)
		first *= factor
	}
	return c
}

// WarmupOptions says how [NewWarmup] warms up.
type WarmupOptions struct {
	// Curve is the caps by day. Nil = "standard" of Curves. It must have 1 to 1000
	// days of 1 to 1,000,000,000 messages, none with fewer than the day before.
	Curve Curve

	// Unit names what is warmed up, "" for what is warm already. Destinations of a
	// site whose units are the same share a cap. Nil = each source for itself:
	// Key.Source, "default" for the unnamed one. To warm up a sending domain give
	// its name for all sources.
	Unit func(Key) string

	// Spread is the time over which a day's cap is sent, evenly. 0 = 12 h; up to 24 h.
	Spread time.Duration
}

// Warmup is a Policy that warms up sources, or domains, at each site by itself:
// from a small cap on the first day to none after the last day of a curve.
//
//   - No 24 hours, wherever they begin, see more starts than the cap of the day
//     in which they end; starts are evenly spread. A day begins with its first
//     start and lasts 24 h.
//   - The next day of the curve comes only after a day on which at least half of
//     the cap was sent and nothing bad was heard; otherwise the day is repeated.
//   - Bad signals step back one day of the curve and pause: a Blocked for 24 h;
//     slow-downs, and refusals for spam, reputation or policy, that are 5 and 3 %
//     of the day's messages or more, for 2 h, at most once a day.
//   - Rest makes cold: after 30 days without a message the curve begins anew, since
//     providers forget about then.
//   - While a cap is used up the destination is suspended until more is allowed,
//     so that other sources of the site take over, or the mail waits.
//
// The limits of the Policy below hold as well. All methods may be called from
// several goroutines at once; the Controllers have one owner each, as all have.
type Warmup struct {
	base    Policy
	options WarmupOptions

	mu    sync.Mutex
	ramps map[rampKey]*ramp // guarded by mu; what they point to has its own lock
}

type rampKey struct{ Unit, Site string }

// NewWarmup returns a Warmup of what base allows, with nothing sent yet. The
// error is an *[Error]. See Load for what an earlier one has saved.
func NewWarmup(base Policy, options WarmupOptions) (*Warmup, error) {
	if options.Curve == nil {
		options.Curve, _ = Curves("standard")
	}
	options.Curve = slices.Clone(options.Curve)
	if options.Spread == 0 {
		options.Spread = 12 * time.Hour
	}
	if options.Unit == nil {
		options.Unit = unitOfSource
	}
	if n := len(options.Curve); n == 0 || n > 1000 {
		return nil, &Error{Field: "Curve", Value: plural(n, "day"), Reason: "must have 1 to 1000 days"}
	}
	last := 1
	for i, most := range options.Curve {
		if most < last || most > maxN {
			return nil, &Error{Field: "Curve[" + strconv.Itoa(i) + "]", Value: strconv.Itoa(most),
				Reason: "must be at least 1 and what the day before has, at most 1000000000"}
		}
		last = most
	}
	if options.Spread < 0 || options.Spread > day {
		return nil, &Error{Field: "Spread", Value: options.Spread.String(), Reason: "must be longer than 0 and at most 24 h"}
	}
	return &Warmup{base: base, options: options, ramps: map[rampKey]*ramp{}}, nil
}

func unitOfSource(k Key) string {
	if k.Source == "" {
		return "default"
	}
	return k.Source
}

// For returns the base's Controller for k, and the warm-up's limits besides.
func (w *Warmup) For(k Key) Controller {
	c := w.base.For(k)
	unit := w.options.Unit(k)
	if unit == "" {
		return c
	}
	return All(c, warming{w.ramp(rampKey{unit, k.Site})})
}

// SiteOf is that of the base, which may be a [Namer] or a [Grouper].
func (w *Warmup) SiteOf(k Key) string {
	switch base := w.base.(type) {
	case Namer:
		return base.SiteOf(k)
	case Grouper:
		if base.PerDomain(k) {
			return k.Domain
		}
	}
	return ""
}

// RequireTLS is that of the base.
func (w *Warmup) RequireTLS(k Key) bool {
	base, ok := w.base.(TLSDemander)
	return ok && base.RequireTLS(k)
}

// Shared is that of the base.
func (w *Warmup) Shared(k Key) Controller {
	if s, ok := w.base.(Sharer); ok {
		return s.Shared(k)
	}
	return nil
}

// Clone returns a Warmup that goes on from here by itself, for [Forecast].
func (w *Warmup) Clone() Policy {
	clone := &Warmup{base: cloneOf(w.base), options: w.options, ramps: map[rampKey]*ramp{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, r := range w.ramps {
		r.mu.Lock()
		clone.ramps[k] = &ramp{curve: r.curve, spread: r.spread, rampState: r.rampState}
		r.mu.Unlock()
	}
	return clone
}

func (w *Warmup) ramp(k rampKey) *ramp {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ramps[k]
	if r == nil {
		r = &ramp{curve: w.options.Curve, spread: w.options.Spread}
		w.ramps[k] = r
	}
	return r
}

// WarmupProgress is how far a warm-up is at a site.
type WarmupProgress struct {
	Unit, Site string
	Day        int       // of the curve, from 1; 0 = warm
	Cap        int       // messages in 24 h; 0 = no limit
	Sent       int       // in the last 24 h
	Paused     time.Time // until then, the zero time if it is not
	Reply      string    // the last bad signal
}

// Progress returns how far all warm-ups are, by unit and site.
func (w *Warmup) Progress(now time.Time) []WarmupProgress {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]WarmupProgress, 0, len(w.ramps))
	for k, r := range w.ramps {
		p := r.progress(now)
		p.Unit, p.Site = k.Unit, k.Site
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b WarmupProgress) int {
		return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Site, b.Site))
	})
	return list
}
