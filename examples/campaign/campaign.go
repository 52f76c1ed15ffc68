package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/volleymail/volley/sender"
)

// campaign is a mailing ready to go, the demonstration's or a real one.
type campaign struct {
	cfg   sender.Config
	mail  *composer
	out   string        // file of results, "" = a new one in the temporary folder
	limit time.Duration // -for, 0 = none
	kept  *kept         // -spool, nil = none
}

// way is how the mails go through the Sender.
type way interface {
	// send sends all that is to be sent, and shuts the Sender down when that is
	// done or ctx ends.
	send(ctx context.Context, s *sender.Sender, t *tally) error
	// close closes the file of results, which has this name.
	close() error
	file() string
}

// errTime is why recipients are deferred when -for is over.
var errTime = errors.New("the time that -for gives was over")

// shutdownTime is how long Shutdown may take to end what is on the wire.
const shutdownTime = 10 * time.Second

// saveEvery is how often results are written to their file: what is known
// survives a crash.
const saveEvery = time.Second

// summary is how a campaign ended.
type summary struct {
	*tally
	took  time.Duration
	file  string // of results
	spool string // "" = none
}

// run sends the campaign and writes down the fate of each recipient, also if
// ctx ends before.
func (c *campaign) run(ctx context.Context, e *env) (*summary, error) {
	if c.limit > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, c.limit, errTime)
		defer cancel()
		ctx = limited
	}
	t := newTally(len(c.mail.list.rows))
	c.cfg.Observe = t.observe
	c.cfg.Templates = map[string]sender.Template{mailTemplate: c.mail.letter}
	sum := &summary{tally: t}
	if c.kept != nil {
		t.earlier, t.outcomes = c.kept.earlier, c.kept.earlier
		c.cfg.Queue = c.kept.queue
		sum.spool = c.kept.name
	}
	s, err := sender.New(c.cfg)
	if err != nil {
		return nil, errors.Join(err, c.kept.close())
	}
	w, err := c.way()
	if err != nil {
		return nil, errors.Join(err, shutdown(ctx, s))
	}
	show := startProgress(e, t, s.Snapshot, c.limit)
	err = w.send(ctx, s, t)
	show.stop()
	sum.took, sum.file = time.Since(t.start), w.file()
	return sum, errors.Join(err, w.close())
}

func (c *campaign) way() (way, error) {
	if c.kept != nil {
		return c.kept, nil
	}
	out, err := createResults(c.out)
	return &direct{mail: c.mail, out: out}, err
}

// shutdown ends the Sender, also if ctx has ended.
func shutdown(ctx context.Context, s *sender.Sender) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	return s.Shutdown(ctx)
}

// report writes what came of the campaign.
func (s *summary) report(e *env) {
	w := e.stdout
	o, retries := s.totals()
	if n := s.earlier.done(); n > 0 {
		fmt.Fprintf(w, "%s recipients, %s of them before these %.1f s: ", number(s.total), number(n), s.took.Seconds())
	} else {
		fmt.Fprintf(w, "%s recipients in %.1f s: ", number(s.total), s.took.Seconds())
	}
	fmt.Fprintf(w, "%s sent", number(o[sender.Sent]))
	for k := sender.Rejected; k <= sender.Canceled; k++ {
		if o[k] > 0 {
			fmt.Fprintf(w, ", %s %s", number(o[k]), k)
		}
	}
	switch left := s.left(); {
	case left > 0 && s.spool != "":
		fmt.Fprintf(w, ", %s to go", number(left))
	case left > 0:
		fmt.Fprintf(w, ", %s %s", number(left), notAttempted)
	}
	fmt.Fprintf(w, "; %s retries\n\n", number(retries))
	for _, t := range []*table{s.destinations(), s.troubles(), s.whyNot()} {
		if len(t.rows) > 0 {
			e.table(t)
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintf(w, "Results: %s\n", s.file)
	switch left := s.left(); {
	case s.spool == "":
	case left > 0:
		fmt.Fprintf(w, "%s recipients are left in %s: the same command again goes on with them.\n", number(left), s.spool)
	default:
		fmt.Fprintf(w, "That is every recipient of the list: nothing is left in %s.\n", s.spool)
	}
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

// left are the recipients without a result.
func (s *summary) left() int {
	o, _ := s.totals()
	return s.total - o.done()
}

// code is the exit code.
func (s *summary) code() int {
	if o, _ := s.totals(); o.final() < s.total {
		return exitLeft
	}
	return exitDone
}
