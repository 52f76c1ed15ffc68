package throttle

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// savedWarmup is the JSON of Save.
type savedWarmup struct {
	Version int         `json:"version"` // 1
	Ramps   []savedRamp `json:"ramps"`
}

type savedRamp struct {
	Unit   string     `json:"unit"`
	Site   string     `json:"site"`
	Stage  int        `json:"stage"`
	Began  time.Time  `json:"began,omitzero"`
	Sent   int        `json:"sent,omitempty"`
	Bad    int        `json:"bad,omitempty"`
	Back   bool       `json:"back,omitempty"`
	Paused time.Time  `json:"paused,omitzero"`
	Last   time.Time  `json:"last,omitzero"`
	Reply  string     `json:"reply,omitempty"`
	Slots  [][2]int64 `json:"slots,omitempty"` // number since 1970 of a quarter of an hour, starts in it
}

// Save writes how far all warm-ups are, as JSON. Sending may go on meanwhile.
// Save often enough that what a crash forgets does not matter, say every minute.
func (w *Warmup) Save(to io.Writer) error {
	saved := savedWarmup{Version: 1, Ramps: []savedRamp{}}
	w.mu.Lock()
	for k, r := range w.ramps {
		saved.Ramps = append(saved.Ramps, r.save(k))
	}
	w.mu.Unlock()
	if err := json.NewEncoder(to).Encode(saved); err != nil {
		return fmt.Errorf("throttle: saving the warm-up: %w", err)
	}
	return nil
}

func (r *ramp) save(k rampKey) savedRamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := savedRamp{Unit: k.Unit, Site: k.Site, Stage: r.stage, Began: r.began, Sent: r.sent, Bad: r.bad,
		Back: r.back, Paused: r.paused, Last: r.last, Reply: r.reply}
	for slot := r.newest - int64(daySlots) + 1; slot <= r.newest; slot++ {
		if n := r.slotted(slot); n > 0 {
			s.Slots = append(s.Slots, [2]int64{slot, int64(n)})
		}
	}
	return s
}

// maxState bounds what Load reads, in bytes.
const maxState = 256 << 20

// Load takes over what Save has written, in place of what w knows. Call it before
// the first For. A stage beyond the end of the curve is warm. On an error w is
// unchanged.
func (w *Warmup) Load(from io.Reader) error {
	var saved savedWarmup
	if err := json.NewDecoder(io.LimitReader(from, maxState)).Decode(&saved); err != nil {
		return fmt.Errorf("throttle: loading the warm-up: %w", err)
	}
	if saved.Version != 1 {
		return fmt.Errorf("throttle: loading the warm-up: version %d is not known", saved.Version)
	}
	ramps := map[rampKey]*ramp{}
	for _, s := range saved.Ramps {
		r := &ramp{curve: w.options.Curve, spread: w.options.Spread}
		if !r.load(s) {
			return fmt.Errorf("throttle: loading the warm-up: unit %q at site %q makes no sense", s.Unit, s.Site)
		}
		ramps[rampKey{s.Unit, s.Site}] = r
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ramps = ramps
	return nil
}

func (r *ramp) load(s savedRamp) bool {
	r.stage = min(s.Stage, len(r.curve))
	r.began, r.sent, r.bad, r.back = s.Began, s.Sent, s.Bad, s.Back
	r.paused, r.last, r.reply = s.Paused, s.Last, s.Reply
	if s.Stage < 0 || s.Sent < 0 || s.Bad < 0 || s.Last.IsZero() != s.Began.IsZero() || len(s.Slots) > daySlots {
		return false
	}
	for _, at := range []time.Time{s.Began, s.Paused, s.Last} {
		if !at.IsZero() && (at.Year() < 1970 || at.Year() > 2200) { // what slots can count
			return false
		}
	}
	for i, slot := range s.Slots {
		number, n := slot[0], slot[1]
		if n < 1 || n > maxN || number < 0 || i > 0 && number <= r.newest ||
			number-s.Slots[0][0] >= int64(daySlots) || number > slotOf(s.Last) {
			return false
		}
		r.newest = number
	}
	for _, slot := range s.Slots {
		r.slots[slot[0]%int64(daySlots)] = uint32(slot[1])
	}
	return true
}
