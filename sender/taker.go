package sender

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/volleymail/volley/bounce"
)

// taker takes from the Queue what is due, while there is room for it in memory.
// Each stream has a window of its own, so that a receipt finds room whatever
// waits of a newsletter, and within it each site has a share, so that slow
// sites leave room for the others. One goroutine runs it and owns the fields.
type taker struct {
	s    *Sender
	own  *run // of the items: it never ends
	box  *inbox[takerMsg]
	ctx  context.Context // ends when nothing more is to be taken
	halt context.CancelFunc
	done chan struct{} // closed when the goroutine has ended

	streams map[string]*window   // never changes
	places  map[string]string    // a domain's site, as the scheduler knows it
	lapse   time.Time            // when a suspension ends, zero = none does
	held    map[string]time.Time // sites, and domains without one: nothing goes there before
}

type takerKind uint8

const (
	takerLook    takerKind = iota // there may be more in the Queue
	takerLeft                     // lines: recipients have left the memory; something is due then
	takerLocated                  // domain has the site place
	takerForget                   // domain
	takerHold                     // place is held until
	takerFree                     // sites are held no more: answer
)

type takerMsg struct {
	kind          takerKind
	lines         []Line
	domain, place string
	until         time.Time
	sites         []string             // nil = all
	answer        chan<- []string      // the domains that were held; has room
	due           map[string]time.Time // when something falls due, by stream
}

// window is what a stream has in memory.
type window struct {
	stream string
	lines  map[string]int // recipients by domain
	sites  map[string]int // and by site; a domain whose site is not known is one of its own
	used   int
	fails  int // looks in a row

	share atomic.Int64 // what a site may have now; read by sites

	full      bool      // something was passed over: look when some have left
	lookAt    time.Time // look then
	restUntil time.Time // but not before: a look that took long is not repeated at once
}

const (
	takeMax  = 1000            // recipients taken at once
	minShare = 50              // what a site may have in memory, however many there are
	lookRest = 3               // a look is followed by a rest so many times as long
	minStay  = time.Minute     // who has to wait longer goes back to the Queue
	reLook   = 5 * time.Minute // a look without cause, against mistakes of a Queue
)

func newTaker(s *Sender) *taker {
	t := &taker{s: s, box: newInbox[takerMsg](), done: make(chan struct{}),
		streams: map[string]*window{}, places: map[string]string{}, held: map[string]time.Time{}}
	t.ctx, t.halt = context.WithCancel(s.ctx)
	t.own = newRun(s, s.ctx)
	t.own.queue = true
	t.streams[""] = newWindow("")
	for name := range s.cfg.Streams {
		t.streams[name] = newWindow(name)
	}
	return t
}

func newWindow(stream string) *window {
	return &window{stream: stream, lines: map[string]int{}, sites: map[string]int{}}
}

// look makes the taker look into the Queue.
func (t *taker) look() { t.box.put(takerMsg{kind: takerLook}) }

// hold keeps mail to a site, or to a domain, in the Queue until then.
func (t *taker) hold(place string, until time.Time) {
	t.box.put(takerMsg{kind: takerHold, place: place, until: until})
}

// wrote notes what the Queue was told: who has left the memory, and when something
// new falls due.
func (t *taker) wrote(notes []note) {
	var lines []Line
	due := map[string]time.Time{} // by stream
	add := func(stream string, at time.Time) {
		if first, ok := due[stream]; !ok || at.Before(first) {
			due[stream] = at
		}
	}
	for i := range notes {
		n := &notes[i]
		if n.left {
			lines = append(lines, n.leave)
		}
		if n.Kind == Later {
			add(n.leave.Stream, n.Due)
		}
		if n.Notice != nil {
			add(n.Notice.Stream, n.Notice.Due)
		}
	}
	if len(lines) > 0 {
		t.box.put(takerMsg{kind: takerLeft, lines: lines, due: due})
	}
}

func (t *taker) run() {
	defer close(t.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var msgs []takerMsg
	for t.ctx.Err() == nil {
		msgs = t.box.take(msgs)
		for i := range msgs {
			t.handle(&msgs[i])
		}
		timer.Reset(t.pump(time.Now()))
		select {
		case <-t.box.wake:
		case <-timer.C:
		case <-t.ctx.Done():
		}
	}
}

func (t *taker) handle(m *takerMsg) {
	switch m.kind {
	case takerLook:
		t.news()
	case takerLeft:
		for _, l := range m.lines {
			w := t.streams[l.Stream]
			w.add(l.Domain, t.place(l.Domain), -1)
			if w.full {
				w.lookAt = time.Time{}
			}
		}
		for stream, at := range m.due {
			if w := t.streams[stream]; at.Before(w.lookAt) {
				w.lookAt = at
			}
		}
	case takerLocated:
		t.locate(m.domain, m.place)
	case takerForget:
		if until, held := t.held[t.place(m.domain)]; held {
			t.held[m.domain] = until // the site's name will mean nothing for it
		}
		t.locate(m.domain, m.domain)
		delete(t.places, m.domain)
	case takerHold:
		t.held[m.place] = m.until
	case takerFree:
		m.answer <- t.free(m.sites)
	}
}

// free takes holds back and returns the domains that they held.
func (t *taker) free(sites []string) (domains []string) {
	for domain, site := range t.places {
		_, held := t.held[site]
		_, alone := t.held[domain]
		if picks(sites, site) && (held || alone) {
			domains = append(domains, domain)
		}
	}
	for place := range t.held {
		if picks(sites, t.place(place)) {
			if t.place(place) == place {
				domains = append(domains, place) // a domain whose site is not known
			}
			delete(t.held, place)
		}
	}
	t.news()
	return domains
}

// place is the site of a domain, or the domain while that is not known.
func (t *taker) place(domain string) string {
	if p, ok := t.places[domain]; ok {
		return p
	}
	return domain
}

func (t *taker) locate(domain, place string) {
	old := t.place(domain)
	t.places[domain] = place
	for _, w := range t.streams {
		if n := w.lines[domain]; n > 0 {
			w.count(old, -n)
			w.count(place, n)
		}
	}
}

func (w *window) add(domain, place string, n int) {
	w.used += n
	if w.lines[domain] += n; w.lines[domain] == 0 {
		delete(w.lines, domain)
	}
	w.count(place, n)
}

func (w *window) count(place string, n int) {
	if w.sites[place] += n; w.sites[place] == 0 {
		delete(w.sites, place)
	}
}

// pump looks for each stream that may have something due, and returns how long
// to wait until the next look.
func (t *taker) pump(now time.Time) time.Duration {
	for place, until := range t.held {
		if !now.Before(until) {
			delete(t.held, place)
			t.news()
		}
	}
	if !t.lapse.IsZero() && !now.Before(t.lapse) {
		t.news()
	}
	t.lapse = t.s.lapse()
	wake := sooner(now.Add(reLook), t.lapse)
	for _, w := range t.streams {
		wake = sooner(wake, t.lookFor(w, now))
	}
	for _, until := range t.held {
		wake = sooner(wake, until)
	}
	return max(time.Until(wake), 0)
}

// news makes all streams be looked for.
func (t *taker) news() {
	for _, w := range t.streams {
		w.lookAt = time.Time{}
	}
}

// lookFor takes what is due of a stream, and returns when to look again.
func (t *taker) lookFor(w *window, now time.Time) time.Time {
	size := t.s.cfg.QueueWindow
	w.share.Store(int64(max((size-2*batchOf(size)-w.used)/2, min(minShare, size))))
	switch at := latest(w.lookAt, w.restUntil); {
	case t.s.paused.Load():
		return now.Add(reLook) // resumeQueue makes us look
	case at.After(now):
		return at
	case size-w.used < batchOf(size):
		w.full = true
		w.lookAt = now.Add(reLook)
		return w.lookAt
	}
	w.full = false
	room := func(l Line) int {
		n := t.room(w, l, now)
		w.full = w.full || n == 0
		return n
	}
	taken, next, err := t.s.cfg.Queue.Take(t.ctx, w.stream, now, batchOf(size), room)
	if err != nil {
		return t.failed(w, err, now)
	}
	w.fails = 0
	before := w.used
	t.hand(w, taken, now)
	got := w.used - before
	switch {
	case len(taken) > 0:
		w.lookAt = now // there may be more
	case next.IsZero():
		w.lookAt = now.Add(reLook)
	default:
		w.lookAt = latest(next, now.Add(time.Millisecond))
	}
	if end := time.Now(); got < takeMax/4 { // much work for little
		w.restUntil = end.Add(lookRest * end.Sub(now))
	}
	return latest(w.lookAt, w.restUntil)
}

// failed puts the next look off.
func (t *taker) failed(w *window, err error, now time.Time) time.Time {
	if t.ctx.Err() == nil {
		t.s.cfg.log.Error("Config.Queue cannot be read", "err", err)
	}
	w.fails++
	w.lookAt = now.Add(min(writeRetry<<min(w.fails-1, 8), writeMax))
	return w.lookAt
}

// batchOf is how many recipients are taken at once into a window.
func batchOf(size int) int { return min(takeMax, size/8+1) }

// room is how many more recipients of the line may be in memory: its site may
// have half as many as there is room left. So n sites that take nothing fill n
// parts in n+2 of the window, and another finds room in it; only when they are so
// many that each has no more than minShare is it full.
func (t *taker) room(w *window, l Line, now time.Time) int {
	place := t.place(l.Domain)
	if now.Before(t.held[place]) || now.Before(t.held[l.Domain]) || t.s.suspended(l, place, now) {
		return 0
	}
	share, have := int(w.share.Load()), w.sites[place]
	if free := share - have; have == 0 || free >= share/8 {
		return free
	}
	return 0
}

// crowded reports whether a site that has n recipients of a stream has too many:
// domains of which nobody knew that they are served by it have had room too.
func (t *taker) crowded(stream string, n int) bool {
	return int64(n) >= 2*t.streams[stream].share.Load()
}

// hand gives what was taken to the scheduler, the recipients of a domain together.
func (t *taker) hand(w *window, taken []*Taken, now time.Time) {
	var sub submission
	flush := func() {
		if sub.items.n > 0 && !t.s.sched.submit(sub) {
			for it := sub.items.pop(); it != nil; it = sub.items.pop() {
				t.s.clerk.later(it, "", now, now)
			}
		}
		sub = submission{}
	}
	for _, tk := range taken {
		if tk.Domain != sub.domain {
			flush()
		}
		sub.domain = tk.Domain
		t.items(w, tk, now, &sub.items)
	}
	flush()
}

// items makes the items of what was taken, and ends those that need not go on.
func (t *taker) items(w *window, tk *Taken, now time.Time, to *list) {
	m := tk.Message
	m.queued = tk
	w.add(tk.Domain, t.place(tk.Domain), len(tk.Recipients))
	wrong := t.s.checkMessage(m)
	born := min(tk.Born.UnixNano(), now.UnixNano()) // SendNow may have made a scheduled start come early
	for i := range tk.Recipients {
		r := &tk.Recipients[i]
		it := &item{msg: m, run: t.own, born: born, id: uint64(tk.Number), rcpt: uint32(i),
			tries: uint16(min(r.Attempts, 1<<16-1)), last: r.Last.failure()}
		_, bad := parseMailbox(m.To[i])
		switch {
		case wrong != nil:
			t.s.refuse(it, localClass, wrong, now)
		case bad != nil:
			t.s.refuseAddress(it, bad, now)
		case r.InFlight && !t.s.stream(m).RetryUnknown:
			it.tries++
			t.s.finish(it, outcome{Outcome: Unknown, failure: unknownFailure()}, now)
		default:
			to.pushBack(it)
		}
	}
}

// unknownFailure is that of a recipient whose message was on the wire when the
// process ended.
func unknownFailure() *failure {
	f := localFailure(bounce.StageBody, bounce.Status{4, 4, 2}, errEnded) // RFC 3463 §3.5
	f.dot = true
	return f
}
