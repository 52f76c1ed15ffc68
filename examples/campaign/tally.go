package main

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
)

// outcomes counts recipients by fate.
type outcomes [sender.Canceled + 1]int

func (o *outcomes) done() (n int) {
	for _, k := range o {
		n += k
	}
	return n
}

func (o *outcomes) add(more outcomes) {
	for k, n := range more {
		o[k] += n
	}
}

// final are those that nobody has to look at again.
func (o *outcomes) final() int {
	return o[sender.Sent] + o[sender.Rejected] + o[sender.Suppressed] + o[sender.Canceled]
}

// tally counts what happens, for the progress display and the report.
type tally struct {
	total   int // recipients
	start   time.Time
	earlier outcomes // of those that had a result before the start; part of outcomes

	mu       sync.Mutex
	outcomes outcomes                // guarded by mu
	retries  int                     // guarded by mu: attempts that failed for now
	paused   error                   // guarded by mu: why nothing is sent now, nil if it is
	sites    map[string]*siteTally   // guarded by mu
	reasons  map[string]*reasonTally // guarded by mu
}

// siteTally counts for one destination.
type siteTally struct {
	name        string
	outcomes    outcomes
	conns       int            // connections opened
	encrypted   int            // of these
	first, last time.Time      // of what was sent
	bound       map[string]int // how often each limit was seen to bind
	samples     int            // how often we looked while mail was waiting
	trouble     string         // the last reply that refused us, not a recipient

	now sender.Destination // as last seen; zero when there is nothing to do
}

// reasonTally counts for one reason of failure: a bounce category, or
// neverTried.
type reasonTally struct {
	name     string
	outcomes outcomes
	retries  int // failures for now: these recipients may have got the mail later
	advice   bounce.Action
	sample   string // what a server said
}

// neverTried is the reason of recipients that were deferred before their first
// attempt, because the campaign was stopped.
const neverTried = "never tried"

func newTally(total int) *tally {
	return &tally{total: total, start: time.Now(), sites: map[string]*siteTally{}, reasons: map[string]*reasonTally{}}
}

// site finds or makes the count of a destination. Call with mu held.
func (t *tally) site(name string) *siteTally {
	s := t.sites[name]
	if s == nil {
		s = &siteTally{name: name, bound: map[string]int{}}
		t.sites[name] = s
	}
	return s
}

// reason finds or makes the count of a reason. Call with mu held.
func (t *tally) reason(class bounce.Class, reply bounce.Reply, err error) *reasonTally {
	name, advice := why(class, reply)
	c := t.reasons[name]
	if c == nil {
		c = &reasonTally{name: name, advice: advice, sample: reply.String()}
		if c.sample == "" && err != nil {
			c.sample = cause(err)
		}
		t.reasons[name] = c
	}
	return c
}

// why names the reason of a failure and what to do about it.
func why(class bounce.Class, reply bounce.Reply) (string, bounce.Action) {
	if reply.String() == "" && class.Category == bounce.Unknown {
		return neverTried, bounce.ActionRetry
	}
	return class.Category.String(), class.Action
}

// cause says in short why a recipient that nobody refused was not delivered.
func cause(err error) string {
	if e, ok := errors.AsType[*sender.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// note keeps what a destination said, unless it is about the recipient alone.
func (s *siteTally) note(class bounce.Class, reply bounce.Reply) {
	if class.Scope != bounce.ScopeRecipient && reply.String() != "" {
		s.trouble = reply.String()
	}
}

// remark is the destination's last trouble.
func (s *siteTally) remark() string {
	if s.trouble == "" && s.conns > 0 && s.encrypted == 0 {
		return "sent in clear: TLS did not work"
	}
	return s.trouble
}

// siteName is the destination's name in tables. Where there is none, the
// domain was not found.
func siteName(site, recipient string) string {
	return cmp.Or(site, "@"+domainOf(recipient))
}

// add counts a result.
func (t *tally) add(r *sender.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outcomes[r.Outcome]++
	name := siteName(r.Site, r.Recipient)
	s := t.site(name)
	s.outcomes[r.Outcome]++
	if r.Outcome == sender.Sent {
		return
	}
	s.note(r.Class, r.Reply)
	t.reason(r.Class, r.Reply, r.Err).outcomes[r.Outcome]++
}

// observe is Config.Observe.
func (t *tally) observe(e sender.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Kind {
	case sender.EventSent:
		s := t.site(e.Site)
		if s.first.IsZero() {
			s.first = e.Time
		}
		s.last = e.Time
	case sender.EventRetry:
		t.retries++
		name := siteName(e.Site, e.Recipient)
		t.site(name).note(e.Class, e.Reply)
		t.reason(e.Class, e.Reply, e.Err).retries++
	case sender.EventPaused:
		t.paused = e.Err
	case sender.EventResumed:
		t.paused = nil
	case sender.EventHeld:
		s := t.site(e.Site)
		s.trouble = e.Reply.String()
	case sender.EventConnOpened:
		s := t.site(e.Site)
		s.conns++
		if e.TLS {
			s.encrypted++
		}
	}
}

// sample notes which limits hold mail back now.
func (t *tally) sample(snap sender.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sites {
		s.now = sender.Destination{}
	}
	for _, d := range snap.Destinations {
		s := t.site(d.Site)
		s.now = d
		if d.Queued == 0 {
			continue
		}
		s.samples++
		if by := bound(&d); by != "" {
			s.bound[by]++
		}
	}
}

// What binds a destination beside its limits.
const (
	onHold  = "on hold"  // it asked for a pause, or does not answer
	nextTry = "next try" // all its mail has failed for now and waits
)

// bound names what holds mail back: a limit, onHold or nextTry.
func bound(d *sender.Destination) string {
	switch {
	case d.Binding == "" && d.Queued > 0 && d.Deferred == d.Queued:
		return nextTry
	case d.Reply.String() != "":
		return onHold
	default:
		return d.Binding
	}
}

// binding is the limit that held mail back most of the time, and for how much
// of it.
func (s *siteTally) binding() (name string, share float64) {
	for _, k := range slices.Sorted(maps.Keys(s.bound)) {
		if s.bound[k] > s.bound[name] {
			name = k
		}
	}
	if name == "" {
		return "", 0
	}
	return name, float64(s.bound[name]) / float64(s.samples)
}

// rate is messages for each second between the first and the last one sent.
func (s *siteTally) rate() float64 {
	between := s.last.Sub(s.first).Seconds()
	if between <= 0 {
		return 0
	}
	return float64(s.outcomes[sender.Sent]-1) / between
}

// bySize returns copies of the destinations, the largest first.
func (t *tally) bySize() []siteTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]siteTally, 0, len(t.sites))
	for _, s := range t.sites {
		c := *s
		c.bound = maps.Clone(s.bound)
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b siteTally) int {
		return cmp.Or(cmp.Compare(b.size(), a.size()), cmp.Compare(a.name, b.name))
	})
	return list
}

func (s *siteTally) size() int { return s.outcomes.done() + s.now.Queued + s.now.InFlight }

// byReason returns copies of the reasons, the commonest first.
func (t *tally) byReason() []reasonTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]reasonTally, 0, len(t.reasons))
	for _, c := range t.reasons {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b reasonTally) int {
		return cmp.Or(cmp.Compare(b.outcomes.done(), a.outcomes.done()), cmp.Compare(b.retries, a.retries), cmp.Compare(a.name, b.name))
	})
	return list
}

// trouble is why nothing is sent now, nil if all is well.
func (t *tally) trouble() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.paused
}

// totals returns the sums.
func (t *tally) totals() (o outcomes, retries int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outcomes, t.retries
}
