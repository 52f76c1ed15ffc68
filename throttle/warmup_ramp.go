package throttle

import (
	"sync"
	"time"
)

// ramp is a warm-up at one site. The Controllers of several sources may share it.
type ramp struct {
	curve  Curve
	spread time.Duration

	mu        sync.Mutex
	rampState // guarded by mu
}

// rampState is what has to be remembered.
type rampState struct {
	stage  int       // index of the curve; its length = warm
	began  time.Time // of the day; zero = nothing was sent yet
	sent   int       // in this day
	bad    int       // signals in this day
	back   bool      // it was stepped back in this day
	paused time.Time // until then
	last   time.Time // the last start
	reply  string    // the last bad signal
	slots  [daySlots]uint32
	newest int64 // number of the newest slot since 1970
}

const (
	slotTime = 15 * time.Minute
	daySlots = int(day/slotTime) + 1 // that a day may touch

	coldAfter   = 30 * day
	blockPauses = 24 * time.Hour
	slowPauses  = 2 * time.Hour
	leastBad    = 5  // signals in a day
	badShare    = 33 // one in so many is bad
)

func slotOf(t time.Time) int64 { return t.UnixNano() / int64(slotTime) }

// today returns the stage of the curve at the time now and whether a new day
// would begin with a start then.
func (r *ramp) today(now time.Time) (stage int, fresh bool) {
	switch {
	case r.began.IsZero():
		return r.stage, true
	case now.Sub(r.last) >= coldAfter:
		return 0, true
	case now.Sub(r.began) < day:
		return r.stage, false
	case r.stage < len(r.curve) && 2*r.sent >= r.curve[r.stage] && !r.back:
		return r.stage + 1, true
	}
	return r.stage, true
}

// within returns how many starts there were in the 24 h before now: never too
// few, and too many by those of a slot at most.
func (r *ramp) within(now time.Time) (sum int) {
	oldest := slotOf(now.Add(-day))
	for i, n := range r.slots {
		if r.number(i) >= oldest {
			sum += int(n)
		}
	}
	return sum
}

// number returns the number of the slot that stands at i.
func (r *ramp) number(i int) int64 {
	behind := (r.newest - int64(i)) % int64(daySlots)
	if behind < 0 {
		behind += int64(daySlots)
	}
	return r.newest - behind
}

// next returns the earliest start by the warm-up alone, and what decides it.
func (r *ramp) next(now time.Time) (next time.Time, why string) {
	if r.paused.After(now) {
		now, why = r.paused, "paused"
	}
	stage, _ := r.today(now)
	next, capped := r.allowed(now, stage)
	if ends := r.began.Add(day); !r.began.IsZero() && ends.After(now) && next.After(ends) {
		stage, _ := r.today(ends) // the next day may allow more, and earlier
		next, _ = r.allowed(ends, stage)
	}
	if capped {
		why = "cap"
	} else if next.After(now) {
		why = "pace"
	}
	return next, why
}

// allowed returns the earliest start from now on with the cap of a stage, and
// whether the cap decides it.
func (r *ramp) allowed(now time.Time, stage int) (next time.Time, capped bool) {
	if stage >= len(r.curve) {
		return now, false
	}
	most := r.curve[stage]
	next = now
	if !r.last.IsZero() {
		next = later(now, r.last.Add(ceilDiv(r.spread, time.Duration(most))))
	}
	over := r.within(next) - most
	if over < 0 {
		return next, false
	}
	for slot := slotOf(next.Add(-day)); over >= 0 && slot <= r.newest; slot++ {
		over -= int(r.slotted(slot))
		next = time.Unix(0, (slot+1)*int64(slotTime)).In(now.Location()).Add(day)
	}
	return later(now, next), true
}

// slotted returns how many starts there were in a slot.
func (r *ramp) slotted(slot int64) uint32 {
	if slot > r.newest || slot <= r.newest-int64(daySlots) || slot < 0 {
		return 0
	}
	return r.slots[slot%int64(daySlots)]
}

// take counts a start.
func (r *ramp) take(now time.Time) {
	stage, fresh := r.today(now)
	if fresh {
		r.stage, r.began = stage, now
		r.sent, r.bad, r.back = 0, 0, false
	}
	r.sent++
	r.last = now
	slot := slotOf(now)
	if slot >= r.newest+int64(daySlots) {
		clear(r.slots[:])
		r.newest = slot
	}
	for r.newest < slot {
		r.newest++
		r.slots[r.newest%int64(daySlots)] = 0
	}
	r.slots[slot%int64(daySlots)]++
}

// observe looks for bad signals.
func (r *ramp) observe(now time.Time, f Feedback) {
	switch {
	case f.Event == Blocked:
		if !r.paused.After(now) { // else of the same burst
			r.stepBack(now, blockPauses, f)
		}
		return
	case f.Event == SlowDown:
	case f.Event == Refused && isBad(f.Category):
	default:
		return
	}
	r.bad++
	if r.bad >= leastBad && r.bad*badShare >= r.sent && !r.back {
		r.stepBack(now, slowPauses, f)
	}
}

func isBad(category string) bool {
	return category == "spam-content" || category == "reputation-block" || category == "policy-block"
}

func (r *ramp) stepBack(now time.Time, pause time.Duration, f Feedback) {
	r.stage = max(0, min(r.stage, len(r.curve))-1)
	r.back = true
	r.paused = now.Add(max(pause, min(f.Wait, maxFor)))
	r.reply = shorten(f.Text)
}

func (r *ramp) progress(now time.Time) WarmupProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := WarmupProgress{Sent: r.within(now), Reply: r.reply}
	if stage, _ := r.today(now); stage < len(r.curve) {
		p.Day, p.Cap = stage+1, r.curve[stage]
	}
	if r.paused.After(now) {
		p.Paused = r.paused
	}
	return p
}

// warming is the Controller of a ramp.
type warming struct{ *ramp }

func (w warming) Next(now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	next, _ := w.next(now)
	return next
}

func (w warming) Take(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take(now)
}

func (w warming) Conns(now time.Time) Conns {
	w.mu.Lock()
	defer w.mu.Unlock()
	if next, why := w.next(now); next.After(now) && why != "pace" {
		return Conns{Next: next, Idle: maxFor}
	}
	return Conns{Max: noLimit, Idle: maxFor}
}

func (w warming) Observe(now time.Time, f Feedback) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observe(now, f)
}

func (w warming) Binding(now time.Time) string { return w.Detail(now).Limit }

func (w warming) Detail(now time.Time) Detail {
	w.mu.Lock()
	defer w.mu.Unlock()
	next, why := w.next(now)
	if !next.After(now) {
		return Detail{}
	}
	stage, _ := w.today(now)
	d := Detail{Limit: "paused", Rule: "warm-up", Until: next, Reply: w.reply}
	if stage < len(w.curve) && why != "paused" {
		d = Detail{Limit: Rate{w.curve[stage], day}.String(), Rule: "warm-up"}
		if why == "cap" {
			d.Until = next
		}
	}
	return d
}

// Settled: what a warm-up remembers is not the Controller's but the Warmup's.
func (w warming) Settled(now time.Time) time.Time { return now }
