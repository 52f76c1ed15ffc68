package throttle

import (
	"cmp"
	"slices"
	"time"
)

// Load is mail for one site, as [Forecast] takes it.
type Load struct {
	Site     string
	Domain   string        // a recipient domain of the site, and
	MX       string        // the names of its servers: for policies that look at them, see Key
	Sources  []string      // names of the sources it may leave by; nil = one without a name
	Messages int           // transactions; a message to several recipients of the site is one
	Takes    time.Duration // how long a message takes on its connection; opening one takes as long. 0 = 300 ms
}

// Report is what Forecast found out.
type Report struct {
	Ends  time.Time    // of the last site; the zero time if some mail would never go
	Sites []SiteReport // in the order of their first Load
}

// SiteReport is what Forecast found out for one site.
type SiteReport struct {
	Load              // all loads of the site together
	Ends    time.Time // when the last message is through; the zero time if that is never
	Unsent  int       // messages that would not go within a year
	Waiting []Waiting // what held mail back and for how long, the longest first
}

// Waiting is time for which a limit held mail back.
type Waiting struct {
	// Limit is as Detail.Limit names it, "connections" if all that are allowed were
	// busy, "new connections" if no more could be opened yet, and "pace" for the
	// curve of Adaptive.
	Limit string
	Rule  string // what set the limit: Detail.Rule
	For   time.Duration
}

// Cloner is an optional method of a Policy whose Controllers share what they
// remember, such as [Warmup]: Forecast works on a clone and changes nothing.
type Cloner interface {
	// Clone returns a Policy in the same state that goes on by itself.
	Clone() Policy
}

func cloneOf(p Policy) Policy {
	if c, ok := p.(Cloner); ok {
		return c.Clone()
	}
	return p
}

// Forecast steps the Controllers of p through time, as though loads began at
// start and all went well: every connection opens and every message is accepted.
// It tells when the mail of each site would be through and what would hold it
// back. Controllers are made anew, as for destinations not used lately; a p
// whose Controllers share state must be a [Cloner] for that not to change.
//
// Loads of the same site are put together and take the rest from the first. A million messages take a second or two.
func Forecast(p Policy, start time.Time, loads ...Load) Report {
	p = cloneOf(p)
	var report Report
	for _, l := range loads {
		i := slices.IndexFunc(report.Sites, func(s SiteReport) bool { return s.Site == l.Site })
		if i < 0 {
			report.Sites = append(report.Sites, SiteReport{Load: l})
		} else {
			report.Sites[i].Messages += l.Messages
		}
	}
	never := false
	for i := range report.Sites {
		s := &report.Sites[i]
		newForecast(p, start, s).run()
		report.Ends = later(report.Ends, s.Ends)
		never = never || s.Unsent > 0
	}
	if never {
		report.Ends = time.Time{}
	}
	return report
}

const (
	learning     = "pace"
	defaultTakes = 300 * time.Millisecond
	horizon      = 366 * day
)

// forecast is a site in virtual time.
type forecast struct {
	report *SiteReport
	now    time.Time
	until  time.Time
	dests  []*forecastDest
	shared Controller // of all sources together
	takes  time.Duration
	left   int       // messages not begun
	ends   time.Time // of the last message begun
	events []forecastEvent
	waits  map[Waiting]time.Duration // For is not used in the keys
}

// forecastDest is the site as one source reaches it.
type forecastDest struct {
	ctl     Controller
	open    int   // connections, those being opened included
	opening int   // of open
	free    []int // connections without a message: how many each has carried
}

// forecastEvent is the end of a message, or of the opening of a connection. As all
// take as long, the events are in order by themselves.
type forecastEvent struct {
	at      time.Time
	dest    *forecastDest
	carried int // 0 = the connection was opened
}

func newForecast(p Policy, start time.Time, report *SiteReport) *forecast {
	f := &forecast{report: report, now: start, until: start.Add(horizon), takes: report.Takes, left: report.Messages,
		shared: All(), waits: map[Waiting]time.Duration{}}
	if f.takes <= 0 {
		f.takes = defaultTakes
	}
	k := Key{Site: report.Site, Domain: report.Domain, MX: report.MX}
	if s, ok := p.(Sharer); ok {
		if c := s.Shared(k); c != nil {
			f.shared = c
		}
	}
	sources := report.Sources
	if len(sources) == 0 {
		sources = []string{""}
	}
	for _, k.Source = range sources {
		f.dests = append(f.dests, &forecastDest{ctl: p.For(k)})
	}
	return f
}

func (f *forecast) run() {
	for f.left > 0 {
		wake := f.work()
		if len(f.events) > 0 && (wake.IsZero() || f.events[0].at.Before(wake)) {
			wake = f.events[0].at
		}
		if f.left > 0 && (wake.IsZero() || wake.After(f.until)) {
			break
		}
		if f.left > 0 {
			f.explain(wake)
		}
		f.now = later(f.now, wake)
		f.settle()
	}
	f.report.Unsent = f.left
	if f.left == 0 {
		f.report.Ends = later(f.now, f.ends)
	}
	for w, d := range f.waits {
		w.For = d
		f.report.Waiting = append(f.report.Waiting, w)
	}
	slices.SortFunc(f.report.Waiting, func(a, b Waiting) int {
		return cmp.Or(cmp.Compare(b.For, a.For), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Rule, b.Rule))
	})
}

// work starts what may start now, and returns when a limit lets more start.
func (f *forecast) work() (wake time.Time) {
	for _, d := range f.dests {
		if at := f.serve(d); !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	return wake
}

// serve starts what d may start now, and returns when its limits let more start,
// the zero time if that depends on something else.
func (f *forecast) serve(d *forecastDest) time.Time {
	for f.left > 0 {
		if next := later(f.shared.Next(f.now), d.ctl.Next(f.now)); next.After(f.now) {
			return next
		}
		conns := d.ctl.Conns(f.now)
		for len(d.free) > 0 && d.open > conns.Max {
			d.free = d.free[:len(d.free)-1]
			d.open--
		}
		last := len(d.free) - 1
		if last >= 0 {
			f.take(d, d.free[last])
			d.free = d.free[:last]
			continue
		}
		shared := f.shared.Conns(f.now)
		next := later(conns.Next, shared.Next)
		switch {
		case d.opening > 0 && d.opening >= d.open-d.opening: // slow start, as the engine does
			return time.Time{}
		case next.After(f.now):
			return next
		case d.open >= conns.Max || f.open() >= shared.Max || d.opening >= f.left:
			return time.Time{}
		}
		f.connect(d)
	}
	return time.Time{}
}

// open returns how many connections all sources have.
func (f *forecast) open() (n int) {
	for _, d := range f.dests {
		n += d.open
	}
	return n
}

func (f *forecast) take(d *forecastDest, carried int) {
	f.left--
	f.shared.Take(f.now)
	d.ctl.Take(f.now)
	f.ends = f.now.Add(f.takes)
	f.events = append(f.events, forecastEvent{f.ends, d, carried + 1})
}

func (f *forecast) connect(d *forecastDest) {
	d.open++
	d.opening++
	f.observe(d, Opening)
	f.events = append(f.events, forecastEvent{at: f.now.Add(f.takes), dest: d})
}

func (f *forecast) observe(d *forecastDest, e Event) {
	d.ctl.Observe(f.now, Feedback{Event: e, Conns: d.open})
	f.shared.Observe(f.now, Feedback{Event: e, Conns: f.open()})
}

// settle ends what has ended by now.
func (f *forecast) settle() {
	n := 0
	for ; n < len(f.events) && !f.events[n].at.After(f.now); n++ {
		e := f.events[n]
		if e.carried == 0 {
			e.dest.opening--
		} else {
			f.observe(e.dest, Delivered)
			if most := e.dest.ctl.Conns(f.now).Messages; most > 0 && e.carried >= most {
				e.dest.open--
				continue
			}
		}
		e.dest.free = append(e.dest.free, e.carried)
	}
	f.events = f.events[:copy(f.events, f.events[n:])]
}

// explain notes what holds mail back from now until then: limits where a
// connection is there or could be, else the connections.
func (f *forecast) explain(then time.Time) {
	why := Waiting{Limit: "connections"}
	shared := f.shared.Conns(f.now)
	for _, d := range f.dests {
		conns := d.ctl.Conns(f.now).and(shared)
		if conns.Max > 0 && len(d.free) == 0 && (d.opening > 0 || d.open >= conns.Max || f.open() >= shared.Max) {
			continue
		}
		for _, c := range []Controller{f.shared, d.ctl} {
			next, conns := c.Next(f.now), c.Conns(f.now)
			if next.After(f.now) || conns.Max == 0 || conns.Next.After(f.now) {
				detail := detailOf(c, f.now)
				why = Waiting{Limit: detail.Limit, Rule: detail.Rule}
			}
		}
	}
	if why.Rule == ruleAdaptive {
		why.Limit = learning // one name for the whole curve
	} else if why.Limit == "" {
		why.Limit = "new connections"
	}
	f.waits[why] += then.Sub(f.now)
}
