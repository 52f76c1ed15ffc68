package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/volleymail/volley/sender"
)

// progress shows how the campaign goes: on a terminal a table that is drawn
// again and again, elsewhere a line now and then.
type progress struct {
	e        *env
	tally    *tally
	snapshot func() sender.Snapshot
	limit    time.Duration // the campaign's -for, 0 = none
	quit     chan struct{} // closed by stop
	ended    chan struct{} // closed when run has ended

	drawn int       // owned by run: lines on the screen
	last  int       // owned by run: sent when the rate was last measured
	since time.Time // owned by run: when that was
	speed float64   // owned by run: sent for each second, lately
}

const (
	sampleEvery = 100 * time.Millisecond // look which limits hold mail back, redraw
	lineEvery   = 2 * time.Second        // write a line where there is no terminal
	measureOver = time.Second            // to tell the speed
	otherLines  = 8                      // of the display, beside destinations
)

func startProgress(e *env, t *tally, snapshot func() sender.Snapshot, limit time.Duration) *progress {
	p := &progress{e: e, tally: t, snapshot: snapshot, limit: limit, since: t.start, last: t.earlier[sender.Sent],
		quit: make(chan struct{}), ended: make(chan struct{})}
	go p.run()
	return p
}

// stop ends the display and waits for it.
func (p *progress) stop() {
	close(p.quit)
	<-p.ended
}

func (p *progress) run() {
	defer close(p.ended)
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	next := p.tally.start.Add(lineEvery)
	for {
		select {
		case <-p.quit:
			p.erase()
			return
		case now := <-ticker.C:
			p.tally.sample(p.snapshot())
			p.measure(now)
			switch {
			case p.e.screen != nil:
				p.draw(now)
			case !now.Before(next):
				fmt.Fprintln(p.e.stdout, p.line(now))
				next = next.Add(lineEvery)
			}
		}
	}
}

func (p *progress) measure(now time.Time) {
	passed := now.Sub(p.since)
	if passed < measureOver {
		return
	}
	o, _ := p.tally.totals()
	p.speed = float64(o[sender.Sent]-p.last) / passed.Seconds()
	p.last, p.since = o[sender.Sent], now
}

// line tells it all in one line.
func (p *progress) line(now time.Time) string {
	o, retries := p.tally.totals()
	return fmt.Sprintf("%4.0fs  %3d%%  %s  %s", now.Sub(p.tally.start).Seconds(), 100*o.done()/p.tally.total, p.counts(o, retries), perSecond(p.speed))
}

func (p *progress) counts(o outcomes, retries int) string {
	parts := []string{fmt.Sprintf("%7s sent", number(o[sender.Sent]))}
	for _, k := range []sender.Outcome{sender.Rejected, sender.Deferred, sender.Unknown, sender.Suppressed, sender.Canceled} {
		if o[k] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", number(o[k]), k))
		}
	}
	parts = append(parts, fmt.Sprintf("%s to go", number(p.tally.total-o.done())))
	if retries > 0 {
		parts = append(parts, fmt.Sprintf("%s retries", number(retries)))
	}
	if err := p.tally.trouble(); err != nil {
		parts = append(parts, fmt.Sprintf("nothing is sent for now: %v", err))
	}
	return strings.Join(parts, ", ")
}

func (p *progress) up() string {
	if p.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r", p.drawn)
}

// draw writes the display over the last one.
func (p *progress) draw(now time.Time) {
	lines := p.frame(now)
	for i, line := range lines {
		lines[i] = cut(line, p.e.screen.width)
	}
	frame := noWrap + p.up() + strings.Join(lines, lineEnd) + lineEnd + clearEnd + wrap
	fmt.Fprint(p.e.stdout, frame)
	p.drawn = len(lines)
}

func (p *progress) erase() {
	if p.drawn > 0 {
		fmt.Fprint(p.e.stdout, p.up()+clearEnd)
	}
}

func (p *progress) frame(now time.Time) []string {
	o, retries := p.tally.totals()
	lines := []string{
		fmt.Sprintf("%s %3d%%  %s  %s", bar(o.done(), p.tally.total, 40), 100*o.done()/p.tally.total, p.clock(now), perSecond(p.speed)),
		p.counts(o, retries),
		"",
	}
	t := newTable([]int{5, 6}, "destination", "waiting", "conns", "sent", "rejected", "bound by", "last trouble")
	hidden, idle, most := 0, 0, max(1, p.e.screen.height-otherLines)
	for _, s := range p.tally.bySize() {
		switch {
		case s.now.Queued+s.now.InFlight == 0:
			idle++
		case len(t.rows) == most:
			hidden++
		default:
			t.add(cut(s.name, 34), count(s.now.Queued), count(s.now.Conns), count(s.outcomes[sender.Sent]),
				count(s.outcomes[sender.Rejected]), boundNow(&s.now, now), cut(s.remark(), maxReply))
		}
	}
	lines = append(lines, t.lines(28, 7, 5, 5, 8, 11)...)
	return append(lines, "", fmt.Sprintf("%d more at work, %d done", hidden, idle))
}

func (p *progress) clock(now time.Time) string {
	clock := now.Sub(p.tally.start).Truncate(time.Second).String()
	if p.limit > 0 {
		clock += " of " + p.limit.String()
	}
	return clock
}

// boundNow is bound with the time that is left of a hold.
func boundNow(d *sender.Destination, now time.Time) string {
	by := bound(d)
	if left := d.Until.Sub(now); by == onHold && left > 0 {
		by += fmt.Sprintf(" %.0fs", left.Seconds())
	}
	return by
}

func bar(done, total, width int) string {
	full := width * done / total
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
