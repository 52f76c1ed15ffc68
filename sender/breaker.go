package sender

import (
	"fmt"
	"time"

	"github.com/volleymail/volley/bounce"
)

// Breaker stops a stream at a destination when what comes back says that the
// list or the mail is bad: going on would cost the sender's reputation. What
// waits is held, not lost. See Sender.Resume.
type Breaker struct {
	// Sample is how many recipients must have ended there within Period for a
	// judgement. 0 = 200.
	Sample int

	// Period that is looked at. 0 = 1 hour.
	Period time.Duration

	// HardBounces is the part of recipients that may turn out dead, Blocks the
	// part that may be refused because of us. 0 = 0.1 each, where Momentum's
	// adaptive delivery suspends; 1 = never.
	HardBounces, Blocks float64

	// Complaints is the part of the delivered that may be reported as spam, see
	// Sender.Complained. 0 = 0.003, the limit of Gmail and Yahoo; 1 = never.
	Complaints float64

	// Hold is how long the stream is held. 0 = until Resume.
	Hold time.Duration
}

func (b *Breaker) check(bad func(string, ...any)) {
	if b.Sample < 0 || b.Period < 0 || b.Hold < 0 {
		bad("Breaker: Sample, Period and Hold must not be negative; 0 means the default")
	}
	for _, p := range []struct {
		name string
		part float64
	}{{"HardBounces", b.HardBounces}, {"Blocks", b.Blocks}, {"Complaints", b.Complaints}} {
		if !(p.part >= 0 && p.part <= 1) { // NaN neither
			bad("Breaker.%s is %v: it is a part, from 0 to 1", p.name, p.part)
		}
	}
	setDefault(&b.Period, time.Hour)
	setDefault(&b.Sample, 200)
	setDefault(&b.HardBounces, 0.1)
	setDefault(&b.Blocks, 0.1)
	setDefault(&b.Complaints, 0.003)
}

// tally counts what became of the recipients of a stream at a site over the
// last period: in the half of it that runs, and in the one before.
type tally struct {
	now, before counts
	since       time.Time // when now began
}

type counts struct{ ended, delivered, hard, blocked, complaints int }

// at moves on to the half period that t falls in, and returns what to count in.
func (t *tally) at(now time.Time, period time.Duration) *counts {
	switch age := now.Sub(t.since); {
	case age >= period:
		t.before, t.now, t.since = counts{}, counts{}, now
	case age >= period/2:
		t.before, t.now, t.since = t.now, counts{}, t.since.Add(period/2)
	}
	return &t.now
}

func (t *tally) sum() counts {
	a, b := t.now, t.before
	return counts{a.ended + b.ended, a.delivered + b.delivered, a.hard + b.hard, a.blocked + b.blocked, a.complaints + b.complaints}
}

// verdict says why the stream must stop, "" if it need not.
func (b *Breaker) verdict(c counts) string {
	if c.ended < b.Sample {
		return ""
	}
	for _, v := range []struct {
		what    string
		n, of   int
		allowed float64
	}{
		{"dead addresses", c.hard, c.ended, b.HardBounces},
		{"refused because of us", c.blocked, c.ended, b.Blocks},
		{"complaints", c.complaints, c.delivered, b.Complaints},
	} {
		if part := float64(v.n) / float64(max(v.of, 1)); part > v.allowed {
			return fmt.Sprintf("%s: %d of %d, %.2g%% are allowed", v.what, v.n, v.of, 100*v.allowed)
		}
	}
	return ""
}

// forever is when a hold without end ends.
var forever = time.Unix(1<<40, 0)

// count notes what became of recipients of a stream, and stops the stream if
// that is too much.
func (st *site) count(stream string, now time.Time, note func(*counts)) {
	b := &st.s.cfg.Breaker
	f := st.backlog.flow(stream)
	note(f.tally.at(now, b.Period))
	why := b.verdict(f.tally.sum())
	if why == "" || now.Before(f.until) {
		return
	}
	until := forever
	if b.Hold > 0 {
		until = now.Add(b.Hold)
	}
	f.tally = tally{}
	f.hold(until, why)
	st.s.cfg.log.Error("stream stopped", "site", st.name, "stream", stream, "why", why, "until", until)
	st.s.cfg.Observe(Event{Kind: EventStopped, Time: now, Site: st.name, Stream: stream, At: until, Reply: bounce.Local(bounce.StageLocal, bounce.Status{}, why)})
}
