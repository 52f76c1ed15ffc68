package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/volleymail/volley/sender"
)

// campaign is a mailing ready to go, the demonstration's or a real one.
type campaign struct {
	cfg   sender.Config
	mail  *composer
	out   string        // file of results, "" = a new one in the temporary folder
	limit time.Duration // -for, 0 = none
}

// errTime is why recipients are deferred when -for is over.
var errTime = errors.New("the time that -for gives was over")

// shutdownTime is how long Shutdown may take to end what is on the wire.
const shutdownTime = 10 * time.Second

// summary is how a campaign ended.
type summary struct {
	*tally
	left int // recipients that were never handed to the Sender
	took time.Duration
	file string
}

// run sends the campaign and writes down the fate of each recipient, also if
// ctx ends before.
func (c *campaign) run(ctx context.Context, e *env) (*summary, error) {
	total := len(c.mail.list.rows)
	t := newTally(total)
	c.cfg.Observe = t.observe
	s, err := sender.New(c.cfg)
	if err != nil {
		return nil, err
	}
	out, err := createResults(c.out)
	if err != nil {
		return nil, errors.Join(err, s.Shutdown(ctx))
	}
	if c.limit > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, c.limit, errTime)
		defer cancel()
		ctx = limited
	}
	show := startProgress(e, t, s.Snapshot, c.limit)
	taken := 0
	flushed := time.Now()
	for r := range s.Send(ctx, c.messages(&taken)) {
		t.add(&r)
		out.write(c.mail.list.number(r.Message.Content.(letter).row), &r)
		if now := time.Now(); now.Sub(flushed) > time.Second { // what is known survives a crash
			out.flush()
			flushed = now
		}
	}
	took := time.Since(t.start)
	show.stop()
	for i := taken; i < total; i++ {
		out.writeLeft(c.mail.list.number(i), c.mail.list.address(i))
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err = errors.Join(out.close(), s.Shutdown(end))
	return &summary{tally: t, left: total - taken, took: took, file: out.file.Name()}, err
}

// messages yields each recipient's message and counts them in taken, which
// may be read when Send has returned.
func (c *campaign) messages(taken *int) iter.Seq[*sender.Message] {
	return func(yield func(*sender.Message) bool) {
		for i := range c.mail.list.rows {
			*taken++
			if !yield(c.mail.message(i)) {
				return
			}
		}
	}
}

// report writes what came of the campaign.
func (s *summary) report(e *env) {
	w := e.stdout
	o, retries := s.totals()
	fmt.Fprintf(w, "%s recipients in %.1f s: %s sent", number(s.total), s.took.Seconds(), number(o[sender.Sent]))
	for k := sender.Rejected; k <= sender.Canceled; k++ {
		if o[k] > 0 {
			fmt.Fprintf(w, ", %s %s", number(o[k]), k)
		}
	}
	if s.left > 0 {
		fmt.Fprintf(w, ", %s %s", number(s.left), notAttempted)
	}
	fmt.Fprintf(w, "; %s retries\n\n", number(retries))
	for _, t := range []*table{s.destinations(), s.troubles(), s.whyNot()} {
		if len(t.rows) > 0 {
			e.table(t)
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintf(w, "Results: %s\n", s.file)
}

// table prints a table; on a terminal lines are cut to its width.
func (e *env) table(t *table) {
	for _, line := range t.lines() {
		if e.screen != nil {
			line = cut(line, e.screen.width)
		}
		fmt.Fprintln(e.stdout, line)
	}
}

const (
	maxName  = 40 // characters of a destination's name that tables show
	maxReply = 80 // of a reply; the file of results has all of it
	maxRows  = 40 // destinations that the report shows, the largest
)

// destinations is the table by destination.
func (s *summary) destinations() *table {
	t := newTable([]int{6}, "destination", "sent", "rejected", "deferred", "unknown", "rate", "bound by")
	all := s.bySize()
	var rest outcomes
	for i, d := range all {
		if i >= maxRows {
			rest.add(d.outcomes)
			continue
		}
		by, share := d.binding()
		if by != "" {
			by = fmt.Sprintf("%s, %.0f%%", by, 100*share)
		}
		t.add(append(append([]string{cut(d.name, maxName)}, d.outcomes.cells()...), perSecond(d.rate()), by)...)
	}
	if len(all) > maxRows {
		t.add(append(append([]string{fmt.Sprintf("and %s more", number(len(all)-maxRows))}, rest.cells()...), "", "")...)
	}
	return t
}

// cells are the counts as a table shows them.
func (o *outcomes) cells() []string {
	return []string{count(o[sender.Sent]), count(o[sender.Rejected]), count(o[sender.Deferred]), count(o[sender.Unknown])}
}

// troubles is the table of what destinations have said about us.
func (s *summary) troubles() *table {
	t := newTable([]int{1}, "trouble at", "last of it")
	for _, d := range s.bySize() {
		if r := d.remark(); r != "" && len(t.rows) < maxRows {
			t.add(cut(d.name, maxName), cut(r, maxReply))
		}
	}
	return t
}

// whyNot is the table by category of failure.
func (s *summary) whyNot() *table {
	t := newTable([]int{5, 6}, "why not", "rejected", "deferred", "unknown", "retried", "advice", "for example")
	for _, c := range s.byReason() {
		t.add(c.name, count(c.outcomes[sender.Rejected]), count(c.outcomes[sender.Deferred]), count(c.outcomes[sender.Unknown]),
			count(c.retries), c.advice.String(), cut(c.sample, maxReply))
	}
	return t
}

// code is the exit code.
func (s *summary) code() int {
	if o, _ := s.totals(); o.final() < s.total {
		return exitLeft
	}
	return exitDone
}
