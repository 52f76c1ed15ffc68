package sender

import (
	"context"
	"errors"
	"time"
)

// clerk writes to the Queue what becomes of the recipients that are in memory
// out of it. One goroutine runs it, which owns the fields; others put notes into
// its inbox. It collects notes while a write is under way: they share the next.
type clerk struct {
	s       *Sender
	box     *inbox[note]
	journal *journal
	stop    chan struct{} // closed when no more notes come
	done    chan struct{} // closed when the last ones are written

	changes []Change
	notes   []note // that made the changes, in their order
	marks   []*mark
	writeAt time.Time // zero = nothing to write
	fails   int       // writes in a row
}

// note is a Change with what the clerk needs beside it.
type note struct {
	Change
	mark  *mark // to be answered when the change is written
	leave Line  // of the recipient, if it leaves the memory
	left  bool  // it does
	dsn   bool  // the server was asked for notifications
	item  *item // what a notice is about, nil = none is due
}

const (
	linger     = 5 * time.Millisecond   // changes that nobody waits for wait so long for others
	ackLinger  = 100 * time.Millisecond // acknowledgements too
	writeRetry = time.Second            // after a failed write, doubled up to
	writeMax   = 30 * time.Second
	lastWrites = 3 // failures in a row after which Shutdown gives up
)

// mark tells when the Queue has noted that a message may be on the wire.
type mark struct{ written chan error }

// errUnmarked is why a message did not go out: the Queue could not note it.
var errUnmarked = errors.New("Config.Queue cannot be written")

// wait returns nil when the mark is written.
func (m *mark) wait(ctx context.Context) error {
	select {
	case err := <-m.written:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func newClerk(s *Sender) *clerk {
	return &clerk{s: s, box: newInbox[note](), journal: newJournal(), stop: make(chan struct{}), done: make(chan struct{})}
}

// mark notes that the items are about to go out.
func (c *clerk) mark(items []*item) *mark {
	m := &mark{written: make(chan error, 1)}
	notes := make([]note, len(items))
	for i, it := range items {
		notes[i].Change = Change{Kind: Sending, ID: it.waiting().ID}
	}
	notes[len(notes)-1].mark = m
	c.box.put(notes...) // at once: a write that fails drops all of them or none
	return m
}

// unmark notes that the item was not sent after all.
func (c *clerk) unmark(it *item) {
	c.box.put(note{Change: Change{Kind: NotSending, ID: it.waiting().ID}})
}

// later gives an item back to the Queue until it is due.
func (c *clerk) later(it *item, site string, due, now time.Time) {
	w := it.waiting()
	n := note{Change: Change{Kind: Later, ID: w.ID, Due: due, Attempts: int(it.tries), Last: it.attempt(site, now), Warned: w.Warned}, leave: it.msg.queued.Line, left: true}
	if !w.Warned && it.last != nil {
		n.item = it // a delay notice may be due
	}
	c.box.put(n)
}

// end keeps the item's Result.
func (c *clerk) end(it *item, r Result, dsn bool) {
	c.box.put(note{Change: Change{Kind: EndedNow, ID: it.waiting().ID, Attempts: r.Attempts, Result: &r}, leave: it.msg.queued.Line, left: true, item: it, dsn: dsn})
}

func (c *clerk) run() {
	defer close(c.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var got []note
	for stop := c.stop; ; { // nil when it was closed
		now := time.Now()
		got = c.box.take(got)
		for i := range got {
			c.take(&got[i], now)
		}
		if len(c.changes) > 0 && !now.Before(c.writeAt) {
			c.write(now)
			continue
		}
		if stop == nil && (len(c.changes) == 0 || c.fails >= lastWrites) {
			if len(c.changes) > 0 {
				c.s.cfg.log.Error("the Queue could not be written before the end: what was under way will be reported as unknown", "changes", len(c.changes))
			}
			return
		}
		wait := time.Hour
		if !c.writeAt.IsZero() {
			wait = c.writeAt.Sub(now)
		}
		timer.Reset(wait)
		select {
		case <-c.box.wake:
		case <-timer.C:
		case <-stop:
			stop, c.writeAt = nil, time.Now()
		}
	}
}

// take adds a note to what is to be written.
func (c *clerk) take(n *note, now time.Time) {
	wait := linger
	switch {
	case n.mark != nil:
		c.marks = append(c.marks, n.mark)
		wait = 0
	case n.Kind == Acknowledged:
		wait = ackLinger
	}
	if n.item != nil {
		c.notify(n, now)
		n.item = nil
	}
	if c.fails == 0 {
		if at := now.Add(wait); c.writeAt.IsZero() || at.Before(c.writeAt) {
			c.writeAt = at
		}
	}
	c.changes = append(c.changes, n.Change)
	c.notes = append(c.notes, *n)
}

// notify adds the notice that is due, if one is.
func (c *clerk) notify(n *note, now time.Time) {
	it := n.item
	o := occasion{Result: n.Result, now: now, born: time.Unix(0, it.born), number: it.id, warned: it.waiting().Warned, promised: n.dsn}
	if n.Kind == Later {
		o.Result = &Result{Message: it.msg, Recipient: it.recipient(), Class: it.last.class, Reply: it.last.reply, Err: it.last.err, Attempts: n.Attempts}
		o.next = n.Due
	}
	if o.Attempts > 0 {
		o.tried = now
	}
	told := c.s.notice(o)
	if told == nil {
		return
	}
	n.Warned = n.Warned || n.Kind == Later
	if !c.s.handle(told) {
		n.Notice = told.submission(now)
	}
}

// write writes all changes, or keeps them for later.
func (c *clerk) write(now time.Time) {
	c.writeAt = time.Time{}
	// Not the Sender's context: what was delivered must be kept also when it is cut.
	if err := c.s.cfg.Queue.Write(context.Background(), now, c.changes); err != nil {
		c.failed(err, now)
		return
	}
	if c.fails > 0 {
		c.fails = 0
		c.s.resumeQueue()
	}
	c.answer(nil)
	c.journal.add(c.changes)
	c.s.taker.wrote(c.notes)
	c.cancelLate()
	c.changes, c.notes = emptied(c.changes), emptied(c.notes)
}

// cancelLate cancels what went back to the Queue after Cancel was there.
func (c *clerk) cancelLate() {
	canceled := c.s.admin.orders.Load().canceled
	if len(canceled) == 0 {
		return
	}
	late := map[string]bool{}
	for i := range c.notes {
		if n := &c.notes[i]; n.Kind == Later && canceled[n.leave.Campaign] {
			late[n.leave.Campaign] = true
		}
	}
	for campaign := range late {
		if err := c.s.cancelQueued(context.Background(), campaign); err != nil {
			c.s.cfg.log.Error("recipients of a canceled campaign end when they are due", "campaign", campaign, "err", err)
		}
	}
}

// late writes what is acknowledged after Shutdown, when nobody else does.
func (c *clerk) late() {
	select {
	case <-c.stop:
		<-c.done
	default:
		return // the clerk will take it
	}
	var changes []Change
	for _, n := range c.box.take(nil) {
		changes = append(changes, n.Change)
	}
	if len(changes) == 0 {
		return
	}
	if err := c.s.cfg.Queue.Write(context.Background(), time.Now(), changes); err != nil {
		c.s.cfg.log.Error("Config.Queue cannot be written: what was acknowledged last will come again", "err", err)
		return
	}
	c.journal.add(changes)
}

// emptied keeps the memory of a slice for the next use, unless it is much.
func emptied[T any](s []T) []T {
	clear(s)
	if cap(s) > inboxKeep {
		return nil
	}
	return s[:0]
}

// failed pauses the sending. Whoever waits for a mark is told; all else is
// written as soon as that is possible.
func (c *clerk) failed(err error, now time.Time) {
	c.fails++
	c.writeAt = now.Add(min(writeRetry<<min(c.fails-1, 8), writeMax))
	c.s.pauseQueue(err, c.writeAt, c.fails)
	c.answer(errors.Join(errUnmarked, err))
	kept, notes := c.changes[:0], c.notes[:0]
	for i := range c.changes {
		if c.changes[i].Kind != Sending {
			kept, notes = append(kept, c.changes[i]), append(notes, c.notes[i])
		}
	}
	if len(kept) == 0 { // something to try with
		kept, notes = append(kept, Change{Kind: Acknowledged}), append(notes, note{})
	}
	clear(c.changes[len(kept):])
	clear(c.notes[len(kept):])
	c.changes, c.notes = kept, notes
}

// answer tells those who wait for marks.
func (c *clerk) answer(err error) {
	for _, m := range c.marks {
		m.written <- err
	}
	c.marks = emptied(c.marks)
}
