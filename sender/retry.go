package sender

import (
	"math/rand/v2"
	"time"
)

// Retry says when and how long a failed recipient is tried again
// (RFC 5321 §4.5.4.1). The zero Retry is right for bulk mail.
type Retry struct {
	// Schedule is the waits after the first, second ... failed attempt; the last
	// one repeats. nil = 5, 15, 30 minutes, 1, 2, 4 hours.
	Schedule []time.Duration

	// Jitter spreads each wait by up to this part of it, up or down, so that
	// retries do not come in waves. 0 = 0.2, negative = none.
	Jitter float64

	// Lifetime is how long a message is tried. 0 = 5 days.
	Lifetime time.Duration

	// MaxAttempts ends a recipient as Deferred after so many failed attempts,
	// for callers that try again themselves. 0 = only Lifetime counts.
	MaxAttempts int

	// Pause is how long a destination is held after a reply that asks us to
	// slow down without saying how long, where its Controller does not see to that
	// itself (throttle.Adapter): then only the refused recipient waits so long. It
	// doubles each time until something is delivered, up to MaxPause. 0 = 1 minute
	// and 1 hour.
	Pause, MaxPause time.Duration
}

var defaultSchedule = []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}

func (r *Retry) check(bad func(string, ...any)) {
	for i, d := range r.Schedule {
		if d <= 0 {
			bad("Retry.Schedule[%d] is %v: each wait must be positive", i, d)
		}
	}
	if !(r.Jitter <= 1) { // NaN neither
		bad("Retry.Jitter is %v: it must be at most 1", r.Jitter)
	}
	if r.Lifetime < 0 || r.MaxAttempts < 0 || r.Pause < 0 || r.MaxPause < 0 {
		bad("Retry: Lifetime, MaxAttempts, Pause and MaxPause must not be negative; 0 means the default")
	}
	if r.MaxPause > 0 && r.MaxPause < r.Pause {
		bad("Retry.MaxPause is %v, less than Pause, %v: make it as long or leave it 0", r.MaxPause, r.Pause)
	}
	if len(r.Schedule) == 0 {
		r.Schedule = defaultSchedule
	}
	if r.Jitter == 0 {
		r.Jitter = 0.2
	}
	setDefault(&r.Lifetime, 5*24*time.Hour)
	setDefault(&r.Pause, time.Minute)
	setDefault(&r.MaxPause, max(time.Hour, r.Pause))
}

func setDefault[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// wait returns the wait after the nth failure in a row (n from 1), not shorter
// than what the server asked for.
// The same seed gets the same jitter: recipients of one message come back together.
func (r *Retry) wait(n int, asked time.Duration, seed uint64) time.Duration {
	return max(r.spread(r.Schedule[min(max(n, 1), len(r.Schedule))-1], seed+uint64(n)), asked)
}

// pause returns how long to hold a destination after the nth slow-down in a
// row (n from 1).
func (r *Retry) pause(n int, asked time.Duration) time.Duration {
	d := r.MaxPause
	if shift := max(n, 1) - 1; shift < 30 {
		d = min(r.Pause<<shift, r.MaxPause)
	}
	return max(r.spread(d, rand.Uint64()), asked)
}

func (r *Retry) spread(d time.Duration, seed uint64) time.Duration {
	if r.Jitter < 0 {
		return d
	}
	luck := rand.New(rand.NewPCG(seed, 0)).Float64()
	return time.Duration(float64(d) * (1 + r.Jitter*(2*luck-1)))
}
